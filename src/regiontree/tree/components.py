"""Connected components of a label map: pixels of one label that are connected through their sides.

A *run* is an unbroken stretch of one label within a row. A photograph of 700,000 pixels and 400
leaves has about 25,000 runs. So components are made from runs, and pixels are visited only to find
the runs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from regiontree.system.jit import jit

__all__ = ["Components", "components", "count_pixels"]

Labels = NDArray[np.int32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Components:
    """The connected components of a label map, numbered from 0 in the order of first pixels.

    Attributes
    ----------
    shape : (int, int)
        (H, W) of the label map.
    start : (runs + 1,) int64
        Flat index of the first pixel of each run, row by row; at last the number of pixels.
    part : (runs,) int32
        The component of each run.
    above, below, sides : (pairs,) int64
        Runs of a row and the next one that share columns, and how many columns they share.
    """

    shape: tuple[int, int]
    start: Int64
    part: Labels
    above: Int64
    below: Int64
    sides: Int64

    @classmethod
    def of(cls, labels: NDArray[np.integer]) -> Components:
        """The components of labels (H, W), integers."""
        start = _starts(np.ascontiguousarray(labels))
        above, below, sides = _shared(start, labels.shape[1])
        part = _join(np.ascontiguousarray(labels).reshape(-1)[start[:-1]], above, below)
        return cls((labels.shape[0], labels.shape[1]), start, part, above, below, sides)

    def size(self) -> Int64:
        """Number of pixels of each component, (n,) int64."""
        return _sums(self.part, np.diff(self.start))

    def first(self) -> Int64:
        """Flat index of the first pixel of each component, (n,) int64."""
        known = np.maximum.accumulate(self.part)
        return self.start[:-1][np.diff(known, prepend=-1) > 0]

    def painted(self, values: NDArray[np.int32]) -> Labels:
        """The value of each pixel's component, (H, W) int32; `values` are (n,)."""
        picture: Labels = values[self.part].repeat(np.diff(self.start))
        return picture.reshape(self.shape)

    def touching(self, wanted: NDArray[np.bool_]) -> tuple[Int64, Int64, Int64]:
        """Pairs (a, b) of touching components, where a is `wanted`, and their border.

        The border is the number of pixel sides. `wanted` is (n,) bool. The pairs are in order.
        """
        beside = np.flatnonzero(self.start[1:-1] % self.shape[1])  # runs that a run follows
        one = self.part[np.concatenate([beside, self.above])]
        other = self.part[np.concatenate([beside + 1, self.below])]
        meet = np.flatnonzero((wanted[one] | wanted[other]) & (one != other))
        sides = np.concatenate([np.ones(len(beside), np.int64), self.sides])[meet]
        one, other = one[meet].astype(np.int64), other[meet].astype(np.int64)
        a, b = np.concatenate([one, other]), np.concatenate([other, one])
        key, at = np.unique(a * len(wanted) + b, return_inverse=True)
        border = _sums(at, np.concatenate([sides, sides]))
        a, b = np.divmod(key, len(wanted))
        return a[wanted[a]], b[wanted[a]], border[wanted[a]]


def _sums(group: NDArray[np.integer], values: Int64) -> Int64:
    """The sum of the values of each group, from 0 on: exact up to 2**53."""
    return np.bincount(group, values).astype(np.int64)


def components(labels: Labels) -> Labels:
    """Component of each pixel, (H, W) int32, numbered from 0 in the order of first pixels.

    Parameters
    ----------
    labels
        (H, W) integers. Pixels of equal label that share a side belong to one component.

    Examples
    --------
    >>> components(np.array([[7, 7, 5], [5, 7, 5], [5, 5, 7]], np.int32))
    array([[0, 0, 1],
           [2, 0, 1],
           [2, 2, 3]], dtype=int32)
    """
    parts = Components.of(labels)
    return parts.painted(np.arange(parts.part.max() + 1, dtype=np.int32))


def _starts_in_numpy(labels: Labels) -> Int64:
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    return np.append(np.flatnonzero(starts), labels.size)


@jit(instead=_starts_in_numpy)
def _starts(labels: Labels) -> Int64:
    """Flat index of the first pixel of each run, and the number of pixels, (runs + 1,) int64."""
    rows, columns = labels.shape
    n = 1 + rows
    for y in range(rows):
        here, after = labels[y], labels[y][1:]
        for x in range(columns - 1):
            n += here[x] != after[x]
    start = np.empty(n, np.int64)
    run = 0
    for y in range(rows):
        start[run] = y * columns
        run += 1
        here, after = labels[y], labels[y][1:]
        for x in range(columns - 1):
            if here[x] != after[x]:
                start[run] = y * columns + x + 1
                run += 1
    start[run] = labels.size
    return start


def _shared_in_numpy(start: Int64, columns: int) -> tuple[Int64, Int64, Int64]:
    ends = np.union1d(start[start >= columns], start[:-1] + columns)
    ends = ends[ends <= start[-1]]
    first = ends[:-1]
    below = np.searchsorted(start, first, side="right") - 1
    above = np.searchsorted(start, first - columns, side="right") - 1
    return above, below, np.diff(ends)


@jit(instead=_shared_in_numpy)
def _shared(start: Int64, columns: int) -> tuple[Int64, Int64, Int64]:
    """Runs of a row and the next one that share columns, and how many, from left to right."""
    pairs = 2 * len(start)
    above, below = np.empty(pairs, np.int64), np.empty(pairs, np.int64)
    sides = np.empty(pairs, np.int64)
    n = one = other = 0
    while start[other] < columns:
        other += 1
    at = np.int64(columns)  # the first pixel below that no pair has yet
    while at < start[-1]:
        end = min(start[one + 1] + columns, start[other + 1])
        above[n], below[n], sides[n] = one, other, end - at
        n += 1
        if start[one + 1] + columns == end:
            one += 1
        if start[other + 1] == end:
            other += 1
        at = end
    return above[:n].copy(), below[:n].copy(), sides[:n].copy()


def _join_in_scipy(label: NDArray[np.integer], above: Int64, below: Int64) -> Labels:
    alike = label[above] == label[below]
    one, other, n = above[alike], below[alike], len(label)
    links = coo_array((np.ones(len(one), np.int8), (one, other)), shape=(n, n))
    found = connected_components(links, directed=False)[1]
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int32)
    order[first.argsort()] = np.arange(len(first), dtype=np.int32)
    return order[inverse]


@jit(instead=_join_in_scipy)
def _join(label: NDArray[np.integer], above: Int64, below: Int64) -> Labels:
    """The component of each run, (runs,) int32, numbered by their first runs.

    `label` is that of each run, and `above` and `below` are runs that touch. It is a union-find in
    which the first run is the root.
    """
    n = len(label)
    root = np.arange(n, dtype=np.int32)
    for pair in range(len(above)):
        a, b = above[pair], below[pair]
        if label[a] != label[b]:
            continue
        while root[a] != a:
            root[a] = root[root[a]]
            a = root[a]
        while root[b] != b:
            root[b] = root[root[b]]
            b = root[b]
        root[max(a, b)] = min(a, b)
    number = 0
    for run in range(n):  # a root's number is known before those of the runs that point to it
        if root[run] == run:
            root[run] = number
            number += 1
        else:
            root[run] = root[root[run]]
    return root


def _count_in_numpy(labels: Labels, n: int) -> Int64:
    total = np.zeros(n, np.int64)
    for top in range(0, len(labels), 64):  # bincount copies its input, so take a few rows
        total += np.bincount(labels[top : top + 64].reshape(-1), minlength=n)
    return total


@jit(instead=_count_in_numpy)
def count_pixels(labels: Labels, n: int) -> Int64:
    """Number of pixels of each of the labels 0 to n - 1, (n,) int64; `labels` are (H, W) int32."""
    total = np.zeros(n, np.int64)
    for y in range(labels.shape[0]):
        start = 0
        for x in range(1, labels.shape[1] + 1):
            if x == labels.shape[1] or labels[y, x] != labels[y, start]:
                total[labels[y, start]] += x - start
                start = x
    return total
