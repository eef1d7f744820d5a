"""The methods that `study.py` compares, each from the same patch features to a tree on their grid.

Hierarchical methods make one tree, whose nodes are then shown within a budget. Flat ones make one
division for each budget, with at most that many regions: a star, whose root has them as children.

A merge of a linkage is as high as its distance, or as the highest merge below it where the distance
is smaller (grid-constrained linkages).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import higra
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.cluster.hierarchy import linkage
from scipy.spatial.distance import squareform
from skimage.segmentation import felzenszwalb, slic
from sklearn.cluster import KMeans, ward_tree
from sklearn.feature_extraction.image import grid_to_graph

from regiontree import RegionParser, __version__
from regiontree.images import load_image, nearest
from regiontree.images.colours import patch_colours
from regiontree.settings import Settings
from regiontree.spectral.affinity import LowRankAffinity, unit_rows
from regiontree.spectral.eigen import low_rank_eigenvectors
from regiontree.spectral.smooth import smooth_features

BUDGETS = (5, 10, 24, 50, 100, 200)
SEED = 1234
KMEANS_STARTS = 3
FELZENSZWALB_SCALES = tuple(round(40 * 1.6**i) for i in range(14))
SIDE = 420  # of the photograph that superpixels are found in, square as the features' is

Rows = NDArray[np.float64]
Labels = NDArray[np.int32]


class Tree(NamedTuple):
    """Arrays as in RegionTree: labels (h, w), parents (N,), height (N,)."""

    labels: Labels
    parents: NDArray[np.int32]
    height: NDArray[np.float64]


@dataclass(frozen=True)
class Photograph:
    """Attributes: features (h, w, d) float32; path of the image file."""

    features: torch.Tensor
    path: Path

    @property
    def grid(self) -> tuple[int, int]:
        return self.features.shape[0], self.features.shape[1]

    def unit(self, smoothing: int = 0) -> torch.Tensor:
        """Features of unit length, (n, d) float32, smoothed as the package smooths them."""
        unit = unit_rows(self.features.flatten(0, 1)).reshape(self.features.shape)
        colours = torch.from_numpy(patch_colours(self.rgb, self.grid)).permute(1, 2, 0)
        return smooth_features(unit, steps=smoothing, colours=colours).flatten(0, 1)

    @cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8, decoded at a long side of at least 840."""
        return load_image(self.path, cover=840).rgb

    @cached_property
    def pixels(self) -> NDArray[np.uint8]:
        """(SIDE, SIDE, 3) uint8."""
        image = Image.fromarray(load_image(self.path).rgb)
        return np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR))


@dataclass(frozen=True)
class Method:
    """A row of the tables.

    Attributes
    ----------
    title : str
    build : callable
        Of a photograph: a tree; or a tree for each of :data:`BUDGETS`, if the method is flat.
    settings : mapping
        All that shapes the result, besides the features; JSON values.
    kind : str
        ``published``, ``ours``, ``baseline``, or ``ablation``: a baseline with a step of ours.
    flat : bool
        Whether it makes divisions, not a tree.
    """

    title: str
    build: Callable[[Photograph], Tree | list[Tree]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "baseline"
    flat: bool = False

    @property
    def digest(self) -> str:
        """Eight characters that change with the settings and the version of the package."""
        told = json.dumps([self.title, self.settings, BUDGETS, __version__], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:8]


# -- ours and the published one -------------------------------------------------------------------


def parsed(photo: Photograph, parser: RegionParser) -> Tree:
    tree = parser.build(photo.features, rgb=photo.rgb)
    return Tree(tree.labels, tree.parents, tree.height.astype(float))


def of_package(title: str, kind: str, **changes: Any) -> Method:
    """A method of the package: the published preset with some settings changed."""
    settings = Settings.make("published", backbone="precomputed", **changes)
    parser = RegionParser(device="cpu", settings=settings)
    return Method(title, partial(parsed, parser=parser), settings.as_dict(), kind)


# One start of k-means, as in the default preset: ten change the parts little and cost tenfold.
WARD: dict[str, Any] = {
    "tree": "ward", "parts": 400, "vectors": 50, "power": 0.25, "exponent": 3.0, "restarts": 1,
    "tolerance": 5e-3, "contrast": 20.0,
}  # fmt: skip
VARIED: dict[str, tuple[Any, ...]] = {
    "smoothing": (0, 1, 2, 3, 4, 8),
    "contrast": (None, 10.0, 40.0),
    "power": (0.125, 0.5),
    "exponent": (2.0, 2.5, 4.0),
    "vectors": (25, 100),
    "parts": (200, 800),
}


def variants(smoothing: int) -> dict[str, Method]:
    """Ward of ours with so many steps of smoothing, and with each of :data:`VARIED` by itself."""
    default = {**WARD, "smoothing": smoothing}
    found = {"ward": of_package("Ward of parts, smoothed", "ours", **default)}
    for name, values in VARIED.items():
        for value in values:
            if value == default[name]:
                continue
            title = "Ward of parts" if (name, value) == ("smoothing", 0) else f"{name} {value}"
            key = "ward-plain" if (name, value) == ("smoothing", 0) else f"{name}-{value}"
            found[key] = of_package(title, "ours", **{**default, name: value})
    return found


# -- linkages -------------------------------------------------------------------------------------


def tree_of_merges(grid: tuple[int, int], pairs: NDArray[Any], distance: NDArray[Any]) -> Tree:
    """A tree of n patches from n - 1 merges of nodes; merge i makes node n + i."""
    n = len(pairs) + 1
    parents = np.full(2 * n - 1, 2 * n - 2, dtype=np.int32)
    height = np.zeros(2 * n - 1)
    for i, (a, b) in enumerate(pairs.astype(int).tolist()):
        parents[[a, b]] = n + i
        height[n + i] = max(float(distance[i]), height[a], height[b])
    return Tree(np.arange(n, dtype=np.int32).reshape(grid), parents, height)


def linked(photo: Photograph, *, method: str, rows: Callable[[Photograph], Rows]) -> Tree:
    """SciPy's linkage of all patches: cosine distances, or Euclidean ones for Ward."""
    points = rows(photo)
    product = points @ points.T
    square = product.diagonal()
    if method == "ward":
        distance = np.sqrt(np.maximum(0.0, square[:, None] + square - 2 * product))
    else:
        distance = np.maximum(0.0, 1.0 - product)  # of unit rows
    np.fill_diagonal(distance, 0.0)
    merges = linkage(squareform(distance, checks=False), method)
    return tree_of_merges(photo.grid, merges[:, :2], merges[:, 2])


def feature_rows(photo: Photograph, smoothing: int = 0) -> Rows:
    return photo.unit(smoothing).double().numpy()


def spectral_rows(photo: Photograph, smoothing: int = 0) -> Rows:
    """Leading eigenvectors of the patch graph scaled by eigenvalue^power, as Ward's of parts."""
    spectrum = low_rank_eigenvectors(LowRankAffinity(photo.unit(smoothing)), WARD["vectors"])
    return (spectrum.vectors.double() * (1.0 - spectrum.values) ** WARD["power"]).numpy()


def grid_ward(photo: Photograph) -> Tree:
    """scikit-learn's Ward in which only neighbours on the grid may merge."""
    pairs, _, _, _, distance = ward_tree(
        feature_rows(photo), connectivity=grid_to_graph(*photo.grid), return_distance=True
    )
    return tree_of_merges(photo.grid, pairs, distance)


def partition_tree(photo: Photograph) -> Tree:
    """Higra's binary partition tree: mean cosine distance along the common border."""
    graph = higra.get_4_adjacency_graph(photo.grid)
    a, b = graph.edge_list()
    unit = feature_rows(photo)
    weights = np.maximum(0.0, 1.0 - (unit[a] * unit[b]).sum(axis=1))
    tree, height = higra.binary_partition_tree_average_linkage(graph, weights)
    n = len(unit)
    order = np.argsort(tree.parents()[:-1], kind="stable").reshape(-1, 2)
    return tree_of_merges(photo.grid, order, height[n:])


# -- flat divisions -------------------------------------------------------------------------------


def star(labels: NDArray[Any]) -> Tree:
    """A root whose children are the regions of `labels` (h, w)."""
    names, labels = np.unique(labels, return_inverse=True)
    k = len(names)
    height = np.zeros(k + 1)
    height[k] = 1.0
    return Tree(labels.astype(np.int32), np.full(k + 1, k, dtype=np.int32), height)


def by_kmeans(photo: Photograph, *, rows: Callable[[Photograph], Rows]) -> list[Tree]:
    points = rows(photo)
    return [
        star(
            KMeans(k, n_init=KMEANS_STARTS, random_state=SEED)
            .fit_predict(points)
            .reshape(photo.grid)
        )
        for k in BUDGETS
    ]


def by_slic(photo: Photograph) -> list[Tree]:
    """With 2 k regions asked for, since fewer come out, and ever fewer while more than k do."""
    trees = []
    for k in BUDGETS:
        asked, labels = 2 * k, np.zeros(photo.grid)
        while asked > 0:
            segments = slic(photo.pixels, asked, compactness=10)
            labels = nearest(segments, photo.grid)
            if len(np.unique(labels)) <= k:
                break
            asked = asked * 9 // 10
        trees.append(star(labels))
    return trees


def by_felzenszwalb(photo: Photograph) -> list[Tree]:
    """Of a ladder of scales, the finest division with at most k regions."""
    found = [np.zeros(photo.grid)]
    patch = SIDE * SIDE // (photo.grid[0] * photo.grid[1])
    for scale in FELZENSZWALB_SCALES:
        # Where few segments are wanted, small ones would use them up.
        segments = felzenszwalb(photo.pixels, scale=scale, sigma=0.8, min_size=max(patch, scale))
        found.append(nearest(segments, photo.grid))
    counts = [len(np.unique(labels)) for labels in found]
    return [star(found[max((c, i) for i, c in enumerate(counts) if c <= k)[1]]) for k in BUDGETS]


def methods(smooth: int) -> dict[str, Method]:
    """All methods by key, in the order of the tables, those that smooth with so many steps;
    variants of Ward's settings are not here."""
    ward = variants(smooth)
    spectral = {"vectors": WARD["vectors"], "power": WARD["power"]}
    features_smooth = partial(feature_rows, smoothing=smooth)
    spectral_smooth = partial(spectral_rows, smoothing=smooth)
    starts = {"starts": KMEANS_STARTS, "seed": SEED}
    return {
        "recursion": of_package("Published recursion", "published"),
        "recursion-smooth": of_package(
            "Published recursion, smoothed", "ablation", smoothing=smooth, contrast=WARD["contrast"]
        ),
        "ward": ward["ward"],
        "ward-plain": ward["ward-plain"],
        "ward-linkage": Method("Ward linkage", partial(linked, method="ward", rows=feature_rows)),
        "average": Method("Average linkage", partial(linked, method="average", rows=feature_rows)),
        "complete": Method(
            "Complete linkage", partial(linked, method="complete", rows=feature_rows)
        ),
        "ward-grid": Method("Ward linkage on the grid", grid_ward),
        "higra": Method("Higra, average on the grid", partition_tree),
        "kmeans": Method(
            "k-means (flat)", partial(by_kmeans, rows=feature_rows), starts, flat=True
        ),
        "spectral-ward": Method(
            "Spectral Ward of patches", partial(linked, method="ward", rows=spectral_rows), spectral
        ),
        "ward-linkage-smooth": Method(
            "Ward linkage, smoothed",
            partial(linked, method="ward", rows=features_smooth),
            {"smoothing": smooth, "contrast": WARD["contrast"]},
            "ablation",
        ),
        "spectral-ward-smooth": Method(
            "Spectral Ward of patches, smoothed",
            partial(linked, method="ward", rows=spectral_smooth),
            {**spectral, "smoothing": smooth, "contrast": WARD["contrast"]},
            "ablation",
        ),
        "spectral-kmeans": Method(
            "k-means of spectral rows (flat)",
            partial(by_kmeans, rows=spectral_rows),
            {**starts, **spectral},
            flat=True,
        ),
        "slic": Method(
            "SLIC of the photograph (flat)", by_slic, {"side": SIDE, "asked": 2}, flat=True
        ),
        "felzenszwalb": Method(
            "Felzenszwalb of the photograph (flat)",
            by_felzenszwalb,
            {"side": SIDE, "scales": FELZENSZWALB_SCALES},
            flat=True,
        ),
    }
