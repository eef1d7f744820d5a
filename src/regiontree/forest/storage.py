"""The folder of a store: on this machine, or at an address of an object store.

Both kinds write a file whole or not at all. On this machine a file gets its name when it is
complete. An object store shows an object only when all of it has arrived.
"""

from __future__ import annotations

import errno
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, TypeVar

from regiontree.errors import SourceError, StoreError
from regiontree.forest.arrow import fsspec
from regiontree.references.addresses import clean, local_path, scheme_of, without_login
from regiontree.references.faults import patiently
from regiontree.system.files import atomic_write
from regiontree.system.paths import reason

_T = TypeVar("_T")

__all__ = ["Folder", "LocalFolder", "RemoteFolder", "folder_at"]


class Folder(ABC):
    """A folder of files. Names are relative to it and use ``/``.

    Attributes
    ----------
    address : str
        Its path or URL.
    """

    address: str

    @abstractmethod
    def files(self, below: str = "") -> dict[str, int]:
        """Names and sizes in bytes of the files that lie directly in a folder below this one.

        Names are relative to this folder. Hidden files are left out. A folder that does not exist
        has no files.

        Raises
        ------
        StoreError
            The folder cannot be listed.
        """

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file to read from any place. Raises an OSError."""

    @abstractmethod
    def writing(self, name: str) -> Any:
        """A context: a binary file that appears under `name` if the block ends without an error.

        Raises
        ------
        StoreError
            The file cannot be written.
        """

    @abstractmethod
    def create(self, name: str, data: bytes) -> bool:
        """Write a small file unless one has the name. Whether it was written."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file. One that does not exist is no error."""

    @abstractmethod
    def move(self, name: str, new: str) -> None:
        """Give a file another name."""

    def read(self, name: str) -> bytes | None:
        """The bytes of a small file; None if it does not exist.

        Raises
        ------
        StoreError
            It cannot be read.
        """
        try:
            with self.open(name) as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # so there is no such file
                return None
            raise StoreError(f"{self.named(name)}: cannot be read ({reason(error)})") from error

    def write(self, name: str, data: bytes) -> None:
        """Write a small file, in place of one of that name."""
        with self.writing(name) as file:
            file.write(data)

    def named(self, name: str) -> str:
        """The path or URL of a file, for messages."""
        return f"{self.address.rstrip('/')}/{name}"

    def _cannot_write(self, name: str, error: OSError) -> StoreError:
        return StoreError(f"{self.named(name)}: cannot be written ({reason(error)})")


class LocalFolder(Folder):
    """A folder on this machine."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.address = str(path)

    def files(self, below: str = "") -> dict[str, int]:
        try:
            with os.scandir(self.path / below) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be listed ({reason(error)})") from error
        prefix, found = f"{below}/" if below else "", {}
        for entry in shown:
            with suppress(FileNotFoundError):  # removed since it was listed
                if entry.is_file():
                    found[prefix + entry.name] = entry.stat().st_size
        return found

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        try:
            with atomic_write(self.path / name) as file:
                yield file
        except OSError as error:
            raise self._cannot_write(name, error) from error

    def create(self, name: str, data: bytes) -> bool:
        try:
            with atomic_write(self.path / name, replace=False) as file:
                file.write(data)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._cannot_write(name, error) from error
        return True

    def remove(self, name: str) -> None:
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self.named(name)}: cannot be removed ({reason(error)})") from error

    def move(self, name: str, new: str) -> None:
        try:
            (self.path / new).parent.mkdir(parents=True, exist_ok=True)
            (self.path / name).replace(self.path / new)
        except OSError as error:
            raise StoreError(f"{self.named(name)}: cannot be moved ({reason(error)})") from error


class RemoteFolder(Folder):
    """A folder at an address that fsspec knows: ``s3://``, ``gs://``, ``memory://`` and others."""

    def __init__(self, address: str) -> None:
        try:
            self._system, self._path = fsspec().core.url_to_fs(address, use_listings_cache=False)
        except ImportError as error:
            raise StoreError(f"{without_login(address)}: {error}") from error
        except ValueError as error:
            raise StoreError(f"{without_login(address)}: no address of a folder") from error
        self._path = self._path.rstrip("/")
        self.address = address.rstrip("/")

    def files(self, below: str = "") -> dict[str, int]:
        place = self._at(below) if below else self._path
        try:
            entries = self._done(lambda: self._system.ls(place, detail=True), below, "listed")
        except FileNotFoundError:
            return {}
        prefix = f"{below}/" if below else ""
        names = {entry["name"].rstrip("/").rpartition("/")[2]: entry for entry in entries}
        return {
            prefix + name: int(entry["size"] or 0)
            for name, entry in names.items()
            if entry["type"] == "file" and name and not name.startswith(".")
        }

    def open(self, name: str) -> IO[bytes]:
        file: IO[bytes] = self._done(lambda: self._system.open(self._at(name), "rb"), name, "read")
        return file

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        # The whole file is made here first, since some systems keep half of an object.
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder, "file")
            with local.open("wb") as file:
                yield file
            self._change(lambda: self._system.put_file(str(local), self._at(name)), name, "written")

    def create(self, name: str, data: bytes) -> bool:
        def create() -> None:
            self._system.pipe_file(self._at(name), data, mode="create")

        try:
            self._change(create, name, "written")
        except FileExistsError:
            return False
        return True

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._done(lambda: self._system.rm_file(self._at(name)), name, "removed")

    def move(self, name: str, new: str) -> None:
        self._change(lambda: self._system.mv(self._at(name), self._at(new)), name, "moved")

    def _change(self, work: Callable[[], Any], name: str, what: str) -> None:
        try:
            self._done(work, name, what)
        except FileNotFoundError as error:  # the bucket, for example
            said = f"cannot be {what} ({reason(error)})"
            raise StoreError(f"{without_login(self.named(name))}: {said}") from error

    def _done(self, work: Callable[[], _T], name: str, what: str) -> _T:
        """The result of some work. Faults of the network that pass are tried again."""
        try:
            return patiently(work, self.named(name))
        except SourceError as error:
            if isinstance(error.__cause__, FileNotFoundError | FileExistsError):
                raise error.__cause__ from None
            said = str(error).replace(": cannot be read", f": cannot be {what}")
            raise StoreError(said) from error

    def _at(self, name: str) -> str:
        return f"{self._path}/{name}"


def folder_at(address: str | Path) -> Folder:
    """The folder at a path or URL; it need not exist.

    Raises
    ------
    MissingExtraError
        The address needs fsspec, which is not installed.
    StoreError
        No file system has such addresses, or one needs a package that is not installed.
    """
    text = clean(address)
    return RemoteFolder(text) if scheme_of(text) else LocalFolder(local_path(text))
