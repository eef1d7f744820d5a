"""The page of thumbnails: all images of a server or a gallery, with links to their pages.

The page works without its script. The script adds keys and a filter by name. The page loads
nothing but its thumbnails.
"""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from regiontree.display.pictures import cut_picture
from regiontree.errors import ImageError
from regiontree.forest.sources import Outline, Source
from regiontree.viewer.document import document

__all__ = ["Card", "index_html", "problem_html", "thumbnail"]

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
        """How many regions the thumbnail shows, and how many leaves the tree has."""
        shown, most = min(self.outline.n_regions, _REGIONS), self.outline.n_leaves
        return f"{shown} of {most:,} regions" if shown < most else _count(most, "region")


def index_html(cards: Sequence[Card], title: str) -> str:
    """The page of thumbnails, a whole HTML document that can be encoded as UTF-8."""
    rows = "\n".join(_row(card) for card in cards)
    facts = _count(len(cards), "image")
    return _page(title, f'<ul id="images">\n{rows}\n</ul>', facts=facts, script="thumbnails")


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
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _row(card: Card) -> str:
    outline = card.outline
    name, size, notice = _text(outline.name), "", ""
    if outline.shape:  # so that the browser can lay out the page before the pictures are loaded
        height, width = _stretched(outline.shape)
        size = f' width="{width}" height="{height}"'
    if outline.notice:
        said = _text(outline.notice)
        notice = f'<span class="mark" title="{said}"><span class="unseen">{said}</span></span>'
    return (
        f'<li><a href="{_text(card.page)}" title="{name}">'
        f'<img src="{_text(card.thumbnail)}" alt=""{size} loading="lazy" decoding="async">'
        f'<span class="caption"><span class="name">{name}</span>'
        f'<span class="facts">{notice}{card.facts}</span></span></a></li>'
    )


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


def _text(text: str) -> str:
    """The text as HTML, also for attributes. A file name may be invalid Unicode."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)
