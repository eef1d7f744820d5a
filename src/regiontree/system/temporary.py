"""Temporary files and folders of which nothing is left, even if their writer is killed.

A process that is killed cannot tidy up. So the next process that writes into the same folder does
it. A temporary name says that regiontree made it. Its writer holds a lock on it, which the system
releases when the writer ends in any way. A leftover is a temporary name that nobody holds and that
has not changed for :data:`IDLE` seconds; the second condition is for network drives whose locks do
not reach other machines.

Windows has no such locks, so leftovers stay there.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO

if sys.platform != "win32":
    import fcntl

__all__ = [
    "IDLE",
    "TARGET",
    "held",
    "remove_leftovers",
    "temporary_file",
    "temporary_folder",
    "temporary_name",
]

IDLE = 900.0
"""Seconds without a change after which a temporary name that nobody holds is removed."""
TARGET = "target"
"""File in a temporary folder that names the folder it will replace."""
_NAME = re.compile(r"\..{0,40}\.[0-9a-f]{16}\.tmp", re.DOTALL)


@contextmanager
def temporary_file(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new binary file beside `path`, and its temporary name. The caller renames it.

    The file is removed at the end unless it was renamed. The caller may close it before.
    """
    remove_leftovers(path.parent)
    while True:
        temporary = temporary_name(path)
        # The name is known before the file exists, so the file is removed after any interruption.
        try:
            with temporary.open("xb") as file, held(file.fileno()):
                if os.fstat(file.fileno()).st_nlink == 0:
                    continue  # another process took it for a leftover before it was held
                yield file, temporary
                return
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path`. It is removed at the end with all that is in it."""
    remove_leftovers(path.parent)
    temporary = temporary_name(path)
    try:
        temporary.mkdir()
        descriptor = None if sys.platform == "win32" else os.open(temporary, os.O_RDONLY)
        try:
            with held(descriptor):
                (temporary / TARGET).write_text(path.name, encoding="utf-8")
                yield temporary
        finally:
            if descriptor is not None:
                os.close(descriptor)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def temporary_name(path: Path) -> Path:
    """A new hidden name beside `path`, by which a leftover is known."""
    # 40 characters are at most 160 bytes, so the temporary name is short enough for a file system.
    return path.parent / f".{path.name[:40]}.{secrets.token_hex(8)}.tmp"


@contextmanager
def held(descriptor: int | None) -> Iterator[None]:
    """Hold the system's lock on an open file or folder, also when it is closed within the block.

    The lock ends with the process, however it ends. Windows has no such lock, nor have some network
    drives. The block then runs without one.
    """
    if sys.platform == "win32" or descriptor is None:
        yield
        return
    again = os.dup(descriptor)
    try:
        with suppress(OSError):  # some network drives have no locks; nothing is removed there
            fcntl.flock(again, fcntl.LOCK_EX)
        yield
    finally:
        os.close(again)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder: once in each process.

    A folder that was about to be replaced gets its name back.
    """
    _remove_once(os.path.abspath(folder))


@lru_cache(maxsize=4096)
def _remove_once(folder: str) -> None:
    if sys.platform == "win32":
        return
    try:
        entries = [entry for entry in os.scandir(folder) if _NAME.fullmatch(entry.name)]
    except OSError:
        return  # whoever writes into the folder says what is wrong with it
    for entry in entries:
        with suppress(OSError):
            if time.time() - entry.stat(follow_symlinks=False).st_mtime > IDLE:
                _remove_if_free(Path(entry.path))


def _remove_if_free(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not path.is_dir():
            path.unlink()
            return
        replaced = path / "old"
        if replaced.is_dir():  # it was killed between two renames
            target = path.parent / (path / TARGET).read_text(encoding="utf-8")
            if target.parent == path.parent and not target.exists():
                replaced.rename(target)
        shutil.rmtree(path)
    finally:
        os.close(descriptor)
