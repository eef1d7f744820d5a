"""The web application of the viewer: which address shows what, and who may ask.

The images have numbers. No part of an address ever becomes a path of a file.

Who gets an answer is in :mod:`regiontree.viewer.protection`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ExportError
from regiontree.export.labelmap import to_label_image
from regiontree.forest.sources import Images, Outline, Source, open_source
from regiontree.images.given import Encoded
from regiontree.viewer.answers import AnswerError, Answers, Recent, whole_number
from regiontree.viewer.index import (
    MANY,
    Card,
    index_html,
    matching,
    parts_of,
    thumbnail,
)
from regiontree.viewer.page import Links, page_html, tree_file
from regiontree.viewer.protection import protected

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["make_app"]

Names = Callable[[], Iterable[str]]
_MAX_OPEN = 512 << 20  # bytes of trees that stay open
_MAX_INDEXES = 64 << 20  # characters of pages of thumbnails
_COMPRESSION = 1  # of PNG files, 0 to 9: speed counts more than size


def make_app(
    outlines: Sequence[Outline],
    token: str,
    *,
    title: str = "regiontree",
    longest: int = 1600,
    images: Images = (),
    hosts: Collection[str] | None = None,
    names: Names | None = None,
    pieces: bool = False,
    min_area: int | None = None,
) -> ASGIApp:
    """The web application: every address lies below ``/TOKEN/``.

    ``/TOKEN/`` is the page of thumbnails. If there are several, ``/TOKEN/?page=2`` is the second.
    ``/TOKEN/?name=WORDS`` is a page of the first 500 images that have these words in their names.
    If there is one image only, ``/TOKEN/`` leads to the image's page.

    Image i, counted from 0, has these addresses:

    - ``i/``, its page;
    - ``i/thumbnail.jpg``;
    - ``i/mask/NODE.png``, 8 bits, 255 inside the node;
    - ``i/cut/K.png``, 16 bits; region j + 1 is node ``cut_nodes(n_regions=K)[j]``;
    - ``i/tree.npz``, the bytes of the tree's file.

    ``i/pieces/`` is the page of the tree of pieces (:meth:`RegionTree.pieces`). Masks, cuts and the
    file of that tree have the same addresses below it.

    Parameters
    ----------
    outlines
        The images, at least one. Outlines of a store may be made when they are asked for.
    token
        The beginning of every path: letters, digits, ``-`` and ``_``.
    title
        Of the page of thumbnails.
    longest
        The longest side of the pictures in pixels.
    images
        Where the trees' photographs lie.
    hosts
        Names by which requests may address the server, without port; None for any name.
    names
        Gives the names of all images in their order, for the search. None: those of the outlines.
    pieces
        Whether the thumbnails lead to the pages of pieces.
    min_area
        Of :meth:`RegionTree.pieces`.
    """
    from starlette.routing import Route

    endpoints = _Endpoints(outlines, title, longest, images, names, pieces, min_area)
    routes = [
        Route("/", endpoints.home),
        Route("/{image}/thumbnail.jpg", endpoints.thumbnail),
    ]
    for shown, of_pieces in (("/{image}", False), ("/{image}/pieces", True)):
        routes += [
            Route(f"{shown}/", partial(endpoints.page, of_pieces)),
            Route(f"{shown}/mask/{{node}}.png", partial(endpoints.mask, of_pieces)),
            Route(f"{shown}/cut/{{regions}}.png", partial(endpoints.cut, of_pieces)),
            Route(f"{shown}/tree.npz", partial(endpoints.tree, of_pieces)),
        ]
    return protected(routes, token, hosts)


class _Endpoints:
    """What each address shows."""

    def __init__(
        self,
        outlines: Sequence[Outline],
        title: str,
        longest: int,
        images: Images,
        names: Names | None,
        pieces: bool,
        min_area: int | None,
    ) -> None:
        self.outlines, self.title = outlines, title
        self.longest, self.images = longest, images
        self.pieces, self.min_area = pieces, min_area
        self.answers = Answers(outlines)
        self.sources: Recent[Source] = Recent(_MAX_OPEN)
        self.names = names or (lambda: (outline.name for outline in outlines))
        self.parts = parts_of(len(outlines))
        self.indexes: Recent[str] = Recent(_MAX_INDEXES)

    async def home(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse, RedirectResponse

        if len(self.outlines) == 1:
            return RedirectResponse(self._page_url(0))
        query = request.query_params.get("name", "").strip()
        if query:
            return HTMLResponse(await self.answers.told(lambda: self._found(query)))
        number = whole_number("page", request.query_params.get("page", "1"))
        if not 1 <= number <= len(self.parts):
            raise AnswerError(404, f"There is no page {number} of thumbnails here.")
        return HTMLResponse(await self.answers.told(lambda: self._index(number - 1)))

    def _index(self, i: int) -> str:
        """The page of thumbnails of part i."""
        page, part = self.indexes.get(i), self.parts[i]
        if page is None:
            cards = [self._card(i) for i in range(part.first, part.stop)]
            page = index_html(
                cards, self.title, part=part, url_of=_home_url, searches=part.count > 1
            )
            self.indexes.put(i, page, len(page))
        return page

    def _found(self, query: str) -> str:
        """The page of the first images whose names contain every word of a query."""
        matches = islice(matching(self.names(), query), MANY)
        cards = [self._card(i) for i in matches]
        return index_html(cards, self.title, query=query, url_of=_home_url, searches=True)

    def _card(self, i: int) -> Card:
        return Card(self.outlines[i], self._page_url(i), f"{i}/thumbnail.jpg")

    def _page_url(self, i: int) -> str:
        return f"{i}/pieces/" if self.pieces else f"{i}/"

    async def page(self, pieces: bool, request: Request) -> Response:
        last = len(self.outlines) - 1
        up, here = ("../../", "pieces/") if pieces else ("../", "")

        def make(i: int) -> bytes:
            links = Links(
                index=f"{up}{_query(i // MANY + 1)}" if last else None,
                previous=f"{up}{i - 1}/{here}" if i else None,
                next=f"{up}{i + 1}/{here}" if i < last else None,
                tree="tree.npz",
                mask="mask/{node}.png",
                cut="cut/{regions}.png",
                whole="../" if pieces else None,
                pieces=None if pieces else "pieces/",
            )
            source = self._source(i, pieces)
            return page_html(source, longest=self.longest, links=links).encode()

        what = f"{here}page"
        return await self._answer(request, what, "text/html; charset=utf-8", make)

    async def thumbnail(self, request: Request) -> Response:
        return await self._answer(
            request, "thumbnail", "image/jpeg", lambda i: thumbnail(self._source(i))
        )

    async def mask(self, pieces: bool, request: Request) -> Response:
        node = _number(request, "node")

        def make(i: int) -> bytes:
            tree = self._source(i, pieces).tree
            if node > tree.root:
                raise AnswerError(404, f"There is no node {node}: this tree has 0 to {tree.root}.")
            return _png(tree.mask(node).view(np.uint8) * np.uint8(255))

        return await self._answer(request, f"mask {node} {pieces}", "image/png", make)

    async def cut(self, pieces: bool, request: Request) -> Response:
        regions = _number(request, "regions")
        if not regions:
            raise AnswerError(400, "A cut has at least 1 region.")

        def make(i: int) -> bytes:
            tree = self._source(i, pieces).tree
            try:
                return _png(to_label_image(tree, n_regions=regions))
            except ExportError as error:
                raise AnswerError(400, f"{error}.") from error

        return await self._answer(request, f"cut {regions} {pieces}", "image/png", make)

    async def tree(self, pieces: bool, request: Request) -> Response:
        def make(i: int) -> bytes:
            return tree_file(self._source(i, True)) if pieces else self.outlines[i].saved.data()

        return await self._answer(request, f"tree {pieces}", "application/octet-stream", make)

    async def _answer(
        self, request: Request, what: str, media_type: str, make: Callable[[int], bytes]
    ) -> Response:
        """The answer that `make` gives about the image in the request's address."""
        i = _number(request, "image")
        if i >= len(self.outlines):
            raise AnswerError(404, f"There is no image {i} here.")
        tags = request.headers.get("if-none-match", "")
        return await self.answers.get(i, what, media_type, make, tags)

    def _source(self, i: int, pieces: bool = False) -> Source:
        key = (i, pieces, self.answers.stamp(i))
        source = self.sources.get(key)
        if source is None and pieces:
            saved = self._source(i)
            source = replace(saved, tree=saved.tree.pieces(self.min_area), is_saved=False)
            self.sources.put(key, source, source.tree.labels.nbytes)
        elif source is None:
            source = open_source(self.outlines[i].saved, images=self.images)
            photo = len(source.photo.data) if isinstance(source.photo, Encoded) else 0
            self.sources.put(key, source, source.tree.labels.nbytes + photo)
        return source


def _number(request: Request, name: str) -> int:
    return whole_number(name, request.path_params[name])


def _query(number: int) -> str:
    """What the address of a page of thumbnails ends in."""
    return "" if number == 1 else f"?page={number}"


def _home_url(number: int) -> str:
    """The address of a page of thumbnails, from another one."""
    return f"./{_query(number)}"


def _png(grey: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "PNG", compress_level=_COMPRESSION)
    return file.getvalue()
