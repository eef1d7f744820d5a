"""Mean field in which pixels of similar place and colour agree, by counting in cells.

The bilateral kernel of the fully connected CRF (:mod:`regiontree.refine.crf`) is a Gaussian of the
distance and the difference in colour. Here a regular grid divides the space of x, y, red, green and
blue into cells, and two pixels are neighbours if they lie in one cell. The mean over several
shifted grids is a kernel: over all shifts, two points that are d apart along the axes share a cell
of side c with probability ``prod max(0, 1 - |d| / c)``. This hat has the variance c^2 / 6 along
each axis. So cells with a side of sqrt(6) standard deviations have the variances of the Gaussian.

A sum over all neighbours then takes one addition for each pixel and grid, and one more to read it.
Photographs fill the space of colours so thinly that the permutohedral lattice has two to four
vertices for each pixel, which takes many times as long (benchmarks/exchange.py).

All sums are made in one stated order and in float32. The exponential is a polynomial. So compiled
loops and the slower functions beside them give equal bits, on every processor.

References: Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007,
section 4 (random binning). Korobov's rank-1 lattice rule takes the place of random shifts: it
spreads them evenly along every axis and in every plane of two axes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from regiontree.system.jit import jit

__all__ = ["Cells", "cells_of", "mean_field"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

_GRIDS = 7  # a prime above the number of axes, so that shifts along any two axes are unlike
_AXES = np.arange(1, 6)  # the lattice rule's generator: x, y, red, green, blue


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of n pixels in g grids.

    Attributes
    ----------
    of
        (n, g) int32, the cell of each pixel in each grid, 0 to `count` - 1. No two grids have a
        cell in common.
    count
        Number of cells.
    """

    of: Ints
    count: int

    def among(self, valid: NDArray[np.bool_]) -> Cells:
        """The cells of the valid pixels only; `valid` is (n,) bool."""
        return Cells(self.of[valid], self.count)


def cells_of(
    rgb: NDArray[np.uint8], xy: float, tone: float, corner: tuple[int, int] = (0, 0)
) -> Cells:
    """The cells that the pixels of a picture lie in, row by row.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    xy
        Standard deviation of the kernel in pixels, > 0.
    tone
        Its standard deviation in grey levels, 0 to 255, at least 1.
    corner
        Row and column of the picture's first pixel in the whole photograph. A window of the
        photograph gets the cells of the whole.
    """
    height, width = rgb.shape[:2]
    shift = (np.arange(_GRIDS)[:, None] * _AXES + 0.5) / _GRIDS % 1
    rows, columns = (
        np.floor((np.arange(side) + start) / (sqrt(6) * xy) + shift[:, axis, None])
        for axis, side, start in ((1, height, corner[0]), (0, width, corner[1]))
    )
    tones = np.floor(np.arange(256) / (sqrt(6) * tone) + shift[:, 2:, None])
    base = int(tones.max()) + 1
    codes = (tones * np.array([base * base, base, 1])[:, None]).astype(np.int32)
    of = np.empty((height * width, _GRIDS), np.int32)
    count = _number(
        np.ascontiguousarray(rgb),
        rows.astype(np.int32),
        columns.astype(np.int32),
        codes,
        np.full(base**3, -1, np.int32),
        of,
    )
    return Cells(of, count)


def mean_field(logits: Floats, cells: Cells, *, weight: float, steps: int) -> Ints:
    """The likeliest label of each pixel, (n,) int32; on a tie, the lowest label.

    The kernel is normalised symmetrically, as in :mod:`regiontree.refine.crf`. Each pixel counts
    itself among its neighbours.

    Parameters
    ----------
    logits
        (n, L) float32, finite: the logarithm of each label's odds, without neighbours.
    cells
        The cells of these pixels.
    weight
        Weight of the kernel.
    steps
        Steps of mean field, >= 0.

    Examples
    --------
    Three pixels of one cell. The middle one prefers another label, less strongly than the others:

    >>> logits = np.array([[2, 0], [0, 1], [2, 0]], np.float32)
    >>> together = Cells(np.zeros((3, 1), np.int32), 1)
    >>> mean_field(logits, together, weight=4, steps=3)
    array([0, 0, 0], dtype=int32)
    >>> alone = Cells(np.arange(3, dtype=np.int32)[:, None], 3)
    >>> mean_field(logits, alone, weight=4, steps=3)
    array([0, 1, 0], dtype=int32)
    """
    factor = _factors(cells.of, cells.count)
    weights = np.float32(weight) * factor
    sums = np.empty((cells.count, logits.shape[1]), np.float32)
    share, total = np.empty_like(logits), logits.copy()
    for _ in range(steps):
        _softmax(total, factor, share)
        _sum(share, cells.of, sums)
        _add_sums(logits, sums, cells.of, weights, total)
    return _likeliest(total)


# -- cells ----------------------------------------------------------------------------------------


def _number_by_sorting(
    rgb: NDArray[np.uint8], rows: Ints, columns: Ints, codes: Ints, known: Ints, of: Ints
) -> int:
    count = 0
    for grid, (row, column, code) in enumerate(zip(rows, columns, codes, strict=True)):
        colour = sum(code[channel][rgb[:, :, channel]] for channel in range(3))
        place = row[:, None].astype(np.int64) * (int(column[-1]) + 1) + column
        found, index = np.unique(place * len(known) + colour, return_inverse=True)
        of[:, grid] = index.reshape(-1) + count
        count += len(found)
    return count


@jit(instead=_number_by_sorting)
def _number(
    rgb: NDArray[np.uint8], rows: Ints, columns: Ints, codes: Ints, known: Ints, of: Ints
) -> int:
    """Number the cells of each grid, place by place, and return how many there are.

    `rows` (g, H), `columns` (g, W) and `codes` (g, 3, 256) are a pixel's cell along each axis; the
    sum of the three codes tells colours apart. `known` has -1 for each possible sum. `of` (H W, g)
    receives the cells.
    """
    height, width = rgb.shape[:2]
    count = 0
    for grid in range(len(rows)):
        row, column, code = rows[grid], columns[grid], codes[grid]
        top = 0
        while top < height:
            bottom = top + 1
            while bottom < height and row[bottom] == row[top]:
                bottom += 1
            left = 0
            while left < width:
                right = left + 1
                while right < width and column[right] == column[left]:
                    right += 1
                first = count  # colours with a lower number were seen at another place
                for y in range(top, bottom):
                    for x in range(left, right):
                        colour = code[0, rgb[y, x, 0]] + code[1, rgb[y, x, 1]]
                        colour += code[2, rgb[y, x, 2]]
                        if known[colour] < first:
                            known[colour] = count
                            count += 1
                        of[y * width + x, grid] = known[colour]
                left = right
            top = bottom
    return count


# -- sums -----------------------------------------------------------------------------------------


def _membership(cells: Ints, count: int) -> csr_array:
    """One row for each pixel, with a 1 for each of its cells, in the order of the grids."""
    n, grids = cells.shape
    starts = np.arange(n + 1, dtype=np.int32) * grids
    return csr_array((np.ones(n * grids, np.float32), cells.reshape(-1), starts), (n, count))


def _factors_by_counting(cells: Ints, count: int) -> Floats:
    neighbours = np.bincount(cells.reshape(-1), minlength=count)[cells].sum(axis=1)
    factors: Floats = np.float32(1) / np.sqrt(neighbours.astype(np.float32))
    return factors


@jit(instead=_factors_by_counting)
def _factors(cells: Ints, count: int) -> Floats:
    """What normalises the kernel, (n,): ``1 / sqrt(s)``, s the neighbours in all grids."""
    n, grids = cells.shape
    pixels = np.zeros(count, np.int32)
    for i in range(n):
        for grid in range(grids):
            pixels[cells[i, grid]] += 1
    factors = np.empty(n, np.float32)
    for i in range(n):
        neighbours = 0
        for grid in range(grids):
            neighbours += pixels[cells[i, grid]]
        factors[i] = np.float32(1) / np.sqrt(np.float32(neighbours))
    return factors


def _sum_by_product(values: Floats, cells: Ints, sums: Floats) -> None:
    # The product adds pixel by pixel, as the loop does.
    sums[:] = _membership(cells, len(sums)).T @ values


@jit(instead=_sum_by_product)
def _sum(values: Floats, cells: Ints, sums: Floats) -> None:
    """Write the sum of the values (n, L) of each cell's pixels into `sums` (count, L)."""
    n, n_labels = values.shape
    sums[:] = np.float32(0)
    for i in range(n):
        for grid in range(cells.shape[1]):
            cell = cells[i, grid]
            for k in range(n_labels):
                sums[cell, k] += values[i, k]


def _add_sums_by_product(
    logits: Floats, sums: Floats, cells: Ints, factor: Floats, total: Floats
) -> None:
    total[:] = logits + factor[:, None] * (_membership(cells, len(sums)) @ sums)


@jit(instead=_add_sums_by_product)
def _add_sums(logits: Floats, sums: Floats, cells: Ints, factor: Floats, total: Floats) -> None:
    """Write into `total` (n, L): `logits` and `factor` times the sums of each pixel's cells."""
    n, n_labels = logits.shape
    for i in range(n):
        for k in range(n_labels):
            total[i, k] = np.float32(0)
        for grid in range(cells.shape[1]):
            cell = cells[i, grid]
            for k in range(n_labels):
                total[i, k] += sums[cell, k]
    for i in range(n):
        for k in range(n_labels):
            total[i, k] = logits[i, k] + factor[i] * total[i, k]


# -- softmax --------------------------------------------------------------------------------------

# Cephes' expf: e^x = 2^n e^r with |r| <= ln(2) / 2. The relative error is below 1e-7.
_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_P0, _P1 = np.float32(1.9875691500e-4), np.float32(1.3981999507e-3)
_P2, _P3 = np.float32(8.3334519073e-3), np.float32(4.1665795894e-2)
_P4, _P5 = np.float32(1.6666665459e-1), np.float32(5.0000001201e-1)
_LEAST, _HALF, _ONE = np.float32(-87), np.float32(0.5), np.float32(1)


def _exp_of_arrays(x: Floats) -> Floats:
    x = np.maximum(x, _LEAST)
    n = (x * _LOG2_E - _HALF).astype(np.int32)
    whole = n.astype(np.float32)
    r = x - whole * _LN2_HIGH - whole * _LN2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    exps: Floats = (p * (r * r) + r + _ONE) * ((n + 127) << 23).view(np.float32)
    return exps


def _softmax_of_arrays(logits: Floats, factor: Floats, out: Floats) -> None:
    out[:] = _exp_of_arrays(logits - logits.max(axis=1, keepdims=True))
    total = np.zeros(len(out), np.float32)
    for column in out.T:
        total += column
    out *= (factor / total)[:, None]


@jit(instead=_softmax_of_arrays)
def _softmax(logits: Floats, factor: Floats, out: Floats) -> None:
    """Write the softmax of each row times its factor into `out`."""
    n, n_labels = logits.shape
    for i in range(n):
        most = logits[i, 0]
        for k in range(1, n_labels):
            most = max(most, logits[i, k])
        for k in range(n_labels):
            out[i, k] = logits[i, k] - most
    flat = out.reshape(-1)
    for at in range(flat.size):
        x = max(flat[at], _LEAST)
        n_twos = np.int32(x * _LOG2_E - _HALF)
        whole = np.float32(n_twos)
        r = x - whole * _LN2_HIGH - whole * _LN2_LOW
        p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
        power = np.int32((n_twos + 127) << 23).view(np.float32)
        flat[at] = (p * (r * r) + r + _ONE) * power
    for i in range(n):
        total = np.float32(0)
        for k in range(n_labels):
            total += out[i, k]
        share = factor[i] / total
        for k in range(n_labels):
            out[i, k] *= share


def _likeliest_of_array(logits: Floats) -> Ints:
    labels: Ints = logits.argmax(axis=1).astype(np.int32)
    return labels


@jit(instead=_likeliest_of_array)
def _likeliest(logits: Floats) -> Ints:
    """The label with the largest value in each row, (n,) int32."""
    labels = np.empty(len(logits), np.int32)
    for i in range(len(logits)):
        best = 0
        for k in range(1, logits.shape[1]):
            if logits[i, k] > logits[i, best]:
                best = k
        labels[i] = best
    return labels
