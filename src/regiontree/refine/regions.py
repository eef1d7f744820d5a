"""Regions of a label map: connected components, specks, and leaves that must not vanish.

A leaf of a tree may lie in several places. Each place is a *component*: pixels of one label that
are connected through their sides. A step that moves borders may leave threads and specks.
:func:`trim_threads` and :func:`merge_specks` give these to their surroundings. Such a step may also
take the last pixel of a small leaf. :func:`keep_leaves` gives such a leaf a pixel back.

No loop visits single pixels. Components are joined from runs; a run is an unbroken stretch of one
label within a row. A photograph of 700,000 pixels and 400 leaves has about 25,000 runs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from regiontree.tree.paths import lowest_common_ancestor

__all__ = [
    "components",
    "extended",
    "keep_leaves",
    "lowest_above",
    "merge_specks",
    "patch_centres",
    "trim_threads",
]

Labels = NDArray[np.int32]


def components(labels: Labels) -> Labels:
    """Component of each pixel, (H, W) int32, numbered from 0 in the order of first pixels.

    Parameters
    ----------
    labels
        (H, W) integers. Pixels of equal label that share a side belong to one component.

    Examples
    --------
    >>> components(np.array([[7, 7, 5], [5, 7, 5], [5, 5, 7]], np.int32))
    array([[0, 0, 1],
           [2, 0, 1],
           [2, 2, 3]], dtype=int32)
    """
    starts = np.ones(labels.shape, bool)
    starts[:, 1:] = labels[:, 1:] != labels[:, :-1]
    run = np.cumsum(starts, dtype=np.int32).reshape(labels.shape) - 1
    # Two runs get one link, where they first touch. While both go on to the right, none is added.
    touch = labels[1:] == labels[:-1]
    touch[:, 1:] &= starts[1:, 1:] | starts[:-1, 1:] | ~touch[:, :-1]
    above, below = run[:-1][touch], run[1:][touch]
    n = int(run[-1, -1]) + 1
    links = coo_array((np.ones(len(above), np.int8), (above, below)), shape=(n, n))
    found = connected_components(links, directed=False)[1]
    # Runs are numbered row by row, so the order of first runs is the order of first pixels.
    _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int32)
    order[first.argsort()] = np.arange(len(first), dtype=np.int32)
    numbered: Labels = order[inverse][run]
    return numbered


def merge_specks(labels: Labels, parents: NDArray[np.integer], min_pixels: int) -> Labels:
    """Labels without specks, (H, W) int32: each speck goes to its most similar neighbour.

    A speck is a component of fewer than `min_pixels` pixels.
    The largest component of each leaf stays, whatever its size, so that no leaf vanishes. A speck
    joins the neighbouring leaf that is closest to its own leaf in the tree: a sibling, else a leaf
    below the same grandparent, and so on. Of equally close leaves, the speck joins the one with
    the longest common border, then the one with the lowest number. A speck among specks waits
    until one of its neighbours has joined a leaf.

    Parameters
    ----------
    labels
        (H, W) integers, the leaf of each pixel.
    parents
        (N,) integers as in :class:`~regiontree.tree.RegionTree`: leaves first, each parent after
        its children, the root last and its own parent.
    min_pixels
        A component of at least this many pixels is not a speck. 0 or 1 changes nothing.

    Returns
    -------
    (H, W) int32, a new array.

    Examples
    --------
    Leaves 1 and 2 are siblings. So the single pixel of leaf 1 goes to leaf 2, although it has a
    longer border with leaf 0:

    >>> labels = np.array([[0, 0, 0, 0, 1], [0, 1, 2, 0, 1]], np.int32)
    >>> merge_specks(labels, np.array([4, 3, 3, 4, 4]), 2)
    array([[0, 0, 0, 0, 1],
           [0, 2, 2, 0, 1]], dtype=int32)
    """
    part = components(labels)
    size = np.bincount(part.ravel())
    leaf = np.empty(len(size), np.int32)
    leaf[part.ravel()] = labels.ravel()
    speck = size < min_pixels
    by_size = np.lexsort((np.arange(len(size)), -size, leaf))
    speck[by_size[np.unique(leaf[by_size], return_index=True)[1]]] = False
    if not speck.any():
        return labels.astype(np.int32)
    a, b, border = _touching(part, speck)
    while speck.any():
        ready = speck[a] & ~speck[b]
        joined = lowest_above(parents, leaf[a[ready]], leaf[b[ready]])
        # In this order, the first row of each speck holds the neighbour that the speck joins.
        order = np.lexsort((leaf[b[ready]], -border[ready], joined, a[ready]))
        moved, at = np.unique(a[ready][order], return_index=True)
        leaf[moved] = leaf[b[ready][order[at]]]
        speck[moved] = False
    merged: Labels = leaf[part]
    return merged


def trim_threads(labels: Labels, width: int) -> Labels:
    """Labels without threads, (H, W) int32: parts thinner than `width` go to their surroundings.

    This is a morphological opening of each region by a square of `width` pixels a side. A pixel
    keeps its label if some square that holds the pixel lies within the region. Every other pixel
    takes the label of the nearest pixel that keeps its own. Straight borders and right angles stay
    where they are. A label whose regions hold no such square vanishes.

    Parameters
    ----------
    labels
        (H, W) integers.
    width
        Side of the square in pixels. 0 or 1 changes nothing, and so does a square that fits nowhere
        or is larger than the image.

    Returns
    -------
    (H, W) int32, a new array.

    Examples
    --------
    >>> trim_threads(np.array([[0, 0, 0, 2], [0, 0, 0, 2]]), 2)
    array([[0, 0, 0, 0],
           [0, 0, 0, 0]], dtype=int32)
    """
    if width < 2 or width > min(labels.shape):
        return labels.astype(np.int32)
    square = _windows(labels[1:] == labels[:-1], width - 1, width)
    square &= _windows(labels[:, 1:] == labels[:, :-1], width, width - 1)
    if not square.any():
        return labels.astype(np.int32)
    # A pixel keeps its label if some square that holds the pixel has only one label.
    around = np.zeros((labels.shape[0] + width - 1, labels.shape[1] + width - 1), bool)
    around[width - 1 : 1 - width, width - 1 : 1 - width] = square
    thin = _windows(~around, width, width)
    nearest_kept = distance_transform_edt(thin, return_distances=False, return_indices=True)
    trimmed: Labels = labels[tuple(nearest_kept)].astype(np.int32)
    return trimmed


def extended(labels: Labels, valid: NDArray[np.bool_]) -> Labels:
    """Labels in which a pixel that is not valid has the label of the nearest valid one: a copy.

    Parameters
    ----------
    labels
        (H, W) integers.
    valid
        (H, W) bool, true somewhere.

    Examples
    --------
    >>> extended(np.array([[1, 9, 9, 9, 2]], np.int32), np.array([[1, 0, 0, 0, 1]], bool)).tolist()
    [[1, 1, 1, 2, 2]]
    """
    near = distance_transform_edt(~valid, return_distances=False, return_indices=True)
    continued: Labels = labels[tuple(near)]
    return continued


def _windows(true: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Whether each window is all true, (H - height + 1, W - width + 1), by its top left corner."""
    rows, columns = true.shape[0] - height + 1, true.shape[1] - width + 1
    down = np.ones((rows, true.shape[1]), bool)
    for step in range(height):
        down &= true[step : step + rows]
    every = np.ones((rows, columns), bool)
    for step in range(width):
        every &= down[:, step : step + columns]
    return every


def keep_leaves(
    labels: Labels,
    leaf_of_patch: Labels,
    parents: NDArray[np.integer],
    valid: NDArray[np.bool_] | None = None,
) -> Labels:
    """Labels with at least one pixel for every leaf, (H, W) int32.

    A leaf without a pixel gets one pixel back, inside its nearest relative. The nearest relatives
    of a lost leaf are the leaves closest to it in the tree, among the leaves with more than one
    pixel. Of the patch centres within these relatives, the lost leaf gets the one nearest to its
    own patches. So only the finest cuts separate the pixel from its surroundings, and other cuts
    show no dots. If the closest leaves were lost too and have come back, the new pixel lies beside
    theirs. So a region that vanished becomes one dot instead of many.

    Parameters
    ----------
    labels
        (H, W) int32, the leaf of each pixel, ``H >= h``, ``W >= w``.
    leaf_of_patch
        (h, w) int32, the leaf of each patch.
    parents
        (N,) integers as in :class:`~regiontree.tree.RegionTree`.
    valid
        (H, W) bool, which pixels count; at least as many as there are leaves. None: all of them.

    Returns
    -------
    (H, W) int32, in which every leaf of `leaf_of_patch` has a pixel. It is `labels` itself if no
    leaf was missing, else a new array.

    Examples
    --------
    >>> keep_leaves(np.array([[3, 3, 3, 3]], np.int32), np.array([[3, 1]], np.int32), [4] * 5)
    array([[3, 3, 3, 1]], dtype=int32)
    """
    parents = np.asarray(parents)
    wanted = np.unique(leaf_of_patch)
    kept, absent = labels, None
    if valid is not None:  # pixels that do not count get a label of their own
        absent = 1 + max(int(wanted[-1]), int(labels.max()))
        kept = np.where(valid, labels, np.int32(absent))
    count = _counts(kept, int(wanted[-1]))
    if absent is not None:
        count[absent:] = 0
    missing = wanted[count[wanted] == 0]
    if not len(missing):
        return labels
    kept = kept.copy()
    rows, columns = patch_centres(leaf_of_patch.shape, labels.shape)
    centres = kept[np.ix_(rows, columns)]
    back: dict[int, tuple[int, int]] = {}
    for leaf in missing.tolist():
        # There are no more leaves than pixels. So if one leaf has none, another has two or more.
        spare = np.flatnonzero(count > 1)
        joined = lowest_above(parents, np.full(len(spare), leaf), spare)
        returned = np.fromiter(back, np.int64, len(back))
        closer = lowest_above(parents, np.full(len(back), leaf), returned)
        if len(back) and closer.min() < joined.min():
            at = _beside(back[int(returned[closer.argmin()])], kept, count)
        else:
            relatives = np.zeros(len(count), bool)
            relatives[spare[joined == joined.min()]] = True
            there = np.argwhere(relatives[centres])
            if len(there):
                own = np.argwhere(leaf_of_patch == leaf)
                apart = ((there[:, None] - own) ** 2).sum(axis=2).min(axis=1)
                y, x = there[apart.argmin()]
                at = int(rows[y]), int(columns[x])
            else:  # no relative holds a patch centre
                at = divmod(int(relatives[kept].argmax()), kept.shape[1])
        count[kept[at]] -= 1
        count[leaf] = 1
        kept[at] = leaf
        back[leaf] = at
        centres[np.ix_(rows == at[0], columns == at[1])] = leaf
    return kept if valid is None else np.where(valid, kept, labels)


def _beside(at: tuple[int, int], labels: Labels, count: NDArray[np.int64]) -> tuple[int, int]:
    """Row and column of the pixel nearest to `at` whose label has more than one pixel."""
    reach = 2
    while True:
        top, left = max(0, at[0] - reach), max(0, at[1] - reach)
        around = labels[top : at[0] + reach + 1, left : at[1] + reach + 1]
        found = np.argwhere(count[around] > 1) + np.array([top, left])
        if len(found):
            y, x = found[((found - at) ** 2).sum(axis=1).argmin()]
            return int(y), int(x)
        reach *= 2


def _counts(labels: Labels, last: int) -> NDArray[np.int64]:
    """Number of pixels of each label, for labels 0 to `last` at least.

    It counts without sorting, since a photograph may have 100 million pixels.
    """
    total = np.zeros(max(last, int(labels.max())) + 1, np.int64)
    for top in range(0, len(labels), 64):  # bincount copies its input, so take a few rows
        total += np.bincount(labels[top : top + 64].reshape(-1), minlength=len(total))
    return total


def patch_centres(
    grid: tuple[int, int], size: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows (h,) int64 and columns (w,) int64 of the pixels that hold the patch centres.

    With ``H >= h`` and ``W >= w``, these pixels are all different, and
    :func:`~regiontree.images.nearest` gives each pixel to the patch whose centre the pixel holds.

    Parameters
    ----------
    grid
        (h, w), number of patches.
    size
        (H, W), number of pixels.
    """
    height, width = (
        (2 * np.arange(cells, dtype=np.int64) + 1) * pixels // (2 * cells)
        for cells, pixels in zip(grid, size, strict=True)
    )
    return height, width


def _touching(part: Labels, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Pairs (a, b) of touching components, where a is `wanted`, and their border in pixel sides."""
    n = len(wanted)
    pairs = []
    for one, other in ((part[:, 1:], part[:, :-1]), (part[1:], part[:-1])):
        for a, b in ((one, other), (other, one)):
            meet = (a != b) & wanted[a]
            pairs.append(a[meet].astype(np.int64) * n + b[meet])
    key, border = np.unique(np.concatenate(pairs), return_counts=True)
    return key // n, key % n, border


def lowest_above(
    parents: NDArray[np.integer], a: NDArray[np.integer], b: NDArray[np.integer]
) -> NDArray[np.int64]:
    """The lowest node above both nodes of each pair, (n,) int64."""
    return lowest_common_ancestor(parents, a, b)
