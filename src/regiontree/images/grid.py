"""Sizes and patch grids: how many patches an image has, and what the network sees of it."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Size", "fitted", "grid_of", "nearest", "parse_size", "to_pixels"]

Size = int | tuple[int, int]
"""A long side in pixels, aspect ratio kept; or an exact (height, width)."""


def parse_size(text: str | int | tuple[int, int]) -> Size:
    """``840`` -> long side 840; ``840x1680`` -> exactly 840 high, 1680 wide."""
    try:
        if isinstance(text, tuple | list):
            height, width = (operator.index(v) for v in text)
            size: Size = (height, width)
        elif isinstance(text, str) and "x" in text.lower():
            height, width = (int(v) for v in text.lower().split("x"))
            size = (height, width)
        else:
            size = int(text) if isinstance(text, str) else operator.index(text)
    except (TypeError, ValueError):
        raise SettingsError(
            f"size must be a long side like 840 or HEIGHTxWIDTH like 840x1680, got {text!r}"
        ) from None
    sides = (size,) if isinstance(size, int) else size
    if not all(1 <= side <= 65_536 for side in sides):
        raise SettingsError(f"size must be between 1 and 65536 pixels, got {text!r}")
    return size


def fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) in the proportions of `size` with the long side asked for, at least a pixel each."""
    scale = long_side / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def grid_of(image_size: tuple[int, int], size: Size, patch: int) -> tuple[int, int]:
    """Rows and columns of patches for an image of (H, W) pixels.

    A long side keeps the aspect ratio, each side rounded to whole patches, at least one. A grid
    never has more rows or columns than the image has pixels, so every patch owns a pixel.

    Raises
    ------
    SettingsError
        An exact size that is not a multiple of the patch.
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
                f"pixels; {near} is"
            )
        rows, columns = size[0] // patch, size[1] // patch
    return min(rows, height), min(columns, width)


def to_pixels(
    rgb: NDArray[np.uint8], grid: tuple[int, int], patch: int, *, floating: bool = True
) -> Tensor:
    """An image (H, W, 3) resized to whole patches: (3, rows * patch, columns * patch).

    Values are float32 in [0, 1], or uint8 if not `floating`.
    """
    import torch

    height, width = grid[0] * patch, grid[1] * patch
    resized = Image.fromarray(rgb).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return pixels.float().div_(255.0) if floating else pixels


def nearest(labels: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Labels (h, w) at (H, W) pixels: each pixel takes the cell that its centre lies in.

    Whole-number arithmetic, so that a centre on the line between two cells always falls to the
    second.
    """
    rows, columns = (
        (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
        for new, old in zip(size, labels.shape, strict=True)
    )
    spread: NDArray[np.int32] = labels[rows[:, None], columns]
    return spread
