"""Masks of many nodes as runs of pixels, made at once and without making a mask.

Pixels are counted down the columns, as COCO counts them. Where the leaf changes from a to b between
two pixels, a run ends for every node that holds a and not b, and one starts for every node that
holds b and not a. These nodes are the ancestors of a and of b below the lowest node that holds
both. So one pass over the changes of the label map finds all runs of all nodes. The work is that of
writing the runs down, however deep the tree is.

The runs of a node say everything of its mask: its box, its area, its codes for COCO. A point well
inside each region is found from its runs, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError
from regiontree.system.jit import jit
from regiontree.system.lazy import lazy
from regiontree.tree import RegionTree
from regiontree.tree.kernel import nearest_marked

__all__ = ["MaskRuns", "runs_down_columns", "runs_of_nodes"]

Bools = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

_GRID = 64  # points along a side of the grid on which the point inside a region is sought


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """The masks of K regions of an image as runs of pixels. Each region has a pixel.

    Attributes
    ----------
    shape : (int, int)
        (H, W) of the image.
    start : (K + 1,) int64
        The edges of region i are ``edges[start[i] : start[i + 1]]``.
    edges : (E,) int64
        Where the runs of each region start and end, in turn, ascending: ``x * H + y`` of the first
        pixel of a run, and of the first pixel behind it.
    """

    shape: tuple[int, int]
    start: Int64
    edges: Int64

    def __len__(self) -> int:
        return len(self.start) - 1

    @classmethod
    def of_masks(cls, shape: tuple[int, int], edges: Sequence[Int64]) -> MaskRuns:
        """The runs of regions whose edges are given one by one."""
        start = np.cumsum([0, *(len(own) for own in edges)])
        return cls(shape, start, np.concatenate([np.empty(0, np.int64), *edges]))

    def only(self, regions: Int64) -> MaskRuns:
        """The runs of some regions, in the given order.

        >>> MaskRuns((1, 4), np.array([0, 2, 4]), np.array([0, 1, 1, 4])).only(np.array([1])).edges
        array([1, 4])
        """
        length = np.diff(self.start)[regions]
        start = np.concatenate([[0], np.cumsum(length)])
        take = np.arange(start[-1]) + np.repeat(self.start[regions] - start[:-1], length)
        return MaskRuns(self.shape, start, self.edges[take])

    def of(self, region: int) -> Int64:
        """Starts and ends of the runs of a region, in turn."""
        return self.edges[self.start[region] : self.start[region + 1]]

    def counts(self, region: int) -> Int64:
        """COCO's run lengths of a region: of pixels outside, inside, outside and so on.

        The first is 0 if the first pixel of the image lies inside. There is no last 0.

        >>> MaskRuns((2, 3), np.array([0, 2]), np.array([0, 3])).counts(0)
        array([0, 3, 3])
        """
        own = self.of(region)
        pixels = self.shape[0] * self.shape[1]
        return np.diff(own, prepend=0, append=pixels if own[-1] < pixels else own[:0])

    def mask(self, region: int) -> Bools:
        """Pixels of a region, (H, W) bool.

        >>> MaskRuns((2, 3), np.array([0, 2]), np.array([0, 3])).mask(0)
        array([[ True,  True, False],
               [ True, False, False]])
        """
        height, width = self.shape
        flat = np.zeros(height * width, bool)
        own = self.of(region)
        _fill(flat, own)
        mask: Bools = np.ascontiguousarray(flat.reshape(width, height).T)
        return mask

    @lazy
    def area(self) -> Int64:
        """Pixels of each region, (K,) int64."""
        return _sums(self.edges[1::2] - self.edges[::2], self.start // 2)

    @lazy
    def boxes(self) -> Int64:
        """The box of each region, (K, 4) int64: x, y, width and height, in pixels.

        >>> MaskRuns((2, 3), np.array([0, 2]), np.array([1, 3])).boxes
        array([[0, 0, 2, 2]])
        """
        if not len(self):
            return np.empty((0, 4), np.int64)
        height = self.shape[0]
        first, last = self.edges[::2], self.edges[1::2] - 1
        wraps = first // height != last // height
        top = np.where(wraps, 0, first % height)
        foot = np.where(wraps, height - 1, last % height)
        at = self.start[:-1] // 2
        left, right = (
            np.minimum.reduceat(first // height, at),
            np.maximum.reduceat(last // height, at),
        )
        upper, lower = np.minimum.reduceat(top, at), np.maximum.reduceat(foot, at)
        return np.stack([left, upper, right - left + 1, lower - upper + 1], axis=1)

    @lazy
    def inside(self) -> Int64:
        """A pixel well inside each region, (K, 2) int64: x and y.

        It is the pixel farthest from the region's border, counted in steps to the four neighbours;
        of equals the first down the columns. The border of the image is a border, too. In a region
        whose box is wider or higher than 64 pixels, only each second, third, ... pixel of the box
        is asked, so that at most 64 x 64 are. If all of these are outside, it is the middle of the
        longest run.
        """
        found: Int64 = _deepest(self.edges, self.start, self.boxes, self.shape[0])
        return found

    def masks(self) -> Iterator[Bools]:
        """The masks of all regions, one at a time, so that they do not fill the memory."""
        for region in range(len(self)):
            yield self.mask(region)


def runs_of_nodes(tree: RegionTree, nodes: Sequence[int]) -> MaskRuns:
    """The runs of some nodes of a tree, in the given order.

    Raises
    ------
    TreeError
        A node does not exist or is given twice.

    Examples
    --------
    >>> tree = RegionTree([[0, 0, 1], [2, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, .5, 1])
    >>> runs = runs_of_nodes(tree, [3, 1])
    >>> runs.of(0), runs.of(1)
    (array([0, 1, 2, 3, 4, 5]), array([4, 5]))
    """
    chosen = np.asarray(nodes, dtype=np.int64).reshape(-1)
    if len(chosen) and not 0 <= chosen.min() <= chosen.max() < tree.n_nodes:
        raise TreeError(
            f"this tree has nodes 0 to {tree.root}; got {chosen.min()} to {chosen.max()}"
        )
    ascending = np.unique(chosen)
    if len(ascending) != len(chosen):
        raise TreeError("a node is given twice")
    k = len(chosen)
    slot = np.full(tree.n_nodes, k)
    slot[ascending] = np.arange(k)
    lowest = slot[nearest_marked(tree.parents, slot < k)]  # k: no chosen node holds it
    above = np.append(lowest[tree.parents[ascending]], k)
    if k and ascending[-1] == tree.root:
        above[k - 1] = k
    start, _, leaf = runs_down_columns(tree.labels)
    into = np.append(lowest[leaf], k)
    out_of = np.concatenate([[k], into[:-1]])
    changes = into != out_of
    position = np.append(start, tree.labels.size)[changes]
    first, edges = _runs(out_of[changes], into[changes], position, above)
    runs = MaskRuns(tree.shape, first, edges)
    in_order = np.array_equal(chosen, ascending)
    return runs if in_order else runs.only(np.searchsorted(ascending, chosen))


def runs_down_columns(labels: Int32) -> tuple[Int64, Int64, Int32]:
    """Start, end (exclusive) and label of every run of one label, counted down the columns.

    A run may go on from the foot of a column to the head of the next. Changes are found along the
    rows, as pixels lie in memory, and then sorted. Transposing 50 megapixels takes four times as
    long.

    >>> runs_down_columns(np.array([[0, 0, 1], [2, 2, 2]], np.int32))
    (array([0, 1, 2, 3, 4, 5]), array([1, 2, 3, 4, 5, 6]), array([0, 2, 0, 2, 1, 2], dtype=int32))
    """
    height = labels.shape[0]
    row, column = np.nonzero(labels[1:] != labels[:-1])
    heads = 1 + np.flatnonzero(labels[0, 1:] != labels[-1, :-1])
    start = np.sort(np.concatenate([[0], heads * height, column * height + row + 1]))
    return start, np.append(start[1:], labels.size), labels[start % height, start // height]


# -- loops over runs ------------------------------------------------------------------------------


def _runs_of_numpy(
    out_of: Int64, into: Int64, position: Int64, above: Int64
) -> tuple[Int64, Int64]:
    """What :func:`_runs` gives."""
    k = len(above) - 1
    a, b, at = out_of.copy(), into.copy(), np.arange(len(position))
    owners, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    while len(a):
        lower = np.minimum(a, b)
        owners.append(lower)
        places.append(at)
        a, b = np.where(a == lower, above[a], a), np.where(b == lower, above[b], b)
        left = a != b
        a, b, at = a[left], b[left], at[left]
    owner, place = np.concatenate(owners), np.concatenate(places)
    order = np.lexsort((place, owner))
    start = np.searchsorted(owner[order], np.arange(k + 1))
    return start.astype(np.int64), position[place[order]]


@jit(instead=_runs_of_numpy)
def _runs(out_of: Int64, into: Int64, position: Int64, above: Int64) -> tuple[Int64, Int64]:
    """Where the edges of each of k nodes start, (k + 1,), and the edges, as in :class:`MaskRuns`.

    Parameters
    ----------
    out_of, into : (C,) int64
        The lowest node before each change and behind it; k for none. They differ.
    position : (C,) int64
        Where the changes are, ascending.
    above : (k + 1,) int64
        The next larger node around each node, and k around itself. Each has a larger number.
    """
    k = len(above) - 1
    start = np.zeros(k + 1, np.int64)
    for change in range(len(position)):
        a, b = out_of[change], into[change]
        while a != b:
            if a < b:
                start[a + 1] += 1
                a = above[a]
            else:
                start[b + 1] += 1
                b = above[b]
    for node in range(k):
        start[node + 1] += start[node]
    edges = np.empty(start[k], np.int64)
    free = start[:k].copy()
    for change in range(len(position)):
        a, b = out_of[change], into[change]
        while a != b:
            if a < b:
                edges[free[a]] = position[change]
                free[a] += 1
                a = above[a]
            else:
                edges[free[b]] = position[change]
                free[b] += 1
                b = above[b]
    return start, edges


def _fill_of_numpy(flat: Bools, own: Int64) -> None:
    """What :func:`_fill` does."""
    for first, behind in zip(own[::2].tolist(), own[1::2].tolist(), strict=True):
        flat[first:behind] = True


@jit(instead=_fill_of_numpy)
def _fill(flat: Bools, own: Int64) -> None:
    """Set the pixels of runs in an image that is flat down the columns."""
    for run in range(0, len(own), 2):
        flat[own[run] : own[run + 1]] = True


def _deepest_of_scipy(edges: Int64, start: Int64, boxes: Int64, height: Any) -> Int64:
    """What :func:`_deepest` gives."""
    from scipy.ndimage import distance_transform_cdt

    found = np.empty((len(boxes), 2), np.int64)
    for region, (x, y, width, tall) in enumerate(boxes.tolist()):
        own = edges[start[region] : start[region + 1]]
        across, down = -(-width // _GRID), -(-tall // _GRID)
        columns, rows = np.arange(x, x + width, across), np.arange(y, y + tall, down)
        asked = (columns[:, None] * height + rows).reshape(-1)
        is_in = np.searchsorted(own, asked, side="right") % 2 == 1
        if not is_in.any():
            longest = 2 * int(np.argmax(own[1::2] - own[::2]))
            found[region] = divmod((own[longest] + own[longest + 1] - 1) // 2, height)
            continue
        grid = np.pad(is_in.reshape(len(columns), len(rows)), 1)
        depth = distance_transform_cdt(grid, "taxicab")[1:-1, 1:-1].reshape(-1)
        found[region] = divmod(asked[int(np.argmax(depth))], height)
    return found


@jit(instead=_deepest_of_scipy)
def _deepest(edges: Int64, start: Int64, boxes: Int64, height: Any) -> Int64:
    """A pixel well inside each region, (K, 2): x and y; see :attr:`MaskRuns.inside`."""
    found = np.empty((len(boxes), 2), np.int64)
    grid = np.empty((_GRID + 2, _GRID + 2), np.int64)
    for region in range(len(boxes)):
        x, y, width, tall = boxes[region]
        across, down = (width + _GRID - 1) // _GRID, (tall + _GRID - 1) // _GRID
        columns, rows = (width + across - 1) // across, (tall + down - 1) // down
        grid[: columns + 2, : rows + 2] = 0
        any_in, longest, middle = False, np.int64(0), np.int64(0)
        for run in range(start[region], start[region + 1], 2):
            first, last = edges[run], edges[run + 1] - 1
            if last - first + 1 > longest:
                longest, middle = last - first + 1, (first + last) // 2
            for column in range(first // height, last // height + 1):
                if (column - x) % across:
                    continue
                upper = max(first - column * height, y) - y
                lower = min(last - column * height, y + tall - 1) - y
                for row in range((upper + down - 1) // down, lower // down + 1):
                    grid[(column - x) // across + 1, row + 1] = columns + rows
                    any_in = True
        if not any_in:
            found[region, 0], found[region, 1] = middle // height, middle % height
            continue
        for column in range(1, columns + 1):
            for row in range(1, rows + 1):
                near = min(grid[column - 1, row], grid[column, row - 1]) + 1
                grid[column, row] = min(grid[column, row], near)
        best = np.int64(0)
        for column in range(columns, 0, -1):
            for row in range(rows, 0, -1):
                near = min(grid[column + 1, row], grid[column, row + 1]) + 1
                grid[column, row] = min(grid[column, row], near)
        for column in range(1, columns + 1):
            for row in range(1, rows + 1):
                if grid[column, row] > best:
                    best = grid[column, row]
                    found[region, 0] = x + (column - 1) * across
                    found[region, 1] = y + (row - 1) * down
    return found


def _sums(values: Int64, start: Int64) -> Int64:
    """The sum of each stretch of values, which may be empty."""
    running = np.concatenate([[0], np.cumsum(values)])
    sums: Int64 = running[start[1:]] - running[start[:-1]]
    return sums
