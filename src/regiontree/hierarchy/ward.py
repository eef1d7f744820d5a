"""Spectral Ward: merge the two nearest groups of parts, from single parts up to the whole image.

1. *Coordinates.* Part i has n_i patches with mean feature m_i. Two parts have the affinity
   ``1 - (1 - m_i . m_j) / max distance``. With ``A_ij = n_i n_j affinity_ij`` and D the row sums of
   A, let u be the leading eigenvectors of ``D^-1/2 A D^-1/2``. Part i gets the row
   ``u_i * eigenvalue^power / sqrt(n_i)``. This is the spectral embedding of its patches, if all
   patches of a part are taken as equal. With ``power = 1`` distances are nearly those of the
   features themselves. A smaller power gives more weight to fine directions, in which parts differ,
   and less to coarse directions, in which objects differ.
2. *Merging.* Ward's linkage joins these rows x, each with weight n_i. A group of weight n has the
   dispersion ``1 / (2 n) sum over i, j of n_i n_j |x_i - x_j|^exponent``. The cost of a merge is
   what it adds to the sum of all dispersions, and the cheapest merge comes next. With exponent 2
   this is Ward's own linkage, and a dispersion is the sum of squared distances from the group's
   mean. The default is 3. Then rows that are far from most of their group count more, and groups
   are purer (docs/trees.md).

The costs of a merged group follow from those of its two halves, for any exponent (Lance and
Williams). With c the cost and n = n_a + n_b + n_k,

    c(a + b, k) = ((n_a + n_k) c(a, k) + (n_b + n_k) c(b, k) - n_k c(a, b)) / n

If c(a, b) is the smallest cost, the new cost is at least c(a, b). So costs never fall, and the cost
of a merge can serve as its height.

One tree holds every granularity: read from the top, each merge is a division.

References: Ward, JASA 1963; Lance and Williams, The Computer Journal 1967; Szekely and Rizzo,
Journal of Classification 2005 (exponents up to 2); Mullner, arXiv:1109.2378 (row minima); Coifman
and Lafon, ACHA 2006 (eigenvectors scaled as in diffusion maps).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

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
from regiontree.spectral.dense import gram, leading_eigenpairs, product
from regiontree.system.jit import jit
from regiontree.system.stages import check_settings, setting
from regiontree.system.threads import one_thread

__all__ = [
    "NOTHING",
    "ROUNDING",
    "SpectralWard",
    "average_merges",
    "distances",
    "spectral_rows",
    "ward_merges",
    "ward_tree",
]

ROUNDING = 1e-9
"""Share of the largest eigenvalue below which the others are zero."""
NOTHING = 1e-5
"""A merge costs nothing if its share of the last merge's cost is at most this, to the exponent."""


@dataclass(frozen=True, slots=True)
class SpectralWard:
    """Spectral Ward with its settings."""

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
        0.33, "Height at which the tree is cut when nobody says where.", low=0, high=1
    )
    name: str = "ward"
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def build(self, graph: PartGraph, *, seed: int) -> Hierarchy:
        """Nothing is random: the seed has no effect."""
        return ward_tree(
            graph, lambda: spectral_rows(graph, self.vectors, self.power), self.exponent
        )


def ward_tree(graph: PartGraph, rows_of: Callable[[], FloatArray], exponent: float) -> Hierarchy:
    """The tree of Ward's linkage: step 2 above.

    Parameters
    ----------
    graph
    rows_of
        Gives coordinates (k, v) of the parts. It is not called for a single part.
    exponent
        Of the distances.
    """
    if len(graph.count) == 1:
        return assemble(Node(np.zeros(1, np.int64), stop=StopReason.SINGLE_PART), graph)
    with one_thread():  # other threads, once woken, stay busy for longer than this takes
        pairs, costs = ward_merges(rows_of(), graph.count, exponent)
    share = costs / costs[-1] if costs[-1] > 0 else np.zeros_like(costs)
    # Where nothing tells two groups apart, they are one region. A root, so that fine divisions
    # are told apart; its square is a share of the cost.
    height = np.where(share <= NOTHING**exponent, 0.0, np.sqrt(share))
    return assemble_merges(pairs, height, graph.count)


def spectral_rows(graph: PartGraph, vectors: int | None, power: float) -> FloatArray:
    """Coordinates of the parts, (k, v) with v <= `vectors`: step 1 above."""
    count = graph.count.astype(float)
    mean = graph.sums / count[:, None]
    distance = 1.0 - gram(mean)
    np.maximum(0.0, distance, out=distance)
    affinity = np.subtract(1.0, distance / max(float(distance.max()), 1e-12), out=distance)
    # A_ij / sqrt(D_i D_j), where D_i, the sum of A_ij over j, is n_i times affinity @ count.
    scale = np.sqrt(count / product(affinity, count))
    affinity *= scale
    affinity *= scale[:, None]
    values, u = leading_eigenpairs(affinity, len(count) if vectors is None else vectors)
    # A zero that rounding made tiny would become large when raised to a small power.
    values = np.where(values > ROUNDING * values[0], values, 0.0)
    rows: FloatArray = u * values**power / np.sqrt(count)[:, None]
    return rows


def ward_merges(
    rows: FloatArray, count: np.ndarray, exponent: float = 2.0
) -> tuple[np.ndarray, FloatArray]:
    """Ward's linkage of weighted points: step 2 above.

    Parameters
    ----------
    rows
        (k, v) coordinates.
    count
        (k,) weight of each, > 0.
    exponent
        Of the distances, > 0; 2 is Ward's own.

    Returns
    -------
    pairs : (k - 1, 2) int64
        Groups merged, in order; points are 0 to k - 1, merge i makes group k + i.
    costs : (k - 1,) float64
        Increase of the sum of dispersions, never falling.
    """
    weight = count.astype(float)
    cost = _first_costs(gram(rows), weight, exponent)
    pairs, costs = _merges(cost, weight, False)
    return pairs, np.maximum.accumulate(costs)


def average_merges(distance: FloatArray, count: np.ndarray) -> tuple[np.ndarray, FloatArray]:
    """Average linkage of weighted points: the distance of two groups is the mean over their pairs.

    Parameters
    ----------
    distance
        (k, k), symmetric. The diagonal has no effect.
    count
        (k,) weight of each point, > 0. A pair weighs the product of its points' weights.

    Returns
    -------
    pairs, distances
        As :func:`ward_merges` gives pairs and costs. Distances never fall.

    References
    ----------
    Sokal and Michener, University of Kansas Science Bulletin 1958.

    Examples
    --------
    >>> distance = np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 6.0], [4.0, 6.0, 0.0]])
    >>> pairs, distances = average_merges(distance, np.ones(3))
    >>> pairs.tolist(), distances.tolist()
    ([[0, 1], [3, 2]], [1.0, 5.0])
    """
    cost = distance.astype(float)
    np.fill_diagonal(cost, np.inf)
    pairs, distances = _merges(cost, count.astype(float), True)
    return pairs, np.maximum.accumulate(distances)


def distances(products: FloatArray, exponent: float) -> FloatArray:
    """Distances of all pairs of rows to an exponent, (k, k); `products` are their dot products."""
    square = products.diagonal()
    apart: FloatArray = np.maximum(0.0, square[:, None] + square - 2 * products)
    if exponent == 3:
        apart *= np.sqrt(apart)
    elif exponent != 2:
        apart **= exponent / 2
    return apart


def _first_costs_of_numpy(products: FloatArray, weight: FloatArray, exponent: float) -> FloatArray:
    """What :func:`_first_costs` gives: bit by bit if the exponent is 2 or 3."""
    cost = distances(products, exponent)
    cost *= weight[:, None] * weight / (weight[:, None] + weight)
    np.fill_diagonal(cost, np.inf)
    return cost


@jit(instead=_first_costs_of_numpy)
def _first_costs(products: FloatArray, weight: FloatArray, exponent: float) -> FloatArray:
    """The cost of merging each two points, (k, k), infinite on the diagonal.

    `products` (k, k) are the dot products of their rows, and `weight` is (k,).
    """
    k = weight.shape[0]
    cost = np.empty((k, k), np.float64)
    for i in range(k):
        for j in range(k):
            apart = max(0.0, products[i, i] + products[j, j] - 2 * products[i, j])
            if exponent == 3:  # a power takes several times as long as a root
                apart *= math.sqrt(apart)
            elif exponent != 2:
                apart **= exponent / 2
            cost[i, j] = apart * (weight[i] * weight[j] / (weight[i] + weight[j]))
        cost[i, i] = np.inf
    return cost


def _merges_of_numpy(
    cost: FloatArray, weight: FloatArray, is_average: bool
) -> tuple[IntArray, FloatArray]:
    """What :func:`_merges` gives, bit by bit."""
    k = len(weight)
    nearest = cost.argmin(axis=1)
    least = cost[np.arange(k), nearest]
    name = np.arange(k)
    pairs, costs = np.empty((k - 1, 2), dtype=np.int64), np.empty(k - 1)
    for step in range(k - 1):
        i = int(least.argmin())
        j = int(nearest[i])
        pairs[step] = name[i], name[j]
        costs[step] = least[i]
        # Lance and Williams: the merged group takes row i, row j leaves. What is infinite (the cost
        # of a group with itself, or with one that has left) stays so.
        both = weight[i] + weight[j]
        if is_average:
            merged = (weight[i] * cost[i] + weight[j] * cost[j]) / both
        else:
            merged = (weight + weight[i]) * cost[i] + (weight + weight[j]) * cost[j]
            merged -= weight * costs[step]
            merged /= weight + both
        weight[i], name[i] = both, k + step
        cost[i] = cost[:, i] = merged
        cost[j] = cost[:, j] = np.inf
        nearest[j], least[j] = -1, np.inf
        stale = np.flatnonzero((nearest == i) | (nearest == j))  # i itself among them
        near = cost[stale]
        at = near.argmin(axis=1)
        nearest[stale], least[stale] = at, near[np.arange(len(stale)), at]
        closer = np.flatnonzero(merged < least)
        nearest[closer], least[closer] = i, merged[closer]
    return pairs, costs


@jit(instead=_merges_of_numpy)
def _merges(cost: FloatArray, weight: FloatArray, is_average: bool) -> tuple[IntArray, FloatArray]:
    """The merges of :func:`ward_merges` or :func:`average_merges`, with the costs as they come.

    `cost` (k, k) are those of all pairs, infinite on the diagonal, and `weight` is (k,). Both are
    changed. Of equal costs the lowest row comes first, then the lowest column.
    """
    k = weight.shape[0]
    pairs = np.empty((k - 1, 2), np.int64)
    costs = np.empty(k - 1, np.float64)
    nearest = np.zeros(k, np.int64)
    least = np.full(k, np.inf, np.float64)
    for row in range(k):
        _find_nearest(cost, row, nearest, least)
    name = np.arange(k)
    merged = np.empty(k, np.float64)
    for step in range(k - 1):
        i = 0
        for row in range(1, k):
            if least[row] < least[i]:
                i = row
        j = nearest[i]
        pairs[step, 0], pairs[step, 1] = name[i], name[j]
        lowest = least[i]
        costs[step] = lowest
        both = weight[i] + weight[j]
        for row in range(k):
            if is_average:
                merged[row] = (weight[i] * cost[i, row] + weight[j] * cost[j, row]) / both
            else:
                merged[row] = (
                    (weight[row] + weight[i]) * cost[i, row]
                    + (weight[row] + weight[j]) * cost[j, row]
                    - weight[row] * lowest
                ) / (weight[row] + both)
        weight[i], name[i] = both, k + step
        for row in range(k):
            cost[i, row] = merged[row]
            cost[row, i] = merged[row]
            cost[j, row] = np.inf
        for row in range(k):
            cost[row, j] = np.inf
        nearest[j], least[j] = -1, np.inf
        for row in range(k):
            if nearest[row] == i or nearest[row] == j:
                _find_nearest(cost, row, nearest, least)
            if merged[row] < least[row]:
                nearest[row], least[row] = i, merged[row]
    return pairs, costs


@jit()
def _find_nearest(cost: FloatArray, row: Any, nearest: IntArray, least: FloatArray) -> None:
    """The cheapest merge of a row, the lowest column of equal ones."""
    at = 0
    for column in range(1, cost.shape[1]):
        if cost[row, column] < cost[row, at]:
            at = column
    nearest[row], least[row] = at, cost[row, at]
