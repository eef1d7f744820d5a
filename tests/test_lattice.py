"""The lattice beside the sums it stands for, which tiny point sets allow to be made exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import on_one_and_two_threads

from regiontree.errors import FeatureError
from regiontree.refine import lattice as lattice_module
from regiontree.refine.lattice import PermutohedralLattice, lattice_memory


def points(n: int, d: int, spread: float, seed: int = 0) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(scale=spread, size=(n, d)).astype(np.float32))


def exact(positions: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """sum_j exp(-|p_i - p_j|^2 / 2) v_j, all n^2 terms."""
    return (
        torch.exp(-(torch.cdist(positions.double(), positions.double()) ** 2) / 2) @ values.double()
    )


# Found, on 3000 points of a normal distribution: mean errors of 0.013, 0.019, 0.023 and 0.037 of a
# function between -1 and 1; sums of 0.92, 0.88, 0.82 and 0.6 of the true ones, which normalising
# takes away, with deviations of 0.01, 0.02, 0.03 and 0.13 among points.
@pytest.mark.parametrize(
    ("d", "error", "mass", "deviation"),
    [(1, 0.02, 0.9, 0.02), (2, 0.03, 0.85, 0.03), (3, 0.035, 0.8, 0.05), (5, 0.055, 0.6, 0.2)],
)
def test_near_the_exact_gaussian(d, error, mass, deviation):
    positions = points(3000, d, 1.5)
    function = torch.sin(positions.sum(1, keepdim=True))
    values = torch.cat([function, torch.ones_like(function)], 1)
    ours = PermutohedralLattice.of(positions).filter(values)
    true = exact(positions, values)
    assert (ours[:, 0] / ours[:, 1] - true[:, 0] / true[:, 1]).abs().mean() < error
    assert mass < ours[:, 1].sum() / true[:, 1].sum() < 1.05
    assert (ours[:, 1] / true[:, 1]).std() < deviation


# The axes are blurred in turn, and where vertices are absent their order matters.
@pytest.mark.parametrize(("d", "tolerance"), [(1, 1e-6), (2, 0.15), (5, 0.3)])
def test_kernel_is_positive_and_nearly_symmetric(d, tolerance):
    kernel = PermutohedralLattice.of(points(60, d, 1.0)).filter(torch.eye(60))
    assert (kernel - kernel.T).abs().max() < tolerance * kernel.max()
    assert kernel.min() >= 0


def test_shares_are_convex_and_rebuild_the_position():
    """Barycentric weights of a simplex: a function linear in position is reproduced exactly."""
    positions = points(500, 3, 2.0)
    lattice = PermutohedralLattice.of(positions)
    weights = lattice.weights / lattice.weights.sum(1, keepdim=True)
    assert weights.min() > -1e-4
    # Points that share a simplex see the same corners: their positions follow from weights alone.
    m = len(lattice.offsets) - 1
    matrix = torch.zeros(500, m).scatter_(1, lattice.corners.long(), weights)
    solution = torch.linalg.lstsq(matrix, positions, driver="gelsd").solution
    assert torch.allclose(matrix @ solution, positions, atol=1e-3)


def test_neighbours_are_mutual():
    lattice = PermutohedralLattice.of(points(400, 4, 1.0))
    m = len(lattice.offsets) - 1
    for axis in lattice.neighbours.long():
        assert torch.equal(axis[:, 0], torch.arange(m))
        for there, back in ((1, 2), (2, 1)):
            known = axis[:, there] < m
            assert known.any()
            assert torch.equal(axis[axis[known, there], back], axis[known, 0])


def test_far_apart_is_alone():
    positions = torch.tensor([[0.0, 0.0], [50.0, 0.0], [0.0, -50.0]])
    kernel = PermutohedralLattice.of(positions).filter(torch.eye(3))
    assert torch.equal(kernel, kernel.diag().diag())


def test_equal_points_are_one():
    positions = points(1, 5, 3.0).repeat(40, 1)
    lattice = PermutohedralLattice.of(positions)
    assert len(lattice.offsets) == 6 + 1
    result = lattice.filter(torch.ones(40, 1))
    assert torch.allclose(result, result[0].expand(40, 1))


def test_scaled_is_scaling_before_and_after():
    positions, values = points(100, 2, 1.0), points(100, 3, 1.0, seed=1)
    factor = torch.linspace(0.5, 2, 100)
    lattice = PermutohedralLattice.of(positions)
    expected = factor[:, None] * lattice.filter(factor[:, None] * values)
    assert torch.allclose(lattice.scaled(factor).filter(values), expected, atol=1e-5)


def test_columns_and_rows_in_parts(monkeypatch):
    positions, values = points(300, 3, 1.0), points(300, 7, 1.0, seed=1)
    lattice = PermutohedralLattice.of(positions)
    whole = lattice.filter(values)
    monkeypatch.setattr(lattice_module, "_ROWS", 17)
    monkeypatch.setattr(lattice_module, "_COLUMNS", 3)
    assert torch.allclose(lattice.filter(values), whole, rtol=1e-5, atol=1e-6)
    scratch = torch.full((lattice.scratch_size(7),), torch.nan)
    out = torch.empty_like(values)
    assert lattice.filter(values, out, scratch) is out
    assert torch.allclose(out, whole, rtol=1e-5, atol=1e-6)


def test_half_is_near_single():
    positions, values = points(2000, 5, 1.0), points(2000, 9, 1.0, seed=1).abs()
    lattice = PermutohedralLattice.of(positions)
    half = lattice.filter(values.half())
    assert half.dtype == torch.float16
    single = lattice.filter(values)
    assert (half.float() - single).abs().max() < 2e-3 * single.max()


def test_equal_bytes_with_any_number_of_threads():
    positions, values = points(20_000, 5, 0.5), points(20_000, 8, 1.0, seed=1)

    def filtered() -> bytes:
        return PermutohedralLattice.of(positions).filter(values).numpy().tobytes()

    one, two = on_one_and_two_threads(filtered)
    assert one == two


def test_kept_memory_is_below_the_bound():
    lattice = PermutohedralLattice.of(points(1000, 5, 100))  # no vertex is shared
    assert len(lattice.offsets) - 1 == 6000
    arrays = [getattr(lattice, name) for name in lattice.__slots__]
    held = sum(array.numel() * array.element_size() for array in arrays)
    kept, in_use = lattice_memory(1000, 5, 40, 2)
    assert 0.9 * kept < held <= kept + 4
    assert 2 * lattice.scratch_size(40) <= in_use


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.zeros(5), r"got \(5,\)"),
        (torch.zeros(0, 2), r"got \(0, 2\)"),
        (torch.zeros(5, 0), r"got \(5, 0\)"),
        (torch.tensor([[0.0], [torch.nan]]), "finite"),
        (1e6 * torch.eye(6), "too many standard deviations apart"),
    ],
)
def test_positions_that_cannot_be(positions, message):
    with pytest.raises(FeatureError, match=message):
        PermutohedralLattice.of(positions)


def test_values_of_other_points():
    lattice = PermutohedralLattice.of(points(10, 2, 1.0))
    with pytest.raises(FeatureError, match=r"n = 10 points of the lattice, got \(9, 1\)"):
        lattice.filter(torch.zeros(9, 1))
