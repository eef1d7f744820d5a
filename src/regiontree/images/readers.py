"""Readers of image files: a protocol, and the registry in which other packages add theirs.

A reader belongs to one family of file formats. :func:`find_reader` chooses the reader of a file: by
the file's first bytes if another package's reader knows them, else by the suffix of its name, else
Pillow, which recognises a file by its content.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import IO, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.grid import Size
from regiontree.system.registry import Registry

__all__ = ["FIRST_BYTES", "READERS", "ImageReader", "ImageRequest", "find_reader", "image_suffixes"]

FIRST_BYTES = 32
"""How many of a file's first bytes a reader may be recognised by."""
_PILLOW = "pillow"


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
    """

    file: IO[bytes]
    name: str
    max_pixels: int
    cover: Size | None = None


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
    """

    suffixes: Collection[str]
    starts: tuple[bytes, ...]

    def size(self, request: ImageRequest) -> tuple[int, int]:
        """(H, W) of the image as stored, in pixels, without decoding any pixel."""

    def decode(self, request: ImageRequest) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        """The pixels, (h, w, 3) uint8 sRGB, upright; and (H, W) of the whole image, upright."""


READERS: Registry[type[ImageReader]] = Registry(
    "image reader",
    {_PILLOW: "regiontree.images.load:PillowReader"},
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
    for reader in readers.values():
        if any(start.startswith(mark) for mark in reader.starts):
            return reader
    for reader in readers.values():
        if suffix.lower() in reader.suffixes:
            return reader
    return readers[_PILLOW]


def image_suffixes() -> frozenset[str]:
    """The suffixes of all readers: what counts as an image in a folder."""
    return frozenset().union(*(READERS.get(name).suffixes for name in READERS))
