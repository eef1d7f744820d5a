"""Descriptors without what varies within regions, whitened and scaled to unit length.

A region is described twice: by itself, x, and relative to its photograph, x - p, where p is the
mean over the photograph. The first knows what kind of scene the region lies in. The second does
not know what a whole photograph shares: its light, its camera, its subject. Each is treated so:

1. *Within regions.* Let S be the scatter of leaves around the regions that hold them. What varies
   within regions tells no regions apart, so it counts less: x becomes (S + r I)^-1/2 x, where r is
   the mean of the eigenvalues of S.
2. *Whitening.* Let m be the mean of all descriptors, each weighted by the share of its photograph
   that its region covers, and let u_i be the eigenvectors of their covariance with the eigenvalues
   l_1 >= l_2 >= ... A descriptor becomes

       y_i = u_i . (x - m) / l_i^power,   i = 1 to dimensions.

   With power 0 these are the leading principal components. With 0.5 all of them have the same
   variance: then a few strong components no longer hide the many weak ones. Between the two, few
   categories and many are both served (docs/how-to/collections.md).
3. *Length.* y becomes y / |y|.

Descriptors of several kinds, each in both views, stand side by side in a row, as blocks. Each
block is treated so by itself, and the unit rows of all blocks are joined and scaled to unit length.
So every kind counts alike.

Moments are summed while regions stream by, so memory does not grow with their number.

References: Hatch, Kajarekar and Stolcke, Within-class covariance normalization for SVM-based
speaker recognition, Interspeech 2006, here with regions for classes; Jegou and Chum, Negative
evidences and co-occurrences in image retrieval: the benefit of PCA and whitening, ECCV 2012.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.spectral.dense import eigenpairs

__all__ = ["Moments", "Projection"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_NOTHING = 1e-9  # share of the largest eigenvalue below which a component holds only rounding
_BLOCK = 8192  # rows at a time


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """Descriptors to unit rows.

    Attributes
    ----------
    mean : (d,) float64
    axes : (d, p) float64
        Column i is ``(S + r I)^-1/2 u_i / l_i^power``, and zero outside the block of the component.
    start : (b,) int64
        First component of each block, 0 and further.
    """

    mean: Float64
    axes: Float64
    start: NDArray[np.int64]

    def __call__(self, values: NDArray[np.floating]) -> Float32:
        """Rows (n, d) as unit rows (n, p). A row that equals the mean becomes zeros."""
        mean, axes = torch.from_numpy(self.mean), torch.from_numpy(self.axes)
        places = [(rows, columns, axes[rows, columns]) for rows, columns in self._blocks()]
        found = np.empty((len(values), self.axes.shape[1]), np.float32)
        for start in range(0, len(values), _BLOCK):
            block = torch.from_numpy(values[start : start + _BLOCK].astype(np.float64)) - mean
            rows = torch.empty(len(block), axes.shape[1], dtype=torch.float64)
            for inputs, columns, own in places:
                projected = block[:, inputs] @ own
                norm = torch.linalg.vector_norm(projected, dim=1, keepdim=True)
                rows[:, columns] = projected / norm.clamp_min(1e-12)
            length = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
            found[start : start + _BLOCK] = (rows / length.clamp_min(1e-12)).numpy()
        return found

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of `axes` that belong to each block; elsewhere it is zero."""
        for first, stop in pairwise([*self.start.tolist(), self.axes.shape[1]]):
            used = np.flatnonzero(self.axes[:, first:stop].any(axis=1))
            inputs = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 0)
            yield inputs, slice(first, stop)


@dataclass(slots=True, eq=False)
class Moments:
    """Sums over weighted descriptors that give their mean and covariance.

    Attributes
    ----------
    blocks : list of int
        Lengths of the blocks of a descriptor; their sum is d.
    """

    blocks: list[int]
    _weight: float = 0.0
    _sum: Float64 = field(init=False)
    _products: list[Float64] = field(init=False)

    def __post_init__(self) -> None:
        self._sum = np.zeros(sum(self.blocks))
        self._products = [np.zeros((length, length)) for length in self.blocks]

    def add(self, values: NDArray[np.floating], weight: NDArray[np.floating]) -> None:
        """Count descriptors (n, d) with weights (n,)."""
        rows = torch.from_numpy(values.astype(np.float64))
        by = torch.from_numpy(weight.astype(np.float64))
        self._weight += float(by.sum())
        self._sum += (by @ rows).numpy()
        parts = torch.split(rows, self.blocks, dim=1)
        for products, own in zip(self._products, parts, strict=True):
            products += ((own * by[:, None]).T @ own).numpy()

    def projection(
        self, dimensions: int, power: float, noise: Sequence[Float64] | None = None
    ) -> Projection:
        """The projection onto at most `dimensions` components a block, each divided by l^power.

        Components without variance are left out.

        Parameters
        ----------
        dimensions, power
            As in :class:`~regiontree.collection.settings.CollectionSettings`.
        noise
            For each block, the scatter within regions, (length, length). None: step 1 is left out.
        """
        weight = max(self._weight, 1e-300)
        mean = self._sum / weight
        axes: list[Float64] = []
        start, first = [], 0
        for i, (length, products) in enumerate(zip(self.blocks, self._products, strict=True)):
            own = slice(first, first + length)
            covariance = products / weight - np.outer(mean[own], mean[own])
            quiet = np.eye(length) if noise is None else _quieting(noise[i])
            start.append(sum(one.shape[1] for one in axes))
            found = quiet @ _axes(quiet @ covariance @ quiet, dimensions, power)
            whole = np.zeros((len(mean), found.shape[1]))
            whole[own] = found
            axes.append(whole)
            first += length
        return Projection(mean, np.concatenate(axes, axis=1), np.array(start))


def _quieting(scatter: Float64) -> Float64:
    """The matrix (S / r + I)^-1/2 of a scatter S, where r is the mean of its eigenvalues.

    It differs from that of step 1 by a factor, which unit length removes. Without scatter it is I.
    """
    values, vectors = eigenpairs((scatter + scatter.T) / 2)
    values = np.maximum(values, 0)
    scaled = values / max(float(values.mean()), 1e-300)
    quiet: Float64 = (vectors / np.sqrt(scaled + 1)) @ vectors.T
    return quiet


def _axes(covariance: Float64, dimensions: int, power: float) -> Float64:
    """Leading eigenvectors of a covariance (d, d), each divided by l^power, as columns."""
    values, vectors = eigenpairs((covariance + covariance.T) / 2)
    values, vectors = values[::-1][:dimensions], vectors[:, ::-1][:, :dimensions]
    kept = values > _NOTHING * max(float(values[0]), 1e-300)
    kept[0] = True
    values, vectors = np.maximum(values[kept], 1e-300), vectors[:, kept]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    signed: Float64 = vectors * np.where(largest < 0, -1.0, 1.0)  # one sign on every machine
    return signed / values**power
