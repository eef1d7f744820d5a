"""Components, specks and kept leaves: against the slow way, and what holds for any label map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from regiontree.images import nearest
from regiontree.refine.opening import trim_threads
from regiontree.refine.regions import (
    components,
    keep_leaves,
    merge_specks,
    patch_centres,
)

maps = arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3))
# Leaves 0 and 1 are siblings, 2 and 3 are siblings.
PARENTS = np.array([4, 4, 5, 5, 6, 6, 6])


def flooded(labels: np.ndarray) -> np.ndarray:
    """Components pixel by pixel, in the order of their first pixels."""
    found = np.full(labels.shape, -1)
    for start in np.ndindex(labels.shape):
        if found[start] >= 0:
            continue
        number, pending = found.max() + 1, [start]
        while pending:
            y, x = pending.pop()
            inside = 0 <= y < labels.shape[0] and 0 <= x < labels.shape[1]
            if not inside or found[y, x] >= 0 or labels[y, x] != labels[start]:
                continue
            found[y, x] = number
            pending += [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
    return found


@given(maps)
def test_components_are_what_a_flood_finds(labels: np.ndarray) -> None:
    assert np.array_equal(components(labels), flooded(labels))


def test_components_of_a_large_map_are_those_of_scipy() -> None:
    coarse = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(300, 200)), 3)
    labels = np.digitize(coarse, [-0.05, 0, 0.05]).astype(np.int32)
    expected = sum(ndimage.label(labels == value)[1] for value in range(4))
    assert components(labels).max() + 1 == expected > 50


@given(maps, st.integers(0, 12))
def test_no_speck_is_left_and_no_leaf_is_lost(labels: np.ndarray, least: int) -> None:
    merged = merge_specks(labels, PARENTS, least)
    assert merged.dtype == np.int32
    assert set(np.unique(merged)) == set(np.unique(labels))
    part, before = flooded(merged), flooded(labels)
    size = np.bincount(part.ravel())
    for value in np.unique(merged):
        small = [s for s in np.sort(size[np.unique(part[merged == value])])[:-1] if s < least]
        assert not small  # but for the largest of each leaf
    for value in np.unique(labels):  # which stays where it was
        sizes = np.bincount(before[labels == value])
        assert (merged[before == sizes.argmax()] == value).all()
    large = np.bincount(before.ravel())[before] >= least
    assert np.array_equal(merged[large], labels[large])


@pytest.mark.parametrize(
    ("around", "expected"),
    [
        ([[2, 2, 2], [2, 1, 2], [2, 3, 2]], 2),  # cousins alike: the longer border
        ([[2, 3, 3], [2, 1, 3], [2, 2, 2]], 2),  # as long: the lower
        ([[2, 2, 2], [2, 1, 2], [2, 0, 2]], 0),  # the sibling, although its border is shorter
    ],
)
def test_a_speck_goes_to_the_nearest_in_the_tree(around: list[list[int]], expected: int) -> None:
    labels = np.kron(np.array(around), np.ones((3, 3), int)).astype(np.int32)
    labels = np.pad(labels, ((0, 0), (0, 9)), constant_values=1)  # leaf 1 itself lies elsewhere
    labels[:, 9] = 2
    assert (merge_specks(labels, PARENTS, 10)[3:6, 3:6] == expected).all()


def test_a_speck_within_a_speck_waits_for_it() -> None:
    labels = np.zeros((20, 12), np.int32)
    labels[2:7, 2:7], labels[3:6, 3:6] = 2, 1  # of 16 and 9 pixels
    labels[:, 10], labels[:, 11] = 1, 2
    merged = merge_specks(labels, PARENTS, 17)
    # Of the 2 around it nothing is left when the 1 inside chooses: it, too, goes to 0.
    assert (merged[:, :10] == 0).all()
    assert np.array_equal(merged[:, 10:], labels[:, 10:])
    # The ring alone would stay: then the 1 goes there.
    assert (merge_specks(labels, PARENTS, 10)[3:6, 3:6] == 2).all()


def test_what_has_no_speck_is_copied() -> None:
    labels = np.array([[0, 1]], np.int32)
    merged = merge_specks(labels, np.array([2, 2, 2]), 5)
    assert np.array_equal(merged, labels)
    merged[0, 0] = 1
    assert labels[0, 0] == 0


@given(
    st.tuples(st.integers(1, 6), st.integers(1, 6)),
    st.tuples(st.integers(0, 9), st.integers(0, 9)),
    st.randoms(use_true_random=False),
)
def test_every_leaf_keeps_a_pixel(grid: tuple[int, int], more: tuple[int, int], random) -> None:
    size = grid[0] + more[0], grid[1] + more[1]
    leaf = np.array([random.randrange(5) for _ in range(grid[0] * grid[1])], np.int32).reshape(grid)
    labels = np.full(size, random.choice(np.unique(leaf).tolist()), np.int32)
    before = labels.copy()
    kept = keep_leaves(labels, leaf, np.full(6, 5))
    assert set(np.unique(kept)) == set(np.unique(leaf))
    assert np.array_equal(labels, before)
    assert (kept != labels).sum() == len(np.unique(leaf)) - 1  # one pixel each
    assert np.array_equal(keep_leaves(labels, leaf, np.full(6, 5), in_place=True), kept)
    assert np.array_equal(labels, kept)


def test_leaves_that_are_there_are_left_alone() -> None:
    labels = np.array([[1, 1, 1, 0]], np.int32)
    assert keep_leaves(labels, np.array([[0, 1]], np.int32), np.full(3, 2)) is labels


def test_a_leaf_comes_back_where_its_next_of_kin_is() -> None:
    """Leaf 0's patches lie in 2, in its sibling 1, and in 1 again: the first of these it is."""
    leaf = np.array([[0, 0, 0, 2]], np.int32)
    labels = np.array([[2, 1, 1, 2]], np.int32)
    assert keep_leaves(labels, leaf, PARENTS).tolist() == [[2, 0, 1, 2]]


def test_it_goes_to_its_next_of_kin_however_far() -> None:
    leaf = np.array([[0, 2, 1, 1]], np.int32)
    labels = np.repeat([[2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1]], 3, axis=0).astype(np.int32)
    kept = keep_leaves(labels, leaf, PARENTS)
    assert np.argwhere(kept == 0).tolist() == [[1, 7]]  # the centre of the nearer patch of leaf 1


def test_even_where_they_hold_no_centre_of_a_patch() -> None:
    leaf = np.array([[0, 2]], np.int32)
    labels = np.array([[2, 2, 2, 2, 2, 2, 2, 2, 1, 1]] * 3, np.int32)  # centres in columns 2, 7
    kept = keep_leaves(labels, leaf, PARENTS)
    assert np.argwhere(kept == 0).tolist() == [[0, 8]]


def test_a_region_that_vanished_comes_back_as_one_dot() -> None:
    """Leaves 0 to 3 are a region, 4 and 5 all there is; parents of 0 and 1, and of 2 and 3, too."""
    parents = np.array([6, 6, 7, 7, 9, 10, 8, 8, 9, 10, 10])
    leaf = np.array([[0, 4, 1, 5, 2, 5, 3, 5]] * 2, np.int32)
    labels = np.repeat([[4] * 16 + [5] * 16], 8, axis=0).astype(np.int32)
    kept = keep_leaves(labels, leaf, parents)
    assert np.array_equal(np.unique(kept), np.arange(6))
    rows, columns = np.nonzero(kept < 4)
    assert len(rows) == 4
    assert np.ptp(rows) <= 2
    assert np.ptp(columns) <= 2
    assert (labels[rows, columns] == 4).all()  # which they are joined with before 5


def test_no_pixel_given_back_is_the_last_of_another_leaf() -> None:
    leaf = np.array([[0, 1, 1]], np.int32)
    labels = np.array([[1, 2, 2]], np.int32)  # the last pixel of 1 is in the patch of 0
    assert set(keep_leaves(labels, leaf, PARENTS)[0].tolist()) == {0, 1, 2}


@given(maps, st.integers(2, 4))
def test_a_region_keeps_the_squares_that_fit_and_the_rest_goes_to_the_nearest(
    labels: np.ndarray, width: int
) -> None:
    height, length = labels.shape
    kept = np.zeros(labels.shape, bool)
    for y in range(height - width + 1):
        for x in range(length - width + 1):
            window = slice(y, y + width), slice(x, x + width)
            kept[window] |= bool((labels[window] == labels[y, x]).all())
    trimmed = trim_threads(labels, width)
    assert trimmed.dtype == np.int32
    if not kept.any():
        assert np.array_equal(trimmed, labels)
        return
    ys, xs = kept.nonzero()
    for y, x in np.ndindex(labels.shape):
        distance = (ys - y) ** 2 + (xs - x) ** 2
        nearest_ones = distance == distance.min()
        assert trimmed[y, x] in labels[ys[nearest_ones], xs[nearest_ones]]


def test_threads_of_a_pixel_go_and_right_angles_stay() -> None:
    labels = np.zeros((9, 12), np.int32)
    labels[3:, 4:8] = 1
    expected = labels.copy()
    labels[5, 8:] = 1  # a thread to the right
    trimmed = trim_threads(labels, 3)
    assert trimmed[5, 8] in (0, 1)  # as near to one as to the other
    trimmed[5, 8] = 0
    assert np.array_equal(trimmed, expected)
    assert np.array_equal(trim_threads(labels, 1), labels)


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_centres_lie_in_their_patches(grid: tuple[int, int], more: tuple[int, int]) -> None:
    size = grid[0] + more[0], grid[1] + more[1]
    patch = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid)
    rows, columns = patch_centres(grid, size)
    assert np.array_equal(nearest(patch, size)[rows[:, None], columns], patch)
