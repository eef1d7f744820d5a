"""Requests to the viewer's server: methods, raw paths, query strings and headers."""

from __future__ import annotations

import asyncio
import io
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from fuzz.mutate import change_text
from fuzz.target import Box, Target
from fuzz.targets.trees import tree_bytes
from regiontree.forest.sources import open_outline
from regiontree.viewer.application import make_app

__all__ = ["TARGETS"]

TOKEN = "Token-1"
_SECRET = b"a file beside the trees"
_STATUS = {200, 304, 307, 400, 403, 404, 405}
_PLACES = (
    "", "0/", "1/", "0/thumbnail.jpg", "0/mask/0.png", "0/mask/6.png", "0/cut/1.png", "0/cut/3.png",
    "0/tree.npz", "9/", "0/cut/0.png", "0/cut/999999999.png", "0/mask/7.png", "0", "../secret.txt",
    "0/../../secret.txt", "%2e%2e/secret.txt", "0/tree.npz/../secret.txt", "0//tree.npz",
)  # fmt: skip


@cache
def _app() -> tuple[Any, ThreadPoolExecutor]:
    """The application over two trees, and a thread. Both stay for the whole process."""
    folder = Path(tempfile.mkdtemp(dir=Path(tempfile.gettempdir()).parent))
    for name in ("a", "b"):
        (folder / f"{name}.npz").write_bytes(tree_bytes())
    Image.fromarray(np.zeros((2, 4, 3), np.uint8)).save(folder / "photo.png")
    (folder / "secret.txt").write_bytes(_SECRET)
    outlines = [open_outline(folder / f"{name}.npz") for name in ("a", "b")]
    app = make_app(outlines, TOKEN, longest=64, hosts={"localhost", "127.0.0.1", "[::1]"})
    return app, ThreadPoolExecutor(1)


def _parsed(data: bytes) -> dict[str, Any]:
    """The scope of a request: a line with method and target, then lines of headers.

    uvicorn hands on the path as decoded text, and raw names and values of headers.
    """
    import urllib.parse

    first, *lines = data.split(b"\n")[:40]
    method, _, target = first.partition(b" ")
    raw, _, query = target.partition(b"?")
    headers = []
    for line in lines:
        name, colon, value = line.partition(b":")
        if colon:
            headers.append((name.strip().lower(), value.strip()))
    # The parser of HTTP lets no other method through.
    token = method.decode("latin-1")
    usable = token.isascii() and token.isalpha()
    return {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": token.upper() if usable else "GET", "scheme": "http", "root_path": "",
        "path": urllib.parse.unquote(raw.decode("latin-1")), "raw_path": raw,
        "query_string": query, "headers": headers, "client": ("127.0.0.1", 5), "state": {},
        "server": ("127.0.0.1", 80),
    }  # fmt: skip


def _request(box: Box, data: bytes) -> None:
    app, thread = _app()
    scope = _parsed(data)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    # Not in this thread: a loop of the caller's may be running, that of a browser for example.
    thread.submit(asyncio.run, app(scope, receive, send)).result()
    start, body = sent[0], b"".join(m.get("body", b"") for m in sent[1:])
    headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in start["headers"]}
    assert start["status"] in _STATUS, f"status {start['status']}"
    assert _SECRET not in body, "a file was sent that no address has"
    assert headers.get("x-content-type-options") == "nosniff"
    assert headers.get("referrer-policy") == "no-referrer"
    assert "access-control-allow-origin" not in headers
    assert not any("\n" in value or "\r" in value for value in headers.values()), headers
    if start["status"] == 200:
        assert scope["method"] in ("GET", "HEAD")
        assert scope["path"].split("/")[1] == TOKEN
        host = next((v for k, v in scope["headers"] if k == b"host"), b"").decode("latin-1").lower()
        assert host.rpartition(":")[0] in ("localhost", "127.0.0.1", "[::1]") or host in (
            "localhost", "127.0.0.1", "[::1]"), host  # fmt: skip
        if headers.get("content-type") == "image/png" and scope["method"] == "GET":
            with Image.open(io.BytesIO(body)) as picture:
                assert picture.size == (4, 2)


def _lines(place: str, method: str = "GET", host: str = "localhost", more: str = "") -> bytes:
    return f"{method} /{TOKEN}/{place} \nhost: {host}\n{more}".replace(" \n", "\n").encode()


def _seeds() -> list[bytes]:
    found = [_lines(place) for place in _PLACES]
    found += [_lines("0/", "HEAD"), _lines("0/", "POST"), _lines("0/?a=b&c", host="evil.example")]
    found += [
        _lines("0/", host="[::1]:8000", more='if-none-match: "abc", W/"x", *\nrange: bytes=0-1')
    ]
    return found


def _requests() -> st.SearchStrategy[bytes]:
    piece = st.one_of(
        st.sampled_from(["0", "1", "mask", "cut", "tree.npz", "thumbnail.jpg", "..", ".", "%2e%2e",
                         "%00", "%ff", "6.png", "1.png", "-1.png", "1e3.png", "secret.txt", ""]),
        st.integers(0, 12).map(lambda n: f"{n}.png"), st.text(max_size=4),
    )  # fmt: skip
    place = st.lists(piece, max_size=5).map("/".join)
    method = st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE"])
    host = st.sampled_from(
        ["localhost", "127.0.0.1:8000", "[::1]", "evil.example", "", "localhost:x"]
    )
    header = st.tuples(
        st.sampled_from(["if-none-match", "range", "accept", "content-length", "x", "host"]),
        st.text(
            st.characters(blacklist_characters="\n\r", blacklist_categories=("Cs",)), max_size=9
        ),
    ).map(": ".join)
    more = st.lists(header, max_size=3).map("\n".join)
    return st.tuples(place, method, host, more).map(lambda parts: _lines(*parts))


TARGETS = (Target("server.request", _request, _seeds, (change_text,), _requests),)
