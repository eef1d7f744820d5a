"""From patches to parts: the over-clustering that the tree is then built over.

``simultaneous`` (the published default): the leading eigenvectors of the patch graph, one row a
patch, each row scaled to unit length, clustered by k-means (Ng, Jordan and Weiss, NIPS 2001; Yu and
Shi's "simultaneous" k-way cut). ``features``: k-means on the unit features themselves. ``none``:
every patch is a part. Methods that divide the photograph instead are in
:mod:`regiontree.images.superpixels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from regiontree.errors import SettingsError, check_number
from regiontree.spectral.affinity import Affinity, AffinitySettings, dense_affinity
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors
from regiontree.spectral.graph import MAX_PARTS
from regiontree.spectral.kmeans import kmeans

__all__ = ["Method", "OversegmentSettings", "oversegment"]

Method = Literal["simultaneous", "features", "none"]
"""How patches become parts."""

_SAMPLE = 65_536  # patches that k-means finds its centres from: all, of a grid of 256 x 256


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
        check_number("parts", self.parts, 1, MAX_PARTS, whole=True)
        check_number("restarts", self.restarts, 1, 1000, whole=True)
        check_number("tolerance", self.tolerance, 0, 1)
        if self.vectors is not None:
            check_number("vectors", self.vectors, 1, 100_000, whole=True)


def oversegment(
    unit: Tensor,
    affinity: Affinity,
    affinity_settings: AffinitySettings,
    settings: OversegmentSettings,
    *,
    seed: int,
) -> Tensor:
    """Part of each patch, (n,) int64, parts numbered 0 to k - 1 with none empty.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    affinity, affinity_settings
        Their graph, and what it was made with.

    Raises
    ------
    SettingsError
        More parts than the tree's matrices can take.
    """
    n = len(unit)
    k = min(settings.parts, n)
    if settings.method == "none" or k == n:
        if n > MAX_PARTS:
            raise SettingsError(
                f"overclustering 'none' makes each of the {n} patches a part; at most "
                f"{MAX_PARTS} fit; use a smaller size or another overclustering"
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
