"""GeoJSON: regions as polygons, exact to the pixel, in the image or on the map.

Polygons run along the sides of pixels. There are three kinds of coordinates:

- Without a transform, they are x (columns to the right) and y (rows, *downwards*) of the corners of
  pixels. An image of (H, W) pixels is the rectangle from (0, 0) to (W, H).
- With a transform alone, they are map coordinates in the photograph's own projection. Tell the
  program that reads the file which projection that is.
- With a transform and its coordinate reference system, they are longitudes and latitudes, as
  GeoJSON demands (RFC 7946). QGIS, ArcGIS, Leaflet and geojson.io put such polygons in the right
  place, and QGIS lays them over the photograph in any projection. A polygon that crosses the
  antimeridian is cut there: see :mod:`regiontree.export.antimeridian`.

:func:`regiontree.export.georeference.georeference` reads the transform of a photograph.

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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from regiontree.display.pictures import hierarchy_colors
from regiontree.export.antimeridian import Polygon, cut_polygon, join_at_meridian
from regiontree.export.graph import node_attributes
from regiontree.export.projection import Transform, borders_of, place_vertices
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.borders import node_polygons, trace_arcs

__all__ = ["to_geojson", "write_geojson"]


def to_geojson(
    tree: RegionTree,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    transform: Transform | None = None,
    crs: Any = None,
    all_nodes: bool = False,
) -> dict[str, Any]:
    """The regions of a cut, or all nodes, as a FeatureCollection.

    Parameters
    ----------
    tree
    n_regions, height, depth, contrast
        The cut, as :meth:`RegionTree.cut`; without one the natural cut.
    transform
        From pixels to the map, six numbers (a, b, c, d, e, f) in the order of rasterio and
        ``affine``: ``x = a * column + b * row + c``, ``y = d * column + e * row + f``. An
        ``affine.Affine`` is such a transform. ``Affine.from_gdal(*numbers)`` converts GDAL's order
        (c, a, b, f, d, e). A function of two arrays, columns and rows, that gives the arrays of x
        and y is a transform, too. None or "none" leaves pixel coordinates.
    crs
        The coordinate reference system of the transform: "EPSG:32633", WKT, or rasterio's CRS.
        Vertices are then converted to longitude and latitude (WGS 84), long borders get points
        where they are bent, and polygons are cut at the antimeridian. None or "none" leaves the
        coordinates of the transform.
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
    cut = {"n_regions": n_regions, "height": height, "depth": depth, "contrast": contrast}
    features = _features(tree, cut, transform, crs, all_nodes)
    return {"type": "FeatureCollection", "features": list(features)}


def write_geojson(
    tree: RegionTree,
    path: str | Path,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    transform: Transform | None = None,
    crs: Any = None,
    all_nodes: bool = False,
) -> Path:
    """Write :func:`to_geojson` with one feature a line, one at a time; return the path."""
    path = Path(path)
    cut = {"n_regions": n_regions, "height": height, "depth": depth, "contrast": contrast}
    features = _features(tree, cut, transform, crs, all_nodes)
    with atomic_write(path) as file:
        lead = '{"type":"FeatureCollection","features":[\n'
        for feature in features:
            text = json.dumps(feature, allow_nan=False, separators=(",", ":"))
            file.write(f"{lead}{text}".encode())
            lead = ",\n"
        file.write(b"\n]}\n")
    return path


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
    on_map = place_vertices(arcs.x, arcs.y, borders_of(arcs), transform, crs)
    colors = hierarchy_colors(tree)
    for node, polygons in node_polygons(arcs, tree, tree.cut_nodes(**cut), all_nodes=all_nodes):
        placed: list[Polygon] = [[on_map.ring(ring) for ring in polygon] for polygon in polygons]
        if on_map.cut:
            placed = [
                part for polygon in placed for part in cut_polygon(polygon, around=on_map.around)
            ]
        if on_map.seam is not None:
            placed = join_at_meridian(placed, on_map.seam)
        rings = [[[*ring, ring[0]] for ring in polygon] for polygon in placed]
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
