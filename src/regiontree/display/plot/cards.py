"""Regions as cards: the region cut out of the photograph, over a labelled band in its colour."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from PIL import Image

from regiontree.display.plot.axes import FONT, INK, column_axes, figure_of
from regiontree.display.plot.borders import borders_between, moved
from regiontree.display.plot.scene import Pixels, Scene
from regiontree.tree import RegionTree

__all__ = [
    "CARD",
    "CARD_PIXELS",
    "FOOTER",
    "draw_card",
    "picture_height",
    "salient_figure",
    "share_text",
]

CARD = 0.88
"""Width of a region's picture, in columns."""

FOOTER = 0.17
"""Height of the band below a region's picture, in columns."""
CARD_PIXELS = 2048  # longer side, in pixels, of the photograph that pictures are cut from
"""Longer side in pixels of the photograph that regions' pictures are drawn from."""
_FINEST = 320  # longer side of a card's picture, in pixels


def salient_figure(tree: RegionTree, image: Any = None, *, k: int = 10) -> Figure:
    """The `k` most salient regions, from any level: see :meth:`RegionTree.salient`.

    They stand row by row, the most salient first, each with its share of the area and its height.
    """
    scene = Scene.of(tree, image, CARD_PIXELS)
    nodes = tree.salient(k) or [tree.root]
    across = min(len(nodes), 5)
    pitch = picture_height(scene) + FOOTER + 1 - CARD
    down = pitch * -(-len(nodes) // across)
    margin = (1 - CARD) / 2
    ax, _ = column_axes(None, (-0.5, across - 0.5, -margin, down - margin), 1.4)
    for i, node in enumerate(nodes):
        label = f"{share_text(tree, node)}, height {tree.height[node]:.2f}"
        draw_card(ax, scene, node, (i % across, i // across * pitch, 1.0), label, 1.0)
    return figure_of(ax)


# -- drawing --------------------------------------------------------------------------------------


def draw_card(
    ax: Axes, scene: Scene, node: int, at: tuple[float, float, float], label: str, scale: float
) -> None:
    """A region cut out of the photograph, over a labelled band in its colour.

    `at` is x of the middle, y of the top, and the size. Size 1 is the largest that fits a column.
    `scale` is that of text and lines.
    """
    x, y, size = at
    wide, tall, footer = (size * side for side in (CARD, picture_height(scene), FOOTER))
    color = scene.color(node)
    # The frames come first: in files, pictures drawn directly after one another would be merged.
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
        line = PathPatch(moved(outline, unit, (left, top)), zorder=4)
        line.set(facecolor="none", edgecolor=color, linewidth=0.7 * scale, capstyle="projecting")
        ax.add_patch(line)
    middle = y + tall + footer / 2
    text = ax.text(x, middle, label, ha="center", va="center", zorder=4)
    text.set(size=FONT * scale, color=INK, usetex=False)  # % starts a comment in TeX


def picture_height(scene: Scene) -> float:
    """Height of a card's picture, in columns."""
    return CARD / min(max(scene.aspect, 2 / 3), 2.0)


def _cut_out(scene: Scene, node: int, aspect: float) -> tuple[Pixels, list[Path], tuple[int, int]]:
    """The picture of a region in a window of that aspect, the region's outlines, and their (h, w).

    The window is smaller where the photograph ends. The picture is not finer than print.
    """
    mask = scene.mask(node)
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    # A margin of 12 %. Very small regions get more, to show what is around them.
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
    outlines = borders_between(scene.tree, np.where(mask, node, scene.tree.root))
    return pixels, [*outlines.values()], (h, w)


def share_text(tree: RegionTree, node: int) -> str:
    """A node's share of the image's area, as text."""
    share = tree.area[node] / tree.area[tree.root]
    return f"{share:.1%}" if share >= 0.0005 else "<0.1%"
