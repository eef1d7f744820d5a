"""One HTML page that shows a photograph and its tree of regions.

The page contains all that it needs: style, script, photograph and tree. So it opens from a disk as
well as from a server. It asks no network for anything: its content security policy forbids this.

The page receives the labels of the leaves and the parents of the nodes. The browser computes masks,
borders and cuts. It divides nodes in the same order as :meth:`RegionTree.cut`.

A file name may contain HTML, which must not become part of the page. So names reach the page as
JSON in which every ``<``, ``>`` and ``&`` is escaped, and the script writes them as text.
"""

from __future__ import annotations

import base64
import html
import json
import tempfile
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.display.pictures import hierarchy_colors, jpeg
from regiontree.errors import ImageError, check_number
from regiontree.forest.origin import without_path
from regiontree.forest.sources import Source
from regiontree.images import nearest
from regiontree.tree import RegionTree
from regiontree.tree.kernel import accumulate_any
from regiontree.tree.paths import sum_in_order
from regiontree.tree.stop import StopReason
from regiontree.viewer.document import document

__all__ = ["Links", "inert", "packed", "page_html", "payload", "tree_file"]

_MAX_EMBEDDED = 1_000_000  # bytes: a larger tree file goes into the page without its embedding
_QUALITY = 88  # of the photograph's JPEG
_MAX_SIDE = 65_500  # pixels: the longest side that a JPEG can have


@dataclass(frozen=True, slots=True)
class Links:
    """Where a page finds what lies around it: relative URLs, None for what is not there.

    Attributes
    ----------
    index, previous, next
        The page of all images, of the image before this one, and of the image after this one.
    tree
        The tree's ``.npz`` file. If None, the page contains the file.
    mask
        A PNG of a node's mask at full resolution; ``{node}`` stands for the number of the node. If
        None, the page makes the PNG, at the size of the view.
    cut
        A 16-bit PNG of a cut at full resolution; ``{regions}`` stands for the number of regions. If
        None, the page makes the PNG, at the size of the view.
    photo
        The photograph at the size of the view. If None, the page contains the photograph.
    whole, pieces
        Of a page of pieces, the page of the tree that they are pieces of; of another page, the page
        of its pieces.
    """

    index: str | None = None
    previous: str | None = None
    next: str | None = None
    tree: str | None = None
    mask: str | None = None
    cut: str | None = None
    photo: str | None = None
    whole: str | None = None
    pieces: str | None = None


def page_html(source: Source, *, longest: int = 1600, links: Links = Links()) -> str:
    """The page of one tree, a whole HTML document that can be encoded as UTF-8.

    Parameters
    ----------
    source
        The tree and its photograph. If the photograph cannot be read, the page says so and shows
        the tree alone.
    longest
        The longest side of the view in pixels, 1 to 65,500. A larger image is scaled down.
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
    title = data["name"].encode("utf-8", "replace").decode()  # a file name may be no valid Unicode
    return document(
        "page.html",
        styles=["base.css", "page.css"],
        script="page",
        images="data: blob:" + ("" if links.photo is None else " 'self' file:"),
        parts={"TITLE": html.escape(title), "DATA": inert(data)},
    )


def payload(source: Source, *, longest: int = 1600, links: Links = Links()) -> dict[str, Any]:
    """What the page is told about a tree, as JSON values.

    Parameters and errors are those of `page_html`. The type ``Payload`` in ``web/payload.js`` has
    the same fields.

    Returns
    -------
    dict
        Of the image:

        - ``name``; ``notices``, a list of sentences; ``links``, the fields of `links`.
        - ``shape``, (H, W) of the tree; ``view``, (H, W) as shown.
        - ``photo``, a URL or None.

        Of the tree:

        - ``labels``, the leaf of each pixel of the view: little-endian integers of ``label_bytes``
          bytes each, compressed by deflate, in base64.
        - ``divisions``, inner nodes in the order in which cuts divide them; ``natural``, how many
          of them the natural cut divides.
        - ``reasons``, a sentence for each code in ``stop``.
        - ``tree``, the ``.npz`` file in base64, None if there is a link to it; ``whole``, whether
          the file contains the tree's embedding, if the tree has one.

        Of each node, as lists:

        - ``parents``; ``area`` in pixels of the tree; ``height``; ``ncut``, None if the tree has
          none; ``stop``; ``stability``, None if the tree has none, with a None for each rest.
        - ``colors``, its colour among the hierarchy; ``means``, its mean colour in the photograph,
          None without a photograph. Both have six hexadecimal digits a node, in one text.
    """
    longest = check_number("longest", longest, 1, _MAX_SIDE, whole=True)
    tree, notices = source.tree, []
    if source.notice:
        notices.append(source.notice)
    shown = source.photo is not None
    try:
        picture = source.picture(longest)
    except ImageError as error:
        notices.append(f"The photograph cannot be shown. {error}")
        shown = False
        picture = Source(tree, source.saved).picture(longest)
    made_by = tree.meta.get("software")
    if made_by is not None and made_by != f"regiontree {__version__}":
        notices.append(f"This tree was made by {made_by}; this page by regiontree {__version__}.")
    view: tuple[int, int] = picture.shape[0], picture.shape[1]
    if view != tree.shape:
        (h, w), (height, width) = view, tree.shape
        notices.append(f"Shown at {w} × {h} pixels; the image has {width} × {height}.")

    labels = nearest(tree.labels, view)
    embedded, whole = (None, True) if links.tree else _tree_file(source)
    photo = links.photo or _data_url(picture) if shown else None
    return {
        "name": source.name,
        "notices": notices,
        "links": asdict(links),
        "shape": tree.shape,
        "view": view,
        **packed(labels, tree.n_leaves),
        "parents": tree.parents.tolist(),
        "area": tree.area.tolist(),
        "height": [float(f"{value:.4g}") for value in tree.height],
        "ncut": [float(f"{value:.4g}") for value in tree.ncut] if tree.ncut.any() else None,
        "stop": tree.stop.tolist(),
        "stability": _stability(tree),
        "reasons": {int(code): StopReason(int(code)).sentence for code in np.unique(tree.stop)},
        "divisions": tree._divisions.tolist(),
        "natural": _n_divided(tree, tree.cut_nodes()),
        "colors": hierarchy_colors(tree).tobytes().hex(),
        "means": _means(tree, labels, picture).tobytes().hex() if shown else None,
        "photo": photo,
        "tree": embedded,
        "whole": whole,
    }


def packed(labels: NDArray[np.integer[Any]], n_leaves: int) -> dict[str, Any]:
    """The fields ``labels`` and ``label_bytes`` of :func:`payload`, of the leaves of a view."""
    kind = "<u2" if n_leaves <= 1 << 16 else "<u4"
    data = zlib.compress(labels.astype(kind).tobytes(), 6)
    return {"labels": _base64(data), "label_bytes": np.dtype(kind).itemsize}


def _stability(tree: RegionTree) -> list[float | None] | None:
    """The stability of each node; None for a rest, and for a tree without it."""
    if tree.stability is None:
        return None
    pairs = zip(tree.stability.tolist(), tree.stop.tolist(), strict=True)
    return [None if stop == StopReason.REST else round(own, 3) for own, stop in pairs]


def _n_divided(tree: RegionTree, nodes: NDArray[np.int64]) -> int:
    """How many nodes the cut into `nodes` divides.

    A cut by height divides the first nodes of ``tree._divisions`` and no other.
    """
    reached = np.zeros(tree.n_nodes, bool)
    reached[nodes] = True
    return int((accumulate_any(tree.parents, reached) & ~reached).sum())


def _means(
    tree: RegionTree, labels: NDArray[np.int32], picture: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The mean colour of each node in the picture, (N, 3).

    A node that is too small to be in the picture is white.
    """
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


def tree_file(source: Source, *, embedding: bool = True) -> bytes:
    """The tree's file as it is given away: it does not say in which folder the photograph lies.

    Parameters
    ----------
    source
        The tree.
    embedding
        Whether the file contains the tree's embedding and descriptors.
    """
    tree, path, meta = source.tree, source.path, without_path(source.tree.meta)
    given = embedding and source.is_saved and meta == tree.meta
    if given and path is not None and path.is_file():
        return path.read_bytes()
    vectors, of_leaves = (tree.embedding, tree.descriptor) if embedding else (None, None)
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, vectors)
    with tempfile.TemporaryDirectory() as folder:
        tree = RegionTree(*arrays, meta, of_leaves, tree.stability)
        return tree.save(Path(folder) / "tree.npz").read_bytes()


def _tree_file(source: Source) -> tuple[str, bool]:
    """The tree's file in base64, and whether it contains the embedding and the descriptors.

    If they would make the page too large, they are left out.
    """
    data, tree = tree_file(source), source.tree
    has_none = tree.embedding is None and tree.descriptor is None
    whole = has_none or len(data) <= _MAX_EMBEDDED
    return _base64(data if whole else tree_file(source, embedding=False)), whole


def _data_url(picture: NDArray[np.uint8]) -> str:
    return f"data:image/jpeg;base64,{_base64(jpeg(picture, _QUALITY))}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def inert(data: Any) -> str:
    """The data as JSON in which HTML finds no tag and no character reference."""
    text = json.dumps(data, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
