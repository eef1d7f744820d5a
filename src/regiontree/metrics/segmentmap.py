"""The segments of an image's truth, and how the masks of a tree overlap them.

The masks of a tree are all its nodes, and all connected pieces of nodes that are no node and have
at least half a patch. A :data:`Ranking` gives each node a score. A piece has the score of the
lowest node that it is a piece of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError
from regiontree.images import nearest
from regiontree.metrics.recall import Segments
from regiontree.tree import RegionTree, salience
from regiontree.tree.kernel import accumulate_sum
from regiontree.tree.piecetree import smallest_piece

__all__ = ["KINDS", "Ranking", "SegmentMap", "kinds_of", "leaf_overlaps", "persistence",
           "ranked_masks", "steady_persistence"]  # fmt: skip

KINDS = ("things", "stuff", "parts")
"""Kinds of segments: countable objects, one by one; what has no instances; parts of either."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int32]

Ranking = Callable[[RegionTree], Floats]
"""Gives the score of each node of a tree, (N,); the mask with the highest comes first."""


@dataclass(frozen=True, slots=True, eq=False)
class SegmentMap:
    """Segments of an image that do not overlap each other.

    Attributes
    ----------
    labels : (H, W) int32
        The segment of each pixel, from 0; -1 where there is none.
    kinds : tuple of str
        The kind of each segment, one of :data:`KINDS`.
    crowd : (G,) bool
        Whether a segment is a crowd, in which things are not told apart.

    Raises
    ------
    DataError
        A pixel has a segment that is not there, a kind is unknown, or the lengths differ.
    """

    labels: Labels
    kinds: tuple[str, ...]
    crowd: NDArray[np.bool_]

    def __post_init__(self) -> None:
        count = len(self.kinds)
        if self.crowd.shape != (count,):
            raise DataError(f"{count} kinds of segments need as many crowds, got {self.crowd}")
        for kind in self.kinds:
            if kind not in KINDS:
                raise DataError(f"the kind of a segment must be of {KINDS}, got {kind!r}")
        if self.labels.size and not -1 <= self.labels.min() <= self.labels.max() < count:
            raise DataError(
                f"labels must be from -1 to {count - 1} for {count} segments, got "
                f"{self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.kinds)


def kinds_of(maps: Sequence[SegmentMap]) -> NDArray[np.str_]:
    """The kind of each segment of all maps, (G,) text."""
    return np.array([kind for one in maps for kind in one.kinds], dtype="U6")


def persistence(tree: RegionTree) -> Floats:
    """For how long each node stays one region while the tree is cut ever higher, (N,).

    It is the square of the parent's height less the square of the node's own, as in
    :mod:`regiontree.tree.salience`; 0 for the root.

    >>> persistence(RegionTree([[0, 0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1])).tolist()
    [0.25, 0.25, 1.0, 0.75, 0.0]
    """
    return salience.persistence(tree.parents, tree.height)


def steady_persistence(tree: RegionTree) -> Floats:
    """The persistence of each node times the square of its stability, (N,).

    Without a stability in the tree it is the persistence alone. A node that seldom comes back under
    small changes comes late, however long it stays one region.
    """
    found = persistence(tree)
    return found if tree.stability is None else found * tree.stability.astype(np.float64) ** 2


def leaf_overlaps(labels: Labels, leaves: int, segments: SegmentMap) -> Ints:
    """Pixels that each leaf shares with each segment and, in the last column, with none.

    Parameters
    ----------
    labels : (h, w) int32
        The leaf of each pixel; enlarged to the size of the segments (nearest).
    leaves
        Number of leaves.
    segments : SegmentMap
        Of G segments.

    Returns
    -------
    (leaves, G + 1) int64

    >>> truth = np.array([[0, 0, -1, 1]], np.int32)
    >>> some = SegmentMap(truth, ("things", "stuff"), np.zeros(2, bool))
    >>> leaf_overlaps(np.array([[0, 1, 1, 1]], np.int32), 2, some).tolist()
    [[1, 0, 0], [1, 1, 1]]
    """
    truth = segments.labels
    shape = (int(truth.shape[0]), int(truth.shape[1]))
    columns = len(segments) + 1
    flat = nearest(labels, shape).astype(np.int64) * columns
    flat += np.where(truth < 0, len(segments), truth)
    counts = np.bincount(flat.reshape(-1), minlength=leaves * columns)
    return counts.reshape(leaves, columns)


def ranked_masks(
    tree: RegionTree,
    maps: Sequence[SegmentMap],
    *,
    rank: Ranking = steady_persistence,
    pieces: bool = True,
) -> tuple[Floats, Segments]:
    """The scores of the masks of a tree, and their overlaps with all segments of some maps.

    Parameters
    ----------
    tree
    maps
        At least one map, all of one size: that of the tree, or a larger one.
    rank
        Gives the nodes their scores.
    pieces
        Whether pieces of nodes are masks, too.

    Returns
    -------
    (N,) float64; and the overlaps of N masks, nodes first.
    """
    score = rank(tree)
    both, pixels = _of_nodes(tree.labels, tree.parents, maps)
    if pieces:
        found = tree.node_pieces()
        new = ~found.is_node & (found.area >= smallest_piece(tree.shape, tree.meta))
        piece_both, piece_pixels = _of_nodes(found.labels, found.parents, maps)
        score = np.concatenate([score, score[found.node[new]]])
        both = np.concatenate([both, piece_both[new]])
        pixels = np.concatenate([pixels, piece_pixels[new]])
    area = [np.bincount(one.labels[one.labels >= 0], minlength=len(one)) for one in maps]
    crowd = np.concatenate([one.crowd for one in maps])
    return score, Segments(both, pixels, np.concatenate(area).astype(np.int64), crowd)


def _of_nodes(
    labels: Labels, parents: NDArray[np.integer], maps: Sequence[SegmentMap]
) -> tuple[Ints, Ints]:
    """Pixels that nodes share with the segments of all maps, (N, G), and of nodes, (N,)."""
    leaves = 1 if len(parents) == 1 else int(parents.min())
    both = []
    for one in maps:
        table = np.zeros((len(parents), len(one) + 1), np.int64)
        table[:leaves] = leaf_overlaps(labels, leaves, one)
        whole = accumulate_sum(parents, table)
        both.append(whole[:, :-1])
    return np.concatenate(both, axis=1), whole.sum(axis=1)
