"""How far two partitions of the same pixels agree.

Reference: Hubert and Arabie, Comparing partitions, Journal of Classification 2, 1985.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["adjusted_rand_index"]


def adjusted_rand_index(first: NDArray[np.integer], second: NDArray[np.integer]) -> float:
    """The share of pixel pairs on which two partitions agree, adjusted for chance.

    Parameters
    ----------
    first, second
        Labels >= 0, of equal shape.

    Returns
    -------
    1 for equal partitions, whatever their labels; 0 on average for unrelated ones.

    Examples
    --------
    >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([5, 5, 2, 2]))
    1.0
    >>> adjusted_rand_index(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]))
    -0.5
    """
    if first.shape != second.shape:
        raise ValueError(f"labels of shapes {first.shape} and {second.shape} cannot be compared")
    columns = int(second.max()) + 1
    table = np.bincount(first.ravel().astype(np.int64) * columns + second.ravel())
    table = np.pad(table, (0, -len(table) % columns)).reshape(-1, columns)
    both, rows, across = (_pairs(counts) for counts in (table, table.sum(1), table.sum(0)))
    expected = rows * across / _pairs(np.array([first.size]))
    most = (rows + across) / 2
    return 1.0 if most == expected else float((both - expected) / (most - expected))


def _pairs(counts: NDArray[np.integer]) -> float:
    """Number of pairs within groups of these sizes."""
    sizes = counts.astype(np.float64)
    return float((sizes * (sizes - 1)).sum() / 2)
