"""A file as a stream of bytes that can be read from any place, wherever the file lies."""

from __future__ import annotations

import io
from typing import BinaryIO, cast

from regiontree.errors import SourceError
from regiontree.references.addresses import local_path, scheme_of
from regiontree.references.faults import said
from regiontree.references.remote import NoRangesError, read_part, size_of
from regiontree.system.paths import path_problem, reason

__all__ = ["open_stream"]

_BLOCK = 8 * 2**20  # bytes that one request fetches at least


def open_stream(address: str, *, whole: bool = False) -> BinaryIO:
    """A stream of a file's bytes. It seeks, and a read gives fewer bytes only at the file's end.

    Of a file elsewhere it holds one block of 8 MiB. After faults that pass it tries again.

    Parameters
    ----------
    address
        Path or URL.
    whole
        Whether a file of a server that sends only whole files is fetched and held in memory.

    Raises
    ------
    SourceError
        The file cannot be opened. Reading raises it, too.
    """
    if not scheme_of(address):
        return _open_local(address)
    try:
        return cast(BinaryIO, _Remote(address))
    except NoRangesError as error:
        if whole:
            return io.BytesIO(read_part(address))
        raise SourceError(f"{error}; download the file") from error


def _open_local(address: str) -> BinaryIO:
    path = local_path(address)
    problem = path_problem(path, "file")
    if problem is not None:
        raise SourceError(said(address, problem))
    try:
        return cast(BinaryIO, open(path, "rb", buffering=0))
    except OSError as error:
        raise SourceError(said(address, f"cannot be read ({reason(error)})")) from error


class _Remote(io.RawIOBase):
    """A file elsewhere, fetched block by block."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self._size = size_of(address)
        self._at = 0
        self._block, self._start = b"", 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._size - self._at)
        if wanted <= 0:
            return 0
        inside = self._at - self._start
        if not 0 <= inside <= inside + wanted <= len(self._block):
            self._fetch(wanted)
            inside = 0
        data = self._block[inside : inside + wanted]
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def _fetch(self, wanted: int) -> None:
        length = min(max(wanted, _BLOCK), self._size - self._at)
        self._block, self._start = read_part(self._address, self._at, length), self._at
        if len(self._block) < wanted:
            raise SourceError(said(self._address, "became shorter while it was read; try again"))
