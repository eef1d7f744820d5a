"""Spectral Ward: its linkage against SciPy's and its definition, its trees on clear scenes."""

from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest
import torch
from conftest import blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage
from threadpoolctl import threadpool_info

from regiontree import RegionParser
from regiontree.errors import SettingsError
from regiontree.hierarchy import PartGraph, SpectralWard, StopReason, base, ward
from regiontree.hierarchy.base import Node, assemble, assemble_merges
from regiontree.hierarchy.ward import spectral_rows, ward_merges
from regiontree.spectral.dense import eigenpairs, leading_eigenpairs


def graph_of(means: np.ndarray, count: np.ndarray) -> PartGraph:
    return PartGraph(
        weights=np.zeros((len(count), len(count))), count=count, sums=means * count[:, None]
    )


def members(pairs: np.ndarray, k: int) -> list[frozenset[int]]:
    groups = [frozenset([i]) for i in range(k)]
    for a, b in pairs.tolist():
        groups.append(groups[a] | groups[b])
    return groups[k:]


@given(st.integers(2, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_equal_weights_give_scipys_linkage(k: int, v: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(k, v))
    pairs, costs = ward_merges(rows, np.ones(k, dtype=np.int64))
    theirs = linkage(rows, "ward")
    assert members(pairs, k) == members(theirs[:, :2].astype(int), k)
    # SciPy's distance is the root of twice the increase of the sum of squares.
    assert np.allclose(np.sqrt(2 * costs), theirs[:, 2])


@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_weight_is_so_many_equal_points(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, count = rng.normal(size=(k, 3)), rng.integers(1, 5, k)
    pairs, costs = ward_merges(rows, count)
    _, repeated = ward_merges(np.repeat(rows, count, axis=0), np.ones(count.sum(), dtype=int))
    assert np.allclose(costs, repeated[len(repeated) - len(costs) :])
    assert len(pairs) == k - 1


@given(st.integers(2, 14), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_each_merge_is_the_cheapest_by_definition(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, count = rng.normal(size=(k, 2)), rng.integers(1, 9, k)
    pairs, costs = ward_merges(rows, count)

    def scatter(group: frozenset[int]) -> float:
        index = sorted(group)
        mean = np.average(rows[index], axis=0, weights=count[index])
        return float((count[index] * ((rows[index] - mean) ** 2).sum(axis=1)).sum())

    groups = [frozenset([i]) for i in range(k)]
    alive = set(range(k))
    for (a, b), cost in zip(pairs.tolist(), costs.tolist(), strict=True):
        increase = {
            (i, j): scatter(groups[i] | groups[j]) - scatter(groups[i]) - scatter(groups[j])
            for i in alive
            for j in alive
            if i < j
        }
        assert cost == pytest.approx(min(increase.values()), abs=1e-9)
        alive -= {a, b}
        alive.add(len(groups))
        groups.append(groups[a] | groups[b])


def test_points_in_one_place_merge_at_no_cost() -> None:
    pairs, costs = ward_merges(np.zeros((5, 2)), np.arange(1, 6))
    assert costs.tolist() == [0.0] * 4
    assert members(pairs, 5)[-1] == frozenset(range(5))


def test_rows_are_the_spectral_embedding_of_the_patches() -> None:
    """For parts of equal patches, distances of rows are those of the patches' eigenvectors."""
    rng = np.random.default_rng(3)
    means = rng.normal(size=(6, 4))
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    count = rng.integers(1, 6, 6)
    patches = np.repeat(means, count, axis=0)
    distance = 1 - patches @ patches.T
    weights = 1 - distance / distance.max()
    degree = np.sqrt(weights.sum(axis=1))
    values, vectors = np.linalg.eigh(weights / np.outer(degree, degree))
    values, vectors = values[::-1][:4].clip(0), vectors[:, ::-1][:, :4]
    expected = vectors * values**0.25
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    expected = expected[first]
    found = spectral_rows(graph_of(means, count), 4, 0.25)
    assert np.allclose(found @ found.T, expected @ expected.T, atol=1e-9)


def test_the_tree_of_a_clear_scene() -> None:
    parser = RegionParser(
        backbone="precomputed", tree="ward", parts=30, vectors=6, smoothing=0, device="cpu"
    )
    tree = parser.build(blocks())
    halves = tree.cut(n_regions=2)
    assert len(np.unique(halves[:, :8])) == len(np.unique(halves[:, 8:])) == 1
    three = tree.cut(n_regions=3)
    assert len(np.unique(three[:8, 8:])) == len(np.unique(three[8:, 8:])) == 1
    assert three[0, 15] != three[15, 15]
    assert tree.height[tree.root] == 1
    assert tree.n_nodes == 2 * tree.n_leaves - 1
    assert set(tree.stop[: tree.n_leaves]) == {StopReason.SINGLE_PART}


def test_every_number_of_regions_can_be_cut() -> None:
    parser = RegionParser(
        backbone="precomputed", tree="ward", parts=20, vectors=10, smoothing=1, device="cpu"
    )
    tree = parser.build(blocks(noise=0.3))
    for count in range(1, tree.n_leaves + 1):
        assert len(tree.cut_nodes(n_regions=count)) == count


def dispersion(rows: np.ndarray, weight: np.ndarray, exponent: float) -> float:
    apart = np.linalg.norm(rows[:, None] - rows, axis=2) ** exponent
    return float(weight @ apart @ weight / (2 * weight.sum()))


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 12), st.sampled_from([0.5, 1, 2, 2.5, 3, 6]), st.integers(0, 10_000))
def test_a_merge_costs_what_it_adds_to_the_dispersion(k: int, exponent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, weight = rng.normal(size=(k, 3)), rng.integers(1, 6, k)
    pairs, costs = ward_merges(rows, weight, exponent)
    assert (np.diff(costs) >= 0).all()
    groups = [frozenset([i]) for i in range(k)] + members(pairs, k)
    of = [dispersion(rows[[*g]], weight[[*g]], exponent) for g in groups]
    left = set(range(k))
    for step, (a, b) in enumerate(pairs.tolist()):
        added = {
            pair: dispersion(rows[[*both]], weight[[*both]], exponent) - of[pair[0]] - of[pair[1]]
            for pair in combinations(sorted(left), 2)
            if (both := groups[pair[0]] | groups[pair[1]])
        }
        assert costs[step] == pytest.approx(added[min(a, b), max(a, b)], rel=1e-6, abs=1e-9)
        assert costs[step] <= min(added.values()) * (1 + 1e-6) + 1e-9
        left = (left - {a, b}) | {k + step}


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 12), st.sampled_from([1, 2, 3]), st.integers(0, 10_000))
def test_no_cut_of_the_tree_leaves_less_within_its_regions(
    k: int, exponent: float, seed: int
) -> None:
    """The cut by height against a dynamic programme over all cuts into as many regions."""
    rng = np.random.default_rng(seed)
    rows, weight = rng.normal(size=(k, 3)), rng.integers(1, 6, k)
    pairs, costs = ward_merges(rows, weight, exponent)
    groups = [frozenset([i]) for i in range(k)] + members(pairs, k)
    within = [dispersion(rows[[*g]], weight[[*g]], exponent) for g in groups]
    least: list[dict[int, float]] = []  # of a node: for a number of regions, the least within
    for node in range(2 * k - 1):
        best = {1: within[node]}
        if node >= k:
            a, b = pairs[node - k]
            for (i, one), (j, other) in product(least[a].items(), least[b].items()):
                best[i + j] = min(best.get(i + j, np.inf), one + other)
        least.append(best)
    for regions in range(1, k + 1):
        cut = within[-1] - costs[k - regions :].sum()
        assert cut == pytest.approx(least[-1][regions], rel=1e-9, abs=1e-9)


def test_one_part_is_one_region() -> None:
    hierarchy = SpectralWard().build(graph_of(np.ones((1, 3)), np.array([4])), seed=0)
    assert hierarchy.parents.tolist() == [0]


def test_parts_that_nothing_tells_apart_are_one_region() -> None:
    alike = SpectralWard().build(graph_of(np.ones((4, 3)) / 3**0.5, np.full(4, 2)), seed=0)
    assert len(alike.parents) == 1
    two_kinds = np.eye(2)[[0, 1, 0, 1, 1]]
    hierarchy = SpectralWard().build(graph_of(two_kinds, np.arange(1, 6)), seed=0)
    assert len(hierarchy.parents) == 3
    leaf = hierarchy.leaf_of_part
    assert leaf[0] == leaf[2] != leaf[1] == leaf[3] == leaf[4]
    assert set(hierarchy.stop[:2]) == {StopReason.UNIFORM}


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"vectors": 0}, "vectors"), ({"power": -1}, "power"), ({"exponent": 0}, "exponent"),
     ({"smoothing": -1}, "smoothing"),
     ({"vectors": 2.5}, "vectors"), ({"smoothing": True}, "smoothing")],
)  # fmt: skip
def test_wrong_settings_are_named(changes: dict, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        RegionParser(backbone="precomputed", tree="ward", **changes)


@pytest.mark.parametrize("step", ["spectral_rows", "ward_merges"])
def test_one_thread_does_it(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Other threads, once woken, spin beside what comes next (docs/decisions.md)."""
    seen, inner = [], getattr(ward, step)

    def watched(*given: object) -> object:
        seen.append((torch.get_num_threads(), of_numpy()))
        return inner(*given)

    def of_numpy() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]

    monkeypatch.setattr(ward, step, watched)
    rng = np.random.default_rng(0)
    before, pools = torch.get_num_threads(), of_numpy()
    torch.set_num_threads(2)
    try:
        SpectralWard().build(graph_of(rng.normal(size=(6, 4)), np.ones(6, np.int64)), seed=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [(1, pools)]  # NumPy's number belongs to the process and is not touched


@given(st.integers(2, 60), st.integers(1, 5), st.sampled_from([1.0, 2.0, 3.0]), st.booleans(),
       st.integers(0, 2**32 - 1))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_compiled_merges_have_the_bits_of_the_slower_ones(k, v, exponent, ties, seed) -> None:
    rng = np.random.default_rng(seed)
    rows, weight = rng.normal(size=(k, v)), rng.integers(1, 9, k).astype(float)
    if ties:
        rows, weight = np.round(rows), np.ones(k)
    products = rows @ rows.T
    costs = [
        way(products, weight, exponent)
        for way in (ward._first_costs.compiled(), ward._first_costs.instead)
    ]
    # A power other than 2 and 3 is NumPy's here and the C library's there.
    assert np.allclose(*costs, rtol=1e-12)
    assert np.array_equal(*costs) or exponent == 1
    for is_average in (False, True):
        fast = ward._merges.compiled()(costs[1].copy(), weight.copy(), is_average)
        slow = ward._merges.instead(costs[1].copy(), weight.copy(), is_average)
        assert all(np.array_equal(a, b) for a, b in zip(fast, slow, strict=True))


@given(st.integers(2, 40), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_merges_are_assembled_as_nodes_are(k: int, flat: bool, seed: int) -> None:
    """Both ways number the nodes alike; `assemble` is told of every node."""
    rng = np.random.default_rng(seed)
    rows, count = rng.normal(size=(k, 2)), rng.integers(1, 9, k)
    pairs, costs = ward_merges(rows, count)
    height = np.sqrt(costs / costs[-1])
    if flat:
        height[: k // 2] = 0.0
    nodes = [Node(np.array([i]), stop=StopReason.SINGLE_PART, height=0.0) for i in range(k)]
    for (a, b), high in zip(pairs.tolist(), height.tolist(), strict=True):
        parts = np.concatenate([nodes[a].parts, nodes[b].parts])
        children = [nodes[a], nodes[b]] if high > 0 else []
        stop = StopReason.INNER if high > 0 else StopReason.UNIFORM
        nodes.append(Node(parts, children=children, height=high, stop=stop))
    graph = graph_of(rows, count)
    expected, found = assemble(nodes[-1], graph), assemble_merges(pairs, height, count)
    for name in ("leaf_of_part", "parents", "height", "ncut", "stop"):
        assert np.array_equal(getattr(found, name), getattr(expected, name)), name
    values = rng.normal(size=(len(found.parents), 3))
    parents_of = found.parents.astype(np.int64)
    fast = base._sum_below.compiled()(values.copy(), parents_of)
    assert np.array_equal(fast, base._sum_below.instead(values, parents_of))


def decaying(m: int, seed: int, ratio: float) -> np.ndarray:
    """A symmetric matrix (m, m) whose eigenvalues fall by a ratio."""
    turned = np.linalg.qr(np.random.default_rng(seed).normal(size=(m, m)))[0]
    whole = (turned * ratio ** np.arange(m)) @ turned.T
    return (whole + whole.T) / 2


@pytest.mark.parametrize("ratio", [0.8, 0.9, 0.95])
def test_leading_eigenpairs_are_those_of_the_direct_solver(ratio: float) -> None:
    matrix = decaying(200, 0, ratio)
    values, vectors = leading_eigenpairs(matrix, 20)
    assert np.allclose(values, ratio ** np.arange(20), rtol=1e-3)
    assert np.abs(vectors.T @ vectors - np.eye(20)).max() < 1e-9
    assert np.abs(matrix @ vectors - vectors * values).max() < 1e-2 * values[-1]
    again = leading_eigenpairs(matrix.copy(), 20)
    assert np.array_equal(values, again[0])
    assert np.array_equal(vectors, again[1])


@pytest.mark.parametrize(
    "matrix",
    [np.ones((100, 100)), np.eye(100), decaying(100, 1, 0.97), decaying(20, 2, 0.9)],
    ids=["rank one", "all equal", "hardly falling", "few rows"],
)
def test_leading_eigenpairs_that_do_not_converge_are_solved_directly(matrix: np.ndarray) -> None:
    values, vectors = leading_eigenpairs(matrix, 10)
    direct = eigenpairs(matrix)[0][::-1][:10]
    assert np.allclose(values, direct, atol=1e-9)
    assert np.abs(matrix @ vectors - vectors * values).max() < 1e-9
