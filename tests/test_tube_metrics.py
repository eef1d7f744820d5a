"""J, F, flicker and switches against brute force and hand-made cases."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from regiontree.errors import DataError
from regiontree.metrics.tubes import (
    TubeOverlaps,
    border_f,
    flicker,
    identity_switches,
    matched_regions,
    region_j,
    still_pixels,
)
from regiontree.tree import ClipTree


def blobs(seed, size=(20, 26)):
    rng = np.random.default_rng(seed)
    mask = np.zeros(size, bool)
    for _ in range(3):
        y, x = rng.integers(0, size[0] - 6), rng.integers(0, size[1] - 6)
        mask[y : y + rng.integers(2, 9), x : x + rng.integers(2, 9)] = True
    return mask


def brute_border(mask):
    h, w = mask.shape
    return [
        (y, x)
        for y, x in itertools.product(range(h), range(w))
        if any(
            y + dy < h and x + dx < w and mask[y, x] != mask[y + dy, x + dx]
            for dy, dx in ((0, 1), (1, 0), (1, 1))
        )
    ]


@pytest.mark.parametrize("seed", range(6))
def test_f_is_that_of_brute_force(seed):
    found, truth = blobs(seed), blobs(seed + 100)
    a, b, reach = brute_border(found), brute_border(truth), math.ceil(0.06 * math.hypot(20, 26))

    def share(some, others):
        near = [min(math.dist(p, q) for q in others) <= reach for p in some]
        return sum(near) / len(near)

    precision, recall = share(a, b), share(b, a)
    expected = 2 * precision * recall / (precision + recall)
    assert border_f(found, truth, 0.06) == pytest.approx(expected)
    assert border_f(found, found) == 1.0


def test_masks_without_a_border():
    nothing, some = np.zeros((9, 9), bool), blobs(1, (9, 9))
    assert border_f(nothing, nothing) == 1.0
    assert border_f(nothing, some) == border_f(some, nothing) == 0.0
    assert region_j(nothing, nothing) == 1.0
    assert region_j(nothing, some) == 0.0


def test_j_of_every_node_is_that_of_its_masks():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 4, (3, 8, 9))
    tree = ClipTree(labels, [4, 4, 5, 5, 6, 6, 6], [0, 0, 0, 0, 0.4, 0.6, 1])
    truth = np.stack([blobs(s, (8, 9)) for s in range(3)])
    truth[2] = False
    overlaps = TubeOverlaps(tree.parents)
    for own, mask in zip(labels, truth, strict=True):
        overlaps.add(own, mask)
    expected = [
        np.mean([region_j(tree.mask(node, frame=t), truth[t]) for t in range(3)])
        for node in range(7)
    ]
    assert np.allclose(overlaps.mean(), expected)


def test_a_pixel_stands_still_if_nothing_near_it_changes():
    before = np.full((9, 9, 3), 100, np.uint8)
    after = before.copy()
    after[4, 4, 1] = 120
    after[0, 8] = 108
    expected = np.ones((9, 9), bool)
    expected[2:7, 2:7] = False
    assert np.array_equal(still_pixels(before, after), expected)
    assert np.array_equal(still_pixels(after, before), expected)


def test_flicker_counts_still_pixels_that_change_their_region():
    before = np.zeros((4, 4), int)
    after = before.copy()
    after[0] = 1
    still = np.ones((4, 4), bool)
    still[0, :2] = False
    assert flicker(before, after, still) == (2, 14)


def test_regions_are_matched_so_that_most_pixels_keep_their_number():
    rng = np.random.default_rng(4)
    before = rng.integers(0, 4, (6, 6))
    after = rng.permutation(4)[before]
    assert np.array_equal(matched_regions(before, after), before)
    other = rng.integers(0, 4, (6, 6))
    kept = (matched_regions(before, other) == before).sum()
    assert kept == max(
        sum((np.array(table)[other] == before).reshape(-1))
        for table in itertools.permutations(range(4))
    )


def test_an_object_that_leaves_does_not_switch():
    regions = [np.array([[5, 1]]), np.array([[5, 1]]), np.array([[3, 1]])]
    here, gone = np.array([[True, False]]), np.zeros((1, 2), bool)
    assert identity_switches(regions, [here, here, here]) == (1, 2)
    assert identity_switches(regions, [here, gone, here]) == (0, 0)


def test_maps_of_different_sizes_are_refused():
    with pytest.raises(DataError, match="one size"):
        region_j(np.zeros((2, 2), bool), np.zeros((2, 3), bool))
