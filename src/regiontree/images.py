"""Any photograph in, RGB pixels out: read safely, then fitted to a patch grid.

:func:`load_image` accepts a path, a Pillow image or an array and always gives 8-bit RGB the right
way up:

- EXIF orientation is applied; of a multi-frame file the first frame is taken;
- transparency is composited over white;
- 16-bit, 32-bit and float grey images are scaled by their own 0.1 and 99.9 percentiles (Pillow
  would clip them; medical and aerial images use only part of their range);
- images beyond ``max_pixels`` are refused before they are decoded;
- large JPEGs are decoded at the smallest scale that still covers the size asked for.

:func:`grid_of` chooses the patch grid and :func:`to_pixels` resizes to it (bilinear, antialiased).
"""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from regiontree.errors import ImageError, SettingsError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "IMAGE_SUFFIXES",
    "MAX_PIXELS",
    "LoadedImage",
    "Size",
    "grid_of",
    "load_image",
    "parse_size",
    "to_pixels",
]

MAX_PIXELS = 150_000_000
IMAGE_SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .webp .tif .tiff .bmp .gif .ppm .pgm .pbm .pnm .jp2 .j2k .avif .tga".split()
)
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")

# A long side (aspect ratio kept) or an exact (height, width), in pixels.
Size = int | tuple[int, int]


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """Attributes: rgb (h, w, 3) uint8, possibly decoded at a reduced scale; size (H, W) of the image
    itself, right way up; name of its file or None; sha256 of the file or of the pixels."""

    rgb: NDArray[np.uint8]
    size: tuple[int, int]
    name: str | None
    digest: str

    @property
    def is_uniform(self) -> bool:
        """One colour only."""
        return bool((self.rgb == self.rgb[:1, :1]).all())


def parse_size(text: str | int | tuple[int, int]) -> Size:
    """``840`` -> long side 840; ``840x1680`` -> exactly 840 high, 1680 wide."""
    try:
        if isinstance(text, tuple | list):
            height, width = (int(v) for v in text)
            size: Size = (height, width)
        elif isinstance(text, str) and "x" in text.lower():
            height, width = (int(v) for v in text.lower().split("x"))
            size = (height, width)
        else:
            size = int(text)
    except (TypeError, ValueError):
        raise SettingsError(
            f"size must be a long side like 840 or HEIGHTxWIDTH like 840x1680, got {text!r}"
        ) from None
    sides = (size,) if isinstance(size, int) else size
    if not all(1 <= side <= 65_536 for side in sides):
        raise SettingsError(f"size must be between 1 and 65536 pixels, got {text!r}")
    return size


def grid_of(image_size: tuple[int, int], size: Size, patch: int) -> tuple[int, int]:
    """Rows and columns of patches for an image of (H, W) pixels.

    A long side keeps the aspect ratio, each side rounded to whole patches, at least one. A grid
    never has more rows or columns than the image has pixels, so every patch owns a pixel.

    Raises
    ------
    SettingsError
        An exact size that is not a multiple of the patch.
    """
    height, width = image_size
    if isinstance(size, int):
        scale = size / max(height, width)
        rows, columns = (max(1, round(side * scale / patch)) for side in (height, width))
    else:
        if size[0] % patch or size[1] % patch:
            near = "x".join(str(max(1, round(side / patch)) * patch) for side in size)
            raise SettingsError(
                f"size {size[0]}x{size[1]} is not a multiple of the backbone's patch of {patch} "
                f"pixels; {near} is"
            )
        rows, columns = size[0] // patch, size[1] // patch
    return min(rows, height), min(columns, width)


def to_pixels(image: LoadedImage, grid: tuple[int, int], patch: int) -> Tensor:
    """The image resized to ``grid * patch`` pixels: (3, rows * patch, columns * patch) in [0, 1]."""
    import torch

    height, width = grid[0] * patch, grid[1] * patch
    resized = Image.fromarray(image.rgb).resize((width, height), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(resized)).permute(2, 0, 1)
    return pixels.float().div_(255.0)


def load_image(
    source: str | Path | Image.Image | NDArray[Any],
    *,
    max_pixels: int = MAX_PIXELS,
    cover: tuple[int, int] | None = None,
) -> LoadedImage:
    """Read a photograph.

    Parameters
    ----------
    source
        A path, a Pillow image, or an array: (H, W) grey or (H, W, 1/3/4) of uint8, bool, uint16 or
        float. Float colour arrays are in [0, 1].
    max_pixels
        Larger images are refused: decoding takes 3 to 4 bytes a pixel, and small files can claim any
        size.
    cover
        (H, W) that the result must at least cover; lets large JPEGs be decoded at a reduced scale.

    Raises
    ------
    ImageError
        Naming the file: missing, empty, not an image, truncated, too large.
    """
    if isinstance(source, str | Path):
        return _from_path(Path(source), max_pixels, cover)
    if isinstance(source, Image.Image):
        _check_pixels("the image", source.size, max_pixels)
        rgb = _to_rgb(source)
        return LoadedImage(rgb, rgb.shape[:2], None, _digest(rgb))
    if isinstance(source, np.ndarray):
        rgb = _from_array(source, max_pixels)
        return LoadedImage(rgb, rgb.shape[:2], None, _digest(rgb))
    raise ImageError(
        f"an image is a path, a Pillow image or a NumPy array, got {type(source).__name__}"
    )


def _from_path(path: Path, max_pixels: int, cover: tuple[int, int] | None) -> LoadedImage:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{path}: is a folder; name an image in it") from None
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes); copy or download it again")
    try:
        with warnings.catch_warnings():
            # Our own limit, below, speaks for Pillow's; other warnings are about metadata.
            warnings.simplefilter("ignore")
            with _pillow_limit(max_pixels), Image.open(io.BytesIO(data)) as image:
                _check_pixels(str(path), image.size, max_pixels)
                width, height = image.size
                if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
                    width, height = height, width
                    cover = cover[::-1] if cover else None
                if cover is not None:
                    image.draft(None, (cover[1], cover[0]))
                rgb = _to_rgb(image)
    except UnidentifiedImageError:
        raise ImageError(
            f"{path}: is not an image that Pillow can read (it starts with {data[:8]!r})"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(_too_large(str(path), None, max_pixels)) from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError) as error:
        # Pillow's decoders raise all of these on damaged files.
        raise ImageError(f"{path}: is damaged or cut short ({error})") from error
    except MemoryError as error:
        raise ImageError(f"{path}: does not fit in memory ({width} x {height} pixels)") from error
    return LoadedImage(rgb, (height, width), path.name, hashlib.sha256(data).hexdigest())


class _pillow_limit:
    """Pillow's own bomb check set to our limit while a file is opened (it is a module global)."""

    def __init__(self, max_pixels: int) -> None:
        self.max_pixels = max_pixels

    def __enter__(self) -> None:
        self.before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = max(self.max_pixels, 1)

    def __exit__(self, *_: object) -> None:
        Image.MAX_IMAGE_PIXELS = self.before


def _check_pixels(name: str, size: tuple[int, int], max_pixels: int) -> None:
    if size[0] * size[1] > max_pixels:
        raise ImageError(_too_large(name, size, max_pixels))
    if 0 in size:
        raise ImageError(f"{name}: has no pixels ({size[0]} x {size[1]})")


def _too_large(name: str, size: tuple[int, int] | None, max_pixels: int) -> str:
    what = "more" if size is None else f"{size[0]} x {size[1]} = {size[0] * size[1] / 1e6:.0f}"
    return (
        f"{name}: {what} megapixels, above the limit of {max_pixels / 1e6:.0f}; if it is "
        "genuine, raise the limit with max_pixels (--max-pixels)"
    )


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    """8-bit RGB, upright, transparency over white."""
    image = ImageOps.exif_transpose(image)
    if image.mode in _DEEP_MODES:
        return _stretched(np.asarray(image))
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def _from_array(array: NDArray[Any], max_pixels: int) -> NDArray[np.uint8]:
    shape = array.shape
    if array.ndim not in (2, 3) or (array.ndim == 3 and shape[2] not in (1, 3, 4)):
        raise ImageError(f"an image array is (H, W) or (H, W, 1, 3 or 4), got shape {shape}")
    _check_pixels("the image array", (shape[1], shape[0]), max_pixels)
    if array.ndim == 3 and shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype.kind not in "uif":
        raise ImageError(f"an image array holds numbers, got {array.dtype}")
    if array.dtype == np.uint8:
        return _to_rgb(Image.fromarray(np.ascontiguousarray(array)))
    if array.ndim == 2:
        return _stretched(array)
    if array.dtype.kind == "f":
        if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
            raise ImageError(
                "a float colour array must be in [0, 1] and finite; it holds "
                f"{np.nanmin(array):g} to {np.nanmax(array):g}"
            )
        return _to_rgb(Image.fromarray((array * 255 + 0.5).astype(np.uint8)))
    if array.dtype == np.uint16:
        return _to_rgb(Image.fromarray((array >> 8).astype(np.uint8)))
    raise ImageError(f"a colour array is uint8, uint16 or float in [0, 1], got {array.dtype}")


def _stretched(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Deep grey (H, W) to 8-bit RGB between its 0.1 and 99.9 percentiles; NaN becomes black."""
    values = grey.astype(np.float32)
    finite = np.isfinite(values)
    if not finite.any():
        raise ImageError("the image holds no finite value")
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
    state = hashlib.sha256(repr(rgb.shape).encode())
    state.update(np.ascontiguousarray(rgb).data)
    return state.hexdigest()
