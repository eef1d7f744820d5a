"""What every tree builder takes and gives: a graph of parts in, a hierarchy over the parts out.

A builder is any class with a ``name`` and a ``build(graph, seed=...)`` method
(:class:`TreeBuilder`). It sees no image, no file and no model, only :class:`PartGraph`; it returns
a :class:`Hierarchy` made with :func:`assemble`, which numbers the nodes in the one order that the
rest of the package relies on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree.spectral.graph import FloatArray, IntArray, PartGraph
from regiontree.tree.stop import StopReason

__all__ = [
    "FloatArray",
    "Hierarchy",
    "IntArray",
    "Node",
    "PartGraph",
    "StopReason",
    "TreeBuilder",
    "assemble",
]


@dataclass(slots=True)
class Node:
    """A node while a builder is at work; children are added as it is divided.

    `height` is the builder's own, never above the parent's; None leaves it to :func:`assemble`.
    """

    parts: IntArray
    ncut: float = 0.0
    stop: StopReason = StopReason.INNER
    children: list[Node] = field(default_factory=list)
    height: float | None = None


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """A tree over parts in Higra's order: leaves first, children before parents, root last.

    Attributes
    ----------
    leaf_of_part : (k,) int64
        The leaf that holds each part.
    parents : (N,) int32
        Parent of each node; the root is its own.
    height, ncut : (N,) float32
        See :class:`regiontree.tree.RegionTree`.
    stop : (N,) uint8
        :class:`StopReason` of each node.
    """

    leaf_of_part: IntArray
    parents: NDArray[np.int32]
    height: NDArray[np.float32]
    ncut: NDArray[np.float32]
    stop: NDArray[np.uint8]


class TreeBuilder(Protocol):
    """One way to build a tree: a frozen dataclass whose fields are its settings.

    Fields that :class:`regiontree.settings.Settings` has too are filled from there.

    ``natural_height`` is where its trees are cut when nobody says how: every node above it is
    divided. It is 0 for a builder that stops by itself.
    """

    @property
    def name(self) -> str:
        """The builder's name in the settings."""

    @property
    def natural_height(self) -> float:
        """The height at which its trees are cut when nobody says how."""

    def build(self, graph: PartGraph, *, seed: int) -> Hierarchy:
        """The tree over the parts of a graph; equal seeds give equal trees."""


def assemble(root: Node, graph: PartGraph) -> Hierarchy:
    """Number the nodes below `root` and give each its height.

    Leaves are numbered as a depth-first walk meets them, larger children first, so that near
    numbers are near in the tree; inner nodes follow, deepest first.

    The height of an inner node is the builder's own if it has one, else the share of the image's
    feature scatter that lies within it, ``scatter(node) / scatter(root)``, which never grows from a
    parent to its child. Leaves have height 0, a root with own heights 1.
    """
    leaves: list[Node] = []
    inner: list[tuple[int, Node]] = []
    parent_of: dict[int, Node] = {}
    stack: list[tuple[int, Node]] = [(0, root)]
    while stack:
        depth, node = stack.pop()
        if not node.children:
            leaves.append(node)
            continue
        inner.append((depth, node))
        children = sorted(
            node.children, key=lambda c: (int(graph.count[c.parts].sum()), -int(c.parts.min()))
        )
        for child in children:  # smallest first onto the stack: largest first out of it
            parent_of[id(child)] = node
            stack.append((depth + 1, child))
    inner.sort(key=lambda item: -item[0])  # stable: within a depth, in order of the walk
    nodes: Sequence[Node] = [*leaves, *(node for _, node in inner)]
    index = {id(node): i for i, node in enumerate(nodes)}
    n = len(nodes)
    parents = np.full(n, n - 1, dtype=np.int32)
    for i, node in enumerate(nodes[:-1]):
        parents[i] = index[id(parent_of[id(node)])]
    height = np.zeros(n)
    total = graph.scatter(root.parts) or 1.0
    leaf_of_part = np.full(len(graph.count), -1, dtype=np.int64)
    for i, node in enumerate(nodes):
        if node.children:
            own = node.height
            height[i] = graph.scatter(node.parts) / total if own is None else own
            # Rounding only: a parent holds its children, so its scatter is no smaller.
            height[i] = max(height[i], *(height[index[id(c)]] for c in node.children))
        else:
            leaf_of_part[node.parts] = i
    return Hierarchy(
        leaf_of_part=leaf_of_part,
        parents=parents,
        height=height.astype(np.float32),
        ncut=np.array([node.ncut for node in nodes], dtype=np.float32),
        stop=np.array([node.stop for node in nodes], dtype=np.uint8),
    )
