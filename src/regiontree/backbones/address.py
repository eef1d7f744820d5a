"""A file from an https address: taken up again where it was cut off, and named only when whole.

What has come so far lies beside the file as ``NAME.part``, with the server's ETag in
``NAME.part.etag``. A connection that is cut, or a program that is stopped, goes on from there if
the server still has the same file (``Range`` and ``If-Range``: RFC 9110, sections 14.2, 13.1.5).
"""

from __future__ import annotations

import http.client
import os
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import IO, Any

from regiontree._version import __version__
from regiontree.errors import BackboneError
from regiontree.system.files import sha256_of
from regiontree.system.progress import progress_bar

__all__ = ["UnreachableError", "fetch_file"]

_TIMEOUT = 30.0  # seconds without an answer


class UnreachableError(BackboneError):
    """There is no network, none is to be used, or the other side does not answer."""


def fetch_file(
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    progress: bool = True,
    plain_http: bool = False,
) -> None:
    """Download a file.

    Parameters
    ----------
    sha256
        Expected; None: whatever comes.
    progress
        Show a bar, if standard error is a terminal.
    plain_http
        Also take http from 127.0.0.1, as tests do.

    Raises
    ------
    UnreachableError
        Nothing comes. The environment variable HF_HUB_OFFLINE asks for that.
    BackboneError
        The address is not https, or has no such file, or another than expected; no place is left.
    """
    _check_address(url, plain_http)
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        raise UnreachableError(f"{url} cannot be downloaded: HF_HUB_OFFLINE is set")
    opener = urllib.request.build_opener(_SafeRedirects(plain_http))
    part, tag = (target.with_name(target.name + ending) for ending in (".part", ".part.etag"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        before = -1
        while not _fetch_some(opener, url, part, tag, progress):
            if part.stat().st_size <= before:
                raise UnreachableError(
                    f"{url} was cut off after {before} bytes; run the same command again to go on"
                )
            before = part.stat().st_size
        found = sha256_of(part)
        tag.unlink(missing_ok=True)
        if sha256 not in (None, found):
            part.unlink()
            raise BackboneError(
                f"{url} has sha256 {found}, expected {sha256}: another file than the one known, "
                "not kept"
            )
        part.replace(target)
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


def _fetch_some(
    opener: urllib.request.OpenerDirector, url: str, part: Path, tag: Path, progress: bool
) -> bool:
    """Add to `part` what one request brings; whether it is whole."""
    have = part.stat().st_size if part.is_file() and tag.is_file() else 0
    headers = {"User-Agent": f"regiontree/{__version__}"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": tag.read_text()}
    request = urllib.request.Request(url, headers=headers)
    try:
        response = opener.open(request, timeout=_TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        part.unlink()  # it was whole already, or longer than the file: from the start
        return _fetch_some(opener, url, part, tag, progress)
    with response:
        if response.status != 206:
            have = 0
            tag.unlink(missing_ok=True)
            if (etag := response.headers.get("ETag", "")).startswith('"'):  # W/"..." is not exact
                tag.write_text(etag)
        length = response.headers.get("Content-Length")
        total = None if length is None else have + int(length)
        with part.open("ab" if have else "wb") as file:
            _pour(response, file, have, total, url, progress)
    return total is None or part.stat().st_size == total


def _pour(
    response: Any, file: IO[bytes], have: int, total: int | None, url: str, progress: bool
) -> None:
    """Copy until the end, or until the connection is cut, behind a bar of megabytes."""
    what = f"{url.rpartition('/')[2]} (MB)"
    with progress_bar(what, (total or 0) // 10**6, show=progress) as bar:
        try:
            while block := response.read(1 << 20):
                file.write(block)
                have += len(block)
                bar.reach(have // 10**6)
        except (http.client.IncompleteRead, ConnectionError, TimeoutError):
            pass  # what came is kept; its length tells that it is not all


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects where the file itself would be taken from."""

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
