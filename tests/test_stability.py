"""Stability of nodes: against masks, where draws agree and differ, and on its way through trees."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import hand_tree, random_tree, trees

from regiontree import RegionParser, RegionTree
from regiontree.errors import SettingsError, TreeError
from regiontree.export.graph import node_attributes
from regiontree.export.higra import write_higra
from regiontree.forest.saved import TreeFile
from regiontree.forest.sources import Source
from regiontree.hierarchy import SpectralWard, stability
from regiontree.hierarchy.consensus import channel_sets
from regiontree.hierarchy.stability import SHARE, best_ious, draw_tree, node_stability
from regiontree.hierarchy.ward import ward_merges
from regiontree.settings import Settings, record_differences
from regiontree.spectral.affinity import unit_rows
from regiontree.spectral.contiguous import contiguous_groups
from regiontree.tree.file import read_shapes
from regiontree.tree.stop import StopReason
from regiontree.viewer.page import payload

SEEDS = st.integers(0, 2**32 - 1)


def random_parents(rng: np.random.Generator, leaves: int) -> np.ndarray:
    """Parents of a random tree in this package's order, nodes with two or three children."""
    tops, parents, at = list(range(leaves)), [0] * leaves, leaves
    while len(tops) > 1:
        count = min(len(tops), int(rng.integers(2, 4)))
        for child in rng.choice(len(tops), count, replace=False).tolist():
            parents[tops[child]] = at
        tops = [top for top in tops if parents[top] != at] + [at]
        parents.append(at)
        at += 1
    return np.array(parents)


def random_merges(rng: np.random.Generator, k: int) -> np.ndarray:
    tops, pairs = list(range(k)), []
    for merge in range(k - 1):
        a, b = rng.choice(len(tops), 2, replace=False).tolist()
        pairs.append((tops[a], tops[b]))
        tops = [top for top in tops if top not in pairs[-1]] + [k + merge]
    return np.array(pairs, np.int64).reshape(-1, 2)


def node_masks(leaf: np.ndarray, parents: np.ndarray) -> list[frozenset[int]]:
    masks = [set(np.flatnonzero(leaf == node).tolist()) for node in range(len(parents))]
    for node, above in enumerate(parents[:-1].tolist()):
        masks[above] |= masks[node]
    return [frozenset(mask) for mask in masks]


def group_masks(part: np.ndarray, pairs: np.ndarray) -> list[frozenset[int]]:
    masks = [frozenset(np.flatnonzero(part == i).tolist()) for i in range(len(pairs) + 1)]
    for a, b in pairs.tolist():
        masks.append(masks[a] | masks[b])
    return masks


def owners(rng: np.random.Generator, n: int, k: int) -> np.ndarray:
    """One of k for each of n, none empty."""
    return rng.permutation(np.concatenate([np.arange(k), rng.integers(0, k, n - k)]))


def best_by_masks(one: list[frozenset[int]], two: list[frozenset[int]]) -> list[float]:
    return [max(len(a & b) / len(a | b) for b in two) for a in one]


@given(SEEDS, st.integers(1, 30), st.data())
@settings(max_examples=60, deadline=None)
def test_best_ious_are_those_of_masks(seed: int, n: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    leaves, k = (data.draw(st.integers(1, n)) for _ in range(2))
    leaf, parents = owners(rng, n, leaves), random_parents(rng, leaves)
    part, pairs = owners(rng, n, k), random_merges(rng, k)
    found = best_ious(leaf, parents, part, pairs)
    wanted = best_by_masks(node_masks(leaf, parents), group_masks(part, pairs))
    assert found.tolist() == wanted


def test_compiled_and_plain_give_the_same_bits():
    rng = np.random.default_rng(3)
    parents, pairs = random_parents(rng, 40), random_merges(rng, 35)
    table = np.zeros((len(parents), 35), np.int64)
    table[:40] = rng.integers(0, 4, (40, 35)) * (rng.random((40, 35)) < 0.2)
    table[0] += 1  # no part and no leaf is empty
    table[:40, 0] += 1
    plain = stability._best_of_numpy(table.copy(), parents, pairs)
    assert stability._best(table.copy(), parents, pairs).tobytes() == plain.tobytes()
    assert stability._best.function(table.copy(), parents, pairs).tobytes() == plain.tobytes()


def scene(rng: np.random.Generator, noise: float) -> np.ndarray:
    """(8 x 12, 160) unit features: four blocks of patches, two of them alike, with noise."""
    centres = rng.normal(size=(4, 160))
    centres[1] = centres[0] + 0.3 * centres[1]
    block = np.repeat(np.arange(4), 3)[None, :].repeat(8, axis=0).reshape(-1)
    rows = centres[block] + noise * rng.normal(size=(96, 160))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


BLOCK = np.repeat(np.arange(4), 3)[None, :].repeat(8, axis=0).reshape(-1)
# Leaves are the blocks. Blocks 0 and 1 are alike.
PARENTS = np.array([4, 4, 5, 5, 6, 6, 6])


def test_nodes_on_which_all_draws_agree_have_1():
    unit = scene(np.random.default_rng(0), 0.05)
    found = node_stability(unit, (8, 12), None, BLOCK, PARENTS, 4, 12)
    assert found.dtype == np.float16
    assert found[:5].tolist() == [1] * 5
    assert found[6] == 1


def test_nodes_that_no_draw_has_are_less_stable():
    unit = scene(np.random.default_rng(0), 0.05)
    wrong = BLOCK[np.random.default_rng(1).permutation(96)]
    found = node_stability(unit, (8, 12), None, wrong, PARENTS, 4, 12)
    assert found[-1] == 1
    assert (found[:-1] < 0.75).all()


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_stability_is_the_mean_best_iou_of_the_draws(seed: int) -> None:
    rng = np.random.default_rng(seed)
    unit, there = scene(rng, 1.0), rng.random((8, 12)) < 0.8
    there[0, 0] = True
    rows = unit[there.reshape(-1)]
    leaves = 20
    leaf, parents = owners(rng, len(rows), leaves), random_parents(rng, leaves)
    found = node_stability(rows, (8, 12), there, leaf, parents, 25, 3)
    masks = node_masks(leaf, parents)
    draws = []
    for channels in channel_sets(160, SHARE, 3):
        tree = draw_tree(rows[:, channels], (8, 12), there, 25)
        assert tree[0].max() == 24
        draws.append(best_by_masks(masks, group_masks(*tree)))
    assert np.array_equal(found, np.mean(draws, axis=0).astype(np.float16))


def test_the_tree_of_a_draw_is_spectral_wards():
    unit = scene(np.random.default_rng(4), 1.0)
    rows = unit[:, channel_sets(160, SHARE, 3)[0]]
    part, pairs = draw_tree(rows, (8, 12), None, 30)
    unit_length = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.array_equal(part, contiguous_groups(unit_length, (8, 12), 30))
    count = np.bincount(part)
    means = np.stack([rows[part == i].mean(axis=0, dtype=float) for i in range(30)])
    means /= np.sqrt((count @ (means**2).sum(axis=1)) / count.sum())
    likeness = means @ means.T
    affinity = 1 - (1 - likeness) / (1 - likeness.min())
    degree = affinity @ count
    values, vectors = np.linalg.eigh(affinity * np.sqrt(np.outer(count / degree, count / degree)))
    values = np.where(values > 1e-9 * values.max(), values, 0)  # 17 at most are more than rounding
    places = vectors * values ** SpectralWard().power / np.sqrt(count)[:, None]
    wards, _ = ward_merges(places, count, SpectralWard().exponent)
    assert set(group_masks(part, pairs)) == set(group_masks(part, wards))


def test_numbers_of_the_page():
    assert (Settings().stability, SHARE) == (12, 0.1)
    sets = channel_sets(384, SHARE, 12)
    assert [len(one) for one in sets] == [38] * 12
    rng = np.random.default_rng(6)
    unit, leaf, parents = scene(rng, 1.0)[:, :16], owners(rng, 96, 20), random_parents(rng, 20)
    found = node_stability(unit, (8, 12), None, leaf, parents, 20, 12)
    once = best_ious(leaf, parents, *draw_tree(unit, (8, 12), None, 20)).astype(np.float16)
    assert found.tobytes() == once.tobytes()


def test_other_channels_of_a_draw_have_no_effect():
    unit = scene(np.random.default_rng(0), 1.0)
    channels = channel_sets(160, SHARE, 3)[1]
    changed = np.random.default_rng(2).normal(size=unit.shape).astype(np.float32)
    changed[:, channels] = unit[:, channels]
    one, two = (draw_tree(rows[:, channels], (8, 12), None, 30) for rows in (unit, changed))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_one_part_and_one_patch():
    unit = scene(np.random.default_rng(0), 1.0)
    one = np.zeros(1, np.int64)
    assert node_stability(unit[:1], (1, 1), None, one, one, 1, 2).tolist() == [1]
    whole = np.zeros(96, np.int64)
    assert node_stability(unit, (8, 12), None, whole, one, 1, 2).tolist() == [1]


def test_equal_features_of_a_draw_are_no_error():
    rows = np.ones((12, 40), np.float32) / np.sqrt(40)
    rows[3:, 20:] *= -1
    rows[:, :8] = 0
    leaf, parents = np.repeat([0, 1], [3, 9]), np.array([2, 2, 2])
    found = node_stability(rows, (3, 4), None, leaf, parents, 4, 12)
    assert np.isfinite(found).all()
    assert found.min() > 0
    assert found.max() == 1


# -- on its way through trees ---------------------------------------------------------------------


def replaced(tree: RegionTree, **arrays: Any) -> RegionTree:
    return dataclasses.replace(tree, **arrays)


def steady() -> RegionTree:
    """A tree of 7 nodes whose stability is its node number / 8."""
    return replaced(hand_tree(), stability=np.arange(7, dtype=np.float16) / 8)


@pytest.mark.parametrize(
    ("stability", "said"),
    [
        (np.zeros((7, 1)), "stability must be 1-D floats"),
        (np.zeros(7, int), "stability must be 1-D floats"),
        (np.zeros(4), "stability has 4 entries for 7 nodes"),
        (np.full(7, np.nan), "stability holds values that are not finite"),
        (np.array([0, 0, 1.25, 0, 0, 0, 0]), r"stability\[2\] is 1.25: a stability lies in \[0, 1"),
        (np.array([0, 0, 0, -0.25, 0, 0, 0]), r"stability\[3\] is -0.25"),
    ],
)
def test_wrong_ones_are_named(stability, said):
    with pytest.raises(TreeError, match=said):
        replaced(hand_tree(), stability=stability)


def test_it_counts_in_equality_and_travels(tmp_path):
    tree = steady()
    assert hand_tree().stability is None
    assert tree != hand_tree()
    assert tree != replaced(tree, stability=tree.stability / 2)
    assert pickle.loads(pickle.dumps(tree)) == tree
    assert not tree.stability.flags.writeable
    path = tree.save(tmp_path / "a")
    assert RegionTree.load(path) == tree
    assert read_shapes(path)["stability"] == (7,)


def test_a_file_without_it_keeps_its_version(tmp_path):
    for tree, version in ((hand_tree(), 1), (steady(), 4)):
        path = tree.save(tmp_path / "a")
        with np.load(path) as archive:
            assert json.loads(str(archive["meta"]))["format_version"] == version


def test_smaller_trees_keep_that_of_their_nodes():
    small = steady().prune(n_regions=3)
    assert small.n_nodes == 5
    before = {mask.tobytes(): node / 8 for node, mask in enumerate(steady().masks())}
    found = {mask.tobytes(): small.stability[node] for node, mask in enumerate(small.masks())}
    assert all(before[mask] == own for mask, own in found.items())


@given(trees(), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_a_rest_has_none(tree: RegionTree, n_nodes: int) -> None:
    # Each node has another stability, as several nodes can have the same mask.
    own = (1 + np.arange(tree.n_nodes, dtype=np.float16)) / 128
    small = replaced(tree, stability=own).condense(n_nodes)
    new = small.stability == 0
    assert (small.stop[new] == StopReason.REST).all()
    assert small.n_leaves - new.sum() <= tree.n_leaves
    for node in np.flatnonzero(~new).tolist():
        before = round(float(small.stability[node]) * 128) - 1
        assert np.array_equal(tree.mask(before), small.mask(node))


def test_trees_without_it_stay_without():
    tree = hand_tree()
    for made in (tree.prune(n_regions=2), tree.condense(2), tree.pieces(1)):
        assert made.stability is None


def test_text_has_a_column_of_it():
    plain, told = (str(tree).splitlines() for tree in (hand_tree(), steady()))
    assert "stability" not in plain[1]
    assert told[1].index("stability") == plain[1].index("why")
    end = told[1].index("stability") + len("stability")
    shown = [line[end - 9 : end].strip() for line in told[2:]]
    nodes = [int(line.strip(" ├└─│").split()[0]) for line in told[2:]]
    assert shown == [f"{node / 8:.2f}" for node in nodes]


def test_a_rest_has_a_dash_in_text_and_none_in_a_page():
    tree = random_tree(np.random.default_rng(2), 30, (12, 12))
    tree = replaced(tree, stability=np.ones(tree.n_nodes, np.float16)).condense(6)
    rests = np.flatnonzero(tree.stop == StopReason.REST).tolist()
    assert rests
    lines = [line for line in str(tree).splitlines() if "rest of its parent" in line]
    assert len(lines) == len(rests)
    assert all("  -  " in line for line in lines)
    told = payload(Source(tree, TreeFile(Path("a.npz")), None))["stability"]
    assert [node for node, own in enumerate(told) if own is None] == rests
    assert {own for own in told if own is not None} == {1.0}


def test_a_condensed_tree_has_steady_nodes_alone():
    tree = random_tree(np.random.default_rng(1), 30, (12, 12), dim=1)
    for least in (0.3, 0.7, 0.95):
        small = tree.condense(12, min_stability=least)
        kept = small.stop != StopReason.REST
        assert (small.stability[:-1][kept[:-1]] >= least).all()
    assert tree.condense(12, min_stability=0) == tree.condense(12)
    none = replaced(tree, stability=np.zeros(tree.n_nodes, np.float16))
    assert none.condense(12, min_stability=0.5).n_nodes == 1


@pytest.mark.parametrize("least", [-0.1, 1.1, "much", True, None, np.nan])
def test_a_least_stability_that_is_none(least):
    with pytest.raises(TreeError, match="min_stability must be from 0 to 1"):
        steady().condense(3, min_stability=least)


def test_a_tree_without_it_cannot_be_condensed_by_it():
    with pytest.raises(TreeError, match="no stability; make it again with the setting stability"):
        hand_tree().condense(3, min_stability=0.5)


def test_files_of_other_programs_carry_it():
    tree = steady()
    for node in range(7):
        assert node_attributes(tree, node)["stability"] == node / 8
        assert "stability" not in node_attributes(hand_tree(), node)
    features = tree.to_geojson(all_nodes=True)["features"]
    found = {one["id"]: one["properties"]["stability"] for one in features}
    assert found == {node: node / 8 for node in range(7)}


def test_coco_carries_it():
    pytest.importorskip("pycocotools")
    found = {one["node"]: one["stability"] for one in steady().to_coco()["annotations"]}
    assert found == {node: node / 8 for node in range(6)}


def test_label_studio_shows_it_as_a_score():
    """One cut, and all nodes; a task's score is the mean over what is written, by area."""
    for options, nodes in (({"n_regions": 3}, [0, 3, 4]), ({"all_nodes": True}, range(6))):
        (prediction,) = steady().to_label_studio(**options)["predictions"]
        found = {one["id"]: one["score"] for one in prediction["result"]}
        assert found == {f"node{node}": node / 8 for node in nodes}
        area = hand_tree().area[list(nodes)]
        mean = sum(node / 8 * own for node, own in zip(nodes, area, strict=True)) / area.sum()
        assert prediction["score"] == pytest.approx(mean, abs=1e-4)
    (prediction,) = hand_tree().to_label_studio(all_nodes=True)["predictions"]
    assert not any("score" in one for one in (prediction, *prediction["result"]))


def test_a_rest_has_no_score_in_label_studio():
    tree = random_tree(np.random.default_rng(2), 30, (12, 12))
    tree = replaced(tree, stability=np.ones(tree.n_nodes, np.float16)).condense(6)
    (prediction,) = tree.to_label_studio(all_nodes=True)["predictions"]
    without = {one["id"] for one in prediction["result"] if "score" not in one}
    assert without == {f"node{node}" for node in np.flatnonzero(tree.stop == StopReason.REST)}
    assert without
    assert prediction["score"] == 1


def test_masks_carry_it(tmp_path):
    steady().to_masks(tmp_path / "masks")
    told = json.loads((tmp_path / "masks" / "tree.json").read_text())
    assert told["stability"] == [node / 8 for node in range(7)]


def test_higra_files_carry_it(tmp_path):
    higra = pytest.importorskip("higra")
    write_higra(steady(), tmp_path / "a.tree")
    _, attributes = higra.read_tree(str(tmp_path / "a.tree"))
    assert attributes["stability"].tolist() == [node / 8 for node in range(7)]


# -- in a parser ----------------------------------------------------------------------------------


def features() -> np.ndarray:
    return scene(np.random.default_rng(5), 0.4).reshape(8, 12, 160)


BUILT = {"parts": 30, "smoothing": 0}


@pytest.mark.parametrize("builder", ["ward", "consensus", "recursive"])
@pytest.mark.parametrize("method", ["contiguous", "features"])
def test_a_parser_gives_each_node_of_a_tree_its_own(builder, method):
    parser = RegionParser(backbone="precomputed", tree=builder, overclustering=method, **BUILT)
    tree = parser.build(features())
    unit = unit_rows(torch.from_numpy(features().reshape(96, 160))).numpy()
    leaf, parents = tree.labels.reshape(-1).astype(np.int64), tree.parents
    wanted = node_stability(unit, (8, 12), None, leaf, parents, 30, 12)
    assert tree.stability.tobytes() == wanted.tobytes()
    assert parser.build(features()) == tree


def test_a_parser_may_leave_it_out():
    parser = RegionParser(backbone="precomputed", stability=0, **BUILT)
    tree = parser.build(features())
    assert tree.stability is None
    assert tree.meta["settings"]["stability"] == 0
    more = RegionParser(backbone="precomputed", stability=3, **BUILT).build(features())
    assert replaced(more, stability=None, meta=tree.meta) == tree
    assert Settings.make("published").stability == 0
    assert Settings.make().stability == 12


@pytest.mark.parametrize("draws", [-1, 1001, 1.5, "many", True])
def test_a_number_of_draws_that_is_none(draws):
    with pytest.raises(SettingsError, match="stability"):
        Settings.make(stability=draws)


def test_older_records_are_of_trees_without_it():
    now = Settings.make().as_dict()
    before = {name: value for name, value in now.items() if name != "stability"}
    assert record_differences(before, now) == {"stability": (0, 12)}
    assert Settings.make(**now) == Settings.make()


def test_patches_that_are_not_there_have_no_effect():
    there = np.ones((8, 12), bool)
    there[:3, :4] = False
    parser = RegionParser(backbone="precomputed", **BUILT)
    tree = parser.build(features(), valid=there)
    changed = features()
    changed[~there] = np.random.default_rng(9).normal(size=(12, 160))
    assert parser.build(changed, valid=there).stability.tobytes() == tree.stability.tobytes()
    gap = int(np.flatnonzero(tree.stop == StopReason.NO_DATA)[0])
    scene_node = tree.root - 1
    assert [float(tree.stability[node]) for node in (gap, scene_node, tree.root)] == [1, 1, 1]
    unit = unit_rows(torch.from_numpy(features()[there])).numpy()
    leaf = tree.labels[there].astype(np.int64)
    inner = np.delete(tree.parents[:-1], gap) - 1
    inner[-1] = len(inner) - 1
    wanted = node_stability(unit, (8, 12), there, leaf, inner, 30, 12)
    assert np.delete(tree.stability[:-1], gap).tobytes() == wanted.tobytes()


def test_trees_of_one_region_have_1():
    parser = RegionParser(backbone="precomputed", **BUILT)
    uniform = parser.build(np.ones((8, 12, 160), np.float32))
    assert uniform.n_nodes == 1
    assert uniform.stability.tolist() == [1]
    absent = parser.build(features(), valid=np.zeros((8, 12), bool))
    assert absent.stability.tolist() == [1]
    half = np.ones((8, 12), bool)
    half[:4] = False
    assert parser.build(np.ones((8, 12, 160)), valid=half).stability.tolist() == [1, 1, 1]
