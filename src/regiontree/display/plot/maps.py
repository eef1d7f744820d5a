"""Regions on the photograph: the map of all levels, and cuts from coarse to fine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from regiontree.display.pictures import (
    GRANULARITIES,
    distinct_cuts,
    nodes_of_leaves,
    overlay,
    region_count,
)
from regiontree.display.plot.axes import FONT, HEAD, add_panel, figure_of, new_figure, set_title
from regiontree.display.plot.borders import borders_between, moved
from regiontree.display.plot.scene import Pixels, Scene, top_height
from regiontree.tree import RegionTree

__all__ = ["MAP_PIXELS", "draw_panel", "granularity_strip", "hierarchy_map"]

_SLATE = "#6f747c"
MAP_PIXELS = 1024
"""Longer side of a map in pixels."""

_PIXELS = 512  # longer side of a panel


def hierarchy_map(
    tree: RegionTree,
    image: Any = None,
    *,
    n_regions: int = 100,
    scale: bool = False,
    ax: Axes | None = None,
) -> Figure:
    """All levels on one photograph: a border is stronger if its two sides part higher in the tree.

    Parameters
    ----------
    image
        Path, Pillow image or array of the photograph; None draws plain colours.
    n_regions
        The finest regions drawn: see :meth:`RegionTree.cut`.
    scale
        Whether to draw a scale at the right: borders and the heights that they stand for.
    ax
        Where to draw. The unit of its axes is a pixel of the tree.
    """
    scene = Scene.of(tree, image, MAP_PIXELS)
    if ax is None:
        width, height = scene.inches(area=14.0)
        figure = new_figure(width + 0.65 * scale, height + HEAD)
        ax = add_panel(figure, 0, HEAD, width, height)
    found = _draw_cut(ax, scene, n_regions, tint=0.72, by_height=True)
    of = "" if found == tree.n_leaves else f"{found} of "
    set_title(ax, of + region_count(tree.n_leaves))
    if scale:
        _draw_scale(ax, tree)
    return figure_of(ax)


def granularity_strip(
    tree: RegionTree, image: Any = None, *, granularities: Sequence[int] = GRANULARITIES
) -> Figure:
    """A row of cuts from coarse to fine, after the photograph. Equal cuts are shown once.

    Titles give the number of regions of each cut. It can be below the number asked for.
    """
    scene = Scene.of(tree, image, _PIXELS)
    counts = distinct_cuts(tree, granularities)
    panels = counts if scene.photo is None else [None, *counts]
    width, height = scene.inches(area=3.0)
    figure = new_figure(len(panels) * (width + 0.06) - 0.06, height + HEAD)
    for k, count in enumerate(panels):
        draw_panel(add_panel(figure, k * (width + 0.06), HEAD, width, height), scene, count)
    return figure


# -- drawing --------------------------------------------------------------------------------------


def draw_panel(ax: Axes, scene: Scene, count: int | None) -> None:
    """A cut, or the photograph if `count` is None."""
    if count is not None:
        set_title(ax, region_count(_draw_cut(ax, scene, count)))
    elif scene.photo is not None:
        _draw_pixels(ax, scene, scene.photo)
        set_title(ax, "photograph")


def _draw_cut(
    ax: Axes, scene: Scene, count: int, *, tint: float = 0.6, by_height: bool = False
) -> int:
    """A cut in hierarchy colours with its borders; returns the number of its regions."""
    tree = scene.tree
    nodes = tree.cut_nodes(n_regions=count)
    shown = nodes_of_leaves(tree, nodes)[scene.leaves]
    pixels = scene.colors[shown]
    if scene.photo is not None:
        none = np.broadcast_to(0.0, (tree.n_nodes, tree.n_nodes))  # borders are drawn as lines
        pixels = np.asarray(overlay(pixels, shown, scene.photo, tint=tint, strength=none))
    _draw_pixels(ax, scene, pixels)
    borders = borders_between(tree, shown)
    heights = tree.height[np.array([*borders], int)]
    width, opacity = _stroke(tree, heights) if by_height else (0.7, np.ones(len(borders)))
    scale = np.array(tree.shape[::-1]) / shown.shape[::-1]
    strokes = PathCollection(
        [moved(path, scale, -0.5) for path in borders.values()],
        facecolors="none",
        edgecolors=[(1.0, 1.0, 1.0, float(a)) for a in opacity],
        linewidths=width,
        capstyle="projecting",
    )
    ax.add_collection(strokes, autolim=False)
    return len(nodes)


def _draw_pixels(ax: Axes, scene: Scene, pixels: Pixels) -> None:
    (h, w), (height, width) = scene.leaves.shape, scene.tree.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    ax.imshow(pixels, extent=extent, aspect=(h / height) / (w / width), origin="upper")
    ax.set_axis_off()


def _stroke(tree: RegionTree, height: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Width in points and opacity of borders, from the heights of the divisions that make them.

    Both grow with the square root of the height, which is a distance in feature space. The faintest
    borders stay visible.
    """
    share = np.sqrt(np.asarray(height) / top_height(tree))
    return 0.25 + 1.75 * share**1.5, 0.25 + 0.75 * share


def _draw_scale(ax: Axes, tree: RegionTree) -> None:
    """A scale beside a map: borders and the heights that they stand for."""
    heights = top_height(tree) * np.array([0.02, 0.1, 0.25, 0.5, 1.0])
    y = np.sqrt(heights / top_height(tree))
    inch = figure_of(ax).dpi / ax.get_window_extent().width
    side = ax.inset_axes((1 + 0.1 * inch, 0.0, 0.18 * inch, 1.0))
    side.set(xlim=(0, 1), ylim=(0, 1.06), xticks=[], facecolor=_SLATE)
    side.set_yticks(y, [f"{h:.3g}" for h in heights])
    side.yaxis.tick_right()
    side.tick_params(labelsize=FONT, length=0, pad=2)
    side.spines[:].set_visible(False)
    side.grid(visible=False)
    set_title(side, "height")
    for at, width, opacity in zip(y, *_stroke(tree, heights), strict=True):
        side.axhline(at, color="white", linewidth=width, alpha=opacity)
