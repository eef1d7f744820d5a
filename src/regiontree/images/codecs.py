"""JPEG XL, Radiance and QOI files by imagecodecs.

The size is read from the header before anything is decoded. Sources: ISO/IEC 18181 (JPEG XL),
Ward's description of Radiance pictures, the QOI specification.
"""

from __future__ import annotations

import re
import struct
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.channels import picture_of
from regiontree.images.readers import Decoded, ImageReader, ImageRequest, check_page, check_pixels

__all__ = ["JpegXlReader", "QoiReader", "RadianceReader"]


class _CodecReader(ImageReader):
    """A format with one image, whose channels are grey or colours and perhaps opacity."""

    def size(self, request: ImageRequest) -> tuple[int, int]:
        found = self.claimed(request.file.read())
        if found is None:
            raise ImageError(f"{request.name}: is damaged or cut short (its header is wrong)")
        return found

    def decode(self, request: ImageRequest) -> Decoded:
        data = request.file.read()
        size = self.claimed(data)
        if size is None:
            raise ImageError(f"{request.name}: is damaged or cut short (its header is wrong)")
        check_pixels(request.name, size, request.max_pixels)
        samples = self.unpack(data, request)
        if samples.ndim not in (2, 3):
            raise ImageError(f"{request.name}: holds an image of shape {samples.shape}")
        alpha = samples.shape[2] - 1 if samples.ndim == 3 and samples.shape[2] in (2, 4) else None
        return picture_of(samples, request, alpha=alpha)

    def claimed(self, data: bytes) -> tuple[int, int] | None:
        """(H, W) by the header; None if it is damaged."""
        raise NotImplementedError

    def unpack(self, data: bytes, request: ImageRequest) -> NDArray[Any]:
        """The decoded channels of the page that is asked for, (h, w) or (h, w, c)."""
        raise NotImplementedError


class JpegXlReader(_CodecReader):
    """JPEG XL, bare or in boxes. The decoder turns it upright."""

    suffixes = frozenset({".jxl"})
    starts = (b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")

    def unpack(self, data: bytes, request: ImageRequest) -> NDArray[Any]:
        if not request.page:
            return imagecodecs.jpegxl_decode(data, index=0)
        frames = imagecodecs.jpegxl_decode(data)
        check_page(request.name, request.page, len(frames) if frames.ndim == 4 else 1)
        frame: NDArray[Any] = frames[request.page]
        return frame

    def claimed(self, data: bytes) -> tuple[int, int] | None:
        if not data.startswith(b"\xff\x0a"):
            at = data.find(b"\xff\x0a", 12, 1 << 20)
            # A box of a part has a number of four bytes before the codestream.
            boxes = [data[at - 4 : at], data[at - 8 : at - 4]]
            if at < 0 or not {b"jxlc", b"jxlp"} & set(boxes):
                return None
            data = data[at:]
        return _jxl_size(int.from_bytes(data[2:18].ljust(16, b"\0"), "little"))


def _jxl_size(bits: int) -> tuple[int, int]:
    """(H, W) by the bits after the signature, the lowest first."""

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    def side() -> int:
        return 8 * (take(5) + 1) if small else 1 + take((9, 13, 18, 30)[take(2)])

    small = take(1)
    height = side()
    ratio = take(3)
    if ratio == 0:
        return height, side()
    over, under = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height, height * over // under


class QoiReader(_CodecReader):
    """QOI, the "quite OK" format."""

    suffixes = frozenset({".qoi"})
    starts = (b"qoif",)

    def unpack(self, data: bytes, request: ImageRequest) -> NDArray[Any]:
        check_page(request.name, request.page or 0, 1)
        return imagecodecs.qoi_decode(data)

    def claimed(self, data: bytes) -> tuple[int, int] | None:
        width, height = struct.unpack_from(">II", data, 4)
        return (height, width) if data.endswith(bytes(7) + b"\1") else None


class RadianceReader(_CodecReader):
    """Radiance pictures (.hdr). Their light is linear, so it is brought to a curve like sRGB's."""

    # A file .hdr in a folder is more often the text beside ENVI data.
    suffixes = frozenset({".rgbe"})
    starts = (b"#?RADIANCE", b"#?RGBE")

    def unpack(self, data: bytes, request: ImageRequest) -> NDArray[Any]:
        check_page(request.name, request.page or 0, 1)
        light = imagecodecs.rgbe_decode(data)
        curved: NDArray[Any] = np.maximum(light, 0) ** np.float32(1 / 2.2)
        return curved

    def claimed(self, data: bytes) -> tuple[int, int] | None:
        found = re.search(rb"\n\n-Y (\d{1,9}) \+X (\d{1,9})\n", data[: 1 << 16])
        return None if found is None else (int(found[1]), int(found[2]))
