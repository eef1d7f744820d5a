"""The rows of a store for :class:`regiontree.forest.forest.Forest`."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.index import Index
from regiontree.forest.parquet import GoneError, TableFile
from regiontree.forest.row import Row
from regiontree.forest.rows import Place, Rows, true_where
from regiontree.forest.schema import row_of, schema
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
        self._pinned: Index | None = None
        self._open: OrderedDict[str, TableFile] = OrderedDict()
        self._groups: OrderedDict[tuple[str, int, tuple[str, ...] | None], pa.Table] = OrderedDict()
        self._lock = Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return StoredRows, (self.store,)

    def pinned(self) -> StoredRows:
        pinned = StoredRows(self.store)
        pinned._pinned = self._index
        return pinned

    @property
    def _index(self) -> Index:
        return self._pinned or self.store.index

    @property
    def lengths(self) -> list[int]:
        return [file.rows for file in self._index.files]

    @property
    def count(self) -> tuple[int, int]:
        return self._index.count

    @property
    def problems(self) -> dict[str, str]:
        return self._index.problems

    def find(self, key: str) -> tuple[Place, bool] | None:
        return _found(self._index, key)

    def shown(self, file: int) -> Bools:
        mask = np.ones(self._index.files[file].rows, bool)
        if file in self._index.repeated:
            mask[self._index.repeated[file][0]] = False
        return mask

    def may_fail(self, file: int) -> bool:
        return self._index.files[file].failed > 0

    def row(self, key: str) -> Row | None:
        for attempt in range(3):
            index = self._index  # another thread may refresh the store's
            found = _found(index, key)
            if found is None:
                return None
            file, number = found[0]
            try:
                row = row_of(*self.group(index.files[file].name, number))
            except GoneError:  # a compaction has put the row into another file
                if attempt == 2 or self._pinned is not None:
                    raise
                self.store.refresh()
                continue
            if row.id != key:
                raise StoreError(
                    f"{self.address}: its index does not fit its files; remove its folder _index"
                )
            return row
        return None

    def origin(self, key: str) -> tuple[str, str | None]:
        """The address and the sha256 of the photograph of a row that is in the store.

        Raises
        ------
        StoreError
            The row cannot be read.
        """
        found = _found(self._index, key)
        assert found is not None
        file, number = found[0]
        table, i = self.group(self._index.files[file].name, number, ("reference", "sha256"))
        return table.column("reference")[i].as_py(), table.column("sha256")[i].as_py()

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

    def bounds(self, name: str, row: int) -> tuple[int, int]:
        """The first row of the group that holds a row of a file, and the row after its last."""
        with self._lock:
            file = self._file(name)
            return file.bounds[file.place(row)[0]]

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

    def rows(self, file: int, mask: Bools) -> Iterator[tuple[Row, bool]]:
        with closing(self._opened(file)) as opened:
            for group, (start, end) in enumerate(opened.bounds):
                wanted = np.flatnonzero(mask[start:end]).tolist()
                if not wanted:
                    continue
                try:
                    table = opened.group(group)
                except StoreError as error:
                    yield from self._damaged(opened, group, wanted, error)
                    continue
                for i in wanted:
                    yield _read_row(table, i)

    def _damaged(
        self, file: TableFile, group: int, wanted: list[int], error: StoreError
    ) -> Iterator[tuple[Row, bool]]:
        """The rows of a group that cannot be read, if at least their ids can."""
        try:
            names = file.group(group, ["id", "reference"]).to_pylist()
        except StoreError:
            self.problems[file.name] = str(error)
            return
        for i in wanted:
            yield Row(names[i]["id"], names[i]["reference"], error=str(error)), True

    def records(self, file: int, columns: Sequence[str]) -> Iterator[tuple[int, list[Any]]]:
        for start, table in self.tables(file, columns):
            yield start, table.to_pylist()

    def _opened(self, file: int) -> TableFile:
        """A file, to read it from start to end. The caller closes it."""
        return TableFile(self.store.folder, self._index.files[file].name)

    def tables(self, file: int, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        with closing(self._opened(file)) as opened:
            yield from opened.groups(columns)

    def holds(self, file: int, condition: pc.Expression) -> Bools:
        """For which rows of a file an expression of pyarrow is true."""
        name = self._index.files[file].name
        formats = pyarrow("pyarrow.dataset").ParquetFileFormat()
        with self.store.folder.open(name) as opened:
            scanner = formats.make_fragment(opened).scanner(
                schema=schema(), columns={"holds": condition}
            )
            return true_where(scanner.to_table().column("holds"))


def _found(index: Index, key: str) -> tuple[Place, bool] | None:
    """Where an id stands, and whether it has no tree; None if it stands nowhere."""
    try:
        found = index.find([key])
    except UnicodeEncodeError:  # no text, which no row has
        return None
    if found.file[0] < 0:
        return None
    return (int(found.file[0]), int(found.row[0])), bool(found.failed[0])


def _read_row(table: pa.Table, i: int) -> tuple[Row, bool]:
    """Row `i` of a table, and whether it is damaged."""
    try:
        return row_of(table, i), False
    except StoreError as error:
        key, reference = (table.column(name)[i].as_py() for name in ("id", "reference"))
        return Row(key, reference, error=str(error)), True
