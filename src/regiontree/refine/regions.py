"""Regions of a label map: specks, and leaves that must not vanish.

A leaf of a tree may lie in several places. Each place is a *component*: pixels of one label that
are connected through their sides (:mod:`regiontree.tree.components`). A step that moves borders
may leave threads (:mod:`regiontree.refine.opening`) and specks. :func:`merge_specks` gives specks
to their surroundings. Such a step may also take the last pixel of a small leaf.
:func:`keep_leaves` gives such a leaf a pixel back.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.system.jit import jit
from regiontree.tree.components import Components, components, count_pixels
from regiontree.tree.paths import heavy_paths, lowest_common_ancestor

__all__ = ["components", "keep_leaves", "merge_specks", "patch_centres", "without_specks"]

Labels = NDArray[np.int32]


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
    return without_specks(labels, parents, min_pixels, largest_stay=True)


def without_specks(
    labels: Labels, parents: NDArray[np.integer], min_pixels: int, *, largest_stay: bool
) -> Labels:
    """See :func:`merge_specks`. If not `largest_stay`, a leaf's largest component may be a speck.

    Then specks that reach no other component stay.
    """
    labels = np.ascontiguousarray(labels, np.int32)
    parts = Components.of(labels)
    size, leaf = parts.size(), labels.reshape(-1)[parts.first()]
    speck = size < min_pixels
    if largest_stay:
        by_size = np.lexsort((np.arange(len(size)), -size, leaf))
        speck[by_size[np.unique(leaf[by_size], return_index=True)[1]]] = False
    if not speck.any():
        return labels.copy()
    a, b, border = parts.touching(speck)
    paths = heavy_paths(parents)
    while (ready := speck[a] & ~speck[b]).any():
        from_, to, sides = a[ready], b[ready], border[ready]
        joined = paths.lowest_common_ancestor(leaf[from_], leaf[to])
        # In this order, the first row of each speck holds the neighbour that the speck joins.
        order = np.lexsort((leaf[to], -sides, joined, from_))
        moved, at = np.unique(from_[order], return_index=True)
        leaf[moved] = leaf[to[order[at]]]
        speck[moved] = False
        waits = speck[a]
        a, b, border = a[waits], b[waits], border[waits]
    return parts.painted(leaf)


def keep_leaves(
    labels: Labels,
    leaf_of_patch: Labels,
    parents: NDArray[np.integer],
    valid: NDArray[np.bool_] | None = None,
    *,
    in_place: bool = False,
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
    in_place
        Whether the result may take the place of `labels`, which saves the memory of a copy.

    Returns
    -------
    (H, W) int32, in which every leaf of `leaf_of_patch` has a pixel. It is `labels` itself if no
    leaf was missing, else a new array unless `in_place`.

    Examples
    --------
    >>> keep_leaves(np.array([[3, 3, 3, 3]], np.int32), np.array([[3, 1]], np.int32), [4] * 5)
    array([[3, 3, 3, 1]], dtype=int32)
    """
    up = np.ascontiguousarray(parents, np.int64)
    wanted = np.unique(leaf_of_patch)
    kept, absent = labels, None
    if valid is not None:  # pixels that do not count get a label of their own
        absent = 1 + max(int(wanted[-1]), int(labels.max()))
        kept = np.where(valid, labels, np.int32(absent))
    kept = np.ascontiguousarray(kept, np.int32)
    count = count_pixels(kept, max(int(wanted[-1]), int(kept.max())) + 1)
    if absent is not None:
        count[absent:] = 0
    missing = wanted[count[wanted] == 0]
    if not len(missing):
        return labels
    if valid is None and not in_place:
        kept = kept.copy()
    rows, columns = patch_centres(leaf_of_patch.shape, labels.shape)
    centres = kept[np.ix_(rows, columns)]
    down, across = ({p: i for i, p in enumerate(ps.tolist())} for ps in (rows, columns))
    back: dict[int, tuple[int, int]] = {}
    for leaf in missing.tolist():
        # There are no more leaves than pixels. So if one leaf has none, another has two or more.
        spare = np.flatnonzero(count > 1)
        above = _joined_above(up, leaf)
        joined = above[spare]
        returned = np.fromiter(back, np.int64, len(back))
        closer = above[returned]
        if len(back) and closer.min() < joined.min():
            at = _beside(back[int(returned[closer.argmin()])], kept, count)
        else:
            relatives = np.zeros(len(count), bool)
            relatives[spare[joined == joined.min()]] = True
            centre = _nearest_centre(centres, relatives, np.argwhere(leaf_of_patch == leaf))
            if centre >= 0:
                y, x = divmod(int(centre), len(columns))
                at = int(rows[y]), int(columns[x])
            else:  # no relative holds a patch centre
                at = divmod(int(_first_pixel(kept, relatives)), kept.shape[1])
        count[kept[at]] -= 1
        count[leaf] = 1
        kept[at] = leaf
        back[leaf] = at
        if at[0] in down and at[1] in across:
            centres[down[at[0]], across[at[1]]] = leaf
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


def _nearest_centre_in_numpy(
    centres: Labels, wanted: NDArray[np.bool_], patches: NDArray[np.int64]
) -> int:
    there = np.argwhere(wanted[centres])
    if not len(there):
        return -1
    y, x = there[((there[:, None] - patches) ** 2).sum(axis=2).min(axis=1).argmin()]
    nearest: int = int(y) * centres.shape[1] + int(x)
    return nearest


@jit(instead=_nearest_centre_in_numpy)
def _nearest_centre(centres: Labels, wanted: NDArray[np.bool_], patches: NDArray[np.int64]) -> int:
    """Flat index of the patch with a wanted leaf at its centre that is nearest to `patches`.

    `centres` are (h, w) int32, `wanted` is (leaves,) bool, and `patches` are (n, 2) int64, rows and
    columns. Of equally near patches, it is the first. It is -1 if no centre has a wanted leaf.
    """
    nearest, least = -1, 0
    for y in range(centres.shape[0]):
        for x in range(centres.shape[1]):
            if not wanted[centres[y, x]]:
                continue
            for at in range(len(patches)):
                apart = (patches[at, 0] - y) ** 2 + (patches[at, 1] - x) ** 2
                if nearest < 0 or apart < least:
                    nearest, least = y * centres.shape[1] + x, apart
    return nearest


def _first_pixel_in_numpy(labels: Labels, wanted: NDArray[np.bool_]) -> int:
    return int(wanted[labels].argmax())


@jit(instead=_first_pixel_in_numpy)
def _first_pixel(labels: Labels, wanted: NDArray[np.bool_]) -> int:
    """Flat index of the first pixel with a wanted label; there is one."""
    y, x = 0, 0
    while not wanted[labels[y, x]]:
        x += 1
        if x == labels.shape[1]:
            y, x = y + 1, 0
    first: int = y * labels.shape[1] + x
    return first


def _joined_in_numpy(parents: NDArray[np.int64], leaf: int) -> NDArray[np.int64]:
    nodes = np.arange(len(parents))
    return lowest_common_ancestor(parents, np.full(len(parents), leaf), nodes)


@jit(instead=_joined_in_numpy)
def _joined_above(parents: NDArray[np.int64], leaf: int) -> NDArray[np.int64]:
    """The lowest node above both `leaf` and each node of the tree, (N,) int64."""
    joined = np.full(len(parents), -1, np.int64)
    node = leaf
    while joined[node] < 0:
        joined[node] = node
        node = parents[node]
    for node in range(len(parents) - 1, -1, -1):
        if joined[node] < 0:
            joined[node] = joined[parents[node]]
    return joined


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
