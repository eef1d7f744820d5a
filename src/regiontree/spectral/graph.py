"""The graph of the parts: what every tree builder works on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import TreeError
from regiontree.spectral.affinity import Affinity, part_sums

__all__ = ["MAX_PARTS", "FloatArray", "IntArray", "PartGraph", "part_graph"]

FloatArray = NDArray[np.float64]
"""An array of float64."""
IntArray = NDArray[np.int64]
"""An array of int64."""

MAX_PARTS = 4096
"""Most parts of a graph: a builder's own matrices are parts x parts, 134 MB each at that size."""


@dataclass(frozen=True, slots=True)
class PartGraph:
    """k parts (groups of patches) and how strongly they are tied.

    Attributes
    ----------
    weights : (k, k) float64
        ``A = G' W G``: sums of patch affinities between parts; symmetric, >= 0, diagonal 0.
    count : (k,) int64
        Patches in each part, >= 1.
    sums : (k, d) float64
        Sum of the unit-length features of each part.
    """

    weights: FloatArray
    count: IntArray
    sums: FloatArray

    def __post_init__(self) -> None:
        k = len(self.count)
        if self.weights.shape != (k, k) or self.sums.shape[:1] != (k,) or k == 0:
            raise TreeError(
                f"a part graph needs weights (k, k), count (k,), sums (k, d) of one k >= 1; got "
                f"{self.weights.shape}, {self.count.shape}, {self.sums.shape}"
            )

    def scatter(self, parts: IntArray) -> float:
        """Squared distances of the parts' patches to their mean feature, summed (>= 0).

        With unit-length features ``sum |f|^2 - |sum f|^2 / n = n - |sum f|^2 / n``.
        """
        n = float(self.count[parts].sum())
        total = self.sums[parts].sum(axis=0)
        return max(0.0, n - float(total @ total) / n)


def part_graph(unit: Tensor, affinity: Affinity, labels: Tensor) -> PartGraph:
    """The graph of the parts in `labels` (n,): what a tree builder works on (on the CPU)."""
    k = int(labels.max()) + 1
    return PartGraph(
        weights=affinity.group_sums(labels, k).cpu().numpy(),
        count=torch.bincount(labels, minlength=k).cpu().numpy(),
        sums=part_sums(unit, labels, k).cpu().numpy(),
    )
