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

import numpy as np
from numpy.typing import NDArray

from regiontree.refine.regions import Labels, merge_specks

__all__ = ["Window", "merge_specks_within", "windows"]

Area = tuple[slice, slice]  # rows, columns


@dataclass(frozen=True, slots=True)
class Window:
    """Part of a photograph.

    Attributes
    ----------
    cells, pixels
        Its patches and pixels, margin included.
    core
        The pixels that it decides, in the photograph.
    inner
        The same pixels, within the window.
    """

    cells: Area
    pixels: Area
    core: Area
    inner: Area


def windows(
    grid: tuple[int, int], shape: tuple[int, int], side: int, margin: int
) -> Iterator[Window]:
    """Windows of at most `side` patches a side, and `margin` more around each.

    Parameters
    ----------
    grid, shape
        (h, w) patches, and the (H, W) pixels they lie on, ``H >= h``, ``W >= w``.
    side, margin
        In patches, >= 1 and >= 0. A grid of at most `side` a side is one window.

    Yields
    ------
    Windows whose cores are the photograph, each pixel once.

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
    """Cells, pixels, core and inner of each window along a side, evenly spread."""
    count = -(-cells // side)
    ends = [cells * i // count for i in range(count + 1)]
    for start, stop in zip(ends, ends[1:], strict=False):
        outer = max(0, start - margin), min(cells, stop + margin)
        low, high = (_first_pixel(cell, cells, pixels) for cell in outer)
        core = slice(*(_first_pixel(cell, cells, pixels) for cell in (start, stop)))
        inner = slice(core.start - low, core.stop - low)
        yield slice(*outer), slice(low, high), core, inner


def _first_pixel(cell: int, cells: int, pixels: int) -> int:
    """The first pixel whose centre lies in a cell, or past the last: see images.nearest."""
    return -((cells - 2 * pixels * cell) // (2 * cells))


def merge_specks_within(labels: Labels, parents: NDArray[np.integer], min_pixels: int) -> Labels:
    """:func:`~regiontree.refine.regions.merge_specks` in a window of a photograph.

    That function keeps the largest component of each leaf, so that no leaf vanishes. In a window,
    the largest component may be a speck, because the leaf lies mostly elsewhere. So this function
    adds a large component of every leaf below the window, and all specks go.
    """
    width = labels.shape[1]
    rows = -(-min_pixels // width)
    below = np.repeat(np.unique(labels), rows * width).reshape(-1, width)
    return merge_specks(np.concatenate([labels, below]), parents, min_pixels)[: len(labels)]
