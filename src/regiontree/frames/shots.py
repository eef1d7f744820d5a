"""Cuts of a film, found while its frames come."""

from __future__ import annotations

from regiontree.frames.frame import Frame

__all__ = ["Shots"]


class Shots:
    """Finds where a film is cut, one frame after the other.

    A frame is judged a few frames late, because a cut is told from a flash by what comes after it.

    Attributes
    ----------
    delay : int
        How many frames after a frame it is judged.
    """

    delay = 4

    def add(self, frame: Frame) -> list[int]:
        """Indices of frames that begin a shot, as far as they became certain by this frame."""
        raise NotImplementedError

    def end(self) -> list[int]:
        """The rest of them, when the film has ended."""
        raise NotImplementedError
