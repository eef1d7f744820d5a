"""Parts from the photograph itself, without its features: colours and superpixels.

The image is divided at the resolution it comes in, and each patch takes the segment that its centre
pixel lies in (nearest neighbour), which is how the paper carries these over-clusterings to the
patch grid. A segment without a patch's centre is no part.

=============  ===================================================================================
colours        k-means of the pixels' RGB colours, wherever they lie
felzenszwalb   a graph's regions merged while their border is weaker than what is inside them
slic           k-means of colour and position, from a regular grid
quickshift     every pixel climbs to its nearest denser neighbour in colour and position
watershed      basins of the grey image's gradient, flooded from a regular grid
=============  ===================================================================================

All but ``colours`` are scikit-image's, of the extra ``superpixels``, with its defaults but for what
sets the number of parts. That was chosen on thirteen photographs of seven data sets, long side 840
in patches of 14, to give some 100 to 300: 104 to 281 by felzenszwalb (median 181), 79 to 313 by
quickshift (172); of 200 asked for, 135 to 201 by slic, 169 to 190 by watershed, 182 to 200 colours.

References: Felzenszwalb and Huttenlocher, IJCV 2004; Achanta et al. (SLIC), PAMI 2012; Vedaldi and
Soatto (quick shift), ECCV 2008; Neubert and Protzel (compact watershed), ICPR 2014.
"""

from __future__ import annotations

from importlib.util import find_spec
from math import sqrt
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from regiontree.errors import FeatureError, MissingExtraError, SettingsError
from regiontree.spectral.kmeans import kmeans

__all__ = ["IMAGE_METHODS", "check_installed", "image_parts"]

IMAGE_METHODS = ("colours", "felzenszwalb", "slic", "quickshift", "watershed")
"""Over-clusterings that divide the photograph instead of its features."""
# Pixels that the colours' centres are found from: 250 a centre at 200 parts. All 705,600 of an
# 840 x 840 photograph took twenty times as long, for distances 3 % smaller in their squares.
_SAMPLE = 50_000
# Square roots of areas. Quickshift's cost grows with the fourth power of the side for segments of
# the same share of the image: 0.3 s at 240, some 50 s at 840. The watershed's compactness was
# chosen at 700, the side of a photograph of 840 x 580.
_QUICKSHIFT_SIDE = 240.0
_WATERSHED_SIDE = 700.0


def check_installed(method: str) -> None:
    """Raise a MissingExtraError that names the extra, if `method` needs what is not installed."""
    if method != "colours" and find_spec("skimage") is None:
        raise MissingExtraError(
            f"overclustering {method!r} needs scikit-image: pip install 'regiontree[superpixels]'"
        )


def image_parts(
    rgb: NDArray[np.uint8],
    grid: tuple[int, int],
    method: str,
    *,
    parts: int,
    seed: int,
    restarts: int = 1,
) -> NDArray[np.int64]:
    """Part of each patch, (h, w) int64, parts numbered 0 to k - 1 with none empty.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8, H >= h and W >= w.
    grid
        (h, w), the patches.
    method
        One of :data:`IMAGE_METHODS`.
    parts
        Number aimed at by colours, slic and watershed; felzenszwalb and quickshift find their own.
    seed
        Of colours and quickshift; the others draw nothing.
    restarts
        Of colours' k-means.

    Raises
    ------
    FeatureError
        `rgb` is not such an image, or has fewer pixels than there are patches on a side.
    MissingExtraError
        The method needs scikit-image.
    SettingsError
        No such method.

    Examples
    --------
    >>> rgb = np.zeros((8, 8, 3), np.uint8)
    >>> rgb[:, 6:] = 200
    >>> left, *middle, right = image_parts(rgb, (2, 4), "colours", parts=2, seed=0)[0]
    >>> set(middle) == {left} != {right}
    True
    """
    rgb = np.asarray(rgb)
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise FeatureError(f"rgb must be (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    if rgb.shape[0] < grid[0] or rgb.shape[1] < grid[1]:
        raise FeatureError(
            f"rgb of {rgb.shape[0]} x {rgb.shape[1]} pixels cannot have a grid of {grid} patches; "
            "pass the photograph at the size its features were taken at"
        )
    if method not in IMAGE_METHODS:
        raise SettingsError(f"method must be one of {', '.join(IMAGE_METHODS)}, got {method!r}")
    check_installed(method)
    if method == "colours":
        labels = _colours(rgb, _at_centres(rgb, grid), parts, seed, restarts)
    else:
        labels = _at_centres(_segments(rgb, grid, method, parts, seed), grid)
    return np.unique(labels, return_inverse=True)[1].reshape(grid).astype(np.int64)


def _at_centres(image: NDArray[Any], grid: tuple[int, int]) -> NDArray[Any]:
    """The pixel at the centre of each patch: (h, w) or (h, w, 3)."""
    rows, columns = (
        (2 * np.arange(cells) + 1) * pixels // (2 * cells)
        for cells, pixels in zip(grid, image.shape[:2], strict=True)
    )
    centres: NDArray[Any] = image[rows[:, None], columns]
    return centres


def _colours(
    rgb: NDArray[np.uint8], centres: NDArray[np.uint8], parts: int, seed: int, restarts: int
) -> NDArray[np.int64]:
    """The nearest k-means colour of each patch's centre pixel, (n,)."""
    pixels = rgb.reshape(-1, 3)
    if len(pixels) > _SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(pixels), _SAMPLE, replace=False)
        pixels = pixels[chosen]
    points = torch.from_numpy(pixels.astype(np.float32))
    found = kmeans(points, min(parts, len(points)), seed=seed, n_init=restarts).centres
    own = torch.from_numpy(centres.reshape(-1, 3).astype(np.float32))
    nearest: NDArray[np.int64] = torch.cdist(own, found).argmin(dim=1).numpy()
    return nearest


def _segments(
    rgb: NDArray[np.uint8], grid: tuple[int, int], method: str, parts: int, seed: int
) -> NDArray[Any]:
    """Segment of each pixel by scikit-image; quickshift's map is smaller than the image."""
    from skimage import color, filters, segmentation, transform

    height, width = rgb.shape[:2]
    side = sqrt(height * width)
    segments: NDArray[Any]
    if method == "felzenszwalb":
        patch = height * width // (grid[0] * grid[1])  # in pixels: a smaller part would be no patch
        segments = segmentation.felzenszwalb(rgb, scale=200, sigma=0.8, min_size=patch)
    elif method == "slic":  # a smaller min_size_factor than its own 0.5 merges fewer away
        segments = segmentation.slic(rgb, parts, compactness=10, min_size_factor=0.25)
    elif method == "quickshift":
        shrink = min(1.0, _QUICKSHIFT_SIDE / side)
        shape = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = transform.resize_local_mean(rgb, shape, channel_axis=-1)
        kernel = max(1.0, 4 * side * shrink / _QUICKSHIFT_SIDE)
        segments = segmentation.quickshift(small, kernel_size=kernel, max_dist=10, rng=seed)
    else:  # enlarged, an image has weaker gradients and longer ways to weigh against them
        gradient = filters.sobel(color.rgb2gray(rgb))
        compactness = 0.001 * (_WATERSHED_SIDE / side) ** 2
        segments = segmentation.watershed(gradient, parts, compactness=compactness)
    return segments
