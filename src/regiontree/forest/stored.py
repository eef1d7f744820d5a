"""The rows of a store for :class:`regiontree.forest.forest.Forest`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.parquet import GoneError, TableFile
from regiontree.forest.row import Row
from regiontree.forest.rows import Place, Rows
from regiontree.forest.schema import columns_without_arrays, row_of, schema
from regiontree.forest.store import Store
from regiontree.system.locks import Lock

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc

__all__ = ["StoredRows"]

_OPEN_FILES = 16
_KEPT_GROUPS = 8

Bools = NDArray[np.bool_]


class StoredRows(Rows):
    """The rows of a store. A file of the store is a file here, in the order of their first ids."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.address = store.address
        self._open: OrderedDict[str, TableFile] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int, tuple[str, ...] | None], pa.Table] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self.store,)

    @property
    def lengths(self) -> list[int]:
        return [file.rows for file in self.store.index.files]

    @property
    def count(self) -> tuple[int, int]:
        return self.store.index.count

    @property
    def problems(self) -> dict[str, str]:
        return self.store.problems

    def find(self, key: str) -> tuple[Place, bool] | None:
        found = self.store.index.find([key])
        if found.file[0] < 0:
            return None
        return (int(found.file[0]), int(found.row[0])), bool(found.failed[0])

    def shown(self, file: int) -> Bools:
        index = self.store.index
        mask = np.ones(index.files[file].rows, bool)
        if file in index.repeated:
            mask[index.repeated[file][0]] = False
        return mask

    def row(self, key: str) -> Row | None:
        for attempt in range(3):
            found = self.find(key)
            if found is None:
                return None
            try:
                row = self._row_at(found[0])
            except GoneError:  # a compaction has put the row into another file
                if attempt == 2:
                    raise
                self.store.refresh()
                continue
            if row.id != key:
                raise StoreError(
                    f"{self.address}: its index does not fit its files; remove its folder _index"
                )
            return row
        return None

    def _row_at(self, place: Place) -> Row:
        return row_of(*self.group(self.store.index.files[place[0]].name, place[1]))

    def group(
        self, name: str, row: int, columns: tuple[str, ...] | None = None
    ) -> tuple[pa.Table, int]:
        """The group that holds a row of a file, and the row's number in it.

        The groups that were asked for last are kept. `columns` None: all columns.
        """
        with self._lock:
            file = self._file(name)
            group, i = file.place(row)
            key = (name, group, columns)
            if key not in self._groups:
                self._groups[key] = file.group(group, columns)
                while len(self._groups) > _KEPT_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end(key)
            return self._groups[key], i

    def _file(self, name: str) -> TableFile:
        if name not in self._open:
            self._open[name] = TableFile(self.store.folder, name)
            while len(self._open) > _OPEN_FILES:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(name)
        return self._open[name]

    # -- streams ----------------------------------------------------------------------------------

    def ids(self, file: int) -> Iterator[tuple[int, list[str], Bools]]:
        for start, table in self.tables(file, ["id", "error"]):
            failed = table.column("error").is_valid().to_numpy()
            yield start, table.column("id").to_pylist(), failed

    def rows(self, file: int, mask: Bools) -> Iterator[Row]:
        for start, table in self.tables(file, None):
            for i in np.flatnonzero(mask[start : start + len(table)]).tolist():
                yield row_of(table, i)

    def records(self, file: int, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        for start, table in self.tables(file, columns or columns_without_arrays()):
            yield start, table.to_pylist()

    def tables(self, file: int, columns: Sequence[str] | None) -> Iterator[tuple[int, pa.Table]]:
        """The first row of each group of a file, and some columns of the group."""
        if columns is not None and (unknown := set(columns) - set(schema().names)):
            raise StoreError(
                f"a store has no column {min(unknown)!r}; it has {', '.join(schema().names)}"
            )
        opened = TableFile(self.store.folder, self.store.index.files[file].name)
        try:
            yield from opened.groups(columns)
        finally:
            opened.close()

    def holds(self, file: int, condition: pc.Expression) -> Bools:
        """For which rows of a file an expression of pyarrow is true."""
        name = self.store.index.files[file].name
        formats = pyarrow("pyarrow.dataset").ParquetFileFormat()
        with self.store.folder.open(name) as opened:
            scanner = formats.make_fragment(opened).scanner(
                schema=schema(), columns={"holds": condition}
            )
            column = scanner.to_table().column("holds")
        if not pyarrow().types.is_boolean(column.type):
            raise StoreError(f"a filter must be true or false for each row, not {column.type}")
        mask: Bools = column.fill_null(False).to_numpy()
        return mask
