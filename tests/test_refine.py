"""Refinement in its place: between the tree and the photograph, chosen by a setting."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate, normalize
from trees import children_of, pixels_of

from regiontree import RegionParser
from regiontree.errors import SettingsError
from regiontree.images import nearest
from regiontree.refine import REFINEMENTS, Guided, LeafCrf, PatchLeaves
from regiontree.refine.crf import CrfSettings, memory_needed
from regiontree.refine.leafcrf import leaf_energies
from regiontree.settings import Settings

GRID = (10, 12)


def patches(seed: int = 0) -> np.ndarray:
    """Features of a left and a right half, alike but for one number, with a little variety."""
    rng = np.random.default_rng(seed)
    features = 0.2 * rng.standard_normal((*GRID, 8))
    features[:, :, 2] += 2
    features[:, :6, 0] += 1
    features[:, 6:, 1] += 1
    return features.astype(np.float32)


def photo(height: int = 70, width: int = 84, edge: int = 45) -> np.ndarray:
    """Dark up to a column, then bright: the halves' border is not where patches meet (42)."""
    rgb = np.full((height, width, 3), 30, np.uint8)
    rgb[:, edge:] = 220
    return rgb


def leaves() -> PatchLeaves:
    """Two leaves, the halves."""
    features = normalize(torch.from_numpy(patches()), dim=2)
    leaf = np.repeat([[0] * 6 + [1] * 6], GRID[0], axis=0).astype(np.int32)
    means = [features[torch.from_numpy(leaf) == i].mean(0) for i in (0, 1)]
    parents = np.array([2, 2, 2], np.int32)
    height = np.array([0, 0, 1], np.float32)
    return PatchLeaves(leaf, parents, height, features, normalize(torch.stack(means), dim=1))


# -- every refinement -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", REFINEMENTS)
def test_the_border_moves_to_the_edge_of_the_photograph(name):
    labels = REFINEMENTS.get(name)().refine(leaves(), photo(), (70, 84))
    expected = np.repeat([[0] * 45 + [1] * 39], 70, axis=0)
    assert (labels != expected).mean() < 0.02
    assert (nearest(leaves().leaf, (70, 84)) != expected).mean() > 0.03


@pytest.mark.parametrize("name", REFINEMENTS)
def test_every_leaf_keeps_a_pixel_whatever_the_photograph_shows(name):
    rng = np.random.default_rng(1)
    leaf = np.arange(GRID[0] * GRID[1], dtype=np.int32).reshape(GRID)
    n = leaf.size
    features = normalize(torch.from_numpy(rng.standard_normal((*GRID, 8)).astype("f4")), dim=2)
    parents = np.append(np.full(n, n), n).astype(np.int32)
    height = np.append(np.zeros(n), 1).astype(np.float32)
    each = PatchLeaves(leaf, parents, height, features, features.reshape(n, 8))
    rgb = rng.integers(0, 256, (30, 36, 3), dtype=np.uint8)
    for size in ((30, 36), GRID, (100, 57)):
        labels = REFINEMENTS.get(name)().refine(each, rgb, size)
        assert labels.shape == size
        assert labels.dtype == np.int32
        assert set(np.unique(labels)) == set(range(n))


# -- the energies of leaves -----------------------------------------------------------------------


def test_energies_are_those_of_features_resized_as_a_whole():
    given = leaves()
    found = leaf_energies(given, (37, 41), 0.1)
    resized = interpolate(
        given.features.permute(2, 0, 1)[None], size=(37, 41), mode="bicubic", align_corners=False
    )[0]
    cosine = torch.einsum("dyx,ld->lyx", normalize(resized, dim=0), given.embedding)
    expected = -torch.log_softmax(cosine / 0.1, dim=0)
    assert found.shape == (2, 37, 41)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_a_photograph_too_large_for_the_field_is_reduced(monkeypatch):
    shapes = []
    real = leaf_energies

    def seen(given, shape, temperature):
        shapes.append(shape)
        return real(given, shape, temperature)

    monkeypatch.setattr("regiontree.refine.leafcrf.leaf_energies", seen)
    full = memory_needed((280, 336), 2, CrfSettings())
    half = LeafCrf(settings=CrfSettings(memory_limit=0.6 * full))
    labels = half.refine(leaves(), photo(280, 336, 180), (280, 336))
    ((height, width),) = shapes
    assert 0.3 < height * width / (280 * 336) < 0.6
    assert memory_needed((height, width), 2, CrfSettings()) <= 0.6 * full
    assert labels.shape == (280, 336)
    assert (labels != (np.arange(336) >= 180)).mean() < 0.02


def test_a_crf_too_large_is_refused_before_anything_is_computed(monkeypatch):
    monkeypatch.setattr("regiontree.refine.leafcrf.leaf_energies", None)
    small = LeafCrf(settings=CrfSettings(memory_limit=1e5))
    with pytest.raises(SettingsError, match=r"2 labels on 10 x 12 pixels may need 0\.0 GB, above"):
        small.refine(leaves(), photo(), (70, 84))


# -- in the parser --------------------------------------------------------------------------------


def parser(**changes) -> RegionParser:
    return RegionParser(backbone="precomputed:.", size=84, parts=20, device="cpu", **changes)


@pytest.mark.parametrize("contrast", [None, 20.0])
def test_only_the_leaf_of_pixels_depends_on_the_refinement(contrast):
    trees = {
        refine: parser(refine=refine, contrast=contrast).build(
            patches(), rgb=photo(), image_size=(70, 84)
        )
        for refine in ("none", *REFINEMENTS)
    }
    for refine, tree in trees.items():
        assert np.array_equal(tree.parents, trees["none"].parents)
        assert np.array_equal(tree.height, trees["none"].height)
        assert tree.meta["refined"] == refine
        pixels = pixels_of(tree)
        for node in range(tree.n_leaves, tree.n_nodes):
            assert pixels[node] == frozenset().union(*(pixels[c] for c in children_of(tree, node)))
    assert trees["guided"] != trees["none"]


def test_borders_move_to_the_edge_of_the_photograph():
    tree = parser(contrast=None).build(patches(), rgb=photo(), image_size=(70, 84))
    halves = tree.cut(n_regions=2)
    assert (halves[:, :43] == halves[0, 0]).all()
    assert (halves[:, 46:] != halves[0, 0]).all()
    assert (halves[:, :45] == halves[0, 0]).mean() > 0.99


def test_without_refinement_a_pixel_takes_the_leaf_of_its_patch():
    tree = parser(refine="none").build(patches(), image_size=(70, 84))
    grid = parser(refine="none").build(patches())
    assert np.array_equal(tree.labels, nearest(grid.labels, (70, 84)))


def test_without_the_photograph_leaves_stay_on_the_grid():
    tree = parser().build(patches(), image_size=(70, 84))
    assert tree.meta["refined"] == "none"
    plain = parser(refine="none", contrast=None).build(patches(), rgb=photo(), image_size=(70, 84))
    assert np.array_equal(tree.labels, plain.labels)


def test_on_the_patch_grid_itself_there_is_nothing_to_refine_to():
    tree = parser().build(patches(), rgb=photo())
    assert tree.meta["refined"] == "none"
    plain = parser(refine="none").build(patches(), rgb=photo())
    assert np.array_equal(tree.labels, plain.labels)


def test_pixels_are_those_that_the_refinement_wants():
    large = np.zeros((600, 3000, 3), np.uint8)
    assert parser(refine="none", contrast=None).pixels(large) is None
    assert parser(refine="none", smoothing=0).pixels(large) is None
    coloured, guided = parser(refine="none").pixels(large), parser().pixels(large)
    assert np.array_equal(coloured, guided)  # so that the tree is the same
    assert parser().pixels(large).shape == (170, 840, 3)
    seen = RegionParser(size=1000, device="cpu").pixels(large)
    assert seen.shape == (200, 1000, 3)  # as the network sees it
    assert RegionParser(size=(700, 350), device="cpu").pixels(large).shape == (840, 420, 3)
    assert parser(refine="crf").pixels(large).shape == (410, 2048, 3)
    assert parser(refine="crf").pixels(large[:, :500]).shape == (600, 500, 3)  # its own size
    assert RegionParser(backbone="precomputed").pixels("features.npy") is None


def test_presets():
    assert Settings().refine == Settings.make("fast").refine == Guided()
    assert Settings.make("published").refine is None


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"refine": "magic"}, "unknown refine 'magic'\\. Known: none, guided, crf"),
        (
            {"crf_steps": 3},
            "crf_steps is a setting of refine.method 'crf', and 'guided' does",
        ),
        ({"refine": "crf", "crf_edge_rgb": 0}, "crf_edge_rgb must be a number"),
        ({"refine": "crf", "crf_temperature": -1}, "crf_temperature must be a number"),
        ({"refine": "crf", "backbone": "precomputed"}, "refine 'crf' needs the photograph"),
        (
            {"refine": "none", "crf_smooth_xy": -1},
            "crf_smooth_xy is a setting of refine.meth",
        ),
    ],
)
def test_wrong_settings_are_named(changes, said):
    with pytest.raises(SettingsError, match=said):
        Settings.make(**changes)


def test_settings_of_the_field_reach_it():
    made = Settings.make(
        refine="crf", crf_temperature=0.2, crf_smooth_xy=2, crf_smooth_weight=5, crf_edge_xy=30,
        crf_edge_rgb=9, crf_edge_weight=6, crf_steps=4,
    ).refine  # fmt: skip
    field = CrfSettings(
        smooth_xy=2, smooth_weight=5, edge_xy=30, edge_rgb=9, edge_weight=6, steps=4
    )
    assert made == LeafCrf(0.2, field)


def test_four_views_make_the_grid_twice_as_fine_as_the_networks_patches():
    assert Settings.make("accurate").overlap == 2
    assert Settings().overlap == Settings.make(tiles="own").overlap == 1
    assert Settings.make(backbone="precomputed").overlap == 1


def test_the_networks_patches_set_the_wide_blur(blurs):
    given = leaves()
    for overlap in (1, 2):
        Guided(regions=1).refine(replace(given, overlap=overlap), photo(), (70, 84))
    assert blurs[2] == 2 * blurs[0]
    assert blurs[3] == blurs[1]
