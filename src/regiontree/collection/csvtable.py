"""Tables that people edit: CSV files, read with the line of every mistake."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

from regiontree.errors import CollectionError, RegionTreeError
from regiontree.system.paths import reason

__all__ = ["ENCODING", "read_table"]

ENCODING = "utf-8-sig"
"""UTF-8 with a mark at the start. Without the mark, Excel takes the text for another encoding."""
_MOST_BYTES = 256 << 20


def read_table(path: Path, columns: Sequence[str], take: Callable[..., None]) -> bytes:
    """Hand every row of a table to a function, and return the bytes of the file.

    Parameters
    ----------
    path
        A CSV file in UTF-8.
    columns
        The columns that are read. Others are ignored.
    take
        Called with the cells of each row, without spaces around them. It raises a ValueError or an
        error of this package for a wrong row.

    Raises
    ------
    CollectionError
        The file cannot be read or is no such table, or a row is wrong. The message names the line.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
        text = data.decode(ENCODING)
    except OSError as error:
        raise CollectionError(f"{path}: cannot be read ({reason(error)})") from error
    except UnicodeDecodeError as error:
        raise CollectionError(f"{path}: is not UTF-8; save it as 'CSV UTF-8'") from error
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        missing = sorted(set(columns) - set(table.fieldnames or ()))
        for row in () if missing else table:
            take(*((row[column] or "").strip() for column in columns))
    except (csv.Error, ValueError, RegionTreeError) as error:
        raise CollectionError(f"{path}, line {max(table.line_num, 1)}: {error}") from error
    if missing:
        raise CollectionError(f"{path}: has no column {missing[0]!r}")
    return data
