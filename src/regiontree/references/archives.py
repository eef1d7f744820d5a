"""Members of tar archives, and where in the archive their bytes lie.

The bytes stay in the archive and are read from there, so archives must not be compressed. Nothing
is written to disk, so names of members may be anything.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from regiontree.errors import SourceError

__all__ = ["COMPRESSED", "Member", "members_of"]

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".tzst")
"""Endings of compressed archives."""
_BLOCK = 512
_LONGEST_NAME = 2**20
_LONG_NAME, _LONG_LINK, _PAX, _PAX_ALL = b"L", b"K", b"x", b"g"  # these describe what follows
_FILES = (b"0", b"\0", b"7")
_WITHOUT_DATA = (b"1", b"2", b"3", b"4", b"5", b"6")  # links, devices, folders, pipes


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive.

    Attributes
    ----------
    name : str
        Its path in the archive. Bytes that are not UTF-8 are surrogates, as in names of files.
    offset, length : int
        Where its bytes lie, in bytes.
    """

    name: str
    offset: int
    length: int


@dataclass(slots=True)
class _Told:
    """What a header tells of the next file: its name and size if they do not fit into its own."""

    name: str | None = None
    size: int | None = None
    is_sparse: bool = False


def members_of(stream: BinaryIO) -> Iterator[Member]:
    """Each regular file of an archive, in its order. The memory is that of one header.

    Parameters
    ----------
    stream
        The archive. It must seek.

    Raises
    ------
    SourceError
        The archive is none, is damaged, or was cut short. All members before that place come first.
        A member whose bytes are cut does not. The message has no name of the archive.
    """
    size = stream.seek(0, 2)
    at, told = 0, _Told()
    while (header := _header(stream, at, size)) is not None:
        start = at + _BLOCK
        kind = header.type
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _PAX_ALL):
            length = header.size
            data = _description(stream, start, length, size)
            if kind == _LONG_NAME:
                told.name = _name(data.partition(b"\0")[0])
            elif kind == _PAX:
                _take_pax(data, told)
        elif kind in _WITHOUT_DATA:
            length, told = 0, _Told()
        else:
            length = header.size if told.size is None else told.size
            name = told.name or header.name
            if start + length > size:
                raise SourceError(f"is cut short in {_shown(name)}, at byte {size:,}; {_COPY}")
            if kind in _FILES and not told.is_sparse:
                yield Member(name, start, length)
            elif kind == b"S":
                raise SourceError(f"holds a sparse file, {_shown(name)}; what follows is not read")
            told = _Told()
        at = start + -(-length // _BLOCK) * _BLOCK


_COPY = "the members before it are read; copy the archive again"


def _header(stream: BinaryIO, at: int, size: int) -> tarfile.TarInfo | None:
    """The header at a place; None at the mark that ends an archive."""
    stream.seek(at)
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:
        if size == 0:
            raise SourceError("is empty")
        raise SourceError(f"is cut short: it ends at byte {size:,} without an end mark; {_COPY}")
    if not block.strip(b"\0"):
        return None
    try:
        header = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if at == 0:
            raise SourceError("is not a tar archive") from error
        raise SourceError(f"is damaged at byte {at:,}; {_COPY}") from error
    if header.size < 0:
        raise SourceError(f"is damaged at byte {at:,}; {_COPY}")
    return header


def _description(stream: BinaryIO, start: int, length: int, size: int) -> bytes:
    """The data of a header that describes the next one."""
    if length > _LONGEST_NAME:
        raise SourceError(f"has a header of {length:,} bytes at byte {start:,}; {_COPY}")
    stream.seek(start)
    data = stream.read(length)
    if len(data) < length:
        raise SourceError(f"is cut short: it ends at byte {size:,} without an end mark; {_COPY}")
    return data


def _take_pax(data: bytes, told: _Told) -> None:
    """Take name and size from records ``LENGTH KEY=VALUE\\n``; what is none is passed over."""
    while data:
        number = data.partition(b" ")[0]
        if not (number.isdigit() and len(number) < 9 and len(number) < int(number) <= len(data)):
            return
        key, _, value = data[len(number) + 1 : int(number) - 1].partition(b"=")
        if key == b"path":
            told.name = _name(value)
        elif key == b"size" and value.isdigit() and len(value) < 19:
            told.size = int(value)
        elif key.startswith(b"GNU.sparse"):
            told.is_sparse = True
        data = data[int(number) :]


def _name(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _shown(name: str) -> str:
    text = name.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 80 else f"{text[:77]}..."
