"""The published tree: divide by normalised cuts from the root down, as far as eigengaps allow.

For a node with m parts and affinity A (its rows and columns of the part graph):

1. A node with too few parts, or at the deepest level, is a leaf.
2. Let l_0 <= l_1 <= ... be the smallest eigenvalues of ``L = I - D^-1/2 A D^-1/2``. They give the
   number of groups. With "maxgap", the largest gap ``l_(i+1) - l_i`` with i >= 1 means i + 1
   groups. With "fiedler" there are always two.
3. Two groups come from the best of twelve thresholds on the second eigenvector. More groups come
   from k-means on the rows of the leading eigenvectors.
4. The perturbation bound is ``||L* - L||_F / gap``. L* is the Laplacian of the ideal graph, where
   every group is a clique and no edge joins two groups. The bound says how far the eigenvectors can
   be from the ideal ones (Davis and Kahan). Above ``max_perturbation`` the node is a leaf.
5. The mean normalised cut of the groups must be below ``max_ncut``. While it is not, the node is
   divided again into one group fewer, by the same eigenvectors. With fewer than two groups the node
   is a leaf.

References: Rossetti and Pirri, NeurIPS 2024, sections 3.2 and 3.3; Shi and Malik, PAMI 2000.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from regiontree.hierarchy.base import (
    FloatArray,
    Hierarchy,
    IntArray,
    Node,
    PartGraph,
    StopReason,
    assemble,
)
from regiontree.spectral.dense import eigenpairs, product
from regiontree.spectral.kmeans import kmeans
from regiontree.system.stages import check_settings, setting
from regiontree.system.threads import one_thread

__all__ = ["RecursivePartition", "best_threshold", "normalised_cuts", "normalised_laplacian"]

_THRESHOLDS = 10


@dataclass(frozen=True, slots=True)
class RecursivePartition:
    """The published recursion with its settings; in brackets their names in published configs."""

    levels: int = setting(9, "Largest depth of the tree [levels].", low=1, high=1000, whole=True)
    max_ways: int = setting(
        10, "Most groups that a node is divided into [max_kways].", low=2, high=1000, whole=True
    )
    min_parts: int = setting(
        1,
        "A node with no more parts than this is a leaf [min_points].",
        low=1,
        high=1_000_000,
        whole=True,
    )
    max_ncut: float = setting(
        0.8, "A division needs a mean normalised cut below this [mncut_th].", low=1e-9, high=1
    )
    # Published configs say 80; the published code runs with 50, whatever its config says.
    max_perturbation: float = setting(
        80.0,
        "A node whose perturbation bound is higher is a leaf [max_perturb].",
        low=1e-9,
        high=1e12,
    )
    heuristic: Literal["maxgap", "fiedler"] = setting(
        "maxgap",
        "Number of groups: maxgap takes it from the largest eigengap, fiedler takes two.",
        choices=("maxgap", "fiedler"),
    )
    n_init: int = setting(
        10, "Starts of each k-means, of which the best is taken.", low=1, high=1000, whole=True
    )
    natural_height: float = setting(
        0.0, "Height at which the tree is cut when nobody says where.", low=0, high=1
    )
    name: str = "recursive"

    def __post_init__(self) -> None:
        check_settings(self)

    def build(self, graph: PartGraph, *, seed: int) -> Hierarchy:
        """The tree over the parts of a graph, divided from the root downwards."""
        root = Node(np.arange(len(graph.count)))
        todo = [(root, 0)]
        with one_thread():
            while todo:
                node, level = todo.pop()
                for parts, ncut in self._divide(graph, node, level, seed):
                    child = Node(parts, ncut)
                    node.children.append(child)
                    todo.append((child, level + 1))
        return assemble(root, graph)

    def _divide(
        self, graph: PartGraph, node: Node, level: int, seed: int
    ) -> list[tuple[IntArray, float]]:
        """The groups of a node and their normalised cuts. A leaf has none, and gets its `stop`."""
        m = len(node.parts)
        if m <= self.min_parts:
            node.stop = StopReason.SINGLE_PART
            return []
        if level >= self.levels:
            node.stop = StopReason.MAX_LEVELS
            return []
        if m == 2:
            # Each side has nothing inside and everything outside: a normalised cut of 1.
            node.stop = StopReason.HIGH_CUT
            return []
        weights = graph.weights[np.ix_(node.parts, node.parts)]
        laplacian = normalised_laplacian(weights)
        values, vectors = _smallest_eigenpairs(laplacian, min(self.max_ways, m - 1))
        ways, gap = self._ways(values)

        if ways == 2:
            labels = best_threshold(weights, vectors[:, 1])
            if labels is None:
                node.stop = StopReason.NO_DIVISION
                return []
        else:
            labels = self._cluster(vectors[:, :ways], ways, seed)
        cliques = (labels[:, None] == labels[None, :]).astype(np.float64)
        np.fill_diagonal(cliques, 0.0)
        ideal = normalised_laplacian(cliques)
        change = float(np.linalg.norm(ideal - laplacian))
        if gap <= 0 or change / gap > self.max_perturbation:
            node.stop = StopReason.UNSTABLE
            return []

        columns = vectors[:, :ways]
        while True:
            cuts = normalised_cuts(weights, labels)
            if len(cuts) >= 2 and float(cuts.mean()) < self.max_ncut:
                return [(node.parts[labels == g], float(cuts[g])) for g in range(len(cuts))]
            ways -= 1
            if ways < 2:
                node.stop = StopReason.HIGH_CUT
                return []
            labels = self._cluster(columns, ways, seed)

    def _ways(self, values: FloatArray) -> tuple[int, float]:
        """Number of groups and the eigengap that says so."""
        gaps = np.diff(values)
        if self.heuristic == "fiedler" or len(gaps) < 2:
            return 2, float(gaps[min(1, len(gaps) - 1)]) if len(gaps) else 0.0
        best = 1 + int(np.argmax(gaps[1:]))
        return best + 1, float(gaps[best])

    def _cluster(self, columns: FloatArray, ways: int, seed: int) -> IntArray:
        length = np.linalg.norm(columns, axis=1, keepdims=True)
        rows = torch.from_numpy(columns / np.maximum(length, 1e-12))
        labels: IntArray = kmeans(
            rows, ways, seed=seed, n_init=self.n_init, tolerance=1e-6
        ).labels.numpy()
        return labels


def normalised_cuts(weights: FloatArray, labels: IntArray) -> FloatArray:
    """Normalised cut of each group: ``1 - assoc(g, g) / assoc(g, V)``, in [0, 1].

    Parameters
    ----------
    weights : (m, m) float64
        Symmetric, >= 0.
    labels : (m,) int
        Group of each row, 0 to g - 1, none empty.

    Returns
    -------
    (g,) float64; 1 for a group without any affinity.
    """
    member = np.eye(int(labels.max()) + 1)[labels]
    within = np.einsum("ig,ig->g", member, product(weights, member))
    total = product(member.T, weights.sum(axis=1))
    share = np.divide(within, total, out=np.zeros_like(within), where=total > 0)
    cuts: FloatArray = 1.0 - share
    return cuts


def normalised_laplacian(weights: FloatArray) -> FloatArray:
    """``I - D^-1/2 W D^-1/2``, (m, m) float64.

    `weights` is W, (m, m) float64, symmetric and >= 0. D is the diagonal matrix of its row sums. A
    row without any affinity has only its 1 on the diagonal.
    """
    degrees = weights.sum(axis=1)
    scale = np.divide(1.0, np.sqrt(degrees), out=np.zeros_like(degrees), where=degrees > 0)
    laplacian: FloatArray = -scale[:, None] * weights * scale
    laplacian[np.diag_indices_from(laplacian)] += 1.0
    return laplacian


def _smallest_eigenpairs(laplacian: FloatArray, k: int) -> tuple[FloatArray, FloatArray]:
    """The k >= 2 smallest eigenpairs, each vector's largest entry positive."""
    k = max(2, k)
    values, vectors = eigenpairs(laplacian)
    vectors = vectors[:, :k]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0)[None], axis=0)
    return values[:k], vectors * np.where(largest < 0, -1.0, 1.0)


def best_threshold(weights: FloatArray, vector: FloatArray) -> IntArray | None:
    """Two groups, below and above the threshold with the smallest mean normalised cut.

    `weights` is (m, m) float64, symmetric and >= 0, and `vector` (m,) float64. The result is (m,)
    int64: 1 where the entry of `vector` is above the threshold, else 0.

    Ten thresholds are spaced evenly from the smallest to the largest entry. The others are 0 and
    the mean. The result is None if every threshold leaves one side empty.
    """
    thresholds = np.append(
        np.linspace(vector.min(), vector.max(), _THRESHOLDS), [0.0, vector.mean()]
    )
    above = vector[None, :] > thresholds[:, None]
    proper = above.any(axis=1) & ~above.all(axis=1)
    if not proper.any():
        return None
    sides = above[proper].astype(np.float64)
    degrees = weights.sum(axis=1)
    inside = np.einsum("ti,ti->t", product(sides, weights), sides)
    volume = product(sides, degrees)
    cut = volume - inside
    rest = degrees.sum() - volume
    mean_cut = 0.5 * (
        np.divide(cut, volume, out=np.ones_like(cut), where=volume > 0)
        + np.divide(cut, rest, out=np.ones_like(cut), where=rest > 0)
    )
    labels: IntArray = above[proper][int(mean_cut.argmin())].astype(np.int64)
    return labels
