"""A small web server of trees: a page of thumbnails, and a page for each image.

It serves what it was given and nothing else. The images have numbers; no part of a URL ever becomes
a path. Its parts: the application, here; who may ask (:mod:`~regiontree.viewer.guard`); what was
made already (:mod:`~regiontree.viewer.kept`); what is said instead of an answer
(:mod:`~regiontree.viewer.refusals`); where it listens (:mod:`~regiontree.viewer.listening`).
"""

from __future__ import annotations

import io
import ipaddress
import os
import re
import secrets
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ExportError, MissingExtraError, ViewError
from regiontree.export.labelmap import to_label_image
from regiontree.forest.sources import Images, Outline, Source, open_source
from regiontree.system.signals import interruptible
from regiontree.viewer.guard import LOCAL_NAMES, Guard
from regiontree.viewer.index import Card, index_html, thumbnail
from regiontree.viewer.kept import Answers
from regiontree.viewer.kept import Recent as _Recent
from regiontree.viewer.listening import listen, serving
from regiontree.viewer.page import Links, page_html
from regiontree.viewer.refusals import AnswerError, bug, refused

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["check_installed", "listen", "make_app", "serve", "serving"]

_TREES = 512 << 20  # bytes of trees kept open; one is, however large
_COMPRESSION = 1


def check_installed() -> None:
    """Raise a MissingExtraError that names the extra, if a server's packages are not installed."""
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise MissingExtraError(
            "the viewer's server needs starlette and uvicorn: pip install 'regiontree[viewer]'; "
            "--html writes a page without them"
        )


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

    Raises
    ------
    KeyboardInterrupt
        A signal came before there was anything to see.
    """
    address, port = listener.getsockname()[:2]
    local = ipaddress.ip_address(address).is_loopback
    everywhere = ipaddress.ip_address(address).is_unspecified
    token = secrets.token_urlsafe(16)
    app = make_app(
        outlines, token, title=title, longest=longest, images=images,
        hosts={*LOCAL_NAMES, host.lower()} if local else None,
    )  # fmt: skip
    bracketed = f"[{host}]" if ":" in host else host
    named = socket.gethostname() if everywhere else bracketed
    told = False
    try:
        with interruptible() as check, serving(app, listener) as stopped:
            count = outlines[0].name if len(outlines) == 1 else f"{len(outlines):,} images"
            _say(f"Showing {count}; Ctrl-C ends it.")
            if local and "SSH_CONNECTION" in os.environ:
                tunnel = f"ssh -L {port}:{named}:{port} {socket.gethostname()}"
                _say(f"From your own machine: {tunnel}, then open this address there:")
            told = True
            print(f"http://{named}:{port}/{token}/", flush=True)
            if open_browser and _has_browser():
                here = ("[::1]" if ":" in address else "127.0.0.1") if everywhere else named
                url = f"http://{here}:{port}/{token}/"
                threading.Thread(target=_open, args=(url,), daemon=True).start()
            while not stopped.wait(0.5):
                check()
    except KeyboardInterrupt:
        if not told:
            raise
        return
    raise ViewError("the server has stopped of itself, which is a mistake of ours")


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
        exception_handlers={AnswerError: refused, HTTPException: refused, Exception: bug},
    )
    return Guard(app, token, hosts)


class _Pages:
    """The endpoints: what is made of which image."""

    def __init__(
        self, outlines: Sequence[Outline], title: str, longest: int, images: Images
    ) -> None:
        self.outlines, self.longest, self.images = outlines, longest, images
        self.answers = Answers(outlines)
        self.sources: _Recent[Source] = _Recent(_TREES)
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
                raise AnswerError(404, f"There is no node {node}: this tree has 0 to {tree.root}.")
            return _png(tree.mask(node).view(np.uint8) * np.uint8(255))

        return await self._answer(request, f"mask {node}", "image/png", make)

    async def cut(self, request: Request) -> Response:
        regions = _number(request, "regions")
        if not regions:
            raise AnswerError(400, "A cut has at least 1 region.")

        def make(i: int) -> bytes:
            tree = self._source(i).tree
            try:
                return _png(to_label_image(tree, n_regions=regions))
            except ExportError as error:
                raise AnswerError(400, f"{error}.") from error

        return await self._answer(request, f"cut {regions}", "image/png", make)

    async def tree(self, request: Request) -> Response:
        return await self._answer(
            request,
            "tree",
            "application/octet-stream",
            lambda i: self.outlines[i].path.read_bytes(),
        )

    async def _answer(
        self, request: Request, what: str, kind: str, make: Callable[[int], bytes]
    ) -> Response:
        """What `make` gives of the request's image."""
        i = _number(request, "image")
        if i >= len(self.outlines):
            raise AnswerError(404, f"There is no image {i} here.")
        tags = request.headers.get("if-none-match", "")
        return await self.answers.get(i, what, kind, make, tags)

    def _source(self, i: int) -> Source:
        key = (i, self.answers.stamp(i))
        source = self.sources.get(key)
        if source is None:
            source = open_source(self.outlines[i].path, images=self.images)
            self.sources.put(key, source, source.tree.labels.nbytes)
        return source


def _number(request: Request, name: str) -> int:
    text: str = request.path_params[name]
    if not re.fullmatch("[0-9]{1,9}", text):
        raise AnswerError(
            400, f"The address must hold a number of at most 9 digits for its {name}."
        )
    return int(text)


def _png(grey: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()


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
