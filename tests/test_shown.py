"""Regions at any granularity: the same as the trees give, in an order that shows a fair sample."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from test_discover import SETTINGS, made_up, save_all

from regiontree import Collection
from regiontree.collection import discover
from regiontree.collection.classes import heirs
from regiontree.collection.plane import kept_places, plane_of
from regiontree.collection.shown import RegionTable
from regiontree.tree import RegionTree
from regiontree.tree.cuts import shown_range


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "trees").mkdir()
    save_all(folder / "trees", range(12))
    discover(folder / "trees", folder / "out", SETTINGS)
    return Collection.load(folder / "out")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 64])
def test_they_are_the_nodes_of_the_trees_cuts(collection: Collection, count: int) -> None:
    table = collection.shown_regions().at(count)
    found = set(zip(table.photo.tolist(), table.node.tolist(), strict=True))
    expected = set()
    for number, key in enumerate(collection.ids):
        _, tree, prototype = collection.opened(key)
        expected |= {(number, node) for node in tree.cut_nodes(n_regions=count).tolist()}
        own = table.photo == number
        assert table.share[own].sum() == pytest.approx(1)
        of_leaf = collection.tree.labels[0][prototype[table.node[own]]]
        np.testing.assert_array_equal(table.leaf[own], of_leaf)
    assert found == expected


def test_counts_are_those_of_the_categories(collection: Collection) -> None:
    table = collection.shown_regions().at(SETTINGS.regions)
    count, share = table.counts(collection.tree)
    for one in collection.categories(7):
        assert count[one.node] == one.n_regions
        assert share[one.node] == pytest.approx(one.share, abs=1e-6)


def test_a_category_shows_all_its_regions_once_and_the_typical_ones_first(
    collection: Collection,
) -> None:
    tree, table = collection.tree, collection.shown_regions().at(6)
    typical = table.typical(tree, 5)
    for one in collection.categories(9):
        places = table.of_category(tree, one.node)
        assert len(set(places.tolist())) == len(places) == one.n_regions
        shown = typical[one.node][typical[one.node] >= 0]
        assert set(shown.tolist()) <= set(places.tolist())
        assert len(shown) == min(5, one.n_regions)
        photos = Counter(table.photo[shown].tolist())
        if len(set(table.photo[places].tolist())) >= 5:
            assert max(photos.values()) == 1


def test_the_first_regions_are_a_fair_sample() -> None:
    tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    leaf = np.array([0] * 30 + [1] * 30, np.int32)
    share = np.where(leaf == 0, 0.09, 0.03).astype(np.float32)
    table = RegionTable(np.arange(60, dtype=np.int32), np.zeros(60, np.int32), share, leaf)
    first = table.of_category(tree, 2)[:8]
    assert Counter(leaf[first].tolist()) == {0: 6, 1: 2}  # as their pixels
    assert sorted(first[leaf[first] == 0].tolist()) == list(range(6))  # the most typical ones


def test_a_moved_region_is_shown_first_where_it_was_moved_to(tmp_path: Path) -> None:
    (tmp_path / "trees").mkdir()
    save_all(tmp_path / "trees", range(12))
    discover(tmp_path / "trees", tmp_path / "out", SETTINGS)
    collection = Collection.load(tmp_path / "out")
    key = collection.ids[3]
    before = collection.label_map(key, 4)
    node = int(collection.opened(key)[1].cut_nodes(n_regions=6)[0])
    tree = collection.opened(key)[1]
    inside = tree.mask(node)
    other = next(one for one in collection.categories(4) if one.index != before[inside][0])
    names = collection.names.with_region(key, node, other.node)
    names.save(tmp_path / "out" / "collection.csv", [])
    moved = Collection.load(tmp_path / "out")
    assert set(moved.label_map(key, 4)[inside].tolist()) == {other.index}
    table = moved.shown_regions().at(6)
    places = table.of_category(moved.tree, other.node)
    assert ((table.photo[places] == 3) & (table.node[places] == node)).any()
    count = table.counts(moved.tree)[0]
    assert count[other.node] == other.n_regions + 1
    # However finely it is cut, the region stays in one branch of that category.
    for n in range(4, moved.n_prototypes + 1):
        (label,) = set(moved.label_map(key, n)[inside].tolist())
        shown = moved.categories(n)[label].node
        assert other.node in [shown, *moved.tree.ancestors(shown)]


def test_an_heir_lies_in_the_largest_child() -> None:
    tree = RegionTree(labels=[[2, 1, 0, 1]], parents=[3, 3, 4, 4, 4], height=[0, 0, 0, 0.5, 1])
    # Leaf 1 has two of the four prototypes, so categories 3 and 4 hand on to it.
    assert heirs(tree).tolist() == [2, 1, 0, 1, 1]


@pytest.mark.parametrize("seed", range(20))
def test_the_cuts_that_show_a_node(seed: int) -> None:
    tree = made_up(seed) if seed % 2 else chain(seed + 3)
    first, last = shown_range(tree.parents, tree._divisions)
    for n in range(1, tree.n_leaves + 2):
        shown = np.flatnonzero((first <= n) & (n <= last))
        np.testing.assert_array_equal(shown, tree.cut_nodes(n_regions=n))


def chain(n: int) -> RegionTree:
    """A tree whose root has three children, one of which has all the others."""
    parents = [n] * (n - 2) + [n + 1, n + 1, n + 1, n + 1]
    return RegionTree(labels=[list(range(n))], parents=parents, height=[0] * n + [0.5, 1])


# -- the map --------------------------------------------------------------------------------------


def groups() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(5), 30)
    return rng.normal(size=(5, 20))[kind] + 0.3 * rng.normal(size=(150, 20)), kind


def test_on_the_map_neighbours_are_of_one_kind() -> None:
    rows, kind = groups()
    places = plane_of(rows)
    assert (places.min(), places.max()) == (0, 1)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = np.argsort(apart, axis=1)[:, :5]
    assert (kind[nearest] == kind[:, None]).mean() > 0.99
    np.testing.assert_array_equal(plane_of(rows), places)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9])
def test_a_map_of_a_few_and_of_equal_rows(count: int) -> None:
    for rows in (np.eye(count, 6), np.ones((count, 6)), np.zeros((count, 1))):
        places = plane_of(rows)
        assert places.shape == (count, 2)
        assert np.isfinite(places).all()


def test_the_map_is_made_once_and_again_if_it_is_of_other_rows(tmp_path: Path) -> None:
    rows, _ = groups()
    path = tmp_path / "map.npy"
    made = kept_places(path, rows)
    written = path.stat().st_mtime_ns
    np.testing.assert_array_equal(kept_places(path, rows), made)
    assert path.stat().st_mtime_ns == written
    other = kept_places(path, rows[:100])
    assert other.shape == (100, 2)
    path.write_bytes(path.read_bytes()[:50])  # damaged
    np.testing.assert_array_equal(kept_places(path, rows[:100]), other)
