"""What a photograph may be given as: paths, open files, bytes, arrays and tensors.

>>> as_given("photo.jpg"), as_given(b"\\x89PNG").name
(PosixPath('photo.jpg'), None)
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from regiontree.errors import ImageError
from regiontree.system.arrays import as_array
from regiontree.system.paths import is_url, path_problem

__all__ = ["Encoded", "as_given"]


@dataclass(frozen=True, slots=True)
class Encoded:
    """The bytes of an image file that were not read from a path.

    Attributes
    ----------
    data : bytes
    name : str or None
        Name of the file, without its folder, if the open file told it.
    address : str or None
        Where the bytes were read from, if the caller knows.
    """

    data: bytes = field(repr=False)
    name: str | None = None
    address: str | None = None

    @property
    def title(self) -> str:
        """What messages call it."""
        if self.address:
            return self.address
        return f"the open file {self.name}" if self.name else "the bytes of the image"


def as_given(source: Any) -> Any:
    """The photograph as a path, as :class:`Encoded` bytes, as a NumPy array, or unchanged.

    An open file is read here, from its position to its end. If it can seek, it is put back to
    where it was, so it can be given again.

    Parameters
    ----------
    source
        A path of any kind; bytes, a bytearray or a memoryview; a file open for reading bytes; an
        array of any library, or a tensor on any device. Anything else is returned as it is.

    Raises
    ------
    ImageError
        An open file cannot be read or holds text, or there is no array in `source`.
    """
    if isinstance(source, str) and is_url(source) and not os.path.exists(source):
        raise ImageError(f"{source}: {path_problem(source)}")  # a Path would spoil its slashes
    if isinstance(source, str | os.PathLike):
        return Path(os.fsdecode(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return Encoded(bytes(source))
    if isinstance(source, Image.Image):
        return source
    if callable(getattr(source, "read", None)):
        return _read(source)
    if hasattr(source, "__array__") or hasattr(source, "__array_interface__"):
        # A masked array must stay one, because its mask says which pixels hold data.
        is_numpy = hasattr(source, "__array_finalize__")
        return source if is_numpy else as_array("the image", source, ImageError)
    return source


def _read(file: Any) -> Encoded:
    """The bytes of an open file, from its position."""
    given = getattr(file, "name", None)
    name = Path(os.fsdecode(given)).name if isinstance(given, str | bytes | os.PathLike) else None
    title = Encoded(b"", name).title if name else "the open file"
    in_text = ImageError(f"{title}: is open as text; open it for bytes, with open(path, 'rb')")
    if isinstance(file, io.TextIOBase):
        raise in_text
    try:
        seekable = callable(getattr(file, "seekable", None)) and file.seekable()
        position = file.tell() if seekable else None
        data = file.read()
        if position is not None:
            file.seek(position)
    except UnicodeError:
        raise in_text from None
    except (OSError, ValueError) as error:  # ValueError: the file is closed
        raise ImageError(f"{title}: cannot be read ({error})") from error
    if isinstance(data, str):
        raise in_text
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ImageError(f"{title}: gives {type(data).__name__} instead of bytes")
    if not len(data):
        where = f" after its position {position}" if position else ""
        raise ImageError(f"{title}: has no bytes{where}; go to its start with file.seek(0)")
    return Encoded(bytes(data), name)
