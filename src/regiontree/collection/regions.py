"""Regions of one tree with their descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.files import Part
from regiontree.errors import CollectionError
from regiontree.tree import RegionTree
from regiontree.tree.cuts import node_of_leaf
from regiontree.tree.nodata import no_data_nodes

__all__ = [
    "Region", "Regions", "described_nodes", "photograph_means", "regions_of", "shares_of",
    "viewed_nodes", "viewed_regions",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Region:
    """A region of a photograph.

    Attributes
    ----------
    photo : str
        Id of the photograph.
    node : int
        Its node in the photograph's tree.
    share : float
        Share of the photograph's pixels, 0 to 1.
    likeness : float
        Cosine, -1 to 1: to the centre of its prototype, or to the example that was asked for.
    """

    photo: str
    node: int
    share: float
    likeness: float


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """r regions of a photograph, which do not overlap.

    Attributes
    ----------
    nodes : (r,) int32
        Their nodes in the tree, ascending.
    share : (r,) float32
        Share of the photograph's pixels, without those that have no data.
    values : (r, d) float32
        Their descriptors.
    blocks : list of int
        Lengths of the kinds of descriptors that stand side by side in a row.
    within : (sum of squares of `blocks`,) float32
        For each kind a matrix: the sum over leaves of ``w (x - y) (x - y)^T``, where x is the
        leaf's descriptor, y that of its region, and w the leaf's share of the photograph.
    """

    nodes: NDArray[np.int32]
    share: NDArray[np.float32]
    values: NDArray[np.float32]
    blocks: list[int]
    within: NDArray[np.float32]


def described_nodes(tree: RegionTree, kind: str) -> tuple[NDArray[np.float32], list[int]]:
    """The descriptor of every node of a tree, (N, d), and the lengths of its blocks.

    Parameters
    ----------
    tree
    kind
        ``token``, ``embedding`` or ``both``: see
        :class:`~regiontree.collection.settings.CollectionSettings`.

    Raises
    ------
    CollectionError
        The tree has none of that kind.
    """
    blocks = []
    if kind != "embedding":
        if tree.descriptor is None:
            raise CollectionError(
                "its tree has no descriptors; make it again with --set backbone.descriptor=token, "
                "or group by --set descriptor=embedding"
            )
        blocks.append(tree.descriptors())
    if kind != "token":
        if tree.embedding is None:
            raise CollectionError(
                "its tree has no embeddings; make it again with them, or group by --set "
                "descriptor=token"
            )
        blocks.append(tree.embedding.astype(np.float32))
    return np.concatenate(blocks, axis=1), [block.shape[1] for block in blocks]


def regions_of(tree: RegionTree, count: int, kind: str) -> Regions:
    """The regions of a tree's cut into at most `count`, without what has no data.

    Raises
    ------
    CollectionError
        The tree has no descriptors of that kind.
    """
    values, blocks = described_nodes(tree, kind)
    nodes, share = _cut(tree, count)
    within = _scatter_within(tree, nodes, values, blocks)
    return Regions(nodes.astype(np.int32), share, values[nodes], blocks, within)


def viewed_nodes(tree: RegionTree, count: int, kind: str) -> NDArray[np.float32]:
    """Every node of a tree by itself and relative to its photograph: (N, 2 d).

    The parameters are those of :func:`regions_of`, whose regions give the photograph's mean.

    Raises
    ------
    CollectionError
        As there.
    """
    values, _ = described_nodes(tree, kind)
    nodes, share = _cut(tree, count)
    mean = photograph_means(values[nodes], share, np.array([0, len(nodes)]))
    return np.concatenate([values, values - mean], axis=1)


def viewed_regions(part: Part) -> NDArray[np.float32]:
    """Regions of a part by themselves and relative to their photographs: (R, 2 d)."""
    values = part.arrays["values"].astype(np.float32)
    means = photograph_means(values, part.arrays["share"], part.start)
    return np.concatenate([values, values - np.repeat(means, np.diff(part.start), axis=0)], axis=1)


def photograph_means(
    values: NDArray[np.floating[Any]], share: NDArray[np.float32], start: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The mean descriptor of each photograph, (n, d).

    Parameters
    ----------
    values, share
        (R, d) and (R,) of regions.
    start
        (n + 1,): the regions of photograph i are rows ``start[i]`` to ``start[i + 1]``.
    """
    means = np.zeros((len(start) - 1, values.shape[1]), np.float32)
    for i, (first, stop) in enumerate(pairwise(start.tolist())):
        own = share[first:stop].astype(np.float64)
        means[i] = own @ values[first:stop].astype(np.float64) / max(float(own.sum()), 1e-300)
    return means


def shares_of(tree: RegionTree) -> NDArray[np.float64]:
    """Share of the photograph's pixels with data that each node has, (N,) from 0 to 1."""
    area = tree.area.astype(np.float64)
    leaves = area[: tree.n_leaves][~no_data_nodes(tree.stop)[: tree.n_leaves]]
    return (area / max(float(leaves.sum()), 1.0)).clip(max=1.0)


def _cut(tree: RegionTree, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nodes of a cut that have data, and their shares of the photograph's pixels."""
    nodes = tree.cut_nodes(n_regions=count)
    nodes = nodes[~no_data_nodes(tree.stop)[nodes]]
    return nodes, shares_of(tree)[nodes].astype(np.float32)


def _scatter_within(
    tree: RegionTree, nodes: NDArray[np.int64], values: NDArray[np.float32], blocks: list[int]
) -> NDArray[np.float32]:
    """How the leaves of regions scatter around them: see :class:`Regions`."""
    region = node_of_leaf(tree.parents, nodes, tree.n_leaves)
    leaves = np.flatnonzero(region >= 0)
    area = tree.area[leaves].astype(np.float64)
    weight = np.sqrt(area / max(float(area.sum()), 1.0)).astype(np.float32)
    apart = (values[leaves] - values[nodes][region[leaves]]) * weight[:, None]
    own = np.split(apart, np.cumsum(blocks)[:-1], axis=1)
    return np.concatenate([(one.T @ one).ravel() for one in own])
