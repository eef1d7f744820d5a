"""The mask of each photograph of a batch, from one file or from a folder of masks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from regiontree.engines.batch import Job
from regiontree.errors import SettingsError
from regiontree.images.maskfiles import MASK_SUFFIXES
from regiontree.system.inputs import find_files
from regiontree.system.paths import path_problem

__all__ = ["with_masks"]


def with_masks(
    jobs: Sequence[Job],
    mask: Path,
    paths: Sequence[str | Path],
    suffixes: frozenset[str],
    out: Path,
) -> list[Job]:
    """The jobs, each with its mask, or with the error that it has none.

    Parameters
    ----------
    jobs
        What :func:`regiontree.engines.batch.plan` made of `paths`, `out` and `suffixes`.
    mask
        The mask of the only photograph; or a folder of masks. The mask of ``a/b/photo.jpg`` from
        the folder ``a`` is ``b/photo.png`` in it, or has another suffix of a mask. Photographs that
        lie in the folder of masks are taken for masks, and left out.
    paths, suffixes, out
        The inputs of the batch, the suffixes of photographs in a folder, and the output folder.

    Raises
    ------
    SettingsError
        There is no such file or folder, or one file for several photographs.
    """
    if problem := path_problem(mask, "file or folder; check the path"):
        raise SettingsError(f"--mask {mask}: {problem}")
    if not os.path.isdir(mask):
        if len(jobs) != 1:
            raise SettingsError(
                f"--mask {mask} is one mask for {len(jobs)} photographs; name a folder of masks, "
                "in which each has the name of its photograph"
            )
        return [replace(jobs[0], mask=mask)]
    masks = Path(os.path.abspath(mask))
    below = {file: file.relative_to(root) for file, root in find_files(paths, suffixes, out)}
    photos = [job for job in jobs if masks not in Path(os.path.abspath(job.source)).parents]
    found = [_named(mask / below.get(job.source, Path(job.source.name))) for job in photos]
    users = Counter(files[0] for files in found if files)
    planned = []
    for job, files in zip(photos, found, strict=True):
        error = None
        if not files:
            name = below.get(job.source, Path(job.source.name)).with_suffix("").as_posix()
            error = f"{job.source}: {mask} holds no mask {name}.png (or {', '.join(MASK_SUFFIXES)})"
        elif len(files) > 1:
            error = f"{job.source}: has several masks: {', '.join(map(str, files))}; keep one"
        elif users[files[0]] > 1:
            error = f"{job.source}: {files[0]} would be the mask of another photograph, too"
        if job.error is not None:
            planned.append(job)
        elif error is not None:
            planned.append(Job(job.source, error=error))
        else:
            planned.append(replace(job, mask=files[0]))
    return planned


def _named(photo: Path) -> list[Path]:
    """The masks with the place and the stem of a photograph."""
    names = (photo.with_suffix(suffix) for suffix in MASK_SUFFIXES)
    return [name for name in names if os.path.isfile(name)]
