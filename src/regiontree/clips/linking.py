"""Which tubes of one window go on in the next, and the table of all tubes of a clip.

Consecutive windows share frames. There each patch has a tube of either window. Two tubes are one if
each has its largest overlap with the other and their overlap (IoU, in patches of the shared frames)
is above one half. All other tubes of the later window are new.

A long clip has more tubes than a tree takes. When there are twice as many, neighbouring tubes merge
by Ward's linkage until the tree's number is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array

from regiontree.clips.window import WindowTubes
from regiontree.spectral.contiguous import linked_groups
from regiontree.spectral.graph import MAX_PARTS, PartGraph, no_weights
from regiontree.spectral.groups import sum_by_index

__all__ = ["TubeTable", "continued"]

Ints = NDArray[np.int64]
_LEAST = 0.5  # overlap of two tubes that are one


def continued(before: Ints, after: Ints) -> Ints:
    """For each tube of the later window, the tube of the earlier one that it goes on with, or -1.

    Parameters
    ----------
    before, after
        (n,) int64, the tube of each patch of the shared frames, in either window; -1 for a patch
        that does not count.

    Returns
    -------
    (k,) int64, k the largest number in `after` plus one.

    Examples
    --------
    >>> continued(np.array([0, 0, 0, 1, 2, 2]), np.array([1, 1, 1, 0, 0, 0])).tolist()
    [2, 0]
    """
    counts = (before >= 0) & (after >= 0)
    a, b = before[counts], after[counts]
    k = int(after.max(initial=-1)) + 1
    found = np.full(k, -1, np.int64)
    if not len(a):
        return found
    ones = np.ones(len(a))
    both = coo_array((ones, (a, b)), shape=(int(before.max()) + 1, k)).tocsr().tocoo()
    here, there, shared = both.row, both.col, both.data
    size_a, size_b = np.bincount(a), np.bincount(b, minlength=k)
    overlap = shared / (size_a[here] + size_b[there] - shared)
    # An overlap above one half is the largest of both tubes: no other can be above one half.
    is_one = overlap > _LEAST
    found[there[is_one]] = here[is_one]
    return found


class TubeTable:
    """All tubes of a clip: how many patches and pixels each has, its features, its neighbours.

    Each tube of a window gets a number, which stays. Where many tubes merge into one, their numbers
    mean the same tube from then on.

    Parameters
    ----------
    limit
        Most tubes of the tree, >= 1.
    """

    def __init__(self, limit: int = MAX_PARTS) -> None:
        self.limit = limit
        self._tube = np.empty(0, np.int64)  # of each number, the row of its tube in what follows
        self._count = np.empty(0, np.int64)
        self._pixels = np.empty(0, np.int64)
        self._sums = np.empty((0, 0))
        self._descriptors: NDArray[np.float64] | None = None
        self._pairs = np.empty((0, 2), np.int64)
        self._tail = np.empty(0, np.int64)  # of the window before: the number of each shared patch

    def add(self, window: WindowTubes) -> Ints:
        """The numbers of a window's tubes, (k,) int64. Windows come in their order."""
        numbers = np.full(len(window.count), -1, np.int64)
        touching = np.empty((0, 2), np.int64)
        if len(self._tail) and len(window.head):
            known, tail = np.unique(self._tail, return_inverse=True)
            tail = np.where(self._tail >= 0, tail, -1)
            same = continued(tail, window.head)
            numbers[: len(same)] = np.where(same >= 0, known[same], -1)
            counts = (tail >= 0) & (window.head >= 0)
            touching = np.stack([self._tail[counts], window.head[counts]], axis=1)
        new = np.flatnonzero(numbers < 0)
        numbers[new] = len(self._tube) + np.arange(len(new))
        self._grow(len(new), window)
        own = self._tube[numbers]
        np.add.at(self._count, own, window.count)
        np.add.at(self._sums, own, window.sums)
        if window.descriptors is not None and self._descriptors is not None:
            np.add.at(self._descriptors, own, window.descriptors)
        seams = np.stack([self._tube[touching[:, 0]], own[touching[:, 1]]], axis=1)
        self._pairs = _different([self._pairs, own[window.pairs], seams])
        self._tail = np.where(window.tail >= 0, numbers[window.tail], -1)
        if len(self._count) > 2 * self.limit:
            self._merge(self.limit)
        return numbers

    def part(self) -> None:
        """The next window begins after a cut in the film: no tube goes on."""
        self._tail = np.empty(0, np.int64)

    def count_pixels(self, numbers: Ints, pixels: Ints) -> None:
        """Add to the pixels of tubes, which have these numbers."""
        np.add.at(self._pixels, self._tube[numbers], pixels)

    def graph(self) -> tuple[PartGraph | None, Ints]:
        """The graph that the tree is built from, and the part of each number, (n,) int64.

        Parts are the tubes that have a pixel. The number of any other tube has -1. Without any part
        there is no graph.
        """
        shown = np.flatnonzero(self._pixels > 0)
        if len(shown) > self.limit:
            self._merge(self.limit)
            shown = np.flatnonzero(self._pixels > 0)
        part = np.full(len(self._count), -1, np.int64)
        part[shown] = np.arange(len(shown))
        graph = None
        if len(shown):
            graph = PartGraph(no_weights, self._count[shown], self._sums[shown])
        return graph, part[self._tube]

    def descriptors(self) -> NDArray[np.float64] | None:
        """The sum of the descriptors of each part of :meth:`graph`; None if there are none."""
        return None if self._descriptors is None else self._descriptors[self._pixels > 0]

    def _grow(self, new: int, window: WindowTubes) -> None:
        """Room for new tubes."""
        k = len(self._count)
        self._tube = np.concatenate([self._tube, k + np.arange(new)])
        self._count = np.pad(self._count, (0, new))
        self._pixels = np.pad(self._pixels, (0, new))
        self._sums = _taller(self._sums, new, window.sums)
        if window.descriptors is not None:
            before = np.empty((0, 0)) if self._descriptors is None else self._descriptors
            self._descriptors = _taller(before, new, window.descriptors)

    def _merge(self, count: int) -> None:
        """Merge neighbouring tubes until `count` are left, or as many as do not touch."""
        size = np.maximum(self._count, 1)
        mean = (self._sums / size[:, None]).astype(np.float32)
        group = linked_groups(mean, self._pairs, count, size)
        k = int(group.max()) + 1
        self._tube = group[self._tube]
        self._count = np.bincount(group, self._count, k).astype(np.int64)
        self._pixels = np.bincount(group, self._pixels, k).astype(np.int64)
        self._sums = _summed(self._sums, group, k)
        if self._descriptors is not None:
            self._descriptors = _summed(self._descriptors, group, k)
        self._pairs = _different([group[self._pairs]])


def _taller(rows: NDArray[np.float64], new: int, like: NDArray[Any]) -> NDArray[np.float64]:
    """`rows` with zeros for `new` more, as wide as those of `like`."""
    if not rows.size:
        return np.zeros((len(rows) + new, like.shape[1]))
    return np.pad(rows, ((0, new), (0, 0)))


def _summed(rows: NDArray[np.float64], group: Ints, k: int) -> NDArray[np.float64]:
    """The sum of the rows of each of k groups."""
    found: NDArray[np.float64] = sum_by_index(
        torch.from_numpy(rows), torch.from_numpy(group), k
    ).numpy()
    return found


def _different(pairs: list[Ints]) -> Ints:
    """The pairs of two different tubes, each once and the lower number first, (m, 2) int64."""
    found = np.sort(np.concatenate(pairs), axis=1)
    found = found[found[:, 0] != found[:, 1]]
    return np.unique(found, axis=0) if len(found) else found
