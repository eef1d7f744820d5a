"""How well each node of a tree comes back under small changes of the features.

A photograph that is recompressed or scaled has slightly other features, and some nodes of its tree
change. To know which, the network would have to run again on changed photographs. A tenth of the
feature's channels changes the features, too, and costs no network.

1. *Draws.* Each draw takes a tenth of the channels. The sets of channels are those of
   :func:`~regiontree.hierarchy.consensus.channel_sets`, so nothing is random.
2. *A tree for each draw.* Patches are grouped into as many neighbouring parts as the tree has
   (:mod:`regiontree.spectral.contiguous`), by these channels at unit length. Spectral Ward joins
   the parts, as for a tree of the consensus.
3. *Stability.* A node's stability in a draw is its best IoU, in patches, with any node of the
   draw's tree. The stability is the mean over the draws.

Only the patches of a node matter. So the stability is defined for the tree of any builder, over
parts of any method. What it predicts is measured in docs/trees.md.

References: Hennig, CSDA 2007 (best Jaccard coefficient of a cluster with the clusters of perturbed
data); Ho, PAMI 1998 (random subspaces).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.hierarchy.base import FloatArray, IntArray
from regiontree.hierarchy.consensus import channel_sets, subspace_merges
from regiontree.spectral.contiguous import contiguous_groups
from regiontree.system.jit import jit
from regiontree.system.threads import one_thread
from regiontree.tree.kernel import accumulate_sum

__all__ = ["SHARE", "best_ious", "draw_tree", "node_stability"]

SHARE = 0.1
"""Share of the channels that a draw takes."""
_VECTORS, _POWER, _EXPONENT = 50, 0.25, 3.0  # those of spectral Ward and of the consensus


def node_stability(
    unit: NDArray[np.float32],
    grid: tuple[int, int],
    there: NDArray[np.bool_] | None,
    leaf: IntArray,
    parents: NDArray[np.integer[Any]],
    parts: int,
    draws: int,
) -> NDArray[np.float16]:
    """The stability of each node, (N,) float16, 0 to 1; the root has 1.

    Parameters
    ----------
    unit
        (n, d) features of the patches that the tree was built on, at unit length.
    grid
        Rows and columns of patches.
    there
        (h, w) bool: the patches of the grid that the n are, row by row. None: all of them.
    leaf
        (n,) the leaf of each patch. Each leaf has a patch.
    parents
        (N,) parent of each node, in the order of :class:`~regiontree.tree.RegionTree`.
    parts
        Number of parts that the tree was built from. Each draw has as many.
    draws
        Number of draws, >= 1. There is one draw if a set has all channels: at most 16 channels.
    """
    total = np.zeros(len(parents))
    sets = channel_sets(unit.shape[1], SHARE, draws)
    with one_thread():
        for channels in sets:
            part, pairs = draw_tree(unit[:, channels], grid, there, parts)
            total += best_ious(leaf, np.asarray(parents, np.int64), part, pairs)
    stability: NDArray[np.float16] = (total / len(sets)).astype(np.float16)
    return stability


def draw_tree(
    rows: NDArray[np.float32],
    grid: tuple[int, int],
    there: NDArray[np.bool_] | None,
    parts: int,
) -> tuple[IntArray, IntArray]:
    """The tree of a draw: the part of each patch, (n,) int64, and the merges of the parts.

    Merges are (k - 1, 2) int64, as :func:`~regiontree.hierarchy.ward.ward_merges` gives them.

    Parameters
    ----------
    rows
        (n, m), the draw's channels of each patch.
    grid, there, parts
        As for :func:`node_stability`.
    """
    length = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
    part = contiguous_groups(rows / np.maximum(length, 1e-9), grid, parts, there)
    count = np.bincount(part)
    order = np.argsort(part, kind="stable")
    sums = np.add.reduceat(rows[order].astype(float), np.cumsum(count) - count, axis=0)
    mean = sums / count[:, None]
    if len(count) == 1:
        return part, np.zeros((0, 2), np.int64)
    return part, subspace_merges(mean, count, _VECTORS, _POWER, _EXPONENT).pairs


def best_ious(leaf: IntArray, parents: IntArray, part: IntArray, pairs: IntArray) -> FloatArray:
    """The best IoU of each node of a tree with any node of another tree, (N,) float64.

    Parameters
    ----------
    leaf
        (n,) the leaf of each patch in the first tree.
    parents
        (N,) int64 parent of each node of the first tree; children come before parents.
    part
        (n,) the part of each patch in the second tree. No part is empty.
    pairs
        (k - 1, 2) int64: the groups that each merge of the second tree joins.

    Examples
    --------
    Patches 0 and 1 are a node in both trees. Patches 2 and 3 are a node in the first alone:

    >>> leaf, parents = np.array([0, 0, 1, 1]), np.array([2, 2, 2])
    >>> part, pairs = np.array([0, 0, 1, 2]), np.array([[0, 1], [3, 2]])
    >>> best_ious(leaf, parents, part, pairs).tolist()
    [1.0, 0.5, 1.0]
    """
    n, k = len(parents), len(pairs) + 1
    table = np.bincount(leaf * k + part, minlength=n * k).reshape(n, k).astype(np.int64, copy=False)
    return _best(table, np.asarray(parents, np.int64), np.asarray(pairs, np.int64))


def _best_of_numpy(table: IntArray, parents: IntArray, pairs: IntArray) -> FloatArray:
    """What :func:`_best` gives, bit by bit."""
    k = table.shape[1]
    shared = np.empty((len(parents), 2 * k - 1), np.int64)
    shared[:, :k] = accumulate_sum(parents, table)
    for merge, (a, b) in enumerate(pairs.tolist()):
        shared[:, k + merge] = shared[:, a] + shared[:, b]
    own, others = shared[:, -1:], shared[-1:]
    best: FloatArray = (shared / (own + others - shared)).max(axis=1)
    return best


@jit(instead=_best_of_numpy)
def _best(table: IntArray, parents: IntArray, pairs: IntArray) -> FloatArray:
    """The best IoU of each node, (N,) float64.

    `table` (N, k) int64, the patches that each leaf shares with each part, and 0 for inner nodes,
    is changed.
    """
    n, k = table.shape
    for node in range(n - 1):
        above = parents[node]
        for part in range(k):
            table[above, part] += table[node, part]
    size = np.empty(2 * k - 1, np.int64)
    shared = np.empty(2 * k - 1, np.int64)
    best = np.empty(n, np.float64)
    for node in range(n - 1, -1, -1):  # the root comes first: it tells the sizes of all groups
        own = 0
        for part in range(k):
            shared[part] = table[node, part]
            own += table[node, part]
        for merge in range(k - 1):
            shared[k + merge] = shared[pairs[merge, 0]] + shared[pairs[merge, 1]]
        if node == n - 1:
            for group in range(2 * k - 1):
                size[group] = shared[group]
        most, union = np.int64(0), np.int64(1)  # the best so far; whole numbers compare faster
        for group in range(2 * k - 1):
            whole = own + size[group] - shared[group]
            if shared[group] * union > most * whole:
                most, union = shared[group], whole
        best[node] = most / union
    return best
