"""Average recall: how many things of the truth are among the nodes of a tree, by COCO's rules.

The masks of an image are ranked by a score, and the first 10, 100 or 1000 of them count. At a
threshold t, the masks are gone through in this order. Each takes the segment of the truth with
which its IoU is largest and at least t, among those that no mask before it took. The recall is the
share of the segments, over all images, that were taken. Average recall (AR) is its mean over the
thresholds .50, .55, ..., .95.

Small segments have at most 32^2 pixels, medium ones 32^2 to 96^2, and large ones at least 96^2.
For one of these sizes, segments of other sizes are ignored: a mask may take one, which counts
nowhere. A mask takes an ignored segment only if no other reaches t. Crowds are ignored at every
size. Their IoU is the share of the mask that lies in the crowd, and many masks may take the same
crowd.

No masks are made. The overlaps of all nodes with all segments are sums over leaves.

References: Lin et al., Microsoft COCO, ECCV 2014, and the evaluation of its detection challenge;
Hosang, Benenson, Dollar and Schiele, What makes for effective detection proposals?, PAMI 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError, check_numbers
from regiontree.metrics.records import Count, ImageMetric, Record, State, read_state
from regiontree.system.jit import jit

__all__ = ["SIZES", "THRESHOLDS", "RecallMetric", "RecallScores", "Segments", "taken"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

THRESHOLDS: tuple[float, ...] = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""IoU thresholds whose recalls are averaged."""
SIZES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10),
}  # fmt: skip
"""Pixels of a segment, at least and at most, by the name of the size. Both ends belong to it."""
_CERTAIN = 1 - 1e-10  # an IoU of 1 reaches every threshold
_DRAWS = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """How the masks of an image overlap the segments of its truth.

    Attributes
    ----------
    both : (N, G) int64
        Pixels that mask and segment share.
    masks : (N,) int64
        Pixels of each mask.
    segments : (G,) int64
        Pixels of each segment.
    crowd : (G,) bool
        Whether it is a crowd, in which things are not told apart.
    """

    both: Ints
    masks: Ints
    segments: Ints
    crowd: Bools

    @property
    def iou(self) -> Floats:
        """IoU of each mask with each segment, (N, G); with a crowd, the mask's share in it."""
        whole = self.masks[:, None] + self.segments - self.both
        whole = np.where(self.crowd, self.masks[:, None], whole)
        iou: Floats = self.both / np.maximum(whole, 1)
        return iou

    def only(self, chosen: Bools) -> Segments:
        """The same masks and some of the segments, as `chosen` (G,) says."""
        return Segments(self.both[:, chosen], self.masks, self.segments[chosen], self.crowd[chosen])


@jit()
def _take(iou: Floats, order: Ints, ignored: Bools, crowd: Bools, threshold: Any) -> Ints:
    """The rank of the mask that takes each segment, (G,); -1 for none and for what is ignored.

    `order` (G,) are the segments with those that are ignored behind the others.
    """
    taker = np.full(iou.shape[1], -1, np.int64)
    for rank in range(iou.shape[0]):
        best, found = threshold, -1
        for segment in order:
            if taker[segment] >= 0 and not crowd[segment]:
                continue
            if found >= 0 and not ignored[found] and ignored[segment]:
                break
            if iou[rank, segment] < best:
                continue
            best, found = iou[rank, segment], segment
        if found >= 0:
            taker[found] = rank
    for segment in range(iou.shape[1]):
        if ignored[segment]:
            taker[segment] = -1
    return taker


def taken(found: Segments, size: tuple[float, float], limits: Sequence[int]) -> tuple[Ints, int]:
    """How many segments of an image are taken.

    Parameters
    ----------
    found
        Of masks in the order of their scores, the highest first.
    size
        Pixels of a segment, at least and at most.
    limits
        Numbers of masks that count.

    Returns
    -------
    (L, T) int64, for each limit and each of :data:`THRESHOLDS`; and the number of segments.
    """
    ignored = found.crowd | (found.segments < size[0]) | (found.segments > size[1])
    order = np.argsort(ignored, kind="stable")
    iou = np.ascontiguousarray(found.iou[: max(limits)])
    ranks = np.stack([
        _take(iou, order, ignored, found.crowd, min(threshold, _CERTAIN))
        for threshold in THRESHOLDS
    ])  # fmt: skip
    counts = [((ranks >= 0) & (ranks < limit)).sum(axis=1) for limit in limits]
    return np.array(counts, np.int64), int((~ignored).sum())


@dataclass(frozen=True, slots=True)
class RecallScores:
    """Average recall of a data set.

    Attributes
    ----------
    images, segments : int
        Images, and segments of the size "all".
    recall : dict of (str, int) to float or None
        AR by size and number of masks; None if no segment has the size.
    interval : dict of (str, int) to (float, float) or None
        What 95 % of 1,000 draws of as many images, with replacement, lie between.
    """

    images: int
    segments: int
    recall: dict[tuple[str, int], float | None]
    interval: dict[tuple[str, int], tuple[float, float] | None]


class _Settings(Record):
    limits: tuple[int, ...]


class _Image(Record):
    """One image: the segments of each size, and those taken by size, limit and threshold."""

    segments: tuple[Count, ...]
    taken: tuple[tuple[tuple[Count, ...], ...], ...]


class _State(State):
    metric: Literal["RecallMetric"]
    settings: _Settings
    images: dict[str, _Image]


class RecallMetric(ImageMetric[_Image]):
    """Average recall of masks over a data set.

    Parameters
    ----------
    limits
        Numbers of masks of an image that count.

    Raises
    ------
    SettingsError
        A limit is no whole number of at least 1.

    Examples
    --------
    Two segments of 4 pixels. The first mask is one of them, the second has half of the other.

    >>> metric = RecallMetric(limits=(1, 2))
    >>> metric.update("a", [0.9, 0.5], Segments(
    ...     both=np.array([[4, 0], [0, 2]]), masks=np.array([4, 2]), segments=np.array([4, 4]),
    ...     crowd=np.zeros(2, bool)))
    >>> scores = metric.compute()
    >>> scores.recall["all", 1], round(scores.recall["all", 2], 3)
    (0.5, 0.55)
    """

    _form = _State
    settings: _Settings

    def __init__(self, limits: Sequence[int] = (10, 100, 1000)) -> None:
        limits = check_numbers("limits", limits, 1, 2**31, whole=True)
        super().__init__(_Settings(limits=tuple(limits)))

    def update(self, image: str, score: Sequence[float] | Floats, found: Segments) -> None:
        """Score the masks of one image.

        Parameters
        ----------
        image
            Identifier of the image.
        score
            (N,) of the masks; the highest comes first. Of equal scores the first mask does.
        found

        Raises
        ------
        DataError
            The image was scored before, or the arrays do not fit each other.
        """
        rank = np.asarray(score, float)
        n, g = found.both.shape
        if rank.shape != (n,) or found.masks.shape != (n,) or found.segments.shape != (g,):
            raise DataError(
                f"image {image!r}: {found.both.shape} overlaps need {n} scores and masks and {g} "
                f"segments, got {len(rank)}, {len(found.masks)} and {len(found.segments)}"
            )
        order = np.argsort(-rank, kind="stable")
        ranked = Segments(found.both[order], found.masks[order], found.segments, found.crowd)
        each = [taken(ranked, size, self.settings.limits) for size in SIZES.values()]
        self._add(
            image,
            _Image(
                segments=tuple(count for _, count in each),
                taken=tuple(tuple(map(tuple, some.tolist())) for some, _ in each),
            ),
        )

    def compute(self) -> RecallScores:
        """Average recall of all images so far.

        Raises
        ------
        DataError
            No image was scored.
        """
        records = self._in_order()
        if not records:
            raise DataError("no image to compute scores from")
        there = np.array([one.segments for one in records])  # (images, sizes)
        hits = np.array([one.taken for one in records])  # (images, sizes, limits, thresholds)
        hits = hits.mean(axis=3)
        draws = np.random.default_rng(0).integers(0, len(records), (_DRAWS, len(records)))
        recall: dict[tuple[str, int], float | None] = {}
        interval: dict[tuple[str, int], tuple[float, float] | None] = {}
        for s, size in enumerate(SIZES):
            total, drawn = int(there[:, s].sum()), there[draws, s].sum(axis=1)
            for i, limit in enumerate(self.settings.limits):
                key = size, limit
                recall[key] = float(hits[:, s, i].sum()) / total if total else None
                found = hits[draws, s, i].sum(axis=1)[drawn > 0] / drawn[drawn > 0]
                ends = np.percentile(found, [2.5, 97.5]).tolist() if total else None
                interval[key] = None if ends is None else (ends[0], ends[1])
        return RecallScores(len(records), int(there[:, 0].sum()), recall, interval)

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Self:
        """The metric whose :meth:`state` was saved.

        Raises
        ------
        DataError
            The state is damaged or belongs to another metric.
        """
        read = read_state(_State, state)
        metric = cls(read.settings.limits)
        metric._take(read.settings, read.images)
        return metric

    def _check_record(self, image: str, record: _Image) -> None:
        limits = len(self.settings.limits)
        right = len(record.segments) == len(record.taken) == len(SIZES) and all(
            len(some) == limits and all(len(row) == len(THRESHOLDS) for row in some)
            for some in record.taken
        )
        if not right:
            raise DataError(f"state of image {image!r}: its counts do not fit {limits} limits")
