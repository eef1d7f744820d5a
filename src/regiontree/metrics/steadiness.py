"""How steady the regions of a clip are: flicker, borders that boil, and identity switches.

**Static pixels.** Nothing moved at a pixel, from one frame to the next, if no channel of no pixel
of the 5 x 5 around it changes by more than a threshold. Two readings of one value with noise of
standard deviation s differ by about sqrt(2) s. The threshold is four times that, and at least 2
grey levels. s is estimated from the frames: the second difference in both directions removes
smooth shades, and the median of its magnitude is .6745 * 6 s. A surface without texture counts as
static even if it moves, since no pixel shows it.

**Flicker** is the share of static pixels whose region changes its number. Regions of trees of
single frames have no common numbers. They are first linked to those of the frame before, one to
one, so that as many pixels as possible keep their number.

**Boiling** is the share of static border pixels without a border pixel within 1 pixel, diagonals
included, in the next frame. It needs no numbers.

**Identity switches.** In each frame, objects and regions are matched one to one, so that the sum
of their IoUs is largest. A step counts for an object that is matched in two consecutive frames. It
is a switch if the numbers of the two regions differ. Of equally good matches the one that keeps
more numbers is taken. This is the mismatch error of CLEAR MOT, but a match needs no least IoU, a
better match takes the place of an earlier one, and an object that leaves and returns does not
switch.

References: Immerkaer, "Fast Noise Variance Estimation", CVIU 1996 (the second difference; its mean
is a median here, as in Donoho and Johnstone 1994, because edges are few); Bernardin and
Stiefelhagen, "Evaluating Multiple Object Tracking Performance: The CLEAR MOT Metrics", EURASIP
Journal on Image and Video Processing 2008.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, maximum_filter
from scipy.optimize import linear_sum_assignment

from regiontree.errors import DataError, check_number
from regiontree.metrics.boundary import region_borders

__all__ = [
    "FlickerCounts",
    "FlickerScores",
    "IdentitySwitches",
    "linked_regions",
    "noise_level",
    "noise_threshold",
    "static_pixels",
]

_WINDOW = 5  # pixels on a side
_DEVIATIONS = 4
_LEAST = 2.0  # grey levels
_KEEPS = 1e-9  # what keeping a number adds to an IoU: it decides between equal ones only

Bools = NDArray[np.bool_]
Labels = NDArray[np.integer]
Pixels = NDArray[np.uint8]


# -- static pixels --------------------------------------------------------------------------------


def noise_level(frame: Pixels) -> float:
    """Standard deviation of the noise of a frame, in grey levels; 0 where it has none.

    Parameters
    ----------
    frame : (H, W) or (H, W, C) uint8
        At least 3 x 3 pixels. The result is the largest of the channels.

    Raises
    ------
    DataError
        The frame is no such array.
    """
    values = np.asarray(frame)
    if values.ndim not in (2, 3) or values.dtype != np.uint8 or min(values.shape[:2]) < 3:
        raise DataError(
            "a frame must be (H, W) or (H, W, C) uint8 of at least 3 x 3 pixels, got "
            f"{values.dtype} of shape {values.shape}"
        )
    second = np.diff(np.diff(values.astype(np.int32), n=2, axis=0), n=2, axis=1)
    medians = np.median(np.abs(second), axis=(0, 1))  # of a sum with the variance 36 s^2
    return float(np.max(medians)) / (0.6745 * 6)


def noise_threshold(noise: float) -> float:
    """Largest change that noise explains, in grey levels, from its standard deviation.

    Examples
    --------
    >>> noise_threshold(0), round(noise_threshold(3), 2)
    (2.0, 16.97)
    """
    return max(_DEVIATIONS * math.sqrt(2) * noise, _LEAST)


def static_pixels(before: Pixels, after: Pixels, *, threshold: float | None = None) -> Bools:
    """Where nothing moved from one frame to the next, (H, W) bool.

    Parameters
    ----------
    before, after : (H, W) or (H, W, C) uint8
        Two consecutive frames.
    threshold
        Largest change, in grey levels, of a channel of a pixel within the 5 x 5. None: estimated
        from the noise of the two frames, at least 2.

    Raises
    ------
    DataError
        The frames are not of one size and uint8.

    Examples
    --------
    >>> before = np.full((3, 9), 100, np.uint8)
    >>> after = before.copy()
    >>> after[1, 1] = 150
    >>> static_pixels(before, after)[1].astype(int)
    array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    """
    if threshold is None:
        noise = math.sqrt((noise_level(before) ** 2 + noise_level(after) ** 2) / 2)
        threshold = noise_threshold(noise)
    if before.shape != after.shape or before.dtype != np.uint8 or after.dtype != np.uint8:
        raise DataError(
            f"frames must be uint8 of one size, got {before.dtype} {before.shape} and "
            f"{after.dtype} {after.shape}"
        )
    apart = np.maximum(before, after) - np.minimum(before, after)
    if apart.ndim == 3:
        apart = apart.max(axis=2)
    found: Bools = maximum_filter(apart, _WINDOW) <= check_number("threshold", threshold, 0, 255)
    return found


# -- numbers of regions ---------------------------------------------------------------------------


def linked_regions(before: Labels, after: Labels, fresh: int | None = None) -> NDArray[np.int64]:
    """Regions of a frame under the numbers of the frame before, (H, W) int64.

    Regions are linked one to one, so that as many pixels as possible keep their number. A region
    that shares no pixel with its partner, or has none, gets a new number.

    Parameters
    ----------
    before, after : (H, W) integers
        Region of each pixel.
    fresh
        The first new number. None: the first above those of `before`.

    Raises
    ------
    DataError
        The maps differ in size.

    Examples
    --------
    >>> linked_regions(np.array([[0, 0, 1, 1]]), np.array([[2, 2, 0, 1]]))
    array([[0, 0, 1, 2]])
    """
    _check_maps(before, after)
    old, row = np.unique(before, return_inverse=True)
    new, column = np.unique(after, return_inverse=True)
    pixels = _shared(row, column, (len(old), len(new)))
    a, b = linear_sum_assignment(pixels, maximize=True)
    some = pixels[a, b] > 0
    number = np.full(len(new), -1, dtype=np.int64)
    number[b[some]] = old[a[some]]
    rest = np.flatnonzero(number < 0)
    number[rest] = (int(old[-1]) + 1 if fresh is None else fresh) + np.arange(len(rest))
    return number[column].reshape(after.shape)


@dataclass(frozen=True, slots=True)
class FlickerScores:
    """How much regions change where nothing moved.

    Attributes
    ----------
    flicker : float
        Share of static pixels whose region changes its number, 0 to 1; NaN without such pixels.
    boiling : float
        Share of static border pixels without a border within 1 pixel in the next frame, 0 to 1;
        NaN without such pixels.
    static : float
        Share of pixels that are static, 0 to 1; NaN if there are less than two frames.
    """

    flicker: float
    boiling: float
    static: float


class FlickerCounts:
    """Flicker and boiling of a clip, frame by frame. Only the last frame is kept.

    Parameters
    ----------
    link
        Whether regions are linked from frame to frame first, as trees of single frames need it.
        Otherwise equal numbers mean the same region in all frames.
    threshold
        As in :func:`static_pixels`.

    Examples
    --------
    The picture stands still, and the region of one of 15 pixels changes.

    >>> frame, regions = np.zeros((3, 5), np.uint8), np.array([[0, 0, 1, 1, 1]] * 3)
    >>> other = regions.copy()
    >>> other[1, 1] = 1
    >>> counts = FlickerCounts()
    >>> counts.update(frame, regions)
    >>> counts.update(frame, other)
    >>> round(counts.compute().flicker, 3), counts.compute().boiling
    (0.067, 0.0)
    """

    def __init__(self, *, link: bool = False, threshold: float | None = None) -> None:
        self.link, self.threshold = link, threshold
        self._last: tuple[Pixels, NDArray[np.integer]] | None = None
        self._changed = self._static = self._pixels = self._lost = self._borders = 0

    def update(self, frame: Pixels, regions: Labels) -> None:
        """Count the next frame.

        Parameters
        ----------
        frame : (H, W) or (H, W, C) uint8
            Its pixels.
        regions : (H, W) integers
            Region of each pixel.

        Raises
        ------
        DataError
            The regions differ in size from the frame, or the frame from the one before.
        """
        frame, regions = np.asarray(frame), np.asarray(regions)
        if regions.shape != frame.shape[:2]:
            raise DataError(f"regions {regions.shape} do not fit the frame {frame.shape[:2]}")
        if self._last is not None:
            before, old = self._last
            static = static_pixels(before, frame, threshold=self.threshold)
            new = linked_regions(old, regions) if self.link else regions
            self._pixels += static.size
            self._static += int(static.sum())
            self._changed += int(((old != new) & static).sum())
            near = binary_dilation(region_borders(regions), np.ones((3, 3)))
            border = region_borders(old) & static
            self._borders += int(border.sum())
            self._lost += int((border & ~near).sum())
        self._last = frame, regions

    def compute(self) -> FlickerScores:
        """The scores of the frames so far."""
        return FlickerScores(
            flicker=_share(self._changed, self._static),
            boiling=_share(self._lost, self._borders),
            static=_share(self._static, self._pixels),
        )


class IdentitySwitches:
    """How often the region of an object gets another number, frame by frame.

    Parameters
    ----------
    ignored
        Values of the truth that are no objects.

    Examples
    --------
    Object 7 has region 0, then region 2, and then region 2 again.

    >>> switches = IdentitySwitches(ignored=(0,))
    >>> for regions in ([[0, 0, 1]], [[2, 2, 1]], [[2, 2, 1]]):
    ...     switches.update(np.array(regions), np.array([[7, 7, 0]]))
    >>> switches.compute()
    {7: (1, 2)}
    """

    def __init__(self, *, ignored: tuple[int, ...] = ()) -> None:
        self.ignored = ignored
        self._last: dict[int, int] = {}
        self._counts: dict[int, tuple[int, int]] = {}

    def update(self, regions: Labels, truth: Labels) -> None:
        """Count the next annotated frame.

        Parameters
        ----------
        regions : (H, W) integers
            Region of each pixel, under numbers that mean the same in all frames: those of a cut of
            a clip's tree, or of :func:`linked_regions` with new numbers that no frame had before.
        truth : (H, W) integers
            Object of each pixel. Every value that is not ignored is an object.

        Raises
        ------
        DataError
            The maps differ in size.
        """
        _check_maps(regions, truth)
        numbers, row = np.unique(regions, return_inverse=True)
        values, column = np.unique(truth, return_inverse=True)
        pixels = _shared(row, column, (len(numbers), len(values)))
        union = pixels.sum(axis=1)[:, None] + pixels.sum(axis=0) - pixels
        own = np.flatnonzero(~np.isin(values, self.ignored))
        objects, iou = values[own].tolist(), (pixels / union)[:, own]
        kept = numbers[:, None] == np.array([self._last.get(o, -1) for o in objects], dtype=int)
        a, b = linear_sum_assignment(iou + _KEEPS * (kept & (iou > 0)), maximize=True)
        now = {
            objects[j]: int(numbers[i])
            for i, j in zip(a.tolist(), b.tolist(), strict=True)
            if iou[i, j] > 0
        }
        for value, number in now.items():
            switches, steps = self._counts.get(value, (0, 0))
            if value in self._last:
                switches, steps = switches + (self._last[value] != number), steps + 1
            self._counts[value] = switches, steps
        self._last = now

    def compute(self) -> dict[int, tuple[int, int]]:
        """Of each object so far: its switches, and the steps in which it could have switched."""
        return dict(sorted(self._counts.items()))


def _shared(row: Labels, column: Labels, size: tuple[int, int]) -> NDArray[np.int64]:
    """How many pixels have each pair of values, of `size`."""
    both = row.reshape(-1).astype(np.int64) * size[1] + column.reshape(-1)
    return np.bincount(both, minlength=size[0] * size[1]).reshape(size)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


def _check_maps(one: Labels, other: Labels) -> None:
    if np.ndim(one) != 2 or np.shape(one) != np.shape(other):
        raise DataError(
            f"maps must be two (H, W) of one size, got {np.shape(one)} and {np.shape(other)}"
        )
