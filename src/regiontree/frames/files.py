"""Frames that are files of their own: folders and lists of photographs."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Generator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.errors import ImageError
from regiontree.frames.selection import Raw
from regiontree.images import Bands, Photo, image_suffixes, load_image

__all__ = ["PhotoReader", "folder_files", "natural"]

_ENDS = 1 << 16  # bytes of a file's start and end that its digest is made of


class PhotoReader:
    """The photographs of a list: a :class:`~regiontree.frames.clip.Reader`."""

    one = "photograph"
    timed = False

    def __init__(
        self,
        photos: Sequence[Photo],
        *,
        name: str,
        title: str,
        joint: bool,
        max_pixels: int,
        bands: Bands | None,
        page: int | None,
    ) -> None:
        if not photos:
            raise ImageError(f"{title}: has no photograph; give at least one")
        self.name, self.title = name, title
        self._photos = list(photos)
        self._load = partial(load_image, max_pixels=max_pixels, bands=bands, page=page)
        self.count: int | None = len(photos)
        self.size: tuple[int, int] | None = None if joint else self._load(self._photos[0]).size
        self.facts: dict[str, Any] = {"kind": "photographs"}

    def digest(self) -> str:
        state = hashlib.sha256()
        for photo in self._photos:
            state.update(_identity(photo, self._load).encode())
        return state.hexdigest()

    def raws(self) -> Generator[Raw]:
        for number, photo in enumerate(self._photos):
            name = Path(photo).name if isinstance(photo, str | os.PathLike) else None
            yield Raw(number, None, partial(self._load, photo), name)


def _identity(photo: Photo, load: Any) -> str:
    """One line that changes if a photograph does."""
    if not isinstance(photo, str | os.PathLike):
        return f"{load(photo).digest}\n"
    path = Path(photo)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        ends = hashlib.sha256(file.read(_ENDS))
        file.seek(max(_ENDS, size - _ENDS))
        ends.update(file.read(_ENDS))
    return f"{path.name}\0{size}\0{ends.hexdigest()}\n"


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts numbers in names by their value: frame2 before frame10."""
    parts = re.split(r"(\d+)", name)
    return tuple((int(part) if place % 2 else part) for place, part in enumerate(parts)), name


def folder_files(folder: Path) -> list[Path]:
    """The photographs that lie directly in a folder, in the natural order of their names."""
    suffixes = image_suffixes()
    with os.scandir(folder) as entries:
        names = [
            entry.name
            for entry in entries
            if not entry.name.startswith(".")
            and os.path.splitext(entry.name)[1].lower() in suffixes
            and entry.is_file()
        ]
    return [folder / name for name in sorted(names, key=natural)]
