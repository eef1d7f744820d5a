"""Questions about trees as parent arrays, each answered in one place.

A tree of N nodes is one array: ``parents[i]`` is the parent of node i. Nodes are in the order that
Higra uses: leaves first, every parent after its children, the root last and its own parent.

No function here loops over nodes, and none needs more than O(N) memory. *Pointer jumping* replaces
such loops. Every node points at its parent. In each round every node takes over the pointer of the
node that it points at, so the distance doubles: log2(depth) rounds reach the root. A chain of
100,000 nodes takes 17 rounds. :mod:`regiontree.tree.paths` holds what needs another idea: sums of
floats in a fixed order, ancestors and lowest common ancestors.

The examples are about this tree::

    6
    ├─ 0
    └─ 5
       ├─ 3
       └─ 4
          ├─ 1
          └─ 2

References: Wyllie, The Complexity of Parallel Computations, 1979 (pointer jumping); Perret et al.,
Higra: hierarchical graph analysis, SoftwareX 2019 (the order; accumulate and propagate).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Preorder",
    "accumulate_any",
    "accumulate_max",
    "accumulate_sum",
    "canonical_order",
    "children",
    "connected_pieces",
    "division_order",
    "is_inner",
    "levels",
    "nearest_marked",
    "node_on_cycle",
    "preorder",
    "propagate",
    "sum_to_root",
]

Parents = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


# -- from the root down ---------------------------------------------------------------------------


def levels(parents: Parents) -> Int64:
    """Number of steps from each node up to the root, (N,) int64; any order of nodes.

    >>> levels(np.array([6, 4, 4, 5, 5, 6, 6]))
    array([1, 3, 3, 2, 2, 1, 0])
    """
    return sum_to_root(parents, np.asarray(parents) != np.arange(len(parents)))


def sum_to_root(parents: Parents, values: ArrayLike) -> Int64:
    """Sum of whole numbers over each node and all its ancestors, (N,) int64; any order of nodes.

    >>> sum_to_root(np.array([6, 4, 4, 5, 5, 6, 6]), [1, 2, 3, 4, 50, 600, 7000])
    array([7001, 7652, 7653, 7604, 7650, 7600, 7000])
    """
    sums = np.array(values, dtype=np.int64)
    for nodes, above in _jumps(parents):
        sums[nodes] += sums[above]
    return sums


def nearest_marked(parents: Parents, marked: Bools) -> Int64:
    """The lowest marked node among each node and its ancestors, (N,); the root if none is marked.

    >>> nearest_marked(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([0, 0, 1, 0, 0, 1, 0], bool))
    array([6, 5, 2, 5, 5, 5, 6])
    """
    at: Int64 = np.where(marked, np.arange(len(parents)), parents).astype(np.int64)
    moving = np.flatnonzero(at[at] != at)
    while len(moving):
        before = at[moving]
        after = at[before]
        at[moving] = after
        moving = moving[after != before]
    return at


def propagate(parents: Parents, values: NDArray[Any], marked: Bools) -> NDArray[Any]:
    """Values of marked nodes handed down to all nodes below that are not marked: (N, ...).

    A node that has no marked node above it gets the root's value.

    >>> values, marked = np.array([0, 0, 2, 0, 0, 5, 9]), np.array([0, 0, 1, 0, 0, 1, 0], bool)
    >>> propagate(np.array([6, 4, 4, 5, 5, 6, 6]), values, marked)
    array([9, 5, 2, 5, 5, 5, 9])
    """
    handed: NDArray[Any] = values[nearest_marked(parents, marked)]
    return handed


# -- from the leaves up ---------------------------------------------------------------------------


def accumulate_sum(parents: Parents, values: NDArray[Any]) -> Int64:
    """Sum of whole numbers over each node and all nodes below it, (N, ...) int64.

    Floats belong to :func:`regiontree.tree.paths.sum_in_order`: their sum depends on the order.

    >>> accumulate_sum(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([10, 1, 2, 3, 0, 0, 0]))
    array([10,  1,  2,  3,  3,  6, 16])
    """
    return _accumulated(np.add, parents, values.astype(np.int64))


def accumulate_max(parents: Parents, values: NDArray[Any]) -> NDArray[Any]:
    """The largest value of each node and all nodes below it, (N, ...), of the dtype of `values`.

    >>> accumulate_max(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([.5, .1, .4, .2, .3, 0, 0]))
    array([0.5, 0.1, 0.4, 0.2, 0.4, 0.4, 0.5])
    """
    return _accumulated(np.maximum, parents, values.copy())


def accumulate_any(parents: Parents, values: Bools) -> Bools:
    """Whether a value is true at each node or at any node below it, (N, ...) bool.

    >>> accumulate_any(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([0, 0, 1, 0, 0, 0, 0], bool))
    array([False, False,  True, False,  True,  True,  True])
    """
    return _accumulated(np.maximum, parents, values.astype(np.uint8)).astype(bool)


def _accumulated(ufunc: np.ufunc, parents: Parents, values: NDArray[Any]) -> NDArray[Any]:
    """`ufunc` over each node and all below it, written into `values`.

    After k rounds a node has everything that lies less than 2^k steps below it. A round hands this
    on to the node 2^k steps above. The result is exact if `ufunc` gives the same in any order.
    """
    values = np.ascontiguousarray(values)  # in another order, `flat` would be a copy
    flat = values.reshape(-1)  # ufunc.at is fast in one dimension only
    width = values.size // len(parents)
    for nodes, above in _jumps(parents):
        at = (above[:, None] * width + np.arange(width)).reshape(-1)
        ufunc.at(flat, at, values[nodes].reshape(-1))
    return values


def _jumps(parents: Parents) -> Iterator[tuple[Int64, Int64]]:
    """For k = 0, 1, ...: the nodes that have an ancestor 2^k steps up, and that ancestor."""
    n = len(parents)
    up = np.append(parents, n).astype(np.int64)  # node n stands for everything beyond the root
    up[:-1][up[:-1] == np.arange(n)] = n
    nodes = np.flatnonzero(up[:-1] < n)
    while len(nodes):
        above = up[nodes]
        yield nodes, above
        further = up[above]
        up[nodes] = further
        nodes = nodes[further < n]


# -- orders of the nodes --------------------------------------------------------------------------


def is_inner(parents: Parents) -> Bools:
    """Whether each node has a child, (N,) bool; any order of nodes.

    >>> is_inner(np.array([3, 3, 3, 3])).tolist()
    [False, False, False, True]
    """
    inner = np.zeros(len(parents), dtype=bool)
    inner[parents[np.asarray(parents) != np.arange(len(parents))]] = True
    return inner


def children(parents: Parents, area: NDArray[Any]) -> tuple[Int64, Int64]:
    """The children of all nodes, each node's largest first and of equals the lowest number first.

    Returns
    -------
    start : (N + 1,) int64
        The children of node i are ``nodes[start[i] : start[i + 1]]``.
    nodes : (N - 1,) int64

    Examples
    --------
    >>> start, nodes = children(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([4, 1, 1, 2, 2, 4, 8]))
    >>> nodes[start[4] : start[5]], nodes[start[6] : start[7]]
    (array([1, 2]), array([0, 5]))
    """
    up = np.asarray(parents)[:-1]
    nodes = np.lexsort((-np.asarray(area)[:-1], up))  # stable: of equals the lowest number first
    return np.append(0, np.cumsum(np.bincount(up, minlength=len(parents)))), nodes


def division_order(parents: Parents, height: NDArray[Any]) -> Int64:
    """Inner nodes in the order in which every cut and every budget divides them.

    The highest comes first. Of equally high nodes the one nearer to the root comes first, and then
    the one of the larger number. So every node comes after its parent.

    >>> division_order(np.array([4, 4, 5, 5, 6, 6, 6]), np.array([0, 0, 0, 0, .5, .5, 1]))
    array([6, 5, 4])
    """
    inner = np.flatnonzero(is_inner(parents))
    order: Int64 = inner[np.lexsort((-inner, levels(parents)[inner], -height[inner]))]
    return order


def canonical_order(parents: Parents) -> Int64:
    """Nodes of any order put into Higra's: node ``order[i]`` becomes node i.

    Leaves keep their order. Inner nodes follow, the deepest first, and keep their order within a
    level.

    >>> order = canonical_order(np.array([0, 0, 0, 2, 2]))    # root 0, inner node 2
    >>> order
    array([1, 3, 4, 2, 0])
    >>> new = np.empty(5, int)
    >>> new[order] = np.arange(5)
    >>> new[np.array([0, 0, 0, 2, 2])[order]]
    array([4, 3, 3, 4, 4])
    """
    inner = is_inner(parents)
    order: Int64 = np.lexsort((np.where(inner, -levels(parents), 0), inner))
    return order


def node_on_cycle(parents: Parents) -> int | None:
    """A node that is its own ancestor by way of other nodes, or None if there is no such node.

    `parents` are in any order; a root is its own parent.

    >>> node_on_cycle(np.array([0, 2, 3, 1])), node_on_cycle(np.array([0, 0, 0, 2]))
    (1, None)
    """
    index = np.arange(len(parents))
    is_root = np.asarray(parents) == index
    up = np.array(parents, dtype=np.int64)
    for _ in range(len(parents).bit_length()):  # 2^rounds > N steps: every way out is walked
        up = up[up]
    lost = ~is_root[up]
    return int(up[lost].min()) if lost.any() else None


@dataclass(frozen=True, slots=True, eq=False)
class Preorder:
    """The nodes in an order in which every node is followed by all nodes below it.

    Attributes
    ----------
    order : (N,) int64
        The node at each place.
    place : (N,) int64
        The place of each node. Those below a node are at ``place + 1`` to ``place + size - 1``.
    size : (N,) int64
        Number of nodes below each node, plus one.
    """

    order: Int64
    place: Int64
    size: Int64

    def holds(self, a: Any, b: Any) -> Bools:
        """Whether node `a` is node `b` or an ancestor of it; arrays are broadcast."""
        steps = self.place[b] - self.place[a]
        inside: Bools = (steps >= 0) & (steps < self.size[a])
        return inside


def preorder(parents: Parents) -> Preorder:
    """Nodes from the root down, each followed by all below it, the highest child number first.

    >>> walk = preorder(np.array([6, 4, 4, 5, 5, 6, 6]))
    >>> walk.order, walk.size
    (array([6, 5, 4, 2, 1, 3, 0]), array([1, 1, 1, 1, 3, 5, 7]))
    >>> walk.holds(5, np.arange(7)).tolist()
    [False, True, True, True, True, True, False]
    """
    n = len(parents)
    size = accumulate_sum(parents, np.ones(n, dtype=np.int64))
    # Siblings side by side, the highest number first: each comes behind those before it.
    siblings = n - 2 - np.argsort(parents[:-1][::-1], kind="stable")
    before = np.cumsum(size[siblings]) - size[siblings]
    first = np.diff(parents[siblings], prepend=-1) != 0
    first_before = before[np.maximum.accumulate(np.where(first, np.arange(n - 1), 0))]
    offset = np.zeros(n, dtype=np.int64)  # from the parent's place
    offset[siblings] = 1 + before - first_before
    place = sum_to_root(parents, offset)
    order = np.empty(n, dtype=np.int64)
    order[place] = np.arange(n)
    return Preorder(order, place, size)


# -- graphs ---------------------------------------------------------------------------------------


def connected_pieces(n: int, a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.int32]:
    """The connected piece of each of `n` points that links ``a[i]`` to ``b[i]`` join, (n,) int32.

    >>> connected_pieces(5, np.array([0, 3]), np.array([2, 4]))
    array([0, 1, 0, 2, 2], dtype=int32)
    """
    # Here, as reading a tree needs nothing of SciPy, and loading it takes long.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
    pieces: NDArray[np.int32] = connected_components(links, directed=False)[1]
    return pieces
