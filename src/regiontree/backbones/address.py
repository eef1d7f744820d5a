"""A file from an https address, resumed after a cut and named only when it is whole.

What has come so far lies beside the file as ``NAME.part``, with the server's ETag in
``NAME.part.etag``. After a cut the download resumes there if the server still has the same file
(``Range`` and ``If-Range``: RFC 9110, sections 14.2 and 13.1.5).

A file is whole if its length is the one that the server says, or if the server ends a chunked
answer as RFC 9112, section 7.1, asks. A server that says neither is trusted only with a digest.
A web page, a compressed copy and an empty file are refused, whatever their length.
``NAME.lock`` makes a second process wait for the first, which then has nothing left to download.
"""

from __future__ import annotations

import http.client
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from filelock import FileLock

from regiontree._version import __version__
from regiontree.errors import BackboneError
from regiontree.system.files import sha256_of
from regiontree.system.progress import progress_bar

__all__ = ["UnreachableError", "fetch_file"]

_TIMEOUT = 30.0  # seconds without an answer
_LEAST = 1000  # bytes that must come in that time
_BLOCK = 1 << 20  # bytes that are read at once
# What a server answers that may do better later.
_LATER = (408, 425, 429, 500, 502, 503, 504)


class UnreachableError(BackboneError):
    """The other side does not answer, or the user has asked for no network."""


def fetch_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    plain_http: bool = False,
) -> None:
    """Download a file, unless `target` exists.

    Parameters
    ----------
    url
        An https address.
    target
        Where the file is kept. Its folder is made.
    sha256
        The digest that the file must have. None: any file is taken.
    progress
        Show a bar, if standard error is a terminal.
    plain_http
        Also allow http from 127.0.0.1, as tests need it.

    Raises
    ------
    UnreachableError
        The server does not answer, asks to come back later or sends less than a kilobyte in half a
        minute, or the connection is cut again and again; or the environment variable HF_HUB_OFFLINE
        is set.
    BackboneError
        The address is not https, the server has no such file or another one than expected, sends a
        web page instead, the file cannot be told whole, or the disk is full.
    """
    _check_address(url, plain_http)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UnreachableError(f"{url} cannot be downloaded: HF_HUB_OFFLINE is set")
    opener = urllib.request.build_opener(_SafeRedirects(plain_http))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(_beside(target, ".lock")):
            if not target.is_file():  # else another process downloaded it while this one waited
                _fetch(opener, url, target, sha256, progress)
    except urllib.error.HTTPError as error:
        said = f"{url}: the server says {error.code} {error.reason}"
        if error.code not in _LATER:
            raise BackboneError(said) from None
        when = error.headers.get("Retry-After", "")
        wait = f"in {when} seconds" if when.isdigit() else "later"
        raise UnreachableError(f"{said}; run the same command again {wait}") from None
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as why:
        reason = getattr(why, "reason", why)
        raise UnreachableError(f"{url} cannot be downloaded: {reason}") from None
    except ValueError as error:  # of a redirect, say: a port that is no number, a host too long
        raise BackboneError(f"{url} leads to an address that cannot be used: {error}") from None
    except NotImplementedError:
        raise BackboneError(
            f"{target.parent}: this disk has no file locks; set REGIONTREE_CACHE to a folder on "
            "another disk"
        ) from None
    except OSError as error:
        raise BackboneError(
            f"{url} cannot be kept as {target}: {error.strerror}; make room, or set "
            "REGIONTREE_CACHE to another folder"
        ) from None


@dataclass(frozen=True, slots=True)
class _Received:
    """What one request has added to the part.

    Attributes
    ----------
    ended : bool
        The answer came to its own end, as far as the server says where that is.
    is_told : bool
        The server says where the end is.
    """

    ended: bool
    is_told: bool


def _fetch(
    opener: urllib.request.OpenerDirector,
    url: str,
    target: Path,
    sha256: str | None,
    progress: bool,
) -> None:
    """Ask for the rest of the file until it is whole. The caller holds the lock."""
    part, tag = _beside(target, ".part"), _beside(target, ".part.etag")
    before = -1
    while not (received := _fetch_some(opener, url, part, tag, progress)).ended:
        if part.stat().st_size <= before:
            raise UnreachableError(
                f"{url} was cut off after {before} bytes; run the same command again to resume"
            )
        before = part.stat().st_size
    tag.unlink(missing_ok=True)
    found = sha256_of(part)
    if sha256 not in (None, found):
        part.unlink()
        raise BackboneError(
            f"{url} has sha256 {found}, expected {sha256}: the file is another one or not all of "
            "it came; it is not kept"
        )
    if sha256 is None and not received.is_told:
        part.unlink()
        raise BackboneError(
            f"{url}: the server does not say how long the file is, so nobody can tell whether all "
            "of it came; download it yourself and give its path as the backbone"
        )
    if not part.stat().st_size:
        part.unlink()
        raise BackboneError(f"{url} is an empty file; check the address")
    with part.open("rb+") as file:
        os.fsync(file.fileno())  # the name must not reach the disk before the bytes
    part.replace(target)


def _fetch_some(
    opener: urllib.request.OpenerDirector, url: str, part: Path, tag: Path, progress: bool
) -> _Received:
    """Add to `part` what one request brings."""
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": f"regiontree/{__version__}"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    try:
        response = opener.open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()  # the part is as long as the file or longer: start again
        return _fetch_some(opener, url, part, tag, progress)
    with response:
        piece = _Piece.of(response) if response.status == 206 else None
        if piece is not None and (piece.first != have or not _is_same(response, tag)):
            if not have:
                raise BackboneError(
                    f"{url}: the server sends the file from byte {piece.first} on only"
                )
            part.unlink()  # another piece than the one asked for, or of another file: start again
            return _fetch_some(opener, url, part, tag, progress)
        _check_kind(response, url)
        if piece is None:
            have = 0
            tag.unlink(missing_ok=True)
        is_chunked = response.headers.get("Transfer-Encoding", "").lower() == "chunked"
        length = None if is_chunked else _number(response.headers.get("Content-Length"))
        total = None if length is None else have + length
        if piece is not None:  # which may end before the file does
            total = piece.total
        with part.open("ab" if have else "wb") as file:
            etag = response.headers.get("ETag", "")
            if piece is None and etag.startswith('"'):  # W/"..." is not exact
                tag.write_text(etag)  # now that the part holds nothing of another file
            ended = _pour(response, file, have, total, url, progress)
    if total is not None:
        return _Received(part.stat().st_size == total, True)
    return _Received(ended, is_chunked and piece is None)


def _pour(
    response: Any, file: IO[bytes], have: int, total: int | None, url: str, progress: bool
) -> bool:
    """Copy the answer behind a bar of megabytes; whether it ended without an error.

    Raises
    ------
    UnreachableError
        Hardly anything comes, so the file would take days.
    """
    what = f"{url.rpartition('/')[2]} (MB)"
    since, then = time.monotonic(), have
    with progress_bar(what, (total or 0) // 10**6, show=progress) as bar:
        while total is None or have < total:
            most = _BLOCK if total is None else min(_BLOCK, total - have)
            try:
                block = response.read1(most)
            except (OSError, http.client.HTTPException):  # of the network; the disk's own go on
                return False
            if not block:
                break
            file.write(block)
            have += len(block)
            bar.reach(have // 10**6)
            if time.monotonic() - since > _TIMEOUT:
                if have - then < _LEAST:
                    raise UnreachableError(
                        f"{url}: only {have - then} bytes came in {_TIMEOUT:.0f} seconds; run the "
                        "same command again to resume"
                    )
                since, then = time.monotonic(), have
    return True


@dataclass(frozen=True, slots=True)
class _Piece:
    """Where in the file a 206 answer lies: its header Content-Range.

    Attributes
    ----------
    first : int or None
        Number of its first byte. None if the server does not say.
    total : int or None
        Length of the whole file. None if the server does not say.
    """

    first: int | None
    total: int | None

    @classmethod
    def of(cls, response: Any) -> _Piece:
        said = response.headers.get("Content-Range", "")
        found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", said)
        return cls(int(found[1]), _number(found[2])) if found else cls(None, None)


def _is_same(response: Any, tag: Path) -> bool:
    """Whether an answer says nothing against the tag of what has come so far."""
    etag = response.headers.get("ETag")
    return etag is None or not tag.is_file() or etag == tag.read_text()


def _check_kind(response: Any, url: str) -> None:
    """Raise a BackboneError if the server says that this is not the file itself."""
    coding = response.headers.get("Content-Encoding", "identity").lower()
    if coding != "identity":
        raise BackboneError(
            f"{url}: the server sends the file compressed ({coding}) without being asked; download "
            "it yourself and give its path as the backbone"
        )
    kind = response.headers.get_content_type() if "Content-Type" in response.headers else ""
    if kind in ("text/html", "application/xhtml+xml"):
        raise BackboneError(
            f"{url}: the server sends a web page, not weights; open the address in a browser: it "
            "may ask for a login"
        )


def _number(text: str | None) -> int | None:
    """A whole number of a header, None if it is missing or is none."""
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,18}", text) else None


def _beside(target: Path, ending: str) -> Path:
    return target.with_name(target.name + ending)


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows a redirect only to an address that the file itself could be fetched from."""

    def __init__(self, plain_http: bool) -> None:
        self._plain_http = plain_http

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _check_address(newurl, self._plain_http)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str, plain_http: bool) -> None:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError as error:
        raise BackboneError(f"{url} is not an address: {error}") from None
    if parts.scheme != "https" and not (plain_http and parts.hostname == "127.0.0.1"):
        raise BackboneError(f"{url} is not fetched: only https addresses are")
