"""A colour for each value of a stack: regions that are near in the tree differ much.

The nodes of a tree, in an order in which each is followed by those below it, get hues a golden
angle apart and one of four lightnesses. Hues and lightnesses are those of OKLCH, in which equal
steps look equal. The page of a tree in the browser has the same rule. A node keeps its colour in
every cut.

Reference: Ottosson, A perceptual color space for image processing, 2020.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.plugins.napari.stack import MOST_COLOURS, TreeStack
from regiontree.tree.kernel import preorder
from regiontree.tree.nodata import no_data_nodes

__all__ = ["oklch_to_srgb", "stack_colours"]

Floats = NDArray[np.floating[Any]]
_GOLDEN_ANGLE = 222.492  # degrees
_CHROMA = 0.14
_NO_DATA = (0.25, 0.25, 0.25, 1.0)  # dark grey, as in pictures of trees
_TO_LMS = ((1, 0.3963377774, 0.2158037573), (1, -0.1055613458, -0.0638541728),
           (1, -0.0894841775, -1.2914855480))  # fmt: skip
_TO_LINEAR = ((4.0767416621, -3.3077115913, 0.2309699292),
              (-1.2684380046, 2.6097574011, -0.3413193965),
              (-0.0041960863, -0.7034186147, 1.7076147010))  # fmt: skip


def oklch_to_srgb(lightness: Floats, chroma: float, hue: Floats) -> NDArray[np.float32]:
    """sRGB of OKLCH, (n, 3) float32 in [0, 1]; colours outside of sRGB are clipped.

    Parameters
    ----------
    lightness
        (n,) in [0, 1].
    chroma
        0 is grey.
    hue
        (n,) in degrees.

    Examples
    --------
    >>> oklch_to_srgb(np.array([1.0]), 0.0, np.array([0.0])).round(3).tolist()
    [[1.0, 1.0, 1.0]]
    """
    angle = np.deg2rad(hue)
    lab = np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1)
    linear = np.clip((lab @ np.transpose(_TO_LMS)) ** 3 @ np.transpose(_TO_LINEAR), 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    rgb: NDArray[np.float32] = curved.astype(np.float32)
    return rgb


def stack_colours(stack: TreeStack) -> NDArray[np.float32]:
    """Red, green, blue and opacity of each value, (values + 1, 4) float32 in [0, 1].

    Value 0 is transparent, and the leaf of pixels without data is dark grey. There are at most
    :data:`~regiontree.plugins.napari.stack.MOST_COLOURS` such colours.
    """
    rows = [np.zeros((1, 4), np.float32)]
    left = MOST_COLOURS
    for tree in stack.trees:
        rank = preorder(tree.parents).place
        rgb = oklch_to_srgb(0.6 + 0.1 * (rank % 4), _CHROMA, rank * _GOLDEN_ANGLE % 360)
        own = np.concatenate([rgb, np.ones((len(rgb), 1), np.float32)], axis=1)
        own[no_data_nodes(tree.stop)] = _NO_DATA
        rows.append(own[:left])
        left -= len(rows[-1])
        if not left:
            break
    return np.concatenate(rows)
