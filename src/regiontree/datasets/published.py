"""Data sets as the file ``configs/datasets.json`` of the published code describes them.

For each split, that file names the images (``img``), the masks (``annot``) and a label file. Images
and masks have a folder, an optional list of ids and a suffix. Without ground truth, ``annot`` has
no folder. The paths are relative to the folder that the published code ran in, which is not known,
so several folders are searched. Each guess and each replacement is listed in the remarks.
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
    """The images or the masks of a split, with the keys of the published file."""

    dir: str | None = None
    list_txt: str | None = None
    ext: str | None = None
    labels_txt: str | None = None


class _Split(Section):
    """One split, with the keys of the published file."""

    img: _Files
    annot: _Files = _Files()


def published_dataset(
    config: Path, name: str, split: str, *, search: Sequence[Path]
) -> tuple[Dataset, list[str]]:
    """The data set of a split in a published ``datasets.json``, and remarks about it.

    Parameters
    ----------
    config : Path
        The published file.
    name, split : str
        A data set and a split in that file. The split may lack a final ``s`` or have one too many:
        the published experiments ask for ``val_things``, but the file has ``val_thing``.
    search : sequence of Path
        Folders in which relative paths are searched, in this order.

    Returns
    -------
    Dataset
        If files or the label tree are missing, it has no samples, and its problems say which paths
        were searched in which folders.
    list of str
        Remarks that name each replacement and each likely mistake in the file.

    Raises
    ------
    ConfigError
        The file is wrong, or has no such data set or split. The message suggests the most similar
        name.
    """
    remarks: list[str] = []
    described = read_mapping(config, "a file of data sets")
    if name not in described:
        raise ConfigError(f"{config}: unknown data set {name!r}{nearest(name, described)}")
    splits = described[name]
    if not isinstance(splits, dict):
        raise ConfigError(f"{config}: {name} must be a mapping of splits, got {shown(splits)}")
    spellings = (split, split.removesuffix("s"), f"{split}s")
    found_split = next((spelling for spelling in spellings if spelling in splits), None)
    if found_split is None:
        raise ConfigError(f"{config}: {name} has no split {split!r}{nearest(split, splits)}")
    if found_split != split:
        remarks.append(f"split {split!r} is not in {config}; {found_split!r} is used instead")
    if not isinstance(splits[found_split], dict):
        raise ConfigError(f"{config}: {name}.{found_split} must hold img and annot")
    files = validated(_Split, splits[found_split], f"{config}, {name}.{found_split}")
    if files.img.dir is None:
        raise ConfigError(f"{config}: {name}.{found_split}.img has no 'dir'; images need one")

    lost: dict[str, str] = {}
    tried = ", ".join(str(folder) for folder in search) or "the current folder"

    def place(path: str) -> Path:
        found = _first(path, search)
        if found is None:
            shown_path = path if path.isprintable() else ascii(path)
            lost[str(Path(path))] = f"{shown_path} is in none of the folders searched: {tried}"
        return found or Path(path)

    def tree(path: str) -> str:
        """The label file, or the name of our label tree of that name if the file is missing."""
        stem = Path(path).stem
        if _first(path, search) is None and stem in (*LABEL_TREES, *ALIASES):
            remarks.append(
                f"{path} was not found, so regiontree's label tree {stem!r} is used instead"
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
        remarks.append(f"{config}: {name}.{found_split}: {wrong}")
    spec = DatasetSpec(name=name, split=found_split, images=images, masks=masks, labels=labels)
    dataset = list_dataset(spec, Path())
    problems = dict.fromkeys(_with_folders(problem, lost) for problem in dataset.problems)
    return dataclasses.replace(dataset, problems=tuple(problems)), remarks


def _first(path: str, search: Sequence[Path]) -> Path | None:
    """The absolute path of `path` in the first folder that has it; None if no folder has it."""
    places = (folder / path for folder in (*search, *(() if search else (Path(),))))
    return next((Path(os.path.abspath(place)) for place in places if place.exists()), None)


def _with_folders(problem: str, lost: dict[str, str]) -> str:
    """The problem; if it is about a path in `lost`, the sentence that `lost` has for that path."""
    for path, sentence in lost.items():
        if re.search(rf"(^|folder |list ){re.escape(path)}( cannot|:)", problem):
            return sentence
    return problem


def _of_other_masks(annot: _Files) -> str | None:
    """A remark on the known mistake of the published file, or None.

    The split ``val`` of PartImageNet names the label file of other masks.
    """
    if annot.dir is None or annot.labels_txt is None or Path(annot.dir).name.endswith("_idx"):
        return None
    if Path(annot.labels_txt).stem != "partimagenet158":
        return None
    return (
        f"labels_txt {annot.labels_txt} has the parts of 158 classes, but the masks in {annot.dir} "
        "hold the 41 ids of partimagenet.txt, so the scores have wrong names; set labels_txt to "
        f"partimagenet.txt, or set dir to {annot.dir}_idx, whose masks hold the 158 classes"
    )


def _same_ids(images: FileSet, masks: FileSet, remarks: list[str]) -> tuple[FileSet, FileSet]:
    """Images and masks that strip the different endings of their lists, so that they share ids.

    For example, Cityscapes lists ``aachen/aachen_000000_000019`` once with ``_leftImg8bit`` and
    once with ``_gtFine_labelIds``. All lines of a short list may share a longer ending, such as
    ``_000019_leftImg8bit``. Then the endings of both lists start with the same text, here
    ``_000019``, and that text stays part of the ids.
    """
    image_stems, mask_stems = (_stems(files) for files in (images, masks))
    if not image_stems or not mask_stems or set(image_stems) & set(mask_stems):
        return images, masks
    both = image_stems, mask_stems
    ends = [_shared_start([stem[::-1] for stem in stems])[::-1] for stems in both]
    begin = max(_shared_start(ends).rfind("_"), 0)
    ends = [end[begin:] for end in ends]
    image_ids, mask_ids = (
        {stem.removesuffix(end) for stem in stems} for stems, end in zip(both, ends, strict=True)
    )
    if not image_ids & mask_ids:
        return images, masks
    remarks.append(
        f"the lists name images and masks differently; ids are the lines without {ends[0]!r} "
        f"and {ends[1]!r}"
    )
    return images.model_copy(update={"strip": ends[0]}), masks.model_copy(update={"strip": ends[1]})


def _shared_start(texts: Sequence[str]) -> str:
    """The longest text that all `texts` start with."""
    return os.path.commonprefix(texts)  # noqa: RUF071 compare characters, not parts of paths


def _stems(files: FileSet) -> list[str]:
    """Lines of a list without their suffixes; none if there is no list."""
    try:
        text = "" if files.listing is None else files.listing.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return []  # list_dataset reports this problem
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for suffix in files.suffixes:
        lines = [line.removesuffix(suffix) for line in lines]
    return lines
