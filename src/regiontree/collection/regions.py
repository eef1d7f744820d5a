"""Regions of one tree with their descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import CollectionError
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes

__all__ = ["Region", "Regions", "described_nodes", "regions_of"]


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
    """

    nodes: NDArray[np.int32]
    share: NDArray[np.float32]
    values: NDArray[np.float32]
    blocks: list[int]


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
    nodes = tree.cut_nodes(n_regions=count)
    nodes = nodes[~no_data_nodes(tree.stop)[nodes]]
    area = tree.area[nodes].astype(np.float64)
    share = area / max(float(area.sum()), 1.0)
    return Regions(nodes.astype(np.int32), share.astype(np.float32), values[nodes], blocks)
