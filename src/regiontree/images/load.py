"""Read a photograph safely, as 8-bit RGB pixels.

:func:`load_image` accepts paths, open files, bytes, Pillow images and arrays. It always
returns upright 8-bit RGB:

- It applies the orientation that the file names. Of a file with many pages it reads the first, or
  the one that is asked for.
- It shows deep samples by :mod:`regiontree.images.stretch`, and applies colour profiles.
- It says which pixels hold data. Transparent pixels do not; half-transparent ones lie over white.
- It refuses images with more than ``max_pixels`` pixels before it decodes them.
- It decodes a large JPEG at the smallest scale that still covers the size that the caller needs.

A reader for each family of formats does the decoding: see :mod:`regiontree.images.readers`.
:mod:`regiontree.images.grid` chooses the patch grid and resizes the pixels to it.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images.arrays import from_array
from regiontree.images.choice import Bands, Choice
from regiontree.images.given import Encoded, as_given
from regiontree.images.grid import Size, nearest
from regiontree.images.maskfiles import mask_for
from regiontree.images.nodata import has_beside, mask_beside, nodata_beside, nodata_fact, with_data
from regiontree.images.pillow import DAMAGE, PillowReader, from_pillow
from regiontree.images.readers import (
    FIRST_BYTES,
    Decoded,
    ImageReader,
    ImageRequest,
    check_page,
    check_pixels,
    find_reader,
)
from regiontree.images.refused import refuse
from regiontree.images.stretch import rendered
from regiontree.images.valid import both, mask_digest
from regiontree.system.damage import plain_reason
from regiontree.system.files import read_whole
from regiontree.system.paths import path_problem

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "MAX_PIXELS",
    "LoadedImage",
    "Photo",
    "decoding",
    "image_of",
    "image_size",
    "load_again",
    "load_image",
]

MAX_PIXELS = 150_000_000
"""Larger photographs are refused unless more is asked for."""
# Formats of Pillow that can be deeper than 8 bits.
_DEEP_FORMATS = ("TIFF", "PNG", "JPEG2000", "PPM")


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """An image that has been read.

    Attributes
    ----------
    rgb : (h, w, 3) uint8
        Upright sRGB pixels. A large JPEG may be decoded at a reduced scale.
    size : tuple of int
        (H, W) of the whole image in pixels, upright.
    name : str or None
        Name of the file, without its folder. None if the image did not come from a file.
    digest : str
        sha256 of the file's bytes, or of the pixels if there is no file.
    valid : (h, w) bool or None
        Which pixels hold data, at the scale of `rgb`. None: all of them. An array that leaves no
        pixel out becomes None.
    facts : mapping
        How the pixels were made of the file, as JSON values for ``meta["image"]``: the stretch, for
        example.
    """

    rgb: NDArray[np.uint8]
    size: tuple[int, int]
    name: str | None
    digest: str
    valid: NDArray[np.bool_] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.valid is not None and self.valid.all():
            object.__setattr__(self, "valid", None)

    @property
    def is_uniform(self) -> bool:
        """Whether all pixels that hold data have the same colour, or no pixel holds data."""
        if self.valid is None:
            return bool((self.rgb == self.rgb[:1, :1]).all())
        first = self.rgb.reshape(-1, 3)[int(self.valid.argmax())]
        return bool(((self.rgb == first).all(axis=2) | ~self.valid).all())


# From (H, W) of a photograph and its name to the user's mask; None if there is none.
_MaskOf = Callable[[tuple[int, int], str], NDArray[np.bool_] | None]
Photo: TypeAlias = (
    "str | os.PathLike[str] | bytes | bytearray | IO[bytes] | Encoded | Image.Image | NDArray[Any]"
    " | Tensor | LoadedImage"
)
"""What a photograph may be given as.

A path, the bytes of an image file, a file open for reading bytes, a Pillow image, an array, a
tensor, or a decoded photograph.
"""


def load_image(
    source: Photo,
    *,
    max_pixels: int = MAX_PIXELS,
    cover: Size | None = None,
    bands: Bands | None = None,
    page: int | None = None,
    valid: Any = None,
    limits: tuple[float, float] | None = None,
) -> LoadedImage:
    """The pixels of a photograph.

    Parameters
    ----------
    source
        A path, the bytes of an image file, a file open for reading bytes, a Pillow image, an array
        or a tensor. An open file is read from its position to its end and then, if it can seek, put
        back; its name and the digest of these bytes are recorded. An array or a tensor is (H, W)
        grey or (H, W, 1, 3 or 4), of bool, whole numbers or floats: see
        :mod:`regiontree.images.stretch`. Masked pixels of a masked array hold no data. A
        :class:`LoadedImage` is returned unchanged.
    max_pixels
        Images with more pixels are refused. Decoding takes 3 to 4 bytes a pixel, and the header of
        a small file can claim any size.
    cover
        Long side or (H, W) in pixels. A large JPEG is decoded at a reduced scale that is at least
        this size. None: at full size.
    bands
        The one or three bands to show, counted from 1: ``(4, 3, 2)``. None: all bands of a
        photograph. Of an image with more, the first three; of one with two, the first.
    page
        Page or frame of a file with several, counted from 0. None: the first.
    valid
        A mask of pixels that are there, beside what the photograph itself declares: (H, W) bool or
        numbers, 0 where nothing is there, or the path of a mask image. The photograph is then
        decoded at full size, and ``facts`` have the digest of the mask as ``mask_sha256``. A mask
        that leaves nothing out changes nothing. None: no mask.
    limits
        The values of a file's deep samples that become black and white, so that several photographs
        have one stretch. Samples of 8 bits are shown as they are. None: as
        :mod:`regiontree.images.stretch` says.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, not an image or too large, or the array has a wrong
        shape, dtype or range. The message names the file.
    """
    source = as_given(source)

    def mask_of(size: tuple[int, int], name: str) -> NDArray[np.bool_] | None:
        return None if valid is None else mask_for(valid, size, name, max_pixels)

    if isinstance(source, LoadedImage):
        return _masked(source, mask_of(source.size, source.name or "the photograph"))
    choice = Choice.of(bands, page)
    if isinstance(source, Path | Encoded):
        file = _File.of(source)
        if valid is None:
            return _from_bytes(file, max_pixels, cover, choice, limits=limits)
        found = _from_bytes(file, max_pixels, None, choice, mask_of, limits)
        if cover is None or "mask_sha256" in found.facts:
            return found
        return _from_bytes(file, max_pixels, cover, choice, limits=limits)  # as without a mask
    if isinstance(source, Image.Image):
        check_pixels("the image", source.size[::-1], max_pixels)
        with decoding("the image"):
            decoded = _of_open_file(source, max_pixels, choice)
            if decoded is None:
                decoded = from_pillow(source, "the image", choice.bands, choice.page)
        return _without_file(decoded, "the image", choice, mask_of)
    if isinstance(source, np.ndarray):
        decoded = from_array(source, max_pixels, choice.bands)
        check_page("the image array", choice.page or 0, 1)
        return _without_file(decoded, "the image array", choice, mask_of)
    raise ImageError(
        "an image must be a path, an open file, bytes, a Pillow image or an array, got "
        f"{type(source).__name__}"
    )


def load_again(
    source: Photo, meta: Mapping[str, Any], *, shape: tuple[int, int], cover: Size | None = None
) -> LoadedImage:
    """The photograph of a tree, read as the tree's ``meta`` says.

    Parameters
    ----------
    source
        As for :func:`load_image`. The choice of bands and page does not apply to pixels that are
        colours already.
    meta
        Meta of the tree.
    shape
        (H, W) of the tree, which may be larger than usual photographs.
    cover
        As for :func:`load_image`.

    Raises
    ------
    ImageError
        As for :func:`load_image`.
    """
    choice, limit = Choice.of_meta(meta), max(MAX_PIXELS, shape[0] * shape[1])
    if isinstance(source, np.ndarray) and (source.ndim < 3 or source.shape[2] <= 4):
        choice = Choice()
    return load_image(source, max_pixels=limit, cover=cover, bands=choice.bands, page=choice.page)


def image_size(path: str | os.PathLike[str], max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(H, W) of an image file in pixels, as stored, before the EXIF orientation is applied.

    No pixel is decoded.

    Raises
    ------
    ImageError
        The file cannot be read, is not an image, or has more than `max_pixels` pixels.
    """
    path = Path(path)
    with decoding(str(path)), path.open("rb") as file:
        start = file.read(FIRST_BYTES)
        file.seek(0)
        refuse(str(path), start)
        reader = find_reader(path.suffix, start)
        return _checked_size(reader, ImageRequest(file, str(path), max_pixels))


def _of_open_file(image: Image.Image, max_pixels: int, choice: Choice) -> Decoded | None:
    """The samples in the file of an image that Pillow has opened and not decoded yet.

    None if Pillow is the right reader, or has decoded it. Pillow would cut deep colour to 8 bits.
    """
    file = getattr(image, "fp", None)
    if image.format not in _DEEP_FORMATS or not getattr(image, "tile", None) or file is None:
        bits = getattr(image, "tag_v2", {}).get(258, (8,)) if image.format == "TIFF" else (8,)
        if max(bits) > 8 and image.mode in ("RGB", "RGBA", "RGBX", "CMYK"):
            raise ImageError("the image was cut to 8 bits by Pillow; pass the path of its file")
        return None
    before = file.tell()
    file.seek(0)
    data = file.read()
    file.seek(before)
    page = image.tell() or None if choice.page is None else choice.page
    reader = find_reader("", data[:FIRST_BYTES])
    if type(reader) is PillowReader:
        return None
    request = ImageRequest(io.BytesIO(data), "the image", max_pixels, None, choice.bands, page)
    return _of_reader(reader, request)


def _masked(image: LoadedImage, mask: NDArray[np.bool_] | None) -> LoadedImage:
    """A decoded photograph without the pixels that a mask (H, W) of its own size leaves out."""
    if mask is None:
        return image
    valid = both(image.valid, nearest(mask, image.rgb.shape[:2]))
    return replace(image, valid=valid, facts={**image.facts, "mask_sha256": mask_digest(mask)})


def _without_masked(decoded: Decoded, name: str, mask_of: _MaskOf) -> Decoded:
    """The samples without the pixels that the user's mask leaves out, before their stretch."""
    mask = mask_of(decoded.size, name)
    if mask is None:
        return decoded
    valid = both(decoded.valid, nearest(mask, decoded.samples.shape[:2]))
    return replace(decoded, valid=valid, facts={**decoded.facts, "mask_sha256": mask_digest(mask)})


def _without_file(decoded: Decoded, name: str, choice: Choice, mask_of: _MaskOf) -> LoadedImage:
    """The image of samples that did not come from a file."""
    found = image_of(_without_masked(decoded, name, mask_of), name)
    return replace(found, facts=_recorded(found.facts, choice))


def image_of(decoded: Decoded, title: str) -> LoadedImage:
    """The image of samples that are not a whole file: an array, or one of a file's frames.

    `title` is what messages call it. The digest is that of the pixels.

    Raises
    ------
    ImageError
        The samples are not real numbers, or none of them is finite.
    """
    shown = rendered(decoded, title)
    digest = _digest(shown.rgb)
    return LoadedImage(shown.rgb, decoded.size, None, digest, shown.valid, shown.facts)


@dataclass(frozen=True, slots=True)
class _File:
    """The bytes of an image file, its name, what messages call it, and its path if it has one."""

    data: bytes = field(repr=False)
    name: str | None
    title: str
    path: Path | None = None

    @classmethod
    def of(cls, source: Path | Encoded) -> _File:
        if isinstance(source, Encoded):
            return cls(source.data, source.name, source.title)
        path = source
        try:
            return cls(read_whole(path), path.name, str(path), path)
        except FileNotFoundError:
            raise ImageError(f"{path}: {path_problem(path, 'file; check the path')}") from None
        except IsADirectoryError:
            raise ImageError(f"{path}: is a folder; give the path of an image in it") from None
        except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
            reason = getattr(error, "strerror", None) or error
            raise ImageError(f"{path}: cannot be read ({reason})") from error


def _from_bytes(
    given: _File,
    max_pixels: int,
    cover: Size | None,
    choice: Choice,
    mask_of: _MaskOf = lambda size, name: None,
    limits: tuple[float, float] | None = None,
) -> LoadedImage:
    """The image in the bytes of a file: see :func:`load_image`."""
    data, name, title, path = given.data, given.name, given.title, given.path
    if not data:
        raise ImageError(f"{title}: is empty (0 bytes); copy or download it again")
    refuse(title, data[:FIRST_BYTES])
    reader = find_reader(Path(name or "").suffix, data[:FIRST_BYTES])
    is_masked = not getattr(reader, "reads_beside", False) and has_beside(path)
    cover = None if is_masked else cover  # at a reduced scale, pixels are mixed with their gaps
    request = ImageRequest(
        io.BytesIO(data), title, max_pixels, cover, choice.bands, choice.page, path
    )
    with decoding(title):
        if not isinstance(reader, PillowReader):  # which checks the size as it decodes
            _checked_size(reader, request)
            request.file.seek(0)
        decoded = _of_reader(reader, request)
        if is_masked and path is not None:
            decoded = _without_beside(decoded, path)
        decoded = _without_masked(decoded, title, mask_of)
        decoded = decoded if limits is None else replace(decoded, limits=limits)
        shown = rendered(decoded, title)
    digest = hashlib.sha256(data).hexdigest()
    facts = _recorded(shown.facts, choice)
    return LoadedImage(shown.rgb, decoded.size, name, digest, shown.valid, facts)


def _without_beside(decoded: Decoded, path: Path) -> Decoded:
    """The samples without the pixels that files beside the image call no data."""
    from regiontree.images.tiff import mask_of_file

    samples, valid, facts = decoded.samples, decoded.valid, dict(decoded.facts)
    samples = samples if samples.ndim == 3 else samples[:, :, None]
    values = nodata_beside(path)
    # Grey that is stored as one band may be decoded as three equal ones.
    shown = facts.get("bands") or range(1, samples.shape[2] + 1)
    nodata = [values.get(band, values.get(1) if len(values) == 1 else None) for band in shown]
    if nodata != [None] * len(nodata):
        valid = both(valid, with_data(samples, nodata))
        facts["nodata"] = nodata_fact(nodata)
    mask = mask_beside(path)
    if mask is not None:
        valid = both(valid, mask_of_file(mask, samples.shape[:2]))
    return replace(decoded, valid=valid, facts=facts)


def _recorded(facts: Mapping[str, Any], choice: Choice) -> Mapping[str, Any]:
    """The facts of an image, with what the user chose of the file."""
    chosen = choice.as_dict()
    return {**facts, "choice": chosen} if chosen else facts


def _of_reader(reader: ImageReader, request: ImageRequest) -> Decoded:
    """What the reader decodes, after a check of its shapes: other packages add readers."""
    found = reader.decode(request)
    shape = found.samples.shape if isinstance(found, Decoded) else None
    if shape is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3):
        got = type(found).__name__ if shape is None else f"samples of shape {shape}"
        raise ImageError(
            f"{request.name}: {type(reader).__name__} must give a Decoded with samples of shape "
            f"(h, w) or (h, w, 3), got {got}; repair the package that adds it"
        )
    return found


def _checked_size(reader: ImageReader, request: ImageRequest) -> tuple[int, int]:
    """(H, W) by a reader, after a check that the image has pixels and not too many."""
    size = reader.size(request)
    check_pixels(request.name, size, request.max_pixels)
    return size


@contextmanager
def decoding(name: str) -> Iterator[None]:
    """Turn the errors that a decoder raises on damage in the file `name` into an ImageError."""
    # Pillow's warnings are not silenced: filters belong to the whole process, so to the program.
    try:
        yield
    except Image.DecompressionBombError as error:  # of a frame inside the file
        raise ImageError(
            f"{name}: Pillow refuses it as too large ({error}); if the file is genuine, raise "
            "PIL.Image.MAX_IMAGE_PIXELS"
        ) from None
    except Warning as warning:
        raise ImageError(
            f"{name}: Pillow warns of it ({warning}), and this program turns warnings into "
            'errors; allow it with warnings.filterwarnings("default", module="PIL")'
        ) from warning
    except DAMAGE as error:
        raise ImageError(f"{name}: is damaged or cut short ({plain_reason(error)})") from error
    except MemoryError as error:
        raise ImageError(f"{name}: does not fit in memory; make a smaller copy first") from error


def _digest(rgb: NDArray[np.uint8]) -> str:
    """sha256 of the shape and the pixels."""
    state = hashlib.sha256(repr(rgb.shape).encode())
    state.update(np.ascontiguousarray(rgb).data)
    return state.hexdigest()
