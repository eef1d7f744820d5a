"""Cut polygons in longitude and latitude at the antimeridian, as RFC 7946 asks (section 3.1.9).

A polygon that crosses the meridian of 180 degrees becomes several polygons with longitudes in
[-180, 180]. A polygon around a pole gets the pole: a part of its boundary then runs along the
meridian of 180 degrees to the pole, along the pole, and back.

The method is that of d3-geo. Rings are broken where they meet the antimeridian or a pole. Each
part, a *chain*, then lies on a plane map of the Earth, the rectangle of longitudes from -180 to 180
and latitudes from -90 to 90. From the end of each chain, the boundary follows the frame of the map
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
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

__all__ = ["Point", "Polygon", "Ring", "cut_polygon", "join_at_meridian"]

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
        _break(list(_short_way(ring) if around else _straight(ring)), around, chains, closed)
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
    for a, b in _edges(ring):
        if abs(a[1]) == 90:
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


def _break(
    edges: Sequence[_Edge],
    around: bool,
    chains: dict[int, list[list[Point]]],
    closed: dict[int, list[list[Point]]],
) -> None:
    """Break a ring where it meets the antimeridian or a pole, or add it to the closed rings."""
    found: list[tuple[int, list[Point]]] = []
    current: list[Point] = []
    for start, end, turn in edges:
        current = current or [start]
        current.append(end)
        if abs(end[0]) == 180 or (around and abs(end[1]) == 90):
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
    lon, lat = point
    if abs(lon) < 180:  # at a pole; no two chains come to it on the same meridian
        position = 1 + (180 - lon) / 360 if lat > 0 else 3 + (180 + lon) / 360
        return _Stop(position, 0.0, begins, chain)
    side = math.copysign(1.0, lon)
    position = (lat + 90) / 180 if side > 0 else 2 + (90 - lat) / 180
    angle = math.atan2(side * (inner[1] - lat), abs(inner[0] - lon))
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
    edges = [edge for ring in rings for edge in _edges(ring)]
    if len({start for start, _ in edges}) == len(edges):
        return list(rings)
    return _traced(edges)


def _traced(edges: Sequence[tuple[Point, Point]]) -> list[list[Point]]:
    """Rings of edges with the inside on their left. At each corner, the ring keeps to the left."""
    onward: dict[Point, list[Point]] = defaultdict(list)
    for start, end in edges:
        onward[start].append(end)
    found = []
    for first in edges:
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


# -- images that go round the Earth ---------------------------------------------------------------


def join_at_meridian(polygons: Sequence[Polygon], meridian: float) -> list[Polygon]:
    """Polygons of one region, joined where two of their sides meet on a meridian.

    An image that goes once round the Earth begins and ends at the same meridian. A region on both
    sides of it is one region there.

    >>> west = [[(-9.0, 0.0), (0.0, 0.0), (0.0, 2.0), (-9.0, 2.0)]]
    >>> east = [[(0.0, 1.0), (5.0, 1.0), (5.0, 2.0), (0.0, 2.0)]]
    >>> for polygon in join_at_meridian([west, east], 0.0):
    ...     print(*polygon[0])
    (0.0, 0.0) (0.0, 1.0) (5.0, 1.0) (5.0, 2.0) (0.0, 2.0) (-9.0, 2.0) (-9.0, 0.0)
    """

    def snapped(ring: Ring) -> list[Point]:
        return [(meridian, lat) if abs(lon - meridian) < 1e-9 else (lon, lat) for lon, lat in ring]

    touching: list[Polygon] = []
    others: list[Polygon] = []
    edges: list[tuple[Point, Point]] = []
    north: set[tuple[float, float]] = set()
    south: set[tuple[float, float]] = set()
    for polygon in polygons:
        rings = [snapped(ring) for ring in polygon]
        sides = [(a, b) for ring in rings for a, b in _edges(ring) if a[0] == b[0] == meridian]
        (touching if sides else others).append(rings)
        north |= {(a[1], b[1]) for a, b in sides if a[1] < b[1]}
        south |= {(b[1], a[1]) for a, b in sides if a[1] > b[1]}
    stops = sorted({lat for side in north | south for lat in side})
    shared = _parts(north, stops) & _parts(south, stops)
    if not shared:
        return touching + others
    for a, b in (edge for rings in touching for ring in rings for edge in _edges(ring)):
        if a[0] == b[0] == meridian:
            parts = _parts({(min(a[1], b[1]), max(a[1], b[1]))}, stops) - shared
            for low, high in sorted(parts):
                ends = (meridian, low), (meridian, high)
                edges.append(ends if a[1] < b[1] else ends[::-1])
        else:
            edges.append((a, b))
    return others + _with_holes(_traced(edges))


def _parts(sides: set[tuple[float, float]], stops: Sequence[float]) -> set[tuple[float, float]]:
    """Sides divided at all stops that lie on them."""
    found = set()
    for low, high in sides:
        inner = stops[bisect_left(stops, low) : bisect_left(stops, high) + 1]
        found |= set(zip(inner, inner[1:], strict=False))
    return found


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
