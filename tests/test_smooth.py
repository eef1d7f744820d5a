"""Edge-aware smoothing: the formula, what it keeps and what it removes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree.spectral import smooth
from regiontree.spectral.lanes import widened
from regiontree.spectral.smooth import smooth_features


def unit(array: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.from_numpy(array).double(), dim=-1)


@pytest.mark.parametrize("coloured", [False, True])
@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (6, 1), (1, 1), (2, 2)])
def test_one_step_is_the_formula(shape: tuple[int, int], coloured: bool) -> None:
    rng = np.random.default_rng(0)
    features = unit(rng.normal(size=(*shape, 4)))
    colours = torch.from_numpy(rng.uniform(0, 100, (*shape, 3)))
    expected = torch.empty_like(features)
    for y in range(shape[0]):
        for x in range(shape[1]):
            total = torch.zeros(4, dtype=torch.float64)
            for b in range(max(0, y - 1), min(shape[0], y + 2)):
                for a in range(max(0, x - 1), min(shape[1], x + 2)):
                    cosine = features[y, x] @ features[b, a]
                    apart = (colours[y, x] - colours[b, a]).norm() / 25
                    like = (cosine - 1) / 0.2 - apart if coloured else (cosine - 1) / 0.1
                    total += torch.exp(like) * features[b, a]
            expected[y, x] = total / total.norm()
    found = smooth_features(features, steps=1, colours=colours if coloured else None, contrast=25.0)
    assert torch.allclose(found, expected, atol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    features = unit(rng.normal(size=(9, 4, 6)))
    colours = torch.from_numpy(rng.uniform(0, 100, (9, 4, 3)))
    whole = smooth_features(features, steps=3, colours=colours)
    for rows in (1, 2, 4):
        monkeypatch.setattr(smooth, "_BLOCK_ENTRIES", rows * 4 * 6)
        assert torch.equal(smooth_features(features, steps=3, colours=colours), whole)


@pytest.mark.parametrize("width", [384, 100])
def test_features_change_only_in_place(width: int) -> None:
    features = unit(np.random.default_rng(0).normal(size=(4, 5, width))).float()
    before = features.clone()
    smoothed = smooth_features(features, steps=2)
    assert torch.equal(features, before)
    assert torch.equal(smooth_features(features, steps=2, in_place=True), smoothed)


def test_colours_stop_what_features_only_approach() -> None:
    """Features that change over four patches where the photograph changes at once."""
    share = torch.tensor([1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0], dtype=torch.float64)[None, :, None]
    one, other = torch.eye(2, dtype=torch.float64)
    features = torch.nn.functional.normalize(share * one + (1 - share) * other, dim=-1)
    features = features.expand(6, 10, 2).contiguous()
    colours = torch.zeros(6, 10, 3, dtype=torch.float64)
    colours[:, 5:, 0] = 80

    def step(found: torch.Tensor) -> float:
        return float(1 - (found[:, 4] * found[:, 5]).sum(-1).mean())

    plain = smooth_features(features, steps=4)
    sharp = smooth_features(features, steps=4, colours=colours)
    assert step(sharp) > 2 * step(plain)


def test_steps_follow_one_another() -> None:
    features = unit(np.random.default_rng(1).normal(size=(6, 5, 8)))
    once = smooth_features(features, steps=1)
    assert torch.equal(smooth_features(once, steps=2), smooth_features(features, steps=3))
    assert torch.equal(smooth_features(features, steps=0), features)


def test_noise_goes_and_borders_stay() -> None:
    clean, noisy = unit(blocks(noise=0.0)), unit(blocks(noise=0.06))
    smoothed = smooth_features(noisy, steps=3)

    def off(features: torch.Tensor) -> float:
        return float(1 - (features * clean).sum(-1).mean())

    assert off(smoothed) < 0.4 * off(noisy)
    # Beside the border between the halves nothing has leaked across.
    column = smoothed.shape[1] // 2
    for x in (column - 1, column):
        assert float((smoothed[:, x] * clean[:, x]).sum(-1).min()) > 0.97
    across = (smoothed[:, column - 1] * smoothed[:, column]).sum(-1)
    assert float(across.max()) < 0.2


def test_what_is_equal_stays_equal_and_the_input_is_not_touched() -> None:
    features = unit(np.ones((4, 4, 3)))
    before = features.clone()
    assert torch.allclose(smooth_features(features, steps=5), features, atol=1e-12)
    assert torch.equal(features, before)


def test_it_stays_on_its_device_and_in_its_precision() -> None:
    on_meta = smooth_features(torch.empty(4, 5, 6, device="meta"), steps=2)
    assert on_meta.device.type == "meta"
    assert on_meta.dtype == torch.float32


@given(
    st.integers(1, 6), st.integers(1, 6), st.integers(1, 800), st.booleans(), st.booleans(),
    st.integers(0, 2**32 - 1),
)  # fmt: skip
@settings(max_examples=40, deadline=None)
def test_the_compiled_loop_smooths_as_torch_does(h, w, d, coloured, gaps, seed) -> None:
    """Not bit by bit: torch adds the terms of a dot product in another order."""
    rng = np.random.default_rng(seed)
    features = unit(rng.normal(size=(h, w, d))).float()
    colours = torch.from_numpy(rng.uniform(0, 100, (h, w, 3))) if coloured else None
    there = torch.from_numpy(rng.random((h, w)) < 0.7) if gaps else None
    before = features.clone()
    fast = smooth_features(features, steps=3, colours=colours, there=there)
    slow = smooth_features(features.double(), steps=3, colours=colours, there=there)
    assert torch.equal(features, before)
    assert fast.dtype == torch.float32
    assert float((fast - slow).abs().max()) < 1e-6


def test_one_step_of_the_loop_and_of_its_slower_function() -> None:
    features = unit(np.random.default_rng(3).normal(size=(5, 6, 40))).float()
    edges = smooth._edges(features, None, None).numpy()
    one, other = (widened(features.reshape(30, 40).numpy()) for _ in range(2))
    smooth._step.compiled()(one, (5, 6), edges, 0.1)
    smooth._step.instead(other, (5, 6), edges, 0.1)
    assert np.abs(one - other).max() < 1e-6
