"""Tubes: groups of neighbouring patches in the frames of a clip, by Ward's linkage.

A patch of a clip has neighbours in its own frame, as in a photograph, and in the frames before and
after: the patch at its place and the eight around that. So a group may follow a thing that moves by
up to a patch from frame to frame. The linkage is that of :mod:`regiontree.spectral.contiguous`: the
cheapest merge of two neighbouring groups comes next. In the frames of a clip a thing has nearly the
same features. So merges between frames are among the cheapest, and a group becomes a *tube*: a
region in each of several frames.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.spectral.contiguous import linked_groups, neighbouring_pairs

__all__ = ["pairs_in_time", "tubes"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

_REACH = 1  # patches that a thing may move from frame to frame


def tubes(
    rows: NDArray[np.floating[Any]],
    grid: tuple[int, int, int],
    count: int,
    there: Bools | None = None,
) -> Ints:
    """The tube of each patch of a clip.

    Parameters
    ----------
    rows
        (n, d), the vector of each patch, frame by frame and in each frame row by row.
    grid
        Frames, rows and columns of patches.
    count
        Number of tubes, >= 1. There are fewer if there are fewer patches, and more if frames
        without any patch divide the clip into more pieces.
    there
        (T, h, w) bool: the patches of the grid that the n are. None: all of them.

    Returns
    -------
    (n,) int64
        Tubes are numbered in the order of their first patches.

    Examples
    --------
    A thing moves one patch to the right in each of three frames:

    >>> clip = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    >>> tubes(clip.reshape(9, 1), (3, 1, 3), 2).reshape(3, 3)
    array([[0, 1, 1],
           [1, 0, 1],
           [1, 1, 0]])
    """
    return linked_groups(rows, pairs_in_time(grid, there), count)


def pairs_in_time(grid: tuple[int, int, int], there: Bools | None = None) -> Ints:
    """Pairs of patches that are neighbours in a clip, (m, 2) int64, the lower number first.

    Parameters
    ----------
    grid
        Frames, rows and columns of patches.
    there
        (T, h, w) bool: which patches exist. They are numbered frame by frame, and in each frame row
        by row. None: all of them.

    Examples
    --------
    >>> pairs_in_time((2, 1, 2)).tolist()
    [[0, 1], [2, 3], [1, 2], [0, 2], [1, 3], [0, 3]]
    """
    frames, h, w = grid
    if there is None or there.all():
        inside, number = neighbouring_pairs((h, w)), np.arange(frames * h * w).reshape(grid)
        found = [inside + t * h * w for t in range(frames)]
    else:
        number = np.where(there, np.cumsum(there).reshape(grid) - 1, -1)
        first = np.concatenate([[0], np.cumsum(there.sum(axis=(1, 2)))])
        found = [
            neighbouring_pairs((h, w), there[t]) + first[t] for t in range(frames) if there[t].any()
        ]
    before = number[:-1]
    after = np.full((frames - 1, h + 2 * _REACH, w + 2 * _REACH), -1)
    after[:, _REACH : _REACH + h, _REACH : _REACH + w] = number[1:]
    for dy in range(2 * _REACH + 1):
        for dx in range(2 * _REACH + 1):
            beside = after[:, dy : dy + h, dx : dx + w]
            both = (before >= 0) & (beside >= 0)
            found.append(np.stack([before[both], beside[both]], axis=1))
    return np.ascontiguousarray(np.concatenate(found))
