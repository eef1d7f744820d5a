"""Open a clip of any kind: :func:`open_frames`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.frames.clip import Clip, Reader
from regiontree.frames.container import NotAFilm, is_film
from regiontree.frames.files import PhotoReader, folder_files, frames_among, gaps
from regiontree.frames.frame import Frames
from regiontree.frames.pages import pages_reader
from regiontree.frames.selection import Selection
from regiontree.frames.series import dicom_files, sorted_series
from regiontree.frames.stacks import ArrayReader
from regiontree.frames.video import VideoReader
from regiontree.images import MAX_PIXELS, Bands, Choice, Photo, image_suffixes
from regiontree.images.given import as_given
from regiontree.images.readers import FIRST_BYTES
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
    opening = _Opening(joint, max_pixels, Choice.of(bands, page))
    return Clip(opening.reader(source), selection, joint=joint)


@dataclass(frozen=True, slots=True)
class _Opening:
    """How the photographs and pages of a source are read."""

    joint: bool
    max_pixels: int
    choice: Choice

    def reader(self, source: Any) -> Reader:
        if isinstance(source, str | os.PathLike):
            path = Path(os.fsdecode(source))
            if problem := path_problem(path):
                raise ImageError(f"{path}: {problem}")
            return self._of_folder(path) if path.is_dir() else self._of_file(path)
        given = as_given(source)
        if isinstance(given, np.ndarray):
            return ArrayReader(given, self.max_pixels)
        if isinstance(given, Sequence):
            return self._of_photos(given, "photographs", "the list of photographs", {})
        raise ImageError(
            "a clip must be a path, a list of photographs or an array of frames, got "
            f"{type(source).__name__}"
        )

    def _of_file(self, path: Path) -> Reader:
        try:
            with path.open("rb") as file:
                start = file.read(FIRST_BYTES)
        except OSError as error:
            raise ImageError(f"{path}: cannot be read ({error.strerror})") from error
        if is_film(path, start):
            try:
                return VideoReader(path, self.max_pixels)
            except NotAFilm as error:
                raise ImageError(
                    f"{path}: is no film that can be read ({error}; it starts with {start[:8]!r})"
                ) from None
        pages = None
        if self.choice.page is None:
            pages = pages_reader(path, self.max_pixels, self.choice)
        return pages or self._of_photos([path], path.name, str(path), {})

    def _of_folder(self, folder: Path) -> Reader:
        files = folder_files(folder)
        slices = dicom_files(files)
        suffixes = image_suffixes()
        if not slices:
            photos = frames_among(files, folder)
            numbers = gaps(photos)
            facts: dict[str, Any] = {"kind": "folder"}
            if numbers:
                facts["numbers"] = numbers
            if "missing" in numbers:
                facts["notes"] = [f"{numbers['missing']} frames are missing by their numbers"]
            return self._of_photos(photos, folder.resolve().name, str(folder), facts)
        others = [path for path in files if path.suffix.lower() in suffixes and path not in slices]
        if others:
            raise ImageError(
                f"{folder}: holds DICOM files ({slices[0].name}) and other photographs "
                f"({others[0].name}); put them into folders of their own"
            )
        if len(slices) == 1:
            return self._of_file(slices[0])
        ordered, facts = sorted_series(slices, folder)
        return self._of_photos(ordered, folder.resolve().name, str(folder), facts)

    def _of_photos(
        self, photos: Sequence[Photo], name: str, title: str, facts: dict[str, Any]
    ) -> PhotoReader:
        return PhotoReader(
            photos,
            name=name,
            title=title,
            joint=self.joint,
            max_pixels=self.max_pixels,
            choice=self.choice,
            facts={"kind": "photographs", **facts},
        )
