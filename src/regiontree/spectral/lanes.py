"""Rows whose length suits loops over vectors.

A processor adds eight or sixteen floats at once. A compiler may use this for a sum only if the
program says which numbers are added to which, as another order gives other bits. So a loop of this
room adds :data:`LANES` sums side by side, twelve terms at a time, and then adds those sums. The
order is the same on every processor, whatever the width of its vectors.

The twelve terms are written out, since a compiler then keeps the sums in registers. Twelve times
:data:`LANES` is 384, the length of a feature of the small networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LANES", "TERMS", "sum_of_rows", "wide", "widened"]

LANES = 32
"""Number of sums side by side; a multiple of the width of every processor's vectors."""
TERMS = 12
"""Number of terms that are added to a sum at a time."""


def widened(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """A contiguous float32 copy of `rows` (n, d), with zeros up to a multiple of 384 columns.

    >>> widened(np.ones((2, 3))).shape
    (2, 384)
    """
    n, d = rows.shape
    block = LANES * TERMS
    wide = np.empty((n, -(-d // block) * block), np.float32)
    wide[:, :d] = rows
    wide[:, d:] = 0
    return wide


def wide(rows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """What :func:`widened` gives; `rows` themselves if they are like that, and not a copy.

    >>> rows = np.zeros((2, 384), np.float32)
    >>> wide(rows) is rows
    True
    """
    suits = rows.dtype == np.float32 and rows.shape[1] % (LANES * TERMS) == 0
    # A compiled loop takes arrays of one kind: those that it may write to.
    return rows if suits and rows.flags.carray else widened(rows)


def sum_of_rows(terms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of the rows of `terms` (n, d), (n,) float32, in the order of the compiled loops.

    d is a multiple of 384. The loops write this order out, each for its own terms.

    >>> sum_of_rows(widened(np.ones((2, 5))))
    array([5., 5.], dtype=float32)
    """
    blocks = terms.reshape(len(terms), -1, TERMS, LANES)
    sums = np.zeros((len(terms), LANES), np.float32)
    for block in range(blocks.shape[1]):
        sums += blocks[:, block].sum(axis=1)  # term by term, as it is not the last axis
    half = LANES // 2
    while half:
        sums = sums[:, :half] + sums[:, half:]
        half //= 2
    return sums[:, 0]
