"""Descriptors of nodes and of merged leaves, computed from those of a tree's leaves.

A tree stores one descriptor for each leaf. That of any other region is the mean over its leaves,
weighted by their area. Leaves without data do not count; a region of nothing else has zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.nodata import no_data_nodes
from regiontree.tree.paths import sum_in_order

__all__ = ["merged_descriptors", "node_descriptors"]

Half = NDArray[np.float16]


def node_descriptors(
    parents: NDArray[np.integer[Any]],
    area: NDArray[np.integer[Any]],
    stop: NDArray[np.integer[Any]],
    descriptor: Half,
) -> NDArray[np.float32]:
    """The descriptor of each node, (N, e) float32.

    Parameters
    ----------
    parents, area, stop, descriptor
        The tree, as in :class:`~regiontree.tree.RegionTree`.

    Examples
    --------
    >>> node_descriptors(np.array([2, 2, 2]), np.array([3, 1, 4]), np.array([1, 1, 0]),
    ...                  np.array([[4, 0], [0, 8]], np.float16)).tolist()
    [[4.0, 0.0], [0.0, 8.0], [3.0, 2.0]]
    """
    leaves, length = descriptor.shape
    sums = np.zeros((len(parents), 1 + length))
    sums[:leaves] = _weighted(area, stop, descriptor)
    sums = sum_in_order(parents, sums)
    return _means(sums).astype(np.float32)


def merged_descriptors(
    into: NDArray[np.integer[Any]],
    n: int,
    area: NDArray[np.integer[Any]],
    stop: NDArray[np.integer[Any]],
    descriptor: Half,
) -> Half:
    """The descriptors of new leaves that consist of leaves of a tree, (n, e) float16.

    Parameters
    ----------
    into : (L,)
        The new leaf that each leaf becomes a part of, 0 to n - 1.
    n
        Number of new leaves.
    area, stop, descriptor
        The tree, as in :class:`~regiontree.tree.RegionTree`.
    """
    sums = np.zeros((n, 1 + descriptor.shape[1]))
    np.add.at(sums, into, _weighted(area, stop, descriptor))
    return _means(sums).astype(np.float16)


def _weighted(area: Any, stop: Any, descriptor: Half) -> NDArray[np.float64]:
    """The weight of each leaf, and its descriptor times that weight: (L, 1 + e)."""
    leaves = len(descriptor)
    weight = np.where(no_data_nodes(stop[:leaves]), 0, area[:leaves])[:, None].astype(np.float64)
    return np.concatenate([weight, weight * descriptor], axis=1)


def _means(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    means: NDArray[np.float64] = sums[:, 1:] / np.maximum(sums[:, :1], 1)
    return means
