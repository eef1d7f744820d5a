"""Heavy paths: ancestors, lowest common ancestors, and sums of floats in a fixed order.

The *heavy* child of a node is the one with the most nodes below it. A *path* starts at the root or
at any other child, and goes on from each node to its heavy child, down to a leaf. Every step from
one path to the next at least doubles the number of nodes below. So the way from any node to the
root meets at most log2(N) + 1 paths, however deep the tree is. Whole paths are then handled at
once, where a loop would go from node to node.

*Rank* counts the paths above: 0 on the root's path. All paths of one rank are worked on together.

Reference: Sleator and Tarjan, A data structure for dynamic trees, JCSS 1983.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.kernel import accumulate_sum, is_inner, nearest_marked, sum_to_root

__all__ = ["Paths", "heavy_paths", "lowest_common_ancestor", "sum_in_order", "sum_of_ancestors"]

_LONG = 64  # terms from which a running sum has a NumPy call of its own

Parents = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """The heavy paths of a tree.

    Attributes
    ----------
    parents : (N,) int64
    heavy : (N,) int64
        The heavy child of each node, of equals the highest number; -1 at leaves.
    head : (N,) int64
        The highest node of the path that each node is on.
    rank : (N,) int64
        Number of paths above the path of each node.
    order : (N,) int64
        The nodes path by path, each path from its leaf up to its head.
    place : (N,) int64
        Where each node is in `order`.
    """

    parents: Int64
    heavy: Int64
    head: Int64
    rank: Int64
    order: Int64
    place: Int64

    def ancestors(self, node: int) -> Int64:
        """From the parent of a node up to the root, (level,) int64."""
        pieces = []
        at = node
        while True:
            head = int(self.head[at])
            pieces.append(self.order[self.place[at] : self.place[head] + 1])
            if head == len(self.parents) - 1:
                return np.concatenate(pieces)[1:]
            at = int(self.parents[head])

    def lowest_common_ancestor(self, a: NDArray[Any], b: NDArray[Any]) -> Int64:
        """The lowest node that holds both nodes of each pair, (n,) int64."""
        a, b = np.array(a, dtype=np.int64), np.array(b, dtype=np.int64)
        apart = np.flatnonzero(self.head[a] != self.head[b])
        while len(apart):
            # A path's head has a higher number than all below it. So the node whose path has the
            # lower head cannot be the common ancestor, nor can any other node of that path.
            from_a, from_b = self.head[a[apart]], self.head[b[apart]]
            a_climbs = from_a < from_b
            a[apart[a_climbs]] = self.parents[from_a[a_climbs]]
            b[apart[~a_climbs]] = self.parents[from_b[~a_climbs]]
            apart = apart[self.head[a[apart]] != self.head[b[apart]]]
        common: Int64 = np.maximum(a, b)
        return common


def heavy_paths(parents: Parents) -> Paths:
    """The heavy paths of a tree in Higra's order.

    >>> paths = heavy_paths(np.array([6, 4, 4, 5, 5, 6, 6]))
    >>> paths.head    # one path goes 6, 5, 4, 2; the other three are a leaf each
    array([0, 1, 6, 3, 6, 6, 6])
    >>> paths.ancestors(1)
    array([4, 5, 6])
    """
    up = np.asarray(parents).astype(np.int64)
    n = len(up)
    index = np.arange(n)
    size = accumulate_sum(up, np.ones(n, dtype=np.int64))
    heaviest = np.full(n, -1, dtype=np.int64)  # of each node's children: size, then number
    np.maximum.at(heaviest, up[:-1], (size * n + index)[:-1])
    inner = is_inner(up)
    heavy = np.where(inner, heaviest % n, -1)
    begins = np.ones(n, dtype=bool)
    begins[heavy[inner]] = False
    head = nearest_marked(up, begins)
    rank = sum_to_root(up, begins & (index < n - 1))
    order = np.lexsort((index, head))
    place = np.empty(n, dtype=np.int64)
    place[order] = index
    return Paths(up, heavy, head, rank, order, place)


def lowest_common_ancestor(parents: Parents, a: NDArray[Any], b: NDArray[Any]) -> Int64:
    """The lowest node that holds both nodes of each pair, (n,) int64.

    Parameters
    ----------
    parents : (N,)
    a, b : (n,)
        Nodes. A node's common ancestor with itself, or with a node below, is the node.

    Examples
    --------
    >>> lowest_common_ancestor(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([1, 3, 4]), [2, 1, 0])
    array([4, 5, 6])
    """
    return heavy_paths(parents).lowest_common_ancestor(a, np.asarray(b))


# -- sums of floats -------------------------------------------------------------------------------


def sum_in_order(parents: Parents, values: NDArray[Any]) -> Floats:
    """Sum of floats over each node and all nodes below it, (N, ...) float64.

    The result has the same bits as this loop, in which a node's children are added to the node's
    own value one by one, the lowest number first::

        for i in range(len(parents) - 1):
            values[parents[i]] += values[i]

    >>> values = np.array([.1, .2, .3, .4, 0, 0, 0])
    >>> sum_in_order(np.array([6, 4, 4, 5, 5, 6, 6]), values).tolist()
    [0.1, 0.2, 0.3, 0.4, 0.5, 0.9, 1.0]
    """
    paths = heavy_paths(parents)
    index = np.arange(len(paths.head))
    sums = np.array(values, dtype=np.float64)
    light = np.flatnonzero(paths.head == index)[:-1]  # not the root, which is no child
    early = light < paths.heavy[paths.parents[light]]
    # 1. A node's own value and the children that come before its heavy child.
    firsts = _terms(paths, light[early], np.unique(paths.parents[light[early]]))
    # 2. Along a path, from its leaf up: the sum so far, what step 1 gave, the later children.
    rest = _terms(paths, light[~early], index)
    for rank in range(int(paths.rank.max()), -1, -1):
        for (owner, term), segments in ((firsts, firsts[0]), (rest, paths.head[rest[0]])):
            here = slice(*np.searchsorted(-paths.rank[owner], [-rank, -rank + 1]))
            running = sums[term[here]]
            _add_up(running, np.diff(segments[here], prepend=-1) != 0)
            last = np.diff(owner[here], append=-1) != 0
            sums[owner[here][last]] = running[last]
    return sums


def sum_of_ancestors(parents: Parents, values: Floats) -> Floats:
    """Sum of floats over the ancestors of each node, (N,) float64; 0 at the root.

    The result has the same bits as adding from the root down.

    >>> sum_of_ancestors(np.array([6, 4, 4, 5, 5, 6, 6]), np.array([0, 0, 0, 0, .25, .5, 1.]))
    array([1.  , 1.75, 1.75, 1.5 , 1.5 , 1.  , 0.  ])
    """
    paths = heavy_paths(parents)
    down = paths.order[::-1]
    down = down[np.argsort(paths.rank[down], kind="stable")]
    begins = paths.head[down] == down
    sums = np.zeros(len(down))
    bounds = np.searchsorted(paths.rank[down], np.arange(int(paths.rank.max()) + 2))
    for first, last in zip(bounds[:-1], bounds[1:], strict=True):
        nodes, begin = down[first:last], begins[first:last]
        above = paths.parents[nodes]
        running = values[above].astype(np.float64)
        running[begin] = sums[above[begin]] + running[begin]
        if first == 0:
            running[0] = 0.0
        _add_up(running, begin)
        sums[nodes] = running
    return sums


def _terms(paths: Paths, children: Int64, owners: Int64) -> tuple[Int64, Int64]:
    """What is added to what: (owner, term), by rank, path and owner, the owner's own term first."""
    owner = np.concatenate([owners, paths.parents[children]])
    term = np.concatenate([owners, children])
    by = np.lexsort(
        (np.where(term == owner, -1, term), owner, paths.head[owner], -paths.rank[owner])
    )
    return owner[by], term[by]


def _add_up(terms: Floats, begins: NDArray[np.bool_]) -> None:
    """Turn terms into running sums that begin anew where `begins` says, each added in order.

    Short segments are added up together, one position a round; long ones one by one.
    """
    start = np.flatnonzero(begins)
    length = np.diff(start, append=len(terms))
    for first, n in zip(start[length > _LONG], length[length > _LONG], strict=True):
        np.add.accumulate(terms[first : first + n], axis=0, out=terms[first : first + n])
    start, length = start[length <= _LONG], length[length <= _LONG]
    for position in range(1, int(length.max(initial=0))):
        start, length = start[length > position], length[length > position]
        terms[start + position] += terms[start + position - 1]
