"""Mean field over shared cells: dense kernels, and the functions that run without numba."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import without_numba
from test_crf import all_pairs, scene

from regiontree.refine import binning
from regiontree.refine.binning import Cells, cells_of, mean_field
from regiontree.refine.crf import CrfSettings


def noisy(height: int, width: int, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, L) and a picture of few colours."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 0.8, (height * width, n_labels)).astype(np.float32)
    levels = rng.integers(0, 256, (4, 3))
    picture = levels[rng.integers(0, 4, (height, width))] + rng.integers(-1, 2, (height, width, 3))
    return logits, np.clip(picture, 0, 255).astype(np.uint8)


def test_a_cell_is_a_box_of_place_and_colour():
    _, rgb = noisy(13, 17, 2, seed=0)
    cells = cells_of(rgb, 3.0, 2.0)
    y, x = np.mgrid[:13, :17].reshape(2, -1)
    places = np.column_stack([x / 3, y / 3, rgb.reshape(-1, 3) / 2]) / np.sqrt(6)
    n, grids = cells.of.shape
    assert (n, grids) == (13 * 17, 7)
    for grid in range(grids):
        shift = (grid * np.arange(1, 6) + 0.5) / grids % 1
        boxes = np.floor(places + shift)
        together = (boxes[:, None] == boxes[None]).all(axis=2)
        assert np.array_equal(cells.of[:, None, grid] == cells.of[None, :, grid], together)
    assert np.array_equal(np.unique(cells.of), np.arange(cells.count))
    assert sum(len(np.unique(of)) for of in cells.of.T) == cells.count  # none is in two grids


def test_sharing_a_cell_is_as_likely_as_the_hat_says(monkeypatch):
    """Over many shifts, two pixels 3 apart in cells with a side of 6 share one in half of them."""
    monkeypatch.setattr(binning, "_GRIDS", 101)
    black = np.zeros((1, 12, 3), np.uint8)
    of = cells_of(black, 6 / np.sqrt(6), 3.0).of
    assert (of[0] == of[3]).mean() == pytest.approx(1 / 2, abs=0.02)
    assert (of[0] == of[2]).mean() == pytest.approx(2 / 3, abs=0.02)
    assert not (of[0] == of[6]).any()


def test_a_window_has_the_cells_of_the_whole():
    _, rgb = noisy(40, 50, 2, seed=1)
    whole = cells_of(rgb, 4.0, 3.0).of.reshape(40, 50, -1)[11:31, 7:40].reshape(-1, 7)
    window = cells_of(rgb[11:31, 7:40], 4.0, 3.0, (11, 7)).of
    for one, other in zip(whole.T, window.T, strict=True):
        pairs = np.unique(np.column_stack([one, other]), axis=0)
        assert len(pairs) == len(np.unique(one)) == len(np.unique(other))


@pytest.mark.parametrize("steps", [0, 1, 3])
def test_mean_field_of_the_dense_kernel(steps):
    logits, rgb = noisy(9, 11, 4, seed=2)
    cells = cells_of(rgb, 4.0, 3.0)
    kernel = (cells.of[:, None] == cells.of[None]).mean(axis=2)
    root = np.sqrt(kernel.sum(axis=1))
    kernel /= root[:, None] * root
    total = logits.astype(float)
    for _ in range(steps):
        share = np.exp(total - total.max(axis=1, keepdims=True))
        total = logits + 4 * kernel @ (share / share.sum(axis=1, keepdims=True))
    found = mean_field(logits, cells, weight=4, steps=steps)
    assert np.array_equal(found, total.argmax(axis=1))
    assert steps == 0 or (found != logits.argmax(axis=1)).mean() > 0.1


def test_nearly_mean_field_of_the_gaussian(monkeypatch):
    monkeypatch.setattr(binning, "_GRIDS", 31)
    unary, rgb = scene(28, 36, 3)
    settings = CrfSettings(smooth_weight=0, edge_xy=5, edge_rgb=10, steps=3)
    expected = all_pairs(unary, rgb, settings).argmax(axis=0)
    logits = np.ascontiguousarray(-unary.reshape(3, -1).T)
    found = mean_field(logits, cells_of(rgb, 5, 10), weight=4, steps=3).reshape(28, 36)
    assert (found == expected).mean() > 0.97
    assert (unary.argmin(axis=0) == expected).mean() < 0.9


def test_pixels_left_out_count_nowhere():
    logits, rgb = noisy(8, 10, 3, seed=3)
    valid = np.random.default_rng(0).random(80) < 0.6
    some = cells_of(rgb, 4.0, 3.0).among(valid)
    spoilt = logits.copy()
    spoilt[~valid] = 50
    assert np.array_equal(
        mean_field(logits[valid], some, weight=4, steps=3),
        mean_field(spoilt[valid], some, weight=4, steps=3),
    )
    renumbered = np.unique(some.of, return_inverse=True)[1].reshape(some.of.shape)
    alone = Cells(renumbered.astype(np.int32), int(renumbered.max()) + 1)
    assert np.array_equal(
        mean_field(logits[valid], some, weight=4, steps=3),
        mean_field(logits[valid], alone, weight=4, steps=3),
    )


def test_the_exponential_is_exact_to_a_millionth():
    logits = np.linspace(-87, 0, 100_001, dtype=np.float32)[:, None]
    pairs = np.hstack([np.zeros_like(logits), logits])
    out = np.empty_like(pairs)
    binning._softmax(pairs, np.ones(len(pairs), np.float32), out)
    exact = np.exp(logits[:, 0].astype(float))
    assert np.abs(out[:, 1] / (exact / (1 + exact)) - 1).max() < 1e-6
    pairs[:, 1] = -3000  # where float32 has no such small number
    binning._softmax(pairs, np.ones(len(pairs), np.float32), out)
    assert out[:, 1].max() < 1e-37


# -- compiled, and what runs without numba --------------------------------------------------------


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 9),
    st.integers(1, 9),
    st.integers(1, 14),
    st.sampled_from([0.3, 2.0, 40.0]),
)
@settings(max_examples=40, deadline=None)
def test_loops_give_the_bits_of_the_slower_functions(seed, height, width, n_labels, xy):
    logits, rgb = noisy(height, width, n_labels, seed)
    cells = cells_of(rgb, xy, 3.0)
    factor = binning._factors(cells.of, cells.count)
    assert same(factor, binning._factors.instead(cells.of, cells.count))

    share, other = np.empty_like(logits), np.empty_like(logits)
    binning._softmax(logits, factor, share)
    binning._softmax.instead(logits, factor, other)
    assert same(share, other)

    sums = np.full((cells.count, n_labels), np.nan, np.float32)
    again = sums.copy()
    binning._sum(share, cells.of, sums)
    binning._sum.instead(share, cells.of, again)
    assert same(sums, again)

    binning._add_sums(logits, sums, cells.of, factor, share)
    binning._add_sums.instead(logits, sums, cells.of, factor, other)
    assert same(share, other)
    assert same(binning._likeliest(share), binning._likeliest.instead(share))


def same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.tobytes() == other.tobytes()


def test_a_picture_gets_the_same_labels_without_numba():
    logits, rgb = noisy(60, 80, 12, seed=5)
    cells = cells_of(rgb, 9.0, 3.0)
    slow = without_numba(lambda: cells_of(rgb, 9.0, 3.0))
    assert slow.count == cells.count
    for one, other in zip(cells.of.T, slow.of.T, strict=True):  # numbered in another order
        assert len(np.unique(np.column_stack([one, other]), axis=0)) == len(np.unique(one))
    found = mean_field(logits, cells, weight=4, steps=3)
    assert same(found, without_numba(lambda: mean_field(logits, slow, weight=4, steps=3)))
    assert (found != logits.argmax(axis=1)).mean() > 0.02
