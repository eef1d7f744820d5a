"""Bands and pages from the command line to the tree, and back to its photograph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import EXAMPLE, blocks, refused
from PIL import Image

from regiontree import RegionParser
from regiontree.engines.batch import plan, segment
from regiontree.errors import SettingsError
from regiontree.forest.sources import open_source
from regiontree.images import image_suffixes
from regiontree.images.choice import Choice
from regiontree.tree.file import read_meta

PHOTO = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((64, 64)))


@pytest.fixture
def scene(tmp_path) -> Path:
    """A scene of seven bands, of which 4, 3 and 2 are the photograph; and its features."""
    many = np.random.default_rng(0).integers(0, 4000, (7, 64, 64)).astype(np.uint16)
    many[[3, 2, 1]] = PHOTO.transpose(2, 0, 1).astype(np.uint16) * 16
    path = tmp_path / "scene.tif"
    tifffile.imwrite(path, many, planarconfig="separate", photometric="minisblack")
    (tmp_path / "features").mkdir()
    np.save(tmp_path / "features" / "scene.npy", blocks())
    return path


def parser_of(scene: Path, **choice) -> RegionParser:
    return RegionParser(backbone=f"precomputed:{scene.parent / 'features'}", **choice)


def batch(scene: Path, **choice):
    out = scene.parent / "out"
    summary = segment(parser_of(scene, **choice), plan([scene], out, image_suffixes()), out)
    return summary.outcomes[0]


def test_a_tree_records_bands_and_stretch(scene):
    tree = parser_of(scene, bands="4,3,2").parse(scene)
    image = tree.meta["image"]
    assert (image["bands"], image["bands_in_file"]) == ([4, 3, 2], 7)
    assert image["stretch"] == {"low": 0, "high": 4095}
    assert image["choice"] == {"bands": [4, 3, 2]}


def test_a_batch_says_what_it_shows_and_keeps_trees_of_other_bands(scene):
    first = batch(scene)
    assert (first.status, "bands 1,2,3 of 7" in first.notice) == ("done", True)
    assert batch(scene).status == "skipped"
    other = batch(scene, bands=(4, 3, 2))
    assert other.status == "failed"
    assert "bands 4,3,2" in other.error
    assert "--overwrite" in other.error
    assert batch(scene, page=0).status == "skipped"  # the first page, as without a choice
    meta = read_meta(scene.parent / "out" / "scene.npz")
    assert "choice" not in meta["image"]


def test_the_photograph_of_a_tree_is_shown_in_its_bands(scene):
    assert batch(scene, bands=(4, 3, 2)).notice is None
    source = open_source(scene.parent / "out" / "scene.npz", images=[scene])
    assert np.abs(source.picture().astype(int) - PHOTO).max() <= 1


def test_bands_of_features_alone_are_refused():
    for choice in ({"bands": 1}, {"page": 0}):
        with refused(SettingsError, "bands and page", "precomputed", "leave them out"):
            RegionParser(backbone="precomputed", **choice)


def test_the_command_line_takes_bands_and_page(scene):
    from typer.testing import CliRunner

    from regiontree.cli import app

    features = f"precomputed:{scene.parent / 'features'}"
    out = scene.parent / "trees"
    arguments = ["segment", str(scene), "-o", str(out), "--backbone", features]
    ran = CliRunner().invoke(app, [*arguments, "--bands", "4,3,2", "--page", "0"])
    assert ran.exit_code == 0, ran.output
    meta = read_meta(out / "scene.npz")
    assert meta["image"]["choice"] == {"bands": [4, 3, 2], "page": 0}
    ran = CliRunner().invoke(app, [*arguments, "--bands", "9", "--overwrite"])
    assert ran.exit_code != 0


@pytest.mark.parametrize("wrong", [{"bands": True}, {"bands": (1, 2, True)}, {"page": False}])
def test_true_and_false_are_no_bands_and_no_page(wrong):
    with refused(SettingsError, *wrong):
        Choice.of(**wrong)
