"""Ultrametric contour maps: a threshold gives the pieces of the cut, and files hold the map."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import label
from trees import hand_tree, path_to_root, regions_of, trees

from regiontree import RegionTree
from regiontree.errors import ExportError
from regiontree.export.contourmap import ultrametric_contour_map, write_contour_map

EIGHT = np.ones((3, 3))


def joined_at(tree: RegionTree, a: int, b: int) -> float:
    """Height of the lowest node on the paths of both leaves."""
    return float(tree.height[min(set(path_to_root(tree, a)) & set(path_to_root(tree, b)))])


def pieces_of(labels: np.ndarray) -> set[frozenset[int]]:
    """The pieces of regions that hang together by sides of pixels."""
    found: set[frozenset[int]] = set()
    for region in np.unique(labels):
        number, count = label(labels == region)
        found |= {frozenset(np.flatnonzero(number == k).tolist()) for k in range(1, count + 1)}
    return found


def test_a_tree_known_by_heart():
    # hand_tree: 0 0 1 2 above 0 0 3 3; leaves 1 and 2 join at .25, with 3 at .5, with 0 at 1.
    expected = [
        [0, 0, 0, 0, 1, 0, 0.25, 0, 0],
        [0, 0, 0, 0, 1, 0, 0.25, 0, 0],
        [0, 0, 0, 0, 1, 0.5, 0.5, 0.5, 0.5],
        [0, 0, 0, 0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 0, 0],
    ]
    contours = ultrametric_contour_map(hand_tree())
    assert contours.dtype == np.float32
    assert contours.tolist() == expected
    image = ultrametric_contour_map(hand_tree(), size="image")
    assert image.tolist() == [[0, 1, 0.5, 0.5], [0, 1, 0, 0]]


def heights(tree: RegionTree) -> list[float]:
    """Every height of the tree, and heights between and around them."""
    found = np.unique(tree.height)
    return [*found.tolist(), *(found[:-1] + np.diff(found) / 2).tolist(), 99.0]


@pytest.mark.parametrize("neighbours", [None, EIGHT])
@settings(max_examples=100, deadline=None)
@given(tree=trees())
def test_a_threshold_gives_the_pieces_of_the_cut(neighbours, tree):
    """With four neighbours and with eight, at every height of the tree and between."""
    contours = ultrametric_contour_map(tree)
    for height in heights(tree):
        number, _ = label(contours <= np.float32(height), neighbours)
        assert regions_of(number[1::2, 1::2]) == pieces_of(tree.cut(height=height))


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_borders_have_the_height_at_which_their_pixels_join(tree):
    contours, labels = ultrametric_contour_map(tree), tree.labels
    h, w = labels.shape
    assert contours.shape == (2 * h + 1, 2 * w + 1)
    assert not contours[1::2, 1::2].any()
    for y, x in np.ndindex(h, w):
        for down, right in ((0, 1), (1, 0)):
            if y + down < h and x + right < w:
                a, b = int(labels[y, x]), int(labels[y + down, x + right])
                border = contours[2 * y + 1 + down, 2 * x + 1 + right]
                assert border == (0 if a == b else joined_at(tree, a, b))
    for y, x in np.ndindex(h - 1, w - 1):
        corner = contours[2 * y + 1 : 2 * y + 4, 2 * x + 1 : 2 * x + 4]
        assert corner[1, 1] == corner[::2, 1].max(initial=corner[1, ::2].max())
    assert np.array_equal(contours[[0, -1]], contours[[1, -2]])
    assert np.array_equal(contours[:, [0, -1]], contours[:, [1, -2]])
    assert np.array_equal(ultrametric_contour_map(tree, size="image"), contours[2::2, 2::2])


@pytest.mark.parametrize("size", ["double", "image"])
def test_files_hold_the_map(size, tmp_path):
    tree = hand_tree()
    contours = ultrametric_contour_map(tree, size=size)
    tree.export("ucm", tmp_path / "a" / "map.ucm.npy", size=size)
    read = np.load(tmp_path / "a" / "map.ucm.npy")
    assert read.dtype == np.float32
    assert np.array_equal(read, contours)
    tree.export("ucm-picture", tmp_path / "map.png", size=size)
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.mode == "I;16"
        assert np.array_equal(np.asarray(picture), np.rint(contours * 65535.0))


@settings(max_examples=30, deadline=None)
@given(low=st.floats(1e-30, 1e-5))
def test_a_low_border_is_not_lost_in_a_picture(low, tmp_path_factory):
    tree = RegionTree([[0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, low, 1])
    path = write_contour_map(tree, tmp_path_factory.mktemp("map") / "map.png")
    with Image.open(path) as picture:
        assert np.asarray(picture)[1].tolist() == [0, 0, 1, 0, 65535, 0, 0]


def test_what_cannot_be_written_is_refused(tmp_path):
    high = RegionTree([[0, 1]], [2, 2, 2], [0, 0, 7])
    with pytest.raises(ExportError, match=r"height 7; write \.npy"):
        write_contour_map(high, tmp_path / "map.png")
    assert np.load(write_contour_map(high, tmp_path / "map.npy")).max() == 7
    with pytest.raises(ExportError, match=r"map\.mat: .*\.npy or \.png"):
        write_contour_map(high, tmp_path / "map.mat")
    with pytest.raises(ExportError, match="size must be double or image, got 'half'"):
        ultrametric_contour_map(high, size="half")
    with pytest.raises(ExportError, match="size must be one of double, image"):
        high.export("ucm", tmp_path / "other.npy", size="half")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["map.npy"]
