"""Higra: its own algorithms on the tree must find what the tree says, in memory and from a file."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from trees import hand_tree, path_to_root, pixels_of, random_tree, regions_of, trees

from regiontree import RegionTree
from regiontree.errors import MissingExtraError
from regiontree.export.higra import to_higra, write_higra

hg = pytest.importorskip("higra", reason="the extra 'higra' is not installed")


def lowest_common(tree: RegionTree, one: int, other: int) -> int:
    above = path_to_root(tree, other)
    return next(node for node in path_to_root(tree, one) if node in above)


def leaves_below(linked: hg.Tree) -> np.ndarray:
    """Which leaves are below each node, (N, L) bool, by Higra's own sums up the tree."""
    alone = np.eye(linked.num_leaves())
    return hg.accumulate_sequential(linked, alone, hg.Accumulators.sum) > 0


@settings(max_examples=50, deadline=None)
@given(tree=trees())
def test_nodes_areas_and_leaves_are_the_same(tree):
    """Leaves of random trees lie in many pieces."""
    linked, altitudes, leaf_map = to_higra(tree)
    assert linked.parents().tolist() == tree.parents.tolist()
    assert linked.num_leaves() == tree.n_leaves
    assert np.array_equal(altitudes, tree.height)
    assert hg.attribute_area(linked).tolist() == tree.area.tolist()
    below = leaves_below(linked)
    for node, pixels in enumerate(pixels_of(tree)):
        inside = below[node][leaf_map]
        assert frozenset(np.flatnonzero(inside).tolist()) == pixels


@settings(max_examples=50, deadline=None)
@given(tree=trees(), limit=st.sampled_from([0, 0.1, 0.25, 0.3, 0.5, 0.75]))
def test_a_cut_rebuilt_by_higra_is_the_cut(tree, limit):
    linked, altitudes, leaf_map = to_higra(tree)
    low = altitudes <= limit
    below = low & low[linked.parents()]
    below[tree.root] = False
    top = hg.reconstruct_leaf_data(linked, np.arange(tree.n_nodes), below)
    assert np.array_equal(top[leaf_map], tree.cut_nodes(height=limit)[tree.cut(height=limit)])


@settings(max_examples=50, deadline=None)
@given(tree=trees())
def test_saliency_of_pixel_edges_is_the_height_where_the_two_sides_part(tree):
    assume(tree.n_leaves > 1)  # Higra takes no saliency of a graph without edges
    linked, altitudes, leaf_map = to_higra(tree)
    grid = hg.CptRegionAdjacencyGraph.get_pre_graph(hg.CptHierarchy.get_leaf_graph(linked))
    flat = leaf_map.reshape(-1)
    for one, other, found in zip(*grid.edge_list(), hg.saliency(linked, altitudes), strict=True):
        a, b = int(flat[one]), int(flat[other])
        expected = 0 if a == b else tree.height[lowest_common(tree, a, b)]
        assert found == expected


def test_horizontal_cuts_of_higra_come_as_images():
    tree = hand_tree()
    linked, altitudes, _ = to_higra(tree)
    explorer = hg.HorizontalCutExplorer(linked, altitudes)
    for count in (1, 2, 3, 4):
        image = explorer.horizontal_cut_from_num_regions(count).labelisation_leaves(linked)
        assert image.shape == tree.shape
        assert regions_of(image) == regions_of(tree.cut(n_regions=count))


@pytest.mark.parametrize("shape", [(1, 2), (1, 9), (9, 1)])
def test_images_one_pixel_high_or_wide(shape):
    tree = random_tree(np.random.default_rng(1), min(5, shape[0] * shape[1]), shape)
    linked, altitudes, _ = to_higra(tree)
    assert hg.attribute_area(linked).tolist() == tree.area.tolist()
    assert len(hg.saliency(linked, altitudes)) == shape[0] * shape[1] - 1


@settings(max_examples=30, deadline=None)
@given(tree=trees())
def test_a_file_read_back_by_higra_is_the_tree(tree, tmp_path_factory):
    path = write_higra(tree, tmp_path_factory.mktemp("higra") / "Baum ä.tree")
    linked, found = hg.read_tree(str(path))
    assert linked.parents().tolist() == tree.parents.tolist()
    assert linked.num_leaves() == tree.n_leaves
    expected = {"altitudes": tree.height, "area": tree.area, "level": tree.level,
                "ncut": tree.ncut, "stop": tree.stop}  # fmt: skip
    if tree.stability is not None:
        expected["stability"] = tree.stability
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], values)
    for leaf, above in enumerate(leaves_below(linked).T):
        assert np.flatnonzero(above).tolist() == path_to_root(tree, leaf)


def test_without_higra_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "higra", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'regiontree\[higra\]'"):
        write_higra(hand_tree(), tmp_path / "a.tree")
    assert not list(tmp_path.iterdir())
