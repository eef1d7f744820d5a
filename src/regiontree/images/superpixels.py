"""Parts from the pixels of the photograph, without features: colours and superpixels.

The image is divided at its own resolution. Each patch then takes the segment that contains its
centre pixel (nearest neighbour), as in the paper. A segment that contains no patch centre is
dropped. So are segments of patches that are not there; methods that aim at a number of parts then
make more segments, so that as many are left.

=============  ===================================================================================
colours        k-means on the RGB colours of the pixels, without their positions
felzenszwalb   merges regions of a graph while their border is weaker than the edges inside them
slic           k-means on colour and position, from seeds on a regular grid
quickshift     links each pixel to its nearest neighbour of higher density in colour and position
watershed      floods the gradient of the grey image from seeds on a regular grid
=============  ===================================================================================

All methods but ``colours`` come from scikit-image (the extra ``superpixels``). They use its default
settings, except for the settings that control the number of parts. These were chosen on thirteen
photographs of seven data sets (long side 840, patches of 14), to give about 100 to 300 parts.
felzenszwalb gave 104 to 281 parts (median 181) and quickshift 79 to 313 (median 172). With 200
parts as the aim, slic gave 135 to 201, watershed 169 to 190, and colours 182 to 200.

References: Rossetti and Pirri, NeurIPS 2024, section 3; Felzenszwalb and Huttenlocher, IJCV 2004;
Achanta et al. (SLIC), PAMI 2012; Vedaldi and Soatto (quick shift), ECCV 2008; Neubert and Protzel
(compact watershed), ICPR 2014.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from math import sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from regiontree.errors import FeatureError, MissingExtraError, SettingsError
from regiontree.images.grid import nearest
from regiontree.spectral.graph import MAX_PARTS
from regiontree.spectral.kmeans import kmeans
from regiontree.spectral.oversegment import PatchGraph
from regiontree.system.stages import check_settings, setting, values_of

__all__ = [
    "IMAGE_METHODS",
    "ColourClustering",
    "CompactWatershed",
    "Felzenszwalb",
    "Quickshift",
    "Slic",
    "check_installed",
    "image_parts",
    "slic_segments",
]

IMAGE_METHODS = ("colours", "felzenszwalb", "slic", "quickshift", "watershed")
"""Over-clusterings that divide the photograph instead of its features."""
# The method `colours` finds its centres from this many pixels: 250 a centre for 200 parts. All
# 705,600 pixels of an 840 x 840 photograph took twenty times as long, and the squared distances
# were only 3 % smaller.
_SAMPLE = 50_000
# Sides of images, as the square root of their area in pixels. Quickshift runs on a smaller image:
# for segments that cover the same share of the image, its time grows with the fourth power of the
# side (0.3 s at 240, about 50 s at 840).
_QUICKSHIFT_SIDE = 240.0
# The compactness of the watershed was chosen for this side, that of a photograph of 840 x 580.
_WATERSHED_SIDE = 700.0


def _count() -> int:
    value: int = setting(400, "Number of parts aimed at.", low=1, high=MAX_PARTS, whole=True)
    return value


def check_installed(method: str) -> None:
    """Raise a MissingExtraError if `method` needs scikit-image and it is not installed."""
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
    there: NDArray[np.bool_] | None = None,
) -> NDArray[np.int64]:
    """The part of each patch, (h, w) int64. Parts are numbered 0 to k - 1, and none is empty.

    A patch that is not there has -1.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8, with H >= h and W >= w.
    grid
        (h, w), rows and columns of patches.
    method
        One of :data:`IMAGE_METHODS`.
    parts
        Number of parts that colours, slic and watershed aim at. The other methods ignore it.
    seed
        Seed of colours and quickshift. The other methods draw no random numbers.
    restarts
        Restarts of the k-means of colours. The other methods ignore it.
    there
        (h, w) bool, which patches have data, at least one; None: all of them. `parts` is the number
        aimed at among them. The pixels of the others need colours that make no edge, such as those
        of :func:`regiontree.images.valid.filled`.

    Raises
    ------
    FeatureError
        `rgb` has a wrong shape or dtype, or fewer rows or columns of pixels than of patches.
    MissingExtraError
        The method needs scikit-image, which is not installed.
    SettingsError
        There is no such method.

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
            f"rgb of {rgb.shape[0]} x {rgb.shape[1]} pixels (height x width) is smaller than the "
            f"grid of {grid[0]} x {grid[1]} patches; pass the photograph at the size that its "
            "features were computed from"
        )
    if method not in IMAGE_METHODS:
        raise SettingsError(f"method must be one of {', '.join(IMAGE_METHODS)}, got {method!r}")
    check_installed(method)
    if method == "colours":
        pixels = rgb.reshape(-1, 3) if there is None else rgb[nearest(there, rgb.shape[:2])]
        labels = _colours(pixels, nearest(rgb, grid), parts, seed, restarts)
    else:
        if there is not None:  # the segments of what is not there are dropped
            parts = min(round(parts * there.size / int(there.sum())), max(parts, there.size))
        labels = nearest(_segments(rgb, grid, method, parts, seed), grid)
    if there is None:
        return np.unique(labels, return_inverse=True)[1].reshape(grid).astype(np.int64)
    found = np.full(grid, -1, np.int64)
    found[there] = np.unique(labels.reshape(grid)[there], return_inverse=True)[1]
    return found


def slic_segments(rgb: NDArray[np.uint8], parts: int) -> NDArray[np.int64]:
    """The SLIC segment of each pixel, (H, W) int64, numbered from 0.

    Parameters
    ----------
    rgb
        (H, W, 3) uint8.
    parts
        Number of segments aimed at.

    Raises
    ------
    MissingExtraError
        scikit-image is not installed.
    """
    check_installed("slic")
    from skimage import segmentation

    # With the default of 0.5, min_size_factor would merge more of the small segments.
    found = segmentation.slic(rgb, parts, compactness=10, min_size_factor=0.25)
    segments: NDArray[np.int64] = np.unique(found, return_inverse=True)[1].reshape(found.shape)
    return segments


class _OfPhotograph:
    """An over-clustering that divides the photograph; the fields of a subclass are its settings."""

    name: ClassVar[str]
    needs_pixels: ClassVar[bool] = True
    uses_affinity: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_settings(self)

    def group(
        self, patches: PatchGraph, rgb: NDArray[np.uint8] | None = None, *, seed: int
    ) -> Tensor:
        """Part of each patch: :meth:`regiontree.spectral.oversegment.Oversegmentation.group`."""
        return _grouped(self.name, patches, rgb, seed, **values_of(self))


@dataclass(frozen=True)
class ColourClustering(_OfPhotograph):
    """k-means of the photograph's colours, wherever they lie."""

    count: int = _count()
    restarts: int = setting(
        1, "Starts of k-means, of which the best is taken.", low=1, high=1000, whole=True
    )
    name: ClassVar[str] = "colours"


@dataclass(frozen=True)
class Felzenszwalb(_OfPhotograph):
    """Regions of the photograph's pixel graph; they find their own number."""

    name: ClassVar[str] = "felzenszwalb"


@dataclass(frozen=True)
class Slic(_OfPhotograph):
    """k-means of colour and position, from a regular grid."""

    count: int = _count()
    name: ClassVar[str] = "slic"


@dataclass(frozen=True)
class Quickshift(_OfPhotograph):
    """Modes of colour and position; they find their own number."""

    name: ClassVar[str] = "quickshift"


@dataclass(frozen=True)
class CompactWatershed(_OfPhotograph):
    """Basins of the grey image's gradient, flooded from a regular grid."""

    count: int = _count()
    name: ClassVar[str] = "watershed"


def _grouped(
    method: str,
    patches: PatchGraph,
    rgb: NDArray[np.uint8] | None,
    seed: int,
    *,
    count: int = 1,
    restarts: int = 1,
) -> Tensor:
    """Part of each patch by one of the methods, (n,) int64."""
    if rgb is None:
        raise FeatureError(
            f"overclustering {method!r} divides the photograph: pass it as rgb, or use "
            "contiguous, simultaneous, features or none"
        )
    found = image_parts(
        rgb,
        patches.grid,
        method,
        parts=count,
        seed=seed,
        restarts=restarts,
        there=patches.there,
    )
    if found.max() >= MAX_PARTS:
        raise SettingsError(
            f"overclustering {method!r} divides the photograph into {found.max() + 1} parts; at "
            f"most {MAX_PARTS} fit; use a smaller size or another overclustering"
        )
    own = found.reshape(-1) if patches.there is None else found[patches.there]
    return torch.from_numpy(own).to(patches.unit.device)


def _colours(
    pixels: NDArray[np.uint8], centres: NDArray[np.uint8], parts: int, seed: int, restarts: int
) -> NDArray[np.int64]:
    """For each patch, the k-means centre nearest to the colour of its centre pixel: (n,).

    `pixels` is (m, 3), the colours that are clustered.
    """
    if len(pixels) > _SAMPLE:
        chosen = np.random.default_rng(seed).choice(len(pixels), _SAMPLE, replace=False)
        pixels = pixels[chosen]
    points = torch.from_numpy(pixels.astype(np.float32))
    found = kmeans(points, min(parts, len(points)), seed=seed, n_init=restarts).centres
    own = torch.from_numpy(centres.reshape(-1, 3).astype(np.float32))
    labels: NDArray[np.int64] = torch.cdist(own, found).argmin(dim=1).numpy()
    return labels


def _segments(
    rgb: NDArray[np.uint8], grid: tuple[int, int], method: str, parts: int, seed: int
) -> NDArray[Any]:
    """The segment of each pixel, from scikit-image. The map of quickshift is a smaller image."""
    from skimage import color, filters, segmentation, transform

    height, width = rgb.shape[:2]
    side = sqrt(height * width)
    segments: NDArray[Any]
    if method == "felzenszwalb":
        # No segment is smaller than a patch, since it could contain no patch centre.
        patch_area = height * width // (grid[0] * grid[1])
        segments = segmentation.felzenszwalb(rgb, scale=200, sigma=0.8, min_size=patch_area)
    elif method == "slic":
        segments = slic_segments(rgb, parts)
    elif method == "quickshift":
        shrink = min(1.0, _QUICKSHIFT_SIDE / side)
        shape = max(1, round(height * shrink)), max(1, round(width * shrink))
        small = transform.resize_local_mean(rgb, shape, channel_axis=-1)
        kernel = max(1.0, 4 * side * shrink / _QUICKSHIFT_SIDE)
        segments = segmentation.quickshift(small, kernel_size=kernel, max_dist=10, rng=seed)
    else:
        # A larger copy of an image has weaker gradients and longer distances between pixels. So
        # the compactness, which weighs distance against gradient, falls with the area.
        gradient = filters.sobel(color.rgb2gray(rgb))
        compactness = 0.001 * (_WATERSHED_SIDE / side) ** 2
        segments = segmentation.watershed(gradient, parts, compactness=compactness)
    return segments
