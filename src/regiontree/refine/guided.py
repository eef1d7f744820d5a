"""Borders of leaves from the patch grid to the photograph's own edges, by a watershed.

A patch says which leaf its middle belongs to, not where the leaf ends. So the centre of every patch
is taken as a spring, and the photograph as a landscape whose height is its edges: water from each
spring rises, and where two waters meet is a ridge, the strongest edge on the way from one patch to
the other. A pixel belongs to the leaf of the patch whose water reached it. Patches of one leaf
share their water, so where nothing is to be found nothing is decided.

1. Height: the gradient's length of the colours in CIE L*a*b*, blurred by some 0.3 of a patch of the
   network's, which finds which edge it is, and a share of that blurred by 0.07 of the grid's, which
   says where it runs. A shallow bowl around each spring decides where there is no edge at all.
2. Every pixel runs down to its lowest neighbour and on to a bottom. These basins, springs among
   them, make a graph, whose edges are as high as the lowest pass between two basins.
3. The spanning forest of least height, a tree for each spring, is the watershed: each basin joins
   the spring that it reaches over the lowest passes.
4. Threads and specks go to their surroundings, and a leaf that lost its last pixel gets one back.

Before all that patches on the wrong side of a border between large regions are moved to the right
one (:mod:`regiontree.refine.coarse`), since no watershed would take them there.

Only the leaf of pixels changes: the tree, and that parents are unions of their children, stays as
it is. benchmarks/refine.py measures what it gains.

References: Meyer, "Minimum spanning forests for morphological segmentation", ISMM 1994; Cousty,
Bertrand, Najman and Couprie, "Watershed cuts", PAMI 2009.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from regiontree.errors import FeatureError
from regiontree.images import fitted, nearest
from regiontree.images.colours import lab_colours
from regiontree.refine.base import PatchLeaves
from regiontree.refine.blocks import Window, merge_specks_within, windows
from regiontree.refine.coarse import halved, moved_patches
from regiontree.refine.regions import Labels, keep_leaves, merge_specks, patch_centres, trim_threads
from regiontree.system.stages import check_settings, setting

__all__ = ["Guided", "edge_height", "refine_leaves", "watershed"]

FloatImage = NDArray[np.float32]

_WHOLE = 2048 * 2048  # pixels that are done at once
_WINDOW = 1536  # pixels a side of a window, beside its margin
_MARGIN = 8  # patches around a window: with fewer, its borders begin to tell (docs/tiles.md)


@dataclass(frozen=True, slots=True)
class Guided:
    """The watershed refinement with its settings."""

    # The coarse blur is in the network's patches, since textures do not shrink with the grid.
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
        """As the network sees it, enlarged to the long side."""
        return fitted(seen, max(*seen, self.long_side))

    def refine(self, leaves: PatchLeaves, rgb: NDArray[np.uint8], size: tuple[int, int]) -> Labels:
        """As :meth:`regiontree.refine.base.Refinement.refine`."""
        finer, springs = leaves, leaves.leaf
        if self.regions > 1:
            finer = halved(leaves, rgb.shape[:2])
            springs = moved_patches(finer, rgb, regions=self.regions, trust=self.trust)
        labels = _drawn(springs, leaves.parents, rgb, finer.overlap, self)
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
    """The leaf of each pixel, its borders moved to edges of the photograph.

    Parameters
    ----------
    leaf_of_patch
        (h, w), leaves numbered from 0.
    parents
        (N,) as in :class:`~regiontree.tree.RegionTree`.
    rgb
        (H', W', 3) uint8, the photograph at the resolution to work at, ``H' >= h``, ``W' >= w``.
        Time grows with its pixels, and up to 4 million of them memory too, some 60 bytes each; a
        larger one is done in windows (:mod:`regiontree.refine.blocks`), and takes 4 bytes a pixel
        and some 300 MB.
    size
        (H, W) of the result, ``H >= h``, ``W >= w``: from `rgb`'s resolution by nearest neighbour.
    overlap
        As in :class:`~regiontree.refine.base.PatchLeaves`.

    Returns
    -------
    (H, W) int32; every leaf of `leaf_of_patch` has a pixel.

    Raises
    ------
    FeatureError
        An array is of another shape, or `rgb` or `size` has fewer pixels than there are patches on
        a side.

    Examples
    --------
    Two patches, the left one dark. The photograph turns bright a pixel after their border:

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


def _of_size(
    labels: Labels, size: tuple[int, int], leaf: Labels, parents: NDArray[np.integer]
) -> Labels:
    """Labels resized, with a pixel for every leaf that patches had."""
    return keep_leaves(labels if labels.shape == size else nearest(labels, size), leaf, parents)


def _drawn(
    springs: Labels,
    parents: NDArray[np.integer],
    rgb: NDArray[np.uint8],
    overlap: float,
    settings: Guided,
) -> Labels:
    """Leaves of the photograph's pixels, from those of its patches."""
    shape = rgb.shape[0], rgb.shape[1]
    patch = (shape[0] * shape[1] / springs.size) ** 0.5  # its side, in pixels
    whole = shape[0] * shape[1] <= _WHOLE
    side = max(springs.shape) if whole else max(1, int(_WINDOW / patch))
    merge = merge_specks if whole else merge_specks_within
    labels = np.empty(shape, np.int32)
    for window in windows((springs.shape[0], springs.shape[1]), shape, side, _MARGIN):
        found = _flooded(springs, rgb, window, overlap, settings)
        found = trim_threads(found, round(settings.threads * patch))
        found = merge(found, parents, round(settings.specks * patch**2))
        labels[window.core] = found[window.inner]
    return labels


def _flooded(
    leaf: Labels, rgb: NDArray[np.uint8], window: Window, overlap: float, settings: Guided
) -> Labels:
    """Leaves of a window's pixels, from its landscape and its patches' springs."""
    shape = rgb.shape[:2]
    patch = (shape[0] * shape[1] / leaf.size) ** 0.5
    colours = lab_colours(rgb[window.pixels])
    height = edge_height(colours, settings.coarse * overlap * patch)
    if settings.detail:
        height += settings.detail * edge_height(colours, settings.fine * patch)
    rows, columns = (
        # Square of the distance to the spring, 1 at the rim.
        (((2 * np.arange(pixels) + 1) * cells / pixels % 2 - 1) ** 2).astype(np.float32)[own]
        for cells, pixels, own in zip(leaf.shape, shape, window.pixels, strict=True)
    )
    height += settings.bowl * (rows[:, None] + columns)
    y, x = (
        at[cells] - own.start
        for at, cells, own in zip(
            patch_centres(leaf.shape, shape), window.cells, window.pixels, strict=True
        )
    )
    springs = (y[:, None] * height.shape[1] + x).reshape(-1)
    flooded: Labels = leaf[window.cells].reshape(-1)[watershed(height, springs)]
    return flooded


def edge_height(colours: FloatImage, blur: float) -> FloatImage:
    """Length of the gradient of (3, H, W) colours after a Gaussian `blur`, (H, W), per 2 pixels."""
    squares = np.zeros(colours.shape[1:], np.float32)
    for channel in colours:
        smooth = channel
        for axis in (0, 1):
            if blur:
                smooth = gaussian_filter1d(smooth, blur, axis=axis, mode="nearest", truncate=2.5)
        squares[1:-1] += (smooth[2:] - smooth[:-2]) ** 2
        squares[:, 1:-1] += (smooth[:, 2:] - smooth[:, :-2]) ** 2
    return np.sqrt(squares, out=squares)


def watershed(height: FloatImage, springs: NDArray[np.integer]) -> NDArray[np.int64]:
    """The spring whose water reaches each pixel first, when all waters rise together.

    Parameters
    ----------
    height
        (H, W), finite, >= 0.
    springs
        (n,) different flat indices of pixels, n >= 1.

    Returns
    -------
    (H, W) int64, an index into `springs`. The region of each is in one piece, and holds it.

    Examples
    --------
    >>> watershed(np.array([[0, 1, 5, 2, 1, 0]], np.float32), np.array([0, 5]))
    array([[0, 0, 0, 1, 1, 1]])
    """
    basin = _basins(height, springs)
    n = int(basin.max()) + 1
    one, other, low = _passes(basin, height, n)
    # A root beside all basins, from which the springs hang: less high than any pass, but not 0,
    # which would be no edge.
    source = basin.reshape(-1)[springs]
    one = np.concatenate([one, np.full(len(source), n)])
    other = np.concatenate([other, source])
    low = np.concatenate([low + 2.0, np.ones(len(source))])
    tree = minimum_spanning_tree(coo_array((low, (one, other)), shape=(n + 1, n + 1))).tocoo()
    hanging = (tree.row != n) & (tree.col != n)
    links = coo_array(
        (tree.data[hanging], (tree.row[hanging], tree.col[hanging])), shape=(n + 1, n + 1)
    )
    water = connected_components(links, directed=False)[1]
    spring = np.empty(n + 1, np.int64)
    spring[water[source]] = np.arange(len(source))
    reached: NDArray[np.int64] = spring[water[:n]][basin]
    return reached


def _basins(height: FloatImage, springs: NDArray[np.integer]) -> NDArray[np.int32]:
    """Which bottom each pixel runs down to, (H, W), bottoms numbered in order; springs are some."""
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
    to = down.reshape(-1).astype(np.intp)  # what NumPy is quick to look up by
    to[springs] = springs
    while not np.array_equal(further := to.take(to), to):
        to = further
    bottom = np.zeros(to.size, bool)
    bottom[to] = True
    numbered: NDArray[np.int32] = (np.cumsum(bottom, dtype=np.int32) - 1).take(to)
    return numbered.reshape(height.shape)


def _passes(
    basin: NDArray[np.int32], height: FloatImage, n: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], FloatImage]:
    """Pairs of touching basins, and the height of the lowest pass between them."""
    width = height.shape[1]
    of, high = basin.reshape(-1), height.reshape(-1)
    keys, heights = [], []
    for step, within_row in ((1, True), (width, False)):
        apart = of[step:] != of[:-step]
        if within_row:
            apart[width - 1 :: width] = False  # a row's last pixel and the next one's first
        here = apart.nonzero()[0]
        a, b = of.take(here).astype(np.int64), of.take(here + step)
        keys.append(np.minimum(a, b) * n + np.maximum(a, b))
        heights.append(np.maximum(high.take(here), high.take(here + step)))
    key, low = np.concatenate(keys), np.concatenate(heights)
    order = key.argsort(kind="stable")
    key = key.take(order)
    first = np.diff(key, prepend=-1).nonzero()[0]
    if len(first):  # else there is one basin
        key, low = key[first], np.minimum.reduceat(low.take(order), first)
    return key // n, key % n, low
