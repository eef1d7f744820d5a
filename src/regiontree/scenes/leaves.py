"""Third pass: the leaf of each pixel, window by window, in a raster on the disk.

Each window is refined by the watershed that refines photographs
(:mod:`regiontree.refine.guided`), with a margin that is thrown away. Patches do not move between
large regions first: that needs the features of the scene, which no longer exist. At the scene's own
resolution patches are narrow, so little is lost.

A window's pixels are one small GeoTIFF. A ``.vrt`` joins them, which is a list of files in XML that
GDAL reads as one raster. GDAL copies it into the cloud-optimised GeoTIFF of all leaves, block by
block. A window without data has no file.

Reference: GDAL's documentation, *VRT -- GDAL Virtual Format*.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError
from regiontree.export.projection import rasterio_package
from regiontree.images.valid import filled
from regiontree.refine.base import Refinement
from regiontree.refine.guided import WINDOW_MARGIN, Guided, refine_window
from regiontree.refine.regions import keep_leaves
from regiontree.scenes.grid import SceneGrid, SceneWindow, within
from regiontree.scenes.groups import Groups
from regiontree.scenes.nodes import SceneNodes
from regiontree.scenes.raster import Place, Raster
from regiontree.system.files import atomic_named, atomic_write

__all__ = ["BLOCK", "NO_LEAF", "leaves_of_window", "read_blocks", "write_leaves", "write_piece"]

NO_LEAF = -1
"""The value of pixels without data in the raster of leaves."""
BLOCK = 512
"""Side of the blocks of rasters, in pixels."""

Labels = NDArray[np.int32]


def leaves_of_window(
    raster: Raster,
    grid: SceneGrid,
    groups: Groups,
    nodes: SceneNodes,
    number: int,
    window: SceneWindow,
    refine: Refinement | None,
    overlap: float,
) -> Labels | None:
    """The leaf of each pixel of a window that lies in the scene; None if none holds data.

    Each leaf whose home is the window, number `number`, has a pixel.
    """
    around = grid.around(window.cells, WINDOW_MARGIN if refine is not None else 0)
    there = groups.of_patch[around] >= 0
    own = within(window.cells, around)
    if not there[own].any():
        return None
    pixels = raster.read(*grid.pixels(around))
    leaf = _filled_leaves(nodes.leaf_of_group, np.asarray(groups.of_patch[around]), there)
    inner = within(grid.inside(window.cells), grid.pixels(around))
    if isinstance(refine, Guided):
        whole = pixels.valid.all()
        labels = refine_window(
            leaf, nodes.parents, pixels.rgb if whole else filled(pixels.rgb, pixels.valid),
            overlap=overlap, settings=refine,
            there=None if whole else there, valid=None if whole else pixels.valid,
        )[inner]  # fmt: skip
    else:
        labels = leaf.repeat(grid.patch, 0).repeat(grid.patch, 1)[inner]
    valid = pixels.valid[inner]
    labels = _with_home_leaves(labels, leaf[own], nodes, number, valid)
    return np.where(valid, labels, np.int32(NO_LEAF))


def _filled_leaves(leaf_of_group: Labels, group: Labels, there: NDArray[np.bool_]) -> Labels:
    """The leaf of each patch, (h, w) int32; one that is not there has that of the nearest."""
    leaf: Labels = leaf_of_group[np.maximum(group, 0)]
    if there.all():
        return leaf
    from scipy.ndimage import distance_transform_edt

    y, x = distance_transform_edt(~there, return_distances=False, return_indices=True)
    return np.ascontiguousarray(leaf[y, x], np.int32)


def _with_home_leaves(
    labels: Labels,
    leaf: Labels,
    nodes: SceneNodes,
    number: int,
    valid: NDArray[np.bool_],
) -> Labels:
    """Labels in which each leaf whose home the window is has a pixel that holds data."""
    wanted = np.unique(leaf[nodes.home[leaf] == number])
    missing = np.setdiff1d(wanted, labels[valid])
    if not len(missing) or valid.sum() < len(wanted):
        return labels
    # Other leaves may lie elsewhere alone, so they are not asked for.
    asked = np.where(np.isin(leaf, wanted), leaf, labels[valid][0])
    return keep_leaves(labels, asked.astype(np.int32), nodes.parents, valid)


def write_piece(path: Path, labels: Labels) -> None:
    """Write the leaves of a window as a GeoTIFF without a place."""
    with atomic_named(path) as new, rasterio_package().open(
        new, "w", driver="GTiff", height=labels.shape[0], width=labels.shape[1], count=1,
        dtype="int32", nodata=NO_LEAF, tiled=True, blockxsize=BLOCK, blockysize=BLOCK,
        compress="deflate", zlevel=1,
    ) as file:  # fmt: skip
        file.write(labels, 1)


def write_leaves(
    path: Path, folder: Path, windows: list[SceneWindow], grid: SceneGrid, place: Place
) -> None:
    """Join the pieces in a folder to one cloud-optimised GeoTIFF of the leaf of each pixel.

    Raises
    ------
    ExportError
        GDAL cannot write it.
    """
    rasterio = rasterio_package()
    joined = folder / "leaves.vrt"
    with atomic_write(joined) as file:
        file.write(_vrt(folder, windows, grid, place).encode())
    with atomic_named(path) as new:
        try:
            rasterio.shutil.copy(
                joined, new, driver="COG", compress="DEFLATE", blocksize=BLOCK,
                overview_resampling="MODE", bigtiff="IF_SAFER", sparse_ok=True,
            )  # fmt: skip
        except rasterio.errors.RasterioError as error:
            raise ExportError(f"{path}: GDAL cannot write it ({error})") from error


def _vrt(folder: Path, windows: list[SceneWindow], grid: SceneGrid, place: Place) -> str:
    height, width = grid.shape
    root = ElementTree.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    profile = place.of_profile()
    if "crs" in profile:
        ElementTree.SubElement(root, "SRS").text = profile["crs"].to_wkt()
    if "transform" in profile:
        numbers = ", ".join(repr(float(v)) for v in profile["transform"].to_gdal())
        ElementTree.SubElement(root, "GeoTransform").text = numbers
    band = ElementTree.SubElement(
        root, "VRTRasterBand", dataType="Int32", band="1", blockXSize=str(BLOCK),
        blockYSize=str(BLOCK),
    )  # fmt: skip
    ElementTree.SubElement(band, "NoDataValue").text = str(NO_LEAF)
    for window in windows:
        name = f"{window.name}.tif"
        if not (folder / name).exists():
            continue
        rows, columns = grid.inside(window.cells)
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        source = ElementTree.SubElement(band, "SimpleSource")
        ElementTree.SubElement(source, "SourceFilename", relativeToVRT="1").text = name
        ElementTree.SubElement(source, "SourceBand").text = "1"
        ElementTree.SubElement(
            source, "SourceProperties", RasterXSize=str(wide), RasterYSize=str(tall),
            DataType="Int32", BlockXSize=str(BLOCK), BlockYSize=str(BLOCK),
        )  # fmt: skip
        for name, x, y in (("SrcRect", 0, 0), ("DstRect", columns.start, rows.start)):
            ElementTree.SubElement(
                source, name, xOff=str(x), yOff=str(y), xSize=str(wide), ySize=str(tall)
            )
    return ElementTree.tostring(root, encoding="unicode")


def read_blocks(file: Any, rows: int = BLOCK) -> Iterator[tuple[Any, Labels]]:
    """Each part of a raster of leaves with its window: strips of some rows, cut at some columns."""
    windows = rasterio_package().windows
    for top in range(0, file.height, rows):
        for left in range(0, file.width, 8 * rows):
            window = windows.Window(
                left, top, min(8 * rows, file.width - left), min(rows, file.height - top)
            )
            yield window, file.read(1, window=window)
