"""Data sets as users of the published code have them described: its ``configs/datasets.json``.

That file gives each split a folder, an optional list of ids and a suffix, for images (``img``) and
masks (``annot``, without a folder where there is no ground truth), and a label file. Its paths are
relative to the folder that the code was run in, so several folders are searched. What had to be
guessed or replaced is told in remarks, never silently.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from pathlib import Path

from regiontree.datasets.dataset import Dataset, list_dataset
from regiontree.datasets.labels import ALIASES, LABEL_TREES
from regiontree.datasets.spec import DatasetSpec, FileSet
from regiontree.errors import ConfigError
from regiontree.system.reading import Section, nearest, read_mapping, shown, validated

__all__ = ["published_dataset"]


class _Files(Section):
    dir: str | None = None
    list_txt: str | None = None
    ext: str | None = None
    labels_txt: str | None = None


class _Split(Section):
    img: _Files
    annot: _Files = _Files()


def published_dataset(
    config: Path, name: str, split: str, *, search: Sequence[Path]
) -> tuple[Dataset, list[str]]:
    """Open a split of a published ``datasets.json``.

    Parameters
    ----------
    config : Path
        The file, unchanged.
    name, split : str
        As in that file. A split that differs from one there by a final ``s`` is that one: the
        published experiments ask for ``val_things``, the file has ``val_thing``.
    search : sequence of Path
        Folders that its relative paths are tried in, in turn.

    Returns
    -------
    Dataset
        With no samples, and problems that say what was looked for where, if there are no files or
        no label tree can be read.
    list of str
        Remarks: what was taken for what, and what looks wrong in the file.

    Raises
    ------
    ConfigError
        The file is wrong, or has no such data set or split; the nearest is suggested.
    """
    remarks: list[str] = []
    described = read_mapping(config, "a file of data sets")
    if name not in described:
        raise ConfigError(f"{config}: unknown data set {name!r}{nearest(name, described)}")
    splits = described[name]
    if not isinstance(splits, dict):
        raise ConfigError(f"{config}: {name} must hold splits, got {shown(splits)}")
    meant = next((s for s in (split, split.removesuffix("s"), f"{split}s") if s in splits), None)
    if meant is None:
        raise ConfigError(f"{config}: {name} has no split {split!r}{nearest(split, splits)}")
    if meant != split:
        remarks.append(f"split {split!r} is not in {config}; {meant!r} was taken for it")
    if not isinstance(splits[meant], dict):
        raise ConfigError(f"{config}: {name}.{meant} must hold img and annot")
    files = validated(_Split, splits[meant], f"{config}, {name}.{meant}")
    if files.img.dir is None:
        raise ConfigError(f"{config}: {name}.{meant}.img has no 'dir'; images need one")

    lost: dict[str, str] = {}
    tried = ", ".join(str(folder) for folder in search) or "the current folder"

    def place(path: str) -> Path:
        found = _first(path, search)
        if found is None:
            lost[str(Path(path))] = f"{path} is in none of the folders searched: {tried}"
        return found or Path(path)

    def tree(path: str) -> str:
        """The label file, or the shipped tree of the same name where it cannot be found."""
        stem = Path(path).stem
        if _first(path, search) is None and stem in (*LABEL_TREES, *ALIASES):
            remarks.append(
                f"{path} was not found; the label tree {stem!r} of regiontree was taken for it"
            )
            return stem
        return str(place(path))

    def file_set(side: _Files, folder: str) -> FileSet:
        listing = None if side.list_txt is None else place(side.list_txt)
        suffixes = () if side.ext is None else (side.ext,)
        return FileSet(dir=place(folder), list=listing, suffixes=suffixes)

    images = file_set(files.img, files.img.dir)
    masks = None if files.annot.dir is None else file_set(files.annot, files.annot.dir)
    if masks is not None:
        images, masks = _same_ids(images, masks, remarks)
    labels = None if files.annot.labels_txt is None else tree(files.annot.labels_txt)
    if (wrong := _of_other_masks(files.annot)) is not None:
        remarks.append(f"{config}: {name}.{meant}: {wrong}")
    spec = DatasetSpec(name=name, split=meant, images=images, masks=masks, labels=labels)
    dataset = list_dataset(spec, Path())
    told = dict.fromkeys(_sought(problem, lost) for problem in dataset.problems)
    return dataclasses.replace(dataset, problems=tuple(told)), remarks


def _first(path: str, search: Sequence[Path]) -> Path | None:
    """`path` in the first folder that has it, absolute."""
    places = (folder / path for folder in (*search, *(() if search else (Path(),))))
    return next((Path(os.path.abspath(place)) for place in places if place.exists()), None)


def _sought(problem: str, lost: dict[str, str]) -> str:
    """A problem with a path that was looked for in several folders, which it then names."""
    for path, said in lost.items():
        if re.search(rf"(^|folder |list ){re.escape(path)}( cannot|:)", problem):
            return said
    return problem


def _of_other_masks(annot: _Files) -> str | None:
    """The one slip of the published file: PartImageNet's ``val`` names labels of other masks."""
    if annot.dir is None or annot.labels_txt is None or Path(annot.dir).name.endswith("_idx"):
        return None
    if Path(annot.labels_txt).stem != "partimagenet158":
        return None
    return (
        f"labels_txt {annot.labels_txt} has the parts of 158 classes, but masks in {annot.dir} "
        "hold the 41 ids of partimagenet.txt: they are scored as written, under wrong names; set "
        f"labels_txt to partimagenet.txt, or dir to {annot.dir}_idx, whose masks have those parts"
    )


def _same_ids(images: FileSet, masks: FileSet, remarks: list[str]) -> tuple[FileSet, FileSet]:
    """Without the endings by which the two lists name their files, where no id is in both.

    Cityscapes lists ``aachen/aachen_000000_000019`` with ``_leftImg8bit`` and with
    ``_gtFine_labelIds``. What all lines of a list end in may be longer (``_000019_leftImg8bit``),
    but then both lists share its beginning.
    """
    named, meant = (_stems(side) for side in (images, masks))
    if not named or not meant or set(named) & set(meant):
        return images, masks
    ends = [_shared_start([stem[::-1] for stem in stems])[::-1] for stems in (named, meant)]
    begin = max(_shared_start(ends).rfind("_"), 0)
    ends = [end[begin:] for end in ends]
    left, right = (
        {s.removesuffix(end) for s in t} for t, end in zip((named, meant), ends, strict=True)
    )
    if not left & right:
        return images, masks
    remarks.append(
        f"the lists name images and masks differently; ids are their lines without {ends[0]!r} "
        f"and {ends[1]!r}"
    )
    return images.model_copy(update={"strip": ends[0]}), masks.model_copy(update={"strip": ends[1]})


def _shared_start(texts: Sequence[str]) -> str:
    return os.path.commonprefix(texts)  # noqa: RUF071 character by character is what is meant


def _stems(side: FileSet) -> list[str]:
    """Lines of a list without their suffixes; none if there is no list."""
    try:
        text = "" if side.listing is None else side.listing.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []  # which list_dataset tells
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for suffix in side.suffixes:
        lines = [line.removesuffix(suffix) for line in lines]
    return lines
