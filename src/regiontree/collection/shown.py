"""The regions of all photographs at any granularity, in the order in which people look at them.

Every node of every photograph has a prototype. So the photographs may be cut more finely or more
coarsely than the regions that the collection was made of, and no tree need be read.

*The order.* A category holds many prototypes, leaves of the tree of categories. Each has its most
typical regions: those most like its centre. If leaf p has s_p pixels, its r-th most typical region
(r = 0, 1, ...) comes at (r + 1/2) / s_p. So the first regions of a category are a fair sample of
it: each prototype gives some in proportion to its pixels, and gives its most typical ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.files import CollectionFiles
from regiontree.tree import RegionTree, kernel
from regiontree.tree.cuts import node_of_leaf
from regiontree.tree.paths import sum_in_order

__all__ = ["MOST_SHOWN", "RegionTable", "Shown", "shown_nodes"]

Int32 = NDArray[np.int32]

MOST_SHOWN = 64
"""The most regions of a photograph that can be shown: this bounds memory."""
_ARRAYS = ("prototype", "likeness", "share", "first", "last")


@dataclass(frozen=True, slots=True, eq=False)
class RegionTable:
    """R regions of a collection, one entry a region.

    Attributes
    ----------
    photo : (R,) int32
        Number of the photograph.
    node : (R,) int32
        Node in its tree.
    share : (R,) float32
        Share of the photograph's pixels.
    leaf : (R,) int32
        The leaf of the tree of categories that holds its prototype, ascending.
    """

    photo: Int32
    node: Int32
    share: NDArray[np.float32]
    leaf: Int32

    def counts(self, tree: RegionTree) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """How many regions each category has, and their share of all pixels: (N,) and (N,)."""
        count = np.zeros(tree.n_nodes, np.int64)
        count[: tree.n_leaves] = np.bincount(self.leaf, minlength=tree.n_leaves)
        share = np.zeros(tree.n_nodes)
        share[: tree.n_leaves] = np.bincount(
            self.leaf, self.share.astype(np.float64), minlength=tree.n_leaves
        )
        share = sum_in_order(tree.parents, share)
        return kernel.accumulate_sum(tree.parents, count), share / max(float(share[-1]), 1e-300)

    def typical(self, tree: RegionTree, most: int) -> NDArray[np.int64]:
        """The first regions of every category, (N, most) int64 into this; -1 where there are fewer.

        Of a photograph one region is taken, then those of other photographs, if there are enough.
        """
        found = np.full((tree.n_nodes, most), -1, np.int64)
        start = np.searchsorted(self.leaf, np.arange(tree.n_leaves + 1))
        key = self._keys(start)
        first, below = kernel.children(tree.parents, tree.area)
        pool: list[NDArray[np.int64]] = []
        for node in range(tree.n_nodes):
            if node < tree.n_leaves:
                own = np.arange(start[node], min(start[node + 1], start[node] + 4 * most))
            else:
                children = below[first[node] : first[node + 1]].tolist()
                own = np.concatenate([pool[child] for child in children])
                own = own[np.argsort(key[own], kind="stable")]
            _, places = np.unique(self.photo[own], return_index=True)
            again = np.ones(len(own), bool)
            again[places] = False
            own = np.concatenate([own[~again], own[again]])
            pool.append(own[np.argsort(key[own[: 4 * most]], kind="stable")])
            found[node, : min(most, len(own))] = own[:most]
        return found

    def of_category(self, tree: RegionTree, category: int) -> NDArray[np.int64]:
        """All regions of a category in their order, places in this."""
        start = np.searchsorted(self.leaf, np.arange(tree.n_leaves + 1))
        held = node_of_leaf(tree.parents, np.array([category]), tree.n_leaves) >= 0
        inside = np.flatnonzero(held[self.leaf])
        order: NDArray[np.int64] = inside[np.argsort(self._keys(start)[inside], kind="stable")]
        return order

    def _keys(self, start: NDArray[np.int64]) -> NDArray[np.float64]:
        """Where each region comes among those of a category, from the start of each leaf."""
        count = np.diff(start)
        rank = np.arange(start[-1]) - np.repeat(start[:-1], count)
        pixels = np.bincount(self.leaf, self.share, minlength=len(count))
        keys: NDArray[np.float64] = (rank + 0.5) / np.repeat(np.maximum(pixels, 1e-12), count)
        return keys


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """Every node that some cut of its photograph into at most MOST_SHOWN regions shows.

    Attributes
    ----------
    regions : RegionTable
        All these nodes. Those of one leaf stand together, the most typical first.
    first, last : (R,) uint16
        The cuts into `first` to `last` regions show the node.
    """

    regions: RegionTable
    first: NDArray[np.uint16]
    last: NDArray[np.uint16]

    def at(self, n_regions: int) -> RegionTable:
        """The regions if each photograph is cut into at most `n_regions`, 1 to MOST_SHOWN."""
        kept = (self.first <= n_regions) & (n_regions <= self.last)
        every = self.regions
        return RegionTable(every.photo[kept], every.node[kept], every.share[kept], every.leaf[kept])

    def moved(self, photo: Int32, node: Int32, leaf: Int32) -> Shown:
        """The same with some regions in other leaves, of which they are the most typical.

        Parameters
        ----------
        photo, node
            (M,) the regions. Those that are not shown are left out.
        leaf
            (M,) their new leaves.
        """
        every = self.regions
        new, front = every.leaf.copy(), np.ones(len(every.leaf), bool)
        for one, own, to in zip(photo.tolist(), node.tolist(), leaf.tolist(), strict=True):
            hit = (every.photo == one) & (every.node == own)
            new[hit], front[hit] = to, False
        by = np.lexsort((front, new))
        regions = RegionTable(every.photo[by], every.node[by], every.share[by], new[by])
        return Shown(regions, self.first[by], self.last[by])


def shown_nodes(files: CollectionFiles, tree: RegionTree) -> Shown:
    """The nodes of all photographs, numbered in the order of the collection's files.

    Parameters
    ----------
    files
    tree
        The tree of categories.

    Raises
    ------
    CollectionError
        A file is damaged.
    """
    found: dict[str, list[NDArray[np.generic]]] = {name: [] for name in (*_ARRAYS, "photo", "node")}
    before = 0
    for part in files.read_parts("photographs", set(_ARRAYS)):
        arrays = part.arrays
        kept = (arrays["prototype"] >= 0) & (arrays["first"] <= MOST_SHOWN)
        kept &= arrays["first"] <= arrays["last"]
        count = np.diff(part.start)
        photo = np.repeat(np.arange(len(count), dtype=np.int32), count)
        node = np.arange(part.start[-1]) - np.repeat(part.start[:-1], count)
        found["photo"].append(photo[kept] + np.int32(before))
        found["node"].append(node[kept].astype(np.int32))
        for name in _ARRAYS:
            found[name].append(arrays[name][kept])
        before += len(count)
    every = {name: np.concatenate(arrays) for name, arrays in found.items()}
    leaf = tree.labels[0][every["prototype"]]
    order = np.lexsort((-every["likeness"].astype(np.float32), leaf))
    photo, node, share = (every[name][order] for name in ("photo", "node", "share"))
    regions = RegionTable(photo, node, share, leaf[order])
    return Shown(regions, every["first"][order], every["last"][order])
