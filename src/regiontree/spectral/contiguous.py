"""Ward's linkage of neighbouring patches: from single patches to a given number of groups.

Two groups may merge if a patch of one is a neighbour of a patch of the other on the grid, along a
side or across a corner. A merge costs what it adds to the sum of squared distances of patches to
the mean of their group::

    cost(a, b) = n_a n_b / (n_a + n_b) |m_a - m_b|^2

with n patches and mean m. The cheapest merge comes next. If several are as cheap, the smallest
group that takes part in one of them merges first, of equally small ones the lowest number. It
merges with its smallest neighbour, of equally small ones the first in its list. So nothing is
random, and equal patches become groups of about equal size.

Pieces of the grid that do not touch, as patches are missing between them, are linked in a chain.
So there are as many groups as asked for, unless there are fewer patches.

A heap holds each group with the cost of its cheapest merge. A merge makes the costs of two groups
invalid, and those of their neighbours. The costs of the merged group are computed at once. A
neighbour looks for its cheapest merge again when it reaches the top of the heap: its cost there is
then a bound from below, or the merged group has a cheaper cost in the heap itself.

The features of single patches are only read. The means of groups of two patches or more lie in a
table of their own. There are at most half as many such groups as patches, so the table takes half
the memory of a copy of the features.

References: Ward, JASA 1963; Murtagh, A survey of algorithms for contiguity-constrained clustering,
The Computer Journal 1985; Guo, IJGIS 2008.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.spectral.lanes import LANES, TERMS, sum_of_rows, wide
from regiontree.system.jit import jit
from regiontree.tree.kernel import connected_pieces

__all__ = ["contiguous_groups", "merged_groups", "neighbouring_pairs"]

Floats32 = NDArray[np.float32]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# (dy, dx) from a patch to the four of its eight neighbours that follow it in reading order.
_FOLLOWING = ((0, 1), (1, -1), (1, 0), (1, 1))
_AT_ONCE = 1024  # pairs whose distances NumPy computes at once


def contiguous_groups(
    rows: NDArray[np.floating[Any]],
    grid: tuple[int, int],
    count: int,
    there: NDArray[np.bool_] | None = None,
) -> Ints:
    """Groups of neighbouring patches by Ward's linkage.

    Parameters
    ----------
    rows
        (n, d), the vector of each patch, row by row of the grid.
    grid
        Rows and columns of patches.
    count
        Number of groups, >= 1; n if that is less.
    there
        (h, w) bool: the patches of the grid that the n are. None: all of them.

    Returns
    -------
    (n,) int64
        The group of each patch. Groups are numbered in the order of their first patches.

    Examples
    --------
    >>> contiguous_groups(np.array([[0.0], [0.1], [5.0], [5.3]]), (1, 4), 2)
    array([0, 0, 1, 1])
    """
    return merged_groups(rows, np.ones(len(rows), np.int64), neighbouring_pairs(grid, there), count)


def merged_groups(means: NDArray[np.floating[Any]], size: Ints, pairs: Ints, count: int) -> Ints:
    """Groups of groups by Ward's linkage, for groups that are there already.

    Parameters
    ----------
    means
        (n, d), the mean vector of each group.
    size
        (n,) patches of each group, >= 1.
    pairs
        (m, 2), groups that touch. Every group must be reached from every other.
    count
        Number of groups to merge down to, >= 1; n if that is less.

    Returns
    -------
    (n,) int64
        The new group of each. New groups are numbered in the order of their first members.

    Examples
    --------
    The cheap merge comes first. Group 1 is between the others, but nearer to group 0. Group 0 is
    large, so that merge would cost more:

    >>> means, pairs = np.array([[0.0], [1.0], [2.2]]), np.array([[0, 1], [1, 2]])
    >>> merged_groups(means, np.array([1, 1, 1]), pairs, 2)
    array([0, 0, 1])
    >>> merged_groups(means, np.array([90, 1, 1]), pairs, 2)
    array([0, 1, 1])
    """
    size = np.array(size, np.int64)  # a copy, since merging changes it
    owner = _merged(_padded(means), size, np.ascontiguousarray(pairs, np.int64), count)
    groups: Ints = np.unique(owner, return_inverse=True)[1].astype(np.int64)
    return groups


def _padded(rows: NDArray[np.floating[Any]]) -> Floats32:
    """`rows` as float32, with zeros up to a multiple of 384 columns; of 32, if that is below 384.

    Rows of few channels would be mostly zeros otherwise. The zeros change no bit of a sum.
    """
    n, d = rows.shape
    if d > LANES * (TERMS - 1):
        return wide(rows)
    padded = np.zeros((n, -(-d // LANES) * LANES), np.float32)
    padded[:, :d] = rows
    return padded


def neighbouring_pairs(grid: tuple[int, int], there: NDArray[np.bool_] | None = None) -> Ints:
    """Pairs of patches that are neighbours, (m, 2) int64, the lower number first in each pair.

    Parameters
    ----------
    grid
        Rows and columns of patches.
    there
        (h, w) bool: which patches exist. They are numbered row by row. None: all of them.

    Notes
    -----
    Each piece whose patches do not touch the piece before it has a pair with it: the first patches
    of both. Pieces come in the order of their first patches.

    Examples
    --------
    >>> neighbouring_pairs((1, 3)).tolist()
    [[0, 1], [1, 2]]
    >>> neighbouring_pairs((1, 3), np.array([[True, False, True]])).tolist()
    [[0, 1]]
    """
    h, w = grid
    seen = np.ones(grid, bool) if there is None else there
    number = np.where(seen, np.cumsum(seen.reshape(-1)).reshape(grid) - 1, -1)
    framed = np.full((h + 1, w + 2), -1)
    framed[:h, 1 : w + 1] = number
    beside = np.stack([framed[dy : dy + h, 1 + dx : 1 + dx + w] for dy, dx in _FOLLOWING], axis=2)
    both = (number[:, :, None] >= 0) & (beside >= 0)
    here = np.broadcast_to(number[:, :, None], beside.shape)
    pairs = np.stack([here[both], beside[both]], axis=1)
    if there is not None and not there.all():
        piece = connected_pieces(int(seen.sum()), pairs[:, 0], pairs[:, 1])
        first = np.sort(np.unique(piece, return_index=True)[1])
        pairs = np.concatenate([pairs, np.stack([first[:-1], first[1:]], axis=1)])
    return np.ascontiguousarray(pairs)


def _apart_of_numpy(one: Floats32, a: Any, two: Floats32, b: Any, sums: Floats32) -> Any:
    """What :func:`_apart` gives, bit by bit."""
    apart = one[a] - two[b]
    return sum_of_rows(wide((apart * apart)[None]))[0]


@jit(instead=_apart_of_numpy)
def _apart(one: Floats32, a: Any, two: Floats32, b: Any, sums: Floats32) -> Any:
    """The squared distance of row `a` of one table to row `b` of another.

    It is summed in the order of :mod:`regiontree.spectral.lanes`. A row has a multiple of 384
    columns, or a multiple of 32 below 384. `sums` (32,) is room for partial sums.
    """
    for i in range(32):
        sums[i] = np.float32(0)
    for block in range(one.shape[1] // 384):  # a range with a step would keep it from vectors
        start = block * 384
        for lane in range(32):
            i = start + lane
            sums[lane] += (
                (one[a, i] - two[b, i]) * (one[a, i] - two[b, i])
                + (one[a, i + 32] - two[b, i + 32]) * (one[a, i + 32] - two[b, i + 32])
                + (one[a, i + 64] - two[b, i + 64]) * (one[a, i + 64] - two[b, i + 64])
                + (one[a, i + 96] - two[b, i + 96]) * (one[a, i + 96] - two[b, i + 96])
                + (one[a, i + 128] - two[b, i + 128]) * (one[a, i + 128] - two[b, i + 128])
                + (one[a, i + 160] - two[b, i + 160]) * (one[a, i + 160] - two[b, i + 160])
                + (one[a, i + 192] - two[b, i + 192]) * (one[a, i + 192] - two[b, i + 192])
                + (one[a, i + 224] - two[b, i + 224]) * (one[a, i + 224] - two[b, i + 224])
                + (one[a, i + 256] - two[b, i + 256]) * (one[a, i + 256] - two[b, i + 256])
                + (one[a, i + 288] - two[b, i + 288]) * (one[a, i + 288] - two[b, i + 288])
                + (one[a, i + 320] - two[b, i + 320]) * (one[a, i + 320] - two[b, i + 320])
                + (one[a, i + 352] - two[b, i + 352]) * (one[a, i + 352] - two[b, i + 352])
            )
    if one.shape[1] < 384:
        for block in range(one.shape[1] // 32):
            start = block * 32
            for lane in range(32):
                i = start + lane
                sums[lane] += (one[a, i] - two[b, i]) * (one[a, i] - two[b, i])
    for i in range(16):
        sums[i] += sums[i + 16]
    for i in range(8):
        sums[i] += sums[i + 8]
    for i in range(4):
        sums[i] += sums[i + 4]
    return (sums[0] + sums[2]) + (sums[1] + sums[3])


def _mix_of_numpy(
    into: Floats32, at: Any, one: Floats32, a: Any, two: Floats32, b: Any, share: Any
) -> None:
    """What :func:`_mix` does, bit by bit."""
    into[at] = one[a] + share * (two[b] - one[a])


@jit(instead=_mix_of_numpy)
def _mix(into: Floats32, at: Any, one: Floats32, a: Any, two: Floats32, b: Any, share: Any) -> None:
    """Make row `at` row `a` moved towards row `b` by a share (float32) of their distance."""
    for i in range(into.shape[1]):
        into[at, i] = one[a, i] + share * (two[b, i] - one[a, i])


@jit()
def _join(
    rows: Floats32,
    means: Floats32,
    place: Ints,
    spare: Ints,
    n_spare: Any,
    a: Any,
    b: Any,
    share: Any,
) -> Any:
    """Make the mean of group `a` that of groups `a` and `b`, of which `b` has a share (float32).

    The mean of a group lies in `means` at its `place`. The place of a single patch is -1, and its
    mean is its feature in `rows`. `spare` are free places, of which the first `n_spare` count. The
    result is their number afterwards.
    """
    own, others = place[a], place[b]
    if own >= 0 and others >= 0:
        _mix(means, own, means, own, means, others, share)
        spare[n_spare] = others
        return n_spare + 1
    if own >= 0:
        _mix(means, own, means, own, rows, b, share)
        return n_spare
    if others >= 0:
        _mix(means, others, rows, a, means, others, share)
        place[a] = others
        return n_spare
    place[a] = spare[n_spare - 1]
    _mix(means, place[a], rows, a, rows, b, share)
    return n_spare - 1


def _costs_of_numpy(rows: Floats32, pairs: Ints) -> Floats:
    """What :func:`_costs` gives, bit by bit."""
    costs = np.empty(len(pairs))
    for start in range(0, len(pairs), _AT_ONCE):
        a, b = pairs[start : start + _AT_ONCE].T
        apart = rows[a] - rows[b]
        costs[start : start + _AT_ONCE] = sum_of_rows(wide(apart * apart))
    return 0.5 * costs


@jit(instead=_costs_of_numpy)
def _costs(rows: Floats32, pairs: Ints) -> Floats:
    """What it costs to merge the two patches of each pair, (m,)."""
    costs = np.empty(pairs.shape[0], np.float64)
    sums = np.empty(32, np.float32)
    for e in range(pairs.shape[0]):
        costs[e] = 0.5 * np.float64(_apart(rows, pairs[e, 0], rows, pairs[e, 1], sums))
    return costs


@jit()
def _comes_first(a: Any, b: Any, least: Floats, size: Ints) -> Any:
    """Whether group `a` is above group `b` in the heap: see the rule at the top of the module."""
    if least[a] != least[b]:
        return least[a] < least[b]
    if size[a] != size[b]:
        return size[a] < size[b]
    return a < b


@jit()
def _sink(heap: Ints, length: Any, at: Any, least: Floats, size: Ints) -> None:
    """Move the group at a place of the heap down to where it belongs."""
    group = heap[at]
    while 2 * at + 1 < length:
        child = 2 * at + 1
        if child + 1 < length and _comes_first(heap[child + 1], heap[child], least, size):
            child += 1
        if not _comes_first(heap[child], group, least, size):
            break
        heap[at] = heap[child]
        at = child
    heap[at] = group


@jit()
def _root(owner: Ints, group: Any) -> Any:
    """The group that a group has become a part of, with shorter ways from now on."""
    while owner[group] != group:
        owner[group] = owner[owner[group]]
        group = owner[group]
    return group


@jit()
def _merged(rows: Floats32, size: Ints, pairs: Ints, count: int) -> Ints:
    """The first patch of the group of each patch, (n,) int64.

    `rows` (n, d) are only read; d is as for :func:`_apart`. `size` (n,) int64, the patches of each
    row, is changed. `pairs` (m, 2) are those that may merge. Pair e has two half-edges: 2 e in the
    list of its first group and 2 e + 1 in that of its second. `following` links the half-edges of a
    list.
    """
    n, m = rows.shape[0], pairs.shape[0]
    sums = np.empty(32, np.float32)
    # Places are taken in their order. Those that are never taken are never touched, and the
    # system gives memory only to what is touched.
    means = np.empty((n // 2, rows.shape[1]), np.float32)
    spare = np.arange(n // 2)[::-1].copy()
    n_spare = n // 2
    place = np.full(n, -1, np.int64)
    owner = np.arange(n)
    cost = _costs(rows, pairs)  # of each pair; -1 once its two groups are one or it is double
    for e in range(m):  # of two single patches the factor is 1
        a, b = pairs[e, 0], pairs[e, 1]
        cost[e] *= 2.0 * size[a] * (size[b] / (size[a] + size[b]))
    following = np.full(2 * m, -1, np.int64)
    first = np.full(n, -1, np.int64)
    last = np.full(n, -1, np.int64)
    least = np.full(n, np.inf, np.float64)  # of each group: the cost of its cheapest merge
    best = np.full(n, -1, np.int64)  # and the pair
    partner_size = np.ones(n, np.int64)  # and how large the other group was then
    for e in range(m):
        for side in range(2):
            group = pairs[e, side]
            if last[group] < 0:
                first[group] = 2 * e + side
            else:
                following[last[group]] = 2 * e + side
            last[group] = 2 * e + side
            if cost[e] < least[group]:
                least[group] = cost[e]
                best[group] = e
                partner_size[group] = size[pairs[e, 1 - side]]
    heap = np.arange(n)
    for at in range(n // 2 - 1, -1, -1):
        _sink(heap, n, at, least, size)
    seen_from = np.full(n, -1, np.int64)  # the merge in which a neighbour was last seen
    left = n
    length = n
    while left > count and length > 0:
        group = heap[0]
        if owner[group] != group:  # it is a part of another group
            length -= 1
            heap[0] = heap[length]
            _sink(heap, length, 0, least, size)
            continue
        merges = best[group] >= 0 and cost[best[group]] == least[group]
        if merges:
            e = best[group]
            other = _root(owner, pairs[e, 0])
            if other == group:
                other = _root(owner, pairs[e, 1])
            merges = size[other] == partner_size[group]  # else there may be a smaller one
        if merges:
            owner[other] = group
            size[group] += size[other]
            share = np.float32(size[other] / size[group])
            n_spare = _join(rows, means, place, spare, n_spare, group, other, share)
            following[last[group]] = first[other]
            last[group] = last[other]
            left -= 1
        least[group] = np.inf
        best[group] = -1
        before = -1
        half = first[group]
        while half >= 0:
            after = following[half]
            e = half // 2
            keeps = cost[e] >= 0
            other = _root(owner, pairs[e, 1 - half % 2])
            if keeps and merges:
                keeps = other != group and seen_from[other] != left
                if keeps:
                    seen_from[other] = left
                    weight = size[other] * (size[group] / (size[group] + size[other]))
                    at = place[other]  # the mean of a single patch is its feature
                    if at < 0:
                        apart = _apart(means, place[group], rows, other, sums)
                    else:
                        apart = _apart(means, place[group], means, at, sums)
                    cost[e] = weight * np.float64(apart)
                else:
                    cost[e] = -1.0
            if keeps:
                if cost[e] < least[group] or (
                    cost[e] == least[group] and size[other] < partner_size[group]
                ):
                    least[group] = cost[e]
                    best[group] = e
                    partner_size[group] = size[other]
                if before < 0:
                    first[group] = half
                else:
                    following[before] = half
                before = half
            half = after
        if before >= 0:
            following[before] = -1
        last[group] = before
        _sink(heap, length, 0, least, size)
    # A group is named by its first patch, whichever patch its heap entry had.
    lowest = np.full(n, n, np.int64)
    for patch in range(n - 1, -1, -1):
        lowest[_root(owner, patch)] = patch
    named = np.empty(n, np.int64)
    for patch in range(n):
        named[patch] = lowest[_root(owner, patch)]
    return named
