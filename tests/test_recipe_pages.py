"""The pages of docs/recipes, each run from its first block to its last, and what they made.

The images are drawn, so their truth is known: ``tests/drawn.py``. The commands are those of the
pages. Servers are left out. Ray is a cluster of one node on this machine. The test is connected to
it, so the address in the commands is not used.
"""

from __future__ import annotations

import csv
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from conftest import ROOT
from drawn import FIELD, PARTS, cars, cells, fields
from test_references_remote import s3, s3_server
from typer.testing import CliRunner

from regiontree import Collection, Forest, RegionTree
from regiontree.cli import app
from regiontree.errors import CollectionError

_ = s3, s3_server  # fixtures
RECIPES = ROOT / "docs" / "recipes"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("embedded_installed")]


def steps(page: str) -> list[tuple[str, str]]:
    """The commands and the Python of a page, in their order."""
    found = []
    text = (RECIPES / f"{page}.md").read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(sh|python)\n(.*?)^```", text, flags=re.S | re.M):
        if language == "python":
            found.append((language, block))
            continue
        for line in block.splitlines():
            if line.startswith("regiontree ") and not line.startswith("regiontree view"):
                found.append((language, line.partition(" #")[0]))
    return found


def follow(page: str) -> tuple[dict[str, Any], list[Result]]:
    """Run a page in the present folder: the names of its Python, and what its commands gave."""
    names: dict[str, Any] = {}
    results = []
    for language, step in steps(page):
        if language == "python":
            exec(compile(step, f"{page}.md", "exec"), names)  # our own page
            continue
        words = shlex.split(step)[1:]
        if "s3://" in step and words[0] in ("plan", "segment"):
            words += ["--size", "140"]
        results.append(CliRunner().invoke(app, words, catch_exceptions=False))
        assert results[-1].exit_code == 0, results[-1].stderr
    return names, results


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_every_recipe_is_in_the_index_and_has_its_sections() -> None:
    index = (RECIPES / "index.md").read_text(encoding="utf-8")
    pages = {path.stem for path in RECIPES.glob("*.md")} - {"index"}
    assert pages == set(re.findall(r"\]\((\w+)\.md\)", index))
    for page in pages:
        text = (RECIPES / f"{page}.md").read_text(encoding="utf-8")
        assert "## What goes wrong" in text
        assert f"../images/recipe-{page}.png" in text


def test_cvat_gets_named_masks_and_labels(tmp_path, monkeypatch):
    from pycocotools.coco import COCO

    truth = cars(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    follow("cvat")
    labels = [one["name"] for one in json.loads(Path("labels.json").read_text())]
    assert sorted(labels) == ["body", "road", "sky", "wheel", "window"]
    data = COCO("instances_default.json")
    found: dict[str, list[float]] = {name: [] for name in PARTS[1:]}
    for image in data.loadImgs(data.getImgIds()):
        assert (Path("photos") / image["file_name"]).is_file(), "CVAT finds frames by their name"
        parts = truth[Path(image["file_name"]).stem]
        covered = np.zeros(parts.shape, int)
        for name in labels:
            ids = data.getAnnIds(imgIds=image["id"], catIds=data.getCatIds(catNms=[name]))
            mask = sum((data.annToMask(one) for one in data.loadAnns(ids)), np.zeros_like(covered))
            covered += mask
            if name in found:
                found[name].append(iou(mask > 0, parts == PARTS.index(name)))
        assert covered.max() == 1, "named regions do not overlap"
    for name, values in found.items():
        assert np.mean(values) > 0.7, f"{name}: {values}"

    collection = Collection.load("collection")
    with pytest.raises(CollectionError, match="point 900,3 lies outside car-1"):
        collection.name_at("car-1", (900, 3), "sky")
    before = collection.name_at("car-1", (120, 60), "tyre", n_categories=8)
    assert before.name == "tyre"
    assert collection.name_at("car-1", (120, 60), "", n_categories=8).node == before.node
    assert before.node not in Collection.load("collection").names.own


def test_parts_have_names_and_parents(tmp_path, monkeypatch):
    from pycocotools.coco import COCO

    truth = cars(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    follow("parts")
    data = COCO("parts.json")
    names = {one["id"]: one["name"] for one in data.cats.values()}
    assert sorted(names.values()) == ["body", "region", "wheel", "window"]
    best: dict[str, list[float]] = {name: [] for name in PARTS[1:]}
    for image in data.imgs.values():
        photo = Path(image["file_name"]).stem
        tree = RegionTree.load(f"trees/{photo}.npz")
        regions = data.loadAnns(data.getAnnIds(imgIds=image["id"]))
        assert 0 < len(regions) <= 24
        masks = {one["id"]: data.annToMask(one).astype(bool) for one in regions}
        for one in regions:
            assert (masks[one["id"]] == tree.mask(one["node"])).all()
            if one["parent_id"] is not None:
                assert not (masks[one["id"]] & ~masks[one["parent_id"]]).any()
        for part in best:
            own = [masks[one["id"]] for one in regions if names[one["category_id"]] == part]
            true = truth[photo] == PARTS.index(part)
            best[part].append(max((iou(mask, true) for mask in own), default=0.0))
    assert any(one["parent_id"] for one in data.anns.values())
    for part, values in best.items():
        assert np.mean(values) > 0.6, f"{part}: {values}"


def test_fields_have_their_hectares(tmp_path, monkeypatch):
    pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
    pytest.importorskip("geopandas", reason="geopandas is not installed: make bridges runs this")
    check_fields(tmp_path, monkeypatch)


def check_fields(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import geopandas
    from rasterio.features import rasterize
    from rasterio.transform import from_origin

    truth = fields(tmp_path / "scene.tif")
    monkeypatch.chdir(tmp_path)
    names, _ = follow("fields")
    assert names["fields"].crs.to_epsg() == 32633
    whole = truth.size * FIELD**2 / 10_000
    assert names["fields"].hectares.sum() == pytest.approx(whole)
    kept = geopandas.read_file("maps/fields.gpkg")
    transform = from_origin(412_000.0, 5_318_000.0, FIELD, FIELD)
    masks = [
        rasterize([shape], out_shape=truth.shape, transform=transform).astype(bool)
        for shape in kept.geometry
    ]
    for number in range(1, truth.max() + 1):
        overlaps = [iou(mask, truth == number) for mask in masks]
        best = int(np.argmax(overlaps))
        assert overlaps[best] > 0.8, f"field {number}"
        assert kept.hectares[best] == pytest.approx(
            (truth == number).sum() * FIELD**2 / 10_000, rel=0.2
        )


def test_cells_are_counted_measured_and_linked(tmp_path, monkeypatch):
    import tifffile

    truth = cells(tmp_path / "stack.ome.tif")
    monkeypatch.chdir(tmp_path)
    follow("cells")
    with tifffile.TiffFile("labels.ome.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == "ZYX"
        labels = file.asarray()
    assert labels.shape == truth.shape
    with open("cells.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 + 4 + 4
    same = {}
    for row in rows:
        number, plane = int(row["cell"]), int(row["plane"])
        mask = labels[plane] == number
        assert mask.sum() == int(row["area"])
        there = [k for k in range(1, 5) if (truth[plane] == k).any()]
        overlaps = {k: iou(mask, truth[plane] == k) for k in there}
        cell = max(overlaps, key=lambda k: overlaps[k])
        assert overlaps[cell] > 0.9
        assert same.setdefault(cell, number) == number, "a cell has one number in all planes"
        y, x = np.nonzero(truth[plane] == cell)
        assert float(row["y"]) == pytest.approx(y.mean(), abs=1.5)
        assert float(row["x"]) == pytest.approx(x.mean(), abs=1.5)
    assert len(set(same.values())) == 4


@pytest.fixture
def ray_node(s3) -> Iterator[None]:
    """A Ray cluster of one node. It starts after the server: its processes have the login."""
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    from regiontree.engines.raycluster import Connection

    connection = Connection(None, 2)
    yield
    connection.close()


@pytest.mark.cluster
@pytest.mark.usefixtures("ray_node")
def test_a_million_photographs_in_small(s3, tmp_path, monkeypatch):
    truth = cars(tmp_path / "photos", 2)
    for path in (tmp_path / "photos").iterdir():
        s3.put_object(Bucket="photos", Key=f"in/{path.name}", Body=path.read_bytes())
    monkeypatch.chdir(tmp_path)
    names, results = follow("million")
    plan, first, again, *_ = results
    assert "16x64" in plan.stdout
    assert "2 done" in first.stderr
    assert "0 done, 2 skipped" in again.stderr
    assert all("Ray cluster: 1 machines" in one.stderr for one in (first, again))
    assert names["errors"] == {}
    forest = Forest("s3://photos/trees")
    assert sorted(forest) == [f"{name}.jpg" for name in sorted(truth)]
    data = json.loads(Path("categories.json").read_text())
    assert {one["file_name"] for one in data["images"]} == {f"{name}.jpg" for name in truth}
    assert 1 < len(data["categories"]) <= 27
    assert data["annotations"]
