"""From patches to parts: the over-clustering that the tree is then built over.

``simultaneous`` (the published default): the leading eigenvectors of the patch graph, one row a
patch, each row scaled to unit length, clustered by k-means (Ng, Jordan and Weiss, NIPS 2001; Yu and
Shi's "simultaneous" k-way cut). ``features``: k-means on the unit features themselves. ``none``:
every patch is a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from regiontree.errors import SettingsError, check_number
from regiontree.hierarchy.base import PartGraph
from regiontree.spectral.affinity import Affinity, AffinitySettings, dense_affinity, part_sums
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors
from regiontree.spectral.kmeans import kmeans

__all__ = ["MAX_DENSE_PARTS", "OversegmentSettings", "oversegment", "part_graph"]

MAX_DENSE_PARTS = 4096  # the tree's own matrices are parts x parts, float64: 134 MB each there


@dataclass(frozen=True, slots=True)
class OversegmentSettings:
    """Attributes: method; parts, the number of parts aimed at (>= 1; fewer come back from fewer
    patches); restarts of k-means; solver, ``auto`` or the dense ``reference``."""

    method: Literal["simultaneous", "features", "none"] = "simultaneous"
    parts: int = 200
    restarts: int = 1
    solver: Literal["auto", "reference"] = "auto"

    def __post_init__(self) -> None:
        if self.method not in ("simultaneous", "features", "none"):
            raise SettingsError(
                f"overclustering must be simultaneous, features or none, got {self.method!r}"
            )
        if self.solver not in ("auto", "reference"):
            raise SettingsError(f"solver must be auto or reference, got {self.solver!r}")
        check_number("parts", self.parts, 1, MAX_DENSE_PARTS, whole=True)
        check_number("restarts", self.restarts, 1, 1000, whole=True)


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
        ``none`` with more patches than the tree's matrices can take.
    """
    n = len(unit)
    k = min(settings.parts, n)
    if settings.method == "none" or k == n:
        if n > MAX_DENSE_PARTS:
            raise SettingsError(
                f"overclustering 'none' makes each of the {n} patches a part; at most "
                f"{MAX_DENSE_PARTS} fit; use a smaller size or another overclustering"
            )
        return torch.arange(n, device=unit.device)
    if settings.method == "features":
        return kmeans(unit, k, seed=seed, n_init=settings.restarts).labels
    if settings.solver == "reference":
        vectors = reference_eigenvectors(dense_affinity(unit, affinity_settings), k).vectors.float()
    else:
        vectors = leading_eigenvectors(affinity, k, seed=seed).vectors
    length = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
    rows = vectors / length.clamp_min(1e-12)
    return kmeans(rows, k, seed=seed, n_init=settings.restarts).labels


def part_graph(unit: Tensor, affinity: Affinity, labels: Tensor) -> PartGraph:
    """The graph of the parts in `labels` (n,): what a tree builder works on (on the CPU)."""
    k = int(labels.max()) + 1
    return PartGraph(
        weights=affinity.group_sums(labels, k).cpu().numpy(),
        count=torch.bincount(labels, minlength=k).cpu().numpy(),
        sums=part_sums(unit, labels, k).cpu().numpy(),
    )
