"""Springs that miss their leaf: where in its patch a leaf's water starts.

The watershed of :mod:`regiontree.refine.guided` starts at the centre of each patch. If a patch
shows a thin thing, such as a pole, its centre often lies beside the thing. Then the water of the
leaf floods what is behind the thing. So the spring moves within its patch, to a pixel whose colour
tells the leaf from the leaves around.

1. The surroundings of a patch are the 5 x 5 patches around it. A colour *shows the leaf* if it is
   at least three times as frequent in the surroundings' patches of the same leaf as in their
   patches of other leaves. Colours are RGB in steps of 16, and each has one pixel added on both
   sides, so that a single pixel shows nothing.
2. A spring stays if its own pixel or one of the eight around it shows the leaf. Otherwise the
   spring moves to a pixel of its patch around which at least six of these nine pixels show the
   leaf. Of several such pixels, it is the one that is lowest in the landscape.
3. A patch without such pixels may be a patch of background that has come to a leaf of something
   thin. It loses its spring if at least half of the same leaf's patches in its surroundings show
   the leaf. Other waters then flood the patch.

A patch whose surroundings are all of one leaf is left alone. A patch loses its spring only beside a
patch of its leaf that keeps one. So every leaf keeps a spring.

benchmarks/poles.py measures the gain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.system.jit import jit

__all__ = ["moved_springs"]

Ints = NDArray[np.int64]
Colours = NDArray[np.uint16]

_REACH = 2  # patches on each side of a patch that are its surroundings
_TIMES = 3.0  # how many times as frequent in the leaf as in other leaves
_SOLID = 6  # of the nine pixels around a new spring; fewer are the grain of a texture
_STEP = 16  # grey levels of one colour
_ABSENT = (256 // _STEP) ** 3  # the colour of a pixel that is not valid
_ALONE, _SHOWN, _UNSHOWN = 0, 1, 2  # what the surroundings say about a patch


def moved_springs(
    leaf: NDArray[np.int32],
    springs: Ints,
    rgb: NDArray[np.uint8],
    height: NDArray[np.float32],
    bounds: tuple[Ints, Ints],
    valid: NDArray[np.bool_] | None = None,
) -> Ints:
    """The pixel from which each patch's water starts, (h, w) int64; -1 where there is none.

    Parameters
    ----------
    leaf
        (h, w) int32, the leaf of each patch.
    springs
        (h, w) int64, flat indices of pixels; -1 for a patch that has no spring and is not there.
    rgb
        (H, W, 3) uint8, the photograph.
    height
        (H, W) float32, the landscape of the watershed.
    bounds
        (h + 1,) and (w + 1,) int64: the first row and column of each patch, then H and W.
    valid
        (H, W) bool, the pixels that are there. None: all of them.

    Returns
    -------
    (h, w) int64. Every leaf that has a spring in `springs` has one here.

    Examples
    --------
    The middle patch shows a dark pole, and its centre lies beside the pole:

    >>> rgb = np.full((7, 21, 3), 200, np.uint8)
    >>> rgb[:, 12:14] = 0
    >>> leaf, springs = np.array([[0, 1, 0]], np.int32), np.array([[66, 73, 80]])
    >>> bounds = np.array([0, 7]), np.array([0, 7, 14, 21])
    >>> moved_springs(leaf, springs, rgb, np.zeros((7, 21), np.float32), bounds)
    array([[66, 33, 80]])
    """
    moved = np.array(springs, np.int64, order="C")
    coarse = (rgb // _STEP).astype(np.uint16)
    colour = (coarse[..., 0] * (256 // _STEP) + coarse[..., 1]) * (256 // _STEP) + coarse[..., 2]
    if valid is not None:
        colour[~valid] = _ABSENT
    said = _move(
        np.ascontiguousarray(leaf, np.int32),
        np.ascontiguousarray(colour),
        np.ascontiguousarray(height, np.float32),
        np.ascontiguousarray(bounds[0], np.int64),
        np.ascontiguousarray(bounds[1], np.int64),
        moved,
    )
    moved[(said == _UNSHOWN) & _outnumbered(leaf, springs >= 0, said)] = -1
    return moved


def _outnumbered(
    leaf: NDArray[np.int32], there: NDArray[np.bool_], said: NDArray[np.uint8]
) -> NDArray[np.bool_]:
    """Whether half of the leaf's patches in the surroundings show it, (h, w) bool."""
    patches, shown = np.zeros((2, *leaf.shape), np.int64)
    around = np.pad(np.where(there, leaf, -1), _REACH, constant_values=-1)
    shows = np.pad(said == _SHOWN, _REACH)
    rows, columns = leaf.shape
    for down in range(2 * _REACH + 1):
        for right in range(2 * _REACH + 1):
            cut = slice(down, down + rows), slice(right, right + columns)
            same = around[cut] == leaf
            patches += same
            shown += same & shows[cut]
    outnumbered: NDArray[np.bool_] = (shown > 0) & (2 * shown >= patches)
    return outnumbered


# -- NumPy ----------------------------------------------------------------------------------------


def _move_in_numpy(
    leaf: NDArray[np.int32], colour: Colours, height: NDArray[np.float32],
    rows: Ints, columns: Ints, springs: Ints,
) -> NDArray[np.uint8]:  # fmt: skip
    said = np.full(leaf.shape, _ALONE, np.uint8)
    pixel = np.arange(colour.size).reshape(colour.shape)
    there = springs >= 0

    def count(cells: list[tuple[int, int]]) -> Ints:
        found = [
            colour[rows[y] : rows[y + 1], columns[x] : columns[x + 1]].reshape(-1) for y, x in cells
        ]
        counted: Ints = np.bincount(np.concatenate(found), minlength=_ABSENT + 1)
        counted[_ABSENT] = 0
        return counted

    for y, x in np.argwhere(there).tolist():
        top, left = max(y - _REACH, 0), max(x - _REACH, 0)
        around = slice(top, y + _REACH + 1), slice(left, x + _REACH + 1)
        cells = [(i + top, j + left) for i, j in np.argwhere(there[around]).tolist()]
        others = [at for at in cells if leaf[at] != leaf[y, x]]
        if not others:
            continue
        own, other = count([at for at in cells if leaf[at] == leaf[y, x]]), count(others)
        shows = (own + 1) * other.sum() >= _TIMES * ((other + 1) * own.sum())
        shows[_ABSENT] = False
        nine = _sum_of_nine(shows[colour])
        if nine.reshape(-1)[springs[y, x]] > 0:
            said[y, x] = _SHOWN
            continue
        patch = slice(rows[y], rows[y + 1]), slice(columns[x], columns[x + 1])
        good = shows[colour[patch]] & (nine[patch] >= _SOLID)
        said[y, x] = _SHOWN if good.any() else _UNSHOWN
        if good.any():
            springs[y, x] = pixel[patch][good][height[patch][good].argmin()]
    return said


def _sum_of_nine(true: NDArray[np.bool_]) -> Ints:
    """How many of the pixel and the eight around it are true, for each pixel."""
    down = np.pad(true, 1).astype(np.int64)
    down = down[:-2] + down[1:-1] + down[2:]
    nine: Ints = down[:, :-2] + down[:, 1:-1] + down[:, 2:]
    return nine


# -- compiled -------------------------------------------------------------------------------------


@jit()
def _count_different(colour: Colours, rows: Ints, columns: Ints) -> int:
    """How many colours each patch has, summed over patches."""
    last = np.full(_ABSENT + 1, -1, np.int64)
    patch, n = 0, 0
    for y in range(len(rows) - 1):
        for x in range(len(columns) - 1):
            for a in range(rows[y], rows[y + 1]):
                for b in range(columns[x], columns[x + 1]):
                    n += last[colour[a, b]] != patch
                    last[colour[a, b]] = patch
            patch += 1
    return n


@jit()
def _find_different(
    colour: Colours, rows: Ints, columns: Ints, start: Ints, of: Colours, pixels: Ints
) -> None:
    """Write the colours of each patch into `of`, from its `start` on, and their `pixels`."""
    place = np.full(_ABSENT + 1, -1, np.int64)
    patch, n = 0, 0
    for y in range(len(rows) - 1):
        for x in range(len(columns) - 1):
            start[patch] = n
            for a in range(rows[y], rows[y + 1]):
                for b in range(columns[x], columns[x + 1]):
                    here = colour[a, b]
                    if place[here] < start[patch]:
                        place[here] = n
                        of[n], pixels[n] = here, 0
                        n += 1
                    pixels[place[here]] += 1
            patch += 1
    start[patch] = n


@jit()
def _find_shown(
    leaf: NDArray[np.int32], springs: Ints, start: Ints, of: Colours, pixels: Ints,
    at: tuple[int, int], counts: Ints, shows: NDArray[np.bool_],
) -> bool:  # fmt: skip
    """Write whether each colour shows the leaf of the patch `at`; False if it is alone.

    `counts` is (2, colours), where pixels of the leaf and of other leaves are counted.
    """
    height, width = leaf.shape
    counts[:] = 0
    mixed = False
    for y in range(max(at[0] - _REACH, 0), min(at[0] + _REACH + 1, height)):
        for x in range(max(at[1] - _REACH, 0), min(at[1] + _REACH + 1, width)):
            mixed |= springs[y, x] >= 0 and leaf[y, x] != leaf[at]
    if not mixed:
        return False
    for y in range(max(at[0] - _REACH, 0), min(at[0] + _REACH + 1, height)):
        for x in range(max(at[1] - _REACH, 0), min(at[1] + _REACH + 1, width)):
            if springs[y, x] < 0:
                continue
            to, patch = counts[int(leaf[y, x] != leaf[at])], y * width + x
            for n in range(start[patch], start[patch + 1]):
                to[of[n]] += pixels[n]
    counts[:, _ABSENT] = 0
    own, other = counts[0].sum(), counts[1].sum()
    for k in range(_ABSENT):
        shows[k] = (counts[0, k] + 1) * other >= _TIMES * ((counts[1, k] + 1) * own)
    return True


@jit()
def _shown_of_nine(colour: Colours, y: int, x: int, shows: NDArray[np.bool_]) -> int:
    """How many of the pixel and the eight around it show the leaf."""
    n = 0
    for a in range(max(y - 1, 0), min(y + 2, colour.shape[0])):
        for b in range(max(x - 1, 0), min(x + 2, colour.shape[1])):
            n += shows[colour[a, b]]
    return n


@jit()
def _lowest_shown(
    colour: Colours, height: NDArray[np.float32], area: tuple[int, int, int, int],
    shows: NDArray[np.bool_],
) -> int:  # fmt: skip
    """The lowest pixel of an area that shows the leaf with most around it, flat; -1 if none."""
    top, bottom, left, right = area
    lowest, least = -1, np.float32(np.inf)
    for y in range(top, bottom):
        for x in range(left, right):
            if not shows[colour[y, x]] or height[y, x] >= least:
                continue
            if _shown_of_nine(colour, y, x, shows) >= _SOLID:
                least, lowest = height[y, x], y * colour.shape[1] + x
    return lowest


@jit(instead=_move_in_numpy)
def _move(
    leaf: NDArray[np.int32], colour: Colours, height: NDArray[np.float32],
    rows: Ints, columns: Ints, springs: Ints,
) -> NDArray[np.uint8]:  # fmt: skip
    """Move `springs`, in place, and return what the surroundings say of each patch, (h, w)."""
    said = np.full(leaf.shape, np.uint8(_ALONE), np.uint8)
    n = _count_different(colour, rows, columns)
    start = np.empty(leaf.size + 1, np.int64)
    of, pixels = np.empty(n, np.uint16), np.empty(n, np.int64)
    _find_different(colour, rows, columns, start, of, pixels)
    counts = np.empty((2, _ABSENT + 1), np.int64)
    shows = np.zeros(_ABSENT + 1, np.bool_)
    for y in range(leaf.shape[0]):
        for x in range(leaf.shape[1]):
            if springs[y, x] < 0:
                continue
            if not _find_shown(leaf, springs, start, of, pixels, (y, x), counts, shows):
                continue
            said[y, x] = _SHOWN
            a, b = springs[y, x] // colour.shape[1], springs[y, x] % colour.shape[1]
            if _shown_of_nine(colour, a, b, shows):
                continue
            area = rows[y], rows[y + 1], columns[x], columns[x + 1]
            lowest = _lowest_shown(colour, height, area, shows)
            if lowest < 0:
                said[y, x] = _UNSHOWN
            else:
                springs[y, x] = lowest
    return said
