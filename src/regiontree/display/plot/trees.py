"""The tree itself, every node a picture of its region."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import MaxNLocator

from regiontree.display.plot.axes import COLUMN, FONT, column_axes, figure_of
from regiontree.display.plot.cards import CARD_PIXELS, draw_card, picture_height, share_text
from regiontree.display.plot.layout import Layout, by_height, by_level, drawn_parents, elbow
from regiontree.display.plot.scene import Scene, top_height
from regiontree.errors import SettingsError
from regiontree.tree import RegionTree

__all__ = ["tree_figure"]

_RULE = "#d8dade"


def tree_figure(
    tree: RegionTree,
    image: Any = None,
    *,
    n_regions: int = 12,
    nodes: Iterable[int] | None = None,
    axis: Literal["level", "height"] = "level",
    ax: Axes | None = None,
) -> Figure:
    """The tree from the root down. Nodes are pictures of regions, with their share of the area.

    A picture shows the region and a little around it, which is faded.

    Parameters
    ----------
    image
        Path, Pillow image or array of the photograph; None draws plain colours.
    n_regions
        The tree is drawn down to this cut: see :meth:`RegionTree.cut`. 8 to 24 print well.
    nodes
        Draw these nodes and the root instead, such as ``tree.salient(12)``. Each is put under the
        lowest of them that holds it.
    axis
        Meaning of the vertical axis. With "level" every node has a picture. With "height" the tree
        is a dendrogram: divisions are at their heights, and the highest have pictures if there is
        room.
    ax
        Where to draw. The figure is scaled to fit.

    Raises
    ------
    SettingsError
        `axis` is neither "level" nor "height".
    TreeError
        A node does not exist.
    """
    if axis not in ("level", "height"):
        raise SettingsError(f"axis must be 'level' or 'height', got {axis!r}")
    scene = Scene.of(tree, image, CARD_PIXELS)
    parents = drawn_parents(tree, n_regions, nodes)
    lay_out = by_level if axis == "level" else by_height
    layout = lay_out(tree, parents, picture_height(scene))
    ax, scale = column_axes(ax, layout.box, COLUMN)
    _draw_edges(ax, scene, layout, parents, axis, scale)
    for node, (x, y, size) in layout.cards.items():
        draw_card(ax, scene, node, (x, y, size), share_text(tree, node), scale * size)
    if axis == "height":
        _draw_heights(ax, tree, layout, scale)
    return figure_of(ax)


# -- drawing --------------------------------------------------------------------------------------


def _draw_edges(
    ax: Axes, scene: Scene, layout: Layout, parents: dict[int, int], axis: str, scale: float
) -> None:
    """Edges from each node up, in the node's colour, the wider the larger its share of the area."""
    shape, ends = (_curve, "butt") if axis == "level" else (elbow, "projecting")
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


def _draw_heights(ax: Axes, tree: RegionTree, layout: Layout, scale: float) -> None:
    """The axis of a dendrogram, at its left."""
    left, right, _, _ = layout.box
    text: dict[str, Any] = {"size": FONT * scale, "va": "center"}
    top = top_height(tree)
    for height in MaxNLocator(5).tick_values(0.0, top):
        y = (1 - height / top) * layout.span
        if y < -1e-6:  # above the root
            continue
        ax.plot([left + 0.45, right], [y, y], color=_RULE, linewidth=0.5 * scale, zorder=0)
        ax.text(left + 0.4, y, f"{height:.6g}", ha="right", **text)
    ax.text(left + 0.1, layout.span / 2, "height", rotation=90, ha="center", **text)
