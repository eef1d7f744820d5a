"""PNG files: deep colour, which Pillow cuts to 8 bits, and large texts and profiles.

Pillow refuses a file whose text or profile is larger than a megabyte, to be safe from small files
that unpack to large texts. Such a file is whole. Its large texts are left out here, and its profile
is unpacked up to a limit. Source: the PNG specification.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import imagecodecs
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.channels import picture_of
from regiontree.images.pillow import DAMAGE, PillowReader
from regiontree.images.readers import Decoded, ImageRequest, check_page, check_pixels
from regiontree.images.turn import upright

__all__ = ["PngReader"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
# Texts up to this size, once unpacked, go to Pillow: the orientation may be in one of them.
_SMALL_TEXT = 1 << 19
_MOST_TEXT = 1 << 24
_LARGEST_PROFILE = 32 << 20


class PngReader(PillowReader):
    """PNG: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = frozenset({".png", ".apng"})
    starts = (_SIGNATURE,)

    def size(self, request: ImageRequest) -> tuple[int, int]:
        return super().size(replace(request, file=io.BytesIO(_slim(request.file.read())[0])))

    def decode(self, request: ImageRequest) -> Decoded:
        data = request.file.read()
        if not data.startswith(_SIGNATURE):
            request.file.seek(0)
            return super().decode(request)
        if data[12:16] == b"IHDR" and data[24:25] == b"\x10":
            return _deep(data, request)
        slim, profile = _slim(data)
        found = super().decode(replace(request, file=io.BytesIO(slim)))
        return found if profile is None else replace(found, profile=profile)


def _deep(data: bytes, request: ImageRequest) -> Decoded:
    """The samples of a PNG of 16 bits."""
    width, height, _, colour, packing, filters, order = struct.unpack_from(">II5B", data, 16)
    if colour not in (0, 2, 4, 6) or packing or filters or order > 1:  # libpng prints about it
        raise ImageError(f"{request.name}: is damaged (its header is wrong)")
    check_pixels(request.name, (height, width), request.max_pixels)
    check_page(request.name, request.page or 0, 1)
    samples = imagecodecs.png_decode(_bare(data))  # a transparent colour becomes an opacity
    chunks = {kind: (start, length) for kind, start, length in _chunks(data)}
    profile = _profile(data, *chunks[b"iCCP"]) if b"iCCP" in chunks else None
    alpha = samples.shape[2] - 1 if samples.ndim == 3 and samples.shape[2] in (2, 4) else None
    found = picture_of(samples, request, alpha=alpha, profile=profile)
    turned = _orientation(data, *chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    samples = upright(found.samples, turned)
    return replace(
        found,
        samples=samples,
        size=samples.shape[:2],
        alpha=None if found.alpha is None else upright(found.alpha, turned),
        valid=None if found.valid is None else upright(found.valid, turned),
    )


def _bare(data: bytes) -> bytes:
    """The file with the chunks of its pixels only. libpng prints about other ones with damage."""
    kept = [_SIGNATURE]
    for kind, start, length in _chunks(data):
        whole = data[start - 8 : start + length + 4]
        is_whole = zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big")
        if kind[0] & 32 == 0 or (kind == b"tRNS" and is_whole):  # a capital letter: needed
            kept.append(whole)
    return b"".join(kept)


def _slim(data: bytes) -> tuple[bytes, bytes | None]:
    """The file without large texts and without a large profile; and that profile."""
    cut: list[tuple[int, int]] = []
    profile, texts = None, 0
    for kind, start, length in _chunks(data):
        if kind in _TEXTS:
            size = length if kind == b"tEXt" else _unpacked(data, start, length)
            texts += size
            if size > _SMALL_TEXT or texts > _MOST_TEXT:
                cut.append((start - 8, start + length + 4))
        elif kind == b"iCCP" and _unpacked(data, start, length) > _SMALL_TEXT:
            cut.append((start - 8, start + length + 4))
            profile = _profile(data, start, length)
    return _without(data, cut), profile


def _without(data: bytes, cut: list[tuple[int, int]]) -> bytes:
    """The file without some spans of bytes, which are in order."""
    kept, at = [], 0
    for start, end in cut:
        kept.append(data[at:start])
        at = end
    return b"".join([*kept, data[at:]]) if cut else data


def _chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and length of each chunk's content that is there as a whole."""
    at = 8
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield kind, at + 8, length
        at += 12 + length


def _unpacked(data: bytes, start: int, length: int) -> int:
    """Size of a compressed text or profile, or one byte more than the limit."""
    content = data[start : start + length]
    at = content.find(b"\0") + 2  # behind the keyword and the method
    if data[start - 4 : start] == b"iTXt":
        if content[at - 1 : at] != b"\1":
            return length  # not compressed
        language = content.find(b"\0", at + 1)
        at = content.find(b"\0", language + 1) + 1  # behind the keyword in that language
    return len(_inflated(content[at:], _SMALL_TEXT + 1))


def _inflated(packed: bytes, limit: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(packed, limit)
    except zlib.error:
        return b""


def _profile(data: bytes, start: int, length: int) -> bytes:
    """The colour profile, unpacked."""
    packed = data[data.find(b"\0", start) + 2 : start + length]
    return _inflated(packed, _LARGEST_PROFILE + 1)


def _orientation(data: bytes, start: int, length: int) -> int:
    exif = Image.Exif()
    try:
        exif.load(data[start : start + length])
        found = exif.get(0x0112, 1)
    except DAMAGE:
        return 1
    return found if isinstance(found, int) else 1
