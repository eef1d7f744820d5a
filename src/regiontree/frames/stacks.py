"""Arrays of frames."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.frames.selection import Raw
from regiontree.images import load_image
from regiontree.images.readers import check_pixels

__all__ = ["ArrayReader"]

_TITLE = "the array of frames"


class ArrayReader:
    """The frames of an array: a :class:`~regiontree.frames.clip.Reader`.

    Raises
    ------
    ImageError
        The array has a wrong shape or dtype, or holds no frame.
    """

    name = "array"
    title = _TITLE
    one = "frame"
    timed = False

    def __init__(self, array: NDArray[Any], max_pixels: int) -> None:
        shape = array.shape
        is_clip = array.ndim == 3 or (array.ndim == 4 and shape[3] in (1, 3, 4))
        if not is_clip or (array.ndim == 3 and shape[2] in (3, 4) and shape[0] > 4):
            hint = "; give one photograph as [photograph]" if array.ndim == 3 else ""
            raise ImageError(
                f"an array of frames must be (T, H, W) or (T, H, W, 1, 3 or 4), got {shape}{hint}"
            )
        if array.dtype != np.uint8:
            raise ImageError(
                f"an array of frames must hold uint8, got {array.dtype}; bring all frames to 0 to "
                "255 with one scale"
            )
        if shape[0] == 0:
            raise ImageError(f"{_TITLE}: has no frame (its shape is {shape})")
        check_pixels(_TITLE, (shape[1], shape[2]), max_pixels)
        self._array, self._max_pixels = array, max_pixels
        self.size: tuple[int, int] | None = (shape[1], shape[2])
        self.count: int | None = shape[0]
        self.facts: dict[str, Any] = {"kind": "array"}

    def digest(self) -> str:
        state = hashlib.sha256(repr(self._array.shape).encode())
        for frame in self._array:
            state.update(np.ascontiguousarray(frame).data)
        return state.hexdigest()

    def raws(self, kept: ExitStack) -> Iterator[Raw]:
        for number, frame in enumerate(self._array):
            yield Raw(number, None, partial(load_image, frame, max_pixels=self._max_pixels))
