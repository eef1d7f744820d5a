"""Windows of a photograph that is too large to be refined at once.

The watershed of :mod:`regiontree.refine.guided` decides a pixel by the patches around it, hardly
ever by patches ten patches away. So a large photograph is refined window by window. Each window has
a margin, and the result within the margin is thrown away. Windows are cut between patches.
Positions are counted from the photograph's corner, so a window sees the landscape of the whole
photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from regiontree.refine.regions import Labels, without_specks

__all__ = ["Window", "first_pixel", "merge_specks_within", "windows"]

Area = tuple[slice, slice]  # rows, columns
Number = TypeVar("Number", int, NDArray[np.int64])


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangular part of a photograph; each field is a slice of rows and a slice of columns.

    Attributes
    ----------
    cells, pixels
        The window's patches and pixels, with the margin.
    core
        The pixels whose leaf the window decides, counted from the photograph's corner.
    inner
        The same pixels, counted from the window's corner.
    """

    cells: Area
    pixels: Area
    core: Area
    inner: Area


def windows(
    grid: tuple[int, int], shape: tuple[int, int], side: int, margin: int
) -> Iterator[Window]:
    """Windows whose cores cover the photograph, each pixel once.

    Parameters
    ----------
    grid
        (h, w), number of patches.
    shape
        (H, W), number of pixels, ``H >= h``, ``W >= w``.
    side
        Largest side of a core in patches, >= 1. A grid of at most `side` patches a side is one
        window.
    margin
        Patches around each core that the window also sees, >= 0.

    Yields
    ------
    Windows, row by row. Along each side, the cores differ by at most one patch.

    Examples
    --------
    >>> [w.pixels[1] for w in windows((1, 6), (2, 60), 4, 1)]
    [slice(0, 40, None), slice(20, 60, None)]
    """
    rows, columns = (
        list(_spans(cells, pixels, side, margin)) for cells, pixels in zip(grid, shape, strict=True)
    )
    for down in rows:
        for across in columns:
            yield Window(*zip(down, across, strict=True))


def _spans(cells: int, pixels: int, side: int, margin: int) -> Iterator[tuple[slice, ...]]:
    """Cells, pixels, core and inner of each window along one side, evenly spread."""
    count = -(-cells // side)
    ends = [cells * i // count for i in range(count + 1)]
    for start, stop in zip(ends, ends[1:], strict=False):
        outer = max(0, start - margin), min(cells, stop + margin)
        low, high = (first_pixel(cell, cells, pixels) for cell in outer)
        core = slice(*(first_pixel(cell, cells, pixels) for cell in (start, stop)))
        inner = slice(core.start - low, core.stop - low)
        yield slice(*outer), slice(low, high), core, inner


def first_pixel(cell: Number, cells: int, pixels: int) -> Number:
    """The first pixel whose centre lies in a cell, or past the last: see images.nearest.

    `cell` is the number of the cell along a side of `cells` cells and `pixels` pixels, or an array
    of such numbers.
    """
    return -((cells - 2 * pixels * cell) // (2 * cells))


def merge_specks_within(labels: Labels, parents: NDArray[np.integer], min_pixels: int) -> Labels:
    """The labels of a window without specks, (H, W) int32.

    :func:`~regiontree.refine.regions.merge_specks` keeps the largest component of each leaf, so
    that no leaf vanishes. In a window, the largest component may be a speck, because the leaf lies
    mostly elsewhere. So in a window, all specks go to their neighbours. The parameters are those of
    `merge_specks`.
    """
    return without_specks(labels, parents, min_pixels, largest_stay=False)
