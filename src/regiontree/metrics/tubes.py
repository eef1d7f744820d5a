"""How well tubes follow objects through a clip: J and F of DAVIS, and covering of the volume.

A tube is a node of a clip's tree: the pixels of its leaves in all frames.

**J** is the region similarity. In frame t, for a tube M and an object G,

    J(t) = |M(t) and G(t)| / |M(t) or G(t)|,    1 if both are empty

**F** is the contour accuracy. A pixel lies on the contour of a mask if the pixel to the right,
below or right below has another value. Precision is the share of the tube's contour pixels within
r pixels of the object's contour, and recall the share of the object's within r of the tube's. r is
.008 of the diagonal of the frame, rounded up. F = 2 precision recall / (precision + recall).

The paper matches contour pixels one to one by morphology and a bipartite graph, and the program of
the benchmark takes the distance alone, by dilation with a disk. Here the distance decides, too.

Over the annotated frames, a measure has three statistics: its *mean*, its *recall* (the share of
frames above .5), and its *decay* (the mean of the first quarter less that of the last).

**The volume.** NMCovering and NHCovering (:mod:`regiontree.metrics.score`) of a clip are those of
one large image whose pixels are the pixels of all frames: the contingency tables are summed.

Reference: Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from regiontree.errors import DataError, check_number
from regiontree.metrics.contingency import Contingency, contingency, node_counts

__all__ = ["SeriesScores", "TubeCounts", "TubeScores", "contour_f", "series_scores"]

TOLERANCE = 0.008  # of the diagonal
_ABOVE = 0.5

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]


# -- statistics over frames -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SeriesScores:
    """The statistics of a measure over the frames of a clip.

    Attributes
    ----------
    mean : float
        0 to 1.
    recall : float
        Share of frames above .5.
    decay : float
        Mean of the first quarter of the frames less that of the last, -1 to 1. Above 0, the measure
        falls with time.
    """

    mean: float
    recall: float
    decay: float


def series_scores(series: NDArray[np.floating] | Iterable[float]) -> SeriesScores:
    """Mean, recall and decay of a measure.

    Parameters
    ----------
    series : (T,) floats
        J or F of each annotated frame, in the order of time.

    Raises
    ------
    DataError
        There is no frame.

    Notes
    -----
    The quarters are those of the benchmark's program. Their ends are round(1 + (T - 1) q / 4) for
    q = 0 to 4, halves upwards. A frame at an end belongs to both quarters.

    Examples
    --------
    >>> series_scores([1.0, 1.0, 0.5, 0.0, 0.0])
    SeriesScores(mean=0.5, recall=0.4, decay=1.0)
    """
    values = np.asarray(list(series), dtype=np.float64)
    if not len(values):
        raise DataError("a measure over frames needs at least one annotated frame, got none")
    # The small number moves a half up, as the benchmark's program does.
    ends = np.round(np.linspace(1, len(values), 5) + 1e-10).astype(int) - 1
    first, last = values[ends[0] : ends[1] + 1], values[ends[3] : ends[4] + 1]
    return SeriesScores(
        mean=float(values.mean()),
        recall=float((values > _ABOVE).mean()),
        decay=float(first.mean() - last.mean()),
    )


# -- F --------------------------------------------------------------------------------------------


def contour_f(found: Bools, truth: Bools, *, tolerance: float = TOLERANCE) -> float:
    """F of one frame: how closely the contours of two masks follow each other, 0 to 1.

    Parameters
    ----------
    found, truth : (H, W) bool
        The tube and the object in the frame.
    tolerance
        Largest distance of contours that match, as a share of the frame's diagonal. It is rounded
        up to whole pixels.

    Returns
    -------
    float
        1 if neither mask has a contour; 0 if only one has.

    Raises
    ------
    DataError
        The masks are not two (H, W) arrays of one size.

    Examples
    --------
    The diagonal of 3 x 8 pixels is 8.5, so .1 of it is rounded up to 1 pixel. The contours lie
    after the columns 2 and 4.

    >>> found, truth = np.zeros((2, 3, 8), bool)
    >>> found[:, :3], truth[:, :5] = True, True
    >>> contour_f(found, truth, tolerance=.1), contour_f(found, truth, tolerance=.2)
    (0.0, 1.0)
    """
    found, truth = np.asarray(found, dtype=bool), np.asarray(truth, dtype=bool)
    if found.ndim != 2 or found.shape != truth.shape:
        raise DataError(f"masks must be two (H, W) of one size, got {found.shape}, {truth.shape}")
    reach = math.ceil(check_number("tolerance", tolerance, 0, 1) * math.hypot(*found.shape))
    own, other = _contour(found), _contour(truth)
    if not own.any() or not other.any():
        return float(own.any() == other.any())
    # The nearest pixel of the other contour lies in the box around both.
    box = tuple(slice(int(at.min()), int(at.max()) + 1) for at in np.nonzero(own | other))
    own, other = own[box], other[box]
    # Dilation with a disk of radius r reaches the pixels at a distance of at most r.
    precision = float((distance_transform_edt(~other)[own] <= reach).mean())
    recall = float((distance_transform_edt(~own)[other] <= reach).mean())
    both = precision + recall
    return 2 * precision * recall / both if both else 0.0


def _contour(mask: Bools) -> Bools:
    """Pixels unlike the pixel to the right, below or right below, (H, W)."""
    beyond = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, across = beyond[:-1, 1:], beyond[1:, :-1], beyond[1:, 1:]
    contour: Bools = (mask != right) | (mask != below)
    contour[:-1, :-1] |= (mask != across)[:-1, :-1]
    return contour


# -- J --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class TubeScores:
    """J of one tube with one object.

    Attributes
    ----------
    node : int
        The tube.
    series : (T,) float64
        J of each frame.
    j : SeriesScores
        Its statistics.
    """

    node: int
    series: Floats
    j: SeriesScores


class TubeCounts:
    """What the leaves of a clip's tree share with the truth, frame by frame.

    A frame is read once and not kept. Only the overlaps that are not empty are kept, a few hundred
    numbers a frame.

    Parameters
    ----------
    parents : (N,) integers
        The tree: leaves first, parents after their children, the root last and its own parent.
    ignored
        Values of the truth whose pixels count nowhere, not even in the size of a tube.

    Examples
    --------
    Leaf 0 is the object in the first frame, and half of it in the second one.

    >>> counts = TubeCounts(np.array([2, 2, 2]))
    >>> counts.update(np.array([[0, 0, 1]]), np.array([[9, 9, 0]]))
    >>> counts.update(np.array([[0, 1, 1]]), np.array([[9, 9, 0]]))
    >>> counts.j(9).round(3)
    array([0.75 , 0.167, 0.667])
    >>> counts.best(9).node, counts.best(9).j.decay
    (0, 0.5)
    """

    def __init__(self, parents: NDArray[np.integer], *, ignored: Iterable[int] = ()) -> None:
        self.parents = np.asarray(parents)
        self.ignored = frozenset(int(value) for value in ignored)
        self._n_leaves = 1 if len(self.parents) == 1 else int(self.parents.min())
        self._frames: list[tuple[Int64, Int64, Int64]] = []  # leaf, value of the truth, pixels

    def update(self, labels: NDArray[np.integer], truth: NDArray[np.integer]) -> None:
        """Count the next annotated frame.

        Parameters
        ----------
        labels : (H, W) integers
            Leaf of each pixel.
        truth : (H, W) integers
            Value of each pixel: an object or a class.

        Raises
        ------
        DataError
            Shapes differ, labels are not leaves, or the truth is no map of integers.
        """
        table = contingency(labels, truth, self._n_leaves)
        leaf, column = np.nonzero(table.counts)
        self._frames.append((leaf, table.ids[column], table.counts[leaf, column]))

    @property
    def frames(self) -> int:
        """Frames that were counted."""
        return len(self._frames)

    def table(self) -> Contingency:
        """The table of the volume: pixels of each leaf with each value, over all frames.

        Ignored values are in it; a :class:`~regiontree.metrics.ClassTree` says what to leave out.

        Raises
        ------
        DataError
            There is no frame.
        """
        self._check()
        leaf, value, pixels = (np.concatenate(part) for part in zip(*self._frames, strict=True))
        ids, column = np.unique(value, return_inverse=True)
        counts = np.zeros((self._n_leaves, len(ids)), dtype=np.int64)
        np.add.at(counts, (leaf, column), pixels)
        return Contingency(counts, ids)

    def j(self, value: int) -> Floats:
        """Mean J of every node with the object of a value, (N,), over the frames so far.

        Raises
        ------
        DataError
            There is no frame.
        """
        self._check()
        total = np.zeros(len(self.parents))
        for found in self._each(value):
            total += found
        return total / len(self._frames)

    def scores(self, value: int, node: int) -> TubeScores:
        """J of one node with the object of a value, in each frame.

        Raises
        ------
        DataError
            There is no frame, or no such node.
        """
        self._check()
        if not 0 <= node < len(self.parents):
            raise DataError(f"node must be 0 to {len(self.parents) - 1}, got {node}")
        series = np.array([found[node] for found in self._each(value)])
        return TubeScores(int(node), series, series_scores(series))

    def best(self, value: int, nodes: NDArray[np.integer] | None = None) -> TubeScores:
        """The tube with the highest mean J; of equal ones that with the lowest number.

        Parameters
        ----------
        value
            The object.
        nodes
            The tubes to choose from, such as :func:`~regiontree.metrics.budget_nodes`. None: all
            but the root, or the root if it is alone.

        Raises
        ------
        DataError
            There is no frame, or no node to choose from.
        """
        chosen = np.arange(max(len(self.parents) - 1, 1)) if nodes is None else np.unique(nodes)
        if not len(chosen) or chosen[0] < 0 or chosen[-1] >= len(self.parents):
            raise DataError(f"nodes must be some of 0 to {len(self.parents) - 1}, got {nodes}")
        return self.scores(value, int(chosen[self.j(value)[chosen].argmax()]))

    def _each(self, value: int) -> Iterator[Floats]:
        """J of every node in each frame, (N,) each."""
        for leaf, values, pixels in self._frames:
            counted = ~np.isin(values, list(self.ignored))
            leaves = np.zeros((self._n_leaves, 2), dtype=np.int64)
            np.add.at(leaves[:, 0], leaf[counted], pixels[counted])
            own = counted & (values == value)
            leaves[leaf[own], 1] = pixels[own]
            area, shared = node_counts(self.parents, leaves).T
            union = area + shared[-1] - shared
            yield np.where(union > 0, shared / np.maximum(union, 1), 1.0)

    def _check(self) -> None:
        if not self._frames:
            raise DataError("no frame was counted; call update with each annotated frame first")
