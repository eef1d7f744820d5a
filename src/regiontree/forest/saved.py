"""A saved tree: what a command knows of a tree before it reads it.

A tree lies in a file of its own or in a row of a store. Commands treat both alike: they ask a
:class:`SavedTree` for its name, for the tree, and for where its photograph may be.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from regiontree.forest.origin import path_below, recorded_name, recorded_places
from regiontree.references.reference import Reference
from regiontree.system.files import sha256_of
from regiontree.tree import RegionTree

__all__ = ["SavedTree", "TreeFile", "saved_tree", "stamp_of"]


class SavedTree(Protocol):
    """A tree that is saved. ``str()`` gives what messages call it."""

    @property
    def key(self) -> str:
        """Its name among the trees of a command, which names the files made from it.

        A path with slashes: that of the file below the folder that was given, without suffix, or
        the row's id.
        """

    @property
    def name(self) -> str:
        """What to call its picture if the tree names no photograph. It has no folder."""

    @property
    def error(self) -> str | None:
        """Why there is no tree, as far as that is known before the tree is read."""

    @property
    def path(self) -> Path | None:
        """The file that holds this tree alone; None if there is none."""

    def load(self) -> RegionTree:
        """The tree.

        Raises
        ------
        TreeFileError
            The tree cannot be read, or its photograph failed and has none.
        """

    def load_structure(self) -> RegionTree:
        """The tree without its pixels: see :meth:`RegionTree.load_structure`.

        Raises
        ------
        TreeFileError
            As :meth:`load`.
        """

    def data(self) -> bytes:
        """The bytes of a tree file with this tree.

        Raises
        ------
        TreeFileError
            As :meth:`load`.
        OSError
            The file cannot be read.
        """

    def digest(self) -> str:
        """A text that is the same as long as the tree is the same.

        Raises
        ------
        OSError
            The file cannot be read.
        """

    def stamp(self) -> Hashable | None:
        """A value that changes with the tree, found quickly. None: the tree is gone."""

    def without_folders(self, text: str) -> str:
        """A message about the tree that does not say in which folder it is saved."""

    def places(self, meta: Mapping[str, Any]) -> Iterator[Path | Reference]:
        """Where its photograph may lie by the records, the likeliest first.

        The files need not exist. `meta` is that of the tree.
        """

    def below(self, meta: Mapping[str, Any]) -> str:
        """The recorded path of its photograph without the steps upwards; it may be empty."""


@dataclass(frozen=True, slots=True)
class TreeFile:
    """A tree in a file of its own (``.npz``).

    Attributes
    ----------
    path : Path
    folder : Path or None
        The folder below which the file was found. None: the one that it lies in.
    """

    path: Path
    folder: Path | None = None

    def __str__(self) -> str:
        return str(self.path)

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name

    @property
    def error(self) -> str | None:
        """None: reading tells what is wrong with a file."""
        return None

    @property
    def key(self) -> str:
        """The path below the folder, with slashes, without suffix."""
        below = self.path.relative_to(self.folder) if self.folder else Path(self.path.name)
        return below.with_suffix("").as_posix()

    def load(self) -> RegionTree:
        """The tree: :meth:`RegionTree.load`."""
        return RegionTree.load(self.path)

    def load_structure(self) -> RegionTree:
        """The tree without its pixels: :meth:`RegionTree.load_structure`."""
        return RegionTree.load_structure(self.path)

    def data(self) -> bytes:
        """The bytes of the file."""
        return self.path.read_bytes()

    def digest(self) -> str:
        """The sha256 of the file."""
        return sha256_of(self.path)

    def stamp(self) -> Hashable | None:
        """Which file it is, its size and its time."""
        return stamp_of(self.path)

    def without_folders(self, text: str) -> str:
        """The text with the file's name instead of its path."""
        return text.replace(str(self.path), self.path.name)

    def places(self, meta: Mapping[str, Any]) -> Iterator[Path | Reference]:
        """Beside the tree, then where the tree and the summary of its batch say."""
        name = Path(recorded_name(meta)).name
        if name:
            yield self.path.parent / name
        yield from recorded_places(self.path, meta)

    def below(self, meta: Mapping[str, Any]) -> str:
        """The path that the tree records, without the steps upwards."""
        return path_below(meta)


def saved_tree(given: str | Path | SavedTree) -> SavedTree:
    """A path as the tree that is saved there; a saved tree as it is."""
    return TreeFile(Path(given)) if isinstance(given, str | Path) else given


def stamp_of(file: Path) -> tuple[int, ...] | None:
    """Which file it is, its size and its time; None if it is gone."""
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
