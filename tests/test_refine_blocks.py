"""A photograph refined in windows is the photograph refined at once, or nearly."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scenes import patchwork

from regiontree import RegionParser, RegionTree
from regiontree.images import nearest
from regiontree.refine import guided
from regiontree.refine.blocks import merge_specks_within, windows
from regiontree.refine.guided import refine_leaves
from regiontree.refine.regions import merge_specks


@given(
    st.tuples(st.integers(1, 30), st.integers(1, 30)),
    st.tuples(st.integers(0, 90), st.integers(0, 90)),
    st.integers(1, 12),
    st.integers(0, 4),
)
def test_cores_are_the_photograph_and_windows_hold_whole_patches(grid, more, side, margin):
    shape = grid[0] + more[0], grid[1] + more[1]
    patch = nearest(np.arange(grid[0] * grid[1], dtype=np.int32).reshape(grid), shape)
    times = np.zeros(shape, int)
    for window in windows(grid, shape, side, margin):
        times[window.core] += 1
        rows, columns = window.cells
        held = np.arange(patch.max() + 1).reshape(grid)[rows, columns]
        assert np.array_equal(np.unique(patch[window.pixels]), held.ravel())
        assert np.isin(patch, held).sum() == patch[window.pixels].size
        assert np.array_equal(patch[window.pixels][window.inner], patch[window.core])
        for cells, cores in zip(window.cells, window.core, strict=True):
            assert cells.stop - cells.start <= side + 2 * margin
            assert cores.stop > cores.start
    assert (times == 1).all()


def test_few_patches_are_one_window():
    (window,) = windows((10, 12), (77, 95), 12, 8)
    assert window.pixels == window.core == window.inner == (slice(0, 77), slice(0, 95))


class TestSpecks:
    parents = np.array([4, 3, 3, 4, 4])

    def test_the_largest_place_in_a_window_may_be_a_speck(self):
        """Leaf 1 has one pixel here; only the window's own rule takes it for a speck."""
        labels = np.array([[0, 0, 0, 0, 2], [0, 1, 2, 2, 2]], np.int32)
        assert merge_specks(labels, self.parents, 2)[1, 1] == 1
        merged = merge_specks_within(labels, self.parents, 2)
        assert merged.tolist() == [[0, 0, 0, 0, 2], [0, 2, 2, 2, 2]]

    @pytest.mark.parametrize("least", [0, 1])
    def test_nothing_is_a_speck(self, least):
        labels = np.array([[0, 1, 2]], np.int32)
        assert np.array_equal(merge_specks_within(labels, self.parents, least), labels)


@pytest.fixture(scope="module")
def scene() -> tuple[RegionTree, np.ndarray]:
    """A tree on 40 x 56 patches, and the 300 x 420 photograph whose colours they hold."""
    rng = np.random.default_rng(0)
    _, rgb = patchwork(rng, 300, 420, 40, 10)
    small = np.asarray(Image.fromarray(rgb).resize((56, 40), Image.Resampling.BOX))
    parser = RegionParser(backbone="precomputed:-", refine="none", parts=120)
    return parser.build(small.astype(np.float32) + 1), rgb


def in_windows(monkeypatch, tree: RegionTree, rgb: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    monkeypatch.setattr(guided, "_WHOLE", 1)
    monkeypatch.setattr(guided, "_WINDOW", 90)
    found = refine_leaves(tree.labels, tree.parents, rgb, size)
    monkeypatch.undo()
    return found


def test_windows_change_few_pixels(scene, monkeypatch):
    tree, rgb = scene
    at_once = refine_leaves(tree.labels, tree.parents, rgb, rgb.shape[:2])
    found = in_windows(monkeypatch, tree, rgb, rgb.shape[:2])
    assert (found != at_once).mean() < 0.005
    for regions in (3, 12):
        cuts = [
            RegionTree(labels=labels, parents=tree.parents, height=tree.height).cut(
                n_regions=regions
            )
            for labels in (found, at_once)
        ]
        assert (cuts[0] != cuts[1]).mean() < 0.003


def test_every_leaf_has_a_pixel_at_any_size(scene, monkeypatch):
    tree, rgb = scene
    for size in (tree.labels.shape, rgb.shape[:2], (511, 640)):
        found = in_windows(monkeypatch, tree, rgb, size)
        assert found.shape == size
        assert found.dtype == np.int32
        assert np.array_equal(np.unique(found), np.arange(tree.n_leaves))


def test_a_margin_is_needed(scene, monkeypatch):
    """So that the tests above say something."""
    tree, rgb = scene
    at_once = refine_leaves(tree.labels, tree.parents, rgb, rgb.shape[:2])
    with_margin = in_windows(monkeypatch, tree, rgb, rgb.shape[:2])
    monkeypatch.setattr(guided, "WINDOW_MARGIN", 0)
    without = in_windows(monkeypatch, tree, rgb, rgb.shape[:2])
    assert (without != at_once).sum() > 4 * (with_margin != at_once).sum()
