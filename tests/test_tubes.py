"""Measures of tubes against brute force and against figures worked out by hand."""

from __future__ import annotations

import math
from itertools import permutations, product

import numpy as np
import pytest

from regiontree.errors import DataError
from regiontree.metrics import ClassTree, contingency, score_tree
from regiontree.metrics.steadiness import (
    FlickerCounts,
    IdentitySwitches,
    linked_regions,
    noise_level,
    static_pixels,
)
from regiontree.metrics.tubes import TubeCounts, contour_f, series_scores

PARENTS = np.array([4, 4, 5, 5, 6, 6, 6])
LEAVES = {0: {0}, 1: {1}, 2: {2}, 3: {3}, 4: {0, 1}, 5: {2, 3}, 6: {0, 1, 2, 3}}


def blobs(seed, size):
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    for _ in range(3):
        y, x = (int(rng.integers(0, side - 3)) for side in size)
        mask[y : y + int(rng.integers(2, 9)), x : x + int(rng.integers(2, 9))] ^= True
    return mask


def clip(seed, frames=7):
    rng = np.random.default_rng(seed)
    labels, truth = rng.integers(0, 4, (frames, 6, 9)), rng.integers(0, 3, (frames, 6, 9))
    truth[2][truth[2] == 2] = 0  # the object is not there
    labels[2][labels[2] == 3] = 2  # nor is leaf 3
    return labels, truth


# -- F --------------------------------------------------------------------------------------------


def brute_contour(mask):
    """By the definition: a pixel unlike its right, lower or lower right neighbour in the frame."""
    h, w = mask.shape
    return {
        (y, x)
        for y, x in product(range(h), range(w))
        for dy, dx in ((0, 1), (1, 0), (1, 1))
        if y + dy < h and x + dx < w and mask[y, x] != mask[y + dy, x + dx]
    }


def brute_dilated(pixels, radius):
    disk = [
        (dy, dx)
        for dy, dx in product(range(-radius, radius + 1), repeat=2)
        if dy * dy + dx * dx <= radius * radius
    ]
    return {(y + dy, x + dx) for y, x in pixels for dy, dx in disk}


def brute_f(found, truth, tolerance):
    own, other = brute_contour(found), brute_contour(truth)
    if not own or not other:
        return float(bool(own) == bool(other))
    radius = math.ceil(tolerance * math.sqrt(found.shape[0] ** 2 + found.shape[1] ** 2))
    precision = len(own & brute_dilated(other, radius)) / len(own)
    recall = len(other & brute_dilated(own, radius)) / len(other)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("tolerance", [0.0, 0.008, 0.05, 0.1])
def test_f_is_that_of_dilated_contours(seed, tolerance):
    found, truth = blobs(seed, (21, 30)), blobs(seed + 50, (21, 30))
    f = contour_f(found, truth, tolerance=tolerance)
    assert f == pytest.approx(brute_f(found, truth, tolerance), abs=1e-12)


def test_f_of_masks_without_a_contour():
    nothing, some = np.zeros((9, 9), bool), blobs(1, (9, 9))
    assert contour_f(nothing, nothing) == contour_f(~nothing, nothing) == 1
    assert contour_f(nothing, some) == contour_f(some, nothing) == 0
    with pytest.raises(DataError, match=r"\(9, 9\), \(9, 8\)"):
        contour_f(nothing, nothing[:, 1:])


def test_the_tolerance_is_eight_pixels_at_480p():
    found, truth = np.zeros((2, 480, 854), bool)
    found[:, :400], truth[:, :408] = True, True
    assert contour_f(found, truth) == 1
    truth[:, 408] = True
    assert contour_f(found, truth) == 0


# -- J --------------------------------------------------------------------------------------------


def brute_j(labels, truth, node, value, ignored=()):
    series = []
    for own, true in zip(labels, truth, strict=True):
        counted = ~np.isin(true, ignored)
        mask, other = np.isin(own, list(LEAVES[node])) & counted, (true == value) & counted
        union = (mask | other).sum()
        series.append((mask & other).sum() / union if union else 1.0)
    return np.array(series)


@pytest.mark.parametrize("ignored", [(), (1,)])
def test_j_of_every_node_is_that_of_its_masks(ignored):
    labels, truth = clip(3)
    counts = TubeCounts(PARENTS, ignored=ignored)
    for own, true in zip(labels, truth, strict=True):
        counts.update(own, true)
    assert counts.frames == 7
    expected = np.array([brute_j(labels, truth, node, 2, ignored) for node in LEAVES])
    assert expected[3, 2] == 1  # neither leaf 3 nor the object is in frame 2
    assert np.allclose(counts.j(2), expected.mean(axis=1))
    for node in LEAVES:
        assert np.allclose(counts.scores(2, node).series, expected[node])
    assert counts.best(2).node == expected[:-1].mean(axis=1).argmax()
    assert (
        counts.best(2, np.array([6, 4])).node
        == (4, 6)[int(expected[6].mean() > expected[4].mean())]
    )


def test_the_volume_is_one_large_image():
    labels, truth = clip(4)
    counts = TubeCounts(PARENTS)
    for own, true in zip(labels, truth, strict=True):
        counts.update(own, true)
    whole = contingency(labels.reshape(-1, 9), truth.reshape(-1, 9), 4)
    found = counts.table()
    assert np.array_equal(found.counts, whole.counts)
    assert np.array_equal(found.ids, whole.ids)
    classes = ClassTree(("a", "b", "c"), [-1, -1, 1], {0: 0, 1: 1, 2: 2})
    a, b = (score_tree(PARENTS, table, classes) for table in (found, whole))
    assert (a.nm, a.nh) == (b.nm, b.nh)


def test_decay_by_hand():
    # 9 frames: the ends of the quarters are frames 0, 2, 4, 6 and 8.
    found = series_scores([0.9, 0.9, 0.6, 0.5, 0.5, 0.5, 0.3, 0.2, 0.1])
    assert found.mean == pytest.approx(4.5 / 9)
    assert found.recall == pytest.approx(3 / 9)
    assert found.decay == pytest.approx(2.4 / 3 - 0.6 / 3)
    # 7 frames: 2.5 and 5.5 are rounded up, so the quarters are frames 0 to 2 and 5 to 6.
    assert series_scores([0, 0, 3, 9, 9, 1, 2]).decay == pytest.approx(1 - 1.5)
    assert series_scores([0.7]).decay == 0
    with pytest.raises(DataError, match="at least one"):
        series_scores([])


def test_counts_that_are_asked_too_early_or_for_no_node():
    counts = TubeCounts(PARENTS)
    for ask in (counts.table, lambda: counts.j(2), lambda: counts.best(2)):
        with pytest.raises(DataError, match="no frame"):
            ask()
    counts.update(np.zeros((2, 2), int), np.zeros((2, 2), int))
    with pytest.raises(DataError, match="0 to 6"):
        counts.scores(0, 7)
    with pytest.raises(DataError, match="0 to 6"):
        counts.best(0, np.array([], int))
    with pytest.raises(DataError, match="leaves"):
        counts.update(np.full((2, 2), 4), np.zeros((2, 2), int))


# -- static pixels --------------------------------------------------------------------------------


@pytest.mark.parametrize("sigma", [2, 5, 12])
def test_noise_is_estimated_in_spite_of_shades_and_edges(sigma):
    rng = np.random.default_rng(5)
    y, x = np.mgrid[0:200, 0:240]
    clean = 60 + 0.4 * x + 0.1 * y + 40 * ((x // 40 + y // 50) % 2)
    noisy = np.clip(np.round(clean[:, :, None] + rng.normal(0, sigma, (200, 240, 3))), 0, 255)
    assert noise_level(noisy.astype(np.uint8)) == pytest.approx(sigma, rel=0.15)
    assert noise_level(np.full((5, 5), 7, np.uint8)) == 0


def test_noise_is_static_and_movement_is_not():
    rng = np.random.default_rng(6)

    def shot(at):
        values = 90 + rng.normal(0, 3, (80, 90))
        values[30:50, at : at + 20] += 90
        return np.round(values).astype(np.uint8)

    static = static_pixels(shot(20), shot(26))
    assert static[:25].mean() > 0.98
    assert static[:, 60:].mean() > 0.98
    assert not static[30:50, 20:26].any()
    assert not static[28:52, 38:48].any()  # two pixels around what the object uncovers or covers
    assert static[32:48, 30:37].mean() > 0.95  # a surface without texture shows no movement


def test_static_pixels_are_those_of_windows():
    rng = np.random.default_rng(7)
    before = rng.integers(0, 40, (12, 15, 3)).astype(np.uint8)
    after = (before + rng.integers(0, 12, before.shape) * (rng.random(before.shape) < 0.02)).astype(
        np.uint8
    )
    apart = np.abs(before.astype(int) - after).max(axis=2)
    expected = [
        [apart[max(y - 2, 0) : y + 3, max(x - 2, 0) : x + 3].max() <= 5 for x in range(15)]
        for y in range(12)
    ]
    found = static_pixels(before, after, threshold=5)
    assert np.array_equal(found, expected)
    assert 0 < found.sum() < found.size
    with pytest.raises(DataError, match="one size"):
        static_pixels(before, after[:, 1:], threshold=5)
    with pytest.raises(DataError, match="uint8"):
        noise_level(before.astype(float))


# -- numbers --------------------------------------------------------------------------------------


def test_linked_regions_keep_as_many_pixels_as_any_numbering():
    rng = np.random.default_rng(8)
    for _ in range(5):
        before, after = rng.integers(0, 4, (2, 6, 7))
        kept = max(
            sum(int(((after == new) & (before == old)).sum()) for new, old in enumerate(order))
            for order in permutations(range(4))
        )
        assert (linked_regions(before, after) == before).sum() == kept


def test_regions_without_a_partner_get_new_numbers():
    before, after = np.array([[3, 3, 3, 8]]), np.array([[1, 1, 2, 0]])
    assert linked_regions(before, after).tolist() == [[3, 3, 9, 8]]
    assert linked_regions(before, after, 20).tolist() == [[3, 3, 20, 8]]
    with pytest.raises(DataError, match="one size"):
        linked_regions(before, after.T)


def flicker_of(frames, maps, **options):
    counts = FlickerCounts(**options)
    for frame, own in zip(frames, maps, strict=True):
        counts.update(frame, own)
    return counts.compute()


def test_borders_that_boil():
    """A still picture of two halves; the border goes 0, 1 or 4 pixels to the side and back."""
    frames = [np.full((20, 40), 50, np.uint8)] * 6
    for jump, flicker, boiling in ((0, 0, 0), (1, 1 / 40, 0), (4, 4 / 40, 1)):
        maps = [
            np.repeat((np.arange(40) >= 20 + jump * (t % 2)).astype(int)[None], 20, axis=0)
            for t in range(6)
        ]
        found = flicker_of(frames, maps)
        assert found.flicker == pytest.approx(flicker)
        assert found.boiling == boiling
        assert found.static == 1
        # Other numbers for the same regions change nothing once regions are linked.
        renamed = [(own + t) % 2 + 10 * t for t, own in enumerate(maps)]
        assert flicker_of(frames, renamed, link=True) == found
        assert flicker_of(frames, renamed).flicker == 1


def test_what_moves_does_not_flicker():
    frames, maps = [], []
    for t in range(4):
        frame = np.full((30, 60), 40, np.uint8)
        frame[10:20, 10 + 8 * t : 20 + 8 * t] = 200
        frames.append(frame)
        maps.append((frame > 100).astype(int))
    found = flicker_of(frames, maps)
    assert found.flicker == 0
    assert 0.5 < found.static < 1


def test_frames_that_do_not_fit():
    counts = FlickerCounts()
    with pytest.raises(DataError, match="do not fit"):
        counts.update(np.zeros((4, 5), np.uint8), np.zeros((4, 4), int))
    assert math.isnan(counts.compute().flicker)


def switches_of(maps, truths, **options):
    counts = IdentitySwitches(**options)
    for own, truth in zip(maps, truths, strict=True):
        counts.update(np.array([own]), np.array([truth]))
    return counts.compute()


def test_switches_by_hand():
    truth = [1, 1, 1, 2, 2, 0]
    # Object 1 keeps region 5. Object 2 has 6, 7, 7, and then 6 again.
    maps = [[5, 5, 5, 6, 6, 9], [5, 5, 5, 7, 7, 9], [5, 5, 5, 7, 7, 9], [5, 5, 5, 6, 6, 9]]
    assert switches_of(maps, [truth] * 4, ignored=(0,)) == {1: (0, 3), 2: (2, 3)}
    # Two objects that change places switch both.
    assert switches_of([[1, 1, 2, 2], [2, 2, 1, 1]], [[7, 7, 8, 8]] * 2) == {7: (1, 1), 8: (1, 1)}


def test_an_object_that_is_away_does_not_switch():
    truths = [[1, 1, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0]]
    maps = [[4, 4, 5], [4, 4, 5], [6, 6, 5], [6, 6, 5]]
    assert switches_of(maps, truths, ignored=(0,)) == {1: (0, 1)}


def test_equally_good_regions_do_not_switch():
    maps = [[4, 4, 5, 5], [5, 5, 4, 4], [4, 5, 4, 5]]
    assert switches_of(maps, [[1, 1, 1, 1]] * 3) == {1: (0, 2)}


def test_a_region_is_the_match_of_one_object():
    # Both objects lie in region 3. Object 1 is larger and gets it; object 2 has no match.
    assert switches_of([[3, 3, 3], [3, 3, 3]], [[1, 1, 2], [1, 1, 2]]) == {1: (0, 1)}
