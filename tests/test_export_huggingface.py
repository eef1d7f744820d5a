"""Data sets of Hugging Face, read back by its own libraries and by plain Parquet readers."""

from __future__ import annotations

import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from trees import hand_tree, random_tree

pytest.importorskip("pyarrow")

from pyarrow import parquet

from regiontree import RegionTree
from regiontree.errors import ExportError, MissingExtraError
from regiontree.export import huggingface
from regiontree.export.command import run
from regiontree.export.huggingface import COLUMNS, to_huggingface, write_huggingface
from regiontree.forest.pictures import Picture
from regiontree.system.files import sha256_of
from regiontree.tree.nodata import with_no_data
from regiontree.tree.stop import StopReason

NAMES = ("a/one", "a/zwei ü", "three")


def photographed(seed: int, name: str) -> RegionTree:
    tree = random_tree(np.random.default_rng(seed), 6, (5 + seed, 8), dim=3)
    return replace(tree, meta={"image": {"name": name, "size": list(tree.shape)}})


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, RegionTree]:
    """Three trees below ``trees``, with their photographs beside them."""
    found = {}
    for seed, name in enumerate(NAMES):
        tree = photographed(seed, f"{Path(name).name}.png")
        pixels = np.random.default_rng(seed).integers(0, 255, (*tree.shape, 3)).astype(np.uint8)
        photo = tmp_path / "trees" / f"{name}.png"
        photo.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(photo)
        meta = {"image": {**tree.meta["image"], "sha256": sha256_of(photo)}}
        found[name] = replace(tree, meta=meta)
        found[name].save(tmp_path / "trees" / f"{name}.npz")
    return found


def opened(folder: Path, tmp_path: Path, split: str = "train") -> Any:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder), split=split, cache_dir=str(tmp_path / "cache"))


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for file in sorted((folder / "data").iterdir())
            for row in parquet.read_table(file).to_pylist()]  # fmt: skip


def picture(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


# -- the real readers -----------------------------------------------------------------------------


def test_load_dataset_gives_every_number_of_every_tree(trees, tmp_path):
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "set", n_regions=3) == 0
    data = opened(tmp_path / "set", tmp_path)
    assert sorted(data["id"]) == sorted(NAMES)
    for row in data:
        tree = trees[row["id"]]
        assert np.array_equal(np.asarray(row["leaves"]), tree.labels)
        regions, nodes = tree.cut(n_regions=3), tree.cut_nodes(n_regions=3)
        assert np.array_equal(np.asarray(row["mask"]), regions + 1)
        assert row["nodes"] == nodes.tolist()
        assert (row["height"], row["width"]) == tree.shape
        for name, own in {"parents": tree.parents, "heights": tree.height, "areas": tree.area,
                          "ncut": tree.ncut, "stop": tree.stop}.items():  # fmt: skip
            assert np.array_equal(row[name], own), name
        assert np.array_equal(row["stability"], tree.stability.astype(np.float32))
        file = tmp_path / "trees" / f"{row['id']}.png"
        photo = Image.open(file)
        assert row["sha256"] == sha256_of(file)
        assert np.array_equal(np.asarray(row["image"]), np.asarray(photo))
        again = RegionTree(np.asarray(row["leaves"]), row["parents"], row["heights"])
        assert np.array_equal(again.cut(n_regions=4), tree.cut(n_regions=4))


def test_the_files_and_the_card_have_the_same_types(trees, tmp_path):
    datasets = pytest.importorskip("datasets")
    run([tmp_path / "trees"], "huggingface", tmp_path / "set")
    (file,) = (tmp_path / "set" / "data").iterdir()
    schema = parquet.read_schema(file)
    features = datasets.Features.from_arrow_schema(schema)
    kinds = datasets.Image, datasets.Value, datasets.List
    assert [type(features[one]) for one in ("mask", "id", "parents")] == list(kinds)
    assert features["stop"].feature.names == [one.name.lower() for one in StopReason]
    assert features.arrow_schema.equals(schema.remove_metadata(), check_metadata=False)
    info = datasets.info.DatasetInfosDict.from_directory(str(tmp_path / "set"))["default"]
    assert info.features == features
    assert info.splits["train"].num_examples == 3
    assert info.splits["train"].num_bytes == info.dataset_size
    assert info.download_size == file.stat().st_size
    assert opened(tmp_path / "set", tmp_path).features == features
    plain = datasets.load_dataset("parquet", data_files=str(file), split="train",
                                  cache_dir=str(tmp_path / "cache"))  # fmt: skip
    assert plain.features == features


def test_the_card_is_one(trees, tmp_path):
    hub = pytest.importorskip("huggingface_hub")
    run([tmp_path / "trees"], "huggingface", tmp_path / "set")
    card = hub.DatasetCard.load(tmp_path / "set" / "README.md")
    assert card.data.task_categories == ["image-segmentation"]
    assert card.data.size_categories == ["n<1K"]
    assert "regiontree" in card.data.tags
    assert card.data.pretty_name == "set"
    for one in COLUMNS:
        assert f"| `{one.name}` |" in card.text


def test_the_example_of_the_card_runs(trees, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    run([tmp_path / "trees"], "huggingface", tmp_path / "set")
    text = (tmp_path / "set" / "README.md").read_text("utf-8")
    code = text.split("```python\n")[1].split("```")[0]
    space: dict[str, Any] = {}
    exec(code.replace('"PATH"', repr(str(tmp_path / "set"))), space)
    row, tree = space["row"], trees[space["row"]["id"]]
    assert (space["mask"] == 1).sum() == space["area"] == tree.area[tree.cut_nodes()[0]]
    assert space["above"] == tree.parents[row["nodes"][0]]


def test_a_split_has_the_name_that_was_given(trees, tmp_path):
    given = {"assignments": ["split=validation", "photographs=false"]}
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "set", **given) == 0
    (file,) = (tmp_path / "set" / "data").iterdir()
    assert file.name == "validation-00000-of-00001.parquet"
    data = opened(tmp_path / "set", tmp_path, "validation")
    assert len(data) == 3
    assert "image" not in data.features
    with pytest.raises(ExportError, match="split must be a name"):
        run([tmp_path / "trees"], "huggingface", tmp_path / "x", assignments=["split=a/b"])


# -- values at the edges --------------------------------------------------------------------------


def test_pixels_without_data_are_zero_in_the_mask_alone():
    tree = hand_tree()
    arrays = {name: getattr(tree, name) for name in
              ("labels", "parents", "height", "ncut", "stop", "embedding")}  # fmt: skip
    absent = np.zeros((3, 4), bool)
    absent[2] = True
    arrays["labels"] = np.vstack([tree.labels, [[0] * 4]]).astype(np.int32)
    tree = RegionTree(**with_no_data(absent, **arrays))
    row = to_huggingface(tree, n_regions=3, photographs=False)
    mask = picture(row["mask"]["bytes"])
    assert np.array_equal(mask == 0, absent)
    for value, node in enumerate(row["nodes"], 1):
        assert np.array_equal(mask == value, tree.mask(node))
    assert np.array_equal(picture(row["leaves"]["bytes"]), tree.labels)


@pytest.mark.parametrize("side", [1, 20, 300])
def test_masks_of_any_number_of_regions(side, tmp_path):
    """1 region is 8 bits, 400 are 16, and 90,000 are RGBA, all read back by Pillow."""
    count = side * side
    tree = RegionTree(
        np.arange(count).reshape(side, side),
        np.full(count + (count > 1), count if count > 1 else 0),
        np.append(np.zeros(count), 1.0) if count > 1 else [0.0],
    )
    write_huggingface([to_huggingface(tree, depth=1, photographs=False)], tmp_path / "set")
    (row,) = rows_of(tmp_path / "set")
    for name, first in (("mask", 1), ("leaves", 0)):
        pixels = picture(row[name]["bytes"]).astype(np.int64)
        if side == 300:
            assert pixels.shape == (300, 300, 4)
            pixels = pixels @ (256 ** np.arange(4))
        assert np.array_equal(pixels, tree.labels + first)
    assert row["nodes"] == list(range(count))
    assert row["stability"] is None


def test_fifty_thousand_regions_are_one_row(tmp_path):
    shape = (250, 200)
    tree = random_tree(np.random.default_rng(0), 50_000, shape)
    write_huggingface([to_huggingface(tree, depth=9, photographs=False)], tmp_path / "set")
    (row,) = rows_of(tmp_path / "set")
    assert np.array_equal(picture(row["leaves"]["bytes"]), tree.labels)
    assert np.array_equal(row["parents"], tree.parents)


# -- files ----------------------------------------------------------------------------------------


def test_rows_are_in_groups_and_files_of_limited_size(monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface, "_GROUP_BYTES", 3000)
    monkeypatch.setattr(huggingface, "_FILE_BYTES", 10_000)
    noise = [np.random.default_rng(i).bytes(1000) for i in range(25)]
    rows = [
        {**to_huggingface(hand_tree(), f"{i}", picture=Picture(".png", data), n_regions=2)}
        for i, data in enumerate(noise)
    ]
    write_huggingface(iter(rows), tmp_path / "set")
    files = sorted(one.name for one in (tmp_path / "set" / "data").iterdir())
    assert files == [f"train-{i:05}-of-{len(files):05}.parquet" for i in range(len(files))]
    assert 3 <= len(files) <= 9
    for name in files:
        meta = parquet.read_metadata(tmp_path / "set" / "data" / name)
        assert all(meta.row_group(i).num_rows <= 3 for i in range(meta.num_row_groups))
    found = rows_of(tmp_path / "set")
    assert [row["id"] for row in found] == [f"{i}" for i in range(25)]
    assert [row["image"]["bytes"] for row in found] == noise
    head = (tmp_path / "set" / "README.md").read_text().split("---\n")[1]
    assert yaml.safe_load(head)["dataset_info"]["splits"][0]["num_examples"] == 25
    assert len(opened(tmp_path / "set", tmp_path)) == 25


def test_equal_trees_give_equal_bytes(trees, tmp_path):
    for name in ("x/set", "y/set"):
        assert run([tmp_path / "trees"], "huggingface", tmp_path / name) == 0
    files = [p for p in (tmp_path / "x").rglob("*") if p.is_file()]
    assert len(files) == 2
    for file in files:
        other = tmp_path / "y" / file.relative_to(tmp_path / "x")
        assert file.read_bytes() == other.read_bytes()


def test_what_is_in_the_way_is_kept(trees, tmp_path):
    out = tmp_path / "set"
    out.mkdir()
    assert run([tmp_path / "trees"], "huggingface", out) == 0  # an empty folder is not in the way
    with pytest.raises(ExportError, match=r"set: exists; choose another name or pass --overwrite"):
        run([tmp_path / "trees"], "huggingface", out)
    assert run([tmp_path / "trees"], "huggingface", out, overwrite=True) == 0
    (out / "data" / "notes.txt").write_text("mine")
    with pytest.raises(ExportError, match=r"holds notes\.txt, which is not of this format"):
        run([tmp_path / "trees"], "huggingface", out, overwrite=True)
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    (other / "README.md").write_text("# mine")
    with pytest.raises(ExportError, match=r"has no README\.md of regiontree"):
        run([tmp_path / "trees"], "huggingface", other, overwrite=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match="is a file; huggingface writes a folder"):
        run([tmp_path / "trees"], "huggingface", tmp_path / "file")
    left = {one.name for one in tmp_path.iterdir()}
    assert left == {"trees", "set", "other", "file"}  # nothing temporary remains


def test_a_photograph_that_is_gone_leaves_its_tree_out(trees, tmp_path, capsys):
    (tmp_path / "trees" / "three.png").rename(tmp_path / "three.png")
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "set") == 1
    said = capsys.readouterr().err
    assert "three.png was not found. Say where the photograph is with --images FOLDER" in said
    assert {row["id"] for row in rows_of(tmp_path / "set")} == set(NAMES) - {"three"}
    out = tmp_path / "all"
    assert run([tmp_path / "trees"], "huggingface", out, images=[tmp_path]) == 0
    assert {row["id"] for row in rows_of(out)} == set(NAMES)
    for name in NAMES:
        (tmp_path / "trees" / f"{name}.png").unlink(missing_ok=True)
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "none") == 2
    assert not (tmp_path / "none").exists()


def test_a_turned_photograph_is_written_upright(tmp_path):
    tree = replace(hand_tree(), meta={"image": {"name": "x.jpg"}})
    tree.save(tmp_path / "trees" / "x.npz")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (2, 4), "red").save(tmp_path / "trees" / "x.jpg", exif=turned)
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "set") == 0
    (row,) = rows_of(tmp_path / "set")
    assert row["image"]["path"] == "x.png"
    assert picture(row["image"]["bytes"]).shape == (2, 4, 3)


def test_an_interruption_leaves_nothing(trees, tmp_path, monkeypatch):
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(huggingface._Files, "add", interrupted)
    assert run([tmp_path / "trees"], "huggingface", tmp_path / "set") == 130
    assert [one.name for one in tmp_path.iterdir()] == ["trees"]


def test_one_line_names_the_extra(trees, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    line = r"^a data set of Hugging Face needs pyarrow: pip install 'regiontree\[store\]'$"
    with pytest.raises(MissingExtraError, match=line):
        run([tmp_path / "trees"], "huggingface", tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_page_names_every_column_and_its_example_runs(trees, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    page = (ROOT / "docs/how-to/huggingface.md").read_text("utf-8")
    told = {name for line in page.splitlines() if line.startswith("| `")
            for name in re.findall(r"`(\w+)`", line.split("|")[1])}  # fmt: skip
    assert told == {one.name for one in COLUMNS}
    monkeypatch.chdir(tmp_path)
    run([tmp_path / "trees"], "huggingface", tmp_path / "regions")
    space: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], space)
    tree = trees[space["row"]["id"]]
    assert np.array_equal(space["labels"], tree.cut(n_regions=4))
    files = datasets.load_dataset("parquet", data_files="regions/data/*", split="train")
    assert files.features == datasets.load_dataset("regions", split="train").features


def test_a_tree_alone_has_no_photograph(tmp_path):
    with pytest.raises(ExportError, match="pass photographs=False"):
        hand_tree().export("huggingface", tmp_path / "set")
    hand_tree().export("huggingface", tmp_path / "set", photographs=False)
    (row,) = rows_of(tmp_path / "set")
    assert "image" not in row
    described = parquet.read_schema(next((tmp_path / "set" / "data").iterdir())).metadata
    features = json.loads(described[b"huggingface"])["info"]["features"]
    assert list(features) == list(row)
