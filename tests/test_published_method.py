"""The preset ``published`` against the published method written out in full.

``dense_published.py`` holds that second, slow implementation. Every test here compares the two on
made-up features of a known scene, so a clone of the project checks the published behaviour without
any data. ``test_golden.py`` does the same with trees that the published code itself made.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from dense_published import (
    Published,
    Region,
    coverings,
    patch_affinity,
    planted_scene,
    publish,
    regions_of_tree,
    symmetric_laplacian,
)

from regiontree import RegionParser, RegionTree, StopReason
from regiontree.metrics import ClassTree, contingency, score_tree
from regiontree.spectral.affinity import AffinitySettings, dense_affinity, make_affinity, unit_rows
from regiontree.spectral.eigen import leading_eigenvectors, reference_eigenvectors

KINDS = 13  # of patches in a planted scene: so many parts have one answer
SEEDS = (0, 1, 2)

# What the settings of the published configs are called here.
NAMES = {
    "adjacency": "affinity",
    "distance": "distance",
    "sigma": "sigma",
    "thresh": "threshold",
    "kover": "parts",
    "levels": "levels",
    "max_kways": "max_ways",
    "min_points": "min_parts",
    "mncut_th": "max_ncut",
    "max_perturb": "max_perturbation",
    "heuristic": "heuristic",
}
REASONS = {
    "": StopReason.INNER,
    "single part": StopReason.SINGLE_PART,
    "too deep": StopReason.MAX_LEVELS,
    "unstable": StopReason.UNSTABLE,
    "high cut": StopReason.HIGH_CUT,
}
AS_PUBLISHED = Published(kover=KINDS)  # on so small a grid 200 parts would be patches
VARIANTS = {
    "as published": AS_PUBLISHED,
    "every patch a part": Published(kover=None),
    "two groups": replace(AS_PUBLISHED, heuristic="fiedler"),
    "exponential": replace(AS_PUBLISHED, adjacency="exp", sigma=0.5),
    "euclidean": replace(AS_PUBLISHED, distance="l2"),
    "threshold": replace(AS_PUBLISHED, thresh=0.05),
    "threshold, every patch a part": Published(kover=None, thresh=0.05),
    "two levels": replace(AS_PUBLISHED, levels=2),
    "at most two groups": replace(AS_PUBLISHED, max_kways=3),
    "three parts are a leaf": replace(AS_PUBLISHED, min_points=3),
    "low cuts only": replace(AS_PUBLISHED, mncut_th=0.7),
    "stable divisions only": replace(AS_PUBLISHED, max_perturb=5.0),
}
IN_NOISE = {
    **{name: VARIANTS[name] for name in ("as published", "every patch a part", "two groups")},
    "two groups, however unstable": Published(
        kover=None, heuristic="fiedler", levels=4, max_perturb=2e4
    ),
}


def package_tree(features: np.ndarray, settings: Published, *, solver: str = "auto") -> RegionTree:
    """The tree of the preset ``published``, with what differs from the published configs."""
    usual = Published()
    changes: dict[str, Any] = {
        ours: getattr(settings, theirs)
        for theirs, ours in NAMES.items()
        if getattr(settings, theirs) != getattr(usual, theirs)
    }
    if settings.distance == "l2":
        changes["distance"] = "euclidean"
    if settings.kover is None:
        del changes["parts"]
        changes["overclustering"] = "none"
    elif solver != "auto":
        changes["solver"] = solver
    parser = RegionParser(preset="published", backbone="precomputed", device="cpu", **changes)
    return parser.build(features)


@cache
def scene(seed: int, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray]:
    return planted_scene(seed, noise=noise)


@cache
def dense_tree(seed: int, settings: Published, noise: float = 0.05) -> Region:
    return publish(scene(seed, noise)[0], settings)


Nodes = dict[frozenset[int], tuple[frozenset[int] | None, StopReason, float]]


def nodes_of(tree: RegionTree) -> Nodes:
    """For the patches of each node: those of its parent, why it ends, its normalised cut."""
    flat = [frozenset(np.flatnonzero(tree.mask(node)).tolist()) for node in range(tree.n_nodes)]
    return {
        patches: (
            None if node == tree.root else flat[tree.parents[node]],
            StopReason(int(tree.stop[node])),
            float(tree.ncut[node]),
        )
        for node, patches in enumerate(flat)
    }


def nodes_of_dense(root: Region) -> Nodes:
    return {
        region.patches: (around and around.patches, REASONS[region.stop], region.cut)
        for region, around in regions_of_tree(root)
    }


def check_same(found: Nodes, expected: Nodes) -> None:
    """Equal regions below equal parents, equal reasons, and cuts that agree to 1e-5."""
    assert {patches: node[:2] for patches, node in found.items()} == {
        patches: node[:2] for patches, node in expected.items()
    }
    for patches, (_, _, cut) in expected.items():
        assert found[patches][2] == pytest.approx(cut, abs=1e-5)


# -- the tree -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seed", "solver"), [*((seed, "auto") for seed in SEEDS), (SEEDS[0], "reference")]
)
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_tree_is_that_of_the_dense_method(variant, seed, solver):
    """Regions, parents, reasons to stop and normalised cuts, package against dense method.

    Solver auto keeps the diagonal of the affinity, which the published method sets to 0; the
    solver reference does as published. On scenes this clear both must find the published tree.
    """
    expected = nodes_of_dense(dense_tree(seed, VARIANTS[variant]))
    assert len(expected) > 3
    check_same(nodes_of(package_tree(scene(seed)[0], VARIANTS[variant], solver=solver)), expected)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("variant", IN_NOISE)
def test_the_tree_is_that_of_the_dense_method_in_noise(variant, seed):
    """As above, where noise is a fifth of the signal.

    The last variant divides what only noise divides: there the thresholds 0 and mean decide.
    """
    settings = IN_NOISE[variant]
    found = package_tree(scene(seed, 0.2)[0], settings)
    check_same(nodes_of(found), nodes_of_dense(dense_tree(seed, settings, 0.2)))


def test_the_scenes_reach_every_branch_of_the_method():
    """The comparison says something: dense trees stop for each reason, and divide each way."""
    regions = {
        variant: [
            region for seed in SEEDS for region, _ in regions_of_tree(dense_tree(seed, settings))
        ]
        for variant, settings in VARIANTS.items()
    }
    everywhere = [region for found in regions.values() for region in found]
    assert {region.stop for region in everywhere} == set(REASONS)
    assert {0, 2, 3} <= {len(region.children) for region in regions["as published"]}
    # groups given up, since the mean cut was too high
    assert any(0 < len(region.children) < region.ways for region in everywhere)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_tree_finds_the_planted_objects(seed):
    """The dense method is right itself: its first division keeps each planted object whole."""
    kind = scene(seed)[1].reshape(-1)
    children = dense_tree(seed, AS_PUBLISHED).children
    found = [set(kind[sorted(child.patches)].tolist()) for child in children]
    for planted in ({1, 2, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}):
        assert sum(planted <= kinds for kinds in found) == 1


# -- the numbers behind a division ----------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kover", [KINDS, None])
def test_a_node_is_divided_up_to_its_perturbation_bound(kover, seed):
    """The package's bound ``||L* - L|| / eigengap`` is the dense one, to a part in a thousand.

    Where `max_perturb` is just below the dense bound of a node, the package must leave the node
    whole as unstable; just above, it must not. So the eigengaps agree as well. Bounds above 1000
    are left out: their eigengaps are as small as the rounding of float32.
    """
    settings = Published(kover=kover, levels=2, max_perturb=1000.0)
    seen = 0

    def visit(region: Region, above: float) -> None:
        nonlocal seen
        if 1.01 * above < region.bound < 1000:  # else a node around it stops first
            for limit, unstable in ((0.999 * region.bound, True), (1.001 * region.bound, False)):
                tree = package_tree(scene(seed)[0], replace(settings, max_perturb=limit))
                stop = nodes_of(tree)[region.patches][1]
                assert (stop == StopReason.UNSTABLE) == unstable
            seen += 1
        for child in region.children:
            visit(child, max(above, region.bound))

    visit(dense_tree(seed, settings), 0.0)
    assert seen >= 2


def test_a_node_is_divided_up_to_its_mean_normalised_cut():
    """Trees agree where `mncut_th` is just below and just above each mean cut of the dense tree."""
    regions = [region for region, _ in regions_of_tree(dense_tree(0, AS_PUBLISHED))]
    cuts = [region.mean_cut for region in regions if region.children]
    assert len(cuts) >= 4
    for cut in cuts:
        for limit in (0.9999 * cut, 1.0001 * cut):
            settings = replace(AS_PUBLISHED, mncut_th=limit)
            found = package_tree(scene(0)[0], settings)
            check_same(nodes_of(found), nodes_of_dense(dense_tree(0, settings)))


GRAPHS = {
    "minmax, cosine": Published(),
    "minmax, euclidean": Published(distance="l2"),
    "exp, cosine": Published(adjacency="exp", sigma=0.5),
    "exp, euclidean": Published(adjacency="exp", sigma=0.7, distance="l2"),
    "minmax, threshold": Published(thresh=0.3),
}


def ours(graph: Published) -> AffinitySettings:
    distance = {"l2": "euclidean"}.get(graph.distance, graph.distance)
    return AffinitySettings(graph.adjacency, distance, graph.sigma, graph.thresh)


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_the_affinity_is_the_dense_one(graph):
    """The package's dense graph entry by entry; its fast one by degrees, with the diagonal of 1."""
    features, _ = scene(0)
    expected = patch_affinity(features, graph)
    unit = unit_rows(torch.from_numpy(features.reshape(-1, features.shape[-1])))
    np.testing.assert_allclose(dense_affinity(unit, ours(graph)).numpy(), expected, atol=1e-5)
    degrees = make_affinity(unit, ours(graph)).degrees().numpy()
    np.testing.assert_allclose(degrees, expected.sum(axis=1) + 1, rtol=1e-4)


def test_eigenvectors_are_those_of_the_dense_graph():
    """Leading eigenvalues and the space of the leading eigenvectors, package against NumPy's eigh.

    The solver reference agrees to 1e-6 with the published graph. The low-rank solver keeps the
    diagonal; its leading six vectors span the published space to a cosine of 0.999.
    """
    features, _ = scene(0)
    values, vectors = np.linalg.eigh(symmetric_laplacian(patch_affinity(features, Published())))
    unit = unit_rows(torch.from_numpy(features.reshape(-1, features.shape[-1])))
    reference = reference_eigenvectors(dense_affinity(unit, AffinitySettings()), KINDS)
    np.testing.assert_allclose(reference.values.numpy(), values[:KINDS], atol=1e-6)
    for vector, expected in zip(reference.vectors.numpy().T, vectors[:, :KINDS].T, strict=True):
        assert abs(vector @ expected) > 1 - 1e-6
    found = leading_eigenvectors(make_affinity(unit, AffinitySettings()), 6).vectors.double()
    cosines = np.linalg.svd(vectors[:, :6].T @ found.numpy(), compute_uv=False)
    assert cosines.min() > 0.999


# -- the scores -----------------------------------------------------------------------------------

# Class of each kind of patch: background, then objects with their parts; the first has two pairs.
CLASS_NAMES = (
    "background",
    "first",
    "second",
    "third",
    "first--one",
    "first--two",
    *(f"part {k}" for k in range(1, KINDS)),
)
CLASS_PARENTS = [-1, -1, -1, -1, 1, 1, 4, 4, 5, 5, *[2] * 4, *[3] * 4]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("variant", ["as published", "two groups", "low cuts only"])
def test_coverings_of_the_tree_are_those_of_the_dense_method(variant, seed):
    """NMCovering and NHCovering from features on: all by the package, and all densely."""
    features, kind = scene(seed)
    truth = np.where(kind == 0, 0, kind + 5)
    nm, nh = coverings(dense_tree(seed, VARIANTS[variant]), truth, CLASS_PARENTS)
    tree = package_tree(features, VARIANTS[variant])
    classes = ClassTree(
        CLASS_NAMES, CLASS_PARENTS, {c: c for c in range(len(CLASS_NAMES))}, frozenset(), 0
    )
    found = score_tree(tree.parents, contingency(tree.labels, truth, tree.n_leaves), classes)
    assert found.nm == pytest.approx(nm, abs=1e-12)
    assert found.nh == pytest.approx(nh, abs=1e-12)
    assert 0.5 < nh <= nm < 1  # neither nothing nor everything is found


def test_coverings_of_a_tree_small_enough_to_know_by_heart():
    """The dense coverings themselves, by hand: six patches, two objects, one of two parts.

    The tree has {0, 1, 2} over {0} and {1, 2}, beside {3, 4, 5}. The truth has an object {0, 1}
    with parts {0} and {1}, and the rest. Best overlaps: object 2/3, first part 1, second part 1/2,
    rest 3/4. The object's best node {0, 1, 2} lies around those of both parts.
    """
    object_, rest = Region(frozenset({0, 1, 2})), Region(frozenset({3, 4, 5}))
    object_.children = [Region(frozenset({0})), Region(frozenset({1, 2}))]
    root = Region(frozenset(range(6)), children=[object_, rest])
    truth = np.array([[2, 3, 1], [1, 1, 1]])
    nm, nh = coverings(root, truth, [-1, -1, 0, 0])
    assert nm == pytest.approx((2 / 3 + 1 + 1 / 2 + 3 / 4) / 4)
    assert nh == pytest.approx(nm)
