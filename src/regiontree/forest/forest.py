"""Forest: many trees on disk, by id, in order, and by condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError, nearest_name
from regiontree.forest.arrow import pyarrow
from regiontree.forest.row import Row
from regiontree.forest.rows import Rows
from regiontree.forest.schema import ARRAYS, SHORT, schema
from regiontree.forest.store import Store, is_store, open_store
from regiontree.forest.stored import StoredRows
from regiontree.forest.treefolder import FolderRows
from regiontree.references.addresses import clean, local_path, scheme_of, without_login
from regiontree.tree import RegionTree

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

__all__ = ["Forest"]

Bools = NDArray[np.bool_]


class Forest:
    """The trees of a store, or of a folder of tree files.

    Trees are read one at a time, when they are asked for. Length, ``in`` and iteration are about
    the photographs that have a tree; :meth:`errors` has the others.

    Parameters
    ----------
    address
        A store (a folder or the address of one), or a folder of ``.npz`` trees.

    Raises
    ------
    StoreError
        There is neither a store nor a folder of trees, or it cannot be read.
    MissingExtraError
        A store needs a package of the extra ``store`` that is not installed.

    Examples
    --------
    >>> forest = Forest("trees")                                  # doctest: +SKIP
    >>> forest["holiday/dog.jpg"].cut(n_regions=8)                # doctest: +SKIP
    >>> for row in forest.rows():                                 # doctest: +SKIP
    ...     print(row.id, row.tree)
    """

    def __init__(self, address: str | Path | Store) -> None:
        self._rows = _rows_at(address)
        self._chosen: dict[int, Bools] | None = None  # None: all

    @property
    def address(self) -> str:
        """Where the trees lie."""
        return self._rows.address

    @property
    def problems(self) -> dict[str, str]:
        """Files that cannot be read, and why. Their trees are missing."""
        return self._rows.problems

    def __repr__(self) -> str:
        return f"Forest({self.address!r})"

    def __len__(self) -> int:
        if self._chosen is None:
            return self._rows.count[0]
        return sum(len(ids) for ids in self._ids())

    def __contains__(self, key: object) -> bool:
        found = self._rows.find(key) if isinstance(key, str) else None
        return found is not None and not found[1] and self._is_chosen(found[0])

    def __iter__(self) -> Iterator[str]:
        """Ids of the photographs that have a tree, in the order of the files."""
        for ids in self._ids():
            yield from ids

    def __getitem__(self, key: str) -> RegionTree:
        """The tree of an id.

        Raises
        ------
        KeyError
            The id does not stand in the forest, or has no tree. The message says which.
        StoreError, TreeFileError
            What is stored is damaged.
        """
        row = self.row(key)
        if row.tree is None:
            raise KeyError(f"{key!r} has no tree: {row.error}")
        return row.tree

    def row(self, key: str) -> Row:
        """The row of an id, with its tree or its error.

        Raises
        ------
        KeyError
            The id does not stand in the forest.
        """
        row = None
        if self._chosen is None or ((found := self._rows.find(key)) and self._is_chosen(found[0])):
            row = self._rows.row(key)
        if row is None:
            raise KeyError(f"{key!r} does not stand in {self.address}")
        return row

    def rows(self) -> Iterator[Row]:
        """All rows, those without a tree too, in the order of the files.

        A row that is damaged comes without its tree, and its error says why.
        """
        for row, _ in self.rows_and_damage():
            yield row

    def rows_and_damage(
        self, wanted: Callable[[list[str], Bools], Bools] | None = None
    ) -> Iterator[tuple[Row, bool]]:
        """Rows as in :meth:`rows`, and whether what is stored of each is damaged.

        Parameters
        ----------
        wanted
            Of some ids, and which of them have no tree: which rows are read. None: all.
        """
        for file in self._files():
            mask = self._mask(file)
            if wanted is not None:
                for start, ids, failed in self._rows.ids(file):
                    mask[start : start + len(ids)] &= wanted(ids, failed)
            yield from self._rows.rows(file, mask)

    def records(self, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Some columns of all rows, one mapping of names to values a row.

        Parameters
        ----------
        columns
            Names of columns (:mod:`regiontree.forest.schema`). None: all but those of arrays, which
            takes no time for label maps and embeddings.
        """
        names = _checked(columns)
        for file in self._files():
            yield from self._records_of(file, names)

    def _records_of(self, file: int, columns: Sequence[str]) -> Iterator[dict[str, Any]]:
        mask = self._mask(file)
        for start, records in self._rows.records(file, columns):
            for i, record in enumerate(records, start):
                if mask[i]:
                    yield record

    def errors(self) -> dict[str, str]:
        """Why photographs have no tree: id -> error."""
        found = {}
        for file in filter(self._rows.may_fail, self._files()):
            for record in self._records_of(file, ["id", "error"]):
                if record["error"] is not None:
                    found[record["id"]] = record["error"]
        return found

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Some columns of all rows as one table of pyarrow, in memory.

        Parameters
        ----------
        columns
            Names of columns (:mod:`regiontree.forest.schema`). None: all but those of arrays.

        Raises
        ------
        StoreError
            There is no such column.
        """
        names = _checked(columns)
        empty = schema().empty_table().select(names)
        tables = [empty]
        for file in self._files():
            mask = self._mask(file)
            for start, table in self._rows.tables(file, names):
                tables.append(table.filter(mask[start : start + len(table)]))
        return pyarrow().concat_tables([one.cast(empty.schema) for one in tables])

    def filter(
        self,
        condition: Callable[[Mapping[str, Any]], Any] | pc.Expression,
        columns: Sequence[str] | None = None,
    ) -> Forest:
        """The forest of the rows for which a condition holds. Every row is looked at once, now.

        Parameters
        ----------
        condition
            A function of one row, a mapping of column names to values, or an expression of pyarrow:
            ``pyarrow.compute.field("height") > 1000``.
        columns
            The columns that the function is given. None: all but those of arrays.

        Examples
        --------
        >>> large = forest.filter(lambda row: row["height"] and row["height"] > 1000)
        ... # doctest: +SKIP
        """
        rows, chosen = self._rows.pinned(), {}
        for file in self._files():
            mask = self._mask(file)
            if callable(condition):
                for start, records in rows.records(file, _checked(columns)):
                    for i, record in enumerate(records, start):
                        mask[i] = mask[i] and bool(condition(record))
            else:
                mask &= rows.holds(file, condition)
            chosen[file] = mask
        forest = Forest.__new__(Forest)
        forest._rows, forest._chosen = rows, chosen
        return forest

    @property
    def n_rows(self) -> int:
        """Number of rows, those without a tree too."""
        if self._chosen is None:
            return sum(self._rows.count)
        return sum(int(mask.sum()) for mask in self._chosen.values())

    # -- which rows -------------------------------------------------------------------------------

    def _files(self) -> range:
        return range(len(self._rows.lengths))

    def _mask(self, file: int) -> Bools:
        """The rows of a file that are in the forest."""
        if self._chosen is None:
            return self._rows.shown(file)
        return self._chosen[file].copy()

    def _is_chosen(self, place: tuple[int, int]) -> bool:
        return self._chosen is None or bool(self._chosen[place[0]][place[1]])

    def _ids(self) -> Iterator[list[str]]:
        """Ids of rows that have a tree, some at a time."""
        for file in self._files():
            mask = self._mask(file)
            for start, ids, failed in self._rows.ids(file):
                wanted = mask[start : start + len(ids)] & ~failed
                yield [ids[i] for i in np.flatnonzero(wanted)]


def _checked(columns: Sequence[str] | None) -> list[str]:
    """Names of columns after a check, or all but those of arrays."""
    if columns is None:
        return list(SHORT)
    for name in columns:
        if name not in (*SHORT, *ARRAYS):
            raise StoreError(
                f"a store has no column {name!r}{nearest_name(name, (*SHORT, *ARRAYS))}"
            )
    return list(columns)


def _rows_at(address: str | Path | Store) -> Rows:
    if isinstance(address, Store):
        return StoredRows(address)
    if is_store(address):
        return StoredRows(open_store(address, create=False))
    text = clean(address)
    if scheme_of(text):
        raise StoreError(f"{without_login(text)}: is no store of trees")
    return FolderRows(Path(local_path(text)))
