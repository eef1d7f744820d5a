"""Boundary F: how closely the borders of a cut follow the borders of the ground truth.

A border is the set of pixels that differ from the next pixel to the right or below. Precision is
the share of the cut's border pixels that lie within a distance of a border pixel of the truth.
Recall is the share of the truth's border pixels that lie within that distance of the cut's.
Boundary F is their harmonic mean, as in Martin, Fowlkes and Malik, "Learning to Detect Natural
Image Boundaries Using Local Brightness, Color, and Texture Cues", PAMI 2004. That paper matches
border pixels one to one. Here any number of pixels may lie near the same pixel, which needs only a
distance transform of each side.

Ignored pixels are usually margins around objects. They take the nearest region, so that the border
of an object runs in the middle of its margin. Borders deep inside an ignored area are left out on
both sides, because the truth says nothing there.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from regiontree.errors import DataError, SettingsError, check_number, check_numbers
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.records import (
    Count,
    Fraction,
    ImageMetric,
    Record,
    State,
    check_lengths,
    mean,
    read_state,
)
from regiontree.tree import RegionTree

__all__ = [
    "BoundaryMetric",
    "BoundaryPoint",
    "BoundaryScores",
    "TrueBorders",
    "boundary_scores",
    "checked_leaves",
    "region_borders",
    "true_borders",
]

MARGIN = 6.0  # pixels; ignored margins of common data sets are at most twice as wide


# -- one partition of one image -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TrueBorders:
    """The borders of a ground truth, ready to be compared with any number of partitions.

    Attributes
    ----------
    border : (H, W) bool
        Border pixels that count.
    counted : (H, W) bool
        Pixels where borders count: all pixels except those deep inside ignored areas.
    distance : (H, W) float64
        Distance in pixels to the nearest border pixel; infinite if there is no border.
    regions : int
        Number of different values in the truth, without ignored pixels.
    """

    border: NDArray[np.bool_]
    counted: NDArray[np.bool_]
    distance: NDArray[np.float64]
    regions: int


def region_borders(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The border of a label map, (H, W) bool: pixels unlike the next to the right or below.

    Parameters
    ----------
    labels : (H, W) integers
        Region of each pixel.

    Examples
    --------
    >>> region_borders(np.array([[1, 1, 2], [1, 1, 2], [3, 3, 3]])).astype(int)
    array([[0, 1, 0],
           [1, 1, 1],
           [0, 0, 0]])
    """
    border = np.zeros(labels.shape, dtype=np.bool_)
    border[:, :-1] = labels[:, 1:] != labels[:, :-1]
    border[:-1] |= labels[1:] != labels[:-1]
    return border


def true_borders(truth: NDArray[np.integer], *, margin: float = MARGIN) -> TrueBorders:
    """The borders of a ground truth.

    Parameters
    ----------
    truth : (H, W) integers
        Region of each pixel. A negative value means that the pixel is ignored.
    margin
        Distance in pixels. Borders further than this inside an ignored area are left out.

    Raises
    ------
    DataError
        The truth is not (H, W) integers, or every pixel is ignored.
    """
    truth = np.asarray(truth)
    if truth.ndim != 2 or truth.dtype.kind not in "iu" or not truth.size:
        raise DataError(f"truth must be (H, W) integers, got {truth.dtype} of shape {truth.shape}")
    ignored = truth < 0
    if ignored.all():
        raise DataError("truth has only ignored pixels; leave this image out")
    filled, counted = truth, np.ones(truth.shape, dtype=np.bool_)
    if ignored.any():
        inside, nearest = distance_transform_edt(ignored, return_indices=True)
        filled, counted = truth[tuple(nearest)], inside <= margin
    border = region_borders(filled) & counted
    return TrueBorders(border, counted, _distance(border), len(np.unique(filled)))


def boundary_scores(
    regions: NDArray[np.integer],
    truth: TrueBorders | NDArray[np.integer],
    *,
    distances: Sequence[float] = (2,),
) -> NDArray[np.float64]:
    """Precision, recall and boundary F of a partition at each of D distances, (D, 3), 0 to 1.

    If neither the partition nor the truth has a border, the three scores are 1. If only one of them
    has a border, the scores are 0.

    Parameters
    ----------
    regions : (H, W) integers
        The partition.
    truth
        The borders of the truth, or the truth itself, (H, W) integers, for :func:`true_borders`.
    distances
        Largest distances in pixels between border pixels that match.

    Raises
    ------
    DataError
        The partition and the truth differ in size.

    Examples
    --------
    The truth is divided after column 1. The partition is divided there, too, and after column 4.

    >>> truth = np.array([[7, 7, 9, 9, 9, 9]])
    >>> boundary_scores(np.array([[0, 0, 1, 1, 1, 2]]), truth, distances=(2, 3)).round(3)
    array([[0.5  , 1.   , 0.667],
           [1.   , 1.   , 1.   ]])
    """
    known = truth if isinstance(truth, TrueBorders) else true_borders(truth)
    regions = np.asarray(regions)
    if regions.shape != known.border.shape:
        raise DataError(
            f"the partition has shape {regions.shape} and the truth {known.border.shape}; resize "
            "one of them to the size of the other, by nearest neighbour"
        )
    border = region_borders(regions) & known.counted
    if not border.any() or not known.border.any():
        return np.full((len(distances), 3), float(border.any() == known.border.any()))
    distance = _distance(border)
    scores = np.empty((len(distances), 3))
    for row, most in zip(scores, distances, strict=True):
        precision = float((known.distance[border] <= most).mean())
        recall = float((distance[known.border] <= most).mean())
        row[:] = precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)
    return scores


def checked_leaves(image: str, parents: NDArray[np.integer], labels: NDArray[np.integer]) -> int:
    """The number of leaves of a tree, after a check that `labels` are leaves.

    Raises
    ------
    DataError
        A label is no leaf of the tree.
    """
    n_leaves = 1 if len(parents) == 1 else int(np.min(parents))
    if labels.min() < 0 or labels.max() >= n_leaves:
        raise DataError(
            f"image {image!r}: labels must be leaves, 0 to {n_leaves - 1}, got {labels.min()} "
            f"to {labels.max()}"
        )
    return n_leaves


def _distance(border: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance in pixels to the nearest border pixel, (H, W); infinite without a border."""
    if not border.any():
        return np.full(border.shape, np.inf)
    distance: NDArray[np.float64] = distance_transform_edt(~border)
    return distance


# -- a data set -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BoundaryPoint:
    """Means over images at one distance, 0 to 1.

    Attributes
    ----------
    distance : float
        In pixels.
    precision, recall, f : float
        Scores of the cut into as many regions as the truth has.
    best : float
        Boundary F of the best of several cuts, chosen for each image.
    """

    distance: float
    precision: float
    recall: float
    f: float
    best: float


@dataclass(frozen=True, slots=True)
class BoundaryScores:
    """Boundary F of a data set.

    Attributes
    ----------
    images : int
        Images that were scored.
    without_regions : int
        Images left out because every pixel of their truth is ignored.
    nodes, leaves : float
        Mean number of nodes without the root, and mean number of leaves.
    points : tuple of BoundaryPoint
        One for each distance.
    """

    images: int
    without_regions: int
    nodes: float
    leaves: float
    points: tuple[BoundaryPoint, ...]


class _Settings(Record):
    distances: tuple[float, ...]
    cuts: tuple[int, ...]
    margin: float
    classes: str | None  # digest


class _Image(Record):
    """One image: each tuple has one entry for each distance."""

    precision: tuple[Fraction, ...]
    recall: tuple[Fraction, ...]
    f: tuple[Fraction, ...]
    best: tuple[Fraction, ...]
    nodes: Count
    leaves: Count


class _State(State):
    metric: Literal["BoundaryMetric"]
    settings: _Settings
    images: dict[str, _Image | None]


class BoundaryMetric(ImageMetric[_Image | None]):
    """Boundary F of trees over a data set.

    The tree is cut into as many regions as the truth has, but at least 2. So the score measures the
    borders, and not how well the number of regions was guessed.

    Parameters
    ----------
    classes
        Classes of the mask values. If None, each value of a mask is a region, as in BSDS.
    distances
        Distances in pixels, ascending.
    cuts
        Numbers of regions, ascending. For each image, the best of these cuts counts.
    margin
        As in :func:`true_borders`.

    Raises
    ------
    SettingsError
        A setting is out of range, or numbers are not ascending.

    Examples
    --------
    The tree divides off the last column first; then it divides where the truth does.

    >>> labels, parents = np.array([[0, 0, 1, 1, 1, 2]]), np.array([3, 3, 4, 4, 4])
    >>> metric = BoundaryMetric(distances=(2,), cuts=(2, 3))
    >>> metric.update("a", parents, np.array([0, 0, 0, .5, 1]), labels,
    ...               [np.array([[7, 7, 9, 9, 9, 9]])])
    >>> point, = metric.compute().points
    >>> point.f, round(point.best, 3)    # 2 regions: the wrong border; 3 regions: one border of two
    (0.0, 0.667)
    """

    _form = _State
    settings: _Settings

    def __init__(
        self,
        classes: ClassTree | None = None,
        *,
        distances: Sequence[float] = (2, 5),
        cuts: Sequence[int] = (3, 6, 10, 16, 30, 60),
        margin: float = MARGIN,
    ) -> None:
        distances = check_numbers("distances", distances, 0, 2**31)
        cuts = check_numbers("cuts", cuts, 1, 2**31, whole=True)
        margin = check_number("margin", margin, 0, 2**31)
        for name, values in (("distances", distances), ("cuts", cuts)):
            if any(a >= b for a, b in pairwise(values)):
                raise SettingsError(f"{name} must be ascending numbers, got {values}")
        self.classes = classes
        super().__init__(
            _Settings(
                distances=tuple(float(d) for d in distances),
                cuts=tuple(cuts),
                margin=float(margin),
                classes=None if classes is None else _digest(classes),
            )
        )

    def update(
        self,
        image: str,
        parents: NDArray[np.integer],
        height: NDArray[np.floating],
        labels: NDArray[np.integer],
        truths: Sequence[NDArray[np.integer]],
    ) -> None:
        """Score the tree of one image.

        Parameters
        ----------
        image
            Identifier of the image.
        parents, height : (N,)
            As in :class:`~regiontree.tree.RegionTree`.
        labels : (H, W) integers
            Leaf of each pixel. A leaf may have no pixels, for example on the patch grid.
        truths
            Masks (H, W), one for each annotator. The scores are means over annotators.

        Raises
        ------
        DataError
            The image was scored before, has no annotator, or a mask does not fit `labels`.
        """
        if not truths:
            raise DataError(f"image {image!r} has no annotator; give at least one mask")
        labels = np.asarray(labels)
        n_leaves = checked_leaves(image, parents, labels)
        # A tree over one pixel for each leaf has the same cuts as the whole tree.
        tree = RegionTree(
            labels=np.arange(n_leaves, dtype=np.int32)[None],
            parents=np.asarray(parents, dtype=np.int32),
            height=np.asarray(height, dtype=np.float32),
        )
        found = []
        for truth in truths:
            regions = self._regions(truth)
            if (regions < 0).all():
                continue
            try:
                borders = true_borders(regions, margin=self.settings.margin)
                asked, *others = (
                    boundary_scores(
                        tree.cut(n_regions=count)[0][labels],
                        borders,
                        distances=self.settings.distances,
                    )
                    for count in (max(2, borders.regions), *self.settings.cuts)
                )
            except DataError as error:
                raise DataError(f"image {image!r}: {error}") from error
            found.append([*asked.T, np.max([scores[:, 2] for scores in others], axis=0)])
        if not found:
            self._add(image, None)
            return
        precision, recall, f, best = (
            tuple(mean(values) for values in zip(*rows, strict=True))
            for rows in zip(*found, strict=True)
        )
        self._add(
            image,
            _Image(
                precision=precision,
                recall=recall,
                f=f,
                best=best,
                nodes=max(len(parents) - 1, 1),
                leaves=n_leaves,
            ),
        )

    def compute(self) -> BoundaryScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            No image was scored, or every pixel of every image is ignored.
        """
        images = [record for record in self._in_order() if record is not None]
        if not images:
            raise DataError(
                f"no image to compute scores from: {len(self)} scored, {len(self)} of them with "
                "ignored pixels only"
            )
        return BoundaryScores(
            images=len(images),
            without_regions=len(self) - len(images),
            nodes=mean(record.nodes for record in images),
            leaves=mean(record.leaves for record in images),
            points=tuple(
                BoundaryPoint(
                    distance=distance,
                    precision=mean(record.precision[d] for record in images),
                    recall=mean(record.recall[d] for record in images),
                    f=mean(record.f[d] for record in images),
                    best=mean(record.best[d] for record in images),
                )
                for d, distance in enumerate(self.settings.distances)
            ),
        )

    @classmethod
    def from_state(cls, classes: ClassTree | None, state: Mapping[str, Any]) -> Self:
        """The metric whose :meth:`state` was saved.

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
                distances=settings.distances,
                cuts=settings.cuts,
                margin=settings.margin,
            )
        except SettingsError as error:
            raise DataError(f"not a state of this metric: {error}") from error
        metric._take(settings, read.images)
        return metric

    def _regions(self, truth: NDArray[np.integer]) -> NDArray[np.integer]:
        """Class of each pixel, -1 if it is ignored. Without classes, the mask itself."""
        truth = np.asarray(truth)
        if self.classes is None:
            return truth
        ids, at = np.unique(truth, return_inverse=True)
        return self.classes.of(ids)[at].reshape(truth.shape)

    def _check_record(self, image: str, record: _Image | None) -> None:
        if record is None:
            return
        names = ("precision", "recall", "f", "best")
        check_lengths(image, record, names, len(self.settings.distances), "distances")


def _digest(classes: ClassTree) -> str:
    """SHA-256 of the class of each mask value and of the ignored values."""
    ids = sorted((int(i), int(c)) for i, c in classes.class_of_id.items())
    content = json.dumps([ids, sorted(int(i) for i in classes.ignored)])
    return hashlib.sha256(content.encode()).hexdigest()
