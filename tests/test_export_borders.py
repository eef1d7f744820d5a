"""Borders: the rings of a node must be the sides between its pixels and others, each walked once.

The sides are taken from the pixels one by one, with Python sets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from trees import hand_tree, random_tree, trees

from regiontree import RegionTree
from regiontree.tree.borders import node_polygons, trace_arcs

Point = tuple[int, int]
Ring = list[Point]
Side = tuple[Point, Point]


def polygons_of(tree: RegionTree, *, all_nodes: bool = False, **cut: int) -> dict[int, list]:
    """Polygons of nodes, as rings of (x, y)."""
    arcs = trace_arcs(tree.cut(**cut))
    points = list(zip(arcs.x.tolist(), arcs.y.tolist(), strict=True))
    return {
        node: [[[points[v] for v in ring] for ring in polygon] for polygon in polygons]
        for node, polygons in node_polygons(arcs, tree, tree.cut_nodes(**cut), all_nodes=all_nodes)
    }


def regions(*rows: str) -> list[list[list[Ring]]]:
    """Polygons of the regions of a picture in letters, in the order of the alphabet."""
    letters = np.array([list(row) for row in rows])
    names, labels = np.unique(letters, return_inverse=True)
    n = len(names)
    tree = RegionTree(labels.reshape(letters.shape), np.full(n + 1, n), np.append(np.zeros(n), 1.0))
    return list(polygons_of(tree).values())


def sides(mask: np.ndarray) -> set[Side]:
    """Sides of pixels between a region and what it is not, with the region on the right."""
    found = set()
    for y, x in np.argwhere(mask).tolist():
        corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        found |= set(zip(corners, corners[1:] + corners[:1], strict=True))
    return {(a, b) for a, b in found if (b, a) not in found}


def straights(ring: Ring) -> Iterator[Side]:
    """From each vertex to the next, round the ring."""
    return zip(ring, ring[1:] + ring[:1], strict=True)


def walked(ring: Ring) -> Iterator[Side]:
    """The sides of pixels along a ring, in the order and direction in which it passes them."""
    for (x, y), (x1, y1) in straights(ring):
        assert (x == x1) != (y == y1)
        while (x, y) != (x1, y1):
            before = (x, y)
            x, y = x + int(np.sign(x1 - x)), y + int(np.sign(y1 - y))
            yield before, (x, y)


def twice_area(ring: Ring) -> int:
    return sum(x * y1 - x1 * y for (x, y), (x1, y1) in straights(ring))


def check_polygons(polygons: list[list[Ring]], mask: np.ndarray) -> None:
    """A polygon a piece, its rings the piece's sides: simple, the outer one first, then holes."""
    pieces, count = label(mask)
    passed = [Counter(side for ring in polygon for side in walked(ring)) for polygon in polygons]
    assert all(times == 1 for counter in passed for times in counter.values())
    assert {frozenset(counter) for counter in passed} == {
        frozenset(sides(pieces == piece)) for piece in range(1, count + 1)
    }
    assert len(polygons) == count
    for outer, *holes in polygons:
        assert twice_area(outer) > 0
        assert all(twice_area(hole) < 0 for hole in holes)
        assert all(len(set(ring)) == len(ring) for ring in [outer, *holes])


def check_shared_borders(parts: Iterable[list[list[Ring]]], size: tuple[int, int]) -> None:
    """Each straight of a region is one of its neighbour the other way, or is on the frame."""
    found = Counter(s for part in parts for polygon in part for r in polygon for s in straights(r))
    assert all(times == 1 for times in found.values())
    for (x0, y0), (x1, y1) in found:
        on_frame = x0 == x1 in (0, size[1]) or y0 == y1 in (0, size[0])
        assert (((x1, y1), (x0, y0)) in found) != on_frame


# -- any tree -------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(tree=trees(), count=st.integers(1, 14))
def test_polygons_are_the_sides_of_each_piece_of_each_node(tree, count):
    """Random leaves are scattered: pieces, holes, and pieces in holes that touch at corners."""
    everything = polygons_of(tree, all_nodes=True, depth=tree.depth)
    assert list(everything) == list(range(tree.n_nodes))
    cut = polygons_of(tree, n_regions=count)
    assert list(cut) == tree.cut_nodes(n_regions=count).tolist()
    for node, polygons in [*everything.items(), *cut.items()]:
        check_polygons(polygons, tree.mask(node))


@settings(max_examples=100, deadline=None)
@given(tree=trees(), count=st.integers(1, 14))
def test_neighbours_in_any_cut_share_the_very_same_vertices(tree, count):
    """Also in a cut picked from all nodes."""
    everything = polygons_of(tree, all_nodes=True, depth=tree.depth)
    nodes = tree.cut_nodes(n_regions=count).tolist()
    check_shared_borders(polygons_of(tree, n_regions=count).values(), tree.shape)
    check_shared_borders([everything[node] for node in nodes], tree.shape)


def test_all_nodes_of_a_cut_are_those_above_it():
    tree = hand_tree()
    found = polygons_of(tree, n_regions=3, all_nodes=True)
    assert list(found) == [0, 3, 4, 5, 6]
    for node, polygons in found.items():
        check_polygons(polygons, tree.mask(node))
    assert list(polygons_of(tree, depth=0, all_nodes=True)) == [6]


def test_ragged_regions_of_a_larger_image():
    rng = np.random.default_rng(0)
    labels = np.arange(100)[:, None] // 10 * 15 + np.arange(150) // 10
    labels = labels[
        np.clip(np.arange(100)[:, None] + rng.integers(-2, 3, (100, 150)), 0, 99),
        np.clip(np.arange(150) + rng.integers(-2, 3, (100, 150)), 0, 149),
    ]
    names, labels = np.unique(labels, return_inverse=True)
    order = random_tree(rng, len(names), (20, 20))
    tree = RegionTree(labels.reshape(100, 150), order.parents, order.height)
    found = polygons_of(tree, all_nodes=True, depth=tree.depth)
    for node in [*range(0, tree.n_nodes, 40), tree.root]:
        check_polygons(found[node], tree.mask(node))
    check_shared_borders([found[node] for node in tree.cut_nodes(n_regions=60)], tree.shape)


# -- by hand --------------------------------------------------------------------------------------


def test_a_region_with_a_hole_and_one_in_two_pieces():
    a, b, c, d = regions("aaaaab", "acccab", "acdcaa", "acccaa", "aaaaaa", "bbbbaa")
    frame = {(0, 0), (5, 0), (5, 2), (6, 2), (6, 6), (4, 6), (4, 5), (0, 5)}
    assert [set(ring) for ring in a[0]] == [frame, {(1, 1), (4, 1), (4, 4), (1, 4)}]
    assert [len(polygon) for polygon in b] == [1, 1]
    assert {frozenset(polygon[0]) for polygon in b} == {
        frozenset({(5, 0), (6, 0), (6, 2), (5, 2)}),
        frozenset({(0, 5), (4, 5), (4, 6), (0, 6)}),
    }
    assert set(c[0][1]) == {(2, 2), (3, 2), (3, 3), (2, 3)}
    assert d == [[[(2, 2), (3, 2), (3, 3), (2, 3)]]]


def test_arcs_run_from_one_meeting_point_to_the_next_and_twins_back():
    """2 lies in a corner of 0, which 1 is a hole in: only 0 and 2 meet at points on the frame."""
    arcs = trace_arcs(np.array([[0, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 2]], dtype=np.int32))
    walked_by = arcs.region_of[arcs.piece]
    assert sorted(walked_by.tolist()) == [0, 0, 0, 1, 2, 2]
    assert sorted(walked_by[arcs.twin < 0].tolist()) == [0, 2]
    there = np.flatnonzero(arcs.twin >= 0)
    back = arcs.twin[there]
    assert arcs.twin[back].tolist() == there.tolist()
    assert {*zip(walked_by[there], walked_by[back], strict=True)} == {
        (0, 1),
        (1, 0),
        (0, 2),
        (2, 0),
    }
    assert (arcs.area[there] == -arcs.area[back]).all()


def test_only_turns_and_meeting_points_are_vertices():
    ((a,),), ((b,),), ((c,),) = regions("aaaa", "aaaa", "bbcc")
    assert set(a) == {(0, 0), (4, 0), (4, 2), (2, 2), (0, 2)}  # (2, 2): b meets c
    assert set(b) == {(0, 2), (2, 2), (2, 3), (0, 3)}
    assert set(c) == {(2, 2), (4, 2), (4, 3), (2, 3)}


@pytest.mark.parametrize(
    ("rows", "rings"),
    [
        (("aaaa", "abaa", "aaba", "aaaa"), [3]),  # two holes that touch
        (("aaab", "abaa", "aaaa", "aaaa"), [2]),
        (("baaa", "abaa", "aaaa", "aaaa"), [2]),  # a hole that touches the outer ring
        (("abaa", "baaa", "aaaa", "aaaa"), [1, 1]),  # a corner cut off: two pieces
        (("abab", "baba", "abab", "baba"), [1] * 8),
    ],
)
def test_where_a_region_touches_itself_its_rings_do_not(rows, rings):
    a = regions(*rows)[0]
    assert [len(polygon) for polygon in a] == rings
    check_polygons(a, np.array([list(row) for row in rows]) == "a")


def test_an_image_one_pixel_high():
    ((a,),), ((b,),) = regions("aab")
    assert set(a) == {(0, 0), (2, 0), (2, 1), (0, 1)}
    assert set(b) == {(2, 0), (3, 0), (3, 1), (2, 1)}


def test_a_tree_of_one_node_is_the_frame():
    tree = RegionTree(np.zeros((2, 3), int), np.array([0]), np.array([0.0]))
    assert polygons_of(tree, all_nodes=True) == {0: [[[(0, 0), (3, 0), (3, 2), (0, 2)]]]}
