"""A file from an https address, resumed after a cut and named only when it is whole.

What has come so far lies beside the file as ``NAME.part``, with the server's ETag in
``NAME.part.etag``. After a cut the download resumes there if the server still has the same file
(``Range`` and ``If-Range``: RFC 9110, sections 14.2 and 13.1.5).

A file is whole if its length is the one that the server says, or if the server ends a chunked
answer as RFC 9112, section 7.1, asks. A server that says neither is trusted only with a digest.
``NAME.lock`` makes a second process wait for the first, which then has nothing left to download.
"""

from __future__ import annotations

import http.client
import os
import re
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
        The server does not answer or the connection is cut again and again; or the environment
        variable HF_HUB_OFFLINE is set.
    BackboneError
        The address is not https, the server has no such file or another one than expected, the
        file cannot be told whole, or the disk is full.
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
        raise BackboneError(f"{url}: the server says {error.code} {error.reason}") from None
    except (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException) as why:
        reason = getattr(why, "reason", why)
        raise UnreachableError(f"{url} cannot be downloaded: {reason}") from None
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
        if response.status == 206 and (first := _first_byte(response)) != have:
            if not have:
                raise BackboneError(f"{url}: the server sends the file from byte {first} on only")
            part.unlink()  # the server sends another piece than the one asked for: start again
            return _fetch_some(opener, url, part, tag, progress)
        if response.status != 206:
            have = 0
            tag.unlink(missing_ok=True)
            if (etag := response.headers.get("ETag", "")).startswith('"'):  # W/"..." is not exact
                tag.write_text(etag)
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if have else "wb") as file:
            ended = _pour(response, file, have, total, url, progress)
    if total is not None:
        return _Received(part.stat().st_size == total, True)
    return _Received(ended, response.headers.get("Transfer-Encoding", "").lower() == "chunked")


def _pour(
    response: Any, file: IO[bytes], have: int, total: int | None, url: str, progress: bool
) -> bool:
    """Copy the answer behind a bar of megabytes; whether it ended without an error."""
    what = f"{url.rpartition('/')[2]} (MB)"
    with progress_bar(what, (total or 0) // 10**6, show=progress) as bar:
        try:
            while block := response.read(1 << 20):
                file.write(block)
                have += len(block)
                bar.reach(have // 10**6)
        except http.client.IncompleteRead as cut:  # a chunked answer holds back what had come
            file.write(cut.partial)
            return False
        except (ConnectionError, TimeoutError):
            return False
    return True


def _first_byte(response: Any) -> int | None:
    """Where the piece that a 206 answer brings begins."""
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


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
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (plain_http and parts.hostname == "127.0.0.1"):
        raise BackboneError(f"{url} is not fetched: only https addresses are")
