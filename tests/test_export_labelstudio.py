"""Label Studio: brush masks read back by a decoder written from the format's description."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from trees import hand_tree, path_to_root, pixels_of, trees

from regiontree import RegionTree
from regiontree.errors import TreeError
from regiontree.export.labelstudio import LABELS, to_label_studio, write_label_studio


def unpacked(data: list[int]) -> np.ndarray:
    """Values of a stream of @thi.ng/rle-pack."""
    stream = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return int(stream[at - count : at], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run = read(1)
        count = read(sizes[read(2)]) + 1
        values += [read(word)] * count if is_run else [read(word) for _ in range(count)]
    assert len(values) == total
    assert len(stream) - at < 8
    assert "1" not in stream[at:]
    return np.array(values)


def mask_of(result: dict) -> np.ndarray:
    """A result's mask, after the checks that Label Studio relies on."""
    assert result["value"]["format"] == "rle"
    assert all(type(byte) is int and 0 <= byte < 256 for byte in result["value"]["rle"])
    rgba = unpacked(result["value"]["rle"])
    rgba = rgba.reshape(result["original_height"], result["original_width"], 4)
    assert set(np.unique(rgba)) <= {0, 255}
    assert (rgba == rgba[:, :, 3:]).all()
    return rgba[:, :, 3] == 255


def results_of(task: dict) -> dict[int, dict]:
    (prediction,) = task["predictions"]
    return {int(one["id"].removeprefix("node")): one for one in prediction["result"]}


@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_all_nodes_are_read_back_each_in_its_parent(tree):
    results = results_of(to_label_studio(tree, all_nodes=True))
    assert set(results) == set(range(tree.root))
    pixels = pixels_of(tree)
    seen = {tree.root}
    for node, one in results.items():
        assert set(np.flatnonzero(mask_of(one))) == pixels[node]
        parent = int(tree.parents[node])
        assert parent in seen  # parents come first
        assert one.get("parentID") == (None if parent == tree.root else f"node{parent}")
        seen.add(node)


@settings(max_examples=20, deadline=None)
@given(tree=trees())
def test_a_cut_covers_the_photograph_once(tree):
    for cut in ({}, {"n_regions": 3}, {"height": 0.25}, {"depth": 1}):
        results = results_of(to_label_studio(tree, **cut))
        assert set(results) == set(tree.cut_nodes(**cut).tolist())
        assert sum(mask_of(one).astype(int) for one in results.values()).tolist() == (
            np.ones(tree.shape, int).tolist()
        )
        assert not any("parentID" in one for one in results.values())


def test_the_nodes_above_a_cut():
    tree = hand_tree()
    results = results_of(to_label_studio(tree, n_regions=3, all_nodes=True))
    assert {node: one.get("parentID") for node, one in results.items()} == {
        5: None, 4: "node5", 3: "node5", 0: None,
    }  # fmt: skip
    assert all(5 in path_to_root(tree, node) for node in (3, 4))


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 5, 63, 64, 65, 16383, 16384, 16385, 40000, 65536])
def test_runs_at_the_limits_of_the_sizes(pixels):
    """Of 8, 16, 256 and 65,536 values, four a pixel."""
    labels = np.repeat([0, 1, 0], [pixels, pixels, 1])[None]
    tree = RegionTree(labels=labels, parents=[2, 2, 2], height=[0, 0, 1])
    for node, one in results_of(to_label_studio(tree)).items():
        assert np.array_equal(mask_of(one), labels == node)


def test_the_bytes_of_the_smallest_run():
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0])
    (one,) = results_of(to_label_studio(tree)).values()
    bits = f"{4:032b}" + "00111" + "0010" + "0011" + "0111" + "1111"
    bits += "1" + "00" + "011" + "11111111"
    bits = bits.ljust(72, "0")
    assert one["value"]["rle"] == [int(bits[at : at + 8], 2) for at in range(0, 72, 8)]


def test_results_name_the_tags_of_the_labelling_interface():
    image, brush = ElementTree.fromstring(LABELS)
    task = to_label_studio(hand_tree(), all_nodes=True)
    for one in results_of(task).values():
        assert one["from_name"] == brush.get("name")
        assert one["to_name"] == image.get("name") == brush.get("toName")
        assert one["value"][one["type"]] == [label.get("value") for label in brush]
        assert one["type"] == brush.tag.lower()
    assert {f"${key}" for key in task["data"]} == {image.get("value")}


@pytest.mark.parametrize(
    ("prefix", "url"),
    [
        ({}, "/data/local-files/?d=sub/Gr%C3%B6%C3%9Fe%201.jpg"),
        ({"url_prefix": "https://photos.org/"}, "https://photos.org/sub/Gr%C3%B6%C3%9Fe%201.jpg"),
        ({"url_prefix": ""}, "sub/Gr%C3%B6%C3%9Fe%201.jpg"),
    ],
)
def test_the_url_of_the_photograph(prefix, url):
    meta = {"image": {"name": "Größe 1.jpg"}}
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta=meta)
    assert to_label_studio(tree, "sub/tree", **prefix)["data"] == {"image": url}


def test_a_file_of_tasks(tmp_path):
    tasks = [to_label_studio(hand_tree(), name) for name in ("one", "two")]
    assert json.loads(write_label_studio(iter(tasks), tmp_path / "t.json").read_bytes()) == tasks
    assert json.loads(write_label_studio([], tmp_path / "none.json").read_bytes()) == []


def test_a_cut_that_makes_no_sense():
    with pytest.raises(TreeError, match="depth must be a number of at least 0, got -1"):
        to_label_studio(hand_tree(), depth=-1)
