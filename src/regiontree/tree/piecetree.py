"""The tree of pieces: a node in several places is divided into its pieces before anything else.

From the root down, what lies below a node is looked at within each piece of the node:

- A node in one piece stays as it is.
- A node in several pieces stays, with its pieces as children. A piece goes on with what the node's
  children have within it.
- Below a piece there are only pieces. The node "ears" of two dogs has two ears in each dog. These
  are nodes below each dog. The node of all four ears lies within no dog, so it is left out.
- Equal sets of pixels are one node.

So each node is a node of the first tree or one piece of it.

*Heights.* A piece has the height of its node. A node in several pieces has the height of its
parent. So a cut by height that shows a node in the first tree shows its pieces in this one.

*Specks* are pieces below a smallest area. A speck joins the nearest piece of the same node, and so
every pixel stays in its leaf. Of equally near pieces, the speck joins the largest, and then the one
with the first pixel. Below a piece, only what lies within this piece counts. A node that has only
specks there is one node there, not divided: the small head of a small dog stays with its dog.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.system.jit import jit
from regiontree.system.lazy import lazy
from regiontree.tree import kernel
from regiontree.tree.components import Components
from regiontree.tree.paths import heavy_paths, sum_in_order
from regiontree.tree.pieces import NodePieces
from regiontree.tree.stop import StopReason

__all__ = ["piece_tree", "smallest_piece"]

_SHARE = 2000  # the image has so many specks, if the tree does not say how large its patches are

Parents = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]


def smallest_piece(shape: tuple[int, int], meta: Mapping[str, Any]) -> int:
    """Pixels of the smallest piece that is no speck: half a patch, as the refinement counts.

    Without the size of the grid in `meta`, it is a share of the image that is about as large.

    >>> smallest_piece((480, 640), {"image": {"grid": [28, 37]}})
    148
    >>> smallest_piece((480, 640), {})
    154
    """
    pixels, patches = shape[0] * shape[1], _SHARE / 2
    image = meta.get("image")
    grid = image.get("grid") if isinstance(image, Mapping) else None
    if isinstance(grid, list) and len(grid) == 2:
        sides = [side for side in grid if isinstance(side, int) and 0 < side <= pixels]
        patches = sides[0] * sides[1] if len(sides) == 2 else patches
    return max(1, round(pixels / (2 * patches)))


def piece_tree(
    pieces: NodePieces,
    min_area: int,
    *,
    parents: NDArray[np.int32],
    area: Int64,
    height: NDArray[np.float32],
    ncut: NDArray[np.float32],
    stop: NDArray[np.uint8],
    embedding: NDArray[np.float16] | None,
    descriptor: NDArray[np.float16] | None = None,
    stability: NDArray[np.float16] | None = None,
) -> dict[str, NDArray[Any] | None]:
    """The arrays of the tree of pieces.

    Parameters
    ----------
    pieces
        The pieces of all nodes of the tree.
    min_area
        A piece of fewer pixels is a speck.
    parents, area, height, ncut, stop, embedding, descriptor, stability
        The tree, as in :class:`~regiontree.tree.RegionTree`.

    Returns
    -------
    dict
        labels, parents, height, ncut, stop, embedding, descriptor and stability. Nodes keep the
        order of the first tree. A piece of a leaf has the leaf's embedding and descriptor. The
        embedding of another piece is the mean of its leaves', weighted by area, at unit length. The
        normalised cut of a piece is 0. A piece has the stability of its node.
    """
    made = _divided(pieces, min_area, parents, area)
    node, whole = np.array(made.node), np.array(made.whole)
    is_leaf = np.array(made.is_leaf)
    # In the order of the first tree. A node in several pieces comes after its pieces.
    order = np.lexsort((np.array(made.first), whole, node, ~is_leaf))
    new = np.empty(len(order), np.int64)
    new[order] = np.arange(len(order))
    up = new[np.array(made.above)[order]]
    node, whole, n_leaves = node[order], whole[order], int(is_leaf.sum())
    leaf_of = np.empty(pieces.n_smallest, np.int32)
    for number, own in made.members.items():
        leaf_of[own] = new[number]

    leaf_area = np.bincount(leaf_of, pieces.area[: len(leaf_of)], minlength=len(up))
    partial = kernel.accumulate_sum(up, leaf_area) < area[node]
    stop = stop[node]
    stop[n_leaves:] = StopReason.INNER
    if embedding is not None:
        some = np.flatnonzero(partial[n_leaves:]) + n_leaves
        sums = np.zeros((len(up), embedding.shape[1]))
        sums[:n_leaves] = leaf_area[:n_leaves, None] * embedding[node[:n_leaves]]
        means = sum_in_order(up, sums)[some]
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
        embedding = embedding[node]
        embedding[some] = means
    return {
        "labels": leaf_of[pieces.labels],
        "parents": up.astype(np.int32),
        "height": height[np.where(whole, node[up], node)],
        "ncut": np.where(partial, np.float32(0), ncut[node]),
        "stop": stop,
        "embedding": embedding,
        "descriptor": None if descriptor is None else descriptor[node[:n_leaves]],
        "stability": None if stability is None else stability[node],
    }


# -- which nodes there are ------------------------------------------------------------------------


@dataclass(slots=True)
class _Made:
    """The nodes of the tree of pieces as they are made, each after its parent.

    Attributes
    ----------
    above
        The parent of each; the root's is itself.
    node
        The node of the first tree that each is, or that it is a piece of: the lowest.
    whole
        Whether its children are its pieces.
    is_leaf
    first
        The piece of a leaf that its first pixel lies in, for an order.
    members
        The connected pieces of each leaf.
    """

    above: list[int] = field(default_factory=list)
    node: list[int] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    is_leaf: list[bool] = field(default_factory=list)
    first: list[int] = field(default_factory=list)
    members: dict[int, list[int]] = field(default_factory=dict)

    def add(self, node: int, above: int, members: list[int], first: int, kind: str) -> int:
        number = len(self.node)
        self.node.append(node)
        self.above.append(above)
        self.whole.append(kind == "whole")
        self.is_leaf.append(kind == "leaf")
        self.first.append(first)
        if kind == "leaf":
            self.members[number] = members
        return number


def _divided(pieces: NodePieces, min_area: int, parents: Parents, area: Int64) -> _Made:
    """The nodes of the tree of pieces.

    A node on its way is a list of connected pieces: a large one, and specks that joined it.
    """
    below, paths = _Children(parents), heavy_paths(parents)
    start, inside = (found.tolist() for found in kernel.children(pieces.parents, pieces.area))
    lowest, size, first = pieces.node.tolist(), pieces.area.tolist(), pieces.first.tolist()
    n_leaves = len(parents) - int(kernel.is_inner(parents).sum())
    places = _Places(pieces)
    made = _Made()
    todo = [([len(pieces) - 1], 0)]
    while todo:
        members, above = todo.pop()
        # The lowest node that holds all members. Nodes between hold the same pixels of this piece.
        at = lowest[members[0]]
        for member in members[1:]:
            if not below.holds(at, lowest[member]):
                pair = np.array([at, lowest[member]])
                at = int(paths.lowest_common_ancestor(pair[:1], pair[1:])[0])
        kind = "leaf" if at < n_leaves else "inner"
        number = made.add(at, above, members, min(first[member] for member in members), kind)
        if at < n_leaves:
            continue
        parts: dict[int, list[int]] = {}
        for member in members:
            divided = lowest[member] == at
            for piece in inside[start[member] : start[member + 1]] if divided else [member]:
                parts.setdefault(below.child(at, lowest[piece]), []).append(piece)
        for child, group in parts.items():
            large = [piece for piece in group if size[piece] >= min_area]
            if len(large) < 2:
                todo.append((group, number))
                continue
            large.sort(key=lambda piece: (-size[piece], first[piece]))
            holder = number
            if sum(size[piece] for piece in group) == area[child]:
                holder = made.add(child, number, group, min(first[i] for i in group), "whole")
            joined = [[piece] for piece in large]
            specks = [piece for piece in group if size[piece] < min_area]
            for speck, to in zip(specks, places.nearest(specks, large), strict=True):
                joined[to].append(speck)
            todo.extend((found, holder) for found in joined)
    return made


class _Children:
    """Which child of a node holds a node below it."""

    def __init__(self, parents: Parents) -> None:
        walk = kernel.preorder(parents)
        self.place: list[int] = walk.place.tolist()
        self.size: list[int] = walk.size.tolist()
        self.nodes = np.lexsort((walk.place[:-1], parents[:-1])).tolist()
        self.places = walk.place[self.nodes].tolist()
        ways = np.bincount(parents[:-1], minlength=len(parents))
        self.start = np.append(0, np.cumsum(ways)).tolist()

    def holds(self, node: int, other: int) -> bool:
        """Whether `other` is `node` or below it."""
        return 0 <= self.place[other] - self.place[node] < self.size[node]

    def child(self, node: int, other: int) -> int:
        """The child of `node` that is `other` or holds it."""
        low, high = self.start[node], self.start[node + 1]
        found: int = self.nodes[bisect(self.places, self.place[other], low, high) - 1]
        return found


# -- which piece is nearest -----------------------------------------------------------------------


class _Places:
    """Where pieces are: the runs of pixels of each, in rows."""

    def __init__(self, pieces: NodePieces) -> None:
        self.pieces = pieces

    @lazy
    def _runs(self) -> tuple[Int64, Int64, Int64, Int64]:
        """Place of each run's piece in the walk of pieces, ascending; row, first, last column."""
        labels = self.pieces.labels
        start = Components.of(labels).start
        place = self.pieces.walk.place[labels.reshape(-1)[start[:-1]]]
        order = np.argsort(place, kind="stable")
        row, first = np.divmod(start[:-1], labels.shape[1])
        last = first + np.diff(start) - 1
        return place[order], row[order], first[order], last[order]

    def nearest(self, specks: list[int], large: list[int]) -> list[int]:
        """The place in `large` of the piece nearest to each speck.

        Distances are those between centres of pixels. Of equally near pieces, it is the first.
        """
        if not specks:
            return []
        runs = [self._of(piece) for piece in large]
        owner = np.repeat(np.arange(len(large)), [len(row) for row, _, _ in runs])
        row, first, last = (np.concatenate(found) for found in zip(*runs, strict=True))
        order = np.argsort(row, kind="stable")
        among = row[order], first[order], last[order], owner[order]
        return [int(_nearest(*self._of(speck), *among)) for speck in specks]

    def _of(self, piece: int) -> tuple[Int64, Int64, Int64]:
        """Row, first and last column of the runs of a piece."""
        place, row, first, last = self._runs
        walk = self.pieces.walk
        begin = walk.place[piece]
        own = slice(*np.searchsorted(place, [begin, begin + walk.size[piece]]))
        return row[own], first[own], last[own]


@jit()
def _nearest(
    rows: Int64, firsts: Int64, lasts: Int64, row: Int64, first: Int64, last: Int64, owner: Int64
) -> int:
    """The lowest owner among the nearest to some runs: row, first and last column of each run.

    Rows of the runs with owners are ascending. From the row of a run they are visited outwards.
    """
    found, least = -1, np.int64(0)
    for run in range(len(rows)):
        down = np.searchsorted(row, rows[run])
        up = down - 1
        while up >= 0 or down < len(row):
            if down == len(row) or (up >= 0 and rows[run] - row[up] <= row[down] - rows[run]):
                at = up
                up -= 1
            else:
                at = down
                down += 1
            apart = (row[at] - rows[run]) ** 2
            if found >= 0 and apart > least:
                break
            aside = max(0, first[at] - lasts[run], firsts[run] - last[at])
            apart += aside * aside
            if found < 0 or apart < least or (apart == least and owner[at] < found):
                found, least = owner[at], apart
    return found
