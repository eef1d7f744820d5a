"""GeoJSON: regions as polygons, exact to the pixel, in the image or on the map.

Polygons run along the edges of pixels. Without a transform their coordinates are x (columns to the
right) and y (rows, *downwards*) of pixel corners: the image of (H, W) pixels is the rectangle from
(0, 0) to (W, H). With one they are map coordinates, and with its coordinate reference system
longitudes and latitudes, which is what GeoJSON means by coordinates (RFC 7946) and what QGIS,
ArcGIS, Leaflet and geojson.io put in the right place without being told anything. QGIS lays them
over the photograph in whatever projection that is in. For polygons in the photograph's own
projection, pass the transform alone and tell the program the projection. To lay polygons over a
photograph that is on no map, pass ``transform=(1, 0, 0, 0, -1, 0)``: GIS programs show such an
image below the x axis.

Neighbours share the very same vertices, so that any cut of a collection of all nodes covers the
image without gaps or overlaps, on the map as well: :mod:`regiontree.tree.borders` tells how.

A polygon's pixels are connected by their sides; a region in several pieces is a multipolygon.
Rings are as RFC 7946 asks: the outer ones counter-clockwise where y points up, which is where
their signed area in the numbers of the file is positive, holes the other way.

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> lower, upper = to_geojson(tree, n_regions=2)["features"]
>>> upper["geometry"]
{'type': 'Polygon', 'coordinates': [[(0, 1), (0, 0), (3, 0), (3, 1), (0, 1)]]}
>>> upper["properties"]["node"], upper["properties"]["parent"], upper["properties"]["area"]
(3, 4, 3)

Reference: H. Butler et al., RFC 7946, 2016.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ExportError, ImageError, MissingExtraError
from regiontree.export.graph import node_attributes
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.borders import node_polygons, trace_arcs

__all__ = ["georeference", "to_geojson", "write_geojson"]

Transform = Sequence[float]
Int64 = NDArray[np.int64]
Floats = NDArray[np.float64]
Point = tuple[float, float]


def to_geojson(
    tree: RegionTree,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    transform: Transform | None = None,
    crs: Any = None,
    all_nodes: bool = False,
) -> dict[str, Any]:
    """The regions of a cut, or all nodes, as a FeatureCollection.

    Parameters
    ----------
    tree
    n_regions, height, depth
        The cut, as :meth:`RegionTree.cut`; without one the natural cut.
    transform
        From pixels to the map, six numbers (a, b, c, d, e, f) in the order of rasterio and
        ``affine``: ``x = a * column + b * row + c``, ``y = d * column + e * row + f``. An
        ``affine.Affine`` is one; GDAL's order (c, a, b, f, d, e) is turned by
        ``Affine.from_gdal(*numbers)``. None leaves pixel coordinates.
    crs
        What the transform's coordinates are in: "EPSG:32633", WKT, or rasterio's CRS. They are
        turned into longitude and latitude (WGS 84) vertex by vertex. Shapes across the
        antimeridian are not divided there.
    all_nodes
        A feature for every node: of the cut given and above it, or of the whole tree if none is
        given. Features are in the order of their nodes, children before parents.

    Returns
    -------
    dict
        To be written by ``json``. A feature has the node as its ``id``, a Polygon or MultiPolygon,
        and the properties node, parent (None at the root), those of
        :func:`~regiontree.export.graph.node_attributes` (area in pixels), and fill, the node's
        colour in all pictures as "#rrggbb", which geojson.io and GitHub draw it in.

    Raises
    ------
    ExportError
        A transform that is none; a crs that is unknown, that has no transform, or in which the
        image lies nowhere on Earth.
    MissingExtraError
        A crs was given and rasterio is not installed.
    TreeError
        Not a criterion that a cut takes.
    """
    cut = {"n_regions": n_regions, "height": height, "depth": depth}
    features = _features(tree, cut, transform, crs, all_nodes)
    return {"type": "FeatureCollection", "features": list(features)}


def write_geojson(
    tree: RegionTree,
    path: str | Path,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    transform: Transform | None = None,
    crs: Any = None,
    all_nodes: bool = False,
) -> Path:
    """Write :func:`to_geojson`, a feature a line and one at a time; gives the path."""
    path = Path(path)
    cut = {"n_regions": n_regions, "height": height, "depth": depth}
    features = _features(tree, cut, transform, crs, all_nodes)
    with atomic_write(path) as file:
        lead = '{"type":"FeatureCollection","features":[\n'
        for feature in features:
            text = json.dumps(feature, allow_nan=False, separators=(",", ":"))
            file.write(f"{lead}{text}".encode())
            lead = ",\n"
        file.write(b"\n]}\n")
    return path


def georeference(path: str | Path) -> tuple[Transform, Any] | None:
    """Where a GeoTIFF lies: (transform, crs) for :func:`to_geojson`, or None if it does not say.

    The transform is an ``affine.Affine``; the crs is rasterio's, or None where the file, with a
    world file beside it for one, says no more than the transform.

    Raises
    ------
    ImageError
        The file is not there or is no raster that GDAL reads.
    MissingExtraError
        rasterio is not installed.
    """
    rasterio = _rasterio()
    try:
        with warnings.catch_warnings(action="ignore"), rasterio.open(path) as image:
            transform, crs = image.transform, image.crs
    except rasterio.errors.RasterioIOError as error:
        raise ImageError(f"{path}: cannot be read as a GeoTIFF ({error})") from error
    return None if transform.is_identity else (transform, crs)


def _features(
    tree: RegionTree,
    cut: dict[str, Any],
    transform: Transform | None,
    crs: Any,
    all_nodes: bool,
) -> Iterator[dict[str, Any]]:
    if all_nodes and all(value is None for value in cut.values()):
        cut = {"depth": tree.depth}  # all leaves, which the natural cut need not reach
    arcs = trace_arcs(tree.cut(**cut))
    points, mirrored = _placed(arcs.x, arcs.y, transform, crs)
    colors = hierarchy_colors(tree)
    for node, polygons in node_polygons(arcs, tree, tree.cut_nodes(**cut), all_nodes=all_nodes):
        rings = [[_closed(ring, points, mirrored) for ring in polygon] for polygon in polygons]
        geometry: dict[str, Any] = {"type": "MultiPolygon", "coordinates": rings}
        if len(rings) == 1:
            geometry = {"type": "Polygon", "coordinates": rings[0]}
        properties = {
            "node": node,
            "parent": None if node == tree.root else int(tree.parents[node]),
            **node_attributes(tree, node),
            "fill": "#" + colors[node].tobytes().hex(),
        }
        yield {"type": "Feature", "id": node, "properties": properties, "geometry": geometry}


def _closed(ring: Int64, points: list[Point], mirrored: bool) -> list[Point]:
    """Coordinates of a ring of vertices, its first repeated at its end."""
    vertices = ring.tolist()
    vertices.append(vertices[0])
    return [points[v] for v in (reversed(vertices) if mirrored else vertices)]


# -- from pixels to the map -----------------------------------------------------------------------


def _placed(x: Int64, y: Int64, transform: Transform | None, crs: Any) -> tuple[list[Point], bool]:
    """Coordinates of each vertex, and whether the way there turned them over.

    A vertex is one tuple in all the rings it is on: so neighbours cannot differ by rounding.
    """
    if transform is None:
        if crs is not None:
            raise ExportError(f"crs {crs!r} says nothing of pixels: give a transform, too")
        return list(zip(x.tolist(), y.tolist(), strict=True)), False
    try:
        numbers = [float(number) for number in transform]
    except (TypeError, ValueError):
        numbers = []
    if numbers[6:] == [0, 0, 1]:  # the last row of an affine.Affine
        numbers = numbers[:6]
    if len(numbers) != 6 or not all(abs(number) < 1e15 for number in numbers):  # nan is not
        raise ExportError(
            f"transform must be six numbers (a, b, c, d, e, f) below 1e15, got {transform!r}"
        )
    a, b, c, d, e, f = numbers
    if a * e == b * d:
        raise ExportError(
            f"transform {tuple(numbers)} puts all pixels on one line; if it is in GDAL's order, "
            "turn it with Affine.from_gdal(*transform)"
        )
    east, north = a * x + b * y + c, d * x + e * y + f
    if crs is not None:
        east, north = _to_degrees(east, north, crs)
    return list(zip(east.tolist(), north.tolist(), strict=True)), a * e < b * d


def _to_degrees(east: Floats, north: Floats, crs: Any) -> tuple[Floats, Floats]:
    """Longitudes and latitudes on WGS 84."""
    rasterio = _rasterio()
    try:
        source = rasterio.crs.CRS.from_user_input(crs)
        moved = rasterio.warp.transform(source, "EPSG:4326", east, north)
    except rasterio.errors.CRSError as error:
        raise ExportError(f"crs {crs!r} is unknown ({error}); give one like EPSG:32633") from error
    except rasterio._err.CPLE_BaseError as error:
        raise ExportError(f"crs {crs!r} does not lead to degrees ({error})") from error
    longitude, latitude = np.asarray(moved)
    # A degree more than there is, since some grids centre their outer pixels on the pole.
    there = (abs(longitude) <= 361) & (abs(latitude) <= 91)
    if not there.all():
        i = int(np.argmin(there))
        raise ExportError(
            f"crs {crs!r}: ({east[i]:g}, {north[i]:g}), a corner of a pixel, is nowhere on Earth; "
            "check that crs and transform belong together"
        )
    return longitude, latitude


def _rasterio() -> Any:
    try:
        import rasterio
        import rasterio.crs
        import rasterio.errors
        import rasterio.warp
    except ImportError as error:
        raise MissingExtraError(
            "reading and changing where an image lies needs rasterio: pip install 'regiontree[geo]'"
        ) from error
    return rasterio
