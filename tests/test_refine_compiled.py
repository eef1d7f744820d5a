"""Compiled loops of the refinement give the same bits as the slower functions in their place."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import EXAMPLE
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from scenes import patchwork

from regiontree.images import colours, load_image, nearest
from regiontree.images.colours import lab_colours
from regiontree.refine import edges, flood, opening, regions
from regiontree.refine.edges import edge_height
from regiontree.refine.guided import Guided, refine_leaves
from regiontree.refine.regions import patch_centres, without_specks
from regiontree.system import jit
from regiontree.tree import components

shapes = st.tuples(st.integers(1, 9), st.integers(1, 9))
maps = arrays(np.int32, shapes, elements=st.integers(0, 3))


@pytest.fixture
def slower(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A process in which nothing can be compiled; `undo` ends that."""
    monkeypatch.setattr(jit, "_why_not", "a test")
    return monkeypatch


@pytest.fixture(scope="module")
def photo() -> NDArray[np.uint8]:
    return load_image(EXAMPLE).rgb[:300, :401]


def noise(*shape: int, seed: int = 0, low: int = 0, high: int = 256) -> NDArray[np.int64]:
    return np.random.default_rng(seed).integers(low, high, shape)


# -- the landscape --------------------------------------------------------------------------------


def test_colours_have_the_same_bits(photo: NDArray[np.uint8], slower: pytest.MonkeyPatch) -> None:
    levels = np.arange(256, dtype=np.uint8)
    greys = np.repeat(levels, 3).reshape(1, 256, 3)
    pictures = photo, greys, noise(3, 70, 3).astype(np.uint8), noise(40, 1, 3).astype(np.uint8)
    expected = [lab_colours(picture) for picture in pictures]
    slower.undo()
    for picture, slow in zip(pictures, expected, strict=True):
        assert lab_colours(picture).tobytes() == slow.tobytes()


def test_the_cube_root_is_exact_to_the_last_bit_or_two() -> None:
    amount = np.linspace(0.009, 1, 100_000, dtype=np.float32)
    exact = np.cbrt(amount.astype(np.float64))
    assert (np.abs(colours._response(amount) - exact) <= np.spacing(exact.astype(np.float32))).all()


def test_colours_go_where_they_are_asked_to(photo: NDArray[np.uint8]) -> None:
    out = np.empty((3, *photo.shape[:2]), np.float32)
    assert lab_colours(photo, out=out) is out
    assert np.array_equal(out, lab_colours(photo))


@pytest.mark.parametrize("blur", [0, 0.3, 0.8, 1.7, 6.8])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("shape", [(40, 53), (1, 1), (1, 30), (30, 1), (2, 2)])
def test_edges_have_the_same_bits(
    slower: pytest.MonkeyPatch, blur: float, gaps: bool, shape: tuple[int, int]
) -> None:
    picture = lab_colours(noise(*shape, 3).astype(np.uint8))
    valid = None
    if gaps:
        valid = noise(*shape, seed=1, high=3) > 0
        valid[: shape[0] // 2] = False  # so much that some pixels see nothing valid
    slow = edge_height(picture, blur, valid)
    slower.undo()
    out = np.empty(shape, np.float32)
    assert edge_height(picture, blur, valid, out=out) is out
    assert out.tobytes() == slow.tobytes()


def test_edges_are_those_of_scipy(photo: NDArray[np.uint8]) -> None:
    """Its Gaussian adds in float64, so the last bits differ."""
    from scipy.ndimage import gaussian_filter

    picture = lab_colours(photo)
    smooth = [gaussian_filter(channel, 3.3, mode="nearest", truncate=2.5) for channel in picture]
    down, across = np.zeros((2, *photo.shape[:2]))
    for channel in smooth:
        down[1:-1] += (channel[2:] - channel[:-2]) ** 2
        across[:, 1:-1] += (channel[:, 2:] - channel[:, :-2]) ** 2
    assert np.allclose(edge_height(picture, 3.3), np.sqrt(down + across), atol=2e-4)


def test_heights_are_added_with_the_same_bits(slower: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    height, fine = rng.random((2, 20, 30)).astype(np.float32)
    rows, columns = rng.random(20).astype(np.float32), rng.random(30).astype(np.float32)
    slow, fast = height.copy(), height.copy()
    edges.add_heights(slow, fine, 0.3, rows, columns, 0.7)
    slower.undo()
    edges.add_heights(fast, fine, 0.3, rows, columns, 0.7)
    assert fast.tobytes() == slow.tobytes()


# -- the watershed --------------------------------------------------------------------------------


@st.composite
def landscapes(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    height = draw(arrays(np.float32, shapes, elements=st.integers(0, 4)))
    n = draw(st.integers(1, min(5, height.size)))
    return height, np.array(draw(st.permutations(range(height.size)))[:n])


def assert_same_flood(height: NDArray[np.float32], springs: NDArray[np.int64]) -> None:
    values = np.arange(len(springs), dtype=np.int32)
    slow = flood._flood.instead(height, springs, values, np.empty(0, np.uint32))
    for scratch in (None, np.empty((3, *height.shape), np.float32)):
        fast = flood.flooded(height, springs, values, scratch)
        assert fast.dtype == slow.dtype
        assert np.array_equal(fast, slow)


@given(landscapes())
def test_ties_of_the_watershed_are_broken_by_one_rule(
    land: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    assert_same_flood(*land)


def test_floods_of_a_photograph(photo: NDArray[np.uint8]) -> None:
    y, x = patch_centres((30, 40), (photo.shape[0], photo.shape[1]))
    springs = (y[:, None] * photo.shape[1] + x).reshape(-1)
    for blur in (0, 0.8, 3):
        assert_same_flood(edge_height(lab_colours(photo), blur), springs)


@pytest.mark.parametrize("high", [2, 100, 2**20])
def test_floods_of_noise(high: int) -> None:
    """With many passes, more than the memory that is lent; with few heights, many ties."""
    assert_same_flood(noise(60, 80, high=high).astype(np.float32), noise(9, high=4800, seed=3))
    signs = -np.zeros((60, 80), np.float32) * noise(60, 80, low=-1, high=2)
    assert_same_flood(signs.astype(np.float32), np.arange(0, 4800, 131))


def test_long_ways_down() -> None:
    """Water that winds through the whole picture to one spring."""
    height = np.full((41, 40), 9000, np.float32)
    height[::2] = np.arange(21 * 40)[::-1].reshape(21, 40)
    height[2::4] = height[2::4, ::-1]
    height[1::4, -1] = height[0:-1:4, -1] - 0.5
    height[3::4, 0] = height[2:-1:4, 0] - 0.5
    end = int(height.argmin())
    assert_same_flood(height, np.array([end]))
    assert_same_flood(height, np.array([end, 5, 777]))


# -- labels ---------------------------------------------------------------------------------------


def assert_same_trim(labels: NDArray[np.int32], width: int) -> None:
    slow, fast = labels.copy(), labels.copy()
    opening._trim.instead(slow, width)
    opening._trim(fast, width)
    assert np.array_equal(fast, slow)


@given(maps, st.integers(2, 4))
def test_threads_go_to_the_same_pixels(labels: NDArray[np.int32], width: int) -> None:
    if width <= min(labels.shape):
        assert_same_trim(labels, width)


def test_threads_far_from_what_is_kept() -> None:
    labels = noise(50, 70, high=9).astype(np.int32)
    labels[3:7, 60:65], labels[40:44, 2:9], labels[44:49, 50:54] = 11, 12, 13
    for width in (2, 3, 4):
        assert_same_trim(labels, width)
    stripes = (np.arange(60)[:, None] // 2 + np.zeros(50)).astype(np.int32)
    stripes[:, 44:] = 99
    assert_same_trim(stripes, 3)
    assert_same_trim(stripes.T.copy(), 3)


def assert_same_components(labels: NDArray[np.int32]) -> None:
    start = components._starts(labels)
    assert np.array_equal(start, components._starts.instead(labels))
    shared = components._shared(start, labels.shape[1])
    for fast, slow in zip(shared, components._shared.instead(start, labels.shape[1]), strict=True):
        assert np.array_equal(fast, slow)
    runs = labels.reshape(-1)[start[:-1]], shared[0], shared[1]
    assert np.array_equal(components._join(*runs), components._join.instead(*runs))
    n = int(labels.max()) + 2
    assert np.array_equal(
        components.count_pixels(labels, n), components.count_pixels.instead(labels, n)
    )


@given(maps)
def test_components_are_the_same(labels: NDArray[np.int32]) -> None:
    assert_same_components(labels)


def test_components_of_large_maps_are_the_same() -> None:
    for high in (2, 3, 50):
        assert_same_components(noise(90, 110, high=high).astype(np.int32))


@given(maps)
def test_borders_of_components_are_counted_by_pixels(labels: NDArray[np.int32]) -> None:
    parts = components.Components.of(labels)
    part = parts.painted(np.arange(len(parts.size()), dtype=np.int32))
    assert np.array_equal(parts.size(), np.bincount(part.ravel()))
    assert np.array_equal(part.ravel()[parts.first()], np.arange(part.max() + 1))
    wanted = np.arange(part.max() + 1) % 2 == 0
    expected: dict[tuple[int, int], int] = {}
    for one, other in ((part[:, 1:], part[:, :-1]), (part[1:], part[:-1])):
        for pair in zip(one.ravel().tolist(), other.ravel().tolist(), strict=True):
            for a, b in (pair, pair[::-1]):
                if a != b and wanted[a]:
                    expected[a, b] = expected.get((a, b), 0) + 1
    a, b, border = (found.tolist() for found in parts.touching(wanted))
    assert list(zip(a, b, border, strict=True)) == [(*k, v) for k, v in sorted(expected.items())]


def test_in_a_window_specks_among_specks_stay() -> None:
    labels = np.array([[0, 1], [1, 0]], np.int32)
    parents = np.array([2, 2, 2])
    assert np.array_equal(without_specks(labels, parents, 9, largest_stay=False), labels)
    labels = np.array([[0, 0, 0], [0, 1, 1]], np.int32)
    assert not without_specks(labels, parents, 3, largest_stay=False).any()


@given(arrays(np.int32, shapes, elements=st.integers(0, 5)), st.integers(0, 5))
def test_places_of_lost_leaves_are_the_same(centres: NDArray[np.int32], leaf: int) -> None:
    parents = np.array([6, 6, 7, 8, 8, 9, 7, 9, 10, 10, 10])
    wanted = np.arange(6) % 3 == leaf % 3
    patches = np.argwhere(centres >= leaf)
    if len(patches):
        loop = regions._nearest_centre
        assert loop(centres, wanted, patches) == loop.instead(centres, wanted, patches)
    if wanted[centres].any():
        first = regions._first_pixel
        assert first(centres, wanted) == first.instead(centres, wanted)
    above = regions._joined_above
    assert np.array_equal(above(parents, leaf), above.instead(parents, leaf))


@given(shapes, shapes)
def test_nearest_takes_the_pixel_that_holds_the_centre(
    old: tuple[int, int], new: tuple[int, int]
) -> None:
    values = np.arange(old[0] * old[1] * 2).reshape(*old, 2)
    found = nearest(values, new)
    for y, x in np.ndindex(new):
        at = int((y + 0.5) * old[0] / new[0]), int((x + 0.5) * old[1] / new[1])
        assert np.array_equal(found[y, x], values[at])


# -- all of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(280, 360), (400, 333)])
def test_borders_are_the_same_without_numba(
    slower: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    part, rgb = patchwork(np.random.default_rng(0), 280, 360, 30, 12)
    leaf = nearest(np.asarray(part, np.int32), (28, 36))
    leaf[::9, ::7] = leaf.max() + 1 + np.arange(leaf[::9, ::7].size).reshape(leaf[::9, ::7].shape)
    parents = np.full(leaf.max() + 2, leaf.max() + 1)
    for settings in (Guided(), Guided(threads=1, specks=3)):
        slow = refine_leaves(leaf, parents, rgb, size, settings=settings)
        with slower.context() as compiled:
            compiled.setattr(jit, "_why_not", None)
            fast = refine_leaves(leaf, parents, rgb, size, settings=settings)
        assert np.array_equal(fast, slow)
