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
from regiontree.spectral.groups import sum_by_group
from regiontree.system.threads import one_thread

__all__ = ["KMeansResult", "kmeans"]

# Seeds taken from one round of candidates, where there are many clusters. On real features this
# comes within 1 % of the inertia of one seed a round in two thirds of the time (docs/decisions.md).
_TAKEN = 8
_BATCH_ENTRIES = 500_000  # distances (restarts x points x clusters): fewer run side by side
_BLOCK_ENTRIES = 800_000  # distances held at once: 3 MB


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
    tolerance: float = 1e-3,
    sample: int | None = None,
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
        Stop when an iteration lowers the inertia by no more than that share of it. 0 means until
        nothing changes.
    sample
        Of more points than this, so many, drawn at random, find the centres, and every point then
        goes to the nearest: its time no longer grows with the points but for that last pass.

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
    rng = torch.Generator().manual_seed(seed)
    if sample is not None and n > max(sample, k):
        some = torch.randperm(n, generator=rng)[: max(sample, k)].sort().values.to(points.device)
        found = kmeans(
            points[some],
            k,
            seed=seed,
            n_init=n_init,
            max_iterations=max_iterations,
            tolerance=tolerance,
        )
        near, labels = _assign(points, found.centres[None])
        inertia = max(0.0, float((near[0] + square).sum(dtype=torch.float64)))
        every = KMeansResult(labels[0], found.centres, inertia, found.iterations)
        return _without_empty(every, len(found.centres))
    taken = max(1, min(_TAKEN, k // 4))
    rounds = 1 + -(-(k - 1) // taken)
    shape = (n_init, rounds, 2 * taken)
    draws = torch.rand(shape, generator=rng, dtype=torch.float64).to(points.device)

    with one_thread():
        seeds = _plus_plus(points, square, draws)[:, :k]
    at_once = max(1, min(n_init, _BATCH_ENTRIES // (n * k)))
    best: KMeansResult | None = None
    for start in range(0, n_init, at_once):
        centres = points[seeds[start : start + at_once]]
        found = _lloyd(points, square, centres, max_iterations, tolerance)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None
    return _without_empty(best, k)


def _plus_plus(points: Tensor, square: Tensor, draws: Tensor) -> Tensor:
    """Greedy k-means++ seeding of r restarts at once: (r, k) indices into the points.

    Candidates are drawn with probability proportional to their squared distance from the seeds so
    far, by inversion of the cumulative sum at the uniform numbers `draws` (r, rounds, c). The plain
    method draws one, takes it, and passes over all points for the next. A pass costs as much for
    many candidates as for one, so each round draws c at once and takes half of them one by one,
    each time the one that lowers the total squared distance most.
    """
    r, rounds, c = draws.shape
    n = len(points)
    run = torch.arange(r, device=points.device)
    chosen = [(draws[:, 0, 0] * n).long().clamp_max_(n - 1)]
    nearest = _squared_distances(points, square, chosen[0][:, None])[:, 0].clamp_min_(0.0)
    for round_ in range(1, rounds):
        total = nearest.cumsum(dim=1, dtype=torch.float64)
        target = draws[:, round_] * total[:, -1:]
        candidate = torch.searchsorted(total, target, right=True).clamp_max_(n - 1)  # (r, c)
        reached = _squared_distances(points, square, candidate).clamp_min_(0.0)
        for _ in range(c // 2):
            torch.minimum(reached, nearest[:, None, :], out=reached)
            best = reached.sum(dim=2).argmin(dim=1)
            chosen.append(candidate[run, best])
            nearest = reached[run, best]
    return torch.stack(chosen, dim=1)


def _squared_distances(points: Tensor, square: Tensor, seeds: Tensor) -> Tensor:
    """From the points of index `seeds` (r, t) to all: (r, t, n)."""
    flat = seeds.reshape(-1)
    distance = torch.addmm(square, points[flat], points.T, alpha=-2.0)
    distance += square[flat, None]
    return distance.reshape(*seeds.shape, -1)


def _lloyd(
    points: Tensor, square: Tensor, centres: Tensor, max_iterations: int, tolerance: float
) -> KMeansResult:
    """Run restarts from their centres (r, k, p) to convergence side by side; return the best."""
    r, k, p = centres.shape
    offset = (torch.arange(r, device=points.device) * k)[:, None]
    repeated = points.repeat(r, 1) if r > 1 else points
    total_square = square.sum(dtype=torch.float64)
    inertia = torch.full((r,), torch.inf, dtype=torch.float64, device=points.device)
    for iteration in range(1, max_iterations + 1):
        least, labels = _assign(points, centres)
        before, inertia = inertia, least.sum(dim=1, dtype=torch.float64) + total_square
        if iteration == max_iterations or bool((before - inertia <= tolerance * inertia).all()):
            break
        flat = (labels + offset).reshape(-1)
        count = torch.bincount(flat, minlength=r * k)
        total = sum_by_group(repeated, flat, r * k)
        empty = (count == 0).reshape(r, k)
        moved = (total / count.clamp_min(1)[:, None]).reshape(r, k, p)
        centres = torch.where(empty[:, :, None], centres, moved)
        if bool(empty.any()):
            _reseed(points, least + square, centres, empty)
    best = int(inertia.argmin())
    return KMeansResult(
        labels[best],
        centres[best],
        max(0.0, float(inertia[best])),  # a sum of squares: below 0 only by rounding
        iteration,
    )


def _assign(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest centre of every point in every restart, and how near: two (r, n) tensors.

    The nearness is the squared distance less the point's own square: all that comparing needs. A
    block of points at a time, so that their distances stay in the processor's cache.
    """
    r, k, p = centres.shape
    offset = (centres * centres).sum(dim=2).reshape(-1)
    columns = centres.reshape(r * k, p).T
    n = len(points)
    step = min(n, max(256, _BLOCK_ENTRIES // (r * k)))
    # Written into, not collected: small results kept between large ones that are freed would leave
    # the allocator with gigabytes of gaps.
    least = points.new_empty(r, n)
    labels = torch.empty(r, n, dtype=torch.int64, device=points.device)
    distances = points.new_empty(step, r * k)
    for start in range(0, n, step):
        block = slice(start, min(start + step, n))
        cost = distances[: block.stop - start]
        torch.addmm(offset, points[block], columns, alpha=-2.0, out=cost)
        found = cost.reshape(-1, r, k).min(dim=2)
        least[:, block], labels[:, block] = found.values.T, found.indices.T
    return least, labels


def _reseed(points: Tensor, misfit: Tensor, centres: Tensor, empty: Tensor) -> None:
    """Move each empty cluster, in place, onto one of the points worst served by their centres.

    `misfit` (r, n) is each point's squared distance to its centre. A point that sits on its centre
    cannot found a cluster of its own.
    """
    for run in torch.nonzero(empty.any(dim=1))[:, 0].tolist():
        where = torch.nonzero(empty[run])[:, 0]
        worst = torch.argsort(misfit[run], descending=True, stable=True)[: len(where)]
        worst = worst[misfit[run, worst] > 1e-12]
        centres[run, where[: len(worst)]] = points[worst]


def _without_empty(result: KMeansResult, k: int) -> KMeansResult:
    """Renumber so that the clusters present are 0, 1, ...; fewer than k if points coincide."""
    present, labels = torch.unique(result.labels, return_inverse=True)
    if len(present) == k:
        return result
    return KMeansResult(labels, result.centres[present], result.inertia, result.iterations)
