"""Prototypes: the centres of many small clusters of regions.

A sample of the regions finds the first centres by k-means. If there are more regions than the
sample, all of them then improve the centres by a few passes of Lloyd's algorithm, in which regions
stream by. So memory is bounded by the sample, and the same regions in the same order give the same
bytes.

Reference: Lloyd 1982; Arthur and Vassilvitskii 2007, as in :mod:`regiontree.spectral.kmeans`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.spectral.graph import PartGraph
from regiontree.spectral.groups import sum_by_group
from regiontree.spectral.kmeans import kmeans, nearest_centres

__all__ = ["Prototypes", "find_prototypes", "nearest_prototypes"]

Float32 = NDArray[np.float32]
Weighted = tuple[Float32, Float32]
"""Unit rows (n, p) of regions and their weights (n,)."""

_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True, eq=False)
class Prototypes:
    """K prototypes.

    Attributes
    ----------
    centres : (K, p) float32
        Mean of the unit rows of each prototype's regions, weighted by their shares.
    weight : (K,) float64
        Sum of these shares, > 0: one photograph has 1.
    count : (K,) int64
        Number of regions.
    """

    centres: Float32
    weight: NDArray[np.float64]
    count: NDArray[np.int64]

    def graph(self) -> PartGraph:
        """The prototypes as the parts of a graph, for the builders of one photograph's tree.

        The weight of a prototype takes the place of a part's number of patches. It is scaled so
        that its mean is 1. The builder must not need affinities of patches.
        """
        centres = self.centres.astype(np.float64)
        length = np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
        weight = self.weight / self.weight.mean()
        empty = np.zeros((len(weight), len(weight)))
        return PartGraph(empty, weight, centres / length * weight[:, None])


def find_prototypes(
    regions: Callable[[], Iterable[Weighted]],
    n_regions: int,
    count: int,
    *,
    sample: int,
    passes: int,
    seed: int,
) -> Prototypes:
    """At most `count` prototypes of all regions.

    Parameters
    ----------
    regions
        Gives all regions, some at a time. It is called once for each pass.
    n_regions
        How many there are.
    count
        Prototypes at most. There are no more than half as many as regions, and at least one.
    sample, passes, seed
        As in :class:`~regiontree.collection.settings.CollectionSettings`.
    """
    count = max(1, min(count, n_regions // 2))
    step = -(-n_regions // max(sample, count))
    chosen, seen = [], 0
    for rows, _ in regions():
        chosen.append(rows[(-seen) % step :: step].copy())  # a view would keep all rows
        seen += len(rows)
    points = torch.from_numpy(np.concatenate(chosen))
    found = kmeans(points, min(count, len(points)), seed=seed, tolerance=_TOLERANCE)
    centres = found.centres
    for _ in range(passes if step > 1 else 0):
        moved = _summed(regions(), centres)
        centres = torch.where(moved.weight[:, None] > 0, moved.means, centres)
    last = _summed(regions(), centres)
    kept = last.count > 0
    return Prototypes(
        last.means[kept].numpy(), last.weight[kept].double().numpy(), last.count[kept].numpy()
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    means: torch.Tensor
    weight: torch.Tensor
    count: torch.Tensor


def _summed(regions: Iterable[Weighted], centres: torch.Tensor) -> _Sums:
    """Weighted mean, weight and number of the regions that are nearest to each centre."""
    k, p = centres.shape
    total, count = torch.zeros(k, p + 1, dtype=torch.float64), torch.zeros(k, dtype=torch.int64)
    for rows, share in regions:
        labels = nearest_centres(torch.from_numpy(rows), centres[None])[1][0]
        weight = torch.from_numpy(share.astype(np.float64))[:, None]
        values = torch.cat([torch.from_numpy(rows).double() * weight, weight], dim=1)
        total += sum_by_group(values, labels, k)
        count += torch.bincount(labels, minlength=k)
    weight = total[:, p]
    means = total[:, :p] / weight.clamp_min(1e-300)[:, None]
    return _Sums(means.float(), weight.float(), count)


def nearest_prototypes(rows: Float32, centres: Float32) -> tuple[NDArray[np.int32], Float32]:
    """The nearest prototype of each row, and the cosine to its centre.

    Parameters
    ----------
    rows
        (n, p) unit rows.
    centres
        (K, p) of :class:`Prototypes`.

    Returns
    -------
    (n,) int32 in [0, K), and (n,) float32 in [-1, 1].
    """
    points, means = torch.from_numpy(rows), torch.from_numpy(centres)
    labels = nearest_centres(points, means[None])[1][0]
    length = torch.linalg.vector_norm(means, dim=1).clamp_min(1e-12)
    cosine = (points * means[labels]).sum(dim=1) / length[labels]
    return labels.numpy().astype(np.int32), cosine.clamp(-1, 1).numpy()
