"""The published recursion on small part graphs whose answer is known."""

import numpy as np
import pytest
import torch
from conftest import blocks

from regiontree.errors import SettingsError, TreeError
from regiontree.hierarchy import PartGraph, RecursivePartition, StopReason
from regiontree.hierarchy.base import Node, assemble
from regiontree.hierarchy.recursive import best_threshold, normalised_cuts, normalised_laplacian
from regiontree.spectral.affinity import LowRankAffinity, unit_rows
from regiontree.spectral.graph import part_graph


def graph_of(weights: np.ndarray, sums: np.ndarray | None = None) -> PartGraph:
    """A part graph of one patch a part; features default to distinct directions."""
    k = len(weights)
    return PartGraph(weights, np.ones(k, np.int64), np.eye(k) if sums is None else sums)


def cliques(sizes: list[int], between: float = 0.01) -> np.ndarray:
    """Groups tied by 1 inside and by `between` outside."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    weights = np.where(labels[:, None] == labels[None, :], 1.0, between)
    np.fill_diagonal(weights, 0)
    return weights


def groups_below(tree, node) -> set[frozenset[int]]:
    """The parts below each child of a node."""
    below: list[set[int]] = [
        set(np.flatnonzero(tree.leaf_of_part == i)) for i in range(len(tree.parents))
    ]
    for i, parent in enumerate(tree.parents[:-1]):
        below[parent] |= below[i]
    return {frozenset(below[i]) for i in np.flatnonzero(tree.parents[:-1] == node)}


def brute_force_ncut(weights: np.ndarray, labels: np.ndarray) -> list[float]:
    """Shi and Malik's cut(g, V - g) / assoc(g, V), summed pair by pair."""
    n, out = len(weights), []
    for g in range(labels.max() + 1):
        cut = sum(weights[i, j] for i in range(n) for j in range(n) if labels[i] == g != labels[j])
        assoc = sum(weights[i, j] for i in range(n) for j in range(n) if labels[i] == g)
        out.append(cut / assoc if assoc else 1.0)
    return out


@pytest.mark.parametrize("sizes", [[5, 5], [6, 4, 5], [5, 5, 5, 5], [8, 7, 6, 5, 4]])
def test_the_eigengap_counts_the_groups(sizes):
    tree = RecursivePartition().build(graph_of(cliques(sizes)), seed=0)
    root = len(tree.parents) - 1
    edges = np.concatenate([[0], np.cumsum(sizes)])
    expected = {frozenset(range(a, b)) for a, b in zip(edges[:-1], edges[1:], strict=True)}
    assert groups_below(tree, root) == expected


def test_fiedler_always_divides_in_two():
    builder = RecursivePartition(heuristic="fiedler", max_perturbation=1e9)
    tree = builder.build(graph_of(cliques([8, 5, 3])), seed=0)
    assert len(groups_below(tree, len(tree.parents) - 1)) == 2


def test_nested_structure_is_found_level_by_level():
    weights = cliques([4, 4, 4, 4], 0.001)
    weights[:8, :8] = np.maximum(weights[:8, :8], 0.15)
    weights[8:, 8:] = np.maximum(weights[8:, 8:], 0.15)
    np.fill_diagonal(weights, 0)
    tree = RecursivePartition(heuristic="fiedler", max_perturbation=1e9).build(
        graph_of(weights), seed=0
    )
    root = len(tree.parents) - 1
    halves = groups_below(tree, root)
    assert halves == {frozenset(range(8)), frozenset(range(8, 16))}
    quarters = set().union(
        *(groups_below(tree, c) for c in np.flatnonzero(tree.parents[:-1] == root))
    )
    assert quarters == {frozenset(range(a, a + 4)) for a in (0, 4, 8, 12)}


def test_normalised_cuts_equal_the_definition():
    rng = np.random.default_rng(0)
    weights = rng.random((9, 9))
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    labels = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2])
    np.testing.assert_allclose(normalised_cuts(weights, labels), brute_force_ncut(weights, labels))
    assert normalised_cuts(np.zeros((2, 2)), np.array([0, 1])).tolist() == [1, 1]


def test_a_single_part_always_has_a_cut_of_one():
    weights = cliques([1, 6])
    cuts = normalised_cuts(weights, np.array([0] + [1] * 6))
    assert cuts[0] == 1
    assert cuts[1] < 0.1


def test_best_threshold_tries_the_twelve_and_keeps_the_least_cut():
    rng = np.random.default_rng(4)
    weights = rng.random((12, 12))
    weights = weights + weights.T
    np.fill_diagonal(weights, 0)
    vector = rng.normal(size=12)
    candidates = [*np.linspace(vector.min(), vector.max(), 10), 0.0, vector.mean()]
    values = []
    for threshold in candidates:
        labels = (vector > threshold).astype(int)
        if 0 < labels.sum() < 12:
            values.append(np.mean(brute_force_ncut(weights, labels)))
    found = best_threshold(weights, vector)
    assert np.mean(brute_force_ncut(weights, found)) == pytest.approx(min(values))
    assert best_threshold(weights, np.full(12, 0.5)) is None


def test_laplacian_of_an_unconnected_part_is_its_diagonal():
    weights = cliques([3, 1], between=0.0)
    laplacian = normalised_laplacian(weights)
    assert laplacian[3].tolist() == [0, 0, 0, 1]
    np.testing.assert_allclose(
        laplacian[:3, :3], [[1, -0.5, -0.5], [-0.5, 1, -0.5], [-0.5, -0.5, 1]]
    )


def stops(builder: RecursivePartition, weights: np.ndarray) -> list[StopReason]:
    tree = builder.build(graph_of(weights), seed=0)
    return [StopReason(int(s)) for s in tree.stop]


def test_every_leaf_says_why_it_ends():
    inner, leaf = StopReason.INNER, StopReason
    two_groups = cliques([6, 6])
    assert stops(RecursivePartition(), np.zeros((1, 1))) == [leaf.SINGLE_PART]
    assert stops(RecursivePartition(), cliques([2])) == [leaf.HIGH_CUT]
    assert stops(RecursivePartition(levels=1), two_groups) == [leaf.MAX_LEVELS] * 2 + [inner]
    assert stops(RecursivePartition(max_perturbation=1e-3), two_groups) == [leaf.UNSTABLE]
    assert stops(RecursivePartition(max_ncut=1e-6), two_groups) == [leaf.HIGH_CUT]
    assert stops(RecursivePartition(min_parts=12), two_groups) == [leaf.SINGLE_PART]
    assert stops(RecursivePartition(min_parts=6), two_groups) == [leaf.SINGLE_PART] * 2 + [inner]


def test_parts_of_equal_ties_cannot_be_divided_stably():
    uniform = np.ones((8, 8)) - np.eye(8)
    reasons = stops(RecursivePartition(), uniform)
    assert reasons == [StopReason.UNSTABLE]  # all gaps beyond the first are 0


def test_real_path_separates_halves_before_parts():
    unit = unit_rows(torch.from_numpy(blocks().reshape(-1, 24)))
    labels = torch.arange(16)[:, None] // 4 * 4 + torch.arange(16)[None, :] // 4
    graph = part_graph(unit, LowRankAffinity(unit), labels.reshape(-1))
    tree = RecursivePartition(heuristic="fiedler", max_perturbation=1e9).build(graph, seed=0)
    left = frozenset(i for i in range(16) if i % 4 < 2)
    assert groups_below(tree, len(tree.parents) - 1) == {left, frozenset(range(16)) - left}


def test_children_share_the_parts_of_their_parent_and_heights_are_monotone():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(40, 6))
    weights = np.clip(features @ features.T, 0, None)
    np.fill_diagonal(weights, 0)
    graph = PartGraph(weights, rng.integers(1, 9, 40), features)
    tree = RecursivePartition(max_perturbation=1e9).build(graph, seed=0)
    n_leaves = int((tree.stop != 0).sum())
    assert n_leaves > 3
    assert sorted(set(tree.leaf_of_part)) == list(range(n_leaves))
    assert (tree.parents[:-1] > np.arange(len(tree.parents) - 1)).all()
    assert (tree.height <= tree.height[tree.parents]).all()
    assert (tree.height[:n_leaves] == 0).all()
    assert tree.height[-1] == pytest.approx(1)


def test_relabelling_the_parts_relabels_the_tree():
    """Permutation of the input permutes the output: no part is special for its number."""
    weights = cliques([6, 5, 4], 0.05)
    order = np.random.default_rng(0).permutation(15)
    plain = RecursivePartition().build(graph_of(weights), seed=0)
    mixed = RecursivePartition().build(
        graph_of(weights[np.ix_(order, order)], np.eye(15)[order]), seed=0
    )
    together = plain.leaf_of_part[:, None] == plain.leaf_of_part
    np.testing.assert_array_equal(
        mixed.leaf_of_part[:, None] == mixed.leaf_of_part, together[np.ix_(order, order)]
    )


def test_height_is_the_share_of_scatter_within_a_node():
    # Two tight pairs of unit features far apart: the root holds all scatter, the pairs very little.
    angle = np.deg2rad([0, 10, 90, 100])
    sums = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    graph = graph_of(cliques([2, 2]), sums)
    root = Node(np.arange(4))
    root.children = [Node(np.array([0, 1])), Node(np.array([2, 3]))]
    for pair in root.children:
        pair.children = [Node(pair.parts[:1]), Node(pair.parts[1:])]
    tree = assemble(root, graph)

    def scatter(rows: list[int]) -> float:
        return float(((sums[rows] - sums[rows].mean(axis=0)) ** 2).sum())

    expected = scatter([0, 1]) / scatter([0, 1, 2, 3])
    assert tree.height.tolist() == pytest.approx([0, 0, 0, 0, expected, expected, 1])
    assert tree.parents.tolist() == [4, 4, 5, 5, 6, 6, 6]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"levels": 0}, r"levels must be a whole number in \[1, 1000\], got 0"),
        ({"max_ways": 1}, r"max_ways must be a whole number in \[2, 1000\], got 1"),
        ({"min_parts": 0}, "min_parts"),
        ({"n_init": 0}, "n_init"),
        ({"max_ncut": 0}, "max_ncut must be a number in .*, got 0"),
        ({"max_ncut": 1.2}, "1.2"),
        ({"max_perturbation": 0}, "max_perturbation must be a number in"),
        ({"heuristic": "luck"}, "'luck'"),
    ],
)
def test_bad_settings_are_named(bad, said):
    with pytest.raises(SettingsError, match=said):
        RecursivePartition(**bad)


def test_a_part_graph_must_fit_together():
    with pytest.raises(TreeError, match=r"\(2, 2\)"):
        PartGraph(np.zeros((2, 2)), np.ones(3, np.int64), np.zeros((3, 4)))
