"""The contingency table of an image: pixels of each leaf with each value of the ground truth.

A node is the union of its leaves. A ground-truth region is the union of the mask values of its
class. So every overlap that a score needs is a sum of entries of this table. The pixels are read
once, whatever the number of nodes and classes, and no node becomes a mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError
from regiontree.metrics.classes import ClassTree
from regiontree.tree.kernel import accumulate_sum

__all__ = ["Contingency", "contingency", "node_counts", "region_counts"]

_MAX_LOOKUP = 1 << 24  # below this, a table gives the column of a mask value; above, a search
_MAX_ENTRIES = 1 << 26  # of 8 bytes: 512 MB
_BAND = 1 << 22  # pixels counted at once, because bincount makes a copy of 64 bits

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Contingency:
    """Pixels of each leaf with each mask value.

    Attributes
    ----------
    counts : (L, K) int64
        Pixels of leaf l that hold value ``ids[k]``.
    ids : (K,) int64
        Mask values that occur, ascending.
    """

    counts: Int64
    ids: Int64


def contingency(
    labels: NDArray[np.integer], truth: NDArray[np.integer], n_leaves: int
) -> Contingency:
    """Count the pixels of each leaf with each mask value.

    Parameters
    ----------
    labels : (H, W) integers
        Leaf of each pixel, 0 to `n_leaves` - 1.
    truth : (H, W) integers
        Mask of the ground truth; any values, negative ones too.
    n_leaves
        Leaves of the tree.

    Raises
    ------
    DataError
        Shapes differ, labels are not leaves, or the mask does not hold classes.

    Examples
    --------
    >>> table = contingency(np.array([[0, 0, 1], [2, 2, 2]]), np.array([[7, 7, 7], [7, 0, 0]]), 3)
    >>> table.ids
    array([0, 7])
    >>> table.counts
    array([[0, 2],
           [0, 1],
           [2, 1]])
    """
    labels, truth = np.asarray(labels), np.asarray(truth)
    if truth.ndim != 2 or labels.shape != truth.shape or not truth.size:
        raise DataError(
            f"labels have shape {labels.shape} and the mask {truth.shape}: both must be (H, W); "
            "bring one to the size of the other, by nearest neighbour"
        )
    if truth.dtype.kind not in "iu" or labels.dtype.kind not in "iu":
        raise DataError(f"labels and mask must be integers, got {labels.dtype} and {truth.dtype}")
    if labels.min() < 0 or labels.max() >= n_leaves:
        raise DataError(
            f"labels hold {labels.min()} to {labels.max()}, the leaves are 0 to {n_leaves - 1}"
        )
    low, high = int(truth.min()), int(truth.max())
    lookup = None
    if low >= 0 and high < _MAX_LOOKUP:
        seen = np.zeros(high + 1, dtype=bool)
        seen[truth] = True
        ids = np.flatnonzero(seen)
        lookup = np.cumsum(seen, dtype=np.int32) - 1
    else:
        ids = np.unique(truth)
    if n_leaves * len(ids) > _MAX_ENTRIES:
        raise DataError(
            f"the mask holds {len(ids)} different values, too many for classes; is it a picture?"
        )
    counts = np.zeros(n_leaves * len(ids), dtype=np.int64)
    bands = 1 + truth.size // _BAND
    for leaf, value in zip(
        np.array_split(labels, bands), np.array_split(truth, bands), strict=True
    ):
        entry = leaf.astype(np.int64)
        entry *= len(ids)
        entry += np.searchsorted(ids, value) if lookup is None else lookup[value]
        counts += np.bincount(entry.reshape(-1), minlength=len(counts))
    return Contingency(counts.reshape(n_leaves, len(ids)), ids.astype(np.int64))


def node_counts(parents: NDArray[np.integer], leaves: Int64) -> Int64:
    """A row for each node, (N, K): the sum of the rows of its leaves, from (L, K).

    Raises
    ------
    DataError
        The tree does not have L leaves.
    """
    n = len(parents)
    n_leaves = 1 if n == 1 else int(np.min(parents))  # leaves come first: the first parent
    if len(leaves) != n_leaves:
        raise DataError(f"the table has {len(leaves)} rows, but the tree has {n_leaves} leaves")
    return accumulate_sum(parents, np.pad(leaves, ((0, n - n_leaves), (0, 0))))


def region_counts(
    parents: NDArray[np.integer], table: Contingency, classes: ClassTree
) -> tuple[Int64, NDArray[np.int32]]:
    """Pixels of each node in the region of each class that is present.

    A class is present if a pixel is of it or of a class below it. Ignored values count nowhere.

    Returns
    -------
    counts : (N, R) int64
        Row N - 1, the root, holds the size of each region.
    present : (R,) int32
        The classes, ascending. So each class comes after the classes that contain it.

    Raises
    ------
    DataError
        The mask holds a value that the label tree does not know, or the table is of another tree.

    Examples
    --------
    >>> classes = ClassTree(("background", "person", "head"), [-1, -1, 1], {0: 0, 5: 1, 6: 2})
    >>> table = Contingency(np.array([[3, 0, 0], [0, 1, 2]]), np.array([0, 5, 6]))
    >>> region_counts(np.array([2, 2, 2]), table, classes)
    (array([[3, 0, 0],
           [0, 3, 2],
           [3, 3, 2]]), array([0, 1, 2], dtype=int32))
    """
    found = classes.of(table.ids)
    counted = found >= 0
    inside = classes.contains[found[counted]]
    present = np.flatnonzero(inside.any(axis=0))
    leaves = table.counts[:, counted] @ inside[:, present].astype(np.int64)
    return node_counts(parents, leaves), present.astype(np.int32)
