"""Categories of a cut against classes: matched one to one, or named by their majority.

All functions are of one table: the pixels of each prototype, or each category, with each class. The
pixels of each class that have no prototype are beside it. They count as wrong. The formulas and
their sources stand in :mod:`regiontree.metrics.categories`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from regiontree.errors import DataError
from regiontree.metrics.contingency import Contingency, contingency

__all__ = [
    "AREA_NAMES",
    "Division",
    "Matching",
    "Naming",
    "category_counts",
    "match_categories",
    "name_categories",
    "names_curve",
    "prototype_table",
]

AREA_NAMES = 100
"""Number of names up to which the area under the names curve is taken."""

Int64 = NDArray[np.int64]
Division = Callable[[int], NDArray[np.integer]]
"""The category of each prototype, (K,), in the cut into a number of categories from 1 to K."""


def prototype_table(
    prototypes: NDArray[np.integer], truth: NDArray[np.integer], n_prototypes: int
) -> Contingency:
    """Count the pixels of each prototype with each mask value; the last row has no prototype.

    Parameters
    ----------
    prototypes : (H, W) integers
        Prototype of each pixel, 0 to K - 1, or -1 for none.
    truth : (H, W) integers
        Mask of the ground truth, of any values.
    n_prototypes
        K.

    Raises
    ------
    DataError
        Shapes differ, a prototype is not in -1 to K - 1, or the mask does not hold classes.

    Examples
    --------
    >>> prototype_table(np.array([[0, 1, -1]]), np.array([[7, 7, 9]]), 2).counts
    array([[1, 0],
           [1, 0],
           [0, 1]])
    """
    prototypes = np.asarray(prototypes)
    if prototypes.size and (prototypes.min() < -1 or prototypes.max() >= n_prototypes):
        raise DataError(
            f"prototypes are -1 to {n_prototypes - 1}, got {prototypes.min()} to "
            f"{prototypes.max()}; the map is of another collection"
        )
    labels = np.where(prototypes < 0, n_prototypes, prototypes)
    return contingency(labels, truth, n_prototypes + 1)


def category_counts(counts: Int64, division: NDArray[np.integer], n: int) -> Int64:
    """Pixels of each category with each class, (n, C), from those of each prototype, (K, C).

    Parameters
    ----------
    counts : (K, C) int64
    division : (K,) integers
        Category of each prototype, 0 to n - 1.
    n
        Number of categories.

    Examples
    --------
    >>> category_counts(np.array([[3, 0], [0, 2], [1, 1]]), np.array([1, 0, 1]), 2)
    array([[0, 2],
           [4, 1]])
    """
    merged = np.zeros((n, counts.shape[1]), dtype=np.int64)
    np.add.at(merged, division, counts)
    return merged


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """One category for each class.

    Attributes
    ----------
    category : (C,) int64
        Category of each class; -1 where there is none.
    accuracy, miou : float
        0 to 1.
    iou : (C,) float64
        NaN for classes that the ground truth does not show.
    """

    category: Int64
    accuracy: float
    miou: float
    iou: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Naming:
    """One class for each category.

    Attributes
    ----------
    name : (n,) int64
        Class of each category, of equals the first; -1 for a category without pixels.
    right, miou : float
        Share of the pixels that are right, and mean IoU; 0 to 1.
    iou : (C,) float64
        NaN for classes that the ground truth does not show.
    """

    name: Int64
    right: float
    miou: float
    iou: NDArray[np.float64]


def match_categories(counts: Int64, missed: Int64) -> Matching:
    """Match categories and classes one to one, so that as many pixels as possible are right.

    Parameters
    ----------
    counts : (n, C) int64
        Pixels of each category with each class; not only zeros.
    missed : (C,) int64
        Pixels of each class without a prototype.

    Examples
    --------
    Category 0 has the most pixels of both classes. Only one of them can have it.

    >>> found = match_categories(np.array([[5, 4], [3, 0]]), np.array([0, 0]))
    >>> found.category, round(found.accuracy, 3)
    (array([1, 0]), 0.583)
    """
    area = counts.sum(axis=0) + missed
    row, column = linear_sum_assignment(counts, maximize=True)
    # Classes that are not shown, and pairs without a common pixel, get no category.
    some = counts[row, column] > 0
    row, column = row[some], column[some]
    category = np.full(counts.shape[1], -1, dtype=np.int64)
    category[column] = row
    hits, size = np.zeros_like(area), np.zeros_like(area)
    hits[column], size[column] = counts[row, column], counts.sum(axis=1)[row]
    iou = _iou(hits, size, area)
    return Matching(category, float(hits.sum() / area.sum()), float(np.nanmean(iou)), iou)


def name_categories(counts: Int64, missed: Int64) -> Naming:
    """Give each category the class that most of its pixels have.

    Parameters
    ----------
    counts, missed
        As for :func:`match_categories`.

    Examples
    --------
    >>> found = name_categories(np.array([[5, 4], [3, 0], [0, 2]]), np.array([0, 2]))
    >>> found.name, found.right    # 10 of 16 pixels
    (array([0, 0, 1]), 0.625)
    """
    area = counts.sum(axis=0) + missed
    name = counts.argmax(axis=1)
    hits, size = np.zeros_like(area), np.zeros_like(area)
    np.add.at(hits, name, counts.max(axis=1))
    np.add.at(size, name, counts.sum(axis=1))
    iou = _iou(hits, size, area)
    name = np.where(counts.any(axis=1), name, -1)
    return Naming(name, float(hits.sum() / area.sum()), float(np.nanmean(iou)), iou)


def _iou(hits: Int64, size: Int64, area: Int64) -> NDArray[np.float64]:
    """IoU of each class from the pixels that are right, predicted and true; NaN if none is true."""
    union = np.where(area > 0, size + area - hits, 1)
    return np.where(area > 0, hits / union, np.nan)


def names_curve(
    counts: Int64, missed: Int64, division: Division, most: int = AREA_NAMES
) -> NDArray[np.float64]:
    """Share of the pixels that are right after 1, 2, ..., `most` names: (most,) float64, 0 to 1.

    Parameters
    ----------
    counts : (K, C) int64
        Pixels of each prototype with each class; not only zeros.
    missed : (C,) int64
        Pixels of each class without a prototype.
    division
        The category of each prototype, (K,), in the cut into a number of categories, 1 to K.
    most
        Last number of names. After K names nothing changes.

    Examples
    --------
    >>> cuts = {1: np.array([0, 0]), 2: np.array([0, 1])}
    >>> names_curve(np.array([[3, 0], [0, 1]]), np.array([0, 0]), cuts.__getitem__, 3)
    array([0.75, 1.  , 1.  ])
    """
    last = min(most, len(counts))
    total = counts.sum() + missed.sum()
    right = [
        category_counts(counts, division(k), k).max(axis=1).sum() / total
        for k in range(1, last + 1)
    ]
    return np.array(right + right[-1:] * (most - last))
