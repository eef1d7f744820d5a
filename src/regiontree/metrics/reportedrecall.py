"""Average recall as reports show it: how many things, stuff and parts are among a tree's masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from regiontree.errors import DataError
from regiontree.metrics.recall import SIZES, RecallMetric, RecallScores
from regiontree.metrics.report import Column, Pair, Question, ReportMetric
from regiontree.metrics.segmentmap import KINDS, Ranking, kinds_of, ranked_masks, steady_persistence

__all__ = ["KindRecall", "Recall", "RecallFigure", "SegmentRecall"]

_LIMITS = (10, 100, 1000)
_EVERY = (*KINDS, "all")


@dataclass(frozen=True, slots=True)
class RecallFigure:
    """Average recall of one size and number of masks.

    Attributes
    ----------
    size : {"all", "small", "medium", "large"}
    masks : int
        Number of masks of an image that count.
    recall, low, high : float or None
        AR, 0 to 1, and the ends of its 95 % interval; None if no segment has the size.
    """

    size: str
    masks: int
    recall: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class KindRecall:
    """Average recall of the segments of one kind."""

    segments: int
    figures: tuple[RecallFigure, ...]


@dataclass(frozen=True, slots=True)
class SegmentRecall:
    """Average recall of each kind of segment that the data set has, and of all."""

    images: int
    kinds: dict[str, KindRecall]


class Recall(ReportMetric):
    """Average recall of :class:`RecallMetric`, of each kind of segment and of all together.

    The masks are all nodes, and all pieces of nodes of at least half a patch that are no node.
    Their order is that of `ranking`; a subclass may have another, and must then have another
    `version`, too. It is shown only where it is named, since few data sets say what their segments
    are.
    """

    always = False
    needs_segments = True
    title = (
        "Average recall (AR) of segments at 10, 100 and 1000 masks; of sizes, and the ends of the "
        "95 % interval, at 1000 masks"
    )
    ranking: ClassVar[Ranking] = staticmethod(steady_persistence)

    def __init__(self, question: Question) -> None:
        self._metrics = {kind: RecallMetric(_LIMITS) for kind in _EVERY}
        shown = [("all", limit) for limit in _LIMITS]
        shown += [(size, _LIMITS[-1]) for size in SIZES if size != "all"]
        figures = [
            Column(str(limit) if size == "all" else size, partial(_figure, size, limit, "recall"))
            for size, limit in shown
        ]
        ends = [Column(end, partial(_figure, "all", _LIMITS[-1], end)) for end in ("low", "high")]
        count = Column("count", lambda kind: kind.segments, percent=False)
        self.columns = (*figures, *ends, count)

    @classmethod
    def answers(cls, question: Question) -> bool:
        return question.protocol == "pixel" and question.kind in ("finest", "covering")

    def update(self, image: str, pair: Pair) -> None:
        size = pair.labels.shape
        if not pair.segments or any(one.labels.shape != size for one in pair.segments):
            raise DataError(
                f"image {image!r}: recall needs segments of the size of the masks, {size}, got "
                f"{[one.labels.shape for one in pair.segments] or 'none'}"
            )
        score, found = ranked_masks(pair.tree, pair.segments, rank=type(self).ranking)
        kinds = kinds_of(pair.segments)
        for kind, metric in self._metrics.items():
            chosen = np.isin(kinds, KINDS if kind == "all" else [kind])
            metric.update(image, score, found.only(chosen))

    def state(self) -> dict[str, Any]:
        return {kind: metric.state() for kind, metric in self._metrics.items()}

    def merge_state(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping) or state.keys() != self._metrics.keys():
            raise DataError(f"not a state of this metric: it needs {', '.join(_EVERY)}")
        for kind, metric in self._metrics.items():
            metric.merge_state(state[kind])

    def compute(self) -> SegmentRecall:
        found = {kind: metric.compute() for kind, metric in self._metrics.items()}
        kinds = {kind: _of_kind(scores) for kind, scores in found.items() if scores.segments}
        return SegmentRecall(found["all"].images, kinds)

    def rows(self, scores: SegmentRecall) -> Mapping[str, KindRecall]:
        return scores.kinds


def _of_kind(scores: RecallScores) -> KindRecall:
    figures = []
    for (size, limit), recall in scores.recall.items():
        low, high = scores.interval[size, limit] or (None, None)
        figures.append(RecallFigure(size, limit, recall, low, high))
    return KindRecall(scores.segments, tuple(figures))


def _figure(size: str, masks: int, what: str, kind: KindRecall) -> float | None:
    """AR of one size and number of masks, or an end of its interval."""
    one = next(one for one in kind.figures if (one.size, one.masks) == (size, masks))
    value: float | None = getattr(one, what)
    return value
