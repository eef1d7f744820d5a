"""A Pillow image from an open file, without Pillow's own limit of pixels.

``PIL.Image.open`` compares every image with ``Image.MAX_IMAGE_PIXELS``, and warns or refuses. That
limit is one value for the whole process, and it belongs to the program. The package has a limit of
its own, ``max_pixels``. So this module asks Pillow's formats one by one, as ``Image.open`` does. It
leaves the comparison to the caller. No global of Pillow is set, and no lock is needed.
"""

from __future__ import annotations

import struct
from typing import IO

from PIL import Image, ImageFile, UnidentifiedImageError

__all__ = ["identified"]

_FIRST_BYTES = 16  # what Pillow's formats are asked with
# What a format raises if the file is not of its kind: see PIL.Image.open.
_OTHER_KIND = (SyntaxError, IndexError, TypeError, struct.error)


def identified(file: IO[bytes]) -> ImageFile.ImageFile:
    """The image in a file, whose header is read and no pixel decoded.

    `file` is open for reading and seekable. The size is not checked.

    Raises
    ------
    UnidentifiedImageError
        No format of Pillow takes the file.
    Exception
        Whatever Pillow's formats raise on a damaged file.
    """
    file.seek(0)
    start = file.read(_FIRST_BYTES)
    asked: set[str] = set()
    for import_formats in (Image.preinit, Image.init):  # first the usual formats, then all
        import_formats()
        # A copy, and of what is there: another thread may be importing formats, too.
        for name in [name for name in Image.ID if name in Image.OPEN and name not in asked]:
            asked.add(name)
            make, accept = Image.OPEN[name]
            try:
                # An answer in words says why this Pillow cannot read a file of that kind.
                answer = accept is None or accept(start)
                if answer and not isinstance(answer, str):
                    file.seek(0)
                    return make(file, "")
            except _OTHER_KIND:
                continue
    raise UnidentifiedImageError("no format of Pillow takes the file")
