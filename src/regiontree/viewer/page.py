"""One HTML page that shows a photograph falling apart into its tree of regions.

The page holds everything it needs: style, script, photograph and tree. It opens from a disk as well
as from a server, asks no network for anything, and its content security policy forbids it to. The
tree travels as its leaf labels and its parents; masks, borders and cuts are worked out in the
browser, from the order of divisions that :meth:`RegionTree.cut` itself follows.

Names of files are data: they reach the page as JSON in which no tag can end or begin, and the
script writes them as text, never as HTML.
"""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import re
import tempfile
import zlib
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree._version import __version__
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ImageError, check_number
from regiontree.forest.sources import Source
from regiontree.images import nearest
from regiontree.tree import RegionTree
from regiontree.tree.kernel import accumulate_any
from regiontree.tree.paths import sum_in_order
from regiontree.tree.stop import StopReason

__all__ = ["Links", "asset", "csp_digest", "page_html", "payload"]

# One script in the page, in the order in which its parts rely on each other.
_SCRIPTS = ("tree.js", "png.js", "picture.js", "icicle.js", "words.js", "page.js")
_MAX_EMBEDDED = 1_000_000  # bytes of a tree's file that travel in the page as they are
_QUALITY = 88  # of the photograph's JPEG
_MAX_SIDE = 65_500  # that a JPEG can have


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page finds its surroundings: relative URLs, None for what is not there.

    Attributes
    ----------
    index, previous, next
        Pages: all images, the one before, the one after.
    tree
        The tree's ``.npz``; None embeds it in the page.
    mask
        A PNG of a node at full resolution; ``{node}`` stands for its number.
    cut
        A 16-bit PNG of a cut at full resolution; ``{regions}`` stands for the number of regions.
    photo
        The photograph at the size of the view; None embeds it in the page.
    """

    index: str | None = None
    previous: str | None = None
    next: str | None = None
    tree: str | None = None
    mask: str | None = None
    cut: str | None = None
    photo: str | None = None


def page_html(source: Source, *, longest: int = 1600, links: Links = Links()) -> str:
    """The page of one tree, a whole HTML document that encodes to UTF-8.

    Parameters
    ----------
    source
        The tree and its photograph. One that cannot be read is left out, and the page says so.
    longest
        Sides of the view in pixels at the most, 1 to 65,500: a larger image is scaled down to it.
    links
        What lies around the page.

    Raises
    ------
    SettingsError
        `longest` is not a whole number in its range.
    TreeError
        The tree's natural height is not a number.
    """
    data = payload(source, longest=longest, links=links)
    style = asset("base.css") + asset("page.css")
    script = "".join(map(asset, _SCRIPTS))
    pictures = "data: blob:" + ("" if data["links"]["photo"] is None else " 'self' file:")
    policy = (
        f"default-src 'none'; img-src {pictures}; style-src '{csp_digest(style)}'; "
        f"script-src '{csp_digest(script)}'; base-uri 'none'; form-action 'none'"
    )
    title = data["name"].encode("utf-8", "replace").decode()  # a name may be no Unicode text
    parts = {
        "POLICY": html.escape(policy, quote=True).replace("&#x27;", "'"),
        "TITLE": html.escape(title),
        "STYLE": style,
        "DATA": _inert(data),
        "SCRIPT": script,
    }
    return re.sub("@@([A-Z]+)@@", lambda match: parts[match[1]], asset("page.html"))


def payload(source: Source, *, longest: int = 1600, links: Links = Links()) -> dict[str, Any]:
    """What the page is told of a tree, as JSON values. Parameters and errors as `page_html`.

    Returns
    -------
    dict
        ``name``, ``notices`` (sentences), ``links``; ``shape`` and ``view``, (H, W) of the tree and
        as shown; ``labels``, base64 of the deflated little-endian leaf numbers of the view, each of
        ``label_bytes``; for each node ``parents``, ``area`` (pixels of the tree), ``height``,
        ``ncut`` (None if the tree has none), ``stop``, and ``colors`` and ``means`` (its colour in
        the hierarchy and its mean in the photograph, six hexadecimal digits each); ``reasons``, the
        sentence of each code in ``stop``; ``divisions``, inner nodes in the order in which cuts
        divide them; ``natural``, how many of them the natural cut divides; ``photo``, a URL or
        None; ``tree``, base64 of the ``.npz``, None if there is a link, and ``whole``, whether its
        embedding is in it.
    """
    check_number("longest", longest, 1, _MAX_SIDE, whole=True)
    tree, notices = source.tree, []
    if source.notice:
        notices.append(source.notice)
    shown = source.photo is not None
    try:
        picture = source.picture(longest)
    except ImageError as error:
        notices.append(f"The photograph cannot be shown. {error}")
        shown = False
        picture = Source(tree, source.path).picture(longest)
    made_by = tree.meta.get("software")
    if made_by is not None and made_by != f"regiontree {__version__}":
        notices.append(f"This tree was made by {made_by}; this page by regiontree {__version__}.")
    view: tuple[int, int] = picture.shape[0], picture.shape[1]
    if view != tree.shape:
        (h, w), (height, width) = view, tree.shape
        notices.append(f"Shown at {w} × {h} pixels; the image has {width} × {height}.")

    labels = nearest(tree.labels, view)
    kind = "<u2" if tree.n_leaves <= 1 << 16 else "<u4"
    embedded, whole = (None, True) if links.tree else _tree_file(source)
    photo = links.photo or _data_url(picture) if shown else None
    return {
        "name": source.name,
        "notices": notices,
        "links": asdict(links),
        "shape": tree.shape,
        "view": view,
        "labels": _base64(zlib.compress(labels.astype(kind).tobytes(), 6)),
        "label_bytes": np.dtype(kind).itemsize,
        "parents": tree.parents.tolist(),
        "area": tree.area.tolist(),
        "height": [float(f"{value:.4g}") for value in tree.height],
        "ncut": [float(f"{value:.4g}") for value in tree.ncut] if tree.ncut.any() else None,
        "stop": tree.stop.tolist(),
        "reasons": {int(code): StopReason(int(code)).sentence for code in np.unique(tree.stop)},
        "divisions": tree._divisions.tolist(),
        "natural": _n_divided(tree, tree.cut_nodes()),
        "colors": hierarchy_colors(tree).tobytes().hex(),
        "means": _means(tree, labels, picture).tobytes().hex() if shown else None,
        "photo": photo,
        "tree": embedded,
        "whole": whole,
    }


def _n_divided(tree: RegionTree, nodes: NDArray[np.int64]) -> int:
    """Nodes divided by a cut into `nodes`; for a cut by height, the first of tree._divisions."""
    reached = np.zeros(tree.n_nodes, bool)
    reached[nodes] = True
    return int((accumulate_any(tree.parents, reached) & ~reached).sum())


def _means(
    tree: RegionTree, labels: NDArray[np.int32], picture: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Mean colour of each node in the picture, (N, 3); white for those too small to be in it."""
    flat = labels.reshape(-1)
    total = np.zeros((tree.n_nodes, 4))
    total[: tree.n_leaves, 3] = np.bincount(flat, minlength=tree.n_leaves)
    for channel in range(3):
        values = picture[:, :, channel].reshape(-1)
        total[: tree.n_leaves, channel] = np.bincount(flat, values, minlength=tree.n_leaves)
    total = sum_in_order(tree.parents, total)
    means = np.where(total[:, 3:] > 0, total[:, :3] / np.maximum(total[:, 3:], 1), 255)
    rounded: NDArray[np.uint8] = (means + 0.5).astype(np.uint8)
    return rounded


def _tree_file(source: Source) -> tuple[str, bool]:
    """The tree's file in base64, and whether the embedding is in it: not if that is too much."""
    tree, path = source.tree, source.path
    if path.is_file() and (tree.embedding is None or path.stat().st_size <= _MAX_EMBEDDED):
        return _base64(path.read_bytes()), True
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, None)
    with tempfile.TemporaryDirectory() as folder:
        lighter = RegionTree(*arrays, tree.meta).save(Path(folder) / "tree.npz")
        return _base64(lighter.read_bytes()), tree.embedding is None


def _data_url(picture: NDArray[np.uint8]) -> str:
    jpeg = io.BytesIO()
    Image.fromarray(picture).save(jpeg, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{_base64(jpeg.getvalue())}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _inert(data: Any) -> str:
    """JSON that means the same to a reader of JSON, and nothing to a reader of HTML."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def asset(name: str) -> str:
    """A file of this folder."""
    return (files(__package__) / name).read_text(encoding="utf-8")


def csp_digest(text: str) -> str:
    """A source expression of CSP level 3, section 2.3.1: this text alone may be run."""
    return f"sha256-{_base64(hashlib.sha256(text.encode()).digest())}"
