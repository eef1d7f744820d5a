"""k-means: Lloyd's algorithm from k-means++ seeds or given centres, on CPU or CUDA tensors.

Equal points, settings and seed give an equal result on the same device. Random numbers are always
drawn on the CPU, so the draws do not depend on the device.

All restarts of one call have the same shape. Restarts of a small problem run together as one
batch. The splits of a tree are such problems: up to a few hundred points in up to ten dimensions.
Restarts of a large problem, such as all patches, run one after the other.

Reference: Lloyd 1982; Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from regiontree.errors import FeatureError, SettingsError
from regiontree.spectral.groups import sum_by_group
from regiontree.system.threads import one_thread

__all__ = ["KMeansResult", "kmeans", "nearest_centres", "plus_plus_seeds"]

# Most seeds that one round of candidates gives. On real features 8 seeds a round take two thirds of
# the time of 1 seed a round, and the inertia is within 1 % (docs/decisions.md).
_SEEDS_PER_ROUND = 8
# Restarts run as one batch while their distances (restarts x points x clusters) stay below this.
_BATCH_ENTRIES = 500_000
_BLOCK_ENTRIES = 800_000  # distances held at once: 3 MB


@dataclass(frozen=True, slots=True)
class KMeansResult:
    """Clusters of n points.

    Attributes
    ----------
    labels : Tensor
        (n,) int64, the cluster of each point, in [0, k).
    centres : Tensor
        (k, p), of the dtype of the points: the centre of each cluster.
    inertia : float
        Sum of the squared distances of the points to the centres of their clusters.
    iterations : int
        Iterations of the best restart.
    """

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
    start: Tensor | None = None,
) -> KMeansResult:
    """At most k non-empty clusters of n points.

    Parameters
    ----------
    points
        (n, p) float32 or float64, finite, on any device.
    k
        Number of clusters, 1 to n. The result has fewer clusters if fewer than k points are
        distinct.
    seed
        Seed of all random draws.
    n_init
        Number of restarts, >= 1. The restart with the smallest inertia is returned, and the
        earliest of several with the same inertia.
    max_iterations
        Most iterations of one restart.
    tolerance
        A restart stops when an iteration lowers the inertia by at most this share of the inertia.
        0 means: until nothing changes.
    sample
        If there are more points than this, a random sample of this size finds the centres, and
        then each point joins its nearest centre. Only this last step takes longer for more points.
    start
        (k, p), of the dtype and on the device of `points`: the first centres, instead of k-means++
        seeds. There is then one start, whatever `n_init`.

    Raises
    ------
    FeatureError
        `points` is not 2-D, not floating or not finite; or `start` is not (k, p).
    SettingsError
        `k` or `n_init` is out of range.
    """
    if points.ndim != 2 or not points.is_floating_point():
        raise FeatureError(
            f"k-means: points must be a floating array (n, p), got {tuple(points.shape)} "
            f"{points.dtype}"
        )
    n = len(points)
    if not 1 <= k <= n:
        raise SettingsError(f"k-means: k must be in [1, {n}] for {n} points, got {k}")
    if n_init < 1:
        raise SettingsError(f"k-means: n_init must be at least 1, got {n_init}")
    if start is not None and start.shape != (k, points.shape[1]):
        raise FeatureError(
            f"k-means: start must be (k, p) = ({k}, {points.shape[1]}), got {tuple(start.shape)}"
        )
    square = (points * points).sum(dim=1)
    if not bool(torch.isfinite(square).all()):
        raise FeatureError(
            "k-means: points are not finite; remove or replace those with NaN or infinity"
        )
    rng = torch.Generator("cpu").manual_seed(seed)
    if sample is not None and n > max(sample, k):
        some = (
            torch.randperm(n, generator=rng, device="cpu")[: max(sample, k)]
            .sort()
            .values.to(points.device)
        )
        found = kmeans(
            points[some],
            k,
            seed=seed,
            n_init=n_init,
            max_iterations=max_iterations,
            tolerance=tolerance,
            start=start,
        )
        cost, labels = nearest_centres(points, found.centres[None])
        inertia = max(0.0, float((cost[0] + square).sum(dtype=torch.float64)))
        all_points = KMeansResult(labels[0], found.centres, inertia, found.iterations)
        return _without_empty(all_points, len(found.centres))
    if start is not None:
        return _without_empty(_lloyd(points, square, start[None], max_iterations, tolerance), k)
    per_round = max(1, min(_SEEDS_PER_ROUND, k // 4))
    rounds = 1 + -(-(k - 1) // per_round)
    shape = (n_init, rounds, 2 * per_round)
    draws = torch.rand(shape, generator=rng, dtype=torch.float64, device="cpu").to(points.device)

    with one_thread():
        seeds = plus_plus_seeds(points, square, draws)[:, :k]
    at_once = max(1, min(n_init, _BATCH_ENTRIES // (n * k)))
    best: KMeansResult | None = None
    for first in range(0, n_init, at_once):
        centres = points[seeds[first : first + at_once]]
        found = _lloyd(points, square, centres, max_iterations, tolerance)
        if best is None or found.inertia < best.inertia:
            best = found
    assert best is not None
    return _without_empty(best, k)


def plus_plus_seeds(points: Tensor, square: Tensor, draws: Tensor) -> Tensor:
    """Seeds of r restarts by greedy k-means++: (r, k or a few more) indices of points.

    `points` is (n, p) floating, and `square` (n,) holds the squared lengths of its rows. A point is
    drawn as a candidate with a probability proportional to its squared distance to the nearest seed
    so far. `draws` (r, rounds, c) float64 are uniform numbers in [0, 1), and the cumulative
    sum of the distances maps them to points.

    Plain k-means++ draws one candidate, makes it a seed, and passes over all points before the next
    draw. One pass takes about the same time for many candidates. So each round draws c candidates
    and chooses c / 2 of them as seeds, one by one. It always chooses the candidate that lowers the
    total squared distance most. The result is int64.

    Reference: Arthur and Vassilvitskii, k-means++: the advantages of careful seeding, 2007.
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
    """Squared distances from the points of index `seeds` (r, t) to all points: (r, t, n)."""
    flat = seeds.reshape(-1)
    distance = torch.addmm(square, points[flat], points.T, alpha=-2.0)
    distance += square[flat, None]
    return distance.reshape(*seeds.shape, -1)


def _lloyd(
    points: Tensor, square: Tensor, centres: Tensor, max_iterations: int, tolerance: float
) -> KMeansResult:
    """The best of r restarts, which run together from the centres (r, k, p) until they converge."""
    r, k, p = centres.shape
    offset = (torch.arange(r, device=points.device) * k)[:, None]
    repeated = points.repeat(r, 1) if r > 1 else points
    total_square = square.sum(dtype=torch.float64)
    inertia = torch.full((r,), torch.inf, dtype=torch.float64, device=points.device)
    for iteration in range(1, max_iterations + 1):
        least, labels = nearest_centres(points, centres)
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
        max(0.0, float(inertia[best])),  # rounding can bring a sum of squares below 0
        iteration,
    )


def nearest_centres(points: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """For each restart and point, the cost of the nearest centre and its index: two (r, n) tensors.

    `points` is (n, p) and `centres` (r, k, p), both floating of one dtype. The costs have that
    dtype, and the indices are int64 in [0, k).

    The cost is the squared distance to the centre minus the squared length of the point. The second
    term is the same for all centres, so a comparison does not need it. The points are taken in
    blocks, so that the distances of a block stay in the processor's cache.
    """
    r, k, p = centres.shape
    offset = (centres * centres).sum(dim=2).reshape(-1)
    columns = centres.reshape(r * k, p).T
    n = len(points)
    step = min(n, max(256, _BLOCK_ENTRIES // (r * k)))
    # Results are written into these tensors. A list of small results, allocated between large
    # temporaries that are freed, would leave gigabytes of gaps in the allocator's memory.
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
    """Move the centre of each empty cluster, in place, to a point far from its own centre.

    `misfit` (r, n) is the squared distance of each point to its centre. The points with the largest
    distances are used first. A point that coincides with its centre is never used.
    """
    for run in torch.nonzero(empty.any(dim=1))[:, 0].tolist():
        where = torch.nonzero(empty[run])[:, 0]
        worst = torch.argsort(misfit[run], descending=True, stable=True)[: len(where)]
        worst = worst[misfit[run, worst] > 1e-12]
        centres[run, where[: len(worst)]] = points[worst]


def _without_empty(result: KMeansResult, k: int) -> KMeansResult:
    """The result with its non-empty clusters numbered 0, 1, ...; at most k of them."""
    present, labels = torch.unique(result.labels, return_inverse=True)
    if len(present) == k:
        return result
    return KMeansResult(labels, result.centres[present], result.inertia, result.iterations)
