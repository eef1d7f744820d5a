"""Where a film is cut, found while its frames come.

Two frames are compared by what they hold and by where it is:

- their colours: half the L1 distance of two histograms with 8 x 8 x 8 bins, which motion hardly
  changes;
- their layout: the mean absolute difference of two pictures of 16 x 16 pixels, which tells two
  scenes of the same colours apart.

The distance is the sum, 0 to 2. A value lies in the two bins that are nearest to it, so a slow
change of brightness changes the histogram slowly.

A frame begins a shot if the step to it is wide, and wide for its neighbourhood:

- All of the three frames before it differ from all of the three frames from it on. So a flash of
  one or two frames is no cut: what comes after it is like what was before it. The smallest of the
  nine distances is the step.
- The step is at least 0.25.
- The step is at least 2.5 times the median distance between neighbours among the four frames before
  and the four after it. So fast motion is no cut, as it lasts.
- No frame within two frames has a wider step. So two frames that blend the scenes are one cut.

Reasons and figures: benchmarks/shots.py. Fades and dissolves that last more than a few frames are
not found, because each of their steps is small.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import SettingsError, check_number
from regiontree.frames.frame import Frame

__all__ = ["Shots", "look", "look_distance"]

Floats = NDArray[np.float32]

_SIDE = 64  # pixels of the picture that the histogram is made of, along each side
_BINS = 8
_LAYOUT = 16
_AROUND = 4  # frames on each side that a step is compared with
_NEAR = 3  # frames on each side that must differ
_LEAST_STEP = 0.25
_LEAST_RATIO = 2.5


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """What is kept of a frame: its histogram (512,), and its layout (16, 16, 3), 0 to 1."""

    colours: Floats
    layout: Floats


@dataclass(slots=True)
class _Seen:
    """A frame in the window. `before` is its distance to the frame before it."""

    index: int
    look: _Look
    before: float | None
    step: float | None = None


@dataclass(slots=True)
class Shots:
    """Finds the first frame of each shot of a film, in one pass and constant memory.

    A frame is judged when the fourth frame after it has come: what comes after it tells a cut
    from a flash. So :meth:`add` tells of a frame four frames late, and :meth:`end` of the last
    four. The first frame always begins a shot and is told at once.

    Parameters
    ----------
    least_step
        Least distance across a cut, above 0 and up to 2.
    least_ratio
        Least ratio of that distance to the median distance of neighbours, from 1 on.

    Raises
    ------
    SettingsError
        A parameter is out of its range.

    Examples
    --------
    >>> scenes = np.zeros((20, 32, 32, 3), np.uint8)
    >>> scenes[12:, :, :16] = 200
    >>> from regiontree.frames import open_frames
    >>> shots = Shots()
    >>> starts = [shots.add(frame) for frame in open_frames(scenes)] + [shots.end()]
    >>> [index for told in starts for index in told]
    [0, 12]
    """

    least_step: float = _LEAST_STEP
    least_ratio: float = _LEAST_RATIO
    _window: deque[_Seen] = field(default_factory=deque, init=False, repr=False)

    delay = _AROUND
    """How many frames after a frame it is judged."""

    def __post_init__(self) -> None:
        self.least_step = check_number("least_step", self.least_step, 1e-6, 2)
        self.least_ratio = check_number("least_ratio", self.least_ratio, 1, 1e6)

    def add(self, frame: Frame) -> list[int]:
        """The indices of frames that begin a shot, as far as `frame` made them certain.

        Frames come in their order. It is a list of at most one index, save for the frames of a
        film's beginning.

        Raises
        ------
        SettingsError
            The frame comes before one that was added.
        """
        window = self._window
        if window and frame.index <= window[-1].index:
            raise SettingsError(
                f"frames must be added in their order, got {frame.index} after {window[-1].index}"
            )
        seen = look(frame.image.rgb)
        is_first = not window
        before = None if is_first else look_distance(window[-1].look, seen)
        window.append(_Seen(frame.index, seen, before))
        if is_first:
            return [frame.index]
        found = self._judged(len(window) - 1 - _AROUND)
        if len(window) > 2 * _AROUND:
            window.popleft()
        return found

    def end(self) -> list[int]:
        """The frames that begin a shot among the last four; the film has ended.

        Then frames of another film can be added.
        """
        window = self._window
        first = max(1, len(window) - _AROUND)
        found = [index for place in range(first, len(window)) for index in self._judged(place)]
        window.clear()
        return found

    def _judged(self, place: int) -> list[int]:
        """The index of the frame at a place of the window, if it begins a shot."""
        if place < 1:
            return []
        window = self._window
        step = self._step(place)
        near = [
            self._step(other)
            for other in range(max(1, place - 2), min(len(window), place + 3))
            if other != place
        ]
        # Of two steps that are as wide, the first counts.
        earlier = min(2, place - 1)
        if any(step <= other for other in near[:earlier]) or any(
            step < other for other in near[earlier:]
        ):
            return []
        around = [
            between
            for other in range(max(0, place - _AROUND), min(len(window), place + _AROUND + 1))
            if other != place and (between := window[other].before) is not None
        ]
        usual = float(np.median(around)) if around else 0.0
        is_cut = step >= self.least_step and step >= self.least_ratio * usual
        return [window[place].index] if is_cut else []

    def _step(self, place: int) -> float:
        """The smallest distance between frames before a place of the window and from it on."""
        window = self._window
        seen = window[place]
        is_whole = place >= _NEAR and place + _NEAR <= len(window)
        if seen.step is not None:
            return seen.step
        before = [window[other].look for other in range(max(0, place - _NEAR), place)]
        after = [window[o].look for o in range(place, min(len(window), place + _NEAR))]
        step = min(look_distance(one, other) for one in before for other in after)
        if is_whole:
            seen.step = step
        return step


def look(rgb: NDArray[np.uint8]) -> _Look:
    """What is kept of a frame (H, W, 3) uint8 to compare it with others."""
    whole = Image.fromarray(np.ascontiguousarray(rgb))
    small = np.asarray(whole.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
    cell = _SIDE // _LAYOUT
    layout = small.reshape(_LAYOUT, cell, _LAYOUT, cell, 3).mean(axis=(1, 3)) / np.float32(255)
    return _Look(_histogram(small.reshape(-1, 3)), layout)


def look_distance(one: _Look, other: _Look) -> float:
    """How much two frames differ: 0 for the same, 2 for black and white."""
    colours = 0.5 * float(np.abs(one.colours - other.colours).sum())
    return colours + float(np.abs(one.layout - other.layout).mean())


def _histogram(colours: Floats) -> Floats:
    """Shares of colours (n, 3), 0 to 255, in 8 x 8 x 8 bins; linear between the centres of bins."""
    place = colours * np.float32((_BINS - 1) / 255)
    low = np.minimum(place.astype(np.int64), _BINS - 2)
    high = place - low
    total = np.zeros(_BINS**3)
    for corner in np.ndindex(2, 2, 2):
        weight = np.abs(1 - np.array(corner) - high).prod(axis=1)
        number = ((low + corner) * (_BINS**2, _BINS, 1)).sum(axis=1)
        total += np.bincount(number, weight, len(total))
    shares: Floats = (total / total.sum()).astype(np.float32)
    return shares
