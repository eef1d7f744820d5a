"""The published method once more, dense and slow, in NumPy alone and in float64.

It is written from the description of the method and of its metrics (Rossetti and Pirri, NeurIPS
2024). It shares no code with :mod:`regiontree`: every matrix is written out in full, and nothing is
approximated. ``test_published_method.py`` compares the package with it on small grids of features.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

__all__ = [
    "Published",
    "Region",
    "best_grouping",
    "coverings",
    "mean_normalised_cut",
    "patch_affinity",
    "planted_scene",
    "publish",
    "regions_of_tree",
    "symmetric_laplacian",
]


@dataclass(frozen=True)
class Published:
    """Settings, by the names and with the values of the published configs."""

    distance: str = "cosine"
    adjacency: str = "minmax"
    sigma: float = 1.0
    thresh: float = 0.0
    kover: int | None = 200  # None: every patch is a part
    levels: int = 9
    max_kways: int = 10
    min_points: int = 1
    mncut_th: float = 0.8
    max_perturb: float = 80.0
    heuristic: str = "maxgap"


@dataclass
class Region:
    """A node of the tree, and why it was divided or not.

    Attributes
    ----------
    patches : frozenset of int
        Flat numbers of its patches.
    cut : float
        Its own normalised cut among its siblings; 0 for the root.
    eigenvalues : array
        The smallest eigenvalues of its Laplacian, ascending; empty if nobody asked for them.
    ways : int
        Into how many groups the eigengap says that it falls; 0 if nobody asked.
    bound : float
        The perturbation bound of its division; NaN if nobody asked for it.
    mean_cut : float
        The mean normalised cut of the division kept, or of the last one tried; NaN if none was.
    stop : str
        Why it is a leaf: single part, too deep, high cut, unstable; empty for a node with children.
    """

    patches: frozenset[int]
    cut: float = 0.0
    eigenvalues: np.ndarray = field(default_factory=lambda: np.empty(0))
    ways: int = 0
    bound: float = np.nan
    mean_cut: float = np.nan
    stop: str = ""
    children: list[Region] = field(default_factory=list)


def planted_scene(
    seed: int, *, noise: float = 0.05, side: int = 12, dim: int = 24
) -> tuple[np.ndarray, np.ndarray]:
    """Features (side, side, dim) float32 of a scene that is known, and the kind of each patch.

    The grid falls into sixteen rectangles. Four of them are background (kind 0). Three objects have
    four parts each (kinds 1 to 4, 5 to 8 and 9 to 12); the parts of the first object form two
    pairs. Things inside one thing share its direction, and all directions are at right angles.
    The seed places the borders, deals the rectangles out, and draws the noise, whose length is
    about `noise` times that of a feature.
    """
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(dim, 18)))[0].T
    sky, things, pairs, own = directions[0], directions[1:4], directions[4:6], directions[6:]
    kinds = [sky]
    for k in range(12):
        pair = 0.8 * pairs[k // 2] if k < 4 else 0.0
        kinds.append(things[k // 4] + pair + (0.6 + 0.02 * k) * own[k])
    kinds = np.array(kinds)
    kinds /= np.linalg.norm(kinds, axis=1, keepdims=True)
    widths = np.array([2, 3, 3, side - 8])
    row, column = (np.repeat(np.arange(4), rng.permutation(widths)) for _ in range(2))
    dealt = rng.permutation([0, 0, 0, *range(13)])
    kind = dealt[4 * row[:, None] + column]
    features = kinds[kind] + noise * rng.normal(size=(side, side, dim)) / np.sqrt(dim)
    return features.astype(np.float32), kind


def patch_affinity(features: np.ndarray, settings: Published) -> np.ndarray:
    """Affinity W (n, n) of the patches of a grid (h, w, d), its diagonal 0."""
    rows = features.reshape(-1, features.shape[-1]).astype(np.float64)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    n = len(unit)
    distance = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j and settings.distance == "cosine":
                distance[i, j] = max(0.0, 1.0 - float(unit[i] @ unit[j]))
            elif i != j:
                distance[i, j] = np.linalg.norm(unit[i] - unit[j])
    if settings.adjacency == "minmax":
        least, most = distance.min(), distance.max()
        affinity = 1.0 - (distance - least) / (most - least)
    else:
        affinity = np.exp(-distance / (2.0 * settings.sigma**2))
    affinity[affinity < settings.thresh] = 0.0
    np.fill_diagonal(affinity, 0.0)
    return affinity


def symmetric_laplacian(affinity: np.ndarray) -> np.ndarray:
    """``L = I - D^-1/2 W D^-1/2``, entry by entry."""
    degree = affinity.sum(axis=1)
    laplacian = np.eye(len(affinity))
    for i in range(len(affinity)):
        for j in range(len(affinity)):
            if affinity[i, j] > 0:
                laplacian[i, j] -= affinity[i, j] / np.sqrt(degree[i] * degree[j])
    return laplacian


def mean_normalised_cut(affinity: np.ndarray, labels: np.ndarray) -> tuple[float, list[float]]:
    """The mean over groups of ``1 - assoc(g, g) / assoc(g, V)``, and the cut of each group."""
    cuts = []
    for group in sorted(set(labels.tolist())):
        inside = labels == group
        cuts.append(1.0 - affinity[np.ix_(inside, inside)].sum() / affinity[inside].sum())
    return float(np.mean(cuts)), cuts


def best_grouping(rows: np.ndarray, k: int, *, starts: int = 30) -> np.ndarray:
    """The k-means labels of least inertia among many starts from points drawn at random.

    Half of the starts draw all their points alike; the other half draw far points (k-means++).
    """
    rng = np.random.default_rng(0)
    best, least = np.zeros(len(rows), np.int64), np.inf
    for start in range(starts):
        centres = [rows[rng.integers(len(rows))]]
        while len(centres) < k:
            away = np.min([((rows - c) ** 2).sum(axis=1) for c in centres], axis=0)
            weight = away if start % 2 and away.sum() > 0 else np.ones(len(rows))
            centres.append(rows[rng.choice(len(rows), p=weight / weight.sum())])
        at = np.array(centres)
        for _ in range(100):
            labels = ((rows[:, None] - at) ** 2).sum(axis=2).argmin(axis=1)
            moved = np.array(
                [rows[labels == g].mean(axis=0) if (labels == g).any() else at[g] for g in range(k)]
            )
            if np.allclose(moved, at):
                break
            at = moved
        inertia = ((rows - at[labels]) ** 2).sum()
        if len(set(labels.tolist())) == k and inertia < least - 1e-12:
            best, least = labels, inertia
    return best


def _unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _best_threshold(affinity: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Two groups: the threshold of least mean normalised cut, of ten even ones, 0 and the mean."""
    found = []
    for threshold in [*np.linspace(vector.min(), vector.max(), 10), 0.0, vector.mean()]:
        above = (vector > threshold).astype(np.int64)
        if len(set(above.tolist())) == 2:
            found.append((mean_normalised_cut(affinity, above)[0], len(found), above))
    return min(found)[2]


def publish(features: np.ndarray, settings: Published | None = None) -> Region:
    """The published tree of a grid of features (h, w, d)."""
    settings = settings or Published()
    affinity = patch_affinity(features, settings)
    n = len(affinity)
    if settings.kover is None or settings.kover >= n:
        part = np.arange(n)
    else:
        _, vectors = np.linalg.eigh(symmetric_laplacian(affinity))
        part = best_grouping(_unit(vectors[:, : settings.kover]), settings.kover)
    member = np.eye(int(part.max()) + 1)[part]
    weights = member.T @ affinity @ member
    np.fill_diagonal(weights, 0.0)
    patches = [frozenset(np.flatnonzero(part == p).tolist()) for p in range(len(weights))]

    def divide(parts: np.ndarray, cut: float, level: int) -> Region:
        region = Region(frozenset().union(*(patches[p] for p in parts)), cut)
        groups = _groups(weights[np.ix_(parts, parts)], level, region, settings)
        if groups is not None:
            _, cuts = mean_normalised_cut(weights[np.ix_(parts, parts)], groups)
            region.children = [
                divide(parts[groups == g], cuts[i], level + 1)
                for i, g in enumerate(sorted(set(groups.tolist())))
            ]
        return region

    return divide(np.arange(len(weights)), 0.0, 0)


def _groups(
    affinity: np.ndarray, level: int, region: Region, settings: Published
) -> np.ndarray | None:
    """The group of each part of a node; None for a leaf. Notes what it found in the region."""
    m = len(affinity)
    if m <= settings.min_points:
        region.stop = "single part"
        return None
    if level >= settings.levels:
        region.stop = "too deep"
        return None
    if m == 2:  # both sides have a normalised cut of 1
        region.stop = "high cut"
        return None
    laplacian = symmetric_laplacian(affinity)
    values, vectors = np.linalg.eigh(laplacian)
    values = values[: min(settings.max_kways, m - 1)]
    region.eigenvalues = values
    gaps = [after - before for before, after in pairwise(values)]
    if settings.heuristic == "fiedler" or len(gaps) < 2:
        ways, gap = 2, gaps[min(1, len(gaps) - 1)]
    else:
        best = max(range(1, len(gaps)), key=lambda i: gaps[i])
        ways, gap = best + 1, gaps[best]
    region.ways = ways
    columns = vectors[:, :ways]
    if ways == 2:
        labels = _best_threshold(affinity, vectors[:, 1])
    else:
        labels = best_grouping(_unit(columns), ways)
    ideal = (labels[:, None] == labels).astype(np.float64)
    np.fill_diagonal(ideal, 0.0)
    difference = symmetric_laplacian(ideal) - laplacian
    region.bound = float(np.sqrt((difference**2).sum())) / gap
    if region.bound > settings.max_perturb:
        region.stop = "unstable"
        return None
    while True:
        region.mean_cut, _ = mean_normalised_cut(affinity, labels)
        if region.mean_cut < settings.mncut_th:
            return labels
        ways -= 1
        if ways < 2:
            region.stop = "high cut"
            return None
        labels = best_grouping(_unit(columns), ways)


def regions_of_tree(root: Region) -> list[tuple[Region, Region | None]]:
    """Every region with the one around it, the root first."""
    found: list[tuple[Region, Region | None]] = [(root, None)]
    for region, _ in found:
        found.extend((child, region) for child in region.children)
    return found


def coverings(root: Region, truth: np.ndarray, class_parents: list[int]) -> tuple[float, float]:
    """NMCovering and NHCovering of a tree, with sets of patches.

    Parameters
    ----------
    truth
        Class of each patch, an index into `class_parents`.
    class_parents
        The class around each class, -1 where there is none. Every class that is seen counts, and
        so does every class around it.
    """

    def classes_around(c: int) -> list[int]:
        return [] if c < 0 else [c, *classes_around(class_parents[c])]

    regions: dict[int, set[int]] = {}
    for patch, c in enumerate(truth.reshape(-1).tolist()):
        for around in classes_around(c):
            regions.setdefault(around, set()).add(patch)
    parent = {node.patches: around for node, around in regions_of_tree(root)}
    nodes = [node.patches for node, around in regions_of_tree(root) if around is not None]

    def nodes_around(node: frozenset[int]) -> list[frozenset[int]]:
        around = parent[node]
        return [] if around is None else [node, *nodes_around(around.patches)]

    def overlap(c: int, node: frozenset[int]) -> float:
        return len(regions[c] & node) / len(regions[c] | node)

    match = {c: max(nodes, key=lambda node: overlap(c, node)) for c in regions}
    plain, nested = [], []
    for c in regions:
        above, below = classes_around(c), nodes_around(match[c])
        share = sum(match[p] in below for p in above) / len(above)
        plain.append(overlap(c, match[c]))
        nested.append(plain[-1] * share)
    return float(np.mean(plain)), float(np.mean(nested))
