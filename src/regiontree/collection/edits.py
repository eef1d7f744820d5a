"""Single changes of the names of a collection, each written to ``collection.csv`` at once.

A change says what it replaces. If the table says something else by then, somebody else was faster:
the change is made all the same, the caller is told, and the table as it was stays beside the new
one. Changes of different categories never meet, whoever makes them.

All other cells stay as they are: columns of the user's own, comments, the order of lines.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.csvtable import ENCODING
from regiontree.collection.names import COLUMNS, Names, digest_of, keep_beside, read_names
from regiontree.errors import CollectionError
from regiontree.system.files import atomic_write, locked
from regiontree.system.paths import reason

__all__ = ["Edit", "Move", "Naming", "check_edit", "edit_names"]

LONGEST_NAME = 1000
"""Characters of the longest name that an edit may give."""


@dataclass(frozen=True, slots=True)
class Naming:
    """A category gets another name.

    Attributes
    ----------
    category : int
    name, was : str
        Its own name, and what it should be before; empty for none.
    """

    category: int
    name: str
    was: str


@dataclass(frozen=True, slots=True)
class Move:
    """A single region gets another category.

    Attributes
    ----------
    photo : str
        Id of the photograph.
    node : int
        Node in its tree.
    category, was : int or None
        The category, and what it should be before; None for the one that it is most like.
    """

    photo: str
    node: int
    category: int | None
    was: int | None


Edit = Naming | Move
"""A single change."""


def edit_names(
    path: Path, parents: NDArray[np.integer], edits: Sequence[Edit]
) -> tuple[Names, list[str]]:
    """Change the table of names, whole or not at all.

    Parameters
    ----------
    path
        ``collection.csv``. It is made if it does not exist.
    parents
        (N,) of the tree of categories.
    edits
        Made in their order.

    Returns
    -------
    names : Names
        What the table says now.
    told : list of str
        A sentence for each edit that replaced something else than it said.

    Raises
    ------
    CollectionError
        The table is damaged or cannot be written, or an edit is not possible.
    """
    for edit in edits:
        check_edit(edit, len(parents))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.parent):
            names, told = read_names(path, parents), []
            data = path.read_bytes() if path.exists() else b""
            table = _Table(data)
            for edit in edits:
                if said := _surprise(names, edit):
                    told.append(said)
                names = _changed(names, edit)
                table.change(edit, parents)
            new = table.encoded()
            if new != data:
                if told:
                    keep_beside(path, data)
                with atomic_write(path) as file:
                    file.write(new)
        return replace(names, seen=digest_of(new)), told
    except OSError as error:
        raise CollectionError(f"{path}: cannot be written ({reason(error)})") from error


def check_edit(edit: Edit, n_categories: int) -> None:
    """Refuse an edit that is not possible.

    Raises
    ------
    CollectionError
        There is no such category, or the name is too long.
    """
    last = n_categories - 1
    if edit.category is not None and not 0 <= edit.category <= last:
        raise CollectionError(f"there is no category {edit.category}: they are 0 to {last}")
    if isinstance(edit, Naming) and len(edit.name) > LONGEST_NAME:
        raise CollectionError(f"a name has at most {LONGEST_NAME} characters, got {len(edit.name)}")


def _surprise(names: Names, edit: Edit) -> str | None:
    """What somebody else did to what an edit changes; None if nothing."""
    if isinstance(edit, Naming):
        now = names.own.get(edit.category, "")
        if now in (edit.was, edit.name.strip()):
            return None
        said = f"had named it “{now}”" if now else "had taken its name away"
        return f"Category {edit.category}: somebody else {said} in the meantime."
    place = names.moved.get((edit.photo, edit.node))
    if place in (edit.was, edit.category):
        return None
    where = "back" if place is None else f"to category {place}"
    return (
        f"Region {edit.node} of {edit.photo}: somebody else had moved it {where} in the meantime."
    )


def _changed(names: Names, edit: Edit) -> Names:
    if isinstance(edit, Naming):
        return names.named(edit.category, edit.name)
    return names.with_region(edit.photo, edit.node, edit.category)


class _Table:
    """The cells of the table, of which only those of an edit change."""

    def __init__(self, data: bytes) -> None:
        rows = list(csv.reader(io.StringIO(data.decode(ENCODING), newline="")))
        self.header, self.rows = (rows[0], rows[1:]) if rows else (list(COLUMNS), [])
        self.what, self.name, self.parent = map(self.header.index, COLUMNS)

    def change(self, edit: Edit, parents: NDArray[np.integer]) -> None:
        if isinstance(edit, Naming):
            self._name(edit.category, edit.name.strip(), int(parents[edit.category]))
        else:
            self._move(f"{edit.photo}#{edit.node}", edit.category)

    def _name(self, category: int, name: str, parent: int) -> None:
        own = [row for row in self.rows if self._cell(row).isdecimal()]
        own = [row for row in own if int(self._cell(row)) == category]
        for row in own:
            row[self.name] = name
        if name and not own:
            self._add(str(category), name, str(parent))

    def _move(self, region: str, category: int | None) -> None:
        own = [row for row in self.rows if self._cell(row) == region]
        if category is None:
            self.rows = [row for row in self.rows if self._cell(row) != region]
        for row in own:
            row[self.parent] = str(category)
        if category is not None and not own:
            self._add(region, "", str(category))

    def _cell(self, row: list[str]) -> str:
        row += [""] * (len(self.header) - len(row))
        return row[self.what].strip()

    def _add(self, what: str, name: str, parent: str) -> None:
        row = [""] * len(self.header)
        row[self.what], row[self.name], row[self.parent] = what, name, parent
        self.rows.append(row)

    def encoded(self) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text).writerows([self.header, *self.rows])
        return text.getvalue().encode(ENCODING)
