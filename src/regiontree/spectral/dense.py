"""Products and eigenpairs of small dense matrices, on the threads of torch.

NumPy has one number of threads for the whole process, so a library cannot limit it. Torch has one
for each thread: see :func:`regiontree.system.threads.one_thread`.
"""

from __future__ import annotations

import numpy as np
import torch

from regiontree.errors import SolverError
from regiontree.spectral.graph import FloatArray

__all__ = ["eigenpairs", "gram", "product"]


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
    lower = np.tril(product(rows, rows.T))
    return lower + np.tril(lower, -1).T


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
