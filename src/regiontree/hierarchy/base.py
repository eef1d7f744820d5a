"""What every tree builder takes and gives: a graph of parts in, a hierarchy over the parts out.

A builder is any class with a ``name`` and a ``build(graph, seed=...)`` method
(:class:`TreeBuilder`). It sees no image, no file and no network, only a :class:`PartGraph`. It
returns a :class:`Hierarchy`. :func:`assemble` makes one, with the nodes in the order that the rest
of the package relies on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree.spectral.graph import FloatArray, IntArray, PartGraph
from regiontree.system.jit import jit
from regiontree.tree.kernel import accumulate_max, canonical_order
from regiontree.tree.paths import sum_in_order
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
    "assemble_merges",
    "node_embeddings",
]


@dataclass(slots=True)
class Node:
    """A node while a builder is at work. Its children are added when it is divided.

    `height` is never above the parent's. If it is None, :func:`assemble` chooses the height.
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

    ``natural_height`` is the height of the natural cut, which divides every node above it. It is 0
    for a builder that stops by itself.
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
    """The hierarchy of `root` and all nodes below it, numbered and with heights.

    Leaves are numbered in the order of a depth-first walk that visits larger children first. So
    leaves with near numbers are near in the tree. Inner nodes follow, the deepest first.

    An inner node has the height that its builder gave it. If the builder gave none, the height is
    the node's share of the image's feature scatter, ``scatter(node) / scatter(root)``. That share
    never grows from a parent to its child. Leaves have height 0.
    """
    walked: list[Node] = []
    above: list[int] = []  # place in `walked` of each node's parent
    stack = [(root, 0)]
    while stack:
        node, parent = stack.pop()
        at = len(walked)
        walked.append(node)
        above.append(parent)
        children = sorted(
            node.children, key=lambda c: (int(graph.count[c.parts].sum()), -int(c.parts.min()))
        )
        stack.extend((child, at) for child in children)  # the largest is the next to come out
    order = canonical_order(np.array(above))
    nodes = [walked[at] for at in order.tolist()]
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    parents = number[np.array(above)[order]].astype(np.int32)

    height = np.zeros(len(nodes))
    total = graph.scatter(root.parts) or 1.0
    leaf_of_part = np.full(len(graph.count), -1, dtype=np.int64)
    for i, node in enumerate(nodes):
        if node.children:
            own = node.height
            height[i] = graph.scatter(node.parts) / total if own is None else own
        else:
            leaf_of_part[node.parts] = i
    # Rounding only: a parent holds its children, so its scatter is no smaller.
    height = accumulate_max(parents, height)
    return Hierarchy(
        leaf_of_part=leaf_of_part,
        parents=parents,
        height=height.astype(np.float32),
        ncut=np.array([node.ncut for node in nodes], dtype=np.float32),
        stop=np.array([node.stop for node in nodes], dtype=np.uint8),
    )


def assemble_merges(pairs: IntArray, height: FloatArray, count: IntArray) -> Hierarchy:
    """The hierarchy of merges, numbered as :func:`assemble` numbers it.

    Parameters
    ----------
    pairs
        (k - 1, 2): the two groups that each merge joins. Parts are 0 to k - 1, merge i makes group
        k + i, and the last merge joins all.
    height
        (k - 1,) of each merge, never falling. Where it is 0, the merged group is a leaf.
    count
        (k,) patches of each part.
    """
    k = len(count)
    n = 2 * k - 1
    size, lowest = [*count.tolist(), *[0] * (k - 1)], [*range(k), *[0] * (k - 1)]
    for group, (a, b) in enumerate(pairs.tolist(), start=k):
        size[group], lowest[group] = size[a] + size[b], min(lowest[a], lowest[b])
    heights, halves = [0.0] * k + height.tolist(), pairs.tolist()
    leaf_at = [-1] * n  # of groups within a leaf: the place of that leaf in `walked`
    walked: list[int] = []
    above: list[int] = []
    stack = [(n - 1, 0)]
    while stack:
        group, parent = stack.pop()
        at = len(walked)
        walked.append(group)
        above.append(parent)
        if heights[group] > 0:
            a, b = halves[group - k]
            if (size[a], -lowest[a]) > (size[b], -lowest[b]):
                a, b = b, a
            stack += ((a, at), (b, at))  # the largest is the next to come out
        else:
            leaf_at[group] = at
    order = canonical_order(np.array(above))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order))
    for group in range(n - 1, k - 1, -1):
        if leaf_at[group] >= 0:
            a, b = halves[group - k]
            leaf_at[a] = leaf_at[b] = leaf_at[group]
    groups = np.array(walked)[order]
    node_height = np.array(heights)[groups]
    leaf = np.where(groups < k, StopReason.SINGLE_PART, StopReason.UNIFORM)
    return Hierarchy(
        leaf_of_part=number[np.array(leaf_at[:k])],
        parents=number[np.array(above)[order]].astype(np.int32),
        height=node_height.astype(np.float32),
        ncut=np.zeros(len(groups), np.float32),
        stop=np.where(node_height > 0, StopReason.INNER, leaf).astype(np.uint8),
    )


def node_embeddings(hierarchy: Hierarchy, graph: PartGraph) -> NDArray[np.float16]:
    """The mean of the unit patch features of each node, scaled to unit length, (N, d) float16."""
    parents = hierarchy.parents.astype(np.int64)
    leaves = np.zeros((len(parents), graph.sums.shape[1]))
    for leaf, part in zip(hierarchy.leaf_of_part.tolist(), graph.sums, strict=True):
        leaves[leaf] += part
    sums = _sum_below(leaves, parents)
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    unit: NDArray[np.float16] = sums.astype(np.float16)
    return unit


def _sum_below_of_numpy(values: FloatArray, parents: IntArray) -> FloatArray:
    """What :func:`_sum_below` gives, bit by bit."""
    return sum_in_order(parents, values)


@jit(instead=_sum_below_of_numpy)
def _sum_below(values: FloatArray, parents: IntArray) -> FloatArray:
    """Sum of the rows of each node and all nodes below it, (N, d); `values` (N, d) are changed."""
    for node in range(parents.shape[0] - 1):
        parent = parents[node]
        for i in range(values.shape[1]):
            values[parent, i] += values[node, i]
    return values
