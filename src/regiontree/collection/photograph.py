"""A photograph of a collection with the class of each region, as exporters write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.assigned import Assigned
from regiontree.collection.classes import Classes
from regiontree.forest.row import Row
from regiontree.tree import RegionTree, cuts

if TYPE_CHECKING:
    from regiontree.collection.collection import Collection

__all__ = ["ClassedPhotograph", "classed_photograph", "joined_nodes"]

Int32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class ClassedPhotograph:
    """A photograph with r regions that have a class. They do not overlap.

    Attributes
    ----------
    number : int
        Its place in the collection, from 1. Photographs that join later get higher numbers.
    row : Row
        What the trees hold of it.
    tree : RegionTree
    nodes : (r,) int64
        The regions' nodes in the tree, ascending.
    classes : (r,) int32
        Their classes, from 0.
    scores : (r,) float64
        How like its category each region is, 0 to 1: the cosine to the centre of its prototype. 1
        if a person put it there.
    regions : (H, W) int32
        Place of each pixel's region in `nodes`; -1 for pixels without a class.
    """

    number: int
    row: Row
    tree: RegionTree
    nodes: NDArray[np.int64]
    classes: Int32
    scores: NDArray[np.float64]
    regions: Int32

    @property
    def id(self) -> str:
        """Its id in the collection."""
        return self.row.id

    def class_map(self) -> Int32:
        """The class of each pixel, (H, W) int32 from 0; -1 for none."""
        found: Int32 = np.append(self.classes, np.int32(-1))[self.regions]
        return found


def classed_photograph(
    collection: Collection, number: int, one: Assigned, classes: Classes, *, joined: bool
) -> ClassedPhotograph:
    """A photograph with the class of each region of the collection's cut.

    Parameters
    ----------
    number
        Its place in the collection, from 1.
    joined
        Whether regions of one class become one, if they make up a node of the tree.

    Raises
    ------
    CollectionError
        Its tree is gone or has changed.
    TreeFileError, StoreError
        Its tree is damaged.
    """
    row, tree = collection.row_of(one.id, one.prototype)
    cut = tree.cut_nodes(n_regions=collection.settings.regions)
    of_cut = collection.classes_of(one.id, cut, one.prototype[cut], classes)
    likeness = np.clip(one.likeness[cut].astype(np.float64), 0, 1)
    moved = [(one.id, node) in collection.names.moved for node in cut.tolist()]
    likeness[moved] = 1
    nodes = joined_nodes(tree, cut, of_cut) if joined else cut[of_cut >= 0]
    # Which of the written nodes holds each node of the cut.
    place = np.full(tree.n_nodes, -1, np.int64)
    place[nodes] = np.arange(len(nodes))
    inside = cuts.node_of_leaf(tree.parents, nodes, tree.n_leaves)
    shown = cuts.node_of_leaf(tree.parents, cut, tree.n_leaves)
    written = np.full(len(cut), -1, np.int64)
    written[shown] = inside
    known = written >= 0
    area = tree.area[cut[known]].astype(np.float64)
    total = np.bincount(written[known], area, minlength=len(nodes))
    score = np.bincount(written[known], area * likeness[known], minlength=len(nodes)) / total
    own = np.zeros(len(nodes), np.int32)
    own[written[known]] = of_cut[known]
    regions = inside[tree.labels].astype(np.int32)
    return ClassedPhotograph(number, row, tree, nodes, own, score, regions)


def joined_nodes(
    tree: RegionTree, cut: NDArray[np.integer[Any]], classes: Int32
) -> NDArray[np.int64]:
    """The largest nodes all of whose regions have one class, ascending.

    Parameters
    ----------
    cut
        (n,) nodes of a cut, which cover the photograph.
    classes
        (n,) class of each; -1 for none.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 1, 2]], parents=[3, 3, 4, 4, 4], height=[0, 0, 0, .5, 1])
    >>> joined_nodes(tree, np.array([0, 1, 2]), np.array([7, 7, -1], np.int32)).tolist()
    [3]
    """
    own = dict(zip(cut.tolist(), classes.tolist(), strict=True))
    above = {up for node in own for up in tree.ancestors(node)}
    for node in sorted(above):  # children have lower numbers
        inside = {own[child] for child in tree.children(node)}
        own[node] = inside.pop() if len(inside) == 1 else -1
    found = [
        node
        for node, label in own.items()
        if label >= 0 and (node == tree.root or own[int(tree.parents[node])] < 0)
    ]
    return np.array(sorted(found), np.int64)
