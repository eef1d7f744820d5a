"""COCO panoptic: the pictures read by their formula are the regions of the cut."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, pixels_of, trees

from regiontree import RegionTree
from regiontree.datasets.masks import read_categories, read_panoptic, read_segments
from regiontree.errors import ExportError, TreeError
from regiontree.export.panoptic import to_panoptic, write_panoptic


def numbers(path) -> np.ndarray:
    """Segment of each pixel, by the formula of the format."""
    with Image.open(path) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        red, green, blue = np.moveaxis(np.asarray(image).astype(np.int64), 2, 0)
    return red + 256 * green + 256**2 * blue


CUTS = st.one_of(
    st.just({}),
    st.builds(lambda n: {"n_regions": n}, st.integers(1, 15)),
    st.builds(lambda h: {"height": h}, st.floats(0, 2)),
    st.builds(lambda d: {"depth": d}, st.integers(0, 5)),
)


@settings(max_examples=40, deadline=None)
@given(found=st.lists(trees(), min_size=1, max_size=3), cut=CUTS)
def test_segments_are_the_regions_of_the_cut(found, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("panoptic") / "set.json"
    parts = [to_panoptic(tree, f"tree{k}", **cut) for k, tree in enumerate(found)]
    data = json.loads(write_panoptic(parts, path).read_bytes())
    assert [image["id"] for image in data["images"]] == list(range(1, len(found) + 1))
    for tree, image, one in zip(found, data["images"], data["annotations"], strict=True):
        assert (image["height"], image["width"]) == tree.shape
        assert one["image_id"] == image["id"]
        ids = numbers(path.with_suffix("") / one["file_name"])
        pixels = pixels_of(tree)
        nodes = [segment["id"] - 1 for segment in one["segments_info"]]
        assert nodes == tree.cut_nodes(**cut).tolist()
        assert set(np.unique(ids)) == {node + 1 for node in nodes}
        for node, segment in zip(nodes, one["segments_info"], strict=True):
            mask = ids == node + 1
            assert set(np.flatnonzero(mask)) == pixels[node]
            assert segment["area"] == mask.sum()
            left, top, width, height = segment["bbox"]
            box = np.zeros_like(mask)
            box[top : top + height, left : left + width] = True
            assert (mask <= box).all()
            assert mask[top].any()
            assert mask[top + height - 1].any()
            assert mask[:, left].any()
            assert mask[:, left + width - 1].any()
            assert (segment["category_id"], segment["iscrowd"]) == (1, 0)


def test_the_hand_made_tree():
    data, picture = to_panoptic(hand_tree(), "a/cat", n_regions=2)
    assert picture.tolist() == [[[1, 0, 0]] * 2 + [[6, 0, 0]] * 2] * 2
    assert data["images"] == [{"id": 1, "file_name": "a/cat", "width": 4, "height": 2}]
    assert data["annotations"][0]["file_name"] == "a/cat.png"
    assert data["categories"] == [
        {"id": 1, "name": "region", "supercategory": "region", "isthing": 1}
    ]


def test_numbers_beyond_two_bytes():
    n = 66_000
    tree = RegionTree(
        labels=np.arange(n).reshape(2, -1), parents=np.full(n + 1, n), height=[*np.zeros(n), 1]
    )
    _, picture = to_panoptic(tree, height=0)
    ids = picture.astype(np.int64) @ [1, 256, 65536]
    assert np.array_equal(ids, tree.labels + 1)


def test_the_reader_of_data_sets_takes_it(tmp_path):
    path = write_panoptic([to_panoptic(hand_tree(), "cat")], tmp_path / "set.json")
    ids = read_panoptic(tmp_path / "set" / "cat.png", read_segments(path))
    assert ids.tolist() == [[1] * 4] * 2
    assert read_categories(path).labels[1].path == ("thing", "region")


def test_a_cut_that_makes_no_sense():
    with pytest.raises(TreeError, match="one of n_regions, height, depth and contrast"):
        to_panoptic(hand_tree(), n_regions=2, depth=1)


# -- the files ------------------------------------------------------------------------------------


def tree_of(folder) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_names_come_from_the_photograph_or_the_tree(tmp_path):
    tree = RegionTree(
        labels=[[0]], parents=[0], height=[0.0], meta={"image": {"name": "Größe.v2.jpg"}}
    )
    parts = [to_panoptic(tree), to_panoptic(tree, "sub/写真.jpg")]
    data = json.loads(write_panoptic(parts, tmp_path / "set.json").read_bytes())
    assert [image["file_name"] for image in data["images"]] == ["Größe.v2.jpg", "sub/Größe.v2.jpg"]
    assert tree_of(tmp_path).keys() == {"set.json", "set/Größe.v2.png", "set/sub/写真.jpg.png"}


def test_a_data_set_is_replaced_whole(tmp_path):
    path = tmp_path / "set.json"
    write_panoptic([to_panoptic(hand_tree(), name) for name in ("a/old", "cat")], path)
    write_panoptic([to_panoptic(hand_tree(), name) for name in ("cat", "new")], path)
    assert tree_of(tmp_path).keys() == {"set.json", "set/cat.png", "set/new.png"}


def test_an_interrupted_write_leaves_the_old_data_set(tmp_path):
    path = write_panoptic([to_panoptic(hand_tree(), "cat")], tmp_path / "set.json")
    before = tree_of(tmp_path)

    def parts():
        yield to_panoptic(hand_tree(), "cat", n_regions=1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_panoptic(parts(), path)
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize("beside", [None, b"{}", b'{"annotations": [{"file_name": "cat.png"}]}'])
def test_a_folder_of_something_else_is_left_alone(beside, tmp_path):
    photos = tmp_path / "photos" / "sub"
    photos.mkdir(parents=True)
    (photos / "dog.jpg").write_bytes(b"mine")
    path = tmp_path / "photos.json"
    if beside is not None:
        path.write_bytes(beside)
    before = tree_of(tmp_path)
    with pytest.raises(ExportError, match=r"holds dog\.jpg, which is no picture of photos\.json"):
        write_panoptic([to_panoptic(hand_tree(), "cat")], path)
    assert tree_of(tmp_path) == before


def test_the_folder_needs_a_name_of_its_own(tmp_path):
    with pytest.raises(ExportError, match="give it a suffix"):
        write_panoptic([to_panoptic(hand_tree(), "cat")], tmp_path / "set")
