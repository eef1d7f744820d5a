"""The pages of thumbnails: all images of a server or a gallery, with links to their pages.

A page shows at most :data:`MANY` images. If there are more, each page of thumbnails has links to
the others.

The pages work without their script. The script adds keys and a filter by name. The pages load
nothing but their thumbnails.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from PIL import Image

from regiontree.display.pictures import cut_picture, jpeg
from regiontree.errors import ImageError
from regiontree.forest.sources import Outline, Source
from regiontree.viewer.document import document

__all__ = [
    "MANY",
    "Card",
    "Part",
    "index_html",
    "matching",
    "parts_of",
    "plain_text",
    "problem_html",
    "thumbnail",
]

MANY = 500
"""The most images of one page of thumbnails."""
_NEAR = 2  # pages of thumbnails before and after this one that it has links to
_LONGEST = 480  # pixels of a thumbnail's longer side: twice the size that the page shows
_REGIONS = 64  # the largest number of regions in a thumbnail: more would be noise
_THINNEST = 4  # the longer side of a thumbnail is at most this many times the shorter side
_QUALITY = 85  # JPEG quality of a thumbnail, 1 to 95


@dataclass(frozen=True, slots=True)
class Card:
    """An image on the page of thumbnails.

    Attributes
    ----------
    outline : Outline
    page, thumbnail : str
        Relative URLs.
    """

    outline: Outline
    page: str
    thumbnail: str

    @property
    def facts(self) -> str:
        """How many regions the thumbnail shows, and how many leaves the tree has, as HTML."""
        if self.outline.error is not None:
            return "no tree"
        shown, most = min(self.outline.n_regions, _REGIONS), self.outline.n_leaves
        return f"{shown} of {most:,} regions" if shown < most else _count(most, "region")


@dataclass(frozen=True, slots=True)
class Part:
    """Which of all images a page of thumbnails shows.

    Attributes
    ----------
    number, count : int
        Number of the page, counted from 1, and how many pages there are.
    first, stop, total : int
        It shows the images from `first` to `stop` - 1, counted from 0, of `total`.
    """

    number: int
    count: int
    first: int
    stop: int
    total: int

    @property
    def facts(self) -> str:
        """How many images there are, and which of them the page shows."""
        if self.count == 1:
            return _count(self.total, "image")
        return f"images {self.first + 1:,} to {self.stop:,} of {self.total:,}"


def parts_of(total: int) -> list[Part]:
    """The pages of thumbnails of a number of images; one page if there are none.

    >>> [(part.first, part.stop) for part in parts_of(1200)]
    [(0, 500), (500, 1000), (1000, 1200)]
    """
    starts = range(0, max(total, 1), MANY)
    return [
        Part(number, len(starts), first, min(first + MANY, total), total)
        for number, first in enumerate(starts, start=1)
    ]


def index_html(
    cards: Sequence[Card],
    title: str,
    *,
    part: Part | None = None,
    url_of: Callable[[int], str] = str,
    query: str | None = None,
    searches: bool = False,
) -> str:
    """A page of thumbnails, a whole HTML document that can be encoded as UTF-8.

    Parameters
    ----------
    cards
        The images of the page.
    title
        Title of the page.
    part
        Which images they are of all. None: all.
    url_of
        The relative URL of a page of thumbnails, from its number.
    query
        What the user searched for, if the images are those that were found.
    searches
        Whether the address with ``?name=`` and a query gives a page of what is found.
    """
    rows = "\n".join(_row(card) for card in cards)
    shown = part or Part(1, 1, 0, len(cards), len(cards))
    facts, before = shown.facts, ""
    if query is not None:
        facts = f"{_count(shown.total, 'image')} found by “{query}”"
        before = f'<p><a href="{_text(url_of(1))}">All images</a></p>\n'
    mark = " data-searches" if searches else ""
    body = f'{before}<ul id="images"{mark}>\n{rows}\n</ul>{_pages(shown, url_of)}'
    return _page(title, body, facts=_text(facts), script="thumbnails")


def problem_html(sentence: str, home: str | None = None) -> str:
    """A page that says why there is no image. `home` is the URL of the page of thumbnails."""
    link = f'<p><a href="{_text(home)}">All images</a></p>' if home else ""
    return _page("Nothing to show", f"<p>{_text(sentence)}</p>{link}")


def thumbnail(source: Source) -> bytes:
    """A JPEG of the natural cut over the photograph, or over white if there is no photograph."""
    tree = source.tree
    try:
        photo = source.picture(_LONGEST) if source.photo else None
    except ImageError:
        photo = None
    n_regions = min(len(tree.cut_nodes()), _REGIONS)
    picture = cut_picture(tree, photo, n_regions=n_regions, width=_LONGEST)
    height, width = _stretched((picture.height, picture.width))
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    return jpeg(picture, _QUALITY)


def _row(card: Card) -> str:
    outline = card.outline
    name, size, notice = _text(outline.name), "", ""
    place = name if outline.path else _text(outline.saved.key)
    if outline.shape:  # so that the browser can lay out the page before the pictures are loaded
        height, width = _stretched(outline.shape)
        size = f' width="{width}" height="{height}"'
    if outline.notice:
        said = _text(outline.notice)
        notice = f'<span class="mark" title="{said}"><span class="unseen">{said}</span></span>'
    link = f'<a href="{_text(card.page)}" title="{place}"'
    picture = f'<img src="{_text(card.thumbnail)}" alt=""{size} loading="lazy" decoding="async">'
    if outline.error is not None:
        picture = f'<span class="none">{_text(outline.error)}</span>'
    return (
        f'<li>{link}>{picture}<span class="caption"><span class="name">{name}</span>'
        f'<span class="facts">{notice}{card.facts}</span></span></a></li>'
    )


def _pages(part: Part, url_of: Callable[[int], str]) -> str:
    """Links to the other pages of thumbnails: the nearest, the first and the last."""
    if part.count == 1:
        return ""
    near = range(part.number - _NEAR, part.number + _NEAR + 1)
    numbers = [number for number in range(1, part.count + 1)
               if number in near or number in (1, part.count)]  # fmt: skip
    links = []
    for before, number in zip([0, *numbers], numbers, strict=False):
        if number > before + 1:
            links.append("<span>…</span>")
        if number == part.number:
            links.append(f'<span aria-current="page">{number:,}</span>')
        else:
            turn = {part.number - 1: ' rel="prev"', part.number + 1: ' rel="next"'}.get(number, "")
            links.append(f'<a href="{_text(url_of(number))}"{turn}>{number:,}</a>')
    return f'\n<nav aria-label="Pages of thumbnails">{" ".join(links)}</nav>'


def _stretched(shape: tuple[int, int]) -> tuple[int, int]:
    """(height, width) of a thumbnail. An image that is too thin is stretched, not cut off."""
    height, width = shape
    return max(height, width // _THINNEST), max(width, height // _THINNEST)


def _page(title: str, body: str, *, facts: str = "", script: str | None = None) -> str:
    return document(
        "index.html",
        styles=["base.css", "index.css"],
        script=script,
        images="'self' file: data:",
        parts={"TITLE": _text(title), "FACTS": facts, "BODY": body},
    )


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def matching(names: Iterable[str], query: str) -> Iterator[int]:
    """Places of the names that contain every word of a query."""
    words = plain_text(query).split()
    plain = map(plain_text, names)
    return (i for i, name in enumerate(plain) if all(word in name for word in words))


def plain_text(text: str) -> str:
    """A text without case and accents, as in ``web/filter.js``.

    >>> plain_text("Été 1.JPG")
    'ete 1.jpg'
    """
    if not text.isascii():
        parts = unicodedata.normalize("NFKD", text)
        text = "".join(c for c in parts if not unicodedata.category(c).startswith("M"))
    return text.lower()


def _text(text: str) -> str:
    """The text as HTML, also for attributes. A file name may be invalid Unicode."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)
