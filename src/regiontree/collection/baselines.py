"""Simple ways to categories, to compare a collection with: k-means, and nearest neighbours.

==========================  ========================================================================
k-means of patches          :func:`patch_regions`, :func:`fit_clusters`, :func:`cluster_counts`
... of whitened features    the same, with ``whiten=True``
k-means of SLIC segments    :func:`slic_regions`, :func:`fit_clusters`, :func:`cluster_counts`
k labelled regions          regions of any kind, :func:`labelled_counts`
==========================  ========================================================================

The counts are pixels of each cluster with each class, as :mod:`regiontree.metrics.matching` takes
them. Every pixel has a cluster, so no pixel is missed. Unlike the cuts of a tree, clusters of
different k are not nested: each k is a k-means of its own.

k-means starts from centres along the leading principal components. So it draws no random numbers.
Hahn et al., "Boosting Unsupervised Semantic Segmentation with Principal Mask Proposals", TMLR 2024,
start their k-means from principal components, too.

Photographs are given as a sequence of :class:`Regions`. Some functions go through it twice. It can
be a list, or read each photograph anew, so that not all features are in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import normalize

from regiontree.errors import DataError, FeatureError, SettingsError
from regiontree.images import nearest
from regiontree.images.superpixels import slic_segments
from regiontree.spectral.kmeans import kmeans, nearest_centres
from regiontree.system.threads import one_thread

__all__ = [
    "Clusters",
    "Regions",
    "Whitening",
    "cluster_counts",
    "fit_clusters",
    "labelled_counts",
    "patch_regions",
    "slic_regions",
]

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]

_WHITENED = 64  # principal components that are kept by whitening
_SAMPLE = 200_000  # regions that k-means sees
_FLAT = 1e-9  # a component with less of the largest variance is noise of rounding


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """The regions of one photograph.

    Attributes
    ----------
    features : (R, d) float32
        One row for each region, of any length.
    counts : (R, C) int64
        Pixels of each region with each class. Ignored pixels are left out.

    Raises
    ------
    FeatureError
        The two are no tables of the same number of rows.
    """

    features: Float32
    counts: Int64

    def __post_init__(self) -> None:
        if (
            self.features.ndim != 2
            or self.counts.ndim != 2
            or len(self.features) != len(self.counts)
        ):
            raise FeatureError(
                f"features must be (R, d) and counts (R, C), got {self.features.shape} and "
                f"{self.counts.shape}"
            )


# -- regions of a photograph ----------------------------------------------------------------------


def patch_regions(tokens: Float32, truth: NDArray[np.integer], n_classes: int) -> Regions:
    """Each patch as a region, with the pixels that are nearest to it.

    Parameters
    ----------
    tokens : (h, w, d) float32
        Features of the patches.
    truth : (H, W) integers
        Class of each pixel, 0 to C - 1, or negative where it is ignored.
    n_classes
        C.

    Raises
    ------
    DataError, FeatureError
        An array has a wrong shape, or a class is too large.

    Examples
    --------
    >>> found = patch_regions(np.ones((1, 2, 3), np.float32), np.array([[0, 0, 1, -1]]), 2)
    >>> found.counts
    array([[2, 0],
           [0, 1]])
    """
    grid = _grid(tokens)
    patches = np.arange(grid[0] * grid[1]).reshape(grid)
    labels = nearest(patches, (int(truth.shape[0]), int(truth.shape[1])))
    features = tokens.reshape(len(patches.reshape(-1)), -1)
    return Regions(features, _class_counts(labels, truth, patches.size, n_classes))


def slic_regions(
    tokens: Float32,
    rgb: NDArray[np.uint8],
    truth: NDArray[np.integer],
    n_classes: int,
    *,
    parts: int = 200,
) -> Regions:
    """SLIC segments of the photograph, each with the mean of its patches.

    A patch counts by its pixels in the segment, and as a row of length 1.

    Parameters
    ----------
    tokens, truth, n_classes
        As for :func:`patch_regions`.
    rgb : (H, W, 3) uint8
        The photograph at the size of `truth`.
    parts
        Number of segments aimed at.

    Raises
    ------
    DataError, FeatureError
        An array has a wrong shape, or a class is too large.
    MissingExtraError
        scikit-image is not installed.
    """
    grid = _grid(tokens)
    if rgb.shape[:2] != truth.shape:
        raise DataError(
            f"the photograph is {rgb.shape[0]} x {rgb.shape[1]} pixels and its ground truth "
            f"{truth.shape}; both must have one size"
        )
    labels = slic_segments(rgb, parts)
    n_regions, n_patches = int(labels.max()) + 1, grid[0] * grid[1]
    patches = nearest(np.arange(n_patches).reshape(grid), (rgb.shape[0], rgb.shape[1]))
    ones = np.ones(labels.size, dtype=np.float32)
    where = (labels.reshape(-1), patches.reshape(-1))
    shares = csr_array((ones, where), shape=(n_regions, n_patches))
    size = np.bincount(labels.reshape(-1), minlength=n_regions)[:, None]
    unit = normalize(torch.from_numpy(tokens.reshape(n_patches, -1)), dim=1).numpy()
    features = (shares @ unit / size).astype(np.float32)
    return Regions(features, _class_counts(labels, truth, n_regions, n_classes))


def _grid(tokens: Float32) -> tuple[int, int]:
    if tokens.ndim != 3:
        raise FeatureError(f"tokens must be (h, w, d), got {tokens.shape}")
    return int(tokens.shape[0]), int(tokens.shape[1])


def _class_counts(
    labels: Int64, truth: NDArray[np.integer], n_regions: int, n_classes: int
) -> Int64:
    """Pixels of each region with each class, (R, C)."""
    if truth.max() >= n_classes:
        raise DataError(f"classes are 0 to {n_classes - 1}, got {truth.max()}")
    known = truth >= 0
    entry = labels[known] * n_classes + truth[known]
    counts = np.bincount(entry, minlength=n_regions * n_classes)
    return counts.reshape(n_regions, n_classes)


# -- clusters -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Whitening:
    """Rows without their mean, turned to principal components and brought to unit variance.

    Attributes
    ----------
    mean : (d,) float32
    matrix : (d, p) float32
    """

    mean: Tensor
    matrix: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Clusters of regions.

    Attributes
    ----------
    centres : (k, p) float32
        Centres among the rows that :meth:`rows` gives.
    whitening : Whitening or None
    """

    centres: Tensor
    whitening: Whitening | None

    def __len__(self) -> int:
        return len(self.centres)

    def rows(self, features: Float32) -> Tensor:
        """Rows of length 1, (R, p) float32: the features, or the whitened features."""
        return _rows(features, self.whitening)

    def assign(self, features: Float32) -> Int64:
        """The cluster of each region, (R,) int64, 0 to k - 1."""
        labels: Int64 = nearest_centres(self.rows(features), self.centres[None])[1][0].numpy()
        return labels


def _rows(features: Float32, whitening: Whitening | None) -> Tensor:
    unit = normalize(torch.from_numpy(np.ascontiguousarray(features, np.float32)), dim=1)
    if whitening is None:
        return unit
    return normalize((unit - whitening.mean) @ whitening.matrix, dim=1)


def fit_clusters(
    photographs: Sequence[Regions], k: int, *, whiten: bool = False, sample: int = _SAMPLE
) -> Clusters:
    """At most k clusters of the regions of all photographs, by k-means.

    Features become rows of length 1. If `whiten`, the rows are centred, turned to their 64 leading
    principal components, brought to unit variance, and made rows of length 1 again. The first
    centres lie one standard deviation from the mean, along the leading principal components: in
    their direction, and then, if there are more centres than components, in the opposite direction.

    Parameters
    ----------
    photographs : sequence of Regions
    k
        Number of clusters, at most two for each component.
    whiten
        Whether features are whitened.
    sample
        If there are more regions, k-means sees about so many, evenly taken from each photograph.

    Raises
    ------
    SettingsError
        `k` is out of range.
    """
    features, _ = _sampled(photographs, sample)
    points, whitening = _rows(features, None), None
    mean, directions, variance = _components(points)
    if whiten:
        directions, variance = directions[:, :_WHITENED], variance[:_WHITENED]
        whitening = Whitening(mean, directions / variance.sqrt())
        points = _rows(features, whitening)
        mean, variance = points.mean(dim=0), points.var(dim=0, correction=0)
        directions = torch.eye(len(variance))
    most = min(2 * len(variance), len(points))
    if not 1 <= k <= most:
        raise SettingsError(
            f"k must be in [1, {most}] for {len(points)} regions with {len(variance)} principal "
            f"components, got {k}"
        )
    steps = (directions * variance.sqrt()).T
    start = (mean + torch.cat([steps, -steps]))[:k]
    return Clusters(kmeans(points, k, seed=0, start=start).centres, whitening)


def _components(points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (d,), principal components (d, p) and their variances (p,), the largest first.

    Components of no variance are left out. The sign of a component is such that its largest entry
    is positive.
    """
    wide = points.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    with one_thread():
        variance, directions = torch.linalg.eigh(centred.T @ centred / len(points))
    variance, directions = variance.flip(0), directions.flip(1)
    kept = variance > max(_FLAT * float(variance[0]), 1e-30)
    variance, directions = variance[kept], directions[:, kept]
    if len(variance):
        largest = directions.abs().argmax(dim=0, keepdim=True)
        directions = directions * directions.gather(0, largest).sign()
    return mean.float(), directions.float(), variance.float()


def _sampled(photographs: Sequence[Regions], most: int) -> tuple[Float32, Int64]:
    """Features and counts of at most about `most` regions, evenly taken from each photograph."""
    share = max(1, most // max(1, len(photographs)))
    features, counts = [], []
    for one in photographs:
        step = max(1, -(-len(one.features) // share))
        features.append(one.features[::step])
        counts.append(one.counts[::step])
    return np.concatenate(features), np.concatenate(counts)


def cluster_counts(photographs: Sequence[Regions], clusters: Clusters) -> Int64:
    """Pixels of each cluster with each class, (k, C) int64, over all photographs."""
    counts = np.zeros((len(clusters), photographs[0].counts.shape[1]), dtype=np.int64)
    for one in photographs:
        np.add.at(counts, clusters.assign(one.features), one.counts)
    return counts


def labelled_counts(
    photographs: Sequence[Regions], k: int, *, whiten: bool = False, sample: int = _SAMPLE
) -> tuple[Int64, Int64]:
    """What k labelled regions give: every other region takes the class of the nearest of them.

    The labelled regions are those nearest to the centres of a k-means (:func:`fit_clusters`). A
    person gives each the class that most of its pixels have. A cluster without such a region, since
    all its pixels are ignored, has no labelled region.

    Parameters
    ----------
    photographs, k, whiten, sample
        As for :func:`fit_clusters`.

    Returns
    -------
    counts : (n, C) int64
        Pixels of the regions that are nearest to each labelled region, with each class; n <= k.
    names : (n,) int64
        The class of each labelled region.

    Raises
    ------
    DataError
        No region has a pixel with a class.
    SettingsError
        `k` is out of range.
    """
    clusters = fit_clusters(photographs, k, whiten=whiten, sample=sample)
    features, counts = _sampled(photographs, sample)
    known = counts.any(axis=1)
    if not known.any():
        raise DataError("no region has a pixel with a class, so none can be labelled")
    rows, counts = clusters.rows(features[known]), counts[known]
    cost, labels = (found[0] for found in nearest_centres(rows, clusters.centres[None]))
    medoids = [
        int(own[cost[own].argmin()])
        for cluster in range(len(clusters))
        if len(own := torch.nonzero(labels == cluster)[:, 0])
    ]
    labelled = Clusters(rows[medoids], clusters.whitening)
    return cluster_counts(photographs, labelled), counts[medoids].argmax(axis=1)
