"""TIFF files by tifffile and imagecodecs: scans, GeoTIFF, OME-TIFF, tissue slides.

Samples of any depth, planar or not, tiled or not, are read with every compression that imagecodecs
has. What a file says of its pixels is kept: the orientation, no-data values, masks, opacity, which
band is red, the depth, the colour profile. Pillow reads a few 8-bit kinds that tifffile does not.
"""

from __future__ import annotations

import io
import mmap
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.grid import fitted, nearest
from regiontree.images.nodata import (
    mask_beside,
    nodata_beside,
    nodata_fact,
    nodata_value,
    with_data,
)
from regiontree.images.pillow import PillowReader
from regiontree.images.profile import inks_to_srgb
from regiontree.images.readers import (
    Decoded,
    ImageReader,
    ImageRequest,
    check_bands,
    check_page,
    check_pixels,
)
from regiontree.images.tiffdata import open_tiff, page_at, read_bands
from regiontree.images.tifflayout import Directory, Layout, Page, axes_of, ends_early, layout_of
from regiontree.images.turn import upright, upright_size
from regiontree.system.damage import plain_reason

__all__ = ["TiffReader", "TiffStack", "mask_of_file"]

_PILLOW = PillowReader()
_WHITE_IS_0, _PALETTE, _PRINT, _YCBCR = 0, 3, 5, 6
_LAB = (8, 9, 10)
_OF_BANDS = (0, 1, 2)  # photometric interpretations whose samples are measurements or colours
_CAMERA_RAW = (32803, 34892)
_LOG = (32844, 32845)
_JPEG = (6, 7, 33007, 34892)
_OLD_JPEG = 6
# Smaller copies in a file are used only if the whole image has more pixels than this. Their pixels
# may have been picked, not averaged.
_MANY_PIXELS = 25_000_000


class TiffReader(ImageReader):
    """TIFF and its kinds: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = frozenset({".tif", ".tiff", ".svs"})
    starts = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
    reads_beside = True

    def size(self, request: ImageRequest) -> tuple[int, int]:
        data = request.file.read()
        if not data.startswith(self.starts):
            return _PILLOW.size(_again(request))
        with _opened(data, request.name) as tif:
            layout = layout_of(data, request.name, _description(tif))
            page = _page(layout, request)
            return _base(page, request.max_pixels).size

    def decode(self, request: ImageRequest) -> Decoded:
        data = request.file.read()
        if not data.startswith(self.starts):  # only its name says TIFF
            return _PILLOW.decode(_again(request))
        with _opened(data, request.name) as tif:
            layout = layout_of(data, request.name, _description(tif))
            return _decoded(tif, data, layout, request)


class TiffStack:
    """The pages of a TIFF, which are read from the disk one at a time.

    Attributes
    ----------
    sizes : list of (int, int)
        (H, W) of each page in pixels, as stored.
    axes : str
        What the pages are, the fastest first, by the word of a microscope: "Z", "T" or "ZT". Empty
        if the file does not say.
    is_cut : bool
        Whether the list of pages leads beyond the end of the file.

    Raises
    ------
    ImageError
        The file is damaged or has no image.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._data, self._mapped = cast("bytes", mapped), mapped
        try:
            self._tif = open_tiff(path)
            description = _description(self._tif)
            self._layout = layout_of(self._data, self._name, description)
            self.axes = axes_of(description)
        except (tifffile.TiffFileError, RecursionError) as error:
            self.close()
            raise ImageError(f"{path}: is damaged or cut short ({plain_reason(error)})") from error
        except BaseException:
            self.close()
            raise
        self.sizes = [page.planes[0].size for page in self._layout.pages]
        self.is_cut = ends_early(self._data)

    def decode(self, request: ImageRequest) -> Decoded:
        """The samples of the page that a request names. Its file is open, and is this file."""
        return _decoded(self._tif, self._data, self._layout, request)

    def close(self) -> None:
        tif = getattr(self, "_tif", None)
        if tif is not None:
            tif.close()
        self._mapped.close()


def _again(request: ImageRequest) -> ImageRequest:
    """The request, at the first byte of the file."""
    request.file.seek(0)
    return request


def _opened(data: bytes, name: str) -> tifffile.TiffFile:
    try:
        return open_tiff(io.BytesIO(data))
    except (tifffile.TiffFileError, RecursionError) as error:
        raise ImageError(f"{name}: is damaged or cut short ({plain_reason(error)})") from error


def _description(tif: tifffile.TiffFile) -> str:
    said = tif.pages.first.description
    return said if isinstance(said, str) else ""


def _page(layout: Layout, request: ImageRequest) -> Page:
    check_page(request.name, request.page or 0, len(layout.pages))
    return layout.pages[request.page or 0]


def _base(page: Page, max_pixels: int) -> Directory:
    """The directory that counts as the whole image: the largest that is not too large."""
    first = page.planes[0]
    if first.size[0] * first.size[1] <= max_pixels:
        return first
    fitting = [d for d in page.reduced if d.size[0] * d.size[1] <= max_pixels]
    return max(fitting, key=lambda d: d.size, default=first)


def _level(page: Page, base: Directory, request: ImageRequest, orientation: int) -> Directory:
    """The smallest copy of the image that covers what is asked for."""
    if request.cover is None or base.size[0] * base.size[1] <= _MANY_PIXELS:
        return base
    cover, size = request.cover, upright_size(base.size, orientation)
    wanted = fitted(size, cover) if isinstance(cover, int) else cover
    wanted = upright_size(wanted, orientation)
    fitting = [
        d for d in page.reduced
        if d.size < base.size and d.size[0] >= wanted[0] and d.size[1] >= wanted[1]
    ]  # fmt: skip
    return min(fitting, key=lambda d: d.size, default=base)


def _decoded(tif: tifffile.TiffFile, data: bytes, layout: Layout, request: ImageRequest) -> Decoded:
    """The page that is asked for: see :class:`TiffReader`."""
    page, name = _page(layout, request), request.name
    base = _base(page, request.max_pixels)
    check_pixels(name, base.size, request.max_pixels)
    facts: dict[str, Any] = {}
    if len(layout.pages) > 1:
        facts |= {"page": request.page or 0, "pages": len(layout.pages)}
    if base is not page.planes[0]:
        facts["reduced_from"] = list(page.planes[0].size)
    first = page_at(tif, page.planes[0].offset)
    _check_kind(first, name)
    if _is_for_pillow(first):
        page_of = request.page if len(layout.pages) > 1 else None
        found = _PILLOW.decode(replace(_again(request), page=page_of))
        return replace(found, facts={**facts, **found.facts})
    orientation = _number(first, 274) or 1
    level = base
    if len(page.planes) == 1 and first.dtype == np.uint8:
        level = _level(page, base, request, orientation)
    planes = [page_at(tif, d.offset) for d in ([level] if len(page.planes) == 1 else page.planes)]
    found = _Samples(planes, data, request).decoded()
    if found.samples.shape[:2] != level.size:
        raise ImageError(f"{name}: is damaged (its tags contradict each other about its size)")
    valid = found.valid
    mask = _mask(tif, data, page.masks, level.size, request)
    if mask is None and (beside := mask_beside(request.beside)) is not None:
        mask = nearest(mask_of_file(beside, base.size), level.size)
    if mask is not None:
        valid = mask if valid is None else valid & mask
    return replace(
        found,
        samples=upright(found.samples, orientation),
        alpha=None if found.alpha is None else upright(found.alpha, orientation),
        valid=None if valid is None else upright(valid, orientation),
        size=upright_size(base.size, orientation),
        profile=None if first.photometric == _PRINT else _bytes(first, 34675),
        facts={**facts, **found.facts},
    )


def _check_kind(page: tifffile.TiffPage, name: str) -> None:
    if page.photometric in _CAMERA_RAW or 50706 in page.tags or 33421 in page.tags:
        raise ImageError(
            f"{name}: is a camera's raw file; develop it first, to a TIFF or JPEG for example"
        )
    if not 0 < page.samplesperpixel < 1 << 16:
        raise ImageError(f"{name}: is damaged (it claims {page.samplesperpixel} bands)")
    if page.photometric in _LOG:
        raise ImageError(f"{name}: holds LogLuv colours, which are not read; save it as float RGB")


def _is_for_pillow(page: tifffile.TiffPage) -> bool:
    """Whether the page is of 8 bits, and tifffile would leave its colours or cannot unpack it."""
    coded = page.photometric == _YCBCR and page.compression not in _JPEG
    packed = page.compression == _OLD_JPEG or page.compression not in tifffile.TIFF.DECOMPRESSORS
    return page.dtype == np.uint8 and (coded or packed or page.photometric in _LAB)


class _Samples:
    """The samples of one page.

    Parameters
    ----------
    planes
        The directories of its channels; one, with all bands, if it is not a microscope's.
    data
        The file.
    request
        As for a reader.
    """

    def __init__(self, planes: list[tifffile.TiffPage], data: bytes, request: ImageRequest) -> None:
        self.planes, self.data, self.request = planes, data, request
        page = self.page = planes[0]
        self.count = len(planes) if len(planes) > 1 else page.samplesperpixel
        self.colours = {2: 3, _YCBCR: 3, _PRINT: 4, **dict.fromkeys(_LAB, 3)}.get(
            page.photometric, 1
        )
        if self.count < self.colours or len(planes) > 1 or _number(page, 332) == 2:
            self.colours = 1
        self.roles = _roles(page)
        self.alpha = self._alpha()

    def decoded(self) -> Decoded:
        page, request = self.page, self.request
        facts: dict[str, Any] = {}
        is_print = page.photometric == _PRINT and self.colours == 4 and request.bands is None
        bands = self._bands(facts)
        wanted = [*bands] if self.alpha is None or self.alpha in bands else [*bands, self.alpha]
        samples, valid = self._read(wanted)
        alpha = samples[:, :, -1] if len(wanted) > len(bands) else None
        samples = samples[:, :, : len(bands)]
        beside, own = nodata_beside(request.beside), _nodata(page)
        nodata = [beside.get(band + 1, own) for band in bands]
        if nodata != [None] * len(bands):
            there = with_data(samples, nodata)
            valid = there if valid is None else valid & there
            facts["nodata"] = nodata_fact(nodata)
        if is_print:
            samples = _of_print(samples, _bytes(page, 34675), facts)
        elif page.photometric == _PALETTE and 320 in page.tags:
            samples = _of_palette(samples, page)
        else:
            samples = self._of_depth(samples)
        samples = samples[:, :, 0] if samples.shape[2] == 1 else samples
        if alpha is not None and request.bands is not None:  # chosen bands are not a picture
            valid = alpha > 0 if valid is None else valid & (alpha > 0)
            alpha = None
        if alpha is not None and page.extrasamples and page.extrasamples[0] == 1:
            samples = _unmultiplied(samples, alpha)
        white = self._white()
        size = samples.shape[:2]
        is_white_0 = page.photometric == _WHITE_IS_0
        inverted = is_white_0 and samples.dtype != np.uint8
        return Decoded(
            samples, size, valid=valid, alpha=alpha, white=white, inverted=inverted,
            is_white_0=is_white_0, facts=facts,
        )  # fmt: skip

    def _bands(self, facts: dict[str, Any]) -> list[int]:
        """The bands to show, counted from 0; a choice among more is noted in `facts`."""
        asked = self.request.bands
        if asked is not None:
            check_bands(self.request.name, asked, self.count)
            chosen = [band - 1 for band in asked]
        else:
            others = [band for band in range(self.count) if band != self.alpha]
            chosen = others[:3] if len(others) >= 3 else others[:1]
            named = [self._named(colour) for colour in ("red", "green", "blue")]
            if self.colours > 1:
                chosen = list(range(self.colours))
            if None not in named and self.page.photometric in _OF_BANDS:
                chosen = [band for band in named if band is not None]
        left_out = self.count - len(chosen) - (self.alpha is not None and self.alpha not in chosen)
        if left_out > 0 or asked is not None:
            facts |= {"bands": [band + 1 for band in chosen], "bands_in_file": self.count}
        return chosen

    def _alpha(self) -> int | None:
        """The band that says where there is data, counted from 0."""
        said = self._named("alpha")
        extra = self.page.extrasamples if len(self.planes) == 1 and said is None else ()
        for place, kind in enumerate(extra):
            band = self.count - len(extra) + place
            if kind in (1, 2) and 0 < band < self.count and band not in self.roles:
                return band
        return said

    def _named(self, role: str) -> int | None:
        """The band that GDAL's metadata name so. They overrule TIFF's own tags, as in GDAL."""
        return next((band for band, named in self.roles.items() if named == role), None)

    def _read(self, bands: list[int]) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        name = self.request.name
        if len(self.planes) == 1:
            return read_bands(self.page, self.data, name, bands)
        found = []
        for band in bands:
            plane = self.planes[band]
            if plane.shape != self.page.shape or plane.dtype != self.page.dtype:
                raise ImageError(
                    f"{name}: band {band + 1} has shape {plane.shape}, but the first has "
                    f"{self.page.shape}; choose others with bands (--bands)"
                )
            found.append(read_bands(plane, self.data, name, [0])[0])
        return np.concatenate(found, axis=2), None

    def _of_depth(self, samples: NDArray[Any]) -> NDArray[Any]:
        """Samples with white as the largest value; depths below 8 bits become 8 bits."""
        bits = self.page.bitspersample
        if samples.dtype == np.bool_:
            samples = samples.astype(np.uint8) * np.uint8(255)
        elif samples.dtype == np.uint8 and isinstance(bits, int) and bits < 8:
            top = (1 << bits) - 1
            samples = (samples.astype(np.uint16) * 255 // top).astype(np.uint8)
        if self.page.photometric == _WHITE_IS_0 and samples.dtype == np.uint8:
            samples = np.uint8(255) - samples
        return samples

    def _white(self) -> float | None:
        """The largest value by the file's own account, if it is unusual."""
        page = self.page
        if page.dtype is None or page.dtype.kind not in "u" or page.dtype.itemsize < 2:
            return None
        bits = page.bitspersample
        if isinstance(bits, int) and bits not in (16, 32, 64):
            return float((1 << bits) - 1)
        return None


def _number(page: tifffile.TiffPage, tag: int) -> int | None:
    value = page.tags.valueof(tag)
    return int(value) if isinstance(value, int) else None


def _bytes(page: tifffile.TiffPage, tag: int) -> bytes | None:
    value = page.tags.valueof(tag)
    return value if isinstance(value, bytes) else None


def _roles(page: tifffile.TiffPage) -> dict[int, str]:
    """What GDAL's metadata say that a band is, counted from 0: "red", "alpha", "undefined"."""
    said = page.tags.valueof(42112)
    if not isinstance(said, str):
        return {}
    found = re.findall(r'name="COLORINTERP" sample="(\d+)"[^>]*>(\w+)<', said)
    return {int(band): role.lower() for band, role in found if int(band) < page.samplesperpixel}


def _nodata(page: tifffile.TiffPage) -> float | None:
    """The value that stands for no data (GDAL_NODATA)."""
    said = page.tags.valueof(42113)
    if isinstance(said, bytes):
        said = said.decode("latin-1")
    return None if said is None else nodata_value(str(said))


def _mask(
    tif: tifffile.TiffFile,
    data: bytes,
    masks: list[Directory],
    size: tuple[int, int],
    request: ImageRequest,
) -> NDArray[np.bool_] | None:
    """Which pixels hold data by the mask in the file; None if it has none."""
    if not masks:
        return None
    chosen = next((d for d in masks if d.size == size), masks[0])
    samples, _ = read_bands(page_at(tif, chosen.offset), data, request.name, [0])
    return nearest(samples[:, :, 0] > 0, size)


def mask_of_file(path: Path, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels hold data by a file ``.msk`` of GDAL, which is a TIFF, (H, W).

    Raises
    ------
    ImageError
        The file cannot be read, or is not of the image's stored size (H, W).
    """
    data = path.read_bytes()
    with _opened(data, str(path)) as tif:
        samples, _ = read_bands(tif.pages.first, data, str(path), [0])
    if samples.shape[:2] != size:
        raise ImageError(
            f"{path}: is a mask of {samples.shape[1]} x {samples.shape[0]} pixels beside an image "
            f"of {size[1]} x {size[0]}; remove it, or make it again"
        )
    there: NDArray[np.bool_] = samples[:, :, 0] > 0
    return there


def _of_print(
    samples: NDArray[Any], profile: bytes | None, facts: dict[str, Any]
) -> NDArray[np.uint8]:
    """Colours of inks (h, w, 4). What is to be recorded of the profile goes into `facts`."""
    if samples.dtype != np.uint8:
        top = np.iinfo(samples.dtype).max if samples.dtype.kind in "ui" else 1.0
        samples = (np.clip(samples / top, 0, 1) * 255 + 0.5).astype(np.uint8)
    image = Image.frombytes("CMYK", samples.shape[1::-1], np.ascontiguousarray(samples).tobytes())
    rgb, said = inks_to_srgb(image, profile)
    if said is not None:
        facts["profile"] = said
    return rgb


def _of_palette(samples: NDArray[Any], page: tifffile.TiffPage) -> NDArray[Any]:
    """Colours of the places in the file's palette, (h, w, 3) uint8."""
    palette: NDArray[Any] = np.asarray(page.tags.valueof(320)).reshape(3, -1).T
    if palette.max(initial=0) > 255:  # some programs write 8-bit colours
        palette = palette >> 8
    places = np.minimum(samples[:, :, 0], len(palette) - 1)
    colours: NDArray[Any] = palette.astype(np.uint8)[places]
    return colours


def _unmultiplied(samples: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """Colours that were stored multiplied with their opacity."""
    if samples.dtype.kind not in "uf":
        return samples
    top = np.iinfo(samples.dtype).max if samples.dtype.kind == "u" else 1.0
    with np.errstate(all="ignore"):  # NaN and the largest floats, which hold no data
        opacity = np.maximum(alpha.astype(np.float64), np.finfo(np.float32).tiny)
        opacity = opacity[:, :, None] if samples.ndim == 3 else opacity
        divided = np.minimum(samples * (top / opacity), top)
        whole: NDArray[Any] = (divided + (0.5 if samples.dtype.kind == "u" else 0)).astype(
            samples.dtype
        )
    return whole
