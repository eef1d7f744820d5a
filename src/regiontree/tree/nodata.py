"""The leaf of what is not there: pixels without data are one leaf directly below the root.

Its sibling is the tree of what is there, the *scene*. Every cut, budget and choice of nodes divides
the root first, so no region mixes the two. Nothing else counts the leaf: it is no thing that stands
out, and it is never too small to keep.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.stop import StopReason

__all__ = ["no_data_nodes", "not_regions", "with_no_data"]

Parents = NDArray[np.integer[Any]]
Bools = NDArray[np.bool_]


def no_data_nodes(stop: NDArray[np.integer[Any]]) -> Bools:
    """Which nodes hold only pixels without data, (N,) bool: leaves that say so in `stop`."""
    found: Bools = np.asarray(stop) == StopReason.NO_DATA
    return found


def not_regions(parents: Parents, stop: NDArray[np.integer[Any]]) -> Bools:
    """Which nodes are no regions of the image's content, (N,) bool.

    These are the leaves without data and the scene, which is their only sibling.

    >>> not_regions(np.array([3, 3, 4, 4, 4]), np.array([1, 1, 10, 0, 0]))
    array([False, False,  True,  True, False])
    """
    absent = no_data_nodes(stop)
    if not absent.any():
        return absent
    there = np.bincount(parents[:-1][~absent[:-1]], minlength=len(parents))
    beside = np.zeros(len(parents), dtype=bool)
    beside[parents[:-1][absent[:-1]]] = True
    scene = beside & (there == 1)
    found = absent.copy()
    found[:-1] |= scene[parents[:-1]]
    return found


def with_no_data(
    absent: Bools,
    *,
    labels: NDArray[np.int32],
    parents: Parents,
    height: NDArray[np.floating[Any]],
    ncut: NDArray[np.floating[Any]],
    stop: NDArray[np.integer[Any]],
    embedding: NDArray[np.floating[Any]] | None,
    descriptor: NDArray[np.floating[Any]] | None = None,
    stability: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Any]:
    """The arrays of a tree with one more leaf, for the pixels that are not there.

    Parameters
    ----------
    absent : (H, W) bool
        These pixels, at least one. No leaf may lie in them alone.
    labels, parents, height, ncut, stop, embedding, descriptor, stability
        The tree of what is there, as in :class:`~regiontree.tree.RegionTree`. Labels of absent
        pixels have no meaning.

    Returns
    -------
    dict
        The same arrays. The leaf is the last of the leaves; its height, normalised cut, embedding
        and descriptor are 0. The new root is as high as the tree was, at least 1, and has its
        embedding. The leaf and the new root have the stability 1: they depend on no feature.
    """
    n = len(parents)
    n_leaves = int((np.asarray(stop) != StopReason.INNER).sum())
    moved = np.asarray(parents, np.int32) + 1  # every parent is an inner node, or a lone root
    moved[-1] = n + 1
    if embedding is not None:
        embedding = np.insert(embedding, n_leaves, 0, axis=0)
        embedding = np.concatenate([embedding, embedding[-1:]])
    if descriptor is not None:
        descriptor = np.insert(descriptor, n_leaves, 0, axis=0)
    if stability is not None:
        stability = np.append(np.insert(stability, n_leaves, 1), stability.dtype.type(1))
    return {
        "labels": np.where(absent, np.int32(n_leaves), labels).astype(np.int32),
        "parents": np.append(np.insert(moved, n_leaves, n + 1), np.int32(n + 1)),
        "height": np.append(np.insert(height, n_leaves, 0), max(1.0, float(height[-1]))),
        "ncut": np.append(np.insert(ncut, n_leaves, 0), 0),
        "stop": np.append(np.insert(stop, n_leaves, StopReason.NO_DATA), StopReason.INNER),
        "embedding": embedding,
        "descriptor": descriptor,
        "stability": stability,
    }
