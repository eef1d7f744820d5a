"""GeoJSON: regions as polygons, exact to the pixel, in the image or on the map.

Polygons run along the sides of pixels. There are three kinds of coordinates:

- Without a transform, they are x (columns to the right) and y (rows, *downwards*) of the corners of
  pixels. An image of (H, W) pixels is the rectangle from (0, 0) to (W, H).
- With a transform alone, they are map coordinates in the photograph's own projection. Tell the
  program that reads the file which projection that is.
- With a transform and its coordinate reference system, they are longitudes and latitudes, as
  GeoJSON demands (RFC 7946). QGIS, ArcGIS, Leaflet and geojson.io put such polygons in the right
  place, and QGIS lays them over the photograph in any projection.

GIS programs show a photograph that is on no map below the x axis. To lay polygons over it, pass
``transform=(1, 0, 0, 0, -1, 0)``.

Neighbours share the same vertices. So any cut of a collection of all nodes covers the image without
gaps or overlaps, on the map as well: see :mod:`regiontree.tree.borders`.

The pixels of a polygon are connected by their sides. A region in several pieces is a multipolygon.
Rings follow RFC 7946: where y points up, outer rings run counter-clockwise and holes clockwise. So
outer rings have a positive signed area in the numbers of the file.

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
        ``affine.Affine`` is such a transform. ``Affine.from_gdal(*numbers)`` converts GDAL's order
        (c, a, b, f, d, e). None leaves pixel coordinates.
    crs
        The coordinate reference system of the transform: "EPSG:32633", WKT, or rasterio's CRS.
        Vertices are then converted to longitude and latitude (WGS 84). Shapes that cross the
        antimeridian are not divided there.
    all_nodes
        Make a feature for every node of the cut and above it, or, without a cut, for every node of
        the tree. Features are in the order of their nodes, children before parents.

    Returns
    -------
    dict
        JSON values. A feature has the node as its ``id`` and a Polygon or MultiPolygon. Its
        properties are node, parent (None at the root), those of
        :func:`~regiontree.export.graph.node_attributes` (area in pixels), and fill. fill is the
        node's colour in all pictures, as "#rrggbb". geojson.io and GitHub draw the node in it.

    Raises
    ------
    ExportError
        The transform is not six numbers, or puts all pixels on one line. The crs is unknown, is
        given without a transform, or puts the image outside the Earth.
    MissingExtraError
        A crs was given and rasterio is not installed.
    TreeError
        A cut with two criteria or a wrong value.
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
    """Write :func:`to_geojson` with one feature a line, one at a time; return the path."""
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
    """Place of a GeoTIFF: (transform, crs) for :func:`to_geojson`, or None if the file has none.

    The transform is an ``affine.Affine``. The crs is rasterio's, or None if the file has only a
    transform, as with a world file beside it.

    Raises
    ------
    ImageError
        The file does not exist, or GDAL cannot read it.
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
        cut = {"depth": tree.depth}  # down to all leaves, unlike the natural cut
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
    """Coordinates of a ring of vertices. The first is repeated at the end."""
    vertices = ring.tolist()
    vertices.append(vertices[0])
    return [points[v] for v in (reversed(vertices) if mirrored else vertices)]


# -- from pixels to the map -----------------------------------------------------------------------


def _placed(x: Int64, y: Int64, transform: Transform | None, crs: Any) -> tuple[list[Point], bool]:
    """Coordinates of each vertex, and whether the transform mirrors the image.

    All rings share the tuple of a vertex, so neighbours cannot differ by rounding.
    """
    if transform is None:
        if crs is not None:
            raise ExportError(f"crs {crs!r} does not say where pixels are: give a transform, too")
        return list(zip(x.tolist(), y.tolist(), strict=True)), False
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
        raise ExportError(
            f"crs {crs!r} cannot be converted to degrees ({error}); give one like EPSG:32633"
        ) from error
    longitude, latitude = np.asarray(moved)
    # One degree of tolerance: some grids have the centres of their outer pixels on the pole.
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
