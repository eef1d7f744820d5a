"""Folders of masks: each PNG is its node, and the JSON is the tree."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from PIL import Image
from trees import hand_tree, pixels_of, random_tree, trees

from regiontree import RegionTree
from regiontree.errors import ExportError
from regiontree.export.masks import write_masks


@settings(max_examples=25, deadline=None)
@given(tree=trees(max_leaves=8))
def test_every_node_is_read_back(tree, tmp_path_factory):
    folder = write_masks(tree, tmp_path_factory.mktemp("masks") / "x.masks")
    described = json.loads((folder / "tree.json").read_text())
    assert described["size"] == list(tree.shape)
    for key in ("parents", "area", "level"):
        assert described[key] == getattr(tree, key).tolist()
    assert np.array_equal(np.float32(described["height"]), tree.height)
    files = sorted(folder.glob("*.png"))
    assert len(files) == tree.n_nodes
    for node, (file, pixels) in enumerate(zip(files, pixels_of(tree), strict=True)):
        assert int(file.stem) == node
        with Image.open(file) as image:
            assert image.mode == "1"
            grey = np.asarray(image.convert("L"))
        assert grey.shape == tree.shape
        assert set(np.unique(grey)) <= {0, 255}
        assert set(np.flatnonzero(grey)) == pixels


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_numbers_have_one_width_and_no_more(tmp_path):
    tree = random_tree(np.random.default_rng(3), 8, (3, 4))
    assert 10 < tree.n_nodes < 100
    assert names(write_masks(tree, tmp_path / "m"))[:2] == ["00.png", "01.png"]
    one = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta={"image": {"name": "写.jpg"}})
    folder = write_masks(one, tmp_path / "einer ü")
    assert names(folder) == ["0.png", "tree.json"]
    assert json.loads((folder / "tree.json").read_text())["image"] == {"name": "写.jpg"}


def test_a_folder_of_masks_is_replaced_whole(tmp_path):
    write_masks(random_tree(np.random.default_rng(3), 8, (3, 4)), tmp_path / "m")
    write_masks(hand_tree(), tmp_path / "m")
    assert names(tmp_path / "m") == [*(f"{node}.png" for node in range(7)), "tree.json"]
    assert names(tmp_path) == ["m"]


def test_an_interrupted_write_leaves_the_old_folder(tmp_path, monkeypatch):
    folder = write_masks(hand_tree(), tmp_path / "m")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def stops(self):
        yield self.mask(0)
        raise KeyboardInterrupt

    monkeypatch.setattr(RegionTree, "masks", stops)
    with pytest.raises(KeyboardInterrupt):
        write_masks(hand_tree().prune(n_regions=2), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    with pytest.raises(KeyboardInterrupt):
        write_masks(hand_tree(), tmp_path / "new")
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize("failing", [1, 2])
@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_old_folder_is_back_if_the_new_one_cannot_take_its_name(
    failing, stop, tmp_path, monkeypatch
):
    folder = write_masks(hand_tree(), tmp_path / "m")
    rename, calls = Path.rename, []

    def fails(self, target):
        calls.append(target)
        if len(calls) == failing:
            raise stop
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fails)
    with pytest.raises(type(stop)):
        write_masks(hand_tree().prune(n_regions=2), folder)
    assert len(names(folder)) == 8
    assert names(tmp_path) == ["m"]


@pytest.mark.parametrize("files", [[], ["tree.json", "dog.png"], ["0.png"], ["tree.json", "a.jpg"]])
def test_what_is_no_folder_of_masks_is_left_alone(files, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in files:
        (mine / name).write_bytes(b"mine")
    with pytest.raises(ExportError, match="exists and is no folder of masks; choose another name"):
        write_masks(hand_tree(), mine)
    assert names(mine) == sorted(files)
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(ExportError, match="choose another name"):
        write_masks(hand_tree(), tmp_path / "file")
