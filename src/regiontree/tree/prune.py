"""Smaller trees: some nodes of a tree, each under the nearest of them that holds it.

If these nodes do not fill a node, what they leave of it becomes one more leaf, its *rest*. So every
pixel stays in a leaf.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree import kernel
from regiontree.tree.descriptors import merged_descriptors
from regiontree.tree.stop import StopReason

__all__ = ["kept_arrays", "kept_within"]

Parents = NDArray[np.integer[Any]]
Int64 = NDArray[np.int64]
Bools = NDArray[np.bool_]


def kept_within(parents: Parents, n_leaves: int, nodes: Sequence[int], n_nodes: int) -> Bools:
    """Which nodes to keep, (N,) bool: the root and the first of `nodes`, as far as they fit.

    The tree of these nodes has at most `n_nodes` nodes beside the root, rests counted.
    """
    keep = np.zeros(len(parents), dtype=bool)
    keep[-1] = True
    for node in nodes:
        keep[node] = True
        rests = _holders(parents, n_leaves, keep)[2]
        if keep.sum() - 1 + len(rests) > n_nodes:
            keep[node] = False
            break
    return keep


def kept_arrays(
    keep: Bools,
    *,
    labels: NDArray[np.int32],
    parents: NDArray[np.int32],
    area: Int64,
    height: NDArray[np.float32],
    ncut: NDArray[np.float32],
    stop: NDArray[np.uint8],
    embedding: NDArray[np.float16] | None,
    descriptor: NDArray[np.float16] | None = None,
    stability: NDArray[np.float16] | None = None,
) -> dict[str, NDArray[Any] | None]:
    """The arrays of the tree of some nodes, the root among them.

    Parameters
    ----------
    keep : (N,) bool
        The nodes to keep.
    labels, parents, area, height, ncut, stop, embedding, descriptor, stability
        The tree, as in :class:`~regiontree.tree.RegionTree`.

    Returns
    -------
    dict
        labels, parents, height, ncut, stop, embedding, descriptor and stability of the smaller
        tree. Its leaves are the kept nodes without kept nodes below, ascending, and then the rests.
        An inner node that became a leaf has height 0 and :attr:`StopReason.PRUNED`, a rest
        :attr:`StopReason.REST`. The embedding of a rest is the mean of its leaves', weighted by
        area, at unit length. A descriptor is the mean of the leaves', weighted by area. The
        stability of a rest is 0.
    """
    n_leaves = len(parents) - int(kernel.is_inner(parents).sum())
    holder, has_child, rests = _holders(parents, n_leaves, keep)
    leaves, inner = np.flatnonzero(keep & ~has_child), np.flatnonzero(keep & has_child)
    nodes = np.concatenate([leaves, inner])
    at = len(leaves)  # where the rests go: leaves come first
    new = np.full(len(parents), -1, dtype=np.int32)
    new[leaves], new[inner] = np.arange(at), np.arange(len(inner)) + at + len(rests)
    new_leaf = new.copy()  # of the pixels that no kept node below holds
    new_leaf[rests] = np.arange(len(rests)) + at
    own = new_leaf[holder[:n_leaves]]

    if descriptor is not None:
        descriptor = merged_descriptors(own, at + len(rests), area, stop, descriptor)
    stop, height = stop[nodes].copy(), height[nodes].copy()
    pruned = np.flatnonzero(stop[:at] == StopReason.INNER)
    stop[pruned], height[pruned] = StopReason.PRUNED, 0.0
    if embedding is not None:
        mean = np.zeros((len(rests), embedding.shape[1]))
        some = np.flatnonzero(own >= at)
        weight = area[some, None].astype(np.float64)
        np.add.at(mean, own[some] - at, weight * embedding[some])
        mean /= np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
        embedding = np.insert(embedding[nodes], at, mean.astype(np.float16), axis=0)
    zeros = np.zeros(len(rests), np.float32)
    return {
        "labels": own[labels],
        "parents": np.insert(new[holder[parents[nodes]]], at, new[rests]),
        "height": np.insert(height, at, zeros),
        "ncut": np.insert(ncut[nodes], at, zeros),
        "stop": np.insert(stop, at, np.full(len(rests), StopReason.REST, np.uint8)),
        "embedding": embedding,
        "descriptor": descriptor,
        "stability": None if stability is None else np.insert(stability[nodes], at, zeros),
    }


def _holders(parents: Parents, n_leaves: int, keep: Bools) -> tuple[Int64, Bools, Int64]:
    """Of kept nodes, the root among them: (holder, has_child, rests).

    holder, (N,): the lowest kept node that holds each node. has_child, (N,): which kept nodes have
    kept nodes below. rests: the kept nodes that kept nodes below fill in part.
    """
    holder = kernel.nearest_marked(parents, keep)
    has_child = np.zeros(len(parents), dtype=bool)
    has_child[holder[parents[:-1][keep[:-1]]]] = True
    of_leaves = np.unique(holder[:n_leaves])
    return holder, has_child, of_leaves[has_child[of_leaves]]
