"""Trees whose nodes come in any order, put into the order that this package uses."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regiontree.errors import TreeError
from regiontree.tree import kernel

__all__ = ["renumbered"]

Int64 = NDArray[np.int64]


def renumbered(
    labels: ArrayLike, parents: ArrayLike, height: ArrayLike | None
) -> dict[str, NDArray[Any]]:
    """labels, parents and height of :class:`~regiontree.tree.RegionTree`, from any order of nodes.

    Parameters and errors as :meth:`RegionTree.from_parents
    <regiontree.tree.RegionTree.from_parents>`.
    """
    labels, parent = np.asarray(labels), np.asarray(parents)
    for name, array, ndim in (("labels", labels, 2), ("parents", parent, 1)):
        if array.ndim != ndim or array.dtype.kind not in "iu" or array.size == 0:
            raise TreeError(
                f"{name} must be {ndim}-D integers, got shape {array.shape} of {array.dtype}"
            )
    parent = _links(parent)
    inner = kernel.is_inner(parent)
    area = _leaf_areas(labels, inner)
    heights = _heights(height, parent, inner)
    # A node without a pixel is no region. Its parent keeps a pixel, or is none either.
    kept = np.flatnonzero(kernel.accumulate_sum(parent, area) > 0)
    at = np.full(len(parent), -1, dtype=np.int64)
    at[kept] = np.arange(len(kept))
    order = kernel.canonical_order(at[parent[kept]])
    nodes = kept[order]
    at[nodes] = np.arange(len(nodes))
    return {
        "labels": at[labels],
        "parents": at[parent[nodes]].astype(np.int32),
        "height": heights[nodes].astype(np.float32),
    }


def _links(parent: NDArray[Any]) -> Int64:
    """Parents as int64, the root its own, after all checks of them."""
    parent = parent.astype(np.int64)
    n = len(parent)
    roots = np.flatnonzero((parent < 0) | (parent == np.arange(n)))
    if len(roots) != 1:
        raise TreeError(f"parents: a tree has one root (-1 or its own parent), found {len(roots)}")
    if parent.max() >= n:
        raise TreeError(f"parents: {parent.max()} is not a node of {n}")
    parent[roots] = roots
    if (node := kernel.node_on_cycle(parent)) is not None:
        raise TreeError(f"parents: node {node} is an ancestor of itself")
    return parent


def _leaf_areas(labels: NDArray[Any], inner: NDArray[np.bool_]) -> Int64:
    """Pixels that lie in each node directly, after checking that these nodes are leaves."""
    n = len(inner)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n:
        raise TreeError(f"labels hold {low} to {high}, but parents has nodes 0 to {n - 1}")
    area: Int64 = np.bincount(labels.reshape(-1), minlength=n)
    if (stray := np.flatnonzero(inner & (area > 0))).size:
        raise TreeError(
            f"label {stray[0]} is a node with children, and {area[stray[0]]} pixels lie in it "
            "directly; give what is left over beside its children a leaf of its own"
        )
    return area


def _heights(
    height: ArrayLike | None, parent: Int64, inner: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """The heights given, after their check, or heights that fall with the depth."""
    if height is None:
        by_level: NDArray[np.float64] = np.where(inner, 1.0 / (1.0 + kernel.levels(parent)), 0.0)
        return by_level
    given = np.asarray(height)
    if given.shape != parent.shape or given.dtype.kind not in "fiu":
        raise TreeError(
            f"height must be {len(parent)} numbers, one a node, got shape {given.shape} of "
            f"{given.dtype}"
        )
    above = given[parent]
    if (high := np.flatnonzero(given > above)).size:
        i = int(high[0])
        raise TreeError(
            f"height of node {i} is {given[i]:g}, its parent's {above[i]:g}: a parent's is never "
            "below its children's; leave heights out to go by depth"
        )
    return given.astype(np.float64)
