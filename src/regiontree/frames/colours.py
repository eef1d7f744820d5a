"""From a decoded frame of a film to upright sRGB pixels, as people see them."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.images import LoadedImage, load_image
from regiontree.images.grid import nearest
from regiontree.images.valid import resized

if TYPE_CHECKING:
    from av import VideoFrame

__all__ = ["Conversion", "facts_of", "shown_size"]

_MATRICES = {
    0: "rgb", 1: "bt709", 4: "fcc", 5: "bt470bg", 6: "smpte170m", 7: "smpte240m", 8: "ycgco",
    9: "bt2020nc", 10: "bt2020c", 14: "ictcp",
}  # fmt: skip
_BT601, _BT709, _BT2020 = 6, 1, 9
_UNSAID = 2
_LIGHT = {16: "PQ", 18: "HLG"}
_PRIMARIES = {9: "bt2020", 11: "dci-p3", 12: "display-p3"}
_SRGB_CURVE, _BT709_PRIMARIES = 13, 1
_FULL = 2
_UPRIGHT = ((1, 0), (0, 1))


class Conversion:
    """How the frames of one film become pixels.

    Parameters
    ----------
    aspect
        Width of a pixel over its height.
    max_pixels
        Larger frames are refused.
    """

    def __init__(self, aspect: float, max_pixels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._aspect, self._max_pixels = aspect, max_pixels
        self._reformatter = VideoReformatter()

    def image(self, frame: VideoFrame) -> LoadedImage:
        """The pixels of a frame."""
        pixels = self._pixels(frame)
        image = load_image(pixels, max_pixels=self._max_pixels)
        size = shown_size(frame, self._aspect)
        wide = size if turn_of(frame)[0][0] else size[::-1]
        rgb, valid = image.rgb, image.valid
        if rgb.shape[:2] != wide:
            rgb = resized(rgb, wide, valid)
            valid = None if valid is None else nearest(valid, wide)
        rgb = np.ascontiguousarray(turned(rgb, turn_of(frame)))
        valid = None if valid is None else np.ascontiguousarray(turned(valid, turn_of(frame)))
        return replace(image, rgb=rgb, size=size, valid=valid)

    def _pixels(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """(h, w, 3 or 4) uint8, as stored."""
        from av.video.reformatter import Interpolation

        has_alpha = any(one.is_alpha for one in frame.format.components) or frame.format.name == (
            "pal8"
        )
        options: dict[str, Any] = {
            "format": "rgba" if has_alpha else "rgb24",
            "interpolation": Interpolation.BICUBIC
            | Interpolation.ACCURATE_RND
            | Interpolation.FULL_CHR_H_INT
            | Interpolation.BITEXACT,
            "threads": 1,
        }
        if not frame.format.is_rgb:
            options["src_colorspace"] = matrix_of(frame)
        options["dst_color_range"] = _FULL
        if frame.color_trc in _LIGHT:
            options["dst_color_trc"] = _SRGB_CURVE
            options["dst_color_primaries"] = _BT709_PRIMARIES
        elif frame.color_primaries in _PRIMARIES:  # as of all films, the curve stays
            options["dst_color_trc"] = frame.color_trc
            options["dst_color_primaries"] = _BT709_PRIMARIES
        shown = self._reformatter.reformat(frame, **options)
        return shown.to_ndarray().astype(np.uint8, copy=False)


def matrix_of(frame: VideoFrame) -> int:
    """The matrix between the stored values and RGB (ITU-T H.273, table 4).

    A frame that does not say it is read as players do: BT.709 from 1280 columns or 577 rows on.
    """
    if frame.colorspace != _UNSAID:
        return int(frame.colorspace)
    return _BT709 if frame.width >= 1280 or frame.height > 576 else _BT601


def turn_of(frame: VideoFrame) -> tuple[tuple[int, int], tuple[int, int]]:
    """The signs of the display matrix of a frame: ((a, b), (c, d)), each -1, 0 or 1.

    A stored pixel (x, y) is shown at (a x + c y, b x + d y). A matrix that turns by another angle
    than a multiple of 90 degrees counts as none.
    """
    side = frame.side_data.get("DISPLAYMATRIX")
    if side is None:
        return _UPRIGHT
    a, b, _, c, d = struct.unpack_from("=5i", memoryview(side))  # type: ignore[arg-type]
    signs = (_sign(a), _sign(b)), (_sign(c), _sign(d))
    straight = (bool(a), bool(b), bool(c), bool(d))
    if straight not in ((True, False, False, True), (False, True, True, False)):
        return _UPRIGHT
    return signs


def turned(pixels: NDArray[Any], turn: tuple[tuple[int, int], tuple[int, int]]) -> NDArray[Any]:
    """Pixels (H, W) or (H, W, 3) as they are shown by a display matrix: see :func:`turn_of`."""
    (a, b), (c, d) = turn
    if a == 0:
        pixels = pixels.swapaxes(0, 1)
    return pixels[:: b + d, :: a + c]


def shown_size(frame: VideoFrame, aspect: float) -> tuple[int, int]:
    """(H, W) at which people see a frame: rows are kept, columns follow the shape of pixels."""
    size = frame.height, max(1, round(frame.width * aspect))
    return size if turn_of(frame)[0][0] else size[::-1]


def facts_of(frame: VideoFrame) -> dict[str, Any]:
    """What is known of the colours and of the place of a film's pixels, as JSON values."""
    facts: dict[str, Any] = {"pixel_format": frame.format.name}
    notes = []
    bits = max((one.bits for one in frame.format.components), default=8)
    if bits > 8:
        facts["bits"] = bits
        notes.append(f"has {bits} bits a colour; they are shown in 8")
    if not frame.format.is_rgb:
        facts["matrix"] = _MATRICES.get(matrix_of(frame), str(matrix_of(frame)))
        if frame.colorspace == _UNSAID:
            facts["matrix_is_guessed"] = True
        facts["range"] = "full" if frame.color_range == _FULL or _is_full(frame) else "limited"
    if frame.color_trc in _LIGHT:
        facts["light"] = _LIGHT[frame.color_trc]
        notes.append(f"has high dynamic range ({_LIGHT[frame.color_trc]}); it is mapped to sRGB")
    if frame.color_primaries in _PRIMARIES:
        facts["primaries"] = _PRIMARIES[frame.color_primaries]
        notes.append(f"has the colours of {facts['primaries']}; they are brought to sRGB")
    if frame.interlaced_frame:
        facts["interlaced"] = True
        notes.append("is interlaced: the odd and even rows of a frame are of two moments")
    turn = turn_of(frame)
    if turn != _UPRIGHT:
        facts["display_matrix"] = [list(row) for row in turn]
    return facts | ({"notes": notes} if notes else {})


def _is_full(frame: VideoFrame) -> bool:
    return bool(frame.format.name.startswith("yuvj"))


def _sign(value: int) -> int:
    return (value > 0) - (value < 0)
