"""Panoptic quality of categories: one segment for each category and photograph.

All pixels of one category in one photograph are a segment, and so are all pixels of one class. This
is how panoptic quality treats "stuff". A segment of a category and a segment of its class are a
true positive (TP) if their intersection over union is above 1/2. Then, for each class,

    PQ = sum of the IoU of the TPs / (TP + FP / 2 + FN / 2)

Ignored pixels count in no segment. A segment of which more than half is ignored is no false
positive (FP). Source: Kirillov, He, Girshick, Rother and Dollar, "Panoptic Segmentation", CVPR
2019.

Which category a class has is known only after the last photograph. So the counts are kept for every
pair of a class and a category of a cut that may be asked for. The cuts are nested. So cuts into 1
to C categories have at most 2 C - 1 different categories, and memory does not grow with the number
of photographs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PanopticCounts"]

Int64 = NDArray[np.int64]


class PanopticCounts:
    """Counts of segments over photographs.

    Parameters
    ----------
    divisions : sequence of (K,) integers
        The category of each prototype, for cuts into 1, 2, 3, ... categories.
    n_classes : int
        Number of classes C.
    """

    def __init__(self, divisions: Sequence[NDArray[np.integer]], n_classes: int) -> None:
        known: dict[bytes, int] = {}
        members: list[NDArray[np.bool_]] = []
        self._nodes: list[Int64] = []  # for each cut, the node of each of its categories
        for n, division in enumerate(divisions, 1):
            nodes = np.empty(n, dtype=np.int64)
            for category in range(n):
                member = np.asarray(division) == category
                key = member.tobytes()
                if key not in known:
                    known[key] = len(members)
                    members.append(member)
                nodes[category] = known[key]
            self._nodes.append(nodes)
        # float64, because NumPy multiplies no integers by BLAS. Counts below 2^53 stay exact.
        self._members = np.array(members, dtype=np.float64)
        shape = (len(members), n_classes)
        self._hits = np.zeros(shape, dtype=np.int64)
        self._ignored_hits = np.zeros(shape, dtype=np.int64)
        self._iou = np.zeros(shape)
        self._shown = np.zeros(len(members), dtype=np.int64)
        self._present = np.zeros(n_classes, dtype=np.int64)

    def update(self, counts: Int64, missed: Int64, ignored: Int64) -> None:
        """Add one photograph.

        Parameters
        ----------
        counts : (K, C) int64
            Pixels of each prototype with each class.
        missed : (C,) int64
            Pixels of each class without a prototype.
        ignored : (K,) int64
            Pixels of each prototype whose ground truth is ignored.
        """
        rows = np.flatnonzero(counts.any(axis=1) | (ignored > 0))
        area = counts.sum(axis=0) + missed
        columns = np.flatnonzero(area)
        self._present[columns] += 1
        members = self._members[:, rows]
        overlap = np.rint(members @ counts[np.ix_(rows, columns)]).astype(np.int64)
        size = overlap.sum(axis=1)
        unseen = np.rint(members @ ignored[rows]).astype(np.int64)
        union = size[:, None] + area[columns] - overlap
        hit = 2 * overlap > union
        mostly_ignored = unseen > size
        self._hits[:, columns] += hit
        self._ignored_hits[:, columns] += hit & mostly_ignored[:, None]
        self._iou[:, columns] += np.where(hit, overlap / union, 0.0)
        self._shown += (size > 0) & ~mostly_ignored

    def quality(self, n: int, category: NDArray[np.integer]) -> NDArray[np.float64]:
        """PQ of each class, (C,), 0 to 1; NaN for classes that no photograph shows.

        Parameters
        ----------
        n
            Number of categories of the cut.
        category : (C,) integers
            The category of each class; -1 for none.
        """
        found = np.full(len(self._present), np.nan)
        for c in np.flatnonzero(self._present).tolist():
            if category[c] < 0:
                found[c] = 0.0
                continue
            node = self._nodes[n - 1][category[c]]
            hits = self._hits[node, c]
            false_positives = self._shown[node] - (hits - self._ignored_hits[node, c])
            misses = self._present[c] - hits
            found[c] = self._iou[node, c] / (hits + false_positives / 2 + misses / 2)
        return found
