"""Downloads from an address: answers of every kind that are cut short, and two processes at once.

The server here writes raw bytes, so each test says exactly what arrives. The larger server of
``test_weights.py`` behaves as a well-meaning one does.
"""

from __future__ import annotations

import hashlib
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from regiontree.backbones.address import UnreachableError, fetch_file
from regiontree.errors import BackboneError

DATA = os.urandom(5000)
SHA256 = hashlib.sha256(DATA).hexdigest()
Answer = Callable[[int], bytes]  # from the first byte that is asked for to headers and body


class RawServer(socketserver.ThreadingTCPServer):
    """Gives each request the next of `answers`; the last one is given again and again."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.starts: list[int] = []  # the first byte that each request asked for
        self.wait = threading.Event()  # answers are held back until it is set
        self.wait.set()
        super().__init__(("127.0.0.1", 0), RawAnswer)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/a.pth"


class RawAnswer(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        server = self.server
        start = 0
        for line in iter(self.rfile.readline, b"\r\n"):
            name, _, value = line.decode().strip().partition(": ")
            if name.lower() == "range":
                start = int(value.removeprefix("bytes=").rstrip("-"))
        server.starts.append(start)
        server.wait.wait(20)
        answer = server.answers.pop(0) if len(server.answers) > 1 else server.answers[0]
        self.wfile.write(answer(start))


@pytest.fixture
def server() -> Iterator[RawServer]:
    with RawServer() as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield listening
        listening.wait.set()
        listening.shutdown()
        thread.join()


def head(start: int, *lines: str) -> bytes:
    first = "HTTP/1.1 206 Partial Content" if start else "HTTP/1.1 200 OK"
    if start:
        lines += (f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}",)
    return "\r\n".join([first, "Connection: close", *lines, "", ""]).encode()


def with_length(count: int | None = None) -> Answer:
    """An answer that says its length, of which only `count` bytes come."""
    return lambda start: (
        head(start, f"Content-Length: {len(DATA) - start}", 'ETag: "1"')
        + DATA[start:][: len(DATA) if count is None else count]
    )


def chunked(count: int | None = None, *, etag: bool = True) -> Answer:
    """An answer in chunks of 700 bytes, of which only `count` bytes come, and then no end."""

    def answer(start: int) -> bytes:
        body = DATA[start:][:count]
        pieces = [body[i : i + 700] for i in range(0, len(body), 700)]
        sent = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        tag = ('ETag: "1"',) if etag else ()
        end = b"0\r\n\r\n" if count is None else b""
        return head(start, "Transfer-Encoding: chunked", *tag) + sent + end

    return answer


def until_closed(count: int | None = None) -> Answer:
    """An answer that says neither its length nor its end."""
    return lambda start: head(0) + DATA[:count]


@pytest.mark.parametrize("cut", [with_length, chunked], ids=["length", "chunked"])
def test_an_answer_that_is_cut_short_is_not_the_file(server, tmp_path, cut):
    server.answers = [cut(1000), cut(0)]
    target = tmp_path / "a.pth"
    with pytest.raises(UnreachableError, match="cut off after 1000 bytes; run the same command"):
        fetch_file(server.url, target, plain_http=True)
    assert not target.exists()

    server.answers = [cut()]
    fetch_file(server.url, target, plain_http=True)
    assert target.read_bytes() == DATA
    assert server.starts == [0, 1000, 1000]  # what had come was not fetched again
    assert {file.name for file in tmp_path.iterdir()} <= {"a.pth", "a.pth.lock"}


@pytest.mark.parametrize("cut", [with_length, chunked], ids=["length", "chunked"])
def test_one_call_goes_on_after_a_cut(server, tmp_path, cut):
    server.answers = [cut(1000), cut(2000), cut()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert server.starts == [0, 1000, 3000]


def test_without_an_etag_a_cut_answer_is_fetched_from_the_start(server, tmp_path):
    server.answers = [chunked(1000, etag=False), chunked(etag=False)]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert server.starts == [0, 0]


def test_an_answer_without_length_needs_a_digest(server, tmp_path):
    target = tmp_path / "a.pth"
    server.answers = [until_closed(3000)]
    with pytest.raises(BackboneError, match="does not say how long the file is"):
        fetch_file(server.url, target, plain_http=True)
    with pytest.raises(BackboneError, match=f"expected {SHA256}"):
        fetch_file(server.url, target, sha256=SHA256, plain_http=True)
    assert not target.exists()
    server.answers = [until_closed()]
    fetch_file(server.url, target, sha256=SHA256, plain_http=True)
    assert target.read_bytes() == DATA


def test_a_part_of_another_place_is_not_joined_on(server, tmp_path):
    """A server that answers a request for bytes 1000 onwards with bytes 900 onwards."""
    server.answers = [with_length(1000), lambda start: with_length()(900), with_length()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA


def test_two_processes_at_once_fetch_the_file_once(server, tmp_path):
    server.wait.clear()
    server.answers = [with_length()]
    target = tmp_path / "a.pth"
    code = (
        "import sys; from pathlib import Path\n"
        "from regiontree.backbones.address import fetch_file\n"
        "print('ready', flush=True)\n"
        "fetch_file(sys.argv[1], Path(sys.argv[2]), plain_http=True)"
    )
    command = [sys.executable, "-c", code, server.url, str(target)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in both:
        assert process.stdout is not None
        process.stdout.readline()
    server.wait.set()
    assert [process.wait(60) for process in both] == [0, 0]
    for process in both:
        process.stdout.close()
    assert target.read_bytes() == DATA
    assert server.starts == [0]


def test_a_lock_that_a_stopped_process_left_stops_nobody(server, tmp_path):
    (tmp_path / "a.pth.lock").touch()
    server.answers = [with_length()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert Path(tmp_path / "a.pth").read_bytes() == DATA
