"""Drawn windows in a folder, so that a run that was interrupted goes on.

A file holds one :class:`~regiontree.clips.drawn.DrawnWindow`: arrays under their names, without
pickle. It is written under a temporary name and renamed. ``run.json`` says of which clip and with
which settings the windows are. When the tree is written, the folder is removed.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.clips.drawn import DrawnWindow
from regiontree.clips.steady import SteadyState
from regiontree.clips.window import WindowTubes
from regiontree.system.files import atomic_write

__all__ = ["Spool"]


class Spool:
    """The drawn windows of one run, in a folder of its own.

    Parameters
    ----------
    beside : Path
        The tree file that the run is for. The folder lies beside it, and is hidden.
    run : dict
        What decides the windows, as JSON values: the clip's digest and all settings. Runs that
        differ have different folders.

    Attributes
    ----------
    count : int
        Number of windows that are there.
    last : DrawnWindow or None
        The last of them.
    """

    def __init__(self, beside: Path, run: dict[str, Any]) -> None:
        said = json.dumps(run, sort_keys=True, indent=1).encode()
        digest = hashlib.sha256(said).hexdigest()[:16]
        self.folder = beside.with_name(f".{beside.name}.{digest}.windows")
        with atomic_write(self.folder / "run.json") as file:
            file.write(said)
        self.count = 0
        self.last: DrawnWindow | None = None
        while (window := self._read(self.count)) is not None:
            self.count, self.last = self.count + 1, window

    def add(self, window: DrawnWindow) -> None:
        """Write the next window."""
        arrays: dict[str, Any] = _arrays_of(window)
        with atomic_write(self._path(self.count)) as file:
            np.savez_compressed(file, **arrays)
        self.count, self.last = self.count + 1, window

    def __iter__(self) -> Iterator[DrawnWindow]:
        """All windows in their order, one in memory at a time."""
        for number in range(self.count):
            window = self._read(number)
            if window is None:
                raise OSError(f"{self._path(number)} was there and cannot be read any more")
            yield window

    def remove(self) -> None:
        """Remove the folder, when the clip's tree is written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.npz"

    def _read(self, number: int) -> DrawnWindow | None:
        """A window; None if its file is missing or damaged, so that it is drawn again."""
        try:
            with np.load(self._path(number), allow_pickle=False) as found:
                return _window_of({name: found[name] for name in found.files})
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None


def _arrays_of(window: DrawnWindow) -> dict[str, NDArray[Any]]:
    tubes, state = window.tubes, window.state
    facts = [window.first, window.begins, window.next_frame, window.next_shown, len(window.maps)]
    arrays: dict[str, NDArray[Any]] = {"facts": np.array(facts, np.int64)}
    arrays |= {f"map{i:04d}": own for i, own in enumerate(window.maps)}
    for name in ("count", "sums", "pairs", "head", "tail", "descriptors"):
        if (array := getattr(tubes, name)) is not None:
            arrays[name] = array
    if state is not None:
        arrays |= {"labels": state.labels, "before": state.before, "since": state.since}
    return arrays


def _window_of(arrays: dict[str, NDArray[Any]]) -> DrawnWindow:
    first, begins, next_frame, next_shown, frames = arrays["facts"].tolist()
    state = None
    if "labels" in arrays:
        state = SteadyState(arrays["labels"], arrays["before"], arrays["since"])
    names = ("count", "sums", "pairs", "head", "tail")
    tubes = WindowTubes(
        part=(), **{name: arrays[name] for name in names}, descriptors=arrays.get("descriptors")
    )
    return DrawnWindow(
        first=first,
        tubes=tubes,
        maps=[arrays[f"map{i:04d}"] for i in range(frames)],
        begins=bool(begins),
        next_frame=next_frame,
        next_shown=next_shown,
        state=state,
    )
