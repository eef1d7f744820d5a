"""Categories without labels against classes: a whole data set at once.

A collection gives each pixel a prototype, and each cut of its tree of categories gives each of the
K prototypes a category. All scores come from one table: the pixels of each prototype with each of
the C classes, summed over all photographs. A pixel without a prototype is wrong and never left out.
A pixel whose ground truth is ignored is left out.

**One-to-one matching.** The tree is cut into as many categories as classes are present. Each class
gets one category, and no category two classes, so that as many pixels as possible are right (the
Hungarian method). There is one matching for the data set, not one for each photograph. With N
pixels, TP, FP and FN of each class,

    accuracy = sum of TP / N        IoU = TP / (TP + FP + FN)        mIoU = mean IoU

The means are over the classes that the ground truth shows. A class without a category has IoU 0.
Source: Ji, Henriques and Vedaldi, "Invariant Information Clustering", ICCV 2019; Hamilton et al.,
"Unsupervised Semantic Segmentation by Distilling Feature Correspondences", ICLR 2022.

**Over-clustering.** The tree is cut into n categories, and each has the name of the class that most
of its pixels have. The share of pixels that are right is the purity of the categories (Manning,
Raghavan and Schuetze, "Introduction to Information Retrieval", 2008, section 16.3). Ji et al. call
it over-clustering.

**Names curve.** The share of pixels that are right after k names: a person looks at the k
categories of the cut, and gives each the best name. The cuts are nested, so the share never falls
with k. If there are only K < k prototypes, more names change nothing. The area is the mean over
k = 1 to 100.

**PQ** after the one-to-one matching: :mod:`regiontree.metrics.panoptic`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError, check_number, check_numbers
from regiontree.metrics.classes import ClassTree
from regiontree.metrics.contingency import Contingency
from regiontree.metrics.matching import (
    AREA_NAMES,
    Division,
    Naming,
    category_counts,
    match_categories,
    name_categories,
    names_curve,
)
from regiontree.metrics.panoptic import PanopticCounts

__all__ = ["CategoryMetric", "CategoryScores"]

Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class CategoryScores:
    """Scores of a data set; all scores are fractions, 0 to 1.

    Attributes
    ----------
    images : int
        Photographs that were counted.
    pixels : int
        Their pixels whose ground truth is not ignored.
    without_prototype : float
        Share of these pixels that have no prototype. They are wrong.
    classes, categories : int
        Classes that are present, and categories of the cut that is matched with them: as many, or
        as many as there are prototypes.
    accuracy, miou, pq : float
        After the one-to-one matching.
    iou, quality : dict of str to (float or None)
        IoU and PQ of each class after the one-to-one matching; None for absent classes.
    category : dict of str to (int or None)
        Category of each class; None where there is none.
    frequency : dict of str to float
        Share of the pixels that each class has.
    names : dict of int to float
        Share of the pixels that are right after so many names.
    names_miou : dict of int to float
        Mean IoU after so many names.
    names_iou : dict of int to (dict of str to (float or None))
        IoU of each class after so many names.
    curve : tuple of float
        Share of the pixels that are right after 1, 2, 3, ... names.
    area : float
        Mean of the curve over 1 to :data:`AREA_NAMES` names.
    """

    images: int
    pixels: int
    without_prototype: float
    classes: int
    categories: int
    accuracy: float
    miou: float
    pq: float
    iou: dict[str, float | None]
    quality: dict[str, float | None]
    category: dict[str, int | None]
    frequency: dict[str, float]
    names: dict[int, float]
    names_miou: dict[int, float]
    names_iou: dict[int, dict[str, float | None]]
    curve: tuple[float, ...]
    area: float


class CategoryMetric:
    """Scores of categories over the photographs of a data set.

    Parameters
    ----------
    classes
        The classes of the ground truth at one depth of a label tree. None contains another.
    n_prototypes
        Number of prototypes K.
    division
        The category of each prototype, (K,), 0 to n - 1, in the cut into n categories, for n from 1
        to K. Each cut divides categories of the one before.
    names : sequence of int
        Numbers of names at which the mean IoU is also wanted.
    most
        Last number of names of the curve, at least :data:`AREA_NAMES`.

    Raises
    ------
    DataError
        A class contains another.
    SettingsError
        A number is out of range.

    Examples
    --------
    >>> from regiontree.metrics import prototype_table
    >>> classes = ClassTree(("sky", "sea"), [-1, -1], {1: 0, 2: 1}, frozenset({0}))
    >>> cuts = {1: np.array([0, 0]), 2: np.array([0, 1])}
    >>> metric = CategoryMetric(classes, 2, cuts.__getitem__, names=(1, 2))
    >>> metric.update(prototype_table(np.array([[1, 1, 0, -1]]), np.array([[1, 1, 2, 2]]), 2))
    >>> found = metric.compute()
    >>> found.accuracy, found.iou, found.category
    (0.75, {'sky': 1.0, 'sea': 0.5}, {'sky': 1, 'sea': 0})
    >>> found.names
    {1: 0.5, 2: 0.75}
    """

    def __init__(
        self,
        classes: ClassTree,
        n_prototypes: int,
        division: Division,
        *,
        names: Sequence[int] = (),
        most: int = AREA_NAMES,
    ) -> None:
        if (classes.parents >= 0).any():
            inner = classes.names[int(np.flatnonzero(classes.parents >= 0)[0])]
            raise DataError(
                f"class {inner!r} lies in another class; categories are compared with the classes "
                "at one depth of a label tree"
            )
        self.classes = classes
        self.n_prototypes = check_number("n_prototypes", n_prototypes, 1, 2**24, whole=True)
        asked = check_numbers("names", names, 1, 2**24, whole=True) if len(names) else ()
        self.names = tuple(sorted(set(asked)))
        self.most = check_number("most", most, AREA_NAMES, 2**24, whole=True)
        self._given = division
        self._cuts: list[Int64] = []
        wanted = min(len(classes), self.n_prototypes)
        self._panoptic = PanopticCounts(
            [self._division(n) for n in range(1, wanted + 1)], len(classes)
        )
        self._counts = np.zeros((self.n_prototypes + 1, len(classes)), dtype=np.int64)
        self._images = 0

    def update(self, table: Contingency) -> None:
        """Add one photograph, from its :func:`~regiontree.metrics.matching.prototype_table`.

        Raises
        ------
        DataError
            The mask holds a value that the label tree does not know, or the table has another
            number of prototypes.
        """
        if len(table.counts) != self.n_prototypes + 1:
            raise DataError(
                f"the table has {len(table.counts)} rows, but {self.n_prototypes} prototypes and "
                "none make one more; count with prototype_table"
            )
        found = self.classes.of(table.ids)
        counts = np.zeros_like(self._counts)
        np.add.at(counts.T, found[found >= 0], table.counts[:, found >= 0].T)
        ignored = table.counts[:-1, found < 0].sum(axis=1)
        self._panoptic.update(counts[:-1], counts[-1], ignored)
        self._counts += counts
        self._images += 1

    def compute(self) -> CategoryScores:
        """The scores of all photographs so far.

        Raises
        ------
        DataError
            No pixel has a class; or a cut is wrong: not one category of 0 to n - 1 for each
            prototype, or not within the categories of the cut before.
        """
        counts, missed = self._counts[:-1], self._counts[-1]
        area = self._counts.sum(axis=0)
        pixels = int(area.sum())
        if not pixels:
            raise DataError("no pixel of the ground truth has a class: nothing can be compared")
        present = int((area > 0).sum())
        n = min(present, self.n_prototypes)
        matched = match_categories(category_counts(counts, self._division(n), n), missed)
        quality = self._panoptic.quality(n, matched.category)
        named = {k: self._named(k) for k in self.names}
        curve = names_curve(counts, missed, self._division, self.most)
        names = self.classes.names
        return CategoryScores(
            images=self._images,
            pixels=pixels,
            without_prototype=float(missed.sum() / pixels),
            classes=present,
            categories=n,
            accuracy=matched.accuracy,
            miou=matched.miou,
            pq=float(np.nanmean(quality)),
            iou=self._by_class(matched.iou),
            quality=self._by_class(quality),
            category={
                name: None if k < 0 else k
                for name, k in zip(names, matched.category.tolist(), strict=True)
            },
            frequency=dict(zip(names, (area / pixels).tolist(), strict=True)),
            names={k: one.right for k, one in named.items()},
            names_miou={k: one.miou for k, one in named.items()},
            names_iou={k: self._by_class(one.iou) for k, one in named.items()},
            curve=tuple(curve.tolist()),
            area=float(curve[:AREA_NAMES].mean()),
        )

    def _named(self, k: int) -> Naming:
        n = min(k, self.n_prototypes)
        merged = category_counts(self._counts[:-1], self._division(n), n)
        return name_categories(merged, self._counts[-1])

    def _by_class(self, values: NDArray[np.float64]) -> dict[str, float | None]:
        """The value of each class; None for NaN."""
        known = (None if np.isnan(value) else float(value) for value in values)
        return dict(zip(self.classes.names, known, strict=True))

    def _division(self, n: int) -> Int64:
        """The cut into n categories, checked, and all cuts before it, too."""
        while len(self._cuts) < n:
            self._cuts.append(self._checked(len(self._cuts) + 1))
        return self._cuts[n - 1]

    def _checked(self, n: int) -> Int64:
        given = np.asarray(self._given(n))
        said = f"division({n}) must give each of the {self.n_prototypes} prototypes a category"
        if given.shape != (self.n_prototypes,) or given.dtype.kind not in "iu":
            raise DataError(f"{said}, as whole numbers; got {given.dtype} of shape {given.shape}")
        if given.min() < 0 or given.max() >= n:
            raise DataError(f"{said} from 0 to {n - 1}; got {given.min()} to {given.max()}")
        cut: Int64 = given.astype(np.int64)
        if n > 1 and len(np.unique(cut * n + self._cuts[-1])) > len(np.unique(cut)):
            raise DataError(
                f"division({n}) has a category that lies in several of division({n - 1}); each cut "
                "must divide the categories of the one before"
            )
        return cut
