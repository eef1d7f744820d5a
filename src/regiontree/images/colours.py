"""Colours in CIE L*a*b*, where the distance of two colours is the difference that people see.

A distance of 1 is about the smallest difference that people notice. Source: IEC 61966-2-1 (sRGB)
and CIE 15. The cube root is Newton's iteration, made of float32 sums and products, for which
IEEE 754 leaves no choice. So colours have the same bits on every processor, compiled or not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.images.valid import resized
from regiontree.system.jit import jit

__all__ = ["lab_colours", "patch_colours"]

FloatImage = NDArray[np.float32]


def _linear_levels() -> FloatImage:
    """Linear light of each 8-bit sRGB level, (256,) float32 in [0, 1]."""
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    return linear.astype(np.float32)


def _shares() -> FloatImage:
    """Shares of red, green and blue light in X, Y and Z, (3, 3) float32; white is (1, 1, 1)."""
    shares = np.array([
        [0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]
    ])  # fmt: skip
    shares /= shares.sum(axis=1, keepdims=True)
    return shares.astype(np.float32)


# Constants are float32 of their own: with Python's floats, numba would compute in float64.
_DARK = np.float32(
    (6 / 29) ** 3
)  # below it the cube root is too steep: a straight line replaces it
_SLOPE, _START = np.float32((29 / 6) ** 2 / 3), np.float32(4 / 29)
_THIRD, _FOUR_THIRDS = np.float32(1 / 3), np.float32(4 / 3)
_BITS = np.int32(1_419_967_116)  # less a third of the bits of a number: those of 1 / cube root
_116, _16, _500, _200 = np.float32(116), np.float32(16), np.float32(500), np.float32(200)


def patch_colours(
    rgb: NDArray[np.uint8], grid: tuple[int, int], valid: NDArray[np.bool_] | None = None
) -> FloatImage:
    """The mean colour of each patch in CIE L*a*b*, (3, h, w) float32.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 sRGB. The mean over a patch is taken in sRGB.
    grid
        (h, w), rows and columns of patches.
    valid
        (H, W) bool, which pixels are there. A patch has the mean of those. None: all of them.
    """
    return lab_colours(resized(rgb, grid, valid, how=Image.Resampling.BOX))


def lab_colours(rgb: NDArray[np.uint8], out: FloatImage | None = None) -> FloatImage:
    """CIE L*a*b* colours under illuminant D65, (3, H, W) float32, with L* in [0, 100].

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 sRGB.
    out
        (3, H, W) float32, contiguous, where the colours are written. None: a new array.

    Examples
    --------
    >>> lab_colours(np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8))[:, 0].T.round()
    array([[100.,   0.,   0.],
           [ 53.,  80.,  67.]], dtype=float32)
    """
    lab = np.empty((3, *rgb.shape[:2]), np.float32) if out is None else out
    _fill(lab, np.ascontiguousarray(rgb), _linear_levels(), _shares())
    return lab


def _fill_in_numpy(
    lab: FloatImage, rgb: NDArray[np.uint8], linear: FloatImage, shares: FloatImage
) -> None:
    for top in range(0, len(rgb), 16):  # a few rows at a time stay in the processor's cache
        rows = slice(top, top + 16)
        light = np.moveaxis(linear[rgb[rows]], 2, 0)
        x, y, z = (_response(a * light[0] + b * light[1] + c * light[2]) for a, b, c in shares)
        lab[0, rows], lab[1, rows], lab[2, rows] = _116 * y - _16, _500 * (x - y), _200 * (y - z)


def _response(amount: FloatImage) -> FloatImage:
    """The eye's response to an amount of light: the cube root, and a straight line near 0."""
    bright = np.maximum(amount, _DARK)
    third = bright * _THIRD
    bits = (bright.view(np.int32).astype(np.float32) * _THIRD).astype(np.int32)
    inverse = (_BITS - bits).view(np.float32)
    for _ in range(2):
        inverse *= _FOUR_THIRDS - third * (inverse * inverse * inverse)
    square = inverse * inverse
    root = bright * square
    root = root + (bright - root * root * root) * (square * _THIRD)
    response: FloatImage = np.where(amount < _DARK, amount * _SLOPE + _START, root)
    return response


@jit(instead=_fill_in_numpy)
def _fill(lab: FloatImage, rgb: NDArray[np.uint8], linear: FloatImage, shares: FloatImage) -> None:
    """See :func:`lab_colours`; a row at a time, which stays in the processor's cache."""
    height, width = rgb.shape[0], rgb.shape[1]
    light = np.empty((3, width), np.float32)
    response = np.empty((3, width), np.float32)
    amount = np.empty(width, np.float32)
    bright = np.empty(width, np.float32)
    bits = bright.view(np.int32)
    inverse = np.empty(width, np.float32)
    inverse_bits = inverse.view(np.int32)
    for row in range(height):
        for column in range(width):
            for channel in range(3):
                light[channel, column] = linear[rgb[row, column, channel]]
        for channel in range(3):
            red, green, blue = shares[channel]
            for i in range(width):
                amount[i] = red * light[0, i] + green * light[1, i] + blue * light[2, i]
                bright[i] = max(amount[i], _DARK)
            for i in range(width):
                inverse_bits[i] = _BITS - np.int32(np.float32(bits[i]) * _THIRD)
            for i in range(width):
                third = bright[i] * _THIRD
                guess = inverse[i]
                guess = guess * (_FOUR_THIRDS - third * (guess * guess * guess))
                guess = guess * (_FOUR_THIRDS - third * (guess * guess * guess))
                square = guess * guess
                root = bright[i] * square
                root = root + (bright[i] - root * root * root) * (square * _THIRD)
                straight = amount[i] * _SLOPE + _START
                response[channel, i] = straight if amount[i] < _DARK else root
        for i in range(width):
            lab[0, row, i] = _116 * response[1, i] - _16
            lab[1, row, i] = _500 * (response[0, i] - response[1, i])
            lab[2, row, i] = _200 * (response[1, i] - response[2, i])
