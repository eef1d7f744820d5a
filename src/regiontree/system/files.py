"""Write a file or folder whole or not at all, and compute the digest of a file."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from regiontree.system.temporary import temporary_file, temporary_folder

__all__ = ["atomic_folder", "atomic_write", "sha256_of"]


def sha256_of(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def atomic_write(path: str | Path) -> Iterator[IO[bytes]]:
    """A new binary file that gets its name only if the block ends without an error.

    Missing parent folders are made. A file of the same name stays until then and is then replaced.
    After an error, no temporary file remains.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path) as (file, temporary):
        yield file
        file.flush()
        os.fsync(file.fileno())
        file.close()  # Windows renames no open file
        temporary.replace(path)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder that gets its name only if the block ends without an error.

    Missing parent folders are made. A folder of the same name stays until then and is then removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as workplace:
        new, old = workplace / "new", workplace / "old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                path.rename(old)
            new.rename(path)
        except BaseException:
            if old.exists() and not path.exists():
                old.rename(path)
            raise
