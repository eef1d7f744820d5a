"""Sources for tests: servers of this machine, archives, small files."""

from __future__ import annotations

import functools
import http.server
import io
import tarfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from regiontree.errors import SourceError
from regiontree.references.listing import Listing, list_references
from regiontree.references.reading import read_bytes

__all__ = ["ask", "listed", "read", "serving", "tar_of"]

SUFFIXES = frozenset({".jpg", ".png"})


def ask(*sources: str | Path, **options: object) -> Listing:
    """A listing that was read to its end."""
    listing = list_references(sources, SUFFIXES, **options)  # type: ignore[arg-type]
    for _ in listing:
        pass
    return listing


def listed(*sources: str | Path, **options: object) -> list[str]:
    """The ids that sources name."""
    references = list_references(sources, SUFFIXES, **options)  # type: ignore[arg-type]
    return [reference.id for reference in references]


def read(*sources: str | Path, **options: object) -> dict[str, bytes | str]:
    """The bytes of each photograph by its id, or why they cannot be read."""
    found: dict[str, bytes | str] = {}
    for reference in list_references(sources, SUFFIXES, **options):  # type: ignore[arg-type]
        assert reference.id not in found
        try:
            found[reference.id] = read_bytes(reference)
        except SourceError as error:
            found[reference.id] = str(error)
    return found


def tar_of(members: Mapping[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar archive with these files."""
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=format) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return held.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, answer: Callable[[_Handler], None], *arguments: object) -> None:
        self.answer = answer
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.answer(self)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass

    def send(self, status: int, data: bytes = b"", **headers: str) -> None:
        """An answer; with `data`, the part of it that the request asks for."""
        wanted = self.headers.get("Range")
        if wanted and status == 206:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, stop = int(first), min(int(last) + 1, len(data))
            if start >= len(data):
                status = 416
                headers["Content-Range"] = f"bytes */{len(data)}"
                data = b""
            else:
                headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
                data = data[start:stop]
        elif status == 206:
            status = 200
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is no error."""


@contextmanager
def serving(answer: Callable[[_Handler], None]) -> Iterator[str]:
    """A web server on this machine; yields its address. `answer` answers each request."""
    handler = functools.partial(_Handler, answer)
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are not waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("regiontree.references.faults.time.sleep", pauses.append)
    return pauses
