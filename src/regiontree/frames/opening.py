"""Open a clip of any kind: :func:`open_frames`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.frames.clip import Clip, Reader
from regiontree.frames.files import PhotoReader, folder_files
from regiontree.frames.frame import Frames
from regiontree.frames.selection import Selection
from regiontree.frames.stacks import ArrayReader
from regiontree.frames.video import VideoReader
from regiontree.images import MAX_PIXELS, Bands, Photo
from regiontree.images.given import as_given
from regiontree.system.paths import path_problem

__all__ = ["open_frames"]


def open_frames(
    source: str | os.PathLike[str] | NDArray[Any] | Sequence[Photo],
    *,
    every: int = 1,
    fps: float | None = None,
    start: float | None = None,
    end: float | None = None,
    joint: bool = False,
    max_pixels: int = MAX_PIXELS,
    bands: Bands | None = None,
    page: int | None = None,
) -> Frames:
    """The frames of a clip, which come one at a time.

    Parameters
    ----------
    source
        The path of a film (by PyAV, the extra ``video``); of an animated GIF, PNG or WebP; of a
        TIFF with several pages; of a DICOM file with several frames; of a folder of frames or of a
        DICOM series. Or a list of photographs: paths, arrays and whatever
        :func:`regiontree.images.load_image` reads. Or an array, (T, H, W) or (T, H, W, 3) uint8.
    every
        1: all frames; 2: every second.
    fps
        So many frames a second, each the nearest by its time. None: as `every` says.
    start, end
        Seconds from the first frame. Frames at `start` and later are read, and those before `end`.
        Where frames have no times these are numbers of frames, counted from 0.
    joint
        Whether this is a set of photographs whose sizes may differ.
    max_pixels, bands, page
        As for :func:`regiontree.images.load_image`; `page` is that of each photograph in a list or
        folder.

    Raises
    ------
    ImageError
        The source is missing, damaged from its start, or of a kind that cannot be read.
    MissingExtraError
        The source is a film and PyAV is not installed.
    SettingsError
        A number is out of range, or two contradict each other.
    """
    selection = Selection.of(every, fps, start, end)
    reader = _reader(source, joint, max_pixels, bands, page)
    return Clip(reader, selection, joint=joint)


def _reader(
    source: Any, joint: bool, max_pixels: int, bands: Bands | None, page: int | None
) -> Reader:
    if isinstance(source, str | os.PathLike):
        path = Path(os.fsdecode(source))
        if problem := path_problem(path):
            raise ImageError(f"{path}: {problem}")
        if not path.is_dir():
            return VideoReader(path, max_pixels)
        photos: Sequence[Photo] = folder_files(path)
        name = title = path.name
    elif isinstance(source, Sequence) and not isinstance(source, bytes | bytearray):
        photos, name, title = source, "photographs", "the list of photographs"
    else:
        given = as_given(source)
        if isinstance(given, np.ndarray):
            return ArrayReader(given, max_pixels)
        raise ImageError(
            f"a clip must be a path, a list of photographs or an array, got {type(source).__name__}"
        )
    return PhotoReader(
        photos, name=name, title=title, joint=joint, max_pixels=max_pixels, bands=bands, page=page
    )
