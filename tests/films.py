"""Films that tests make: known colours, times, shapes of pixels and faults."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

__all__ = ["film", "flat", "patches", "yuv_film", "yuv_of"]

Rgb = NDArray[np.uint8]
# Weights of red and blue in the luminance (ITU-R BT.601, BT.709, BT.2020).
WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722), "bt2020": (0.2627, 0.0593)}
MATRICES = {"bt601": 6, "bt709": 1, "bt2020": 9}  # ITU-T H.273
LIMITED, FULL = 1, 2


def flat(colour: Sequence[int], size: tuple[int, int] = (48, 64)) -> Rgb:
    """A frame of one colour."""
    return np.full((*size, 3), colour, np.uint8)


def patches(colours: Sequence[Sequence[int]], size: tuple[int, int] = (64, 96)) -> Rgb:
    """A frame with a column of each colour."""
    frame = np.zeros((*size, 3), np.uint8)
    for part, colour in zip(np.array_split(np.arange(size[1]), len(colours)), colours, strict=True):
        frame[:, part] = colour
    return frame


def yuv_of(rgb: Rgb, matrix: str, *, full: bool = False, bits: int = 8) -> NDArray[np.uint16]:
    """Y'CbCr of R'G'B', (H, W, 3), by the definition (ITU-R BT.709-6, part 1, items 3.2 to 3.4)."""
    red, blue = WEIGHTS[matrix]
    r, g, b = np.moveaxis(rgb.astype(np.float64) / 255, -1, 0)
    y = red * r + (1 - red - blue) * g + blue * b
    cb, cr = (b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red))
    if full:
        top = 2**bits - 1
        values = np.stack([y * top, cb * top + 2 ** (bits - 1), cr * top + 2 ** (bits - 1)], -1)
    else:
        scale = 2 ** (bits - 8)
        values = np.stack([219 * y + 16, 224 * cb + 128, 224 * cr + 128], -1) * scale
    return np.clip(np.round(values), 0, 2**bits - 1).astype(np.uint16)


def film(
    path: Path,
    frames: Sequence[Rgb],
    *,
    codec: str = "ffv1",
    pixels: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    base: Fraction = Fraction(1, 25),
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    form: str | None = None,
    aspect: Fraction | None = None,
    matrix: int | None = None,
    turn: float | None = None,
    display: Any = None,
    metadata: dict[str, str] | None = None,
    settings: dict[str, Any] | None = None,
    source: str = "rgb24",
) -> Path:
    """A film of frames (H, W, 3), with a time stamp each, in units of `base` seconds."""
    with av.open(str(path), "w", format=form, container_options=container or {}) as out:
        stream = out.add_stream(codec, rate=round(1 / base), options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = base
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        for name, value in (settings or {}).items():
            setattr(stream.codec_context, name, value)
        if turn is not None:
            stream.set_display_rotation(turn)
        if display is not None:
            stream.set_display_matrix(display)
        stream.metadata.update(metadata or {})
        for number, pixel in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixel, format=source)
            if matrix is not None:
                frame = frame.reformat(format=pixels, dst_colorspace=matrix)
            frame.pts = number if stamps is None else stamps[number]
            frame.time_base = base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def yuv_film(
    path: Path,
    frames: Sequence[NDArray[np.uint16]],
    *,
    matrix: int,
    full: bool = False,
    bits: int = 8,
    curve: int | None = None,
    primaries: int | None = None,
) -> Path:
    """A lossless film of Y'CbCr values (H, W, 3), without a conversion by FFmpeg."""
    kind = "yuv444p" if bits == 8 else f"yuv444p{bits}le"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = kind
        context = stream.codec_context
        context.thread_count = 1
        context.colorspace, context.color_range = matrix, FULL if full else LIMITED
        if curve is not None:
            context.color_trc = curve
        if primaries is not None:
            context.color_primaries = primaries
        for number, values in enumerate(frames):
            frame = av.VideoFrame(values.shape[1], values.shape[0], kind)
            for plane, channel in zip(frame.planes, np.moveaxis(values, -1, 0), strict=True):
                depth = np.uint8 if bits == 8 else np.dtype("<u2")
                rows = np.zeros((plane.height, plane.line_size // np.dtype(depth).itemsize), depth)
                rows[:, : plane.width] = channel
                plane.update(rows.tobytes())
            frame.colorspace, frame.color_range = matrix, FULL if full else LIMITED
            if curve is not None:
                frame.color_trc = curve
            if primaries is not None:
                frame.color_primaries = primaries
            frame.pts = number
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path
