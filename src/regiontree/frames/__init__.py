"""Clips: the frames of films, animations, stacks of pages or slices, folders and lists.

:func:`open_frames` opens a clip. Its frames come one at a time, so that a clip of any
length fits in memory.
"""

from regiontree.frames.container import FILM_SUFFIXES
from regiontree.frames.frame import Frame, Frames
from regiontree.frames.opening import open_frames
from regiontree.frames.shots import Shots
from regiontree.frames.still import still

__all__ = ["FILM_SUFFIXES", "Frame", "Frames", "Shots", "open_frames", "still"]
