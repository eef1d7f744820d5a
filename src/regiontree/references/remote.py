"""Files in other places than this machine: object stores and web servers, by fsspec.

fsspec is imported when the first URL is read. It comes with the extra ``store``, and what S3 needs
with the extra ``s3``.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from regiontree.errors import MissingExtraError, SourceError
from regiontree.references.addresses import scheme_of
from regiontree.references.faults import patiently, said

__all__ = [
    "MOST_BYTES",
    "SCHEMES",
    "NoRangesError",
    "files_in",
    "glob_regex",
    "read_part",
    "size_of",
]

SCHEMES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "http", "https", "memory")
"""Kinds of URLs that are read, beside ``file``. A list of a stranger may name other kinds."""
MOST_BYTES = 4 * 2**30
"""Files with more bytes are not read as a whole."""
_STORE = "'regiontree[store]'"
_EXTRAS = {"s3": "'regiontree[s3]'", "s3a": "'regiontree[s3]'", "gs": "gcsfs", "gcs": "gcsfs",
           "az": "adlfs", "abfs": "adlfs", "abfss": "adlfs"}  # fmt: skip
_DEEPEST = 64  # levels of folders: pages of a web server may link to themselves for ever
_PIECE = 2**20
_PAGE = 1000  # names that S3 lists at once, the most it does


class NoRangesError(SourceError):
    """A web server gives only whole files."""


@dataclass(frozen=True, slots=True)
class _Place:
    """An address, opened: its file system, and its path there."""

    address: str
    system: Any
    path: str

    @property
    def is_http(self) -> bool:
        return scheme_of(self.address) in ("http", "https")


def _open(address: str) -> _Place:
    scheme = scheme_of(address)
    if scheme not in SCHEMES:
        known = ", ".join(f"{known}://" for known in ("file", *SCHEMES))
        raise SourceError(said(address, f"is of an unknown kind; known are {known}"))
    package = _EXTRAS.get(scheme, _STORE)
    try:
        import fsspec
    except ImportError as error:
        needed = package if "regiontree" in package else f"{_STORE} {package}"
        raise MissingExtraError(
            f"{scheme}:// addresses need fsspec: pip install {needed}"
        ) from error
    try:
        kind = fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        raise MissingExtraError(
            f"{scheme}:// addresses need a package: pip install {package} ({error})"
        ) from error
    return patiently(partial(_place, kind, address), address)


def _place(kind: Any, address: str) -> _Place:
    system = kind(use_listings_cache=False, **kind._get_kwargs_from_urls(address))
    return _Place(address, system, str(kind._strip_protocol(address)))


# -- reading --------------------------------------------------------------------------------------


def read_part(address: str, start: int | None = None, length: int = MOST_BYTES) -> bytes:
    """`length` bytes of a file from byte `start`, fewer at its end. Without `start`: all bytes.

    Raises
    ------
    NoRangesError
        A part was asked for, and the server sends only whole files.
    SourceError
        The file cannot be read, or is larger than :data:`MOST_BYTES`.
    MissingExtraError
        A package is missing.
    """
    place = _open(address)
    if place.is_http:
        return patiently(partial(_http_part, place, start, length), address)[0]
    return patiently(partial(_object_part, place, start, length), address)


def size_of(address: str) -> int:
    """Number of bytes of a file.

    Raises
    ------
    NoRangesError, SourceError, MissingExtraError
        As for :func:`read_part`.
    """
    place = _open(address)
    if place.is_http:
        return patiently(partial(_http_part, place, 0, 1), address)[1]
    return patiently(partial(_object_size, place), address)


def _object_size(place: _Place) -> int:
    info = place.system.info(place.path)
    if info["type"] == "directory":
        raise SourceError(said(place.address, "is a folder, not a file"))
    return int(info["size"])


def _object_part(place: _Place, start: int | None, length: int) -> bytes:
    if start is None:
        start, length = 0, _object_size(place)
        _check_size(place.address, length)
    if length == 0:
        return b""
    data: bytes = place.system.cat_file(place.path, start=start, end=start + length)
    return data


def _check_size(address: str, size: int) -> None:
    if size > MOST_BYTES:
        raise SourceError(said(address, f"has more than {MOST_BYTES:,} bytes; download it"))


def _http_part(place: _Place, start: int | None, length: int) -> tuple[bytes, int]:
    """Bytes, and the size of the whole file."""
    from fsspec.asyn import sync

    part: tuple[bytes, int] = sync(place.system.loop, _http_get, place, start, length)
    return part


async def _http_get(place: _Place, start: int | None, length: int) -> tuple[bytes, int]:
    """One request. fsspec's own reads an answer of any size, and takes a whole file for a part."""
    import aiohttp

    system = place.system
    options = dict(system.kwargs)
    headers = {**options.pop("headers", {}), "Accept-Encoding": "identity"}
    if start is not None:
        headers["Range"] = f"bytes={start}-{start + length - 1}"
    options.setdefault("timeout", aiohttp.ClientTimeout(total=300, sock_connect=30, sock_read=60))
    session = await system.set_session()
    url = system.encode_url(place.address)
    async with session.get(url, headers=headers, **options) as answer:
        if start is not None and answer.status == 416:  # nothing from there on
            return b"", _total(answer)
        answer.raise_for_status()
        whole = answer.content_length
        is_whole = start == 0 and whole is not None and whole <= length
        if not (start is None or answer.status == 206 or is_whole):
            raise NoRangesError(said(place.address, "the server sends no parts of files"))
        _check_size(place.address, whole or 0)
        data = bytearray()
        async for piece in answer.content.iter_chunked(_PIECE):
            data += piece
            _check_size(place.address, len(data))
        total = len(data) if answer.status != 206 else _total(answer)
        return bytes(data), total


def _total(answer: Any) -> int:
    """The size of the whole file, by the header of an answer that holds a part."""
    found = re.search(r"/(\d{1,18})\s*$", answer.headers.get("Content-Range", ""))
    if found is None:
        raise NoRangesError(said(str(answer.url), "the server does not say how long the file is"))
    return int(found[1])


# -- listing --------------------------------------------------------------------------------------


def files_in(folder: str) -> Iterator[str]:
    """Path below a folder of each file in it, to any depth, hidden ones left out.

    S3 lists by pages of 1,000 in the order of the names' bytes, so the memory is that of a page.
    Other places list a folder at a time: its files by name, then its folders by name.

    Raises
    ------
    SourceError
        The folder cannot be listed, at once or on the way.
    """
    place = _open(folder)
    listed = _s3_keys(place) if hasattr(place.system, "call_s3") else _walk(place)
    for below in listed:
        if not any(name.startswith(".") for name in below.split("/")):
            yield below


def _s3_keys(place: _Place) -> Iterator[str]:
    bucket, _, key = place.path.partition("/")
    prefix = f"{key.rstrip('/')}/" if key else ""
    options: dict[str, Any] = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": _PAGE}
    while True:
        call = partial(place.system.call_s3, "list_objects_v2", **options)
        page = patiently(call, place.address)
        for entry in page.get("Contents", []):
            below = entry["Key"][len(prefix) :]
            if below and not below.endswith("/"):  # consoles mark folders by empty objects
                yield below
        if not page.get("IsTruncated"):
            return
        options["ContinuationToken"] = page["NextContinuationToken"]


def _walk(place: _Place) -> Iterator[str]:
    top = place.path.rstrip("/")
    pending = [(top, "", 0)]
    while pending:
        folder, below, depth = pending.pop()
        if depth > _DEEPEST:
            raise SourceError(said(place.address, f"has folders more than {_DEEPEST} deep"))
        where = f"{folder}/" if place.is_http else folder
        entries = patiently(partial(place.system.ls, where, detail=True), place.address)
        kinds: dict[str, bool] = {}
        for entry in entries:
            name = posixpath.basename(entry["name"].rstrip("/"))
            direct = entry["name"].rstrip("/").rpartition("/")[0] == folder
            if name and direct and not (place.is_http and ("?" in name or "#" in name)):
                kinds[name] = entry["type"] == "directory"
        files = sorted(name for name, is_folder in kinds.items() if not is_folder)
        yield from (below + name for name in files)
        folders = sorted((name for name, is_folder in kinds.items() if is_folder), reverse=True)
        pending += [(f"{folder}/{name}", f"{below}{name}/", depth + 1) for name in folders]


def glob_regex(pattern: str) -> re.Pattern[str]:
    """What matches paths as a pattern does: ``*`` within a name, ``**`` over any folders.

    >>> bool(glob_regex("*/a?.jpg").fullmatch("b/a1.jpg")), bool(glob_regex("*").fullmatch("a/b"))
    (True, False)
    """
    try:
        from fsspec.utils import glob_translate
    except ImportError as error:
        raise MissingExtraError(
            "patterns of URLs need fsspec: pip install 'regiontree[store]'"
        ) from error
    return re.compile(glob_translate(pattern))
