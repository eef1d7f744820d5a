"""Mask images: files that say which pixels of a photograph are there.

In a mask image, black is not there and every other colour is. So are transparent pixels not there.
A mask is a lossless picture that one of the readers reads, or a NumPy array in an ``.npy`` file.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.pillow import DAMAGE
from regiontree.images.readers import (
    FIRST_BYTES,
    Decoded,
    ImageRequest,
    check_pixels,
    find_reader,
)
from regiontree.images.refused import refuse
from regiontree.images.valid import check_valid, mask_digest
from regiontree.system.damage import plain_reason
from regiontree.system.files import read_whole
from regiontree.system.npyfile import read_npy

__all__ = ["MASK_SUFFIXES", "digest_of_mask", "mask_for", "read_mask"]

MASK_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".pbm", ".npy")
"""Endings of files that are taken for masks in a folder."""
_JPEG = b"\xff\xd8\xff"


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
        data = read_whole(path)
        if data.startswith(_JPEG):
            raise ImageError(
                f"{path}: is a JPEG file, whose compression changes black; save the mask as PNG"
            )
        refuse(str(path), data[:FIRST_BYTES])
        return _opaque_and_not_black(_decoded(path, data, max_pixels))
    except FileNotFoundError:
        raise ImageError(f"{path}: no such mask; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder; give the path of a mask in it") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: Pillow refuses it as too large ({error})") from None
    except (*DAMAGE, MemoryError) as error:
        raise ImageError(f"{path}: cannot be read as a mask ({plain_reason(error)})") from error


def _decoded(path: Path, data: bytes, max_pixels: int) -> Decoded:
    """The samples of a mask, by the reader of its format."""
    reader = find_reader(path.suffix, data[:FIRST_BYTES])
    request = ImageRequest(io.BytesIO(data), str(path), max_pixels)
    check_pixels(str(path), reader.size(request), max_pixels)
    request.file.seek(0)
    decoded = reader.decode(request)
    if decoded.is_white_0:
        # Programs that write True as 1 call it black, so black may mean both.
        raise ImageError(
            f"{path}: shows its value 0 as white, so it is not clear which pixels are there; save "
            "the mask as PNG, with black where nothing is"
        )
    return decoded


def _opaque_and_not_black(decoded: Decoded) -> NDArray[np.bool_]:
    samples = decoded.samples if decoded.samples.ndim == 3 else decoded.samples[:, :, None]
    there: NDArray[np.bool_] = ((samples != 0) & (samples == samples)).any(axis=2)  # not NaN
    return there if decoded.alpha is None else there & (decoded.alpha > 0)
