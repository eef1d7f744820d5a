"""Cut polygons in longitude and latitude at the antimeridian, as RFC 7946 asks (section 3.1.9).

A polygon that crosses the meridian of 180 degrees becomes several polygons with longitudes in
[-180, 180]. A polygon around a pole gets the pole: a part of its boundary then runs along the
meridian of 180 degrees to the pole, along the pole, and back.

The method is that of d3-geo. Rings are broken where they meet the antimeridian. Each part, a
*chain*, then lies on a plane map of the Earth, the rectangle of longitudes from -180 to 180 and
latitudes from -90 to 90. From the end of each chain, the boundary follows the frame of the map
counter-clockwise to the next beginning of a chain.

Neighbours stay neighbours. An edge of two polygons meets the antimeridian at the same point for
both, bit for bit.

>>> across = [(179, 0), (-179, 0), (-179, 1), (179, 1)]  # two degrees wide
>>> for polygon in cut_polygon([across], around=True):
...     print(polygon)
[[(180.0, 1.0), (179, 1), (179, 0), (180.0, 0.0)]]
[[(-180.0, 0.0), (-179, 0), (-179, 1), (-180.0, 1.0)]]

Reference: J. Davies, M. Bostock, d3-geo, ``clip/antimeridian.js`` and ``clip/rejoin.js``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Point", "Polygon", "Ring", "cut_polygon"]

Point = tuple[float, float]
"""Longitude and latitude in degrees."""
Ring = Sequence[Point]
"""Corners of a ring. The first is not repeated at the end. The inside lies on the left."""
Polygon = list[list[Point]]
"""An outer ring, then its holes."""

_CORNERS = ((180.0, -90.0), (180.0, 90.0), (-180.0, 90.0), (-180.0, -90.0))


def cut_polygon(rings: Sequence[Ring], *, around: bool) -> list[Polygon]:
    """The parts of a polygon on a plane map of the Earth.

    Parameters
    ----------
    rings
        The outer ring and the holes of a polygon: outer rings run counter-clockwise where east is
        right and north is up, and holes clockwise.
    around
        What lies between two corners.

        True: longitudes are in [-180, 180], and an edge takes the shorter way round the Earth. A
        corner of latitude 90 or -90 is a pole; its longitude does not matter.

        False: edges are straight in the numbers given. So longitudes may go beyond 180, and an edge
        from -180 to 180 goes once round the Earth.

    Returns
    -------
    list of polygons
        Longitudes are in [-180, 180]. A polygon that does not meet the antimeridian is returned
        with the same corners.
    """
    if all(-180 < lon < 180 and -90 < lat < 90 for ring in rings for lon, lat in ring) and not (
        around and any(_crosses(a, b) for ring in rings for a, b in _edges(ring))
    ):
        return [[list(ring) for ring in rings]]
    chains: dict[int, list[list[Point]]] = defaultdict(list)
    closed: dict[int, list[list[Point]]] = defaultdict(list)
    for ring in rings:
        _break(list(_short_way(ring) if around else _straight(ring)), chains, closed)
    polygons = []
    for turn in sorted({*chains, *closed}):
        polygons += _with_holes(_separated([*closed[turn], *_joined(chains[turn])]))
    return polygons


class _Edge(NamedTuple):
    """A straight part of a ring on the map. `turn` counts how often the map was repeated."""

    start: Point
    end: Point
    turn: int = 0


def _edges(ring: Ring) -> Iterator[tuple[Point, Point]]:
    yield from zip(ring, [*ring[1:], ring[0]], strict=True)


def _crosses(a: Point, b: Point) -> bool:
    """Whether the shorter way between two points crosses the antimeridian."""
    return abs(a[0] - b[0]) > 180


# -- edges on the map -----------------------------------------------------------------------------
# Each edge is split where it meets the antimeridian. Edges along it are left out: the frame of the
# map replaces them.


def _straight(ring: Ring) -> Iterator[_Edge]:
    """The edges of a ring whose longitudes count on beyond 180 degrees."""
    for a, b in _edges(ring):
        west, east = sorted((a, b))  # neighbours compute the same crossings
        lines = range(math.floor((west[0] + 180) / 360) + 1, math.ceil((east[0] + 180) / 360))
        stops = []
        for line in (360.0 * number - 180 for number in lines):
            share = (line - west[0]) / (east[0] - west[0])
            stops.append((line, west[1] + share * (east[1] - west[1])))
        path = [west, *stops, east]
        if a != west:
            path.reverse()
        for start, end in zip(path, path[1:], strict=False):
            if start[0] == end[0] and (start[0] + 180) % 360 == 0:
                continue
            turn = math.floor(((start[0] + end[0]) / 2 + 180) / 360)
            yield _Edge(_turned(start, turn), _turned(end, turn), turn)


def _turned(point: Point, turn: int) -> Point:
    return (point[0] - 360 * turn, point[1]) if turn else point


def _short_way(ring: Ring) -> Iterator[_Edge]:
    """The edges of a ring that takes the shorter way round the Earth between its corners."""
    for i, (a, b) in enumerate(_edges(ring)):
        if abs(a[1]) == 90:
            yield from _along_pole(ring[i - 1][0], b[0], a[1])
            a = (b[0], a[1])
        elif abs(b[1]) == 90:
            b = (a[0], b[1])
        a_on, b_on = abs(a[0]) == 180, abs(b[0]) == 180
        if a_on and b_on:
            continue
        if a_on or b_on:  # which side of the map the point on the antimeridian lies on
            side = math.copysign(180.0, b[0] if a_on else a[0])
            yield _Edge((side, a[1]) if a_on else a, (side, b[1]) if b_on else b)
        elif _crosses(a, b):
            east, west = max(a, b), min(a, b)  # neighbours compute the same crossing
            share = (180 - east[0]) / (west[0] + 360 - east[0])
            lat = float(east[1] + share * (west[1] - east[1]))
            yield _Edge(a, (math.copysign(180.0, a[0]), lat))
            yield _Edge((math.copysign(180.0, b[0]), lat), b)
        else:
            yield _Edge(a, b)


def _along_pole(start: float, end: float, pole: float) -> Iterator[_Edge]:
    """Along the upper or lower side of the map, with the inside on the left.

    The ring comes to the pole on one meridian and leaves it on another. Between them, the inside
    touches the pole.
    """
    onward = 180.0 if pole < 0 else -180.0  # eastwards round the south pole
    start = -onward if abs(start) == 180 else start
    end = onward if abs(end) == 180 else end
    if (end - start) * onward > 0:
        yield _Edge((start, pole), (end, pole))
        return
    if start != onward:
        yield _Edge((start, pole), (onward, pole))
    if end != -onward:
        yield _Edge((-onward, pole), (end, pole))


def _break(
    edges: Sequence[_Edge],
    chains: dict[int, list[list[Point]]],
    closed: dict[int, list[list[Point]]],
) -> None:
    """Break a ring where it meets the antimeridian, or add it to the closed rings."""
    found: list[tuple[int, list[Point]]] = []
    current: list[Point] = []
    for start, end, turn in edges:
        current = current or [start]
        current.append(end)
        if abs(end[0]) == 180:
            found.append((turn, current))
            current = []
    if current and not found:
        closed[edges[0].turn].append(current[:-1])
        return
    if current:  # the ring began in the middle of a chain
        found[0][1][:0] = current[:-1]
    for turn, chain in found:
        chains[turn].append(chain)


# -- from chains to rings -------------------------------------------------------------------------


class _Stop(NamedTuple):
    """Where a chain begins or ends on the frame of the map."""

    position: float  # counter-clockwise, from the lower right corner: four sides, 0 to 4
    angle: float  # order of chains at one point, met along the inner side of the frame
    begins: bool
    chain: int


def _stop(point: Point, inner: Point, begins: bool, chain: int) -> _Stop:
    side = math.copysign(1.0, point[0])
    position = (point[1] + 90) / 180 if side > 0 else 2 + (90 - point[1]) / 180
    angle = math.atan2(side * (inner[1] - point[1]), abs(inner[0] - point[0]))
    return _Stop(position, angle, begins, chain)


def _joined(chains: Sequence[list[Point]]) -> Iterator[list[Point]]:
    """Rings of chains and of parts of the frame."""
    stops = sorted(
        stop
        for i, chain in enumerate(chains)
        for stop in (_stop(chain[0], chain[1], True, i), _stop(chain[-1], chain[-2], False, i))
    )
    # Where the inside is left of a chain that ends, the frame beyond its end is inside, up to the
    # next chain that begins.
    follower: dict[int, tuple[int, list[Point]]] = {}
    taken: set[int] = set()
    for i, end in enumerate(stops):
        if end.begins:
            continue
        for lap, start in [*((0, s) for s in stops[i:]), *((4, s) for s in stops[:i])]:
            if start.begins and start.chain not in taken:
                taken.add(start.chain)
                passed = _corners(end.position, start.position + lap)
                follower[end.chain] = (start.chain, passed)
                break
    while follower:
        chain = next(iter(follower))
        ring: list[Point] = []
        while chain in follower:
            following, passed = follower.pop(chain)
            ring += [*chains[chain], *passed]
            chain = following
        yield [p for i, p in enumerate(ring) if p != ring[i - 1]]


def _corners(start: float, end: float) -> list[Point]:
    """The corners of the map between two positions on its frame."""
    return [_CORNERS[side % 4] for side in range(math.floor(start) + 1, math.ceil(end))]


def _separated(rings: Sequence[list[Point]]) -> list[list[Point]]:
    """Rings of the same inside, each round a connected part of it, and without a corner twice.

    Where rings touch at a corner, the antimeridian may have parted what was connected elsewhere.
    """
    onward: dict[Point, list[Point]] = defaultdict(list)
    for ring in rings:
        for a, b in _edges(ring):
            onward[a].append(b)
    if all(len(ends) == 1 for ends in onward.values()):
        return list(rings)
    found = []
    for ring in rings:
        for first in _edges(ring):
            walk, edge = [], first
            while onward[edge[1]]:
                before, here = edge
                walk.append(here)
                _, after = max((_turn(before, here, after), after) for after in onward[here])
                onward[here].remove(after)
                edge = here, after
                if edge == first:
                    break
            found += [loop for loop in _loops(walk) if len(loop) > 2]
    return found


def _turn(before: Point, here: Point, after: Point) -> float:
    """How far a path turns to the left at a point: radians, in (-pi, pi]."""
    x0, y0 = here[0] - before[0], here[1] - before[1]
    x1, y1 = after[0] - here[0], after[1] - here[1]
    return math.atan2(x0 * y1 - y0 * x1, x0 * x1 + y0 * y1)


def _loops(walk: list[Point]) -> Iterator[list[Point]]:
    """The rings of a closed walk that touches itself at corners, each without a corner twice."""
    path: list[Point] = []
    at: dict[Point, int] = {}
    for point in walk:
        if point in at:
            loop = path[at[point] :]
            yield loop
            for gone in loop[1:]:
                del at[gone]
            del path[at[point] + 1 :]
        else:
            at[point] = len(path)
            path.append(point)
    yield path


# -- holes ----------------------------------------------------------------------------------------


def _area(ring: Ring) -> float:
    """Signed area in square degrees, positive if the ring runs counter-clockwise."""
    lon, lat = ring[0]
    return 0.5 * sum(
        (a[0] - lon) * (b[1] - lat) - (b[0] - lon) * (a[1] - lat) for a, b in _edges(ring)
    )


def _with_holes(rings: Sequence[list[Point]]) -> list[Polygon]:
    """Polygons of outer rings and holes."""
    areas = [_area(ring) for ring in rings]
    outer = sorted((area, i) for i, area in enumerate(areas) if area > 0)
    polygons = {i: [rings[i]] for _, i in outer}
    for ring, area in zip(rings, areas, strict=True):
        if area < 0 and outer:
            inside = (i for _, i in outer if len(outer) == 1 or _contains(rings[i], ring))
            polygons[next(inside, outer[-1][1])].append(ring)
    return [polygons[i] for i in sorted(polygons)]


def _contains(outer: Ring, hole: Ring) -> bool:
    """Whether a ring contains another that it does not cross, though both may share corners."""
    (x0, y0), (x1, y1) = hole[0], hole[1]
    x, y = (x0 + x1) / 2, (y0 + y1) / 2
    inside = False
    for (ax, ay), (bx, by) in _edges(outer):
        if (ay > y) != (by > y) and x < ax + (y - ay) / (by - ay) * (bx - ax):
            inside = not inside
    return inside
