"""The marker-controlled watershed: which spring's water reaches each pixel first.

1. From every pixel, the water runs down to the lowest of its four neighbours and on to a bottom. Of
   equally low neighbours, it takes the first of left, right, upper and lower. All pixels with one
   bottom are a basin. Every spring is a bottom.
2. Two touching pixels of different basins are a pass. Its height is that of the higher pixel. The
   basins are the nodes of a graph, and the passes are its edges.
3. The minimum spanning forest of this graph, with one tree for each spring, is the watershed.

Of equally high passes, the one whose upper or left pixel comes first, row by row, counts as lower.
From one pixel, the pass to the right counts as lower than the pass down. So no two passes are equal
and there is only one such forest.

The compiled loop finds the forest by Borůvka's rule: every basin that no spring reaches yet joins
the basin behind its lowest pass, until all are reached. SciPy, which is slower, sorts the passes.

References: Meyer, "Minimum spanning forests for morphological segmentation", ISMM 1994; Cousty,
Bertrand, Najman and Couprie, "Watershed cuts", PAMI 2009.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from regiontree.system.jit import jit

__all__ = ["flooded", "watershed"]

FloatImage = NDArray[np.float32]
Int32 = NDArray[np.int32]
UInt32 = NDArray[np.uint32]  # indices of this type need no look at their sign

_BASIN, _UNSIGNED = np.uint32(2**31), np.uint32(2**31 - 1)  # the latter makes -0.0 a 0.0


def watershed(height: FloatImage, springs: NDArray[np.integer]) -> NDArray[np.int64]:
    """The spring whose water reaches each pixel first, if water rises from all springs together.

    Parameters
    ----------
    height
        (H, W) float32, finite, >= 0: the landscape.
    springs
        (n,) flat indices of n different pixels, n >= 1: the markers of the watershed.

    Returns
    -------
    (H, W) int64, indices into `springs`. The region of each spring is connected and holds the
    spring.

    Examples
    --------
    >>> watershed(np.array([[0, 1, 5, 2, 1, 0]], np.float32), np.array([0, 5]))
    array([[0, 0, 0, 1, 1, 1]])
    """
    return flooded(height, springs, np.arange(len(springs), dtype=np.int32)).astype(np.int64)


def flooded(
    height: FloatImage,
    springs: NDArray[np.integer],
    values: NDArray[np.integer],
    scratch: NDArray[np.float32] | None = None,
) -> Int32:
    """The value of the spring whose water reaches each pixel first, (H, W) int32.

    Parameters
    ----------
    height, springs
        As in :func:`watershed`.
    values
        (n,) integers, one for each spring.
    scratch
        (3, H, W) float32, contiguous: memory that the watershed may write to. None: a new array.
    """
    if scratch is None:
        scratch = np.empty((3, *height.shape), np.float32)
    return _flood(
        np.ascontiguousarray(height, np.float32),
        np.ascontiguousarray(springs, np.int64),
        np.ascontiguousarray(values, np.int32),
        scratch.reshape(-1).view(np.uint32),
    )


# -- SciPy ----------------------------------------------------------------------------------------


def _flood_in_scipy(
    height: FloatImage, springs: NDArray[np.int64], values: Int32, scratch: UInt32
) -> Int32:
    basin = _basins_in_numpy(height, springs)
    n = int(basin.max()) + 1
    one, other = _passes_in_numpy(basin, height, n)
    # An extra root node is joined to every spring. Its edges are lower than any pass, so the
    # spanning tree holds them all. The heights of passes are their ranks: they all differ.
    source = basin.reshape(-1)[springs]
    low = np.concatenate([np.arange(2.0, 2 + len(one)), np.ones(len(source))])
    one = np.concatenate([one, np.full(len(source), n)])
    other = np.concatenate([other, source])
    tree = minimum_spanning_tree(coo_array((low, (one, other)), shape=(n + 1, n + 1))).tocoo()
    hanging = (tree.row != n) & (tree.col != n)
    links = coo_array(
        (tree.data[hanging], (tree.row[hanging], tree.col[hanging])), shape=(n + 1, n + 1)
    )
    water = connected_components(links, directed=False)[1]
    value = np.empty(n + 1, np.int32)
    value[water[source]] = values
    reached: Int32 = value[water[:n]][basin]
    return reached


def _basins_in_numpy(height: FloatImage, springs: NDArray[np.int64]) -> Int32:
    """The basin of each pixel, (H, W) int32: the bottom that its water runs down to.

    Bottoms are numbered from 0 in the order of their pixels.
    """
    lowest = height.copy()
    pixel = np.arange(height.size, dtype=np.int32).reshape(height.shape)
    down = pixel.copy()
    ahead, back, whole = slice(1, None), slice(None, -1), slice(None)
    for here, there in (
        ((whole, ahead), (whole, back)),
        ((whole, back), (whole, ahead)),
        ((ahead, whole), (back, whole)),
        ((back, whole), (ahead, whole)),
    ):
        lower = height[there] < lowest[here]
        np.copyto(lowest[here], height[there], where=lower)
        np.copyto(down[here], pixel[there], where=lower)
    to = down.reshape(-1).astype(np.intp)  # NumPy looks up fastest by this type
    to[springs] = springs
    while not np.array_equal(further := to.take(to), to):
        to = further
    bottom = np.zeros(to.size, bool)
    bottom[to] = True
    numbered: Int32 = (np.cumsum(bottom, dtype=np.int32) - 1).take(to)
    return numbered.reshape(height.shape)


def _passes_in_numpy(
    basin: Int32, height: FloatImage, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of touching basins by the height of the lowest pass between them, the lowest first."""
    width = height.shape[1]
    of, high = basin.reshape(-1), height.reshape(-1)
    keys, heights, places = [], [], []
    for step, within_row in ((1, True), (width, False)):
        apart = of[step:] != of[:-step]
        if within_row:
            apart[width - 1 :: width] = False  # the next pixel is in the next row
        here = apart.nonzero()[0]
        a, b = of.take(here).astype(np.int64), of.take(here + step)
        keys.append(np.minimum(a, b) * n + np.maximum(a, b))
        heights.append(np.maximum(high.take(here), high.take(here + step)))
        places.append(2 * here + (not within_row))
    key = np.concatenate(keys)[np.lexsort((np.concatenate(places), np.concatenate(heights)))]
    lowest = np.sort(np.unique(key, return_index=True)[1])
    return key[lowest] // n, key[lowest] % n


# -- compiled -------------------------------------------------------------------------------------


@jit()
def _run_down(height: FloatImage, down: Int32) -> None:
    """Write the pixel that the water of each pixel runs to into `down`, (H * W,) int32."""
    rows, columns = height.shape
    wide = np.full(columns + 2, np.float32(np.inf))
    here, left, right = wide[1:-1], wide[:-2], wide[2:]
    for y in range(rows):
        to = down[y * columns : (y + 1) * columns]
        above, below = height[max(y - 1, 0)], height[min(y + 1, rows - 1)]
        here[:] = height[y]
        up, first = np.int32(-columns), np.int32(y * columns)
        for x in range(columns):
            lowest, step = here[x], np.int32(0)
            lowest, step = (left[x], np.int32(-1)) if left[x] < lowest else (lowest, step)
            lowest, step = (right[x], np.int32(1)) if right[x] < lowest else (lowest, step)
            lowest, step = (above[x], up) if above[x] < lowest else (lowest, step)
            step = np.int32(columns) if below[x] < lowest else step
            to[x] = first + np.int32(x) + step


@jit()
def _number_basins(down: UInt32) -> int:
    """Replace each pixel of `down` by the number of its basin, and return how many there are.

    A number from 2**31 on is a basin, until all are known; the others are still pixels to go to.
    """
    for at in range(len(down)):  # hereafter, nearly all pixels lead to their bottom at once
        down[at] = down[down[at]]
    for at in range(len(down) - 1, -1, -1):
        down[at] = down[down[at]]
    n = 0
    for at in range(len(down)):
        if down[at] == at:
            down[at] = _BASIN + np.uint32(n)
            n += 1
    for start in range(len(down)):
        end = np.uint32(start)
        while down[end] < _BASIN:
            end = down[end]
        here, basin = np.uint32(start), down[end]
        while down[here] < _BASIN:
            below = down[here]
            down[here] = basin
            here = below
    for at in range(len(down)):
        down[at] -= _BASIN
    return n


@jit()
def _count_passes(basin: UInt32) -> int:
    """Number of touching pixels of different basins; `basin` is (H, W)."""
    rows, columns = basin.shape
    n = 0
    for y in range(rows):
        here, below = basin[y], basin[min(y + 1, rows - 1)]
        right = here[1:]
        for x in range(columns - 1):
            n += here[x] != right[x]
        for x in range(columns):
            n += here[x] != below[x]
    return n


@jit()
def _find_passes(basin: UInt32, height: FloatImage, passes: UInt32) -> None:
    """Write the passes, (n, 4): their heights, their places, and the two basins of each.

    A place is a number that says which of two equally high passes counts as lower. Heights are
    the bits of floats: as the floats are not negative, their bits have the same order.
    """
    rows, columns = basin.shape
    bits = height.view(np.uint32)
    n = 0
    for y in range(rows):
        for down in range(2):
            if down:
                if y + 1 == rows:
                    continue
                there, high = basin[y + 1], bits[y + 1]
            else:
                there, high = basin[y][1:], bits[y][1:]
            here, low = basin[y], bits[y]
            place = 2 * y * columns + down
            for x in range(len(there)):
                if here[x] != there[x]:
                    passes[n, 0] = max(low[x] & _UNSIGNED, high[x] & _UNSIGNED)
                    passes[n, 1] = place + 2 * x
                    passes[n, 2], passes[n, 3] = here[x], there[x]
                    n += 1


@jit()
def _join_basins(passes: UInt32, wet: NDArray[np.bool_], join: UInt32) -> None:
    """Write the spring's basin that each basin gets its water from into `join`, (basins,) uint32.

    `wet` says which basins hold springs. `passes` is used up.
    """
    lowest = np.empty(len(wet), np.uint64)
    for basin in range(len(wet)):
        join[basin] = basin
    to = np.empty(len(wet), np.uint32)
    n = len(passes)
    none = np.uint64(0xFFFFFFFFFFFFFFFF)
    dry = True
    while dry:
        for basin in range(len(wet)):
            to[basin] = basin
            lowest[basin] = np.uint64(0) if wet[basin] else none
        kept = 0
        for at in range(n):  # without branches: nobody could foresee them
            high, place = passes[at, 0], passes[at, 1]
            a, b = join[passes[at, 2]], join[passes[at, 3]]
            within = (a == b) | (wet[a] & wet[b])
            order = none if within else (np.uint64(high) << np.uint64(32)) | np.uint64(place)
            passes[kept, 0], passes[kept, 1], passes[kept, 2], passes[kept, 3] = high, place, a, b
            kept += not within
            low = order < lowest[a]
            to[a] = b if low else to[a]
            lowest[a] = order if low else lowest[a]
            low = order < lowest[b]
            to[b] = a if low else to[b]
            lowest[b] = order if low else lowest[b]
        n = kept
        for basin in range(len(wet)):  # two basins with one lowest pass: the first one stays
            if to[to[basin]] == basin and basin < to[basin]:
                to[basin] = basin
        moved = True
        while moved:
            moved = False
            for basin in range(len(wet)):
                further = to[to[basin]]
                moved |= further != to[basin]
                to[basin] = further
        dry = False
        for basin in range(len(wet)):
            join[basin] = to[join[basin]]
            dry |= not wet[join[basin]]


@jit(instead=_flood_in_scipy)
def _flood(height: FloatImage, springs: NDArray[np.int64], values: Int32, scratch: UInt32) -> Int32:
    """See :func:`flooded`."""
    label = np.empty(height.shape, np.int32)
    down = label.reshape(-1)
    _run_down(height, down)
    for spring in springs:
        down[spring] = spring
    basin = down.view(np.uint32)
    n = _number_basins(basin)
    of = basin.reshape(height.shape)
    numbers = 4 * _count_passes(of)
    if numbers > len(scratch):
        scratch = np.empty(numbers, np.uint32)
    passes = scratch[:numbers].reshape(numbers // 4, 4)
    _find_passes(of, height, passes)
    wet, join = np.zeros(n, np.bool_), np.empty(n, np.uint32)
    value = np.empty(n, np.int32)
    for at in range(len(springs)):
        wet[basin[springs[at]]] = True
        value[basin[springs[at]]] = values[at]
    _join_basins(passes, wet, join)
    value = value[join]
    for at in range(len(basin)):
        down[at] = value[basin[at]]
    return label
