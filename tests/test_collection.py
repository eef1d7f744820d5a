"""Collections: batches of references become rows, whoever does the work."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused
from crowd import add_network, add_photos, references, row_facts, tree_facts
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.engines.batch import plan, segment
from regiontree.engines.process import decoded, features, process, trees
from regiontree.errors import RegionTreeError
from regiontree.images import IMAGE_SUFFIXES
from regiontree.references.reference import Reference


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the package that brings the network ``tiny``, which is on the path."""
    folder = add_network(tmp_path_factory.mktemp("site"))
    sys.path.insert(0, str(folder))
    from regiontree.backbones.registry import FAMILIES

    FAMILIES._looked = False  # other tests have looked for packages before
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture
def parser(site: Path) -> RegionParser:
    return make_parser()


def make_parser(accident: str = "none", **more: object) -> RegionParser:
    given = {"parts": 6, "size": 64, "smooth": {"steps": 0}, **more}
    return RegionParser(backbone=f"tiny:{accident}", device="cpu", **given)


# -- a batch --------------------------------------------------------------------------------------


def test_a_row_holds_the_tree_that_segment_writes(parser, tmp_path):
    photos = add_photos(tmp_path / "in", 5, broken=(3,))
    summary = segment(parser, plan(photos, tmp_path / "out", IMAGE_SUFFIXES), tmp_path / "out")
    rows = process(references(photos), parser)
    assert [row.id for row in rows] == [f"{i:03}.png" for i in range(5)]
    for row, outcome in zip(rows, summary.outcomes, strict=True):
        assert row.reference == outcome.source
        assert row.error == outcome.error
        assert row.sha256 == sha256(Path(row.reference).read_bytes()).hexdigest()
        if row.tree is None:
            assert row.id == "003.png"
        else:
            assert tree_facts(row.tree) == tree_facts(RegionTree.load(outcome.output))


@pytest.mark.parametrize("refine", ["none", "guided", {"long_side": 1200}])
def test_borders_need_no_second_look_at_the_file(site, tmp_path, refine):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (7, 10, 3), np.uint8))
    photo = tmp_path / "a.jpg"  # large enough to be decoded at a reduced scale for the network
    small.resize((2000, 1400), Image.Resampling.NEAREST).save(photo)
    parser = make_parser(refine=refine)
    staged = decoded(Reference("a", str(photo), "a.jpg"), parser)
    assert (refine in ("none", "guided")) == parser.sight.is_one_decoding
    expected = parser.parse(photo)
    photo.unlink()
    (row,) = trees(features([staged], parser), parser)
    assert tree_facts(row.tree) == tree_facts(expected)


def test_the_network_sees_each_photograph_alone(parser, tmp_path):
    photos = references(add_photos(tmp_path / "in", 3))
    seen = []

    class Counted:
        name, digest, patch, dim = "counted", "1", 8, 3
        dtype, device = torch.float32, torch.device("cpu")

        def features(self, pixels):
            seen.append(len(pixels))
            return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1

    own = RegionParser(backbone=Counted(), parts=6, size=64)
    together = trees(features([decoded(one, own) for one in photos], own), own)
    assert seen == [1, 1, 1]
    assert list(map(row_facts, together)) == list(map(row_facts, process(photos, own)))


def test_what_waits_for_the_network_holds_no_second_copy_of_the_photograph(parser, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    staged = decoded(photo, parser)
    assert staged.image.rgb.shape == (1, 1, 3)
    (after,) = features([staged], parser)
    assert (after.pixels, after.image) == (None, None)


def test_errors_go_through_all_stages(parser, tmp_path):
    photos = references(add_photos(tmp_path / "in", 2, broken=(0,)))
    missing = Reference("gone", str(tmp_path / "gone.png"), "gone.png")
    rows = process([*photos, missing], parser)
    assert [row.error is None for row in rows] == [False, True, False]
    assert "000.png" in rows[0].error
    assert rows[0].sha256 is not None
    assert str(tmp_path / "gone.png") in rows[2].error
    assert rows[2].sha256 is None


def test_a_network_that_fails_on_one_photograph_fails_it_alone(tmp_path):
    class Picky:
        name, digest, patch, dim = "picky", "1", 8, 3
        dtype, device = torch.float32, torch.device("cpu")

        def features(self, pixels):
            if (pixels[:, 0] == 1).all():
                raise ValueError("too red")
            return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1

    photos = references(add_photos(tmp_path / "in", 3, red=(1,)))
    rows = process(photos, RegionParser(backbone=Picky(), parts=6, size=64))
    assert [row.error is None for row in rows] == [True, False, True]
    assert "too red" in rows[1].error


def test_a_network_that_cannot_be_loaded_ends_the_work(site, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    with refused(RegionTreeError, "weights"):
        process([photo], make_parser("missing"))


def test_one_colour_needs_no_network(parser, tmp_path):
    Image.new("RGB", (64, 40), (9, 9, 9)).save(tmp_path / "a.png")
    staged = decoded(Reference("a", str(tmp_path / "a.png"), "a.png"), parser)
    assert staged.pixels is None
    assert staged.features is not None
    (row,) = process([staged.reference], parser)
    assert row.tree.n_nodes == 1


def test_features_are_a_photograph_too(tmp_path):
    from conftest import blocks

    np.save(tmp_path / "a.npy", blocks(12, 12, 8))
    parser = RegionParser(backbone="precomputed", parts=16, device="cpu")
    (row,) = process([Reference("a", str(tmp_path / "a.npy"), "a.npy")], parser)
    assert tree_facts(row.tree) == tree_facts(parser.parse(tmp_path / "a.npy"))
    assert row.sha256 == sha256((tmp_path / "a.npy").read_bytes()).hexdigest()


def test_a_photograph_that_lost_its_features_is_an_error(parser, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    staged = replace(decoded(photo, parser), pixels=None)
    (row,) = trees([staged], parser)
    assert row.tree is None
    assert "features" in row.error
