"""Masks without specks and small holes, as SAM's ``min_mask_region_area`` asks for.

Holes of fewer pixels than the limit are filled first. Then connected pieces of fewer pixels are
left out; if all are smaller, the largest stays. Pixels are connected through sides and corners.
Such masks are no longer exactly nodes of a tree.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.export.runs import MaskRuns

__all__ = ["cleaned_mask", "without_specks"]

Bools = NDArray[np.bool_]
Int64 = NDArray[np.int64]

_CORNERS = np.ones((3, 3), bool)


def without_specks(runs: MaskRuns, least: int) -> MaskRuns:
    """The same masks without pieces and holes of fewer pixels than `least`.

    The time is that of labelling the box of each mask twice.
    """
    height, width = runs.shape
    found = []
    for region, (x, y, across, down) in enumerate(runs.boxes.tolist()):
        left, upper, right, foot = 0, 0, width, height
        # A frame of one pixel joins all the outside. It is cut in two if the box spans the image,
        # and what is around it may be a hole itself if it is small.
        if across < width and down < height:
            frame = (max(x - 1, 0), min(x + across + 1, width),
                     max(y - 1, 0), min(y + down + 1, height))  # fmt: skip
            if height * width - (frame[1] - frame[0]) * (frame[3] - frame[2]) >= least:
                left, right, upper, foot = frame
        crop = _crop(runs.of(region), height, left, right, upper, foot)
        at = (0, -1 if right > x + across else 0)
        cleaned = cleaned_mask(crop, least, height * width - crop.size, at)
        found.append(_edges(cleaned, height, left, upper))
    return MaskRuns.of_masks(runs.shape, found)


def cleaned_mask(mask: Bools, least: int, beyond: int = 0, at: tuple[int, int] = (0, 0)) -> Bools:
    """A mask without pieces and holes of fewer pixels than `least`.

    Parameters
    ----------
    mask
        (h, w) bool.
    beyond
        Pixels around the array, if it is a part of an image. All of them lie outside the mask.
    at
        The row and the column of a pixel of the array that these join. It lies outside, too.

    >>> mask = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [1, 1, 1, 0, 0]], bool)
    >>> cleaned_mask(mask, 2).astype(int)
    array([[1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0],
           [1, 1, 1, 0, 0]])
    """
    from scipy.ndimage import label

    holes, count = label(~mask, _CORNERS)
    size = np.bincount(holes.reshape(-1), minlength=count + 1)
    if beyond:
        size[holes[at]] += beyond
    small = size < least
    small[0] = False
    filled = mask | small[holes]
    pieces, count = label(filled, _CORNERS)
    size = np.bincount(pieces.reshape(-1), minlength=count + 1)
    size[0] = 0
    large = size >= least
    large[0] = False
    if not large.any():
        large[int(np.argmax(size))] = True
    cleaned: Bools = large[pieces]
    return cleaned


def _crop(own: Int64, height: int, left: int, right: int, upper: int, foot: int) -> Bools:
    """Pixels of a mask in a part of the image, from its runs."""
    tall = foot - upper
    flat = np.zeros((right - left) * tall + 1, np.int8)
    for edge, step in ((own[::2], 0), (own[1::2] - 1, 1)):
        column, row = np.divmod(edge, height)  # a run that goes on at the next head needs all rows
        flat[(column - left) * tall + row - upper + step] += np.int8(1 - 2 * step)
    inside = np.cumsum(flat[:-1], dtype=np.int8).astype(bool).reshape(right - left, tall)
    return np.ascontiguousarray(inside.T)


def _edges(mask: Bools, height: int, left: int, upper: int) -> Int64:
    """Edges of the runs of a mask that lies at a place of an image; see :class:`MaskRuns`."""
    columns = np.zeros((mask.shape[1], mask.shape[0] + 1), bool)
    columns[:, :-1] = mask.T
    changes = np.flatnonzero(np.diff(columns.reshape(-1), prepend=False))
    column, row = np.divmod(changes, mask.shape[0] + 1)
    edges = (left + column) * height + upper + row
    joined = edges[1::2][:-1] == edges[2::2]  # a run goes on at the head of the next column
    keep = np.ones(len(edges), bool)
    keep[1::2][:-1], keep[2::2] = ~joined, ~joined
    kept: Int64 = edges[keep]
    return kept
