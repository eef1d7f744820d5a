"""How strong the edges of a photograph are: the length of its colour gradient after a blur.

The blur is a Gaussian in float32. Its taps are added in one stated order: the centre, then the two
at distance 1, and so on. So heights have the same bits on every processor, compiled or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.system.jit import jit

__all__ = ["add_heights", "edge_height"]

FloatImage = NDArray[np.float32]
Row = NDArray[np.float32]

_TRUNCATE = 2.5  # standard deviations at which the Gaussian ends
_LEAST = np.float32(1e-6)  # with a smaller share of valid pixels, a blurred colour means nothing


def edge_height(
    colours: FloatImage,
    blur: float,
    valid: NDArray[np.bool_] | None = None,
    out: FloatImage | None = None,
) -> FloatImage:
    """Length of the colour gradient after a Gaussian blur, (H, W) float32.

    Parameters
    ----------
    colours
        (3, H, W) float32.
    blur
        Standard deviation of the Gaussian in pixels, >= 0; 0 leaves it out.
    valid
        (H, W) bool, the pixels that the Gaussian takes its mean of. None: all of them.
    out
        (H, W) float32, contiguous, where the result is written. None: a new array.

    Returns
    -------
    (H, W) float32, >= 0, as a difference of colours over two pixels.
    """
    colours = np.ascontiguousarray(colours, np.float32)
    length = np.empty(colours.shape[1:], np.float32) if out is None else out
    taps = _taps(blur)
    masked, share = colours, np.ones((1, 1), np.float32)
    if valid is not None and len(taps) > 1:
        there = valid.astype(np.float32)
        masked, share = colours * there, _blurred(there, taps)
    _gradient(length, colours, masked, share, taps)
    return length


def add_heights(
    height: FloatImage, fine: FloatImage, detail: float,
    rows: NDArray[np.float32], columns: NDArray[np.float32], bowl: float,
) -> None:  # fmt: skip
    """Add ``detail * fine + bowl * (rows + columns)`` to `height`, in place.

    `height` and `fine` are (H, W) float32, `rows` is (H,) and `columns` (W,) float32.
    """
    _add(height, fine, np.float32(detail), rows, columns, np.float32(bowl))


def _taps(blur: float) -> NDArray[np.float32]:
    """Half of the Gaussian from its centre on, (radius + 1,) float32; both halves sum to 1."""
    radius = int(_TRUNCATE * blur + 0.5)
    half = np.exp(-0.5 * (np.arange(radius + 1) / max(blur, 1e-9)) ** 2)
    taps: NDArray[np.float32] = (half / (2 * half.sum() - half[0])).astype(np.float32)
    return taps


def _blurred_in_numpy(values: FloatImage, taps: NDArray[np.float32]) -> FloatImage:
    for axis in (0, 1):
        n, radius = values.shape[axis], len(taps) - 1
        padding = [(radius, radius) if side == axis else (0, 0) for side in (0, 1)]
        wide = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0)
        total = wide[radius : radius + n] * taps[0]
        for step in range(1, radius + 1):
            before, after = wide[radius - step :][:n], wide[radius + step :][:n]
            total += taps[step] * (before + after)
        values = np.moveaxis(total, 0, axis)
    return values


def _gradient_in_numpy(
    squares: FloatImage, colours: FloatImage, masked: FloatImage, share: FloatImage,
    taps: NDArray[np.float32],
) -> None:  # fmt: skip
    squares[:] = 0
    for colour, channel in zip(colours, masked, strict=True):
        smooth = _blurred_in_numpy(channel, taps)
        if share.shape == smooth.shape:
            smooth = np.where(share > _LEAST, smooth / np.maximum(share, _LEAST), colour)
        squares[:, 1:-1] += (smooth[:, 2:] - smooth[:, :-2]) ** 2
        squares[1:-1] += (smooth[2:] - smooth[:-2]) ** 2
    np.sqrt(squares, out=squares)


@jit()
def _add_two(total: Row, a: Row, b: Row, tap: np.float32) -> None:
    for x in range(len(total)):
        total[x] += tap * (a[x] + b[x])


@jit()
def _add_four(
    total: Row, a: Row, b: Row, tap: np.float32, a2: Row, b2: Row, tap2: np.float32
) -> None:
    for x in range(len(total)):
        total[x] = total[x] + tap * (a[x] + b[x]) + tap2 * (a2[x] + b2[x])


@jit()
def _blurred_row(
    values: FloatImage, y: int, taps: NDArray[np.float32], wide: NDArray[np.float32],
    row: NDArray[np.float32],
) -> None:  # fmt: skip
    """Write row `y` of the blurred `values` into `row`; `wide` is 2 radius longer than a row."""
    height, width = values.shape
    radius = len(taps) - 1
    middle = wide[radius : radius + width]
    here = values[y]
    for x in range(width):
        middle[x] = here[x] * taps[0]
    for step in range(1, radius, 2):  # two at a time, in the order that they are added in
        up, down = values[max(y - step, 0)], values[min(y + step, height - 1)]
        up2, down2 = values[max(y - step - 1, 0)], values[min(y + step + 1, height - 1)]
        _add_four(middle, up, down, taps[step], up2, down2, taps[step + 1])
    if radius % 2:
        _add_two(middle, values[max(y - radius, 0)], values[min(y + radius, height - 1)], taps[-1])
    for x in range(radius):
        wide[x] = middle[0]
        wide[radius + width + x] = middle[width - 1]
    for x in range(width):
        row[x] = middle[x] * taps[0]
    for step in range(1, radius, 2):
        left, right = wide[radius - step :], wide[radius + step :]
        left2, right2 = wide[radius - step - 1 :], wide[radius + step + 1 :]
        _add_four(row, left, right, taps[step], left2, right2, taps[step + 1])
    if radius % 2:
        _add_two(row, wide, wide[2 * radius :], taps[-1])


@jit(instead=_blurred_in_numpy)
def _blurred(values: FloatImage, taps: NDArray[np.float32]) -> FloatImage:
    """The values (H, W) after the Gaussian; beyond the border they go on as they end."""
    height, width = values.shape
    blurred = np.empty((height, width), np.float32)
    wide = np.empty(width + 2 * (len(taps) - 1), np.float32)
    for y in range(height):
        _blurred_row(values, y, taps, wide, blurred[y])
    return blurred


@jit(instead=_gradient_in_numpy)
def _gradient(
    squares: FloatImage, colours: FloatImage, masked: FloatImage, share: FloatImage,
    taps: NDArray[np.float32],
) -> None:  # fmt: skip
    """Write the length of the gradient of the colours after the Gaussian into `squares`, (H, W).

    `masked` are the colours (3, H, W), 0 where they are not valid. `share` is (H, W), the blurred
    mask by which their blur is divided, or (1, 1) if all are valid. Three blurred rows at a time
    are kept.
    """
    _, height, width = colours.shape
    squares[:] = np.float32(0)
    wide = np.empty(width + 2 * (len(taps) - 1), np.float32)
    rows = np.empty((3, width), np.float32)
    for channel in range(3):
        for y in range(height):
            row = rows[y % 3]
            _blurred_row(masked[channel], y, taps, wide, row)
            if share.shape[0] == height and share.shape[1] == width:
                for x in range(width):
                    if share[y, x] > _LEAST:
                        row[x] /= share[y, x]
                    else:
                        row[x] = colours[channel, y, x]
            square = squares[y]
            for x in range(1, width - 1):
                across = row[x + 1] - row[x - 1]
                square[x] += across * across
            if y >= 2:
                above, square = rows[(y - 2) % 3], squares[y - 1]
                for x in range(width):
                    down = row[x] - above[x]
                    square[x] += down * down
    for y in range(height):
        for x in range(width):
            squares[y, x] = np.sqrt(squares[y, x])


def _add_in_numpy(
    height: FloatImage, fine: FloatImage, detail: np.float32,
    rows: NDArray[np.float32], columns: NDArray[np.float32], bowl: np.float32,
) -> None:  # fmt: skip
    height += detail * fine
    height += bowl * (rows[:, None] + columns)


@jit(instead=_add_in_numpy)
def _add(
    height: FloatImage, fine: FloatImage, detail: np.float32,
    rows: NDArray[np.float32], columns: NDArray[np.float32], bowl: np.float32,
) -> None:  # fmt: skip
    """See :func:`add_heights`."""
    for y in range(len(rows)):
        row = rows[y]
        for x in range(len(columns)):
            total = height[y, x] + detail * fine[y, x]
            height[y, x] = total + bowl * (row + columns[x])
