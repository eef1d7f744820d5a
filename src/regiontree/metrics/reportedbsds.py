"""The three measures of BSDS500 as reports show them: regions, borders, and objects and parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError
from regiontree.metrics.bsds import CoveringMetric, CoveringScores
from regiontree.metrics.contingency import Contingency
from regiontree.metrics.contours import ContourMetric, ContourScores
from regiontree.metrics.objects import ObjectsMetric, ObjectsScores
from regiontree.metrics.report import Column, Pair, Question, ReportMetric
from regiontree.metrics.scales import Scale
from regiontree.tree import RegionTree

__all__ = ["Bsds", "BsdsMetric", "BsdsScores", "CutBy", "CutScores"]

CutBy = Literal["height", "contrast", "regions"]
"""How images are cut at one scale: at one height, at one contrast, or into one number of regions.

A contrast is a height times the contrast of the tree.
"""
_CUTS: tuple[CutBy, ...] = get_args(CutBy)
_SAID = {"height": "height", "contrast": "contrast", "regions": "number of regions"}


@dataclass(frozen=True, slots=True)
class CutScores:
    """Scores of a data set by the three measures, with scales of one kind.

    Attributes
    ----------
    covering : CoveringScores
    borders : ContourScores
    objects : ObjectsScores
        For objects and their parts.
    """

    covering: CoveringScores
    borders: ContourScores
    objects: ObjectsScores


class BsdsMetric:
    """The three measures of BSDS500 with scales of one kind; each metric has its default settings.

    Parameters
    ----------
    cut : {"height", "contrast", "regions"}
        The kind of scales: see :data:`CutBy`.

    Examples
    --------
    >>> from regiontree.metrics import contingency
    >>> tree = RegionTree(labels=[[0, 0, 1, 1]] * 2, parents=[2, 2, 2], height=[0, 0, 1])
    >>> people = [np.array([[5, 5, 9, 9]] * 2), np.array([[5, 5, 5, 5]] * 2)]
    >>> metric = BsdsMetric("regions")
    >>> tables = [contingency(tree.labels, person, tree.n_leaves) for person in people]
    >>> metric.update("a", tree, tree.labels, people, tables)
    >>> scores = metric.compute()
    >>> scores.covering.ods, scores.borders.ods, scores.objects.ods    # the cut into both halves
    (0.75, 1.0, 1.0)
    """

    def __init__(self, cut: CutBy) -> None:
        scale: Scale = "regions" if cut == "regions" else "height"
        self._times_contrast = cut == "contrast"
        self._covering = CoveringMetric(scale=scale)
        self._borders = ContourMetric(scale=scale)
        self._objects = ObjectsMetric(scale=scale)

    def __len__(self) -> int:
        return len(self._covering)

    def height(self, tree: RegionTree) -> NDArray[np.float32]:
        """The heights of a tree's nodes that scales are compared with, (N,).

        Raises
        ------
        TreeError
            Scales are contrasts, and the tree has none.
        """
        height: NDArray[np.float32] = tree.height
        return height * np.float32(tree.contrast) if self._times_contrast else height

    def update(
        self,
        image: str,
        tree: RegionTree,
        labels: NDArray[np.integer],
        truths: Sequence[NDArray[np.integer]],
        tables: Sequence[Contingency],
    ) -> None:
        """Score the tree of one image.

        Parameters
        ----------
        image
            Its id.
        tree
        labels : (H, W) integers
            Leaf of each pixel, at the size of the masks.
        truths
            Masks (H, W), one for each annotator; every value of a mask is a region.
        tables
            For each annotator, what :func:`~regiontree.metrics.contingency` finds.

        Raises
        ------
        DataError
            The image was scored before, has no annotator, or a mask does not fit.
        TreeError
            Scales are contrasts, and the tree has none.
        """
        height = self.height(tree)
        self._covering.update(image, tree.parents, height, tables)
        self._borders.update(image, tree.parents, height, labels, truths)
        self._objects.update(image, tree.parents, height, tables)

    def state(self) -> dict[str, Any]:
        """Everything the metric knows, as JSON values."""
        return {name: metric.state() for name, metric in self._metrics.items()}

    def merge_state(self, state: Mapping[str, Any]) -> None:
        """Take over the images of a :meth:`state`.

        Raises
        ------
        DataError
            The state is damaged or has an image that this metric has, too.
        """
        for name, metric in self._metrics.items():
            metric.merge_state(_states(state, self._metrics)[name])

    def compute(self) -> CutScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image.
        """
        return CutScores(self._covering.compute(), self._borders.compute(), self._objects.compute())

    @property
    def _metrics(self) -> dict[str, CoveringMetric | ContourMetric | ObjectsMetric]:
        return {"covering": self._covering, "borders": self._borders, "objects": self._objects}


@dataclass(frozen=True, slots=True)
class BsdsScores:
    """Scores of a data set by the three measures of BSDS500.

    Attributes
    ----------
    images : int
    cuts : dict of str to CutScores
        By how images are cut: "height", "contrast", "regions". There is no "contrast" if a tree has
        none.
    """

    images: int
    cuts: dict[str, CutScores]


class Bsds(ReportMetric):
    """The three measures of BSDS500, with scales of each kind of :data:`CutBy`.

    Its table has a row for each measure and each kind of scales. It is shown only where it is
    named, because the matching of borders takes seconds for an image. Each value of a mask is a
    region that a person drew, so it is for data sets without classes.
    """

    always = False
    title = "Regions (covering), borders (F), and objects and parts (F) that people drew"
    advice = (
        "it is for protocol pixel and data sets without classes: leave 'labels' out of the "
        "description of the data set, so that each value of a mask is a region that a person drew"
    )
    columns = (
        Column("ODS", lambda scores: scores.ods),
        Column("OIS", lambda scores: scores.ois),
        Column("best", lambda scores: getattr(scores, "best", None)),
        Column("AP", lambda scores: getattr(scores, "ap", None)),
        Column("ODS regions", lambda scores: _regions(scores), percent=False),
    )

    def __init__(self, question: Question) -> None:
        self._metrics = {cut: BsdsMetric(cut) for cut in _CUTS}

    @classmethod
    def answers(cls, question: Question) -> bool:
        return question.protocol == "pixel" and question.kind == "covering"

    def update(self, image: str, pair: Pair) -> None:
        for cut, metric in self._metrics.items():
            if cut != "contrast" or pair.tree.meta.get("contrast") is not None:
                metric.update(image, pair.tree, pair.labels, pair.truths, pair.tables)

    def state(self) -> dict[str, Any]:
        return {cut: metric.state() for cut, metric in self._metrics.items()}

    def merge_state(self, state: Mapping[str, Any]) -> None:
        for cut, metric in self._metrics.items():
            metric.merge_state(_states(state, self._metrics)[cut])

    def compute(self) -> BsdsScores:
        images = len(self._metrics["height"])
        # Figures of other images than those of the other rows could not be compared with them.
        whole = {cut: metric for cut, metric in self._metrics.items() if len(metric) == images}
        return BsdsScores(images, {cut: metric.compute() for cut, metric in whole.items()})

    def rows(self, scores: BsdsScores) -> dict[str, CoveringScores | ContourScores | ObjectsScores]:
        return {
            f"{name} by {_SAID[cut]}": getattr(found, name)
            for name in ("covering", "borders", "objects")
            for cut, found in scores.cuts.items()
        }


def _states(state: Mapping[str, Any], names: Mapping[Any, object]) -> Mapping[str, Any]:
    """A state of several metrics; a DataError if it has not one for each name."""
    if not isinstance(state, Mapping) or state.keys() != names.keys():
        raise DataError(f"not a state of this metric: it needs {', '.join(names)}")
    return state


def _regions(scores: CoveringScores | ContourScores | ObjectsScores) -> float:
    """The mean number of regions of the cuts at the scale of ODS."""
    return next(point.regions for point in scores.curve if point.scale == scores.ods_scale)
