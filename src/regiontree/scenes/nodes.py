"""Second pass: one tree over the groups of all windows.

1. Groups that touch are merged by Ward's linkage, as patches of a photograph are, until as many
   parts are left as the settings say. A group weighs as many patches as it has.
2. The tree builder makes the tree of the parts, as of a photograph's.

Each leaf of the tree is one part, or several that nothing tells apart. A leaf has a *home*, the
window with most of its patches. There, the third pass sees to it that the leaf has a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.hierarchy.base import PartGraph, TreeBuilder, node_embeddings
from regiontree.scenes.grid import SceneWindow
from regiontree.scenes.groups import Groups
from regiontree.spectral.affinity import all_equal
from regiontree.spectral.contiguous import linked_groups
from regiontree.spectral.graph import no_weights
from regiontree.system.files import atomic_write

__all__ = ["SceneNodes", "scene_nodes"]


@dataclass(frozen=True, slots=True)
class SceneNodes:
    """The nodes of a scene's tree, before its pixels are known.

    Attributes
    ----------
    leaf_of_group : (n,) int32
    parents : (N,) int32
    height, ncut : (N,) float32
    stop : (N,) uint8
    embedding : (N, d) float16
        As in :class:`~regiontree.tree.RegionTree`, of what holds data.
    home : (L,) int32
        The number of each leaf's home among the windows.
    """

    leaf_of_group: NDArray[np.int32]
    parents: NDArray[np.int32]
    height: NDArray[np.float32]
    ncut: NDArray[np.float32]
    stop: NDArray[np.uint8]
    embedding: NDArray[np.float16]
    home: NDArray[np.int32]

    def save(self, path: Path) -> None:
        """Write the nodes to a file."""
        with atomic_write(path) as file:
            np.savez(file, **{name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def load(cls, path: Path) -> SceneNodes:
        """Read the nodes from a file."""
        with np.load(path) as file:
            return cls(**{name: file[name] for name in cls.__slots__})

    @property
    def n_leaves(self) -> int:
        """Number of leaves."""
        return len(self.home)


def scene_nodes(
    groups: Groups,
    windows: list[SceneWindow],
    parts: int,
    builder: TreeBuilder,
    seed: int,
    name: str,
) -> SceneNodes:
    """The tree of a scene.

    Raises
    ------
    ImageError
        The scene, which has a `name` for messages, holds no data.
    """
    if not len(groups.count):
        raise ImageError(f"{name}: no pixel holds data; check its no-data value and its mask")
    parts = 1 if all_equal(torch.from_numpy(groups.mean)) else parts
    part = linked_groups(groups.mean, groups.pairs(), parts, groups.count)
    k = int(part.max()) + 1
    sums = np.zeros((k, groups.mean.shape[1]))
    for group, own in enumerate(part.tolist()):  # one row at a time: no table of all sums
        sums[own] += groups.mean[group].astype(float) * groups.count[group]
    count = np.bincount(part, weights=groups.count, minlength=k).astype(np.int64)
    graph = PartGraph(no_weights, count, sums)
    tree = builder.build(graph, seed=seed)
    leaf_of_group = tree.leaf_of_part[part].astype(np.int32)
    return SceneNodes(
        leaf_of_group, tree.parents, tree.height, tree.ncut, tree.stop,
        node_embeddings(tree, graph), _homes(groups, windows, leaf_of_group),
    )  # fmt: skip


def _homes(
    groups: Groups, windows: list[SceneWindow], leaf_of_group: NDArray[np.int32]
) -> NDArray[np.int32]:
    """The window with most patches of each leaf, the first of equal ones."""
    n_leaves = int(leaf_of_group.max()) + 1
    most, home = np.zeros(n_leaves, np.int64), np.zeros(n_leaves, np.int32)
    for number, window in enumerate(windows):
        here = groups.of_patch[window.cells]
        count = np.bincount(leaf_of_group[here[here >= 0]], minlength=n_leaves)
        more = count > most
        most[more], home[more] = count[more], number
    return home
