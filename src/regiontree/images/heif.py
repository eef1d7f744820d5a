"""HEIC and HEIF photographs of phones and cameras, by pillow-heif, at their full depth.

libheif turns the image upright, so the orientation in its EXIF is not applied again. AVIF files
have the same container; Pillow reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from regiontree.images.channels import picture_of
from regiontree.images.readers import (
    Decoded,
    ImageReader,
    ImageRequest,
    check_page,
    check_pixels,
)

__all__ = ["HeifReader"]

_WHITE = 65535.0


class HeifReader(ImageReader):
    """HEIC and HEIF: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = frozenset({".heic", ".heif", ".hif"})
    start_at = 4
    starts = tuple(
        b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1",
                                      b"msf1")
    )  # fmt: skip

    def size(self, request: ImageRequest) -> tuple[int, int]:
        width, height = self._image(request).size
        return height, width

    def decode(self, request: ImageRequest) -> Decoded:
        image = self._image(request)
        check_pixels(request.name, image.size[::-1], request.max_pixels)
        samples = np.asarray(image)
        check_pixels(request.name, samples.shape[:2], request.max_pixels)  # by its header or not
        alpha = samples.shape[2] - 1 if samples.ndim == 3 and samples.shape[2] in (2, 4) else None
        # libheif moves 10 and 12 bits to the upper end of 16.
        limits = None if samples.dtype == np.uint8 else (0.0, _WHITE)
        facts = self._pages
        return picture_of(
            samples, request, alpha=alpha, limits=limits,
            profile=image.info.get("icc_profile"), facts=facts,
        )  # fmt: skip

    def _image(self, request: ImageRequest) -> Any:
        """The image that is asked for, not decoded yet."""
        import pillow_heif

        file = pillow_heif.open_heif(request.file, convert_hdr_to_8bit=False)
        page = request.page
        check_page(request.name, page or 0, len(file))
        self._pages = {} if page is None else {"page": page, "pages": len(file)}
        return file[file.primary_index if page is None else page]
