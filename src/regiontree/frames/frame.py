"""One frame of a clip, and what every clip offers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from regiontree.images import LoadedImage

__all__ = ["Frame", "Frames"]


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame of a clip.

    Attributes
    ----------
    index : int
        Its place among the frames that are read, from 0 on: after ``every``, ``fps``, ``start`` and
        ``end``.
    name : str
        The name of its file. A frame within a file is named by its number there, counted from 0:
        ``clip.mp4#00012``. So it has one name, whichever frames are read.
    time : float or None
        Seconds since the first frame of the file, by the file's own time stamps. None: there are
        none.
    image : LoadedImage
        Its pixels, as :func:`regiontree.images.load_image` gives them: upright, (H, W, 3) uint8.
    """

    index: int
    name: str
    time: float | None
    image: LoadedImage


class Frames(Protocol):
    """The frames of a clip. One of them is in memory at a time.

    Attributes
    ----------
    name : str
        Name of the source, without its folder.
    digest : str
        sha256 of the file, or of an array's shape and bytes. Of several files it is that of their
        list: see :func:`regiontree.frames.open_frames`. It is computed when it is first asked for.
    size : (int, int) or None
        (H, W) of every frame in pixels. None: the sizes may differ (``joint=True``).
    count : int or None
        Number of frames, if it is known without decoding. A damaged file may give fewer.
    facts : dict
        What is known of the clip, as JSON values. ``facts["notes"]`` are sentences for people.
        ``facts["damaged"]`` is there once an iteration has met damage.
    """

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def size(self) -> tuple[int, int] | None: ...
    @property
    def count(self) -> int | None: ...
    @property
    def facts(self) -> dict[str, Any]: ...

    def __iter__(self) -> Iterator[Frame]:
        """All frames in their order. It can be started again, and gives the same."""

    def since(self, index: int) -> Iterator[Frame]:
        """The frames from `index` on, exactly those that a whole iteration gives there."""
