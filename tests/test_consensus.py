"""Consensus: its steps against their definitions, and how it bears small changes of features."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from conftest import blocks
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import linkage

from regiontree import RegionParser
from regiontree.errors import SettingsError
from regiontree.hierarchy import Consensus, PartGraph, SpectralWard, StopReason
from regiontree.hierarchy.consensus import (
    _ascending,
    channel_sets,
    merge_costs,
    merge_shares,
    subspace_rows,
)
from regiontree.hierarchy.ward import average_merges, distances, spectral_rows, ward_merges
from regiontree.spectral.dense import gram
from regiontree.tree import cuts
from regiontree.tree.kernel import division_order

SEEDS = st.integers(0, 2**32 - 1)


def graph_of(means: np.ndarray, count: np.ndarray) -> PartGraph:
    return PartGraph(np.zeros((len(count), len(count))), count, means * count[:, None])


def groups_of(pairs: np.ndarray, k: int) -> list[frozenset[int]]:
    groups = [frozenset([i]) for i in range(k)]
    for a, b in pairs.tolist():
        groups.append(groups[a] | groups[b])
    return groups


def regions(hierarchy, n: int) -> np.ndarray:
    """The group of each part in the cut into n."""
    parents = hierarchy.parents.astype(np.int64)
    divided = np.zeros(len(parents), bool)
    divided[division_order(parents, hierarchy.height)[: n - 1]] = True
    nodes = cuts.shown_nodes(parents, divided)
    leaves = int((hierarchy.stop > 0).sum())
    return cuts.node_of_leaf(parents, nodes, leaves)[hierarchy.leaf_of_part]


def alike(first: np.ndarray, second: np.ndarray) -> float:
    """Share of the pairs of parts that are together in both cuts or apart in both."""
    one, two = (labels[:, None] == labels for labels in (first, second))
    return float((one == two)[np.triu_indices(len(first), 1)].mean())


# -- sets of channels ------------------------------------------------------------------------------


@given(st.integers(1, 400), st.floats(0.001, 1), st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_each_channel_is_in_equally_many_sets(channels: int, share: float, count: int) -> None:
    sets = channel_sets(channels, share, count)
    size = min(channels, max(round(share * channels), 16))
    assert len(sets) == (1 if size == channels else count)
    assert all(len(set(one.tolist())) == size == len(one) for one in sets)
    times = Counter(np.concatenate(sets).tolist())
    seen = [times[channel] for channel in range(channels)]
    assert max(seen) - min(seen) <= 1


def test_sets_of_channels_are_always_the_same():
    first = [one.tolist() for one in channel_sets(384, 0.1, 60)]
    channel_sets.cache_clear()
    assert first == [one.tolist() for one in channel_sets(384, 0.1, 60)]
    assert len({tuple(one) for one in first}) == 60


# -- the steps -------------------------------------------------------------------------------------


@given(st.integers(2, 30), st.integers(1, 8), st.booleans(), SEEDS)
@settings(max_examples=60, deadline=None)
def test_rows_of_few_channels_lie_as_those_of_spectral_ward(k, m, near, seed) -> None:
    rng = np.random.default_rng(seed)
    mean = np.abs(rng.normal(size=(k, m))) if near else rng.normal(size=(k, m))
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    count = rng.integers(1, 9, k)
    # Of tiny eigenvalues, which rounding makes, this power leaves nothing.
    fast = subspace_rows(mean, count, None, 1.0)
    slow = spectral_rows(graph_of(mean, count), None, 1.0)
    assert np.allclose(distances(gram(fast), 2), distances(gram(slow), 2), atol=1e-9)


@given(st.integers(2, 40), SEEDS)
@settings(max_examples=60, deadline=None)
def test_two_parts_get_the_cost_of_the_merge_that_joins_them(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, costs = ward_merges(rng.normal(size=(k, 3)), rng.integers(1, 9, k))
    groups = groups_of(pairs, k)[k:]
    expected = np.zeros((k, k))
    for i, j in combinations(range(k), 2):
        joined = next(at for at, group in enumerate(groups) if {i, j} <= group)
        expected[i, j] = expected[j, i] = costs[joined]
    for way in (merge_costs.compiled(), merge_costs.instead):
        found = np.ones((k, k))
        way(pairs, costs, found)
        assert np.array_equal(found, 1 + expected)


@given(st.integers(2, 30), SEEDS)
@settings(max_examples=60, deadline=None)
def test_average_linkage_is_scipys_and_a_weight_is_so_many_points(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    apart = distances(gram(rng.normal(size=(k, 3))), 1)
    pairs, found = average_merges(apart, np.ones(k, np.int64))
    theirs = linkage(apart[np.triu_indices(k, 1)], "average")
    assert groups_of(pairs, k)[k:] == groups_of(theirs[:, :2].astype(int), k)[k:]
    assert np.allclose(found, theirs[:, 2])
    # In place of each part as many points as it weighs, which lie at one place.
    count = rng.integers(1, 4, k)
    at = np.repeat(np.arange(k), count)
    whole = linkage(apart[np.ix_(at, at)][np.triu_indices(len(at), 1)], "average")
    weighed = average_merges(apart, count)[1]
    assert np.allclose(weighed, whole[len(at) - k :, 2])


@given(st.integers(2, 20), st.sampled_from([1.0, 2.0, 3.0]), SEEDS)
@settings(max_examples=60, deadline=None)
def test_a_merge_adds_what_dispersions_say(k: int, exponent: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, count = rng.normal(size=(k, 2)), rng.integers(1, 9, k)
    apart = distances(gram(rows), exponent)
    for i, j in combinations(range(k), 2):
        assert np.isclose(apart[i, j], np.linalg.norm(rows[i] - rows[j]) ** exponent, atol=1e-7)
    pairs, _ = ward_merges(rng.normal(size=(k, 2)), count)  # of other rows: any merges will do

    def dispersion(group: frozenset[int]) -> float:
        own = sorted(group)
        weight = count[own]
        return float(weight @ apart[np.ix_(own, own)] @ weight) / (2 * weight.sum())

    groups = groups_of(pairs, k)
    added = np.array([
        dispersion(groups[a] | groups[b]) - dispersion(groups[a]) - dispersion(groups[b])
        for a, b in pairs.tolist()
    ])  # fmt: skip
    added = np.maximum(added, 0)
    assert np.allclose(merge_shares(pairs, apart, count), added / added.max())


@given(st.integers(2, 30), SEEDS)
@settings(max_examples=60, deadline=None)
def test_merges_in_the_order_of_heights_are_the_same_groups(k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs, _ = ward_merges(rng.normal(size=(k, 3)), np.ones(k, np.int64))
    given_heights = rng.random(k - 1)
    ordered, height = _ascending(pairs, given_heights)
    before, after = (groups_of(one, k)[k:] for one in (pairs, ordered))
    assert set(before) == set(after)
    assert np.all(np.diff(height) >= 0)
    assert height[-1] == 1
    expected = {
        group: max(given_heights[at] for at, other in enumerate(before) if other <= group)
        for group in before
    }
    top = max(expected.values())
    assert all(np.isclose(height[at] * top, expected[group]) for at, group in enumerate(after))


# -- the builder -----------------------------------------------------------------------------------


def scene(rng: np.random.Generator, channels: int = 200, parts: int = 60) -> tuple[np.ndarray, ...]:
    """Parts of six kinds of unequal likeness, and how many patches each has."""
    kinds = rng.normal(size=(3, channels))
    kinds = np.concatenate([kinds, kinds + 0.6 * rng.normal(size=(3, channels))])
    means = kinds[np.arange(parts) % 6] + 0.7 * rng.normal(size=(parts, channels))
    return means / np.linalg.norm(means, axis=1, keepdims=True), rng.integers(2, 9, parts)


def test_kinds_of_parts_are_regions_and_the_seed_has_no_effect():
    rng = np.random.default_rng(0)
    means, count = scene(rng)
    trees = [Consensus().build(graph_of(means, count), seed=seed) for seed in (0, 7)]
    assert all(
        np.array_equal(getattr(trees[0], name), getattr(trees[1], name))
        for name in ("leaf_of_part", "parents", "height", "stop")
    )
    assert alike(regions(trees[0], 6), np.arange(60) % 6) == 1
    assert alike(regions(trees[0], 3), np.arange(60) % 3) == 1
    assert trees[0].height.max() == 1


def test_the_tree_is_that_of_the_formulas():
    """Heights of all groups, from sums over pairs of parts."""
    rng = np.random.default_rng(3)
    means, count = scene(rng, channels=40, parts=14)
    builder, k = Consensus(trees=7, channels=0.5), 14
    logs, apart = np.zeros((k, k)), np.zeros((k, k))
    for channels in channel_sets(40, 0.5, 7):
        own = means[:, channels] / np.sqrt(
            sum(n * x @ x for n, x in zip(count, means[:, channels], strict=True)) / count.sum()
        )
        rows = subspace_rows(own, count, builder.vectors, builder.power)
        pairs, costs = ward_merges(rows, count, 3.0)
        groups = groups_of(pairs, k)[k:]
        for i, j in combinations(range(k), 2):
            joined = next(at for at, group in enumerate(groups) if {i, j} <= group)
            logs[i, j] += np.log(costs[joined] / costs[-1]) / 7
            apart[i, j] += np.linalg.norm(rows[i] - rows[j]) ** 3 / costs[-1] / 7
    logs, apart = logs + logs.T, apart + apart.T

    def between(a: frozenset[int], b: frozenset[int], of: np.ndarray) -> float:
        one, two = sorted(a), sorted(b)
        return float(count[one] @ of[np.ix_(one, two)] @ count[two])

    def size(group: frozenset[int]) -> int:
        return int(count[sorted(group)].sum())

    def dispersion(group: frozenset[int]) -> float:
        return between(group, group, apart) / (2 * size(group))

    active = [frozenset([part]) for part in range(k)]
    found: list[tuple[frozenset[int], float, float]] = []
    while len(active) > 1:
        distance, a, b = min(
            (between(a, b, logs) / (size(a) * size(b)), a, b) for a, b in combinations(active, 2)
        )
        added = dispersion(a | b) - dispersion(a) - dispersion(b)
        found.append((a | b, distance, added))
        active = [one for one in active if one not in (a, b)] + [a | b]
    largest, last = max(added for _, _, added in found), found[-1][1]
    height = {group: (np.exp(own - last) * added / largest) ** 0.25 for group, own, added in found}
    expected = {group: max(height[one] for one in height if one <= group) for group in height}
    top = max(expected.values())
    tree = builder.build(graph_of(means, count), seed=0)
    parents = tree.parents.astype(np.int64)
    below: list[set[int]] = [set() for _ in parents]
    for part, leaf in enumerate(tree.leaf_of_part.tolist()):
        node = leaf
        while True:
            below[node].add(part)
            if parents[node] == node:
                break
            node = int(parents[node])
    inner = {frozenset(below[node]): tree.height[node] for node in np.flatnonzero(tree.height > 0)}
    assert inner.keys() == expected.keys()
    assert all(np.isclose(inner[group], expected[group] / top, rtol=1e-4) for group in expected)


def test_numbers_of_the_page_are_the_defaults():
    usual = Consensus()
    assert (usual.trees, usual.channels, usual.natural_height) == (60, 0.1, 0.35)
    ward = SpectralWard()
    assert (usual.vectors, usual.power, usual.exponent) == (ward.vectors, ward.power, ward.exponent)


def test_small_changes_of_features_change_less_than_with_spectral_ward():
    agreed = {Consensus: [], SpectralWard: []}
    for seed in range(6):
        rng = np.random.default_rng(seed)
        means = rng.normal(size=(80, 200)) + rng.normal(size=(80, 4)) @ rng.normal(size=(4, 200))
        means /= np.linalg.norm(means, axis=1, keepdims=True)
        moved = means + 0.01 * rng.normal(size=means.shape)
        moved /= np.linalg.norm(moved, axis=1, keepdims=True)
        count = rng.integers(1, 9, 80)
        for builder, found in agreed.items():
            two = (builder().build(graph_of(one, count), seed=0) for one in (means, moved))
            one, other = (regions(tree, 8) for tree in two)
            found.append(alike(one, other))
    assert np.mean(agreed[Consensus]) > np.mean(agreed[SpectralWard])


def test_the_order_of_parts_does_not_matter():
    rng = np.random.default_rng(1)
    means, count = scene(rng)
    order = rng.permutation(60)
    one = Consensus().build(graph_of(means, count), seed=0)
    two = Consensus().build(graph_of(means[order], count[order]), seed=0)
    assert alike(regions(one, 12)[order], regions(two, 12)) == 1
    assert np.allclose(np.sort(one.height), np.sort(two.height), atol=1e-5)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_few_or_equal_parts(k: int):
    equal = Consensus().build(graph_of(np.ones((k, 20)) / np.sqrt(20), np.arange(1, k + 1)), seed=0)
    assert len(equal.parents) == 1
    assert equal.stop[0] == (StopReason.SINGLE_PART if k == 1 else StopReason.UNIFORM)
    means = np.eye(20)[:k]
    apart = Consensus().build(graph_of(means, np.ones(k, np.int64)), seed=0)
    assert len(apart.parents) == 2 * k - 1


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="trees"):
        Consensus(trees=0)
    with pytest.raises(SettingsError, match="channels"):
        Consensus(channels=0)


def test_a_parser_builds_it_and_records_its_settings():
    features = blocks()
    truth = np.zeros((16, 16), int)
    truth[:8, 8:], truth[8:, 8:] = 1, 2
    parser = RegionParser(tree={"builder": "consensus", "trees": 5}, parts=40)
    tree = parser.build(features)
    assert tree.meta["settings"]["tree"] == "consensus"
    assert tree.meta["settings"]["tree.trees"] == 5
    cut = tree.cut(n_regions=3)
    assert alike(cut.ravel(), truth.ravel()) == 1
