"""Images that are given as NumPy arrays: which shapes and types are images, and what they mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.readers import Decoded, check_bands, check_pixels

__all__ = ["from_array"]

_NAME = "the image array"


def from_array(
    array: NDArray[Any], max_pixels: int, bands: tuple[int, ...] | None = None
) -> Decoded:
    """The samples of an image array.

    Parameters
    ----------
    array
        (H, W) grey, or (H, W, 1, 3 or 4) with the opacity as the fourth channel, of bool, whole
        numbers or floats. With `bands`, (H, W, C). Masked pixels of a masked array hold no data.
    max_pixels
        Larger images are refused.
    bands
        The one or three channels to use, counted from 1. None: all of them.

    Raises
    ------
    ImageError
        The array has a wrong shape or dtype, is empty or too large.
    """
    shape = array.shape
    if array.ndim not in (2, 3) or (
        array.ndim == 3 and bands is None and shape[2] not in (1, 3, 4)
    ):
        raise ImageError(f"an image array must be (H, W) or (H, W, 1, 3 or 4), got shape {shape}")
    check_pixels(_NAME, (shape[0], shape[1]), max_pixels)
    if array.dtype.kind not in "buif":
        raise ImageError(f"an image array must hold numbers, got {array.dtype}")
    valid = _unmasked(array)
    samples = np.asarray(np.ma.getdata(array))
    facts: dict[str, Any] = {}
    alpha = None
    if bands is not None:
        count = 1 if samples.ndim == 2 else shape[2]
        check_bands(_NAME, bands, count)
        samples = samples.reshape(*shape[:2], count)[:, :, [band - 1 for band in bands]]
        facts["bands"] = list(bands)
    elif samples.ndim == 3 and shape[2] == 4:
        samples, alpha = samples[:, :, :3], samples[:, :, 3]
    if samples.ndim == 3 and samples.shape[2] == 1:
        samples = samples[:, :, 0]
    return Decoded(samples, (shape[0], shape[1]), valid=valid, alpha=alpha, facts=facts)


def _unmasked(array: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Which pixels of a masked array are there in every channel; None: all of them."""
    mask = np.ma.getmask(array)
    if mask is np.ma.nomask:
        return None
    whole = np.asarray(mask, np.bool_)
    there: NDArray[np.bool_] = ~(np.any(whole, axis=2) if whole.ndim == 3 else whole)
    return there
