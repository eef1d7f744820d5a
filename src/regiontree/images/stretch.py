"""8-bit sRGB from the samples of an image file, of any depth.

- Samples of 8 bits are shown as they are.
- Deeper grey is stretched from its 0.1 to its 99.9 percentile. Medical and aerial images use only a
  part of their range, and a few outliers must not decide.
- Deeper colour is shown at the range that it was made for, if its values fill enough of it: half of
  8 bits, of 16 bits, of 0 to 1 for floats, or of the depth that the file names; four fifths of 10,
  12 or 14 bits, if the file does not name them. So a photograph looks the same at every depth.
  Other colours are stretched like grey. The three channels share one stretch, which keeps hues.
- Pixels without data, NaN and infinity count for nothing.

The facts record the values that became black and white: ``{"stretch": {"low": 0, "high": 4095}}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.profile import to_srgb
from regiontree.images.readers import Decoded

__all__ = ["Rendered", "over_white", "rendered"]

_PERCENTILES = (0.1, 99.9)
# The largest values of whole numbers of the depths that cameras and scanners have, and the share of
# the range that values must fill.
_DEPTHS = {255.0: 0.5, 1023.0: 0.8, 4095.0: 0.8, 16383.0: 0.8, 65535.0: 0.5}
# Floats are made for 0 to 1, or hold 8-bit values.
_FLOAT_RANGES = {1.0: 0.5, 255.0: 0.5}
# Rounding and sharpening push values of a float photograph beyond its range by about this share.
_BEYOND = 0.02
_NONE = {"f": 3.4028e38, "d": 1.7976e308}
# Percentiles of more samples than this are taken of every second, third, ... sample.
_SAMPLED = 1 << 24


@dataclass(frozen=True, slots=True)
class Rendered:
    """What became of the samples.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
        sRGB pixels. Where deep samples hold no data they are black.
    valid : (h, w) bool or None
        Which pixels hold data. None: all of them.
    facts : dict
        The decoded facts, and the stretch if there was one.
    """

    rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_] | None
    facts: dict[str, Any]


def rendered(decoded: Decoded, name: str) -> Rendered:
    """The samples as 8-bit sRGB.

    Parameters
    ----------
    decoded
        Samples as a reader gave them.
    name
        Of the image, for messages.

    Raises
    ------
    ImageError
        The samples are not real numbers, or none of them is finite.

    Examples
    --------
    >>> grey = np.array([[0, 500], [1000, 250]], np.uint16)
    >>> rendered(Decoded(grey, (2, 2)), "a scan").rgb[:, :, 0]
    array([[  0, 128],
           [255,  64]], dtype=uint8)
    """
    samples, valid, facts = decoded.samples, decoded.valid, dict(decoded.facts)
    if samples.dtype.kind not in "buif":
        raise ImageError(
            f"{name}: holds samples of type {samples.dtype}, which are no grey values or colours; "
            "save its magnitude, for example, as float"
        )
    if samples.dtype == np.bool_:
        samples = samples.astype(np.uint8) * np.uint8(255)
    if samples.dtype == np.uint8:
        eight = samples
    else:
        eight, finite, limits = _stretched(samples, decoded, name)
        valid = finite if valid is None else valid & finite
        if limits is not None:
            black, white = limits[::-1] if decoded.inverted else limits
            facts["stretch"] = {"low": black, "high": white}
    rgb = np.repeat(eight[:, :, None], 3, axis=2) if eight.ndim == 2 else eight
    # A stretch of grey is for contrast: the profile's curve no longer means anything.
    if decoded.profile and not (eight.ndim == 2 and "stretch" in facts):
        rgb, said = to_srgb(rgb, decoded.profile)
        if said is not None:
            facts["profile"] = said
    if decoded.alpha is not None:
        there = decoded.alpha > 0
        valid = there if valid is None else valid & there
        rgb = over_white(rgb, _opacity(decoded.alpha))
    if valid is not None and valid.all():
        valid = None
    return Rendered(np.ascontiguousarray(rgb), valid, facts)


def over_white(rgb: NDArray[np.uint8], opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours (h, w, 3) of some opacity (h, w), 0 to 255, over white."""
    image = Image.fromarray(np.dstack((rgb, opacity)), "RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def _stretched(
    samples: NDArray[Any], decoded: Decoded, name: str
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], tuple[float, float] | None]:
    """8-bit samples, which pixels are finite, and the values that became black and white.

    There are no such values if no pixel holds data.
    """
    # Values of eight bytes stay float64: in float32, 1e300 would become infinity.
    wide = samples.dtype.itemsize > 4
    values: NDArray[Any] = samples.astype(np.float64 if wide else np.float32)
    # The largest float is no measurement: programs write it where there is none.
    beyond = np.abs(values) >= _NONE.get(samples.dtype.char, np.inf)
    finite = ~(np.isnan(values) | beyond)
    finite = finite if finite.ndim == 2 else finite.all(axis=2)
    if not finite.any():
        raise ImageError(f"{name}: the image holds no finite value, only NaN or infinity")
    there = finite if decoded.valid is None else finite & decoded.valid
    if decoded.alpha is not None:
        there = there & (decoded.alpha > 0)
    if decoded.limits is not None:
        low, high = decoded.limits
    else:
        known = values[there]
        if not known.size:
            return np.zeros(values.shape, np.uint8), finite, None
        low, high = _limits(known, decoded, samples.dtype)
    if not there.all():
        values[~there] = low
    if high <= low:
        eight = np.full(values.shape, 127, np.uint8)
    else:
        scaled = np.clip((values - low) / (high - low), 0.0, 1.0)
        eight = (scaled * 255 + 0.5).astype(np.uint8)
    if decoded.inverted:
        eight = np.uint8(255) - eight
    if not there.all():
        eight[~there] = 0
    return eight, finite, (float(low), float(high))


def _limits(
    known: NDArray[np.floating[Any]], decoded: Decoded, dtype: np.dtype[Any]
) -> tuple[float, float]:
    """The values that become black and white. `known`: (n,) or (n, 3), what holds data."""
    flat = known.reshape(-1)
    low, high = np.percentile(flat[:: 1 + flat.size // _SAMPLED], _PERCENTILES)
    if decoded.samples.ndim == 3:
        floating = dtype.kind == "f"
        ranges = _FLOAT_RANGES if floating else _DEPTHS
        if decoded.white is not None:
            ranges = {decoded.white: 0.5, **ranges}
        beyond = _BEYOND if floating else 0.0
        for white, share in ranges.items():
            if low >= -beyond * white and high <= (1 + beyond) * white:
                if high - low >= share * white or flat.min() == flat.max():
                    return 0.0, white
                break
    if high <= low:
        low, high = flat.min(), flat.max()
    return float(low), float(high)


def _opacity(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    """Opacity as 0 to 255. It is 1 or the largest value of the alpha channel's own depth."""
    if alpha.dtype == np.uint8:
        return alpha
    if alpha.dtype == np.bool_:
        return alpha.astype(np.uint8) * np.uint8(255)
    values = np.nan_to_num(alpha.astype(np.float64), posinf=0.0, neginf=0.0)
    most = float(values.max())
    ranges = (1.0, *_DEPTHS) if alpha.dtype.kind == "f" else _DEPTHS
    opaque = next((white for white in ranges if most <= white * (1 + _BEYOND)), most)
    return (np.clip(values / opaque, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
