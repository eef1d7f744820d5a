"""Which channels of a decoded array make the picture: colours, a grey value, or chosen bands."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.images.readers import Decoded, ImageRequest, check_bands

__all__ = ["picture_of"]


def picture_of(
    channels: NDArray[Any], request: ImageRequest, *, alpha: int | None = None, **known: Any
) -> Decoded:
    """The picture in an array of channels.

    Parameters
    ----------
    channels
        (h, w) or (h, w, c).
    request
        Says which bands are asked for.
    alpha
        The channel that holds the opacity, counted from 0.
    **known
        Other fields of :class:`~regiontree.images.readers.Decoded`.

    Raises
    ------
    ImageError
        There is no such band.
    """
    channels = channels if channels.ndim == 3 else channels[:, :, None]
    count = channels.shape[2]
    if request.bands is not None:
        check_bands(request.name, request.bands, count)
        chosen = [band - 1 for band in request.bands]
    else:
        others = [band for band in range(count) if band != alpha]
        chosen = others[:3] if len(others) >= 3 else others[:1]
    facts = dict(known.pop("facts", {}))
    unseen = set(range(count)) - set(chosen) - {alpha}
    if unseen or request.bands is not None:
        facts |= {"bands": [band + 1 for band in chosen], "bands_in_file": count}
    samples = channels[:, :, chosen[0]] if len(chosen) == 1 else channels[:, :, chosen]
    known = {"size": (channels.shape[0], channels.shape[1]), **known}
    if alpha is not None and alpha not in chosen:
        opacity = channels[:, :, alpha]
        if request.bands is None:
            known["alpha"] = opacity
        else:  # chosen bands are no picture to put over white
            valid, there = known.get("valid"), opacity > 0
            known["valid"] = there if valid is None else np.logical_and(valid, there)
    return Decoded(samples, facts=facts, **known)
