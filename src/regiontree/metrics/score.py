"""How well one tree covers one image's ground truth: NMCovering and NHCovering.

Each ground-truth region R is matched to the node of the tree whose intersection over union with it
is largest. NMCovering is the mean of these IoUs. NHCovering also asks whether the tree nests as the
classes do: each IoU is weighted by the share of R's ancestors (and R itself) whose match is the
match of R or an ancestor of it. A perfect head that is not below the matched person counts half.

Definitions: Rossetti and Pirri, "Unsupervised Hierarchy-Agnostic Segmentation", NeurIPS 2024. Both
are means over regions, not pixels: a small region counts as much as a large one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from regiontree.errors import DataError, SettingsError, check_number
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency, region_counts

__all__ = ["ImageScore", "Match", "check_matching", "score_regions", "score_tree"]

Match = Literal["max", "hungarian"]
"""How regions find their nodes: each its best one, or no node twice."""
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ImageScore:
    """Scores of one tree on one image; R regions, each of a class that is present.

    Attributes
    ----------
    classes : (R,) int32
        Class of each region, ascending.
    iou : (R,) float64
        IoU of each region with its node, 0 where it is below the threshold.
    node : (R,) int64
        The node matched to each region; -1 where none is.
    tp, fp, fn : (R,) int64
        Pixels in region and node, in the node alone, in the region alone.
    nm, nh : float
        NMCovering and NHCovering, 0 to 1.
    nodes, leaves : int
        Nodes that were matched against, and how many of them have none of the others below.
    """

    classes: NDArray[np.int32]
    iou: NDArray[np.float64]
    node: Int64
    tp: Int64
    fp: Int64
    fn: Int64
    nm: float
    nh: float
    nodes: int
    leaves: int


def score_tree(
    parents: NDArray[np.integer],
    table: Contingency,
    classes: ClassTree,
    *,
    nodes: NDArray[np.integer] | None = None,
    match: Match = "max",
    threshold: float = 0.0,
) -> ImageScore | None:
    """Score a tree from its contingency table.

    Parameters
    ----------
    parents : (N,) integers
        As in :class:`~regiontree.tree.RegionTree`.
    table
        From :func:`~regiontree.metrics.contingency.contingency`. Pixels of ignored values count
        nowhere, in the size of a node neither.
    classes
        Flat for the scores of one level; with ancestors, these are regions as well.
    nodes : (T,) integers
        The nodes to match against; by default all but the root, or the root if it is alone.
    match
        ``max``: each region its best node, the lowest of equals. ``hungarian``: no node twice,
        largest sum of IoUs.
    threshold
        An IoU below it counts as 0.

    Returns
    -------
    ImageScore or None
        None if the image shows no class other than the background: there is nothing to cover.

    Raises
    ------
    DataError
        The table is of another tree, the mask holds unknown values, or a node does not exist.
    SettingsError
        There is no such way to match, or the threshold is not within 0 and 1.

    Examples
    --------
    A person of 4 pixels, 1 of them head, before a background of 5. The tree finds the three parts
    exactly but has no node for the whole person: the body (leaf 0) is the best there is.

    >>> classes = ClassTree(("background", "person", "head"), [-1, -1, 1], {0: 0, 5: 1, 6: 2})
    >>> table = Contingency(np.array([[0, 3, 0], [0, 0, 1], [5, 0, 0]]), np.array([0, 5, 6]))
    >>> score = score_tree(np.array([3, 3, 3, 3]), table, classes)
    >>> score.node, score.iou
    (array([2, 0, 1]), array([1.  , 0.75, 1.  ]))
    >>> round(score.nm, 4)
    0.9167
    >>> score.nh    # the head is not below the match of the person: half of its 1 is lost
    0.75
    """
    counts, present = region_counts(parents, table, classes)
    return score_regions(
        parents, counts, present, classes, nodes=nodes, match=match, threshold=threshold
    )


def score_regions(
    parents: NDArray[np.integer],
    counts: Int64,
    present: NDArray[np.int32],
    classes: ClassTree,
    *,
    nodes: NDArray[np.integer] | None = None,
    match: Match = "max",
    threshold: float = 0.0,
) -> ImageScore | None:
    """As :func:`score_tree`, from what :func:`region_counts` returned.

    For several choices of nodes of one tree the counts are made once.
    """
    check_matching(match, threshold)
    n = len(parents)
    if all(c == classes.background for c in present.tolist()):
        return None
    chosen = np.arange(max(n - 1, 1)) if nodes is None else np.unique(nodes)
    if not len(chosen) or chosen[0] < 0 or chosen[-1] >= n:
        raise DataError(f"nodes must be some of 0 to {n - 1}, got {chosen.tolist()}")
    # Classes without a parent are disjoint and together hold every counted pixel.
    size = counts[:, classes.parents[present] < 0].sum(axis=1)[chosen]
    overlap, region = counts[chosen], counts[n - 1]
    iou_all = overlap / (size[:, None] + region - overlap)

    if match == "max":
        row, column = iou_all.argmax(axis=0), np.arange(len(present))
    else:
        row, column = linear_sum_assignment(iou_all, maximize=True)
    # An assignment without a common pixel is no match, merely what was left over.
    some = iou_all[row, column] > 0
    row, column = row[some], column[some]
    iou = np.zeros(len(present))
    node, tp, fp = (np.full(len(present), fill, dtype=np.int64) for fill in (-1, 0, 0))
    iou[column], node[column] = iou_all[row, column], chosen[row]
    tp[column] = overlap[row, column]
    fp[column] = size[row] - tp[column]
    iou[iou < threshold] = 0.0

    above = classes.contains[np.ix_(present, present)]  # [r, p]: region p is r or around it
    kept = above & _nested(parents, node)
    inner = np.zeros(n, dtype=bool)
    inner[parents[chosen[chosen < n - 1]]] = True
    return ImageScore(
        classes=present,
        iou=iou,
        node=node,
        tp=tp,
        fp=fp,
        fn=region - tp,
        nm=float(iou.mean()),
        nh=float((iou * (kept.sum(axis=1) / above.sum(axis=1))).mean()),
        nodes=len(chosen),
        leaves=int((~inner[chosen]).sum()),
    )


def check_matching(match: str, threshold: float) -> None:
    """Raise a SettingsError unless regions can be matched so."""
    if match not in get_args(Match):
        raise SettingsError(f"match must be {' or '.join(get_args(Match))}, got {match!r}")
    check_number("threshold", threshold, 0.0, 1.0)


def _nested(parents: NDArray[np.integer], node: Int64) -> NDArray[np.bool_]:
    """(R, R) bool: [r, p] says that ``node[p]`` is ``node[r]`` or an ancestor of it.

    False where either is -1.
    """
    matched = np.flatnonzero(node >= 0)
    holds = np.zeros((len(node), len(parents)), dtype=bool)
    at: NDArray[np.integer] = node[matched]
    while True:
        holds[matched, at] = True
        up = parents[at]
        if np.array_equal(up, at):
            break
        at = up
    nested: NDArray[np.bool_] = holds[:, node] & (node >= 0)
    return nested
