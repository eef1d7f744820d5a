"""Patches exchanged among the largest regions before borders are drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import on_one_and_two_threads, patchwork, without_numba
from torch.nn.functional import interpolate, normalize

from regiontree import RegionTree
from regiontree.errors import SettingsError
from regiontree.refine import Guided, PatchLeaves, coarse
from regiontree.refine.coarse import halved, moved_patches

GREY = np.full((80, 120, 3), 90, np.uint8)


def parted(leaf: np.ndarray, features: torch.Tensor, overlap: float = 2) -> PatchLeaves:
    """Leaves below a root, or in two halves of equal numbers if there are four."""
    n = int(leaf.max()) + 1
    if n == 4:
        parents, height = [4, 4, 5, 5, 6, 6, 6], [0, 0, 0, 0, 0.3, 0.4, 1]
    else:
        parents, height = [n] * (n + 1), [0] * n + [1]
    unit = normalize(features, dim=2)
    means = torch.stack([unit[torch.from_numpy(leaf) == i].mean(0) for i in range(n)])
    return PatchLeaves(
        leaf.astype(np.int32),
        np.array(parents, np.int32),
        np.array(height, np.float32),
        unit,
        normalize(means, dim=1),
        overlap,
    )


def scene(edge: int, seen: int) -> tuple[PatchLeaves, np.ndarray]:
    """8 x 12 patches whose features and photograph part at column `edge`, their leaves at `seen`.

    Between the two, features tell nothing.
    """
    features = torch.zeros(8, 12, 2)
    low, high = sorted((edge, seen))
    features[:, :high, 0] = 1
    features[:, low:, 1] = 1
    leaf = np.repeat([[0] * seen + [1] * (12 - seen)], 8, axis=0)
    rgb = GREY.copy()
    rgb[:, 10 * edge :] = 160
    return parted(leaf, features), rgb


def columns(leaf: np.ndarray) -> list[int]:
    assert (leaf == leaf[0]).all()
    return leaf[0].tolist()


@pytest.mark.parametrize(("edge", "seen"), [(5, 7), (7, 5)])
def test_colours_decide_where_features_cannot(edge, seen):
    leaves, rgb = scene(edge, seen)
    assert columns(moved_patches(leaves, rgb, trust=0.5)) == [0] * edge + [1] * (12 - edge)
    assert columns(moved_patches(leaves, GREY, trust=0.5)) == [0] * seen + [1] * (12 - seen)


def test_features_decide_where_colours_cannot():
    features = torch.zeros(8, 12, 2)
    features[:, :5, 0] = 1
    features[:, 5:, 1] = 1
    leaf = np.repeat([[0] * 7 + [1] * 5], 8, axis=0)
    assert columns(moved_patches(parted(leaf, features), GREY)) == [0] * 5 + [1] * 7


def test_trust_keeps_a_patch_where_it_is():
    leaves, rgb = scene(5, 7)
    assert np.array_equal(moved_patches(leaves, rgb, trust=50), leaves.leaf)


def test_one_region_exchanges_nothing(monkeypatch):
    leaves, rgb = scene(5, 7)
    monkeypatch.setattr(coarse, "mean_field", None)
    assert moved_patches(leaves, rgb, regions=1) is leaves.leaf


def test_only_borders_of_the_cut_are_looked_at():
    """Leaves 0 and 1 are one of two regions; their own border is wrong, and stays so."""
    features = torch.zeros(8, 12, 4)
    for column, (one, _) in enumerate([(0, 0), (0, 0), (1, 0)] + [(1, 0)] * 3 + [(2, 0)] * 6):
        features[:, column, one] = 1
    leaf = np.repeat([[0] * 4 + [1] * 2 + [2] * 3 + [3] * 3], 8, axis=0)
    leaves = parted(leaf, features)
    assert np.array_equal(moved_patches(leaves, GREY, regions=2), leaves.leaf)
    assert columns(moved_patches(leaves, GREY, regions=4))[:6] == [0, 0, 1, 1, 1, 1]


def test_a_patch_takes_the_leaf_of_the_nearest_that_stays():
    """Leaves 0 (above) and 1 (below) are the left region, and gain a column of the right one."""
    leaves, rgb = scene(7, 5)
    leaf = leaves.leaf.copy()
    leaf[:] = np.where(np.arange(12) < 5, 0, 2)
    leaf[4:, :5] = 1
    leaf[4:, 5:] = 3
    four = parted(leaf, leaves.features)
    found = moved_patches(four, rgb, regions=2, trust=0.5)
    assert (found[:4, :7] == 0).all()
    assert (found[4:, :7] == 1).all()
    assert np.array_equal(found[:, 7:], leaf[:, 7:])


@given(st.integers(0, 2**32 - 1), st.integers(2, 9), st.integers(1, 6), st.booleans())
@settings(max_examples=40, deadline=None)
def test_whoever_moves_goes_to_a_leaf_of_its_new_region(seed, n, regions, fine):
    rng = np.random.default_rng(seed)
    leaf = rng.permutation(np.arange(30) % n).reshape(5, 6)
    features = torch.from_numpy(rng.standard_normal((5, 6, 3)).astype("f4"))
    rgb = rng.integers(0, 256, (31, 40, 3), dtype=np.uint8)
    leaves = parted(leaf, features)
    if fine:
        leaves = halved(replace(leaves, overlap=1), (310, 400))
        assert leaves.leaf.shape == (10, 12)
    found = moved_patches(leaves, rgb, regions=regions, trust=0)
    assert found.shape == leaves.leaf.shape
    assert found.dtype == np.int32
    tree = RegionTree(labels=leaves.leaf, parents=leaves.parents, height=leaves.height)
    before = tree.cut(n_regions=regions)
    region = np.zeros(n, int)
    region[leaves.leaf] = before
    same = region[found] == before
    assert np.array_equal(found[same], leaves.leaf[same])
    assert np.isin(found, leaves.leaf).all()


def test_one_thread_does_it(monkeypatch):
    """Two were seen to take 8.6 s beside two other processes, where one took 0.23."""
    seen = []
    real = coarse._agreed
    monkeypatch.setattr(
        coarse, "_agreed", lambda *given: seen.append(torch.get_num_threads()) or real(*given)
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        moved_patches(*scene(5, 7))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_the_same_whatever_the_number_of_threads():
    leaves, rgb = scene(5, 7)
    noisy = replace(
        leaves, features=normalize(leaves.features + 0.3 * torch.randn(8, 12, 2), dim=2)
    )
    assert np.array_equal(*on_one_and_two_threads(lambda: moved_patches(noisy, rgb)))


@pytest.fixture(scope="module")
def large() -> tuple[PatchLeaves, np.ndarray]:
    """40 x 56 patches of noisy colours, the tree's borders up to two patches off."""
    rng = np.random.default_rng(0)
    area, rgb = patchwork(rng, 320, 448, 8, 3)
    y, x = np.mgrid[0:320, 0:448]
    wave = 14 * np.sin(np.arange(320) / 17)[:, None]
    bent = area[y, np.clip(x + wave, 0, 447).astype(int)]
    features = torch.eye(8)[area[4::8, 4::8]] + torch.from_numpy(rng.normal(1, 0.7, (40, 56, 8)))
    leaf = np.unique(bent[4::8, 4::8], return_inverse=True)[1].reshape(40, 56)
    return parted(leaf, features.float()), rgb


def test_windows_change_few_patches(large, monkeypatch):
    leaves, rgb = large
    at_once = moved_patches(leaves, rgb)
    assert (at_once != leaves.leaf).mean() > 0.03
    calls = []
    real = coarse.cells_of
    monkeypatch.setattr(
        coarse, "cells_of", lambda *given: calls.append(given[0].shape[:2]) or real(*given)
    )
    monkeypatch.setattr(coarse, "_WHOLE", 1)
    monkeypatch.setattr(coarse, "_WINDOW", 20)
    monkeypatch.setattr(coarse, "_MARGIN", 8)
    found = moved_patches(leaves, rgb)
    assert len(calls) == 6
    assert max(max(shape) for shape in calls) <= 3 * (20 + 2 * 8)
    assert (found != at_once).mean() < 0.003


def test_wide_patches_are_halved_unless_they_are_half_the_networks(monkeypatch):
    leaves, _ = scene(5, 7)
    shape = 160, 240  # 20 pixels a patch
    assert halved(leaves, shape) is leaves
    whole = replace(leaves, overlap=1)
    half = halved(whole, shape)
    assert half.overlap == 2
    assert np.array_equal(half.leaf, leaves.leaf.repeat(2, 0).repeat(2, 1))
    assert halved(whole, (120, 180)) is whole  # 15 pixels a patch
    assert halved(whole, (15, 5000)) is whole  # fewer pixels than half patches
    monkeypatch.setattr(coarse, "_WHOLE", 383)
    assert halved(whole, shape) is whole  # too many for one window


def test_a_patch_that_half_its_pixels_leave_stays():
    before = np.array([[0, 1]], np.int32)
    label = np.array([[1, 1, 0, 0, 0, 1], [1, 0, 0, 0, 0, 1], [1, 0, 0, 1, 1, 1]], np.int32)
    assert coarse.most_in_patches(label, before).tolist() == [[0, 1]]
    label[:, :3] = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0]])
    assert coarse.most_in_patches(label, before).tolist() == [[1, 1]]
    even = np.array([[2, 1, 0, 0, 2, 1]] * 3, np.int32)  # a third each
    assert coarse.most_in_patches(even, np.array([[1, 2]], np.int32)).tolist() == [[1, 2]]


# -- compiled, and what runs without numba ---------------------------------------------------------


def test_the_same_patches_move_without_numba(large):
    leaves, rgb = large
    found = moved_patches(leaves, rgb)
    assert (found != leaves.leaf).mean() > 0.03
    assert np.array_equal(found, without_numba(lambda: moved_patches(leaves, rgb)))
    there = np.arange(56) < np.arange(40)[:, None] + 8
    gap = replace(leaves, there=there)
    found = moved_patches(gap, rgb)
    assert np.array_equal(found, without_numba(lambda: moved_patches(gap, rgb)))


@pytest.mark.parametrize(("old", "new"), [(1, 3), (2, 12), (5, 15), (9, 31)])
def test_taps_are_those_of_bicubic_interpolation(old, new):
    places, weights = coarse.bicubic_taps(new, old)
    matrix = np.zeros((new, old), np.float32)
    np.add.at(matrix, (np.arange(new)[:, None], places), weights)
    one = torch.eye(old)[None, None]
    expected = interpolate(one, size=(new, old), mode="bicubic", align_corners=False)[0, 0]
    assert np.allclose(matrix, expected, atol=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7), st.integers(1, 13))
@settings(max_examples=40, deadline=None)
def test_resizing_gives_the_bits_of_arrays(seed, height, width, n):
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 10, (height, width, n)).astype(np.float32)
    taps = *coarse.bicubic_taps(3 * height, height), *coarse.bicubic_taps(6 * width, width)
    own = rng.integers(0, n, 18 * height * width, dtype=np.int32)
    found, arrays = np.empty((2, len(own), n), np.float32)
    coarse._resize(values, *taps, own, np.float32(1.3), found)
    coarse._resize.instead(values, *taps, own, np.float32(1.3), arrays)
    assert found.tobytes() == arrays.tobytes()
    size = 3 * height, 6 * width
    planes = torch.from_numpy(values).permute(2, 0, 1)[None]
    expected = interpolate(planes, size=size, mode="bicubic")[0].permute(1, 2, 0).reshape(-1, n)
    expected[torch.arange(len(own)), torch.from_numpy(own).long()] += 1.3
    assert np.allclose(found, expected, atol=1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9), st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_the_nearest_leaf_is_the_leftmost_and_uppermost_of_the_nearest(seed, height, width, n):
    rng = np.random.default_rng(seed)
    before = rng.integers(0, n, (height, width), dtype=np.int32)
    before = np.unique(before, return_inverse=True)[1].reshape(height, width).astype(np.int32)
    moves = rng.random((height, width)) < 0.4
    after = np.where(moves, rng.permutation(before.reshape(-1)).reshape(before.shape), before)
    after = after.astype(np.int32)
    leaf = rng.permutation(height * width).reshape(height, width).astype(np.int32)
    expected = leaf.copy()
    stays = after == before
    for y, x in np.argwhere(~stays):
        source = before == after[y, x]
        source = source & stays if (source & stays).any() else source
        _, column, row = min(
            ((row - y) ** 2 + (column - x) ** 2, column, row) for row, column in np.argwhere(source)
        )
        expected[y, x] = leaf[row, column]
    assert np.array_equal(coarse._with_leaves(leaf, before, after), expected)
    assert np.array_equal(coarse._with_leaves.instead(leaf, before, after), expected)


# -- in the refinement ----------------------------------------------------------------------------


def test_a_border_too_far_away_for_the_watershed_is_found():
    leaves, rgb = scene(5, 7)
    expected = np.arange(120) >= 50
    watershed_only = Guided(regions=1).refine(leaves, rgb, (80, 120))
    both = Guided().refine(leaves, rgb, (80, 120))
    assert (watershed_only != expected).mean() > 0.1
    assert (both != expected).mean() < 0.01


def test_a_leaf_that_lost_all_its_patches_has_a_pixel():
    features = torch.zeros(8, 12, 2)
    features[:, :5, 0] = 1
    features[:, 5:, 1] = 1
    leaf = np.repeat([[0] * 5 + [1] * 7], 8, axis=0)
    leaf[3, 8] = 2  # alike to leaf 1, and alone
    leaves = parted(leaf, features)
    assert 2 not in moved_patches(replace(leaves, embedding=torch.eye(3, 2)), GREY, trust=0)
    assert set(np.unique(Guided(trust=0).refine(leaves, GREY, (80, 120)))) == {0, 1, 2}


def test_half_patches_leave_the_wide_blur_as_it_was(blurs):
    leaves, rgb = scene(5, 7)
    fine = rgb.repeat(2, 0).repeat(2, 1)
    for regions in (1, 12):
        Guided(regions=regions).refine(replace(leaves, overlap=1), fine, (160, 240))
    assert blurs[2] == pytest.approx(blurs[0])
    assert blurs[3] == pytest.approx(blurs[1] / 2)


@pytest.mark.parametrize("change", [{"regions": 0}, {"regions": 1.5}, {"trust": -1}])
def test_wrong_settings_are_named(change):
    with pytest.raises(SettingsError, match=next(iter(change))):
        Guided(**change)
