"""Scores of a data set: means over images, and semantic scores summed over images.

NMCovering and NHCovering are means over images, which all weigh the same. For the semantic scores,
the nodes matched to a class are its predicted mask. True positives, false positives and false
negatives of each class are summed over all images first, and divided then, as is usual for
semantic segmentation.

An image that shows no class but the background has nothing to cover. It is counted apart and is
part of no score.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError, SettingsError, check_numbers
from regiontree.metrics.budget import budget_nodes
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency, region_counts
from regiontree.metrics.records import Count, Fraction, ImageMetric, Record, State, mean, read_state
from regiontree.metrics.score import Match, check_matching, score_regions

__all__ = ["CurvePoint", "Scores", "TreeMetric"]


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Means over images of trees that show at most `budget` nodes.

    Attributes
    ----------
    budget : int
        Most nodes to show.
    nodes, leaves : float
        Nodes shown, and how many of them are not divided further.
    nm, nh : float
        NMCovering and NHCovering, 0 to 1.
    """

    budget: int
    nodes: float
    leaves: float
    nm: float
    nh: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores of a data set; all scores are fractions, 0 to 1.

    Attributes
    ----------
    images : int
        Images that were scored.
    without_foreground : int
        Images left out because they show no class but the background.
    nm_covering, nh_covering : float
        Means over images.
    miou, pacc, macc, fiou : float
        Mean IoU, pixel accuracy, mean accuracy of classes, IoU weighted by frequency; over the
        classes that are present in the data set.
    iou, frequency : dict of str to float
        IoU and share of the ground truth's pixels, for every class; 0 for absent classes.
    nodes, leaves : float
        Means over images. Scores of trees of different size cannot be compared.
    curve : tuple of CurvePoint
        Scores of the same trees within each node budget.
    """

    images: int
    without_foreground: int
    nm_covering: float
    nh_covering: float
    miou: float
    pacc: float
    macc: float
    fiou: float
    iou: dict[str, float]
    frequency: dict[str, float]
    nodes: float
    leaves: float
    curve: tuple[CurvePoint, ...]


class _Settings(Record):
    match: Match
    threshold: Fraction
    budgets: tuple[int, ...]
    classes: str  # digest


class _Shown(Record):
    """One tree within one budget."""

    nodes: Count
    leaves: Count
    nm: Fraction
    nh: Fraction


class _Image(Record):
    """One image: its classes ascending, and their pixels in the same order."""

    classes: tuple[Count, ...]
    tp: tuple[Count, ...]
    fp: tuple[Count, ...]
    fn: tuple[Count, ...]
    whole: _Shown
    budgets: tuple[_Shown, ...]


class _State(State):
    metric: Literal["TreeMetric"]
    settings: _Settings
    images: dict[str, _Image | None]


class TreeMetric(ImageMetric[_Image | None]):
    """Scores of trees against one level of a label tree, or all its levels at once.

    Parameters
    ----------
    classes
        Classes of the masks.
    match, threshold
        As in :func:`~regiontree.metrics.score.score_tree`. The threshold applies to the IoU of an
        image and to that of the data set.
    budgets
        Numbers of nodes for the curve, ascending.

    Raises
    ------
    SettingsError
        A setting is out of range.

    Examples
    --------
    >>> from regiontree.metrics import contingency
    >>> classes = ClassTree(("sky", "tree"), [-1, -1], {1: 0, 2: 1})
    >>> labels, parents, height = np.array([[0, 0, 0, 1]]), np.array([2, 2, 2]), np.array([0, 0, 1])
    >>> metric = TreeMetric(classes, budgets=(2,))
    >>> metric.update("a", parents, height, contingency(labels, np.array([[1, 1, 2, 2]]), 2))
    >>> metric.update("b", parents, height, contingency(labels, np.array([[1, 1, 1, 1]]), 2))
    >>> scores = metric.compute()    # IoU of a: sky 2/3, tree 1/2; of b: sky 3/4
    >>> round(scores.nm_covering, 4)    # (7/12 + 3/4) / 2
    0.6667
    >>> round(scores.iou["sky"], 4), scores.iou["tree"]    # 5 of 7 pixels, 1 of 2
    (0.7143, 0.5)
    >>> scores.frequency["sky"], scores.pacc    # 6 of 8 pixels are sky; 5 + 1 of 8 are right
    (0.75, 0.75)
    """

    _form = _State
    settings: _Settings

    def __init__(
        self,
        classes: ClassTree,
        *,
        match: Match = "max",
        threshold: float = 0.0,
        budgets: Sequence[int] = (5, 10, 25, 50, 100, 200),
    ) -> None:
        threshold = check_matching(match, threshold)
        if len(budgets):
            budgets = check_numbers("budgets", budgets, 1, 2**63, whole=True, below=True)
        if any(a >= b for a, b in pairwise(budgets)):
            raise SettingsError(f"budgets must be ascending, got {tuple(budgets)}")
        self.classes = classes
        super().__init__(
            _Settings(
                match=match,
                threshold=float(threshold),
                budgets=tuple(budgets),
                classes=_digest(classes),
            )
        )

    def update(
        self,
        image: str,
        parents: NDArray[np.integer],
        height: NDArray[np.floating],
        table: Contingency,
    ) -> None:
        """Score the tree of one image.

        Raises
        ------
        DataError
            The image was scored before, or its table does not fit the tree or the classes.
        """
        try:
            counts, present = region_counts(parents, table, self.classes)
        except DataError as error:
            raise DataError(f"image {image!r}: {error}") from error
        scores = [
            score_regions(
                parents,
                counts,
                present,
                self.classes,
                nodes=budget_nodes(parents, height, budget),
                match=self.settings.match,
                threshold=self.settings.threshold,
            )
            for budget in (None, *self.settings.budgets)
        ]
        whole = scores[0]
        if whole is None:
            self._add(image, None)
            return
        shown = [
            _Shown(nodes=s.nodes, leaves=s.leaves, nm=s.nm, nh=s.nh)
            for s in scores
            if s is not None
        ]
        record = _Image(
            classes=tuple(whole.classes.tolist()),
            tp=tuple(whole.tp.tolist()),
            fp=tuple(whole.fp.tolist()),
            fn=tuple(whole.fn.tolist()),
            whole=shown[0],
            budgets=tuple(shown[1:]),
        )
        self._add(image, record)

    def compute(self) -> Scores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image, or none with a class other than the background.
        """
        images = [record for record in self._in_order() if record is not None]
        if not images:
            raise DataError(
                f"no image to compute scores from: {len(self)} scored, {len(self)} of them without "
                "any class other than the background"
            )
        tp, fp, fn = np.zeros((3, len(self.classes)), dtype=np.int64)
        for record in images:
            index = list(record.classes)
            tp[index] += record.tp
            fp[index] += record.fp
            fn[index] += record.fn
        iou = tp / np.maximum(tp + fp + fn, 1)
        iou[iou < self.settings.threshold] = 0.0
        size = tp + fn
        present = size > 0
        names = self.classes.names
        return Scores(
            images=len(images),
            without_foreground=len(self) - len(images),
            nm_covering=mean(r.whole.nm for r in images),
            nh_covering=mean(r.whole.nh for r in images),
            miou=mean(iou[present]),
            pacc=int(tp.sum()) / int(size.sum()),
            macc=mean(tp[present] / size[present]),
            fiou=math.fsum(size * iou) / int(size.sum()),
            iou=dict(zip(names, iou.tolist(), strict=True)),
            frequency=dict(zip(names, (size / size.sum()).tolist(), strict=True)),
            nodes=mean(r.whole.nodes for r in images),
            leaves=mean(r.whole.leaves for r in images),
            curve=tuple(
                CurvePoint(
                    budget=budget,
                    nodes=mean(r.budgets[b].nodes for r in images),
                    leaves=mean(r.budgets[b].leaves for r in images),
                    nm=mean(r.budgets[b].nm for r in images),
                    nh=mean(r.budgets[b].nh for r in images),
                )
                for b, budget in enumerate(self.settings.budgets)
            ),
        )

    @classmethod
    def from_state(cls, classes: ClassTree, state: Mapping[str, Any]) -> Self:
        """A metric as it was when :meth:`state` was called.

        Raises
        ------
        DataError
            The state is damaged, belongs to another metric, or was made with other classes.
        """
        read = read_state(_State, state)
        settings = read.settings
        try:
            metric = cls(
                classes,
                match=settings.match,
                threshold=settings.threshold,
                budgets=settings.budgets,
            )
        except SettingsError as error:
            raise DataError(f"not a state of this metric: {error}") from error
        metric._take(settings, read.images)
        return metric

    def _check_record(self, image: str, record: _Image | None) -> None:
        if record is None:
            return
        classes = record.classes
        ascending = all(a < b for a, b in pairwise(classes))
        alike = len(classes) == len(record.tp) == len(record.fp) == len(record.fn)
        if not (
            classes
            and ascending
            and classes[-1] < len(self.classes)
            and alike
            and all(tp + fn > 0 for tp, fn in zip(record.tp, record.fn, strict=True))
        ):
            raise DataError(
                f"state of image {image!r}: it needs tp, fp and fn of some of the "
                f"{len(self.classes)} classes, ascending, each with a pixel"
            )
        if len(record.budgets) != len(self.settings.budgets):
            raise DataError(
                f"state of image {image!r}: {len(record.budgets)} points of the curve for "
                f"{len(self.settings.budgets)} budgets"
            )


def _digest(classes: ClassTree) -> str:
    """sha256 of everything in the classes that a score depends on."""
    content = [
        classes.names,
        classes.parents.tolist(),
        sorted((int(i), int(c)) for i, c in classes.class_of_id.items()),
        sorted(int(i) for i in classes.ignored),
        classes.background,
    ]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
