"""JPEG, JPEG 2000 and PNM files of more than 8 bits, which Pillow refuses or cuts to 8 bits.

Each reader looks at the header and leaves files of 8 bits to Pillow. Sources: ITU T.81 (JPEG),
ITU T.800 (JPEG 2000), the manuals of Netpbm, and Debevec's page on PFM.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.channels import picture_of
from regiontree.images.pillow import PillowReader
from regiontree.images.readers import Decoded, ImageRequest, check_page, check_pixels

__all__ = ["Jpeg2000Reader", "JpegReader", "PnmReader"]


def _start(request: ImageRequest, length: int) -> bytes:
    """The first bytes of the file, which is then at its first byte again."""
    start = request.file.read(length)
    request.file.seek(0)
    return start


class JpegReader(PillowReader):
    """JPEG, also of 12 bits and lossless: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = frozenset({".jpg", ".jpeg", ".jpe", ".jfif"})
    starts = (b"\xff\xd8\xff",)

    def size(self, request: ImageRequest) -> tuple[int, int]:
        frame = _jpeg_frame(_start(request, 1 << 20))
        return frame.size if frame is not None and frame.is_deep else super().size(request)

    def decode(self, request: ImageRequest) -> Decoded:
        frame = _jpeg_frame(_start(request, 1 << 20))
        if frame is None or not frame.is_deep:
            return super().decode(request)
        check_pixels(request.name, frame.size, request.max_pixels)
        check_page(request.name, request.page or 0, 1)
        data = request.file.read()
        if b"\xff\xd9" not in data[-4096:]:  # the decoder would fill up what is missing
            raise ImageError(f"{request.name}: is damaged or cut short (no end of image)")
        if frame.marker == 0xC3:
            samples = imagecodecs.ljpeg_decode(data)
        elif frame.marker == 0xF7:
            samples = imagecodecs.jpegls_decode(data)
        else:
            samples = imagecodecs.jpeg8_decode(data)
        if samples.dtype == np.uint8 and frame.bits == 8:
            return picture_of(samples, request)
        return picture_of(samples, request, white=float((1 << frame.bits) - 1))


@dataclass(frozen=True, slots=True)
class _Frame:
    """The frame header of a JPEG: its kind (a marker), bits and (H, W)."""

    marker: int
    bits: int
    size: tuple[int, int]

    @property
    def is_deep(self) -> bool:
        """Whether Pillow does not read it: deeper than 8 bits, lossless, or JPEG-LS."""
        return self.bits > 8 or self.marker in (0xC3, 0xF7)


def _jpeg_frame(data: bytes) -> _Frame | None:
    """The frame header; None if there is none in the first bytes."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            return _Frame(marker, bits, (height, width))
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None


class Jpeg2000Reader(PillowReader):
    """JPEG 2000, also deep or with many bands."""

    suffixes = frozenset({".jp2", ".j2k", ".j2c", ".jpx", ".jpf", ".jpc"})
    starts = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")

    def size(self, request: ImageRequest) -> tuple[int, int]:
        start = _start(request, 1 << 20)
        at = start.find(b"\xff\x4f\xff\x51")
        if at < 0 or at + 43 > len(start):
            return super().size(request)
        return _jp2_size(start, at)

    def decode(self, request: ImageRequest) -> Decoded:
        start = _start(request, 1 << 20)
        at = start.find(b"\xff\x4f\xff\x51")
        if at < 0 or at + 43 > len(start):
            return super().decode(request)
        size = _jp2_size(start, at)
        count = struct.unpack_from(">H", start, at + 40)[0]
        depths = start[at + 42 : at + 42 + 3 * count : 3]
        alpha = _alpha(start[:at], count)
        is_colour = count <= 3 or (count == 4 and (alpha is not None or at == 0))
        # GDAL calls several bands grey if it does not know their colours. Pillow refuses that.
        is_usual = count <= 2 or not _says_grey(start[:at])
        if is_colour and is_usual and all(depth <= 7 for depth in depths):
            return super().decode(request)
        check_pixels(request.name, size, request.max_pixels)
        check_page(request.name, request.page or 0, 1)
        samples = imagecodecs.jpeg2k_decode(request.file.read())
        if samples.shape[:2] != size:
            raise ImageError(f"{request.name}: is damaged or cut short (its header is wrong)")
        bits = max(depths) & 0x7F
        white = None if max(depths) & 0x80 or bits < 8 else float((2 << bits) - 1)
        return picture_of(samples, request, alpha=alpha, white=white)


def _jp2_size(start: bytes, at: int) -> tuple[int, int]:
    """(H, W) of the codestream that begins at `at`."""
    right, bottom, left, top = struct.unpack_from(">4I", start, at + 8)
    return max(0, bottom - top), max(0, right - left)


def _says_grey(head: bytes) -> bool:
    """Whether the boxes of a JP2 name grey as its colour space (EnumCS 17)."""
    at = head.find(b"colr")
    return at >= 0 and head[at + 4 : at + 5] == b"\1" and head[at + 7 : at + 11] == b"\0\0\0\x11"


def _alpha(head: bytes, count: int) -> int | None:
    """The channel that the boxes of a JP2 call opacity, counted from 0."""
    at = head.find(b"cdef")
    if at < 0:
        return None
    entries = int.from_bytes(head[at + 4 : at + 6], "big")
    for i in range(min(entries, count)):
        channel, kind = struct.unpack_from(
            ">HH", head.ljust(at + 12 + 6 * i, b"\0"), at + 6 + 6 * i
        )
        if kind in (1, 2) and 0 < channel < count:
            return int(channel)
    return None


class PnmReader(PillowReader):
    """PGM and PPM of more than 8 bits, and PFM of floats."""

    suffixes = frozenset({".ppm", ".pgm", ".pbm", ".pnm", ".pfm"})
    starts = (b"P2", b"P3", b"P5", b"P6", b"PF", b"Pf")

    def size(self, request: ImageRequest) -> tuple[int, int]:
        head = _pnm_head(_start(request, 1 << 16))
        return super().size(request) if head is None else head.size

    def decode(self, request: ImageRequest) -> Decoded:
        head = _pnm_head(_start(request, 1 << 16))
        if head is None or (head.kind not in (b"PF", b"Pf") and head.most <= 255):
            return super().decode(request)
        check_pixels(request.name, head.size, request.max_pixels)
        check_page(request.name, request.page or 0, 1)
        content = request.file.read()[head.end :]
        count = head.size[0] * head.size[1] * head.channels
        if head.kind in (b"PF", b"Pf"):
            order = "<f4" if head.most < 0 else ">f4"
            samples: NDArray[Any] = np.frombuffer(content, order, count)
        elif head.kind in (b"P5", b"P6"):
            samples = np.frombuffer(content, ">u2", count)
        else:
            samples = np.array(content.split()[:count], np.uint16)
        if samples.size < count:
            raise ImageError(f"{request.name}: is damaged or cut short")
        samples = samples.reshape(*head.size, head.channels)
        if head.kind in (b"PF", b"Pf"):
            return picture_of(samples[::-1], request)  # the rows go from the bottom up
        return picture_of(samples, request, white=head.most)


@dataclass(frozen=True, slots=True)
class _Head:
    """The header of a PNM or PFM: `most` is the largest value, or the scale of a PFM."""

    kind: bytes
    size: tuple[int, int]
    most: float
    end: int

    @property
    def channels(self) -> int:
        return 3 if self.kind in (b"P3", b"P6", b"PF") else 1


_BLANK = rb"(?:\s|#[^\n]*\n)+"
_PNM = re.compile(
    rb"(P[2356Ff])" + _BLANK + rb"(\d{1,9})" + _BLANK + rb"(\d{1,9})" + _BLANK
    + rb"([-+.eE\d]{1,20})(?:#[^\n]*\n)?\s"
)  # fmt: skip


def _pnm_head(data: bytes) -> _Head | None:
    found = _PNM.match(data)
    if found is None:
        return None
    kind, width, height, most = found.groups()
    return _Head(kind, (int(height), int(width)), float(most), found.end())
