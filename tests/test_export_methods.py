"""Every format is a method of the tree, too: the same function, the same answer."""

from __future__ import annotations

import numpy as np
import pytest
from trees import hand_tree

from regiontree.export import (
    coco,
    contourmap,
    geojson,
    graph,
    higra,
    labelmap,
    labelstudio,
    masks,
    newick,
)
from regiontree.export import panoptic as panoptic_format


def test_documents_are_those_of_their_functions():
    tree = hand_tree()
    pytest.importorskip("pycocotools")
    assert tree.to_coco("a/b", n_regions=3) == coco.to_coco(tree, "a/b", n_regions=3)
    assert tree.to_label_studio(all_nodes=True) == labelstudio.to_label_studio(tree, all_nodes=True)
    assert tree.to_geojson(depth=1) == geojson.to_geojson(tree, depth=1)
    assert tree.to_newick() == newick.to_newick(tree)
    described, picture = tree.to_panoptic(n_regions=3)
    expected, pixels = panoptic_format.to_panoptic(tree, n_regions=3)
    assert described == expected
    assert np.array_equal(picture, pixels)


def test_label_maps_are_those_of_their_functions():
    tree = hand_tree()
    assert np.array_equal(tree.to_label_image(), labelmap.to_label_image(tree))
    assert np.array_equal(tree.to_label_image(n_regions=2), tree.cut(n_regions=2) + 1)
    stack = tree.to_label_stack(granularities=(2, 3))
    contours = contourmap.ultrametric_contour_map(tree, size="image")
    assert np.array_equal(tree.to_ucm(size="image"), contours)
    assert np.array_equal(stack, labelmap.to_label_stack(tree, granularities=(2, 3)))


def test_graphs_are_those_of_their_functions():
    tree = hand_tree()
    networkx = pytest.importorskip("networkx")
    assert networkx.utils.graphs_equal(tree.to_networkx(), graph.to_networkx(tree))
    pytest.importorskip("higra")
    (ours, altitudes, leaves), (theirs, expected, where) = tree.to_higra(), higra.to_higra(tree)
    assert np.array_equal(ours.parents(), theirs.parents())
    assert np.array_equal(altitudes, expected)
    assert np.array_equal(leaves, where)


def test_a_folder_of_masks_is_that_of_its_function(tmp_path):
    tree = hand_tree()
    ours, theirs = tree.to_masks(tmp_path / "a"), masks.write_masks(tree, tmp_path / "b")
    names = sorted(file.name for file in ours.iterdir())
    assert names == sorted(file.name for file in theirs.iterdir())
    assert all((ours / name).read_bytes() == (theirs / name).read_bytes() for name in names)


def test_an_option_that_the_format_does_not_have_is_an_error():
    with pytest.raises(TypeError, match="n_region"):
        hand_tree().to_label_image(n_region=3)
