"""A clip of any kind: the frames of a reader that the user wants, checked for their sizes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Protocol

from regiontree.errors import ImageError, SettingsError, check_number
from regiontree.frames.frame import Frame
from regiontree.frames.selection import Raw, Selection
from regiontree.images import LoadedImage
from regiontree.system.lazy import lazy

__all__ = ["Clip", "CutShort", "Reader"]


class CutShort(Exception):  # noqa: N818  says what happened to the file
    """A file gives no more frames, though it should; its text is the reason."""


class Reader(Protocol):
    """A file or a list whose frames can be read one after the other.

    Attributes
    ----------
    name : str
        Name of the source, without its folder.
    title : str
        What messages call it: its path.
    size : (int, int) or None
        (H, W) of the first frame; None if the frames may differ.
    count : int or None
        Number of frames, if it is known.
    timed : bool
        Whether frames have times.
    facts : dict
        What is known of the source.
    one : str
        What a message calls one of its frames: "frame", "page", "slice".
    """

    name: str
    title: str
    size: tuple[int, int] | None
    count: int | None
    timed: bool
    facts: dict[str, Any]
    one: str

    def digest(self) -> str:
        """sha256 of the source."""

    def raws(self, kept: ExitStack) -> Iterator[Raw]:
        """All frames in their order. What it opens is closed with `kept`.

        Raises
        ------
        CutShort
            The file is damaged from here on. ``Raw.load`` may raise it, too.
        """


class Clip:
    """The frames of a reader that a selection picks: a :class:`~regiontree.frames.Frames`."""

    def __init__(self, reader: Reader, selection: Selection, *, joint: bool) -> None:
        if selection.fps is not None and not reader.timed:
            raise SettingsError(
                f"{reader.title}: its frames have no times, so fps has no effect; choose with every"
            )
        self._reader, self._selection, self._joint = reader, selection, joint
        if reader.count == 1:
            self._note("is a single frame")

    @property
    def name(self) -> str:
        return self._reader.name

    @lazy
    def digest(self) -> str:
        return self._reader.digest()

    @property
    def size(self) -> tuple[int, int] | None:
        return None if self._joint else self._reader.size

    @property
    def count(self) -> int | None:
        return self._selection.count_of(self._reader.count, timed=self._reader.timed)

    @property
    def facts(self) -> dict[str, Any]:
        return self._reader.facts

    def __iter__(self) -> Iterator[Frame]:
        return self.since(0)

    def since(self, index: int) -> Iterator[Frame]:
        check_number("index", index, 0, 10**12, whole=True)
        return self._frames(index)

    def _frames(self, first: int) -> Iterator[Frame]:
        reader, given = self._reader, 0
        with ExitStack() as kept:
            for index, raw in enumerate(self._selection.picked(self._until_damage(kept))):
                given = index + 1
                if index < first:
                    continue
                try:
                    image = raw.load()
                except CutShort as damage:
                    self._end_at(raw.number, damage)
                    return
                name = raw.name or f"{reader.name}#{raw.number:05d}"
                self._check_size(image, name)
                yield Frame(index, name, raw.time, replace(image, name=name))
        if not given:
            raise ImageError(
                f"{reader.title}: has no {reader.one} between start ({self._selection.start}) and "
                f"end ({self._selection.end}); choose others"
            )

    def _until_damage(self, kept: ExitStack) -> Iterator[Raw]:
        number = 0
        try:
            for raw in self._reader.raws(kept):
                number = raw.number + 1
                yield raw
        except CutShort as damage:
            self._end_at(number, damage)

    def _end_at(self, number: int, damage: CutShort) -> None:
        """Say that frames from `number` on cannot be read."""
        reader = self._reader
        if number == 0:
            raise ImageError(f"{reader.title}: is damaged or cut short ({damage})") from None
        reader.facts["damaged"] = {"read": number, "reason": str(damage)}
        warnings.warn(
            f"{reader.title}: is damaged or cut short ({damage}); {_count(number, reader.one)} "
            "could be read",
            RuntimeWarning,
            stacklevel=4,
        )

    def _check_size(self, image: LoadedImage, name: str) -> None:
        size = self._reader.size
        if self._joint or size is None or image.size == size:
            return
        raise ImageError(
            f"{self._reader.title}: {name} has {_pixels(image.size)}, and the first "
            f"{self._reader.one} has {_pixels(size)}; a clip has one size. For a set of "
            "photographs of different sizes give joint=True"
        )

    def _note(self, sentence: str) -> None:
        notes = self._reader.facts.setdefault("notes", [])
        if sentence not in notes:
            notes.append(sentence)


def _count(number: int, one: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {one}s"


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]} pixels"
