"""Consensus: the merges that spectral Ward trees of different channels agree on.

A greedy tree turns on costs that are nearly equal. If the photograph is recompressed or darkened,
its features change a little, another merge comes first, and the tree above it is another one. Here
many trees vote, so a merge that few of them share has little influence.

1. *Trees.* Each tree is built by spectral Ward (:mod:`regiontree.hierarchy.ward`) from a tenth of
   the feature's channels. The sets of channels are fixed, and all channels are in equally many of
   them, within one. So nothing is random, and the same sets serve all photographs.
2. *Distances.* In each tree, the distance of two parts is the cost of the merge that joins them, as
   a share of the cost of the last merge. The distance of the consensus is the geometric mean over
   the trees. Costs span many orders of magnitude. In their logarithms a coarse merge and a fine
   one weigh alike.
3. *Merging.* Average linkage joins the parts by the mean logarithms. Each part weighs its number of
   patches.
4. *Height.* A merge has two costs: the distance of its two groups, and what it adds to the sum of
   dispersions, as in spectral Ward, with the mean over the trees of the distances |x_i - x_j|^3.
   Both are shares of the root's. The first is steady, and the second says how much of the
   photograph a merge concerns. The square of the height is their geometric mean.

References: Strehl and Ghosh, JMLR 2002 (cluster ensembles); Fred and Jain, PAMI 2005 (average
linkage of what clusterings agree on); Ho, PAMI 1998 (random subspaces); Sokal and Rohlf, Taxon 1962
(cophenetic distances).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np

from regiontree.hierarchy.base import (
    FloatArray,
    Hierarchy,
    IntArray,
    Node,
    PartGraph,
    StopReason,
    assemble,
    assemble_merges,
)
from regiontree.hierarchy.ward import NOTHING, ROUNDING, average_merges, distances, ward_merges
from regiontree.spectral.dense import eigenpairs, gram, product
from regiontree.system.jit import jit
from regiontree.system.stages import check_settings, setting
from regiontree.system.threads import one_thread

__all__ = [
    "Consensus",
    "SubspaceMerges",
    "channel_sets",
    "merge_costs",
    "merge_shares",
    "subspace_merges",
    "subspace_rows",
]

_FEWEST = 16  # channels of a set at least: fewer say little
_ALIKE = 1e-6  # features that differ by less differ by rounding


@dataclass(frozen=True, slots=True)
class Consensus:
    """The consensus of spectral Ward trees, with its settings."""

    trees: int = setting(60, "Number of trees that vote.", low=1, high=1000, whole=True)
    channels: float = setting(
        0.1,
        "Share of the feature's channels that each tree is built from; 16 channels at least.",
        low=0.001,
        high=1,
    )
    vectors: int | None = setting(
        50,
        "Number of leading eigenvectors that give a part its place.",
        low=1,
        high=100_000,
        whole=True,
        none="all of them",
    )
    power: float = setting(
        0.25,
        "Power of the eigenvalues; a smaller one gives fine differences more weight.",
        low=0,
        high=100,
    )
    exponent: float = setting(
        3.0, "Power of the distances between parts; 2 is Ward's own.", low=0.01, high=16
    )
    natural_height: float = setting(
        0.35, "Height at which the tree is cut when nobody says where.", low=0, high=1
    )
    name: str = "consensus"
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def build(self, graph: PartGraph, *, seed: int) -> Hierarchy:
        """Nothing is random: the seed has no effect."""
        k = len(graph.count)
        if k == 1:
            return assemble(Node(np.zeros(1, np.int64), stop=StopReason.SINGLE_PART), graph)
        with one_thread():  # other threads, once woken, stay busy for longer than this takes
            votes = self._votes(graph)
            pairs, log = average_merges(votes.log, graph.count)
        joint = np.exp(log - log[-1])
        spread = merge_shares(pairs, votes.apart, graph.count)
        least = NOTHING**self.exponent
        height = np.where((joint <= least) | (spread <= least), 0.0, (joint * spread) ** 0.25)
        return assemble_merges(*_ascending(pairs, height), graph.count)

    def _votes(self, graph: PartGraph) -> _Votes:
        count = graph.count
        k = len(count)
        sets = channel_sets(graph.sums.shape[1], self.channels, self.trees)
        mean = graph.sums / count[:, None]
        logs, apart = np.zeros((k, k)), np.zeros((k, k))
        for channels in sets:
            found = subspace_merges(
                mean[:, channels], count, self.vectors, self.power, self.exponent
            )
            last = float(found.costs[-1]) or 1.0  # all are 0 where nothing tells the parts apart
            share = np.maximum(found.costs / last, NOTHING**self.exponent)
            merge_costs(found.pairs, np.log(share), logs)
            apart += distances(gram(found.rows), self.exponent) / last
        logs /= len(sets)
        return _Votes(logs, apart)


@dataclass(frozen=True, slots=True, eq=False)
class _Votes:
    """What all trees say of each two parts.

    Attributes
    ----------
    log : (k, k) float64
        Mean logarithm of the cost at which they are joined, <= 0.
    apart : (k, k) float64
        Sum of the distances of their rows to the exponent, each as a share of a last merge's cost.
    """

    log: FloatArray
    apart: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class SubspaceMerges:
    """The tree of one set of channels.

    Attributes
    ----------
    rows : (k, v) float64
        What :func:`subspace_rows` gives for the parts.
    pairs : (k - 1, 2) int64
        The groups that each merge joins.
    costs : (k - 1,) float64
        The cost of each merge, never falling.
    """

    rows: FloatArray
    pairs: IntArray
    costs: FloatArray


def subspace_merges(
    mean: FloatArray, count: IntArray, vectors: int | None, power: float, exponent: float
) -> SubspaceMerges:
    """Spectral Ward's tree of parts, for features of few channels.

    Parameters
    ----------
    mean
        (k, m) mean feature of each part, k >= 2, of any scale.
    count
        (k,) patches of each part.
    vectors, power, exponent
        As in :class:`Consensus`.
    """
    square = float(count @ np.square(mean).sum(axis=1)) / float(count.sum())
    own = mean / math.sqrt(max(square, 1e-300))  # a mean patch has length 1
    rows = subspace_rows(own, count, vectors, power)
    return SubspaceMerges(rows, *ward_merges(rows, count, exponent))


@lru_cache(maxsize=8)
def channel_sets(channels: int, share: float, count: int) -> list[IntArray]:
    """The sets of channels that trees are built from.

    Parameters
    ----------
    channels
        Number of all channels.
    share
        Share of them that each set has.
    count
        Number of sets. There is one set if a set has all channels.

    Returns
    -------
    list of (m,) int64
        Channels of each set, ascending. Each channel is in equally many sets, within one.

    Examples
    --------
    >>> [len(one) for one in channel_sets(384, 0.1, 3)]
    [38, 38, 38]
    """
    size = min(channels, max(round(share * channels), _FEWEST))
    if size == channels:
        return [np.arange(channels)]
    chance = np.random.default_rng(0)  # always the same
    order: list[int] = []
    while len(order) < count * size:  # a turn has each channel once
        turn = chance.permutation(channels).tolist()
        # The set that the turn before has begun must not get a channel twice.
        held = set(order[len(order) - len(order) % size :])
        new = [one for one in turn if one not in held]
        room = size - len(order) % size
        order += [*new[:room], *(one for one in turn if one in held), *new[room:]]
    return [np.sort(order[i * size : (i + 1) * size]) for i in range(count)]


def subspace_rows(
    mean: FloatArray, count: IntArray, vectors: int | None, power: float
) -> FloatArray:
    """What :func:`regiontree.hierarchy.ward.spectral_rows` gives, for features of few channels.

    With m channels, the affinity of the parts has m + 1 eigenvalues at most that are not zero. They
    are those of a matrix of that size.

    Parameters
    ----------
    mean
        (k, m) feature of each part, no longer than 1.
    count
        (k,) patches of each part.
    vectors, power
        As in :class:`Consensus`.

    Returns
    -------
    (k, v) float64, v <= `vectors`. All 0 if the features are equal up to rounding.
    """
    k, m = mean.shape
    weight = count.astype(float)
    farthest = 1.0 - float(gram(mean).min())
    if farthest < _ALIKE:
        return np.zeros((k, 1))
    # The affinity 1 - (1 - x . y) / farthest is a sum of products, of which the first has a sign.
    constant = 1.0 - 1.0 / farthest
    factor = np.empty((k, m + 1))
    factor[:, 0] = math.sqrt(abs(constant))
    factor[:, 1:] = mean / math.sqrt(farthest)
    sign = np.ones(m + 1)
    sign[0] = math.copysign(1.0, constant)
    degree = product(factor, sign * product(factor.T.copy(), weight))
    factor *= np.sqrt(weight / np.maximum(degree, 1e-12))[:, None]
    basis, triangle = np.linalg.qr(factor)
    values, turned = eigenpairs(product(triangle * sign, triangle.T.copy()))
    values, turned = values[::-1][:vectors], turned[:, ::-1][:, :vectors].copy()
    values = np.where(values > ROUNDING * values[0], values, 0.0)
    rows: FloatArray = product(basis, turned) * values**power / np.sqrt(weight)[:, None]
    return rows


def merge_shares(pairs: IntArray, apart: FloatArray, count: IntArray) -> FloatArray:
    """What each merge adds to the sum of dispersions, as a share of the largest of them.

    Parameters
    ----------
    pairs
        (k - 1, 2) int64 of merges, in an order in which groups exist before they merge.
    apart
        (k, k) distances of parts.
    count
        (k,) patches of each part.

    Returns
    -------
    (k - 1,) float64 from 0 to 1, by the recurrence of Lance and Williams that
    :mod:`regiontree.hierarchy.ward` states.
    """
    k = len(count)
    weight = count.astype(float)
    cost = apart * (weight[:, None] * weight / (weight[:, None] + weight))
    place = [*range(k), *[0] * (k - 1)]  # the row of each group
    added = np.empty(k - 1)
    for merge, (a, b) in enumerate(pairs.tolist()):
        i, j = place[a], place[b]
        own = added[merge] = cost[i, j]
        both = weight[i] + weight[j]
        merged = (weight + weight[i]) * cost[i] + (weight + weight[j]) * cost[j] - weight * own
        cost[i] = cost[:, i] = merged / (weight + both)
        weight[i] = both
        place[k + merge] = i
    shares: FloatArray = np.maximum(added, 0.0) / max(float(added.max()), 1e-300)
    return shares


def _ascending(pairs: IntArray, height: FloatArray) -> tuple[IntArray, FloatArray]:
    """Merges in the order of their heights, none below a merge within it."""
    k = len(height) + 1
    least = [0.0] * k
    for (a, b), own in zip(pairs.tolist(), height.tolist(), strict=True):
        least.append(max(own, least[a], least[b]))
    raised = np.array(least[k:])
    order = np.argsort(raised, kind="stable")  # of equal heights the inner merge stays first
    number = np.arange(2 * k - 1)
    number[k + order] = np.arange(k, 2 * k - 1)
    return number[pairs[order]], raised[order] / max(float(raised[-1]), 1e-300)


def _merge_costs_of_numpy(pairs: IntArray, cost: FloatArray, total: FloatArray) -> None:
    """What :func:`merge_costs` does, bit by bit."""
    k = len(total)
    members = [np.array([part]) for part in range(k)]
    for (a, b), own in zip(pairs.tolist(), cost.tolist(), strict=True):
        one, two = members[a], members[b]
        total[np.ix_(one, two)] += own
        total[np.ix_(two, one)] += own
        members.append(np.concatenate([one, two]))


@jit(instead=_merge_costs_of_numpy)
def merge_costs(pairs: IntArray, cost: FloatArray, total: FloatArray) -> None:
    """Add to each pair of parts the cost of the merge that joins them.

    Parameters
    ----------
    pairs
        (k - 1, 2) int64: the groups that each merge joins, as :func:`ward_merges` gives them.
    cost
        (k - 1,) float64 of each merge.
    total
        (k, k) float64, changed. The diagonal stays.
    """
    k = total.shape[0]
    # The parts of a group form a chain: its first and last part, and what follows each part.
    first, last = np.arange(2 * k - 1), np.arange(2 * k - 1)
    following = np.full(k, -1, np.int64)
    for merge in range(k - 1):
        a, b = pairs[merge, 0], pairs[merge, 1]
        one = first[a]
        while one >= 0:
            two = first[b]
            while two >= 0:
                total[one, two] += cost[merge]
                total[two, one] += cost[merge]
                two = following[two]
            one = following[one]
        following[last[a]] = first[b]
        first[k + merge] = first[a]
        last[k + merge] = last[b]
