"""Which frames of a clip are read: every so many, so many a second, from one time to another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from regiontree.errors import SettingsError, check_number
from regiontree.images import LoadedImage

__all__ = ["Raw", "Selection"]

_LONGEST = 1e9
_ROUNDING = 1e-9  # of times in floating point


@dataclass(frozen=True, slots=True)
class Raw:
    """A frame of a file before its pixels are made.

    Attributes
    ----------
    number : int
        Its number in the file, from 0 on.
    time : float or None
        Seconds since the first frame.
    load : callable
        Makes the pixels. Frames are loaded in their order, each at most once.
    name : str or None
        Name of its own file, if it has one.
    """

    number: int
    time: float | None
    load: Callable[[], LoadedImage]
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames are read.

    Attributes
    ----------
    every : int
        1: all; 2: every second; counted from the first that is read.
    fps : float or None
        So many frames a second, each the nearest by time. A frame is never read twice, so a clip
        with fewer frames a second gives all it has.
    start, end : float or None
        Seconds; frames at `start` and later are read, and those before `end`. Where frames have no
        times these are numbers of frames, from 0 on.
    """

    every: int = 1
    fps: float | None = None
    start: float | None = None
    end: float | None = None

    @classmethod
    def of(cls, every: int, fps: float | None, start: float | None, end: float | None) -> Selection:
        """The selection that a user's values mean.

        Raises
        ------
        SettingsError
            A value is out of range, or two contradict each other.
        """
        every = check_number("every", every, 1, 10**9, whole=True)
        if fps is not None:
            fps = check_number("fps", fps, 1e-6, 1e6)
            if every != 1:
                raise SettingsError(f"fps and every choose frames twice, got {fps} and {every}")
        if start is not None:
            start = check_number("start", start, 0, _LONGEST)
        if end is not None:
            end = check_number("end", end, 0, _LONGEST)
            if end <= (start or 0):
                raise SettingsError(f"end must be later than start, got {start or 0} to {end}")
        return cls(every, fps, start, end)

    @property
    def is_everything(self) -> bool:
        """Whether all frames are read."""
        return self == Selection()

    def count_of(self, count: int | None, *, timed: bool) -> int | None:
        """How many of `count` frames are read, if that is known without their times."""
        is_by_time = self.fps is not None or (timed and (self.start, self.end) != (None, None))
        if count is None or is_by_time:
            return None
        first = _ceil(self.start or 0)
        last = count if self.end is None else min(count, _ceil(self.end))
        return max(0, -(-(last - first) // self.every))

    def picked(self, raws: Iterator[Raw]) -> Iterator[Raw]:
        """Those frames of a clip that are read."""
        inside = self._inside(raws)
        if self.fps is not None:
            yield from self._nearest(inside, self.fps)
            return
        for place, raw in enumerate(inside):
            if place % self.every == 0:
                yield raw

    def _inside(self, raws: Iterator[Raw]) -> Iterator[Raw]:
        for raw in raws:
            at = raw.number if raw.time is None else raw.time
            if self.end is not None and at >= self.end:
                return
            if self.start is None or at >= self.start:
                yield raw

    def _nearest(self, raws: Iterator[Raw], fps: float) -> Iterator[Raw]:
        """For each time k / fps the frame nearest to it, the earlier of two that are as near.

        A frame is nearest to the times between the middle to the frame before it and the middle to
        the frame after it. It is read if a wanted time lies there. No time after the last frame is
        wanted.
        """
        begin, done = self.start or 0.0, 0  # `done`: number of wanted times that have their frame

        def wanted_until(time: float) -> int:
            return max(0, math.floor((time - begin) * fps + _ROUNDING) + 1)

        before: Raw | None = None
        for raw in raws:
            if before is not None:
                until = wanted_until((_time(before) + _time(raw)) / 2)
                if until > done:
                    yield before
                done = max(done, until)
            before = raw
        if before is not None and wanted_until(_time(before)) > done:
            yield before


def _time(raw: Raw) -> float:
    assert raw.time is not None
    return raw.time


def _ceil(value: float) -> int:
    return int(-(-value // 1))
