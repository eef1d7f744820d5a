"""Over-clustering: patches are grouped into parts, and the tree is then built over the parts.

Each method is a class whose fields are its settings:

- :class:`ContiguousWard` (``contiguous``) merges neighbouring patches by Ward's linkage of the unit
  features (:mod:`regiontree.spectral.contiguous`). It needs no affinity and nothing is random.
- :class:`SpectralClustering` (``simultaneous``, the published default) takes the leading
  eigenvectors of the patch graph, one row a patch, scales each row to unit length and clusters the
  rows by k-means. Sources: Ng, Jordan and Weiss, NIPS 2001; Yu and Shi, ICCV 2003.
- :class:`FeatureClustering` (``features``) clusters the unit features themselves by k-means.
- :class:`EveryPatch` (``none``) makes every patch a part.

Methods that divide the photograph instead are in :mod:`regiontree.images.superpixels`. Reference:
Rossetti and Pirri, NeurIPS 2024, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import SettingsError
from regiontree.spectral.affinity import Affinity, AffinitySettings, dense_affinity
from regiontree.spectral.contiguous import contiguous_groups
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors
from regiontree.spectral.graph import MAX_PARTS
from regiontree.spectral.kmeans import kmeans
from regiontree.system.lazy import lazy
from regiontree.system.stages import check_settings, setting

__all__ = [
    "ContiguousWard",
    "EveryPatch",
    "FeatureClustering",
    "Oversegmentation",
    "PatchGraph",
    "SpectralClustering",
]

# k-means finds its centres from at most this many patches. A grid of 256 x 256 has as many.
_SAMPLE = 65_536


@dataclass(frozen=True)
class PatchGraph:
    """The patches of one image and how strongly they are tied.

    Attributes
    ----------
    unit : (n, d) float32 tensor
        Features of unit length.
    affinity : Affinity
        Of all pairs of patches.
    settings : AffinitySettings
        What the affinity was made with.
    grid : (int, int)
        Rows and columns of patches. Their product is n, unless patches are missing.
    there : (h, w) bool or None
        Which patches of the grid have data; these are the n, row by row. None: all of them.
    """

    unit: Tensor
    affinity: Affinity
    settings: AffinitySettings
    grid: tuple[int, int]
    there: NDArray[np.bool_] | None = None

    @lazy
    def rows(self) -> NDArray[np.float32]:
        """`unit` as an array, (n, d) float32. It comes from another device once."""
        found: NDArray[np.float32] = self.unit.cpu().numpy()
        return found


class Oversegmentation(Protocol):
    """One way to group patches into parts: a frozen dataclass whose fields are its settings."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    @property
    def needs_pixels(self) -> bool:
        """Whether it divides the photograph, so that features alone are not enough."""

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: (n,) int64, parts numbered 0 to k - 1 with none empty.

        Parameters
        ----------
        patches
        rgb
            (H, W, 3), the photograph, for methods that divide it. Where patches are missing, it has
            the colours around them.
        seed
            Of every random step.

        Raises
        ------
        SettingsError
            There would be more than :data:`~regiontree.spectral.graph.MAX_PARTS` parts.
        """


def _count() -> int:
    value: int = setting(
        400,
        "Number of parts aimed at; fewer come from fewer patches.",
        low=1,
        high=MAX_PARTS,
        whole=True,
    )
    return value


def _restarts() -> int:
    value: int = setting(
        1, "Starts of k-means, of which the best is taken.", low=1, high=1000, whole=True
    )
    return value


def _tolerance() -> float:
    value: float = setting(
        5e-3,
        "An iteration of k-means must lower the sum of squared distances by more than this share, "
        "or it is the last.",
        low=0,
        high=1,
    )
    return value


@dataclass(frozen=True, slots=True)
class ContiguousWard:
    """Ward's linkage of the unit features, in which only neighbouring patches merge."""

    count: int = _count()
    name: ClassVar[str] = "contiguous"
    needs_pixels: ClassVar[bool] = False
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: see :meth:`Oversegmentation.group`. The seed has no effect."""
        if self.count >= len(patches.unit):
            return _each(patches.unit)
        parts = contiguous_groups(patches.rows, patches.grid, self.count, patches.there)
        return torch.from_numpy(parts).to(patches.unit.device)


@dataclass(frozen=True, slots=True)
class SpectralClustering:
    """k-means of the graph's leading eigenvectors, one row of unit length a patch."""

    count: int = _count()
    vectors: int | None = setting(
        50,
        "Number of leading eigenvectors.",
        low=1,
        high=100_000,
        whole=True,
        none="as many as parts",
    )
    restarts: int = _restarts()
    tolerance: float = _tolerance()
    solver: Literal["auto", "reference"] = setting(
        "auto",
        "auto works on factors of the affinity; reference forms the whole matrix, for checks.",
        choices=("auto", "reference"),
    )
    name: ClassVar[str] = "simultaneous"
    needs_pixels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: see :meth:`Oversegmentation.group`."""
        n = len(patches.unit)
        k = min(self.count, n)
        if k == n:
            return _each(patches.unit)
        v = min(self.vectors or k, n)
        if self.solver == "reference":
            dense = dense_affinity(patches.unit, patches.settings)
            vectors = reference_eigenvectors(dense, v).vectors.float()
        else:
            vectors = leading_eigenvectors(patches.affinity, v, seed=seed).vectors
        length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        return _clusters(vectors / length.clamp_min(1e-12), k, self, seed)


@dataclass(frozen=True, slots=True)
class FeatureClustering:
    """k-means of the unit features."""

    count: int = _count()
    restarts: int = _restarts()
    tolerance: float = _tolerance()
    name: ClassVar[str] = "features"
    needs_pixels: ClassVar[bool] = False
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: see :meth:`Oversegmentation.group`."""
        k = min(self.count, len(patches.unit))
        if k == len(patches.unit):
            return _each(patches.unit)
        return _clusters(patches.unit, k, self, seed)


@dataclass(frozen=True, slots=True)
class EveryPatch:
    """Every patch is a part."""

    name: ClassVar[str] = "none"
    needs_pixels: ClassVar[bool] = False
    uses_affinity: ClassVar[bool] = False

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: see :meth:`Oversegmentation.group`."""
        n = len(patches.unit)
        if n > MAX_PARTS:
            raise SettingsError(
                f"overclustering 'none' makes each of the {n} patches a part; at most "
                f"{MAX_PARTS} fit; use a smaller size or another overclustering"
            )
        return _each(patches.unit)


def _each(unit: Tensor) -> Tensor:
    """Every patch as a part of its own."""
    return torch.arange(len(unit), device=unit.device)


def _clusters(
    rows: Tensor, k: int, settings: SpectralClustering | FeatureClustering, seed: int
) -> Tensor:
    found = kmeans(
        rows,
        k,
        seed=seed,
        n_init=settings.restarts,
        tolerance=settings.tolerance,
        sample=_SAMPLE,
    )
    return found.labels
