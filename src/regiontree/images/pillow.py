"""Photographs of 8 bits by Pillow: JPEG, PNG, WebP, GIF and what else it recognises.

Pillow also reads deep grey. It clips deep colour to 8 bits without a word, so other readers take
those files.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import replace
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from regiontree.errors import ImageError
from regiontree.images.identify import identified
from regiontree.images.profile import inks_to_srgb
from regiontree.images.readers import (
    Decoded,
    ImageReader,
    ImageRequest,
    check_bands,
    check_page,
    check_pixels,
)

__all__ = ["DAMAGE", "IMAGE_SUFFIXES", "PillowReader", "from_pillow"]

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".ppm",
    ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif", ".tga",
})  # fmt: skip
"""Endings of files that Pillow reads as photographs."""
_DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa")
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
# The list was found by changing bytes of files in 13 formats.
DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
          AttributeError, RuntimeError, struct.error, zlib.error)  # fmt: skip
"""What the parsers and decoders of Pillow and of other readers raise on damaged files."""


class PillowReader(ImageReader):
    """The formats that Pillow reads: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = IMAGE_SUFFIXES
    starts: tuple[bytes, ...] = ()  # Pillow recognises a file by its content

    def size(self, request: ImageRequest) -> tuple[int, int]:
        width, height = _opened(request.file, request.name, request.max_pixels).size
        return height, width

    def decode(self, request: ImageRequest) -> Decoded:
        cover = request.cover
        with _opened(request.file, request.name, request.max_pixels) as image:
            width, height = image.size
            if cover is not None and image.format in ("JPEG", "MPO") and not request.page:
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
            found = from_pillow(
                image, request.name, request.bands, request.page, request.max_pixels
            )
        # Pillow turns some images upright while it decodes them, so the decoded size is used where
        # possible. A JPEG at a reduced scale is smaller than the image: its header says the size.
        if drafted:
            found = replace(found, size=(width, height) if turned else (height, width))
        return found


def from_pillow(
    image: Image.Image,
    name: str,
    bands: tuple[int, ...] | None = None,
    page: int | None = None,
    max_pixels: int | None = None,
) -> Decoded:
    """The upright samples of a Pillow image: 8-bit RGB, or deep grey.

    Parameters
    ----------
    image
        Its first frame is read, or the frame that `page` names.
    name
        For messages.
    bands, page
        As for :class:`~regiontree.images.readers.ImageRequest`.
    max_pixels
        Most pixels of a frame that is not the first. None: any number.
    """
    facts: dict[str, Any] = {}
    pages = getattr(image, "n_frames", 1) if page is not None else 1
    if page is not None:
        check_page(name, page, pages)
        if pages > 1:
            image.seek(page)
            check_pixels(name, image.size[::-1], max_pixels or image.size[0] * image.size[1])
            facts |= {"page": page, "pages": pages}
    image.load()
    transposition = _UPRIGHT.get(_orientation(image))
    if transposition is not None:
        image = image.transpose(transposition)
    if image.mode == "La":
        image = image.convert("LA")
    size = image.size[::-1]
    if bands is not None:
        channels = _channels(image)
        check_bands(name, bands, channels.shape[2])
        samples = channels[:, :, [band - 1 for band in bands]]
        samples = samples[:, :, 0] if len(bands) == 1 else samples
        return Decoded(samples, size, facts=facts | {"bands": list(bands)})
    if image.mode in _DEEP_MODES:
        return Decoded(np.asarray(image), size, facts=facts)
    alpha, profile = None, image.info.get("icc_profile")
    if image.mode == "CMYK":
        rgb, said = inks_to_srgb(image, profile)
        return Decoded(rgb, size, facts=facts if said is None else facts | {"profile": said})
    if "transparency" in image.info or image.mode in _WITH_ALPHA:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
    samples = np.asarray(image.convert("RGB"))
    return Decoded(samples, size, alpha=alpha, profile=profile, facts=facts)


def _channels(image: Image.Image) -> NDArray[Any]:
    """The bands of an image as colours, (h, w, c)."""
    if image.mode not in (*_DEEP_MODES, "L", "LA", "RGB", "RGBA"):
        image = image.convert("RGBA" if image.mode in _WITH_ALPHA else "RGB")
    channels = np.asarray(image)
    return channels if channels.ndim == 3 else channels[:, :, None]


def _opened(file: IO[bytes], name: str, max_pixels: int) -> Image.Image:
    """The opened image, with its size checked and no pixel decoded."""
    try:
        image = identified(file)
    except UnidentifiedImageError:
        file.seek(0)
        raise ImageError(
            f"{name}: is not an image of a format that is known here (it starts with "
            f"{file.read(8)!r})"
        ) from None
    check_pixels(name, image.size[::-1], max_pixels)
    return image


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 if there is none or the metadata is damaged.

    ``ImageOps.exif_transpose`` is not used. It writes the metadata again, and this fails on some
    photographs whose pixels are fine.
    """
    try:
        orientation = image.getexif().get(0x0112, 1)
    except DAMAGE:
        return 1
    return orientation if orientation in _UPRIGHT else 1
