"""Components, specks and kept leaves: against the slow way, and what holds for any label map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from regiontree.images import nearest
from regiontree.refine.regions import components, keep_leaves, merge_specks, patch_centres

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
    kept = keep_leaves(labels, leaf)
    assert set(np.unique(kept)) == set(np.unique(leaf))
    assert np.array_equal(labels, before)
    assert (kept != labels).sum() <= leaf.size


def test_leaves_that_are_there_are_left_alone() -> None:
    labels = np.array([[1, 1, 1, 0]], np.int32)
    assert keep_leaves(labels, np.array([[0, 1]], np.int32)) is labels


@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.tuples(st.integers(0, 30), st.integers(0, 30)),
)
def test_centres_lie_in_their_patches(grid: tuple[int, int], more: tuple[int, int]) -> None:
    size = grid[0] + more[0], grid[1] + more[1]
    patch = np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid)
    rows, columns = patch_centres(grid, size)
    assert np.array_equal(nearest(patch, size)[rows[:, None], columns], patch)
