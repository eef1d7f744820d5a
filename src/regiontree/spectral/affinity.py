"""The patch graph: how alike are any two patches, without ever writing the n x n table.

Let ``F`` hold one unit-length feature per patch (n, d) and ``d_ij`` be the distance of
patches i and j: ``max(0, 1 - f_i.f_j)`` (cosine) or ``|f_i - f_j|`` (Euclidean). Two affinities
turn distance into likeness, both 1 on the diagonal:

- ``minmax``: ``W = 1 - d / max d``          (the smallest distance is 0, on the diagonal)
- ``exp``:    ``W = exp(-d / (2 sigma^2))``

Entries below ``threshold`` become 0.

**The low-rank identity.** With the cosine distance and no threshold, min-max affinity is linear in
the dot products::

    W = 1 - (1 - F F') / max d = a 11' + b F F',     b = 1 / max d,   a = 1 - b

so W has rank at most d + 1. Degrees, products, sums over groups and eigenvectors follow from F
alone in O(n d) memory (:class:`LowRankAffinity`); `a` is negative when all patches are alike
(max d < 1). Every other choice goes through :class:`BlockedAffinity`, which computes a few rows of
W at a time: O(n^2 d) time but still O(n d) memory.

The diagonal is kept. Zeroing it, as the published code does, shifts the spectrum by 1/D and turns
all but the leading eigenvectors into noise on single patches (docs/decisions.md).

Reference: Rossetti and Pirri, NeurIPS 2024, section 3; Shi and Malik, PAMI 2000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from regiontree.errors import FeatureError, SettingsError, check_number
from regiontree.spectral.groups import sum_by_group

__all__ = [
    "Affinity",
    "AffinitySettings",
    "BlockedAffinity",
    "LowRankAffinity",
    "dense_affinity",
    "make_affinity",
    "max_cosine_distance",
    "unit_rows",
]

# Below this largest distance all patches count as equal: float32 rounding of 1 - f.f alone is of
# this size, and stretching it to [0, 1] would turn rounding into structure.
EQUAL = 1e-6
_SUM_ROWS = 2048
_BLOCK_ENTRIES = 4_000_000  # float32 entries of W held at once: 16 MB


@dataclass(frozen=True, slots=True)
class AffinitySettings:
    """How distance becomes affinity.

    Attributes
    ----------
    kind : {"minmax", "exp"}
    distance : {"cosine", "euclidean"}
    sigma : float
        Width of the ``exp`` kernel, 0.001 to 1000; unused by ``minmax``.
    threshold : float
        Affinities below it become 0; in [0, 1).
    """

    kind: Literal["minmax", "exp"] = "minmax"
    distance: Literal["cosine", "euclidean"] = "cosine"
    sigma: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in ("minmax", "exp"):
            raise SettingsError(f"affinity kind must be 'minmax' or 'exp', got {self.kind!r}")
        if self.distance not in ("cosine", "euclidean"):
            raise SettingsError(
                f"affinity distance must be 'cosine' or 'euclidean', got {self.distance!r}"
            )
        # Narrower than 1e-3, exp(-d / (2 sigma^2)) is 0 in float32 for all but equal features.
        check_number("sigma", self.sigma, 1e-3, 1e3)
        check_number("threshold", self.threshold, 0, 1, below=True)

    @property
    def is_low_rank(self) -> bool:
        """Whether the affinity is a product of small factors and needs no n x n matrix."""
        return self.kind == "minmax" and self.distance == "cosine" and self.threshold == 0


class Affinity(Protocol):
    """A symmetric (n, n) affinity with unit diagonal, known only through what it does."""

    n: int

    def degrees(self) -> Tensor:
        """Row sums of W, (n,) float64, diagonal included."""
        ...

    def matmul(self, x: Tensor) -> Tensor:
        """``W @ x`` for x (n, p) float32."""
        ...

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """``A = G' W G`` of the k groups in labels (n,), diagonal 0: (k, k) float64."""
        ...


def unit_rows(features: Tensor) -> Tensor:
    """Rows of (n, d) scaled to unit length, float32.

    Raises
    ------
    FeatureError
        Not 2-D and floating, empty, not finite, or a row of length zero (it has no direction).
    """
    if features.ndim != 2 or 0 in features.shape or not features.is_floating_point():
        raise FeatureError(
            f"features must be a non-empty floating array (n, d), got "
            f"{tuple(features.shape)} {features.dtype}"
        )
    if features.dtype == torch.float64:
        features = features.float()
    # Scaling by the largest entry first keeps the squares of float16-sized values finite. Both
    # divisions are in place: of a million patches, another table of float32 would be gigabytes.
    scale = features.abs().amax(dim=1, keepdim=True).float()
    if not bool(torch.isfinite(scale).all()):
        bad = int((~torch.isfinite(features)).any(dim=1).sum())
        raise FeatureError(
            f"features are not finite in {bad} of {len(features)} patches; "
            "check the backbone's precision or the file they came from"
        )
    if not bool((scale > 0).all()):
        bad = int((scale == 0).sum())
        raise FeatureError(
            f"features are all zero in {bad} of {len(features)} patches, so they have no "
            "direction to compare; remove or fill those patches"
        )
    unit: Tensor = features.to(torch.float32, copy=True)
    unit /= scale
    unit /= torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    return unit


def make_affinity(
    unit: Tensor, settings: AffinitySettings, max_distance: float | None = None
) -> Affinity:
    """The affinity of unit-length features (n, d) float32, in its cheapest exact form.

    `max_distance`, their largest cosine distance, is found here if not given.
    """
    if settings.is_low_rank:
        return LowRankAffinity(unit, max_distance)
    return BlockedAffinity(unit, settings, max_distance)


def max_cosine_distance(unit: Tensor, *, exact: bool | None = None) -> float:
    """Largest cosine distance ``1 - min_ij f_i.f_j`` of unit rows (n, d).

    Parameters
    ----------
    exact
        True: all pairs, in blocks, O(n^2 d). False: search, O(n d). None: all pairs up to 2,048
        patches, where they are cheap, and the search beyond.

    Notes
    -----
    The search walks from many starts at once to the farthest patch, and from there again, until
    nothing moves: each step can only lengthen the distance, so it ends in a pair that are each
    other's farthest. Starts are the patches farthest from the mean and from each of the leading
    walks' ends. On real photographs it finds the true maximum (`benchmarks/max_distance.py`); a
    miss would leave the affinity of the few pairs beyond it slightly below 0, and nothing else.
    """
    n = len(unit)
    if exact is None:
        exact = n <= 2048
    smallest = 1.0
    if exact:
        rows = max(1, _BLOCK_ENTRIES // n)
        for i in range(0, n, rows):  # W is symmetric: only columns from the block on
            smallest = min(smallest, float((unit[i : i + rows] @ unit[i:].T).min()))
        return max(0.0, 1.0 - smallest)
    # 64 evenly spread patches, and every patch their walks reach.
    at = torch.linspace(0, n - 1, min(64, n), device=unit.device).long()
    seen = torch.zeros(n, dtype=torch.bool, device=unit.device)
    while len(at):
        seen[at] = True
        least, far = (unit @ unit[at].T).min(dim=0)
        smallest = min(smallest, float(least.min()))
        far = torch.unique(far)
        at = far[~seen[far]]
    return max(0.0, 1.0 - smallest)


class LowRankAffinity:
    """Min-max cosine affinity ``W = a 11' + b F F'``; nothing of size n x n exists.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    max_distance
        Largest cosine distance; found by :func:`max_cosine_distance` if None.

    Attributes
    ----------
    a, b : float
        The two coefficients, a + b = 1. `a` is negative when max d < 1. If all patches are equal
        (max d below 1e-6), W is all ones: a = 1, b = 0.
    """

    def __init__(self, unit: Tensor, max_distance: float | None = None) -> None:
        self.unit = unit
        self.n = len(unit)
        if max_distance is None:
            max_distance = max_cosine_distance(unit)
        self.max_distance = max_distance
        self.b = 0.0 if max_distance < EQUAL else 1.0 / max_distance
        self.a = 1.0 - self.b

    def degrees(self) -> Tensor:
        """Sums of W's rows, (n,) float64."""
        # By blocks, since summing in float64 makes a float64 table of what is summed.
        total = self.unit.new_zeros(self.unit.shape[1], dtype=torch.float64)
        for start in range(0, self.n, _SUM_ROWS):
            total += self.unit[start : start + _SUM_ROWS].sum(dim=0, dtype=torch.float64)
        total = total.float()
        return (self.n * self.a + self.b * (self.unit @ total).double()).clamp_min_(1.0)

    def matmul(self, x: Tensor) -> Tensor:
        """W x, for x of shape (n, k)."""
        return self.a * x.sum(dim=0) + self.b * (self.unit @ (self.unit.T @ x))

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """Sums of W between groups of patches, (k, k) float64, the diagonal 0."""
        count = torch.bincount(labels, minlength=k).double()
        sums = part_sums(self.unit, labels, k)
        total = self.a * torch.outer(count, count) + self.b * (sums @ sums.T)
        return total.clamp_min_(0.0).fill_diagonal_(0.0)


class BlockedAffinity:
    """Any affinity of :class:`AffinitySettings`, computed a few rows at a time."""

    def __init__(
        self, unit: Tensor, settings: AffinitySettings, max_distance: float | None = None
    ) -> None:
        self.unit = unit
        self.n = len(unit)
        self.settings = settings
        cosine = max_cosine_distance(unit) if max_distance is None else max_distance
        # Unit rows: |f_i - f_j|^2 = 2 (1 - f_i.f_j), one farthest pair for both.
        self.max_distance = cosine if settings.distance == "cosine" else (2 * cosine) ** 0.5

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows start to stop of W, (stop - start, n) float32."""
        s = self.settings
        distance = (1.0 - self.unit[start:stop] @ self.unit.T).clamp_min_(0.0)
        at = torch.arange(start, min(stop, self.n), device=self.unit.device)
        distance[at - start, at] = 0.0  # exactly, whatever the rounding of f_i.f_i
        if s.distance == "euclidean":
            distance = (2.0 * distance).sqrt_()
        if s.kind == "exp":
            affinity = (distance * (-0.5 / s.sigma**2)).exp_()
        elif self.max_distance < EQUAL:
            affinity = torch.ones_like(distance)
        else:
            affinity = (1.0 - distance / self.max_distance).clamp_min_(0.0)
        if s.threshold > 0:
            affinity[affinity < s.threshold] = 0.0
        return affinity

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """All rows of W, some at a time, each with where they are."""
        step = max(1, _BLOCK_ENTRIES // self.n)
        for start in range(0, self.n, step):
            stop = min(start + step, self.n)
            yield slice(start, stop), self.rows(start, stop)

    def degrees(self) -> Tensor:
        """Sums of W's rows, (n,) float64."""
        return torch.cat([rows.sum(dim=1, dtype=torch.float64) for _, rows in self.blocks()])

    def matmul(self, x: Tensor) -> Tensor:
        """W x, for x of shape (n, k)."""
        return torch.cat([rows @ x for _, rows in self.blocks()])

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """Sums of W between groups of patches, (k, k) float64, the diagonal 0."""
        member = torch.nn.functional.one_hot(labels, k).float()
        total = member.new_zeros(k, k, dtype=torch.float64)
        for at, rows in self.blocks():
            total += sum_by_group((rows @ member).double(), labels[at], k)
        return total.fill_diagonal_(0.0)


def part_sums(unit: Tensor, labels: Tensor, k: int) -> Tensor:
    """``S = G' F``: the sum of the unit features of each of k groups, (k, d) float64."""
    sums = unit.new_zeros(k, unit.shape[1], dtype=torch.float64)
    step = max(1, _BLOCK_ENTRIES // unit.shape[1])
    for start in range(0, len(unit), step):
        block = slice(start, start + step)
        sums += sum_by_group(unit[block].double(), labels[block], k)
    return sums


def dense_affinity(unit: Tensor, settings: AffinitySettings) -> Tensor:
    """The whole W with a zero diagonal, (n, n) float64: the published graph, for small n.

    The definition of the module's first lines taken literally, in float64, sharing nothing with
    the two classes above: what they are checked against.
    """
    f = unit.double()
    distance = (1.0 - f @ f.T).clamp_min_(0.0).fill_diagonal_(0.0)
    if settings.distance == "euclidean":
        distance = torch.cdist(f, f, compute_mode="donot_use_mm_for_euclid_dist")
    if settings.kind == "exp":
        affinity = torch.exp(-distance / (2 * settings.sigma**2))
    else:
        largest = float(distance.max())
        affinity = 1.0 - distance / largest if largest >= EQUAL else torch.ones_like(distance)
    affinity[affinity < settings.threshold] = 0.0
    return affinity.fill_diagonal_(0.0)
