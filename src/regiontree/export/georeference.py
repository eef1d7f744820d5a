"""Where a photograph lies on the map: transform and coordinate reference system of a file.

:func:`georeference` knows these sources, the first of which is used:

- what GDAL knows of the file: tags of a GeoTIFF, boxes of a JPEG 2000, a ``.vrt`` or another GIS
  format, and a ``.aux.xml`` beside any file;
- ground control points, as of satellite scenes and scanned maps;
- a world file beside the photograph (``.tfw``, ``.jgw``, ``.wld``), with the ``.prj`` beside it.

All of these speak of pixels as they are stored. Trees speak of pixels as they are seen: a tag or
EXIF entry *Orientation* has turned them. GDAL ignores that tag, so the transform is turned here. It
is scaled, too, if the tree has another size than the file.

Ordinary photographs are recognised without rasterio, by a look at their header and at the names of
files beside them.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from regiontree.errors import ExportError, ImageError
from regiontree.export.projection import Transform, rasterio_package
from regiontree.images import image_size
from regiontree.images.pillow import DAMAGE
from regiontree.system.damage import plain_reason

__all__ = ["MAP_SUFFIXES", "georeference"]

Floats = NDArray[np.float64]
Size = tuple[int, int]

MAP_SUFFIXES = frozenset({
    ".tif", ".tiff", ".gtif", ".gtiff", ".btf", ".tf8", ".jp2", ".j2k", ".jpx", ".j2c", ".jpc",
    ".img", ".vrt", ".ecw", ".sid", ".ntf", ".nitf", ".nc", ".hdf", ".h5", ".bil", ".bip", ".bsq",
    ".asc", ".dem", ".hgt", ".dt0", ".dt1", ".dt2", ".grd", ".rst", ".ers", ".pix", ".kea", ".mrf",
    ".gpkg", ".mbtiles", ".safe", ".hdr",
})  # fmt: skip
"""Endings of files that usually know where they lie on the map."""

_PHOTOGRAPHS = (b"\xff\xd8", b"\x89PNG", b"RIFF", b"GIF8", b"BM")  # first bytes
_WITH_EXIF: dict[bytes, Any] = {
    b"\xff\xd8": JpegImageFile, b"\x89P": PngImageFile, b"RI": WebPImageFile
}  # fmt: skip
_TIFF_PLACE = (33550, 33922, 34264, 50844)  # pixel scale, tie points, transformation, RPCs
_TIFF_KEYS = 34735  # of the crs
_GEOJP2 = bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03")
# Marks of a place in a file of GDAL's (or ArcGIS') beside a photograph, and of its crs.
_AUX_PLACE = (b"<GeoTransform", b"<GCP", b"SourceGCP", b'domain="RPC"', b'domain="GEOLOCATION"')
_AUX_CRS = (b"<SRS",)
_FARTHEST = 1e12  # pixels, metres or feet; no map and no picture is as large
_GCP_FIT = 0.5  # an affine transform must fit ground control points to this number of pixels

# Stored column and row of a pixel corner (x, y) of the upright image, as rows (a, b, c) and
# (d, e, f) of a transform, by Orientation. W and H are the stored width and height.
_STORED: dict[int, Callable[[int, int], tuple[tuple[int, int, int], tuple[int, int, int]]]] = {
    1: lambda w, h: ((1, 0, 0), (0, 1, 0)),
    2: lambda w, h: ((-1, 0, w), (0, 1, 0)),
    3: lambda w, h: ((-1, 0, w), (0, -1, h)),
    4: lambda w, h: ((1, 0, 0), (0, -1, h)),
    5: lambda w, h: ((0, 1, 0), (1, 0, 0)),
    6: lambda w, h: ((0, 1, 0), (-1, 0, h)),
    7: lambda w, h: ((0, -1, w), (-1, 0, h)),
    8: lambda w, h: ((0, -1, w), (1, 0, 0)),
}


@dataclass(frozen=True, slots=True)
class _Header:
    """What a file says of itself without GDAL."""

    has_place: bool = False  # whether GDAL may know where it lies
    has_crs: bool = False
    directory: int = 0  # of a TIFF: that of the page, from 0
    size: Size | None = None  # stored (H, W), if the header was read so far
    orientation: int | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """Where stored pixels lie; the transform is a matrix (2, 3) or a function."""

    transform: Any
    crs: Any
    size: Size | None = None


def georeference(
    path: str | Path, *, size: Size | None = None, page: int = 0, degrees: bool = True
) -> tuple[Transform, Any] | None:
    """Where a photograph lies, (transform, crs), or None if nothing says it.

    :func:`~regiontree.export.geojson.to_geojson` takes both.

    Parameters
    ----------
    path
        The photograph.
    size
        (H, W) of the tree in pixels, upright. None: that of the file.
    page
        Page of a TIFF, from 0.
    degrees
        Whether the coordinates will be converted to degrees. Ground control points in degrees are
        fitted on a plane round their centre, so they need it.

    Returns
    -------
    tuple or None
        The transform is six numbers, or a function if ground control points fit no such transform
        within half a pixel. The crs is rasterio's, or None if it is unknown, as usual with a world
        file.

    Raises
    ------
    ImageError
        The file does not exist, GDAL cannot read it, or its world file is damaged.
    ExportError
        The file has a place that no transform says: rational polynomial coefficients, geolocation
        arrays, or too few ground control points. Or the tree has another shape than the file.
    MissingExtraError
        rasterio is needed and not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ImageError(f"{path}: no such file; check the path")
    header = _header(path, page)
    world = None if page else _beside(path, _world_suffixes(path.suffix))
    place_beside, crs_beside = (False, False) if page else _aux_says(path)
    has_place = header.has_place or place_beside
    place = None
    if has_place or (world is not None and (header.has_crs or crs_beside)):
        place = _by_gdal(path, header.directory, degrees, use_transform=has_place)
    if (place is None or place.transform is None) and world is not None:
        projection = _beside(path, ["prj"])
        crs = place.crs if place is not None else None
        if crs is None and projection is not None:
            crs = _crs_of(projection)
        place = _Place(_world_file(world), crs, None if place is None else place.size)
    if place is None or place.transform is None:
        return None
    stored = header.size or place.size or image_size(path, max_pixels=2**62)
    orientation = header.orientation or _exif_orientation(path)
    return _finished(place.transform, _upright(path, stored, orientation, size)), place.crs


def _upright(path: Path, stored: Size, orientation: int, size: Size | None) -> Floats:
    """The transform from pixels of the tree to stored pixels, (2, 3)."""
    height, width = stored
    if min(stored) < 1:
        raise ImageError(f"{path}: is damaged: it has {width} x {height} pixels; copy it again")
    upright = (width, height) if orientation >= 5 else (height, width)
    tall, wide = size or upright
    # A smaller copy of the file has the same shape, up to rounding of its sides.
    if abs(upright[1] * tall - upright[0] * wide) > max(upright):
        raise ExportError(
            f"{path}: has {upright[1]} x {upright[0]} pixels, the tree {wide} x {tall}; the tree "
            "was made from another picture, or from a part: give --transform, or --transform none "
            "for pixels"
        )
    rows = np.array(_STORED[orientation](width, height), dtype=float)
    rows[:, 0] *= upright[1] / wide
    rows[:, 1] *= upright[0] / tall
    return rows


def _finished(transform: Any, to_stored: Floats) -> Transform:
    """The transform of the tree: first to stored pixels, then to the map."""
    if callable(transform):
        return partial(_in_turn, transform, to_stored)
    matrix = transform[:, :2] @ to_stored
    matrix[:, 2] += transform[:, 2]
    return tuple(matrix.ravel().tolist())


def _in_turn(transform: Any, to_stored: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    (a, b, c), (d, e, f) = to_stored
    found: tuple[Floats, Floats] = transform(a * x + b * y + c, d * x + e * y + f)
    return found


# -- headers --------------------------------------------------------------------------------------


def _header(path: Path, page: int) -> _Header:
    """What the first bytes of a file say."""
    try:
        with path.open("rb") as file:
            start = file.read(12)
            if start[4:8] == b"jP  ":
                return _Header(has_place=_jp2_has_place(file), orientation=1)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _tiff_header(path, page)
    if start.startswith(_PHOTOGRAPHS):
        return _Header()
    return _Header(has_place=path.suffix.lower() in MAP_SUFFIXES, orientation=1)


def _jp2_has_place(file: IO[bytes]) -> bool:
    """Whether a JPEG 2000 file has a box of GeoJP2 or GMLJP2."""
    end, start = file.seek(0, os.SEEK_END), 0
    while start + 16 <= end:
        file.seek(start)
        length, kind = struct.unpack(">I4s", file.read(8))
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
        if kind == b"uuid" and file.read(16) == _GEOJP2:
            return True
        if kind == b"asoc" and b"gml.data" in file.read(min(length, 4096)):
            return True
        if length < 8:  # 0: the last box
            break
        start += length
    return False


def _tiff_header(path: Path, page: int) -> _Header:
    from tifffile import TiffFileError  # imported late because few photographs need it

    from regiontree.images.tiffdata import open_tiff

    try:
        with open_tiff(path) as file:
            number = page
            if page:  # reduced copies and masks are no pages
                directories: Any = file.pages
                whole = (i for i, found in enumerate(directories) if not found.subfiletype & 5)
                number = next(islice(whole, page, None), len(file.pages))
            found: Any = file.pages[number]
            tags = found.tags
            turned = tags.valueof(274, default=1)
            return _Header(
                has_place=any(code in tags for code in _TIFF_PLACE),
                has_crs=_TIFF_KEYS in tags,
                directory=number,
                size=(int(found.imagelength), int(found.imagewidth)),
                orientation=turned if turned in _STORED else 1,
            )
    except (TiffFileError, *DAMAGE) as error:
        raise ImageError(
            f"{path}: the tags of page {page} cannot be read ({plain_reason(error)}); copy the "
            "file again, or give --transform none for pixels"
        ) from error


def _exif_orientation(path: Path) -> int:
    """The orientation in the EXIF data of a JPEG, PNG or WebP; else 1.

    Pillow's classes are used without ``Image.open``, which refuses large photographs.
    """
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        kind = _WITH_EXIF.get(start[:2])
        if kind is None:
            return 1
        try:
            with kind(file) as image:
                turned = image.getexif().get(274, 1)
        except DAMAGE as error:
            raise ImageError(
                f"{path}: its orientation cannot be read ({plain_reason(error)})"
            ) from error
    return turned if turned in _STORED else 1


# -- files beside ---------------------------------------------------------------------------------


def _world_suffixes(suffix: str) -> list[str]:
    """Endings of the world file of a photograph: jgw, jpgw and wld of a .jpg."""
    name = suffix.lower().lstrip(".")
    short = [f"{name[0]}{name[-1]}w"] if len(name) > 2 else []
    return [*short, *(f"{s}x" for s in short), f"{name}w", f"{name}wx", "wld"]


def _beside(path: Path, suffixes: Sequence[str]) -> Path | None:
    """The file of the photograph's name with one of the endings, in small or capital letters."""
    for suffix in suffixes:
        for spelled in (suffix, suffix.upper(), suffix.capitalize()):
            name = path.with_suffix(f".{spelled}")
            if name != path and os.path.isfile(name):
                return name
    return None


def _aux_says(path: Path) -> tuple[bool, bool]:
    """Whether files beside the photograph that GDAL reads say its place, and its crs."""
    if _beside(path, ["rpb"]) or any(
        os.path.isfile(path.with_name(path.stem + ending)) for ending in ("_RPC.TXT", "_rpc.txt")
    ):
        return True, False
    table = _beside(path, ["tab"])  # of MapInfo, or any other table
    if table is not None and b"!table" in _bytes(table)[:256].lower():
        return True, True
    for aux in (path.with_name(f"{path.name}.aux.xml"), path.with_suffix(".aux.xml")):
        if os.path.isfile(aux):  # most of these hold only statistics
            text = _bytes(aux)
            try:  # rasterio prints a traceback if GDAL quotes anything else
                text.decode()
            except UnicodeDecodeError:
                raise ImageError(f"{aux}: is not text in UTF-8; write it again") from None
            place = any(mark in text for mark in _AUX_PLACE)
            return place, any(mark in text for mark in _AUX_CRS)
    return False, False


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error


def _world_file(path: Path) -> Floats:
    """The transform of a world file, (2, 3).

    Its six lines are a, d, b, e, and x and y of the *centre* of the first pixel.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        lines = [line.strip().replace(",", ".") for line in text.splitlines() if line.strip()]
        numbers = [float(line) for line in lines[:6]]
    except (OSError, ValueError) as error:
        raise ImageError(
            f"{path}: cannot be read as a world file ({plain_reason(error)})"
        ) from error
    if len(numbers) < 6 or not (np.abs(numbers) < _FARTHEST).all():
        raise ImageError(f"{path}: a world file has six lines with a number each, got {lines[:7]}")
    a, d, b, e, c, f = numbers
    if a * e == b * d:
        raise ImageError(f"{path}: puts all pixels on one line; write the world file again")
    return np.array([[a, b, c - (a + b) / 2], [d, e, f - (d + e) / 2]])


def _crs_of(path: Path) -> Any:
    """The crs in a .prj file."""
    rasterio = rasterio_package()
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace").strip()
        with rasterio.Env():
            return rasterio.crs.CRS.from_wkt(text)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    except rasterio.errors.CRSError as error:
        raise ImageError(f"{path}: holds no projection that GDAL knows ({error})") from error


# -- GDAL -----------------------------------------------------------------------------------------


def _by_gdal(path: Path, directory: int, degrees: bool, *, use_transform: bool) -> _Place | None:
    """What GDAL knows of a file's place."""
    rasterio = rasterio_package()
    name = f"GTIFF_DIR:{directory + 1}:{path}" if directory else path
    try:
        with rasterio.open(name) as image:
            transform, crs = image.transform, image.crs
            points, points_crs = image.gcps
            has_rpcs = image.rpcs is not None
            has_arrays = bool(image.tags(ns="GEOLOCATION"))
            size = image.height, image.width
    except (rasterio.errors.RasterioError, rasterio.errors.NotGeoreferencedWarning) as error:
        # A program may turn the warning into an error. No filter of its process is changed here.
        raise ImageError(
            f"{path}: its place on the map cannot be read by GDAL ({plain_reason(error)}); give "
            "--transform, or --transform none for pixels"
        ) from error
    if use_transform and not transform.is_identity:
        matrix = np.array(tuple(transform)[:6]).reshape(2, 3)
        is_near = (np.abs(matrix) < _FARTHEST).all()  # not NaN, either
        if not is_near or abs(np.linalg.det(matrix[:, :2])) < 1e-300:
            raise ImageError(f"{path}: its transform {tuple(transform)[:6]} places no pixels")
        return _Place(matrix, crs, size)
    if points:
        return _Place(*_fitted(path, points, points_crs, degrees), size)
    if has_rpcs or has_arrays:
        what = "rational polynomial coefficients (RPCs)" if has_rpcs else "geolocation arrays"
        raise ExportError(
            f"{path}: has only {what}, which no transform expresses; orthorectify it first (with "
            "gdalwarp), give --transform, or --transform none for pixels"
        )
    return _Place(None, crs, size)


def _fitted(path: Path, points: Sequence[Any], crs: Any, degrees: bool) -> tuple[Any, Any]:
    """The transform through ground control points, and its crs."""
    at = np.array([(point.col, point.row) for point in points])
    to = np.array([(point.x, point.y) for point in points])
    if not (np.abs(np.hstack([at, to])) < _FARTHEST).all():  # NaN, too
        raise ExportError(
            f"{path}: a ground control point is no place on a map; give --transform, or "
            "--transform none for pixels"
        )
    centred = at - at.mean(axis=0)
    if len(points) < 3 or np.linalg.matrix_rank(centred) < 2:
        raise ExportError(
            f"{path}: {len(points)} ground control points place no pixels: at least 3 are needed "
            "that are not on one line; give --transform, or --transform none for pixels"
        )
    if crs is not None and crs.is_geographic:
        if not degrees:
            raise ExportError(
                f"{path}: its ground control points are in degrees, so it has no projection of its "
                "own; leave out --crs none"
            )
        if not (np.abs(to) <= (720, 90.001)).all():
            raise ExportError(
                f"{path}: a ground control point is not on the Earth, whose longitudes go to 180 "
                "and latitudes to 90 degrees; give --transform, or --transform none for pixels"
            )
        to, crs = _on_plane(to, crs)
    terms = np.column_stack([centred, np.ones(len(at))])
    solution, *_ = np.linalg.lstsq(terms, to, rcond=None)
    linear = solution[:2].T
    if abs(np.linalg.det(linear)) <= 1e-12 * np.abs(linear).max() ** 2:
        raise ExportError(f"{path}: its ground control points lie on one line on the map")
    off = np.linalg.solve(linear, (terms @ solution - to).T)  # in pixels
    if np.hypot(*off).max() <= _GCP_FIT:
        offset = solution[2] - linear @ at.mean(axis=0)
        return np.column_stack([linear, offset]), crs
    return _thin_plate(at, to), crs


def _on_plane(degrees: Floats, crs: Any) -> tuple[Floats, Any]:
    """Points in degrees on a plane round their centre, and its crs.

    On such a plane, neither the antimeridian nor a pole comes between the points.
    """
    rasterio = rasterio_package()
    lon, lat = np.radians(degrees).T
    x, y, z = (np.cos(lat) * np.cos(lon)).mean(), (np.cos(lat) * np.sin(lon)).mean(), np.sin(lat)
    centre = np.degrees([np.arctan2(y, x), np.arctan2(z.mean(), np.hypot(x, y))])
    plane = rasterio.crs.CRS.from_string(
        f"+proj=aeqd +lon_0={centre[0]:.6f} +lat_0={centre[1]:.6f} +datum=WGS84 +units=m"
    )
    east, north = rasterio.warp.transform(crs, plane, *degrees.T)
    return np.column_stack([east, north]), plane


def _thin_plate(at: Floats, to: Floats) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """The thin plate spline through ground control points."""
    from scipy.interpolate import RBFInterpolator

    at, first = np.unique(at, axis=0, return_index=True)
    spline = RBFInterpolator(at, to[first], kernel="thin_plate_spline", degree=1)

    def transform(x: Floats, y: Floats) -> tuple[Floats, Floats]:
        east, north = spline(np.column_stack([x, y])).T
        return east, north

    return transform
