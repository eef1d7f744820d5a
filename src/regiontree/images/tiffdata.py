"""Decode one directory of a TIFF with tifffile and imagecodecs, segment by segment.

Only the strips and tiles of the chosen bands are decoded. A strip that reaches beyond the end of
the file is an error: tifffile would fill it up.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from regiontree.errors import ImageError

__all__ = ["open_tiff", "page_at", "read_bands"]

# The library warns on the terminal if no program has set up logging.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

# Largest decoded strip or tile in bytes. A whole image in one strip is common, a larger one is not.
_LARGEST_SEGMENT = 1 << 32
_JPEG = (6, 7, 33007, 34892)
_JPEG2000 = (33003, 33004, 33005, 34712)


def open_tiff(file: Path | IO[bytes]) -> tifffile.TiffFile:
    """The directories of one TIFF, without those of files that it names.

    Raises
    ------
    Exception
        Whatever tifffile raises on a damaged file.
    """
    return tifffile.TiffFile(file, _multifile=False)


def page_at(tif: tifffile.TiffFile, offset: int) -> tifffile.TiffPage:
    """The directory at an offset."""
    tif.filehandle.seek(offset)
    return tifffile.TiffPage(tif, index=0)


def read_bands(
    page: tifffile.TiffPage, data: bytes, name: str, bands: Sequence[int]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """The samples of some bands, (h, w, n), and where there are any: (h, w) bool or None for all.

    Parameters
    ----------
    page
        The directory.
    data
        The file.
    name
        For messages.
    bands
        Bands to read, counted from 0.

    Raises
    ------
    ImageError
        The samples are of a kind that cannot be decoded, or are cut short.
    """
    separate, _, height, width, _ = page.shaped
    tile = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
    per_pixel = page.shaped[4] * np.dtype(page.dtype or "u1").itemsize
    if tile[0] * tile[1] * max(page.tiledepth, 1) * per_pixel > _LARGEST_SEGMENT:
        raise ImageError(
            f"{name}: is damaged, or its strips take more than 4 GB each; save it with smaller ones"
        )
    if page.dtype is None:
        raise ImageError(
            f"{name}: holds samples of {page.bitspersample} bits in format {page.sampleformat!r}, "
            "which cannot be read; save it as 8 or 16 bits or as float32"
        )
    samples = np.zeros((height, width, len(bands)), page.dtype)
    stored: NDArray[np.bool_] | None = None
    wanted = {band: place for place, band in enumerate(dict.fromkeys(bands))}
    for decoded, (plane, _, y, x, _) in _segments(page, data, name, separate, set(wanted)):
        if decoded is None:
            stored = np.ones((height, width), np.bool_) if stored is None else stored
            stored[y : y + tile[0], x : x + tile[1]] = False
            continue
        part = decoded[0, : height - y, : width - x]
        for band, place in wanted.items():
            if separate > 1:
                if band == plane:
                    samples[y : y + part.shape[0], x : x + part.shape[1], place] = part[..., 0]
            else:
                samples[y : y + part.shape[0], x : x + part.shape[1], place] = part[..., band]
    if len(wanted) < len(bands):
        samples = samples[:, :, [wanted[band] for band in bands]]
    return samples, stored


def _segments(
    page: tifffile.TiffPage, data: bytes, name: str, separate: int, planes: set[int]
) -> Iterator[tuple[NDArray[Any] | None, tuple[int, ...]]]:
    """Each strip or tile of the planes, decoded, with its place; None for one that is left out."""
    options: dict[str, Any] = {}
    if page.compression in _JPEG:
        options = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
    number = int(np.prod(page.chunked))
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) < number or len(counts) < number:
        raise ImageError(f"{name}: is damaged or cut short ({len(offsets)} of {number} strips)")
    each = number // separate
    for index in range(number):
        if separate > 1 and index // each not in planes:
            continue
        start, length = offsets[index], counts[index]
        if start + length > len(data):
            raise ImageError(f"{name}: is damaged or cut short (a strip ends beyond the file)")
        encoded = data[start : start + length] if length else None
        if encoded is not None:
            _check_claim(page, encoded, name)
        decoded, place, shape = page.decode(encoded, index, **options)
        if decoded is not None and decoded.shape[-1] < shape[-1]:
            raise ImageError(f"{name}: is damaged (a strip has {decoded.shape[-1]} bands)")
        yield decoded, place


def _check_claim(page: tifffile.TiffPage, encoded: bytes, name: str) -> None:
    """Raise an ImageError if an embedded image claims to be much larger than its strip or tile."""
    if page.compression in _JPEG:
        claimed = _jpeg_size(encoded)
    elif page.compression in _JPEG2000 and (at := encoded.find(b"\xff\x51", 0, 4096)) >= 0:
        claimed = tuple(int.from_bytes(encoded[at + i : at + i + 4], "big") for i in (10, 6))
    else:
        return
    if page.is_tiled:
        most = page.tilelength * page.tilewidth
    else:
        most = page.rowsperstrip * page.imagewidth
    if claimed[0] * claimed[1] > 4 * most + (1 << 20):
        raise ImageError(f"{name}: is damaged (a tile claims {claimed[1]} x {claimed[0]} pixels)")


def _jpeg_size(encoded: bytes) -> tuple[int, ...]:
    """(H, W) that the header of a JPEG claims; (0, 0) if there is none."""
    at = 2
    while at + 9 < len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return tuple(int.from_bytes(encoded[at + i : at + i + 2], "big") for i in (5, 7))
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    return 0, 0
