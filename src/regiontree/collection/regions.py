"""Regions of one tree with their descriptors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import CollectionError
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes

__all__ = ["Regions", "described_nodes", "regions_of"]


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
    """

    nodes: NDArray[np.int32]
    share: NDArray[np.float32]
    values: NDArray[np.float32]


def described_nodes(tree: RegionTree, kind: str) -> NDArray[np.float32]:
    """The descriptor of every node of a tree, (N, d).

    Parameters
    ----------
    tree
    kind
        ``token`` or ``embedding``: see
        :class:`~regiontree.collection.settings.CollectionSettings`.

    Raises
    ------
    CollectionError
        The tree has none of that kind.
    """
    if kind == "embedding":
        if tree.embedding is None:
            raise CollectionError("its tree has no embeddings; make it again with them")
        return tree.embedding.astype(np.float32)
    if tree.descriptor is None:
        raise CollectionError(
            "its tree has no descriptors; make it again with --set backbone.descriptor=token, or "
            "group by --set descriptor=embedding"
        )
    return tree.descriptors()


def regions_of(tree: RegionTree, count: int, kind: str) -> Regions:
    """The regions of a tree's cut into at most `count`, without what has no data.

    Raises
    ------
    CollectionError
        The tree has no descriptors of that kind.
    """
    values = described_nodes(tree, kind)
    nodes = tree.cut_nodes(n_regions=count)
    nodes = nodes[~no_data_nodes(tree.stop)[nodes]]
    area = tree.area[nodes].astype(np.float64)
    share = area / max(float(area.sum()), 1.0)
    return Regions(nodes.astype(np.int32), share.astype(np.float32), values[nodes])
