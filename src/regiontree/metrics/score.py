"""How well one tree covers one image's ground truth: NMCovering and NHCovering.

Each ground-truth region R is matched to the node m(R) with the largest intersection over union.
Let A(R) be R and the regions around it. Then, with means over all regions R,

    NMCovering = mean of  IoU(R, m(R))
    NHCovering = mean of  IoU(R, m(R)) * |{P in A(R): m(P) is m(R) or an ancestor of it}| / |A(R)|

NHCovering also measures whether the tree nests as the classes do. For example, a perfect head that
is not below the node matched to the person counts half.

Both are means over regions, not pixels: a small region counts as much as a large one. Definitions:
Rossetti and Pirri, "Unsupervised Hierarchy-Agnostic Segmentation", NeurIPS 2024.
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
from regiontree.tree.kernel import preorder

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
        Number of nodes that regions were compared with, and how many of these have none of the
        others below.
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
        From :func:`~regiontree.metrics.contingency.contingency`. Pixels of ignored values do not
        count, not even in the size of a node.
    classes
        The class of each region. Classes that contain others are regions, too.
    nodes : (T,) integers
        The nodes to compare with; by default all but the root, or the root if it is alone.
    match
        "max": each region gets its best node, of equals the lowest number. "hungarian": no node is
        used twice, and the sum of IoUs is as large as possible.
    threshold
        An IoU below it counts as 0.

    Returns
    -------
    ImageScore or None
        None if the image shows no class but the background: there is nothing to cover.

    Raises
    ------
    DataError
        The table belongs to another tree, the mask holds unknown values, or a node does not exist.
    SettingsError
        `match` is unknown, or the threshold is not in [0, 1].

    Examples
    --------
    A person has 4 pixels, and 1 of them is the head. The background has 5. The tree has a leaf for
    the body, the head and the background each, but no node for the whole person. The best node for
    the person is the body, leaf 0.

    >>> classes = ClassTree(("background", "person", "head"), [-1, -1, 1], {0: 0, 5: 1, 6: 2})
    >>> table = Contingency(np.array([[0, 3, 0], [0, 0, 1], [5, 0, 0]]), np.array([0, 5, 6]))
    >>> score = score_tree(np.array([3, 3, 3, 3]), table, classes)
    >>> score.node, score.iou
    (array([2, 0, 1]), array([1.  , 0.75, 1.  ]))
    >>> round(score.nm, 4)
    0.9167
    >>> score.nh    # the head is not below the person's match, so its IoU of 1 counts half
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
    """As :func:`score_tree`, from the results of :func:`region_counts`.

    So several choices of nodes of one tree need these counts only once.
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
    # An assignment without a common pixel is no match.
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


def check_matching(match: str, threshold: float) -> float:
    """The threshold; a SettingsError unless it is in [0, 1] and `match` is known."""
    if match not in get_args(Match):
        raise SettingsError(f"match must be {' or '.join(get_args(Match))}, got {match!r}")
    return float(check_number("threshold", threshold, 0.0, 1.0))


def _nested(parents: NDArray[np.integer], node: Int64) -> NDArray[np.bool_]:
    """(R, R) bool: [r, p] says that ``node[p]`` is ``node[r]`` or an ancestor of it.

    False where either is -1.
    """
    nested = preorder(parents).holds(node[None, :], node[:, None])
    return nested & (node >= 0)[None, :] & (node >= 0)[:, None]
