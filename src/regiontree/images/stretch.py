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

__all__ = ["Rendered", "display_limits", "measured", "over_white", "rendered"]

_PERCENTILES = (0.1, 99.9)
# The largest values of whole numbers of the depths that cameras and scanners have, and the share of
# the range that values must fill.
_DEPTHS = {255.0: 0.5, 1023.0: 0.8, 4095.0: 0.8, 16383.0: 0.8, 65535.0: 0.5}
# Floats are made for 0 to 1, or hold 8-bit values.
_FLOAT_RANGES = {1.0: 0.5, 255.0: 0.5}
# Rounding and sharpening push values of a float photograph beyond its range by about this share.
_BEYOND = 0.02
# Samples that are floating point at a time.
_BLOCK = 1 << 24
_NONE = {"f": 3.4028e38, "d": 1.7976e308}
# Percentiles of more samples than this are taken of every second, third, ... sample.
_SAMPLED = 1 << 22


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


def display_limits(decoded: Decoded) -> tuple[float, float] | None:
    """The values that :func:`rendered` shows as black and white; None if it changes no value.

    A part of an image is shown like the whole if it is rendered with these ``limits`` of the whole.
    They are None for 8 bits, and if no pixel holds data.

    Parameters
    ----------
    decoded
        Samples of the whole image. A reduced copy will do.

    Examples
    --------
    >>> limits = display_limits(Decoded(np.array([[0, 500], [1000, 250]], np.uint16), (2, 2)))
    >>> [round(limit, 6) for limit in limits or ()]
    [0.75, 998.5]
    """
    samples = decoded.samples
    if samples.dtype in (np.uint8, np.bool_):
        return None
    there = measured(samples)
    if decoded.valid is not None:
        there = there & decoded.valid
    if decoded.alpha is not None:
        there = there & (decoded.alpha > 0)
    if not there.any():
        return None
    low, high = decoded.limits or _limits(samples, there, decoded.white)
    return float(low), float(high)


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
    finite = np.concatenate([measured(samples[rows]) for rows in _blocks(samples)])
    if not finite.any():
        raise ImageError(f"{name}: the image holds no finite value, only NaN or infinity")
    there = finite if decoded.valid is None else finite & decoded.valid
    if decoded.alpha is not None:
        there = there & (decoded.alpha > 0)
    eight = np.zeros(samples.shape, np.uint8)
    if not there.any():
        return eight, finite, None
    low, high = decoded.limits or _limits(samples, there, decoded.white)
    table = None
    if samples.dtype in (np.uint16, np.int16):  # each of the 65,536 values is scaled once
        every = np.arange(1 << 16, dtype=np.uint16).view(samples.dtype)
        table = _scaled(every, low, high)
    for rows in _blocks(samples):
        if table is not None:
            eight[rows] = table[samples[rows].view(np.uint16)]
        else:
            eight[rows] = _scaled(np.where(_as(there[rows], samples), samples[rows], 0), low, high)
        if decoded.inverted:
            eight[rows] = np.uint8(255) - eight[rows]
        eight[rows][~there[rows]] = 0
    return eight, finite, (float(low), float(high))


def _scaled(samples: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """0 to 255 from `low` to `high`; 127 if they are the same."""
    if high <= low:
        return np.full(samples.shape, 127, np.uint8)
    values: NDArray[Any] = np.clip(_floats(samples), low, high)
    if high - low > float(np.finfo(values.dtype).max) / 2:  # a fourth of each has the same shares
        values, low, high = values / 4, low / 4, high / 4
    share = np.clip((values - low) / (high - low), 0.0, 1.0)
    eight: NDArray[np.uint8] = (share * 255 + 0.5).astype(np.uint8)
    return eight


def _as(there: NDArray[np.bool_], samples: NDArray[Any]) -> NDArray[np.bool_]:
    """(h, w), or (h, w, 1) for colours."""
    return there if samples.ndim == 2 else there[:, :, None]


def _blocks(samples: NDArray[Any]) -> list[slice]:
    """Rows in blocks, so that a large image is not floating point as a whole."""
    step = max(1, _BLOCK // max(1, samples[0].size))
    return [slice(start, start + step) for start in range(0, len(samples), step)]


def _floats(samples: NDArray[Any]) -> NDArray[Any]:
    # float32 holds 24 bits: it would merge the values around 4,000,000,000, and 1e300 is infinity.
    wide = samples.dtype.itemsize > (4 if samples.dtype.kind == "f" else 2)
    return samples.astype(np.float64 if wide else np.float32)


def measured(samples: NDArray[Any]) -> NDArray[np.bool_]:
    """Which pixels are finite in every channel.

    The largest float is no measurement: programs write it where there is none.
    """
    if samples.dtype.kind != "f":
        return np.ones(samples.shape[:2], np.bool_)
    largest = _NONE.get(samples.dtype.newbyteorder("=").char, np.inf)
    finite: NDArray[np.bool_] = np.abs(samples) < largest  # false for NaN
    return finite if finite.ndim == 2 else np.logical_and.reduce(finite, axis=2)


def _limits(
    samples: NDArray[Any], there: NDArray[np.bool_], declared: float | None
) -> tuple[float, float]:
    """The values that become black and white.

    Parameters
    ----------
    samples
        (h, w) or (h, w, 3).
    there
        (h, w), which pixels hold data; at least one does.
    declared
        The largest value by the file's own account.
    """
    pixels = samples.reshape(there.size, -1)
    every = 1 + int(there.sum()) * pixels.shape[1] // _SAMPLED
    known = _floats(pixels[::every][there.reshape(-1)[::every]])
    if not known.size:
        known = _floats(samples[there])
    least, most = known.min(), known.max()
    # Differences of values near the largest float would be infinite. A power of 2 changes no digit.
    factor = 4.0 if max(-least, most) > float(np.finfo(known.dtype).max) / 4 else 1.0
    low, high = np.percentile(known / factor, _PERCENTILES) * factor
    if samples.ndim == 3:
        floating = samples.dtype.kind == "f"
        ranges = _FLOAT_RANGES if floating else _DEPTHS
        if declared is not None:
            ranges = {declared: 0.5, **ranges}
        beyond = _BEYOND if floating else 0.0
        for white, share in ranges.items():
            if low >= -beyond * white and high <= (1 + beyond) * white:
                if high - low >= share * white or least == most:
                    return 0.0, white
                break
    if high <= low:
        low, high = least, most
    return float(low), float(high)


def _opacity(alpha: NDArray[Any]) -> NDArray[np.uint8]:
    """Opacity as 0 to 255. It is 1 or the largest value of the alpha channel's own depth."""
    if alpha.dtype == np.uint8:
        return alpha
    if alpha.dtype == np.bool_:
        return alpha.astype(np.uint8) * np.uint8(255)
    there = np.isfinite(alpha)  # NumPy warns if some kinds of NaN change their type
    values = np.where(there, alpha, alpha.dtype.type(0)).astype(np.float64)
    most = float(values.max())
    ranges = (1.0, *_DEPTHS) if alpha.dtype.kind == "f" else _DEPTHS
    opaque = next((white for white in ranges if most <= white * (1 + _BEYOND)), most)
    return (np.clip(values / opaque, 0.0, 1.0) * 255 + 0.5).astype(np.uint8)
