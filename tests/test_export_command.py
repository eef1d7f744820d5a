"""Exporting many trees: where files go, what is refused, and that one bad tree stops nothing."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
import sys
from glob import glob
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from trees import hand_tree, random_tree
from typer.testing import CliRunner

from regiontree import RegionTree
from regiontree.cli import app
from regiontree.errors import ExportError, MissingExtraError, TreeError
from regiontree.export import FORMATS, find_format
from regiontree.export.command import run
from regiontree.system.files import sha256_of

TOGETHER = [name for name in FORMATS if find_format(name).make]
NEEDS = {
    "coco": "pycocotools",
    "fiftyone": "pycocotools",
    "huggingface": "pyarrow",
    "stack": "tifffile",
    "ome-tiff": "tifffile",
    "graphml": "networkx",
    "higra": "higra",
}


def photographed(name: str, **image: str) -> RegionTree:
    tree = random_tree(np.random.default_rng(1), 6, (5, 8))
    meta = {"image": {"name": name, **image}}
    return RegionTree(tree.labels, tree.parents, tree.height, meta=meta)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Two trees, one in a folder, and a file that is none."""
    photographed("one.jpg").save(tmp_path / "trees" / "one.npz")
    photographed("zwei ü.jpg").save(tmp_path / "trees" / "sub" / "zwei ü.npz")
    (tmp_path / "trees" / "bad.npz").write_bytes(b"not a tree")
    return tmp_path / "trees"


def files(folder: Path) -> set[str]:
    """Files below a folder, but for the trees and the pictures."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if path.suffix not in (".npz", ".png")}


# -- the list of formats --------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_uses_the_options_that_its_function_has(name):
    form = find_format(name)
    taken = inspect.signature(form.maker or form.writer).parameters
    options = {key for key, value in taken.items() if value.kind == value.KEYWORD_ONLY}
    assert options - {"picture", "area"} == set(form.keys)  # scenes give their own areas
    assert ("picture" in options) == bool(form.make and form.finds_photo)
    assert callable(form.writer)


def test_the_list_of_formats_and_the_command_load_nothing_heavy():
    code = (
        "import sys, regiontree.export; print(*sys.modules); "
        "import regiontree.export.command; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    light, whole = (set(line.split()) for line in done.stdout.splitlines())
    assert not {"numpy", "rich"} & light
    assert not {"torch", "pycocotools", "rasterio", "networkx", "tifffile", "higra"} & whole


# -- every format ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_what_it_can_and_again_only_if_told(name, folder, tmp_path, capsys):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    out = tmp_path / "out"
    for photo in ("one.jpg", "sub/zwei ü.jpg"):
        Image.new("RGB", (8, 5)).save(folder / photo)
    assert run([folder], name, out) == 1
    said = capsys.readouterr().err
    assert "2 done, 0 skipped, 1 failed" in said
    assert f"failed: {folder / 'bad.npz'}: damaged or not a region tree" in said
    form = find_format(name)
    if form.is_folder:
        expected = {out / {"fiftyone": "labels.json", "huggingface": "README.md"}[name]}
    elif form.make:
        expected = {out / f"{name}.json"}
    else:
        expected = {out / f"{tree}{form.suffixes[0]}" for tree in ("one", "sub/zwei ü")}
    assert all(path.exists() for path in expected)
    written = {path: path.stat().st_mtime_ns for path in expected}

    if form.make:
        with pytest.raises(ExportError, match="exists; choose another name or pass --overwrite"):
            run([folder], name, out)
    else:
        assert run([folder], name, out) == 1
        assert "0 done, 2 skipped, 1 failed" in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in expected} == written

    assert run([folder / "one.npz", folder / "sub"], name, out, overwrite=True) == 0
    assert all(path.exists() for path in expected)
    if form.make:
        (document,) = expected
        assert document.stat().st_mtime_ns > written[document]


def test_options_reach_the_format(folder, tmp_path):
    one = folder / "one.npz"
    tree = RegionTree.load(one)
    run([one], "labels-png", tmp_path / "x.png", n_regions=3)
    with Image.open(tmp_path / "x.png") as image:
        assert np.array_equal(np.asarray(image), tree.cut(n_regions=3) + 1)
    run([one], "label-studio", tmp_path / "x.json", all_nodes=True, depth=1, url_prefix="s3://b/")
    (task,) = json.loads((tmp_path / "x.json").read_bytes())
    assert task["data"]["image"] == "s3://b/one.jpg"
    assert len(task["predictions"][0]["result"]) == len(tree.cut_nodes(depth=1))
    run([one], "panoptic", tmp_path / "p.json", height=0.25)
    (annotation,) = json.loads((tmp_path / "p.json").read_bytes())["annotations"]
    assert [segment["id"] - 1 for segment in annotation["segments_info"]] == list(
        tree.cut_nodes(height=0.25)
    )


def test_any_format_takes_the_condensed_tree(folder, tmp_path):
    one = folder / "one.npz"
    small = RegionTree.load(one).condense(3)
    assert 1 < small.n_nodes < RegionTree.load(one).n_nodes
    run([one], "coco", tmp_path / "x.json", condense=3)
    written = json.loads((tmp_path / "x.json").read_bytes())["annotations"]
    assert [row["area"] for row in written] == small.area[:-1].tolist()
    run([one], "masks", tmp_path / "masks", condense=3)
    assert len(list((tmp_path / "masks").rglob("*.png"))) == small.n_nodes
    run([one], "tree", tmp_path / "small", condense=3)
    assert RegionTree.load(tmp_path / "small" / "one.npz") == small
    with pytest.raises(ExportError, match=r"one\.npz: is one of the trees to export"):
        run([one], "tree", condense=3, overwrite=True)
    with pytest.raises(TreeError, match="condense: n_nodes must be at least 1, got 0"):
        run([folder], "newick", tmp_path / "none", condense=0)
    assert not (tmp_path / "none").exists()


def test_a_tree_is_condensed_to_its_steady_nodes(tmp_path):
    tree = random_tree(np.random.default_rng(4), 12, (9, 9), dim=2)
    path = tree.save(tmp_path / "tree.npz")
    run([path], "tree", tmp_path / "small", condense=5, min_stability=0.5)
    small = RegionTree.load(tmp_path / "small" / "tree.npz")
    assert small == tree.condense(5, min_stability=0.5) != tree.condense(5)
    with pytest.raises(TreeError, match="min_stability must be from 0 to 1, got 2"):
        run([path], "newick", tmp_path / "none", condense=5, min_stability=2)


def test_any_format_takes_the_tree_of_pieces(folder, tmp_path):
    one = folder / "one.npz"
    pieces = RegionTree.load(one).pieces(2)
    assert pieces.n_nodes > RegionTree.load(one).n_nodes
    options = {"pieces": True, "min_area": 2}
    run([one], "coco", tmp_path / "x.json", **options)
    written = json.loads((tmp_path / "x.json").read_bytes())["annotations"]
    assert [row["area"] for row in written] == pieces.area[:-1].tolist()
    run([one], "masks", tmp_path / "masks", **options)
    assert len(list((tmp_path / "masks").rglob("*.png"))) == pieces.n_nodes
    run([one], "labels-png", tmp_path / "labels.png", n_regions=5, **options)
    with Image.open(tmp_path / "labels.png") as image:
        assert np.array_equal(np.asarray(image), pieces.cut(n_regions=5) + 1)
    run([one], "tree", tmp_path / "small", **options)
    assert RegionTree.load(tmp_path / "small" / "one.npz") == pieces
    run([one], "tree", tmp_path / "few", condense=3, **options)
    assert RegionTree.load(tmp_path / "few" / "one.npz") == pieces.condense(3)
    run([one], "newick", tmp_path / "alone.nwk", pieces=True)
    assert (tmp_path / "alone.nwk").read_text().strip() == RegionTree.load(one).pieces().to_newick()
    with pytest.raises(TreeError, match="pieces: min_area must be at least 1 pixel, got 0"):
        run([folder], "newick", tmp_path / "none", pieces=True, min_area=0)
    assert not (tmp_path / "none").exists()


def test_an_option_of_a_format_may_be_an_assignment(folder, tmp_path):
    one = folder / "one.npz"
    run([one], "labels-png", tmp_path / "a.png", n_regions=3)
    run([one], "labels-png", tmp_path / "b.png", assignments=["n_regions=3"])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_python_writes_what_the_command_writes(folder, tmp_path):
    one, options = folder / "one.npz", {"n_regions": 3}
    for to, suffix in (("geojson", "geojson"), ("labels-tiff", "tif")):
        run([one], to, tmp_path / f"a.{suffix}", **options)
        RegionTree.load(one).export(to, tmp_path / f"b.{suffix}", **options)
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_a_tree_that_is_not_condensed_is_copied(folder, tmp_path):
    run([folder / "one.npz"], "tree", tmp_path)
    assert (tmp_path / "one.npz").read_bytes() == (folder / "one.npz").read_bytes()


@pytest.mark.parametrize("given", ["2,3", (2, 3)])
def test_granularities_as_text_and_as_numbers(given, folder, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    assert run([folder / "one.npz"], "stack", tmp_path / "x.tif", granularities=given) == 0
    tree = RegionTree.load(folder / "one.npz")
    counts = sorted({len(tree.cut_nodes(n_regions=count)) for count in (2, 3)})
    pages = tifffile.imread(tmp_path / "x.tif").reshape(-1, *tree.shape)
    assert pages.max(axis=(1, 2)).tolist() == counts


def test_coco_of_many_trees_is_read_by_pycocotools(folder, tmp_path):
    pycoco = pytest.importorskip("pycocotools.coco")
    run([folder], "coco", tmp_path / "set.json")
    data = pycoco.COCO(str(tmp_path / "set.json"))
    images = data.loadImgs(data.getImgIds())
    assert [image["file_name"] for image in images] == ["one.jpg", "sub/zwei ü.jpg"]
    for image, name in zip(images, ("one", "sub/zwei ü"), strict=True):
        tree = RegionTree.load(folder / f"{name}.npz")
        for one in data.loadAnns(data.getAnnIds(imgIds=image["id"])):
            assert np.array_equal(data.annToMask(one), tree.mask(one["node"]))
            parent = tree.parents[one["node"]]
            around = data.anns[one["parent_id"]] if one["parent_id"] else {"node": tree.root}
            assert around["node"] == parent
            assert around.get("image_id", image["id"]) == image["id"]


# -- where files go -------------------------------------------------------------------------------


def test_without_an_output_files_lie_beside_the_trees(folder, tmp_path, monkeypatch):
    run([folder], "newick")
    assert files(folder) == {"one.nwk", "sub/zwei ü.nwk"}
    run([folder], "label-studio")
    assert (folder / "label-studio.json").exists()
    run([folder / "one.npz", folder / "sub" / "zwei ü.npz"], "panoptic")
    assert (folder / "panoptic" / "zwei ü.png").exists()
    monkeypatch.chdir(folder / "sub")
    run(["*.npz"], "label-studio")
    assert (folder / "sub" / "label-studio.json").exists()
    assert not (tmp_path / "label-studio.json").exists()


def test_one_tree_may_be_given_its_file(folder, tmp_path):
    assert run([folder / "one.npz"], "newick", tmp_path / "new" / "My.NWK") == 0
    assert files(tmp_path / "new") == {"My.NWK"}
    assert run([folder / "one.npz"], "masks", tmp_path / "m.masks") == 0
    assert (tmp_path / "m.masks" / "tree.json").exists()


def test_a_file_for_many_trees_and_a_file_in_the_way_are_refused(folder, tmp_path):
    with pytest.raises(ExportError, match=r"x\.nwk: newick writes a file for each of the 3 trees"):
        run([folder], "newick", tmp_path / "x.nwk")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match=r"file: is a file; coco writes \.json"):
        run([folder], "coco", tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b""


def test_a_tree_is_never_overwritten_by_its_export(folder):
    odd = (folder / "one.npz").rename(folder / "one.nwk")
    before = odd.read_bytes()
    with pytest.raises(ExportError, match=r"one\.nwk: is one of the trees to export"):
        run([odd], "newick", overwrite=True)
    assert odd.read_bytes() == before


def test_trees_that_would_meet_keep_their_folders(folder, tmp_path):
    photographed("other.jpg").save(tmp_path / "more" / "one.npz")
    out = tmp_path / "out"
    assert run([tmp_path / "more", folder / "one.npz", folder / "sub"], "newick", out) == 0
    assert files(out) == {"more/one.nwk", "trees/one.nwk", "zwei ü.nwk"}
    run([tmp_path / "more", folder / "one.npz"], "panoptic", tmp_path / "p.json")
    data = json.loads((tmp_path / "p.json").read_bytes())
    assert [image["file_name"] for image in data["images"]] == ["more/other.jpg", "trees/one.jpg"]
    assert (tmp_path / "p" / "more" / "one.png").exists()


def test_a_tree_named_twice_is_written_once(folder, tmp_path):
    given = [folder / "one.npz", folder / "sub" / ".." / "one.npz", str(folder / "o*.npz")]
    run(given, "label-studio", tmp_path / "t.json")
    assert len(json.loads((tmp_path / "t.json").read_bytes())) == 1


@pytest.mark.skipif(os.path.normcase("A") == "a", reason="names differ in more than case here")
def test_two_trees_of_one_name_in_one_folder(folder):
    (folder / "one.NPZ").write_bytes((folder / "one.npz").read_bytes())
    with pytest.raises(
        ExportError, match=r"one\.NPZ and .*one\.npz would be written to the same file"
    ):
        run([folder], "newick")


# -- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "nearest"),
    [
        ("coc", "coco"),
        ("label_studio", "label-studio"),
        ("GeoJSON", "geojson"),
        ("png", "labels-png"),
    ],
)
def test_an_unknown_format_is_told_its_nearest(typed, nearest, folder):
    with pytest.raises(ExportError, match=f"no format '{typed}'; did you mean '{nearest}'.* masks"):
        run([folder], typed)


@pytest.mark.parametrize(
    ("to", "option", "users"),
    [
        ("coco", {"granularities": (2,)}, "stack, ome-tiff"),
        ("coco", {"url_prefix": ""}, "label-studio"),
        ("panoptic", {"salient": 0}, "coco"),
        ("newick", {"n_regions": 0}, "coco, panoptic, .*geojson, geotiff, label-studio"),
        ("stack", {"depth": 0}, "coco, panoptic"),
        ("masks", {"all_nodes": True}, "coco, geojson, label-studio"),
        ("graphml", {"transform": "1,0,0,0,1,0"}, "geojson"),
        ("higra", {"crs": "EPSG:4326"}, "geojson"),
        ("coco", {"images": ["photos"]}, "geojson"),
    ],
)
def test_an_option_that_is_not_used_is_never_ignored(to, option, users, folder, tmp_path):
    (key,) = option
    with pytest.raises(ExportError, match=f"{to} .* does not use {key}; formats that do: {users}"):
        run([folder], to, tmp_path / "out", **option)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("coco", {"n_regions": 0}, "n_regions must be a number of at least 1, got 0"),
        ("coco", {"salient": 2, "depth": 1}, "salient chooses the nodes by itself"),
        ("geojson", {"n_regions": 2, "depth": 1}, "one of n_regions, height, depth and contrast"),
        (
            "stack",
            {"granularities": "2,x"},
            "granularities must be numbers separated by commas, got '2,x'",
        ),
        ("stack", {"granularities": "4,0"}, "n_regions must be a number of at least 1, got 0"),
        ("geojson", {"transform": "1;2"}, "transform must be numbers"),
    ],
)
def test_a_value_that_makes_no_sense_stops_before_any_tree(to, options, message, folder, tmp_path):
    with pytest.raises((ExportError, TreeError), match=message):
        run([folder], to, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_no_trees_at_all():
    with pytest.raises(ExportError, match="no trees: name at least one"):
        run([], "coco")


# -- the manual -----------------------------------------------------------------------------------


MANUAL = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^regiontree (export [^#\n]+)", MANUAL, flags=re.M)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_of_the_manual_runs(command, folder, monkeypatch):
    pytest.importorskip(NEEDS.get(command.split("--to ")[1].split()[0], "numpy"))
    pytest.importorskip("rasterio" if "--crs" in command else "numpy")
    monkeypatch.chdir(folder.parent)
    (folder / "bad.npz").unlink()
    (folder / "one.npz").rename(folder / "photo.npz")
    if command.split("--to ")[1].split()[0] in ("fiftyone", "huggingface"):  # hold photographs
        for path in folder.rglob("*.npz"):
            tree = RegionTree.load(path)
            photo = Image.fromarray(np.zeros((*tree.shape, 3), np.uint8))
            photo.save(path.parent / tree.meta["image"]["name"])
    words = [match for word in command.split() for match in glob(word) or [word]]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.stderr
    assert not done.exception


def test_the_manual_tells_of_every_format_and_its_options():
    for form in map(find_format, FORMATS):
        (row,) = (line for line in MANUAL.splitlines() if re.match(rf"\| \[.*`{form.name}`", line))
        cut = {"n_regions", "height", "depth", "contrast"}
        options = [*form.keys, *(["images"] if form.finds_photo else [])]
        named = inspect.signature(run).parameters
        flags = {
            "cut" if name in cut else f"--{name.replace('_', '-')}" if name in named else "--option"
            for name in options
        }
        assert set(re.findall(r"\bcut\b|--[a-z-]+", row.split("|")[3])) == flags
        assert any(f"--to {form.name}" in command for command in COMMANDS)


# -- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("to", ["newick", "label-studio"])
def test_nothing_that_could_be_done(to, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run([folder / "bad.npz", tmp_path / "gone.npz"], to, out, as_json=True) == 2
    printed, said = capsys.readouterr()
    report = json.loads(printed)
    assert (report["planned"], report["failed"], report["done"]) == (2, 2, 0)
    assert "gone.npz: no such file" in said
    assert not out.exists()


def test_what_is_missing_is_told_and_the_rest_is_done(folder, tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert run([empty, folder / "one.npz"], "newick", as_json=True) == 1
    report = json.loads(capsys.readouterr().out)
    failed, done = report.pop("files")
    assert report == {
        "format": "newick",
        "planned": 2,
        "done": 1,
        "skipped": 0,
        "failed": 1,
        "interrupted": False,
    }
    output = str(folder / "one.nwk")
    tree = str(folder / "one.npz")
    assert done == {"tree": tree, "status": "done", "output": output, "error": None}
    assert (failed["tree"], failed["status"], failed["output"]) == (str(empty), "failed", None)
    assert "holds no trees" in failed["error"]


def test_a_tree_whose_own_cut_makes_no_sense_is_left_out(folder, tmp_path):
    tree = hand_tree()
    meta = {"natural_height": "high"}
    RegionTree(tree.labels, tree.parents, tree.height, meta=meta).save(folder / "odd.npz")
    assert run([folder / "odd.npz", folder / "one.npz"], "panoptic", tmp_path / "p.json") == 1
    assert len(json.loads((tmp_path / "p.json").read_bytes())["images"]) == 1


def test_a_disk_that_refuses_is_told_of_each_tree(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_bytes(b"a file where a folder must be")
    assert run([folder / "one.npz", folder], "newick", tmp_path / "out") == 1
    assert files(tmp_path / "out") == {"one.nwk", "sub"}
    assert "zwei ü.npz: FileExistsError" in capsys.readouterr().err
    with pytest.raises(ExportError, match=r"x\.json: cannot be written"):
        run([folder], "label-studio", tmp_path / "out" / "sub" / "x.json")


def test_a_missing_package_is_no_fault_of_the_trees(folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(MissingExtraError, match=r"regiontree\[export\]"):
        run([folder], "coco", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("to", "left"), [("newick", {"one.nwk"}), ("label-studio", set()), ("panoptic", set())]
)
def test_an_interruption_keeps_whole_files_only(to, left, folder, tmp_path, monkeypatch, capsys):
    load = RegionTree.load

    def second_time(path):
        if Path(path).name != "one.npz":
            raise KeyboardInterrupt
        return load(path)

    monkeypatch.setattr(RegionTree, "load", second_time)
    out = tmp_path / "out"
    trees = [folder / "one.npz", folder / "sub"]
    assert run(trees, to, out, as_json=True) == 130
    printed, said = capsys.readouterr()
    report = json.loads(printed)
    assert report["interrupted"]
    assert report["done"] == len(left)
    assert "interrupted: " in said
    assert files(out) == left
    monkeypatch.undo()
    assert run(trees, to, out) == 0


# -- on the map -----------------------------------------------------------------------------------


@pytest.fixture
def geotiff(tmp_path) -> Path:
    """A photograph of 8 x 5 pixels of 10 m, at (500000, 4000000) in UTM 33 N; and its tree."""
    rasterio = pytest.importorskip("rasterio")
    photo = tmp_path / "photos" / "field.tif"
    photo.parent.mkdir()
    place = rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)
    with rasterio.open(
        photo, "w", driver="GTiff", width=8, height=5, count=1, dtype="uint8", crs="EPSG:32633",
        transform=place,
    ) as image:  # fmt: skip
        image.write(np.zeros((1, 5, 8), np.uint8))
    photographed("field.tif", sha256=sha256_of(photo)).save(tmp_path / "trees" / "field.npz")
    return photo


def corner(path: Path) -> list[float]:
    """Least coordinates of all polygons."""
    features = json.loads(path.read_bytes())["features"]
    points = []
    stack = [feature["geometry"]["coordinates"] for feature in features]
    while stack:
        item = stack.pop()
        if isinstance(item[0], list):
            stack += item
        else:
            points.append(item)
    return np.min(points, axis=0).tolist()


def test_a_geotiff_says_where_its_regions_lie(geotiff, tmp_path, capsys):
    tree, out = tmp_path / "trees" / "field.npz", tmp_path / "field.geojson"
    assert run([tree], "geojson", out, images=[geotiff.parent]) == 0
    # The central meridian, and the latitude that is 3,999,950 / 0.9996 m from the equator.
    assert corner(out) == pytest.approx([15.0, 36.14427], abs=1e-5)
    assert "The photograph" not in capsys.readouterr().err


def test_a_transform_given_is_taken_instead(geotiff, tmp_path):
    tree, out = tmp_path / "trees" / "field.npz", tmp_path / "field.geojson"
    run([tree], "geojson", out, images=[geotiff.parent], transform="10,0,30,0,10,0")
    assert corner(out) == [30, 0]
    run([tree], "geojson", out, images=[geotiff.parent], crs="EPSG:32632", overwrite=True)
    assert corner(out) == pytest.approx([9.0, 36.14427], abs=1e-5)


def test_a_geotiff_that_is_gone_or_changed_is_needed(geotiff, tmp_path, capsys):
    tree, out = tmp_path / "trees" / "field.npz", tmp_path / "field.geojson"
    assert run([tree], "geojson", out) == 2
    said = capsys.readouterr().err
    assert "field.npz: The photograph field.tif was not found." in said
    assert "--images FOLDER" in said
    geotiff.write_bytes(geotiff.read_bytes() + b" ")
    assert run([tree], "geojson", out, images=[geotiff.parent]) == 2
    assert "it has changed" in capsys.readouterr().err
    assert not out.exists()
    for form in ({"transform": "none"}, {"assignments": ["transform=none"]}):
        assert run([tree], "geojson", out, overwrite=True, **form) == 0
        assert corner(out) == [0, 0]


def test_an_ordinary_photograph_that_is_gone_gives_pixels_and_one_line(tmp_path, capsys):
    trees = [
        photographed(f"{n}.jpg", sha256="0" * 64).save(tmp_path / f"{n}.npz") for n in range(3)
    ]
    assert run(trees, "geojson") == 0
    said = capsys.readouterr().err
    assert said.count("was not found") == 1
    assert "0.npz and 2 more" in said
    assert corner(tmp_path / "0.geojson") == [0, 0]


def test_crs_none_leaves_the_projection_of_the_photograph(geotiff, tmp_path, capsys):
    tree, out = tmp_path / "trees" / "field.npz", tmp_path / "field.geojson"
    assert run([tree], "geojson", out, images=[geotiff.parent], crs="none") == 0
    assert corner(out) == [500_000, 3_999_950]
    assert "coordinates: " in capsys.readouterr().err
    option = ["crs=none"]
    run([tree], "geojson", out, images=[geotiff.parent], assignments=option, overwrite=True)
    assert corner(out) == [500_000, 3_999_950]


def test_a_photograph_that_is_on_no_map_gives_pixels(tmp_path, capsys):
    pytest.importorskip("rasterio")
    Image.new("L", (8, 5)).save(tmp_path / "plain.tif")
    tree = photographed("plain.tif", sha256=sha256_of(tmp_path / "plain.tif"))
    assert run([tree.save(tmp_path / "plain.npz")], "geojson") == 0
    assert corner(tmp_path / "plain.geojson") == [0, 0]
    assert "The photograph" not in capsys.readouterr().err


def test_a_refused_document_leaves_no_old_temporary_file(folder, tmp_path):
    out = tmp_path / "all.json"
    out.write_text("{}")
    old = tmp_path / ".all.json.0123456789abcdef.tmp"
    old.write_bytes(out.read_bytes())
    os.utime(old, (0, 0))
    with pytest.raises(ExportError, match="exists; choose another name"):
        run([folder / "one.npz"], "coco", out)
    assert not old.exists()
