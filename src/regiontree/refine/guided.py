"""Move the borders of leaves from the patch grid to the photograph's edges, by a watershed.

A patch says which leaf its centre belongs to, but not where the leaf ends. A marker-controlled
watershed finds where the leaf ends. Its markers are called springs here. Each patch has one, at its
centre, or where the patch shows its leaf (:mod:`regiontree.refine.springs`). The photograph is a
landscape that is high along edges. Water rises from all springs together. The waters of two springs
meet at a ridge, which is the strongest edge between the two patches. A pixel gets the leaf of the
patch whose water reached the pixel first. Two patches of one leaf need no border between them, so
the ridge between them has no effect.

1. The height is the length of the gradient of the colours in CIE L*a*b*, at two scales. A blur of
   0.3 of the network's patch selects the edge. A blur of 0.07 of the grid's patch, with a smaller
   weight, says where exactly the edge runs. Where there is no edge, a shallow bowl around each
   patch's centre decides.
2. From every pixel, the water runs down to the lowest neighbour and on to a bottom. All pixels with
   one bottom are a basin. The basins are the nodes of a graph. Every spring is the bottom of a
   basin. The weight of an edge is the height of the lowest pass between its two basins.
3. The minimum spanning forest of this graph, with one tree for each spring, is the watershed. Each
   basin joins the spring that it reaches over the lowest passes.
4. Threads and specks go to their surroundings. A leaf that lost its last pixel gets one back.

Before the watershed, patches on the wrong side of a border between large regions move to the
correct side (:mod:`regiontree.refine.coarse`). The watershed cannot move a border that far.

Only the leaf of each pixel changes. The tree does not change, so each parent is still the union of
its children. benchmarks/refine.py measures the gain.

References: Meyer, "Minimum spanning forests for morphological segmentation", ISMM 1994; Cousty,
Bertrand, Najman and Couprie, "Watershed cuts", PAMI 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import FeatureError
from regiontree.images import fitted, nearest
from regiontree.images.colours import lab_colours
from regiontree.images.valid import valid_at
from regiontree.refine.base import PatchLeaves
from regiontree.refine.blocks import Window, first_pixel, merge_specks_within, windows
from regiontree.refine.coarse import halved, moved_patches
from regiontree.refine.edges import add_heights, edge_height
from regiontree.refine.flood import flooded, watershed
from regiontree.refine.gaps import Gaps
from regiontree.refine.opening import trim_threads
from regiontree.refine.regions import Labels, keep_leaves, merge_specks, patch_centres
from regiontree.refine.springs import moved_springs
from regiontree.system.stages import check_settings, setting

__all__ = ["WINDOW_MARGIN", "Guided", "edge_height", "refine_leaves", "refine_window", "watershed"]

FloatImage = NDArray[np.float32]

_WHOLE = 2048 * 2048  # pixels done at once
_WINDOW = 1536  # pixels a side of a window, without its margin
WINDOW_MARGIN = 8
"""Patches around a window. With fewer, its borders change the result (docs/tiles.md)."""


@dataclass(frozen=True, slots=True)
class Guided:
    """The watershed refinement and its settings."""

    # The coarse blur is in the network's patches: a finer grid does not make textures finer.
    coarse: float = setting(
        0.3,
        "Blur of the coarse edge image: its standard deviation in sides of the network's patch.",
        low=0,
        high=4,
    )
    fine: float = setting(
        0.07,
        "Blur of the fine edge image: its standard deviation in sides of the grid's patch.",
        low=0,
        high=4,
    )
    detail: float = setting(0.3, "Weight of the fine edge image.", low=0, high=1000)
    bowl: float = setting(
        0.5,
        "Height at the rim of the bowl around each patch centre, as a difference of L*a*b* colours "
        "over two pixels.",
        low=0,
        high=1000,
    )
    threads: float = setting(
        0.25,
        "Threads thinner than this many sides of a patch go to their neighbours.",
        low=0,
        high=1,
    )
    specks: float = setting(
        0.5, "Pieces smaller than this many patches go to their neighbours.", low=0, high=1e6
    )
    regions: int = setting(
        12,
        "Largest regions of the tree that exchange patches first; with 1 no patch is moved.",
        low=1,
        high=1000,
        whole=True,
    )
    trust: float = setting(
        1.0,
        "How strongly a patch stays in its region, as the logarithm of odds.",
        low=0,
        high=1000,
    )
    long_side: int = setting(
        840,
        "Long side in pixels at which borders are drawn, unless the network sees more.",
        low=1,
        high=65_536,
        whole=True,
    )
    name: ClassVar[str] = "guided"

    def __post_init__(self) -> None:
        check_settings(self)

    def photo_size(self, own: tuple[int, int], seen: tuple[int, int]) -> tuple[int, int]:
        """(H, W) to work at: the size that the network sees, enlarged to the long side."""
        return fitted(seen, max(*seen, self.long_side))

    def refine(self, leaves: PatchLeaves, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Labels:
        """The leaf of each pixel: see :meth:`regiontree.refine.base.Refinement.refine`."""
        finer, springs = leaves, leaves.leaf
        if self.regions > 1:
            finer = halved(leaves, rgb.shape[:2])
            springs = moved_patches(finer, rgb, regions=self.regions, trust=self.trust)
        gaps = None
        if finer.there is not None and leaves.valid is not None:
            gaps = Gaps.of(finer.there, valid_at(leaves.valid, rgb.shape[:2]))
        labels = _drawn(springs, leaves.parents, rgb, finer.overlap, self, gaps)
        return _of_size(labels, size, leaves.leaf, leaves.parents)


def refine_leaves(
    leaf_of_patch: NDArray[np.integer],
    parents: NDArray[np.integer],
    rgb: NDArray[np.uint8],
    size: tuple[int, int],
    *,
    overlap: float = 1.0,
    settings: Guided | None = None,
) -> Labels:
    """The leaf of each pixel, (H, W) int32, with borders along edges of the photograph.

    This function runs the watershed alone. It does not move patches between large regions first.

    Parameters
    ----------
    leaf_of_patch
        (h, w) integers, the leaf of each patch, numbered from 0.
    parents
        (N,) integers as in :class:`~regiontree.tree.RegionTree`.
    rgb
        (H', W', 3) uint8, the photograph at the resolution to work at, ``H' >= h``, ``W' >= w``.
        Time grows with the number of pixels. Up to 4 million pixels, the memory is about 30 bytes a
        pixel. A larger photograph is done in windows (:mod:`regiontree.refine.blocks`), which takes
        4 bytes a pixel and about 150 MB.
    size
        (H, W) of the result, ``H >= h``, ``W >= w``. The result is resized from the resolution of
        `rgb` by nearest neighbour.
    overlap
        As in :class:`~regiontree.refine.base.PatchLeaves`.
    settings
        The settings of the watershed; the defaults if None.

    Returns
    -------
    (H, W) int32. Every leaf of `leaf_of_patch` has at least one pixel.

    Raises
    ------
    FeatureError
        An array has a wrong shape, `rgb` is not uint8, or a side of `rgb` or `size` has fewer
        pixels than patches.

    Examples
    --------
    Two patches, the left one dark. The photograph turns bright one pixel after their border:

    >>> rgb = np.zeros((8, 16, 3), np.uint8)
    >>> rgb[:, 9:] = 200
    >>> leaves = refine_leaves(np.array([[0, 1]]), np.array([2, 2, 2]), rgb, (8, 16))
    >>> leaves[4].tolist()
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1]
    """
    settings = settings or Guided()
    leaf = np.asarray(leaf_of_patch, np.int32)
    rgb = np.asarray(rgb)
    if leaf.ndim != 2 or not leaf.size:
        raise FeatureError(f"leaf_of_patch must be (h, w), got shape {leaf.shape}")
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise FeatureError(f"rgb must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    for what, (tall, wide) in {"rgb": rgb.shape[:2], "size": size}.items():
        if tall < leaf.shape[0] or wide < leaf.shape[1]:
            raise FeatureError(
                f"{what} of {tall} x {wide} pixels cannot have a grid of {leaf.shape} patches; "
                "pass the photograph at the size its features were taken at"
            )
    return _of_size(_drawn(leaf, parents, rgb, overlap, settings), size, leaf, parents)


def refine_window(
    leaf_of_patch: Labels,
    parents: NDArray[np.integer],
    rgb: NDArray[np.uint8],
    *,
    overlap: float = 1.0,
    settings: Guided,
    there: NDArray[np.bool_] | None = None,
    valid: NDArray[np.bool_] | None = None,
) -> Labels:
    """The leaf of each pixel of a window that was cut from a larger photograph, (H, W) int32.

    The result is right where other windows begin only if it is cropped by
    :data:`WINDOW_MARGIN` patches there. No patch moves between large regions first. A leaf may have
    no pixel.

    Parameters
    ----------
    leaf_of_patch
        (h, w) int32. A patch that is not there has the leaf of another.
    parents
        As for :func:`refine_leaves`.
    rgb
        (H, W, 3) uint8. Its pixels without data have the colours around them.
    overlap
        As in :class:`~regiontree.refine.base.PatchLeaves`.
    settings
        The settings of the watershed.
    there, valid
        (h, w) and (H, W) bool, which patches and pixels have data. None: all of them.
    """
    shape, grid = (rgb.shape[0], rgb.shape[1]), leaf_of_patch.shape
    gaps = None if there is None or valid is None else Gaps.of(there, valid)
    (window,) = windows((grid[0], grid[1]), shape, max(grid), 0)
    labels = _flooded(leaf_of_patch, rgb, window, overlap, settings, gaps)
    patch = (shape[0] * shape[1] / leaf_of_patch.size) ** 0.5
    labels = trim_threads(labels, round(settings.threads * patch))
    return merge_specks_within(labels, parents, round(settings.specks * patch**2))


def _of_size(
    labels: Labels, size: tuple[int, int], leaf: Labels, parents: NDArray[np.integer]
) -> Labels:
    """Labels resized to `size`, with at least one pixel for every leaf; `labels` may change."""
    labels = labels if labels.shape == size else nearest(labels, size)
    return keep_leaves(labels, leaf, parents, in_place=True)


def _drawn(
    springs: Labels,
    parents: NDArray[np.integer],
    rgb: NDArray[np.uint8],
    overlap: float,
    settings: Guided,
    gaps: Gaps | None = None,
) -> Labels:
    """The leaf of each pixel of the photograph, from the leaf of each patch."""
    shape = rgb.shape[0], rgb.shape[1]
    patch = (shape[0] * shape[1] / springs.size) ** 0.5  # its side, in pixels
    whole = shape[0] * shape[1] <= _WHOLE
    side = max(springs.shape) if whole else max(1, int(_WINDOW / patch))
    merge = merge_specks if whole else merge_specks_within

    def drawn(window: Window) -> Labels:
        found = _flooded(springs, rgb, window, overlap, settings, gaps)
        found = trim_threads(found, round(settings.threads * patch))
        return merge(found, parents, round(settings.specks * patch**2))

    cut = list(windows((springs.shape[0], springs.shape[1]), shape, side, WINDOW_MARGIN))
    if len(cut) == 1:
        return drawn(cut[0])
    labels = np.empty(shape, np.int32)
    for window in cut:
        labels[window.core] = drawn(window)[window.inner]
    return labels


def _flooded(
    leaf: Labels,
    rgb: NDArray[np.uint8],
    window: Window,
    overlap: float,
    settings: Guided,
    gaps: Gaps | None,
) -> Labels:
    """The leaf of each pixel of a window, by the watershed of its landscape."""
    shape = rgb.shape[:2]
    patch = (shape[0] * shape[1] / leaf.size) ** 0.5
    seen = rgb[window.pixels]
    # One array, since systems hand out one large array faster than five smaller ones.
    space = np.empty((5, *seen.shape[:2]), np.float32)
    colours = lab_colours(seen, out=space[:3])
    valid = None if gaps is None else gaps.valid[window.pixels]
    height = edge_height(colours, settings.coarse * overlap * patch, valid, out=space[3])
    fine = height
    if settings.detail:
        fine = edge_height(colours, settings.fine * patch, valid, out=space[4])
    rows, columns = (
        # Square of the distance to the patch's centre, 1 at the rim.
        (((2 * np.arange(pixels) + 1) * cells / pixels % 2 - 1) ** 2).astype(np.float32)[own]
        for cells, pixels, own in zip(leaf.shape, shape, window.pixels, strict=True)
    )
    add_heights(height, fine, settings.detail, rows, columns, settings.bowl)
    if valid is not None:
        height[~valid] += 1 + 2 * height.max()
    springs = _centres(leaf.shape, shape, window) if gaps is None else gaps.springs(window)
    bounds = _bounds(leaf.shape, shape, window)
    springs = moved_springs(leaf[window.cells], springs, seen, height, bounds, valid)
    wet = springs >= 0
    if not wet.any():
        return nearest(leaf[window.cells], (height.shape[0], height.shape[1]))
    return flooded(height, springs[wet], leaf[window.cells][wet], colours)


def _centres(grid: tuple[int, int], shape: tuple[int, int], window: Window) -> NDArray[np.int64]:
    """The centres of a window's patches, (h, w) int64, as flat indices of its pixels."""
    y, x = (
        at[cells] - own.start
        for at, cells, own in zip(
            patch_centres(grid, shape), window.cells, window.pixels, strict=True
        )
    )
    wide = window.pixels[1].stop - window.pixels[1].start
    centres: NDArray[np.int64] = y[:, None] * wide + x
    return centres


def _bounds(
    grid: tuple[int, int], shape: tuple[int, int], window: Window
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row and column of each patch of a window, and the ends, counted from its corner."""
    rows, columns = (
        first_pixel(np.arange(own.start, own.stop + 1), cells, pixels) - within.start
        for own, within, cells, pixels in zip(window.cells, window.pixels, grid, shape, strict=True)
    )
    return rows, columns
