"""How well each node of a tree is likely to fit something that people mark.

SAM predicts the IoU of each of its masks. A region tree has no network for that, but it knows three
facts of each node that predict its IoU: the persistence p, the stability s and the share a of the
image's area. The prediction is

    predicted IoU = 1 / (1 + exp(-(c0 + c1 log p + c2 s + c3 log a)))

The coefficients are fitted to the best IoU of each node with any segment of the truth, on the
photographs of coco_panoptic (docs/decisions/107-predicted-iou.md). So the value is the mean best
IoU of nodes like this one. Most nodes are parts of things that nobody marked, so most values are
small.

For trees without stability there are coefficients without it. For trees of other builders, whose
heights mean something else, the values order the nodes and are no IoU.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.metrics.segmentmap import persistence, steady_persistence
from regiontree.tree import RegionTree
from regiontree.tree.nodata import not_regions

__all__ = ["COEFFICIENTS", "COEFFICIENTS_WITHOUT_STABILITY", "predicted_iou",
           "predictors", "ranked_nodes"]  # fmt: skip

Floats = NDArray[np.float64]

COEFFICIENTS = (-0.31, 0.15, 1.79, 0.62)
"""c0 to c3 for trees with stability."""
COEFFICIENTS_WITHOUT_STABILITY = (1.0, 0.18, 0.0, 0.55)
"""c0 to c3 for trees without stability."""


def predicted_iou(tree: RegionTree) -> Floats:
    """The IoU that each node is likely to have with the segment that it fits best, (N,), 0 to 1.

    It never falls if the persistence, the stability or the area of a node grows. The root and the
    leaf of pixels without data have values, too, which mean nothing.

    >>> tree = RegionTree([[0, 0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1])
    >>> predicted_iou(tree).round(2).tolist()
    [0.59, 0.5, 0.56, 0.69, 0.34]
    """
    has = tree.stability is not None
    coefficients = COEFFICIENTS if has else COEFFICIENTS_WITHOUT_STABILITY
    score = (predictors(tree) * coefficients).sum(axis=1)
    found: Floats = 1 / (1 + np.exp(-score))
    return found


def predictors(tree: RegionTree) -> Floats:
    """What is known of each node: 1, log persistence, stability and log share, (N, 4).

    Persistences below 1e-4 count as that, and shares below 1e-5. A tree without stability has 0.
    """
    share = tree.area / tree.area[-1]
    steady = np.zeros(tree.n_nodes) if tree.stability is None else tree.stability
    return np.stack(
        [
            np.ones(tree.n_nodes),
            np.log(np.maximum(persistence(tree), 1e-4)),
            steady.astype(np.float64),
            np.log(np.maximum(share, 1e-5)),
        ],
        axis=1,
    )


def ranked_nodes(tree: RegionTree) -> list[int]:
    """All nodes but the root, the ones most likely to be things or parts first.

    The order is that of persistence times the square of the stability; of equals the larger comes
    first, then the lower number. Of the first 100 nodes in this order, more are things than of the
    100 with the highest predicted IoU, which prefers large regions. The leaf of pixels without data
    and the node beside it, which holds all the others, are left out.

    >>> ranked_nodes(RegionTree([[0, 0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1]))
    [2, 3, 0, 1]
    """
    order = np.lexsort((np.arange(tree.n_nodes), -tree.area, -steady_persistence(tree)))
    left_out = not_regions(tree.parents, tree.stop)
    left_out[tree.root] = True
    nodes: list[int] = order[~left_out[order]].tolist()
    return nodes
