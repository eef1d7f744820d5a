"""The app without Gradio: what a visitor sees, on drawn trees; and what is asked of the command."""

from __future__ import annotations

import json
import sys
import zipfile

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from regiontree.cli import app
from regiontree.errors import ImageError, MissingExtraError
from regiontree.parser import RegionParser
from regiontree.plugins.gradio.application import make_app
from regiontree.plugins.gradio.visit import DOWNLOADS, Visit, first_regions, parsed
from regiontree.tree import RegionTree


@pytest.fixture
def visit():
    labels = np.zeros((40, 60), np.int32)
    labels[:, 30:] = 1
    labels[10:30, 35:55] = 2
    tree = RegionTree(labels, [4, 3, 3, 4, 4], [0, 0, 0, 0.5, 1], meta={"natural_height": 0.2})
    rng = np.random.default_rng(0)
    return Visit("drawn", rng.integers(0, 255, (40, 60, 3), np.uint8), tree)


def test_a_click_offers_the_region_and_what_holds_it(visit):
    assert visit.chain(45, 20, regions=3) == [2, 3, 4]
    assert visit.chain(45, 20, regions=2) == [3, 4]
    assert visit.chain(5, 5, regions=3) == [0, 4]
    assert visit.chain(999, -3, regions=3) == [1, 3, 4]  # outside: the nearest pixel
    assert visit.words(4) == "the whole photograph"
    assert visit.words(3) == "50.0 % of the photograph, 2 regions below"
    assert visit.words(2) == "16.7 % of the photograph, not divided further"


def test_the_chosen_region_keeps_its_colours_and_the_rest_is_dim(visit):
    picture = np.asarray(visit.chosen(2))
    assert np.array_equal(picture[14:26, 39:51], visit.photo[14:26, 39:51])
    assert picture[:, :25].mean() < 0.7 * visit.photo[:, :25].mean()
    assert (picture[10, 36:54] == 255).all()  # its border


def test_a_cut_has_a_colour_for_each_region(visit):
    picture = np.asarray(visit.cut(2)).astype(int)
    assert picture.shape == (40, 60, 3)
    assert visit.cut(1).size == (60, 40)
    assert visit.most == 3
    assert first_regions(visit) == 3


def test_what_is_taken_home_is_read_by_others(visit, tmp_path):
    files = [visit.save(what, 2, tmp_path) for what in DOWNLOADS]
    assert RegionTree.load(files[0]) == visit.tree
    with zipfile.ZipFile(files[1]) as archive:
        assert sorted(archive.namelist()) == ["region-0000.png", "region-0003.png"]
        with archive.open("region-0003.png") as file:
            mask = np.asarray(Image.open(file))
    assert np.array_equal(mask, visit.tree.mask(3))
    assert {one["area"] for one in json.loads(files[2].read_text())["annotations"]} >= {1200}
    labels = np.asarray(Image.open(files[3]))
    assert np.array_equal(labels - 1, visit.tree.cut(n_regions=2))


def test_large_photographs_are_made_smaller_and_turned_upright(tmp_path):
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 255, (90, 300, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    picture.save(tmp_path / "a.jpg", exif=exif)
    found = parsed(RegionParser(preset="fast", size=112, parts=20), tmp_path / "a.jpg", 150)
    assert found.tree.shape == (150, 45)
    assert found.photo.shape == (150, 45, 3)
    assert found.name == "a"


def test_a_visitors_tree_takes_some_10_mb():
    rng = np.random.default_rng(2)
    small = rng.integers(0, 255, (12, 16, 3), np.uint8)
    photo = np.asarray(Image.fromarray(small).resize((1280, 960)))
    tree = RegionParser(preset="fast", size=112).parse(photo)
    arrays = [getattr(tree, name) for name in ("labels", "embedding", "descriptor", "parents")]
    held = photo.nbytes + sum(array.nbytes for array in arrays if array is not None)
    assert 7e6 < held < 13e6


def test_what_is_no_photograph_is_told(tmp_path):
    parser = RegionParser(preset="fast", size=112, max_pixels=10_000)
    (tmp_path / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ImageError, match=r"a\.jpg"):
        parsed(parser, tmp_path / "a.jpg")
    Image.new("RGB", (200, 200)).save(tmp_path / "b.png")
    with pytest.raises(ImageError, match="pixels"):
        parsed(parser, tmp_path / "b.png")
    Image.new("RGBA", (20, 20)).save(tmp_path / "c.png")
    with pytest.raises(ImageError, match="transparent"):
        parsed(parser, tmp_path / "c.png")


@pytest.fixture
def no_gradio(monkeypatch):
    monkeypatch.setitem(sys.modules, "gradio", None)


def test_without_gradio_the_extra_is_named(no_gradio):
    with pytest.raises(MissingExtraError, match=r"regiontree\[app\]"):
        make_app()
    result = CliRunner().invoke(app, ["app"])
    assert result.exit_code == 2
    assert "regiontree[app]" in result.stderr
