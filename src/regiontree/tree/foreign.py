"""Files of trees that other programs made: a map of labels and a list of parents, in any order.

The suffix tells which of three forms a file has:

- ``x.npz`` with arrays ``labels`` (H, W), ``parents`` (N,) and, if there is one, ``height`` (N,);
- ``x.npy``, a label map, with ``x.json`` beside it: ``{"parents": [...], "height": [...]}``;
- ``x.png`` or ``x.tif``, a label map of 8, 16 or 32 bits, with ``x.json`` beside it.

What the arrays mean is told by :meth:`RegionTree.from_parents
<regiontree.tree.RegionTree.from_parents>`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import TreeError, TreeFileError
from regiontree.system.damage import plain_reason
from regiontree.system.npyfile import DAMAGE, members, read_npy, read_npz
from regiontree.system.paths import path_problem
from regiontree.tree.file import FORMAT
from regiontree.tree.region_tree import RegionTree

__all__ = ["TREE_SUFFIXES", "holds_tree", "may_be_tree", "read_any_tree"]

_DAMAGE = (*DAMAGE, Image.DecompressionBombError)

TREE_SUFFIXES = (".npz", ".npy", ".png", ".tif", ".tiff")
"""Endings of files that may hold a tree of any program."""


def may_be_tree(path: Path) -> bool:
    """Whether a file with a tree's suffix is an archive, or has the JSON file of a label map."""
    return path.suffix.lower() == ".npz" or path.with_suffix(".json").is_file()


def holds_tree(path: Path) -> bool:
    """Whether a file has the parents of a tree, as far as it can be told without the labels."""
    try:
        if path.suffix.lower() == ".npz":
            return {"labels.npy", "parents.npy"} <= members(path)
        links = json.loads(path.with_suffix(".json").read_bytes())
        return isinstance(links, dict) and "parents" in links
    except (*_DAMAGE, RecursionError):
        return False


def read_any_tree(path: str | Path) -> RegionTree:
    """A tree of this package, or of any program in one of the forms above.

    Raises
    ------
    TreeFileError
        Naming the file and what is wrong with it.
    """
    path = Path(path)
    if problem := path_problem(path, "file"):
        raise TreeFileError(f"{path}: {problem}")
    suffix = path.suffix.lower()
    if suffix == ".npz" and _is_ours(path):
        return RegionTree.load(path)
    try:
        if suffix == ".npz":
            arrays = read_npz(path, {"labels", "parents", "height"})
            if missing := {"labels", "parents"} - arrays.keys():
                raise TreeFileError(f"{path}: has no array {min(missing)!r}; a tree needs both")
            return RegionTree.from_parents(
                arrays["labels"], arrays["parents"], arrays.get("height")
            )
        labels = _label_array(path) if suffix == ".npy" else _label_picture(path)
        beside = path.with_suffix(".json")
        links = json.loads(beside.read_bytes())
        if not isinstance(links, dict) or not {"parents"} <= links.keys() <= {"parents", "height"}:
            raise TreeFileError(f"{beside}: must be an object with parents and, if any, height")
        return RegionTree.from_parents(labels, links["parents"], links.get("height"))
    except TreeFileError:
        raise
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise TreeFileError(f"{error.filename}: no such file; {path} needs it") from error
    except _DAMAGE as error:
        raise TreeFileError(f"{path}: cannot be read as a tree ({plain_reason(error)})") from error


def _is_ours(path: Path) -> bool:
    try:
        meta = read_npz(path, {"meta"}).get("meta")
        return meta is not None and f'"{FORMAT}"' in str(meta)
    except _DAMAGE:
        return True  # RegionTree.load says exactly what is wrong


def _label_array(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        return read_npy(file, path.stat().st_size)


def _label_picture(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        if image.mode not in ("L", "P", "I", "I;16", "I;16L", "I;16B"):
            raise TreeFileError(
                f"{path}: is a {image.mode} picture; labels are one channel of 8, 16 or 32 bits"
            )
        labels: NDArray[Any] = np.asarray(image)
    return labels
