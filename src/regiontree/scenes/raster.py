"""A raster that is read window by window: 8-bit colours, and which pixels hold data.

GDAL reads it, through rasterio: a GeoTIFF, a ``.vrt`` that joins many files, or any other format of
GDAL's. A window is shown as the same pixels are shown in a photograph. The stretch of deep samples
is that of the whole scene, measured on a reduced copy, since windows with stretches of their own
would differ in colour.

Pixels are those that are stored. A TIFF's tag *Orientation* has no effect, as in GDAL.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError, ImageError
from regiontree.export.georeference import georeference
from regiontree.export.projection import Transform, known_crs, rasterio_package
from regiontree.images.choice import Bands, Choice
from regiontree.images.nodata import with_data
from regiontree.images.readers import Decoded, check_bands
from regiontree.images.stretch import display_limits, measured, rendered
from regiontree.images.valid import both
from regiontree.system.damage import plain_reason
from regiontree.system.paths import path_problem

__all__ = ["CACHE", "Pixels", "Place", "Raster", "gdal", "raster_of"]

CACHE = 64 * 2**20
"""What GDAL may keep of blocks that it has read or will write, in bytes."""
_CHUNK = 2048  # pixels a side of what is read at once for a reduced copy
_MEASURED = 1024  # pixels a side of the reduced copy that the stretch is measured on


@dataclass(frozen=True, slots=True)
class Pixels:
    """A window of a scene.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
        Where pixels hold no data, the values have no meaning.
    valid : (h, w) bool
        Which pixels hold data. Pixels outside the scene do not.
    """

    rgb: NDArray[np.uint8]
    valid: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scene lies on the map: the six numbers of its transform, and its crs.

    Both are None if nothing says it. The crs alone is None if only the transform is known.
    """

    transform: Transform | None = None
    crs: Any = None

    def of_profile(self, scale: tuple[float, float] = (1.0, 1.0)) -> dict[str, Any]:
        """What rasterio is told of the place of pixels that are `scale` (down, across) as large."""
        found: dict[str, Any] = {}
        if self.transform is not None:
            found["transform"] = rasterio_package().Affine(*self.scaled(scale))
        if self.crs is not None:
            found["crs"] = known_crs(self.crs)
        return found

    def scaled(self, scale: tuple[float, float]) -> tuple[float, ...]:
        """The transform for pixels that are `scale` (down, across) as large."""
        a, b, c, d, e, f = self.transform  # type: ignore[misc]
        return (a * scale[1], b * scale[0], c, d * scale[1], e * scale[0], f)


@dataclass(frozen=True)
class Raster:
    """An open scene; a context manager that closes it.

    Attributes
    ----------
    path : Path
    shape : (int, int)
        Rows and columns of pixels.
    bands : tuple of int
        The one or three bands that are shown, counted from 1.
    place : Place
    limits : (float, float) or None
        The values that are shown as black and white. None: samples are shown as they are.
    share : float
        Share of the pixels that hold data, of a reduced copy.
    facts : mapping
        What trees record of how the scene was read.
    """

    path: Path
    shape: tuple[int, int]
    bands: tuple[int, ...]
    place: Place
    limits: tuple[float, float] | None
    share: float
    facts: dict[str, Any]
    _file: Any = field(repr=False)
    _alpha: int | None = field(repr=False)
    _masked: bool = field(repr=False)
    _white: float | None = field(repr=False)

    def __enter__(self) -> Raster:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self._file.close()

    def read(self, rows: slice, columns: slice) -> Pixels:
        """A window of pixels. Parts of it may lie outside the scene.

        Raises
        ------
        ImageError
            The file is damaged there. The message names the window.
        """
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        rgb, valid = np.zeros((tall, wide, 3), np.uint8), np.zeros((tall, wide), np.bool_)
        top, end = max(0, rows.start), min(self.shape[0], rows.stop)
        left, right = max(0, columns.start), min(self.shape[1], columns.stop)
        if top < end and left < right:
            found = self._shown(self._decoded(((top, end), (left, right)), None))
            at = (
                slice(top - rows.start, end - rows.start),
                slice(left - columns.start, right - columns.start),
            )
            rgb[at], valid[at] = found.rgb, found.valid
        return Pixels(rgb, valid)

    def reduced(self, size: tuple[int, int]) -> Pixels:
        """The whole scene at a smaller size (H', W'), by nearest neighbour.

        If the file has overviews, the nearest pixels of an overview are taken.
        """
        return self._shown(self._reduced(size))

    def _reduced(self, size: tuple[int, int]) -> Decoded:
        scale = min(old / new for old, new in zip(self.shape, size, strict=True))
        if any(factor <= scale for factor in self._file.overviews(self.bands[0])):
            return self._decoded(((0, self.shape[0]), (0, self.shape[1])), size)
        # GDAL would read the file line by line, and each block many times.
        spans = [list(_sampled(*pair)) for pair in zip(self.shape, size, strict=True)]
        rows = []
        for down, y in spans[0]:
            found = [
                _picked(self._decoded((down, across), None), y - down[0], x - across[0])
                for across, x in spans[1]
            ]
            rows.append(_joined(found, 1))
        return _joined(rows, 0)

    def _shown(self, decoded: Decoded) -> Pixels:
        valid = measured(decoded.samples)
        if decoded.valid is not None:
            valid = valid & decoded.valid
        if not valid.any():
            return Pixels(np.zeros((*valid.shape, 3), np.uint8), valid)
        shown = rendered(replace(decoded, limits=self.limits), str(self.path))
        return Pixels(shown.rgb, valid if shown.valid is None else valid & shown.valid)

    def _decoded(
        self, window: tuple[tuple[int, int], tuple[int, int]], size: tuple[int, int] | None
    ) -> Decoded:
        """The samples of a window ((top, end), (left, right)), at another size if one is given."""
        (top, end), (left, right) = window
        told: dict[str, Any] = {"window": window}
        valid = alpha = None
        try:
            if size is not None:
                told["out_shape"] = (len(self.bands), *size)
            samples = self._file.read(list(self.bands), **told)
            if size is not None:
                told["out_shape"] = size
            if self._alpha is not None:
                alpha = self._file.read(self._alpha, **told)
            if self._masked:
                valid = self._file.read_masks(self.bands[0], **told) > 0
        except rasterio_package().errors.RasterioError as error:
            raise ImageError(
                f"{self.path}: rows {top} to {end - 1}, columns {left} to {right - 1} cannot be "
                f"read ({plain_reason(error)}); copy the file again, or write its good part with "
                "gdal_translate -srcwin. What is done stays, and the same command goes on"
            ) from error
        samples = np.ascontiguousarray(np.moveaxis(samples, 0, 2))
        nodata = [self._file.nodatavals[band - 1] for band in self.bands]
        if nodata != [None] * len(nodata):
            valid = both(with_data(samples, nodata), valid)
        if alpha is not None and "choice" in self.facts:  # bands that were chosen are no picture
            valid, alpha = both(alpha > 0, valid), None
        samples = samples[:, :, 0] if samples.shape[2] == 1 else samples
        return Decoded(samples, samples.shape[:2], valid, alpha, white=self._white)


def _sampled(old: int, new: int) -> Iterator[tuple[tuple[int, int], NDArray[np.int64]]]:
    """Parts of a side of `old` pixels, with the nearest pixels of `new` that lie in each."""
    nearest = (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
    for start in range(0, old, _CHUNK):
        part = start, min(start + _CHUNK, old)
        inside = nearest[(nearest >= part[0]) & (nearest < part[1])]
        if len(inside):
            yield part, inside


def _picked(decoded: Decoded, y: NDArray[np.int64], x: NDArray[np.int64]) -> Decoded:
    """Some rows and columns of pixels."""
    at = np.ix_(y, x)
    return replace(
        decoded, samples=decoded.samples[at], size=(len(y), len(x)),
        valid=None if decoded.valid is None else decoded.valid[at],
        alpha=None if decoded.alpha is None else decoded.alpha[at],
    )  # fmt: skip


def _joined(parts: list[Decoded], axis: int) -> Decoded:
    """Neighbouring parts as one."""
    valid = alpha = None
    if any(part.valid is not None for part in parts):
        masks = [
            np.ones(part.samples.shape[:2], np.bool_) if part.valid is None else part.valid
            for part in parts
        ]
        valid = np.concatenate(masks, axis)
    opacities = [part.alpha for part in parts if part.alpha is not None]
    if opacities:
        alpha = np.concatenate(opacities, axis)
    samples = np.concatenate([part.samples for part in parts], axis)
    return replace(parts[0], samples=samples, size=samples.shape[:2], valid=valid, alpha=alpha)


@contextmanager
def gdal() -> Iterator[None]:
    """Let GDAL keep few blocks in memory within the block."""
    rasterio = rasterio_package()
    with rasterio.Env(GDAL_CACHEMAX=CACHE), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        yield


def raster_of(path: str | Path, bands: Bands | None = None) -> Raster:
    """Open a scene.

    Parameters
    ----------
    path
        A file that GDAL reads.
    bands
        The one or three bands to show, counted from 1. None: the first three, or the first of one
        or two.

    Raises
    ------
    ImageError
        The file is missing, GDAL cannot read it, it has no such band, or its bands are indices of a
        colour table or no real numbers.
    ExportError
        The scene is bent on the map, so that no six numbers place it.
    MissingExtraError
        rasterio is not installed.
    """
    path = Path(path)
    rasterio = rasterio_package()
    if not path.exists():
        raise ImageError(f"{path}: {path_problem(path, 'file; check the path')}")
    choice = Choice.of(bands)
    try:
        file = rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise ImageError(f"{path}: GDAL cannot read it ({plain_reason(error)})") from error
    try:
        return _opened(path, file, choice)
    except BaseException:
        file.close()
        raise


def _opened(path: Path, file: Any, choice: Choice) -> Raster:
    rasterio = rasterio_package()
    names = [colour.name for colour in file.colorinterp]
    if not file.count:
        raise ImageError(f"{path}: has no band; give one of its parts (gdalinfo lists subdatasets)")
    alpha = names.index("alpha") + 1 if "alpha" in names else None
    if choice.bands is not None:
        check_bands(str(path), choice.bands, file.count)
        shown = choice.bands
    else:
        others = [band for band in range(1, file.count + 1) if band != alpha]
        shown = tuple(others[:3] if len(others) >= 3 else others[:1])
    if names[shown[0] - 1] == "palette":
        raise ImageError(
            f"{path}: its numbers stand for the colours of a table; write the colours with "
            "gdal_translate -expand rgb"
        )
    dtypes = {file.dtypes[band - 1] for band in shown}
    if any(name.startswith("complex") for name in dtypes):
        raise ImageError(f"{path}: holds complex numbers; save its magnitude as float")
    bits = file.tags(shown[0], ns="IMAGE_STRUCTURE").get("NBITS", "")
    masked = rasterio.enums.MaskFlags.per_dataset in file.mask_flag_enums[shown[0] - 1]
    facts: dict[str, Any] = {}
    if choice.bands is not None or file.count > len(shown) + (alpha is not None):
        facts = {"bands": list(shown), "bands_in_file": file.count}
    if choice.as_dict():
        facts["choice"] = choice.as_dict()
    raster = Raster(
        path, (file.height, file.width), shown, _place_of(path, file), None, 1.0, facts, file,
        alpha if alpha not in shown else None, masked and alpha is None,
        float((1 << int(bits)) - 1) if bits.isdigit() else None,
    )  # fmt: skip
    small = (min(file.height, _MEASURED), min(file.width, _MEASURED))
    decoded = raster._reduced(small)
    limits = display_limits(decoded)
    if limits is not None:
        facts["stretch"] = {"low": limits[0], "high": limits[1]}
    raster = replace(raster, limits=limits, facts=facts)
    return replace(raster, share=float(raster._shown(decoded).valid.mean()))


def _place_of(path: Path, file: Any) -> Place:
    """Where the scene lies. The file's own transform is that of the pixels as they are stored."""
    if not file.transform.is_identity:
        return Place(tuple(file.transform)[:6], file.crs)
    found = georeference(path, degrees=False)
    if found is None:
        return Place()
    transform, crs = found
    if callable(transform):
        raise ExportError(
            f"{path}: is bent on the map by its ground control points; orthorectify it first (with "
            "gdalwarp)"
        )
    return Place(tuple(transform), crs)
