"""The part graph: the parts of an image and the affinities between them.

Every tree builder takes a part graph. Reference: Rossetti and Pirri, NeurIPS 2024, section 3.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import TreeError
from regiontree.spectral.affinity import Affinity, part_sums
from regiontree.system.lazy import lazy

__all__ = ["MAX_PARTS", "FloatArray", "IntArray", "PartGraph", "no_weights", "part_graph"]

FloatArray = NDArray[np.float64]
"""An array of float64."""
IntArray = NDArray[np.int64]
"""An array of int64."""

# A tree builder holds float64 matrices of parts x parts: 134 MB each at this limit.
MAX_PARTS = 4096
"""Most parts of a graph: a builder's own matrices are parts x parts, 134 MB each at that size."""


class PartGraph:
    """k parts (groups of patches) and the affinities between them.

    Attributes
    ----------
    weights : (k, k) float64
        ``A = G' W G``: for each pair of parts, the sum of the affinities between their patches.
        Symmetric and >= 0, with diagonal 0. A function that gives them is called when they are
        first asked for.
    count : (k,) int64
        Number of patches in each part, >= 1.
    sums : (k, d) float64
        Sum of the unit-length features of each part.

    Raises
    ------
    TreeError
        The shapes do not fit each other, or there is no part.
    """

    def __init__(
        self, weights: FloatArray | Callable[[], FloatArray], count: IntArray, sums: FloatArray
    ) -> None:
        self.count: IntArray = count
        self.sums: FloatArray = sums
        self._weights = weights
        k = len(count)
        shape = (k, k) if callable(weights) else weights.shape
        if shape != (k, k) or sums.shape[:1] != (k,) or k == 0:
            raise TreeError(
                "a part graph needs weights (k, k), count (k,) and sums (k, d) with the same "
                f"k >= 1; got {shape}, {count.shape} and {sums.shape}"
            )

    @lazy
    def weights(self) -> FloatArray:
        """``A = G' W G``, (k, k) float64."""
        return self._weights() if callable(self._weights) else self._weights

    def scatter(self, parts: IntArray) -> float:
        """Sum of the squared distances of patches to their mean feature, >= 0.

        For n patches with unit-length features f this is
        ``sum |f|^2 - |sum f|^2 / n = n - |sum f|^2 / n``.

        Parameters
        ----------
        parts
            (m,) int64, numbers of the parts whose patches are counted.
        """
        n = float(self.count[parts].sum())
        total = self.sums[parts].sum(axis=0)
        return max(0.0, n - float(total @ total) / n)


def part_graph(unit: Tensor, affinity: Affinity, labels: Tensor) -> PartGraph:
    """The part graph of n patches, as NumPy arrays on the CPU.

    Parameters
    ----------
    unit
        (n, d) float32, unit rows.
    affinity
        The affinity of the same patches.
    labels
        (n,) int64, the part of each patch: 0 to k - 1, each with at least one patch.
    """
    k = int(labels.max()) + 1
    return PartGraph(
        weights=lambda: affinity.group_sums(labels, k).cpu().numpy(),
        count=torch.bincount(labels, minlength=k).cpu().numpy(),
        sums=part_sums(unit, labels, k).cpu().numpy(),
    )


def no_weights() -> FloatArray:
    """The weights of a graph whose patches were never together, for builders that need none.

    Raises
    ------
    TreeError
        A builder asked for them.
    """
    raise TreeError("these parts have no affinities between them; use builder ward")
