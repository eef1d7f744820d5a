"""The affinity W between all pairs of patches, without an n x n matrix in memory.

``F`` (n, d) holds one unit-length feature per patch. The distance ``d_ij`` of patches i and j is
``max(0, 1 - f_i.f_j)`` (cosine) or ``|f_i - f_j|`` (Euclidean). Two kinds of affinity are computed
from the distance. Both are 1 on the diagonal:

- ``minmax``: ``W = 1 - d / max d``          (the smallest distance is 0, on the diagonal)
- ``exp``:    ``W = exp(-d / (2 sigma^2))``

Entries of W below ``threshold`` become 0.

**The low-rank identity.** With the cosine distance and no threshold, the min-max affinity is linear
in the dot products::

    W = 1 - (1 - F F') / max d = a 11' + b F F',     b = 1 / max d,   a = 1 - b

So W has rank at most d + 1. Degrees, products with W, group sums and eigenvectors follow from F
alone, in O(n d) memory (:class:`LowRankAffinity`). The coefficient `a` is negative if all patches
are similar (max d < 1). :class:`BlockedAffinity` serves every other choice of settings. It computes
a few rows of W at a time, which takes O(n^2 d) time but still O(n d) memory.

W keeps its diagonal. The published code sets the diagonal to 0. This shifts the spectrum by 1/D
and turns all but the leading eigenvectors into noise on single patches (docs/decisions.md).

Reference: Rossetti and Pirri, NeurIPS 2024, section 3; Shi and Malik, PAMI 2000.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import FeatureError
from regiontree.spectral.groups import sum_by_group
from regiontree.system.jit import jit
from regiontree.system.lazy import lazy
from regiontree.system.stages import OnlyIf, check_settings, setting

__all__ = [
    "Affinity",
    "AffinitySettings",
    "BlockedAffinity",
    "LowRankAffinity",
    "all_equal",
    "dense_affinity",
    "make_affinity",
    "max_cosine_distance",
    "unit_rows",
]

# If the largest distance is below this, all patches count as equal. Float32 rounding of 1 - f.f is
# of this size. Stretching it to [0, 1] would turn rounding into structure.
EQUAL = 1e-6
_SUM_ROWS = 2048  # rows of F summed at once
_BLOCK_ENTRIES = 4_000_000  # float32 entries of W held at once: 16 MB


@dataclass(frozen=True, slots=True)
class AffinitySettings:
    """How the distance of two features becomes their affinity."""

    kind: Literal["minmax", "exp"] = setting(
        "minmax",
        "minmax: one minus the share of the largest distance; exp: a Gaussian of the distance.",
        choices=("minmax", "exp"),
    )
    distance: Literal["cosine", "euclidean"] = setting(
        "cosine", "Distance of two features.", choices=("cosine", "euclidean")
    )
    # Narrower than 1e-3, exp(-d / (2 sigma^2)) is 0 in float32 for all but equal features.
    sigma: float = setting(
        1.0, "Width of the Gaussian.", low=1e-3, high=1e3, only_if=OnlyIf("kind", ("exp",))
    )
    threshold: float = setting(0.0, "Affinities below it become 0.", low=0, high=1, below=True)

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def is_low_rank(self) -> bool:
        """Whether the affinity is a product of small factors and needs no n x n matrix."""
        return self.kind == "minmax" and self.distance == "cosine" and self.threshold == 0


class Affinity(Protocol):
    """A symmetric (n, n) affinity W with unit diagonal.

    The interface never hands out W itself, so no implementation has to store it.

    Attributes
    ----------
    n : int
        Number of patches.
    """

    n: int

    def degrees(self) -> Tensor:
        """Row sums of W with the diagonal included, (n,) float64."""
        ...

    def matmul(self, x: Tensor) -> Tensor:
        """``W @ x``, (n, p) float32, for x (n, p) float32."""
        ...

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """``A = G' W G`` with its diagonal set to 0, (k, k) float64.

        G is the (n, k) membership matrix of `labels` (n,) int64, with values in [0, k).
        """
        ...


def unit_rows(features: Tensor) -> Tensor:
    """Features with every row scaled to unit length, (n, d) float32.

    Parameters
    ----------
    features
        (n, d), of any floating dtype. It is not changed.

    Raises
    ------
    FeatureError
        `features` is not 2-D, not floating, empty or not finite, or a row is all zero and so has
        no direction.
    """
    if features.ndim != 2 or 0 in features.shape or not features.is_floating_point():
        raise FeatureError(
            f"features must be a non-empty floating array (n, d), got "
            f"{tuple(features.shape)} {features.dtype}"
        )
    if features.dtype == torch.float64:
        features = features.float()
    # The rows are first divided by their largest entry, so that the squares of extreme values stay
    # finite. Both divisions are in place: for a million patches, one more float32 copy of the
    # features would take gigabytes.
    low, high = features.amin(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)
    scale = torch.maximum(high, -low).float()
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
    unit: Tensor = features.float() / scale
    unit /= torch.linalg.vector_norm(unit, dim=1, keepdim=True)
    return unit


def all_equal(unit: Tensor) -> bool:
    """Whether no two rows of `unit` (n, d) are a cosine distance of :data:`EQUAL` apart."""
    # The first row says no at once for nearly every photograph.
    if float((unit @ unit[0]).min()) <= 1.0 - EQUAL:
        return False
    return max_cosine_distance(unit) < EQUAL


def make_affinity(
    unit: Tensor, settings: AffinitySettings, max_distance: float | None = None
) -> Affinity:
    """The affinity of the patches, in the cheapest form that is exact for the settings.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    settings
        How the affinity is computed from the distance.
    max_distance
        Largest cosine distance between two rows. None: it is computed when it is first needed.
    """
    if settings.is_low_rank:
        return LowRankAffinity(unit, max_distance)
    return BlockedAffinity(unit, settings, max_distance)


def max_cosine_distance(unit: Tensor, *, exact: bool | None = None) -> float:
    """Largest cosine distance ``1 - min_ij f_i.f_j`` between two rows, in [0, 2].

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    exact
        True: compare all pairs, in O(n^2 d) time. False: search, in O(n d) time per step. None:
        compare all pairs of up to 2,048 patches, and search among more patches.

    Notes
    -----
    The search starts from 64 evenly spread patches. From each patch it steps to the patch farthest
    away, and repeats this until it has reached no new patch. A step never shortens the distance, so
    the search ends at pairs of patches that are farthest from each other. On real photographs it
    finds the true maximum (`benchmarks/max_distance.py`). If it missed the maximum, the affinities
    of the few pairs that are farther apart would be slightly below 0.
    """
    n = len(unit)
    if exact is None:
        exact = n <= 2048
    smallest = 1.0
    if exact:
        rows = max(1, _BLOCK_ENTRIES // n)
        for i in range(0, n, rows):  # F F' is symmetric, so columns before the block are done
            smallest = min(smallest, float((unit[i : i + rows] @ unit[i:].T).min()))
        return max(0.0, 1.0 - smallest)
    current = torch.linspace(0, n - 1, min(64, n), dtype=torch.float32, device=unit.device).long()
    visited = torch.zeros(n, dtype=torch.bool, device=unit.device)
    while len(current):
        visited[current] = True
        least, farthest = (unit @ unit[current].T).min(dim=0)
        smallest = min(smallest, float(least.min()))
        farthest = torch.unique(farthest)
        current = farthest[~visited[farthest]]
    return max(0.0, 1.0 - smallest)


class LowRankAffinity:
    """The min-max cosine affinity ``W = a 11' + b F F'``, in O(n d) memory.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    max_distance
        Largest cosine distance. None: :func:`max_cosine_distance` computes it.

    Attributes
    ----------
    unit : Tensor
        F, (n, d) float32.
    n : int
        Number of patches.
    max_distance : float
        Largest cosine distance, in [0, 2].
    a, b : float
        The two coefficients, with a + b = 1. `a` is negative if max d < 1. If all patches are
        equal (max d < 1e-6), W is all ones: a = 1 and b = 0.
    """

    def __init__(self, unit: Tensor, max_distance: float | None = None) -> None:
        self.unit = unit
        self.n = len(unit)
        self._given = max_distance

    @lazy
    def max_distance(self) -> float:
        """Largest cosine distance."""
        return max_cosine_distance(self.unit) if self._given is None else self._given

    @property
    def b(self) -> float:
        """The coefficient of ``F F'``."""
        return 0.0 if self.max_distance < EQUAL else 1.0 / self.max_distance

    @property
    def a(self) -> float:
        """The coefficient of ``11'``."""
        return 1.0 - self.b

    def degrees(self) -> Tensor:
        """Row sums of W: see :meth:`Affinity.degrees`."""
        # In blocks: a sum in float64 makes a float64 copy of the rows that it sums.
        total = self.unit.new_zeros(self.unit.shape[1], dtype=torch.float64)
        for start in range(0, self.n, _SUM_ROWS):
            total += self.unit[start : start + _SUM_ROWS].sum(dim=0, dtype=torch.float64)
        total = total.float()
        return (self.n * self.a + self.b * (self.unit @ total).double()).clamp_min_(1.0)

    def matmul(self, x: Tensor) -> Tensor:
        """``W @ x``: see :meth:`Affinity.matmul`."""
        return self.a * x.sum(dim=0) + self.b * (self.unit @ (self.unit.T @ x))

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """``G' W G``: see :meth:`Affinity.group_sums`."""
        count = torch.bincount(labels, minlength=k).double()
        sums = part_sums(self.unit, labels, k)
        total = self.a * torch.outer(count, count) + self.b * (sums @ sums.T)
        return total.clamp_min_(0.0).fill_diagonal_(0.0)


class BlockedAffinity:
    """Any affinity of :class:`AffinitySettings`, a few rows of W at a time.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    settings
        How the affinity is computed from the distance.
    max_distance
        Largest cosine distance. None: :func:`max_cosine_distance` computes it.

    Attributes
    ----------
    unit : Tensor
        F, (n, d) float32.
    n : int
        Number of patches.
    settings : AffinitySettings
    max_distance : float
        Largest distance of the kind that the settings name.
    """

    def __init__(
        self, unit: Tensor, settings: AffinitySettings, max_distance: float | None = None
    ) -> None:
        self.unit = unit
        self.n = len(unit)
        self.settings = settings
        self._given = max_distance

    @lazy
    def max_distance(self) -> float:
        """Largest distance of the kind that the settings name."""
        cosine = max_cosine_distance(self.unit) if self._given is None else self._given
        # For unit rows |f_i - f_j|^2 = 2 (1 - f_i.f_j): one pair is farthest by both distances.
        return cosine if self.settings.distance == "cosine" else (2 * cosine) ** 0.5

    def rows(self, start: int, stop: int) -> Tensor:
        """Rows `start` to `stop` - 1 of W, (stop - start, n) float32."""
        s = self.settings
        distance = (1.0 - self.unit[start:stop] @ self.unit.T).clamp_min_(0.0)
        diagonal = torch.arange(start, min(stop, self.n), device=self.unit.device)
        distance[diagonal - start, diagonal] = 0.0  # rounding of f_i.f_i would leave about 1e-7
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
        """All rows of W in order: a slice of row numbers, and those rows."""
        step = max(1, _BLOCK_ENTRIES // self.n)
        for start in range(0, self.n, step):
            stop = min(start + step, self.n)
            yield slice(start, stop), self.rows(start, stop)

    def degrees(self) -> Tensor:
        """Row sums of W: see :meth:`Affinity.degrees`."""
        return torch.cat([rows.sum(dim=1, dtype=torch.float64) for _, rows in self.blocks()])

    def matmul(self, x: Tensor) -> Tensor:
        """``W @ x``: see :meth:`Affinity.matmul`."""
        return torch.cat([rows @ x for _, rows in self.blocks()])

    def group_sums(self, labels: Tensor, k: int) -> Tensor:
        """``G' W G``: see :meth:`Affinity.group_sums`."""
        member = torch.nn.functional.one_hot(labels, k).float()
        total = member.new_zeros(k, k, dtype=torch.float64)
        for block, rows in self.blocks():
            total += sum_by_group((rows @ member).double(), labels[block], k)
        return total.fill_diagonal_(0.0)


def part_sums(unit: Tensor, labels: Tensor, k: int) -> Tensor:
    """``S = G' F``: the sum of the unit features of each part, (k, d) float64.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    labels
        (n,) int64, the part of each patch, in [0, k).
    k
        Number of parts.
    """
    if unit.device.type == "cpu" and unit.dtype == torch.float32:
        added = np.zeros((k, unit.shape[1]))
        _add_rows(added, np.ascontiguousarray(unit.numpy()), labels.numpy())
        return torch.from_numpy(added)
    sums = unit.new_zeros(k, unit.shape[1], dtype=torch.float64)
    step = max(1, _BLOCK_ENTRIES // unit.shape[1])
    for start in range(0, len(unit), step):
        block = slice(start, start + step)
        sums += sum_by_group(unit[block].double(), labels[block], k)
    return sums


def _add_rows_of_torch(
    sums: NDArray[np.float64], rows: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """What :func:`_add_rows` does, bit by bit."""
    total = torch.from_numpy(sums)
    step = max(1, _BLOCK_ENTRIES // rows.shape[1])
    for start in range(0, len(rows), step):
        block = torch.from_numpy(rows[start : start + step]).double()
        total.index_add_(0, torch.from_numpy(labels[start : start + step]), block)


@jit(instead=_add_rows_of_torch)
def _add_rows(
    sums: NDArray[np.float64], rows: NDArray[np.float32], labels: NDArray[np.int64]
) -> None:
    """Add each row to the sum of its group, in the order of the rows."""
    for i in range(rows.shape[0]):
        label = labels[i]
        for j in range(rows.shape[1]):
            sums[label, j] += np.float64(rows[i, j])


def dense_affinity(unit: Tensor, settings: AffinitySettings) -> Tensor:
    """The whole W with a zero diagonal, as in the published code: (n, n) float64, for small n.

    The function follows the definition at the top of this module literally, in float64. It shares
    no code with the two classes above, so tests compare the classes with it.

    Parameters
    ----------
    unit
        (n, d), unit rows.
    settings
        How the affinity is computed from the distance.
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
