"""Label maps as PNG images, which every program shows: the value of a pixel is its leaf.

The image is grey, with 8 bits for up to 256 leaves and 16 bits for up to 65,536. A map of more
leaves is RGBA, with the lowest byte of the leaf in R. ``docs/decisions/88-the-store.md`` has what
it costs beside other codecs.
"""

from __future__ import annotations

import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.system.damage import plain_reason

__all__ = ["MAX_PIXELS", "label_map", "png_of"]

MAX_PIXELS = 1 << 30
"""Most pixels of a label map that is read, as in a tree file."""
_HEADER = struct.Struct(">8s4x4sIIBB")
_LEVEL = 6
_NO_FILTER = 8  # PNG_FILTER_NONE; labels of neighbours have no difference worth predicting
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KINDS = {(8, 0), (16, 0), (8, 6)}  # bits, colour type: grey, grey, RGBA


def png_of(labels: NDArray[np.int32]) -> bytes:
    """A label map, (H, W) int32 and not negative, as a PNG image."""
    most = int(labels.max())
    if most < 1 << 8:
        pixels = labels.astype(np.uint8)
    elif most < 1 << 16:
        pixels = labels.astype(np.uint16)
    else:
        pixels = np.ascontiguousarray(labels, dtype="<i4").view(np.uint8).reshape(*labels.shape, 4)
    return bytes(imagecodecs.png_encode(pixels, level=_LEVEL, filter=_NO_FILTER))


def label_map(data: Any, height: int, width: int) -> NDArray[np.int32]:
    """The label map of a PNG image that :func:`png_of` made, (height, width) int32.

    The size is checked before memory is allocated.

    Raises
    ------
    StoreError
        The bytes are no such image of that size, or are damaged.
    """
    data = bytes(data)
    if len(data) < _HEADER.size:
        raise StoreError("the label map is cut short")
    signature, chunk, found_width, found_height, bits, colour = _HEADER.unpack_from(data)
    if signature != _SIGNATURE or chunk != b"IHDR" or (bits, colour) not in _KINDS:
        raise StoreError("the label map is no PNG image of leaves")
    if (found_height, found_width) != (height, width) or not 0 < height * width <= MAX_PIXELS:
        raise StoreError(
            f"the label map has {found_height} x {found_width} pixels, its row says "
            f"{height} x {width}"
        )
    try:
        pixels = imagecodecs.png_decode(data)
    except (imagecodecs.PngError, ValueError, MemoryError) as error:
        raise StoreError(f"the label map is damaged ({plain_reason(error)})") from error
    shape = (height, width, 4) if colour == 6 else (height, width)
    if pixels.shape != shape:
        raise StoreError("the label map is no PNG image of leaves")
    if colour == 6:
        return np.ascontiguousarray(pixels).view("<i4").reshape(height, width).astype(np.int32)
    return pixels.astype(np.int32)
