"""What the three measures of BSDS500 share: cuts of a tree at several scales, and figures of them.

A scale is a height, or a largest number of regions. Each image has one cut at each scale. Arbelaez,
Maire, Fowlkes and Malik, "Contour Detection and Hierarchical Image Segmentation", PAMI 2011, choose
among the scales in two ways. For ODS, all images are cut at the one scale that is best for the data
set. For OIS, each image is cut at its own best scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from regiontree.errors import DataError, SettingsError, check_numbers
from regiontree.metrics.contingency import Contingency, node_counts
from regiontree.metrics.records import Count, ImageMetric, Record, mean, read_state
from regiontree.tree.cuts import regions_after
from regiontree.tree.kernel import division_order

__all__ = [
    "CutImage",
    "CutMetric",
    "CutSettings",
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
        There is no annotator, the annotators' masks have different pixels, or a table does not fit
        the tree.
    """
    if not tables:
        raise DataError(f"image {image!r} has no annotator; give at least one table")
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


# -- a data set -----------------------------------------------------------------------------------


class CutSettings(Record):
    """Settings of a metric at several scales."""

    scale: Scale
    scales: tuple[float, ...]


class CutImage(Record):
    """Record of one image: the regions of its cut at each scale, and the size of its tree."""

    regions: tuple[Annotated[int, Field(ge=1)], ...]
    nodes: Count
    leaves: Count


I = TypeVar("I", bound=CutImage)  # noqa: E741
P = TypeVar("P")


class CutMetric(ImageMetric[I], Generic[I]):
    """Base of the measures of BSDS500: a record for each image, with a value for each scale.

    A subclass has an ``update``, which calls ``_cuts`` and ``_size``; the figures of chosen
    cuts, ``_figures``; and a ``compute``, which calls ``_summary``.
    """

    settings: CutSettings

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """A metric as it was when :meth:`state` was called.

        Raises
        ------
        DataError
            The state is damaged or of another metric.
        """
        read = read_state(cls._form, state)
        try:
            metric = cls(**read.settings.model_dump())
        except SettingsError as error:
            raise DataError(f"not a state of this metric: {error}") from error
        metric._take(read.settings, read.images)
        return metric

    @staticmethod
    def _figures(chosen: Iterable[tuple[I, int]]) -> tuple[float, ...]:
        """The figures of a data set, each image with a scale; the last one says what is best."""
        raise NotImplementedError

    def _cuts(
        self, parents: NDArray[np.integer], height: NDArray[np.floating]
    ) -> NDArray[np.bool_]:
        """Nodes of the cut at each scale, (S, N) bool."""
        return cut_members(parents, height, self.settings.scale, self.settings.scales)

    @staticmethod
    def _size(cuts: NDArray[np.bool_], leaves: int) -> dict[str, Any]:
        """What each record holds: see :class:`CutImage`."""
        regions = tuple(cuts.sum(axis=1).tolist())
        return {"regions": regions, "nodes": max(cuts.shape[1] - 1, 1), "leaves": leaves}

    def _summary(self, point: Callable[..., P]) -> tuple[list[I], tuple[P, ...], dict[str, Any]]:
        """All images, the curve, and the scores that all measures have, by name.

        `point` makes a point of the curve from a scale, the mean number of regions and the figures.

        Raises
        ------
        DataError
            There is no image.
        """
        images = self._in_order()
        if not images:
            raise DataError("no image to compute scores from; update the metric first")
        scales = self.settings.scales
        each = [self._figures((record, s) for record in images) for s in range(len(scales))]
        curve = tuple(
            point(scale, mean(record.regions[s] for record in images), *each[s])
            for s, scale in enumerate(scales)
        )
        ods = _best(each)
        return images, curve, {
            "images": len(images),
            "ods": each[ods][-1],
            "ods_scale": scales[ods],
            "ois": self._figures([(record, self._own_scale(record)) for record in images])[-1],
            "nodes": mean(record.nodes for record in images),
            "leaves": mean(record.leaves for record in images),
        }  # fmt: skip

    def _own_scale(self, record: I) -> int:
        """The number of the best scale of one image."""
        return _best([self._figures([(record, s)]) for s in range(len(self.settings.scales))])


def _best(figures: Sequence[tuple[float, ...]]) -> int:
    """The number of the best scale: the first, so the coarsest, of equals."""
    last = [each[-1] for each in figures]
    return last.index(max(last))
