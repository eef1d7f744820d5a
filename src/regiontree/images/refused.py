"""Kinds of files that no reader reads, by name, with what to do instead.

Pillow and tifffile would read some of them wrongly: a camera's raw file is a TIFF whose first image
is a thumbnail.
"""

from __future__ import annotations

from pathlib import PurePath

from regiontree.errors import ImageError

__all__ = ["refuse"]

_CAMERA_RAW = frozenset({
    ".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".kdc", ".mef",
    ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf",
    ".srw", ".x3f",
})  # fmt: skip
_RAW = "a camera's raw file; develop it first, to a TIFF or JPEG for example"
_FILM = "a film; make one tree of its frames, by regiontree segment or regiontree.parse_clip"
# First bytes, where they begin, and the kind with what to do.
_KINDS = (
    (0, b"IIRO", _RAW),
    (0, b"IIRS", _RAW),
    (0, b"IIU\0", _RAW),
    (0, b"FUJIFILMCCD-RAW", _RAW),
    (4, b"ftypcrx ", _RAW),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR file; convert it to TIFF, as float RGB for example"),
    (0, b"II\xbc", "a JPEG XR file; convert it to TIFF or PNG"),
    (0, b"%PDF", "a PDF document; draw its pages as PNG first, with pdftoppm for example"),
    (0, b"<svg", "a vector drawing; draw it as PNG first"),
    (0, b"\x89HDF\r\n", "an HDF5 file; save the image in it as TIFF or .npy"),
    (0, b"CDF\x01", "a NetCDF file; save the variable as TIFF, with gdal_translate for example"),
    (0, b"CDF\x02", "a NetCDF file; save the variable as TIFF, with gdal_translate for example"),
    (4, b"ftypisom", _FILM),
    (4, b"ftypmp4", _FILM),
    (4, b"ftypqt  ", _FILM),
    (0, b"\x93NUMPY", "a NumPy array; load it and pass the array"),
    (0, b"PK\x03\x04", "an archive; unpack it first"),
    (0, b"\x1f\x8b", "an archive; unpack it first"),
    (0, b"EHFA_HEADER_TAG", "an ERDAS IMAGINE file; convert it to TIFF with gdal_translate"),
    (0, b"<VRTDataset", "a virtual raster of GDAL; convert it to TIFF with gdal_translate"),
)
_OPEN_FORMATS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM", b"GIF8")


def refuse(name: str, start: bytes) -> None:
    """Raise an ImageError if a file is of a kind that no reader reads.

    Parameters
    ----------
    name
        Path of the file.
    start
        Its first bytes, 16 at least.
    """
    kind = next((what for at, mark, what in _KINDS if start[at : at + len(mark)] == mark), None)
    if PurePath(name).suffix.lower() in _CAMERA_RAW and not start.startswith(_OPEN_FORMATS):
        kind = _RAW
    if kind is not None:
        raise ImageError(f"{name}: is {kind}")
