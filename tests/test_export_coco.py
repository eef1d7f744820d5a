"""COCO instances: pycocotools reads back every mask, and finds the tree in the annotations."""

from __future__ import annotations

import json
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import hand_tree, path_to_root, pixels_of, random_tree, trees

from regiontree import RegionTree
from regiontree.errors import ExportError, MissingExtraError, TreeError
from regiontree.export.coco import photo_name, to_coco, write_coco

pycoco = pytest.importorskip("pycocotools.coco")
masks = pytest.importorskip("pycocotools.mask")


def read(folder, *parts):
    return pycoco.COCO(str(write_coco(parts, folder / "regions.json")))


def box_of(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    top, left = rows.min(), columns.min()
    return [left, top, columns.max() - left + 1, rows.max() - top + 1]


# -- read back ------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(found=st.lists(trees(), min_size=1, max_size=3))
def test_pycocotools_reads_every_node_of_every_tree(found, tmp_path_factory):
    data = read(tmp_path_factory.mktemp("coco"), *(to_coco(tree) for tree in found))
    assert data.getImgIds() == list(range(1, len(found) + 1))
    assert data.getAnnIds() == list(range(1, 1 + sum(tree.root for tree in found)))
    for number, tree in enumerate(found, 1):
        annotations = data.loadAnns(data.getAnnIds(imgIds=number))
        assert [one["node"] for one in annotations] == list(range(tree.root))
        pixels = pixels_of(tree)
        node_of = {one["id"]: one["node"] for one in annotations}
        for one in annotations:
            mask = data.annToMask(one)
            assert mask.shape == tree.shape
            assert set(np.flatnonzero(mask)) == pixels[one["node"]]
            assert one["area"] == mask.sum()
            assert one["bbox"] == box_of(mask)
            assert (
                one["segmentation"]["counts"].encode()
                == (masks.encode(np.asfortranarray(mask))["counts"])
            )
            parent = tree.parents[one["node"]]
            assert node_of.get(one["parent_id"], tree.root) == parent
            assert (one["level"], one["iscrowd"]) == (tree.level[one["node"]], 0)
            assert np.float32(one["height"]) == tree.height[one["node"]]


def test_the_hand_made_tree():
    data = to_coco(hand_tree(), "cat")
    assert data["images"] == [{"id": 1, "file_name": "cat", "width": 4, "height": 2}]
    assert data["categories"] == [{"id": 1, "name": "region", "supercategory": "region"}]
    rows = data["annotations"]
    assert [one["parent_id"] for one in rows] == [None, 5, 5, 6, 6, None]
    assert [one["bbox"] for one in rows] == [
        [0, 0, 2, 2], [2, 0, 1, 1], [3, 0, 1, 1], [2, 1, 2, 1], [2, 0, 2, 1], [2, 0, 2, 2],
    ]  # fmt: skip
    assert [one["height"] for one in rows] == [0, 0, 0, 0, 0.25, 0.5]
    assert [one["stop"] for one in rows][3:] == ["max_levels", "inner", "inner"]


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 1, 0, 1, 0]],
        [[0], [1], [1], [0]],
        [[0, 1], [1, 1], [1, 0]],  # 1 goes on from the foot of a column to the head of the next
        [[1, 0, 0], [0, 0, 0], [0, 0, 1]],  # in two pieces, the last pixel among them
    ],
)
def test_runs_across_columns_and_regions_in_pieces(labels, tmp_path):
    labels = np.array(labels)
    tree = RegionTree(labels=labels, parents=[2, 2, 2], height=[0, 0, 1])
    data = read(tmp_path, to_coco(tree))
    for one in data.loadAnns(data.getAnnIds()):
        assert np.array_equal(data.annToMask(one), labels == one["node"])


def test_pycocotools_takes_the_annotations_as_results_and_draws_them(tmp_path):
    plot = pytest.importorskip("matplotlib.pyplot")
    plot.switch_backend("agg")
    data = read(tmp_path, to_coco(hand_tree()))
    annotations = data.loadAnns(data.getAnnIds())
    before = [data.annToMask(one) for one in annotations]
    results = data.loadRes(json.loads(json.dumps(annotations)))
    after = [results.annToMask(one) for one in results.loadAnns(results.getAnnIds())]
    assert np.array_equal(before, after)
    plot.close("all")  # pycocotools draws into the current figure
    data.showAnns(annotations, draw_bbox=True)
    assert len(plot.gca().images) == len(annotations)
    plot.close()


# -- which nodes ----------------------------------------------------------------------------------


def test_a_cut_is_its_regions_and_nothing_around_them():
    rows = to_coco(hand_tree(), n_regions=3)["annotations"]
    assert [(one["id"], one["node"], one["parent_id"]) for one in rows] == [
        (1, 0, None), (2, 3, None), (3, 4, None),
    ]  # fmt: skip
    assert [one["node"] for one in to_coco(hand_tree(), height=0.7)["annotations"]] == [0, 5]
    assert [one["node"] for one in to_coco(hand_tree(), depth=0)["annotations"]] == [6]


def test_a_cut_and_all_above_it():
    rows = to_coco(hand_tree(), n_regions=3, all_nodes=True)["annotations"]
    assert [(one["node"], one["parent_id"]) for one in rows] == [
        (0, None), (3, 4), (4, 4), (5, None),
    ]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(tree=trees(), k=st.integers(1, 20))
def test_salient_nodes_come_in_their_order_with_the_nearest_one_around(tree, k):
    rows = to_coco(tree, salient=k)["annotations"]
    nodes = [one["node"] for one in rows]
    assert nodes == tree.salient(k)
    for one in rows:
        around = [node for node in path_to_root(tree, one["node"])[1:] if node in nodes]
        expected = 1 + nodes.index(around[0]) if around else None
        assert one["parent_id"] == expected


def test_attributes_say_the_same_again(tmp_path):
    """With the numbers of the whole data set; and nothing of them by default."""
    parts = [to_coco(hand_tree(), attributes=True), to_coco(hand_tree(), attributes=True)]
    found = read(tmp_path, *parts).anns.values()
    assert len(found) == 12
    for one in found:
        told = one.pop("attributes")
        assert {"node", "parent_id", "level", "height", "ncut", "stop"} <= set(told)
        assert told == {name: one[name] for name in told}
    assert {one["parent_id"] for one in list(found)[6:]} == {None, 11, 12}
    plain = read(tmp_path, to_coco(hand_tree()), to_coco(hand_tree())).anns.values()
    assert list(plain) == list(found)


def test_a_tree_of_one_node_has_a_region_only_as_a_cut():
    tree = RegionTree(labels=np.zeros((2, 3), int), parents=[0], height=[0])
    assert to_coco(tree)["annotations"] == []
    (one,) = to_coco(tree, n_regions=1)["annotations"]
    assert (one["bbox"], one["area"]) == ([0, 0, 3, 2], 6)


@pytest.mark.parametrize("other", [{"n_regions": 2}, {"depth": 0}, {"all_nodes": True}])
def test_salient_nodes_of_a_cut_are_refused(other):
    with pytest.raises(ExportError, match="salient chooses the nodes by itself"):
        to_coco(hand_tree(), salient=2, **other)


def test_a_choice_that_makes_no_sense():
    with pytest.raises(TreeError, match="n_regions must be a number of at least 1, got 0"):
        to_coco(hand_tree(), n_regions=0)
    with pytest.raises(TreeError, match="salient: k must be at least 1, got 0"):
        to_coco(hand_tree(), salient=0)


# -- the file -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "image", "expected"),
    [
        (None, None, "image"),
        ("a/b", None, "a/b"),
        (None, {"name": "Größe 写真.jpg"}, "Größe 写真.jpg"),
        ("a/b/c", {"name": "photo.v2.jpg"}, "a/b/photo.v2.jpg"),
        ("a/b", {"name": "../../etc/photo.jpg"}, "a/photo.jpg"),
        ("a/b", "no mapping", "a/b"),
    ],
)
def test_the_photographs_name_lies_in_the_trees_folder(name, image, expected):
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta={"image": image})
    assert photo_name(tree, name) == expected


def test_the_file_is_ascii_and_the_same_every_time(tmp_path):
    tree = RegionTree(
        labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1], meta={"image": {"name": "写真.jpg"}}
    )
    first = write_coco([to_coco(tree)], tmp_path / "1.json").read_bytes()
    assert first == write_coco([to_coco(tree)], tmp_path / "2.json").read_bytes()
    assert first.isascii()
    assert json.loads(first)["images"][0]["file_name"] == "写真.jpg"


def test_no_trees_are_an_empty_data_set(tmp_path):
    assert read(tmp_path).getImgIds() == []


def test_trees_are_taken_one_by_one_and_the_file_is_whole_or_not_there(tmp_path):
    def parts():
        yield to_coco(hand_tree())
        assert [path.suffix for path in tmp_path.iterdir()] == [".tmp"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_coco(parts(), tmp_path / "regions.json")
    assert list(tmp_path.iterdir()) == []


def test_masks_are_never_held():
    # Blocks of 20 x 20 pixels: 2,500 leaves, whose masks would be 2.5 GB.
    small = random_tree(np.random.default_rng(0), 2500, (50, 50))
    tree = RegionTree(
        labels=np.kron(small.labels, np.ones((20, 20), int)),
        parents=small.parents,
        height=small.height,
    )
    tracemalloc.start()
    try:
        data = to_coco(tree, n_regions=2)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * tree.labels.size
    assert sum(one["area"] for one in data["annotations"]) == tree.labels.size


def test_the_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[export\]'"):
        to_coco(hand_tree())
