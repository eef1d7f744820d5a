"""Scenes in windows: one tree without seams, on the map, in little memory, and resumed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scenes import patchwork
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from regiontree import RegionParser, RegionTree
from regiontree.backbones.tiles import Tiled
from regiontree.cli import app
from regiontree.display.pictures import hierarchy_colors
from regiontree.errors import (
    ExportError,
    ImageError,
    MissingExtraError,
    SettingsError,
    TreeFileError,
)
from regiontree.images.colours import patch_colours
from regiontree.spectral.smooth import smooth_features
from regiontree.tree.stop import StopReason

pyogrio = pytest.importorskip("pyogrio", reason="the extra 'geo' is not installed")
rasterio = pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
shapely = pytest.importorskip("shapely", reason="shapely is not installed")
from rasterio.features import rasterize  # noqa: E402

from regiontree.scenes import Scene, parse_scene  # noqa: E402
from regiontree.scenes.features import MARGIN, SceneFeatures  # noqa: E402
from regiontree.scenes.grid import SceneGrid, within  # noqa: E402
from regiontree.scenes.groups import MOST_GROUPS, group_window, patches_of_group  # noqa: E402
from regiontree.scenes.maps import picture_size  # noqa: E402
from regiontree.scenes.raster import raster_of  # noqa: E402
from regiontree.scenes.scene import PICTURE  # noqa: E402

PATCH = 4
TILE = 64
UTM = rasterio.Affine(0.5, 0.0, 500_000.0, 0.0, -0.5, 4_600_000.0)


class Eyes:
    """A network whose features hold the patch's colours, and how often it looked."""

    name, digest, dim = "eyes", "d1", 8
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self, patch: int = PATCH) -> None:
        self.looks, self.patch = 0, patch
        self.mix = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))

    def features(self, pixels: Tensor) -> Tensor:
        self.looks += len(pixels)
        means = functional.avg_pool2d(pixels, self.patch).permute(0, 2, 3, 1) - 0.5
        return torch.cat([means, torch.tanh(3 * means @ self.mix)], dim=3)


def parser(parts: int = 60, **changes: Any) -> RegionParser:
    return RegionParser(backbone=Eyes(), size=TILE, parts=parts, **changes)


def areas(height: int, width: int, n: int = 12, noise: float = 6.0) -> tuple[Any, Any]:
    return patchwork(np.random.default_rng(3), height, width, n, noise)


def saved(path: Path, bands: Any, **more: Any) -> Path:
    """A GeoTIFF of (H, W, n) samples, tiled."""
    told = {"transform": UTM, "crs": "EPSG:32632"} | more
    with rasterio.open(
        path, "w", driver="GTiff", height=bands.shape[0], width=bands.shape[1],
        count=bands.shape[2], dtype=bands.dtype, tiled=True, blockxsize=64, blockysize=64,
        compress="deflate", **told,
    ) as file:  # fmt: skip
        file.write(np.moveaxis(bands, 2, 0))
    return path


def read(path: Path) -> Any:
    with rasterio.open(path) as file:
        return file.read(1)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path, Scene]:
    """The areas of a scene with a border without data, its file, and its tree."""
    folder = tmp_path_factory.mktemp("scene")
    area, rgb = areas(300, 420)
    rgb = np.maximum(rgb, 1)
    rgb[:40, :130] = 0
    area[:40, :130] = -1
    path = saved(folder / "scene.tif", rgb, nodata=0)
    scene = parse_scene(
        path, folder / "out", parser=parser(), window=128, regions=10, granularities=(3, 10)
    )
    return area, path, scene


# -- features -------------------------------------------------------------------------------------


def features_of(path: Path, window: int = 128) -> tuple[SceneFeatures, SceneGrid]:
    raster = raster_of(path)
    grid = SceneGrid(raster.shape, PATCH, window)
    return SceneFeatures(raster, grid, Eyes(), TILE), grid


def test_features_are_the_same_whatever_part_is_asked_for(made) -> None:
    features, grid = features_of(made[1])
    whole = features.part((slice(0, grid.cells[0]), slice(0, grid.cells[1])))
    for window in grid.windows():
        around = grid.around(window.cells, MARGIN)
        found = features.part(around)[within(window.cells, around)]
        assert torch.allclose(found, whole[window.cells], atol=1e-5)
    assert len(grid.windows()) == 12


def test_features_are_those_of_a_photograph_in_tiles(tmp_path) -> None:
    """A scene of 4 x 4 tiles or less has one tile of context: the whole."""
    rgb = areas(256, 256)[1].reshape(64, 4, 64, 4, 3).mean((1, 3)).astype(np.uint8)
    rgb = rgb.repeat(4, 0).repeat(4, 1)  # so that all ways to reduce it agree
    features, grid = features_of(saved(tmp_path / "s.tif", rgb))
    assert grid.cells == (64, 64)
    found = features.part((slice(0, 64), slice(0, 64)))
    tiled = Tiled(Eyes(), Eyes(), size=TILE, tile=TILE)
    expected = tiled.features(torch.from_numpy(rgb).permute(2, 0, 1)[None])[0]
    assert (found * expected).sum(dim=2).min() > 0.9999


def test_a_tile_without_data_is_not_shown_to_the_network(tmp_path) -> None:
    rgb = np.zeros((512, 512, 3), np.uint8)
    rgb[:20, :20] = 90
    path = saved(tmp_path / "s.tif", rgb, nodata=0)
    given = parser()
    parse_scene(path, tmp_path / "out", parser=given)
    # One fine tile of 12 x 12 and one coarse tile of 3 x 3 reach the corner.
    assert given.own_model.looks == 2


# -- the tree -------------------------------------------------------------------------------------


def test_every_pixel_with_data_is_in_a_leaf_and_every_leaf_has_a_pixel(made) -> None:
    area, _, scene = made
    leaf = read(scene.leaves)
    assert np.array_equal(leaf < 0, area < 0)
    count = np.bincount(leaf[leaf >= 0])
    own = scene.tree.n_leaves - 1
    assert len(count) == own
    assert count.min() > 0
    assert scene.area[:own].tolist() == count.tolist()
    assert scene.tree.stop[own] == StopReason.NO_DATA
    assert scene.area[own] == (area < 0).sum()
    assert scene.area[scene.tree.root] == area.size


def test_a_scene_of_the_pictures_size_has_its_pixels(made) -> None:
    leaf, scene = read(made[2].leaves), made[2]
    own = scene.tree.n_leaves - 1
    assert np.array_equal(scene.tree.labels, np.where(leaf < 0, own, leaf))


def found_share(area: Any, cut: Any) -> float:
    """The share of pixels in the right area, if each region is in the area that it shares most."""
    table = np.zeros((cut.max() + 1, area.max() + 1))
    seen = area >= 0
    np.add.at(table, (cut[seen], area[seen]), 1)
    return float(table.max(axis=1).sum() / table.sum())


@pytest.mark.parametrize("window", [64, 100, 200, 5000])
def test_clear_areas_are_found_whatever_the_window(made, tmp_path, window: int) -> None:
    area, path, _ = made
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=window)
    assert found_share(area, scene.tree.cut(n_regions=16)) > 0.98
    # The largest regions are those of another window's size, up to a few pixels at borders.
    one, other = (tree.cut(n_regions=8) for tree in (scene.tree, made[2].tree))
    assert found_share(one, other) > 0.99
    assert found_share(other, one) > 0.99


def test_no_seam_shows_where_windows_end(tmp_path) -> None:
    """In a scene that changes slowly, regions could end anywhere."""
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.uniform(0, 255, (1, 3, 9, 9))).float()
    rgb = functional.interpolate(small, (768, 768), mode="bicubic")[0].clamp(0, 255)
    rgb = rgb.permute(1, 2, 0).numpy() + rng.normal(0, 3, (768, 768, 3))
    path = saved(tmp_path / "s.tif", np.clip(rgb, 0, 255).astype(np.uint8))
    window = 128
    scene = parse_scene(path, tmp_path / "out", parser=parser(120), window=window)
    cut = scene.tree.cut(n_regions=40)
    across = (cut[:, 1:] != cut[:, :-1]).mean(axis=0)
    down = (cut[1:] != cut[:-1]).mean(axis=1)
    ends = np.arange(window, 768, window) - 1
    near = (ends[:, None] + np.arange(-PATCH, PATCH + 1)).ravel()
    ratio = (across[near].mean() + down[near].mean()) / (across.mean() + down.mean())
    assert ratio < 1.35


def test_groups_of_a_window_are_those_of_its_patches(made) -> None:
    """The means and counts are those of the smoothed features, computed for the whole scene."""
    features, grid = features_of(made[1])
    smooth = parser().settings.smooth
    with raster_of(made[1]) as raster:
        whole = raster.read(*grid.pixels((slice(0, grid.cells[0]), slice(0, grid.cells[1]))))
        found = [group_window(features, raster, w, smooth, 5) for w in grid.windows()]
    there = whole.valid.reshape(grid.cells[0], PATCH, grid.cells[1], PATCH).mean(axis=(1, 3)) >= 0.5
    colours = patch_colours(whole.rgb, grid.cells, whole.valid)
    rows = smooth_features(
        features.part((slice(0, grid.cells[0]), slice(0, grid.cells[1]))), steps=smooth.steps,
        colours=torch.from_numpy(colours).permute(1, 2, 0), contrast=smooth.contrast,
        there=torch.from_numpy(there),
    ).numpy()  # fmt: skip
    for window, groups in zip(grid.windows(), found, strict=True):
        assert np.array_equal(groups.of_patch >= 0, there[window.cells])
        for group in range(len(groups.count)):
            inside = groups.of_patch == group
            assert inside.sum() == groups.count[group]
            mean = rows[window.cells][inside].mean(axis=0)
            assert np.allclose(mean, groups.mean[group], atol=1e-5)


@pytest.mark.parametrize(("side", "share"), [(500, 1.0), (60_000, 1.0), (60_000, 0.1)])
def test_there_are_not_too_many_groups(made, side: int, share: float) -> None:
    with raster_of(made[1]) as raster:
        large = replace(raster, shape=(side, side), share=share)
        size = patches_of_group(large, SceneGrid((side, side), 14, 2048))
    patches = share * (side / 14) ** 2
    assert patches / size <= MOST_GROUPS
    assert size == 1 or patches / (size - 1) > MOST_GROUPS


def test_a_scene_has_at_most_4096_parts() -> None:
    with pytest.raises(SettingsError, match="4096"):
        parser(parts=4097)


def test_nodes_have_no_stability_and_no_descriptors(made) -> None:
    assert made[2].tree.stability is None
    assert made[2].tree.descriptor is None
    assert made[2].tree.meta["settings"]["stability"] == 0


@pytest.mark.parametrize("most", [10_000, 50_000, 126_000])
def test_the_reduced_picture_has_at_most_so_many_pixels(most: int) -> None:
    height, width = picture_size((300, 420), most)
    assert height * width <= most
    assert (height + 1) * (width + 1) > most or most == 126_000
    assert picture_size((300, 420), 126_000) == (300, 420)
    assert PICTURE == 16_000_000


def test_equal_runs_give_equal_files(made, tmp_path) -> None:
    _, path, scene = made
    again = parse_scene(
        path, tmp_path / "out", parser=parser(), window=128, regions=10, granularities=(3, 10)
    )
    for name in ("leaves.tif", "overview.tif", "regions.tif", "regions.gpkg", "regions.qml"):
        assert (again.folder / name).read_bytes() == (scene.folder / name).read_bytes(), name
    assert again.tree == scene.tree


def test_without_refinement_leaves_are_whole_patches(made, tmp_path) -> None:
    _, path, _ = made
    scene = parse_scene(path, tmp_path / "out", parser=parser(refine="none"), window=128)
    leaf = read(scene.leaves)[40:]
    blocks = leaf.reshape(65, 4, 105, 4)
    assert (blocks == blocks[:, :1, :, :1]).all()
    assert scene.tree.meta["refined"] == "none"


def test_a_scene_of_one_colour_is_one_region(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", np.full((200, 200, 3), 90, np.uint8))
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=64)
    assert scene.tree.n_nodes == 1
    assert (read(scene.leaves) == 0).all()


def test_pieces_of_data_apart_are_one_tree(tmp_path) -> None:
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:40, :40], rgb[200:, 200:], rgb[100:130, 90:120] = (200, 20, 20), (20, 200, 20), 120
    path = saved(tmp_path / "s.tif", rgb, nodata=0)
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=64)
    cut = scene.tree.cut(n_regions=4)
    pieces = (rgb[:, :, 0] > 100) + 2 * (rgb[:, :, 1] > 100)
    assert len(np.unique(cut * 4 + pieces)) == len(np.unique(cut)) == 4


# -- what holds no data ---------------------------------------------------------------------------


def test_values_without_data_influence_nothing(tmp_path) -> None:
    _, rgb = areas(200, 260)
    rng = np.random.default_rng(1)
    alpha = np.full((200, 260, 1), 255, np.uint8)
    alpha[30:90, 50:170] = 0
    found = []
    for seed in (0, 1):
        other = np.where(alpha > 0, rgb, rng.integers(0, 255, rgb.shape)).astype(np.uint8)
        path = tmp_path / f"{seed}.tif"
        saved(path, np.dstack([other, alpha]), photometric="RGB", alpha="YES")
        scene = parse_scene(path, tmp_path / f"out{seed}", parser=parser(), window=64)
        found.append(read(scene.leaves))
    assert np.array_equal(*found)
    assert np.array_equal(found[0] < 0, alpha[:, :, 0] == 0)


def test_a_mask_file_counts(tmp_path) -> None:
    rgb = areas(128, 128)[1]
    path = saved(tmp_path / "s.tif", rgb)
    mask = np.full((128, 128), 255, np.uint8)
    mask[:, 100:] = 0
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(path, "r+") as file:
        file.write_mask(mask)
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=64)
    assert np.array_equal(read(scene.leaves) < 0, mask == 0)


def test_a_scene_without_data_is_refused(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", np.zeros((80, 80, 3), np.uint8), nodata=0)
    with pytest.raises(ImageError, match=r"s\.tif: no pixel holds data"):
        parse_scene(path, tmp_path / "out", parser=parser())


# -- samples --------------------------------------------------------------------------------------


def test_sixteen_bits_are_stretched_by_the_whole_scene(tmp_path) -> None:
    """Left and right differ by more than their own ranges, so windows alone would look alike."""
    ramp = np.linspace(0, 60, 300)[:, None] + np.zeros((300, 300))
    ramp[:, 150:] += 900
    deep = (1000 + ramp).astype(np.uint16)[:, :, None]
    path = saved(tmp_path / "deep.tif", deep)
    with raster_of(path) as raster:
        low, high = raster.limits
        assert (low, high) == pytest.approx(tuple(np.percentile(deep, (0.1, 99.9))), abs=1)
        left = raster.read(slice(0, 64), slice(0, 64)).rgb
        right = raster.read(slice(0, 64), slice(200, 264)).rgb
        values = np.clip((deep[:64, :64, 0] - low) / (high - low), 0, 1) * 255
        assert np.abs(left[:, :, 0] - values).max() <= 1
        assert left.max() < 40
        assert right.min() > 200


def test_the_colours_of_a_full_range_are_the_same_at_every_depth(tmp_path) -> None:
    rgb = areas(160, 200)[1]
    rgb[0, :2] = [[0, 0, 0], [255, 255, 255]]
    deep = rgb.astype(np.uint16) * 257
    leaves = []
    for name, samples in (("eight", rgb), ("sixteen", deep)):
        path = saved(tmp_path / f"{name}.tif", samples)
        scene = parse_scene(path, tmp_path / name, parser=parser(), window=64)
        leaves.append(read(scene.leaves))
    assert np.array_equal(*leaves)


def test_floats_with_nan_hold_no_data_there(tmp_path) -> None:
    grey = areas(128, 128)[1][:, :, :1].astype(np.float32) * 40
    grey[20:50, 60:90] = np.nan
    path = saved(tmp_path / "s.tif", grey)
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=64)
    assert np.array_equal(read(scene.leaves) < 0, np.isnan(grey[:, :, 0]))


def test_bands_are_chosen(tmp_path) -> None:
    area, rgb = areas(160, 160, n=5)
    noise = np.random.default_rng(0).integers(0, 255, (160, 160, 3), np.uint8)
    path = saved(tmp_path / "s.tif", np.dstack([noise, rgb]))
    scene = parse_scene(path, tmp_path / "out", parser=parser(), bands=(4, 5, 6))
    assert found_share(area, scene.tree.cut(n_regions=5)) > 0.9
    assert scene.tree.meta["scene"]["bands"] == [4, 5, 6]
    with pytest.raises(ImageError, match="band"):
        parse_scene(path, tmp_path / "other", parser=parser(), bands=9)


def test_a_colour_table_is_no_picture(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", np.zeros((64, 64, 1), np.uint8))
    with rasterio.open(path, "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255)})
    with pytest.raises(ImageError, match=r"s\.tif: its numbers .* gdal_translate -expand rgb"):
        parse_scene(path, tmp_path / "out", parser=parser())


# -- maps -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leaves.tif", "regions.tif"])
def test_rasters_lie_where_the_scene_lies(made, name: str) -> None:
    scene = made[2]
    with rasterio.open(scene.folder / name) as file, rasterio.open(made[1]) as source:
        assert (file.crs, file.transform, file.shape) == (
            source.crs, source.transform, source.shape,
        )  # fmt: skip
        assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert file.nodata == (-1 if name == "leaves.tif" else 0)


def test_large_rasters_have_overviews(tmp_path) -> None:
    rgb = areas(700, 1100, noise=2)[1]
    scene = parse_scene(
        saved(tmp_path / "s.tif", rgb), tmp_path / "out", parser=parser(refine="none"),
        window=512, picture_pixels=20_000,
    )  # fmt: skip
    for name in ("leaves.tif", "regions.tif"):
        with rasterio.open(scene.folder / name) as file:
            assert file.overviews(1) == [2, 4], name


def test_the_picture_of_labels_is_the_cut(made) -> None:
    _, _, scene = made
    nodes = scene.tree.cut_nodes(n_regions=10)
    leaf = read(scene.leaves)
    values = read(scene.folder / "regions.tif")
    expected = np.zeros_like(values)
    for value, node in enumerate(nodes.tolist(), start=1):
        below = [i for i in range(scene.tree.n_leaves) if node in [i, *scene.tree.ancestors(i)]]
        expected[np.isin(leaf, below)] = value
    assert np.array_equal(values, expected)
    with rasterio.open(scene.folder / "regions.tif") as file:
        table = file.colormap(1)
    color = hierarchy_colors(scene.tree)[nodes[0]]
    assert table[1] == (*color.tolist(), 255)
    assert "paletteEntry" in (scene.folder / "regions.qml").read_text(encoding="utf-8")


def layer(path: Path, name: str) -> tuple[Any, list[dict[str, Any]], list[Any]]:
    meta, _, shapes, columns = pyogrio.raw.read(path, layer=name)
    rows = [
        dict(zip(meta["fields"].tolist(), values, strict=True))
        for values in zip(*(column.tolist() for column in columns), strict=True)
    ]
    return meta, rows, shapely.from_wkb(shapes).tolist()


def test_polygons_are_the_cut_pixel_for_pixel_and_nested(made) -> None:
    scene = made[2]
    path = scene.folder / "regions.gpkg"
    names = [name for name, kind in pyogrio.list_layers(path).tolist() if kind is not None]
    assert len(names) == 2
    before: set[int] = set()
    for name, count in zip(names, (3, 10), strict=True):
        meta, rows, shapes = layer(path, name)
        assert "32632" in meta["crs"]
        drawn = rasterize(
            [(shape, row["node"]) for shape, row in zip(shapes, rows, strict=True)],
            out_shape=scene.shape, transform=UTM, fill=-1, dtype="int32",
        )  # fmt: skip
        nodes = scene.tree.cut_nodes(n_regions=count)
        expected = nodes[scene.tree.cut(n_regions=count)]
        expected[made[0] < 0] = -1
        assert np.array_equal(drawn, expected)
        assert all(row["area"] == scene.area[row["node"]] for row in rows)
        assert all(row["coarser"] in before for row in rows if before)
        before = {row["node"] for row in rows}


def test_a_reduced_picture_has_the_whole_tree_at_its_place(made, tmp_path) -> None:
    _, path, whole = made
    scene = parse_scene(
        path, tmp_path / "out", parser=parser(), window=128, picture_pixels=10_000,
        granularities=(6,),
    )  # fmt: skip
    assert scene.tree.shape == (84, 118)
    for name in ("parents", "height", "stop"):
        assert np.array_equal(getattr(scene.tree, name), getattr(whole.tree, name))
    assert np.array_equal(scene.area, whole.area)
    assert scene.leaves.read_bytes() == whole.leaves.read_bytes()
    with rasterio.open(path) as source, rasterio.open(scene.folder / "overview.tif") as small:
        assert tuple(small.bounds) == pytest.approx(tuple(source.bounds))
        assert small.crs == source.crs
        bounds = source.bounds
    ((name, _),) = [pair for pair in pyogrio.list_layers(scene.folder / "regions.gpkg")
                    if pair[1] is not None]  # fmt: skip
    _, rows, shapes = layer(scene.folder / "regions.gpkg", name)
    covered = shapely.union_all(shapes).bounds
    assert covered == pytest.approx(tuple(bounds), abs=0.01)
    for row, shape in zip(rows, shapes, strict=True):
        assert shape.area / 0.25 == pytest.approx(row["area"], rel=0.1, abs=400)


def test_the_tree_opens_and_exports_like_any_other(made, tmp_path) -> None:
    scene = made[2]
    tree = RegionTree.load(scene.folder / "tree.npz")
    assert tree == scene.tree == Scene.open(scene.folder).tree
    said = tree.meta["image"]
    assert (said["name"], said["size"]) == ("overview.tif", [300, 420])
    again = CliRunner().invoke(
        app, ["export", str(scene.folder / "tree.npz"), "--to", "geotiff", "--out", str(tmp_path)]
    )
    assert again.exit_code == 0, again.output
    with rasterio.open(tmp_path / "tree.regions.tif") as file:
        assert (file.crs.to_epsg(), file.transform) == (32632, UTM)


def test_other_maps_of_a_finished_scene_need_no_network(made, tmp_path) -> None:
    _, path, _ = made
    parse_scene(path, tmp_path / "out", parser=parser(), window=128, regions=4)
    given = parser()
    scene = parse_scene(path, tmp_path / "out", parser=given, window=128, regions=9)
    assert given.own_model.looks == 0
    assert read(scene.folder / "regions.tif").max() == 9
    assert scene.facts["regions"] == 9


def test_a_scene_on_no_map_has_pixels(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", areas(96, 128)[1], transform=None, crs=None)
    scene = parse_scene(path, tmp_path / "out", parser=parser(), granularities=(4,))
    with rasterio.open(scene.leaves) as file:
        assert (file.crs, file.transform.is_identity) == (None, True)
    names = [name for name, kind in pyogrio.list_layers(scene.folder / "regions.gpkg") if kind]
    shapes = layer(scene.folder / "regions.gpkg", names[0])[2]
    assert shapely.union_all(shapes).bounds == (0, -96, 128, 0)


def test_a_crs_in_degrees_keeps_its_axes(tmp_path) -> None:
    place = rasterio.Affine(1e-4, 0, 12.0, 0, -1e-4, 48.0)
    path = saved(tmp_path / "s.tif", areas(96, 128)[1], transform=place, crs="EPSG:4326")
    scene = parse_scene(path, tmp_path / "out", parser=parser())
    with rasterio.open(scene.leaves) as file:
        assert file.transform == place
        assert file.crs.to_epsg() == 4326
        assert file.bounds.left == 12.0


def test_a_vrt_of_two_files_is_one_scene(tmp_path) -> None:
    rgb = areas(128, 256)[1]
    for name, half, x in (("a", rgb[:, :128], 500_000), ("b", rgb[:, 128:], 500_064)):
        place = rasterio.Affine(0.5, 0.0, x, 0.0, -0.5, 4_600_000.0)
        saved(tmp_path / f"{name}.tif", half, transform=place)
    sources = "".join(
        f"<SimpleSource><SourceFilename relativeToVRT='1'>{name}.tif</SourceFilename>"
        f"<SourceBand>{{band}}</SourceBand><SrcRect xOff='0' yOff='0' xSize='128' ySize='128'/>"
        f"<DstRect xOff='{x}' yOff='0' xSize='128' ySize='128'/></SimpleSource>"
        for name, x in (("a", 0), ("b", 128))
    )
    bands = "".join(
        f"<VRTRasterBand dataType='Byte' band='{i}'>{sources.format(band=i)}</VRTRasterBand>"
        for i in (1, 2, 3)
    )
    (tmp_path / "s.vrt").write_text(
        "<VRTDataset rasterXSize='256' rasterYSize='128'><SRS>EPSG:32632</SRS>"
        f"<GeoTransform>500000, 0.5, 0, 4600000, 0, -0.5</GeoTransform>{bands}</VRTDataset>",
        encoding="utf-8",
    )
    whole = parse_scene(
        saved(tmp_path / "whole.tif", rgb), tmp_path / "one", parser=parser(), window=64
    )
    scene = parse_scene(tmp_path / "s.vrt", tmp_path / "two", parser=parser(), window=64)
    assert np.array_equal(read(whole.leaves), read(scene.leaves))


# -- stopped and resumed --------------------------------------------------------------------------


class Stop(BaseException):
    """What ends a run in the middle."""


@pytest.mark.parametrize("stage", ["grouping", "tree", "borders"])
def test_a_stopped_run_goes_on_and_ends_the_same(made, tmp_path, stage: str) -> None:
    _, path, scene = made
    first, second = parser(), parser()

    def step(what: str, done: int, total: int) -> None:
        if what == stage and done == (0 if stage == "tree" else 5):
            raise Stop

    told: dict[str, Any] = {"window": 128, "regions": 10, "granularities": (3, 10)}
    with pytest.raises(Stop):
        parse_scene(path, tmp_path / "out", parser=first, on_step=step, **told)
    work = tmp_path / "out" / "work"
    times = {file: file.stat().st_mtime_ns for file in work.glob("0*")}
    assert len([file for file in times if file.suffix == ".npz"]) == (
        5 if stage == "grouping" else 12
    )
    kept: dict[Path, int] = {}

    def look(what: str, done: int, total: int) -> None:
        if (what, done) == ("borders", total):
            kept.update({file: file.stat().st_mtime_ns for file in times})

    again = parse_scene(path, tmp_path / "out", parser=second, on_step=look, **told)
    assert kept == times  # what was finished was not done again
    if stage != "grouping":
        assert second.own_model.looks == 0
    assert again.leaves.read_bytes() == scene.leaves.read_bytes()
    assert again.tree == scene.tree
    assert not work.exists()


CHILD = """
import sys
sys.path[:0] = {paths!r}
from test_scenes import parser
from regiontree.scenes import parse_scene
def step(what, done, total):
    print(what, done, flush=True)
parse_scene({path!r}, {out!r}, parser=parser(), window=64, on_step=step)
"""


def child(path: Path, out: Path) -> subprocess.Popen[str]:
    paths = [str(Path(__file__).parent)]
    code = CHILD.format(paths=paths, path=str(path), out=str(out))
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )


@pytest.mark.slow
def test_a_killed_run_goes_on(made, tmp_path) -> None:
    _, path, _ = made
    running = child(path, tmp_path / "out")
    assert running.stdout is not None
    for line in running.stdout:
        if line.startswith("borders 9"):
            running.send_signal(signal.SIGKILL)
            break
    assert running.wait() == -signal.SIGKILL
    given = parser()
    scene = parse_scene(path, tmp_path / "out", parser=given, window=64)
    assert given.own_model.looks == 0
    whole = parse_scene(path, tmp_path / "whole", parser=parser(), window=64)
    assert np.array_equal(read(scene.leaves), read(whole.leaves))
    names = {"leaves.tif", "tree.npz", "overview.tif", "regions.tif", "regions.qml",
             "regions.gpkg", "scene.json"}  # fmt: skip
    assert {file.name for file in whole.folder.iterdir()} == names


def test_another_setting_is_refused_and_named(made, tmp_path) -> None:
    _, path, scene = made
    told: dict[str, Any] = {"window": 128, "regions": 10, "granularities": (3, 10)}
    with pytest.raises(SettingsError, match="of another window; choose another folder"):
        parse_scene(path, scene.folder, parser=parser(), **{**told, "window": 64})
    with pytest.raises(SettingsError, match="of another settings"):
        parse_scene(path, scene.folder, parser=parser(parts=50), **told)
    other = saved(tmp_path / "other.tif", areas(300, 420)[1])
    with pytest.raises(SettingsError, match="another name"):
        parse_scene(other, scene.folder, parser=parser(), **told)


def test_an_unfinished_scene_of_another_setting_is_refused_or_replaced(made, tmp_path) -> None:
    _, path, _ = made

    def step(what: str, done: int, total: int) -> None:
        if what == "borders":
            raise Stop

    with pytest.raises(Stop):
        parse_scene(path, tmp_path / "out", parser=parser(), window=128, on_step=step)
    with pytest.raises(SettingsError, match="another window"):
        parse_scene(path, tmp_path / "out", parser=parser(), window=64)
    scene = parse_scene(path, tmp_path / "out", parser=parser(), window=64, overwrite=True)
    assert scene.facts["window"] == 64


def test_a_damaged_file_of_a_window_is_named(made, tmp_path) -> None:
    _, path, _ = made

    def step(what: str, done: int, total: int) -> None:
        if what == "tree":
            raise Stop

    with pytest.raises(Stop):
        parse_scene(path, tmp_path / "out", parser=parser(), window=128, on_step=step)
    broken = tmp_path / "out" / "work" / "0001-0002.npz"
    broken.write_bytes(broken.read_bytes()[:100])
    with pytest.raises(TreeFileError, match=r"0001-0002\.npz: is damaged; remove it"):
        parse_scene(path, tmp_path / "out", parser=parser(), window=128)
    broken.unlink()
    parse_scene(path, tmp_path / "out", parser=parser(), window=128)


# -- mistakes -------------------------------------------------------------------------------------


def test_a_damaged_block_is_named_and_the_rest_is_kept(tmp_path) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    path = saved(tmp_path / "s.tif", rgb)
    data = bytearray(path.read_bytes())
    middle = len(data) * 3 // 4
    data[middle : middle + 9000] = bytes(9000)
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"s\.tif: rows \d+ to \d+, columns \d+ to \d+ cannot be"):
        parse_scene(path, tmp_path / "out", parser=parser(), window=64)


def test_files_that_are_no_raster_are_refused(tmp_path) -> None:
    with pytest.raises(ImageError, match=r"none\.tif: no such file"):
        parse_scene(tmp_path / "none.tif", tmp_path / "out", parser=parser())
    (tmp_path / "text.tif").write_text("no raster", encoding="utf-8")
    with pytest.raises(ImageError, match=r"text\.tif: GDAL cannot read it"):
        parse_scene(tmp_path / "text.tif", tmp_path / "out", parser=parser())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"tiles": "own"}, "leave tiles out"),
        ({"overclustering": "features"}, "'contiguous'"),
        ({"tree": "recursive"}, "use ward"),
        ({"refine": "crf"}, "'guided' or 'none'"),
        ({"size": (64, 64)}, "give one number"),
    ],
)
def test_settings_that_a_scene_cannot_have_are_refused(made, tmp_path, changes, said) -> None:
    given = RegionParser(backbone=Eyes(), **{"size": TILE, **changes})
    with pytest.raises(SettingsError, match=said):
        parse_scene(made[1], tmp_path / "out", parser=given)


def test_pages_and_features_of_files_are_refused(made, tmp_path) -> None:
    with pytest.raises(SettingsError, match="no pages"):
        parse_scene(made[1], tmp_path / "out", parser=RegionParser(backbone=Eyes(), page=1))
    with pytest.raises(SettingsError, match="no network"):
        parse_scene(made[1], tmp_path / "out", parser=RegionParser(backbone="precomputed"))


@pytest.mark.parametrize(
    ("name", "value"), [("window", 10), ("regions", 1), ("picture_pixels", 5), ("regions", 70_000)]
)
def test_values_out_of_range_are_refused(made, tmp_path, name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=name):
        parse_scene(made[1], tmp_path / "out", parser=parser(), **{name: value})


def test_a_bent_scene_is_refused(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", areas(64, 64)[1], transform=None, crs=None)
    point = rasterio.control.GroundControlPoint
    points = [
        point(row, col, 500_000 + col + (9 if row == col == 60 else 0), 4_600_000 - row)
        for row in (0, 60) for col in (0, 60)
    ]  # fmt: skip
    with rasterio.open(path, "r+") as file:
        file.gcps = (points, rasterio.crs.CRS.from_epsg(32632))
    with pytest.raises(ExportError, match="gdalwarp"):
        parse_scene(path, tmp_path / "out", parser=parser())


def test_without_rasterio_the_extra_is_named(made, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[geo\]"):
        parse_scene(made[1], tmp_path / "out", parser=parser())


def test_a_folder_without_a_scene_is_named(tmp_path) -> None:
    with pytest.raises(TreeFileError, match="holds no finished scene"):
        Scene.open(tmp_path)


# -- memory ---------------------------------------------------------------------------------------

MEASURE = """
import sys
sys.path[:0] = {paths!r}
from test_scenes import Eyes
from regiontree import RegionParser
from regiontree.scenes import parse_scene, raster
raster.CACHE = 8 * 2**20
parser = RegionParser(backbone=Eyes(16), size=256, parts=200, refine="none")
parse_scene({path!r}, {out!r}, parser=parser, window=512, picture_pixels=100_000)
# Not getrusage: it counts what the process that started this one held.
print(*[line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


def peak(path: Path, out: Path) -> int:
    """The largest memory of a run in a process of its own, in bytes."""
    code = MEASURE.format(paths=[str(Path(__file__).parent)], path=str(path), out=str(out))
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return 1024 * int(ended.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="other systems tell it otherwise")
@pytest.mark.slow
def test_memory_does_not_grow_with_the_scene(tmp_path) -> None:
    found = []
    for side in (2048, 6144):
        rgb = areas(256, 256)[1].repeat(side // 256, 0).repeat(side // 256, 1)
        found.append(peak(saved(tmp_path / f"{side}.tif", rgb), tmp_path / f"out{side}"))
    more = 6144**2 - 2048**2
    assert found[1] - found[0] < 1.2 * more  # the colours alone would be 3 bytes a pixel


# -- the command ----------------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "regiontree", "scene", *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_command_makes_a_scene(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", areas(280, 320)[1])
    out = tmp_path / "out"
    options = [
        str(path), "-o", str(out), "--parts", "30", "--window", "224", "--size", "140",
        "--regions", "5", "--granularities", "2,6", "--picture-pixels", "20000",
        "--refine", "none", "--bands", "3,2,1", "--set", "smooth.steps=1",
    ]  # fmt: skip
    ended = command(*options, "--json")
    assert ended.returncode == 0, ended.stderr
    said = json.loads(ended.stdout)
    assert said["size"] == [280, 320]
    assert said["overview"] == [132, 151]
    scene = Scene.open(out)
    assert scene.tree.n_leaves == said["leaves"] <= 30
    settings = scene.tree.meta["settings"]
    assert (settings["parts"], settings["size"], settings["refine"]) == (30, 140, "none")
    assert settings["smoothing"] == 1
    assert scene.facts["window"] == 224
    assert scene.facts["image"]["choice"]["bands"] == [3, 2, 1]
    assert read(out / "regions.tif").max() == 5
    names = [name for name, kind in pyogrio.list_layers(out / "regions.gpkg") if kind]
    assert names == ["regions_2", "regions_6"]
    again = command(*options[:3], "--window", "300")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr


def test_the_usual_number_of_parts_is_that_of_scenes() -> None:
    from regiontree.scenes.command import scene_parser

    assert scene_parser({}, "cpu").settings.parts.count == 2000
    assert scene_parser({"parts.count": 50}, "cpu").settings.parts.count == 50


def test_granularities_that_are_no_numbers_are_refused(tmp_path) -> None:
    ended = CliRunner().invoke(
        app, ["scene", "s.tif", "-o", str(tmp_path), "--granularities", "few"]
    )
    assert ended.exit_code == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.slow
def test_ctrl_c_ends_the_command_with_130_and_it_goes_on(tmp_path) -> None:
    path = saved(tmp_path / "s.tif", areas(900, 900)[1])
    out = tmp_path / "out"
    arguments = [str(path), "-o", str(out), "--window", "120", "--size", "140", "--refine", "none"]
    running = subprocess.Popen(
        [sys.executable, "-m", "regiontree", "scene", *arguments],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    end = time.monotonic() + 120
    while not list((out / "work").glob("0*.npz")) and time.monotonic() < end:
        time.sleep(0.05)
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    said = running.stderr.read()
    assert running.wait() == 130
    assert "run the same command again" in said
    ended = command(*arguments)
    assert ended.returncode == 0, ended.stderr
    assert not os.path.exists(out / "work")


# -- QGIS -----------------------------------------------------------------------------------------

QGIS = textwrap.dedent("""
    import os, sys
    from qgis.core import (QgsApplication, QgsMapRendererParallelJob, QgsMapSettings,
                           QgsRasterLayer, QgsVectorLayer)
    from qgis.PyQt.QtCore import QSize
    folder, picture = sys.argv[1:]
    application = QgsApplication([], False)
    application.initQgis()
    raster = QgsRasterLayer(folder + "/regions.tif", "regions")
    layers = [QgsVectorLayer(f"{folder}/regions.gpkg|layername={name}", name)
              for name in sys.stdin.read().split()]
    for layer in [raster, *layers]:
        assert layer.isValid(), layer.name()
        assert layer.crs().authid() == "EPSG:32632", layer.crs().authid()
    assert raster.renderer().type() == "paletted"
    print(len(raster.renderer().classes()))
    for layer in layers:
        print(layer.featureCount(), layer.renderer().type(), layer.opacity())
    settings = QgsMapSettings()
    settings.setLayers(layers[-1:])
    settings.setOutputSize(QSize(420, 300))
    settings.setExtent(raster.extent())
    job = QgsMapRendererParallelJob(settings)
    job.start()
    job.waitForFinished()
    assert job.renderedImage().save(picture)
    sys.stdout.flush()
    os._exit(0)  # exitQgis ends with a segmentation fault if a layer is alive
""")


def has_qgis() -> bool:
    try:
        ended = subprocess.run(
            ["/usr/bin/python3", "-c", "import qgis.core"], capture_output=True, check=False
        )
    except OSError:
        return False
    return ended.returncode == 0


@pytest.mark.skipif(not has_qgis(), reason="QGIS for Python is not installed (python3-qgis)")
@pytest.mark.slow
def test_qgis_shows_the_maps(made, tmp_path) -> None:
    scene = made[2]
    picture = tmp_path / "map.png"
    names = [name for name, kind in pyogrio.list_layers(scene.folder / "regions.gpkg") if kind]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    ended = subprocess.run(
        ["/usr/bin/python3", "-c", QGIS, str(scene.folder), str(picture)],
        input="\n".join(names), capture_output=True, text=True, check=False,
        env={**environment, "QT_QPA_PLATFORM": "offscreen"},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.split("\n")
    nodes = scene.tree.cut_nodes(n_regions=10)
    assert int(lines[0]) == len(nodes) - 1  # without the region without data
    assert lines[1:3] == ["2 singleSymbol 0.6", "9 singleSymbol 0.6"]
    from PIL import Image

    shown = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    cut, colors = scene.tree.cut(n_regions=10), hierarchy_colors(scene.tree)[nodes]
    # Opacity 0.6 over white. Pixels near borders have the colour of the outline.
    expected = 0.6 * colors[cut] + 0.4 * 255
    expected[made[0] < 0] = 255
    near = np.abs(shown - expected).max(axis=2) <= 4
    assert near.mean() > 0.85
