"""Files with several pages: animations, stacks of a TIFF, films and volumes of DICOM."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from regiontree.errors import ImageError
from regiontree.frames.animation import Animation, animation_of
from regiontree.frames.clip import CutShort
from regiontree.frames.selection import Raw
from regiontree.frames.stretch import Limits, common_limits, spread
from regiontree.frames.video import file_digest
from regiontree.images import Choice, Decoded, ImageRequest, LoadedImage
from regiontree.images.dicom import DicomReader, DicomStack
from regiontree.images.identify import identified
from regiontree.images.load import decoding, image_of
from regiontree.images.pillow import DAMAGE, from_pillow
from regiontree.images.readers import FIRST_BYTES, check_pixels
from regiontree.images.tiff import TiffReader, TiffStack

if TYPE_CHECKING:
    from PIL.ImageFile import ImageFile

__all__ = ["PagesReader", "pages_reader"]

_DAMAGE = "is damaged or cut short ("
_AXES = {
    "Z": "the pages are slices of a volume (Z)",
    "T": "the pages are moments (T)",
    "ZT": "the pages are slices within moments (Z within T)",
    "TZ": "the pages are moments within slices (T within Z)",
}


class _Stack(Protocol):
    """A file with several pages.

    Attributes
    ----------
    kind : str
        "animation", "tiff" or "dicom".
    one : str
        What a page is called.
    count : int
    times : list of float or None
        Seconds since the first page.
    facts : dict
    """

    kind: str
    one: str
    count: int
    times: list[float] | None
    facts: dict[str, Any]

    def size(self, page: int) -> tuple[int, int] | None:
        """(H, W) of a page as stored; None if it is known after decoding only."""

    def decode(self, page: int) -> Decoded:
        """The samples of a page. Pages are decoded in their order."""

    def problem(self) -> str | None:
        """What is wrong with the end of the file; None if nothing is known to be."""

    def close(self) -> None:
        """Close what was opened."""


class PagesReader:
    """The pages of a file: a :class:`~regiontree.frames.clip.Reader`.

    Deep samples of all pages have one stretch, so that the clip does not flicker. It goes from the
    lowest to the highest value that 16 pages would be shown with.

    Raises
    ------
    ImageError
        The file is damaged from its start, or its pages have different sizes.
    """

    def __init__(self, path: Path, make: Callable[[], _Stack], max_pixels: int) -> None:
        self.name, self.title = path.name, str(path)
        self._path, self._make, self._max_pixels = path, make, max_pixels
        self._limits: Limits | None = None
        with self._opened() as stack:
            self.one, self.timed = stack.one, stack.times is not None
            self.count: int | None = stack.count
            self.facts: dict[str, Any] = {"kind": stack.kind, **stack.facts}
            self._check_sizes(stack)
        try:
            first = self._sample([0])[0]
        except CutShort as error:
            raise ImageError(f"{path}: is damaged or cut short ({error})") from None
        self.size: tuple[int, int] | None = first.size
        if "stretch" in first.facts:
            self._limits = common_limits(self._sample(spread(stack.count)))
            self.facts["stretch"] = {"low": self._limits[0], "high": self._limits[1]}

    def digest(self) -> str:
        return file_digest(self._path)

    def raws(self, kept: ExitStack) -> Iterator[Raw]:
        stack = kept.enter_context(self._opened())
        times = stack.times
        for page in range(stack.count):
            time = None if times is None else times[page]
            yield Raw(page, time, partial(self._image, stack, page))
        if problem := stack.problem():
            raise CutShort(problem)

    @contextmanager
    def _opened(self) -> Generator[_Stack]:
        with decoding(self.title):
            stack = self._make()
        try:
            yield stack
        finally:
            stack.close()

    def _sample(self, pages: list[int]) -> list[LoadedImage]:
        """Some pages, as far as they can be decoded; the first of them must be."""
        found = []
        with self._opened() as stack:
            for page in pages:
                try:
                    found.append(self._image(stack, page))
                except CutShort:
                    if not found:
                        raise
                    break
        return found

    def _image(self, stack: _Stack, page: int) -> LoadedImage:
        try:
            with decoding(self.title):
                decoded = stack.decode(page)
                if self._limits is not None:
                    decoded = replace(decoded, limits=self._limits)
                return image_of(decoded, self.title)
        except ImageError as error:
            reason = str(error).removeprefix(f"{self.title}: ")
            if reason.startswith(_DAMAGE):
                reason = reason.removeprefix(_DAMAGE).removesuffix(")")
            raise CutShort(f"{self.one} {page}: {reason}") from error

    def _check_sizes(self, stack: _Stack) -> None:
        first = stack.size(0)
        if first is None:
            return
        check_pixels(self.title, first, self._max_pixels)
        for page in range(1, stack.count):
            size = stack.size(page)
            if size is not None and size != first:
                raise ImageError(
                    f"{self.title}: {self.one} {page} has {size[1]} x {size[0]} pixels, and "
                    f"{self.one} 0 has {first[1]} x {first[0]}; a clip has one size. Take the "
                    "pages apart and give them as a set of photographs with joint=True"
                )


def pages_reader(path: Path, max_pixels: int, choice: Choice) -> PagesReader | None:
    """The reader of a file with several pages; None if it has one page or is of another kind.

    Raises
    ------
    ImageError
        The file is damaged from its start, or its pages have different sizes.
    """
    with path.open("rb") as file:
        start = file.read(FIRST_BYTES)
    make: Callable[[], _Stack]
    animation = None
    if start[128:132] == b"DICM" or path.suffix.lower() in DicomReader.suffixes:
        make = partial(_DicomPages, path, max_pixels, choice)
    elif start.startswith(TiffReader.starts):
        make = partial(_TiffPages, path, max_pixels, choice)
    elif (animation := animation_of(path)) is not None and len(animation.seconds) > 1:
        make = partial(_AnimationPages, path, max_pixels, choice, animation)
    else:
        return None
    with decoding(str(path)):
        try:
            stack = make()
        except DAMAGE:
            if animation is None or animation.is_whole:
                raise
            raise ImageError(f"{path}: {_DAMAGE}the end of the file is missing)") from None
    stack.close()
    if stack.count == 1 and stack.problem() is None:
        return None
    return PagesReader(path, make, max_pixels)


class _AnimationPages:
    kind, one = "animation", "frame"

    def __init__(self, path: Path, max_pixels: int, choice: Choice, said: Animation) -> None:
        self._choice, self._said, self._name = choice, said, str(path)
        self._file: IO[bytes] = path.open("rb")
        try:
            self._image: ImageFile = identified(self._file)
            check_pixels(str(path), self._image.size[::-1], max_pixels)
        except BaseException:
            self._file.close()
            raise
        self.count = len(said.seconds)
        self.times: list[float] | None = said.times
        self.facts: dict[str, Any] = {"format": self._image.format}

    def size(self, page: int) -> tuple[int, int] | None:
        return None

    def decode(self, page: int) -> Decoded:
        self._image.seek(page + self._said.first)
        return from_pillow(self._image, self._name, self._choice.bands)

    def problem(self) -> str | None:
        return None if self._said.is_whole else "the end of the file is missing"

    def close(self) -> None:
        self._image.close()
        self._file.close()


class _TiffPages:
    kind, one = "tiff", "page"

    def __init__(self, path: Path, max_pixels: int, choice: Choice) -> None:
        self._stack = TiffStack(path)
        self._file: IO[bytes] = path.open("rb")
        self._request = ImageRequest(
            self._file, str(path), max_pixels, bands=choice.bands, beside=path
        )
        self.count = len(self._stack.sizes)
        self.times: list[float] | None = None
        axes = self._stack.axes
        self.facts: dict[str, Any] = {"axes": axes, "notes": [_AXES[axes]]} if axes else {}

    def size(self, page: int) -> tuple[int, int] | None:
        return self._stack.sizes[page]

    def decode(self, page: int) -> Decoded:
        self._file.seek(0)
        return self._stack.decode(replace(self._request, page=page))

    def problem(self) -> str | None:
        return "pages are missing after the last one" if self._stack.is_cut else None

    def close(self) -> None:
        self._file.close()
        self._stack.close()


class _DicomPages:
    kind, one = "dicom", "frame"

    def __init__(self, path: Path, max_pixels: int, choice: Choice) -> None:
        with path.open("rb") as file:
            request = ImageRequest(file, str(path), max_pixels, bands=choice.bands)
            self._stack = DicomStack(request)
        self._request = request
        self.count, self.times = self._stack.count, self._stack.times
        self.facts: dict[str, Any] = {}

    def size(self, page: int) -> tuple[int, int] | None:
        return self._stack.size

    def decode(self, page: int) -> Decoded:
        return self._stack.decode(replace(self._request, page=page))

    def problem(self) -> str | None:
        return None

    def close(self) -> None:
        return
