"""Connected components of a label map: pixels of one label that are connected through their sides.

Components are joined from runs; a run is an unbroken stretch of one label within a row. A
photograph of 700,000 pixels and 400 leaves has about 25,000 runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from regiontree.system.jit import jit

__all__ = ["components", "count_pixels", "measured", "painted", "touching"]

Labels = NDArray[np.int32]
Int64 = NDArray[np.int64]


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
    return _components(np.ascontiguousarray(labels))


def _components_in_scipy(labels: Labels) -> Labels:
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(starts, dtype=np.int32).reshape(labels.shape) - 1
    # Two runs get one link, where they first touch. While both go on to the right, none is added.
    touch = labels[1:] == labels[:-1]
    touch[:, 1:] &= starts[1:, 1:] | starts[:-1, 1:] | ~touch[:, :-1]
    above, below = run[:-1][touch], run[1:][touch]
    n = int(run[-1, -1]) + 1
    links = coo_array((np.ones(len(above), np.int8), (above, below)), shape=(n, n))
    found = connected_components(links, directed=False)[1]
    # Runs are numbered row by row, so the order of first runs is the order of first pixels.
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int32)
    order[first.argsort()] = np.arange(len(first), dtype=np.int32)
    numbered: Labels = order[inverse][run]
    return numbered


@jit(instead=_components_in_scipy)
def _components(labels: Labels) -> Labels:
    """See :func:`components`: a union-find of runs, in which the first run is the root."""
    rows, columns = labels.shape
    n = 0
    for y in range(rows):
        n += 1
        for x in range(1, columns):
            n += labels[y, x] != labels[y, x - 1]
    root = np.arange(n, dtype=np.int32)
    part = np.empty((rows, columns), np.int32)
    run = -1
    for y in range(rows):
        linked = -1  # the last run above that this run was linked to
        for x in range(columns):
            if x == 0 or labels[y, x] != labels[y, x - 1]:
                run, linked = run + 1, -1
            part[y, x] = run
            if y > 0 and labels[y, x] == labels[y - 1, x] and part[y - 1, x] != linked:
                linked = part[y - 1, x]
                one, other = linked, run
                while root[one] != one:
                    root[one] = root[root[one]]
                    one = root[one]
                while root[other] != other:
                    root[other] = root[root[other]]
                    other = root[other]
                root[max(one, other)] = min(one, other)
    number = 0
    for run in range(n):  # a root's number is known before those of the runs that point to it
        if root[run] == run:
            root[run] = number
            number += 1
        else:
            root[run] = root[root[run]]
    for y in range(rows):
        for x in range(columns):
            part[y, x] = root[part[y, x]]
    return part


def _measured_in_numpy(part: Labels, labels: Labels, n: int) -> tuple[Int64, Labels]:
    leaf = np.empty(n, np.int32)
    leaf[part.ravel()] = labels.ravel()
    return _count_in_numpy(part, n), leaf


@jit(instead=_measured_in_numpy)
def measured(part: Labels, labels: Labels, n: int) -> tuple[Int64, Labels]:
    """The number of pixels (n,) int64 and the label (n,) int32 of each of `n` components.

    `part` and `labels` are (H, W) int32.
    """
    size, leaf = np.zeros(n, np.int64), np.empty(n, np.int32)
    for y in range(part.shape[0]):
        start = 0
        for x in range(1, part.shape[1] + 1):
            if x == part.shape[1] or part[y, x] != part[y, start]:
                size[part[y, start]] += x - start
                leaf[part[y, start]] = labels[y, start]
                start = x
    return size, leaf


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


def touching(part: Labels, wanted: NDArray[np.bool_]) -> tuple[Int64, Int64, Int64]:
    """Pairs (a, b) of touching components, where a is `wanted`, and their border in pixel sides.

    `part` is (H, W) int32, the component of each pixel; `wanted` is (n,) bool, one for each
    component.
    """
    n = len(wanted)
    key, border = np.unique(_sides(part, wanted), return_counts=True)
    return key // n, key % n, border


def _sides_in_numpy(part: Labels, wanted: NDArray[np.bool_]) -> Int64:
    n, keys = len(wanted), []
    for one, other in ((part[:, 1:], part[:, :-1]), (part[1:], part[:-1])):
        for a, b in ((one, other), (other, one)):
            meet = (a != b) & wanted[a]
            keys.append(a[meet].astype(np.int64) * n + b[meet])
    return np.concatenate(keys)


@jit(instead=_sides_in_numpy)
def _sides(part: Labels, wanted: NDArray[np.bool_]) -> Int64:
    """The sides of pixels between a wanted component a and another one b: ``a * n + b`` of each.

    Their order has no meaning.
    """
    n = len(wanted)
    keys, found = np.empty(0, np.int64), 0
    for fill in range(2):  # first the sides are counted
        if fill:
            keys, found = np.empty(found, np.int64), 0
        for y in range(part.shape[0]):
            for x in range(part.shape[1]):
                a = np.int64(part[y, x])
                right = np.int64(part[y, x + 1]) if x + 1 < part.shape[1] else a
                below = np.int64(part[y + 1, x]) if y + 1 < part.shape[0] else a
                for b in (right, below):
                    if a != b:
                        if wanted[a]:
                            if fill:
                                keys[found] = a * n + b
                            found += 1
                        if wanted[b]:
                            if fill:
                                keys[found] = b * n + a
                            found += 1
    return keys


def _painted_in_numpy(values: Labels, part: Labels) -> Labels:
    return values[part]


@jit(instead=_painted_in_numpy)
def painted(values: Labels, part: Labels) -> Labels:
    """The value of each pixel's component, (H, W) int32; `values` are (n,), `part` is (H, W)."""
    picture = np.empty(part.shape, np.int32)
    for y in range(part.shape[0]):
        for x in range(part.shape[1]):
            picture[y, x] = values[part[y, x]]
    return picture
