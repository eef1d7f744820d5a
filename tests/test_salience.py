"""The salient nodes against their definition, pixel by pixel, and against the best set there is."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import pixels_of, random_tree

from regiontree import RegionTree
from regiontree.tree.salience import salient_nodes

few = settings(max_examples=60, deadline=None)
seeds = st.integers(0, 10_000)


def grown(seed: int, leaves: int) -> RegionTree:
    return random_tree(np.random.default_rng(seed), leaves, (6, 8))


def worth(tree: RegionTree, nodes: list[int]) -> float:
    """f of a set, pixel by pixel."""
    pixels = pixels_of(tree)
    square = tree.height.astype(float) ** 2
    total = 0.0
    for n in range(tree.root):
        best = max(
            (len(pixels[n] & pixels[s]) / len(pixels[n] | pixels[s]) for s in nodes), default=0.0
        )
        total += float(square[tree.parents[n]] - square[n]) * best
    return total


@few
@given(seeds, st.integers(2, 9))
def test_each_node_adds_the_most(seed, leaves):
    tree = grown(seed, leaves)
    found = salient_nodes(tree.parents, tree.area, tree.height, tree.n_nodes)
    assert sorted(found) == list(range(tree.root))
    for k, node in enumerate(found[:8]):
        before = found[:k]
        best = max(worth(tree, [*before, other]) for other in set(range(tree.root)) - set(before))
        assert worth(tree, [*before, node]) >= best - 1e-6 * max(1.0, best)


@few
@given(seeds, st.integers(2, 9))
def test_nodes_that_are_not_allowed_are_still_to_be_covered(seed, leaves):
    tree, rng = grown(seed, leaves), np.random.default_rng(seed)
    allowed = rng.random(tree.n_nodes) < 0.7
    arrays = (tree.parents, tree.area, tree.height)
    found = salient_nodes(*arrays, tree.n_nodes, allowed=allowed)
    others = set(np.flatnonzero(allowed[:-1]).tolist())
    assert sorted(found) == sorted(others)
    for k, node in enumerate(found[:8]):
        before = found[:k]
        rest = others - set(before)
        best = max(worth(tree, [*before, other]) for other in rest)
        assert worth(tree, [*before, node]) >= best - 1e-6 * max(1.0, best)


@few
@given(seeds, st.integers(2, 6), st.integers(1, 4))
def test_no_set_is_worth_much_more(seed, leaves, k):
    tree = grown(seed, leaves)
    found = tree.salient(k)
    best = max(worth(tree, list(some)) for some in combinations(range(tree.root), len(found)))
    assert worth(tree, found) >= (1 - 1 / np.e) * best - 1e-9


@few
@given(seeds, st.integers(2, 40), st.integers(1, 30))
def test_the_first_are_the_answer_for_fewer(seed, leaves, k):
    tree = grown(seed, leaves)
    assert tree.salient(k) == tree.salient(99)[:k]


def test_a_twin_comes_last():
    # 4 is 5 but for one pixel of nine, and holds together longer than what it is made of
    parents = np.array([4, 4, 5, 6, 5, 6, 6])
    area = np.array([4, 4, 1, 7, 8, 9, 16])
    height = np.array([0, 0, 0, 0, 0.5, 0.8, 1])
    assert salient_nodes(parents, area, height, 99) == [5, 3, 2, 0, 1, 4]


def test_the_scale_of_heights_is_nothing_to_it():
    tree = grown(3, 30)
    found = salient_nodes(tree.parents, tree.area, tree.height, 20)
    for scale in (1e-4, 2.0**-10, 1e6):
        assert salient_nodes(tree.parents, tree.area, tree.height * scale, 20) == found


def test_a_chain_of_thousands_is_no_trouble():
    n = 4001  # leaves 0 to 2000 shed one by one
    leaves = (n + 1) // 2
    parents = np.empty(n, np.int64)
    parents[:2] = leaves
    parents[2:leaves] = np.arange(leaves + 1, n)
    parents[leaves:] = np.minimum(np.arange(leaves, n) + 1, n - 1)
    area = np.concatenate([np.ones(leaves), np.arange(2, leaves + 1)]).astype(np.int64)
    height = np.concatenate([np.zeros(leaves), np.linspace(0.1, 1, leaves - 1)])
    found = salient_nodes(parents, area, height, 10)
    assert len(set(found)) == 10


def test_a_flat_tree_gives_the_larger_first():
    # nothing is higher than anything else: no node is worth anything
    assert salient_nodes(np.array([2, 2, 2]), np.array([1, 3, 4]), np.zeros(3), 5) == [1, 0]
    assert salient_nodes(np.array([0]), np.array([4]), np.zeros(1), 5) == []
