"""From patches to parts: the over-clustering that the tree is then built over.

``simultaneous`` (the published default): the leading eigenvectors of the patch graph, one row a
patch, each row scaled to unit length, clustered by k-means (Ng, Jordan and Weiss, NIPS 2001; Yu and
Shi's "simultaneous" k-way cut). ``features``: k-means on the unit features themselves. ``none``:
every patch is a part. ``colours``, ``felzenszwalb``, ``slic``, ``quickshift``, ``watershed``: the
photograph is divided instead, see :mod:`regiontree.spectral.superpixels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import FeatureError, SettingsError, check_number
from regiontree.hierarchy.base import PartGraph
from regiontree.spectral.affinity import Affinity, AffinitySettings, dense_affinity, part_sums
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors
from regiontree.spectral.kmeans import kmeans
from regiontree.spectral.superpixels import IMAGE_METHODS, image_parts

__all__ = ["MAX_DENSE_PARTS", "Method", "OversegmentSettings", "oversegment", "part_graph"]

Method = Literal[
    "simultaneous", "features", "none",
    "colours", "felzenszwalb", "slic", "quickshift", "watershed",
]  # fmt: skip

_SAMPLE = 65_536  # patches that k-means finds its centres from: all, of a grid of 256 x 256
MAX_DENSE_PARTS = 4096  # the tree's own matrices are parts x parts, float64: 134 MB each there


@dataclass(frozen=True, slots=True)
class OversegmentSettings:
    """Attributes: method; parts, the number of parts aimed at (>= 1; fewer come back from fewer
    patches; none, felzenszwalb and quickshift have no use for it); restarts of k-means; tolerance,
    the share of its inertia that an iteration must gain to be followed by another, in [0, 1]
    (simultaneous and features); solver of simultaneous, ``auto`` or the dense ``reference``;
    vectors, its number of eigenvectors, None for as many as parts."""

    method: Method = "simultaneous"
    parts: int = 200
    restarts: int = 1
    tolerance: float = 5e-3
    solver: Literal["auto", "reference"] = "auto"
    vectors: int | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise SettingsError(
                f"overclustering must be one of {', '.join(get_args(Method))}, got {self.method!r}"
            )
        if self.solver not in ("auto", "reference"):
            raise SettingsError(f"solver must be auto or reference, got {self.solver!r}")
        check_number("parts", self.parts, 1, MAX_DENSE_PARTS, whole=True)
        check_number("restarts", self.restarts, 1, 1000, whole=True)
        check_number("tolerance", self.tolerance, 0, 1)
        if self.vectors is not None:
            check_number("vectors", self.vectors, 1, 100_000, whole=True)

    @property
    def needs_pixels(self) -> bool:
        """Whether the photograph is divided, not its features."""
        return self.method in IMAGE_METHODS


def oversegment(
    unit: Tensor,
    affinity: Affinity,
    affinity_settings: AffinitySettings,
    settings: OversegmentSettings,
    *,
    seed: int,
    grid: tuple[int, int] | None = None,
    rgb: NDArray[np.uint8] | None = None,
) -> Tensor:
    """Part of each patch, (n,) int64, parts numbered 0 to k - 1 with none empty.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    affinity, affinity_settings
        Their graph, and what it was made with.
    grid, rgb
        (h, w) of the patches and the photograph (H, W, 3) uint8, for methods that divide it.

    Raises
    ------
    FeatureError
        The method divides the photograph, and there is none.
    SettingsError
        More parts than the tree's matrices can take.
    """
    n = len(unit)
    if settings.needs_pixels:
        if grid is None or rgb is None:
            raise FeatureError(
                f"overclustering {settings.method!r} divides the photograph: pass it as rgb, or "
                "use simultaneous, features or none"
            )
        found = image_parts(
            rgb, grid, settings.method, parts=settings.parts, seed=seed, restarts=settings.restarts
        )
        if found.max() >= MAX_DENSE_PARTS:
            raise SettingsError(
                f"overclustering {settings.method!r} divides the photograph into "
                f"{found.max() + 1} parts; at most {MAX_DENSE_PARTS} fit; use a smaller size or "
                "another overclustering"
            )
        return torch.from_numpy(found.reshape(n)).to(unit.device)
    k = min(settings.parts, n)
    if settings.method == "none" or k == n:
        if n > MAX_DENSE_PARTS:
            raise SettingsError(
                f"overclustering 'none' makes each of the {n} patches a part; at most "
                f"{MAX_DENSE_PARTS} fit; use a smaller size or another overclustering"
            )
        return torch.arange(n, device=unit.device)
    if settings.method == "features":
        return _clusters(unit, k, settings, seed)
    v = min(settings.vectors or k, n)
    if settings.solver == "reference":
        vectors = reference_eigenvectors(dense_affinity(unit, affinity_settings), v).vectors.float()
    else:
        vectors = leading_eigenvectors(affinity, v, seed=seed).vectors
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    rows = vectors / length.clamp_min(1e-12)
    return _clusters(rows, k, settings, seed)


def _clusters(rows: Tensor, k: int, settings: OversegmentSettings, seed: int) -> Tensor:
    found = kmeans(
        rows,
        k,
        seed=seed,
        n_init=settings.restarts,
        tolerance=settings.tolerance,
        sample=_SAMPLE,
    )
    return found.labels


def part_graph(unit: Tensor, affinity: Affinity, labels: Tensor) -> PartGraph:
    """The graph of the parts in `labels` (n,): what a tree builder works on (on the CPU)."""
    k = int(labels.max()) + 1
    return PartGraph(
        weights=affinity.group_sums(labels, k).cpu().numpy(),
        count=torch.bincount(labels, minlength=k).cpu().numpy(),
        sums=part_sums(unit, labels, k).cpu().numpy(),
    )
