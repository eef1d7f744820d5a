"""Where a tree's nodes are drawn: in rows by level, or as a dendrogram by height."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from regiontree.display.plot.axes import Box
from regiontree.display.plot.cards import CARD, FOOTER
from regiontree.display.plot.scene import top_height
from regiontree.tree import RegionTree
from regiontree.tree.kernel import accumulate_any, nearest_marked

__all__ = ["Layout", "by_height", "by_level", "drawn_parents", "elbow"]

_SMALL = 0.8  # size of a card inside a dendrogram
_GAP = 0.45  # between levels


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a tree is drawn. The unit is a column, and y points downwards.

    Attributes
    ----------
    cards
        Of each node that has a card: x of the middle, y of the top, and size.
    joints
        Of each node: the point (x, y) that its edges lead to.
    box
        Left, right, top and bottom.
    span
        Length of the axis of heights.
    """

    cards: dict[int, tuple[float, float, float]]
    joints: dict[int, tuple[float, float]]
    box: Box
    span: float = 0.0


def drawn_parents(tree: RegionTree, n_regions: int, nodes: Iterable[int] | None) -> dict[int, int]:
    """The nodes to draw, ascending, each with the lowest drawn node above it; root with root."""
    drawn = np.zeros(tree.n_nodes, dtype=bool)
    if nodes is None:
        drawn[tree.cut_nodes(n_regions=n_regions)] = True
        drawn = accumulate_any(tree.parents, drawn)
    else:
        drawn[[tree.root, *map(tree._checked, nodes)]] = True
    above = nearest_marked(tree.parents, drawn)[tree.parents]
    return {node: int(above[node]) for node in np.flatnonzero(drawn).tolist()}


def by_level(tree: RegionTree, parents: dict[int, int], card: float) -> Layout:
    """Rows by level, with subtrees as near to each other as possible (Reingold and Tilford, 1981).

    `card` is the height of a card's picture.
    """
    children = _children_of(tree, parents)
    aside: dict[int, float] = {}  # from the parent
    outlines: dict[int, list[tuple[float, float]]] = {}  # left and right end of each row below
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
        cards[node] = x + aside[node], y + card + FOOTER + _GAP, 1.0
    joints = {node: (x, y + card / 2) for node, (x, y, _) in cards.items()}
    bottom = max(y for _, y, _ in cards.values()) + card + FOOTER
    left, right = (end(x for x, _, _ in cards.values()) for end in (min, max))
    return Layout(cards, joints, (left - 0.5, right + 0.5, -0.06, bottom + 0.06))


def by_height(tree: RegionTree, parents: dict[int, int], card: float) -> Layout:
    """A dendrogram: leaves in a row below the axis, divisions at their heights.

    The card of an inner node stands on its division, unless the card would hide another card, or
    edges of other nodes.
    """
    children = _children_of(tree, parents)
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
        y = (1 - float(tree.height[node]) / top_height(tree)) * span if own else span + 0.15
        joints[node] = column[node], y
    cards = {leaf: (column[leaf], span + 0.15, 1.0) for leaf in leaves}
    wide, tall = _SMALL * CARD, _SMALL * (card + FOOTER)
    edges = [
        (child, parent, elbow(joints[parent], joints[child]))
        for child, parent in parents.items()
        if child != parent
    ]
    taken: list[Bbox] = []
    for node in sorted(set(parents) - set(leaves), reverse=True):
        x, y = joints[node]
        # The box is shorter by a line, because edges may run along its foot.
        box = Bbox.from_extents(x - wide / 2, y - tall, x + wide / 2, y - 0.02)
        hidden = any(
            edge.intersects_bbox(box, filled=False)
            for child, parent, edge in edges
            if node not in (child, parent)
        )
        if not hidden and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            cards[node] = (x, y - tall, _SMALL)
    bottom = span + 0.15 + card + FOOTER
    return Layout(cards, joints, (-1.0, len(leaves) - 0.5, -tall - 0.06, bottom + 0.06), span)


def elbow(start: tuple[float, float], end: tuple[float, float]) -> Path:
    """An edge of a dendrogram: across, then down."""
    return Path([start, (end[0], start[1]), end])


def _children_of(tree: RegionTree, parents: dict[int, int]) -> dict[int, list[int]]:
    """Children of each drawn node, the largest first."""
    children: dict[int, list[int]] = {node: [] for node in parents}
    for node in sorted(parents, key=lambda node: (-int(tree.area[node]), node)):
        if parents[node] != node:
            children[parents[node]].append(node)
    return children
