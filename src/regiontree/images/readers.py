"""Readers of image files: a protocol, and the registry in which other packages add theirs.

A reader belongs to one family of file formats. :func:`find_reader` chooses the reader of a file: by
the file's first bytes if a reader knows them, else by the suffix of its name, else Pillow, which
recognises a file by its content.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.grid import Size
from regiontree.system.registry import Registry

__all__ = [
    "FIRST_BYTES",
    "READERS",
    "Decoded",
    "ImageReader",
    "ImageRequest",
    "check_bands",
    "check_page",
    "check_pixels",
    "find_reader",
    "image_suffixes",
]

FIRST_BYTES = 256
"""How many of a file's first bytes a reader may be recognised by."""
_PILLOW = "pillow"
_AVIF = b"avif"
_KNOWN_TO_PILLOW = (b"GIF8", b"RIFF", b"BM")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """What a reader is asked to read.

    Attributes
    ----------
    file : binary file
        Open for reading, at its first byte, and seekable.
    name : str
        Its path, for messages.
    max_pixels : int
        Images with more pixels are refused.
    cover : int or (int, int) or None
        Long side or (H, W) that the pixels must at least have. A reader may decode a larger image
        at a reduced scale. None: at full size.
    bands : tuple of int or None
        The one or three bands to read, counted from 1. None: the reader chooses.
    page : int or None
        The page or frame to read, counted from 0. None: the first.
    beside : Path or None
        The path of the file, if it has one: files beside it may say which pixels hold no data.
    """

    file: IO[bytes]
    name: str
    max_pixels: int
    cover: Size | None = None
    bands: tuple[int, ...] | None = None
    page: int | None = None
    beside: Path | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """The samples of an image file as stored, before they become 8-bit sRGB.

    Attributes
    ----------
    samples : (h, w) or (h, w, 3) array
        Upright grey values or colours, of any real dtype. uint8 is shown as it is, anything else by
        :func:`regiontree.images.stretch.rendered`.
    size : tuple of int
        (H, W) of the whole image in pixels, upright.
    valid : (h, w) bool or None
        Which pixels hold data. NaN and infinity need not be marked. None: all of them.
    alpha : (h, w) array or None
        Opacity, of the dtype of `samples`. A pixel of opacity 0 holds no data; others are put over
        white.
    white : float or None
        The largest value that the file can hold by its own account, 4095 for 12 bits for example.
    limits : (float, float) or None
        The values that the file wants shown as black and white, instead of a stretch.
    inverted : bool
        Whether the largest value is black. Not for uint8.
    is_white_0 : bool
        Whether the file shows its value 0 as white, whatever became of the samples since.
    profile : bytes or None
        ICC profile of the colours.
    facts : mapping
        What ``meta["image"]`` records of how the file was read, as JSON values.
    """

    samples: NDArray[Any]
    size: tuple[int, int]
    valid: NDArray[np.bool_] | None = None
    alpha: NDArray[Any] | None = None
    white: float | None = None
    limits: tuple[float, float] | None = None
    inverted: bool = False
    is_white_0: bool = False
    profile: bytes | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


class ImageReader(Protocol):
    """One family of image formats: a class without arguments.

    Whatever the methods raise because a file is damaged becomes an ImageError that names the file:
    ValueError, OSError, struct.error and the like. Before ``decode``, the size is compared with the
    largest number of pixels that the user allows.

    Attributes
    ----------
    suffixes : collection of str
        Endings of file names in lower case, with the dot.
    starts : tuple of bytes
        First bytes of its files, at most :data:`FIRST_BYTES`; empty if files have no such mark.
    start_at : int, optional
        Where in the file `starts` stand. 0 if it is left out.
    reads_beside : bool, optional
        Whether ``decode`` itself obeys the no-data values and the mask in files beside the image.
        If it is left out, they are applied to what it returns.
    """

    suffixes: Collection[str]
    starts: tuple[bytes, ...]

    def size(self, request: ImageRequest) -> tuple[int, int]:
        """(H, W) of the image as stored, in pixels, without decoding any pixel."""

    def decode(self, request: ImageRequest) -> Decoded:
        """The upright samples of the image, with what is known of them."""


READERS: Registry[type[ImageReader]] = Registry(
    "image reader",
    {
        # First, since a DICOM file may begin like a TIFF.
        "dicom": "regiontree.images.dicom:DicomReader",
        "jpeg": "regiontree.images.deep:JpegReader",
        "png": "regiontree.images.pngdata:PngReader",
        "tiff": "regiontree.images.tiff:TiffReader",
        "jpeg2000": "regiontree.images.deep:Jpeg2000Reader",
        "pnm": "regiontree.images.deep:PnmReader",
        "jpegxl": "regiontree.images.codecs:JpegXlReader",
        "radiance": "regiontree.images.codecs:RadianceReader",
        "qoi": "regiontree.images.codecs:QoiReader",
        "heif": "regiontree.images.heif:HeifReader",
        _PILLOW: "regiontree.images.pillow:PillowReader",
    },
    group="regiontree.readers",
    error=ImageError,
)
"""Every image reader; other packages add theirs as ``regiontree.readers``."""


def find_reader(suffix: str, start: bytes) -> ImageReader:
    """The reader of a file.

    Parameters
    ----------
    suffix
        Ending of its name, with the dot.
    start
        Its first :data:`FIRST_BYTES` bytes.
    """
    readers = {name: READERS.get(name)() for name in READERS}
    # AVIF may also begin like the wider family HEIF.
    if start[4:8] == b"ftyp" and _AVIF in start[8 : int.from_bytes(start[:4], "big")]:
        return readers[_PILLOW]
    for reader in readers.values():
        if start[getattr(reader, "start_at", 0) :].startswith(tuple(reader.starts)):
            return reader
    if start.startswith(_KNOWN_TO_PILLOW):  # whatever the name says
        return readers[_PILLOW]
    for reader in readers.values():
        if suffix.lower() in reader.suffixes:
            return reader
    return readers[_PILLOW]


def image_suffixes() -> frozenset[str]:
    """The suffixes of all readers: what counts as an image in a folder."""
    return frozenset().union(*(READERS.get(name).suffixes for name in READERS))


def check_pixels(name: str, size: tuple[int, int], max_pixels: int) -> None:
    """Raise an ImageError if an image of `size` (H, W) is empty or has too many pixels."""
    height, width = size
    if height * width > max_pixels:
        raise ImageError(
            f"{name}: {width} x {height} = {height * width / 1e6:.3g} megapixels, above the limit "
            f"of {max_pixels / 1e6:.3g}; if the file is genuine, raise the limit with max_pixels "
            "(--max-pixels)"
        )
    if 0 in size:
        raise ImageError(f"{name}: has no pixels (its size is {width} x {height})")


def check_bands(name: str, bands: tuple[int, ...], count: int) -> None:
    """Raise an ImageError if an image with `count` bands does not have these, counted from 1."""
    if any(not 1 <= band <= count for band in bands):
        has = "one band" if count == 1 else f"bands 1 to {count}"
        raise ImageError(
            f"{name}: has {has}, got bands {','.join(map(str, bands))}; choose among them, counted "
            "from 1"
        )


def check_page(name: str, page: int, count: int) -> None:
    """Raise an ImageError if a file with `count` pages does not have this one, counted from 0."""
    if not 0 <= page < count:
        has = "only page 0" if count == 1 else f"pages 0 to {count - 1}"
        raise ImageError(f"{name}: has {has}, got page {page}; pages are counted from 0")
