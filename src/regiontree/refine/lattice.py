"""Gaussian sums over scattered points of a few dimensions, on the permutohedral lattice.

The filter has three stages. Each point of R^d shares its values among the d + 1 vertices of the
simplex around the point (splat). Each vertex is blurred with its two neighbours along each of d + 1
axes (blur). Each point gathers values from the vertices of its simplex (slice). The result
approximates ``sum_j exp(-|p_i - p_j|^2 / 2) v_j`` for all points at once, up to a factor of 0.9 in
two dimensions and 0.6 in five. The cost is linear in the number of points. Dividing by
the sums of a constant 1 removes the factor. For values between -1 and 1, the mean error was then
0.02 in two dimensions and 0.04 in five.

One integer code identifies a vertex, and a step along an axis adds a constant to the code. Sorting
the codes finds the distinct vertices. In this order, a blur reads memory forwards. All three stages
are weighted sums of a few rows, for which torch has a fast kernel on any device
(``embedding_bag``). One thread computes each sum, always in the same order. So results do not
depend on the number of threads.

References: Adams, Baek and Davis, "Fast High-Dimensional Filtering Using the Permutohedral
Lattice", Eurographics 2010 (section 3); Conway and Sloane, "Sphere Packings, Lattices and Groups",
chapter 20, on finding the simplex of a point.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from math import prod, sqrt

import torch
from torch import Tensor

from regiontree.errors import FeatureError

__all__ = ["PermutohedralLattice", "lattice_memory", "spans"]

# Columns filtered together: wide rows share the cost of finding them. Filtering 200 columns at once
# took 0.7 of the time of filtering 64 at a time.
_COLUMNS = 208
# Rows computed at once: few enough to stay in the cache until they are copied to their place.
_ROWS = 8192


@dataclass(frozen=True, slots=True)
class PermutohedralLattice:
    """The lattice around n points of R^d, with m vertices; made by :meth:`of`.

    Attributes
    ----------
    corners
        (n, d + 1) int32, the vertices of each point's simplex, 0 to m - 1.
    weights
        (n, d + 1) float32, the weight of each of these vertices when a point gathers (slice).
    points
        (n * (d + 1),) int32, the points around each vertex, vertex after vertex, 0 to n - 1.
    shares
        (n * (d + 1),) float32, the weight of each of `points` when a point shares its values
        (splat).
    offsets
        (m + 1,) int32, where the points of each vertex start in `points`; the last is its length.
    neighbours
        (d + 1, m, 3) int32: for each axis and vertex, the vertex itself and its two neighbours. The
        number m stands for a missing neighbour.
    """

    corners: Tensor
    weights: Tensor
    points: Tensor
    shares: Tensor
    offsets: Tensor
    neighbours: Tensor

    @classmethod
    def of(cls, positions: Tensor) -> PermutohedralLattice:
        """The lattice for points in units of the Gaussian's standard deviation.

        Parameters
        ----------
        positions
            (n, d) float32, n >= 1, d >= 1, finite. The lattice is made on the device of
            `positions`.

        Raises
        ------
        FeatureError
            `positions` has a wrong shape or is not finite, or the points lie so far apart that 63
            bits cannot number the vertices.
        """
        if positions.ndim != 2 or 0 in positions.shape or not positions.isfinite().all():
            raise FeatureError(
                f"positions must be (n, d), not empty and finite, got {tuple(positions.shape)}"
            )
        corner, rank, weights = _simplices(positions.float())
        codes, steps = _codes(corner, rank)
        return cls(*_vertices(codes, weights, steps))

    def scaled(self, factor: Tensor) -> PermutohedralLattice:
        """The lattice that multiplies the points' values by a factor before and after filtering.

        Parameters
        ----------
        factor
            (n,) float32, one factor for each point.
        """
        return replace(
            self,
            weights=self.weights * factor[:, None],
            shares=self.shares * factor[self.points],
        )

    def filter(
        self, values: Tensor, out: Tensor | None = None, scratch: Tensor | None = None
    ) -> Tensor:
        """Gaussian sums of the points' values, (n, c); each point counts itself.

        Parameters
        ----------
        values
            (n, c) float32 or float16, on the lattice's device. With float16, intermediate results
            take half the memory and the filter takes about 0.6 of the time, for errors around
            0.1 %.
        out
            (n, c), same type and device as `values`: receives the result, if given.
        scratch
            (s,), s at least :meth:`scratch_size` of c, same type and device as `values`: is
            overwritten. Without it, each call allocates new memory, which took a fifth of the time.

        Returns
        -------
        (n, c), same type and device as `values`.

        Raises
        ------
        FeatureError
            `values` is not (n, c).

        Examples
        --------
        Two points one standard deviation apart, and one point far from both:

        >>> lattice = PermutohedralLattice.of(torch.tensor([[0.0], [1.0], [99.0]]))
        >>> lattice.filter(torch.eye(3)).round(decimals=2)
        tensor([[0.8300, 0.5900, 0.0000],
                [0.5900, 0.9100, 0.0000],
                [0.0000, 0.0000, 0.7600]])
        """
        n = len(self.corners)
        if values.ndim != 2 or len(values) != n:
            raise FeatureError(
                f"values must be (n, c) for the n = {n} points of the lattice, "
                f"got {tuple(values.shape)}"
            )
        out = torch.empty_like(values) if out is None else out
        if scratch is None:
            scratch = values.new_empty(self.scratch_size(values.shape[1]))
        m = len(self.offsets) - 1
        weights, shares = self.weights.to(values.dtype), self.shares.to(values.dtype)
        # Weights 1/2 for the vertex and 1/4 for each neighbour. They sum to 1, so float16 cannot
        # overflow. The paper's weights, 1 and 1/2, sum to 2.
        blur = values.new_tensor([0.5, 0.25, 0.25]).expand(_ROWS, 3).contiguous()
        starts = [*self.offsets[:-1:_ROWS].tolist(), len(self.points)]
        for columns in spans(values.shape[1], _COLUMNS):
            block = values[:, columns].contiguous()
            width = block.shape[1]
            here, there = (
                scratch[i * (m + 1) * width :][: (m + 1) * width].view(-1, width) for i in (0, 1)
            )
            here[m] = there[m] = 0  # row m stands for a missing neighbour
            for (first, last), rows in zip(pairwise(starts), spans(m, _ROWS), strict=True):
                here[rows] = _sums(
                    block, self.points[first:last], self.offsets[rows] - first, shares[first:last]
                )
            for axis in self.neighbours:
                for rows in spans(m, _ROWS):
                    there[rows] = _sums_of_equals(here, axis[rows], blur)
                here, there = there, here
            for rows in spans(n, _ROWS):
                out[rows, columns] = _sums_of_equals(here, self.corners[rows], weights[rows])
        return out

    def scratch_size(self, columns: int) -> int:
        """Number of scratch entries that :meth:`filter` needs for so many columns."""
        return 2 * len(self.offsets) * min(columns, _COLUMNS)


def _sums(rows: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows, (k, c): sum i is over indices[offsets[i] : offsets[i + 1]]."""
    sums: Tensor = torch.embedding_bag(rows, indices, offsets, False, 0, False, weights)[0]
    return sums


def _sums_of_equals(rows: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of e rows each, (k, c), from indices (k, e) and weights (k or more, e)."""
    k, e = indices.shape
    offsets = torch.arange(0, k * e, e, dtype=indices.dtype, device=indices.device)
    return _sums(rows, indices.reshape(-1), offsets, weights[:k].reshape(-1))


def spans(total: int, length: int) -> Iterator[slice]:
    """Consecutive slices of at most `length` that cover 0 to `total`."""
    return (slice(i, min(i + length, total)) for i in range(0, total, length))


def lattice_memory(n: int, d: int, columns: int, itemsize: int) -> tuple[int, int]:
    """Upper bounds of the bytes for a lattice of n points in d dimensions: kept, and in use.

    The lattice keeps the first number of bytes. Building it, or filtering `columns` values of
    `itemsize` bytes at each point, takes the second number in addition. The bounds hold for any
    points. Most photographs need a third of them, because points share vertices.
    """
    entries = n * (d + 1)  # as many vertices, if no two points share one
    kept = entries * (4 * 4 + 4 + 12 * (d + 1))
    making = entries * 64
    filtering = (2 * entries + n) * itemsize * (min(columns, _COLUMNS) + 2)
    return kept, max(making, filtering)


def _simplices(positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The simplex of each point: its corner of remainder 0, ranks, and barycentric weights.

    The corner is (d + 1, n) int64, in units of d + 1. The rank is (d + 1, n) int64: the position of
    each coordinate when the coordinates' distances from the corner are sorted from large to small.
    The weights are (n, d + 1) float32.
    """
    n, d = positions.shape
    axis = torch.arange(1, d + 1, device=positions.device)
    # Splat, blur along all axes, and slice together have variance (d + 1)^2 * 2 / 3 (section 3.1).
    unit = positions.T * (sqrt(2 / 3) * (d + 1) / (axis * (axis + 1)).float().sqrt())[:, None]
    # The plane of R^(d + 1) in which coordinates sum to zero
    elevated = positions.new_empty(d + 1, n)
    above = positions.new_zeros(n)
    for j in range(d, 0, -1):
        elevated[j] = above - j * unit[j - 1]
        above += unit[j - 1]
    elevated[0] = above

    corner = (elevated / (d + 1)).round()
    apart = elevated - (d + 1) * corner
    # The rounded point may lie outside the plane. If so, the coordinates with the largest rounding
    # errors are corrected below.
    rank = corner.sum(0).int().repeat(d + 1, 1)
    for i in range(d):
        for j in range(i + 1, d + 1):
            less = apart[i] < apart[j]
            rank[i] += less
            rank[j] += ~less
    turn = (rank < 0).int() - (rank > d).int()
    rank += (d + 1) * turn
    corner += turn

    ranks = rank.long()
    apart = elevated / (d + 1) - corner
    ordered = torch.empty_like(apart).scatter_(0, ranks, apart)
    weights = (ordered - ordered.roll(-1, 0)).flip(0).T.contiguous()
    weights[:, 0] += 1
    # Splat, blur and slice together change a constant by a factor (section 3.1). The weights undo
    # it, half in splat and half in slice. The term 2^(d + 1) is there because the weights of this
    # blur sum to 1, not 2.
    weights *= sqrt(2 ** (d + 1) / (1 + 2**-d))
    return corner.long(), ranks, weights


def _codes(corner: Tensor, rank: Tensor) -> tuple[Tensor, list[int]]:
    """Code of each vertex of each simplex, (n, d + 1) int64, and what a step along each axis adds.

    A vertex has d + 1 whole coordinates that sum to zero. The first d coordinates are the digits of
    its code. The bases are large enough that a step beyond the outermost vertex does not carry. A
    step along axis j adds 1 to every coordinate except the j-th, from which it subtracts d. The
    corners of a simplex are linked by one step along each axis, from the axis ranked last to the
    axis ranked first.
    """
    d = len(corner) - 1
    low, high = (edge.tolist() for edge in corner[:d].aminmax(dim=1))
    bases = [(d + 1) * (int(b) - int(a) + 5) for a, b in zip(low, high, strict=True)]
    if prod(bases) >= 2**63:
        raise FeatureError(
            "positions lie too many standard deviations apart for a permutohedral lattice; "
            "use larger standard deviations"
        )
    digits = [prod(bases[j + 1 :]) for j in range(d)] + [0]
    steps = [sum(digits) - (d + 1) * digit for digit in digits]
    codes = torch.empty_like(corner)
    codes[0] = sum((corner[j] - low[j] + 2) * ((d + 1) * digits[j]) for j in range(d))
    added = torch.tensor(steps, device=corner.device)[:, None].expand_as(rank)
    codes[1:] = torch.empty_like(rank).scatter_(0, rank, added)[1:].flip(0)
    return codes.cumsum(0).T, steps


def _vertices(
    codes: Tensor, weights: Tensor, steps: list[int]
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The six arrays of the lattice; its vertices are the distinct codes in rising order."""
    ordered, order = codes.reshape(-1).sort(stable=True)
    first = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=first[1:])
    corners = torch.empty_like(order, dtype=torch.int32)
    corners[order] = first.cumsum(0, dtype=torch.int32) - 1
    starts = first.nonzero()[:, 0]
    known = ordered[starts]
    m = len(known)
    here = torch.arange(m, dtype=torch.int32, device=codes.device)
    neighbours = here.new_full((len(steps), m, 3), m)
    neighbours[:, :, 0] = here
    for beside, step in zip(neighbours, steps, strict=True):
        wanted = known + step
        found = torch.searchsorted(known, wanted, out_int32=True).clamp_(max=m - 1)
        there = known[found] == wanted
        beside[:, 1] = torch.where(there, found, m)
        beside[found[there], 2] = here[there]
    offsets = torch.cat([starts, starts.new_tensor([len(ordered)])]).int()
    points = (order // len(steps)).int()
    shares = weights.reshape(-1)[order]
    return corners.view(weights.shape), weights, points, shares, offsets, neighbours
