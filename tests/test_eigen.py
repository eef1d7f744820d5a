"""Each solver against a dense float64 solution of the same graph."""

import numpy as np
import pytest
import torch
from conftest import blocks
from test_affinity import narrow, wide

from regiontree.errors import SettingsError, SolverError
from regiontree.spectral import eigen
from regiontree.spectral.affinity import (
    AffinitySettings,
    BlockedAffinity,
    LowRankAffinity,
    dense_affinity,
    make_affinity,
    unit_rows,
)
from regiontree.spectral.eigen import (
    REFERENCE_LIMIT,
    krylov_eigenvectors,
    leading_eigenvectors,
    low_rank_eigenvectors,
    reference_eigenvectors,
)


def dense_solution(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All eigenpairs of the normalised Laplacian by NumPy, in float64."""
    scale = 1 / np.sqrt(w.sum(axis=1))
    values, vectors = np.linalg.eigh(np.eye(len(w)) - scale[:, None] * w * scale)
    return values, vectors


def with_diagonal(features: np.ndarray, settings: AffinitySettings) -> np.ndarray:
    dense = dense_affinity(unit_rows(torch.from_numpy(features)), settings).numpy()
    np.fill_diagonal(dense, 1)
    return dense


def assert_same_spaces(found, values, vectors, tolerance=1e-4, distinct=1e-3):
    """Eigenvalues agree; eigenvectors agree group by group of (nearly) equal eigenvalues."""
    k = len(found.values)
    np.testing.assert_allclose(found.values.numpy(), values[:k], atol=tolerance)
    edges = [0, *(i for i in range(1, k) if values[i] - values[i - 1] > distinct)]
    for start, stop in zip(edges, edges[1:], strict=False):  # the last group may be cut in two
        overlap = np.linalg.svd(
            found.vectors[:, start:stop].double().numpy().T @ vectors[:, start:stop]
        )[1]
        np.testing.assert_allclose(overlap, 1, atol=tolerance)


CASES = {
    "a positive": wide(60, 8),
    "a negative": narrow(60, 8),
    "an odd number of dimensions": wide(60, 7),
    "fewer patches than dimensions": wide(10, 30),
    "structured": blocks().reshape(-1, 24),
}


@pytest.mark.parametrize("name", CASES)
def test_low_rank_solution_is_exact(name):
    features = CASES[name]
    values, vectors = dense_solution(with_diagonal(features, AffinitySettings()))
    affinity = LowRankAffinity(unit_rows(torch.from_numpy(features)))
    assert (affinity.a < 0) == (name == "a negative") or not name.startswith("a ")
    found = low_rank_eigenvectors(affinity, 6)
    assert found.vectors.shape == (len(features), 6)
    assert_same_spaces(found, values, vectors)


@pytest.mark.parametrize("dimensions", [1, 2, 7])
@pytest.mark.parametrize("rows", [5, 20, 100])
def test_gram_matrix_is_the_product_whatever_the_block(monkeypatch, dimensions, rows):
    monkeypatch.setattr(eigen, "_ROW_BLOCK", rows)
    rng = np.random.default_rng(3)
    unit = torch.from_numpy(rng.normal(size=(43, dimensions)).astype(np.float32))
    scale = torch.from_numpy(rng.uniform(0.1, 1, 43).astype(np.float32))
    y = scale.double()[:, None] * torch.cat([torch.ones(43, 1), unit], dim=1).double()
    torch.testing.assert_close(eigen.gram_matrix(unit, scale), y.T @ y, rtol=1e-12, atol=1e-12)


def test_spectrum_is_shorter_where_fewer_positive_eigenvalues_exist():
    # Three distinct features, each 20 times: S has rank 3 whatever k asks for.
    features = np.repeat(wide(3, 9, seed=5), 20, axis=0)
    found = low_rank_eigenvectors(LowRankAffinity(unit_rows(torch.from_numpy(features))), 50)
    values, _ = dense_solution(with_diagonal(features, AffinitySettings()))
    positive = int((values < 1 - 1e-6).sum())
    assert len(found.values) == positive <= 3
    np.testing.assert_allclose(found.values.numpy(), values[:positive], atol=1e-5)


def test_equal_features_have_one_smooth_vector():
    found = low_rank_eigenvectors(LowRankAffinity(unit_rows(torch.ones(25, 4))), 10)
    assert found.values.tolist() == pytest.approx([0], abs=1e-6)
    np.testing.assert_allclose(found.vectors[:, 0].numpy(), 0.2, atol=1e-6)


@pytest.mark.parametrize("a_sign", ["positive", "negative"])
def test_vectors_are_orthonormal_and_signed(a_sign):
    features = wide(80, 20) if a_sign == "positive" else narrow(80, 20)
    vectors = low_rank_eigenvectors(
        LowRankAffinity(unit_rows(torch.from_numpy(features))), 15
    ).vectors
    np.testing.assert_allclose((vectors.T @ vectors).numpy(), np.eye(vectors.shape[1]), atol=1e-4)
    largest = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True))
    assert bool((largest > 0).all())


@pytest.mark.parametrize(
    "settings",
    [
        AffinitySettings(),
        AffinitySettings("exp"),
        AffinitySettings("exp", sigma=0.4),
        AffinitySettings(distance="euclidean"),
        AffinitySettings(threshold=0.3),
    ],
    ids=str,
)
def test_krylov_solution_meets_its_tolerance(settings):
    features = blocks(20, 20).reshape(-1, 24)
    values, vectors = dense_solution(with_diagonal(features, settings))
    affinity = BlockedAffinity(unit_rows(torch.from_numpy(features)), settings)
    found = krylov_eigenvectors(affinity, 5, seed=3)
    assert found.residual <= 1e-4
    assert_same_spaces(found, values, vectors, tolerance=2e-4)


def test_krylov_stops_at_an_invariant_space():
    features = np.repeat(wide(4, 9, seed=5), 30, axis=0)
    affinity = BlockedAffinity(unit_rows(torch.from_numpy(features)), AffinitySettings("exp"))
    found = krylov_eigenvectors(affinity, 60)
    values, _ = dense_solution(with_diagonal(features, AffinitySettings("exp")))
    np.testing.assert_allclose(found.values[:4].numpy(), values[:4], atol=1e-4)


def test_krylov_says_when_it_did_not_converge():
    affinity = BlockedAffinity(unit_rows(torch.from_numpy(wide(400, 60))), AffinitySettings("exp"))
    with pytest.raises(SolverError, match=r"400 patches did not converge.*max_products"):
        krylov_eigenvectors(affinity, 40, tolerance=1e-12, max_products=2)


def test_reference_solver_agrees_with_numpy_and_uses_the_empty_diagonal():
    features = blocks(12, 12).reshape(-1, 24)
    dense = dense_affinity(unit_rows(torch.from_numpy(features)), AffinitySettings())
    values, vectors = dense_solution(dense.numpy())
    found = reference_eigenvectors(dense, 8)
    np.testing.assert_allclose(found.values.numpy(), values[:8], atol=1e-12)
    agreement = np.abs((found.vectors.numpy() * vectors[:, :8]).sum(axis=0))
    np.testing.assert_allclose(agreement[:3], 1, atol=1e-9)


def test_leading_vectors_of_both_graphs_agree_on_structure():
    """Keeping the diagonal changes the tail of the spectrum, not the vectors that carry regions."""
    features = blocks(24, 24).reshape(-1, 24)
    unit = unit_rows(torch.from_numpy(features))
    exact = low_rank_eigenvectors(LowRankAffinity(unit), 3).vectors.double()
    published = reference_eigenvectors(dense_affinity(unit, AffinitySettings()), 3).vectors
    assert (exact * published).sum(dim=0).abs().min() > 0.999


def test_unconnected_patches_are_reported():
    dense = torch.ones(4, 4).fill_diagonal_(0)
    dense[3] = dense[:, 3] = 0
    with pytest.raises(SolverError, match=r"1 of 4 patches.*lower the affinity threshold"):
        reference_eigenvectors(dense, 2)


def test_reference_solver_refuses_what_would_not_fit():
    big = torch.empty(1).expand(REFERENCE_LIMIT + 1, REFERENCE_LIMIT + 1)
    with pytest.raises(SolverError, match=f"{REFERENCE_LIMIT}"):
        reference_eigenvectors(big, 2)


def test_solver_follows_the_affinity():
    unit = unit_rows(torch.from_numpy(wide(50, 7)))
    for settings in (AffinitySettings(), AffinitySettings("exp")):
        found = leading_eigenvectors(make_affinity(unit, settings), 4)
        values, _ = dense_solution(with_diagonal(wide(50, 7), settings))
        np.testing.assert_allclose(found.values.numpy(), values[:4], atol=1e-4)
    with pytest.raises(SettingsError, match="at least 1, got 0"):
        leading_eigenvectors(make_affinity(unit, AffinitySettings()), 0)
