"""What is finished of a photograph's job, and how a tree gets its name beside other processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from regiontree.backbones.featurefolder import find_features
from regiontree.engines.names import Owner, Tree, names_for, owner_of
from regiontree.errors import TreeFileError
from regiontree.forest.origin import path_between
from regiontree.images import Choice
from regiontree.images.maskfiles import digest_of_mask
from regiontree.images.masks import Masked
from regiontree.parser import RegionParser
from regiontree.settings import record_differences
from regiontree.system.files import locked, sha256_of
from regiontree.tree import RegionTree
from regiontree.tree.file import ARRAYS, read_meta, write_tree_file

__all__ = ["Job", "is_finished", "save_tree"]


@dataclass(frozen=True, slots=True)
class Job:
    """A photograph to process.

    Attributes
    ----------
    source : Path
        The photograph.
    output : Path or None
        The tree file to write. None if there is an error.
    error : str or None
        Why the photograph cannot be processed.
    root : Path or None
        The folder that the photograph was found from. It gives the tree another name if another
        process takes the name of `output`. None: the tree has this name only.
    mask : Path or None
        The mask of the photograph, if it has one.
    is_users : bool
        Whether the tree file belongs to the user. If not, it belongs to the site of a gallery or to
        a server: it is replaced when its photograph changes, and does not say where the photograph
        lies.
    """

    source: Path
    output: Path | None = None
    error: str | None = None
    root: Path | None = None
    is_users: bool = True
    mask: Path | None = None

    @property
    def photo(self) -> Path | Masked:
        """The photograph, with its mask."""
        return self.source if self.mask is None else Masked(self.source, self.mask)


def is_finished(job: Job, parser: RegionParser, output: Path | None = None) -> bool:
    """Whether the tree of a job exists and was made from these bytes with these settings.

    `output` is the tree's file if it is not that of the job.

    Raises
    ------
    TreeFileError
        The photograph, its features or the settings have changed since the tree was made, or a file
        that is no tree has its name. The user must decide whether to replace it.
    OSError
        The photograph cannot be read.
    """
    path = output or job.output
    assert path is not None
    if not job.is_users:
        return _is_current(job, parser, path)
    tree = owner_of(path, job.source)
    if tree.owner is Owner.STRANGER:
        raise _not_a_tree(tree)
    if tree.owner is not Owner.PHOTOGRAPH:
        return False
    if what := _changed(job, parser, tree.meta):
        raise TreeFileError(
            f"{job.source}: {what} since {path} was made; pass --overwrite to make the tree again"
        )
    _require_settings(path, tree.meta, parser)
    return True


def _is_current(job: Job, parser: RegionParser, path: Path) -> bool:
    """As :func:`is_finished`, for a tree that may be replaced when its photograph changes."""
    if not path.exists():
        return False
    try:
        meta = read_meta(path)
    except TreeFileError:
        return False
    if _changed(job, parser, meta):
        return False
    _require_settings(path, meta, parser)
    return True


def _changed(job: Job, parser: RegionParser, meta: dict[str, Any]) -> str | None:
    """What has changed since a tree was made from a photograph."""
    image = meta.get("image", {})
    if image.get("sha256") != sha256_of(job.source):
        return "has changed"
    mask = None if job.mask is None else digest_of_mask(job.mask, parser.sight.max_pixels)
    if image.get("mask_sha256") != mask:
        return "has another mask"
    folder = parser.settings.backbone.folder
    if folder is not None:
        features = find_features(folder, job.source)
        if image.get("features_sha256") != sha256_of(features):
            return f"its features in {features} have changed"
    return None


def _require_settings(path: Path, meta: dict[str, Any], parser: RegionParser) -> None:
    read, asked = Choice.of_meta(meta), parser.sight.choice
    if (read.bands, read.page or 0) != (asked.bands, asked.page or 0):
        raise TreeFileError(
            f"{path} was made from {_chosen(read)}, not {_chosen(asked)}; choose another output "
            "folder or pass --overwrite"
        )
    changed = record_differences(meta.get("settings", {}), parser.settings.as_dict())
    if all(str(name).startswith("precomputed:") for name in changed.get("backbone", ("",))):
        del changed["backbone"]  # the features were compared, so their folder may have another name
    if changed:
        differences = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())
        raise TreeFileError(
            f"{path} was made with other settings ({differences}); choose another output "
            "folder or pass --overwrite"
        )


def _chosen(choice: Choice) -> str:
    """A choice of bands and page in words."""
    chosen = choice.as_dict()
    said = {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in chosen.items()}
    return " and ".join(f"{k} {v}" for k, v in said.items()) or "the usual bands and page"


def _not_a_tree(tree: Tree) -> TreeFileError:
    return TreeFileError(
        f"{tree.error}; the file has the name of this tree: move it or pass --overwrite"
    )


def save_tree(
    tree: RegionTree, job: Job, parser: RegionParser, out: Path, *, overwrite: bool
) -> tuple[Path, bool]:
    """The file of a job's tree, and whether it was written now. The file records the path of the
    photograph.

    No tree of another photograph is replaced, not even one that another process has written since
    this one began. If another process has made this tree meanwhile, its file is kept.

    Raises
    ------
    TreeFileError
        As for :func:`is_finished`.
    """
    assert job.output is not None
    if not job.is_users:
        return tree.save(job.output), True

    def save(name: Path, *, replace: bool) -> Path:
        image = dict(tree.meta["image"])
        if (path := path_between(name, job.source)) is not None:
            image["path"] = path
        arrays = {array: getattr(tree, array) for array in ARRAYS}
        return write_tree_file(name, arrays, {**tree.meta, "image": image}, replace=replace)

    for name in _names(job, out):
        if not os.path.lexists(name):
            try:
                return save(name, replace=False), True
            except FileExistsError:
                if not os.path.lexists(name):  # a file has the name of the folder
                    raise
        with locked(name.parent):
            found = owner_of(name, job.source)
            is_own = found.owner is Owner.PHOTOGRAPH
            is_asked = is_own or (found.owner is Owner.STRANGER and name == job.output)
            if found.owner is Owner.DAMAGED or (overwrite and is_asked):
                return save(name, replace=True), True
        if is_own and is_finished(job, parser, name):
            return name, False
        if found.owner is Owner.STRANGER and name == job.output:
            raise _not_a_tree(found)
    raise TreeFileError(f"{job.output}: exists; choose another output folder")


def _names(job: Job, out: Path) -> Iterator[Path]:
    """The names that the tree of a job may have, its own first."""
    assert job.output is not None
    if job.root is None:
        return iter([job.output])
    others = (out / name for name in names_for(job.source, job.root))
    return chain([job.output], (name for name in others if name != job.output))
