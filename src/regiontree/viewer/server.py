"""A small web server of trees: a page of thumbnails, and a page for each image.

It serves what it was given and nothing else. The images have numbers; no part of a URL ever becomes
a path. Every URL begins with a token drawn at random when the server starts, compared in constant
time: relative links keep it, other users of the machine and pages of other sites cannot know it,
and `Referrer-Policy` keeps it from leaving with a link. Where the server is bound to the loopback
interface, requests must also name it by a local name, which keeps out sites that have their own
name point there (DNS rebinding). Only GET and HEAD are answered, and no other origin is invited.

Pages and pictures are made when asked for, in threads, a few at a time, and the last of them are
kept; what is being made is made once, however many ask. A tree that changes while it is served is
read again.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import ipaddress
import os
import re
import secrets
import socket
import sys
import threading
import traceback
import webbrowser
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import (
    ExportError,
    MissingExtraError,
    RegionTreeError,
    ViewError,
    check_number,
)
from regiontree.export.labelmap import to_label_image
from regiontree.signals import interruptible
from regiontree.sources import Images, Outline, Source, open_source
from regiontree.viewer.index import Card, index_html, problem_html, thumbnail
from regiontree.viewer.page import Links, page_html

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["check_installed", "listen", "make_app", "serve", "serving"]

_WORKERS = 2  # pages and pictures made at a time: what bounds the memory
_TREES = 512 << 20  # bytes of trees kept open; one is, however large
_ANSWERS = 256 << 20  # bytes of pages and pictures kept
_PATIENCE = 3.0  # seconds that answers under way are given when the server stops
_COMPRESSION = 1
_LOCAL = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "Cache-Control": "private, no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the pages bring the rest of theirs
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

T = TypeVar("T")
Stamp = tuple[tuple[int, ...] | None, ...]
Key = tuple[int, str, Stamp]


def check_installed() -> None:
    """Raise a MissingExtraError that names the extra, if a server's packages are not installed."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise MissingExtraError(
            "the viewer's server needs starlette and uvicorn: pip install 'regiontree[viewer]'; "
            "--html writes a page without them"
        )


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes a free one.

    Raises
    ------
    ViewError
        The address cannot be bound; the message names it.
    """
    check_number("port", port, 0, 65_535, whole=True)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address, family=family)
    except (OSError, UnicodeError) as error:  # UnicodeError: a label too long for any name
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ViewError(
                f"port {port} of {host} is in use: give another with --port, or 0 for a free one"
            ) from error
        reason = getattr(error, "strerror", None) or error
        raise ViewError(f"cannot serve at {host}, port {port}: {reason}") from error


def serve(
    outlines: Sequence[Outline],
    listener: socket.socket,
    *,
    host: str,
    title: str,
    open_browser: bool = True,
    longest: int = 1600,
    images: Images = (),
) -> None:
    """Serve trees until Ctrl-C or SIGTERM, which are the way to stop it and no error.

    Parameters
    ----------
    outlines
        At least one; a single one has no page of thumbnails.
    listener, host
        From :func:`listen`, and the name that it was given.
    title
        Of the page of thumbnails.
    open_browser
        Whether to show the page in the user's browser, if there is one.
    longest
        Sides of the pictures in pixels at the most.
    images
        Where the trees' photographs lie.
    """
    address, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(address).is_loopback
    everywhere = ipaddress.ip_address(address).is_unspecified
    token = secrets.token_urlsafe(16)
    app = make_app(
        outlines, token, title=title, longest=longest, images=images,
        hosts={*_LOCAL, host.lower()} if local else None,
    )  # fmt: skip
    bracketed = f"[{host}]" if ":" in host else host
    named = socket.gethostname() if everywhere else bracketed
    try:
        with interruptible() as check, serving(app, listener) as thread:
            count = outlines[0].name if len(outlines) == 1 else f"{len(outlines):,} images"
            _say(f"Showing {count}; Ctrl-C ends it.")
            print(f"http://{named}:{port}/{token}/", flush=True)
            if local and "SSH_CONNECTION" in os.environ:
                tunnel = f"ssh -L {port}:{named}:{port} {socket.gethostname()}"
                _say(f"From your own machine: {tunnel}, then open that address there.")
            if open_browser and _has_browser():
                here = ("[::1]" if ":" in address else "127.0.0.1") if everywhere else named
                url = f"http://{here}:{port}/{token}/"
                threading.Thread(target=_open, args=(url,), daemon=True).start()
            while thread.is_alive():
                thread.join(0.5)
                check()
    except KeyboardInterrupt:
        return
    raise ViewError("the server has stopped of itself, which is a mistake of ours")


@contextmanager
def serving(app: ASGIApp, listener: socket.socket) -> Iterator[threading.Thread]:
    """Answer requests at a bound socket, in a thread, until the block ends.

    A daemon thread, whose workers are so, too: a large picture half made does not keep the program.
    """
    import uvicorn

    config = uvicorn.Config(
        app, log_level="critical", access_log=False, lifespan="off", ws="none",
        server_header=False, proxy_headers=False, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(_PATIENCE)


def make_app(
    outlines: Sequence[Outline],
    token: str,
    *,
    title: str = "regiontree",
    longest: int = 1600,
    images: Images = (),
    hosts: Collection[str] | None = None,
) -> ASGIApp:
    """The web application: everything lies below ``/TOKEN/``.

    ``/TOKEN/`` is the page of thumbnails, or leads to the only image. Image i, counted from 0, has
    ``i/``, its page, and below it ``thumbnail.jpg``; ``mask/NODE.png``, 8-bit, 255 inside;
    ``cut/K.png``, 16-bit, region j + 1 being node ``cut_nodes(n_regions=K)[j]``; and ``tree.npz``,
    the bytes of its file.

    Parameters
    ----------
    outlines, title, longest, images
        As of `serve`.
    token
        What every path must begin with: letters, digits, ``-`` and ``_``.
    hosts
        Names by which requests may address the server, without port; None for any.
    """
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.routing import Mount, Route

    pages = _Pages(outlines, title, longest, images)
    routes = [
        Route("/", pages.home),
        Route("/{image}/", pages.page),
        Route("/{image}/thumbnail.jpg", pages.thumbnail),
        Route("/{image}/mask/{node}.png", pages.mask),
        Route("/{image}/cut/{regions}.png", pages.cut),
        Route("/{image}/tree.npz", pages.tree),
    ]
    app = Starlette(
        routes=[Mount(f"/{token}", routes=routes)],
        exception_handlers={
            _AnswerError: pages.problem,
            HTTPException: pages.problem,
            Exception: _bug,
        },
    )
    return _Guard(app, token, hosts)


# -- who may ask ----------------------------------------------------------------------------------


class _Guard:
    """Refuses what no page of ours asks for, before it is looked at any further."""

    def __init__(self, app: ASGIApp, token: str, hosts: Collection[str] | None) -> None:
        self.app, self.token, self.hosts = app, token.encode(), hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        from starlette.datastructures import MutableHeaders

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await (self._refusal(scope) or self.app)(scope, receive, send_with_headers)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            answer = _problem(405, "This server only shows things: it answers GET and HEAD.")
            answer.headers["Allow"] = "GET, HEAD"
            return answer
        hosts = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
        if self.hosts is not None and (
            len(hosts) != 1 or re.sub(r":\d*$", "", hosts[0]).lower() not in self.hosts
        ):
            return _problem(421, "This server answers only to the local names of its machine.")
        given = scope["path"].split("/")[1] if "/" in scope["path"] else ""
        if not secrets.compare_digest(given.encode("utf-8", "surrogatepass"), self.token):
            return _problem(403, "This address lacks the token of the one shown in the terminal.")
        return None


# -- what they get --------------------------------------------------------------------------------


class _AnswerError(Exception):
    """A status and a sentence: what a request gets instead of what it asked for."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence


class _Pages:
    """The endpoints, and what they have made already."""

    def __init__(
        self, outlines: Sequence[Outline], title: str, longest: int, images: Images
    ) -> None:
        self.outlines, self.title, self.longest, self.images = outlines, title, longest, images
        self.secret = secrets.token_hex(8)  # entity tags of another run mean nothing
        self.sources: _Recent[Source] = _Recent(_TREES)
        self.answers: _Recent[bytes] = _Recent(_ANSWERS)
        self.under_way: dict[Any, asyncio.Task[bytes]] = {}
        self.workers = asyncio.Semaphore(_WORKERS)
        cards = [Card(o, f"{i}/", f"{i}/thumbnail.jpg") for i, o in enumerate(outlines)]
        self.index = index_html(cards, title)

    async def home(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse, RedirectResponse

        if len(self.outlines) == 1:
            return RedirectResponse("0/")
        return HTMLResponse(self.index)

    async def page(self, request: Request) -> Response:
        last = len(self.outlines) - 1

        def make(i: int) -> bytes:
            links = Links(
                index="../" if last else None,
                previous=f"../{i - 1}/" if i else None,
                next=f"../{i + 1}/" if i < last else None,
                tree="tree.npz",
                mask="mask/{node}.png",
                cut="cut/{regions}.png",
            )
            return page_html(self._source(i), longest=self.longest, links=links).encode()

        return await self._answer(request, "page", "text/html; charset=utf-8", make)

    async def thumbnail(self, request: Request) -> Response:
        return await self._answer(
            request, "thumbnail", "image/jpeg", lambda i: thumbnail(self._source(i))
        )

    async def mask(self, request: Request) -> Response:
        node = _number(request, "node")

        def make(i: int) -> bytes:
            tree = self._source(i).tree
            if node > tree.root:
                raise _AnswerError(404, f"There is no node {node}: this tree has 0 to {tree.root}.")
            return _png(tree.mask(node).view(np.uint8) * np.uint8(255))

        return await self._answer(request, f"mask {node}", "image/png", make)

    async def cut(self, request: Request) -> Response:
        regions = _number(request, "regions")
        if not regions:
            raise _AnswerError(400, "A cut has at least 1 region.")

        def make(i: int) -> bytes:
            tree = self._source(i).tree
            try:
                return _png(to_label_image(tree, n_regions=regions))
            except ExportError as error:
                raise _AnswerError(400, f"{error}.") from error

        return await self._answer(request, f"cut {regions}", "image/png", make)

    async def tree(self, request: Request) -> Response:
        return await self._answer(
            request,
            "tree",
            "application/octet-stream",
            lambda i: self.outlines[i].path.read_bytes(),
        )

    async def problem(self, request: Request, error: Exception) -> Response:
        """What to say instead; `error` is a _AnswerError, or of the router for an unknown path."""
        home = "../" * (request.url.path.count("/") - 2) or "./"
        if isinstance(error, _AnswerError):
            return _problem(error.status, error.sentence, home)
        return _problem(404, "There is nothing at this address.", home)

    # -- made once --------------------------------------------------------------------------------

    async def _answer(
        self, request: Request, what: str, kind: str, make: Callable[[int], bytes]
    ) -> Response:
        """What `make` gives of the request's image, in a thread, unless the browser has it."""
        from starlette.responses import Response

        i = _number(request, "image")
        if i >= len(self.outlines):
            raise _AnswerError(404, f"There is no image {i} here.")
        key = (i, what, self._stamp(i))
        tag = f'"{hashlib.sha256(repr((self.secret, key)).encode()).hexdigest()[:32]}"'
        if tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers={"ETag": tag})
        body = self.answers.get(key)
        if body is None:
            task = self.under_way.get(key)
            if task is None:
                task = self.under_way[key] = asyncio.create_task(self._made(key, make))
                task.add_done_callback(lambda _: self.under_way.pop(key))
            body = await task
        return Response(body, media_type=kind, headers={"ETag": tag})

    async def _made(self, key: Key, make: Callable[[int], bytes]) -> bytes:
        import anyio.to_thread

        outline = self.outlines[key[0]]
        async with self.workers:
            try:
                body = await anyio.to_thread.run_sync(make, key[0], abandon_on_cancel=True)
            except (RegionTreeError, OSError, MemoryError) as error:
                _say(f"{outline.path}: {error}" if isinstance(error, OSError) else str(error))
                said = str(error).replace(str(outline.path), outline.path.name)
                raise _AnswerError(500, f"{outline.name} cannot be shown. {said}.") from error
        self.answers.put(key, body, len(body))
        return body

    def _source(self, i: int) -> Source:
        key = (i, self._stamp(i))
        source = self.sources.get(key)
        if source is None:
            source = open_source(self.outlines[i].path, images=self.images)
            self.sources.put(key, source, source.tree.labels.nbytes)
        return source

    def _stamp(self, i: int) -> Stamp:
        """What tells whether the files of an image are the ones they were."""
        outline = self.outlines[i]
        stamp = _stamp(outline.path)
        if stamp is None:
            raise _AnswerError(410, f"{outline.name} cannot be shown: its tree's file is gone.")
        return stamp, _stamp(outline.photo) if outline.photo else None


class _Recent(Generic[T]):
    """What was asked for last, up to a size in bytes; the very last whatever its size."""

    def __init__(self, limit: int) -> None:
        self.limit, self.size = limit, 0
        self.items: OrderedDict[Any, tuple[T, int]] = OrderedDict()
        self.lock = threading.Lock()

    def get(self, key: Any) -> T | None:
        with self.lock:
            if key not in self.items:
                return None
            self.items.move_to_end(key)
            return self.items[key][0]

    def put(self, key: Any, item: T, size: int) -> None:
        with self.lock:
            self.size += size - self.items.pop(key, (item, 0))[1]
            self.items[key] = item, size
            while self.size > self.limit and len(self.items) > 1:
                self.size -= self.items.popitem(last=False)[1][1]


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _number(request: Request, name: str) -> int:
    text: str = request.path_params[name]
    if not re.fullmatch("[0-9]{1,9}", text):
        raise _AnswerError(
            400, f"The address must hold a number of at most 9 digits for its {name}."
        )
    return int(text)


def _png(grey: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


def _problem(status: int, sentence: str, home: str | None = None) -> Response:
    from starlette.responses import HTMLResponse

    # Kept by nobody: what is wrong now may be right in a minute.
    return HTMLResponse(problem_html(sentence, home), status, {"Cache-Control": "no-store"})


async def _bug(request: Request, error: Exception) -> Response:
    traceback.print_exception(error)
    return _problem(500, "The server has made a mistake; the terminal says more.")


# -- where it is seen -----------------------------------------------------------------------------


def _has_browser() -> bool:
    """Whether the user would see a browser: not from afar, nor one that runs in the terminal."""
    if "BROWSER" in os.environ:
        return True
    if "SSH_CONNECTION" in os.environ:
        return False
    return sys.platform in ("darwin", "win32") or bool(
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    )


def _open(url: str) -> None:
    with suppress(webbrowser.Error):
        webbrowser.open(url)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
