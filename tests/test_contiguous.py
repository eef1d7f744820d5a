"""Ward's linkage of neighbouring patches: definition, ties, gaps, compiled loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from conftest import blocks
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree import RegionParser
from regiontree.settings import Settings
from regiontree.spectral import contiguous
from regiontree.spectral.affinity import AffinitySettings, make_affinity, unit_rows
from regiontree.spectral.contiguous import contiguous_groups, linked_groups, neighbouring_pairs
from regiontree.spectral.lanes import sum_of_rows, widened
from regiontree.spectral.oversegment import ContiguousWard, PatchGraph
from regiontree.system import jit

grids = st.tuples(st.integers(1, 6), st.integers(1, 6))
seeds = st.integers(0, 2**32 - 1)


def by_definition(rows: np.ndarray, pairs: np.ndarray, count: int) -> list[set[int]]:
    """The groups that the cheapest merge, found anew each time, leaves."""
    groups = [{i} for i in range(len(rows))]
    linked = {tuple(pair) for pair in pairs.tolist()}

    def scatter(group: set[int]) -> float:
        own = rows[sorted(group)]
        return float(((own - own.mean(axis=0)) ** 2).sum())

    def touch(a: set[int], b: set[int]) -> bool:
        return any((min(i, j), max(i, j)) in linked for i in a for j in b)

    while len(groups) > count:
        costs = [
            (scatter(a | b) - scatter(a) - scatter(b), i, j)
            for i, a in enumerate(groups)
            for j, b in enumerate(groups)
            if i < j and touch(a, b)
        ]
        _, i, j = min(costs)
        groups[i] = groups[i] | groups.pop(j)
    return groups


def sets(labels: np.ndarray) -> set[frozenset[int]]:
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@pytest.mark.parametrize(("d", "columns"), [(1, 32), (38, 64), (352, 352), (353, 384), (400, 768)])
def test_rows_of_few_channels_are_short_and_have_the_same_bits(d, columns) -> None:
    rows = np.random.default_rng(d).normal(size=(12, d)).astype(np.float32)
    short, long = contiguous._padded(rows), widened(rows)
    assert short.shape == (12, columns)
    pairs = neighbouring_pairs((3, 4))
    costs = contiguous._costs(long, pairs).tobytes()
    for own in (short, long):
        assert contiguous._costs(own, pairs).tobytes() == costs
        assert contiguous._costs_of_numpy(own, pairs).tobytes() == costs
        room = np.empty(32, np.float32)
        apart = 0.5 * np.float64(contiguous._apart_of_numpy(own, 0, own, 1, room))
        assert apart.tobytes() == costs[:8]


@given(grids, st.integers(1, 12), seeds, st.booleans())
@settings(max_examples=60, deadline=None)
def test_each_merge_is_the_cheapest_of_neighbours(grid, count, seed, gaps) -> None:
    rng = np.random.default_rng(seed)
    there = rng.random(grid) < 0.7 if gaps else np.ones(grid, bool)
    there[0, 0] = True
    rows = rng.normal(size=(int(there.sum()), 3)).astype(np.float32)
    found = contiguous_groups(rows, grid, count, there)
    expected = by_definition(rows.astype(float), neighbouring_pairs(grid, there), count)
    assert sets(found) == {frozenset(group) for group in expected}
    # Numbered in the order of their first patches.
    first = [int(np.flatnonzero(found == group)[0]) for group in range(found.max() + 1)]
    assert first == sorted(first)


@given(grids, seeds, st.integers(1, 400), st.booleans())
@settings(max_examples=40, deadline=None)
def test_the_slower_functions_give_the_same_bits(grid, seed, width, flat) -> None:
    rng = np.random.default_rng(seed)
    n = grid[0] * grid[1]
    rows = rng.normal(size=(n, width)).astype(np.float32)
    if flat:  # many equal costs
        rows = np.round(rows[:, :1])
    count = int(rng.integers(1, n + 1))
    fast = contiguous_groups(rows, grid, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jit, "_why_not", "the test wants the slower functions")
        assert np.array_equal(contiguous_groups(rows, grid, count), fast)


def test_sums_and_means_have_the_same_bits_in_both_ways() -> None:
    rng = np.random.default_rng(0)
    rows = widened(rng.normal(size=(6, 500)))
    room = np.empty(32, np.float32)
    for a, b in ((0, 1), (2, 5), (3, 3)):
        fast = contiguous._apart.compiled()(rows, a, rows, b, room)
        assert fast == contiguous._apart.instead(rows, a, rows, b, room)
    assert np.allclose(sum_of_rows(rows), rows.sum(axis=1), atol=1e-4)
    pairs = np.array([[0, 1], [3, 4]])
    fast = contiguous._costs.compiled()(rows, pairs)
    assert np.array_equal(fast, contiguous._costs.instead(rows, pairs))
    one, other = rows.copy(), rows.copy()
    contiguous._mix.compiled()(one, 0, one, 0, rows, 1, np.float32(0.3))
    contiguous._mix.instead(other, 0, other, 0, rows, 1, np.float32(0.3))
    assert np.array_equal(one, other)


def test_features_of_any_kind_are_only_read() -> None:
    rng = np.random.default_rng(0)
    wide = rng.normal(size=(36, 384)).astype(np.float32)
    kinds = [wide, np.asfortranarray(wide), wide[:, :100], wide.astype(np.float64)]
    for rows in kinds:
        before = rows.copy()
        groups = contiguous_groups(rows, (6, 6), 5)
        assert np.array_equal(rows, before)
        frozen = rows.copy()
        frozen.flags.writeable = False
        assert np.array_equal(contiguous_groups(frozen, (6, 6), 5), groups)


def test_pairs_are_the_eight_neighbours_and_pieces_are_chained() -> None:
    pairs = neighbouring_pairs((4, 5))
    y, x = np.divmod(pairs, 5)
    assert (np.abs(np.diff(y, axis=1)) <= 1).all()
    assert (np.abs(np.diff(x, axis=1)) <= 1).all()
    assert len(np.unique(pairs, axis=0)) == len(pairs) == 4 * 4 + 3 * 5 + 2 * 3 * 4
    there = np.array([[1, 0, 1, 0, 1]], bool)
    assert neighbouring_pairs((1, 5), there).tolist() == [[0, 1], [1, 2]]


def test_equal_patches_become_groups_of_about_equal_size() -> None:
    sizes = np.bincount(contiguous_groups(np.ones((400, 4), np.float32), (20, 20), 25))
    assert len(sizes) == 25
    assert sizes.max() <= 4 * sizes.min()


def test_groups_follow_the_borders_of_the_scene() -> None:
    scene = blocks(noise=0.05)
    rows = scene.reshape(-1, scene.shape[2])
    found = contiguous_groups(rows, (16, 16), 3).reshape(16, 16)
    assert [len(np.unique(found[:, :8])), len(np.unique(found[:8, 8:]))] == [1, 1]
    assert len(np.unique(found)) == 3


def graph_of(unit: torch.Tensor, grid: tuple[int, int], there: np.ndarray | None = None):
    return PatchGraph(
        unit, make_affinity(unit, AffinitySettings()), AffinitySettings(), grid, there
    )


def test_the_method_counts_parts_and_ignores_the_seed() -> None:
    unit = unit_rows(torch.from_numpy(blocks()).reshape(256, -1))
    patches = graph_of(unit, (16, 16))
    parts = ContiguousWard(count=40).group(patches, seed=1)
    assert parts.unique().tolist() == list(range(40))
    assert torch.equal(parts, ContiguousWard(count=40).group(patches, seed=2))
    assert ContiguousWard(count=300).group(patches, seed=0).tolist() == list(range(256))


def test_gaps_do_not_change_the_number_of_parts() -> None:
    there = np.ones((16, 16), bool)
    there[:, 5:7] = False
    scene = torch.from_numpy(blocks())[torch.from_numpy(there)]
    parts = ContiguousWard(count=30).group(graph_of(unit_rows(scene), (16, 16), there), seed=0)
    assert len(parts) == there.sum()
    assert parts.unique().tolist() == list(range(30))


def test_it_is_the_default_and_another_seed_changes_no_tree() -> None:
    assert [Settings.make(preset).parts.name for preset in ("default", "fast")] == [
        "contiguous"
    ] * 2
    one, other = (
        RegionParser(backbone="precomputed", device="cpu", seed=seed, parts=60).build(blocks())
        for seed in (1, 2)
    )
    assert np.array_equal(one.labels, other.labels)
    assert np.array_equal(one.height, other.height)


def test_groups_merge_as_by_brute_force() -> None:
    """The cheapest pair that touches merges, until there are few: each cost computed anew."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(3, 14))
        means, size = rng.normal(size=(n, 3)).astype(np.float32), rng.integers(1, 50, n)
        chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
        more = np.sort(np.stack([rng.permutation(n)[:2] for _ in range(n)]), axis=1)
        pairs, count = np.concatenate([chain, more]), int(rng.integers(1, n + 1))
        label = np.arange(n)
        while len(np.unique(label)) > count:
            costs = []
            for a, b in {tuple(sorted(label[pair])) for pair in pairs}:
                if a != b:
                    one, two = label == a, label == b
                    x, y = size[one].sum(), size[two].sum()
                    apart = np.average(means[one], axis=0, weights=size[one]) - np.average(
                        means[two], axis=0, weights=size[two]
                    )
                    costs.append((x * y / (x + y) * apart @ apart, a, b))
            _, a, b = min(costs)
            label[label == b] = a
        found = linked_groups(means, pairs, count, size)
        assert len(np.unique(found * n + label)) == len(np.unique(label)) == found.max() + 1
