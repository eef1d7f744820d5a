"""Baselines of categories: counts by hand, clouds that are found, and the same bytes each time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regiontree.collection.baselines import (
    Clusters,
    Regions,
    cluster_counts,
    fit_clusters,
    labelled_counts,
    patch_regions,
    slic_regions,
)
from regiontree.errors import DataError, FeatureError, SettingsError
from regiontree.metrics.matching import match_categories, name_categories

AXES = np.eye(3, dtype=np.float32)


def clouds(rng: np.random.Generator, photographs: int = 4, dim: int = 12) -> list[Regions]:
    """Three kinds of regions, of one class each, around three directions."""
    found = []
    for _ in range(photographs):
        kind = np.r_[0, 1, 2, rng.integers(0, 3, 27)]
        features = 0.1 * rng.normal(size=(30, dim))
        features[np.arange(30), kind] += 1
        scale = rng.uniform(0.5, 2, (30, 1))  # lengths mean nothing
        counts = np.zeros((30, 3), np.int64)
        counts[np.arange(30), kind] = rng.integers(1, 9, 30)
        found.append(Regions((features * scale).astype(np.float32), counts))
    return found


# -- regions --------------------------------------------------------------------------------------


def test_a_patch_has_its_nearest_pixels() -> None:
    tokens = np.arange(12, dtype=np.float32).reshape(2, 2, 3)
    truth = np.array([[0, 0, 1, -1], [0, 2, 1, 1], [2, 2, -1, -1], [2, 2, -1, -1]])
    found = patch_regions(tokens, truth, 3)
    assert found.features.tolist() == tokens.reshape(4, 3).tolist()
    assert found.counts.tolist() == [[3, 0, 1], [0, 3, 0], [0, 0, 4], [0, 0, 0]]


def test_a_slic_segment_has_the_mean_of_its_patches() -> None:
    pytest.importorskip("skimage")
    rgb = np.zeros((20, 20, 3), np.uint8)
    rgb[:, 15:] = 255  # the border lies within the patches of the right half
    truth = np.zeros((20, 20), int)
    truth[:, 15:] = 1
    tokens = np.stack([[5 * AXES[0], AXES[1]], [5 * AXES[0], AXES[1]]])
    found = slic_regions(tokens, rgb, truth, 2, parts=16)
    assert found.counts.sum() == 400
    assert (found.counts > 0).sum(axis=1).tolist() == [1] * len(found.counts)  # borders of pixels
    area = found.counts.sum(axis=1)
    # Of 400 pixels, 200 have the first token and 200 the second, each as a row of length 1.
    np.testing.assert_allclose(area @ found.features, [200, 200, 0], rtol=1e-5)
    bright = found.counts[:, 1] > 0
    np.testing.assert_allclose(found.features[bright], AXES[[1] * bright.sum()], rtol=1e-5)


def test_wrong_arrays_are_named() -> None:
    tokens, truth = np.ones((1, 2, 3), np.float32), np.zeros((2, 4), int)
    with pytest.raises(FeatureError, match=r"tokens must be \(h, w, d\), got \(2, 3\)"):
        patch_regions(tokens[0], truth, 2)
    with pytest.raises(DataError, match="classes are 0 to 1, got 2"):
        patch_regions(tokens, truth + 2, 2)
    with pytest.raises(DataError, match="3 x 4 pixels and its ground truth"):
        slic_regions(tokens, np.zeros((3, 4, 3), np.uint8), truth, 2)
    with pytest.raises(FeatureError, match="counts"):
        Regions(np.ones((2, 3), np.float32), np.ones((3, 2), np.int64))


# -- clusters -------------------------------------------------------------------------------------


@pytest.mark.parametrize("whiten", [False, True])
def test_clouds_are_found_from_principal_components(whiten: bool) -> None:
    photographs = clouds(np.random.default_rng(1))
    clusters = fit_clusters(photographs, 3, whiten=whiten)
    counts = cluster_counts(photographs, clusters)
    assert counts.shape == (3, 3)
    assert counts.sum() == sum(one.counts.sum() for one in photographs)
    if not whiten:  # which gives the noise the same variance
        assert match_categories(counts, np.zeros(3, int)).accuracy == 1
    again = cluster_counts(photographs, fit_clusters(photographs, 3, whiten=whiten))
    assert np.array_equal(counts, again)


def test_whitened_rows_have_no_mean_and_one_variance() -> None:
    rng = np.random.default_rng(2)
    mixed = rng.normal(size=(400, 100)) @ rng.normal(size=(100, 100)) + 3
    one = Regions(mixed.astype(np.float32), np.ones((400, 1), np.int64))
    clusters = fit_clusters([one], 5, whiten=True)
    assert clusters.whitening is not None
    unit = torch.nn.functional.normalize(torch.from_numpy(one.features), dim=1)
    white = (unit - clusters.whitening.mean) @ clusters.whitening.matrix
    assert white.shape == (400, 64)
    np.testing.assert_allclose(white.mean(dim=0), np.zeros(64), atol=1e-3)
    np.testing.assert_allclose(white.T @ white / 400, np.eye(64), atol=1e-2)
    np.testing.assert_allclose(clusters.rows(one.features).norm(dim=1), np.ones(400), rtol=1e-5)


def test_more_clusters_than_components_go_the_other_way() -> None:
    circle = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]], np.float32)
    one = Regions(circle, np.eye(4, dtype=np.int64))
    assert cluster_counts([one], fit_clusters([one], 4)).max(axis=1).tolist() == [1] * 4
    with pytest.raises(SettingsError, match=r"k must be in \[1, 4\] for 4 regions with 2 princi"):
        fit_clusters([one], 5)
    with pytest.raises(SettingsError, match=r"k must be in \[1, 4\]"):
        fit_clusters([one], 0)


def test_regions_that_k_means_did_not_see_have_clusters_too() -> None:
    photographs = clouds(np.random.default_rng(3), 8)
    counts = cluster_counts(photographs, fit_clusters(photographs, 3, sample=60))
    assert counts.sum() == sum(one.counts.sum() for one in photographs)
    assert match_categories(counts, np.zeros(3, int)).accuracy == 1


# -- labelled regions -----------------------------------------------------------------------------


def test_labelled_regions_name_the_regions_around_them() -> None:
    photographs = clouds(np.random.default_rng(4))
    counts, names = labelled_counts(photographs, 3)
    assert sorted(names.tolist()) == [0, 1, 2]
    assert counts[np.arange(3), names].sum() == sum(one.counts.sum() for one in photographs)


def test_a_name_is_that_of_the_labelled_region_and_not_of_the_majority() -> None:
    # The middle row is nearest to the mean of the three, and its own class is another.
    features = np.array([[1, 0.1], [1, 0], [1, -0.1]], np.float32)
    one = Regions(features, np.array([[5, 0], [0, 2], [5, 0]]))
    counts, names = labelled_counts([one], 1)
    assert (counts.tolist(), names.tolist()) == ([[10, 2]], [1])
    assert name_categories(counts, np.zeros(2, int)).name.tolist() == [0]


def test_regions_without_a_class_are_never_labelled() -> None:
    features = np.array([[1, 0.1], [1, 0], [1, -0.1]], np.float32)
    one = Regions(features, np.array([[5, 0], [0, 0], [5, 0]]))
    assert labelled_counts([one], 1)[1].tolist() == [0]
    with pytest.raises(DataError, match="no region has a pixel with a class"):
        labelled_counts([Regions(features, np.zeros((3, 2), np.int64))], 1)


def test_the_nearest_labelled_region_decides() -> None:
    """Against a search over all pairs."""
    rng = np.random.default_rng(6)
    photographs = [
        Regions(rng.normal(size=(20, 5)).astype(np.float32), rng.integers(0, 5, (20, 3)))
        for _ in range(3)
    ]
    counts, names = labelled_counts(photographs, 6)
    everything = np.concatenate([one.features for one in photographs])
    pixels = np.concatenate([one.counts for one in photographs])
    unit = everything / np.linalg.norm(everything, axis=1, keepdims=True)
    clusters = fit_clusters(photographs, 6)
    chosen = []
    distance = ((unit[:, None] - clusters.centres.numpy()[None]) ** 2).sum(axis=2)
    own = distance.argmin(axis=1)
    for k in range(6):
        members = np.flatnonzero(own == k)
        chosen.append(members[distance[members, k].argmin()])
    nearest = ((unit[:, None] - unit[chosen][None]) ** 2).sum(axis=2).argmin(axis=1)
    expected = np.array([pixels[nearest == k].sum(axis=0) for k in range(6)])
    assert counts.tolist() == expected.tolist()
    assert names.tolist() == pixels[chosen].argmax(axis=1).tolist()


def test_clusters_have_a_length() -> None:
    assert len(Clusters(torch.zeros(4, 2), None)) == 4
