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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regiontree.errors import DataError, SettingsError, check_numbers
from regiontree.metrics.contingency import Contingency, node_counts
from regiontree.metrics.records import Count, Fraction, ImageMetric, Record, State, mean, read_state
from regiontree.tree.cuts import regions_after
from regiontree.tree.kernel import division_order

__all__ = [
    "CoveringMetric",
    "CoveringPoint",
    "CoveringScores",
    "Scale",
    "annotator_counts",
    "checked_scales",
    "cut_members",
]

Scale = Literal["regions", "height"]
"""What a scale is: the largest number of regions of a cut, or the height of a cut."""

_SCALES: dict[Scale, tuple[float, ...]] = {
    "regions": (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 125, 150, 200),
    # Cubes, because most divisions of a tree are at heights of a few thousandths.
    "height": tuple((k / 40) ** 3 for k in range(40, -1, -1)),
}


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


class _Settings(Record):
    scale: Scale
    scales: tuple[float, ...]


class _Image(Record):
    covering: tuple[Fraction, ...]  # at each scale
    regions: tuple[Annotated[int, Field(ge=1)], ...]  # of the cut at each scale
    best: Fraction
    nodes: Count
    leaves: Count


class _State(State):
    metric: Literal["CoveringMetric"]
    settings: _Settings
    images: dict[str, _Image]


class CoveringMetric(ImageMetric[_Image]):
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
    settings: _Settings

    def __init__(self, *, scale: Scale = "regions", scales: Sequence[float] | None = None) -> None:
        super().__init__(_Settings(scale=scale, scales=checked_scales(scale, scales)))

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
        if not tables:
            raise DataError(f"image {image!r} has no annotator")
        area, counts = annotator_counts(image, parents, tables)
        size = node_counts(parents, area[:, None])
        iou = counts / (size + counts[-1] - counts)
        cuts = cut_members(parents, height, self.settings.scale, self.settings.scales)
        self._add(
            image,
            _Image(
                covering=tuple(_covering(iou[cut], counts[-1]) for cut in cuts),
                regions=tuple(int(cut.sum()) for cut in cuts),
                best=_covering(iou, counts[-1]),
                nodes=max(len(parents) - 1, 1),
                leaves=len(area),
            ),
        )

    def compute(self) -> CoveringScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image.
        """
        images = self._in_order()
        if not images:
            raise DataError("no image to compute scores from; update the metric first")
        curve = tuple(
            CoveringPoint(
                scale=scale,
                regions=mean(record.regions[s] for record in images),
                covering=mean(record.covering[s] for record in images),
            )
            for s, scale in enumerate(self.settings.scales)
        )
        ods = max(curve, key=lambda point: point.covering)  # the first, so the coarsest, of equals
        return CoveringScores(
            images=len(images),
            ods=ods.covering,
            ods_scale=ods.scale,
            ois=mean(max(record.covering) for record in images),
            best=mean(record.best for record in images),
            nodes=mean(record.nodes for record in images),
            leaves=mean(record.leaves for record in images),
            curve=curve,
        )

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """A metric as it was when :meth:`state` was called.

        Raises
        ------
        DataError
            The state is damaged or of another metric.
        """
        read = read_state(_State, state)
        try:
            metric = cls(scale=read.settings.scale, scales=read.settings.scales)
        except SettingsError as error:
            raise DataError(f"not a state of this metric: {error}") from error
        metric._take(read.settings, read.images)
        return metric

    def _check_record(self, image: str, record: _Image) -> None:
        if not len(record.covering) == len(record.regions) == len(self.settings.scales):
            raise DataError(
                f"state of image {image!r}: {len(record.covering)} coverings and "
                f"{len(record.regions)} cuts for {len(self.settings.scales)} scales"
            )


def checked_scales(scale: Scale, scales: Sequence[float] | None) -> tuple[float, ...]:
    """The scales given, from coarse to fine, after a check; the default ones if None is given.

    Raises
    ------
    SettingsError
        There is no such kind of scale, or the scales are not numbers from coarse to fine.
    """
    if scale not in get_args(Scale):
        raise SettingsError(f"scale must be {' or '.join(get_args(Scale))}, got {scale!r}")
    least, most = int(scale == "regions"), float(np.finfo(np.float32).max)
    chosen = check_numbers("scales", _SCALES[scale] if scales is None else scales, least, most)
    finer = 1 if scale == "regions" else -1
    if any(finer * (b - a) <= 0 for a, b in pairwise(chosen)):
        order = "ascending" if scale == "regions" else "descending"
        raise SettingsError(f"scales of {scale} must be {order}, got {chosen}")
    return tuple(float(s) for s in chosen)


def annotator_counts(
    image: str, parents: NDArray[np.integer], tables: Sequence[Contingency]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels of each leaf, (L,), and those that nodes share with all annotators' regions, (N, R).

    Raises
    ------
    DataError
        The annotators' masks have different pixels, or a table does not fit the tree.
    """
    area = tables[0].counts.sum(axis=1)
    if any(not np.array_equal(table.counts.sum(axis=1), area) for table in tables):
        raise DataError(f"image {image!r}: the annotators' masks are not of the same pixels")
    try:
        return area, node_counts(parents, np.hstack([table.counts for table in tables]))
    except DataError as error:
        raise DataError(f"image {image!r}: {error}") from error


def cut_members(
    parents: NDArray[np.integer],
    height: NDArray[np.floating],
    scale: Scale,
    scales: Sequence[float],
) -> NDArray[np.bool_]:
    """Nodes of the cut at each of S scales, (S, N) bool.

    Nodes are divided in the order of :func:`regiontree.tree.kernel.division_order`. A node belongs
    to every cut between the division of its parent and its own.
    """
    n = len(parents)
    inner = division_order(parents, height)
    if scale == "regions":
        regions = regions_after(parents, inner)
        divisions = np.asarray(np.searchsorted(regions, scales, side="right"))
    else:
        # A node above the limit is divided. Limits are compared in the precision of heights.
        limits = np.asarray(scales, dtype=np.float32)
        divisions = np.searchsorted(-height[inner].astype(np.float32), -limits, side="left")
    ends = np.full(n, len(inner) + 1)
    ends[inner] = 1 + np.arange(len(inner))  # divided when so many divisions are made
    begins = ends[parents]
    begins[-1] = 0
    members: NDArray[np.bool_] = (begins <= divisions[:, None]) & (divisions[:, None] < ends)
    return members


def _covering(iou: NDArray[np.float64], region: NDArray[np.int64]) -> float:
    """Mean over pixels of the best IoU, from IoUs (nodes, R) and sizes (R,) of human regions.

    The regions of each annotator fill the image, so this is the mean over annotators, too.
    """
    return float((iou.max(axis=0) * region).sum() / region.sum())
