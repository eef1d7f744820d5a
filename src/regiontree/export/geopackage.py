"""GeoPackage: a layer of polygons for each granularity, in the photograph's own projection.

A GeoPackage is one file with many layers, and QGIS, ArcGIS, GDAL and geopandas read it. The layers
are cuts of one tree from coarse to fine. Each region of a layer lies inside one region of the layer
before, which its column ``coarser`` names. So a region can be climbed from layer to layer.

Coordinates are not converted. They are exact corners of pixels, and the file says the projection.
If nothing says where the photograph lies, coordinates are pixels with y = -row. So QGIS lays the
polygons over the photograph, which it shows below the x axis.

Pixels without data are in no region.

The file has a style for QGIS: see :mod:`regiontree.export.qgisstyle`. It says no date of its own,
so that equal trees give equal bytes.

References: OGC 12-128, GeoPackage; OGC 06-103r4, Simple Features (well-known binary).
"""

from __future__ import annotations

import sqlite3
import struct
import warnings
from collections.abc import Container, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.display.pictures import GRANULARITIES, hierarchy_colors
from regiontree.errors import ExportError
from regiontree.export.graph import node_attributes
from regiontree.export.labelmap import distinct_cuts
from regiontree.export.projection import (
    OnMap,
    Transform,
    borders_of,
    given_place,
    known_crs,
    place_vertices,
)
from regiontree.export.qgisstyle import polygon_style
from regiontree.system.extras import optional
from regiontree.system.files import atomic_named
from regiontree.tree import RegionTree
from regiontree.tree.borders import Polygon, node_polygons, trace_arcs
from regiontree.tree.nodata import no_data_nodes

__all__ = ["write_geopackage"]

IntArray = NDArray[np.integer[Any]]

_POLYGON, _MULTIPOLYGON = 3, 6  # of well-known binary
_VERSION = "1.2"  # older programs warn of a later one, and nothing of it is used
_DATE = "1970-01-01T00:00:00.000Z"
_PIXELS = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # x to the right, y upwards
# In SQLite's header: how often the file was changed, and for which of these its version is right.
# GDAL changes it once more now and then, by the time that passes while it writes.
_COUNTERS = (24, 92)
_STYLES = """
CREATE TABLE layer_styles (
  id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256),
  f_table_schema TEXT(256), f_table_name TEXT(256), f_geometry_column TEXT(256),
  styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
  owner TEXT(30), ui TEXT(30), update_time DATETIME
)"""


def write_geopackage(
    tree: RegionTree,
    path: str | Path,
    *,
    granularities: Sequence[int] = GRANULARITIES,
    transform: Transform | None = None,
    crs: Any = None,
    area: NDArray[np.int64] | None = None,
) -> Path:
    """Write cuts of a tree as the layers of a GeoPackage; return the path.

    Parameters
    ----------
    tree
    path
        A file that ends in ``.gpkg``.
    granularities
        Largest numbers of regions. Equal cuts are one layer. A cut into k regions with data is the
        layer ``regions_k``.
    transform
        From pixels to the map, as :func:`~regiontree.export.geojson.to_geojson` takes it. None or
        "none": pixels with y = -row.
    crs
        The coordinate reference system of the transform, as there. It is written down, and no
        coordinate is converted. None or "none": it is unknown.
    area
        (N,) pixels of each node, where the tree is on a reduced copy of the picture. None: those of
        the tree.

    Returns
    -------
    Path
        A row of a layer has the columns ``node``, its number in the tree; ``parent``, that of its
        parent, and of the root none; ``coarser``, the node of the region of the layer before that
        holds it, none in the first layer; those of
        :func:`~regiontree.export.graph.node_attributes`; and ``fill``, its colour as "#rrggbb".
        The geometry is a MultiPolygon.

    Raises
    ------
    ExportError
        Another suffix; no granularity; a transform or crs that
        :func:`~regiontree.export.geojson.to_geojson` refuses; or the tree has no pixel with data.
    MissingExtraError
        pyogrio is not installed, or a crs is given and rasterio is not installed.
    TreeError
        A granularity that is not a number of at least 1.

    Examples
    --------
    >>> from regiontree import RegionParser
    >>> tree = RegionParser().parse("scene.tif")  # doctest: +SKIP
    >>> write_geopackage(tree, "scene.gpkg", granularities=(8, 64))  # doctest: +SKIP
    """
    path = Path(path)
    if path.suffix.lower() != ".gpkg":
        raise ExportError(f"{path}: a GeoPackage is written as .gpkg; rename it")
    transform, crs = given_place(transform, crs)
    projection = None if crs is None else known_crs(crs).to_wkt()
    absent = no_data_nodes(tree.stop)
    cuts = distinct_cuts(tree, granularities)
    if absent.any():  # the root holds it, and its children part it from the rest
        cuts = sorted({max(count, 2) for count in cuts})
    if absent[: tree.n_leaves].all():
        raise ExportError(f"{path}: no pixel of the tree has data, so there is no polygon to write")
    pyogrio = _pyogrio()
    colors = hierarchy_colors(tree)
    before: Container[int] | None = None
    layers: list[str] = []
    with atomic_named(path) as new:
        for count in cuts:
            nodes = tree.cut_nodes(n_regions=count)
            shapes, rows = [], []
            for node, shape in _shapes(tree, nodes, _PIXELS if transform is None else transform):
                if not absent[node]:
                    shapes.append(shape)
                    rows.append(_row(tree, node, before, colors, area))
            layers.append(f"regions_{len(rows)}")
            _write_layer(pyogrio, new, layers[-1], shapes, rows, projection)
            before = frozenset(nodes.tolist())
        _finish(new, layers)
    return path


def _pyogrio() -> Any:
    """The module that writes layers."""
    return optional("pyogrio", "geo", "writing a GeoPackage needs")


def _shapes(tree: RegionTree, nodes: IntArray, transform: Transform) -> list[tuple[int, bytes]]:
    """Each node of a cut with its polygons in well-known binary."""
    arcs = trace_arcs(tree.cut(n_regions=len(nodes)))
    on_map = place_vertices(arcs.x, arcs.y, borders_of(arcs), transform, None)
    return [(node, _binary(found, on_map)) for node, found in node_polygons(arcs, tree, nodes)]


def _binary(polygons: list[Polygon], on_map: OnMap) -> bytes:
    """A MultiPolygon in well-known binary, little-endian."""
    parts = [struct.pack("<BII", 1, _MULTIPOLYGON, len(polygons))]
    for polygon in polygons:
        parts.append(struct.pack("<BII", 1, _POLYGON, len(polygon)))
        for ring in polygon:
            corners = on_map.ring(ring)
            corners.append(corners[0])
            parts.append(struct.pack("<I", len(corners)))
            parts.append(np.array(corners, "<f8").tobytes())
    return b"".join(parts)


def _row(
    tree: RegionTree,
    node: int,
    before: Container[int] | None,
    colors: NDArray[np.uint8],
    area: NDArray[np.int64] | None,
) -> dict[str, Any]:
    """The columns of a region; `before` are the nodes of the layer before."""
    coarser = None
    if before is not None:
        coarser = node
        while coarser not in before:
            coarser = int(tree.parents[coarser])
    attributes = node_attributes(tree, node)
    if area is not None:
        attributes["area"] = int(area[node])
    return {
        "node": node,
        "parent": None if node == tree.root else int(tree.parents[node]),
        "coarser": coarser,
        **attributes,
        "fill": "#" + colors[node].tobytes().hex(),
    }


def _write_layer(
    pyogrio: Any,
    path: Path,
    name: str,
    shapes: list[bytes],
    rows: list[dict[str, Any]],
    projection: str | None,
) -> None:
    """Add a layer to a file, which may not exist yet."""
    columns, masks = [], []
    for key in rows[0]:
        values = [row[key] for row in rows]
        is_text = isinstance(next((v for v in values if v is not None), 0), str)
        masks.append(np.array([value is None for value in values]))
        filled = [0 if value is None else value for value in values]
        columns.append(np.array(filled, object if is_text else None))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")
        pyogrio.raw.write(
            path, np.array(shapes, object), columns, list(rows[0]), field_mask=masks, layer=name,
            driver="GPKG", geometry_type="MultiPolygon", crs=projection, append=path.exists(),
            dataset_options={} if path.exists() else {"VERSION": _VERSION},
        )  # fmt: skip


def _finish(path: Path, layers: list[str]) -> None:
    """Add the styles, and take out what depends on the time of writing."""
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(_STYLES)
        file.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier, last_change)"
            " VALUES ('layer_styles', 'attributes', 'layer_styles', ?)",
            [_DATE],
        )
        file.execute("UPDATE gpkg_contents SET last_change = ?", [_DATE])
        style = polygon_style("fill")
        for layer in layers:
            file.execute(
                "INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name,"
                " f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description,"
                " owner, update_time) VALUES ('', '', ?, 'geom', ?, ?, '', 1, ?, '', ?)",
                [layer, layer, style, "regions in their own colours", _DATE],
            )
    with closing(sqlite3.connect(path)) as file:
        file.execute("VACUUM")
    with path.open("r+b") as raw:
        for place in _COUNTERS:
            raw.seek(place)
            raw.write(struct.pack(">I", 1))
