"""Pictures that were made once, kept in a file from then on.

The file is a SQLite database beside the collection. It can be removed at any time. A file that is
damaged, or a folder that cannot be written, only means that pictures are made again.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

__all__ = ["KeptPictures"]

_LAYOUT = 1  # of the pictures and of the table; pictures of another layout are made again
_PATIENCE = 10.0  # seconds that one process waits for another
_MAKE = """
CREATE TABLE IF NOT EXISTS pictures (
    photograph TEXT, what INTEGER, stamp TEXT, picture BLOB, PRIMARY KEY (photograph, what)
) WITHOUT ROWID
"""


class KeptPictures:
    """Pictures of photographs and of their regions. Any thread may ask for one.

    Parameters
    ----------
    path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._base = _opened(path)
        except sqlite3.DatabaseError:  # among them a read-only folder, and a damaged file
            with suppress(OSError):
                path.unlink()
            try:
                self._base = _opened(path)
            except sqlite3.Error:
                self._base = _opened(None)

    def get(self, photograph: str, what: int, stamp: str) -> bytes | None:
        """A picture; None if it was not made yet, or of something else.

        Parameters
        ----------
        photograph
            Id of the photograph.
        what
            Which of its pictures.
        stamp
            What the picture was made of.
        """
        asked = "SELECT picture FROM pictures WHERE photograph = ? AND what = ? AND stamp = ?"
        with self._lock, suppress(sqlite3.Error):
            found = self._base.execute(asked, (_text(photograph), what, stamp)).fetchone()
            return None if found is None else bytes(found[0])
        return None

    def put(self, photograph: str, pictures: Mapping[int, bytes], stamp: str) -> None:
        """Keep pictures of a photograph, all or none."""
        rows = [(_text(photograph), what, stamp, data) for what, data in pictures.items()]
        with self._lock, suppress(sqlite3.Error), self._base:
            self._base.executemany("REPLACE INTO pictures VALUES (?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Close the file."""
        with self._lock, closing(self._base):
            pass


def _opened(path: Path | None) -> sqlite3.Connection:
    """The database in a file, or in memory."""
    place = ":memory:" if path is None else str(path)
    base = sqlite3.connect(place, timeout=_PATIENCE, check_same_thread=False)
    try:
        base.execute("PRAGMA synchronous = NORMAL")
        if base.execute("PRAGMA user_version").fetchone()[0] != _LAYOUT:
            with base:
                base.execute("DROP TABLE IF EXISTS pictures")
                base.execute(_MAKE)
                base.execute(f"PRAGMA user_version = {_LAYOUT}")
        base.execute("SELECT count(*) FROM pictures WHERE photograph = ''").fetchone()
    except sqlite3.Error:
        base.close()
        raise
    return base


def _text(text: str) -> str:
    """An id as SQLite takes it: a file name may be invalid Unicode."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
