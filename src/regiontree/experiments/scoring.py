"""The scores of one tree against the ground truth of its image, in every table of the report.

A table is a protocol and a view of the label tree. There are two protocols. ``pixel`` compares at
the size of the ground truth. ``grid`` shrinks the ground truth to the patch grid (nearest), as the
published evaluation does. There are three kinds of views. ``tree`` asks for every class and every
ancestor that is present (T to T_gt). ``depth d`` merges classes into their ancestor at depth d (T
to S); the finest depth is S. ``covering`` asks for regions without classes, by several annotators
(BSDS).

All views of a protocol share one contingency table for each annotator. The result of an image is a
small record of JSON values. Any process can write it, and any other process can merge it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.datasets.labels import LabelTree
from regiontree.errors import DataError, SettingsError, check_number
from regiontree.images import nearest
from regiontree.metrics import ClassTree, contingency
from regiontree.metrics.report import COVERINGS, METRICS, Pair, Question, ReportMetric
from regiontree.metrics.score import Match
from regiontree.metrics.segmentmap import SegmentMap
from regiontree.tree import RegionTree

__all__ = ["PROTOCOLS", "Scoring", "View", "fit", "metric_class"]

PROTOCOLS = ("pixel", "grid")
"""Sizes at which trees are compared with masks: full size, or the patch grid."""

Record = dict[str, Any]
Mask = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class View:
    """One table: `protocol`, and `depth` of the label tree (None: all of it; 0: no classes)."""

    protocol: str
    depth: int | None

    @property
    def key(self) -> str:
        """The table's name in results."""
        kind = {None: "tree", 0: "covering"}.get(self.depth, f"depth {self.depth}")
        return f"{self.protocol}, {kind}"


@dataclass(frozen=True)
class Scoring:
    """What is measured, and how.

    Attributes
    ----------
    labels : LabelTree or None
        None: regions without classes.
    protocols : tuple of str
        The first is the main one.
    match : {"max", "hungarian"}
    threshold : float
        An IoU below it counts as 0.
    budgets : tuple of int
        Numbers of nodes of the curve.
    metrics : tuple of str or None
        Names of :data:`~regiontree.metrics.report.METRICS` that are scored beside the coverings.
        None: those that are in every report.

    Raises
    ------
    DataError
        There is no such protocol, or a metric has no score at any of them or with these classes.
    SettingsError
        There is no such metric, or a number is out of range.
    """

    labels: LabelTree | None
    protocols: tuple[str, ...] = PROTOCOLS
    match: Match = "max"
    threshold: float = 0.0
    budgets: tuple[int, ...] = (5, 10, 25, 50, 100, 200)
    metrics: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise DataError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        if not self.protocols:
            raise DataError(f"name at least one protocol of {', '.join(PROTOCOLS)}")
        threshold = check_number("threshold", self.threshold, 0.0, 1.0)
        object.__setattr__(self, "threshold", threshold)
        # Made here, so that a broken metric is told before any image is scored.
        shown = {name for view in self.views() for name in self.metrics_of(view)}
        for name in self.metrics or ():
            if name not in shown:
                asked = f"protocol {', '.join(self.protocols)}{' and classes' * bool(self.labels)}"
                advice = self._kinds[name].advice
                raise DataError(f"metric {name!r} has no score with {asked}; {advice}")

    def views(self) -> list[View]:
        """All tables, main protocol first, and in each the tree before finest to coarsest."""
        if self.labels is None:
            return [View(protocol, 0) for protocol in self.protocols]
        depths = [None, *range(self.labels.max_depth, 0, -1)]
        return [View(protocol, depth) for protocol in self.protocols for depth in depths]

    @property
    def text(self) -> str:
        """All that the record of an image depends on beside the image, as text."""
        others = [f"{name} {kind.version}" for name, kind in self._kinds.items()]
        return "\n".join([repr(self), *others[1:]])  # every record has the coverings

    @cached_property
    def _kinds(self) -> dict[str, type[ReportMetric]]:
        """The classes of all metrics by name, coverings first."""
        if self.metrics is not None:
            return {name: metric_class(name) for name in (COVERINGS, *self.metrics)}
        found = {name: metric_class(name) for name in METRICS}
        return {name: kind for name, kind in found.items() if kind.always}

    @property
    def needs_segments(self) -> bool:
        """Whether a metric needs the segments of the images."""
        return any(kind.needs_segments for kind in self._kinds.values())

    @cached_property
    def _classes(self) -> dict[int | None, ClassTree]:
        if self.labels is None:
            return {}
        depths = (None, *range(1, self.labels.max_depth + 1))
        return {depth: self.labels.classes(depth) for depth in depths}

    def question(self, view: View) -> Question:
        """What a table asks of its metrics."""
        if view.depth == 0 or self.labels is None:
            return Question("covering", view.protocol, None)
        finest = view.depth == self.labels.max_depth
        # The curve is drawn for the label tree and for its finest level.
        return Question(
            "tree" if view.depth is None else "finest" if finest else "depth",
            view.protocol,
            self._classes[view.depth],
            match=self.match,
            threshold=self.threshold,
            budgets=self.budgets if finest or view.depth is None else (),
        )

    def metrics_of(self, view: View) -> dict[str, ReportMetric]:
        """The metrics of a table by name, coverings first, without any image."""
        question = self.question(view)
        kinds = self._kinds.items()
        return {name: kind(question) for name, kind in kinds if kind.answers(question)}

    def record(
        self,
        image: str,
        tree: RegionTree,
        truths: Sequence[Mask],
        segments: Sequence[SegmentMap] = (),
    ) -> Record:
        """Scores of one image in all tables, as JSON values.

        `segments` are only used by metrics that need them: see :attr:`needs_segments`.

        Raises
        ------
        DataError
            A mask of another size than the tree's image, or with an id the label tree lacks.
        """
        states: Record = {}
        for protocol in self.protocols:
            fitted = [fit(tree, truth, protocol) for truth in truths]
            tables = [contingency(labels, truth, tree.n_leaves) for labels, truth in fitted]
            masks = tuple(truth for _, truth in fitted)
            pair = Pair(tree, fitted[0][0], masks, tuple(tables), tuple(segments))
            for view in self.views():
                if view.protocol == protocol:
                    for name, metric in self.metrics_of(view).items():
                        metric.update(image, pair)
                        states[_key(view, name)] = metric.state()
        return states

    def merge(self, records: Iterable[Mapping[str, Any]]) -> dict[View, dict[str, Any]]:
        """The scores of each table by metric, from the records of the images in any order.

        Raises
        ------
        DataError
            A record was made with other classes or settings; or there is none.
        """
        total = {view: self.metrics_of(view) for view in self.views()}
        for record in records:
            for view, metrics in total.items():
                for name, metric in metrics.items():
                    key = _key(view, name)
                    if key not in record:
                        raise DataError(f"a record lacks the table {key!r}: score the image again")
                    metric.merge_state(record[key])
        return {
            view: {name: metric.compute() for name, metric in metrics.items()}
            for view, metrics in total.items()
        }


def metric_class(name: str) -> type[ReportMetric]:
    """The class of a metric.

    Raises
    ------
    SettingsError
        There is no such metric, or another package's entry is no metric.
    """
    kind = METRICS.get(name)
    if not (isinstance(kind, type) and issubclass(kind, ReportMetric)):
        raise SettingsError(
            f"metric {name!r} must be a subclass of regiontree.metrics.ReportMetric, got {kind!r}; "
            "repair the package that adds it"
        )
    return kind


def _key(view: View, name: str) -> str:
    """The key of a record under which the state of a metric stands."""
    return view.key if name == COVERINGS else f"{view.key}: {name}"


def fit(tree: RegionTree, truth: Mask, protocol: str) -> tuple[NDArray[np.int32], Mask]:
    """Labels of a tree and a mask (H, W) at one common size.

    ``pixel``: the size of the mask. A tree on its patch grid is enlarged to it (nearest).
    ``grid``: the patch grid that the tree records, else the size of the tree. The mask is shrunk
    to it (nearest).

    Raises
    ------
    DataError
        The tree is of an image of another size.
    """
    size = (int(truth.shape[0]), int(truth.shape[1]))
    image = tree.meta.get("image", {})
    recorded = tuple(image["size"]) if "size" in image else None
    grid = tuple(image["grid"]) if "grid" in image else tree.shape
    on_grid = tree.shape == grid and (recorded is None or recorded in (size, grid))
    smaller = tree.shape[0] <= size[0] and tree.shape[1] <= size[1]
    if tree.shape != size and not (on_grid and smaller):
        raise DataError(
            f"the mask is {size[0]} x {size[1]} pixels, the tree is of an image of "
            f"{tree.shape[0]} x {tree.shape[1]}: they do not belong together"
        )
    if protocol == "pixel":
        return (tree.labels if tree.shape == size else nearest(tree.labels, size)), truth
    return nearest(tree.labels, grid), nearest(truth, grid)
