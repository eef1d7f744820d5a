"""Connected pieces of nodes, against floods of sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from trees import (
    Pixels,
    children_of,
    hand_tree,
    is_partition,
    pixels_of,
    random_tree,
    refines,
    regions_of,
    trees,
)

from regiontree import RegionTree, StopReason
from regiontree.errors import TreeError
from regiontree.system import jit
from regiontree.tree.piecetree import _nearest, smallest_piece

few = settings(max_examples=150, deadline=None)
areas = st.integers(1, 6)

Node = tuple[Pixels, float, Pixels]  # its pixels, its height, and the pixels of its parent


# -- the slow way ---------------------------------------------------------------------------------


def flood(pixels: Pixels, width: int) -> list[Pixels]:
    """The connected pieces of a set of pixels, by the first pixel."""
    left, found = set(pixels), []
    for pixel in sorted(pixels):
        if pixel not in left:
            continue
        left.discard(pixel)
        piece, edge = {pixel}, [pixel]
        while edge:
            at = edge.pop()
            beside = [at - width, at + width]
            beside += [at - 1] if at % width else []
            beside += [at + 1] if (at + 1) % width else []
            for other in beside:
                if other in left:
                    left.discard(other)
                    piece.add(other)
                    edge.append(other)
        found.append(frozenset(piece))
    return found


def apart(one: Pixels, other: Pixels, width: int) -> int:
    return min(
        (a // width - b // width) ** 2 + (a % width - b % width) ** 2 for a in one for b in other
    )


def expected_nodes(tree: RegionTree, min_area: int) -> set[Node]:
    """The tree of pieces by its definition."""
    pixels, width = pixels_of(tree), tree.shape[1]
    absent = {i for i in range(tree.n_leaves) if tree.stop[i] == StopReason.NO_DATA}
    found: set[Node] = set()

    def within(node: int, here: Pixels, above: Pixels | None) -> None:
        while only := [i for i in children_of(tree, node) if here <= pixels[i]]:
            node = only[0]
        found.add((here, float(tree.height[node]), above or here))
        for child in children_of(tree, node):
            there = here & pixels[child]
            if not there:
                continue
            pieces = flood(there, width)
            large = [p for p in pieces if len(p) >= min_area]
            large.sort(key=lambda p: (-len(p), min(p)))
            if len(large) < 2 or child in absent:
                within(child, there, here)
                continue
            parent = here
            if there == pixels[child]:
                found.add((there, float(tree.height[node]), here))
                parent = there
            joined = {piece: set(piece) for piece in large}
            for speck in pieces:
                if len(speck) < min_area:
                    joined[min(large, key=lambda p: apart(speck, p, width))] |= speck
            for piece in joined.values():
                within(child, frozenset(piece), parent)

    within(tree.root, pixels[tree.root], None)
    return found


def nodes_of(tree: RegionTree) -> set[Node]:
    pixels = pixels_of(tree)
    return {
        (pixels[i], float(tree.height[i]), pixels[int(tree.parents[i])])
        for i in range(tree.n_nodes)
    }


# -- the tree of pieces ---------------------------------------------------------------------------


@few
@given(trees(), areas)
def test_it_is_what_its_definition_says(tree, min_area):
    pieces = tree.pieces(min_area)
    assert nodes_of(pieces) == expected_nodes(tree, min_area)
    assert pieces.n_nodes == len(nodes_of(pieces))  # equal sets of pixels are one node


@few
@given(trees(), areas)
def test_it_is_a_finer_tree(tree, min_area):
    pieces = tree.pieces(min_area)
    pixels = pixels_of(pieces)
    for node in range(pieces.n_leaves, pieces.n_nodes):
        assert is_partition([pixels[i] for i in children_of(pieces, node)], pixels[node])
    assert refines(regions_of(pieces.labels), regions_of(tree.labels))
    for leaf in range(pieces.n_leaves):
        large = [p for p in flood(pixels[leaf], tree.shape[1]) if len(p) >= min_area]
        assert len(large) < 2


@few
@given(trees())
def test_each_node_is_a_node_or_a_piece_of_one(tree):
    known = set(pixels_of(tree))
    known |= {piece for pixels in known for piece in flood(pixels, tree.shape[1])}
    assert set(pixels_of(tree.pieces(1))) <= known


@few
@given(trees(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]))
def test_a_cut_by_height_has_the_pieces_of_the_same_cut(tree, height):
    expected = {
        piece
        for region in regions_of(tree.cut(height=height))
        for piece in flood(region, tree.shape[1])
    }
    assert regions_of(tree.pieces(1).cut(height=height)) == expected
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop)
    natural = RegionTree(*arrays, meta={"natural_height": height})
    assert regions_of(natural.pieces(1).cut()) == expected


@few
@given(trees(), areas)
def test_cuts_are_nested_and_refine_those_of_the_first_tree(tree, min_area):
    pieces = tree.pieces(min_area)
    cuts = [regions_of(pieces.cut(n_regions=n)) for n in range(1, pieces.n_leaves + 2)]
    for coarse, fine in zip(cuts, cuts[1:], strict=False):
        assert refines(fine, coarse)
    for height in (0.0, 0.25, 0.5):
        cut = regions_of(pieces.cut(height=height))
        assert refines(cut, regions_of(tree.cut(height=height)))
        for region in cut:
            assert sum(len(p) >= min_area for p in flood(region, tree.shape[1])) < 2


@few
@given(trees(), areas)
def test_the_pieces_of_pieces_are_the_same_tree(tree, min_area):
    pieces = tree.pieces(min_area)
    assert pieces.pieces(min_area) == pieces


def test_a_tree_of_connected_nodes_stays_as_it_is():
    tree = hand_tree()
    assert tree.pieces(1).meta["pieces"] == {"min_area": 1}
    assert RegionTree(*(getattr(tree.pieces(1), name) for name in NAMES), meta=tree.meta) == tree


NAMES = ("labels", "parents", "height", "ncut", "stop", "embedding")


def two_dogs() -> RegionTree:
    """Two dogs on grass; a dog has an ear (0), a body (1) and another ear. Grass is 2.

    ::

        2 2 2 2 2 2 2 2       4 ── height 1
        2 0 1 0 2 0 1 0       ├─ 2
        2 2 2 2 2 2 2 2       └─ 3 ── height 0.5
                                 ├─ 0
                                 └─ 1
    """
    labels = np.full((3, 8), 2)
    labels[1, [1, 3, 5, 7]], labels[1, [2, 6]] = 0, 1
    return RegionTree(
        labels=labels,
        parents=np.array([3, 3, 4, 4, 4]),
        height=np.array([0, 0, 0, 0.5, 1]),
        ncut=np.array([0.1, 0.2, 0.3, 0.4, 0]),
        stop=np.array([4, 1, 2, 0, 0]),
        embedding=np.array([[1, 0], [0, 1], [0.6, 0.8], [0.6, 0.8], [0, 1]], np.float16),
        descriptor=np.array([[1], [2], [3]], np.float16),
        stability=np.array([0.25, 0.5, 0.75, 0.125, 1], np.float16),
    )


def test_dogs_come_one_by_one():
    """Ears 0 to 3, bodies 4 and 5, grass 6; dogs 7 and 8, both dogs 9, everything 10."""
    pieces = two_dogs().pieces(1)
    assert pieces.labels.tolist() == [[6] * 8, [6, 0, 4, 1, 6, 2, 5, 3], [6] * 8]
    assert pieces.parents.tolist() == [7, 7, 8, 8, 7, 8, 10, 9, 9, 10, 10]
    assert pieces.height.tolist() == [0] * 7 + [0.5, 0.5, 1, 1]
    assert pieces.stop.tolist() == [4, 4, 4, 4, 1, 1, 2, 0, 0, 0, 0]
    assert np.allclose(pieces.ncut, [0, 0, 0, 0, 0, 0, 0.3, 0, 0, 0.4, 0])
    assert len(pieces.cut_nodes(height=0.5)) == 3  # grass and two dogs
    assert len(two_dogs().cut_nodes(height=0.5)) == 2
    assert pieces.cut_nodes(n_regions=2).tolist() == [6, 9]
    assert pieces.cut_nodes(n_regions=3).tolist() == [6, 7, 8]
    assert pieces.descriptor is not None
    assert pieces.embedding is not None
    assert pieces.descriptor.ravel().tolist() == [1, 1, 1, 1, 2, 2, 3]
    assert pieces.stability is not None
    of_dogs = [0.25] * 4 + [0.5] * 2 + [0.75] + [0.125] * 3  # grass between
    assert pieces.stability.tolist() == [*of_dogs, 1]
    ears, bodies = pieces.embedding[:4].tolist(), pieces.embedding[4:6].tolist()
    assert ears == [[1, 0]] * 4
    assert bodies == [[0, 1]] * 2
    two_ears_and_a_body = np.array([2, 1]) / 5**0.5
    assert np.allclose(pieces.embedding[7:9], two_ears_and_a_body, atol=1e-3)
    assert np.array_equal(pieces.embedding[9:], two_dogs().embedding[3:])


def test_ten_balloons_are_ten_nodes():
    labels = np.zeros((12, 30), int)
    for y in (1, 7):
        for x in range(1, 30, 6):
            labels[y : y + 3, x : x + 3] = 1
    pieces = RegionTree(labels, [2, 2, 2], [0, 0, 1]).pieces()
    assert pieces.parents.tolist() == [12, *[11] * 10, 12, 12]
    assert pieces.area.tolist() == [270, *[9] * 10, 90, 360]
    assert len(pieces.cut_nodes()) == 11


def test_what_touches_is_one_piece():
    tree = RegionTree([[1, 1, 0, 1], [0, 1, 1, 0]], [2, 2, 2], [0, 0, 1])
    assert tree.pieces(1).labels.tolist() == [[3, 3, 0, 4], [1, 3, 3, 2]]  # corners do not touch


def test_a_speck_stays_with_the_nearest_piece():
    labels = np.zeros((5, 9), int)
    labels[:, 0:2] = labels[:, 7:9] = 1
    labels[2, 3] = 1  # two columns from the left piece, four from the right one
    tree = RegionTree(labels, [2, 2, 2], [0, 0, 1])
    assert tree.pieces(1).n_leaves == 4
    pieces = tree.pieces(2)
    assert pieces.labels[2].tolist() == [1, 1, 0, 1, 0, 0, 0, 2, 2]
    assert tree.pieces(11).n_leaves == 2  # nothing but specks: the leaf stays whole


def test_a_small_dog_keeps_its_small_head():
    labels = np.zeros((4, 12), int)
    labels[:3, 1:4], labels[:3, 4:7] = 1, 2  # the large dog: head and body of nine pixels
    labels[1, 9], labels[1, 10:] = 1, 2
    tree = RegionTree(labels, [4, 3, 3, 4, 4], [0, 0, 0, 0.5, 1])
    pieces = tree.pieces(3)
    assert pieces.labels[1].tolist() == [0, 1, 1, 1, 3, 3, 3, 0, 0, 2, 4, 4]
    assert pieces.parents.tolist() == [8, 5, 6, 5, 6, 7, 7, 8, 8]


def test_a_leaf_without_data_stays_one_leaf():
    """The frame's corners are not there, and a bar of such pixels cuts the scene in two."""
    labels = np.array([[2, 0, 2, 1, 2], [0, 0, 2, 1, 1]])
    tree = RegionTree(labels, [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1], stop=[1, 1, 10, 0, 0])
    pieces = tree.pieces(1)
    assert np.array_equal(pieces.labels, labels)
    assert pieces.stop.tolist() == [1, 1, 10, 0, 0]
    assert sum(tree.node_pieces().node == 2) == 1


def test_a_scene_of_two_islands_is_divided_below_what_is_not_there():
    tree = RegionTree([[0, 2, 0], [1, 2, 1]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1],
                      stop=[1, 1, 10, 0, 0])  # fmt: skip
    pieces = tree.pieces(1)
    assert pieces.labels.tolist() == [[0, 4, 1], [2, 4, 3]]
    assert pieces.parents.tolist() == [5, 6, 5, 6, 8, 7, 7, 8, 8]
    assert pieces.stop[4] == StopReason.NO_DATA
    assert set(pieces.salient(9)).isdisjoint({4, 7, 8})


def test_the_smallest_piece_is_half_a_patch():
    tree = RegionTree(np.zeros((40, 50), int), [0], [0], meta={"image": {"grid": [4, 5]}})
    assert tree.pieces().meta["pieces"] == {"min_area": 50}
    assert smallest_piece((400, 500), {}) == 100
    assert smallest_piece((4, 5), {}) == 1
    for grid in (None, [4], ["a", 2], [0, 5], [-3, -3], [10**9, 5], "45"):
        assert smallest_piece((400, 500), {"image": {"grid": grid}}) == 100
    assert smallest_piece((400, 500), {"image": "x.jpg"}) == 100


def test_a_file_gives_it_back(tmp_path):
    pieces = two_dogs().pieces(1)
    assert RegionTree.load(pieces.save(tmp_path / "dogs.npz")) == pieces


def test_what_is_no_area_is_refused():
    for wrong in (0, -1, 1.5, "2", True):
        with pytest.raises(TreeError, match="min_area"):
            two_dogs().pieces(wrong)


# -- the pieces of all nodes ----------------------------------------------------------------------


@few
@given(trees())
def test_pieces_of_nodes_are_what_a_flood_finds(tree):
    width, pixels = tree.shape[1], pixels_of(tree)
    absent = {i for i in range(tree.n_leaves) if tree.stop[i] == StopReason.NO_DATA}
    assert not absent
    expected = {piece for node in pixels for piece in flood(node, width)}
    pieces = tree.node_pieces()
    masks = [frozenset(np.flatnonzero(pieces.mask(i)).tolist()) for i in range(len(pieces))]
    assert set(masks) == expected
    assert len(masks) == len(expected)
    for i, mask in enumerate(masks):
        assert pieces.area[i] == len(mask)
        node = int(pieces.node[i])
        assert mask in flood(pixels[node], width)
        assert not any(mask <= pixels[child] for child in children_of(tree, node))
        assert pieces.is_node[i] == (mask in set(pixels))
        assert pieces.labels.ravel()[min(mask)] == pieces.first[i]
        larger = [other for other in masks if mask < other]
        assert masks[pieces.parents[i]] == min(larger, key=len, default=mask)
    first = [min(mask) for mask in masks[: pieces.n_smallest]]
    assert first == sorted(first)


def test_a_loop_that_is_not_compiled_gives_the_same(monkeypatch):
    tree = random_tree(np.random.default_rng(5), 60, (30, 40))
    fast, pieces = tree.node_pieces(), tree.pieces(3)
    monkeypatch.setattr(jit, "_why_not", "a test")
    slow = tree.node_pieces()
    for name in ("labels", "parents", "area", "node", "is_node"):
        assert np.array_equal(getattr(fast, name), getattr(slow, name))
    assert tree.pieces(3) == pieces


@few
@given(arrays(np.int32, (6, 7), elements=st.integers(-1, 3)), st.integers(0, 5), st.integers(0, 6))
def test_the_nearest_run_is_the_nearest_pixel(owners: NDArray[np.int32], y: int, x: int):
    """Runs of a picture of owners; -1 is none. From the pixels (y, x) and (y, x + 1)."""
    runs = [
        (row, first, last, int(owners[row, first]))
        for row in range(6)
        for first in range(7)
        for last in range(first, 7)
        if owners[row, first] >= 0
        and (owners[row, first : last + 1] == owners[row, first]).all()
        and (first == 0 or owners[row, first - 1] != owners[row, first])
        and (last == 6 or owners[row, last + 1] != owners[row, first])
    ]
    row, first, last, owner = np.array(runs, np.int64).reshape(-1, 4).T
    found = _nearest(*(np.array([at]) for at in (y, x, x + 1)), row, first, last, owner)
    there = [(min((y - r) ** 2 + (s - c) ** 2 for s in (x, x + 1)), int(owners[r, c]))
             for r, c in np.argwhere(owners >= 0).tolist()]  # fmt: skip
    assert found == min(there, default=(0, -1))[1]
