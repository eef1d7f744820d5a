"""Figures for papers and notebooks, drawn with Matplotlib.

=================  ==============================================================================
hierarchy_map      one photograph with all levels: the higher two regions part, the stronger the
                   border between them
granularity_strip  the photograph and its cuts from coarse to fine
tree_figure        the tree, every node a picture of its region
salient_figure     the regions that hold together best, from any level
overview           photograph, cut, hierarchy and tree: what ``tree.show()`` returns
=================  ==============================================================================

Each returns a Matplotlib ``Figure``; those of one panel draw into ``ax`` if they are given one. In
saved files photographs are images, and borders, edges and text stay lines and text::

    tree_figure(tree, "photo.jpg").savefig("tree.pdf")

Colours are those of every other picture: :func:`regiontree.pictures.hierarchy_colors`. The figures
are unknown to pyplot, which would show them a second time and keep them in memory. No global
setting is touched, and the reader's own (fonts, say) hold.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from regiontree.errors import MissingExtraError, SettingsError
from regiontree.images import load_image, nearest
from regiontree.pictures import (
    GRANULARITIES,
    distinct_cuts,
    drawn_size,
    hierarchy_colors,
    nodes_of_leaves,
    overlay,
    photo_pixels,
    region_count,
)
from regiontree.tree import RegionTree

try:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path
    from matplotlib.ticker import MaxNLocator
    from matplotlib.transforms import Bbox
except ImportError as error:
    raise MissingExtraError("figures need Matplotlib: pip install 'regiontree[plot]'") from error

__all__ = [
    "granularity_strip",
    "hierarchy_map",
    "overview",
    "salient_figure",
    "tree_figure",
]

_INK, _RULE, _SLATE = "#202226", "#d8dade", "#6f747c"
_FONT, _FONT_OF_TITLES = 6.5, 8.0  # points
_HEAD = 0.2  # inches, of a title
_PRINT = 300  # dots an inch, of photographs in saved figures
_MAP, _PANEL, _CARDS = 1024, 512, 2048  # pixels of the longer side that pictures are drawn from

# Trees are laid out in columns, of leaves standing side by side.
_COLUMN = 0.78  # inches
_CARD, _FOOTER = 0.88, 0.17  # width of a region's picture; height of the band under it
_SMALL = 0.8  # size of a card inside a dendrogram
_GAP = 0.45  # between levels
_LARGEST = 2.0  # times the size that new figures are drawn in
_FINEST = 320  # pixels of the longer side of a card's picture

Pixels = NDArray[np.uint8]
Nodes = NDArray[np.int32]
Box = tuple[float, float, float, float]


class _Figure(Figure):
    """A figure that notebooks show without pyplot, and that is saved as finely as print needs."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        super().savefig(file, format="png")
        return file.getvalue()

    def savefig(self, fname: Any, **settings: Any) -> None:
        super().savefig(fname, **{"dpi": _PRINT, **settings})


# -- figures --------------------------------------------------------------------------------------


def hierarchy_map(
    tree: RegionTree,
    image: Any = None,
    *,
    n_regions: int = 100,
    scale: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """All levels on one photograph: a border is the stronger, the higher its two sides part.

    Parameters
    ----------
    image
        Path, Pillow image or array of the photograph; None draws plain colours.
    n_regions
        The finest regions drawn: see :meth:`RegionTree.cut`.
    scale
        Whether to explain the borders, by the heights that they stand for, right of the map.
    ax
        Where to draw; its axes count pixels of the tree.
    """
    scene = _Scene.of(tree, image, _MAP)
    if ax is None:
        width, height = scene.inches(area=14.0)
        figure = _new_figure(width + 0.65 * scale, height + _HEAD)
        ax = _panel(figure, 0, _HEAD, width, height)
    found = _draw_cut(ax, scene, n_regions, tint=0.72, by_height=True)
    of = "" if found == tree.n_leaves else f"{found} of "
    _title(ax, of + region_count(tree.n_leaves))
    if scale:
        _draw_scale(ax, tree)
    return _whole(ax)


def granularity_strip(
    tree: RegionTree, image: Any = None, *, granularities: Sequence[int] = GRANULARITIES
) -> Figure:
    """A row of cuts from coarse to fine, the photograph first; repeated cuts are shown once.

    Titles tell the regions of a cut, which can be fewer than were asked for.
    """
    if not granularities:
        raise SettingsError("granularities is empty: name at least one number of regions")
    scene = _Scene.of(tree, image, _PANEL)
    counts = distinct_cuts(tree, granularities)
    panels = counts if scene.photo is None else [None, *counts]
    width, height = scene.inches(area=3.0)
    figure = _new_figure(len(panels) * (width + 0.06) - 0.06, height + _HEAD)
    for k, count in enumerate(panels):
        _draw_panel(_panel(figure, k * (width + 0.06), _HEAD, width, height), scene, count)
    return figure


def tree_figure(
    tree: RegionTree,
    image: Any = None,
    *,
    n_regions: int = 12,
    nodes: Iterable[int] | None = None,
    axis: Literal["level", "height"] = "level",
    ax: Axes | None = None,
) -> Figure:
    """The tree from the root down, nodes as pictures of their regions with their share of the area.

    A picture holds the region and little around it, what is not of the region faded.

    Parameters
    ----------
    image
        Path, Pillow image or array of the photograph; None draws plain colours.
    n_regions
        The tree is drawn down to this cut: see :meth:`RegionTree.cut`. 8 to 24 print well.
    nodes
        Draw these nodes and the root instead, each under the nearest of them that holds it; say,
        ``tree.salient(12)``.
    axis
        What the vertical stands for. By ``level`` every node is pictured. By ``height`` the tree
        is a dendrogram: divisions lie at their heights, and the highest are pictured where there
        is room.
    ax
        Where to draw; all is scaled to fit.

    Raises
    ------
    SettingsError
        The axis is neither.
    TreeError
        A node does not exist.
    """
    if axis not in ("level", "height"):
        raise SettingsError(f"axis must be 'level' or 'height', got {axis!r}")
    scene = _Scene.of(tree, image, _CARDS)
    parents = _drawn_parents(tree, n_regions, nodes)
    lay_out = _by_level if axis == "level" else _by_height
    layout = lay_out(tree, parents, _children_of(tree, parents), scene.card)
    ax, scale = _columns(ax, layout.box, _COLUMN)
    _draw_edges(ax, scene, layout, parents, axis, scale)
    for node, (x, y, size) in layout.cards.items():
        _draw_card(ax, scene, node, (x, y, size), _share(tree, node), scale * size)
    if axis == "height":
        _draw_heights(ax, tree, layout, scale)
    return _whole(ax)


def salient_figure(tree: RegionTree, image: Any = None, *, k: int = 10) -> Figure:
    """The `k` regions that hold together best, from any level: see :meth:`RegionTree.salient`.

    Row by row, the first first, each with its share of the area and its height.
    """
    scene = _Scene.of(tree, image, _CARDS)
    nodes = tree.salient(k) or [tree.root]
    across = min(len(nodes), 5)
    pitch = scene.card + _FOOTER + 1 - _CARD
    down = pitch * -(-len(nodes) // across)
    margin = (1 - _CARD) / 2
    ax, _ = _columns(None, (-0.5, across - 0.5, -margin, down - margin), 1.4)
    for i, node in enumerate(nodes):
        label = f"{_share(tree, node)}, height {tree.height[node]:.2f}"
        _draw_card(ax, scene, node, (i % across, i // across * pitch, 1.0), label, 1.0)
    return _whole(ax)


def overview(tree: RegionTree, image: Any = None, *, n_regions: int = 16) -> Figure:
    """Photograph, cut and hierarchy, and the tree down to the cut: what ``tree.show()`` returns."""
    if image is not None:  # read once, for all panels
        image = load_image(image, cover=drawn_size(tree.shape, _CARDS)).rgb
    scene = _Scene.of(tree, image, _MAP)
    panels = [n_regions] if scene.photo is None else [None, n_regions]
    width, high = scene.inches(area=5.5)
    shrink = min(1.0, 4.0 / width, 3.2 / high)
    width, high = width * shrink, high * shrink
    pitch = high + _HEAD + 0.1
    figure = _new_figure(12, pitch * (len(panels) + 1))
    places = [_panel(figure, 0, k * pitch + _HEAD, width, high) for k in range(len(panels) + 1)]
    for ax, count in zip(places, panels, strict=False):
        _draw_panel(ax, scene, count)
    hierarchy_map(tree, image, ax=places[-1])
    beside = width + 0.3
    ax = _panel(figure, beside, 0, 12 - beside, pitch * (len(panels) + 1))
    return tree_figure(tree, image, n_regions=n_regions, ax=ax)


# -- a photograph and its regions -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scene:
    """A tree at the size it is drawn.

    Attributes: leaves (h, w); photo (h, w, 3) if there is one, its shades faded (h, w, 1); colors
    (N, 3).
    """

    tree: RegionTree
    leaves: Nodes
    photo: Pixels | None
    faded: Pixels
    colors: Pixels

    @classmethod
    def of(cls, tree: RegionTree, image: Any, longest: int) -> _Scene:
        # Not finer than the image, but finer than labels of patches.
        size = drawn_size(tree.shape, min(longest, max(*tree.shape, 640)))
        photo = None if image is None else photo_pixels(image, size)
        grey = (
            Image.new("L", size[::-1], 128)
            if photo is None
            else Image.fromarray(photo).convert("L")
        )
        faded = (190 + 0.18 * np.asarray(grey, np.float32)).astype(np.uint8)[:, :, None]
        return cls(tree, nearest(tree.labels, size), photo, faded, hierarchy_colors(tree))

    @property
    def aspect(self) -> float:
        """Width over height."""
        height, width = self.leaves.shape
        return float(width / height)

    @property
    def card(self) -> float:
        """Height of a card's picture, in columns."""
        return _CARD / min(max(self.aspect, 2 / 3), 2.0)

    def inches(self, area: float) -> tuple[float, float]:
        """Width and height of a panel of that area."""
        return (area * self.aspect) ** 0.5, (area / self.aspect) ** 0.5

    def color(self, node: int) -> tuple[float, ...]:
        return tuple((self.colors[node] / 255.0).tolist())

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Pixels of a node, (h, w); at least one, however small the node."""
        inside = nodes_of_leaves(self.tree, np.array([node])) == node
        mask: NDArray[np.bool_] = inside[self.leaves]
        if not mask.any():
            at = np.unravel_index(np.argmax(inside[self.tree.labels]), self.tree.shape)
            y, x = (int(at[k]) * mask.shape[k] // self.tree.shape[k] for k in (0, 1))
            mask[y, x] = True
        return mask


def _draw_panel(ax: Axes, scene: _Scene, count: int | None) -> None:
    """A cut, or the photograph if `count` is None."""
    if count is not None:
        _title(ax, region_count(_draw_cut(ax, scene, count)))
    elif scene.photo is not None:
        _draw_pixels(ax, scene, scene.photo)
        _title(ax, "photograph")


def _draw_cut(
    ax: Axes, scene: _Scene, count: int, *, tint: float = 0.6, by_height: bool = False
) -> int:
    """A cut in hierarchy colours with its borders; returns the number of its regions."""
    tree = scene.tree
    nodes = tree.cut_nodes(n_regions=count)
    shown = nodes_of_leaves(tree, nodes)[scene.leaves]
    pixels = scene.colors[shown]
    if scene.photo is not None:
        none = np.broadcast_to(0.0, (tree.n_nodes, tree.n_nodes))  # no borders: they are lines here
        pixels = np.asarray(overlay(pixels, shown, scene.photo, tint=tint, strength=none))
    _draw_pixels(ax, scene, pixels)
    borders = _borders(tree, shown)
    heights = tree.height[np.array([*borders], int)]
    width, opacity = _stroke(tree, heights) if by_height else (0.7, np.ones(len(borders)))
    scale = np.array(tree.shape[::-1]) / shown.shape[::-1]
    strokes = PathCollection(
        [_moved(path, scale, -0.5) for path in borders.values()],
        facecolors="none",
        edgecolors=[(1.0, 1.0, 1.0, float(a)) for a in opacity],
        linewidths=width,
        capstyle="projecting",
    )
    ax.add_collection(strokes, autolim=False)
    return len(nodes)


def _draw_pixels(ax: Axes, scene: _Scene, pixels: Pixels) -> None:
    (h, w), (height, width) = scene.leaves.shape, scene.tree.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(pixels, extent=extent, aspect=(h / height) / (w / width), origin="upper")
    ax.set_axis_off()


def _stroke(tree: RegionTree, height: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Width in points and opacity of the border that divisions of these heights make.

    By the root of the height, a distance in feature space; the faintest stay visible.
    """
    share = np.sqrt(np.asarray(height) / _top(tree))
    return 0.25 + 1.75 * share**1.5, 0.25 + 0.75 * share


def _draw_scale(ax: Axes, tree: RegionTree) -> None:
    """Strokes of borders beside a map, with the heights that they stand for."""
    heights = _top(tree) * np.array([0.02, 0.1, 0.25, 0.5, 1.0])
    y = np.sqrt(heights / _top(tree))
    inch = _whole(ax).dpi / ax.get_window_extent().width
    side = ax.inset_axes((1 + 0.1 * inch, 0.0, 0.18 * inch, 1.0))
    side.set(xlim=(0, 1), ylim=(0, 1.06), xticks=[], facecolor=_SLATE)
    side.set_yticks(y, [f"{h:.3g}" for h in heights])
    side.yaxis.tick_right()
    side.tick_params(labelsize=_FONT, length=0, pad=2)
    side.spines[:].set_visible(False)
    side.grid(visible=False)
    _title(side, "height")
    for at, width, opacity in zip(y, *_stroke(tree, heights), strict=True):
        side.axhline(at, color="white", linewidth=width, alpha=opacity)


def _borders(tree: RegionTree, shown: Nodes) -> dict[int, Path]:
    """The borders of a map (h, w) of nodes, by the lowest node above both sides.

    Lines run between pixels: (0, 0) is the corner of the first.
    """
    runs = [np.empty((0, 5), np.int64)]  # node, x, y, x, y
    for turned in (False, True):
        grid = shown.T if turned else shown
        x, y = np.nonzero((grid[:, :-1] != grid[:, 1:]).T)
        node = _lowest_above(tree, grid[y, x], grid[y, x + 1])
        # A line goes on while the next edge is the next pixel's, in the same column and division.
        stops = (np.diff(y) != 1) | (np.diff(x) != 0) | (np.diff(node) != 0)
        first = np.flatnonzero(np.r_[True, stops][: len(x)])
        last = np.flatnonzero(np.r_[stops, True][: len(x)])
        ends = np.stack([x[first] + 1, y[first], x[last] + 1, y[last] + 1], axis=1)
        ends = ends[:, [1, 0, 3, 2]] if turned else ends
        runs.append(np.concatenate([node[first, None], ends], axis=1))
    lines = np.concatenate(runs)
    borders = {}
    for node in np.unique(lines[:, 0]):
        points = lines[lines[:, 0] == node, 1:].reshape(-1, 2).astype(float)
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], np.uint8), len(points) // 2)
        borders[int(node)] = Path(points, codes)
    return borders


def _lowest_above(tree: RegionTree, first: Nodes, second: Nodes) -> NDArray[np.int64]:
    """The lowest node that holds both of each pair."""
    pairs, index = np.unique(np.stack([first, second]), axis=1, return_inverse=True)
    a, b = pairs.astype(np.int64)
    # Parents come after their children: the smaller of two nodes is never above the other.
    while (a != b).any():
        a, b = np.where(a < b, tree.parents[a], a), np.where(b < a, tree.parents[b], b)
    lowest: NDArray[np.int64] = a[index.reshape(-1)]
    return lowest


def _moved(path: Path, scale: ArrayLike, by: ArrayLike) -> Path:
    return Path(np.asarray(path.vertices) * scale + np.asarray(by), path.codes)


def _top(tree: RegionTree) -> float:
    """Height of the root, to divide by."""
    return float(tree.height[tree.root]) or 1.0


# -- a region -------------------------------------------------------------------------------------


def _draw_card(
    ax: Axes, scene: _Scene, node: int, at: tuple[float, float, float], label: str, scale: float
) -> None:
    """A region cut out of the photograph, over a labelled band in its colour.

    `at`: x of the middle, y of the top, and size, 1 for a card as wide as a column allows. `scale`
    is that of text and lines.
    """
    x, y, size = at
    wide, tall, footer = (size * side for side in (_CARD, scene.card, _FOOTER))
    color = scene.color(node)
    # Frames, picture, outline, text: pictures that followed one another would be merged in files.
    for top, high, fill in ((y, tall, "white"), (y + tall, footer, color)):
        frame = Rectangle((x - wide / 2, top), wide, high, zorder=4)
        frame.set(facecolor=fill, edgecolor=color, linewidth=scale)
        ax.add_patch(frame)
    pixels, outlines, (h, w) = _cut_out(scene, node, wide / tall)
    unit = min(wide / w, tall / h)
    left, top = x - w * unit / 2, y + (tall - h * unit) / 2
    extent = (left, left + w * unit, top + h * unit, top)
    ax.add_image(AxesImage(ax, extent=extent, origin="upper", zorder=4))
    ax.images[-1].set_data(pixels)
    for outline in outlines:
        line = PathPatch(_moved(outline, unit, (left, top)), zorder=4)
        line.set(facecolor="none", edgecolor=color, linewidth=0.7 * scale, capstyle="projecting")
        ax.add_patch(line)
    middle = y + tall + footer / 2
    text = ax.text(x, middle, label, ha="center", va="center", zorder=4)
    text.set(size=_FONT * scale, color=_INK, usetex=False)  # to TeX, % starts a comment


def _cut_out(scene: _Scene, node: int, aspect: float) -> tuple[Pixels, list[Path], tuple[int, int]]:
    """The picture of a region in a window of that aspect, the region's outline, and (h, w) of it.

    The window is narrower or lower where the photograph ends; the picture is no finer than print.
    """
    mask = scene.mask(node)
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # A margin, and around the smallest regions a little of where they are.
    tall = max(1.12 * (rows[-1] + 1 - rows[0]), height / 24)
    wide = max(1.12 * (columns[-1] + 1 - columns[0]), width / 24)
    h = min(ceil(max(tall, wide / aspect)), height)
    w = min(ceil(max(wide, tall * aspect)), width)
    top = min(max(int(rows[0] + rows[-1] + 1 - h) // 2, 0), height - h)
    left = min(max(int(columns[0] + columns[-1] + 1 - w) // 2, 0), width - w)
    step = max(1, max(h, w) // (2 * _FINEST))
    window = slice(top, top + h, step), slice(left, left + w, step)
    mask = mask[window]
    h, w = mask.shape
    whole = scene.colors[node] if scene.photo is None else scene.photo[window]
    pixels = np.where(mask[:, :, None], whole, scene.faded[window])
    if max(h, w) > _FINEST:
        size = [max(1, side * _FINEST // max(h, w)) for side in (w, h)]
        pixels = np.asarray(
            Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX)
        )
    outlines = _borders(scene.tree, np.where(mask, node, scene.tree.root))
    return pixels, [*outlines.values()], (h, w)


def _share(tree: RegionTree, node: int) -> str:
    share = tree.area[node] / tree.area[tree.root]
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"


# -- the shape of the tree ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where a tree is drawn, in columns, y downwards.

    Attributes: cards, node -> (x of the middle, y of the top, size); joints, node -> (x, y) that
    edges lead to; box (left, right, top, bottom); span, the length of the axis of heights.
    """

    cards: dict[int, tuple[float, float, float]]
    joints: dict[int, tuple[float, float]]
    box: Box
    span: float = 0.0


def _drawn_parents(tree: RegionTree, n_regions: int, nodes: Iterable[int] | None) -> dict[int, int]:
    """The nodes to draw, ascending, each with the one it hangs from; the root from itself."""
    if nodes is None:
        drawn = set(tree.cut_nodes(n_regions=n_regions).tolist())
        drawn.update(*(tree.ancestors(node) for node in [*drawn]))
    else:
        drawn = {tree.root, *map(tree._checked, nodes)}
    return {
        node: next((above for above in tree.ancestors(node) if above in drawn), node)
        for node in sorted(drawn)
    }


def _children_of(tree: RegionTree, parents: dict[int, int]) -> dict[int, list[int]]:
    """Children of each drawn node, the largest first."""
    children: dict[int, list[int]] = {node: [] for node in parents}
    for node in sorted(parents, key=lambda node: (-int(tree.area[node]), node)):
        if parents[node] != node:
            children[parents[node]].append(node)
    return children


def _by_level(
    tree: RegionTree, parents: dict[int, int], children: dict[int, list[int]], card: float
) -> _Layout:
    """Rows by level, subtrees as near to one another as they fit (Reingold and Tilford, 1981)."""
    aside: dict[int, float] = {}  # from the parent
    outlines: dict[int, list[tuple[float, float]]] = {}  # ends of each row below, from the node
    for node in parents:
        outline: list[tuple[float, float]] = []
        places = []
        for child in children[node]:
            own = outlines.pop(child)
            place = max((a[1] - b[0] + 1 for a, b in zip(outline, own, strict=False)), default=0.0)
            places.append(place)
            own = [(left + place, right + place) for left, right in own]
            joined = [(a[0], b[1]) for a, b in zip(outline, own, strict=False)]
            outline = joined + outline[len(joined) :] + own[len(joined) :]
        middle = (places[0] + places[-1]) / 2 if places else 0.0
        aside.update(zip(children[node], (place - middle for place in places), strict=True))
        outlines[node] = [(0.0, 0.0), *((left - middle, right - middle) for left, right in outline)]
    cards = {tree.root: (0.0, 0.0, 1.0)}
    for node in sorted(aside, reverse=True):
        x, y, _ = cards[parents[node]]
        cards[node] = x + aside[node], y + card + _FOOTER + _GAP, 1.0
    joints = {node: (x, y + card / 2) for node, (x, y, _) in cards.items()}
    bottom = max(y for _, y, _ in cards.values()) + card + _FOOTER
    left, right = (end(x for x, _, _ in cards.values()) for end in (min, max))
    return _Layout(cards, joints, (left - 0.5, right + 0.5, -0.06, bottom + 0.06))


def _by_height(
    tree: RegionTree, parents: dict[int, int], children: dict[int, list[int]], card: float
) -> _Layout:
    """A dendrogram: leaves in a row below the axis, divisions at their heights.

    A division's card stands on it, unless it would hide another or others' edges.
    """
    leaves, stack = [], [tree.root]
    while stack:
        node = stack.pop()
        stack.extend(reversed(children[node]))
        if not children[node]:
            leaves.append(node)
    span = min(max(0.45 * len(leaves), 3.0), 8.0)
    column = {node: float(k) for k, node in enumerate(leaves)}
    joints = {}
    for node, own in children.items():  # children before their parents
        if own:
            column[node] = (column[own[0]] + column[own[-1]]) / 2
        y = (1 - float(tree.height[node]) / _top(tree)) * span if own else span + 0.15
        joints[node] = column[node], y
    cards = {leaf: (column[leaf], span + 0.15, 1.0) for leaf in leaves}
    wide, tall = _SMALL * _CARD, _SMALL * (card + _FOOTER)
    edges = [
        (child, parent, _elbow(joints[parent], joints[child]))
        for child, parent in parents.items()
        if child != parent
    ]
    taken: list[Bbox] = []
    for node in sorted(set(parents) - set(leaves), reverse=True):
        x, y = joints[node]
        # Shorter by a line: edges that run along its foot are not hidden.
        box = Bbox.from_extents(x - wide / 2, y - tall, x + wide / 2, y - 0.02)
        hidden = any(
            edge.intersects_bbox(box, filled=False)
            for child, parent, edge in edges
            if node not in (child, parent)
        )
        if not hidden and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            cards[node] = (x, y - tall, _SMALL)
    bottom = span + 0.15 + card + _FOOTER
    return _Layout(cards, joints, (-1.0, len(leaves) - 0.5, -tall - 0.06, bottom + 0.06), span)


def _draw_edges(
    ax: Axes, scene: _Scene, layout: _Layout, parents: dict[int, int], axis: str, scale: float
) -> None:
    """From each node to the one it hangs from, in its colour, as wide as its share of the area."""
    shape, ends = (_curve, "butt") if axis == "level" else (_elbow, "projecting")
    for node, parent in parents.items():
        if node == parent:
            continue
        share = float(scene.tree.area[node] / scene.tree.area[scene.tree.root])
        # Where edges meet, the widest lies on top.
        edge = PathPatch(shape(layout.joints[parent], layout.joints[node]), zorder=1 + share)
        edge.set(facecolor="none", edgecolor=scene.color(node), capstyle=ends, joinstyle="miter")
        edge.set_linewidth(scale * (0.8 + 4.0 * share**0.5))
        ax.add_patch(edge)


def _curve(start: tuple[float, float], end: tuple[float, float]) -> Path:
    (x, y), (to_x, to_y) = start, end
    middle = (y + to_y) / 2
    points = [(x, y), (x, middle + 0.2), (to_x, middle - 0.2), (to_x, to_y)]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _elbow(start: tuple[float, float], end: tuple[float, float]) -> Path:
    return Path([start, (end[0], start[1]), end])


def _draw_heights(ax: Axes, tree: RegionTree, layout: _Layout, scale: float) -> None:
    """The axis of a dendrogram, at its left."""
    left, right, _, _ = layout.box
    text: dict[str, Any] = {"size": _FONT * scale, "va": "center"}
    top = _top(tree)
    for height in MaxNLocator(5).tick_values(0.0, top):
        y = (1 - height / top) * layout.span
        if y < -1e-6:  # above the root
            continue
        ax.plot([left + 0.45, right], [y, y], color=_RULE, linewidth=0.5 * scale, zorder=0)
        ax.text(left + 0.4, y, f"{height:.6g}", ha="right", **text)
    ax.text(left + 0.1, layout.span / 2, "height", rotation=90, ha="center", **text)


# -- axes -----------------------------------------------------------------------------------------


def _columns(ax: Axes | None, box: Box, inches: float) -> tuple[Axes, float]:
    """Axes that count columns, new ones of `inches` each, and the scale of text and lines."""
    left, right, top, bottom = box
    wide, tall = right - left, bottom - top
    if ax is None:
        ax = _new_figure(wide * inches, tall * inches).add_axes((0, 0, 1, 1))
    room = ax.get_window_extent()
    scale = min(room.width / wide, room.height / tall) / _whole(ax).dpi / _COLUMN
    margin = max(0.0, scale / _LARGEST - 1) / 2  # a small tree does not fill large axes
    ax.set_xlim(left - margin * wide, right + margin * wide)
    ax.set_ylim(bottom + margin * tall, top - margin * tall)
    ax.set_aspect("equal")
    ax.set_axis_off()
    return ax, min(scale, _LARGEST)


def _new_figure(width: float, height: float) -> Figure:
    """Of that many inches, everything placed by us."""
    figure = _Figure(figsize=(width, height))
    figure.set_layout_engine("none")
    return figure


def _panel(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Axes placed in inches, from the upper left corner."""
    across, down = figure.get_size_inches()
    place = left / across, 1 - (top + height) / down, width / across, height / down
    return figure.add_axes(place)


def _title(ax: Axes, text: str) -> None:
    ax.set_title(text, loc="left", fontsize=_FONT_OF_TITLES, pad=3)


def _whole(ax: Axes) -> Figure:
    """The figure that axes are in, not the part of one."""
    return cast(Figure, ax.get_figure(root=True))
