"""Each frame of a clip as it is seen: its patches, and whether the film is cut before it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from regiontree.backbones.featurefile import Features
from regiontree.frames import Frame, Frames, Shots, still
from regiontree.images import nearest
from regiontree.parser import Patches, RegionParser

__all__ = ["SeenFrame", "seen_frames"]

_LEAD = 32  # frames before the first that are read again, as cuts are judged by what is around them


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """A frame as it is seen.

    Attributes
    ----------
    index : int
        Its number in the clip.
    patches : Patches
    rgb : (H, W, 3) uint8
        The frame itself.
    shown : int
        The frame that the network saw in its place: itself, or one before that hardly differs.
    begins : bool
        Whether a shot begins with it.
    """

    index: int
    patches: Patches
    rgb: NDArray[np.uint8]
    shown: int
    begins: bool = False


def seen_frames(
    parser: RegionParser,
    frames: Frames,
    *,
    change: float = 0.0,
    first: int = 0,
    shown: int | None = None,
) -> Iterator[SeenFrame]:
    """The frames of a clip from `first` on. Each comes a few frames after it is read.

    Parameters
    ----------
    parser
    frames
        If their sizes may differ, they are photographs, and each is a shot of its own.
    change
        The network does not see a frame that differs from the last one that it saw by less than
        this, in grey levels of 255. With 0 it sees all.
    first
        Number of the first frame.
    shown
        The frame that the network saw in place of the first; None: the first itself. With it, the
        frames are those of an iteration from the start.
    """
    network = _Network(parser, change)
    if frames.size is None:
        for frame in frames.since(first):
            yield replace(network.see(frame), begins=True)
        return
    shown = first if shown is None else shown
    shots, cuts = Shots(), set[int]()
    waiting: deque[SeenFrame] = deque()
    for frame in frames.since(max(0, min(shown, first - _LEAD))):
        cuts.update(shots.add(frame))
        if frame.index == shown or frame.index >= first:
            seen = network.see(frame)
            if frame.index >= first:
                waiting.append(seen)
        while waiting and waiting[0].index <= frame.index - shots.delay:
            own = waiting.popleft()
            yield replace(own, begins=own.index in cuts)
    cuts.update(shots.end())
    for own in waiting:
        yield replace(own, begins=own.index in cuts)


class _Network:
    """The network, which does not look at frames that hardly change."""

    def __init__(self, parser: RegionParser, change: float) -> None:
        self.parser, self.change = parser, change
        self._last: tuple[int, NDArray[np.uint8], Features] | None = None

    def see(self, frame: Frame) -> SeenFrame:
        """A frame with its patches."""
        image = frame.image
        if self._last is not None and self.change and still(image.rgb, self._last[1]) < self.change:
            valid = None if image.valid is None else nearest(image.valid, image.size)
            features = replace(self._last[2], valid=valid)
        else:
            features = self.parser.extract(image, always=True)
            self._last = frame.index, image.rgb, features
        rgb = self.parser.pixels(image, decoded=image)
        patches = self.parser.prepare(features, rgb=rgb)
        return SeenFrame(frame.index, patches, image.rgb, self._last[0])
