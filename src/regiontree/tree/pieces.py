"""Connected pieces of all nodes of a tree, found at once.

A node may lie in several places, as ten balloons do. Each place is a *piece*: pixels of the node
that are connected through their sides. A piece of a node lies within one piece of the node's
parent. So the pieces of all nodes form a tree of their own. Its leaves are the pieces of leaves.

Pieces of leaves come from the runs of the label map (:mod:`regiontree.tree.components`). Two that
touch are joined by the lowest node that holds both. Such links, taken from the lowest node up, join
pieces until the whole image is one. So each pixel is visited once, however many nodes there are.

This is Kruskal's algorithm, with the tree's nodes as weights (Najman, Cousty and Perret, Playing
with Kruskal, ISMM 2013).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.system.jit import jit
from regiontree.system.lazy import lazy
from regiontree.tree import kernel
from regiontree.tree.components import Components
from regiontree.tree.nodata import no_data_nodes
from regiontree.tree.paths import lowest_common_ancestor

__all__ = ["NodePieces", "pieces_of_nodes"]

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class NodePieces:
    """The connected pieces of all nodes of a region tree, each set of pixels once.

    Pixels are connected through their sides. Pixels without data count as one piece wherever they
    are.

    Attributes
    ----------
    labels : (H, W) int32
        The smallest piece that holds each pixel, a piece of a leaf: 0 to A - 1, in the order of
        their first pixels.
    parents : (K,) int32
        The next larger piece around each piece, in the order of
        :class:`~regiontree.tree.RegionTree`: pieces of leaves first, the whole image last.
    area : (K,) int64
        Pixels of each piece.
    node : (K,) int32
        The lowest node that it is a piece of. It is also a piece of the nodes above, up to the one
        that joins it with others.
    is_node : (K,) bool
        Whether it is a whole node, so that :meth:`RegionTree.mask` gives it, too.
    """

    labels: Int32
    parents: Int32
    area: Int64
    node: Int32
    is_node: Bools

    def __len__(self) -> int:
        return len(self.parents)

    def mask(self, piece: int) -> Bools:
        """Pixels of a piece, (H, W) bool."""
        mask: Bools = self.walk.holds(piece, np.arange(self.n_smallest))[self.labels]
        return mask

    @lazy
    def n_smallest(self) -> int:
        """Number of pieces of leaves, A."""
        return len(self.parents) - int(kernel.is_inner(self.parents).sum())

    @lazy
    def first(self) -> Int32:
        """The piece of a leaf that holds the first pixel of each piece, row by row, (K,) int32."""
        number = np.arange(len(self.parents), dtype=np.int32)
        number[self.n_smallest :] = self.n_smallest
        lowest: Int32 = -kernel.accumulate_max(self.parents, -number)
        return lowest

    @lazy
    def walk(self) -> kernel.Preorder:
        """The pieces in an order in which each is followed by those within it."""
        return kernel.preorder(self.parents)


def pieces_of_nodes(
    labels: Int32,
    parents: NDArray[np.integer[Any]],
    area: NDArray[np.integer[Any]],
    stop: NDArray[np.integer[Any]],
) -> NodePieces:
    """The connected pieces of all nodes.

    Parameters
    ----------
    labels, parents, area, stop
        The tree, as in :class:`~regiontree.tree.RegionTree`.

    Examples
    --------
    Nodes 0 and 1 make node 3. Each of them is in two pieces, and so is node 3. Piece 5 is the left
    piece of node 3, and piece 6 the right one:

    >>> labels = np.array([[0, 2, 0], [1, 2, 1]], np.int32)
    >>> pieces = pieces_of_nodes(labels, np.array([3, 3, 4, 4, 4]), np.array([2, 2, 2, 4, 6]),
    ...                          np.array([1, 1, 1, 0, 0]))
    >>> pieces.labels
    array([[0, 1, 2],
           [3, 1, 4]], dtype=int32)
    >>> pieces.parents.tolist(), pieces.node.tolist()
    ([5, 7, 6, 5, 6, 7, 7, 7], [0, 2, 0, 1, 1, 3, 3, 4])
    """
    parts = Components.of(labels)
    size = parts.size()
    leaf = labels.reshape(-1)[parts.first()].astype(np.int64)
    a, b, _ = parts.touching(np.ones(len(size), bool))
    once = a < b
    a, b = a[once], b[once]
    number = np.arange(len(size), dtype=np.int32)
    absent = no_data_nodes(stop)[leaf]
    if absent.any():  # all of a leaf without data becomes its first piece
        first = np.full(len(parents), -1)
        first[leaf[absent][::-1]] = np.flatnonzero(absent)[::-1]
        kept = ~absent
        kept[first[leaf[absent]]] = True
        number = (np.cumsum(kept) - 1).astype(np.int32)
        number[absent] = number[first[leaf[absent]]]
        a, b, leaf = number[a].astype(np.int64), number[b].astype(np.int64), leaf[kept]
        size = np.bincount(number, size).astype(np.int64)
    at = lowest_common_ancestor(parents, leaf[a], leaf[b])
    order = np.argsort(at, kind="stable")
    up, node = _joined(leaf, a[order], b[order], at[order])
    piece_area = kernel.accumulate_sum(up, np.pad(size, (0, len(up) - len(size))))
    return NodePieces(
        labels=parts.painted(number),
        parents=up.astype(np.int32),
        area=piece_area,
        node=node.astype(np.int32),
        is_node=piece_area == area[node],
    )


@jit()
def _joined(leaf: Int64, a: Int64, b: Int64, at: Int64) -> tuple[Int64, Int64]:
    """The tree of pieces: the parent of each piece, and its lowest node, (K,) int64 both.

    Parameters
    ----------
    leaf : (A,) int64
        The leaf of each piece of a leaf.
    a, b : (links,) int64
        Pieces of leaves that touch.
    at : (links,) int64
        The lowest node that holds both, never falling.
    """
    n = len(leaf)
    root = np.arange(n)  # a union-find over pieces of leaves
    up, node = np.arange(2 * n), np.zeros(2 * n, np.int64)
    node[:n] = leaf
    piece = np.arange(n)  # the largest piece so far, of the roots of the union-find
    outer = np.full(n, -1)  # the piece that a group makes, of its roots
    one, other = np.empty(len(a), np.int64), np.empty(len(a), np.int64)
    made = n
    first = 0
    while first < len(a):
        last = first
        while last < len(a) and at[last] == at[first]:
            one[last], other[last] = _root(root, a[last]), _root(root, b[last])
            last += 1
        for link in range(first, last):
            x, y = _root(root, one[link]), _root(root, other[link])
            root[max(x, y)] = min(x, y)
        for link in range(first, last):
            if one[link] == other[link]:
                continue
            whole = _root(root, one[link])
            if outer[whole] < 0:
                outer[whole] = made
                node[made] = at[first]
                made += 1
            up[piece[one[link]]] = up[piece[other[link]]] = outer[whole]
        for link in range(first, last):
            whole = _root(root, one[link])
            if outer[whole] >= 0:
                piece[whole] = outer[whole]
                outer[whole] = -1
        first = last
    return up[:made].copy(), node[:made].copy()


@jit()
def _root(root: Int64, at: np.int64) -> np.int64:
    """The root of a point in a union-find, (N,) int64."""
    while root[at] != at:
        root[at] = root[root[at]]
        at = root[at]
    return at
