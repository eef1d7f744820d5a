"""How little a frame differs from another one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.frames.frame import Frame
from regiontree.images import LoadedImage

__all__ = ["luminance_grid", "still"]

Floats = NDArray[np.float32]
_CELLS = 32  # cells along each side of the grid
_LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)  # ITU-R BT.709


def still(
    frame: Frame | LoadedImage | NDArray[np.uint8],
    previous: Frame | LoadedImage | NDArray[np.uint8],
) -> float:
    """How much a frame has changed, 0 to 255: 0 if nothing did.

    It is the mean absolute difference of luminance between two grids of 32 x 32 cells, where a cell
    has the mean of its pixels. So the noise of single pixels hardly counts. A mode that leaves the
    network out on frames that hardly change compares this with a threshold.

    Parameters
    ----------
    frame, previous
        Two frames, or their pixels (H, W, 3) uint8. Their sizes may differ.

    Examples
    --------
    >>> dark, light = np.zeros((2, 48, 64, 3), np.uint8)
    >>> light = dark + np.uint8(10)
    >>> still(dark, dark), round(still(light, dark), 3)
    (0.0, 10.0)
    """
    return float(np.abs(luminance_grid(frame) - luminance_grid(previous)).mean())


def luminance_grid(frame: Frame | LoadedImage | NDArray[np.uint8]) -> Floats:
    """Mean luminance of each of 32 x 32 cells of a frame, (32, 32) float32, 0 to 255."""
    image = frame.image if isinstance(frame, Frame) else frame
    rgb = image.rgb if isinstance(image, LoadedImage) else image
    whole = Image.fromarray(np.ascontiguousarray(rgb))
    small = whole.resize((_CELLS, _CELLS), Image.Resampling.BOX)
    grid: Floats = np.asarray(small, np.float32) @ _LUMINANCE
    return grid
