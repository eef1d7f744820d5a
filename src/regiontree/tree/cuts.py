"""Cuts: which nodes of a tree make a partition of the image.

A cut divides some nodes, the root first and no node before its parent. It shows the nodes that are
not divided and whose parent is. These partition the image. The order of divisions is that of
:func:`regiontree.tree.kernel.division_order`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError, plain_value
from regiontree.tree import kernel
from regiontree.tree.checks import is_number

__all__ = [
    "cut_criterion",
    "divided_by",
    "node_of_leaf",
    "nodes_without_small_children",
    "regions_after",
    "shown_nodes",
    "shown_range",
]

Parents = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


def cut_criterion(natural_height: Any, **given: float | None) -> tuple[str, float]:
    """The one criterion given, as (name, value), or that of the natural cut if none is given.

    Raises
    ------
    TreeError
        More than one criterion, or a value that is not a number or too low.
    """
    found = [(name, value) for name, value in given.items() if value is not None]
    if len(found) > 1:
        raise TreeError(
            f"a cut takes one of {', '.join(list(given)[:-1])} and {list(given)[-1]}; got "
            + ", ".join(name for name, _ in found)
        )
    name, value = found[0] if found else ("height", natural_height)
    value = plain_value(value)
    least = 1 if name == "n_regions" else 0
    if not (is_number(value) and value >= least):
        raise TreeError(f"cut: {name} must be a number of at least {least}, got {value!r}")
    return name, value


def divided_by(
    criterion: tuple[str, float],
    parents: Parents,
    height: NDArray[np.float32],
    level: NDArray[np.integer[Any]],
    order: Int64,
) -> Bools:
    """Which nodes a cut divides, (N,) bool.

    Parameters
    ----------
    criterion
        From :func:`cut_criterion`.
    parents, height, level
        As in :class:`~regiontree.tree.RegionTree`.
    order
        Inner nodes in the order of divisions.
    """
    name, value = criterion
    divided = np.zeros(len(parents), dtype=bool)
    if name == "n_regions":
        fits = int(np.searchsorted(regions_after(parents, order), value, side="right"))
        divided[order[:fits]] = True
        return divided
    # A limit is compared in the precision of heights, whatever kind of number was given.
    limit = np.float32(min(value, float(np.finfo(np.float32).max)))
    divided[order] = height[order] > limit if name == "height" else level[order] < value
    return divided


def regions_after(parents: Parents, order: Int64) -> Int64:
    """Number of regions after each division of `order`, (inner nodes,) int64.

    >>> regions_after(np.array([4, 4, 4, 5, 5, 5]), np.array([5, 4]))
    array([2, 4])
    """
    ways = np.bincount(parents[:-1], minlength=len(parents))
    regions: Int64 = 1 + np.cumsum(ways[order] - 1)
    return regions


def shown_nodes(parents: Parents, divided: Bools) -> Int64:
    """The nodes that a cut shows, ascending: not divided, but their parent is.

    >>> shown_nodes(np.array([3, 3, 4, 4, 4]), np.array([0, 0, 0, 0, 1], bool))
    array([2, 3])
    """
    shown = ~divided
    shown[:-1] &= divided[parents[:-1]]
    return np.flatnonzero(shown)


def shown_range(parents: Parents, order: Int64) -> tuple[Int64, Int64]:
    """The numbers of regions whose cut shows each node: from the first to the last, (N,) int64.

    A cut into n regions is the finest into at most n. A node whose first number is above its last
    is in no such cut. Leaves have the largest int64 as their last number.

    Parameters
    ----------
    parents
    order
        Inner nodes in the order of divisions.

    Examples
    --------
    >>> first, last = shown_range(np.array([4, 4, 4, 5, 5, 5]), np.array([5, 4]))
    >>> first.tolist(), last[4:].tolist()
    ([4, 4, 4, 2, 2, 1], [3, 1])
    """
    last = np.full(len(parents), np.iinfo(np.int64).max)
    last[order] = regions_after(parents, order) - 1
    first = np.ones(len(parents), np.int64)
    first[:-1] = last[parents[:-1]] + 1
    return first, last


def node_of_leaf(parents: Parents, nodes: NDArray[np.integer[Any]], n_leaves: int) -> Int64:
    """Index into `nodes` of the one that holds each leaf, (L,) int64; -1 where none does.

    >>> node_of_leaf(np.array([3, 3, 4, 4, 4]), np.array([2, 3]), 3)
    array([1, 1, 0])
    """
    index = np.full(len(parents), -1, dtype=np.int64)
    index[nodes] = np.arange(len(nodes))
    found: Int64 = kernel.propagate(parents, index, index >= 0)[:n_leaves]
    return found


def nodes_without_small_children(parents: Parents, area: Int64, min_area: float) -> Int64:
    """The nodes shown, ascending, if no node with a child below `min_area` pixels is divided."""
    whole = ~kernel.is_inner(parents)
    whole[parents[:-1][area[:-1] < min_area]] = True
    # What is below a node that is not divided is not divided either.
    return shown_nodes(parents, ~whole[kernel.nearest_marked(parents, whole)])
