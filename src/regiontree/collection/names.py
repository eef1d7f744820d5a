"""Names of categories: a table that people edit, ``collection.csv``.

============ ================================================================================
``category`` number of a category; or ``ID#NODE``, one region of a photograph
``name``     its name; empty: that of the category above
``parent``   number of the category above it
============ ================================================================================

A category without a name of its own has that of the nearest category above with one. So one name
covers all that lies below, and a name below overrides it. Other columns are ignored.

- To merge two categories, give them one name, or set the parent of one to the other.
- To split a category, name the categories below it.
- To move a single region, add a line with ``ID#NODE`` and the category it belongs to as parent.

:mod:`regiontree.collection.edits` changes single cells of the table, as the page of a collection
does.

A file that somebody else changed in the meantime is never lost: :meth:`Names.save` keeps it beside
the new one.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.csvtable import ENCODING, read_table
from regiontree.errors import CollectionError
from regiontree.system.files import atomic_write, locked
from regiontree.system.paths import reason
from regiontree.tree.kernel import node_on_cycle

__all__ = ["COLUMNS", "Names", "digest_of", "keep_beside", "read_names"]

COLUMNS = ("category", "name", "parent")
"""Columns of the table that mean something; others are the user's own."""

Key = tuple[str, int]
"""Id of a photograph and a node of its tree."""


@dataclass(frozen=True)
class Names:
    """Names and places of categories.

    Attributes
    ----------
    parents : (N,) int64
        The category above each, as people changed it; the root has itself.
    own : mapping of int to str
        Names that people gave.
    moved : mapping of (str, int) to int
        The category of each region that was moved.
    seen : str
        Digest of the file that was read; empty if there was none.
    """

    parents: NDArray[np.int64]
    own: Mapping[int, str] = field(default_factory=dict)
    moved: Mapping[Key, int] = field(default_factory=dict)
    seen: str = ""

    def name(self, category: int) -> str | None:
        """The name of a category: its own, or that of the nearest above with one."""
        for one in self._up(category):
            if name := self.own.get(one):
                return name
        return None

    def _up(self, category: int) -> Iterator[int]:
        while True:
            yield category
            above = int(self.parents[category])
            if above == category:
                return
            category = above

    def named(self, category: int, name: str) -> Names:
        """The same with another name of a category; an empty one removes it."""
        own = dict(self.own)
        own.pop(category, None)
        if name.strip():
            own[category] = name.strip()
        return replace(self, own=own)

    def with_region(self, photo: str, node: int, category: int | None) -> Names:
        """The same with a region in another category; None: in the one that it is most like."""
        moved = dict(self.moved)
        moved.pop((photo, node), None)
        if category is not None:
            moved[photo, node] = category
        return replace(self, moved=moved)

    def rows(self, shown: Iterable[int]) -> list[dict[str, str]]:
        """The lines of the table: the categories to show, and all that people changed."""
        numbers = sorted({*shown, *self.own}, reverse=True)
        lines = [(str(one), self.own.get(one, ""), str(self.parents[one])) for one in numbers]
        moved = sorted(self.moved.items())
        lines += [(f"{key}#{node}", "", str(category)) for (key, node), category in moved]
        return [dict(zip(COLUMNS, line, strict=True)) for line in lines]

    def save(self, path: Path, shown: Iterable[int]) -> Path | None:
        """Write the table. Returns where another's version lies, if it was changed since the read.

        Raises
        ------
        CollectionError
            It cannot be written.
        """
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, COLUMNS)
        table.writeheader()
        table.writerows(self.rows(shown))
        data = text.getvalue().encode(ENCODING)
        other = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path.parent):
                if path.is_file():
                    before = path.read_bytes()
                    if digest_of(before) not in (self.seen, digest_of(data)):
                        other = keep_beside(path, before)
                with atomic_write(path) as file:
                    file.write(data)
        except OSError as error:
            raise CollectionError(f"{path}: cannot be written ({reason(error)})") from error
        return other


def read_names(path: Path, parents: NDArray[np.integer]) -> Names:
    """The names in a table, or none if there is no such file.

    Parameters
    ----------
    path
        ``collection.csv``.
    parents
        (N,) of the tree of categories.

    Raises
    ------
    CollectionError
        The file is no such table. The message names the line.
    """
    above = np.array(parents, np.int64)
    if not path.exists():
        return Names(above)
    own: dict[int, str] = {}
    moved: dict[Key, int] = {}

    def take(what: str, name: str, parent: str) -> None:
        key, _, node = what.rpartition("#")
        if key:
            number = _number(parent, len(above), "parent")
            moved[key, _number(node, None, "node")] = number
            return
        category = _number(what, len(above), "category")
        if name:
            own[category] = name
        if parent and category != len(above) - 1:
            above[category] = _number(parent, len(above), "parent")

    data = read_table(path, COLUMNS, take)
    if (wrong := node_on_cycle(above)) is not None:
        raise CollectionError(f"{path}: category {wrong} lies above itself; change its parent")
    return Names(above, own, moved, digest_of(data))


def _number(text: str, below: int | None, what: str) -> int:
    if not text.isdecimal() or (below is not None and int(text) >= below):
        known = "a whole number" if below is None else f"a number from 0 to {below - 1}"
        raise ValueError(f"{what} must be {known}, got {text[:50]!r}")
    return int(text)


def keep_beside(path: Path, data: bytes) -> Path:
    """Write what a table held into a file beside it. Returns that file."""
    other = path.with_name(f"{path.stem}-{digest_of(data)[:8]}{path.suffix}")
    with atomic_write(other) as file:
        file.write(data)
    return other


def digest_of(data: bytes) -> str:
    """What :attr:`Names.seen` says of the bytes of a table."""
    return hashlib.sha256(data).hexdigest()
