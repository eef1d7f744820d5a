"""Segmentation covering of BSDS500: how well cuts of a tree cover what people drew.

A human segmentation S of an image of n pixels is covered by a set T of regions to the degree

    C(S, T) = 1/n sum over R in S of  |R| max over r in T of  IoU(R, r)

So each human region has the IoU of its best region, weighted by its pixels. An image has several
annotators. Its covering is the mean over them.

Arbelaez, Maire, Fowlkes and Malik, "Contour Detection and Hierarchical Image Segmentation", PAMI
2011, use three figures. For ODS, all images are cut at the one scale that is best for the data set.
For OIS, each image is cut at its own best scale. For "best", each human region is compared with all
nodes of the tree.

Here all images weigh the same. In the published benchmark an image weighs as much as it has
annotators.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from regiontree.metrics.contingency import Contingency, node_counts
from regiontree.metrics.records import Fraction, State, check_lengths, mean
from regiontree.metrics.scales import (
    CutImage,
    CutMetric,
    CutSettings,
    Scale,
    annotator_counts,
    checked_scales,
)

__all__ = ["CoveringMetric", "CoveringPoint", "CoveringScores"]


@dataclass(frozen=True, slots=True)
class CoveringPoint:
    """Mean over images at one scale.

    Attributes
    ----------
    scale : float
        Most regions of a cut, or the height it is made at.
    regions : float
        Mean number of regions of the cuts.
    covering : float
        Mean covering, 0 to 1.
    """

    scale: float
    regions: float
    covering: float


@dataclass(frozen=True, slots=True)
class CoveringScores:
    """Segmentation covering of a data set, 0 to 1.

    Attributes
    ----------
    images : int
        Images that were scored.
    ods, ods_scale : float
        Covering at the one scale that is best for the data set, and that scale. Of equally good
        scales it is the coarsest.
    ois : float
        Covering with each image at its own best scale.
    best : float
        Covering by the best node of the whole tree for each human region, the root included.
    nodes, leaves : float
        Mean size of the trees: nodes but the root, and leaves.
    curve : tuple of CoveringPoint
        From coarse to fine.
    """

    images: int
    ods: float
    ods_scale: float
    ois: float
    best: float
    nodes: float
    leaves: float
    curve: tuple[CoveringPoint, ...]


class _Image(CutImage):
    covering: tuple[Fraction, ...]  # at each scale
    best: Fraction


class _State(State):
    metric: Literal["CoveringMetric"]
    settings: CutSettings
    images: dict[str, _Image]


class CoveringMetric(CutMetric[_Image]):
    """Segmentation covering over a data set.

    Parameters
    ----------
    scale
        "regions": a scale is the largest number of regions of a cut. "height": it is the height of
        a cut. The cuts are those of :meth:`RegionTree.cut <regiontree.tree.RegionTree.cut>`.
    scales
        From coarse to fine: ascending numbers of regions, or descending heights. By default 1 to
        200 regions; heights 1 to 0, closer to each other near 0.

    Raises
    ------
    SettingsError
        A setting is out of range.

    Examples
    --------
    One person divided the image into halves, another did not divide it. The tree first divides off
    the last column, then divides the rest.

    >>> from regiontree.metrics import contingency
    >>> labels, parents = np.array([[0, 0, 1, 2]]), np.array([3, 3, 4, 4, 4])
    >>> people = [np.array([[1, 1, 2, 2]]), np.array([[1, 1, 1, 1]])]
    >>> metric = CoveringMetric(scales=(1, 2, 3))
    >>> metric.update("a", parents, np.array([0, 0, 0, .5, 1]),
    ...               [contingency(labels, person, 3) for person in people])
    >>> scores = metric.compute()
    >>> [round(point.covering, 3) for point in scores.curve]    # 1 region: (1/2 + 1) / 2
    [0.75, 0.667, 0.625]
    >>> scores.ods, scores.ods_scale, scores.best    # best: (1/2 (1 + 1/2) + 1) / 2
    (0.75, 1.0, 0.875)
    """

    _form = _State

    def __init__(self, *, scale: Scale = "regions", scales: Sequence[float] | None = None) -> None:
        super().__init__(CutSettings(scale=scale, scales=checked_scales(scale, scales)))

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
        size = node_counts(parents, area[:, None])
        iou = counts / (size + counts[-1] - counts)
        cuts = self._cuts(parents, height)
        self._add(
            image,
            _Image(
                covering=tuple(_covering(iou[cut], counts[-1]) for cut in cuts),
                best=_covering(iou, counts[-1]),
                **self._size(cuts, len(area)),
            ),
        )

    def compute(self) -> CoveringScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image.
        """
        images, curve, common = self._summary(CoveringPoint)
        return CoveringScores(best=mean(record.best for record in images), curve=curve, **common)

    @staticmethod
    def _figures(chosen: Iterable[tuple[_Image, int]]) -> tuple[float]:
        """The mean covering."""
        return (mean(record.covering[s] for record, s in chosen),)

    def _check_record(self, image: str, record: _Image) -> None:
        check_lengths(image, record, ("covering", "regions"), len(self.settings.scales), "scales")


def _covering(iou: NDArray[np.float64], region: NDArray[np.int64]) -> float:
    """Mean over pixels of the best IoU, from IoUs (nodes, R) and sizes (R,) of human regions.

    The regions of each annotator fill the image, so this is the mean over annotators, too.
    """
    return float((iou.max(axis=0) * region).sum() / region.sum())
