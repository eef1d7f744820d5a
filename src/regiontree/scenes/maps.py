"""What is made of a scene's leaves: the tree on a reduced picture, and the maps.

Polygons of a scene of gigapixels would have more corners than a GIS can draw. So they are drawn on
a reduced picture, of 16 megapixels unless the user asks for another size, with the tree of the
whole scene. A scene that is not larger is not reduced. The picture of labels has every pixel.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ExportError
from regiontree.export.geopackage import write_geopackage
from regiontree.export.geotiff import write_label_blocks
from regiontree.export.projection import rasterio_package
from regiontree.scenes.groups import Groups
from regiontree.scenes.leaves import BLOCK, NO_LEAF, read_blocks
from regiontree.scenes.nodes import SceneNodes
from regiontree.scenes.raster import Place, Raster
from regiontree.system.files import atomic_named, sha256_of
from regiontree.tree import RegionTree
from regiontree.tree.cuts import node_of_leaf
from regiontree.tree.kernel import accumulate_sum
from regiontree.tree.nodata import no_data_nodes, with_no_data

__all__ = ["picture_size", "scene_tree", "write_maps", "write_picture"]

Labels = NDArray[np.int32]
Ints = NDArray[np.int64]


def picture_size(shape: tuple[int, int], most: int) -> tuple[int, int]:
    """(H', W') of a reduced picture of at most `most` pixels, in the proportions of (H, W).

    Examples
    --------
    >>> picture_size((60_000, 30_000), 20_000_000), picture_size((30, 20), 600)
    ((6324, 3162), (30, 20))
    """
    scale = min(1.0, (most / (shape[0] * shape[1])) ** 0.5)
    height, width = (max(1, int(side * scale)) for side in shape)
    return (height, width) if scale < 1 else shape


def scene_tree(
    leaves: Path, nodes: SceneNodes, groups: Groups, size: tuple[int, int], meta: dict[str, Any]
) -> tuple[RegionTree, Ints]:
    """The tree on the reduced picture, and the pixels of its nodes in the scene, (N,) int64.

    Parameters
    ----------
    leaves
        The raster of the leaf of each pixel.
    nodes, groups
        The scene's.
    size
        (H', W') of the reduced picture.
    meta
        As in the tree.
    """
    with rasterio_package().open(leaves) as file:
        labels, area, gone = _reduced(file, size, nodes.n_leaves)
        shape = file.height, file.width
    _give_back(labels, nodes, groups, shape)
    arrays: dict[str, Any] = {
        "labels": labels,
        "parents": nodes.parents,
        "height": nodes.height,
        "ncut": nodes.ncut,
        "stop": nodes.stop,
        "embedding": nodes.embedding,
    }
    absent = labels == NO_LEAF
    if absent.any():
        arrays = with_no_data(absent, **arrays)
        area = np.append(area, gone)
        meta = {**meta, "image": {**meta["image"], "no_data": int(absent.sum())}}
    tree = RegionTree(**arrays, meta=meta)
    padded = np.pad(area, (0, tree.n_nodes - len(area)))
    return tree, accumulate_sum(tree.parents, padded)


def _reduced(file: Any, size: tuple[int, int], n_leaves: int) -> tuple[Labels, Ints, int]:
    """The nearest pixels of a raster of leaves, the pixels of each leaf, and those of none."""
    labels = np.full(size, NO_LEAF, np.int32)
    area, gone = np.zeros(n_leaves, np.int64), 0
    rows, columns = (
        (2 * np.arange(new, dtype=np.int64) + 1) * old // (2 * new)
        for new, old in zip(size, (file.height, file.width), strict=True)
    )
    for window, block in read_blocks(file):
        there = block >= 0
        area += np.bincount(block[there], minlength=n_leaves)
        gone += int(there.size - there.sum())
        y = np.searchsorted(rows, (window.row_off, window.row_off + window.height))
        x = np.searchsorted(columns, (window.col_off, window.col_off + window.width))
        down, across = rows[slice(*y)] - window.row_off, columns[slice(*x)] - window.col_off
        labels[slice(*y), slice(*x)] = block[np.ix_(down, across)]
    return labels, area, gone


def _give_back(labels: Labels, nodes: SceneNodes, groups: Groups, shape: tuple[int, int]) -> None:
    """Give each leaf that lost its last pixel by the reduction one pixel, where it lies."""
    count = np.bincount(labels[labels >= 0], minlength=nodes.n_leaves)
    missing = np.flatnonzero(count == 0)
    if not len(missing):
        return
    if (labels >= 0).sum() < nodes.n_leaves:
        raise ExportError(
            f"a picture of {labels.shape[1]} x {labels.shape[0]} pixels is too small for "
            f"{nodes.n_leaves} leaves; give more picture pixels, or fewer parts"
        )
    first = _first_patches(groups, nodes, missing)
    cells = groups.of_patch.shape
    for leaf in missing.tolist():
        y, x = divmod(first[leaf], cells[1])
        at = tuple(
            min(side - 1, (2 * place + 1) * side // (2 * most))
            for place, side, most in zip((y, x), labels.shape, cells, strict=True)
        )
        near = _nearest_spare(labels, count, at)
        count[labels[near]] -= 1
        count[leaf] = 1
        labels[near] = leaf


def _first_patches(groups: Groups, nodes: SceneNodes, leaves: Ints) -> dict[int, int]:
    """The first patch of each of some leaves, counted row by row."""
    found: dict[int, int] = {}
    wanted = np.zeros(nodes.n_leaves, np.bool_)
    wanted[leaves] = True
    width = groups.of_patch.shape[1]
    for row, own in enumerate(groups.of_patch):
        leaf = np.where(own >= 0, nodes.leaf_of_group[own], 0)
        for column in np.flatnonzero((own >= 0) & wanted[leaf]).tolist():
            found.setdefault(int(leaf[column]), row * width + column)
    return found


def _nearest_spare(labels: Labels, count: Ints, at: tuple[int, ...]) -> tuple[int, int]:
    """The pixel nearest to a place whose leaf has another pixel, too."""
    reach = 2
    while True:
        top, left = max(0, at[0] - reach), max(0, at[1] - reach)
        around = labels[top : at[0] + reach + 1, left : at[1] + reach + 1]
        found = np.argwhere((around >= 0) & (count[np.maximum(around, 0)] > 1))
        found += np.array([top, left])
        if len(found):
            y, x = found[((found - at) ** 2).sum(axis=1).argmin()]
            return int(y), int(x)
        reach *= 2


def write_picture(path: Path, raster: Raster, tree: RegionTree) -> str:
    """Write the reduced picture as an 8-bit GeoTIFF; the sha256 of its bytes."""
    size, shape = tree.shape, raster.shape
    pixels = raster.reduced(size)
    absent = no_data_nodes(tree.stop)
    place = raster.place.of_profile((shape[0] / size[0], shape[1] / size[1]))
    layers = list(np.moveaxis(pixels.rgb, 2, 0))
    if absent.any():
        layers.append(np.where(absent[tree.labels], 0, 255).astype(np.uint8))
    with atomic_named(path) as new, rasterio_package().open(
        new, "w", driver="GTiff", height=size[0], width=size[1], count=len(layers), dtype="uint8",
        tiled=True, blockxsize=BLOCK, blockysize=BLOCK, compress="deflate", predictor=2,
        photometric="RGB", **place,
    ) as file:  # fmt: skip
        if len(layers) == 4:
            file.colorinterp = [*file.colorinterp[:3], rasterio_package().enums.ColorInterp.alpha]
        file.write(np.stack(layers))
    return sha256_of(path)


def write_maps(
    tree: RegionTree,
    area: Ints,
    leaves: Path,
    out: Path,
    place: Place,
    regions: int,
    granularities: Sequence[int],
) -> None:
    """Write ``regions.tif`` with its style, and ``regions.gpkg``, to a folder.

    Parameters
    ----------
    tree, area
        As :func:`scene_tree` gives them.
    leaves
        The raster of the leaf of each pixel.
    out
        The folder.
    place
        Where the scene lies.
    regions
        Most regions of the picture of labels.
    granularities
        Largest numbers of regions of the layers of polygons.
    """
    nodes = tree.cut_nodes(n_regions=regions)
    value = node_of_leaf(tree.parents, nodes, tree.n_leaves).astype(np.uint16) + np.uint16(1)
    with rasterio_package().open(leaves) as file:
        shape = file.height, file.width
        blocks = ((window, _valued(block, value)) for window, block in read_blocks(file))
        write_label_blocks(tree, nodes, out / "regions.tif", blocks, shape, place.of_profile())
    scale = shape[0] / tree.shape[0], shape[1] / tree.shape[1]
    write_geopackage(
        tree, out / "regions.gpkg", granularities=granularities, area=area, crs=place.crs,
        transform=None if place.transform is None else place.scaled(scale),
    )  # fmt: skip


def _valued(leaf: Labels, value: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """The value of each pixel by its leaf; 0 where there is no data."""
    return np.where(leaf >= 0, value[np.maximum(leaf, 0)], np.uint16(0))
