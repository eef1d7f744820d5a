"""Borders of regions: from a label image to polygons that fit together without gaps or overlaps.

Borders run along the sides of pixels. A *vertex* is a corner of pixels where a border turns or
where borders meet. Vertices are found once for all regions. Between two vertices a border is
straight. An *arc* is a chain of such borders from one meeting point to the next, so it has one
region on each side. The *rings* of a region are its arcs put together. The arcs of a parent are
those of its children, except the arcs between two of its children.

So neighbours share the same vertices, even where a border of one ends on a straight border of the
other. A parent is exactly the union of its children. This holds for nodes of all levels: every cut
covers the image without gaps or overlaps, and still does after a projection has moved each vertex.

Each of the two regions beside an arc walks along it with itself on the right. So each arc exists
twice, except on the frame of the image. With y downwards, outer rings run clockwise on the screen
and holes counter-clockwise.

In the example, nodes 0 and 1 make node 3. The ring of node 3 goes round both:

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> arcs = trace_arcs(tree.labels)
>>> list(zip(arcs.x.tolist(), arcs.y.tolist()))
[(0, 0), (2, 0), (3, 0), (0, 1), (2, 1), (3, 1), (0, 2), (3, 2)]
>>> for node, polygons in node_polygons(arcs, tree, np.arange(3), all_nodes=True):
...     print(node, [[ring.tolist() for ring in polygon] for polygon in polygons])
0 [[[1, 4, 3, 0]]]
1 [[[1, 2, 5, 4]]]
2 [[[3, 4, 5, 7, 6]]]
3 [[[3, 0, 1, 2, 5, 4]]]
4 [[[5, 7, 6, 3, 0, 1, 2]]]

Reference: the arcs are TopoJSON's (M. Bostock, 2012).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.kernel import connected_pieces
from regiontree.tree.region_tree import RegionTree

__all__ = ["Arcs", "node_polygons", "trace_arcs"]

Ints = NDArray[np.integer[Any]]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Polygon = list[Int64]  # rings, the outer one first


@dataclass(frozen=True, slots=True)
class Arcs:
    """The borders of a partition: V vertices, A arcs, and P connected pieces of regions.

    Attributes
    ----------
    x, y : (V,) int64
        Column and row of each vertex, a corner of pixels: 0 to W and 0 to H, row by row.
    vertices : (S,) int64
        The vertices of all arcs, one arc after the other, each arc without its last vertex.
    start : (A + 1,) int64
        Where in `vertices` each arc begins. The last entry is S.
    piece : (A,) int32
        The piece on the right of each arc.
    twin : (A,) int64
        The same arc walked by the region on the left; -1 if that is outside the image.
    ways : (A, 3) int64
        The arcs by which a ring can go on to the left, straight on, and to the right; -1 if there
        is none.
    area : (A,) int64
        What each arc adds to twice the area of a ring. Holes have negative areas.
    region_of : (P,) int32
        The region of each piece, -1 of the outside.
    """

    x: Int64
    y: Int64
    vertices: Int64
    start: Int64
    piece: Int32
    twin: Int64
    ways: Int64
    area: Int64
    region_of: Int32


# -- from pixels to arcs --------------------------------------------------------------------------


def trace_arcs(labels: Int32) -> Arcs:
    """The arcs of a partition.

    Parameters
    ----------
    labels : (H, W) int32
        The region of each pixel, as :meth:`RegionTree.cut` gives it. Each of 0 to R - 1 occurs.

    Notes
    -----
    An arc is a chain of *steps*. A step is a straight border from one vertex to the next, numbered
    ``4 * vertex + direction``. Directions are 0 to the right, 1 down, 2 to the left and 3 up: plus
    one turns right, plus two turns back.
    """
    labels = np.pad(labels, 1, constant_values=-1)  # the outside is one more region
    x, y, leads = _vertices(labels)
    pieces, region_of = _pieces(labels)
    # Where each step ends: along a border the next vertex is the next in its row or column.
    count = np.arange(len(x))
    down = np.lexsort((y, x))
    ends = np.stack([count + 1, count, count - 1, count], axis=1)
    ends[down, 1], ends[down, 3] = np.roll(down, -1), np.roll(down, 1)
    ends = ends.reshape(-1)
    # The piece on the right of each step: that of the pixel there that touches the vertex. Only
    # steps with a region on their right are walked.
    corners = ((1, 1), (1, 0), (0, 0), (0, 1))
    right = np.stack([pieces[y + dy, x + dx] for dy, dx in corners], axis=1)
    step = np.flatnonzero(leads & (region_of[right] >= 0))
    right = right.reshape(-1)

    # If two borders lead away from a vertex, an arc goes on by the one that does not lead back. If
    # more do, the arc ends. So arcs begin at such vertices. The steps left over form closed arcs.
    end = ends[step]
    onward = (leads @ np.arange(4))[end] - (step + 2) % 4
    meeting = leads.sum(axis=1) > 2
    following = np.full(right.size, -1, dtype=np.int64)
    following[step] = np.where(meeting[end], -1, 4 * end + onward)
    steps, start = _walk(following, firsts=np.concatenate([step[meeting[step // 4]], step]))

    end = ends[steps]
    area = x[steps // 4] * y[end] - x[end] * y[steps // 4]
    arc_of = np.full(right.size, -1, dtype=np.int64)  # of each step
    arc_of[steps] = np.repeat(np.arange(len(start) - 1), np.diff(start))
    first, last = steps[start[:-1]], steps[start[1:] - 1]
    left_straight_right = (last[:, None] + np.array([3, 0, 1])) % 4
    return Arcs(
        x=x,
        y=y,
        vertices=steps // 4,
        start=start,
        piece=right[first],
        twin=arc_of[4 * ends[first] + (first + 2) % 4],
        ways=arc_of[4 * ends[last][:, None] + left_straight_right],
        area=np.add.reduceat(area, start[:-1]),
        region_of=region_of,
    )


def _vertices(labels: Int32) -> tuple[Int64, Int64, NDArray[np.bool_]]:
    """x and y of vertices, row by row; and in which directions borders lead from them, (V, 4)."""
    upright = labels[:, 1:] != labels[:, :-1]
    level = labels[1:] != labels[:-1]
    sides = (level[:, 1:], upright[1:], level[:, :-1], upright[:-1])  # of each corner, by direction
    y, x = np.nonzero((sides[0] | sides[2]) & (sides[1] | sides[3]))
    return x, y, np.stack([side[y, x] for side in sides], axis=1)


def _pieces(labels: Int32) -> tuple[Int32, Int32]:
    """Pieces of regions, connected by sides of pixels, and the region of each piece."""
    begins = np.ones(labels.shape, dtype=bool)  # runs of equal labels in a row
    begins[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(begins, dtype=np.int32).reshape(labels.shape)
    run -= 1
    # Two runs that touch also touch where the later one begins.
    touch = (labels[1:] == labels[:-1]) & (begins[1:] | begins[:-1])
    above, below = run[:-1][touch], run[1:][touch]
    size = int(run[-1, -1]) + 1
    piece = connected_pieces(size, above, below)
    region_of = np.empty(int(piece.max()) + 1, dtype=np.int32)
    region_of[piece] = labels[begins]
    return piece[run], region_of


def _walk(following: Int64, firsts: Int64) -> tuple[Int64, Int64]:
    """Steps of all arcs one after the other, and where each arc begins; then the number of steps.

    From each of `firsts` that is not yet walked, the arc is followed until it ends (-1) or closes.
    """
    steps, start = array("q"), array("q")
    walked = bytearray(len(following))
    on = following.data
    for first in firsts.data:
        if walked[first]:
            continue
        start.append(len(steps))
        step = first
        while step >= 0 and not walked[step]:
            walked[step] = 1
            steps.append(step)
            step = on[step]
    start.append(len(steps))
    return np.asarray(steps), np.asarray(start)


# -- from arcs to polygons ------------------------------------------------------------------------


def node_polygons(
    arcs: Arcs, tree: RegionTree, nodes: Ints, *, all_nodes: bool = False
) -> Iterator[tuple[int, list[Polygon]]]:
    """The polygons of the nodes of a cut, one node at a time.

    Parameters
    ----------
    arcs
        Arcs of the cut's partition, from :func:`trace_arcs`.
    tree
    nodes : (R,)
        The node of each region, ascending, as :meth:`RegionTree.cut_nodes` gives them.
    all_nodes
        Whether to give the nodes above the cut, too.

    Yields
    ------
    tuple of int and list
        A node, ascending, and a polygon for each connected piece of it. A polygon is a list of
        rings: the outer one, then holes. A ring is the numbers of its vertices, (n,) int64 with
        n >= 4. No vertex comes twice.
    """
    region = arcs.region_of[arcs.piece]
    around = np.split(np.argsort(region, kind="stable"), np.cumsum(np.bincount(region))[:-1])
    arcs_of = dict(zip(nodes.tolist(), around, strict=True))
    holder = np.full(len(region) + 1, -1)  # the node of each arc; the last entry means no arc
    whole = arcs.piece.copy()  # the connected piece of its node that each arc bounds

    for node in range(tree.n_nodes) if all_nodes else nodes.tolist():
        if node not in arcs_of:
            below = [arcs_of.pop(child) for child in tree.children(node) if child in arcs_of]
            if not below:  # the node is below the cut
                continue
            own = np.concatenate(below)
            holder[own] = node
            inner = own[holder[arcs.twin[own]] == node]
            # Pieces on the two sides of an arc between children are one piece of the node.
            pieces, index = np.unique(whole[own], return_inverse=True)
            beyond = np.searchsorted(pieces, whole[arcs.twin[inner]])
            here = np.searchsorted(pieces, whole[inner])
            joined = connected_pieces(len(pieces), here, beyond)
            whole[own] = pieces[joined[index]]
            arcs_of[node] = own[holder[arcs.twin[own]] != node]
        own = arcs_of[node]
        yield node, _polygons(arcs, own, whole[own].tolist())


def _polygons(arcs: Arcs, own: Int64, pieces: list[int]) -> list[Polygon]:
    """Polygons of the arcs of one node, by the connected piece that each arc bounds.

    At some corners two pixels of the node touch diagonally. If both are of one piece, the ring
    crosses over to the other pixel. So the ring does not touch itself, and what it encloses becomes
    a hole. If they are of two pieces, the ring stays with its own piece.
    """
    piece_of = dict(zip(own.tolist(), pieces, strict=True))
    follower = {
        arc: next(way for way in ways if piece_of.get(way) == piece)
        for (arc, piece), ways in zip(piece_of.items(), arcs.ways[own].tolist(), strict=True)
    }
    polygons: dict[int, Polygon] = {}
    for arc, piece in piece_of.items():
        chains, area = [], 0
        while arc in follower:
            chains.append(arcs.vertices[arcs.start[arc] : arcs.start[arc + 1]])
            area += int(arcs.area[arc])
            arc = follower.pop(arc)
        if chains:
            rings = polygons.setdefault(piece, [])
            rings.insert(0 if area > 0 else len(rings), np.concatenate(chains))
    return list(polygons.values())
