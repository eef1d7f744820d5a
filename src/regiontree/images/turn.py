"""Turn stored pixels upright, by the orientation that EXIF and TIFF share."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["upright", "upright_size"]

_Value = TypeVar("_Value", bound=np.generic)


def upright(stored: NDArray[_Value], orientation: int) -> NDArray[_Value]:
    """Stored pixels (H, W, ...) as they look upright.

    Parameters
    ----------
    stored
        Pixels in the order of the file.
    orientation
        1 to 8, the value of tag 274. From 5 on, height and width change places. Any other value
        means upright.

    Examples
    --------
    >>> upright(np.array([[1, 2], [3, 4]]), 6)
    array([[3, 1],
           [4, 2]])
    """
    if orientation in (2, 3):
        stored = stored[:, ::-1]
    if orientation in (3, 4):
        stored = stored[::-1]
    if orientation in (6, 7):
        stored = stored[::-1]
    if orientation in (7, 8):
        stored = stored[:, ::-1]
    return stored.swapaxes(0, 1) if 5 <= orientation <= 8 else stored


def upright_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """(H, W) upright of a stored (H, W)."""
    return size[::-1] if 5 <= orientation <= 8 else size
