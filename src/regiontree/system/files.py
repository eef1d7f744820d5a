"""Write a file or folder whole or not at all, and compute the digest of a file."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock

from regiontree.system.paths import path_problem
from regiontree.system.temporary import held, temporary_file, temporary_folder

__all__ = ["atomic_folder", "atomic_named", "atomic_write", "locked", "read_whole", "sha256_of"]


def sha256_of(path: Path) -> str:
    """The SHA-256 digest of a file's bytes, in hexadecimal.

    Raises
    ------
    OSError
        The file cannot be read, or is no regular file. A named pipe would be waited for for ever.
    """
    _refuse_special(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_whole(path: Path) -> bytes:
    """The bytes of a file.

    Raises
    ------
    OSError, ValueError
        As ``Path.read_bytes``. A named pipe, a socket or a device is an OSError, too.
    """
    _refuse_special(path)
    return path.read_bytes()


def _refuse_special(path: Path) -> None:
    """Raise an OSError for a path that is neither a file nor a folder, but for example a pipe."""
    if os.path.exists(path) and not os.path.isdir(path) and (problem := path_problem(path)):
        raise OSError(errno.EINVAL, problem, str(path))


@contextmanager
def atomic_write(path: str | Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """A new binary file that gets its name only if the block ends without an error.

    Missing parent folders are made. A file of the same name stays until then and is then replaced.
    After an error, no temporary file remains. What a killed process leaves is removed by a later
    one: see :mod:`regiontree.system.temporary`.

    Parameters
    ----------
    path
        The file.
    replace
        Whether a file of the same name is replaced.

    Raises
    ------
    FileExistsError
        `replace` is False and a file has the name, which another process may have just written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path
    try:
        with temporary_file(path) as (file, temporary):
            yield file
            file.flush()
            os.fsync(file.fileno())
            file.close()  # Windows renames no open file
            if replace:
                temporary.replace(path)
            else:
                _name_first(temporary, path)
    except OSError as error:  # a full disk is told without a name, here or when the file is closed
        if error.filename is None or str(error.filename) == str(temporary):
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def atomic_named(path: Path) -> Iterator[Path]:
    """The name of a new file, for a library that writes by name; as :func:`atomic_write`.

    The file has the suffix of `path`. A library may make other files beside it. They are removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as workplace:
        new = workplace / f"new{path.suffix}"
        yield new
        with new.open("r+b") as file:
            os.fsync(file.fileno())
        new.replace(path)


def _name_first(temporary: Path, path: Path) -> None:
    """Give a file its name unless another file has it. The temporary name may stay beside it.

    Raises
    ------
    FileExistsError
        Another file has the name.
    """
    try:
        os.link(temporary, path)  # unlike a renaming, it never replaces a file
    except FileExistsError:
        raise
    except (OSError, NotImplementedError):  # the file system has no links: USB sticks, for example
        with locked(path.parent):
            if os.path.lexists(path):
                raise FileExistsError(f"{path}: exists") from None
            temporary.replace(path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes that lock the same folder waiting during the block.

    No file remains, and the lock ends with the process, however it ends. Some network drives have
    no locks. The block then runs without one.
    """
    if os.name != "posix":
        with FileLock(folder / ".regiontree.lock"):  # Windows removes it when it is released
            yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with held(handle):
            yield
    finally:
        os.close(handle)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A new folder that gets its name only if the block ends without an error.

    Missing parent folders are made. A folder of the same name stays until then and is then removed.
    If several processes write the same folder, the last one's stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(path) as workplace:
        new, old = workplace / "new", workplace / "old"
        new.mkdir()
        yield new
        with locked(path.parent):
            try:
                if path.exists():
                    path.rename(old)
                new.rename(path)
            except BaseException:
                if old.exists() and not path.exists():
                    old.rename(path)
                raise
