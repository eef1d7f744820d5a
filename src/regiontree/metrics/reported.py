"""The package's own metrics as reports show them: coverings, and boundary F."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from regiontree.metrics.boundary import BoundaryMetric, BoundaryScores
from regiontree.metrics.bsds import CoveringMetric, CoveringScores
from regiontree.metrics.metric import Scores, TreeMetric
from regiontree.metrics.report import Column, Pair, Question, ReportMetric

__all__ = ["Boundary", "Coverings"]

_MIOU = Column("mIoU", lambda s: s.miou, paper="miou")
_PACC = Column("pAcc", lambda s: s.pacc, paper="pacc")
_MACC = Column("mAcc", lambda s: s.macc, paper="macc")
_FIOU = Column("fIoU", lambda s: s.fiou, paper="fiou")
_NM = Column("NMCovering", lambda s: s.nm_covering, paper="nm")
_NH = Column("NHCovering", lambda s: s.nh_covering, paper="nh")
_SIZES = (
    Column("nodes", lambda s: s.nodes, percent=False),
    Column("leaves", lambda s: s.leaves, percent=False),
)
_COLUMNS = {
    "tree": (_MIOU, _PACC, _NM, _NH, *_SIZES),
    "finest": (_MIOU, _PACC, _MACC, _FIOU, _NM, *_SIZES),
    "depth": (_MIOU, _PACC, _MACC, _FIOU, _NM, *_SIZES),
    "covering": (
        Column("ODS", lambda s: s.ods),
        Column("OIS", lambda s: s.ois),
        Column("best", lambda s: s.best),
        *_SIZES,
    ),
}


class Coverings(ReportMetric):
    """How well nodes cover regions: :class:`TreeMetric`; without classes :class:`CoveringMetric`.

    Every report holds these scores, since a score says nothing without the number of nodes.
    """

    def __init__(self, question: Question) -> None:
        self.columns = _COLUMNS[question.kind]
        self._metric: TreeMetric | CoveringMetric = (
            CoveringMetric()
            if question.classes is None
            else TreeMetric(
                question.classes,
                match=question.match,
                threshold=question.threshold,
                budgets=question.budgets,
            )
        )

    @classmethod
    def answers(cls, question: Question) -> bool:
        return True

    def update(self, image: str, pair: Pair) -> None:
        tree = pair.tree
        if isinstance(self._metric, CoveringMetric):
            self._metric.update(image, tree.parents, tree.height, pair.tables)
        else:
            self._metric.update(image, tree.parents, tree.height, pair.tables[0])

    def state(self) -> dict[str, Any]:
        return self._metric.state()

    def merge_state(self, state: Mapping[str, Any]) -> None:
        self._metric.merge_state(state)

    def compute(self) -> Scores | CoveringScores:
        return self._metric.compute()


class Boundary(ReportMetric):
    """Boundary F at the distances of :class:`BoundaryMetric`, which are in pixels.

    It is shown only where it is named, because it takes longer than all coverings together, and
    only where masks have their own size, because a distance of two patches is a wide one.
    """

    always = False

    def __init__(self, question: Question) -> None:
        self._metric = BoundaryMetric(question.classes)
        distances = self._metric.settings.distances
        self.columns = tuple(
            Column(f"F{distance:g}", partial(_f_at, at)) for at, distance in enumerate(distances)
        )

    @classmethod
    def answers(cls, question: Question) -> bool:
        return question.protocol == "pixel" and question.kind in ("finest", "covering")

    def update(self, image: str, pair: Pair) -> None:
        tree = pair.tree
        self._metric.update(image, tree.parents, tree.height, pair.labels, pair.truths)

    def state(self) -> dict[str, Any]:
        return self._metric.state()

    def merge_state(self, state: Mapping[str, Any]) -> None:
        self._metric.merge_state(state)

    def compute(self) -> BoundaryScores:
        return self._metric.compute()


def _f_at(at: int, scores: BoundaryScores) -> float:
    """The F-measure at one of the distances."""
    return scores.points[at].f
