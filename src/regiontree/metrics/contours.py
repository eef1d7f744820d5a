"""Boundary F-measure of BSDS500: how well the borders of cuts match the borders that people drew.

Borders are thinned to one pixel. Border pixels of a cut are matched one to one with those of each
annotator. Two pixels can match if they are at most .0075 of the image's diagonal apart. Precision
is the share of the cut's border pixels that match a border pixel of any annotator. Recall is the
share of the annotators' border pixels that are matched, where all annotators count. F is
2 precision recall / (precision + recall).

All counts are summed over images. For ODS, all images are cut at the one scale whose sums give the
best F. For OIS, each image is cut at the scale that is best for it, and these counts are summed.
Average precision (AP) is the area below the curve of precision over recall: precision is
interpolated linearly at recalls of 0, .01, ..., 1. Recalls that no scale reaches count as 0.

The matching has as many pairs as possible, and of all such matchings the smallest sum of distances.
It is the exact solution (scipy's ``min_weight_full_bipartite_matching``, with one outlier for each
pixel of the smaller side). The published program solves the same problem with Goldberg's CSA. It
rounds distances, gives outliers a cost of 100 times the largest distance, and joins pixels with
random outliers only. So the number of pairs is the same but for rare cases. Which pixels are paired
can differ where several matchings are equally good. That changes precision slightly, because a
pixel counts once however many annotators it matches. The published program also interpolates F
between neighbouring thresholds; here F is that of one of the scales.

References: Martin, Fowlkes and Malik, PAMI 2004; Arbelaez, Maire, Fowlkes and Malik, "Contour
Detection and Hierarchical Image Segmentation", PAMI 2011. Thinning: Guo and Hall, "Parallel
Thinning with Two-Subiteration Algorithms", CACM 1989, algorithm A1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import cKDTree

from regiontree.errors import DataError, check_number
from regiontree.metrics.boundary import checked_leaves, region_borders
from regiontree.metrics.records import Count, State, check_lengths
from regiontree.metrics.scales import CutImage, CutMetric, CutSettings, Scale, checked_scales
from regiontree.tree.cuts import node_of_leaf

__all__ = [
    "ContourMetric",
    "ContourPoint",
    "ContourScores",
    "match_borders",
    "thin_borders",
]

TOLERANCE = 0.0075  # of the diagonal, as published

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


# -- thinning -------------------------------------------------------------------------------------


def _deletable() -> tuple[Bools, Bools]:
    """Whether a pixel goes in the first and second pass, by its 8 neighbours, (256,) each.

    Bit k of the index is the neighbour k, counted from the east counter-clockwise.
    """
    x = (np.arange(256)[:, None] >> np.arange(8) & 1).astype(bool)
    after = np.roll(x, -1, axis=1)
    crossings = (~x[:, ::2] & (after[:, ::2] | np.roll(x, -2, axis=1)[:, ::2])).sum(axis=1)
    ends = np.minimum(
        (x[:, ::2] | after[:, ::2]).sum(axis=1), (x[:, 1::2] | after[:, 1::2]).sum(axis=1)
    )
    thick = (crossings == 1) & (ends >= 2) & (ends <= 3)
    first = thick & ~((x[:, 1] | x[:, 2] | ~x[:, 7]) & x[:, 0])
    second = thick & ~((x[:, 5] | x[:, 6] | ~x[:, 3]) & x[:, 4])
    return first, second


_PASSES = _deletable()
_AROUND = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin_borders(border: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A border thinned to one pixel, (H, W) bool. What is connected stays connected.

    Parameters
    ----------
    border : (H, W) bool

    Examples
    --------
    >>> stairs = np.array([[1, 1, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 1]], bool)
    >>> thin_borders(stairs).astype(int)
    array([[1, 0, 0, 0, 0],
           [0, 1, 1, 0, 0],
           [0, 0, 0, 1, 1]])
    """
    inside = np.pad(np.asarray(border, dtype=np.bool_), 1)
    middle = inside[1:-1, 1:-1]
    while True:
        before = int(middle.sum())
        for table in _PASSES:
            y, x = np.nonzero(middle)
            code = np.zeros(len(y), dtype=np.intp)
            for bit, (down, right) in enumerate(_AROUND):
                code |= inside[y + 1 + down, x + 1 + right].astype(np.intp) << bit
            gone = table[code]
            middle[y[gone], x[gone]] = False
        if int(middle.sum()) == before:
            return middle.copy()


# -- matching -------------------------------------------------------------------------------------


def match_borders(
    cut: NDArray[np.bool_], truth: NDArray[np.bool_], distance: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which border pixels of each side are matched one to one, (H, W) bool each.

    The matching has as many pairs as possible, and of all such matchings the smallest sum of
    distances.

    Parameters
    ----------
    cut, truth : (H, W) bool
        Border pixels, thinned.
    distance
        Largest distance of two pixels that match, in pixels.

    Raises
    ------
    DataError
        The two differ in size.

    Examples
    --------
    Two pixels of the cut lie near the one pixel of the truth. Only the nearer one matches.

    >>> cut = np.array([[1, 0, 0, 1, 0, 0]], bool)
    >>> ours, theirs = match_borders(cut, np.array([[0, 0, 1, 0, 0, 0]], bool), 2)
    >>> ours.astype(int), theirs.astype(int)
    (array([[0, 0, 0, 1, 0, 0]]), array([[0, 0, 1, 0, 0, 0]]))
    """
    if cut.shape != truth.shape:
        raise DataError(
            f"the cut's border has shape {cut.shape} and the truth's {truth.shape}; resize the "
            "labels of one of them to the size of the other, by nearest neighbour"
        )
    sides = _Side(cut), _Side(truth)
    found = _matched(*sides, distance)
    masks = np.zeros_like(cut, dtype=np.bool_), np.zeros_like(truth, dtype=np.bool_)
    for mask, side, at in zip(masks, sides, found, strict=True):
        mask[tuple(side.pixels[at].T)] = True
    return masks


class _Side:
    """The border pixels of one side, (n, 2), and their tree of neighbours."""

    def __init__(self, border: Bools) -> None:
        self.pixels = np.argwhere(border)
        self.near = cKDTree(self.pixels) if len(self.pixels) else None

    def __len__(self) -> int:
        return len(self.pixels)


def _matched(a: _Side, b: _Side, distance: float) -> tuple[Ints, Ints]:
    """The pixels of `a` and those of `b` that are matched, as indices; pairs in no order."""
    if len(a) > len(b):  # the fewer rows, the faster
        rows, columns = _matched(b, a, distance)
        return columns, rows
    none = np.zeros(0, dtype=np.int64)
    if a.near is None or b.near is None:
        return none, none
    pairs = a.near.sparse_distance_matrix(b.near, distance, output_type="ndarray")
    if not len(pairs):
        return none, none
    row_of, row = np.unique(pairs["i"], return_inverse=True)
    column_of, column = np.unique(pairs["j"], return_inverse=True)
    n, k = len(row_of), len(column_of)
    # One more, because the solver takes 0 for no edge. No sum of pairs costs as much as an outlier.
    cost = np.append(pairs["v"] + 1, np.full(n, (distance + 1) * (n + 1)))
    outlier = np.arange(n)
    edges = np.append(row, outlier), np.append(column, k + outlier)
    chosen, partner = min_weight_full_bipartite_matching(csr_array((cost, edges), shape=(n, n + k)))
    paired = partner < k
    return row_of[chosen[paired]].astype(np.int64), column_of[partner[paired]].astype(np.int64)


# -- a data set -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContourPoint:
    """Scores of summed counts at one scale, 0 to 1.

    Attributes
    ----------
    scale : float
        Height of the cuts, or their most regions.
    regions : float
        Mean number of regions of the cuts.
    precision, recall, f : float
        0 if there is nothing to divide by.
    """

    scale: float
    regions: float
    precision: float
    recall: float
    f: float


@dataclass(frozen=True, slots=True)
class ContourScores:
    """Boundary F-measure of a data set, 0 to 1.

    Attributes
    ----------
    images : int
        Images that were scored.
    ods, ods_scale : float
        F at the one scale that is best for the data set, and that scale. Of equally good scales it
        is the coarsest.
    ois : float
        F with each image at its own best scale.
    ap : float
        Average precision.
    nodes, leaves : float
        Mean size of the trees: nodes but the root, and leaves.
    curve : tuple of ContourPoint
        From coarse to fine.
    """

    images: int
    ods: float
    ods_scale: float
    ois: float
    ap: float
    nodes: float
    leaves: float
    curve: tuple[ContourPoint, ...]


class _Settings(CutSettings):
    tolerance: float


class _Image(CutImage):
    """Border pixels of one image; each tuple has one entry for each scale."""

    cut: tuple[Count, ...]
    cut_matched: tuple[Count, ...]  # with any annotator
    truth: Count  # of all annotators together
    truth_matched: tuple[Count, ...]


class _State(State):
    metric: Literal["ContourMetric"]
    settings: _Settings
    images: dict[str, _Image]


class ContourMetric(CutMetric[_Image]):
    """The boundary F-measure of BSDS500 over a data set.

    Parameters
    ----------
    scale, scales
        As in :class:`~regiontree.metrics.CoveringMetric`, but heights by default.
    tolerance
        Largest distance of two pixels that match, as a part of the image's diagonal.

    Raises
    ------
    SettingsError
        A setting is out of range.

    Examples
    --------
    The tree divides off the last column first, then it divides where the annotator does.

    >>> labels, parents = np.array([[0, 0, 1, 1, 1, 2]] * 3), np.array([3, 3, 4, 4, 4])
    >>> metric = ContourMetric(scales=(.5, 0))
    >>> metric.update("a", parents, np.array([0, 0, 0, .5, 1]), labels,
    ...               [np.array([[7, 7, 9, 9, 9, 9]] * 3)])
    >>> for point in metric.compute().curve:
    ...     print(point.regions, point.precision, point.recall, round(point.f, 3))
    2.0 0.0 0.0 0.0
    3.0 0.5 1.0 0.667
    """

    _form = _State
    settings: _Settings

    def __init__(
        self,
        *,
        scale: Scale = "height",
        scales: Sequence[float] | None = None,
        tolerance: float = TOLERANCE,
    ) -> None:
        super().__init__(
            _Settings(
                scale=scale,
                scales=checked_scales(scale, scales),
                tolerance=float(check_number("tolerance", tolerance, 0, 1)),
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
            Its id.
        parents, height : (N,)
            As in :class:`~regiontree.tree.RegionTree`.
        labels : (H, W) integers
            Leaf of each pixel.
        truths
            Masks (H, W), one for each annotator; every value of a mask is a region.

        Raises
        ------
        DataError
            The image was scored before, has no annotator, or a mask does not fit `labels`.
        """
        if not truths:
            raise DataError(f"image {image!r} has no annotator; give at least one mask")
        labels = np.asarray(labels)
        n_leaves = checked_leaves(image, parents, labels)
        shapes = {labels.shape, *(np.shape(truth) for truth in truths)}
        if len(shapes) > 1 or labels.ndim != 2:
            raise DataError(
                f"image {image!r}: labels and masks must be of one shape (H, W), got "
                f"{sorted(shapes)}; resize by nearest neighbour"
            )
        people = [_Side(thin_borders(region_borders(np.asarray(truth)))) for truth in truths]
        distance = self.settings.tolerance * float(np.hypot(*labels.shape))
        cuts = self._cuts(parents, height)
        counts: list[tuple[int, int, int]] = []
        for at, cut in enumerate(cuts):
            if at and np.array_equal(cut, cuts[at - 1]):
                counts.append(counts[-1])
                continue
            region = node_of_leaf(parents, np.flatnonzero(cut), n_leaves)
            counts.append(_counts(region_borders(region[labels]), people, distance))
        drawn, matched, found = zip(*counts, strict=True)
        self._add(
            image,
            _Image(
                cut=drawn,
                cut_matched=matched,
                truth=sum(map(len, people)),
                truth_matched=found,
                **self._size(cuts, n_leaves),
            ),
        )

    def compute(self) -> ContourScores:
        """Scores of all images so far.

        Raises
        ------
        DataError
            There is no image.
        """
        _, curve, common = self._summary(ContourPoint)
        area = _area([(point.recall, point.precision) for point in curve])
        return ContourScores(ap=area, curve=curve, **common)

    @staticmethod
    def _figures(chosen: Iterable[tuple[_Image, int]]) -> tuple[float, float, float]:
        """Precision, recall and F of summed counts."""
        pairs = list(chosen)
        precision = _share(sum(r.cut_matched[s] for r, s in pairs), sum(r.cut[s] for r, s in pairs))
        recall = _share(sum(r.truth_matched[s] for r, s in pairs), sum(r.truth for r, _ in pairs))
        return precision, recall, _share(2 * precision * recall, precision + recall)

    def _check_record(self, image: str, record: _Image) -> None:
        names = ("cut", "cut_matched", "truth_matched", "regions")
        check_lengths(image, record, names, len(self.settings.scales), "scales")
        if any(m > n for m, n in zip(record.cut_matched, record.cut, strict=True)) or any(
            m > record.truth for m in record.truth_matched
        ):
            raise DataError(f"state of image {image!r}: more pixels are matched than there are")


def _counts(border: Bools, people: Sequence[_Side], distance: float) -> tuple[int, int, int]:
    """Border pixels of a cut, those matched with any annotator, and the annotators' matched."""
    cut = _Side(thin_borders(border))
    matched, found = np.zeros(len(cut), dtype=np.bool_), 0
    for person in people:
        ours, theirs = _matched(cut, person, distance)
        matched[ours] = True
        found += len(theirs)
    return len(cut), int(matched.sum()), found


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _area(points: Sequence[tuple[float, float]]) -> float:
    """Area below precision over recall, from (recall, precision); at most 1.

    Of several precisions at one recall, the best counts.
    """
    best: dict[float, float] = {}
    for recall, precision in points:
        best[recall] = max(best.get(recall, 0.0), precision)
    if len(best) < 2:
        return 0.0
    recalls = sorted(best)
    values = np.interp(np.linspace(0, 1, 101), recalls, [best[r] for r in recalls], left=0, right=0)
    return min(float(values.sum()) / 100, 1.0)
