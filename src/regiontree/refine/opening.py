"""Threads of a label map, which go to their surroundings, and pixels without a label of their own.

Both give a pixel the label of the nearest pixel of a certain kind. Of equally near ones, this is
the leftmost, and of those in one column the uppermost.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from regiontree.system.jit import jit

__all__ = ["extended", "trim_threads"]

Labels = NDArray[np.int32]

_NEAR = 4  # pixels at which every nearest one is looked for first
_FAR = np.int32(2**30)  # a row that no picture has


def trim_threads(labels: Labels, width: int) -> Labels:
    """Labels without threads, (H, W) int32: parts thinner than `width` go to their surroundings.

    This is a morphological opening of each region by a square of `width` pixels a side. A pixel
    keeps its label if some square that holds the pixel lies within the region. Every other pixel
    takes the label of the nearest pixel that keeps its own. Straight borders and right angles stay
    where they are. A label whose regions hold no such square vanishes.

    Parameters
    ----------
    labels
        (H, W) integers.
    width
        Side of the square in pixels. 0 or 1 changes nothing, and so does a square that fits nowhere
        or is larger than the image.

    Returns
    -------
    (H, W) int32, a new array.

    Examples
    --------
    >>> trim_threads(np.array([[0, 0, 0, 2], [0, 0, 0, 2]]), 2)
    array([[0, 0, 0, 0],
           [0, 0, 0, 0]], dtype=int32)
    """
    trimmed = np.array(labels, np.int32, order="C")
    if 2 <= width <= min(trimmed.shape):
        _trim(trimmed, int(width))
    return trimmed


def extended(labels: Labels, valid: NDArray[np.bool_]) -> Labels:
    """Labels in which a pixel that is not valid has the label of the nearest valid one: a copy.

    Parameters
    ----------
    labels
        (H, W) integers.
    valid
        (H, W) bool, true somewhere.

    Examples
    --------
    >>> extended(np.array([[1, 9, 9, 9, 2]], np.int32), np.array([[1, 0, 0, 0, 1]], bool)).tolist()
    [[1, 1, 1, 2, 2]]
    """
    near = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    continued: Labels = labels[tuple(near)]
    return continued


def _trim_in_scipy(labels: Labels, width: int) -> None:
    square = _windows(labels[1:] == labels[:-1], width - 1, width)
    square &= _windows(labels[:, 1:] == labels[:, :-1], width, width - 1)
    if not square.any():
        return
    # A pixel keeps its label if some square that holds the pixel has only one label.
    around = np.zeros((labels.shape[0] + width - 1, labels.shape[1] + width - 1), bool)
    around[width - 1 : 1 - width, width - 1 : 1 - width] = square
    labels[:] = extended(labels, ~_windows(~around, width, width))


def _windows(true: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Whether each window is all true, (H - height + 1, W - width + 1), by its top left corner."""
    rows, columns = true.shape[0] - height + 1, true.shape[1] - width + 1
    down = np.ones((rows, true.shape[1]), bool)
    for step in range(height):
        down &= true[step : step + rows]
    every = np.ones((rows, columns), bool)
    for step in range(width):
        every &= down[:, step : step + columns]
    return every


@jit(instead=_trim_in_scipy)
def _trim(labels: Labels, width: int) -> None:
    """See :func:`trim_threads`; it changes `labels` itself."""
    kept = np.zeros(labels.shape, np.bool_)
    if _find_squares(labels, width, kept):
        _fill_squares(kept, width)
        if not _take_near(labels, kept):
            _take_nearest(labels, kept)


@jit()
def _find_squares(labels: Labels, width: int, corner: NDArray[np.bool_]) -> bool:
    """Mark the lower right corners of squares of one label, and say whether there are any."""
    rows, columns = labels.shape
    tall = np.zeros(columns, np.int32)  # rows, up from here, that end in `width` equal pixels
    any_square = False
    for y in range(rows):
        long = 0
        for x in range(columns):
            long = long + 1 if x > 0 and labels[y, x] == labels[y, x - 1] else 1
            goes_on = y > 0 and labels[y, x] == labels[y - 1, x]
            tall[x] = 0 if long < width else (tall[x] + 1 if goes_on else 1)
            corner[y, x] = tall[x] >= width
            any_square |= corner[y, x]
    return any_square


@jit()
def _fill_squares(kept: NDArray[np.bool_], width: int) -> None:
    """Mark all pixels of the squares whose lower right corners are marked."""
    rows, columns = kept.shape
    up = np.zeros(columns, np.int32)  # rows, up from here, that are still in a square
    for y in range(rows - 1, -1, -1):
        left = 0
        for x in range(columns - 1, -1, -1):
            left = width if kept[y, x] else left - 1
            up[x] = width if left > 0 else up[x] - 1
            kept[y, x] = up[x] > 0


@jit()
def _take_near(labels: Labels, kept: NDArray[np.bool_]) -> bool:
    """Give every pixel the label of the nearest kept one, if that is near, else say False.

    This is :func:`_take_nearest`, fast where threads are thin.
    """
    rows, columns = labels.shape
    for y in range(rows):
        for x in range(columns):
            if kept[y, x]:
                continue
            step = 1  # a bound, from the pixel's own column
            while step <= _NEAR and not (
                (y >= step and kept[y - step, x]) or (y + step < rows and kept[y + step, x])
            ):
                step += 1
            least, row, column = step * step + 1, -1, -1
            for left in range(max(x - _NEAR, 0), min(x + _NEAR + 1, columns)):
                aside = (left - x) ** 2
                step = 0
                while aside + step * step < least:
                    if y >= step and kept[y - step, left]:
                        least, row, column = aside + step * step, y - step, left
                    elif y + step < rows and kept[y + step, left]:
                        least, row, column = aside + step * step, y + step, left
                    step += 1
            if row < 0:
                return False
            labels[y, x] = labels[row, column]
    return True


@jit()
def _pass_on(kept: NDArray[np.bool_], y: np.int32, row: Labels) -> None:
    for x in range(len(row)):
        row[x] = y if kept[x] else row[x]


@jit()
def _take_nearest(labels: Labels, kept: NDArray[np.bool_]) -> None:
    """Give every pixel that is not `kept` the label of the nearest one that is."""
    rows, columns = labels.shape
    near = np.empty((rows, columns), np.int32)  # the row of the nearest kept pixel of the column
    row = np.full(columns, np.int32(-_FAR))
    for y in range(rows):
        _pass_on(kept[y], np.int32(y), row)
        near[y] = row
    row[:] = _FAR
    for y in range(rows - 1, -1, -1):
        here, found = np.int32(y), near[y]
        _pass_on(kept[y], here, row)
        for x in range(columns):
            found[x] = row[x] if row[x] < 2 * here - found[x] else found[x]
    for y in range(rows):
        for x in range(columns):
            if kept[y, x]:
                continue
            least, column, step = (near[y, x] - y) ** 2, x, 1
            while step * step <= least and step < columns:
                if x >= step:
                    apart = step * step + (near[y, x - step] - y) ** 2
                    if apart <= least:
                        least, column = apart, x - step
                if x + step < columns:
                    apart = step * step + (near[y, x + step] - y) ** 2
                    if apart < least:
                        least, column = apart, x + step
                step += 1
            labels[y, x] = labels[near[y, column], column]
