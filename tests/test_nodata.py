"""Pixels that are not there: nothing depends on their values, and they are one leaf of the tree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blocks, refused
from PIL import Image
from typer.testing import CliRunner

from regiontree import RegionParser, RegionTree, StopReason
from regiontree.backbones.featurefile import load_features, load_valid, save_features
from regiontree.cli import app
from regiontree.display.pictures import hierarchy_colors
from regiontree.engines.feeding import extract_many
from regiontree.errors import FeatureError, ImageError
from regiontree.export.coco import chosen_nodes
from regiontree.export.labelstudio import to_label_studio
from regiontree.export.panoptic import to_panoptic
from regiontree.images import load_image
from regiontree.images import valid as valid_module
from regiontree.images.maskfiles import read_mask
from regiontree.images.masks import Masked
from regiontree.images.valid import filled, resized, valid_at, valid_patches
from regiontree.refine.regions import keep_leaves
from regiontree.spectral.smooth import smooth_features
from regiontree.tree.file import read_meta
from regiontree.tree.nodata import with_no_data

ARRAYS = ("labels", "parents", "height", "ncut", "stop")


class Colours:
    """A network whose features are the mean colours of patches and of what is around them."""

    name, digest, patch, dim = "colours", "1", 4, 6
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        near = torch.nn.functional.avg_pool2d(pixels + 0.1, 4)
        wide = torch.nn.functional.avg_pool2d(near, 3, 1, 1, count_include_pad=False)
        return torch.cat([near, wide], 1).permute(0, 2, 3, 1)


class NeverRun(Colours):
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        raise AssertionError("the network was run")


def parser(backbone=None, **changes) -> RegionParser:
    given = {"preset": "fast", "size": 96, "parts": 20, **changes}
    return RegionParser(backbone=backbone or Colours(), device="cpu", **given)


def scene(seed: int = 0) -> np.ndarray:
    """A photograph (60, 90, 3) of four coloured parts with texture."""
    rng = np.random.default_rng(seed)
    rgb = np.zeros((60, 90, 3))
    for part, colour in enumerate(((200, 80, 60), (60, 170, 90), (70, 90, 210), (210, 200, 90))):
        rgb[30 * (part // 2) : 30 * (part // 2) + 30, 45 * (part % 2) :][:, :45] = colour
    return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).astype(np.uint8)


def gap() -> np.ndarray:
    """A mask of the scene: no left border, and a hole over the meeting point of all parts."""
    y, x = np.mgrid[:60, :90]
    return (x > 8 + 0.2 * y) & ((y - 30) ** 2 + (x - 50) ** 2 > 90)


def with_junk(rgb: np.ndarray, valid: np.ndarray, seed: int) -> np.ndarray:
    junk = np.random.default_rng(seed).integers(0, 256, rgb.shape, dtype=np.uint8)
    return np.where(valid[:, :, None], rgb, junk)


def assert_same(one: RegionTree, other: RegionTree) -> None:
    for name in (*ARRAYS, "embedding"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


# -- nothing depends on what is not there ---------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"preset": "default"},
        {"preset": "published", "size": 96},
        {"refine": "crf"},
        {"refine": "none"},
        {"refine": "none", "smooth": 0},
        {"smooth": {"contrast": None}},
        {"tree": "recursive"},
        {"parts": {"method": "features", "count": 20}},
        {"parts": {"method": "none"}},
        {"parts": {"method": "colours", "count": 20}},
        {"parts": {"method": "felzenszwalb"}},
        {"parts": {"method": "slic", "count": 20}},
        {"parts": {"method": "quickshift"}},
        {"parts": {"method": "watershed", "count": 20}},
        {"views": 4},
        {"views": 2},
        {"size": 48, "tiles": 96, "views": 1},
        {"size": 48, "tiles": "own", "views": 1},
    ],
    ids=str,
)
def test_no_value_that_is_not_there_changes_the_tree(changes):
    pytest.importorskip("skimage")
    made, rgb, valid = parser(**changes), scene(), gap()
    one, other = (made.parse(with_junk(rgb, valid, seed), valid=valid) for seed in (1, 2))
    assert_same(one, other)
    assert np.array_equal(one.mask(int(np.argmax(one.stop == StopReason.NO_DATA))), ~valid)
    assert one.n_leaves > 3


def test_the_same_with_the_real_network(embedded_installed):
    made = RegionParser(preset="fast", size=112, device="cpu", parts=20)
    rgb, valid = scene(), gap()
    one, other = (made.parse(with_junk(rgb, valid, seed), valid=valid) for seed in (1, 2))
    assert_same(one, other)


@pytest.mark.parametrize("kind", ["deep colour", "deep grey", "float", "file"])
def test_no_value_that_is_masked_changes_the_stretch(kind, tmp_path):
    valid, rgb = gap(), scene().astype(np.float64)
    trees = []
    for junk in (0.0, 60_000.0):
        if kind == "deep colour":
            photo = np.where(valid[:, :, None], rgb * 4, junk).astype(np.uint16)
        elif kind == "float":
            photo = np.where(valid, rgb[:, :, 0] - 1000, junk)
        else:
            photo = np.where(valid, rgb[:, :, 0] * 8, junk).astype(np.uint16)
        if kind == "file":
            Image.fromarray(photo).save(tmp_path / "a.png")
            photo = tmp_path / "a.png"
        trees.append(parser().parse(photo, valid=valid))
    assert_same(*trees)
    assert trees[0].meta["image"]["stretch"] == trees[1].meta["image"]["stretch"]


def test_parts_of_the_scene_keep_apart_around_a_gap():
    """The four parts that the mask leaves are the first four regions of what is there."""
    rgb, valid = scene(), gap()
    regions = parser().parse(with_junk(rgb, valid, 3), valid=valid).cut(n_regions=5)
    y, x = np.mgrid[:60, :90]
    wrong = 0
    for part in range(4):
        inside = valid & (y // 30 == part // 2) & (x // 45 == part % 2)
        counts = np.bincount(regions[inside])
        wrong += inside.sum() - counts.max()
    assert wrong < 0.02 * valid.sum()
    assert len(np.unique(regions[~valid])) == 1


def test_features_of_missing_patches_have_no_effect():
    features, valid = blocks(8, 8, 6), np.ones((8, 8), bool)
    valid[2:5, :3] = False
    other = features.copy()
    other[~valid] = np.random.default_rng(0).normal(size=(9, 6))
    made = RegionParser(backbone="precomputed", preset="fast", parts=12, device="cpu")
    assert_same(made.build(features, valid=valid), made.build(other, valid=valid))


def test_smoothing_gives_missing_patches_no_weight():
    features = torch.nn.functional.normalize(torch.from_numpy(blocks(6, 6, 5)), dim=2)
    there = torch.ones(6, 6, dtype=torch.bool)
    there[:, 3:] = False
    smooth = smooth_features(features, steps=3, there=there)
    assert torch.equal(smooth[:, :3], smooth_features(features[:, :3].contiguous(), steps=3))
    assert not torch.equal(smooth[:, :3], smooth_features(features, steps=3)[:, :3])


@pytest.mark.parametrize("seed", range(12))
def test_any_mask_gives_a_tree_whose_leaf_is_the_mask(seed):
    """Single pixels, lines and specks: also where few patches, or none, are mostly there."""
    rng = np.random.default_rng(seed)
    shape = (31, 45) if seed % 2 else (60, 90)
    valid = np.zeros(shape, bool)
    kind = seed % 6
    if kind == 0:
        valid[tuple(rng.integers(0, shape))] = True
    elif kind == 1:
        valid[rng.integers(0, shape[0])] = True
    elif kind == 2:
        valid = rng.random(shape) < 0.03
    elif kind == 3:
        valid = rng.random(shape) < 0.5
    elif kind == 4:
        valid[5:9, 7:60:4] = True
    else:
        valid = rng.random(shape) < 0.99
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for refine in ("guided", "crf", "none"):
        tree = parser(refine=refine, parts=30).parse(rgb, valid=valid)
        assert np.array_equal(tree.stop[tree.labels] == StopReason.NO_DATA, ~valid)
        assert tree.parents[np.argmax(tree.stop == StopReason.NO_DATA)] == tree.root


# -- the tree -------------------------------------------------------------------------------------


def test_the_leaf_lies_below_the_root_beside_the_tree_of_what_is_there():
    rgb, valid = scene(), gap()
    tree = parser().parse(rgb, valid=valid)
    leaf = int(np.argmax(tree.stop == StopReason.NO_DATA))
    (other,) = (child for child in tree.children(tree.root) if child != leaf)
    assert tree.parents[leaf] == tree.root
    assert np.array_equal(tree.mask(leaf), ~valid)
    assert np.array_equal(tree.mask(other), valid)
    assert not tree.embedding[leaf].any()
    assert np.array_equal(tree.embedding[tree.root], tree.embedding[other])
    assert set(tree.cut_nodes(n_regions=2)) == {leaf, other}
    assert leaf in tree.cut_nodes()  # the natural cut
    assert tree.height[tree.root] == 1
    assert tree.height[leaf] == 0
    assert tree.meta["image"]["no_data"] == int((~valid).sum())
    assert "no data" in str(tree)


def test_a_mask_that_leaves_nothing_out_changes_nothing():
    rgb = scene()
    every = (np.ones((60, 90), bool), np.full((60, 90), 255, np.uint8), np.ones((60, 90, 1)))
    without = parser().parse(rgb)
    for valid in every:
        assert parser().parse(rgb, valid=valid) == without
    assert "no_data" not in without.meta["image"]


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float64])
def test_masks_of_any_numbers(dtype):
    rgb, valid = scene(), gap()
    wanted = parser().parse(rgb, valid=valid)
    assert parser().parse(rgb, valid=valid.astype(dtype) * dtype(1)) == wanted
    assert parser().parse(rgb, valid=valid.tolist()) == wanted
    masked = np.ma.masked_array(np.ones((60, 90), dtype), mask=~valid)
    assert parser().parse(rgb, valid=masked) == wanted


def test_where_nothing_is_there_the_tree_is_one_leaf_and_no_network_runs():
    tree = parser(NeverRun()).parse(scene(), valid=np.zeros((60, 90), bool))
    assert tree.stop.tolist() == [StopReason.NO_DATA]
    assert tree.shape == (60, 90)
    assert tree.meta["image"]["no_data"] == 5400
    assert tree.salient(3) == []
    assert tree.condense(3).n_nodes == 1
    assert chosen_nodes(tree) == []


def test_one_colour_outside_the_mask_is_one_region():
    valid = gap()
    rgb = with_junk(np.full((60, 90, 3), 77, np.uint8), valid, 5)
    tree = parser(NeverRun()).parse(rgb, valid=valid)
    assert sorted(tree.stop.tolist()) == [
        StopReason.INNER, StopReason.UNIFORM, StopReason.NO_DATA,
    ]  # fmt: skip
    assert len(tree.cut_nodes()) == 2


def test_a_photograph_that_says_itself_what_is_missing():
    """What a reader finds and what the user masks are left out together."""
    rgb, valid = scene(), gap()
    read = load_image(rgb)
    declared = type(read)(rgb, read.size, None, read.digest, valid=valid)
    assert_same(parser().parse(declared), parser().parse(rgb, valid=valid))
    user = np.ones((60, 90), bool)
    user[:, 80:] = False
    both = parser().parse(declared, valid=user)
    assert_same(both, parser().parse(rgb, valid=valid & user))


def test_a_photograph_decoded_at_a_reduced_scale_is_masked_at_its_own(tmp_path):
    rgb = np.asarray(Image.fromarray(scene()).resize((3600, 2400)))
    Image.fromarray(rgb).save(tmp_path / "a.jpg", quality=95)
    valid = np.ones((2400, 3600), bool)
    valid[1001:1403, 17:1234] = False
    tree = parser().parse(tmp_path / "a.jpg", valid=valid)
    assert np.array_equal(tree.stop[tree.labels] == StopReason.NO_DATA, ~valid)


def test_trees_of_stored_features_equal_those_of_parse(tmp_path):
    made, rgb, valid = parser(), scene(), gap()
    Image.fromarray(rgb).save(tmp_path / "a.png")
    wanted = made.parse(tmp_path / "a.png", valid=valid)
    extracted = made.extract(tmp_path / "a.png", valid=valid)
    save_features(tmp_path / "a.safetensors", extracted, {})
    stored = load_features(tmp_path / "a.safetensors")
    assert np.array_equal(stored.valid, valid)
    assert np.array_equal(load_valid(tmp_path / "a.safetensors"), valid)
    pixels = made.pixels(tmp_path / "a.png", valid=valid)
    assert made.build(extracted, rgb=pixels) == wanted
    exact = type(stored)(extracted.patches, *(getattr(stored, name) for name in (
        "image_size", "source", "backbone", "overlap", "valid")))  # fmt: skip
    assert made.build(exact, rgb=pixels) == wanted
    (fed,) = extract_many(made, [Masked(tmp_path / "a.png", valid)])
    assert made.build(fed[1], rgb=pixels) == wanted
    # On the patch grid, a patch is there if half of it is.
    alone = RegionParser(backbone="precomputed", preset="fast", device="cpu")
    small = alone.parse(tmp_path / "a.safetensors")
    there = valid_patches(valid, small.shape)
    assert np.array_equal(small.stop[small.labels] == StopReason.NO_DATA, ~there)


def test_a_damaged_mask_in_a_feature_file_is_refused(tmp_path):
    made, path = parser(), tmp_path / "a.safetensors"
    save_features(path, made.extract(scene(), valid=gap()), {})
    data = path.read_bytes()
    path.write_bytes(data.replace(b'"image_size\\": [60, 90]', b'"image_size\\": [60, 99]'))
    with refused(FeatureError, str(path), "damaged"):
        load_features(path)
    with refused(FeatureError, str(path), "damaged"):
        load_valid(path)


def grown() -> tuple[RegionTree, RegionTree]:
    """A tree, and the same tree with a strip without data at its right."""
    tree = parser().parse(scene())
    arrays = {name: getattr(tree, name) for name in (*ARRAYS, "embedding")}
    wider = {**arrays, "labels": np.pad(tree.labels, ((0, 0), (0, 9)))}
    absent = np.pad(np.zeros(tree.shape, bool), ((0, 0), (0, 9)), constant_values=True)
    return tree, RegionTree(**with_no_data(absent, **wider), meta=tree.meta)


def test_salient_nodes_are_those_of_what_is_there():
    plain, tree = grown()
    leaf = plain.n_leaves  # the last of the leaves: inner nodes come one later
    same = [node + (node >= leaf) for node in plain.salient(plain.n_nodes)]
    assert tree.salient(tree.n_nodes) == same


@pytest.mark.parametrize("n", [2, 3, 8])
def test_a_condensed_tree_keeps_the_leaf_apart(n):
    _, tree = grown()
    small = tree.condense(n)
    leaf = np.flatnonzero(small.stop == StopReason.NO_DATA)
    assert small.n_nodes - 1 <= n
    assert np.array_equal(small.mask(int(leaf[0])), tree.stop[tree.labels] == StopReason.NO_DATA)


def test_pruning_by_area_keeps_a_small_leaf_and_what_is_beside_it():
    rgb, valid = scene(), np.ones((60, 90), bool)
    valid[0, :3] = False
    tree = parser().parse(rgb, valid=valid)
    pruned = tree.prune(min_area=200)
    assert pruned.n_leaves > 2
    assert np.array_equal(pruned.stop[pruned.labels] == StopReason.NO_DATA, ~valid)
    assert tree.prune(min_area=10**6).n_leaves == 2


def test_the_file_of_such_a_tree_is_of_a_later_version(tmp_path):
    tree = parser(stability=0).parse(scene(), valid=gap())
    assert RegionTree.load(tree.save(tmp_path / "a")) == tree
    with np.load(tmp_path / "a.npz") as arrays:
        assert json.loads(str(arrays["meta"]))["format_version"] == 2
    whole = parser(stability=0).parse(scene())
    with np.load(whole.save(tmp_path / "b")) as arrays:
        assert json.loads(str(arrays["meta"]))["format_version"] == 1


# -- exports and pictures -------------------------------------------------------------------------


def test_annotations_leave_the_leaf_out():
    tree = parser().parse(scene(), valid=gap())
    leaf = int(np.argmax(tree.stop == StopReason.NO_DATA))
    for choice in ({}, {"n_regions": 4}, {"all_nodes": True}, {"n_regions": 4, "all_nodes": True}):
        assert leaf not in chosen_nodes(tree, **choice)
    assert len(chosen_nodes(tree, n_regions=4)) == 3
    task = to_label_studio(tree, "a", n_regions=4)
    assert len(task["predictions"][0]["result"]) == 3
    data, picture = to_panoptic(tree, "a", n_regions=4)
    assert np.array_equal(picture.any(axis=2), gap())
    assert len(data["annotations"][0]["segments_info"]) == 3


def test_label_images_and_masks_keep_the_leaf(tmp_path):
    tree = parser().parse(scene(), valid=gap())
    leaf = int(np.argmax(tree.stop == StopReason.NO_DATA))
    cut = tree.cut_nodes(n_regions=4)
    value = cut.tolist().index(leaf) + 1
    assert np.array_equal(tree.to_label_image(n_regions=4) == value, ~gap())
    tree.export("masks", tmp_path / "x.masks")
    (file,) = (each for each in (tmp_path / "x.masks").glob("*.png") if int(each.stem) == leaf)
    with Image.open(file) as mask:
        assert np.array_equal(np.asarray(mask), ~gap())


def test_a_tree_records_which_mask_it_had(tmp_path):
    digests = [
        parser().parse(scene(), valid=valid).meta["image"]["mask_sha256"]
        for valid in (gap(), gap(), gap()[::-1])
    ]
    assert digests[0] == digests[1] != digests[2]
    assert all(len(one) == 64 for one in digests)


def test_geojson_says_no_data():
    tree = parser().parse(scene(), valid=gap())
    said = [f["properties"]["stop"] for f in tree.to_geojson(n_regions=4)["features"]]
    assert said.count("no_data") == 1


def test_the_leaf_is_grey_and_takes_no_hue():
    plain, tree = grown()
    colours, leaf = hierarchy_colors(tree), int(np.argmax(tree.stop == StopReason.NO_DATA))
    assert np.ptp(colours[leaf].astype(int)) <= 2
    assert colours[leaf].max() < 110
    without = np.delete(colours, leaf, axis=0)[:-1]
    assert np.abs(without.astype(int) - hierarchy_colors(plain)).max() <= 1


# -- colours in gaps ------------------------------------------------------------------------------


def test_resizing_mixes_nothing_from_a_gap():
    rgb, valid = np.full((64, 80, 3), 0, np.uint8), np.ones((64, 80), bool)
    rgb[:, :] = (10, 100, 200)
    valid[20:50, 13:37] = False
    rgb[~valid] = 255
    for size in ((7, 9), (64, 80), (33, 100), (128, 160)):
        for how in (Image.Resampling.BILINEAR, Image.Resampling.BOX):
            small = resized(rgb, size, valid, how=how)
            assert small.shape == (*size, 3)
            assert (small == (10, 100, 200)).all()


def test_a_gap_is_filled_with_the_colours_around_it():
    rgb, valid = np.zeros((40, 40, 3), np.uint8), np.zeros((40, 40), bool)
    rgb[:, :20], rgb[:, 20:] = 50, 200
    valid[:, :5] = valid[:, 35:] = True
    found = filled(rgb, valid)
    assert np.array_equal(found[valid], rgb[valid])
    assert found[:, 6].min() >= 50
    assert found[:, 33].max() <= 200
    assert (np.diff(found[20, :, 0].astype(int)) >= 0).all()  # from dark to light, without an edge
    assert np.diff(found[20, :, 0].astype(int)).max() < 40


def test_which_patches_are_there():
    valid = np.zeros((4, 9), bool)
    valid[:2, :3] = True
    assert valid_patches(valid, (2, 3)).tolist() == [[True, False, False], [False] * 3]
    assert valid_patches(valid, (1, 3)).tolist() == [[True, False, False]]  # exactly a half
    valid[1, 2] = False
    assert valid_patches(valid, (1, 3)).tolist() == [[True, False, False]]  # no half: any pixel
    assert valid_at(valid, (8, 18)).sum() == 4 * valid.sum()


def test_leaves_come_back_where_pixels_count():
    labels, valid = np.zeros((2, 6), np.int32), np.zeros((2, 6), bool)
    labels[0, 0], valid[1, 4:] = 1, True
    found = keep_leaves(labels, np.array([[1, 0]], np.int32), [2, 2, 2], valid)
    assert sorted(found[valid].tolist()) == [0, 1]


# -- masks that users give ------------------------------------------------------------------------


def test_a_mask_of_another_size_is_refused():
    with refused(ImageError, "60 x 91", "60 x 90"):
        parser().parse(scene(), valid=np.ones((60, 91)))
    with refused(ImageError, "90 x 60", "60 x 90", "transposed"):
        parser().parse(scene(), valid=np.ones((90, 60)))
    with refused(ImageError, "60 x 90 x 3"):
        parser().parse(scene(), valid=np.ones((60, 90, 3)))
    with refused(ImageError, "NaN"):
        parser().parse(scene(), valid=np.full((60, 90), np.nan))
    with refused(ImageError, "numbers"):
        parser().parse(scene(), valid=np.full((60, 90), "x"))
    with refused(ImageError, "valid", "array"):
        parser().parse(scene(), valid=[[1, 0], [1]])
    with refused(ImageError, "8 x 9", "8 x 8"):
        RegionParser(backbone="precomputed", device="cpu").build(
            blocks(8, 8), valid=np.ones((8, 9))
        )


def mask_files(folder: Path, valid: np.ndarray) -> list[Path]:
    """The same mask in every form."""
    grey = Image.fromarray(valid.astype(np.uint8) * 255)
    palette = Image.fromarray(valid.astype(np.uint8)).convert("P")
    inverse = Image.fromarray((~valid).astype(np.uint8), "P")
    inverse.putpalette([255, 255, 255, 0, 0, 0])
    alpha = Image.new("RGBA", grey.size, (255, 255, 255, 255))
    alpha.putalpha(grey)
    forms = {
        "grey.png": grey, "bits.png": grey.convert("1"), "palette.png": palette,
        "inverse.png": inverse, "alpha.png": alpha, "colour.png": grey.convert("RGB"),
        "ones.png": Image.fromarray(valid.astype(np.uint8)), "grey.tif": grey, "grey.bmp": grey,
        "deep.png": Image.fromarray(valid.astype(np.uint16) * 300), "grey.gif": grey,
        "grey.pgm": grey, "bits.pbm": grey.convert("1"),
    }  # fmt: skip
    for name, form in forms.items():
        form.save(folder / name)
    grey.convert("RGB").save(folder / "grey.webp", lossless=True)
    np.save(folder / "array.npy", valid)
    return [*(folder / name for name in forms), folder / "grey.webp", folder / "array.npy"]


def test_masks_in_files(tmp_path):
    for path in mask_files(tmp_path, gap()):
        assert np.array_equal(read_mask(path, 10**6) != 0, gap()), path.name
    tree = parser().parse(scene(), valid=tmp_path / "grey.png")
    assert tree == parser().parse(scene(), valid=gap())


def test_files_that_are_no_masks_are_refused_by_name(tmp_path):
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(scene()).save(tmp_path / "lossy.jpg")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    for name, fact in (
        ("missing.png", "no such"), ("text.png", "PNG"), ("lossy.jpg", "PNG"),
        ("objects.npy", "mask"),
    ):  # fmt: skip
        with refused(ImageError, name, fact):
            parser().parse(scene(), valid=tmp_path / name)
    Image.fromarray(np.ones((60, 91), np.uint8)).save(tmp_path / "wide.png")
    with refused(ImageError, "wide.png", "60 x 91", "60 x 90"):
        parser().parse(scene(), valid=str(tmp_path / "wide.png"))


# -- the command line -----------------------------------------------------------------------------


def segment(folder: Path, *arguments: object) -> tuple[int, dict, str]:
    options = ("-o", folder / "out", "--backbone", "precomputed", "--device", "cpu", "--json")
    done = CliRunner().invoke(app, list(map(str, ("segment", *arguments, *options, "--parts", 8))))
    return done.exit_code, json.loads(done.stdout) if done.stdout[:1] == "{" else {}, done.output


@pytest.fixture
def features(tmp_path: Path) -> Path:
    for name in ("a", "deep/b", "deep/c"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "in" / f"{name}.npy", blocks(8, 10, 6))
    return tmp_path


def mask_file(path: Path, hole: slice = slice(0, 3)) -> Path:
    valid = np.full((8, 10), 255, np.uint8)
    valid[hole] = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(valid).save(path)
    return path


def test_a_mask_of_one_photograph(features):
    mask = mask_file(features / "mask.png")
    one = features / "in/a.npy"
    assert segment(features, one, "--mask", mask)[0] == 0
    tree = RegionTree.load(features / "out/a.npz")
    assert tree.meta["image"]["no_data"] == 30
    assert segment(features, one, "--mask", mask)[1]["skipped"] == 1
    mask_file(mask, slice(0, 4))
    code, done, *_ = segment(features, one, "--mask", mask)
    assert (code, done["failed"]) == (2, 1)
    assert "another mask" in done["files"][0]["error"]
    assert segment(features, one, "--mask", mask, "--overwrite")[1]["done"] == 1
    assert read_meta(features / "out/a.npz")["image"]["no_data"] == 40
    assert segment(features, one)[1]["failed"] == 1  # without a mask
    assert segment(features, one, "--overwrite")[1]["done"] == 1
    assert "no_data" not in read_meta(features / "out/a.npz")["image"]
    for arguments in ((features / "in", "--mask", mask), (one, "--mask", features / "no.png"),
                      (one, "--mask", "m" * 300)):  # fmt: skip
        assert segment(features, *arguments)[0] == 2


def test_a_mask_beside_features_of_a_folder(features):
    Image.fromarray(scene()).save(features / "a.png")
    Image.fromarray(gap()).save(features / "mask.png")
    backbone = ("--backbone", f"precomputed:{features / 'in'}", "--device", "cpu", "--json")
    arguments = ("segment", features / "a.png", "-o", features / "out", "--mask",
                 features / "mask.png", *backbone)  # fmt: skip
    done = CliRunner().invoke(app, list(map(str, arguments)))
    assert done.exit_code == 0, done.output
    tree = RegionTree.load(features / "out/a.npz")
    assert np.array_equal(tree.stop[tree.labels] == StopReason.NO_DATA, ~gap())


def test_a_folder_of_masks(features):
    mask_file(features / "masks/a.png")
    mask_file(features / "masks/deep/b.tif", slice(2, 4))
    long = features / ("x" * 300)  # as every other input, it fails alone
    code, said, _ = segment(features, features / "in", long, "--mask", features / "masks")
    assert code == 1
    assert said["done"] == 2
    failed, too_long = (file for file in said["files"] if file["status"] == "failed")
    assert too_long["source"] == str(long)
    assert "c.npy" in failed["source"]
    assert "no mask deep/c.png" in failed["error"]
    assert read_meta(features / "out/deep/b.npz")["image"]["no_data"] == 20
    mask_file(features / "masks/deep/c.png")
    mask_file(features / "masks/deep/c.bmp")
    (failed,) = (
        file
        for file in segment(features, features / "in", "--mask", features / "masks")[1]["files"]
        if file["status"] == "failed"
    )
    assert "several masks" in failed["error"]


def test_one_mask_serves_no_two_photographs(features):
    np.save(features / "in/deep/a.npy", blocks(8, 10, 6))
    np.savez(features / "in/a.npz", features=blocks(8, 10, 6))  # beside in/a.npy
    mask_file(features / "masks/a.png")
    mask_file(features / "masks/deep/a.png")
    _, said, _ = segment(features, features / "in", "--mask", features / "masks")
    errors = {file["source"]: file.get("error") or "" for file in said["files"]}
    for name in ("in/a.npz", "in/a.npy"):
        assert "would be the mask of another photograph" in errors[str(features / name)]
    assert errors[str(features / "in/deep/a.npy")] == ""


def test_masks_among_the_photographs_are_no_photographs(tmp_path):
    Image.fromarray(np.full((60, 90, 3), 9, np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(gap()).save(tmp_path / "twin.png")
    (tmp_path / "masks").mkdir()
    Image.fromarray(gap()).save(tmp_path / "masks/a.png")
    Image.fromarray(gap()).save(tmp_path / "masks/twin.png")
    from regiontree.engines.batch import plan
    from regiontree.engines.masking import with_masks

    suffixes, out = frozenset({".jpg", ".png"}), tmp_path / "out"
    jobs = with_masks(
        plan([tmp_path], out, suffixes), tmp_path / "masks", [tmp_path], suffixes, out
    )
    assert [job.source.name for job in jobs] == ["a.jpg", "twin.png"]
    assert [job.mask.name for job in jobs] == ["a.png", "twin.png"]
    Image.fromarray(scene()).save(tmp_path / "a.png")  # two photographs would have one mask
    jobs = with_masks(
        plan([tmp_path], out, suffixes), tmp_path / "masks", [tmp_path], suffixes, out
    )
    assert [job.error is None for job in jobs] == [False, False, True]


def test_a_large_picture_is_resized_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 256, (60, 50, 3)).astype(np.uint8)
    for size in ((20, 17), (60, 9), (7, 50), (80, 70)):
        for how in (Image.Resampling.BOX, Image.Resampling.BILINEAR):
            whole = np.asarray(Image.fromarray(rgb).resize(size[::-1], how)).astype(int)
            assert np.array_equal(resized(rgb, size, how=how), whole)
            monkeypatch.setattr(valid_module, "_STRIP", 7 * 50)
            strips = resized(rgb, size, how=how)
            monkeypatch.undo()
            assert np.abs(strips - whole).max() <= 1
