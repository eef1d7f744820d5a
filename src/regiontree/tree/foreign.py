"""Trees made by other programs: a map of labels and a list of parents, in whatever order.

Three forms are read, told apart by suffix:

- ``x.npz`` with arrays ``labels`` (H, W), ``parents`` (N,) and, if there is one, ``height`` (N,);
- ``x.npy``, a label map, with ``x.json`` beside it: ``{"parents": [...], "height": [...]}``;
- ``x.png`` or ``x.tif``, a label map of 8, 16 or 32 bits, with ``x.json`` beside it.

Labels name nodes: label ``i`` is node ``i`` of ``parents``. The root's parent is itself or -1.
Nodes come in any order. What :class:`~regiontree.tree.RegionTree` asks is then put in place: leaves
first, the root last. A node without a pixel is no region and is left out. Without heights, a node's
height falls with its depth, so that cuts divide level by level.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, UnidentifiedImageError

from regiontree.errors import TreeError, TreeFileError
from regiontree.tree.file import FORMAT
from regiontree.tree.region_tree import RegionTree

__all__ = ["TREE_SUFFIXES", "read_any_tree", "tree_from_parents"]

_DAMAGE = (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error,
           UnidentifiedImageError)  # fmt: skip

TREE_SUFFIXES = (".npz", ".npy", ".png", ".tif", ".tiff")
"""Endings of files that may hold a tree of any program."""


def tree_from_parents(
    labels: ArrayLike,
    parents: ArrayLike,
    height: ArrayLike | None = None,
    *,
    meta: Mapping[str, Any] | None = None,
) -> RegionTree:
    """A region tree from a label map and parents in any order.

    Parameters
    ----------
    labels
        (H, W) integers: the node that each pixel lies in, a leaf.
    parents
        (N,) integers; -1 or itself at the one root.
    height
        (N,) numbers, a parent's not below its children's; from depth if None.

    Raises
    ------
    TreeError
        A label that is no node or not a leaf, no root or several, a cycle, lengths that differ.

    Examples
    --------
    >>> tree = tree_from_parents([[1, 3], [1, 4]], [-1, 0, 0, 2, 2])    # root 0, inner node 2
    >>> tree.parents, tree.labels
    (array([4, 3, 3, 4, 4], dtype=int32), array([[0, 1],
           [0, 2]], dtype=int32))
    """
    labels, parent = np.asarray(labels), np.asarray(parents)
    for name, array, ndim in (("labels", labels, 2), ("parents", parent, 1)):
        if array.ndim != ndim or array.dtype.kind not in "iu" or array.size == 0:
            raise TreeError(
                f"{name} must be {ndim}-D integers, got shape {array.shape} of {array.dtype}"
            )
    parent = parent.astype(np.int64)
    n = len(parent)
    roots = np.flatnonzero((parent < 0) | (parent == np.arange(n)))
    if len(roots) != 1:
        raise TreeError(f"parents: a tree has one root (-1 or its own parent), found {len(roots)}")
    root = int(roots[0])
    if parent.max() >= n:
        raise TreeError(f"parents: {parent.max()} is not a node of {n}")
    depth = _depths(parent, root)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n:
        raise TreeError(f"labels hold {low} to {high}, but parents has nodes 0 to {n - 1}")
    area = np.bincount(labels.reshape(-1), minlength=n)
    inner = np.zeros(n, dtype=bool)
    inner[np.delete(parent, root)] = True
    if (stray := np.flatnonzero(inner & (area > 0))).size:
        raise TreeError(
            f"label {stray[0]} is a node with children, and {area[stray[0]]} pixels lie in it "
            "directly; give what is left over beside its children a leaf of its own"
        )
    heights = _heights(height, depth, parent, root, inner)
    by_depth = np.argsort(-depth, kind="stable")
    for node in by_depth.tolist():
        if node != root:
            area[parent[node]] += area[node]
    kept = area > 0
    has_child = np.zeros(n, dtype=bool)
    has_child[parent[kept & (np.arange(n) != root)]] = True
    order = [*np.flatnonzero(kept & ~has_child), *(i for i in by_depth if kept[i] and has_child[i])]
    new = np.full(n, -1, dtype=np.int64)
    new[order] = np.arange(len(order))
    parent[root] = root
    return RegionTree(
        labels=new[labels],
        parents=new[parent[order]].astype(np.int32),
        height=heights[order].astype(np.float32),
        meta=dict(meta or {}),
    )


def _depths(parent: NDArray[np.int64], root: int) -> NDArray[np.int64]:
    """Steps from each node to the root."""
    depth = np.full(len(parent), -1, dtype=np.int64)
    depth[root] = 0
    for start in range(len(parent)):
        path = []
        node = start
        while depth[node] < 0:
            path.append(node)
            depth[node] = -2  # on the way
            node = int(parent[node])
            if depth[node] == -2:
                raise TreeError(f"parents: node {node} is an ancestor of itself")
        for steps, on_path in enumerate(reversed(path), 1):
            depth[on_path] = depth[node] + steps
    return depth


def _heights(
    height: ArrayLike | None,
    depth: NDArray[np.int64],
    parent: NDArray[np.int64],
    root: int,
    inner: NDArray[np.bool_],
) -> NDArray[np.float64]:
    if height is None:
        by_level: NDArray[np.float64] = np.where(inner, 1.0 / (1.0 + depth), 0.0)
        return by_level
    given = np.asarray(height)
    if given.shape != parent.shape or given.dtype.kind not in "fiu":
        raise TreeError(
            f"height must be {len(parent)} numbers, one a node, got shape {given.shape} of "
            f"{given.dtype}"
        )
    above = np.where(np.arange(len(parent)) == root, given, given[parent])
    if (high := np.flatnonzero(given > above)).size:
        i = int(high[0])
        raise TreeError(
            f"height of node {i} is {given[i]:g}, its parent's {above[i]:g}: a parent's is never "
            "below its children's; leave heights out to go by depth"
        )
    return given.astype(np.float64)


def read_any_tree(path: Path) -> RegionTree:
    """A tree of this package, or of any program in one of the forms above.

    Raises
    ------
    TreeFileError
        Naming the file and what is wrong with it.
    """
    if path.suffix == ".npz" and _is_ours(path):
        return RegionTree.load(path)
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                missing = {"labels", "parents"} - set(arrays.files)
                if missing:
                    raise TreeFileError(f"{path}: has no array {min(missing)!r}; a tree needs both")
                height = arrays["height"] if "height" in arrays.files else None
                return tree_from_parents(arrays["labels"], arrays["parents"], height)
        labels = (
            np.load(path, allow_pickle=False) if path.suffix == ".npy" else _label_picture(path)
        )
        beside = path.with_suffix(".json")
        links = json.loads(beside.read_bytes())
        if not isinstance(links, dict) or not {"parents"} <= links.keys() <= {"parents", "height"}:
            raise TreeFileError(f"{beside}: must be an object with parents and, if any, height")
        return tree_from_parents(labels, links["parents"], links.get("height"))
    except TreeFileError:
        raise
    except TreeError as error:
        raise TreeFileError(f"{path}: {error}") from error
    except FileNotFoundError as error:
        raise TreeFileError(f"{error.filename}: no such file; {path} needs it") from error
    except _DAMAGE as error:
        raise TreeFileError(f"{path}: cannot be read as a tree ({error})") from error


def _is_ours(path: Path) -> bool:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return "meta" in arrays.files and f'"{FORMAT}"' in str(arrays["meta"])
    except (*_DAMAGE, KeyError):
        return True  # RegionTree.load says exactly what is wrong


def _label_picture(path: Path) -> NDArray[Any]:
    with Image.open(path) as image:
        if image.mode not in ("L", "P", "I", "I;16", "I;16L", "I;16B"):
            raise TreeFileError(
                f"{path}: is a {image.mode} picture; labels are one channel of 8, 16 or 32 bits"
            )
        labels: NDArray[Any] = np.asarray(image)
    return labels
