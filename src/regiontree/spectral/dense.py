"""Products and eigenpairs of small dense matrices, on the threads of torch.

NumPy has one number of threads for the whole process, so a library cannot limit it. Torch has one
for each thread: see :func:`regiontree.system.threads.one_thread`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from regiontree.errors import SolverError
from regiontree.spectral.graph import FloatArray

__all__ = ["eigenpairs", "gram", "leading_eigenpairs", "product"]

# Subspace iteration: so many vectors for each that is asked for, and so many steps.
_WIDTH, _STEPS = 1.6, 5
# The largest residual that is accepted, as a share of the smallest eigenvalue that is asked for.
_RESIDUAL = 1e-2
# Columns count as dependent if one, less its share of the others, is shorter by this much.
_DEPENDENT = 1e-6


def product(a: FloatArray, b: FloatArray) -> FloatArray:
    """``a @ b`` of two float64 arrays with one or two axes."""
    result: FloatArray = (torch.from_numpy(a) @ torch.from_numpy(b)).numpy()
    return result


def gram(rows: FloatArray) -> FloatArray:
    """``rows @ rows.T``, (k, k) float64, symmetric to the last bit; `rows` is (k, d) float64.

    Examples
    --------
    >>> gram(np.array([[1.0, 2.0], [0.0, 3.0]])).tolist()
    [[5.0, 6.0], [6.0, 9.0]]
    """
    half = product(rows, rows.T)
    half *= 0.5  # products of a library need not be symmetric to the last bit, but this sum is
    return half + half.T


def leading_eigenpairs(matrix: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """The largest eigenvalues of a symmetric matrix, descending, and their vectors as columns.

    `matrix` is (m, m) float64, and its eigenvalues are >= 0 but for some of small magnitude. The
    values are (v,) and the vectors (m, v), with v the lower of `count` and m.

    Notes
    -----
    If `count` is a small share of m, this is subspace iteration from fixed random vectors. It takes
    less than half the time of a direct solver. The last of 50 eigenvalues of 400 parts is right to
    some 1e-5 of itself, and the first ones to the last digits. If they do not converge, or the
    vectors are dependent, :func:`eigenpairs` solves the problem.

    Reference: Halko, Martinsson and Tropp, SIAM Review 2011, algorithm 4.4.

    Raises
    ------
    SolverError
        The solver does not converge.
    """
    m = len(matrix)
    width = math.ceil(_WIDTH * count)
    found = _by_subspace(torch.from_numpy(matrix), count, width) if 3 * width <= m else None
    if found is not None:
        return found
    values, vectors = eigenpairs(matrix)
    return values[::-1][:count], vectors[:, ::-1][:, :count]


def _by_subspace(matrix: Tensor, count: int, width: int) -> tuple[FloatArray, FloatArray] | None:
    """The pairs of :func:`leading_eigenpairs`, or None if they do not converge."""
    basis = torch.from_numpy(_start(len(matrix), width))
    image = matrix @ basis
    for _ in range(_STEPS):
        # Orthonormal columns by Cholesky's factors, which is several times as fast as QR.
        inner = image.T @ image
        triangle, fault = torch.linalg.cholesky_ex(inner, upper=True)
        size = triangle.diagonal()
        if int(fault) or not float(size.min()) > _DEPENDENT * float(size.max()):
            return None
        basis = torch.linalg.solve_triangular(triangle, image, upper=True, left=False)
        image = matrix @ basis
    inner = basis.T @ image
    values, turned = torch.linalg.eigh(0.5 * (inner + inner.T))
    values, turned = values.flip(0)[:count], turned.flip(1)[:, :count]
    vectors = basis @ turned
    residual = torch.linalg.vector_norm(image @ turned - vectors * values, dim=0).max()
    if not float(residual) <= _RESIDUAL * float(values[-1]):
        return None
    return values.numpy(), vectors.numpy()


@lru_cache(maxsize=4)
def _start(m: int, width: int) -> FloatArray:
    """The vectors that subspace iteration starts from, (m, width) float64: always the same."""
    return np.random.default_rng(0).standard_normal((m, width))


def eigenpairs(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """All eigenvalues of a symmetric matrix, ascending, and their vectors as columns.

    `matrix` is (m, m) float64, of which the lower triangle is read. The values are (m,) and the
    vectors (m, m).

    Raises
    ------
    SolverError
        The solver does not converge.
    """
    try:
        values, vectors = torch.linalg.eigh(torch.from_numpy(matrix))
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise SolverError(f"eigenproblem of {len(matrix)} parts failed: {error}") from error
    return values.numpy(), vectors.numpy()
