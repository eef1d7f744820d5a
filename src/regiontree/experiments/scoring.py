"""One tree against one image's ground truth, in every table at once.

A table is a protocol and a view of the label tree. Protocols: ``pixel`` compares at the size of the
ground truth; ``grid`` shrinks the ground truth to the patch grid (nearest), as the published
evaluation does. Views: ``tree``, every class and every ancestor present (T to T_gt); ``depth d``,
classes merged into their ancestor at depth d (T to S), the finest of which is S; and ``covering``,
regions without a class and several annotators (BSDS).

Both protocols need one contingency table each, shared by all views. The result of an image is a
small record of integers, JSON, which any process can write and any other merge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.datasets.labels import LabelTree
from regiontree.errors import DataError, check_number
from regiontree.images import nearest
from regiontree.metrics import (
    ClassTree,
    CoveringMetric,
    CoveringScores,
    Scores,
    TreeMetric,
    contingency,
)
from regiontree.metrics.score import Match
from regiontree.tree import RegionTree

__all__ = ["PROTOCOLS", "Metric", "Scoring", "View", "fit"]

PROTOCOLS = ("pixel", "grid")
"""Sizes at which trees are compared with masks: full size, or the patch grid."""

Metric = TreeMetric | CoveringMetric
"""What sums up a data set: with classes, or with several annotators."""
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
        IoU below it counts as 0.
    budgets : tuple of int
        Node budgets of the curve.
    """

    labels: LabelTree | None
    protocols: tuple[str, ...] = PROTOCOLS
    match: Match = "max"
    threshold: float = 0.0
    budgets: tuple[int, ...] = (5, 10, 25, 50, 100, 200)

    def __post_init__(self) -> None:
        for protocol in self.protocols:
            if protocol not in PROTOCOLS:
                raise DataError(f"protocol must be one of {', '.join(PROTOCOLS)}, got {protocol!r}")
        if not self.protocols:
            raise DataError(f"name at least one protocol of {', '.join(PROTOCOLS)}")
        check_number("threshold", self.threshold, 0.0, 1.0)

    def views(self) -> list[View]:
        """All tables, main protocol first, and in each the tree before finest to coarsest."""
        if self.labels is None:
            return [View(protocol, 0) for protocol in self.protocols]
        depths = [None, *range(self.labels.max_depth, 0, -1)]
        return [View(protocol, depth) for protocol in self.protocols for depth in depths]

    @cached_property
    def _classes(self) -> dict[int | None, ClassTree]:
        if self.labels is None:
            return {}
        depths = (None, *range(1, self.labels.max_depth + 1))
        return {depth: self.labels.classes(depth) for depth in depths}

    def metric(self, view: View) -> Metric:
        """An empty metric for a table."""
        if view.depth == 0 or self.labels is None:
            return CoveringMetric()
        # The curve is drawn for the label tree and for its finest level.
        curve = view.depth in (None, self.labels.max_depth)
        return TreeMetric(
            self._classes[view.depth],
            match=self.match,
            threshold=self.threshold,
            budgets=self.budgets if curve else (),
        )

    def record(self, image: str, tree: RegionTree, truths: Sequence[Mask]) -> Record:
        """Scores of one image in all tables, as JSON values.

        Raises
        ------
        DataError
            A mask of another size than the tree's image, or with an id the label tree lacks.
        """
        states: Record = {}
        for protocol in self.protocols:
            pairs = [fit(tree, truth, protocol) for truth in truths]
            tables = [contingency(labels, truth, tree.n_leaves) for labels, truth in pairs]
            for view in self.views():
                if view.protocol != protocol:
                    continue
                metric = self.metric(view)
                if isinstance(metric, CoveringMetric):
                    metric.update(image, tree.parents, tree.height, tables)
                else:
                    metric.update(image, tree.parents, tree.height, tables[0])
                states[view.key] = metric.state()
        return states

    def merge(self, records: Iterable[Mapping[str, Any]]) -> dict[View, Scores | CoveringScores]:
        """Tables of a data set from the records of its images, in any order.

        Raises
        ------
        DataError
            A record was made with other classes or settings; or there is none.
        """
        views = self.views()
        total = {view: self.metric(view) for view in views}
        for record in records:
            for view in views:
                if view.key not in record:
                    raise DataError(f"a record lacks the table {view.key!r}: score the image again")
                total[view].merge_state(record[view.key])
        return {view: metric.compute() for view, metric in total.items()}


def fit(tree: RegionTree, truth: Mask, protocol: str) -> tuple[NDArray[np.int32], Mask]:
    """Labels of a tree and a mask (H, W) at one common size.

    ``pixel``: the mask's own. A tree on its patch grid is enlarged to it (nearest). ``grid``: the
    patch grid that the tree records, else the tree's own size; the mask is shrunk to it (nearest).

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
