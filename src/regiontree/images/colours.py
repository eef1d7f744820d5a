"""Colours in CIE L*a*b*, where the distance of two colours is the difference that people see.

A distance of 1 is about the smallest difference that people notice. Source: IEC 61966-2-1 (sRGB)
and CIE 15.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.images.valid import resized

__all__ = ["lab_colours", "patch_colours"]


def patch_colours(
    rgb: NDArray[np.uint8], grid: tuple[int, int], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
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


def lab_colours(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """CIE L*a*b* colours under illuminant D65, (3, H, W) float32, with L* in [0, 100].

    Parameters
    ----------
    rgb
        (H, W, 3) uint8 sRGB.

    Examples
    --------
    >>> lab_colours(np.array([[[255, 255, 255], [255, 0, 0]]], np.uint8))[:, 0].T.round()
    array([[100.,   0.,   0.],
           [ 53.,  80.,  67.]], dtype=float32)
    """
    levels = np.arange(256) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    shares = np.array([
        [0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]
    ])  # fmt: skip
    shares /= shares.sum(axis=1, keepdims=True)  # so that white is (1, 1, 1)
    light = np.moveaxis(linear.astype(np.float32)[rgb], 2, 0)
    lab = np.empty(light.shape, np.float32)
    x, y, z = np.tensordot(shares.astype(np.float32), light, axes=1)
    for amount in (x, y, z):  # cube root; a straight line near 0, where the root is too steep
        dark = amount < (6 / 29) ** 3
        straight = amount[dark] * np.float32((29 / 6) ** 2 / 3) + np.float32(4 / 29)
        np.cbrt(amount, out=amount)
        amount[dark] = straight
    lab[0], lab[1], lab[2] = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return lab
