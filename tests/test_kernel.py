"""Parent arrays against loops that follow the definitions, on trees of every shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree.tree import kernel
from regiontree.tree.paths import (
    heavy_paths,
    lowest_common_ancestor,
    sum_in_order,
    sum_of_ancestors,
)

quick = settings(max_examples=150, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def grown(rng: np.random.Generator, n_leaves: int, deep: float, ways: int) -> np.ndarray:
    """Parents of a random tree in Higra's order.

    With `deep` near 1 the newest node is nearly always joined next: the tree becomes a chain.
    """
    parents, orphans = [-1] * n_leaves, list(range(n_leaves))
    while len(orphans) > 1 or (rng.random() < 0.2 and len(parents) < 3 * n_leaves):
        newest = [orphans.pop()] if rng.random() < deep else []
        few = min(len(orphans), int(rng.integers(1, ways + 1)) - len(newest))
        joined = newest + [orphans.pop(int(rng.integers(len(orphans)))) for _ in range(few)]
        for node in joined:
            parents[node] = len(parents)
        if joined:
            orphans.append(len(parents))
            parents.append(-1)
    parents[-1] = len(parents) - 1
    return np.array(parents, np.int32)


@st.composite
def parent_arrays(draw: st.DrawFn) -> np.ndarray:
    rng = np.random.default_rng(draw(seeds))
    deep = draw(st.sampled_from([0.0, 0.5, 0.95]))
    return grown(rng, draw(st.integers(1, 90)), deep, draw(st.sampled_from([2, 3, 100])))


def path_up(parents: np.ndarray, node: int) -> list[int]:
    path = [node]
    while parents[path[-1]] != path[-1]:
        path.append(int(parents[path[-1]]))
    return path


def below(parents: np.ndarray) -> list[list[int]]:
    """Each node and all nodes below it."""
    found: list[list[int]] = [[] for _ in parents]
    for node in range(len(parents)):
        for above in path_up(parents, node):
            found[above].append(node)
    return found


@quick
@given(parent_arrays(), seeds)
def test_from_the_root_down(parents, seed):
    rng = np.random.default_rng(seed)
    paths = [path_up(parents, node) for node in range(len(parents))]
    assert kernel.levels(parents).tolist() == [len(path) - 1 for path in paths]
    whole = rng.integers(-9, 9, len(parents))
    assert kernel.sum_to_root(parents, whole).tolist() == [int(whole[path].sum()) for path in paths]
    marked = rng.random(len(parents)) < rng.random()
    root = len(parents) - 1
    nearest = [next((i for i in path if marked[i]), root) for path in paths]
    assert kernel.nearest_marked(parents, marked).tolist() == nearest
    values = rng.normal(size=(len(parents), 2))
    assert np.array_equal(kernel.propagate(parents, values, marked), values[nearest])


@quick
@given(parent_arrays(), seeds, st.sampled_from([(), (1,), (3,), (2, 2)]))
def test_from_the_leaves_up(parents, seed, more):
    rng = np.random.default_rng(seed)
    whole = rng.integers(-9, 9, (len(parents), *more))
    floats = rng.normal(size=whole.shape).astype(np.float32)
    truth = rng.random(whole.shape) < 0.1
    for node, inside in enumerate(below(parents)):
        assert np.array_equal(
            kernel.accumulate_sum(parents, whole)[node], whole[inside].sum(axis=0)
        )
        assert np.array_equal(
            kernel.accumulate_max(parents, floats)[node], floats[inside].max(axis=0)
        )
        assert np.array_equal(
            kernel.accumulate_any(parents, truth)[node], truth[inside].any(axis=0)
        )
    assert kernel.accumulate_max(parents, floats).dtype == np.float32


@quick
@given(parent_arrays(), seeds, st.sampled_from([(), (3,)]))
def test_floats_are_summed_as_a_loop_sums_them_to_the_last_bit(parents, seed, more):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(len(parents), *more)) * 10.0 ** rng.integers(-8, 8)
    expected = values.copy()
    for node, parent in enumerate(parents[:-1].tolist()):
        expected[parent] += expected[node]
    assert np.array_equal(sum_in_order(parents, values), expected)
    if not more:
        down = np.zeros(len(parents))
        for node in range(len(parents) - 2, -1, -1):
            down[node] = down[parents[node]] + values[parents[node]]
        assert np.array_equal(sum_of_ancestors(parents, values), down)


@quick
@given(parent_arrays(), seeds)
def test_children_and_the_order_of_divisions(parents, seed):
    rng = np.random.default_rng(seed)
    area = kernel.accumulate_sum(parents, rng.integers(1, 4, len(parents)))
    height = kernel.accumulate_max(parents, rng.integers(0, 3, len(parents)) / 4)
    level = kernel.levels(parents)
    start, nodes = kernel.children(parents, area)
    for node in range(len(parents)):
        own = [i for i in range(len(parents) - 1) if parents[i] == node]
        assert nodes[start[node] : start[node + 1]].tolist() == sorted(
            own, key=lambda i: (-area[i], i)
        )
        assert kernel.is_inner(parents)[node] == bool(own)
    inner = sorted(set(parents.tolist())) if len(parents) > 1 else []
    order = sorted(inner, key=lambda i: (-height[i], level[i], -i))
    assert kernel.division_order(parents, height).tolist() == order


@quick
@given(parent_arrays())
def test_a_preorder_puts_all_below_a_node_right_behind_it(parents):
    walk = kernel.preorder(parents)
    expected, stack = [], [len(parents) - 1]
    while stack:
        node = stack.pop()
        expected.append(node)
        stack.extend(i for i in range(len(parents) - 1) if parents[i] == node)
    assert walk.order.tolist() == expected
    assert walk.order[walk.place].tolist() == list(range(len(parents)))
    for node, inside in enumerate(below(parents)):
        assert walk.size[node] == len(inside)
        assert np.flatnonzero(walk.holds(node, np.arange(len(parents)))).tolist() == inside


@quick
@given(parent_arrays(), seeds)
def test_common_ancestors(parents, seed):
    rng = np.random.default_rng(seed)
    paths = heavy_paths(parents)
    for node in range(len(parents)):
        assert paths.ancestors(node).tolist() == path_up(parents, node)[1:]
    a, b = rng.integers(0, len(parents), (2, 40))
    expected = [
        next(i for i in path_up(parents, x) if i in path_up(parents, y))
        for x, y in zip(a.tolist(), b.tolist(), strict=True)
    ]
    assert lowest_common_ancestor(parents, a, b).tolist() == expected
    assert lowest_common_ancestor(parents, a[:0], b[:0]).tolist() == []


@quick
@given(parent_arrays())
def test_the_way_to_the_root_meets_few_paths(parents):
    paths = heavy_paths(parents)
    assert 2 ** paths.rank.max() <= len(parents)
    for node in range(len(parents)):
        heads = [i for i in path_up(parents, node) if paths.head[i] == i]
        assert paths.rank[node] == len(heads) - 1


@quick
@given(parent_arrays(), seeds)
def test_any_order_of_nodes_is_put_into_higras(parents, seed):
    names = np.random.default_rng(seed).permutation(len(parents))
    mixed = np.empty_like(parents)
    mixed[names] = names[parents]
    assert kernel.node_on_cycle(mixed) is None
    assert np.array_equal(kernel.levels(mixed)[names], kernel.levels(parents))
    order = kernel.canonical_order(mixed)
    new = np.empty(len(order), int)
    new[order] = np.arange(len(order))
    back = new[mixed[order]]
    inner = kernel.is_inner(back)
    assert (back[:-1] > np.arange(len(back) - 1)).all()
    assert back[-1] == len(back) - 1
    assert not (inner[:-1] & ~inner[1:]).any()  # leaves first
    level = kernel.levels(back)
    assert (np.diff(level[inner]) <= 0).all()
    for group in (order[~inner], *(order[inner & (level == k)] for k in set(level.tolist()))):
        assert group.tolist() == sorted(group.tolist())


@quick
@given(st.integers(1, 40), seeds)
def test_a_cycle_is_found_wherever_it_is(n, seed):
    parents = np.random.default_rng(seed).integers(0, n, n)
    on_cycle = set()
    for start in range(n):
        seen, node = [], start
        while node not in seen:
            seen.append(node)
            node = int(parents[node])
        cycle = seen[seen.index(node) :]
        on_cycle.update(cycle if len(cycle) > 1 else [])
    assert kernel.node_on_cycle(parents) == (min(on_cycle) if on_cycle else None)


@quick
@given(st.integers(1, 30), seeds)
def test_pieces_are_what_links_join(n, seed):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, n, (2, int(rng.integers(0, n + 1))))
    groups = [{i} for i in range(n)]
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        joined = groups[x] | groups[y]
        for i in joined:
            groups[i] = joined
    found = kernel.connected_pieces(n, a, b)
    assert [set(np.flatnonzero(found == found[i]).tolist()) for i in range(n)] == groups


@pytest.mark.parametrize("shape", ["chain", "comb", "star"])
def test_a_tree_of_100_000_nodes_takes_few_rounds_whatever_its_shape(shape, monkeypatch):
    n = 100_001
    index = np.arange(n)
    parents = {
        "chain": np.minimum(index + 1, n - 1),  # one leaf under 100,000 nodes
        "comb": np.minimum(np.where(index > n // 2, index + 1, index + n // 2), n - 1),
        "star": np.full(n, n - 1),
    }[shape]
    if shape == "comb":  # every inner node has a leaf and the inner node before it
        parents[0] = n // 2 + 1
    rounds = 0
    jumps = kernel._jumps

    def counted(of):
        nonlocal rounds
        for step in jumps(of):
            rounds += 1
            yield step

    monkeypatch.setattr(kernel, "_jumps", counted)
    assert kernel.levels(parents).max() == {"chain": n - 1, "comb": n // 2, "star": 1}[shape]
    assert rounds <= 17
    values = np.random.default_rng(0).normal(size=n)
    expected = values.copy()
    for node, parent in enumerate(parents[:-1].tolist()):
        expected[parent] += expected[node]
    assert np.array_equal(sum_in_order(parents, values), expected)
    paths = heavy_paths(parents)
    assert paths.rank.max() <= 1
    assert paths.ancestors(0)[-1] == n - 1


def test_sums_do_not_depend_on_the_order_of_values_in_memory():
    parents, rows = np.array([2, 2, 2]), np.array([[1, 2], [3, 4], [0, 0]])
    assert kernel.accumulate_sum(parents, np.asfortranarray(rows)).tolist()[2] == [4, 6]
    assert kernel.accumulate_max(parents, rows.T.copy().T).tolist()[2] == [3, 4]
