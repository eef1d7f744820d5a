"""What FiftyOne is given, without FiftyOne: folders, places in the tree, and one line if it lacks.

tests/bridges/test_fiftyone.py runs the same against FiftyOne and its database.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, random_tree

import regiontree
from regiontree import RegionTree
from regiontree.errors import ExportError, MissingExtraError
from regiontree.export import fiftyone
from regiontree.export.coco import chosen_nodes, nodes_around
from regiontree.export.command import run
from regiontree.export.fiftyone import cut_view, require_fiftyone
from regiontree.forest import convert

# -- the library ----------------------------------------------------------------------------------


def test_one_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fiftyone", None)
    line = r"^FiftyOne's data sets need fiftyone: pip install 'regiontree\[fiftyone\]'$"
    for call in (require_fiftyone, lambda: regiontree.to_fiftyone(tmp_path), lambda: cut_view(0)):
        with pytest.raises(MissingExtraError, match=line):
            call()


@pytest.mark.parametrize(("found", "is_old"), [("0.25.2", True), ("1.2.0", True), ("1", True),
                                               ("1.3.0", False), ("2.0", False)])  # fmt: skip
def test_old_versions_are_named(monkeypatch, declared, found, is_old):
    monkeypatch.setattr(metadata, "version", lambda name: found)
    monkeypatch.setitem(sys.modules, "fiftyone", json)  # any module
    if not is_old:
        assert require_fiftyone() is json
        return
    with pytest.raises(MissingExtraError, match=rf"^fiftyone {found} is too old, 1\.3 or later"):
        require_fiftyone()


# -- places in the tree ---------------------------------------------------------------------------


def shown(places: list[dict[str, Any]], **cut: Any) -> list[int]:
    """The nodes that a view of FiftyOne shows: the filter of `cut_view` in Python."""
    (name, value), *_ = cut.items() or [("natural", True)]
    test = {
        "natural": lambda one: one["natural"],
        "n_regions": lambda one: one["first_cut"] <= value
        and ((one["last_cut"] or 0) >= value or one["is_finest"]),
        "height": lambda one: one["parent_height"] > value >= (
            0 if one["is_finest"] else one["height"]),
        "depth": lambda one: one["level"] == value
        or (one["level"] < value and one["is_finest"]),
    }[name]  # fmt: skip
    return [one["node"] for one in places if test(one)]


@given(st.integers(0, 2**20), st.integers(1, 12), st.sampled_from([None, 1, 3, 6]))
def test_filters_give_the_cuts_of_any_tree(seed, n_leaves, finest):
    rng = np.random.default_rng(seed)
    tree = random_tree(rng, n_leaves, (4, 5))
    tree = replace(tree, meta={"natural_height": float(rng.choice([0.0, 0.25, 0.5]))})
    nodes = chosen_nodes(tree, all_nodes=True, n_regions=finest)
    places = list(fiftyone._places(tree, nodes, nodes_around(tree, nodes)))
    assert [one["node"] for one in places] == nodes
    written = set(nodes)

    def expected(**cut: Any) -> list[int]:
        """The cut, but a node that was not written gives way to the finest one around it."""
        found = set()
        for node in tree.cut_nodes(**cut).tolist():
            up = next((one for one in [node, *tree.ancestors(node)] if one in written), tree.root)
            found |= {up} - {tree.root}
        return sorted(found)

    for count in range(1, n_leaves + 3):
        assert shown(places, n_regions=count) == expected(n_regions=count)
    for height in {0.1, *map(float, tree.height)}:
        assert shown(places, height=height) == expected(height=height)
    for depth in range(tree.depth + 2):
        assert shown(places, depth=depth) == expected(depth=depth)
    assert shown(places) == expected()


def test_masks_in_their_boxes():
    tree = random_tree(np.random.default_rng(3), 20, (9, 11))
    masks = fiftyone._Masks(tree)
    for node in range(tree.n_nodes):
        whole = tree.mask(node)
        y, x = np.nonzero(whole)
        box = np.s_[y.min() : y.max() + 1, x.min() : x.max() + 1]
        assert masks.boxes[node] == box
        assert np.array_equal(masks.of(node), whole[box])
        assert masks.pixels(node) == whole[box].size


# -- the folder that FiftyOne imports -------------------------------------------------------------


def photographed(name: str) -> RegionTree:
    return replace(hand_tree(), meta={"image": {"name": name}})


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    pytest.importorskip("pycocotools")
    for name in ("one", "sub/two"):
        photographed(f"{Path(name).name}.png").save(tmp_path / "trees" / f"{name}.npz")
        Image.new("RGB", (4, 2), "red").save(tmp_path / "trees" / f"{name}.png")
    return tmp_path / "trees"


@pytest.mark.parametrize("link", [False, True])
def test_photographs_lie_beside_their_annotations(trees, tmp_path, link):
    assert run([trees], "fiftyone", tmp_path / "out", n_regions=2, link=link) == 0
    data = json.loads((tmp_path / "out" / "labels.json").read_bytes())
    assert [one["file_name"] for one in data["images"]] == ["one.png", "sub/two.png"]
    assert [one["image_id"] for one in data["annotations"]] == [1, 1, 2, 2]
    assert [one["id"] for one in data["annotations"]] == [1, 2, 3, 4]
    for image in data["images"]:
        file = tmp_path / "out" / "data" / image["file_name"]
        assert file.is_symlink() == link
        assert file.read_bytes() == (trees / image["file_name"]).read_bytes()


def test_photographs_of_one_name_are_kept_apart(trees, tmp_path):
    """Rows ``one`` and ``ONE.png`` of a store would have one file."""
    folder = tmp_path / "more"
    photographed("one.png").save(folder / "one.npz")
    photographed("one.png").save(folder / "ONE.png.npz")
    Image.new("RGB", (4, 2), "blue").save(folder / "one.png")
    pytest.importorskip("pyarrow")
    assert convert.run(str(folder), str(tmp_path / "store"), as_json=False) == 0
    assert run([tmp_path / "store"], "fiftyone", tmp_path / "out", images=[folder]) == 0
    names = [one["file_name"] for one in
             json.loads((tmp_path / "out" / "labels.json").read_bytes())["images"]]  # fmt: skip
    assert sorted(names) in (["ONE.png", "one~2.png"], ["ONE~2.png", "one.png"])
    assert all((tmp_path / "out" / "data" / name).is_file() for name in names)


def test_only_a_folder_of_this_format_is_replaced(trees, tmp_path):
    out = tmp_path / "out"
    assert run([trees], "fiftyone", out) == 0
    assert run([trees], "fiftyone", out, overwrite=True) == 0
    (out / "notes.md").write_text("mine")
    with pytest.raises(ExportError, match=r"holds notes\.md, which is not of this format"):
        run([trees], "fiftyone", out, overwrite=True)
    (tmp_path / "mine" / "data").mkdir(parents=True)
    with pytest.raises(ExportError, match=r"has no labels\.json"):
        run([trees], "fiftyone", tmp_path / "mine", overwrite=True)
    with pytest.raises(ExportError, match="a tree alone has no photograph"):
        hand_tree().export("fiftyone", tmp_path / "alone")


def test_a_photograph_that_is_gone_leaves_its_tree_out(trees, tmp_path, capsys):
    (trees / "one.png").unlink()
    assert run([trees], "fiftyone", tmp_path / "out") == 1
    assert "one.png was not found. Say where the photograph is" in capsys.readouterr().err
    data = json.loads((tmp_path / "out" / "labels.json").read_bytes())
    assert [one["file_name"] for one in data["images"]] == ["sub/two.png"]
    assert {one["image_id"] for one in data["annotations"]} == {1}
