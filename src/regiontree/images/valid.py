"""Which pixels of a photograph are there, and colours for those that are not.

A satellite scene has a border without data, a scan has holes, and a user may have masked a
watermark. Such pixels still have some value in the file. Nothing may depend on it. So every picture
that is made of the photograph leaves these values out:

1. Resizing is a mean weighted by validity. So a value that is not there never mixes with its
   neighbours.
2. A pixel without any value takes the colours around it, spread over the gap ever more smoothly.
   This is the pull-push method of Gortler et al. (*The Lumigraph*, SIGGRAPH 1996): the picture is
   halved until no gap is left, and each gap takes its colour from the next smaller picture.

Some value is needed, because a network sees whole rectangles. A smooth continuation shows the
network no edge that is not in the photograph. benchmarks/nodata.py compares it with a mean colour,
with grey and with the nearest colour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.grid import nearest

__all__ = [
    "PatchGaps",
    "both",
    "check_valid",
    "filled",
    "mask_digest",
    "resized",
    "valid_at",
    "valid_patches",
]

Bools = NDArray[np.bool_]
Rgb = NDArray[np.uint8]
Floats = NDArray[np.float32]

# A weight below this is rounding of a resampling filter, not a pixel.
_NOTHING = 1e-4
_STRIP = 16_000_000  # pixels of a picture that Pillow copies at once: 64 MB


def check_valid(valid: Any, size: tuple[int, int], of: str = "the photograph") -> Bools | None:
    """Which pixels are there, (H, W) bool, from what a user gave; None if all of them are.

    Parameters
    ----------
    valid
        (H, W) numbers or bool; a pixel whose value is not 0 is there. Masked entries of a masked
        array are not.
    size
        (H, W) of the photograph in pixels, upright.
    of
        What has this size, for messages.

    Raises
    ------
    ImageError
        `valid` has another shape, or holds no numbers.
    """
    try:
        array = np.asarray(valid.filled(0) if isinstance(valid, np.ma.MaskedArray) else valid)
    except (TypeError, ValueError) as error:  # rows of different lengths, memory of a GPU
        raise ImageError(f"valid must be an array (H, W) of bool or numbers ({error})") from error
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype.kind not in "buif":
        raise ImageError(f"valid must hold bool or numbers, got {array.dtype}; pass pixels != 0")
    if array.shape != tuple(size):
        shape = " x ".join(str(side) for side in array.shape) or "a single value"
        hint = "make both of one size"
        if array.shape == tuple(size)[::-1]:
            hint = "it looks transposed: rows come first"
        elif array.ndim != 2:
            hint = "a mask has rows and columns only"
        raise ImageError(
            f"valid is {shape} and {of} is {size[0]} x {size[1]} pixels (height x width); {hint}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ImageError("valid must be finite, but it holds NaN or infinity; pass ~numpy.isnan(a)")
    there: Bools = array != 0
    return None if there.all() else there


def both(one: Bools | None, other: Bools | None) -> Bools | None:
    """The pixels that are in both masks, where None is the mask of all pixels."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


def mask_digest(valid: Bools | None) -> str | None:
    """sha256 of the shape and the values of a mask; None for a mask that leaves nothing out."""
    if valid is None or valid.all():
        return None
    state = hashlib.sha256(repr(valid.shape).encode())
    state.update(np.packbits(valid, axis=1).data)
    return state.hexdigest()


# -- masks at other sizes -------------------------------------------------------------------------


def valid_at(valid: Bools, size: tuple[int, int]) -> Bools:
    """The mask at another size, (H', W') bool: a pixel is there if most of its area is.

    A mask that has fewer rows or columns than `size` is enlarged by nearest neighbour.
    """
    if valid.shape == tuple(size):
        return valid
    if valid.shape[0] < size[0] or valid.shape[1] < size[1]:
        return nearest(valid, size)
    count, whole = _counts(valid, size)
    there: Bools = 2 * count >= whole
    return there


def valid_patches(valid: Bools, grid: tuple[int, int]) -> Bools:
    """Which patches are there, (h, w) bool.

    A patch is there if at least half of its pixels are. If there is no such patch, every patch with
    a valid pixel is there. A pixel belongs to the patch that :func:`regiontree.images.nearest`
    takes for it.

    Parameters
    ----------
    valid
        (H, W) bool, with H >= h and W >= w.
    grid
        (h, w), rows and columns of patches.

    Examples
    --------
    >>> valid_patches(np.array([[1, 1, 0, 1, 0, 0]], bool), (1, 3))
    array([[ True,  True, False]])
    """
    count, whole = _counts(valid, grid)
    most: Bools = 2 * count >= whole
    return most if most.any() else count > 0


@dataclass(frozen=True, slots=True, eq=False)
class PatchGaps:
    """The patches of a grid that are there, and which of them stands for each that is not.

    Attributes
    ----------
    there : (h, w) bool
        As :func:`valid_patches` gives them.
    index : (n,) int64
        Places of the n patches that are there, counted row by row.
    nearest : (h * w,) int64
        For each patch of the grid, the nearest of the n; itself where it is there.
    """

    there: Bools
    index: NDArray[np.int64]
    nearest: NDArray[np.int64]

    @classmethod
    def of(cls, valid: Bools, grid: tuple[int, int]) -> PatchGaps:
        """The gaps in a grid (h, w) over pixels of which some are valid, (H, W) bool."""
        # SciPy takes a quarter of a second to import, and few photographs have gaps.
        from scipy.ndimage import distance_transform_edt

        there = valid_patches(valid, grid)
        index = np.flatnonzero(there)
        number = np.zeros(there.size, np.int64)
        number[index] = np.arange(len(index))
        y, x = distance_transform_edt(~there, return_distances=False, return_indices=True)
        return cls(there, index, number[(y * grid[1] + x).reshape(-1)])


def _counts(valid: Bools, grid: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Number of valid pixels of each cell, (h, w), and number of all its pixels."""
    starts = []
    for pixels, cells in zip(valid.shape, grid, strict=True):
        # The first pixel whose centre lies in each cell.
        cell = np.arange(cells, dtype=np.int64)
        starts.append(-((cells - 2 * pixels * cell) // (2 * cells)))
    rows = np.add.reduceat(valid, starts[0], axis=0, dtype=np.int64)
    count = np.add.reduceat(rows, starts[1], axis=1)
    tall, wide = (
        np.diff(start, append=pixels) for start, pixels in zip(starts, valid.shape, strict=True)
    )
    return count, tall[:, None] * wide


# -- colours --------------------------------------------------------------------------------------


def resized(
    rgb: Rgb,
    size: tuple[int, int],
    valid: Bools | None = None,
    *,
    how: Image.Resampling = Image.Resampling.BILINEAR,
) -> Rgb:
    """The picture at another size, (H', W', 3) uint8, made of the pixels that are there only.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    size
        (H', W').
    valid
        (H, W) bool, which pixels are there. None: all of them.
    how
        A filter of Pillow whose weights are not negative.
    """
    if valid is None:
        return _resized_in_strips(rgb, size, how)
    if rgb.shape[:2] == tuple(size):
        return filled(rgb, valid)
    weight = _resampled(valid.astype(np.float32), size, how)
    colours = np.empty((*size, 3), np.float32)
    for channel in range(3):
        values = np.where(valid, rgb[:, :, channel], 0).astype(np.float32)
        colours[:, :, channel] = _resampled(values, size, how)
    there = weight > _NOTHING
    colours[there] /= weight[there][:, None]
    return _filled(colours, there)


def _resized_in_strips(rgb: Rgb, size: tuple[int, int], how: Image.Resampling) -> Rgb:
    """The picture at another size, (H', W', 3), without a copy of the whole by Pillow.

    Pillow copies what it resizes, to 4 bytes a pixel. So the width of a large picture is changed
    strip by strip, and then the height of the whole. A picture of one strip is resized as Pillow
    does it; of more, a value differs from Pillow's by one at most, as Pillow may begin with the
    height.
    """
    rows = max(1, _STRIP // rgb.shape[1])
    if rgb.shape[0] > rows and size[1] < rgb.shape[1]:
        strips = np.array_split(rgb, -(-rgb.shape[0] // rows))
        rgb = np.concatenate([
            np.asarray(Image.fromarray(strip).resize((size[1], strip.shape[0]), how))
            for strip in strips
        ])  # fmt: skip
    return np.asarray(Image.fromarray(rgb).resize(size[::-1], how))


def filled(rgb: Rgb, valid: Bools) -> Rgb:
    """The picture with colours spread over the pixels that are not there, (H, W, 3) uint8.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    valid
        (H', W') bool. If the sizes differ, a pixel is not there if no part of it is.
    """
    if valid.shape != rgb.shape[:2]:
        tall, wide = rgb.shape[:2]
        reduced = valid.shape[0] >= tall and valid.shape[1] >= wide
        valid = _counts(valid, (tall, wide))[0] > 0 if reduced else nearest(valid, (tall, wide))
    return _filled(rgb.astype(np.float32), valid)


def _filled(colours: Floats, valid: Bools) -> Rgb:
    """8-bit colours; pixels that are not valid take those around them, whatever they hold."""
    spread = _spread(np.where(valid[:, :, None], colours, np.float32(0)), valid)
    eight_bit: Rgb = np.clip(spread + np.float32(0.5), 0, 255).astype(np.uint8)
    return eight_bit


def _spread(colours: Floats, valid: Bools) -> Floats:
    """Colours with every gap filled, (H, W, 3); they are 0 where they are not valid."""
    if valid.all():
        return colours
    if not valid.any():
        return np.full_like(colours, 127)
    height, width = valid.shape
    half = -(-height // 2), -(-width // 2)
    count = _by_four(valid.astype(np.float32), half)
    some = count > 0
    smaller = np.stack([_by_four(colours[:, :, i], half) for i in range(3)], axis=2)
    smaller[some] /= count[some][:, None]
    smaller = _spread(smaller, some)
    larger = np.stack(
        [_resampled(smaller[:, :, i], valid.shape, Image.Resampling.BILINEAR) for i in range(3)],
        axis=2,
    )
    larger[valid] = colours[valid]
    return larger


def _by_four(values: Floats, half: tuple[int, int]) -> Floats:
    """Sums of 2 x 2 pixels, of a picture made even by zeros at its end."""
    even = np.zeros((2 * half[0], 2 * half[1]), np.float32)
    even[: values.shape[0], : values.shape[1]] = values
    sums: Floats = even.reshape(half[0], 2, half[1], 2).sum(axis=(1, 3))
    return sums


def _resampled(values: Floats, size: tuple[int, ...], how: Image.Resampling) -> Floats:
    return np.array(Image.fromarray(values).resize((size[1], size[0]), how))
