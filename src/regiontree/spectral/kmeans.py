"""k-means: Lloyd's algorithm from k-means++ starts, on CPU or CUDA tensors, same seed same answer.

Restarts are independent problems of one shape, so small ones (the splits of a tree: up to a few
hundred points in up to ten dimensions) run side by side as one batch, and large ones (the patches)
one after the other.

Random numbers are drawn on the CPU whatever the device, so the starts do not depend on it.

Reference: Lloyd 1982; Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regiontree.errors import FeatureError, SettingsError
from regiontree.spectral.threads import one_thread

__all__ = ["KMeansResult", "kmeans"]

# Candidates a seeding step tries. On real features three come within 0.6 % of the inertia of the
# 2 + log k that others use, in half the time; one is 2.5 % worse (docs/decisions.md).
_TRIALS = 3
_BATCH_ENTRIES = 500_000  # distances (restarts x points x clusters) held at once


@dataclass(frozen=True, slots=True)
class KMeansResult:
    """Attributes: labels (n,) int64 in [0, k); centres (k, p); inertia, the sum of squared
    distances to the own centre; iterations of the restart that won."""

    labels: Tensor
    centres: Tensor
    inertia: float
    iterations: int


def kmeans(
    points: Tensor,
    k: int,
    *,
    seed: int,
    n_init: int = 1,
    max_iterations: int = 100,
    tolerance: float = 1e-4,
) -> KMeansResult:
    """Cluster points (n, p) into k non-empty clusters.

    Parameters
    ----------
    points
        (n, p) float32 or float64, finite, on any device.
    k
        Number of clusters, 1 to n. If fewer than k points are distinct, fewer clusters come back.
    seed
        Of the k-means++ draws.
    n_init
        Restarts; the one of least inertia wins, the earliest on ties.
    max_iterations, tolerance
        Stop when no label changes, or when the centres moved in total squared distance by less
        than `tolerance` times the mean variance of the points' coordinates.

    Raises
    ------
    FeatureError, SettingsError
        Points not 2-D or not finite; k or n_init out of range.
    """
    if points.ndim != 2 or not points.is_floating_point():
        raise FeatureError(
            f"k-means needs floating points (n, p), got {tuple(points.shape)} {points.dtype}"
        )
    n = len(points)
    if not 1 <= k <= n:
        raise SettingsError(f"k-means: k must be in [1, {n}] for {n} points, got {k}")
    if n_init < 1:
        raise SettingsError(f"k-means: n_init must be at least 1, got {n_init}")
    square = (points * points).sum(dim=1)
    if not bool(torch.isfinite(square).all()):
        raise FeatureError("k-means: points are not finite")
    limit = tolerance * float(points.var(dim=0, correction=0).mean())
    rng = torch.Generator().manual_seed(seed)
    draws = torch.rand(n_init, k, _TRIALS, generator=rng, dtype=torch.float64).to(points.device)

    at_once = max(1, min(n_init, _BATCH_ENTRIES // (n * k)))
    best: KMeansResult | None = None
    for start in range(0, n_init, at_once):
        found = _lloyd(points, square, draws[start : start + at_once], max_iterations, limit)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None
    return _without_empty(best, k)


def _plus_plus(points: Tensor, square: Tensor, draws: Tensor) -> Tensor:
    """Greedy k-means++ seeding of r restarts at once: (r, k) indices into the points.

    Each step draws t candidates with probability proportional to their squared distance from the
    seeds so far (inversion of the cumulative sum at the uniform numbers `draws` (r, k, t)) and
    keeps the one that lowers the total squared distance most.
    """
    r, k, _ = draws.shape
    n = len(points)
    chosen = draws.new_empty(r, k, dtype=torch.int64)
    chosen[:, 0] = (draws[:, 0, 0] * n).long().clamp_max_(n - 1)
    nearest = _squared_distances(points, square, chosen[:, :1])[:, 0].clamp_min_(0.0)
    run = torch.arange(r, device=points.device)
    for step in range(1, k):
        total = nearest.cumsum(dim=1, dtype=torch.float64)
        target = draws[:, step] * total[:, -1:]
        candidate = torch.searchsorted(total, target, right=True).clamp_max_(n - 1)  # (r, t)
        reached = _squared_distances(points, square, candidate)
        reached = torch.minimum(reached, nearest[:, None, :])
        best = reached.sum(dim=2).argmin(dim=1)
        chosen[:, step] = candidate[run, best]
        nearest = reached[run, best].clamp_min_(0.0)  # rounding can leave the smallest below 0
    return chosen


def _squared_distances(points: Tensor, square: Tensor, seeds: Tensor) -> Tensor:
    """From the points of index `seeds` (r, t) to all: (r, t, n)."""
    flat = seeds.reshape(-1)
    distance = torch.addmm(square, points[flat], points.T, alpha=-2.0)
    distance += square[flat, None]
    return distance.reshape(*seeds.shape, -1)


def _lloyd(
    points: Tensor, square: Tensor, draws: Tensor, max_iterations: int, limit: float
) -> KMeansResult:
    """Run the restarts of `draws` (r, k, t) to convergence side by side; return the best."""
    n, p = points.shape
    r, k, _ = draws.shape
    with one_thread():
        seeds = _plus_plus(points, square, draws)
    centres = points[seeds.reshape(-1)]  # (r * k, p)
    offset = (torch.arange(r, device=points.device) * k)[:, None]
    labels = torch.full((r, n), -1, dtype=torch.int64, device=points.device)
    ones = torch.ones(n * r, dtype=points.dtype, device=points.device)
    repeated = points.repeat(r, 1) if r > 1 else points
    iterations = 0
    for iterations in range(1, max_iterations + 1):
        cost = _cost(points, centres, r)
        previous, labels = labels, cost.argmin(dim=2)
        if iterations > 1 and bool((labels == previous).all()):
            break
        flat = (labels + offset).reshape(-1)
        count = torch.zeros(r * k, dtype=points.dtype, device=points.device)
        count.index_add_(0, flat, ones)
        total = torch.zeros_like(centres).index_add_(0, flat, repeated)
        moved = torch.where(count[:, None] > 0, total / count.clamp_min(1.0)[:, None], centres)
        empty = (count == 0).reshape(r, k)
        if bool(empty.any()):
            moved = _reseed(points, square, cost, labels, moved.reshape(r, k, p), empty)
        shift = float(((moved - centres) ** 2).sum(dim=1).reshape(r, k).sum(dim=1).max())
        centres = moved
        if shift <= limit and not bool(empty.any()):
            labels = _cost(points, centres, r).argmin(dim=2)
            break
    cost = _cost(points, centres, r)
    inertia = (cost.gather(2, labels[:, :, None])[:, :, 0] + square).clamp_min_(0.0)
    total_inertia = inertia.sum(dim=1, dtype=torch.float64)
    best = int(total_inertia.argmin())
    return KMeansResult(
        labels[best], centres.reshape(r, k, p)[best], float(total_inertia[best]), iterations
    )


def _cost(points: Tensor, centres: Tensor, r: int) -> Tensor:
    """Squared distances less the points' own squares, (r, n, k): what argmin needs."""
    offset = (centres * centres).sum(dim=1)
    cost = torch.addmm(offset, points, centres.T, alpha=-2.0)  # (n, r * k)
    return cost.reshape(len(points), r, -1).permute(1, 0, 2)


def _reseed(
    points: Tensor, square: Tensor, cost: Tensor, labels: Tensor, centres: Tensor, empty: Tensor
) -> Tensor:
    """Move each empty cluster onto one of the points worst served by its own centre."""
    for run in torch.nonzero(empty.any(dim=1))[:, 0].tolist():
        misfit = cost[run].gather(1, labels[run][:, None])[:, 0] + square
        where = torch.nonzero(empty[run])[:, 0]
        worst = torch.argsort(misfit, descending=True, stable=True)[: len(where)]
        # A point that sits on its centre cannot found a cluster of its own.
        worst, where = worst[misfit[worst] > 1e-12], where[: int((misfit[worst] > 1e-12).sum())]
        centres[run, where] = points[worst]
    return centres.reshape(-1, points.shape[1])


def _without_empty(result: KMeansResult, k: int) -> KMeansResult:
    """Renumber so that the clusters present are 0, 1, ...; fewer than k if points coincide."""
    present, labels = torch.unique(result.labels, return_inverse=True)
    if len(present) == k:
        return result
    return KMeansResult(labels, result.centres[present], result.inertia, result.iterations)
