"""One Parquet file of a store, written and read.

Rows lie in groups of about :data:`GROUP_BYTES`, since a reader decodes a whole group for one row.
Embeddings and descriptors are stored by a dictionary: half precision has few values, and each takes
16 bits. All readers know this encoding. ``docs/decisions/88-the-store.md`` has the sizes of others.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any

from regiontree.errors import StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.schema import READ_VERSIONS, require_schema, schema, with_all_columns
from regiontree.system.damage import plain_reason

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from regiontree.forest.storage import Folder

__all__ = ["GROUP_BYTES", "DamagedError", "GoneError", "TableFile", "TableWriter"]

GROUP_BYTES = 4 << 20
"""Bytes of a group of rows in memory."""
_MOST_ROWS = 1 << 16  # of a group
_DICTIONARY = ["embeddings.list.element", "descriptors.list.element",
               "stability.list.element", "settings"]  # fmt: skip


class DamagedError(StoreError):
    """A file of a store is damaged, or is no Parquet file."""


class GoneError(StoreError):
    """A file of a store is not there, maybe since a compaction has replaced it."""


class TableWriter:
    """Writes tables of rows to a file, one after the other, in groups of :data:`GROUP_BYTES`.

    It holds one group and the last table. It is a context: at the end of the block, it writes the
    end of the file. After an error, it writes nothing more.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._sink = _Sink(file)
        self._writer: pq.ParquetWriter = pyarrow("pyarrow.parquet").ParquetWriter(
            self._sink,
            schema(),
            compression={name: "none" if name == "labels" else "zstd" for name in _leaves()},
            compression_level={name: 1 for name in _leaves() if name != "labels"},
            use_dictionary=_DICTIONARY,
            write_statistics=["id", "error", "height", "width"],
            version="2.6",
            data_page_version="1.0",
        )
        self._waiting: list[pa.Table] = []
        self._bytes = 0

    def write(self, table: pa.Table) -> None:
        """Add the rows of a table."""
        self._waiting.append(table)
        self._bytes += table.nbytes
        if self._bytes >= GROUP_BYTES:
            self._write_groups(last=False)

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._write_groups(last=True)
                self._writer.close()
        finally:
            self._sink.is_open = False
            self._writer.close()  # pyarrow's writer would write when it is deleted

    def _write_groups(self, *, last: bool) -> None:
        if not self._waiting:
            return
        table = pyarrow().concat_tables(self._waiting)
        size = max(1, self._bytes // max(1, len(table)))
        rows = min(max(1, GROUP_BYTES // size), _MOST_ROWS)
        end = len(table) if last else len(table) // rows * rows
        for start in range(0, end, rows):
            self._writer.write_table(table.slice(start, min(rows, end - start)), rows)
        rest = table.slice(end)
        self._waiting = [rest] if len(rest) else []
        self._bytes = rest.nbytes


class _Sink(io.RawIOBase):
    """A file to write to, until it is closed. Then what is written is lost."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.is_open = True

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data) if self.is_open else len(data)


def _leaves() -> list[str]:
    """The names of the columns as Parquet has them: of lists, those of their elements."""
    pa = pyarrow()
    return [
        f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name
        for field in schema()
    ]


class TableFile:
    """A file of a store, to read. Its schema is checked when it is opened.

    Tables have the columns of this version, also if the file is of an earlier one.

    Parameters
    ----------
    folder, name
        The store's folder, and the file's name in it.

    Raises
    ------
    StoreError
        The file is not there, cannot be read, is damaged, or has not the columns of a store.

    Attributes
    ----------
    rows : int
        Number of rows.
    bounds : list of (int, int)
        The first row of each group, and the first row after it.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.name = folder.named(name)
        with self._naming():
            self._file = folder.open(name)
            try:
                self._parquet = pyarrow("pyarrow.parquet").ParquetFile(self._file, pre_buffer=True)
                require_schema(self._parquet.schema_arrow, self.name, READ_VERSIONS)
            except BaseException:
                self._file.close()
                raise
        groups = self._parquet.metadata
        counts = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        ends = list(accumulate(counts))
        self.bounds = list(zip([0, *ends], ends, strict=False))
        self.rows: int = groups.num_rows

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def columns(self, names: Sequence[str]) -> pa.Table:
        """Some columns of all rows."""
        with self._naming():
            return self._valid(self._parquet.read(self._there(names), use_threads=False), names)

    def groups(self, names: Sequence[str] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """The first row of each group, and the group's table, in order."""
        for group, (start, _) in enumerate(self.bounds):
            yield start, self.group(group, names)

    def group(self, group: int, names: Sequence[str] | None = None) -> pa.Table:
        """The table of one group of rows."""
        with self._naming():
            there = self._there(names)
            return self._valid(self._parquet.read_row_group(group, there, use_threads=False), names)

    def place(self, row: int) -> tuple[int, int]:
        """The group that holds a row, and the row's number in it."""

        group = bisect_right(self.bounds, row, key=itemgetter(1))
        if not 0 <= group < len(self.bounds):
            raise StoreError(f"{self.name}: has no row {row}")
        return group, row - self.bounds[group][0]

    def _there(self, names: Sequence[str] | None) -> list[str] | None:
        """The columns of `names` that the file has; one at least, which tells how many rows."""
        if names is None:
            return None
        there = set(self._parquet.schema_arrow.names)
        return [name for name in names if name in there] or ["id"]

    def _valid(self, table: pa.Table, names: Sequence[str] | None) -> pa.Table:
        """A table whose texts are UTF-8 and whose lists lie within their values."""
        table.validate(full=True)
        wanted = set(schema().names if names is None else names)
        return table if wanted <= set(table.column_names) else with_all_columns(table, names)

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Errors of the block as a StoreError that names the file."""
        pa = pyarrow()
        try:
            yield
        except FileNotFoundError as error:
            raise GoneError(
                f"{self.name}: is not there; if a command writes to the store, try again"
            ) from error
        except PermissionError as error:
            raise StoreError(f"{self.name}: cannot be read ({error.strerror or error})") from error
        except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
            if isinstance(error, StoreError):
                raise
            said = plain_reason(error)
            raise DamagedError(f"{self.name}: damaged or not of a store ({said})") from error
