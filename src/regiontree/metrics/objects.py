"""F for objects and parts: how many regions are objects of the truth, parts of them, or whole ones.

A region R of a cut and a region G of an annotator share pixels. Let p be the part of R that lies in
G, and r the part of G that lies in R.

- Both are *objects* if p >= .9 and r >= .9: they are the same region.
- R is a *part* of G if p >= .9 and .25 <= r < .9. A part of any annotator's region is one, if it is
  not an object of another annotator.
- G is a *part* of R if r >= .9 and .25 <= p < .9.
- A region that is neither counts by how much of it the other side has divided. For G this is the
  sum of r over all R with p >= .9 and r < .9. For R it is the sum of p over all G with r >= .9 and
  p < .9, as a mean over annotators.

Small regions are not counted. In order of size, those regions are *candidates* before which the
larger ones fill less than 99 % of the image. Precision is

    (objects + .1 parts + divided shares of the other candidates) / candidates

over the regions of the cut. Recall is the same over the regions of all annotators. F is
2 precision recall / (precision + recall).

For a data set, precision and recall are means over images. For ODS, all images are cut at the one
scale whose means give the best F. For OIS, each image is cut at the scale of its own best F, before
the means are taken.

Reference: Pont-Tuset and Marques, "Measures and Meta-Measures for the Supervised Evaluation of
Image Segmentation", CVPR 2013, and "Supervised Evaluation of Image Segmentation and Object Proposal
Techniques", PAMI 2016. The thresholds, candidates and means are those of the authors' program, so
that scores can be compared with its figures. A stricter threshold for objects, such as .95, gives
much lower scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import check_number
from regiontree.metrics.contingency import Contingency
from regiontree.metrics.records import Fraction, State, check_lengths, mean
from regiontree.metrics.scales import (
    CutImage,
    CutMetric,
    CutSettings,
    Scale,
    annotator_counts,
    checked_scales,
)

__all__ = ["ObjectsMetric", "ObjectsPoint", "ObjectsScores", "object_scores"]

OBJECT, PART, WEIGHT = 0.9, 0.25, 0.1  # gamma_o, gamma_p and beta of the paper
_PERCENT = 99  # of the image, that larger regions must leave to a candidate

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


def object_scores(
    overlaps: Sequence[NDArray[np.integer]],
    *,
    object_share: float = OBJECT,
    part_share: float = PART,
    part_weight: float = WEIGHT,
) -> tuple[float, float]:
    """Precision and recall for objects and parts of one partition, 0 to 1.

    Parameters
    ----------
    overlaps
        For each annotator, the pixels that each of R regions shares with each of the annotator's
        regions, (R, K) integers. Every pixel is in one region of each side.
    object_share, part_share
        Least shares of an object and of a part.
    part_weight
        What a part counts.

    Examples
    --------
    One annotator has two regions of 50 pixels. The partition has the first, and divides the second
    into 40 pixels and 10. The 40 are a part, and the 10 are too small for one. The second region is
    divided wholly.

    >>> precision, recall = object_scores([np.array([[50, 0], [0, 40], [0, 10]])])
    >>> round(precision, 3), recall    # (1 + .1) / 3, (1 + 1) / 2
    (0.367, 1.0)
    """
    counts = [np.asarray(table, dtype=np.int64) for table in overlaps]
    area = counts[0].sum(axis=1)
    counted = _candidates(area)
    is_object, is_part, divided = np.zeros((3, len(area)))
    found, candidates = 0.0, 0
    for table in counts:
        own = table.sum(axis=0)
        theirs = _candidates(own)
        inside, holds = table / np.maximum(area, 1)[:, None], table / np.maximum(own, 1)
        both = counted[:, None] & theirs
        same = both & (inside >= object_share) & (holds >= object_share)
        part = both & (inside >= object_share) & (holds >= part_share) & ~same
        whole = both & (holds >= object_share) & (inside >= part_share) & ~same
        within = np.where((inside >= object_share) & (holds < object_share), holds, 0).sum(axis=0)
        is_object, is_part = is_object + same.any(axis=1), is_part + part.any(axis=1)
        divided += np.where((holds >= object_share) & (inside < object_share), inside, 0).sum(
            axis=1
        )
        found += _sum(same.any(axis=0), whole.any(axis=0), within, theirs, part_weight)
        candidates += int(theirs.sum())
    right = _sum(is_object > 0, is_part > 0, divided / len(counts), counted, part_weight)
    return min(right / int(counted.sum()), 1.0), min(found / candidates, 1.0)


def _candidates(area: Ints) -> Bools:
    """Whether the larger regions leave enough of the image to each region, (R,) bool."""
    order = np.argsort(-area, kind="stable")
    larger = np.cumsum(area[order]) - area[order]
    found = np.zeros(len(area), dtype=np.bool_)
    found[order] = 100 * larger < _PERCENT * area.sum()
    return found


def _sum(same: Bools, part: Bools, divided: Floats, counted: Bools, weight: float) -> float:
    """What the regions of one side count together."""
    rest = counted & ~same & ~part
    return float(same.sum() + weight * (part & ~same).sum() + divided[rest].sum())


# -- a data set -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ObjectsPoint:
    """Means over images at one scale.

    Attributes
    ----------
    scale : float
        Height of the cuts, or their most regions.
    regions : float
        Mean number of regions of the cuts.
    precision, recall : float
        Means, 0 to 1.
    f : float
        F of the two means.
    """

    scale: float
    regions: float
    precision: float
    recall: float
    f: float


@dataclass(frozen=True, slots=True)
class ObjectsScores:
    """F for objects and parts of a data set, 0 to 1.

    Attributes
    ----------
    images : int
        Images that were scored.
    ods, ods_scale : float
        F at the one scale that is best for the data set, and that scale. Of equally good scales it
        is the coarsest.
    ois : float
        F with each image at its own best scale.
    nodes, leaves : float
        Mean size of the trees: nodes but the root, and leaves.
    curve : tuple of ObjectsPoint
        From coarse to fine.
    """

    images: int
    ods: float
    ods_scale: float
    ois: float
    nodes: float
    leaves: float
    curve: tuple[ObjectsPoint, ...]


class _Settings(CutSettings):
    object_share: float
    part_share: float
    part_weight: float


class _Image(CutImage):
    precision: tuple[Fraction, ...]  # at each scale
    recall: tuple[Fraction, ...]


class _State(State):
    metric: Literal["ObjectsMetric"]
    settings: _Settings
    images: dict[str, _Image]


class ObjectsMetric(CutMetric[_Image]):
    """F for objects and parts over a data set.

    Parameters
    ----------
    scale, scales
        As in :class:`~regiontree.metrics.CoveringMetric`, but heights by default.
    object_share, part_share, part_weight
        As in :func:`object_scores`. A part has the smaller share.

    Raises
    ------
    SettingsError
        A setting is out of range.

    Examples
    --------
    The tree first divides off the last pixel, which is an object. Then it divides the other object,
    so that both leaves are parts.

    >>> from regiontree.metrics import contingency
    >>> labels, parents = np.array([[0, 0, 1, 1, 2]]), np.array([3, 3, 4, 4, 4])
    >>> metric = ObjectsMetric(scale="regions", scales=(2, 3))
    >>> metric.update("a", parents, np.array([0, 0, 0, .5, 1]),
    ...               [contingency(labels, np.array([[1, 1, 1, 1, 2]]), 3)])
    >>> [(round(point.precision, 3), point.recall) for point in metric.compute().curve]
    [(1.0, 1.0), (0.4, 1.0)]
    """

    _form = _State
    settings: _Settings

    def __init__(
        self,
        *,
        scale: Scale = "height",
        scales: Sequence[float] | None = None,
        object_share: float = OBJECT,
        part_share: float = PART,
        part_weight: float = WEIGHT,
    ) -> None:
        # Two regions that each hold more than half of a third would overlap, so an object is one.
        whole = check_number("object_share", object_share, 0.5 + 1e-9, 1)
        super().__init__(
            _Settings(
                scale=scale,
                scales=checked_scales(scale, scales),
                object_share=float(whole),
                part_share=float(check_number("part_share", part_share, 0, whole)),
                part_weight=float(check_number("part_weight", part_weight, 0, 1)),
            )
        )

    def update(
        self,
        image: str,
        parents: NDArray[np.integer],
        height: NDArray[np.floating],
        tables: Sequence[Contingency],
    ) -> None:
        """Score the tree of one image.

        Parameters
        ----------
        image
            Its id.
        parents, height : (N,)
            As in :class:`~regiontree.tree.RegionTree`.
        tables
            One for each annotator; every value of a mask is a region.

        Raises
        ------
        DataError
            The image was scored before, has no annotator, or a table does not fit the tree.
        """
        area, counts = annotator_counts(image, parents, tables)
        ends = np.cumsum([0, *(len(table.ids) for table in tables)])
        chosen = self.settings.model_dump(include={"object_share", "part_share", "part_weight"})
        cuts = self._cuts(parents, height)
        precision, recall = zip(
            *(
                object_scores([counts[cut, a:b] for a, b in pairwise(ends.tolist())], **chosen)
                for cut in cuts
            ),
            strict=True,
        )
        self._add(
            image,
            _Image(precision=precision, recall=recall, **self._size(cuts, len(area))),
        )

    def compute(self) -> ObjectsScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image.
        """
        _, curve, common = self._summary(ObjectsPoint)
        return ObjectsScores(curve=curve, **common)

    @staticmethod
    def _figures(chosen: Iterable[tuple[_Image, int]]) -> tuple[float, float, float]:
        """Mean precision, mean recall, and their F."""
        pairs = list(chosen)
        precision = mean(record.precision[s] for record, s in pairs)
        recall = mean(record.recall[s] for record, s in pairs)
        both = precision + recall
        return precision, recall, 2 * precision * recall / both if both else 0.0

    def _check_record(self, image: str, record: _Image) -> None:
        names = ("precision", "recall", "regions")
        check_lengths(image, record, names, len(self.settings.scales), "scales")
