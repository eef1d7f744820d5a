"""Downloads from an address: answers of every kind that are cut short, and two processes at once.

The server here writes raw bytes, so each test says exactly what arrives. The larger server of
``test_weights.py`` behaves as a well-meaning one does.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import refused

from regiontree.backbones import address
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


def ranged(first: int, last: int, *, total: int | str = len(DATA), etag: str = '"1"') -> Answer:
    """A 206 answer with the bytes from `first` to `last`, whatever was asked for."""
    lines = [
        "HTTP/1.1 206 Partial Content", f"Content-Range: bytes {first}-{last}/{total}",
        f"Content-Length: {last + 1 - first}", f"ETag: {etag}", "Connection: close", "", "",
    ]  # fmt: skip
    return lambda _: "\r\n".join(lines).encode() + DATA[first : last + 1]


def test_a_server_that_sends_pieces_is_asked_until_the_file_is_whole(server, tmp_path):
    """A piece has a length of its own, which is not the file's."""
    server.answers = [with_length(1000), ranged(1000, 2999), ranged(3000, len(DATA) - 1)]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert server.starts == [0, 1000, 3000]


def test_a_first_piece_that_nobody_asked_for_is_not_the_file(server, tmp_path):
    server.answers = [ranged(0, 999), with_length()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA


def test_a_piece_of_another_file_is_not_joined_on(server, tmp_path):
    """The file changed between two requests, and the server overlooks If-Range."""
    server.answers = [with_length(1000), ranged(1000, len(DATA) - 1, etag='"2"'), with_length()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert server.starts == [0, 1000, 0]


def test_a_piece_of_a_file_without_length_needs_a_digest(server, tmp_path):
    server.answers = [with_length(1000), ranged(1000, 2999, total="*")]
    with refused(BackboneError, "does not say how long"):
        fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert not (tmp_path / "a.pth").exists()


def said(*lines: str, body: bytes = DATA, status: str = "200 OK") -> Answer:
    top = [f"HTTP/1.1 {status}", "Connection: close", f"Content-Length: {len(body)}", *lines]
    return lambda _: "\r\n".join([*top, "", ""]).encode() + body


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (said("Content-Type: text/html; charset=utf-8"), ["web page", "login"]),
        (said("Content-Encoding: gzip"), ["compressed", "gzip", "give its path"]),
        (said(body=b""), ["empty"]),
        (said(body=b"", status="204 No Content"), ["a.pth"]),
        (said(body=b"no", status="404 Not Found"), ["404 Not Found"]),
        (said(body=b"", status="403 Forbidden"), ["403"]),
        (said("Location: http://[::1", body=b"", status="302 Found"), ["a.pth"]),
        (said("Location: ftp://a/b", body=b"", status="302 Found"), ["ftp://a/b"]),
        (said("Location: /a.pth", body=b"", status="302 Found"), ["302"]),
    ],
    ids=["web page", "gzip", "empty", "nothing", "404", "403", "nowhere", "ftp", "a loop"],
)
def test_what_is_not_the_file_is_refused_and_not_kept(server, tmp_path, answer, facts):
    server.answers = [answer]
    with refused(BackboneError, *facts):
        fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert not (tmp_path / "a.pth").exists()
    server.answers = [with_length()]  # nothing of it is in the way of a good answer
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA


@pytest.mark.parametrize(
    ("answer", "facts"),
    [
        (said(body=b"", status="503 Service Unavailable"), ["503", "later"]),
        (said("Retry-After: 120", body=b"", status="429 Too Many"), ["429", "in 120 seconds"]),
        (said("Retry-After: Fri, 31 Dec 1999", body=b"", status="503 Busy"), ["503", "later"]),
        (lambda _: b"garbage\r\n\r\n", ["garbage"]),
        (lambda _: b"", ["cannot be downloaded"]),
        (lambda _: b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n", ["headers"]),
    ],
    ids=["503", "429", "a date", "garbage", "nothing", "many headers"],
)
def test_a_server_that_may_do_better_later(server, tmp_path, answer, facts):
    server.answers = [answer]
    with refused(UnreachableError, server.url, *facts):
        fetch_file(server.url, tmp_path / "a.pth", plain_http=True)


@pytest.mark.parametrize("length", ["abc", "-5", "1e3", "9" * 30, ""])
def test_a_length_that_is_no_length_needs_a_digest(server, tmp_path, length):
    server.answers = [lambda start: head(0, f"Content-Length: {length}") + DATA]
    with refused(BackboneError, "does not say how long"):
        fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    fetch_file(server.url, tmp_path / "b.pth", sha256=SHA256, plain_http=True)
    assert (tmp_path / "b.pth").read_bytes() == DATA


def test_more_bytes_than_said_are_not_the_file(server, tmp_path):
    server.answers = [lambda _: head(0, f"Content-Length: {len(DATA)}") + DATA + b"more"]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA


@pytest.mark.parametrize("how", ["nothing", "a trickle"])
def test_a_server_that_sends_next_to_nothing_is_left(server, tmp_path, monkeypatch, how):
    monkeypatch.setattr(address, "_TIMEOUT", 0.2)
    over = threading.Event()

    def slow(handler: RawAnswer) -> None:
        handler.rfile.readline()
        handler.wfile.write(head(0, f"Content-Length: {len(DATA)}", 'ETag: "1"') + DATA[:100])
        while not over.wait(0.05):
            if how == "a trickle":
                handler.wfile.write(b"x")

    def handle(handler: RawAnswer) -> None:
        with contextlib.suppress(OSError):
            slow(handler)

    monkeypatch.setattr(RawAnswer, "handle", handle)
    facts = ["run the same command again"] + ["bytes came in"] * (how == "a trickle")
    try:
        with refused(UnreachableError, server.url, *facts):
            fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    finally:
        over.set()
    assert not (tmp_path / "a.pth").exists()


def test_a_tag_is_written_when_nothing_of_an_older_file_is_left(server, tmp_path, monkeypatch):
    """A program that is stopped at any moment must not join two files."""
    part = tmp_path / "a.pth.part"
    part.write_bytes(b"older" * 200)
    seen, real = [], Path.write_text

    def watched(path: Path, text: str) -> int:
        seen.append(part.stat().st_size)
        return real(path, text)

    monkeypatch.setattr(Path, "write_text", watched)
    server.answers = [with_length()]
    fetch_file(server.url, tmp_path / "a.pth", plain_http=True)
    assert (tmp_path / "a.pth").read_bytes() == DATA
    assert seen == [0]


def test_a_disk_without_locks_is_named(server, tmp_path, monkeypatch):
    def acquire(*_: object) -> None:
        raise NotImplementedError("no flock here")

    monkeypatch.setattr(address.FileLock, "acquire", acquire)
    with refused(BackboneError, str(tmp_path), "locks", "REGIONTREE_CACHE"):
        fetch_file(server.url, tmp_path / "a.pth", plain_http=True)


@pytest.mark.parametrize("url", ["https://[::1/a", "https://a b.example/x", "https://x:99999999/a",
                                 "https://" + "a" * 70 + ".example/x", "https:///a"])  # fmt: skip
def test_an_address_that_is_none(tmp_path, url):
    with refused(BackboneError, url[:12]):
        fetch_file(url, tmp_path / "a.pth")


def test_a_cache_below_a_file(server, tmp_path):
    (tmp_path / "file").touch()
    with refused(BackboneError, "file/a.pth", "REGIONTREE_CACHE"):
        fetch_file(server.url, tmp_path / "file" / "a.pth", plain_http=True)
