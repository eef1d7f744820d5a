"""Pictures say what they claim: near colours are near in the tree, borders where regions meet."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import EXAMPLE, blocks
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.display.pictures import (
    cut_picture,
    cut_strip,
    hierarchy_colors,
    hierarchy_picture,
    save_pictures,
)


@pytest.fixture(scope="module")
def tree() -> RegionTree:
    parser = RegionParser(backbone="precomputed", parts=24, overclustering="features", device="cpu",
                          max_perturbation=1e9, tree="recursive", smoothing=0)  # fmt: skip
    return parser.build(blocks(20, 30), image_size=(100, 150))


def four_leaves() -> RegionTree:
    """A quarter each: 0 and 1 under 4, 2 and 3 under 5."""
    labels = np.kron(np.array([[0, 1], [2, 3]]), np.ones((20, 20), np.int64))
    return RegionTree(
        labels=labels,
        parents=np.array([4, 4, 5, 5, 6, 6, 6]),
        height=np.array([0, 0, 0, 0, 0.3, 0.2, 1]),
    )


def test_near_colours_are_near_in_the_tree():
    colors = hierarchy_colors(four_leaves()).astype(float)

    def apart(i: int, j: int) -> float:
        return float(np.linalg.norm(colors[i] - colors[j]))

    siblings = max(apart(0, 1), apart(2, 3))
    strangers = min(apart(i, j) for i in (0, 1) for j in (2, 3))
    assert 10 < siblings < strangers


def test_a_parents_colour_is_nearer_to_its_children_than_to_others(tree):
    colors = hierarchy_colors(tree).astype(float)
    top = tree.children(tree.root)
    for i in top:
        for child in tree.children(i):
            nearest = min(
                top, key=lambda other: float(np.linalg.norm(colors[child] - colors[other]))
            )
            assert nearest == i


def test_borders_are_white_where_regions_meet_and_only_there():
    picture = np.asarray(cut_picture(four_leaves(), None, n_regions=4, width=40))
    white = (picture == 255).all(axis=2)
    expected = np.zeros((40, 40), bool)
    expected[19:21] = expected[:, 19:21] = True
    assert np.array_equal(white, expected)
    whole = np.asarray(cut_picture(four_leaves(), None, n_regions=1, width=40))
    assert not (whole == 255).all(axis=2).any()


def test_the_photograph_shows_through():
    dark, bright = (np.full((40, 40, 3), v, np.uint8) for v in (20, 230))
    shades = [
        np.asarray(cut_picture(four_leaves(), p, n_regions=4, width=40)).mean()
        for p in (dark, bright)
    ]
    assert shades[1] > shades[0] + 50


def test_strip_has_one_panel_for_each_distinct_cut(tree):
    counts = (1, 2, 4, 8, 500, 1000)
    distinct = {len(tree.cut_nodes(n_regions=c)) for c in counts} - {1}
    alone = cut_strip(tree, granularities=counts, width=60)
    one = cut_strip(tree, granularities=(2,), width=60)
    assert alone.width == len(distinct) * (one.width - 12) + 12


def test_every_picture_of_every_tree_can_be_drawn(tree, tmp_path):
    whole = RegionTree(labels=np.zeros((7, 9), int), parents=np.array([0]), height=np.array([0]))
    for each in (tree, whole, four_leaves()):
        for picture in (hierarchy_picture(each), cut_strip(each)):
            assert isinstance(picture, Image.Image)
            assert picture.mode == "RGB"
    photo = Image.open(EXAMPLE).resize((150, 100))
    paths = save_pictures(tree, photo, tmp_path / "scene")
    assert {p.name for p in paths} >= {"scene.hierarchy.png", "scene.cuts.png"}
    assert sum(".cut-" in p.name for p in paths) >= 3
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in paths)
    first = [p.read_bytes() for p in paths]
    assert [p.read_bytes() for p in save_pictures(tree, photo, tmp_path / "scene")] == first


def test_annotated_classes_are_told_apart_by_colour():
    """Every two of the first 40 ids, and void, differ visibly."""
    from regiontree.display.pictures import annotation_picture

    ids = np.array([*range(40), 255], dtype=np.int32)
    truth = ids.repeat(9).reshape(-1, 9).repeat(9, axis=0)  # a band of 9 x 9 pixels each
    grey = np.full((*truth.shape, 3), 128, np.uint8)
    picture = np.asarray(annotation_picture(truth, grey)).astype(int)
    colors = picture[4::9, 4]  # away from the borders
    apart = np.abs(colors[:, None] - colors[None]).max(axis=2)
    assert apart[~np.eye(len(ids), dtype=bool)].min() >= 8
