"""k-means: optimal where the optimum is known, never worse than its definition allows."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree.errors import FeatureError, SettingsError
from regiontree.spectral.kmeans import kmeans


def clouds(
    k: int = 5, each: int = 40, dim: int = 3, seed: int = 0
) -> tuple[torch.Tensor, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(k, dim)) * 20
    points = np.repeat(centres, each, axis=0) + rng.normal(size=(k * each, dim))
    return torch.from_numpy(points.astype(np.float32)), np.repeat(np.arange(k), each)


def inertia_of(points: np.ndarray, labels: np.ndarray) -> float:
    groups = [points[labels == g] for g in np.unique(labels)]
    return float(sum(((group - group.mean(axis=0)) ** 2).sum() for group in groups))


def test_separate_clouds_are_found():
    points, truth = clouds()
    labels = kmeans(points, 5, seed=0).labels.numpy()
    pairs = set(zip(truth.tolist(), labels.tolist(), strict=True))
    assert len(pairs) == 5  # one label a cloud, one cloud a label


def test_restarts_reach_the_optimum_of_a_tiny_problem():
    points = torch.tensor(np.random.default_rng(3).normal(size=(9, 2)))
    best = min(
        inertia_of(points.numpy(), np.array(labels))
        for labels in itertools.product(range(3), repeat=9)
        if len(set(labels)) == 3
    )
    assert kmeans(points, 3, seed=0, n_init=50).inertia == pytest.approx(best)


def test_reported_inertia_belongs_to_the_labels():
    points, _ = clouds(4, 30)
    found = kmeans(points, 6, seed=2)
    distance = ((points - found.centres[found.labels]) ** 2).sum()
    assert found.inertia == pytest.approx(float(distance), rel=1e-3)


def test_batched_restarts_equal_single_ones():
    """Small problems run all restarts at once, large ones in turn: the winner is the same."""
    import regiontree.spectral.kmeans as module

    points, _ = clouds(6, 20)
    together = kmeans(points, 8, seed=5, n_init=6)
    limit, module._BATCH_ENTRIES = module._BATCH_ENTRIES, 1
    try:
        apart = kmeans(points, 8, seed=5, n_init=6)
    finally:
        module._BATCH_ENTRIES = limit
    assert apart.inertia == pytest.approx(together.inertia, rel=1e-5)
    assert torch.equal(apart.labels, together.labels)


def test_same_seed_same_labels_other_seed_other_start():
    points = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    first, again, other = (kmeans(points, 20, seed=s).labels for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 30), p=st.integers(1, 4), seed=st.integers(0, 10_000), data=st.data())
def test_labels_are_complete_and_no_cluster_is_empty(n, p, seed, data):
    k = data.draw(st.integers(1, n))
    values = np.random.default_rng(seed).integers(0, 3, size=(n, p)).astype(np.float64)
    found = kmeans(torch.from_numpy(values), k, seed=seed, n_init=3)
    distinct = len(np.unique(values, axis=0))
    present = torch.unique(found.labels)
    assert present.tolist() == list(range(len(found.centres)))
    assert len(present) <= min(k, distinct)
    assert found.inertia <= inertia_of(values, np.zeros(n)) + 1e-9
    if k >= distinct and distinct == len(present):
        assert found.inertia == pytest.approx(0, abs=1e-9)


def test_more_clusters_than_distinct_points_gives_the_distinct_points():
    points = torch.tensor([[0.0], [0.0], [1.0], [1.0], [5.0]])
    found = kmeans(points, 4, seed=0, n_init=4)
    assert len(found.centres) == 3
    assert found.inertia == 0


@pytest.mark.parametrize("k", [0, 6])
def test_impossible_k_is_refused(k):
    with pytest.raises(SettingsError, match=rf"k must be in \[1, 5\] for 5 points, got {k}"):
        kmeans(torch.zeros(5, 2), k, seed=0)


def test_bad_points_are_refused():
    with pytest.raises(FeatureError, match="not finite"):
        kmeans(torch.tensor([[1.0], [float("nan")]]), 1, seed=0)
    with pytest.raises(FeatureError, match=r"\(n, p\)"):
        kmeans(torch.zeros(5), 1, seed=0)
    with pytest.raises(FeatureError, match="int64"):
        kmeans(torch.zeros(5, 2, dtype=torch.int64), 1, seed=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_cuda_agrees_with_the_cpu():
    points, _ = clouds(6, 50)
    here, there = kmeans(points, 6, seed=0), kmeans(points.cuda(), 6, seed=0)
    assert torch.equal(here.labels, there.labels.cpu())


def test_given_centres_are_where_it_starts():
    points, truth = clouds(3, 20)
    start = torch.stack([points[truth == k][0] for k in (2, 0, 1)])
    found = kmeans(points, 3, seed=0, start=start)
    assert found.labels.tolist() == [{2: 0, 0: 1, 1: 2}[k] for k in truth.tolist()]
    again = kmeans(points, 3, seed=99, start=start)  # nothing is drawn
    assert torch.equal(found.centres, again.centres)
    with pytest.raises(FeatureError, match=r"start must be \(k, p\) = \(3, 3\), got \(2, 3\)"):
        kmeans(points, 3, seed=0, start=start[:2])


def test_given_centres_reach_a_sample_too():
    points, truth = clouds(3, 200)
    start = torch.stack([points[truth == k][0] for k in range(3)])
    found = kmeans(points, 3, seed=0, start=start, sample=30)
    assert found.labels.tolist() == truth.tolist()
