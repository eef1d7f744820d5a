"""Segments of hand-made data sets, their errors, and their recall in reports against COCO's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from coco_judge import by_coco
from conftest import ROOT
from PIL import Image
from test_experiments import edit, make_data, run_config
from trees import random_tree
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.datasets.catalog import entry, open_dataset, spec_of
from regiontree.datasets.dataset import Dataset
from regiontree.datasets.spec import DatasetSpec
from regiontree.errors import ConfigError, DataError
from regiontree.experiments.scoring import Scoring
from regiontree.metrics import SegmentMap, persistence, ranked_masks, steady_persistence
from regiontree.metrics.recall import SIZES
from regiontree.metrics.segmentmap import kinds_of, leaf_overlaps
from regiontree.system.reading import validated
from regiontree.tree import RegionTree
from regiontree.tree.piecetree import smallest_piece

# Classes: 1 and 2 are animals, 3 and 4 are land, 0 is background, 255 is ignored.
TABLE = "0\tnone\t-\n1\tcat\tanimal\n2\tdog\tanimal\n3\tgrass\tland\n4\tsky\tland\n255\tvoid\t-\n"
CLASSES = [
    [1, 1, 1, 2, 2, 0],
    [1, 1, 3, 3, 4, 4],
    [3, 3, 3, 255, 4, 4],
]


def png(path: Path, values: Any, dtype: type = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.array(values, dtype)).save(path)


def made(folder: Path, instances: dict[str, Any], **spec: Any) -> Dataset:
    """A data set of one sample, ``a``, with the classes above."""
    png(folder / "images/a.png", np.zeros((3, 6, 3)))
    png(folder / "masks/a.png", CLASSES)
    (folder / "labels.txt").write_text(TABLE)
    labels = {"table": "labels.txt", "columns": [2, 1], "ignore": [255], "background": [0]}
    given = {"images": "images", "masks": "masks", "labels": labels, **spec, "instances": instances}
    return open_dataset(validated(DatasetSpec, {"name": "set", **given}, "here"), root=folder)


def read(dataset: Dataset) -> tuple[SegmentMap, ...]:
    return dataset.segments(dataset.samples[0])


def told(one: SegmentMap) -> list[tuple[str, list[list[int]]]]:
    """The kind and the pixels of each segment, sorted."""
    return sorted(
        (kind, np.argwhere(one.labels == number).tolist()) for number, kind in enumerate(one.kinds)
    )


# -- what is read ---------------------------------------------------------------------------------


def test_numbers_have_the_class_of_most_of_their_pixels(tmp_path):
    numbers = [[7, 7, 9, 9, 9, 5], [7, 7, 2, 2, 2, 2], [2, 2, 2, 8, 0, 0]]
    dataset = made(tmp_path, {"masks": "numbers", "things": ["animal"]})
    png(tmp_path / "numbers/a.png", numbers)
    (found,) = read(dataset)
    # 7 is a cat. 9 has a cat's pixel, but is a dog. 2 is grass and some sky. 5 lies in the
    # background, 8 in what is ignored, and 0 is no segment.
    assert found.labels.tolist() == [[1, 1, 2, 2, 2, -1], [1, 1, 0, 0, 0, 0], [0, 0, 0, -1, -1, -1]]
    assert found.kinds == ("stuff", "things", "things")
    assert found.crowd.tolist() == [False] * 3


def test_numbers_may_be_coded_as_colours(tmp_path):
    numbers = np.array([[300, 300, 70000, 70000, 70000, 0]] * 3)
    rgb = np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1)
    dataset = made(tmp_path, {"masks": "numbers"})
    png(tmp_path / "numbers/a.png", rgb)
    (found,) = read(dataset)
    assert found.labels.tolist() == [[0, 0, 1, 1, 1, -1]] * 3
    assert found.kinds == ("things", "things")  # without things and stuff, all are things


def test_void_values_are_no_segments(tmp_path):
    dataset = made(tmp_path, {"masks": {"dir": "numbers", "void": [0, 9]}, "stuff": ["grass", 4]})
    png(tmp_path / "numbers/a.png", [[9, 9, 9, 6, 6, 0], [9, 9, 3, 3, 4, 4], [0, 3, 3, 0, 4, 4]])
    (found,) = read(dataset)
    assert found.labels.tolist() == [
        [-1, -1, -1, 2, 2, -1], [-1, -1, 0, 0, 1, 1], [-1, 0, 0, -1, 1, 1],
    ]  # fmt: skip
    assert found.kinds == ("stuff", "stuff", "things")


def test_a_class_of_things_that_is_not_divided_is_a_crowd(tmp_path):
    values = [[1000, 1000, 1001, 2, 2, 0], [1000, 1000, 3, 3, 4, 4], [3, 3, 3, 255, 4, 4]]
    given = {"masks": "ids", "format": "divided", "divide": 1000, "things": ["animal"]}
    dataset = made(tmp_path, given)
    png(tmp_path / "ids/a.png", values, np.uint16)
    (found,) = read(dataset)
    by_kind = [(kind, int((found.labels == i).sum())) for i, kind in enumerate(found.kinds)]
    assert by_kind == [("things", 2), ("stuff", 5), ("stuff", 4), ("things", 4), ("things", 1)]
    assert found.crowd.tolist() == [True, False, False, False, False]
    # The masks themselves may hold the instances.
    png(tmp_path / "masks/a.png", values, np.uint16)
    own = made(tmp_path / "own", {"things": ["animal"]}, divide=1000)
    png(tmp_path / "own/masks/a.png", values, np.uint16)
    (same,) = read(own)
    assert same.labels.tolist() == found.labels.tolist()
    assert same.crowd.tolist() == found.crowd.tolist()


def test_painted_instances_are_told_from_the_ids_of_classes(tmp_path):
    # Instance 0 is the dog, instance 2 is a cat. Class 2 with value 2 is what is left of dogs.
    values = [[2, 2, 1, 0, 2, 0], [2, 2, 3, 2, 4, 4], [3, 3, 0, 255, 4, 4]]
    dataset = made(tmp_path, {"masks": "painted", "format": "painted", "things": ["animal"]})
    png(tmp_path / "painted/a.png", values)
    (found,) = read(dataset)
    assert told(found) == [
        ("stuff", [[1, 2], [2, 0], [2, 1]]),
        ("stuff", [[1, 4], [1, 5], [2, 4], [2, 5]]),
        ("things", [[0, 0], [0, 1], [1, 0], [1, 1], [1, 3]]),  # with a pixel of grass
        ("things", [[0, 3], [2, 2]]),
    ]  # class 1 with value 1 is left of cats, and 0 with 0 of the background


def test_parts_are_what_segments_have_of_values(tmp_path):
    dataset = made(tmp_path, {"masks": "numbers", "parts": {"dir": "parts", "void": [0, 40]}})
    png(tmp_path / "numbers/a.png", [[7, 7, 7, 9, 9, 0], [7, 7, 0, 0, 5, 5], [0] * 6])
    png(tmp_path / "parts/a.png", [[31, 31, 32, 32, 40, 33], [31, 0, 0, 0, 34, 34], [33] * 6])
    things, parts = read(dataset)
    assert things.kinds == ("things",) * 3
    assert told(parts) == [
        ("parts", [[0, 0], [0, 1], [1, 0]]),  # 31 of 7
        ("parts", [[0, 2]]),  # 32 of 7
        ("parts", [[0, 3]]),  # 32 of 9; 34 is all of 5, and 33 lies in no segment
    ]


def test_parts_of_crowds_are_left_out(tmp_path):
    given = {"masks": "ids", "format": "divided", "divide": 100, "things": [1, 2], "parts": "parts"}
    dataset = made(tmp_path, given)
    png(tmp_path / "ids/a.png", [[1, 1, 1, 200, 200, 0], [1, 1, 3, 3, 4, 4], [3, 3, 3, 0, 4, 4]])
    png(tmp_path / "parts/a.png", [[5, 6, 6, 5, 6, 0], [6, 6, 0, 0, 0, 0], [0] * 6])
    _, parts = read(dataset)
    assert told(parts) == [("parts", [[0, 3]]), ("parts", [[0, 4]])]


def test_panoptic_masks_of_coco_need_no_other_file(tmp_path):
    rgb = np.zeros((3, 6, 3), np.uint8)
    rgb[0, :3], rgb[0, 3:], rgb[1] = (1, 1, 0), (2, 0, 1), (5, 0, 0)
    infos = [
        {"id": 257, "category_id": 18, "iscrowd": 0},
        {"id": 65538, "category_id": 18, "iscrowd": 1},
        {"id": 5, "category_id": 90, "iscrowd": 0},
    ]
    base = tmp_path / "dataset/annotations"
    png(tmp_path / "dataset/images/val2017/1.jpg", np.zeros((3, 6, 3)))
    png(base / "panoptic_val2017/1.png", rgb)
    (base / "panoptic_val2017.json").write_text(json.dumps({
        "annotations": [{"file_name": "1.png", "segments_info": infos}],
        "categories": [
            {"id": 18, "name": "dog", "supercategory": "animal", "isthing": 1},
            {"id": 90, "name": "sky", "supercategory": "sky", "isthing": 0},
        ],
    }))  # fmt: skip
    (found,) = read(open_dataset("coco", "val_panoptic", tmp_path))
    assert found.labels.tolist() == [[1, 1, 1, 2, 2, 2], [0] * 6, [-1] * 6]
    assert found.kinds == ("stuff", "things", "things")
    assert found.crowd.tolist() == [False, False, True]


def test_cityscapes_reads_the_instances_beside_its_masks(tmp_path):
    base = tmp_path / "dataset"
    png(base / "leftImg8bit/val/bonn/b_leftImg8bit.png", np.zeros((1, 4, 3)))
    png(base / "gtFine/val/bonn/b_gtFine_labelIds.png", [[26, 26, 7, 24]])
    png(base / "gtFine/val/bonn/b_gtFine_instanceIds.png", [[26000, 26001, 7, 24]], np.uint16)
    (found,) = read(open_dataset("cityscapes", "val", tmp_path))
    assert found.labels.tolist() == [[2, 3, 0, 1]]
    assert found.kinds == ("stuff", "things", "things", "things")
    assert found.crowd.tolist() == [False, True, False, False]


def test_which_splits_of_the_catalogue_have_segments():
    have = {
        (name, split)
        for name in ("cityscapes", "coco", "cocostuff", "voc12", "pascalpart")
        for split in entry(name).splits
        if spec_of(name, split).instances is not None
    }
    cityscapes = {("cityscapes", split) for split in ("val", "train", "val_27", "train_27")}
    assert have == {*cityscapes, ("coco", "val_panoptic"), ("coco", "train_panoptic")}


# -- what is wrong --------------------------------------------------------------------------------


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    dataset = made(tmp_path, {"masks": "numbers", "parts": "parts"})
    file, parts = tmp_path / "numbers/a.png", tmp_path / "parts/a.png"
    with pytest.raises(DataError, match=r"numbers/a\.png: no such file"):
        read(dataset)
    png(file, np.ones((3, 5)))
    with pytest.raises(DataError, match=r"numbers/a\.png: is 3 x 5 pixels, .* of a is 3 x 6"):
        read(dataset)
    png(file, np.random.default_rng(0).integers(0, 9, (3, 6)))
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"numbers/a\.png: is damaged or cut short"):
        read(dataset)
    Image.fromarray(np.ones((3, 6), np.uint8)).save(file, format="JPEG")
    with pytest.raises(DataError, match=r"numbers/a\.png: a JPEG cannot be a mask"):
        read(dataset)
    png(file, np.ones((3, 6)))
    with pytest.raises(DataError, match=r"parts/a\.png: no such file"):
        read(dataset)
    png(parts, np.ones((3, 6)))
    assert len(read(dataset)) == 2


def test_a_class_that_is_not_there_is_named(tmp_path):
    dataset = made(tmp_path, {"masks": "numbers", "things": ["cow"]})
    png(tmp_path / "numbers/a.png", np.ones((3, 6)))
    with pytest.raises(ConfigError, match="no class or group 'cow'"):
        read(dataset)


@pytest.mark.parametrize(
    ("instances", "spec", "said"),
    [
        ({"masks": "a", "things": [1], "stuff": [2]}, {}, "give 'things' or 'stuff'"),
        ({"masks": "a", "format": "divided"}, {}, "format divided needs 'divide'"),
        ({"masks": "a", "divide": 10}, {}, "format numbers does not use 'divide'"),
        ({"format": "painted"}, {}, "format painted needs 'masks'"),
        ({"masks": {"dir": "a", "void": [9]}, "format": "painted"}, {}, "does not use 'void'"),
        ({"masks": {"dir": "a", "list": "b"}}, {}, "'list' is not used here"),
        ({"masks": {"dir": "a", "suffixes": ["png", "gif"]}}, {}, "needs one suffix"),
        ({"things": [1]}, {}, "'instances' needs 'masks', where a segment is a number"),
        ({"masks": "a"}, {"labels": None}, "'instances' needs 'masks' of classes"),
        ({"masks": "a"}, {"masks": None}, "'instances' needs 'masks' of classes"),
    ],
)
def test_wrong_descriptions_say_what_is_wrong(instances, spec, said):
    given = {"images": "a", "masks": "b", "labels": "voc12", **spec, "instances": instances}
    with pytest.raises(ConfigError) as caught:
        validated(DatasetSpec, given, "here")
    assert said in str(caught.value)


def test_maps_that_contradict_themselves_are_refused():
    labels, crowd = np.array([[0, 1]], np.int32), np.zeros(2, bool)
    with pytest.raises(DataError, match="as many crowds"):
        SegmentMap(labels, ("things",), crowd)
    with pytest.raises(DataError, match="got 'thing'"):
        SegmentMap(labels, ("thing", "stuff"), crowd)
    with pytest.raises(DataError, match="from -1 to 1"):
        SegmentMap(labels + 1, ("things", "stuff"), crowd)


# -- the masks of a tree --------------------------------------------------------------------------


def all_masks(tree: RegionTree, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and pixels of all nodes and of the large pieces that are no node, one by one."""
    height = [float(one) for one in tree.height]
    score = [height[tree.parents[n]] ** 2 - height[n] ** 2 for n in range(tree.n_nodes)]
    if tree.stability is not None:
        score = [one * float(s) ** 2 for one, s in zip(score, tree.stability, strict=True)]
    masks = [tree.mask(n) for n in range(tree.n_nodes)]
    pieces = tree.node_pieces()
    for piece in range(len(pieces)):
        if not pieces.is_node[piece] and pieces.area[piece] >= smallest_piece(
            tree.shape, tree.meta
        ):
            score.append(score[pieces.node[piece]])
            masks.append(pieces.mask(piece))
    ways = size[0] // tree.shape[0], size[1] // tree.shape[1]
    return np.array(score), np.array(masks).repeat(ways[0], 1).repeat(ways[1], 2)


@pytest.mark.parametrize("size", [(20, 24), (40, 72)])
def test_overlaps_are_those_of_masks_of_pixels(size):
    rng = np.random.default_rng(1)
    tree = random_tree(rng, 9, (20, 24))
    maps = tuple(
        SegmentMap(rng.integers(-1, 5, size).astype(np.int32), (kind,) * 5, rng.random(5) < 0.3)
        for kind in ("things", "parts")
    )
    score, found = ranked_masks(tree, maps)
    expected, masks = all_masks(tree, size)
    assert len(masks) > tree.n_nodes  # there are pieces
    segments = [one.labels == number for one in maps for number in range(5)]
    order, own = np.lexsort((found.masks, score)), np.lexsort((masks.sum((1, 2)), expected))
    both = np.array([[(mask & one).sum() for one in segments] for mask in masks])
    assert np.allclose(score[order], expected[own])
    assert found.masks[order].tolist() == masks.sum((1, 2))[own].tolist()
    assert sorted(found.both.tolist()) == sorted(both.tolist())
    assert found.segments.tolist() == [int(one.sum()) for one in segments]
    assert found.crowd.tolist() == [c for one in maps for c in one.crowd.tolist()]
    assert kinds_of(maps).tolist() == ["things"] * 5 + ["parts"] * 5
    nodes, only = ranked_masks(tree, maps, pieces=False)
    assert (only.both == found.both[: tree.n_nodes]).all()
    assert nodes.tolist() == persistence(tree).tolist()
    table = leaf_overlaps(tree.labels, tree.n_leaves, maps[0])
    assert table.sum() == size[0] * size[1]


def test_unsteady_nodes_come_late():
    labels, parents = np.array([[0, 1, 2, 3]]), np.array([4, 4, 5, 5, 6, 6, 6])
    height = np.array([0, 0, 0, 0, 0.6, 0.5, 1])
    square = np.array([0.36, 0.36, 0.25, 0.25, 0.64, 0.75, 0])
    plain = RegionTree(labels, parents, height)
    assert np.allclose(persistence(plain), square)
    assert steady_persistence(plain).tolist() == persistence(plain).tolist()
    steady = np.array([1, 1, 1, 0.5, 1, 0.25, 1], np.float16)
    tree = RegionTree(labels, parents, height, stability=steady)
    assert np.allclose(steady_persistence(tree), square * steady.astype(float) ** 2)
    maps = [SegmentMap(np.zeros((1, 4), np.int32), ("things",), np.zeros(1, bool))]
    assert np.argmax(ranked_masks(plain, maps)[0]) == 5
    assert np.argmax(ranked_masks(tree, maps)[0]) == 4


def test_the_ranking_can_be_another():
    rng = np.random.default_rng(2)
    tree = random_tree(rng, 6, (12, 12))
    one = SegmentMap(np.zeros((12, 12), np.int32), ("things",), np.zeros(1, bool))
    score, found = ranked_masks(tree, [one], rank=lambda tree: tree.area.astype(float))
    assert (score[: tree.n_nodes] == tree.area).all()
    assert (score[tree.n_nodes :] > found.masks[tree.n_nodes :]).all()  # pieces have their node's


# -- reports --------------------------------------------------------------------------------------


def scenes(folder: Path, count: int) -> tuple[Path, Path]:
    """A data set with things, a crowd, stuff and parts, and the folder of its random trees."""
    rng = np.random.default_rng(3)
    shape = (60, 80)
    for i in range(count):
        tree = random_tree(rng, 12, shape)
        (folder / "trees").mkdir(parents=True, exist_ok=True)
        tree.save(folder / f"trees/s{i}.npz")
        # The truth is the tree's own nodes with something wrong, so that there is much to find.
        cut = tree.cut(n_regions=5)
        ids = np.array([[3, 4, 1000, 1001, 2000, 1], [3, 4, 2001, 1000, 2, 1001]])[i % 2][cut]
        rows = rng.integers(0, 50, 3)
        for row in rows:
            ids[row : row + 3, 10:30] = rng.choice([3, 4, 1002, 0])
        png(folder / f"images/s{i}.png", np.zeros((*shape, 3)))
        png(folder / f"ids/s{i}.png", ids, np.uint16)
        png(folder / f"masks/s{i}.png", np.where(ids >= 1000, ids // 1000, ids))
        png(folder / f"parts/s{i}.png", tree.cut(n_regions=9) % 4)
    (folder / "labels.txt").write_text(TABLE)
    instances = {"masks": "ids", "format": "divided", "divide": 1000, "things": ["animal"],
                 "parts": "parts"}  # fmt: skip
    labels = {"table": "labels.txt", "columns": [2, 1], "ignore": [255], "background": [0]}
    (folder / "set.yaml").write_text(yaml.safe_dump({
        "images": "images", "masks": "masks", "labels": labels, "instances": instances,
    }))  # fmt: skip
    return folder / "set.yaml", folder / "trees"


def evaluate(*words: object) -> tuple[dict[str, Any], str, int]:
    result = CliRunner().invoke(app, ["evaluate", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    found = json.loads(result.stdout) if "--json" in words and result.stdout else {}
    return found, result.stderr + ("" if found else result.stdout), result.exit_code


def test_the_report_has_the_recall_that_coco_finds(tmp_path):
    spec, trees = scenes(tmp_path, 5)
    found, _, code = evaluate(trees, "--dataset", spec, "--metric", "recall", "--json")
    assert code == 0
    recall = found["tables"]["pixel, depth 2"]["metrics"]["recall"]
    assert recall["images"] == 5
    assert list(recall["kinds"]) == ["things", "stuff", "parts", "all"]
    dataset = open_dataset(spec)
    limits = (10, 100, 1000)
    for kind, own in recall["kinds"].items():
        images = []
        for sample in dataset.samples:
            maps = dataset.segments(sample)
            tree = RegionTree.load(trees / f"{sample.id}.npz")
            chosen = [(one, g) for one in maps for g in range(len(one))
                      if kind in ("all", one.kinds[g])]  # fmt: skip
            truth = np.array([one.labels == g for one, g in chosen]).reshape(-1, 60, 80)
            score, masks = all_masks(tree, (60, 80))
            order = np.lexsort((np.arange(len(score)), -score))
            crowd = np.array([one.crowd[g] for one, g in chosen], bool)
            images.append((score[order], masks[order], truth, crowd))
        expected = by_coco(images, limits)
        figures = {(one["size"], one["masks"]): one for one in own["figures"]}
        assert len(figures) == 12
        for s, size in enumerate(SIZES):
            for i, limit in enumerate(limits):
                one = figures[size, limit]
                value = np.nan if one["recall"] is None else one["recall"]
                assert np.isclose(value, expected[s, i], equal_nan=True)
                assert one["recall"] is None or one["low"] <= one["recall"] <= one["high"]
        assert own["segments"] == sum(int((~crowd).sum()) for *_, crowd in images)
    assert 0 < figures["all", 10]["recall"] < figures["all", 1000]["recall"] < 1


def test_the_tables_say_what_the_segments_are(tmp_path):
    spec, trees = scenes(tmp_path, 2)
    out = tmp_path / "out"
    evaluate(trees, "--dataset", spec, "--metric", "recall", "-o", out)
    text = (out / "summary.md").read_text()
    summary = json.loads((out / "summary.json").read_text())
    said = (
        "A segment is an instance of ids or a class of stuff. Things are animal. A part is what a "
        "segment has of a value of parts."
    )
    assert summary["segments"] == said
    (table,) = (block for block in text.split("\n\n") if block.startswith("| | 10 | 100 | 1000"))
    title = text[: text.index(table)].rstrip().rpartition("\n")[2]
    assert title.endswith(f"(pixel). {said}**")
    kinds = summary["tables"]["pixel, depth 2"]["metrics"]["recall"]["kinds"]
    figures = {(one["size"], one["masks"]): one for one in kinds["stuff"]["figures"]}
    shown = [
        *(figures["all", limit]["recall"] for limit in (10, 100, 1000)),
        *(figures[size, 1000]["recall"] for size in ("small", "medium", "large")),
        figures["all", 1000]["low"], figures["all", 1000]["high"],
    ]  # fmt: skip
    cells = ["-" if one is None else f"{100 * one:.1f}" for one in shown]
    row = next(line for line in table.splitlines() if line.startswith("| stuff |"))
    assert row == f"| stuff | {' | '.join(cells)} | {kinds['stuff']['segments']:.1f} |"
    without, _, _ = evaluate(trees, "--dataset", spec, "--json")
    assert "segments" not in without


def test_an_image_without_its_segments_is_told_and_the_rest_is_scored(tmp_path):
    spec, trees = scenes(tmp_path, 3)
    (tmp_path / "ids/s1.png").unlink()
    found, said, code = evaluate(trees, "--dataset", spec, "--metric", "recall", "--json")
    assert code == 1
    assert "ids/s1.png: no such file" in said
    assert found["tables"]["pixel, depth 2"]["metrics"]["recall"]["images"] == 2


def test_a_data_set_that_does_not_say_its_segments_is_refused(tmp_path):
    spec, trees = scenes(tmp_path, 1)
    edit(spec, instances=None)
    _, said, code = evaluate(trees, "--dataset", spec, "--metric", "recall")
    assert code == 2
    assert "does not say which segments its images have; add 'instances'" in said
    edit(spec, instances={"masks": "ids"})
    _, said, code = evaluate(trees, "--dataset", spec, "--metric", "recall", "--protocol", "grid")
    assert (code, "'recall' has no score with protocol" in said) == (2, True)


def test_records_of_images_are_merged_in_any_order(tmp_path):
    spec, trees = scenes(tmp_path, 4)
    dataset = open_dataset(spec)
    scoring = Scoring(dataset.labels, ("pixel",), metrics=("recall",))
    records = [
        json.loads(json.dumps(scoring.record(
            sample.id, RegionTree.load(trees / f"{sample.id}.npz"), dataset.truths(sample),
            dataset.segments(sample),
        )))
        for sample in dataset.samples
    ]  # fmt: skip
    forth, back = scoring.merge(records), scoring.merge(records[::-1])
    view = scoring.views()[1]
    assert forth[view]["recall"] == back[view]["recall"]
    found = evaluate(trees, "--dataset", spec, "--metric", "recall", "--json")[0]
    stored = found["tables"][view.key]["metrics"]["recall"]
    assert stored["kinds"]["all"]["figures"][0]["recall"] == (
        forth[view]["recall"].kinds["all"].figures[0].recall
    )
    key = f"{view.key}: recall"
    for damaged in ({}, {**records[0][key], "all": 5}, [1]):
        with pytest.raises(DataError, match="not a state of this metric"):
            scoring.merge([{**records[0], key: damaged}])
    with pytest.raises(DataError, match="recall needs segments of the size of the masks"):
        scoring.record("x", RegionTree.load(trees / "s0.npz"), dataset.truths(dataset.samples[0]))


def test_a_run_keeps_records_until_a_file_of_segments_changes(tmp_path):
    config = make_data(tmp_path, 3)
    given = yaml.safe_load(config.read_text())
    given["dataset"]["instances"] = {"masks": "numbers"}
    edit(config, dataset=given["dataset"], metrics=["recall"])
    for file in (tmp_path / "masks").glob("*.png"):
        values = np.asarray(Image.open(file))
        png(tmp_path / "numbers" / file.name, np.where(values == 255, 0, values))
    _, first = run_config(config)
    assert (first.done, first.kept, first.failed) == (3, 0, ())
    assert run_config(config)[1].kept == 3
    png(tmp_path / "numbers/p001.png", np.zeros((32, 32)))
    _, again = run_config(config)
    assert (again.done, again.kept) == (1, 2)

    def segments(result: Any) -> int:
        found = next(one for one in result.report.results.values() if "recall" in one)
        return found["recall"].kinds["all"].segments

    assert (segments(first), segments(again)) == (6, 4)  # a cat and a dog each
    edit(config, dataset={k: v for k, v in given["dataset"].items() if k != "instances"})
    with pytest.raises(ConfigError, match="does not say which segments"):
        run_config(config)


# -- real data sets -------------------------------------------------------------------------------

COUNTS = {  # things, stuff and parts of all photographs
    "coco_panoptic": (439, 192, 0),
    "cocostuff164k_sample": (51, 56, 0),
    "pascal_part": (20, 0, 117),
    "ade20k_parts": (54, 21, 18),
    "cityscapes_panoptic_parts": (25, 8, 102),
    "cityscapes_train8": (74, 39, 0),
}


@pytest.mark.parametrize("name", COUNTS)
def test_segments_of_real_data_sets(name, data):
    dataset = open_dataset(ROOT / f"benchmarks/subsets/{name}.yaml", root=data)
    counts = dict.fromkeys(("things", "stuff", "parts"), 0)
    lacking = []
    for sample in dataset.samples:
        if not all(file.is_file() for file in dataset.segment_files(sample)):
            lacking.append(sample.id)
            continue
        for one in dataset.segments(sample):
            for kind in one.kinds:
                counts[kind] += 1
            assert np.unique(one.labels[one.labels >= 0]).tolist() == list(range(len(one)))
    assert lacking == (["000000072795"] if name == "cocostuff164k_sample" else [])
    assert tuple(counts.values()) == COUNTS[name]
