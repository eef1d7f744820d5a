"""What a metric is to a report: columns of its tables, and one small record for each image.

A report has several tables. Each asks a :class:`Question`: which classes, at which resolution. A
metric of the registry :data:`METRICS` is a class that is made anew for each question that it
answers. It is given one :class:`Pair` of tree and ground truth after the other, and its columns
then appear in every form of the report: on the terminal, in Markdown and in JSON.

The shortest way to a new metric is a subclass of :class:`MeanMetric` with one method, which gives
one number for each image. The report shows the mean over the images.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency
from regiontree.metrics.records import ImageMetric, Record, State, mean
from regiontree.metrics.score import Match
from regiontree.metrics.segmentmap import SegmentMap
from regiontree.system.registry import Registry
from regiontree.tree import RegionTree

__all__ = ["COVERINGS", "METRICS", "Column", "MeanMetric", "MeanScore", "Pair", "Question",
           "ReportMetric"]  # fmt: skip

COVERINGS = "coverings"
"""Name of the metric that every report has."""


@dataclass(frozen=True, slots=True)
class Question:
    """What one table of a report asks.

    Attributes
    ----------
    kind : {"tree", "finest", "depth", "covering"}
        All classes with their ancestors; the finest classes; classes merged at a depth above the
        finest; or regions without classes.
    protocol : {"pixel", "grid"}
        Whether masks have their own size or that of the patch grid.
    classes : ClassTree or None
        What the masks hold; None for regions without classes.
    match : {"max", "hungarian"}
    threshold : float
        An IoU below it counts as 0.
    budgets : tuple of int
        Numbers of nodes at which scores are also wanted.
    """

    kind: Literal["tree", "finest", "depth", "covering"]
    protocol: str
    classes: ClassTree | None
    match: Match = "max"
    threshold: float = 0.0
    budgets: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """One tree and the ground truth of its image, at one size.

    Attributes
    ----------
    tree : RegionTree
        As it was read; its own labels may have another size.
    labels : (H, W) int32
        The leaf of each pixel.
    truths : tuple of (H, W) int32
        One mask for each annotator.
    tables : tuple of Contingency
        For each annotator, how many pixels each leaf shares with each value of the mask.
    segments : tuple of SegmentMap
        The segments of the image, for metrics that need them.
    """

    tree: RegionTree
    labels: NDArray[np.int32]
    truths: tuple[NDArray[np.int32], ...]
    tables: tuple[Contingency, ...]
    segments: tuple[SegmentMap, ...] = ()


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a report's tables.

    Attributes
    ----------
    head : str
        Its title.
    value : callable
        The number to show, from what :meth:`ReportMetric.compute` gives; None if there is none.
    percent : bool
        Whether the number is a fraction, shown in percent.
    paper : str
        The paper's name of this score, if the paper prints it.
    """

    head: str
    value: Callable[[Any], float | None]
    percent: bool = True
    paper: str = ""

    def cell(self, scores: Any) -> str:
        """The text of a cell."""
        value = None if scores is None else self.value(scores)
        return "-" if value is None else f"{100 * value if self.percent else value:.1f}"


class ReportMetric(ABC):
    """A metric that a report can show, made for one question.

    Attributes
    ----------
    always : bool
        Whether it is in every report. If not, a config or ``--metric`` must name it.
    version : int
        Raise it when the metric computes other numbers: records of finished images are then made
        again.
    needs_segments : bool
        Whether :attr:`Pair.segments` must be there. The data set must then say where they are.
    advice : str
        What to do if no table of a report can have the metric, for the error.
    title : str
        Title of a table of its own, with the rows of :meth:`rows`. Empty: its columns stand beside
        those of the coverings.
    columns : sequence of Column
    """

    always: ClassVar[bool] = True
    version: ClassVar[int] = 1
    needs_segments: ClassVar[bool] = False
    advice: ClassVar[str] = "choose another protocol or leave the metric out"
    title: ClassVar[str] = ""
    columns: Sequence[Column] = ()

    @abstractmethod
    def __init__(self, question: Question) -> None: ...

    @classmethod
    def answers(cls, question: Question) -> bool:
        """Whether the metric has a score for such a table; by default, where it is finest."""
        return question.kind in ("finest", "covering")

    @abstractmethod
    def update(self, image: str, pair: Pair) -> None:
        """Score one image. A DataError says what is wrong with the image."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """All that is known, as JSON values."""

    @abstractmethod
    def merge_state(self, state: Mapping[str, Any]) -> None:
        """Take over the images of another state. A DataError says why the state does not fit."""

    @abstractmethod
    def compute(self) -> Any:
        """The scores of all images: a dataclass, whose fields the JSON report holds."""

    def rows(self, scores: Any) -> Mapping[str, Any]:
        """The rows of its own table: what the columns are shown of, by the name of the row."""
        return {"": scores}


# -- one number an image --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeanScore:
    """The mean of one number over the images that have it; None if no image has it."""

    images: int
    mean: float | None


class _Of(Record):
    name: str


class _Value(Record):
    value: float


class _State(State):
    settings: _Of
    images: dict[str, _Value | None]


class MeanMetric(ImageMetric[_Value | None], ReportMetric):
    """A metric that is the mean of one number over the images; subclasses write :meth:`score`.

    Attributes
    ----------
    head : str
        Title of its column.
    percent : bool
        Whether the number is a fraction, shown in percent.

    Examples
    --------
    >>> class Depth(MeanMetric):
    ...     head, percent = "depth", False
    ...     def score(self, pair):
    ...         return pair.tree.depth
    >>> tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    >>> metric = Depth(Question("covering", "pixel", None))
    >>> metric.update("a", Pair(tree, tree.labels, (), ()))
    >>> metric.compute(), metric.columns[0].cell(metric.compute())
    (MeanScore(images=1, mean=1.0), '1.0')
    """

    _form = _State
    head: ClassVar[str]
    percent: ClassVar[bool] = True

    def __init__(self, question: Question) -> None:
        super().__init__(_Of(name=type(self).__name__))
        self.question = question
        self.columns = (Column(self.head, lambda found: found.mean, self.percent),)

    @abstractmethod
    def score(self, pair: Pair) -> float | None:
        """The number of one image; None leaves the image out."""

    def update(self, image: str, pair: Pair) -> None:
        found = self.score(pair)
        self._add(image, None if found is None else _Value(value=float(found)))

    def compute(self) -> MeanScore:
        values = [record.value for record in self._in_order() if record is not None]
        return MeanScore(len(values), mean(values) if values else None)

    def _check_record(self, image: str, record: _Value | None) -> None:
        """Every finite number fits."""


METRICS: Registry[type[ReportMetric]] = Registry(
    "metric",
    {
        COVERINGS: "regiontree.metrics.reported:Coverings",
        "boundary": "regiontree.metrics.reported:Boundary",
        "recall": "regiontree.metrics.reportedrecall:Recall",
        "bsds": "regiontree.metrics.reportedbsds:Bsds",
    },
    group="regiontree.metrics",
)
"""Every metric that reports can show; other packages add theirs as ``regiontree.metrics``."""
