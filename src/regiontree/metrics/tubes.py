"""How well tubes follow things through a clip, and how steady the regions of its frames are.

**J and F** are the measures of DAVIS (Perazzi et al., "A Benchmark Dataset and Evaluation
Methodology for Video Object Segmentation", CVPR 2016). J is the intersection over union of a tube
and an object in a frame, 1 if both are empty there. F is the F-measure of their borders: a border
pixel of one is right if a border pixel of the other lies within 0.008 of the frame's diagonal. Both
are means over frames. In the paper a bipartite match decides, and its code uses the distance alone,
as here.

**Flicker** is the share of pixels that change their region from one frame to the next although
nothing changed there. A pixel stands still if no pixel of the 5 x 5 around it changes by more than
a number of grey levels. Regions of two trees have no common numbers, so they are matched one to one
by their overlap first.

**Identity switches** are counted as in CLEAR MOT (Bernardin and Stiefelhagen, 2008): in how many
steps from frame to frame the region that overlaps most with an object is another one than before.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, maximum_filter
from scipy.optimize import linear_sum_assignment

from regiontree.errors import DataError
from regiontree.tree.kernel import accumulate_sum

__all__ = [
    "TubeOverlaps",
    "border_f",
    "flicker",
    "identity_switches",
    "matched_regions",
    "region_j",
    "still_pixels",
]

Bools = NDArray[np.bool_]
Labels = NDArray[np.integer]

_BOUND = 0.008  # of the diagonal: the published tolerance
_SIDE = 5


def region_j(found: Bools, truth: Bools) -> float:
    """J of one frame: the intersection over union of two masks (H, W), 1 if both are empty.

    Examples
    --------
    >>> region_j(np.array([[1, 1, 0]], bool), np.array([[0, 1, 1]], bool))
    0.3333333333333333
    """
    _check_shapes(found, truth)
    union = int((found | truth).sum())
    return 1.0 if not union else int((found & truth).sum()) / union


def border_f(found: Bools, truth: Bools, bound: float = _BOUND) -> float:
    """F of one frame: how well the border of a mask follows that of the truth, 0 to 1.

    Parameters
    ----------
    found, truth
        (H, W) bool.
    bound
        The tolerance as a share of the diagonal, rounded up to whole pixels.

    Returns
    -------
    float
        1 if neither has a border, 0 if one has none.

    Notes
    -----
    A pixel is on a mask's border if the pixel to the right, below, or right below differs from it.
    """
    _check_shapes(found, truth)
    own, other = _border(found), _border(truth)
    if not own.any() or not other.any():
        return float(own.any() == other.any())
    reach = math.ceil(bound * math.hypot(*found.shape))
    precision = float((distance_transform_edt(~other)[own] <= reach).mean())
    recall = float((distance_transform_edt(~own)[other] <= reach).mean())
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


class TubeOverlaps:
    """J of every node of a clip's tree with one object, frame by frame.

    Parameters
    ----------
    parents : (N,) integers
        As in :class:`~regiontree.tree.ClipTree`.

    Examples
    --------
    >>> overlaps = TubeOverlaps(np.array([2, 2, 2]))
    >>> overlaps.add(np.array([[0, 0, 1]]), np.array([[1, 1, 0]], bool))
    >>> overlaps.add(np.array([[0, 1, 1]]), np.array([[1, 1, 0]], bool))
    >>> overlaps.mean().round(2).tolist()
    [0.75, 0.17, 0.67]
    """

    def __init__(self, parents: NDArray[np.integer]) -> None:
        self.parents = parents
        self._frames: list[NDArray[np.float64]] = []

    def add(self, labels: Labels, truth: Bools) -> None:
        """The next frame: the leaf of each pixel, (H, W), and the object's mask, (H, W) bool."""
        _check_shapes(labels, truth)
        n, inside = len(self.parents), labels[truth]
        area = accumulate_sum(self.parents, np.bincount(labels.reshape(-1), minlength=n))
        shared = accumulate_sum(self.parents, np.bincount(inside, minlength=n))
        union = area + len(inside) - shared
        self._frames.append(np.where(union > 0, shared / np.maximum(union, 1), 1.0))

    def mean(self) -> NDArray[np.float64]:
        """The mean of J over the frames, for each node, (N,)."""
        found: NDArray[np.float64] = np.mean(self._frames, axis=0)
        return found


# -- steadiness -----------------------------------------------------------------------------------


def still_pixels(before: NDArray[np.uint8], after: NDArray[np.uint8], change: int = 8) -> Bools:
    """Where a frame stands still, (H, W) bool.

    Parameters
    ----------
    before, after
        (H, W, 3) uint8, two frames.
    change
        No pixel of the 5 x 5 around differs by more grey levels than this, in any colour.
    """
    apart = (np.maximum(before, after) - np.minimum(before, after)).max(axis=2)
    found: Bools = maximum_filter(apart, _SIDE) <= change
    return found


def matched_regions(before: Labels, after: Labels) -> NDArray[np.int64]:
    """The regions of a frame under the numbers of the frame before, (H, W) int64.

    Regions are matched one to one, so that as many pixels as possible keep their number. A region
    without a partner has -1.

    Examples
    --------
    >>> matched_regions(np.array([[0, 0, 1, 1]]), np.array([[2, 2, 0, 1]])).tolist()
    [[0, 0, 1, -1]]
    """
    _check_shapes(before, after)
    n, m = int(before.max()) + 1, int(after.max()) + 1
    both = np.bincount((before.astype(np.int64) * m + after).reshape(-1), minlength=n * m)
    rows, columns = linear_sum_assignment(-both.reshape(n, m))
    number = np.full(m, -1, np.int64)
    number[columns] = rows
    return number[after]


def flicker(before: Labels, after: Labels, still: Bools) -> tuple[int, int]:
    """Pixels that changed their region where the frame stands still, and all that stand still.

    Parameters
    ----------
    before, after
        (H, W) integers: the region of each pixel, under numbers that mean the same in both frames.
    still
        (H, W) bool, from :func:`still_pixels`.
    """
    _check_shapes(before, after)
    return int(((before != after) & still).sum()), int(still.sum())


def identity_switches(regions: list[Labels], truths: list[Bools]) -> tuple[int, int]:
    """How often an object's region becomes another one, and in how many steps it could.

    Parameters
    ----------
    regions
        One (H, W) map a frame: regions under numbers that mean the same in all frames.
    truths
        One (H, W) bool mask a frame. A step counts if the object is in both of its frames.

    Examples
    --------
    >>> regions = [np.array([[0, 0, 1]]), np.array([[0, 2, 1]]), np.array([[2, 2, 1]])]
    >>> identity_switches(regions, [np.array([[1, 1, 0]], bool)] * 3)
    (1, 2)
    """
    best = [
        int(np.bincount(own[truth]).argmax()) if truth.any() else None
        for own, truth in zip(regions, truths, strict=True)
    ]
    steps = [(a, b) for a, b in zip(best, best[1:], strict=False) if None not in (a, b)]
    return sum(a != b for a, b in steps), len(steps)


def _border(mask: Bools) -> Bools:
    """Pixels whose right, lower or lower right neighbour differs, (H, W)."""
    border = np.zeros(mask.shape, bool)
    border[:, :-1] |= mask[:, :-1] != mask[:, 1:]
    border[:-1] |= mask[:-1] != mask[1:]
    border[:-1, :-1] |= mask[:-1, :-1] != mask[1:, 1:]
    return border


def _check_shapes(a: NDArray[np.generic], b: NDArray[np.generic]) -> None:
    if a.shape != b.shape or a.ndim != 2:
        raise DataError(f"two maps (H, W) of one size are compared, got {a.shape} and {b.shape}")
