"""Mask images: files that say which pixels of a photograph are there.

In a mask image, black is not there and every other colour is. So are transparent pixels not there.
A mask is a lossless picture, or a NumPy array in an ``.npy`` file.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from regiontree.errors import ImageError
from regiontree.images.valid import check_valid, mask_digest
from regiontree.system.damage import plain_reason
from regiontree.system.npyfile import read_npy

__all__ = ["MASK_SUFFIXES", "digest_of_mask", "mask_for", "read_mask"]

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".pbm", ".npy")
"""Endings of files that are taken for masks in a folder."""
_LOSSY = ("JPEG", "MPO")
# What Pillow's and NumPy's parsers raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
           AttributeError, RuntimeError, MemoryError, struct.error, zlib.error)  # fmt: skip


def mask_for(
    valid: Any, size: tuple[int, int], of: str, max_pixels: int
) -> NDArray[np.bool_] | None:
    """The mask (H, W) bool of what a user gave; None if it leaves nothing out.

    Parameters
    ----------
    valid
        The path of a mask image, or as for :func:`regiontree.images.valid.check_valid`.
    size
        (H, W) of what the mask must fit.
    of
        The name of that, for messages.
    max_pixels
        Files with more pixels are refused.

    Raises
    ------
    ImageError
        The mask cannot be read, or is of another size.
    """
    if not isinstance(valid, str | Path):
        return check_valid(valid, size, of)
    try:
        return check_valid(read_mask(Path(valid), max_pixels), size, of)
    except ImageError as error:
        said = str(error)
        raise ImageError(said if str(valid) in said else f"{valid}: {said}") from error


def digest_of_mask(path: Path, max_pixels: int) -> str | None:
    """The digest that trees record of the mask in a file; None if it leaves nothing out.

    Raises
    ------
    ImageError
        As :func:`read_mask`.
    """
    array = read_mask(path, max_pixels)
    height, width = (*array.shape, 1, 1)[:2]
    return mask_digest(check_valid(array, (height, width), str(path)))


def read_mask(path: Path, max_pixels: int) -> NDArray[Any]:
    """A mask from a file, (H, W) bool of a picture, or an array as it is stored.

    Raises
    ------
    ImageError
        The file is missing, damaged, too large, no picture or array, or was compressed with loss,
        which turns black into nearly black.
    """
    try:
        if path.suffix.lower() == ".npy":
            with path.open("rb") as file:
                return read_npy(file, os.fstat(file.fileno()).st_size)
        with Image.open(path) as image:
            if image.format in _LOSSY:
                raise ImageError(
                    f"{path}: is a {image.format} file, whose compression changes black; save the "
                    "mask as PNG"
                )
            if image.width * image.height > max_pixels:
                raise ImageError(
                    f"{path}: {image.width} x {image.height} pixels are above the limit of "
                    f"{max_pixels / 1e6:.3g} megapixels; raise max_pixels (--max-pixels)"
                )
            return _opaque_and_not_black(ImageOps.exif_transpose(image))
    except FileNotFoundError:
        raise ImageError(f"{path}: no such mask; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder; give the path of a mask in it") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: is not a picture that Pillow can read; save the mask as PNG"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: Pillow refuses it as too large ({error})") from None
    except _DAMAGE as error:
        raise ImageError(f"{path}: cannot be read as a mask ({plain_reason(error)})") from error


def _opaque_and_not_black(image: Image.Image) -> NDArray[np.bool_]:
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    values = np.asarray(image)
    if image.mode in ("RGBA", "LA", "RGBa", "La"):
        opaque: NDArray[np.bool_] = (values[..., :-1] != 0).any(axis=2) & (values[..., -1] != 0)
        return opaque
    if image.mode == "CMYK":
        values = np.asarray(image.convert("RGB"))
    values = np.atleast_3d(values)
    there: NDArray[np.bool_] = ((values != 0) & (values == values)).any(axis=2)  # not NaN
    return there
