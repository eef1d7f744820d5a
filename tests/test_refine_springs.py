"""Springs that move within their patches: against the definition, and what they gain."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from regiontree.images import nearest
from regiontree.refine import guided, springs
from regiontree.refine.blocks import first_pixel
from regiontree.refine.guided import refine_leaves
from regiontree.refine.regions import patch_centres
from regiontree.refine.springs import moved_springs

Scene = tuple[NDArray, NDArray, NDArray, NDArray, tuple[NDArray, NDArray], NDArray]


def bounds_of(grid: tuple[int, int], shape: tuple[int, int]) -> tuple[NDArray, NDArray]:
    rows, columns = (
        first_pixel(np.arange(cells + 1), cells, pixels)
        for cells, pixels in zip(grid, shape, strict=True)
    )
    return rows, columns


def centres(grid: tuple[int, int], shape: tuple[int, int]) -> NDArray:
    y, x = patch_centres(grid, shape)
    return y[:, None] * shape[1] + x


@st.composite
def scenes(draw: st.DrawFn) -> Scene:
    """A few leaves on a small grid, before a photograph of a few colours with gaps."""
    grid = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    shape = grid[0] * draw(st.integers(1, 6)), grid[1] * draw(st.integers(1, 6)) + 1
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    leaf = rng.integers(0, draw(st.integers(1, 4)), grid).astype(np.int32)
    colours = rng.integers(0, 256, (draw(st.integers(1, 4)), 3)).astype(np.uint8)
    blocks = rng.integers(0, len(colours), (-(-shape[0] // 3), -(-shape[1] // 3)))
    rgb = colours[blocks.repeat(3, 0).repeat(3, 1)[: shape[0], : shape[1]]]
    height = rng.integers(0, 5, shape).astype(np.float32)
    valid = rng.random(shape) < draw(st.sampled_from([0.8, 2]))
    at = np.where(rng.random(grid) < draw(st.sampled_from([0.8, 2])), centres(grid, shape), -1)
    return leaf, at, rgb, height, bounds_of(grid, shape), valid


def by_definition(
    leaf: NDArray, at: NDArray, rgb: NDArray, height: NDArray, _: object, valid: NDArray
) -> NDArray:
    """Pixel by pixel, as the module's docstring says it."""
    shape = height.shape
    patch = nearest(np.arange(leaf.size, dtype=np.int32).reshape(leaf.shape), shape)
    pixels: dict[int, list[tuple[int, int]]] = {}
    for y, x in np.ndindex(shape):
        pixels.setdefault(int(patch[y, x]), []).append((y, x))

    def colour(y: int, x: int) -> tuple[int, ...] | None:
        return tuple((rgb[y, x] // 16).tolist()) if valid[y, x] else None

    moved, said = at.copy(), {}
    there = [tuple(cell) for cell in np.argwhere(at >= 0).tolist()]

    def around(cell: tuple[int, int]) -> list[tuple[int, int]]:
        return [b for b in there if max(abs(b[0] - cell[0]), abs(b[1] - cell[1])) <= 2]

    for cell in there:
        counts = Counter(), Counter()
        near = around(cell)
        for other in near:
            number = other[0] * leaf.shape[1] + other[1]
            found = Counter(colour(*pixel) for pixel in pixels[number])
            found.pop(None, None)
            counts[int(leaf[other] != leaf[cell])].update(found)
        if all(leaf[other] == leaf[cell] for other in near):
            continue
        own, rest = (count.total() for count in counts)

        def shows(y: int, x: int, counts=counts, own=own, rest=rest) -> bool:
            inside = 0 <= y < shape[0] and 0 <= x < shape[1]
            key = colour(y, x) if inside else None
            if key is None:
                return False
            return (counts[0][key] + 1) * rest >= 3 * (counts[1][key] + 1) * own

        def nine(y: int, x: int, shows=shows) -> int:
            return sum(shows(b, a) for b in (y - 1, y, y + 1) for a in (x - 1, x, x + 1))

        said[cell] = True
        if nine(*divmod(int(at[cell]), shape[1])):
            continue
        good = [
            (height[pixel], pixel)
            for pixel in pixels[cell[0] * leaf.shape[1] + cell[1]]
            if shows(*pixel) and nine(*pixel) >= 6
        ]
        said[cell] = bool(good)
        if good:
            y, x = min(good)[1]
            moved[cell] = y * shape[1] + x
    for cell, shown in said.items():
        same = [other for other in around(cell) if leaf[other] == leaf[cell]]
        shown_there = sum(said.get(other, False) for other in same)
        if not shown and shown_there and 2 * shown_there >= len(same):
            moved[cell] = -1
    return moved


@given(scenes())
def test_springs_are_where_the_definition_says(scene: Scene) -> None:
    assert np.array_equal(moved_springs(*scene), by_definition(*scene))


@given(scenes())
def test_compiled_springs_are_those_of_numpy(scene: Scene) -> None:
    leaf, at, rgb, height, bounds, valid = scene
    colour = rgb[..., 0].astype(np.uint16) * 7
    colour[~valid] = springs._ABSENT
    fast, slow = at.copy(), at.copy()
    said = springs._move(leaf, colour, height, *bounds, fast)
    assert np.array_equal(said, springs._move.instead(leaf, colour, height, *bounds, slow))
    assert np.array_equal(fast, slow)


@given(scenes())
def test_springs_stay_in_their_patches_and_every_leaf_keeps_one(scene: Scene) -> None:
    leaf, at, _, height, *_ = scene
    moved = moved_springs(*scene)
    patch = nearest(np.arange(leaf.size, dtype=np.int32).reshape(leaf.shape), height.shape)
    kept = moved >= 0
    assert np.array_equal(patch.reshape(-1)[moved[kept]], np.flatnonzero(kept))
    assert set(leaf[kept].tolist()) == set(leaf[at >= 0].tolist())


def test_nothing_moves_where_every_centre_shows_its_leaf() -> None:
    """Two halves of two colours, and one colour for all."""
    grid, shape = (6, 8), (60, 80)
    leaf = np.zeros(grid, np.int32)
    leaf[:, 4:] = 1
    at = centres(grid, shape)
    for right in (0, 200):
        rgb = np.zeros((*shape, 3), np.uint8)
        rgb[:, 40:] = right
        moved = moved_springs(leaf, at, rgb, np.zeros(shape, np.float32), bounds_of(grid, shape))
        assert np.array_equal(moved, at)


def pole(shift: int, width: int, *, lying: bool, light: bool) -> tuple[NDArray, NDArray, NDArray]:
    """Leaves, photograph and mask: patches of 10 pixels, and leaf 1 has those with a pole in."""
    mask = np.zeros((120, 120), bool)
    mask[20:100, 50 + shift : 50 + shift + width] = True
    rgb = np.full((120, 120, 3), (90, 140, 190), np.uint8)
    rgb[mask] = 240 if light else 40
    leaf = mask.reshape(12, 10, 12, 10).mean(axis=(1, 3)) > 0.1
    leaf[6:8, 6:8] = True  # and some sky beside it
    if lying:
        leaf, rgb, mask = leaf.T, rgb.swapaxes(0, 1), mask.T
    return leaf.astype(np.int32), np.ascontiguousarray(rgb), mask


@pytest.mark.parametrize("lying", [False, True])
@pytest.mark.parametrize("light", [False, True])
@pytest.mark.parametrize("width", [4, 8])
@pytest.mark.parametrize("shift", [0, 2, 3, 4, 5, 7, 8, 9])
def test_poles_are_found_at_nearly_every_offset(
    shift: int, width: int, light: bool, lying: bool
) -> None:
    leaf, rgb, mask = pole(shift, width, lying=lying, light=light)
    found = refine_leaves(leaf, np.array([2, 2, 2]), rgb, (120, 120)) == 1
    assert (found & mask).sum() / (found | mask).sum() > 0.9


@pytest.mark.parametrize("shift", [1, 6])
def test_a_pole_whose_edge_is_beside_the_centres_is_missed(shift: int) -> None:
    """The known limit: the pole ends one pixel left or right of the centres, so they stay."""
    leaf, rgb, mask = pole(shift, 4, lying=False, light=False)
    found = refine_leaves(leaf, np.array([2, 2, 2]), rgb, (120, 120)) == 1
    assert (found & mask).sum() / (found | mask).sum() < 0.5


def test_without_moving_some_poles_are_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guided, "moved_springs", lambda leaf, at, *others: at)
    worst = 1.0
    for shift in range(0, 10, 2):
        leaf, rgb, mask = pole(shift, 4, lying=False, light=False)
        found = refine_leaves(leaf, np.array([2, 2, 2]), rgb, (120, 120)) == 1
        worst = min(worst, (found & mask).sum() / (found | mask).sum())
    assert worst < 0.5


def test_windows_move_the_same_springs() -> None:
    """Surroundings are local: a window moves the springs that the whole photograph does."""
    grid, shape = (12, 30), (120, 300)
    rng = np.random.default_rng(0)
    leaf = rng.integers(0, 3, grid).astype(np.int32)
    rgb = rng.integers(0, 4, (40, 100, 3)).repeat(3, 0).repeat(3, 1).astype(np.uint8) * 60
    height = rng.random(shape).astype(np.float32)
    whole = moved_springs(leaf, centres(grid, shape), rgb, height, bounds_of(grid, shape))
    part = moved_springs(
        leaf[:, 5:20], centres((12, 15), (120, 150)), rgb[:, 50:200], height[:, 50:200],
        bounds_of((12, 15), (120, 150)),
    )  # fmt: skip
    inner, expected = part[:, 4:-4], whole[:, 9:16]
    assert np.array_equal(inner < 0, expected < 0)
    kept = inner >= 0
    assert np.array_equal(inner[kept] // 150, expected[kept] // 300)
    assert np.array_equal(inner[kept] % 150 + 50, expected[kept] % 300)
    assert (expected != centres(grid, shape)[:, 9:16]).any()
