"""Refinement by watershed: against the definition, where borders land, what never changes."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
import pytest
from conftest import EXAMPLE
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from regiontree import RegionParser
from regiontree.errors import FeatureError, SettingsError
from regiontree.images import load_image, nearest
from regiontree.images.colours import lab_colours
from regiontree.refine.guided import (
    Guided,
    edge_height,
    refine_leaves,
    watershed,
)
from regiontree.refine.regions import components

PLAIN = Guided(specks=0)


def star(leaves: int) -> np.ndarray:
    return np.full(leaves + 1, leaves)


def flood(height: np.ndarray, springs: np.ndarray) -> np.ndarray:
    """Water pixel by pixel: always the lowest pixel at the waters' edge is the next to be wet."""
    found = np.full(height.shape, -1)
    edge = []

    def wet(y: int, x: int, spring: int) -> None:
        found[y, x] = spring
        for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= b < height.shape[0] and 0 <= a < height.shape[1] and found[b, a] < 0:
                heapq.heappush(edge, (max(height[y, x], height[b, a]), b, a, spring))

    for spring, at in enumerate(springs.tolist()):
        wet(*divmod(at, height.shape[1]), spring)
    while edge:
        _, y, x, spring = heapq.heappop(edge)
        if found[y, x] < 0:
            wet(y, x, spring)
    return found


def lowest_pass(height: np.ndarray, start: int, end: int) -> float:
    """Greatest height on the path between two pixels on which it is least."""
    flat, width = height.ravel(), height.shape[1]
    best, edge = {}, [(float(flat[start]), start)]
    while edge:
        cost, at = heapq.heappop(edge)
        if at in best:
            continue
        best[at] = cost
        y, x = divmod(at, width)
        for b, a in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            if 0 <= b < height.shape[0] and 0 <= a < width:
                heapq.heappush(edge, (max(cost, float(flat[b * width + a])), b * width + a))
    return best[end]


@st.composite
def landscapes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    shape = draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    height = draw(arrays(np.float32, shape, elements=st.integers(0, 5)))
    n = draw(st.integers(1, min(5, height.size)))
    order = draw(st.permutations(range(height.size)))
    return height, np.array(order[:n])


@given(landscapes())
def test_each_pixel_is_reached_over_its_lowest_pass(land: tuple[np.ndarray, np.ndarray]) -> None:
    height, springs = land
    found = watershed(height, springs)
    assert np.array_equal(found.ravel()[springs], np.arange(len(springs)))
    assert components(found.astype(np.int32)).max() + 1 == len(springs)  # each in one piece
    for pixel, spring in enumerate(found.ravel().tolist()):
        passes = [lowest_pass(height, at, pixel) for at in springs.tolist()]
        assert passes[spring] == min(passes)


@pytest.mark.parametrize("seed", range(5))
def test_without_ties_it_is_the_flood(seed: int) -> None:
    """Where all heights differ there is nothing to choose, but for pixels that are passes."""
    rng = np.random.default_rng(seed)
    height = rng.permutation(30 * 20).reshape(30, 20).astype(np.float32)
    springs = rng.choice(height.size, 12, replace=False)
    assert (watershed(height, springs) == flood(height, springs)).mean() > 0.9


def scene(size: int = 112, edge: int = 50) -> np.ndarray:
    """Dark left of column `edge`, bright right of it, with a little noise."""
    rgb = np.random.default_rng(0).integers(0, 12, (size, size, 3))
    rgb[:, edge:] += 150
    return rgb.astype(np.uint8)


def test_borders_move_to_the_edge_of_the_photograph() -> None:
    leaf = np.array([[0] * 4 + [1] * 4] * 8)  # their border is at column 56
    for edge in (51, 56, 61):
        labels = refine_leaves(leaf, star(2), scene(edge=edge), (112, 112))
        truth = np.arange(112) >= edge
        assert (labels == truth).mean() > 0.995


def test_leaves_on_one_side_do_not_cross_to_the_other() -> None:
    leaf = np.arange(64).reshape(8, 8)
    labels = refine_leaves(leaf, star(64), scene(edge=59), (112, 112))
    assert set(np.unique(labels[:, :57]) % 8) == {0, 1, 2, 3}
    assert set(np.unique(labels[:, 61:]) % 8) == {4, 5, 6, 7}


def test_where_there_is_no_edge_the_grid_stays() -> None:
    leaf = np.random.default_rng(1).integers(0, 9, (5, 6)).astype(np.int32)
    grey = np.full((70, 84, 3), 90, np.uint8)
    labels = refine_leaves(leaf, star(9), grey, (70, 84), settings=PLAIN)
    assert (labels == nearest(leaf, (70, 84))).mean() > 0.9


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1), (8, 8), (9, 31), (3, 300)])
@pytest.mark.parametrize("grid", [(1, 1), (1, 8), (3, 1), (3, 8)])
def test_every_leaf_keeps_a_pixel(grid: tuple[int, int], shape: tuple[int, int]) -> None:
    if shape[0] < grid[0] or shape[1] < grid[1]:
        shape = shape[0] * grid[0], shape[1] * grid[1]
    rgb = np.random.default_rng(2).integers(0, 256, (*shape, 3)).astype(np.uint8)
    leaf = np.arange(grid[0] * grid[1]).reshape(grid)
    for size in (shape, grid, (shape[0] * 2, shape[1] + 3)):
        labels = refine_leaves(leaf, star(leaf.size), rgb, size)
        assert labels.shape == size
        assert labels.dtype == np.int32
        assert np.array_equal(np.unique(labels), leaf.ravel())


def test_specks_follow_their_setting() -> None:
    leaf = np.zeros((8, 8), np.int32)
    leaf[2, 2] = leaf[6:, 6:] = 1
    rgb = np.zeros((112, 112, 3), np.uint8)
    rgb[84:, 84:] = 255
    kept = refine_leaves(leaf, star(2), rgb, (112, 112), settings=PLAIN)
    merged = refine_leaves(leaf, star(2), rgb, (112, 112), settings=Guided(specks=2))
    assert kept[35, 35] == 1
    assert merged[35, 35] == 0
    assert (merged[86:, 86:] == 1).all()


def test_colours_are_those_of_scikit_image() -> None:
    color = pytest.importorskip("skimage.color", reason="scikit-image is not installed")
    rgb = np.random.default_rng(3).integers(0, 256, (20, 30, 3)).astype(np.uint8)
    rgb[0] = np.arange(30)[:, None]  # dark ones, on the straight part
    assert np.allclose(np.moveaxis(lab_colours(rgb), 0, 2), color.rgb2lab(rgb), atol=0.02)


def test_height_is_the_gradient() -> None:
    y, x = np.mgrid[0:30, 0:40].astype(np.float32)
    slope = np.stack([3 * x, 4 * y, 0 * x])
    assert np.allclose(edge_height(slope, 0)[1:-1, 1:-1], 10)  # 5 a pixel
    assert np.allclose(edge_height(slope, 2)[8:-8, 8:-8], 10, rtol=1e-4)


def test_same_input_same_bytes() -> None:
    rgb = np.random.default_rng(4).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    leaf = np.arange(48).reshape(6, 8) % 20
    before = rgb.copy(), leaf.copy()
    one, two = (refine_leaves(leaf, star(20), rgb, (180, 201)) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert np.array_equal(rgb, before[0])
    assert np.array_equal(leaf, before[1])


@pytest.mark.parametrize(
    ("rgb", "size", "told"),
    [
        (np.zeros((8, 8, 3)), (8, 8), "uint8"),
        (np.zeros((8, 8), np.uint8), (8, 8), "(H, W, 3)"),
        (np.zeros((3, 8, 3), np.uint8), (8, 8), "rgb of 3 x 8"),
        (np.zeros((8, 8, 3), np.uint8), (8, 3), "size of 8 x 3"),
    ],
)
def test_what_does_not_fit_is_refused(rgb: np.ndarray, size: tuple[int, int], told: str) -> None:
    with pytest.raises(FeatureError, match=told.replace("(", r"\(").replace(")", r"\)")):
        refine_leaves(np.zeros((4, 4), int), star(1), rgb, size)


def test_leaves_are_of_a_grid() -> None:
    for leaf in (np.zeros(4, int), np.zeros((0, 4), int)):
        with pytest.raises(FeatureError, match="leaf_of_patch"):
            refine_leaves(leaf, star(1), np.zeros((8, 8, 3), np.uint8), (8, 8))


def test_a_tree_of_one_node() -> None:
    labels = refine_leaves(np.zeros((4, 4), int), np.zeros(1, int), scene(), (30, 20))
    assert labels.shape == (30, 20)
    assert not labels.any()


@pytest.mark.parametrize("change", [{"coarse": -1}, {"fine": 5}, {"bowl": -1}, {"specks": "a"}])
def test_settings_are_checked(change: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=next(iter(change))):
        Guided(**change)  # type: ignore[arg-type]


def test_a_photograph(embedded_installed: None) -> None:
    """Borders of the regions lie on stronger edges than those of the patch grid do."""
    parser = RegionParser(size=420, parts=60, device="cpu")
    tree = parser.build(parser.features(EXAMPLE))
    size = load_image(Path(EXAMPLE)).size
    rgb = parser.pixels(EXAMPLE)
    labels = refine_leaves(tree.labels, tree.parents, rgb, size)
    height = edge_height(lab_colours(load_image(EXAMPLE).rgb), 1)

    def on_borders(labels: np.ndarray) -> float:
        return float(height[:, 1:][labels[:, 1:] != labels[:, :-1]].mean())

    assert on_borders(labels) > 1.5 * on_borders(nearest(tree.labels, size))
    assert np.array_equal(np.unique(labels), np.unique(tree.labels))
