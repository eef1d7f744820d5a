"""Photograph, cut, hierarchy and tree on one sheet."""

from __future__ import annotations

from typing import Any

from matplotlib.figure import Figure

from regiontree.display.pictures import drawn_size
from regiontree.display.plot.axes import HEAD, add_panel, new_figure
from regiontree.display.plot.cards import CARD_PIXELS
from regiontree.display.plot.maps import MAP_PIXELS, draw_panel, hierarchy_map
from regiontree.display.plot.scene import Scene
from regiontree.display.plot.trees import tree_figure
from regiontree.images import load_again
from regiontree.tree import RegionTree

__all__ = ["overview"]


def overview(tree: RegionTree, image: Any = None, *, n_regions: int = 16) -> Figure:
    """Photograph, cut, hierarchy, and the tree down to the cut: the figure of ``tree.show()``."""
    if image is not None:  # read once, for all panels
        size = drawn_size(tree.shape, CARD_PIXELS)
        image = load_again(image, tree.meta, shape=tree.shape, cover=size).rgb
    scene = Scene.of(tree, image, MAP_PIXELS)
    panels = [n_regions] if scene.photo is None else [None, n_regions]
    width, high = scene.inches(area=5.5)
    shrink = min(1.0, 4.0 / width, 3.2 / high)
    width, high = width * shrink, high * shrink
    pitch = high + HEAD + 0.1
    figure = new_figure(12, pitch * (len(panels) + 1))
    places = [add_panel(figure, 0, k * pitch + HEAD, width, high) for k in range(len(panels) + 1)]
    for ax, count in zip(places, panels, strict=False):
        draw_panel(ax, scene, count)
    hierarchy_map(tree, image, ax=places[-1])
    beside = width + 0.3
    ax = add_panel(figure, beside, 0, 12 - beside, pitch * (len(panels) + 1))
    return tree_figure(tree, image, n_regions=n_regions, ax=ax)
