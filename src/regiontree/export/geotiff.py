"""Cloud-optimised GeoTIFF: the regions of a cut as numbers, on the map and with colours.

A cloud-optimised GeoTIFF has tiles and overviews, smaller copies of itself. So a program on the
other side of a network reads only the part and the scale that it shows. An overview has the number
that most of its pixels have.

Region j of the cut has the value j + 1, in the order of ``tree.cut_nodes(...)``. Pixels without
data are 0, and 0 is the file's value for no data. The colour table has the colours of all other
pictures. Beside the file lies a style for QGIS, ``NAME.qml``, that also names the node of each
region: see :mod:`regiontree.export.qgisstyle`.

Reference: OGC 21-026, Cloud Optimized GeoTIFF. GDAL writes the file, through rasterio.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import ExportError
from regiontree.export.labelmap import to_label_image
from regiontree.export.projection import (
    Transform,
    given_place,
    known_crs,
    rasterio_package,
    six_numbers,
)
from regiontree.export.qgisstyle import label_style
from regiontree.system.files import atomic_named, atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes

__all__ = ["write_geotiff", "write_label_blocks"]


def write_geotiff(
    tree: RegionTree,
    path: str | Path,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    transform: Transform | None = None,
    crs: Any = None,
) -> Path:
    """Write a cut as a cloud-optimised GeoTIFF of 16 bits, and a style beside it; return the path.

    Parameters
    ----------
    tree
    path
        A file that ends in ``.tif`` or ``.tiff``.
    n_regions, height, depth, contrast
        The cut, as :meth:`RegionTree.cut`; without one the natural cut.
    transform
        Six numbers, as :func:`~regiontree.export.geojson.to_geojson` takes them. None or "none":
        the file lies on no map.
    crs
        The coordinate reference system of the transform, as there. No coordinate is converted. None
        or "none": it is unknown.

    Raises
    ------
    ExportError
        Another suffix; more than 65,535 regions; a transform that is no six numbers, as where
        ground control points bend the photograph; or an unknown crs.
    MissingExtraError
        rasterio is not installed.
    TreeError
        A cut with two criteria or a wrong value.
    """
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ExportError(f"{path}: a GeoTIFF is written as .tif or .tiff; rename it")
    transform, crs = given_place(transform, crs)
    if callable(transform):
        raise ExportError(
            f"{path}: a GeoTIFF needs six numbers as its transform, and this photograph is bent on "
            "the map; orthorectify it first (with gdalwarp), or write a geopackage"
        )
    rasterio = rasterio_package()
    place: dict[str, Any] = {}
    if transform is not None:
        place["transform"] = rasterio.Affine(*six_numbers(transform))
    if crs is not None:
        place["crs"] = known_crs(crs)
    cut: dict[str, Any] = {
        "n_regions": n_regions,
        "height": height,
        "depth": depth,
        "contrast": contrast,
    }
    labels = to_label_image(tree, **cut)
    nodes = tree.cut_nodes(**cut)
    absent = no_data_nodes(tree.stop)[nodes]
    if absent.any():
        labels[np.isin(labels, np.flatnonzero(absent) + 1)] = 0
    return write_label_blocks(tree, nodes, path, [(None, labels)], labels.shape, place)


def write_label_blocks(
    tree: RegionTree,
    nodes: NDArray[np.int64],
    path: Path,
    blocks: Iterable[tuple[Any, NDArray[np.uint16]]],
    shape: tuple[int, int],
    place: Mapping[str, Any],
) -> Path:
    """Write a cut as :func:`write_geotiff` does, from parts of the picture; return the path.

    Parameters
    ----------
    tree
        What gives the colours.
    nodes
        Those of the cut, at most 65,535.
    path
        The file.
    blocks
        Parts of the picture with rasterio's window of each; None is the whole. Pixels without data
        are 0.
    shape
        (H, W) of the whole, in pixels.
    place
        What rasterio is told: ``transform`` and ``crs``, if they are known.

    Raises
    ------
    ExportError
        GDAL cannot write it.
    """
    rasterio = rasterio_package()
    absent = no_data_nodes(tree.stop)[nodes]
    colors = hierarchy_colors(tree)[nodes]
    rows, columns = shape
    with atomic_named(path) as new, rasterio.Env(), warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        plain = new.with_name("plain.tif")
        try:
            with rasterio.open(
                plain, "w", driver="GTiff", height=rows, width=columns, count=1, dtype="uint16",
                nodata=0, tiled=True, blockxsize=512, blockysize=512, compress="deflate",
                bigtiff="if_safer", **place,
            ) as file:  # fmt: skip
                for window, labels in blocks:
                    file.write(labels, 1, window=window)
                file.write_colormap(1, {j + 1: (*map(int, c), 255) for j, c in enumerate(colors)})
            rasterio.shutil.copy(
                plain, new, driver="COG", compress="DEFLATE", overview_resampling="MODE",
                bigtiff="IF_SAFER",
            )  # fmt: skip
        except rasterio.errors.RasterioError as error:
            raise ExportError(f"{path}: GDAL cannot write it ({error})") from error
        style = label_style(
            (j + 1, "#" + colors[j].tobytes().hex(), f"node {node}")
            for j, node in enumerate(nodes.tolist())
            if not absent[j]
        )
        with atomic_write(path.with_suffix(".qml")) as file:
            file.write(style.encode())
    return path
