"""The web application of a collection: its categories, their regions, its photographs, its names.

Photographs have numbers, their places in the collection. No part of an address ever becomes a path
of a file. Who gets an answer is in :mod:`regiontree.viewer.protection`.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from regiontree.collection.collection import Collection as PhotoCollection
from regiontree.collection.regions import Region
from regiontree.collection.shown import MOST_SHOWN, RegionTable, Shown
from regiontree.display.pictures import jpeg
from regiontree.forest.finding import Places
from regiontree.viewer.answers import AnswerError, Recent, in_thread, whole_number
from regiontree.viewer.categoriespage import page_data, page_html, photograph_data
from regiontree.viewer.changes import edits_of, names_data
from regiontree.viewer.index import matching
from regiontree.viewer.protection import protected
from regiontree.viewer.regionpictures import RegionPictures

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

__all__ = ["make_collection_app"]

T = TypeVar("T")
Typical = Mapping[int, Sequence[int]]
"""Typical regions of each photograph: their pictures will be wanted."""

_NOWHERE = Places()
_TYPICAL = 16  # regions of each category that the page shows before it is asked for all
_AT_ONCE = 240  # regions or photographs in an answer
_MOST_ALIKE = 1000
_MAX_KEPT = 64 << 20  # bytes of answers about granularities
_MAX_BODY = 1 << 20  # bytes of a change
_QUALITY = 88  # of the photograph's JPEG
_WHILE_OPEN = "private, max-age=86400"  # the address is new whenever the server starts


def make_collection_app(
    collection: PhotoCollection,
    token: str,
    *,
    title: str,
    longest: int = 1280,
    images: Places = _NOWHERE,
    hosts: Collection[str] | None = None,
) -> ASGIApp:
    """The web application: every address lies below ``/TOKEN/``.

    - ``/TOKEN/`` is the page. It asks the others for what it shows.
    - ``names`` are the names; a POST changes them.
    - ``regions/R`` are the typical regions of all categories, if photographs are cut into R.
    - ``category/C/R?first=F`` are the regions of category C from the F-th on.
    - ``like/P/N`` are the regions most like node N of photograph P.
    - ``map`` are places of the finest categories in a plane.
    - ``photographs?first=F&name=WORDS`` are photographs.
    - ``photograph/P`` is what the page knows of photograph P; ``photograph/P.jpg`` shows it,
      ``photograph/P/small.jpg`` is a thumbnail, ``region/P/N.jpg`` is one of a region.

    Parameters
    ----------
    collection
    token
        The beginning of every path: letters, digits, ``-`` and ``_``.
    title
        Of the page.
    longest
        The longest side of photographs in pixels.
    images
        Where the user says that photographs lie.
    hosts
        Names by which requests may address the server, without port; None for any name.
    """
    from starlette.routing import Route

    own = _Endpoints(collection, title, longest, images)
    routes = [
        Route("/", own.page),
        Route("/names", own.names, methods=["GET"]),
        Route("/names", own.change, methods=["POST"]),
        Route("/regions/{regions:int}", own.regions),
        Route("/category/{category:int}/{regions:int}", own.category),
        Route("/like/{photo:int}/{node:int}", own.like),
        Route("/map", own.map),
        Route("/photographs", own.photographs),
        Route("/photograph/{photo:int}", own.photograph),
        Route("/photograph/{photo:int}.jpg", own.photograph_picture),
        Route("/photograph/{photo:int}/small.jpg", own.small_picture),
        Route("/region/{photo:int}/{node:int}.jpg", own.region_picture),
    ]
    return protected(routes, token, hosts, changes=True)


class _Endpoints:
    """What each address shows."""

    def __init__(
        self, collection: PhotoCollection, title: str, longest: int, images: Places
    ) -> None:
        import asyncio

        self.collection, self.title, self.longest = collection, title, longest
        self.pictures = RegionPictures(collection, images)
        self.listed: Shown | None = None
        self.lists_at: Recent[tuple[bytes, Typical]] = Recent(_MAX_KEPT)  # of numbers of regions
        self.lists, self.pictured = asyncio.Semaphore(1), asyncio.Semaphore(2)
        self.naming = threading.Lock()
        self.typical: Typical = {}  # at the last number of regions

    # -- the page and its lists -------------------------------------------------------------------

    async def page(self, request: Request) -> Response:
        from starlette.responses import HTMLResponse

        def make() -> str:
            return page_html(page_data(self.collection, self.title))

        return HTMLResponse(await self._told(make, self.lists))

    async def regions(self, request: Request) -> Response:
        count = self._count(request)

        def make() -> bytes:
            shown = self.collection.shown_regions()
            if shown is not self.listed:  # somebody moved a region
                self.listed, self.lists_at = shown, Recent(_MAX_KEPT)
            known = self.lists_at.get(count)
            if known is None:
                known = self._lists(shown.at(count))
                self.lists_at.put(count, known, len(known[0]))
            body, self.typical = known
            return body

        return _as_json(await self._told(make, self.lists))

    async def category(self, request: Request) -> Response:
        count, category = self._count(request), request.path_params["category"]
        first = _asked(request, "first")
        self._require(category < self.collection.tree.n_nodes, f"category {category}")

        def make() -> bytes:
            table = self.collection.shown_regions().at(count)
            own = table.of_category(self.collection.tree, category)
            return _json(
                {"total": len(own), "regions": _pairs(table, own[first : first + _AT_ONCE])}
            )

        return _as_json(await self._told(make, self.lists))

    async def like(self, request: Request) -> Response:
        photo, node = self._photo(request), request.path_params["node"]
        count = min(max(_asked(request, "count", 120), 1), _MOST_ALIKE)

        def make() -> bytes:
            key = self.collection.ids[photo]
            return _json({"regions": self._numbered(self.collection.like(key, node, k=count))})

        return _as_json(await self._told(make, self.lists))

    async def map(self, request: Request) -> Response:
        def make() -> bytes:
            first = np.unique(self.collection.tree.labels[0], return_index=True)[1]
            places = self.collection.places[first]
            return _json({"x": _short(places[:, 0]), "y": _short(places[:, 1])})

        return _as_json(await self._told(make, self.lists))

    async def photographs(self, request: Request) -> Response:
        first, query = _asked(request, "first"), request.query_params.get("name", "")

        def make() -> bytes:
            ids = self.collection.ids
            found = list(matching(ids, query))
            shown = [(i, ids[i]) for i in found[first : first + _AT_ONCE]]
            return _json({"total": len(found), "photographs": shown})

        return _as_json(await self._told(make, self.lists))

    # -- photographs ------------------------------------------------------------------------------

    async def photograph(self, request: Request) -> Response:
        photo = self._photo(request)

        def make() -> bytes:
            return _json(photograph_data(self.collection, self.pictures, photo, self.longest))

        return _as_json(await self._told(make, self.pictured))

    async def photograph_picture(self, request: Request) -> Response:
        photo = self._photo(request)

        def make() -> bytes:
            _, rgb = self.pictures.read(photo, self.longest)
            if rgb is None:
                raise AnswerError(404, f"The photograph is not there: {self.pictures.lacks[photo]}")
            return jpeg(rgb, _QUALITY)

        return _as_jpeg(await self._told(make, self.pictured))

    async def small_picture(self, request: Request) -> Response:
        photo = self._photo(request)
        return _as_jpeg(await self._told(lambda: self.pictures.small(photo), self.pictured))

    async def region_picture(self, request: Request) -> Response:
        photo, node = self._photo(request), request.path_params["node"]

        def make() -> bytes:
            try:
                return self.pictures.region(photo, node, lambda one: self.typical.get(one, ()))
            except KeyError as error:
                raise AnswerError(404, f"There is no node {node} here.") from error

        return _as_jpeg(await self._told(make, self.pictured))

    # -- names ------------------------------------------------------------------------------------

    async def names(self, request: Request) -> Response:
        def make() -> bytes:
            with self.naming:
                self.collection.read_names_again()
                return _json(names_data(self.collection, []))

        return _as_json(await self._told(make, self.lists))

    async def change(self, request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise AnswerError(415, "A change must be JSON.")
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                raise AnswerError(413, "The change is too large.")

        def make() -> bytes:
            edits = edits_of(body, self.collection)
            with self.naming:
                told = self.collection.edit(edits)
                return _json(names_data(self.collection, told))

        return _as_json(await self._told(make, self.lists))

    # -- what they share --------------------------------------------------------------------------

    def _lists(self, table: RegionTable) -> tuple[bytes, Typical]:
        """Counts, shares and typical regions of all categories, and the latter by photograph."""
        tree = self.collection.tree
        places, (n_regions, share) = table.typical(tree, _TYPICAL), table.counts(tree)
        body = _json({
            "count": n_regions.tolist(),
            "share": [float(f"{value:.4g}") for value in share.tolist()],
            "typical": [_pairs(table, row[row >= 0]) for row in places],
        })  # fmt: skip
        found: dict[int, list[int]] = {}
        every = np.unique(places[places >= 0])
        for photo, node in zip(
            table.photo[every].tolist(), table.node[every].tolist(), strict=True
        ):
            found.setdefault(photo, []).append(node)
        return body, found

    def _numbered(self, regions: Iterable[Region]) -> list[tuple[int, int, float]]:
        numbers = self.collection.members.numbers
        return [(numbers[one.photo], one.node, round(one.likeness, 4)) for one in regions]

    def _photo(self, request: Request) -> int:
        number: int = request.path_params["photo"]
        self._require(number < len(self.collection), f"photograph {number}")
        return number

    def _count(self, request: Request) -> int:
        count: int = request.path_params["regions"]
        self._require(1 <= count <= MOST_SHOWN, f"cut into {count} regions")
        return count

    def _require(self, there: bool, what: str) -> None:
        if not there:
            raise AnswerError(404, f"There is no {what} here.")

    async def _told(self, make: Callable[[], T], workers: Any) -> T:
        """What `make` makes, in a thread.

        Raises
        ------
        AnswerError
            It cannot be made.
        """

        def refusal(error: Exception) -> tuple[str, str]:
            # The reader may be a stranger, who must not learn in which folder the files lie.
            said = str(error).replace(f"{self.collection.folder}{os.sep}", "")
            return str(error), f"{said}."

        return await in_thread(make, workers, refusal)


def _asked(request: Request, name: str, usual: int = 0) -> int:
    return whole_number(name, request.query_params.get(name, str(usual)))


def _pairs(table: RegionTable, places: Any) -> list[int]:
    """Photograph and node of some regions, in turn."""
    flat: list[int] = np.stack([table.photo[places], table.node[places]], axis=1).ravel().tolist()
    return flat


def _short(values: Any) -> list[float]:
    return [round(value, 4) for value in values.tolist()]


def _json(data: Any) -> bytes:
    return json.dumps(data, separators=(",", ":"), allow_nan=False).encode()


def _as_json(body: bytes) -> Response:
    from starlette.responses import Response

    return Response(body, media_type="application/json")


def _as_jpeg(body: bytes) -> Response:
    from starlette.responses import Response

    return Response(body, media_type="image/jpeg", headers={"Cache-Control": _WHILE_OPEN})
