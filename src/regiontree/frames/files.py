"""Frames that are files or arrays of their own: folders and lists of photographs."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.errors import ImageError
from regiontree.frames.selection import Raw
from regiontree.frames.stretch import common_limits, spread
from regiontree.images import Choice, LoadedImage, Photo, image_size, image_suffixes, load_image

__all__ = ["PhotoReader", "folder_files", "frames_among", "gaps", "natural"]

_ENDS = 1 << 16  # bytes of a file's start and end that its digest is made of
_MOST_GAPS = 20  # that the facts list


class PhotoReader:
    """The photographs of a list: a :class:`~regiontree.frames.clip.Reader`.

    Parameters
    ----------
    photos
        At least one.
    name, title
        Of the list, in meta and in messages.
    joint
        Whether their sizes may differ.
    max_pixels, choice
        As for :func:`regiontree.images.load_image`.
    facts
        What is known of the list.

    Raises
    ------
    ImageError
        There is no photograph, the first cannot be read, or the sizes differ and may not.
    """

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
        choice: Choice,
        facts: dict[str, Any],
    ) -> None:
        if not photos:
            raise ImageError(f"{title}: has no photograph; give at least one")
        self.name, self.title, self.facts = name, title, facts
        self._photos, self._max_pixels = list(photos), max_pixels
        self._load = partial(
            load_image, max_pixels=max_pixels, bands=choice.bands, page=choice.page
        )
        self.count: int | None = len(photos)
        self.size: tuple[int, int] | None = None
        if not joint:
            first = self._load(self._photos[0])
            self.size = first.size
            self._check_headers(first.size)
            self._share_stretch(first)

    def digest(self) -> str:
        state = hashlib.sha256()
        for photo in self._photos:
            state.update(_identity(photo, self._load).encode())
        return state.hexdigest()

    def raws(self, kept: ExitStack) -> Iterator[Raw]:
        for number, photo in enumerate(self._photos):
            path = _path_of(photo)
            yield Raw(number, None, partial(self._load, photo), None if path is None else path.name)

    def _check_headers(self, size: tuple[int, int]) -> None:
        """Compare the sizes that files name, so that hours of work are not lost at the last one.

        Turned photographs are stored with their sides changed, so the order of sides is left to the
        comparison of decoded frames.
        """
        for photo in self._photos[1:]:
            path = _path_of(photo)
            if path is None:
                continue
            try:
                other = image_size(path, self._max_pixels)
            except ImageError:  # reading it will say so
                continue
            if sorted(other) != sorted(size):
                raise ImageError(
                    f"{path}: has {other[1]} x {other[0]} pixels, and the first photograph has "
                    f"{size[1]} x {size[0]}; a clip has one size. For a set of photographs of "
                    "different sizes give joint=True"
                )

    def _share_stretch(self, first: LoadedImage) -> None:
        """Give deep samples one stretch, if the first photograph has one."""
        if "stretch" not in first.facts:
            return
        sample = (self._load(self._photos[place]) for place in spread(len(self._photos)))
        low, high = common_limits(sample)
        self.facts["stretch"] = {"low": low, "high": high}
        self._load = partial(self._load, limits=(low, high))


def _path_of(photo: Photo) -> Path | None:
    return Path(os.fsdecode(photo)) if isinstance(photo, str | os.PathLike) else None


def _identity(photo: Photo, load: Any) -> str:
    """One line that changes if a photograph does."""
    path = _path_of(photo)
    if path is None:
        return f"{load(photo).digest}\n"
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            ends = hashlib.sha256(file.read(_ENDS))
            file.seek(max(_ENDS, size - _ENDS))
            ends.update(file.read(_ENDS))
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
    return f"{path.name}\0{size}\0{ends.hexdigest()}\n"


def natural(name: str) -> tuple[Any, ...]:
    """A key that sorts numbers in names by their value.

    >>> sorted(["frame10.png", "frame2.png", "frame02.png"], key=natural)
    ['frame02.png', 'frame2.png', 'frame10.png']
    """
    parts = re.split(r"([0-9]+)", name)
    return tuple(int(part) if place % 2 else part for place, part in enumerate(parts)), name


def folder_files(folder: Path) -> list[Path]:
    """The files that lie directly in a folder, in the natural order of their names.

    Hidden files are left out.

    Raises
    ------
    ImageError
        The folder cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            names = [one.name for one in entries if one.name[0] != "." and one.is_file()]
    except OSError as error:
        raise ImageError(f"{folder}: cannot be listed ({error.strerror})") from error
    return [folder / name for name in sorted(names, key=natural)]


def frames_among(files: Sequence[Path], folder: Path) -> list[Path]:
    """Those files whose endings are those of photographs, at least one.

    Raises
    ------
    ImageError
        There is none, or the folder holds films, too.
    """
    suffixes = image_suffixes()
    photos = [path for path in files if path.suffix.lower() in suffixes]
    if photos:
        return photos
    others = Counter(path.suffix.lower() or "without suffix" for path in files)
    held = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(4))
    raise ImageError(
        f"{folder}: has no frame directly in it{f'; it holds {held}' if held else ''}; give a "
        "folder of photographs or the path of one clip"
    )


def gaps(files: Sequence[Path]) -> dict[str, Any]:
    """What the numbers in the names of frames say: first, last, step, and what is missing.

    The number is the last one in a name. Empty if a name has none, or if there is one file only.

    Examples
    --------
    >>> names = ["a1.png", "a2.png", "a3.png", "a6.png", "a7.png"]
    >>> gaps([Path(name) for name in names])
    {'first': 1, 'last': 7, 'step': 1, 'missing': 2, 'gaps': [[4, 5]]}
    """
    found = [re.findall(r"[0-9]+", path.stem) for path in files]
    if len(files) < 2 or not all(found):
        return {}
    numbers = [int(digits[-1]) for digits in found]
    steps = [after - before for before, after in zip(numbers, numbers[1:], strict=False)]
    if min(steps) <= 0:  # the numbers do not run through the clip
        return {}
    step = Counter(steps).most_common(1)[0][0]
    missing = [
        [before + step, after - step]
        for before, after in zip(numbers, numbers[1:], strict=False)
        if after - before > step
    ]
    lost = sum((last - first) // step + 1 for first, last in missing)
    facts: dict[str, Any] = {"first": numbers[0], "last": numbers[-1], "step": step}
    return facts | ({"missing": lost, "gaps": missing[:_MOST_GAPS]} if lost else {})
