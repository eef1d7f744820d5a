"""Sizes and patch grids: how many patches an image has, and which pixels the network gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import SettingsError, plain_tuple, whole_number

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Size", "fitted", "grid_of", "nearest", "parse_size", "to_pixels"]

_Value = TypeVar("_Value", bound=np.generic)

# Either the long side, which keeps the aspect ratio, or exactly (height, width). In pixels.
Size = int | tuple[int, int]
"""A long side in pixels, aspect ratio kept; or an exact (height, width)."""


def parse_size(text: str | int | tuple[int, int]) -> Size:
    """The size that a text or a number means.

    Parameters
    ----------
    text
        ``840`` is a long side of 840 pixels. ``840x1680`` is exactly 840 pixels high and 1680 wide,
        as is ``(840, 1680)``. Lists, NumPy's numbers and arrays of two numbers will do as well.

    Raises
    ------
    SettingsError
        `text` is not a size, or a side is not between 1 and 65,536 pixels.

    Examples
    --------
    >>> parse_size("840"), parse_size("840x1680")
    (840, (840, 1680))
    """
    text = plain_tuple(text)
    try:
        if isinstance(text, tuple):
            height, width = (whole_number(side) for side in text)
            size: Size = (height, width)
        elif isinstance(text, str) and "x" in text.lower():
            height, width = (int(v) for v in text.lower().split("x"))
            size = (height, width)
        else:
            size = int(text) if isinstance(text, str) else whole_number(text)
    except (TypeError, ValueError):
        raise SettingsError(
            f"size must be a long side like 840 or HEIGHTxWIDTH like 840x1680, got {text!r}"
        ) from None
    sides = (size,) if isinstance(size, int) else size
    if not all(1 <= side <= 65_536 for side in sides):
        raise SettingsError(f"size must be between 1 and 65536 pixels, got {text!r}")
    return size


def fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """`size` (H, W) scaled so that its longer side is `long_side`; each side is at least 1."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grid_of(image_size: tuple[int, int], size: Size, patch: int) -> tuple[int, int]:
    """Rows and columns of patches of an image.

    A grid never has more rows or columns than the image has rows or columns of pixels, so every
    patch covers a pixel.

    Parameters
    ----------
    image_size
        (H, W) of the image in pixels.
    size
        Size at which the network sees the image. A long side keeps the aspect ratio, and each side
        is rounded to whole patches, at least one.
    patch
        Side of a patch in pixels.

    Raises
    ------
    SettingsError
        A side of an exact size is not a multiple of `patch`.
    """
    height, width = image_size
    if isinstance(size, int):
        scale = size / max(height, width)
        rows, columns = (max(1, round(side * scale / patch)) for side in (height, width))
    else:
        if size[0] % patch or size[1] % patch:
            near = "x".join(str(max(1, round(side / patch)) * patch) for side in size)
            raise SettingsError(
                f"size {size[0]}x{size[1]} is not a multiple of the backbone's patch of {patch} "
                f"pixels; use {near}"
            )
        rows, columns = size[0] // patch, size[1] // patch
    return min(rows, height), min(columns, width)


def to_pixels(
    rgb: NDArray[np.uint8], grid: tuple[int, int], patch: int, *, floating: bool = True
) -> Tensor:
    """The image resized to whole patches: (3, rows * patch, columns * patch).

    The result is float32 in [0, 1], or uint8 in [0, 255] if `floating` is false. Resizing is
    bilinear and antialiased.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    grid
        Rows and columns of patches.
    patch
        Side of a patch in pixels.
    floating
        Whether the result is float32.
    """
    import torch

    height, width = grid[0] * patch, grid[1] * patch
    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return pixels.float().div_(255.0) if floating else pixels


def nearest(values: NDArray[_Value], size: tuple[int, int]) -> NDArray[_Value]:
    """Values resized by nearest neighbour: (H, W, ...), of the dtype of `values`.

    Each new cell takes the old cell that contains its centre. A centre on the line between two old
    cells takes the second one. Whole-number arithmetic makes this exact.

    Parameters
    ----------
    values
        (h, w, ...), labels or colours, for example.
    size
        (H, W).
    """
    rows, columns = (
        (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
        for new, old in zip(size, values.shape[:2], strict=True)
    )
    resized: NDArray[_Value]
    if size[0] < len(values):  # the smaller picture in between
        resized = values.take(rows, axis=0).take(columns, axis=1)
    else:
        resized = values.take(columns, axis=1).take(rows, axis=0)
    return resized
