"""Both affinities against the formula written out over all pairs in float64."""

import numpy as np
import pytest
import torch
from conftest import blocks

from regiontree.errors import SettingsError
from regiontree.spectral.affinity import (
    AffinitySettings,
    BlockedAffinity,
    LowRankAffinity,
    dense_affinity,
    make_affinity,
    max_cosine_distance,
    part_sums,
    unit_rows,
)

ALL_KINDS = [
    AffinitySettings(),
    AffinitySettings(threshold=0.4),
    AffinitySettings(distance="euclidean"),
    AffinitySettings("exp"),
    AffinitySettings("exp", sigma=0.3, threshold=0.1),
    AffinitySettings("exp", distance="euclidean", sigma=0.7),
]


def brute_force(features: np.ndarray, s: AffinitySettings) -> np.ndarray:
    """The definition, pair by pair; unit diagonal."""
    f = features.astype(np.float64)
    f /= np.linalg.norm(f, axis=1, keepdims=True)
    n = len(f)
    d = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                cosine = max(0.0, 1.0 - f[i] @ f[j])
                d[i, j] = cosine if s.distance == "cosine" else np.linalg.norm(f[i] - f[j])
    w = 1 - d / d.max() if s.kind == "minmax" else np.exp(-d / (2 * s.sigma**2))
    w[w < s.threshold] = 0
    np.fill_diagonal(w, 1)
    return w


def wide(n: int = 40, d: int = 6, seed: int = 1) -> np.ndarray:
    """Directions all over the sphere: max d is above 1, so `a` is positive."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def narrow(n: int = 40, d: int = 6, seed: int = 2) -> np.ndarray:
    """Directions within a cone: max d is below 1, so `a` is negative."""
    return (wide(n, d, seed) * 0.2 + np.eye(d)[0] * 2).astype(np.float32)


@pytest.mark.parametrize("settings", ALL_KINDS, ids=str)
@pytest.mark.parametrize("features", [wide(), narrow(), wide(5, 12), wide(40, 1)], ids=len)
def test_every_operation_equals_the_formula(features, settings):
    w = brute_force(features, settings)
    affinity = make_affinity(unit_rows(torch.from_numpy(features)), settings)
    x = torch.randn(len(w), 3, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(w)) % 4
    member = np.eye(4)[labels.numpy()]
    sums = member.T @ w @ member
    np.fill_diagonal(sums, 0)

    np.testing.assert_allclose(affinity.degrees().numpy(), w.sum(axis=1), rtol=2e-5)
    np.testing.assert_allclose(affinity.matmul(x).numpy(), w @ x.numpy(), atol=5e-4)
    np.testing.assert_allclose(affinity.group_sums(labels, 4).numpy(), sums, rtol=1e-4, atol=1e-3)


def test_only_cosine_minmax_without_threshold_is_low_rank():
    unit = unit_rows(torch.from_numpy(wide()))
    kinds = [type(make_affinity(unit, settings)) for settings in ALL_KINDS]
    assert kinds == [LowRankAffinity] + 5 * [BlockedAffinity]


@pytest.mark.parametrize("settings", ALL_KINDS, ids=str)
def test_dense_form_is_the_formula_with_an_empty_diagonal(settings):
    w = brute_force(wide(), settings)
    np.fill_diagonal(w, 0)
    dense = dense_affinity(unit_rows(torch.from_numpy(wide())), settings)
    np.testing.assert_allclose(dense.numpy(), w, atol=2e-6)


def test_coefficients_say_how_wide_the_features_spread():
    wide_one, narrow_one = (
        LowRankAffinity(unit_rows(torch.from_numpy(f))) for f in (wide(), narrow())
    )
    assert wide_one.max_distance > 1
    assert wide_one.a > 0
    assert narrow_one.max_distance < 1
    assert narrow_one.a < 0
    assert wide_one.a + wide_one.b == pytest.approx(1)


def test_equal_features_are_all_alike_rather_than_stretched_rounding():
    unit = unit_rows(torch.full((30, 8), 0.3))
    affinity = LowRankAffinity(unit)
    assert (affinity.a, affinity.b) == (1.0, 0.0)
    assert affinity.degrees().tolist() == [30.0] * 30
    assert BlockedAffinity(unit, AffinitySettings(threshold=0.5)).degrees().tolist() == [30.0] * 30


@pytest.mark.parametrize("n", [1, 2, 65, 700])
def test_all_pairs_give_the_largest_distance(n):
    unit = unit_rows(torch.from_numpy(wide(n, 8)))
    double = unit.double()
    expected = float((1 - double @ double.T).clamp_min(0).max())
    assert max_cosine_distance(unit, exact=True) == pytest.approx(expected, abs=1e-6)


def test_the_search_finds_the_largest_distance_of_structured_features():
    for seed in range(8):
        unit = unit_rows(torch.from_numpy(blocks(30, 30, seed=seed).reshape(-1, 24)))
        exact = max_cosine_distance(unit, exact=True)
        assert max_cosine_distance(unit, exact=False) == pytest.approx(exact, abs=1e-6)


def test_on_features_without_structure_the_search_is_a_close_lower_bound():
    for seed in range(8):
        unit = unit_rows(torch.from_numpy(wide(900, 8, seed)))
        exact = max_cosine_distance(unit, exact=True)
        found = max_cosine_distance(unit, exact=False)
        assert 0.97 * exact <= found <= exact + 1e-6


def test_many_patches_are_searched_and_few_compared(monkeypatch):
    import regiontree.spectral.affinity as module

    asked = []
    real = module.max_cosine_distance
    monkeypatch.setattr(
        module.torch, "linspace", lambda *a, **k: asked.append(a) or _linspace(*a, **k)
    )
    real(unit_rows(torch.randn(2048, 3)))
    assert asked == []
    real(unit_rows(torch.randn(2049, 3)))
    assert len(asked) == 1


_linspace = torch.linspace


def test_sums_by_group_are_the_same_either_way():
    """By index (CPU) and by product (GPU), an empty group among them."""
    from regiontree.spectral.groups import sum_by_index, sum_by_product

    values = torch.randn(50, 4, dtype=torch.float64)
    labels = torch.arange(50) % 6
    expected = np.stack([values[labels == g].sum(dim=0).numpy() for g in range(6)] + [np.zeros(4)])
    for way in (sum_by_index, sum_by_product):
        np.testing.assert_allclose(way(values, labels, 7).numpy(), expected, atol=1e-12)


def test_every_step_stays_on_the_device_of_its_input():
    """On the meta device, where combining entry by entry with a CPU tensor is an error.

    Not a run on a GPU, but it finds what would fail there first: a tensor made on the CPU.
    """
    from regiontree.spectral.eigen import fix_signs
    from regiontree.spectral.groups import sum_by_group
    from regiontree.spectral.kmeans import nearest_centres, plus_plus_seeds

    points = torch.empty(300, 8, device="meta")
    draws = torch.empty(3, 9, 16, dtype=torch.float64, device="meta")
    seeds = plus_plus_seeds(points, (points * points).sum(dim=1), draws)
    least, labels = nearest_centres(points, points[seeds[:, :50]])
    low_rank = LowRankAffinity(points, 0.9)
    blocked = BlockedAffinity(points, AffinitySettings("exp", threshold=0.1), 0.9)
    results = [
        seeds,
        least,
        labels,
        sum_by_group(points, labels[0], 50),
        low_rank.degrees(),
        low_rank.matmul(points),
        blocked.degrees(),
        blocked.matmul(points),
        blocked.group_sums(labels[0], 50),
        fix_signs(points),
    ]
    assert {result.device.type for result in results} == {"meta"}
    with pytest.raises(RuntimeError, match="device"):  # the check can fail
        points + torch.empty(300, 8)


def test_part_sums_add_up_whatever_the_block():
    unit = unit_rows(torch.from_numpy(blocks().reshape(-1, 24)))
    labels = torch.arange(len(unit)) % 7
    expected = np.stack([unit[labels == g].double().sum(dim=0).numpy() for g in range(7)])
    np.testing.assert_allclose(part_sums(unit, labels, 7).numpy(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"kind": "linear"}, "'linear'"),
        ({"distance": "manhattan"}, "'manhattan'"),
        ({"sigma": 0.0}, r"sigma must be a number in \[0.001, 1000\], got 0.0"),
        ({"threshold": 1.0}, r"threshold must be a number in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings_are_named(bad, named):
    with pytest.raises(SettingsError, match=named):
        AffinitySettings(**bad)
