"""Diffusion Ward: parts that are near along chains of near neighbours come together first."""

from __future__ import annotations

import numpy as np
import pytest

from regiontree.errors import SettingsError
from regiontree.hierarchy import DiffusionWard, PartGraph
from regiontree.hierarchy.diffusion import diffusion_rows
from regiontree.tree import cuts
from regiontree.tree.kernel import division_order


def graph_of(mean: np.ndarray, count: np.ndarray) -> PartGraph:
    mean = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return PartGraph(np.zeros((len(mean), len(mean))), count, mean * count[:, None])


def arcs(rng: np.random.Generator, each: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Three long arcs on a sphere. The ends of an arc are farther apart than two arcs are."""
    angle = np.tile(np.linspace(-0.8, 0.8, each), 3)
    lift = np.repeat([-0.45, 0.0, 0.45], each) + rng.normal(0, 0.01, 3 * each)
    points = np.stack([np.cos(angle) * np.cos(lift), np.sin(angle) * np.cos(lift), np.sin(lift)], 1)
    return points, np.repeat(np.arange(3), each)


def regions(hierarchy, n: int) -> np.ndarray:
    """The group of each part in the cut into n."""
    parents = hierarchy.parents.astype(np.int64)
    order = division_order(parents, hierarchy.height)
    divided = np.zeros(len(parents), bool)
    divided[order[: n - 1]] = True
    nodes = cuts.shown_nodes(parents, divided)
    return cuts.node_of_leaf(parents, nodes, int((hierarchy.stop > 0).sum()))[
        hierarchy.leaf_of_part
    ]


def rows_by_definition(graph: PartGraph, neighbours: int, steps: float) -> np.ndarray:
    """All coordinates, from the formulas, part by part."""
    k = len(graph.count)
    mean = graph.sums / np.linalg.norm(graph.sums, axis=1, keepdims=True)
    weights = np.zeros((k, k))
    for i in range(k):
        others = sorted((j for j in range(k) if j != i), key=lambda j, i=i: -(mean[i] @ mean[j]))
        for j in others[:neighbours]:
            edge = np.sqrt(graph.count[i] * graph.count[j]) * max(mean[i] @ mean[j], 0.01) / 2
            weights[i, j] += edge
            weights[j, i] += edge
    degree = weights.sum(axis=1)
    walk = (np.eye(k) + weights / np.sqrt(np.outer(degree, degree))) / 2
    values, u = np.linalg.eigh(walk)
    return u * values**steps / np.sqrt(degree / degree.mean())[:, None]


def test_coordinates_are_those_of_the_formulas():
    rng = np.random.default_rng(0)
    graph = graph_of(rng.normal(size=(30, 5)), rng.integers(1, 9, 30))
    found, slow = diffusion_rows(graph, 4, 30, 3.0), rows_by_definition(graph, 4, 3.0)
    # Signs and equal eigenvalues leave the vectors free, but not the distances.
    np.testing.assert_allclose(found @ found.T, slow @ slow.T, atol=1e-9)


def test_chains_stay_whole_where_distances_alone_would_cut_them():
    points, arc = arcs(np.random.default_rng(1))
    found = regions(DiffusionWard(neighbours=6).build(graph_of(points, np.ones(120)), seed=0), 3)
    assert len({*zip(found.tolist(), arc.tolist(), strict=True)}) == 3


def test_a_part_without_like_parts_is_joined_all_the_same():
    mean = np.vstack([np.eye(6), -np.eye(6)])
    found = DiffusionWard(neighbours=2).build(graph_of(mean, np.ones(12)), seed=0)
    assert np.isfinite(found.height).all()
    assert found.parents[-1] == len(found.parents) - 1


@pytest.mark.parametrize("k", [1, 2, 3])
def test_few_parts(k):
    rng = np.random.default_rng(k)
    found = DiffusionWard().build(graph_of(rng.normal(size=(k, 4)), np.ones(k)), seed=0)
    assert len(np.unique(found.leaf_of_part)) == k


def test_the_seed_and_the_order_of_parts_change_nothing():
    points, _ = arcs(np.random.default_rng(2), 20)
    order = np.random.default_rng(3).permutation(60)
    one = DiffusionWard(neighbours=5).build(graph_of(points, np.ones(60)), seed=0)
    other = DiffusionWard(neighbours=5).build(graph_of(points[order], np.ones(60)), seed=7)
    for n in (2, 3, 5):
        pairs = {*zip(regions(one, n)[order].tolist(), regions(other, n).tolist(), strict=True)}
        assert len(pairs) == n


def test_settings_out_of_range():
    with pytest.raises(SettingsError, match="neighbours"):
        DiffusionWard(neighbours=0)


def test_it_builds_trees_of_photographs_too(tmp_path):
    from regiontree import RegionParser

    rng = np.random.default_rng(0)
    features = np.repeat(np.repeat(rng.normal(size=(3, 3, 16)), 5, 0), 5, 1)
    features += rng.normal(0, 0.01, features.shape)
    parser = RegionParser(backbone="precomputed", tree={"builder": "diffusion"}, parts=40)
    assert parser.build(features.astype(np.float32)).n_leaves >= 9
