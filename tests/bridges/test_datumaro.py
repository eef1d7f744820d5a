"""Datumaro reads our COCO files, and writes and reads its own formats from them."""

from __future__ import annotations

import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_collection_export import COUNT, NAMES, made, masks_of, named
from trees import hand_tree, random_tree

from regiontree import Collection, RegionTree
from regiontree.export.command import run

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from datumaro.components.annotation import AnnotationType
    from datumaro.components.dataset import Dataset

_ = made, named  # fixtures


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, RegionTree]:
    """Three trees below ``trees``, their photographs in ``data/images``; one has one node."""
    found = {}
    made = {
        "a/one": random_tree(np.random.default_rng(1), 9, (12, 15), dim=3),
        "four": hand_tree(),
        "whole": RegionTree(np.zeros((5, 6), int), [0], [0.0]),
    }
    for name, tree in made.items():
        tree = found[name] = replace(tree, meta={"image": {"name": f"{Path(name).name}.png"}})
        tree.save(tmp_path / "trees" / f"{name}.npz")
        photo = tmp_path / "data" / "images" / f"{name}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", tree.shape[::-1], "red").save(photo)
    return found


def masks_in(item: Any) -> list[Any]:
    return [one for one in item.annotations if one.type == AnnotationType.mask]


@pytest.mark.parametrize("kind", ["coco", "coco_instances"])
def test_it_reads_every_node_and_the_links(trees, tmp_path, kind) -> None:
    out = tmp_path / "data" / "annotations" / "instances_default.json"
    assert run([tmp_path / "trees"], "coco", out, assignments=["attributes=true"]) == 0
    data = Dataset.import_from(str(tmp_path / "data"), kind)
    assert [one.name for one in data.categories()[AnnotationType.label]] == ["region"]
    assert {item.id for item in data} == set(trees)
    for item in data:
        tree = trees[item.id]
        masks = masks_in(item)
        assert item.media.size == tree.shape
        node_of = {one.id: one.attributes["node"] for one in masks}
        assert sorted(node_of.values()) == list(range(tree.root))
        for one in masks:
            node = node_of[one.id]
            np.testing.assert_array_equal(one.image.astype(bool), tree.mask(node))
            assert one.label == 0
            assert one.get_area() == tree.area[node]
            parent = one.attributes["parent_id"]
            assert node_of.get(parent, tree.root) == tree.parents[node]
            assert one.attributes["level"] == tree.level[node]
            assert np.float32(one.attributes["height"]) == tree.height[node]
        boxes = [one for one in item.annotations if one.type == AnnotationType.bbox]
        for box in boxes:
            y, x = np.nonzero(tree.mask(node_of[box.id]))
            assert box.get_bbox() == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]


def test_without_the_option_it_reads_the_masks_alone(trees, tmp_path) -> None:
    out = tmp_path / "data" / "annotations" / "instances_train.json"
    assert run([tmp_path / "trees"], "coco", out, n_regions=3) == 0
    data = Dataset.import_from(str(tmp_path / "data"), "coco")
    assert list(data.subsets()) == ["train"]
    for item in data:
        found = masks_in(item)
        nodes = trees[item.id].cut_nodes(n_regions=3)
        assert len(found) == len(nodes)
        assert sum(one.image.astype(int) for one in found).tolist() == (
            np.ones(trees[item.id].shape, int).tolist()
        )
        assert all(set(one.attributes) == {"is_crowd"} for one in found)


def test_it_reads_panoptic_pictures(trees, tmp_path) -> None:
    out = tmp_path / "data" / "annotations" / "panoptic_default.json"
    assert run([tmp_path / "trees"], "panoptic", out, n_regions=3) == 0
    data = Dataset.import_from(str(tmp_path / "data"), "coco_panoptic")
    assert {item.id for item in data} == set(trees)
    for item in data:
        tree = trees[item.id]
        masks = {one.id - 1: one for one in masks_in(item)}
        assert sorted(masks) == tree.cut_nodes(n_regions=3).tolist()
        for node, one in masks.items():
            np.testing.assert_array_equal(np.asarray(one.image, bool), tree.mask(node))


@pytest.mark.parametrize("form", ["coco", "panoptic"])
def test_it_reads_the_names_of_a_collection(named: Collection, tmp_path: Path, form: str) -> None:
    kind = {"coco": "instances", "panoptic": "panoptic"}[form]
    annotations = tmp_path / "data" / "annotations"
    annotations.mkdir(parents=True)
    shutil.copytree(tmp_path / "trees", tmp_path / "data" / "images")
    done = named.export(form, annotations / f"{kind}_default.json")
    assert (done.photographs, done.failed) == (COUNT, {})
    data = Dataset.import_from(str(tmp_path / "data"), f"coco_{kind}")
    names = [one.name for one in data.categories()[AnnotationType.label]]
    assert names == sorted(NAMES)
    masks = {Path(key).parent / str(int(Path(key).name)): one
             for key, one in masks_of(named).items()}  # fmt: skip
    assert len(data) == COUNT
    for item in data:
        expected = masks[Path(item.id)]
        found = np.zeros_like(expected)
        for one in masks_in(item):
            found[np.asarray(one.image, bool)] = one.label + 1
            if form == "coco":
                assert 0 <= one.attributes["score"] <= 1
        np.testing.assert_array_equal(found, expected)


def test_it_carries_regions_to_other_formats(trees, tmp_path) -> None:
    """What it writes in its own format it reads again, with the links."""
    out = tmp_path / "data" / "annotations" / "instances_default.json"
    assert run([tmp_path / "trees"], "coco", out, assignments=["attributes=true"]) == 0
    data = Dataset.import_from(str(tmp_path / "data"), "coco")
    data.export(str(tmp_path / "own"), "datumaro", save_media=True)
    again = Dataset.import_from(str(tmp_path / "own"), "datumaro")
    for item in again:
        tree = trees[item.id]
        nodes = []
        for one in masks_in(item):
            nodes.append(one.attributes["node"])
            np.testing.assert_array_equal(np.asarray(one.image, bool), tree.mask(nodes[-1]))
        assert sorted(nodes) == list(range(tree.root))


def test_thousands_of_regions_of_a_photograph(tmp_path) -> None:
    """Datumaro 1.13 looks at every region for every region, so 50,000 take it minutes."""
    tree = random_tree(np.random.default_rng(0), 3_000, (60, 60))
    tree = replace(tree, meta={"image": {"name": "x.png"}})
    tree.save(tmp_path / "x.npz")
    (tmp_path / "data" / "images").mkdir(parents=True)
    Image.new("RGB", (60, 60)).save(tmp_path / "data" / "images" / "x.png")
    out = tmp_path / "data" / "annotations" / "instances_default.json"
    assert run([tmp_path / "x.npz"], "coco", out) == 0
    (item,) = Dataset.import_from(str(tmp_path / "data"), "coco")
    masks = masks_in(item)
    assert sorted(one.id for one in masks) == list(range(1, tree.n_nodes))
    for one in masks:
        np.testing.assert_array_equal(one.image.astype(bool), tree.mask(one.id - 1))
