"""Diffusion Ward: merge parts that are near along chains of near neighbours.

:mod:`regiontree.hierarchy.ward` compares every part with every other. That suits the few hundred
parts of a photograph. The prototypes of a collection come from many scenes, and most pairs of them
have nothing to do with each other. So here only near neighbours are joined by an edge.

1. *Graph.* Part i has n_i patches and the unit mean feature m_i. Each part is joined to the
   `neighbours` parts with the largest cosine ``m_i . m_j``. An edge has the weight
   ``sqrt(n_i n_j) max(m_i . m_j, 0.01)``, or half of that if only one of the two names the other.
2. *Coordinates.* With D the row sums of these weights W, let u be the leading eigenvectors of
   ``(I + D^-1/2 W D^-1/2) / 2`` and l its eigenvalues, 0 to 1. Part i gets the row
   ``u_i l^steps / sqrt(D_i)``: its place in a diffusion map. Parts are near if a random walk of
   that many steps, half of which stand still, reaches the same parts from each.
3. *Merging.* Ward's linkage of these rows, each with weight n_i, as in
   :func:`regiontree.hierarchy.ward.ward_merges`.

References: Coifman and Lafon, Diffusion maps, ACHA 2006; Ward, JASA 1963; von Luxburg, A tutorial
on spectral clustering, 2007 (graphs of nearest neighbours).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from regiontree.hierarchy.base import FloatArray, Hierarchy, PartGraph
from regiontree.hierarchy.ward import ward_tree
from regiontree.spectral.dense import gram, leading_eigenpairs
from regiontree.system.stages import check_settings, setting

__all__ = ["DiffusionWard", "diffusion_rows"]

_LEAST = 0.01  # cosine of an edge: no part is cut off from all others
_SLOWEST = 0.01  # eigenvalue at least: two parts alone have 0, and would be one


@dataclass(frozen=True, slots=True)
class DiffusionWard:
    """Diffusion Ward with its settings."""

    neighbours: int = setting(
        15, "Nearest parts that a part is joined to.", low=1, high=1000, whole=True
    )
    vectors: int = setting(
        64,
        "Number of leading eigenvectors that give a part its place.",
        low=1,
        high=100_000,
        whole=True,
    )
    steps: float = setting(
        4.0, "Steps of the random walk; more steps join longer chains.", low=0, high=100
    )
    exponent: float = setting(
        3.0, "Power of the distances between parts; 2 is Ward's own.", low=0.01, high=16
    )
    natural_height: float = setting(
        0.33, "Height at which the tree is cut when nobody says where.", low=0, high=1
    )
    name: str = "diffusion"
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def build(self, graph: PartGraph, *, seed: int) -> Hierarchy:
        """Nothing is random: the seed has no effect."""
        return ward_tree(
            graph,
            lambda: diffusion_rows(graph, self.neighbours, self.vectors, self.steps),
            self.exponent,
        )


def diffusion_rows(graph: PartGraph, neighbours: int, vectors: int, steps: float) -> FloatArray:
    """Coordinates of k parts, (k, v) with v <= `vectors`: steps 1 and 2 above."""
    count = graph.count.astype(float)
    mean = graph.sums / np.maximum(np.linalg.norm(graph.sums, axis=1, keepdims=True), 1e-12)
    cosine = gram(mean)
    k = len(count)
    np.fill_diagonal(cosine, -np.inf)
    near = np.argsort(-cosine, axis=1, kind="stable")[:, : min(neighbours, k - 1)]
    row = np.arange(k)[:, None]
    weights = np.zeros((k, k))
    weights[row, near] = np.maximum(cosine[row, near], _LEAST)
    weights = (weights + weights.T) / 2
    root = np.sqrt(count)
    weights *= root
    weights *= root[:, None]
    degree = weights.sum(axis=1)
    scale = 1.0 / np.sqrt(degree)
    weights *= scale
    weights *= scale[:, None]
    weights *= 0.5
    weights[np.diag_indices(k)] += 0.5
    values, u = leading_eigenpairs(weights, min(vectors, k))
    rows: FloatArray = (
        u * np.clip(values, _SLOWEST, 1.0) ** steps * (scale * np.sqrt(degree.mean()))[:, None]
    )
    return rows
