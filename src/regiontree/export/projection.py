"""Where the vertices of polygons lie on the map, and which points lie between them.

A border is straight in pixels. On the map it is straight, too, if only an affine transform is
applied. In degrees, it is usually bent. So points are added to a long border until it is right to a
quarter of a pixel. Neighbours share them, as they share their vertices.

GDAL converts coordinates, through rasterio.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError
from regiontree.export.antimeridian import Point
from regiontree.system.damage import plain_reason
from regiontree.system.extras import optional
from regiontree.tree.borders import Arcs

__all__ = [
    "OnMap",
    "Transform",
    "borders_of",
    "given_place",
    "known_crs",
    "place_vertices",
    "rasterio_package",
    "six_numbers",
]

Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Points = tuple[Floats, Floats]  # longitudes and latitudes, or x and y
Warp = Callable[[Floats, Floats], Points]
Transform = Sequence[float] | Warp
"""Six numbers (a, b, c, d, e, f), or a function of columns and rows that gives x and y."""

_TOLERANCE = 0.25  # largest distance between a border and its points, in pixels
_SHORTEST = 1 / 256  # parts of a border are not divided further, in pixels
_WIDEST = 90.0  # longitudes that a part of a border may span, in degrees
_SAME = 1e-9  # degrees: a tenth of a millimetre


@dataclass(frozen=True, slots=True)
class OnMap:
    """Vertices on the map.

    Attributes
    ----------
    points : list of (x, y)
        Coordinates of each vertex. All rings share them, so neighbours cannot differ by rounding.
    between : dict of (int, int) to list of (x, y)
        The points on a border between two vertices, from the vertex of the smaller number. A border
        that is straight on the map has none.
    mirrored : bool
        Whether the map shows the image mirrored, with y upwards in both.
    cut : bool
        Whether a polygon may meet the antimeridian.
    around : bool
        How :func:`~regiontree.export.antimeridian.cut_polygon` is to read longitudes.
    seam : float or None
        The meridian at which an image that goes once round the Earth begins and ends.
    """

    points: list[Point]
    between: dict[tuple[int, int], list[Point]] = field(default_factory=dict)
    mirrored: bool = False
    cut: bool = False
    around: bool = False
    seam: float | None = None

    def ring(self, vertices: Int64) -> list[Point]:
        """The corners of a ring of vertices on the map, with its inside on the left."""
        numbers = vertices.tolist()
        if self.mirrored:
            numbers.reverse()
        if not self.between:
            return [self.points[v] for v in numbers]
        corners: list[Point] = []
        for u, v in zip(numbers, [*numbers[1:], numbers[0]], strict=True):
            corners.append(self.points[u])
            inner = self.between.get((min(u, v), max(u, v)), ())
            corners.extend(inner if u < v else reversed(inner))
        return corners


def borders_of(arcs: Arcs) -> Int64:
    """The two vertices of each border, (B, 2): the smaller number first, each border once."""
    following = np.empty_like(arcs.vertices)
    following[:-1] = arcs.vertices[1:]
    last = arcs.start[1:] - 1
    # The last border of an arc ends where the next arcs begin. Closed arcs end where they began.
    onward = arcs.ways.max(axis=1)
    following[last] = arcs.vertices[arcs.start[np.where(onward < 0, np.arange(len(last)), onward)]]
    low, high = np.minimum(arcs.vertices, following), np.maximum(arcs.vertices, following)
    return np.stack(np.divmod(np.unique(low * len(arcs.x) + high), len(arcs.x)), axis=1)


def given_place(transform: Any, crs: Any) -> tuple[Any, Any]:
    """A transform and its crs, each None for the text "none" of the command line.

    Raises
    ------
    ExportError
        There is a crs without a transform.
    """
    transform, crs = _unless_none(transform), _unless_none(crs)
    if crs is not None and transform is None:
        raise ExportError(f"crs {crs!r} does not say where pixels are: give a transform, too")
    return transform, crs


def _unless_none(value: Any) -> Any:
    """The value, or None if it is the text "none" of the command line."""
    return None if isinstance(value, str) and value.lower() == "none" else value


def place_vertices(
    x: Int64, y: Int64, borders: Int64, transform: Transform | None, crs: Any
) -> OnMap:
    """The vertices of polygons on the map.

    Parameters
    ----------
    x, y : (V,) int64
        Column and row of each vertex, a corner of pixels.
    borders : (B, 2) int64
        The two vertices of each border, the smaller number first. Borders run along rows or
        columns.
    transform
        From pixels to the map. None: coordinates stay in pixels.
    crs
        The coordinate reference system of the transform. Coordinates are then longitude and
        latitude. None: coordinates of the transform.

    Raises
    ------
    ExportError, MissingExtraError
        As :func:`regiontree.export.geojson.to_geojson`.
    """
    transform, crs = given_place(transform, crs)
    if transform is None:
        return OnMap(list(zip(x.tolist(), y.tolist(), strict=True)))
    affine = None if callable(transform) else six_numbers(transform)
    to_map = transform if callable(transform) else _affine(affine)
    if crs is None:
        to_points, around, poles = to_map, False, np.zeros((0, 3))
    else:
        source = known_crs(crs)
        around = not _is_plain(source)
        if affine is not None and around:
            poles = _poles(source, affine, int(x.max()), int(y.max()))
        else:
            poles = np.zeros((0, 3))
        to_points = _to_degrees(to_map, crs, source, poles, around, affine)
    east, north = to_points(x.astype(float), y.astype(float))
    if not (np.isfinite(east).all() and np.isfinite(north).all()):
        raise ExportError("the transform gives coordinates that are no numbers; check it")
    if crs is not None and not around:
        east = _within_a_turn(east, int(x.max()))
    seam = _closed_at(x, east, around) if crs is not None else None
    between: dict[tuple[int, int], list[Point]] = {}
    if callable(transform) or around:
        between = _between(x, y, borders, east, north, to_points, poles, around=around)
    points = list(zip(east.tolist(), north.tolist(), strict=True))
    cut = False
    if crs is not None:
        ends = east[borders]
        cut = bool(
            (abs(east) >= 180).any()
            or (abs(north) == 90).any()
            or (around and (abs(ends[:, 0] - ends[:, 1]) > 180).any())
            or any(abs(point[0]) == 180 or abs(point[1]) == 90 for inner in between.values()
                   for point in inner)
            or (around and any(_jumps(points[u], inner) for (u, _), inner in between.items()))
        )  # fmt: skip
    mirrored = _mirrored(x, y, to_points, around)
    return OnMap(points, between, mirrored, cut, around, seam)


def _within_a_turn(east: Floats, width: int) -> Floats:
    """Longitudes of an image in degrees, within 360 of each other.

    Some grids repeat the first column as the last, with the centres of both on one meridian. Half
    of each is cut off.
    """
    west, span = float(east.min()), float(np.ptp(east))
    beyond = span - 360
    if beyond <= _SAME:
        return east
    if beyond > 1.01 * span / width:
        raise ExportError(
            f"the image spans {span:g} degrees of longitude, so its sides overlap on the Earth; "
            "check the transform, or give no crs (--crs none)"
        )
    inside = np.clip(east, west + beyond / 2, west + beyond / 2 + 360)
    line = 360 * np.round((inside + 180) / 360) - 180
    return np.where(abs(inside - line) < _SAME, line, inside)


def _closed_at(x: Int64, east: Floats, around: bool) -> float | None:
    """The meridian of both the left and the right side of an image; None if they differ."""
    left, right = east[x == 0], east[x == x.max()]
    meridian = float(left[0])
    sides = np.concatenate([left, right]) - meridian
    if abs(_wrapped(sides)).max() >= _SAME or (not around and abs(sides).max() < 180):
        return None
    meridian = float(_wrapped(np.array(meridian)))
    return None if abs(meridian) == 180 else meridian


def _jumps(first: Point, inner: Sequence[Point]) -> bool:
    return any(abs(a[0] - b[0]) > 180 for a, b in zip([first, *inner], inner, strict=False))


# -- the transform --------------------------------------------------------------------------------


def six_numbers(transform: Sequence[float]) -> tuple[float, ...]:
    """The numbers (a, b, c, d, e, f) of an affine transform, after a check.

    Raises
    ------
    ExportError
        They are not six numbers, or put all pixels on one line.
    """
    try:
        numbers = [float(number) for number in transform]
    except (TypeError, ValueError):
        numbers = []
    if numbers[6:] == [0, 0, 1]:  # the last row of an affine.Affine
        numbers = numbers[:6]
    if len(numbers) != 6 or not all(abs(number) < 1e15 for number in numbers):  # nan, too
        raise ExportError(
            f"transform must be six numbers (a, b, c, d, e, f) below 1e15, got {transform!r}"
        )
    a, b, _, d, e, _ = numbers
    if a * e == b * d:
        raise ExportError(
            f"transform {tuple(numbers)} puts all pixels on one line; if it is in GDAL's order, "
            "turn it with Affine.from_gdal(*transform)"
        )
    return tuple(numbers)


def _affine(numbers: Sequence[float] | None) -> Warp:
    assert numbers is not None
    a, b, c, d, e, f = numbers
    return lambda x, y: (a * x + b * y + c, d * x + e * y + f)


def _mirrored(x: Int64, y: Int64, to_points: Warp, around: bool) -> bool:
    """Whether the map shows the image mirrored, by the places of some pixels."""
    some = np.linspace(0, len(x) - 1, min(len(x), 16)).astype(int)
    # A point in each pixel, away from its corners: poles usually lie on corners.
    px = np.minimum(x[some], x.max() - 1) + 0.37
    py = np.minimum(y[some], y.max() - 1) + 0.41
    east, north = to_points(px, py)
    east_x, north_x = to_points(px + 0.01, py)
    east_y, north_y = to_points(px, py + 0.01)
    side_x, side_y = east_x - east, east_y - east
    if around:
        side_x, side_y = _wrapped(side_x), _wrapped(side_y)
    turns = np.sign(side_x * (north_y - north) - (north_x - north) * side_y)
    return bool(turns.sum() < 0)


def _wrapped(degrees: Floats) -> Floats:
    """Differences of longitude, the shorter way round."""
    return (degrees + 180) % 360 - 180


# -- degrees --------------------------------------------------------------------------------------


def known_crs(crs: Any) -> Any:
    """rasterio's CRS of a code, of WKT or of rasterio's own.

    Raises
    ------
    ExportError
        It is unknown.
    MissingExtraError
        rasterio is not installed.
    """
    rasterio = rasterio_package()
    try:
        return rasterio.crs.CRS.from_user_input(crs)
    except rasterio.errors.CRSError as error:
        raise ExportError(
            f"crs {crs!r} is unknown ({plain_reason(error)}); give one like EPSG:32633"
        ) from error


def _name(crs: Any) -> str:
    """A crs in a few words: the user's, or the code or the name of rasterio's."""
    if isinstance(crs, str | int | dict):
        return repr(crs)
    text = "".join(c if c.isprintable() else " " for c in str(crs))
    return text if len(text) < 40 else text[:40] + " ..."


def _is_plain(source: Any) -> bool:
    """Whether coordinates are longitude and latitude already, perhaps of another datum."""
    text = source.to_wkt(version="WKT2_2019")
    return bool(source.is_geographic) and "DERIVINGCONVERSION" not in text


def _to_degrees(
    to_map: Warp,
    crs: Any,
    source: Any,
    poles: Floats,
    around: bool,
    affine: Sequence[float] | None,
) -> Warp:
    """The function from pixels to longitude and latitude on WGS 84.

    Longitudes of a projected crs are in (-180, 180]. Those of a geographic crs count on beyond 180.
    Points at the antimeridian or at a pole are exactly there.
    """
    rasterio = rasterio_package()
    # Some grids have the centres of their outer pixels on the pole.
    beyond = 1e-6 if around or affine is None else max(abs(affine[3]), abs(affine[4])) * 0.501

    def convert(x: Floats, y: Floats) -> Points:
        east, north = to_map(x, y)
        try:
            moved = rasterio.warp.transform(source, "EPSG:4326", east, north)
        except rasterio._err.CPLE_BaseError as error:
            raise ExportError(
                f"crs {_name(crs)} cannot be converted to degrees; give one like EPSG:32633 "
                f"(--crs), or none for the coordinates of the transform ({plain_reason(error)})"
            ) from error
        lon, lat = np.asarray(moved)
        there = (abs(lon) <= 541) & (abs(lat) <= 90 + beyond)
        if not there.all():
            i = int(np.argmin(there))
            raise ExportError(
                f"crs {_name(crs)}: ({east[i]:g}, {north[i]:g}), a corner of a pixel, is nowhere "
                "on Earth; check that crs and transform belong together"
            )
        lat = np.clip(lat, -90, 90)
        if not around:
            degrees = east * source.units_factor[1] * (180 / np.pi)
            lon = lon + 360 * np.round((degrees - lon) / 360)
            line = 360 * np.round((lon + 180) / 360) - 180
            return np.where(abs(lon - line) < _SAME, line, lon), lat
        lat = np.where(90 - abs(lat) < _SAME, np.copysign(90, lat), lat)
        for column, row, pole in poles:
            lat = np.where((abs(x - column) < 1e-6) & (abs(y - row) < 1e-6), pole, lat)
        return np.where(180 - abs(lon) < _SAME, 180.0, lon), lat

    return convert


def _poles(source: Any, affine: Sequence[float], width: int, height: int) -> Floats:
    """Column and row of the poles in the image, and their latitudes, (n, 3)."""
    rasterio = rasterio_package()
    a, b, c, d, e, f = affine
    found = []
    for pole in (90.0, -90.0):
        try:
            (east,), (north,) = rasterio.warp.transform("EPSG:4326", source, [0.0], [pole])
        except rasterio._err.CPLE_BaseError:  # the projection does not show this pole
            continue
        if not abs(east) + abs(north) < 1e15:
            continue
        column, row = np.linalg.solve([[a, b], [d, e]], [east - c, north - f])
        if -1e-6 <= column <= width + 1e-6 and -1e-6 <= row <= height + 1e-6:
            found.append((column, row, pole))
    return np.array(found).reshape(-1, 3)


# -- points on borders ----------------------------------------------------------------------------


def _between(
    x: Int64,
    y: Int64,
    borders: Int64,
    east: Floats,
    north: Floats,
    to_points: Warp,
    poles: Floats,
    *,
    around: bool,
) -> dict[tuple[int, int], list[Point]]:
    """The points that make borders right to a quarter of a pixel: see :attr:`OnMap.between`."""
    x0, y0 = x[borders].astype(float), y[borders].astype(float)
    length = abs(x0[:, 1] - x0[:, 0]) + abs(y0[:, 1] - y0[:, 0])

    def at(which: Int64, share: Floats) -> Points:
        here = [(1 - share) * v[which, 0] + share * v[which, 1] for v in (x0, y0)]
        return to_points(*here)

    found: dict[tuple[int, int], list[tuple[float, Point]]] = {}

    def keep(which: Int64, share: Floats, lon: Floats, lat: Floats) -> None:
        rows = zip(borders[which].tolist(), share.tolist(), lon.tolist(), lat.tolist(), strict=True)
        for (u, v), s, px, py in rows:
            found.setdefault((u, v), []).append((s, (px, py)))

    start: Points = east[borders[:, 0]], north[borders[:, 0]]
    end: Points = east[borders[:, 1]], north[borders[:, 1]]
    which, low, high = np.arange(len(borders)), np.zeros(len(borders)), np.ones(len(borders))
    through, share = _through_poles(x0, y0, poles)
    if len(through):  # such a border turns by 180 degrees at the pole
        keep(through, share, *at(through, share))
        which, low = np.concatenate([which, through]), np.concatenate([low, share])
        order = np.lexsort((low, which))
        which, low = which[order], low[order]
        high = np.where(np.append(which[1:] == which[:-1], False), np.append(low[1:], 1.0), 1.0)
        start, end = at(which, low), at(which, high)
    while len(which):
        bad = np.zeros(len(which), dtype=bool)
        span = (high - low) * length[which]
        size = _distance(start, end, around)
        for part in (1 / 3, 2 / 3):
            true = at(which, low + part * (high - low))
            off = _distance(true, _chord(start, end, part, around), around)
            bad |= off * span > _TOLERANCE * size
        if around:
            pole = (abs(start[1]) == 90) | (abs(end[1]) == 90)
            bad |= (abs(_wrapped(end[0] - start[0])) > _WIDEST) & ~pole
        bad &= span > _SHORTEST
        which, low, high = which[bad], low[bad], high[bad]
        start, end = (start[0][bad], start[1][bad]), (end[0][bad], end[1][bad])
        share = (low + high) / 2
        middle = at(which, share)
        keep(which, share, *middle)
        which = np.concatenate([which, which])
        low, high = np.concatenate([low, share]), np.concatenate([share, high])
        start, end = _both(start, middle), _both(middle, end)
    return {key: [point for _, point in sorted(inner)] for key, inner in found.items()}


def _both(first: Points, second: Points) -> Points:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])


def _through_poles(x: Floats, y: Floats, poles: Floats) -> tuple[Int64, Floats]:
    """The borders that pass through a pole between their ends, and how far along each it is."""
    found, shares = [np.zeros(0, dtype=np.int64)], [np.zeros(0)]
    for column, row, _ in poles:
        for along, across, here, there in ((x, y, column, row), (y, x, row, column)):
            length = along[:, 1] - along[:, 0]
            level = (abs(across - there) < 1e-6).all(axis=1) & (length != 0)
            share = (here - along[:, 0]) / np.where(level, length, np.inf)
            inside = abs(length) * np.minimum(share, 1 - share) > 1e-6
            found.append(np.flatnonzero(level & inside))
            shares.append(share[found[-1]])
    return np.concatenate(found), np.concatenate(shares)


def _chord(start: Points, end: Points, share: float, around: bool) -> Points:
    """A point on the straight line from one point to another, in the numbers of the map."""
    (x0, y0), (x1, y1) = start, end
    if around:
        x1 = np.where(abs(y1) == 90, x0, x1)
        x0 = np.where(abs(y0) == 90, x1, x0)
        return x0 + share * _wrapped(x1 - x0), y0 + share * (y1 - y0)
    return x0 + share * (x1 - x0), y0 + share * (y1 - y0)


def _distance(p: Points, q: Points, around: bool) -> Floats:
    """Distance on the plane, or through a globe of radius 1."""
    if not around:
        return np.hypot(p[0] - q[0], p[1] - q[1])
    apart: Floats = np.linalg.norm(_on_globe(*p) - _on_globe(*q), axis=0)
    return apart


def _on_globe(lon: Floats, lat: Floats) -> Floats:
    lon, lat = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def rasterio_package() -> Any:
    """rasterio with the modules used here.

    Raises
    ------
    MissingExtraError
        It is not installed, or too old.
    """
    for module in ("rasterio.crs", "rasterio.errors", "rasterio.shutil", "rasterio.warp"):
        optional(module, "geo", "reading and changing where an image lies needs")
    import rasterio

    return rasterio
