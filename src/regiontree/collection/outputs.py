"""Names of the files of a data set, and the split into train, val and test.

A photograph is in a split if a folder above it is called so: by its id, else by its path. Of the
paths, only what lies below the folder that contains all photographs counts. A table can say it
instead: a CSV file with the columns ``photo`` (an id or a path) and ``split``.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from regiontree.collection.csvtable import read_table
from regiontree.forest.storedtrees import key_of_id
from regiontree.images import image_suffixes

__all__ = ["SPLITS", "file_stems", "folder_splits", "read_splits", "split_stems"]

SPLITS = ("train", "training", "val", "valid", "validation", "test", "testing")
"""Names of folders that are splits, in small letters."""


def folder_splits(references: Mapping[str, str]) -> dict[str, str]:
    """The split of each photograph as its folders say; "" for none.

    Parameters
    ----------
    references
        The path or URL of each photograph, by its id.

    Examples
    --------
    >>> folder_splits({"train/a": "", "cats/Val/b": "", "c": "/data/test/x/c.jpg"})
    {'train/a': 'train', 'cats/Val/b': 'Val', 'c': ''}
    """
    local = {key: path for key, path in references.items() if os.path.isabs(path)}
    try:
        above = os.path.commonpath([os.path.dirname(path) for path in local.values()])
    except ValueError:  # there are none, or they are on different drives
        above = ""
    found = {}
    for key in references:
        path = local.get(key, "").removeprefix(above).replace("\\", "/")
        found[key] = _split_in(key) or _split_in(path)
    return found


def _split_in(path: str) -> str:
    folders = path.split("/")[:-1]
    return next((one for one in folders if one.lower() in SPLITS), "")


def read_splits(path: Path, id_of: Callable[[str], str]) -> dict[str, str]:
    """The split of each photograph that a table names.

    Parameters
    ----------
    path
        A CSV file in UTF-8 with the columns ``photo`` and ``split``.
    id_of
        The id of a photograph that the table names. It raises an error for an unknown one.

    Raises
    ------
    CollectionError
        The file is no such table. The message names the line.
    """
    found: dict[str, str] = {}

    def take(photo: str, split: str) -> None:
        if not split or split in (".", "..") or key_of_id(split) != split or "/" in split:
            raise ValueError(f"split must be a name such as train, got {split[:50]!r}")
        found[id_of(photo)] = split

    read_table(path, ("photo", "split"), take)
    return found


def file_stems(ids: list[str]) -> dict[str, str]:
    """The path of each photograph's files without suffix, by its id. All paths differ.

    The suffix of a photograph is left out of its id, unless two photographs would then have one
    path.

    Examples
    --------
    >>> file_stems(["a/dog.jpg", "b/cat.jpg", "b/cat.png"])
    {'a/dog.jpg': 'a/dog', 'b/cat.jpg': 'b/cat.jpg', 'b/cat.png': 'b/cat.png'}
    """
    return _apart({key: key for key in ids})


def split_stems(splits: Mapping[str, str]) -> dict[str, str]:
    """The same with the split as the first folder, by the id. It replaces the folder of that name.

    Examples
    --------
    >>> split_stems({"cats/train/a.jpg": "train", "b.jpg": "val", "c.jpg": ""})
    {'cats/train/a.jpg': 'train/cats/a', 'b.jpg': 'val/b', 'c.jpg': 'c'}
    """
    wanted = {}
    for key, split in splits.items():
        parts = key.split("/")
        if split and split in parts[:-1]:
            parts.remove(split)
        wanted[key] = "/".join([split, *parts]) if split else key
    return _apart(wanted)


def _apart(wanted: Mapping[str, str]) -> dict[str, str]:
    """Paths without suffix that differ also where capitals are not told apart."""
    suffixes = tuple(image_suffixes())
    whole = {key: key_of_id(path) for key, path in wanted.items()}
    short = {}
    for key, path in whole.items():
        suffix = PurePosixPath(path).suffix
        short[key] = path[: -len(suffix)] if suffix.lower() in suffixes else path
    for longer in (whole, {key: f"{path}~{i}" for i, (key, path) in enumerate(whole.items(), 1)}):
        count = Counter(path.casefold() for path in short.values())
        for key, path in short.items():
            if count[path.casefold()] > 1:
                short[key] = longer[key]
    return short
