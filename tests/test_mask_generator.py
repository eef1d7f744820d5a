"""Masks of everything, in the forms that users of SAM and of transformers know."""

from __future__ import annotations

import json
import math
import sys
import tracemalloc
import types
import warnings

import numpy as np
import pytest
import torch
from conftest import EXAMPLE, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import patchwork, without_numba
from trees import hand_tree, pixels_of, random_tree, trees

import regiontree
from regiontree import AutomaticMaskGenerator, MaskGenerationPipeline, RegionParser, RegionTree
from regiontree.errors import (
    ExportError,
    ImageError,
    MissingExtraError,
    SettingsError,
    TreeError,
)
from regiontree.export import quality, sam
from regiontree.export.runs import runs_of_nodes
from regiontree.export.specks import cleaned_mask, without_specks
from regiontree.tree.stop import StopReason

# The arguments of SamAutomaticMaskGenerator and SAM2AutomaticMaskGenerator with their defaults.
SAM_1 = {
    "points_per_side": 32, "points_per_batch": 64, "pred_iou_thresh": 0.88,
    "stability_score_thresh": 0.95, "stability_score_offset": 1.0, "box_nms_thresh": 0.7,
    "crop_n_layers": 0, "crop_nms_thresh": 0.7, "crop_overlap_ratio": 512 / 1500,
    "crop_n_points_downscale_factor": 1, "point_grids": None, "min_mask_region_area": 0,
    "output_mode": "binary_mask",
}  # fmt: skip
SAM_2 = {**SAM_1, "mask_threshold": 0.0, "use_m2m": False, "multimask_output": True}
KEYS = ["segmentation", "area", "bbox", "predicted_iou", "point_coords", "stability_score",
        "crop_box"]  # fmt: skip
TAKEN = {
    "pred_iou_thresh", "stability_score_thresh", "box_nms_thresh", "min_mask_region_area",
    "output_mode",
}  # fmt: skip


class Colours:
    """A network that shows the mean colour of each patch of 8 pixels."""

    name, digest, patch, dim = "colours", "1", 8, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1)


@pytest.fixture(scope="module")
def parser():
    return RegionParser(backbone=Colours(), device="cpu", parts=60, size=128)


@pytest.fixture(scope="module")
def image():
    return patchwork(np.random.default_rng(0), 96, 120, 9, 12.0)[1]


def uncoded(rle):
    """The mask of run lengths down the columns, by their definition."""
    flat = [bit for number, run in enumerate(rle["counts"]) for bit in [number % 2] * run]
    height, width = rle["size"]
    return np.array(flat, bool).reshape(width, height).T


def inner_depth(mask):
    """Steps from each pixel of a mask to the nearest pixel outside, by spreading from outside."""
    depth, inside = np.zeros(mask.shape, int), np.pad(mask, 1)
    while inside.any():
        depth += inside[1:-1, 1:-1]
        near = inside.copy()
        for axis in (0, 1):
            for step in (-1, 1):
                near &= np.roll(inside, step, axis)
        inside = near
    return depth


# -- the generator --------------------------------------------------------------------------------


def test_records_have_the_keys_of_sam_and_the_place_in_the_tree(parser, image):
    generator = AutomaticMaskGenerator(parser)
    records, tree = generator.generate(image), generator.tree(image)
    assert tree.n_nodes > 40
    assert len(records) == min(100, tree.root)
    numbers = {record["node"] for record in records}
    for record in records:
        assert list(record) == [*KEYS, "node", "parent", "depth"]
        node, mask = record["node"], record["segmentation"]
        assert mask.dtype == bool
        assert np.array_equal(mask, tree.mask(node))
        assert record["area"] == mask.sum()
        rows, columns = np.nonzero(mask)
        left, top = columns.min(), rows.min()
        assert record["bbox"] == [left, top, columns.max() - left, rows.max() - top]
        assert record["crop_box"] == [0, 0, 120, 96]
        ((x, y),) = record["point_coords"]
        assert inner_depth(mask)[y, x] >= 0.5 * inner_depth(mask).max() > 0
        assert record["stability_score"] == float(tree.stability[node])
        assert record["depth"] == tree.level[node]
        above = [one for one in tree.ancestors(node) if one in numbers]
        assert record["parent"] == (above[0] if above else None)
    scores = [record["predicted_iou"] for record in records]
    assert scores == sorted(scores, reverse=True)
    assert all(0 < score < 1 for score in scores)


def test_the_same_image_gives_the_same_records_in_every_form_it_comes_in(parser, image, tmp_path):
    generator = AutomaticMaskGenerator(parser, output_mode="uncompressed_rle", masks=12)
    expected = generator.generate(image)
    Image.fromarray(image).save(tmp_path / "image.png")
    opaque = np.dstack([image, np.full(image.shape[:2], 255, np.uint8)])
    for form in (str(tmp_path / "image.png"), Image.fromarray(image), opaque):
        assert generator.generate(form) == expected
    grey = generator.generate(image[:, :, 0])
    assert grey == generator.generate(np.repeat(image[:, :, :1], 3, axis=2))
    assert list(generator.iterate(image)) == expected


def test_images_without_pixels_or_of_one_colour(parser):
    generator = AutomaticMaskGenerator(parser)
    for shape in ((0, 0, 3), (0, 5, 3)):
        with refused(ImageError, "no pixels"):
            generator.generate(np.zeros(shape, np.uint8))
    with refused(ImageError, "batch of 2"):
        generator.generate(np.zeros((2, 8, 8, 3), np.uint8))
    assert generator.generate(np.full((32, 32, 3), 7, np.uint8)) == []
    assert generator.generate(np.zeros((32, 32, 4), np.uint8)) == []  # nothing is opaque
    outputs = MaskGenerationPipeline(parser)(np.full((32, 32, 3), 7, np.uint8))
    assert outputs["masks"] == []
    assert outputs["scores"].shape == (0,)


def test_pixels_that_are_not_there_are_in_no_mask(parser, image):
    valid = np.ones(image.shape[:2], bool)
    valid[:, :40] = False
    generator = AutomaticMaskGenerator(parser, all_nodes=True)
    tree = generator.tree(image, valid)
    absent = int(np.flatnonzero(tree.stop == StopReason.NO_DATA)[0])
    assert absent not in {record["node"] for record in generator.generate(image, valid)}
    ranked = AutomaticMaskGenerator(parser).generate(image, valid)
    assert ranked
    assert not any(record["segmentation"][:, :40].any() for record in ranked)
    assert max(record["area"] for record in ranked) < valid.sum()  # not all that is there


def test_a_tree_that_exists_may_be_condensed(parser, image):
    generator = AutomaticMaskGenerator(parser)
    small = generator.tree(image).condense(9)
    records = generator.generate_from_tree(small)
    assert {record["node"] for record in records} == set(range(small.root))
    for record in records:
        assert np.array_equal(record["segmentation"], small.mask(record["node"]))


def test_masks_are_nested_or_apart(parser, image):
    masks = [
        one["segmentation"] for one in AutomaticMaskGenerator(parser, masks=20).generate(image)
    ]
    for mask in masks:
        for other in masks:
            both = (mask & other).sum()
            assert both in (0, mask.sum(), other.sum())


def test_pieces_are_connected(parser, image):
    from scipy.ndimage import label

    whole = AutomaticMaskGenerator(parser, all_nodes=True).generate(image)
    pieces = AutomaticMaskGenerator(parser, pieces=1, height=0.1).generate(image)
    assert any(label(record["segmentation"])[1] > 1 for record in whole)
    assert {label(record["segmentation"])[1] for record in pieces} == {1}
    usual = AutomaticMaskGenerator(parser, pieces=True)
    assert usual.tree(image) == usual.parser.parse(image).pieces()


def test_the_model_is_a_parser_a_preset_or_settings(parser):
    assert AutomaticMaskGenerator(parser).parser is parser
    assert AutomaticMaskGenerator("fast").parser.settings == RegionParser(preset="fast").settings
    assert AutomaticMaskGenerator(parser.settings).parser.settings == parser.settings
    assert AutomaticMaskGenerator().parser.settings == RegionParser().settings
    with refused(SettingsError, "RegionParser", "Linear"):
        AutomaticMaskGenerator(torch.nn.Linear(2, 2))
    with refused(SettingsError, "unknown preset 'vit_h'"):
        AutomaticMaskGenerator("vit_h")


@pytest.mark.usefixtures("embedded_installed")
def test_the_example_as_the_pages_say():
    generator = regiontree.AutomaticMaskGenerator("fast")
    records = generator.generate(np.asarray(Image.open(EXAMPLE).convert("RGB")))
    assert len(records) == 100
    assert records[0]["predicted_iou"] > 0.5


# -- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [SAM_1, SAM_2], ids=["SAM", "SAM 2"])
def test_every_argument_of_sam_is_taken_or_refused_with_what_to_use(parser, arguments):
    for name, default in arguments.items():
        if name in TAKEN:
            AutomaticMaskGenerator(parser, **{name: default})
        else:
            with refused(SettingsError, name, "has no meaning for a region tree:"):
                AutomaticMaskGenerator(parser, **{name: default})


def test_a_refusal_says_what_to_use(parser):
    with refused(SettingsError, "points_per_side", "masks=", "n_regions="):
        AutomaticMaskGenerator(parser, points_per_side=32)
    with refused(SettingsError, "crop_n_layers", "tiles"):
        AutomaticMaskGenerator(parser, crop_n_layers=1)
    with refused(SettingsError, "stability_score_offset", "stability_score_thresh"):
        AutomaticMaskGenerator(parser, stability_score_offset=1.0)
    with refused(SettingsError, "points_per_crop", "masks="):
        MaskGenerationPipeline(parser)(None, points_per_crop=32)


@pytest.mark.parametrize(
    ("given_", "facts"),
    [
        ({"pred_iou_tresh": 0.5}, ["'pred_iou_tresh'", "did you mean 'pred_iou_thresh'"]),
        ({"pred_iou_thresh": 1.5}, ["pred_iou_thresh", "[0, 1]", "1.5"]),
        ({"stability_score_thresh": -1}, ["stability_score_thresh", "-1"]),
        ({"box_nms_thresh": "0.7"}, ["box_nms_thresh", "'0.7'"]),
        ({"min_mask_region_area": 2.5}, ["min_mask_region_area", "whole number"]),
        ({"masks": 0}, ["masks", "0"]),
        ({"output_mode": "rle"}, ["output_mode", "'rle'", "uncompressed_rle"]),
    ],
)
def test_wrong_values_are_refused_before_the_network_runs(parser, given_, facts):
    with refused(SettingsError, *facts):
        AutomaticMaskGenerator(parser, **given_)


def test_contradicting_choices():
    with refused(ExportError, "salient chooses the nodes by itself"):
        hand_tree().to_sam(salient=2, n_regions=2)
    with refused(TreeError, "n_regions", "height"):
        hand_tree().to_sam(n_regions=2, height=0.5)


# -- which nodes ----------------------------------------------------------------------------------


def nodes_of(records):
    return [record["node"] for record in records]


def test_choices_of_nodes(rng_tree):
    tree = rng_tree
    assert set(nodes_of(tree.to_sam(n_regions=5))) == set(tree.cut_nodes(n_regions=5).tolist())
    assert set(nodes_of(tree.to_sam(salient=4))) == set(tree.salient(4))
    assert set(nodes_of(tree.to_sam(all_nodes=True))) == set(range(tree.root))
    assert set(nodes_of(tree.to_sam(depth=1))) == set(tree.cut_nodes(depth=1).tolist())
    regions = tree.cut_nodes(n_regions=5).tolist()
    around = {above for node in regions for above in tree.ancestors(node)} - {tree.root}
    assert set(nodes_of(tree.to_sam(n_regions=5, all_nodes=True))) == {*regions, *around}
    by_rank = quality.ranked_nodes(tree)
    assert sorted(by_rank) == list(range(tree.root))
    assert set(nodes_of(tree.to_sam(masks=7))) == set(by_rank[:7])
    assert set(nodes_of(tree.to_sam())) == set(by_rank[:100])
    leaves = [node for node in by_rank if node < tree.n_leaves]
    assert set(nodes_of(tree.to_sam(height=0, masks=3))) == set(leaves[:3])


@pytest.fixture
def rng_tree():
    return random_tree(np.random.default_rng(5), 90, (40, 30), dim=2)


def test_no_choice_gives_a_hundred_masks():
    tree = random_tree(np.random.default_rng(1), 150, (30, 30), dim=1)
    assert len(tree.to_sam()) == 100
    assert len(tree.to_sam(all_nodes=True)) == tree.root > 150


def test_the_ranking_is_persistence_times_stability_squared(rng_tree):
    square = rng_tree.height.astype(float) ** 2
    rank = (square[rng_tree.parents] - square) * rng_tree.stability.astype(float) ** 2
    order = sorted(range(rng_tree.root), key=lambda n: (-rank[n], -rng_tree.area[n], n))
    assert quality.ranked_nodes(rng_tree) == order


def test_thresholds(rng_tree):
    every = rng_tree.to_sam(all_nodes=True)
    steady = rng_tree.to_sam(all_nodes=True, stability_score_thresh=0.5)
    assert nodes_of(steady) == [one["node"] for one in every if one["stability_score"] >= 0.5]
    exact = steady[-1]["stability_score"]
    barely = rng_tree.to_sam(all_nodes=True, stability_score_thresh=exact + 1e-6)
    assert steady[-1]["node"] not in nodes_of(barely)
    middle = every[len(every) // 2]["predicted_iou"]
    likely = rng_tree.to_sam(all_nodes=True, pred_iou_thresh=middle)
    assert nodes_of(likely) == [r["node"] for r in every if r["predicted_iou"] >= middle]
    assert 0 < len(steady) < len(every)


def test_a_threshold_for_sam_that_leaves_nothing_is_warned_of(rng_tree):
    with pytest.warns(UserWarning, match=r"no mask has a predicted IoU of 0\.99"):
        assert rng_tree.to_sam(pred_iou_thresh=0.99) == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rng_tree.to_sam(pred_iou_thresh=0.01)


def test_a_tree_without_stability_has_none_and_no_threshold_of_it():
    tree = hand_tree()
    assert {record["stability_score"] for record in tree.to_sam()} == {None}
    with refused(ExportError, "no stability"):
        tree.to_sam(stability_score_thresh=0.5)


@pytest.mark.parametrize("limit", [0.3, 0.7])
def test_boxes_that_overlap_are_dropped_as_in_sam(parser, image, limit):
    tree = parser.parse(image)

    def iou(one, other):
        def corners(record):
            x, y, width, height = record["bbox"]
            return x, y, x + width + 1, y + height + 1

        a, b = corners(one), corners(other)
        across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
        both = max(across, 0) * max(down, 0)
        areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
        return both / (sum(areas) - both)

    kept = []
    for record in tree.to_sam(all_nodes=True):
        if all(iou(record, before) <= limit for before in kept):
            kept.append(record)
    found = tree.to_sam(all_nodes=True, box_nms_thresh=limit)
    assert nodes_of(found) == nodes_of(kept)
    assert 1 < len(found) < tree.root
    slowly = without_numba(lambda: tree.to_sam(all_nodes=True, box_nms_thresh=limit))
    assert nodes_of(slowly) == nodes_of(found)


# -- predicted IoU --------------------------------------------------------------------------------


@pytest.mark.parametrize("stability", [None, [0.5, 0.25, 1, 0.75, 1]])
def test_the_predicted_iou_is_its_formula(stability):
    tree = RegionTree(
        [[0, 0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1],
        stability=None if stability is None else np.array(stability, np.float16),
    )  # fmt: skip
    c0, c1, c2, c3 = (-0.31, 0.15, 1.79, 0.62) if stability else (1.0, 0.18, 0.0, 0.55)
    persistence, share = [0.25, 0.25, 1.0, 0.75, 1e-4], [0.5, 0.25, 0.25, 0.75, 1.0]
    expected = [
        1 / (1 + math.exp(-(c0 + c1 * math.log(p) + c2 * s + c3 * math.log(a))))
        for p, s, a in zip(persistence, stability or [0] * 5, share, strict=True)
    ]
    assert quality.predicted_iou(tree).tolist() == pytest.approx(expected, abs=1e-12)


def test_each_coefficient_raises_the_prediction_which_stays_below_082():
    for coefficients in (quality.COEFFICIENTS, quality.COEFFICIENTS_WITHOUT_STABILITY):
        assert all(one >= 0 for one in coefficients[1:])
        best = coefficients[0] + coefficients[2]  # persistence, stability and share are 1
        assert 1 / (1 + math.exp(-best)) < 0.82


# -- runs of pixels -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tree=trees(), choice=st.randoms(use_true_random=False))
def test_runs_of_any_nodes_are_their_pixels(tree, choice):
    nodes = choice.sample(range(tree.n_nodes), choice.randint(0, tree.n_nodes))
    runs, pixels = runs_of_nodes(tree, nodes), pixels_of(tree)
    assert len(runs) == len(nodes)
    slowly = without_numba(lambda: runs_of_nodes(tree, nodes))
    assert np.array_equal(runs.start, slowly.start)
    assert np.array_equal(runs.edges, slowly.edges)
    assert np.array_equal(runs.inside, without_numba(lambda: slowly.inside))
    for number, (node, mask) in enumerate(zip(nodes, runs.masks(), strict=True)):
        assert set(np.flatnonzero(mask)) == pixels[node]
        counts = runs.counts(number).tolist()
        assert all(counts[1:])
        rle = {"size": tree.shape, "counts": counts}
        assert np.array_equal(uncoded(rle), mask)
        assert runs.area[number] == len(pixels[node])
        rows, columns = np.nonzero(mask)
        top, left = rows.min(), columns.min()
        box = [left, top, columns.max() - left + 1, rows.max() - top + 1]
        assert runs.boxes[number].tolist() == box
        x, y = runs.inside[number]
        assert mask[y, x]
        assert inner_depth(mask)[y, x] == inner_depth(mask).max()
        assert np.array_equal(without_numba(lambda n=number: runs.mask(n)), mask)


@pytest.mark.parametrize("shape", [(200, 90), (3, 1000), (1000, 2)])
def test_a_point_of_a_large_region_lies_in_it(shape):
    tree = random_tree(np.random.default_rng(3), 7, shape)
    runs = runs_of_nodes(tree, range(tree.n_nodes))
    for number, (x, y) in enumerate(runs.inside.tolist()):
        assert tree.mask(number)[y, x]
    assert np.array_equal(
        runs.inside, without_numba(lambda: runs_of_nodes(tree, range(tree.n_nodes)).inside)
    )
    # A thin diagonal that the grid of points misses, beside the rest.
    labels = np.zeros((400, 400), np.int32)
    at = np.arange(0, 392)
    labels[at + 3, at + 2] = 1
    thin = runs_of_nodes(RegionTree(labels, [2, 2, 2], [0, 0, 1]), [1])
    ((x, y),) = thin.inside
    assert labels[y, x] == 1
    assert np.array_equal(
        without_numba(lambda: runs_of_nodes(RegionTree(labels, [2, 2, 2], [0, 0, 1]), [1]).inside),
        thin.inside,
    )


def test_nodes_that_are_not_there_or_given_twice():
    with refused(TreeError, "0 to 6", "9"):
        runs_of_nodes(hand_tree(), [1, 9])
    with refused(TreeError, "twice"):
        runs_of_nodes(hand_tree(), [1, 1])


def test_forms_of_masks_agree(rng_tree):
    dense = rng_tree.to_sam(all_nodes=True)
    coded = rng_tree.to_sam(all_nodes=True, output_mode="uncompressed_rle")
    json.dumps(coded)
    for one, other in zip(dense, coded, strict=True):
        assert np.array_equal(uncoded(other["segmentation"]), one["segmentation"])
        assert {**one, "segmentation": None} == {**other, "segmentation": None}


def test_pycocotools_decodes_the_run_lengths(rng_tree):
    masks = pytest.importorskip("pycocotools.mask")
    dense = rng_tree.to_sam(all_nodes=True)
    for mode in ("coco_rle", "uncompressed_rle"):
        for one, other in zip(
            dense, rng_tree.to_sam(all_nodes=True, output_mode=mode), strict=True
        ):
            rle = other["segmentation"]
            if mode == "uncompressed_rle":
                rle = masks.frPyObjects(rle, *rle["size"])
            assert np.array_equal(masks.decode(rle).astype(bool), one["segmentation"])
            assert masks.area(rle) == one["area"]
    expected = masks.encode(np.asfortranarray(dense[0]["segmentation"]))["counts"].decode()
    first = rng_tree.to_sam(all_nodes=True, output_mode="coco_rle")[0]
    assert first["segmentation"] == {"size": [40, 30], "counts": expected}


def test_coco_without_pycocotools_is_refused_at_once(parser, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with refused(MissingExtraError, "regiontree[export]"):
        AutomaticMaskGenerator(parser, output_mode="coco_rle")
    assert hand_tree().to_sam(output_mode="uncompressed_rle")


# -- specks and holes -----------------------------------------------------------------------------


def components(mask):
    """The connected sets of pixels of a mask, through sides and corners, by walking."""
    left, found = set(zip(*np.nonzero(mask), strict=True)), []
    while left:
        waiting, piece = [left.pop()], set()
        while waiting:
            y, x = waiting.pop()
            piece.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            waiting += near
        found.append(piece)
    return found


def cleaned_by_hand(mask, least):
    filled = mask.copy()
    for hole in components(~mask):
        if len(hole) < least:
            for y, x in hole:
                filled[y, x] = True
    pieces = components(filled)
    kept = [piece for piece in pieces if len(piece) >= least]
    most = max(len(piece) for piece in pieces)
    if not kept:
        kept = [next(piece for piece in pieces if len(piece) == most)]
    result = np.zeros_like(mask)
    for piece in kept:
        for y, x in piece:
            result[y, x] = True
    return result


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), least=st.integers(1, 20))
def test_specks_and_holes_go_as_they_do_by_hand(seed, least):
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 15, 2)
    mask = rng.random((height, width)) < rng.uniform(0.05, 0.95)
    if rng.random() < 0.6:  # in a part of the image
        box = np.zeros_like(mask)
        y, x = rng.integers(0, height), rng.integers(0, width)
        box[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = True
        mask &= box
    if not mask.any() or mask.all():
        return
    expected, tied = cleaned_by_hand(mask, least), cleaned_mask(mask, least)
    sizes = sorted(len(piece) for piece in components(tied))
    assert sizes == sorted(len(piece) for piece in components(expected))
    if len(sizes) > 1 or sizes[0] >= least:  # else it is one of several largest
        assert np.array_equal(tied, expected)
    tree = RegionTree(mask.astype(np.int32), [2, 2, 2], [0, 0, 1])
    runs = without_specks(runs_of_nodes(tree, [1]), least)
    assert np.array_equal(runs.mask(0), tied)
    assert np.all(np.diff(runs.edges) > 0)


def test_the_area_of_cleaned_masks_is_their_own(rng_tree):
    records = rng_tree.to_sam(all_nodes=True, min_mask_region_area=30)
    assert any(r["area"] != rng_tree.area[r["node"]] for r in records)
    for record in records:
        mask = record["segmentation"]
        assert record["area"] == mask.sum()
        assert np.array_equal(mask, cleaned_mask(rng_tree.mask(record["node"]), 30))
        ((x, y),) = record["point_coords"]
        assert mask[y, x]


# -- memory ---------------------------------------------------------------------------------------


def test_binary_masks_beyond_the_memory_are_refused_before_they_are_made(parser, image):
    tree = hand_tree()
    assert len(tree.to_sam(max_bytes=6 * 8)) == 6
    with refused(ExportError, "6 binary masks of 2 x 4 pixels", "output_mode='coco_rle'"):
        tree.to_sam(max_bytes=6 * 8 - 1)
    with refused(ExportError, "fewer masks"):
        tree.to_mask_generation(max_bytes=5)
    generator = AutomaticMaskGenerator(parser, max_bytes=1000)
    with refused(ExportError, "max_bytes"):
        generator.generate(image)
    assert next(generator.iterate(image))["segmentation"].shape == (96, 120)
    assert sam.MAX_BYTES == 4 * 2**30


def test_records_one_at_a_time_hold_one_mask():
    tree = random_tree(np.random.default_rng(2), 60, (400, 500))
    chosen = sam.chosen_masks(tree, sam.mask_options({"all_nodes": True}))
    for _ in sam.mask_records(chosen, "binary_mask"):  # compiled, and numbers known
        break
    tracemalloc.start()
    try:
        for record in sam.mask_records(chosen, "binary_mask"):
            assert record["segmentation"].any()
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert most < 8 * 400 * 500 < len(chosen) * 400 * 500


def test_fifty_thousand_regions_as_run_lengths():
    side = 224
    labels = np.arange(side * side, dtype=np.int32).reshape(side, side)
    labels = np.repeat(np.repeat(labels, 2, axis=0), 2, axis=1)
    parents = np.full(side * side + 1, side * side)
    tree = RegionTree(labels, parents, [0] * (side * side) + [1])
    records = tree.to_sam(n_regions=side * side, output_mode="uncompressed_rle")
    assert len(records) == side * side > 50_000
    assert {record["area"] for record in records} == {4}
    last = next(record for record in records if record["node"] == side * side - 1)
    assert np.array_equal(uncoded(last["segmentation"]), tree.mask(side * side - 1))
    with refused(ExportError, "50176 binary masks"):
        tree.to_sam(n_regions=side * side)


# -- transformers ---------------------------------------------------------------------------------


def test_the_output_of_the_pipeline(parser, image):
    generator = MaskGenerationPipeline(parser, masks=20)
    assert generator.task == "mask-generation"
    outputs = generator(image)
    extra = ["nodes", "parents", "depths"]
    assert list(outputs) == ["masks", "scores", *extra]
    records = AutomaticMaskGenerator(parser, masks=20).generate(image)
    for mask, record in zip(outputs["masks"], records, strict=True):
        assert mask.dtype == torch.bool
        assert np.array_equal(mask.numpy(), record["segmentation"])
    assert outputs["scores"].dtype == torch.float32
    assert outputs["scores"].tolist() == pytest.approx([r["predicted_iou"] for r in records])
    for key in ("node", "parent", "depth"):
        assert outputs[f"{key}s"] == [record[key] for record in records]
    full = generator(image, output_rle_mask=True, output_bboxes_mask=True, masks=5)
    assert list(full) == ["masks", "scores", "rle_mask", "bounding_boxes", *extra]
    assert len(full["masks"]) == 5
    several = generator([image, image[:, ::-1].copy()], masks=3)
    assert [len(one["masks"]) for one in several] == [3, 3]


def test_transformers_makes_the_same_keys_run_lengths_and_boxes(rng_tree):
    pipelines = pytest.importorskip("transformers.pipelines.mask_generation")
    theirs = pytest.importorskip("transformers.models.sam.image_processing_pil_sam")
    ours = rng_tree.to_mask_generation(output_rle_mask=True, output_bboxes_mask=True)
    masks = torch.stack(ours["masks"])
    rle = theirs._mask_to_rle(masks)
    boxes = theirs._batched_mask_to_box(masks)
    assert ours["rle_mask"] == rle
    assert torch.equal(ours["bounding_boxes"], boxes)
    for mask, coded in zip(ours["masks"], ours["rle_mask"], strict=True):
        assert torch.equal(mask, torch.as_tensor(theirs._rle_to_mask(coded)))

    class Processor:  # all that the pipeline asks of SAM's, which needs torchvision
        @staticmethod
        def post_process_for_mask_generation(masks, scores, boxes, threshold):
            return (
                [torch.as_tensor(theirs._rle_to_mask(one)) for one in masks],
                scores,
                masks,
                boxes,
            )

    stand_in = types.SimpleNamespace(image_processor=Processor)
    given_ = [{"masks": rle, "iou_scores": ours["scores"].clone(), "boxes": boxes}]
    their_output = pipelines.MaskGenerationPipeline.postprocess(
        stand_in, given_, output_rle_mask=True, output_bboxes_mask=True
    )
    assert list(ours)[:4] == list(their_output)
    for key, value in their_output.items():
        assert type(ours[key]) is type(value)
    assert ours["scores"].shape == their_output["scores"].shape
    assert type(ours["masks"][0]) is type(their_output["masks"][0])


# -- supervision that is missing or old; tests/bridges tries the real one -------------------------


def test_missing_supervision_is_one_line_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingExtraError) as caught:
        hand_tree().to_supervision()
    assert str(caught.value) == (
        "to_supervision() needs supervision: pip install 'regiontree[supervision]'"
    )


def test_old_supervision_is_named(monkeypatch, declared):
    old = types.ModuleType("supervision")
    old.__version__ = "0.16.0"
    monkeypatch.setitem(sys.modules, "supervision", old)
    with refused(MissingExtraError, "supervision 0.16.0 is too old", "0.18", "[supervision]"):
        hand_tree().to_supervision()
    old.Detections = type("Detections", (), {"__dataclass_fields__": {"data": None}})
    old.__version__ = "0.29.1"
    old.CompactMask = type("CompactMask", (), {})
    with refused(MissingExtraError, "0.30", "0.29.1"):
        hand_tree().to_supervision(compact=True)
