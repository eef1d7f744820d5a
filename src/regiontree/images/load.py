"""Read a photograph safely, as 8-bit RGB pixels.

:func:`load_image` accepts a path, a Pillow image or an array. It always returns upright 8-bit RGB:

- It applies the EXIF orientation. It reads the first frame of a file with many frames.
- It puts transparent pixels over white.
- It scales grey images of 16 bits, 32 bits or floats by their own 0.1 and 99.9 percentiles. Pillow
  would clip them, and medical and aerial images use only a part of their range.
- It refuses images with more than ``max_pixels`` pixels before it decodes them.
- It decodes a large JPEG at the smallest scale that still covers the size that the caller needs.

:mod:`regiontree.images.grid` chooses the patch grid and resizes the pixels to it.
"""

from __future__ import annotations

import hashlib
import io
import math
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from regiontree.errors import ImageError
from regiontree.images.grid import Size
from regiontree.images.readers import FIRST_BYTES, ImageReader, ImageRequest, find_reader

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "LoadedImage", "Photo", "image_size", "load_image"]

MAX_PIXELS = 150_000_000
"""Larger photographs are refused unless more is asked for."""
IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga",
})  # fmt: skip
"""Endings of files that are taken for photographs."""
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
# For each EXIF orientation, the transposition that makes the image upright. 5 to 8 swap height and
# width.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's parsers and decoders raise on damaged files. The list was found by changing bytes of
# files in 13 formats.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
           AttributeError, RuntimeError, struct.error, zlib.error)  # fmt: skip


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


Photo = str | Path | Image.Image | NDArray[Any] | LoadedImage
"""What a photograph may be given as: a path, a Pillow image, an array, or a decoded photograph."""


def load_image(
    source: Photo,
    *,
    max_pixels: int = MAX_PIXELS,
    cover: Size | None = None,
) -> LoadedImage:
    """The pixels of a photograph.

    Parameters
    ----------
    source
        A path, a Pillow image, or an array. An array is (H, W) grey or (H, W, 1, 3 or 4), of uint8,
        bool, uint16 or float. A float colour array must be in [0, 1]. A :class:`LoadedImage` is
        returned unchanged.
    max_pixels
        Images with more pixels are refused. Decoding takes 3 to 4 bytes a pixel, and the header of
        a small file can claim any size.
    cover
        Long side or (H, W) in pixels. A large JPEG is decoded at a reduced scale that is at least
        this size. None: at full size.

    Raises
    ------
    ImageError
        The file is missing, empty, damaged, not an image or too large, or the array has a wrong
        shape, dtype or range. The message names the file.
    """
    if isinstance(source, LoadedImage):
        return source
    if isinstance(source, str | Path):
        return _from_path(Path(source), max_pixels, cover)
    if isinstance(source, Image.Image):
        _check_pixels("the image", source.size, max_pixels)
        with _decoding("the image"):
            rgb = _to_rgb(source)
        return LoadedImage(rgb, rgb.shape[:2], None, _digest(rgb))
    if isinstance(source, np.ndarray):
        rgb = _from_array(source, max_pixels)
        return LoadedImage(rgb, rgb.shape[:2], None, _digest(rgb))
    raise ImageError(
        f"an image must be a path, a Pillow image or a NumPy array, got {type(source).__name__}"
    )


def image_size(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """(H, W) of an image file in pixels, as stored, before the EXIF orientation is applied.

    Only the header of the file is read.

    Raises
    ------
    ImageError
        The file cannot be read, is not an image, or has more than `max_pixels` pixels.
    """
    with _decoding(str(path)), path.open("rb") as file:
        start = file.read(FIRST_BYTES)
        file.seek(0)
        reader = find_reader(path.suffix, start)
        return _checked_size(reader, ImageRequest(file, str(path), max_pixels))


def _from_path(path: Path, max_pixels: int, cover: Size | None) -> LoadedImage:
    """The image in a file: see :func:`load_image`."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder; give the path of an image in it") from None
    except (OSError, ValueError) as error:  # ValueError: the path contains a NUL character
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{path}: cannot be read ({reason})") from error
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    reader = find_reader(path.suffix, data[:FIRST_BYTES])
    request = ImageRequest(io.BytesIO(data), str(path), max_pixels, cover)
    with _decoding(str(path)):
        if not isinstance(reader, PillowReader):  # which checks the size as it decodes
            _checked_size(reader, request)
            request.file.seek(0)
        rgb, size = reader.decode(request)
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ImageError(
            f"{path}: {type(reader).__name__} must give (H, W, 3) uint8, got {rgb.dtype} of shape "
            f"{rgb.shape}; repair the package that adds it"
        )
    return LoadedImage(rgb, size, path.name, hashlib.sha256(data).hexdigest())


def _checked_size(reader: ImageReader, request: ImageRequest) -> tuple[int, int]:
    """(H, W) by a reader, after a check that the image has pixels and not too many."""
    height, width = reader.size(request)
    _check_pixels(request.name, (width, height), request.max_pixels)
    return height, width


def _decoded(request: ImageRequest) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """The pixels by Pillow, and (H, W) of the whole image, upright."""
    cover = request.cover
    with _opened(request.file, request.name, request.max_pixels) as image:
        width, height = image.size
        if cover is not None and image.format in ("JPEG", "MPO"):
            turned = _orientation(image) >= 5
            if isinstance(cover, int):
                scale = cover / max(width, height)
                draft = math.ceil(width * scale), math.ceil(height * scale)
            else:
                draft = cover if turned else cover[::-1]
            image.draft(None, draft)
            drafted = image.size != (width, height)
        else:
            turned = drafted = False
        rgb = _to_rgb(image)
    # Pillow turns TIFFs upright while it decodes them, so the decoded size is used where possible.
    # A JPEG at a reduced scale is smaller than the image, so its header says the size.
    size = rgb.shape[:2] if not drafted else (width, height) if turned else (height, width)
    return rgb, size


class PillowReader(ImageReader):
    """The formats that Pillow reads: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = IMAGE_SUFFIXES
    starts: tuple[bytes, ...] = ()  # Pillow recognises a file by its content

    def size(self, request: ImageRequest) -> tuple[int, int]:
        width, height = _opened(request.file, request.name, request.max_pixels).size
        return height, width

    def decode(self, request: ImageRequest) -> tuple[NDArray[np.uint8], tuple[int, int]]:
        return _decoded(request)


@contextmanager
def _decoding(name: str) -> Iterator[None]:
    """Turn the errors that Pillow raises while it decodes `name` into an ImageError."""
    try:
        with warnings.catch_warnings():
            # We check the number of pixels ourselves. Pillow's other warnings are about metadata.
            warnings.simplefilter("ignore")
            yield
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name}: Pillow refuses it as too large ({error})") from None
    except _DAMAGE as error:
        raise ImageError(f"{name}: is damaged or cut short ({error})") from error
    except MemoryError as error:
        raise ImageError(f"{name}: does not fit in memory; make a smaller copy first") from error


_PILLOW_LIMIT = threading.Lock()


def _opened(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """The opened image, with its size checked and no pixel decoded."""
    # Pillow's own limit is a global of its module. It is set to ours only while the header is read.
    with _PILLOW_LIMIT:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(max_pixels, 1)
        try:
            image = Image.open(file)
        except UnidentifiedImageError:
            file.seek(0)
            raise ImageError(
                f"{name}: is not an image that Pillow can read (it starts with {file.read(8)!r})"
            ) from None
        except Image.DecompressionBombError:
            raise ImageError(_too_large(name, None, max_pixels)) from None
        finally:
            Image.MAX_IMAGE_PIXELS = before
    _check_pixels(name, image.size, max_pixels)
    return image


def _check_pixels(name: str, size: tuple[int, int], max_pixels: int) -> None:
    """Raise an ImageError if an image of `size` (width, height) is empty or too large."""
    if size[0] * size[1] > max_pixels:
        raise ImageError(_too_large(name, size, max_pixels))
    if 0 in size:
        raise ImageError(f"{name}: has no pixels (its size is {size[0]} x {size[1]})")


def _too_large(name: str, size: tuple[int, int] | None, max_pixels: int) -> str:
    """The message for an image with too many pixels; `size` is (width, height) or unknown."""
    if size is None:  # Pillow refuses images above twice its limit and does not report their size
        what = f"more than {2 * max_pixels / 1e6:.3g}"
    else:
        what = f"{size[0]} x {size[1]} = {size[0] * size[1] / 1e6:.3g}"
    return (
        f"{name}: {what} megapixels, above the limit of {max_pixels / 1e6:.3g}; if the file is "
        "genuine, raise the limit with max_pixels (--max-pixels)"
    )


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """Upright 8-bit RGB, with transparent pixels over white."""
    image.load()
    transposition = _UPRIGHT.get(_orientation(image))
    if transposition is not None:
        image = image.transpose(transposition)
    if image.mode == "La":
        image = image.convert("LA")
    if image.mode in _DEEP_MODES:
        return _stretched(np.asarray(image))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if there is none or the metadata is damaged.

    ``ImageOps.exif_transpose`` is not used. It writes the metadata again, and this fails on some
    photographs whose pixels are fine.
    """
    try:
        orientation = image.getexif().get(0x0112, 1)
    except _DAMAGE:
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    """The pixels of an image array: see :func:`load_image`."""
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"an image array must be (H, W) or (H, W, 1, 3 or 4), got shape {shape}")
    _check_pixels("the image array", (shape[1], shape[0]), max_pixels)
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise ImageError(f"an image array must hold numbers, got {array.dtype}")
    if array.dtype == np.uint8:
        return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    if array.ndim == 2:
        return _stretched(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all():
            raise ImageError(
                "a float colour array must be finite, but it holds NaN or infinity; replace those "
                "values"
            )
        if array.min() < 0 or array.max() > 1:
            raise ImageError(
                f"a float colour array must be in [0, 1], but it holds {array.min():g} to "
                f"{array.max():g}; divide it by its largest possible value"
            )
        return _to_rgb(Image.fromarray((array * 255 + 0.5).astype(np.uint8)))
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:  # uint16 of either byte order
        return _to_rgb(Image.fromarray((array >> 8).astype(np.uint8)))
    raise ImageError(f"a colour array must be uint8, uint16 or float in [0, 1], got {array.dtype}")


def _stretched(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """8-bit RGB of grey (H, W), scaled from its 0.1 to its 99.9 percentile; NaN becomes black."""
    # Values of eight bytes stay float64: in float32, 1e300 would become infinity.
    values = grey.astype(np.float64 if grey.dtype.itemsize > 4 else np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError("the image holds no finite value, only NaN or infinity")
    low, high = np.percentile(values[finite], [0.1, 99.9])
    if high <= low:
        low, high = float(values[finite].min()), float(values[finite].max())
    if high <= low:
        eight_bit = np.full(values.shape, 127, np.uint8)
    else:
        scaled = np.clip((np.where(finite, values, low) - low) / (high - low), 0.0, 1.0)
        eight_bit = (scaled * 255 + 0.5).astype(np.uint8)
    return np.repeat(eight_bit[:, :, None], 3, axis=2)


def _digest(rgb: NDArray[np.uint8]) -> str:
    """sha256 of the shape and the pixels."""
    state = hashlib.sha256(repr(rgb.shape).encode())
    state.update(np.ascontiguousarray(rgb).data)
    return state.hexdigest()
