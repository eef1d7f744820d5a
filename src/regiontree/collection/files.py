"""The files of a collection.

===================== =====================================================================
``collection.json``   format, settings, source of the trees, what made them
``regions/N.npz``     regions of some photographs, with their descriptors
``model.npz``         projection and prototypes
``categories.npz``    the tree of categories: a region tree over the prototypes
``photographs/N.npz`` for every node of some photographs: its prototype, its share of the
                      pixels, and the numbers of regions whose cuts show it
``collection.csv``    names, for people to edit (:mod:`regiontree.collection.names`)
``vectors.*``         what search compares (:mod:`regiontree.collection.search`); made from the
                      other files when it is needed, so it may be removed
===================== =====================================================================

Each file is written whole or not at all, and none is pickled. A photograph stands in one file of
``regions`` and in one of ``photographs``. New photographs get new files.
"""

from __future__ import annotations

import json
import lzma
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import CollectionError
from regiontree.system.damage import plain_reason
from regiontree.system.files import atomic_write, locked
from regiontree.system.npyfile import read_npz
from regiontree.system.paths import reason, require_writable

__all__ = ["FORMAT_VERSION", "CollectionFiles", "Part"]

FORMAT = "regiontree-collection"
FORMAT_VERSION = 2
"""Version of the format; another is refused."""
_ABOUT, _MODEL, _CATEGORIES, _NAMES = (
    "collection.json", "model.npz", "categories.npz", "collection.csv"
)  # fmt: skip
_WHOLE = "whole_"  # before the names of arrays of a part as a whole
_NO_NAMES: set[str] = set()
_MOST_JSON = 64 << 20
_DAMAGE = (ValueError, OSError, EOFError, NotImplementedError, RuntimeError, RecursionError,
           zipfile.BadZipFile, zlib.error, lzma.LZMAError)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Arrays of some photographs. Those of photograph i are rows ``start[i]`` to ``start[i + 1]``.

    Attributes
    ----------
    photographs : list of dict
        For each photograph its ``id``, ``reference``, ``sha256`` and ``size``.
    start : (n + 1,) int64
    arrays : dict of arrays
    whole : dict of arrays
        Arrays of the part as a whole.
    """

    photographs: list[dict[str, Any]]
    start: NDArray[np.int64]
    arrays: dict[str, NDArray[Any]]
    whole: dict[str, NDArray[Any]] = field(default_factory=dict)

    @classmethod
    def joined(
        cls, photographs: list[dict[str, Any]], arrays: Sequence[Mapping[str, NDArray[Any]]]
    ) -> Part:
        """The part of some photographs, each with arrays of one length."""
        lengths = [len(next(iter(own.values()))) for own in arrays]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        names = arrays[0].keys()
        return cls(photographs, start, {n: np.concatenate([a[n] for a in arrays]) for n in names})


class CollectionFiles:
    """The files of the collection in a folder."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def exists(self) -> bool:
        """Whether the folder holds a collection, complete or not."""
        return (self.folder / _ABOUT).is_file()

    @property
    def names(self) -> Path:
        """The file of names."""
        return self.folder / _NAMES

    @property
    def vectors(self) -> Path:
        """The file of the unit rows of all regions."""
        return self.folder / "vectors.npy"

    @property
    def categories(self) -> Path:
        """The file of the tree of categories."""
        return self.folder / _CATEGORIES

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes waiting that would add photographs, during the block.

        Raises
        ------
        CollectionError
            The folder cannot be written.
        """
        require_writable(self.folder, CollectionError)
        place = self.folder / "regions"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CollectionError(f"{place}: cannot be made ({reason(error)})") from error
        with locked(place):
            yield

    def read_about(self) -> dict[str, Any]:
        """What ``collection.json`` says.

        Raises
        ------
        CollectionError
            The folder holds no collection, or one of another version.
        """
        path = self.folder / _ABOUT
        if not path.is_file():
            raise CollectionError(
                f"{self.folder}: holds no collection; make one with regiontree discover"
            )
        try:
            with path.open("rb") as file:
                about = json.loads(file.read(_MOST_JSON))
        except (OSError, ValueError, RecursionError) as error:
            raise CollectionError(f"{path}: cannot be read ({plain_reason(error)})") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise CollectionError(f"{path}: is not of a collection")
        if about.get("format_version") != FORMAT_VERSION:
            raise CollectionError(
                f"{path}: has version {about.get('format_version')!r}, this program reads version "
                f"{FORMAT_VERSION}; use the regiontree that wrote it"
            )
        return about

    def write_about(self, about: Mapping[str, Any]) -> None:
        """Write ``collection.json``.

        Raises
        ------
        CollectionError
            The folder cannot be written.
        """
        require_writable(self.folder, CollectionError)
        whole = {"format": FORMAT, "format_version": FORMAT_VERSION, **about}
        with self.writing(self.folder / _ABOUT) as file:
            file.write(json.dumps(whole, indent=1, sort_keys=True).encode() + b"\n")

    # -- the model --------------------------------------------------------------------------------

    @property
    def has_model(self) -> bool:
        """Whether projection, prototypes and categories are written."""
        return (self.folder / _MODEL).is_file() and self.categories.is_file()

    def write_model(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Write ``model.npz``; ``categories.npz`` should stand there already."""
        self._save(self.folder / _MODEL, arrays)

    def read_model(self, names: set[str]) -> dict[str, NDArray[Any]]:
        """The arrays of ``model.npz``.

        Raises
        ------
        CollectionError
            The model is missing or damaged.
        """
        if not self.has_model:
            raise CollectionError(
                f"{self.folder}: is not finished; run the same regiontree discover again"
            )
        return self._load(self.folder / _MODEL, names)

    # -- parts ------------------------------------------------------------------------------------

    def parts(self, kind: str) -> list[Path]:
        """The files of ``regions`` or ``photographs``, in order."""
        return sorted((self.folder / kind).glob("[0-9]*.npz"))

    def add_part(self, kind: str, part: Part) -> None:
        """Write a part under the next number."""
        there = self.parts(kind)
        number = int(there[-1].stem) + 1 if there else 0
        about = json.dumps(part.photographs).encode()
        arrays: dict[str, NDArray[Any]] = {
            "about": np.frombuffer(about, np.uint8),
            "start": part.start,
            **part.arrays,
            **{f"{_WHOLE}{name}": array for name, array in part.whole.items()},
        }
        self._save(self.folder / kind / f"{number:06d}.npz", arrays)

    def read_part(self, path: Path, names: set[str], whole: set[str] = _NO_NAMES) -> Part:
        """A part with some of its arrays.

        Parameters
        ----------
        path
        names, whole
            Names of arrays with an entry for each row, and of arrays of the whole part.

        Raises
        ------
        CollectionError
            The file is damaged.
        """
        of_whole = {f"{_WHOLE}{name}" for name in whole}
        found = self._load(path, {"about", "start", *names, *of_whole})
        shared = {name.removeprefix(_WHOLE): found.pop(name) for name in of_whole & found.keys()}
        try:
            photographs = json.loads(found.pop("about").tobytes())
            start = found.pop("start")
            right = len(start) == len(photographs) + 1 and all("id" in one for one in photographs)
        except (KeyError, ValueError, TypeError, RecursionError) as error:
            raise CollectionError(f"{path}: is damaged") from error
        if not right or any(len(array) != start[-1] for array in found.values()):
            raise CollectionError(f"{path}: is damaged (its lengths contradict each other)")
        if missing := (names - found.keys()) | (whole - shared.keys()):
            raise CollectionError(f"{path}: is damaged (it has no {sorted(missing)[0]})")
        return Part(photographs, start, found, shared)

    def read_parts(self, kind: str, names: set[str], whole: set[str] = _NO_NAMES) -> Iterator[Part]:
        """All parts, one at a time."""
        for path in self.parts(kind):
            yield self.read_part(path, names, whole)

    def ids(self, kind: str) -> set[str]:
        """Ids of the photographs that have a part."""
        return {one["id"] for part in self.read_parts(kind, set()) for one in part.photographs}

    # -- reading and writing ----------------------------------------------------------------------

    def _load(self, path: Path, names: set[str]) -> dict[str, NDArray[Any]]:
        try:
            return read_npz(path, names)
        except _DAMAGE as error:
            raise CollectionError(f"{path}: cannot be read ({plain_reason(error)})") from error

    def _save(self, path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        with self.writing(path) as file:
            np.savez(file, allow_pickle=False, **arrays)

    @contextmanager
    def writing(self, path: Path) -> Iterator[IO[bytes]]:
        """A new file that gets its name only if the block ends without an error.

        Raises
        ------
        CollectionError
            The file cannot be written.
        """
        try:
            with atomic_write(path) as file:
                yield file
        except OSError as error:
            raise CollectionError(f"{path}: cannot be written ({reason(error)})") from error
