"""The page of thumbnails: every image of a server or a gallery, each a link to its own page.

It is plain HTML, whole without its script, which only adds the keyboard and a filter by name. Like
the page of one tree it asks no network for anything but its thumbnails.
"""

from __future__ import annotations

import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from regiontree.display.pictures import cut_picture
from regiontree.errors import ImageError
from regiontree.forest.sources import Outline, Source
from regiontree.viewer.page import asset, csp_digest

__all__ = ["Card", "index_html", "problem_html", "thumbnail"]

_WIDTH = 480  # longer side of a thumbnail, twice what it is shown at
_REGIONS = 64  # at the most in a thumbnail: more would be noise
_THINNEST = 4  # times longer than wide, or wider than long, is a thumbnail at the most
_QUALITY = 85


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
        """How many regions the thumbnail shows, and of how many."""
        shown, most = min(self.outline.n_regions, _REGIONS), self.outline.n_leaves
        return f"{shown} of {most:,} regions" if shown < most else _count(most, "region")


def index_html(cards: Sequence[Card], title: str) -> str:
    """The page of thumbnails, a whole HTML document that encodes to UTF-8."""
    rows = "\n".join(_row(card) for card in cards)
    return _document(
        title, f'<ul id="images">\n{rows}\n</ul>', facts=_count(len(cards), "image"), script=True
    )


def problem_html(sentence: str, home: str | None = None) -> str:
    """A page that says why there is nothing to see; `home` is where to go on."""
    link = f'<p><a href="{_text(home)}">All images</a></p>' if home else ""
    return _document("Nothing to show", f"<p>{_text(sentence)}</p>{link}")


def thumbnail(source: Source) -> bytes:
    """The natural cut over the photograph, as JPEG; over white where there is no photograph."""
    tree = source.tree
    try:
        photo = source.picture(_WIDTH) if source.photo else None
    except ImageError:
        photo = None
    n_regions = min(len(tree.cut_nodes()), _REGIONS)
    picture = cut_picture(tree, photo, n_regions=n_regions, width=_WIDTH)
    height, width = _stretched((picture.height, picture.width))
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.NEAREST)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _row(card: Card) -> str:
    outline = card.outline
    name, size, notice = _text(outline.name), "", ""
    if outline.shape:  # so that the page has its layout before its pictures
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
    """(height, width) of a thumbnail: what is thinner than that is made as wide, not cut off."""
    height, width = shape
    return max(height, width // _THINNEST), max(width, height // _THINNEST)


def _document(title: str, body: str, *, facts: str = "", script: bool = False) -> str:
    style, code = asset("base.css") + asset("index.css"), asset("index.js")
    policy = (
        f"default-src 'none'; img-src 'self' file: data:; style-src '{csp_digest(style)}'; "
        f"script-src '{csp_digest(code)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": policy,
        "TITLE": _text(title),
        "FACTS": facts,
        "STYLE": style,
        "BODY": body,
        "SCRIPT": f'<script type="module">{code}</script>' if script else "",
    }
    return re.sub("@@([A-Z]+)@@", lambda match: parts[match[1]], asset("index.html"))


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _text(text: str) -> str:
    """Text as HTML, in attributes too; a file name may be no Unicode text."""
    return html.escape(text.encode("utf-8", "replace").decode(), quote=True)
