"""Addresses in lists and tables: text files, JSON lines, Parquet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from regiontree.errors import MissingExtraError, SourceError, nearest_name
from regiontree.references.faults import words_of

__all__ = ["USUAL_COLUMNS", "BadRows", "Entry", "json_lines", "parquet_rows", "text_lines"]

USUAL_COLUMNS = (
    "address", "url", "uri", "path", "image", "image_path", "image_url", "file", "file_name",
    "filename", "file_path", "filepath", "img", "img_path",
)  # fmt: skip
"""Names of columns that hold addresses, the first that a table has is taken."""
_LONGEST_LINE = 2**20  # bytes
_ROWS = 8192  # rows of Parquet that are in memory at a time


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a table.

    Attributes
    ----------
    address : str
        As it is written there.
    id : str or None
        What the column of ids says; None without one.
    """

    address: str
    id: str | None = None


@dataclass(slots=True)
class BadRows:
    """Rows that hold no address: how many for each reason, and which is the first."""

    counts: dict[str, tuple[int, int]] = field(default_factory=dict)

    def add(self, row: int, why: str) -> None:
        """Count a row that is left out."""
        count, first = self.counts.get(why, (0, row))
        self.counts[why] = count + 1, first

    @property
    def text(self) -> str | None:
        """A sentence on them; None if there are none.

        >>> bad = BadRows()
        >>> bad.add(3, "has no address")
        >>> bad.text
        'row 3 has no address'
        >>> bad.add(9, "has no address")
        >>> bad.text
        '2 rows are left out: row 3 has no address'
        """
        if not self.counts:
            return None
        total = sum(count for count, _ in self.counts.values())
        said = ", ".join(f"row {first:,} {why}" for why, (_, first) in self.counts.items())
        return said if total == 1 else f"{total:,} rows are left out: {said}"


def text_lines(stream: BinaryIO, bad: BadRows) -> Iterator[Entry]:
    """The lines of a text file, without blanks at their ends. Empty lines are passed over.

    Raises
    ------
    SourceError
        The file is UTF-16.
    """
    for row, line in _lines(stream, bad):
        if row == 1:
            if line.startswith((b"\xff\xfe", b"\xfe\xff")):
                raise SourceError("is text in UTF-16; save it as UTF-8")
            line = line.removeprefix(b"\xef\xbb\xbf")
        address = line.decode("utf-8", "surrogateescape").strip()
        if "\0" in address:
            bad.add(row, "holds a NUL character")
        elif address:
            yield Entry(address)


def _lines(stream: BinaryIO, bad: BadRows) -> Iterator[tuple[int, bytes]]:
    """Each line with its number, from 1. Lines that are too long are bad rows."""
    # Streams from here need no more of a raw stream than BufferedReader asks for.
    buffered = io.BufferedReader(stream, _LONGEST_LINE)  # type: ignore[type-var]
    row, is_rest = 0, False
    try:
        while line := buffered.readline(_LONGEST_LINE):
            is_whole = line.endswith(b"\n") or len(line) < _LONGEST_LINE
            if not is_rest:
                row += 1
                if is_whole:
                    yield row, line
                else:
                    bad.add(row, f"is longer than {_LONGEST_LINE:,} bytes")
            is_rest = not is_whole
    finally:
        buffered.detach()  # whoever opened the stream closes it


def json_lines(
    stream: BinaryIO, bad: BadRows, column: str | None, id_column: str | None
) -> Iterator[Entry]:
    """The rows of a file of JSON lines: one object a line.

    Raises
    ------
    SourceError
        The first row has no such columns.
    """
    chosen: str | None = None
    for row, line in _lines(stream, bad):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            bad.add(row, "is not JSON")
            continue
        if not isinstance(record, dict):
            bad.add(row, "is no object of JSON")
            continue
        if chosen is None:
            texts = [key for key, value in record.items() if isinstance(value, str)]
            chosen = _column(list(record), texts, column)
            _require_id_column(list(record), id_column)
        entry = _entry(record.get(chosen), record, id_column, row, bad)
        if entry is not None:
            yield entry


def parquet_rows(
    stream: BinaryIO, bad: BadRows, column: str | None, id_column: str | None
) -> Iterator[Entry]:
    """The rows of a Parquet file; only the columns that are needed are read.

    Raises
    ------
    SourceError
        It is none, is damaged, or has no such columns.
    MissingExtraError
        pyarrow is not installed.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError as error:
        raise MissingExtraError("Parquet needs pyarrow: pip install 'regiontree[store]'") from error
    row = 0
    try:
        with parquet.ParquetFile(stream) as file:
            kinds = {one.name: one.type for one in file.schema_arrow}
            chosen = _column(list(kinds), [name for name in kinds if _is_text(kinds[name])], column)
            _require_id_column(list(kinds), id_column)
            wanted = list(dict.fromkeys([chosen, *([id_column] if id_column else [])]))
            for batch in file.iter_batches(_ROWS, columns=wanted, use_threads=False):
                columns = {name: batch.column(name).to_pylist() for name in wanted}
                for i, address in enumerate(columns[chosen]):
                    row += 1
                    ids = {id_column: columns[id_column][i]} if id_column else {}
                    entry = _entry(address, ids, id_column, row, bad)
                    if entry is not None:
                        yield entry
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, SourceError):
            raise
        where = f"cannot be read after row {row:,}" if row else "is no Parquet file or is damaged"
        raise SourceError(f"{where}{words_of(error)}") from error


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    is_view = getattr(pa.types, "is_string_view", lambda _: False)
    return bool(pa.types.is_string(inner) or pa.types.is_large_string(inner) or is_view(inner))


def _column(names: Sequence[str], texts: Sequence[str], wanted: str | None) -> str:
    """The column of addresses among the columns `names`, of which `texts` hold texts."""
    by_name = {name.lower(): name for name in reversed(texts)}
    if wanted is None:
        usual = next((by_name[name] for name in USUAL_COLUMNS if name in by_name), None)
        if usual is None:
            raise SourceError(
                "has no column of addresses with a usual name; choose one with --column: "
                f"{_listed(names)}"
            )
        return usual
    if wanted not in names:
        raise SourceError(_no_column(wanted, names))
    if wanted not in texts:
        raise SourceError(
            f"column {wanted!r} holds no texts; choose one of addresses with --column"
        )
    return wanted


def _require_id_column(names: Sequence[str], wanted: str | None) -> None:
    if wanted is not None and wanted not in names:
        raise SourceError(_no_column(wanted, names))


def _no_column(wanted: str, names: Sequence[str]) -> str:
    return f"has no column {wanted!r}; it has {_listed(names)}{nearest_name(wanted, names)}"


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f", and {len(names) - most:,} more" if len(names) > most else ""
    return (", ".join(name[:60] for name in names[:most]) or "no columns") + more


def _entry(
    address: object, record: dict[str, Any], id_column: str | None, row: int, bad: BadRows
) -> Entry | None:
    if not isinstance(address, str) or not address.strip() or "\0" in address:
        bad.add(row, "has no address")
        return None
    if id_column is None:
        return Entry(address.strip())
    id = record.get(id_column)
    if isinstance(id, bool) or not isinstance(id, str | int) or id == "":
        bad.add(row, f"has no text and no whole number as {id_column}")
        return None
    return Entry(address.strip(), str(id))
