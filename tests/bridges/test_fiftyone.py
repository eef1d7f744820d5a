"""FiftyOne itself, with its database: what it reads of our files, and the data sets made in it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_collection_export import COUNT, NAMES, made, masks_of, named
from trees import hand_tree, random_tree

import regiontree
from regiontree import Collection, RegionTree
from regiontree.errors import ExportError, TreeError
from regiontree.export import fiftyone as door
from regiontree.export.command import run
from regiontree.export.fiftyone import cut_view

_ = made, named  # fixtures


@pytest.fixture(scope="module", autouse=True)
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """FiftyOne's database, on a port and in a folder of its own.

    The wheel that holds the program was built for another Linux: it needs OpenSSL 1.1, which
    another wheel holds under names of its own.
    """
    root = tmp_path_factory.mktemp("fiftyone")
    spec = find_spec("fiftyone")
    assert spec is not None
    assert spec.origin is not None
    program = Path(spec.origin).parent / "db" / "bin" / "mongod"
    libraries = root / "lib"
    libraries.mkdir()
    held = Path(sysconfig.get_path("purelib")) / "psycopg2_binary.libs"
    for name in ("ssl", "crypto"):
        for file in held.glob(f"lib{name}-*.so.1.1"):
            (libraries / f"lib{name}.so.1.1").symlink_to(file)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (root / "db").mkdir()
    server = subprocess.Popen(
        [program, "--dbpath", root / "db", "--port", str(port), "--bind_ip", "127.0.0.1",
         "--nounixsocket"],
        env={**os.environ, "LD_LIBRARY_PATH": str(libraries)},
        stdout=(root / "log").open("wb"),
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    told = {
        "FIFTYONE_DATABASE_URI": f"mongodb://127.0.0.1:{port}",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DEFAULT_DATASET_DIR": str(root / "sets"),
        "FIFTYONE_DO_NOT_TRACK": "true",
        "FIFTYONE_SHOW_PROGRESS_BARS": "false",
        "FIFTYONE_CONFIG_PATH": str(root / "config.json"),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in told.items():
            patch.setenv(name, value)
        for _ in range(200):
            with socket.socket() as tried:
                if tried.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert server.poll() is None, (root / "log").read_text()
            time.sleep(0.1)
        yield
    server.terminate()
    server.wait(30)


@pytest.fixture
def fo(database: None) -> Any:
    import fiftyone

    fiftyone.delete_datasets("*")
    return fiftyone


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, RegionTree]:
    """Four trees below ``trees`` with their photographs: one with ties, one of one node."""
    found = {}
    made = {
        "a/one": random_tree(np.random.default_rng(1), 9, (12, 15), dim=3),
        "a/zwei ü": random_tree(np.random.default_rng(2), 30, (20, 14)),
        "four": hand_tree(),
        "whole": RegionTree(np.zeros((5, 6), int), [0], [0.0]),
    }
    for seed, (name, tree) in enumerate(made.items()):
        meta = {"image": {"name": f"{Path(name).name}.png"}, "natural_height": 0.25}
        tree = found[name] = replace(tree, meta=meta)
        tree.save(tmp_path / "trees" / f"{name}.npz")
        pixels = np.random.default_rng(seed).integers(0, 255, (*tree.shape, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "trees" / f"{name}.png")
    return found


def full_mask(detection: Any, shape: tuple[int, int]) -> np.ndarray:
    """The mask of a detection in the photograph, as FiftyOne's documentation places it."""
    rows, columns = shape
    x, y, w, h = detection.bounding_box
    left, top = round(x * columns), round(y * rows)
    mask = detection.get_mask().astype(bool)
    assert mask.shape == (round(h * rows), round(w * columns))
    found = np.zeros(shape, bool)
    found[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    return found


def nodes_in(view: Any) -> dict[str, list[int]]:
    return {one.photo: sorted(d.node for d in one.regions.detections) for one in view}


# -- files that FiftyOne imports ------------------------------------------------------------------


def test_it_imports_the_folder_of_a_collection(fo, named: Collection, tmp_path: Path) -> None:
    named.export("fiftyone", tmp_path / "set")
    data = fo.Dataset.from_dir(
        dataset_dir=str(tmp_path / "set"),
        dataset_type=fo.types.COCODetectionDataset,
        label_types="segmentations",
    )
    assert len(data) == COUNT
    names, masks = sorted(NAMES), masks_of(named)
    assert data.default_classes == names
    stems = {Path(one).with_suffix("").name: one for one in masks}
    folder = tmp_path / "set" / "data"
    for sample in data:
        key = Path(sample.filepath).relative_to(folder).with_suffix("").as_posix()
        expected = masks[stems[Path(key).name]]
        found = np.zeros_like(expected)
        for one in sample.ground_truth.detections:
            found[full_mask(one, expected.shape)] = names.index(one.label) + 1
            assert 0 <= one.confidence <= 1
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("form", ["fiftyone", "coco"])
def test_it_imports_trees_with_all_that_is_known_of_nodes(fo, trees, tmp_path, form) -> None:
    """The folder; and the JSON alone, beside the photographs where they are."""
    out = tmp_path / ("out" if form == "fiftyone" else "regions.json")
    assert run([tmp_path / "trees"], form, out) == 0
    where = {"dataset_dir": str(out)}
    if form == "coco":
        where = {"data_path": str(tmp_path / "trees"), "labels_path": str(out)}
    data = fo.Dataset.from_dir(
        dataset_type=fo.types.COCODetectionDataset,
        label_types="segmentations",
        label_field="regions",
        **where,
    )
    folder = out / "data" if form == "fiftyone" else tmp_path / "trees"
    assert len(data) == len(trees)
    for sample in data:
        tree = trees[Path(sample.filepath).relative_to(folder).with_suffix("").as_posix()]
        regions = sample.regions.detections if sample.regions else []
        assert [one.node for one in regions] == list(range(tree.root))
        for one in regions:
            np.testing.assert_array_equal(full_mask(one, tree.shape), tree.mask(one.node))
            assert one.level == tree.level[one.node]
            assert np.float32(one.height) == tree.height[one.node]
            if tree.stability is not None:
                assert np.float16(one.stability) == tree.stability[one.node]


def test_the_python_of_the_pages_runs(
    fo, named: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(fo, "launch_app", shown.append)
    monkeypatch.chdir(tmp_path)
    ids = set(named.ids)
    (tmp_path / "out").rename("collection")
    (tmp_path / "photos").mkdir()
    assert run(["trees"], "fiftyone", Path("regions"), n_regions=64, all_nodes=True) == 0
    names: dict[str, Any] = {}
    for page in ("docs/how-to/fiftyone.md", "docs/export.md"):
        text = (Path(regiontree.__file__).parents[2] / page).read_text("utf-8")
        for block in re.findall(r"```python\n(.*?)```", text, flags=re.S):
            if "fiftyone" in block:
                exec(block, names)
    assert nodes_in(shown[0]).keys() == ids
    assert {"holiday", "named"} <= set(fo.list_datasets())
    assert len(names["data"]) == COUNT
    page = (Path(regiontree.__file__).parents[2] / "docs/how-to/fiftyone.md").read_text("utf-8")
    (first, *_) = fo.load_dataset("holiday").first().regions.detections
    told = {name for line in page.splitlines() if line.startswith("| `")
            for name in re.findall(r"`(\w+)`", line.split("|")[1])}  # fmt: skip
    assert told == {name for name, _ in first.iter_attributes()}


# -- data sets made in FiftyOne -------------------------------------------------------------------


@pytest.mark.parametrize("in_files", [False, True])
def test_a_sample_has_every_node_and_its_place(
    fo, trees, tmp_path, monkeypatch, in_files: bool
) -> None:
    if in_files:
        monkeypatch.setattr(door, "_IN_DATABASE", 0)
    data = regiontree.to_fiftyone(tmp_path / "trees", "all", folder=tmp_path / "files")
    assert fo.load_dataset("all").persistent
    assert data.info["failed"] == {}
    assert {one.photo for one in data} == set(trees)
    for sample in data:
        tree = trees[sample.photo]
        assert sample.filepath == str(tmp_path / "trees" / f"{sample.photo}.png")
        assert (sample.metadata.height, sample.metadata.width) == tree.shape
        regions = {one.node: one for one in sample.regions.detections}
        assert list(regions) == list(range(tree.root))
        of_id = {one.id: one for one in regions.values()}
        for node, one in regions.items():
            assert (one.mask_path is not None) == in_files
            np.testing.assert_array_equal(full_mask(one, tree.shape), tree.mask(node))
            parent = int(tree.parents[node])
            assert one.parent == parent
            assert (of_id[one.parent_id].node if one.parent_id else tree.root) == parent
            assert (one.label, one.confidence) == ("region", None)
            assert (one.level, one.area) == (tree.level[node], tree.area[node])
            assert np.float32(one.height) == tree.height[node]
            assert np.float32(one.parent_height) == tree.height[parent]
            assert one.is_finest == (node < tree.n_leaves)
            assert (one.stability is None) == (tree.stability is None)
    schema = data.get_field_schema(flat=True)
    assert isinstance(schema["regions.detections.height"], fo.FloatField)
    assert isinstance(schema["regions.detections.parent_id"], fo.StringField)
    assert not (tmp_path / "files").exists() or in_files
    assert fo.load_dataset("all").app_config.color_scheme.color_by == "instance"


def test_views_are_the_cuts_of_the_trees(fo, trees, tmp_path) -> None:
    data = regiontree.to_fiftyone(tmp_path / "trees")

    def expected(**cut: Any) -> dict[str, list[int]]:
        return {name: [one for one in tree.cut_nodes(**cut).tolist() if one != tree.root]
                for name, tree in trees.items()}  # fmt: skip

    cuts = [{"n_regions": n} for n in (1, 2, 3, 4, 5, 7, 9, 12, 30, 99)]
    heights = {float(h) for tree in trees.values() for h in tree.height} | {0.1, 0.3, 1e9}
    cuts += [{"height": h} for h in heights]
    cuts += [{"depth": d} for d in range(8)]
    for cut in cuts:
        assert nodes_in(cut_view(data, **cut)) == expected(**cut), cut
    assert nodes_in(cut_view(data)) == expected()
    assert data.list_saved_views() == ["natural cut", *(f"{2**i} regions" for i in range(1, 7))]
    assert nodes_in(data.load_saved_view("natural cut")) == expected()
    assert nodes_in(data.load_saved_view("8 regions")) == expected(n_regions=8)
    finer = data.match(fo.ViewField("photo") == "four")
    assert nodes_in(cut_view(finer, n_regions=2)) == {"four": expected(n_regions=2)["four"]}
    with pytest.raises(TreeError, match="one of n_regions, height and depth"):
        cut_view(data, n_regions=2, depth=1)


def test_a_cut_limits_what_is_written(fo, trees, tmp_path) -> None:
    data = regiontree.to_fiftyone(tmp_path / "trees", n_regions=5)
    for sample in data:
        tree = trees[sample.photo]
        finest = set(tree.cut_nodes(n_regions=5).tolist())
        above = {up for node in finest for up in tree.ancestors(node)}
        shown = {one.node for one in sample.regions.detections}
        assert shown == (finest | above) - {tree.root}
        assert {one.node for one in sample.regions.detections if one.is_finest} == (
            finest - {tree.root}
        )
    assert data.list_saved_views() == ["natural cut", "2 regions", "4 regions"]
    finer = nodes_in(cut_view(data, n_regions=99))  # as fine as it was written
    assert finer == {name: [n for n in tree.cut_nodes(n_regions=5).tolist() if n != tree.root]
                     for name, tree in trees.items()}  # fmt: skip
    few = regiontree.to_fiftyone(tmp_path / "trees", salient=3, label_field="things")
    assert few.list_saved_views() == []
    for sample in few:
        tree = trees[sample.photo]
        assert [one.node for one in sample.things.detections] == tree.salient(3)
    with pytest.raises(ExportError, match="give no cut"):
        regiontree.to_fiftyone(tmp_path / "trees", salient=3, height=0.2)


def test_a_collection_names_the_regions(fo, named: Collection, tmp_path: Path) -> None:
    data = regiontree.to_fiftyone(named, "named", n_regions=6)
    assert (len(data), data.classes) == (COUNT, {"regions": sorted(NAMES)})
    masks, moved = masks_of(named), set(named.names.moved)
    seen = set()
    for sample in data:
        key, tree = sample.photo, named.forest[sample.photo]
        for one in sample.regions.detections:
            inside = full_mask(one, tree.shape)
            np.testing.assert_array_equal(inside, tree.mask(one.node))
            if one.node not in tree.cut_nodes(n_regions=6):
                continue
            (value,) = np.unique(masks[key][inside])
            assert one.label == (["region", *sorted(NAMES)][value])
            assert (one.confidence is None) == (value == 0)
            if (key, one.node) in moved:
                assert one.confidence == 1
            seen.add(one.label)
    assert seen == {"region", *NAMES}
    again = regiontree.to_fiftyone(named.folder, n_categories=4, images=[tmp_path / "trees"])
    assert len(again.distinct("regions.detections.label")) == 4
    with pytest.raises(ExportError, match="n_categories is for a collection"):
        regiontree.to_fiftyone(tmp_path / "trees", n_categories=4)


def test_a_store_is_a_source(fo, trees, tmp_path) -> None:
    from regiontree.forest import convert

    assert convert.run(str(tmp_path / "trees"), str(tmp_path / "store"), as_json=False) == 0
    images = [tmp_path / "trees", tmp_path / "trees" / "a"]
    data = regiontree.to_fiftyone(tmp_path / "store", images=images)
    assert nodes_in(data) == {name: list(range(tree.root)) for name, tree in trees.items()}


def test_what_fails_is_told_and_left_out(fo, trees, tmp_path) -> None:
    (tmp_path / "trees" / "four.png").unlink()
    (tmp_path / "trees" / "bad.npz").write_bytes(b"no tree")
    told: list[tuple[str, bool]] = []
    data = regiontree.to_fiftyone(
        tmp_path / "trees", "some", advance=lambda key, said: told.append((key, said is None))
    )
    assert sorted(told) == [("a/one", True), ("a/zwei ü", True), ("bad", False), ("four", False),
                            ("whole", True)]  # fmt: skip
    assert "four.png was not found. Say where" in data.info["failed"]["four"]
    with pytest.raises(ExportError, match="FiftyOne has a data set 'some'; choose another name"):
        regiontree.to_fiftyone(tmp_path / "trees", "some")

    def stop(key: str, said: str | None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        regiontree.to_fiftyone(tmp_path / "trees", "some", overwrite=True, advance=stop)
    assert len(fo.load_dataset("some")) == 3  # the old one
    assert fo.list_datasets() == ["some"]
    for name in trees:
        (tmp_path / "trees" / f"{name}.png").unlink(missing_ok=True)
    with pytest.raises(ExportError, match="no photograph can be written: "):
        regiontree.to_fiftyone(tmp_path / "trees", "none")
    assert fo.list_datasets() == ["some"]


def test_files_of_a_replaced_data_set_go(fo, tmp_path, monkeypatch) -> None:
    """A photograph that must be turned is copied, and its copy and masks go with the data set."""
    monkeypatch.setattr(door, "_IN_DATABASE", 0)
    replace(hand_tree(), meta={"image": {"name": "x.jpg"}}).save(tmp_path / "trees" / "x.npz")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.new("RGB", (2, 4), "red").save(tmp_path / "trees" / "x.jpg", exif=turned)
    folder = tmp_path / "files"
    before = regiontree.to_fiftyone(tmp_path / "trees", "x", folder=folder).first()
    with Image.open(before.filepath) as copy:
        assert copy.size == (4, 2)
    (folder / "mine.txt").write_text("mine")
    after = regiontree.to_fiftyone(tmp_path / "trees", "x", folder=folder, overwrite=True).first()
    assert not Path(before.filepath).exists()
    assert Path(after.filepath).is_file()
    assert len(list(folder.iterdir())) == 2
    full_mask(after.regions.detections[0], (2, 4))


def test_fifty_thousand_regions(fo, tmp_path, monkeypatch) -> None:
    side = 224
    tree = random_tree(np.random.default_rng(0), 50_000, (side, side))
    tree = replace(tree, meta={"image": {"name": "x.png"}})
    (tmp_path / "trees").mkdir()
    tree.save(tmp_path / "trees" / "x.npz")
    Image.new("RGB", (side, side)).save(tmp_path / "trees" / "x.png")
    too_large = pytest.raises(ExportError, match="regions make a document of more than 16 MB")
    files = tmp_path / "files"
    with too_large:  # before the detections are made
        regiontree.to_fiftyone(tmp_path / "trees", n_regions=50_000, folder=files)
    monkeypatch.setattr(door, "_DOCUMENT", 100_000)
    with too_large:  # and after
        regiontree.to_fiftyone(tmp_path / "trees", n_regions=250, folder=files)
    monkeypatch.undo()
    assert not (tmp_path / "files").exists() or not list((tmp_path / "files").iterdir())
    data = regiontree.to_fiftyone(tmp_path / "trees", n_regions=300, folder=tmp_path / "files")
    assert {*nodes_in(cut_view(data, n_regions=300))["x"]} == {*tree.cut_nodes(n_regions=300)}


def test_its_own_export_is_read_again(fo, trees, tmp_path) -> None:
    """FiftyOne writes the data set in its own format, and reads it with masks, links and views."""
    data = regiontree.to_fiftyone(tmp_path / "trees", "all")
    data.export(export_dir=str(tmp_path / "own"), dataset_type=fo.types.FiftyOneDataset)
    again = fo.Dataset.from_dir(
        dataset_dir=str(tmp_path / "own"), dataset_type=fo.types.FiftyOneDataset
    )
    assert again.list_saved_views() == data.list_saved_views()
    assert nodes_in(again) == nodes_in(data)
    for one, other in zip(data, again, strict=True):
        for own, read in zip(one.regions.detections, other.regions.detections, strict=True):
            np.testing.assert_array_equal(own.mask, read.mask)
            assert (own.parent_id, own.first_cut) == (read.parent_id, read.first_cut)
