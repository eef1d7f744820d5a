"""Scores of trees: the table of counts, node budgets, one image, a data set.

Answers known by hand come first; everything is then compared with ``brute_force.py`` on random
trees, masks and class hierarchies.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from itertools import pairwise
from pathlib import Path

import brute_force
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, pixels_of, random_tree, trees

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import (
    ClassTree,
    ImageScore,
    TreeMetric,
    budget_nodes,
    contingency,
    region_counts,
    score_tree,
)
from regiontree.tree import RegionTree

FLAT = ClassTree(("background", "person"), [-1, -1], {0: 0, 1: 1}, frozenset({255}), 0)
NESTED = ClassTree(
    ("background", "person", "head", "eye", "car"),
    [-1, -1, 1, 2, -1],
    {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 9: 0},  # two kinds of background
    frozenset({255}),
    0,
)


def score_of(tree: RegionTree, truth: np.ndarray, classes: ClassTree, **options):
    table = contingency(tree.labels, truth, tree.n_leaves)
    return score_tree(tree.parents, table, classes, **options)


@st.composite
def class_trees(draw: st.DrawFn) -> ClassTree:
    """Random hierarchies; several mask values may be of one class, an inner class too."""
    count = draw(st.integers(1, 7))
    parents = [draw(st.integers(-1, c - 1)) for c in range(count)]
    background = draw(st.sampled_from([None, 0]))
    if background == 0:
        parents = [-1 if p == 0 else p for p in parents]  # nothing is inside the background
    values = draw(st.lists(st.integers(-3, 300), min_size=count, max_size=10, unique=True))
    class_of_id = {
        v: c if c < count else draw(st.integers(0, count - 1)) for c, v in enumerate(values)
    }
    ignored = frozenset(draw(st.lists(st.integers(400, 402), max_size=2, unique=True)))
    names = tuple(f"class {c}" for c in range(count))
    return ClassTree(names, np.array(parents), class_of_id, ignored, background)


@st.composite
def cases(draw: st.DrawFn, max_leaves: int = 14) -> tuple[RegionTree, np.ndarray, ClassTree]:
    """A tree, the ground truth of its image, and what the ground truth's values mean."""
    tree, classes = draw(trees(max_leaves=max_leaves)), draw(class_trees())
    return tree, draw(masks(tree.shape, classes)), classes


def masks(shape: tuple[int, int], classes: ClassTree) -> st.SearchStrategy[np.ndarray]:
    values = [*classes.class_of_id, *classes.ignored]
    n_pixels = shape[0] * shape[1]
    return st.lists(st.sampled_from(values), min_size=n_pixels, max_size=n_pixels).map(
        lambda pixels: np.array(pixels, np.int32).reshape(shape)
    )


def same_score(ours: ImageScore | None, theirs: brute_force.Score | None) -> None:
    assert (ours is None) == (theirs is None)
    if ours is None or theirs is None:
        return
    classes = ours.classes.tolist()
    assert dict(zip(classes, ours.node.tolist(), strict=True)) == theirs["node"]
    counts = zip(ours.tp.tolist(), ours.fp.tolist(), ours.fn.tolist(), strict=True)
    assert dict(zip(classes, counts, strict=True)) == theirs["counts"]
    assert dict(zip(classes, ours.iou.tolist(), strict=True)) == theirs["iou"]
    for name in ("nm", "nh", "nodes", "leaves"):
        assert getattr(ours, name) == pytest.approx(theirs[name], abs=1e-12), name


# -- contingency ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("uint8", [0, 255]),
        ("uint16", [3, 65535]),
        ("int32", [-1, 0, 7]),
        ("int64", [0, 2**40]),  # too large to look up
        ("int32", [1, (1 << 24) - 1, 1 << 24]),
    ],
)
def test_the_table_counts_every_pixel_whatever_the_type_of_the_mask(dtype, values):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, (9, 11))
    truth = rng.choice(values, (9, 11)).astype(dtype)
    table = contingency(labels, truth, 5)  # leaf 4 has no pixel
    assert table.ids.tolist() == values
    for leaf in range(5):
        for k, value in enumerate(values):
            assert table.counts[leaf, k] == ((labels == leaf) & (truth == value)).sum()


def test_an_image_of_several_bands_is_counted_whole():
    labels = np.arange(4100)[:, None] % 3 + np.zeros((1, 2100), int)
    truth = np.zeros((4100, 2100), np.uint8)
    truth[-1] = 9  # only in the last band
    table = contingency(labels, truth, 3)
    assert table.counts.sum() == truth.size
    assert table.counts[4099 % 3, 1] == 2100


@pytest.mark.parametrize(
    ("labels", "truth", "message"),
    [
        (np.zeros((2, 3), int), np.zeros((3, 2), int), r"\(2, 3\) and the mask \(3, 2\)"),
        (np.zeros((2, 3), int), np.zeros((2, 3, 3), int), "both must be"),
        (np.zeros((0, 3), int), np.zeros((0, 3), int), "both must be"),
        (np.zeros((2, 3), int), np.zeros((2, 3)), "integers"),
        (np.full((2, 3), 2), np.zeros((2, 3), int), "leaves are 0 to 1"),
        (np.full((2, 3), -1), np.zeros((2, 3), int), "hold -1"),
    ],
)
def test_masks_that_do_not_fit_are_refused(labels, truth, message):
    with pytest.raises(DataError, match=message):
        contingency(labels, truth, 2)


def test_a_picture_is_not_taken_for_a_mask():
    truth = np.arange(300 * 300).reshape(300, 300)
    with pytest.raises(DataError, match="90000 different values"):
        contingency(np.zeros((300, 300), int), truth, 1000)


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_counts_of_nodes_and_regions_are_those_of_their_masks(case):
    tree, truth, classes = case
    counts, present = region_counts(
        tree.parents, contingency(tree.labels, truth, tree.n_leaves), classes
    )
    masks = brute_force.region_masks(truth, classes)
    assert present.tolist() == list(masks)
    for column, mask in enumerate(masks.values()):
        pixels = set(np.flatnonzero(mask).tolist())
        assert counts[:, column].tolist() == [len(node & pixels) for node in pixels_of(tree)]


def test_values_that_no_class_knows_are_named():
    truth = np.array([[0, 1, 17, 18], [0, 0, 0, 0]])
    with pytest.raises(DataError, match="17, 18"):
        score_of(hand_tree(), truth, FLAT)


def test_a_table_of_another_tree_is_refused():
    table = contingency(np.zeros((2, 2), int), np.zeros((2, 2), int), 1)
    with pytest.raises(DataError, match=r"1 rows.* 4 leaves"):
        score_tree(hand_tree().parents, table, FLAT)


# -- budgets --------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tree=trees(), budget=st.none() | st.integers(1, 25))
def test_a_budget_is_spent_on_the_highest_nodes_and_never_exceeded(tree, budget):
    nodes = budget_nodes(tree.parents, tree.height, budget)
    assert nodes.tolist() == brute_force.nodes_within(tree, budget)
    assert budget is None or len(nodes) <= budget


@settings(max_examples=30, deadline=None)
@given(tree=trees())
def test_a_larger_budget_shows_all_that_a_smaller_shows(tree):
    shown = [set(budget_nodes(tree.parents, tree.height, b).tolist()) for b in range(1, 30)]
    shown = [nodes for nodes in shown if nodes != {tree.root}]
    assert all(few <= many for few, many in pairwise(shown))


def test_a_budget_and_a_cut_divide_equally_high_nodes_in_one_order():
    # Without heights, 4 = {0, 1} and 5 = {2, 3} are equally high and deep.
    tree = RegionTree.from_parents([[0, 1, 2, 3]], [4, 4, 5, 5, 6, 6, -1])
    assert tree.cut_nodes(n_regions=3).tolist() == [2, 3, 4]
    assert budget_nodes(tree.parents, tree.height, 4).tolist() == [2, 3, 4, 5]


def test_a_budget_stops_at_the_first_division_that_does_not_fit():
    # Node 7 (height .9) has three children, node 6 (.5) two. After the root's two, a budget of 4
    # has no room for three; node 6 would fit, but a tree is not shown with its higher half closed.
    parents, height = np.array([6, 6, 7, 7, 7, 5, 8, 8, 8]), np.array([0] * 6 + [0.5, 0.9, 1])
    parents[5] = 8  # a leaf below the root
    assert budget_nodes(parents, height, 5).tolist() == [5, 6, 7]
    assert budget_nodes(parents, height, 6).tolist() == [2, 3, 4, 5, 6, 7]
    assert budget_nodes(parents, height, 8).tolist() == [0, 1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("budget", [0, -3, 2.0, True])
def test_a_budget_is_a_positive_whole_number(budget):
    with pytest.raises(SettingsError, match="budget"):
        budget_nodes(hand_tree().parents, hand_tree().height, budget)


# -- one image, by hand ---------------------------------------------------------------------------


def test_iou_by_hand():
    """The tree of trees.hand_tree, with regions 0: {a b c d, g}, 1: {e f h}.

    ::

        a b e f      leaves 0 0 1 2      truth 0 0 1 1
        c d g h             0 0 3 3            0 0 0 1

    Region 0 has 5 pixels, leaf 0 has 4 of them: 4/5. Region 1 has 3 pixels; node 4 = {e, f}: 2/3;
    node 5 = {e, f, g, h}: 3/4, the best.
    """
    truth = np.array([[0, 0, 1, 1], [0, 0, 0, 1]])
    score = score_of(hand_tree(), truth, FLAT)
    assert score.node.tolist() == [0, 5]
    assert score.iou.tolist() == [4 / 5, 3 / 4]
    assert (score.tp.tolist(), score.fp.tolist(), score.fn.tolist()) == ([4, 3], [0, 1], [1, 0])
    assert score.nm == score.nh == pytest.approx((4 / 5 + 3 / 4) / 2)
    assert (score.nodes, score.leaves) == (6, 4)


def test_ignored_pixels_count_neither_in_regions_nor_in_nodes():
    # As above with g ignored: leaf 0 is exactly region 0, node 5 exactly region 1.
    truth = np.array([[0, 0, 1, 1], [0, 0, 255, 1]])
    score = score_of(hand_tree(), truth, FLAT)
    assert score.iou.tolist() == [1.0, 1.0]
    assert score.nm == 1.0


def test_of_equal_nodes_the_lowest_is_matched():
    # With h ignored as well, leaf 1 + leaf 2 = node 4 and node 5 have the same valid pixels.
    truth = np.array([[0, 0, 1, 1], [0, 0, 255, 255]])
    assert score_of(hand_tree(), truth, FLAT).node.tolist() == [0, 4]


def test_covering_asks_for_nesting_and_nm_does_not():
    """Leaf 0 is the head, leaf 1 the rest of the person; no node is the whole person.

    The person (6 pixels) is matched to leaf 1, 4/6. The head is leaf 0 exactly, but leaf 0 is not
    below leaf 1: of its two ancestors, itself and the person, one is kept, and half its IoU lost.
    Background (values 0 and 9) has 11 pixels, leaf 3 6 of them, leaf 2 5 and one of car: 6/11 and
    5/12. The car has 1/6 of leaf 2.
    """
    labels = np.array([[0, 0, 1, 1, 1, 1], [3, 3, 3, 3, 3, 3], [2, 2, 2, 2, 2, 2]])
    truth = np.array([[2, 2, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [9, 9, 9, 9, 9, 4]])
    tree = RegionTree(
        labels=labels, parents=np.array([4, 5, 5, 4, 5, 5]), height=np.array([0, 0, 0, 0, 0.5, 1])
    )
    score = score_of(tree, truth, NESTED)
    assert score.classes.tolist() == [0, 1, 2, 4]
    assert score.node.tolist() == [3, 1, 0, 2]
    assert score.nm == pytest.approx((6 / 11 + 4 / 6 + 1 + 1 / 6) / 4)
    assert score.nh == pytest.approx((6 / 11 + 4 / 6 + 1 / 2 + 1 / 6) / 4)


def test_a_match_may_be_shared_or_skip_nodes_without_loss():
    # eye in head in person, one leaf for all three: each match is an ancestor of each.
    truth = np.array([[1, 2, 0, 0], [2, 3, 0, 0]])
    score = score_of(hand_tree(), truth, NESTED)
    assert score.node.tolist() == [5, 0, 0, 0]
    assert score.iou.tolist() == [1, 1, 3 / 4, 1 / 4]
    assert score.nh == score.nm == 3 / 4


def test_below_the_threshold_an_overlap_is_none_but_its_pixels_stay():
    truth = np.array([[0, 0, 1, 1], [0, 0, 0, 1]])
    score = score_of(hand_tree(), truth, FLAT, threshold=0.8)  # 4/5 is not below it
    assert score.iou.tolist() == [4 / 5, 0]
    assert score.tp.tolist() == [4, 3]
    assert score.nm == 2 / 5


def test_one_to_one_matching_by_hand():
    # As above, but eye, head and person may not share leaf 0. The person gains most by it, and no
    # other node but the root has a pixel of the others.
    truth = np.array([[1, 2, 0, 0], [2, 3, 0, 0]])
    score = score_of(hand_tree(), truth, NESTED, match="hungarian")
    assert score.node.tolist() == [5, 0, -1, -1]
    assert score.iou.tolist() == [1, 1, 0, 0]
    assert (score.tp.tolist(), score.fp.tolist(), score.fn.tolist()) == (
        [4, 4, 0, 0],
        [0, 0, 0, 0],
        [0, 0, 3, 1],
    )
    assert score.nh == score.nm == 1 / 2


def test_a_tree_of_one_node_is_scored_as_one_region():
    tree = RegionTree(labels=np.zeros((1, 4), int), parents=[0], height=[0.0])
    score = score_of(tree, np.array([[0, 1, 2, 2]]), NESTED)
    assert score.node.tolist() == [0, 0, 0]
    assert score.nm == score.nh == pytest.approx((1 / 4 + 3 / 4 + 2 / 4) / 3)
    assert (score.nodes, score.leaves) == (1, 1)


@pytest.mark.parametrize("truth", [[[0, 9]], [[255, 255]], [[0, 255]]])
def test_without_a_class_other_than_the_background_there_is_no_score(truth):
    tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    assert score_of(tree, np.array(truth), NESTED) is None


@pytest.mark.parametrize("nodes", [[], [-1], [7]])
def test_nodes_to_match_must_exist(nodes):
    with pytest.raises(DataError, match=r"nodes.* 0 to 6"):
        score_of(hand_tree(), np.ones((2, 4), int), FLAT, nodes=np.array(nodes, int))


@pytest.mark.parametrize("options", [{"match": "best"}, {"threshold": 1.5}, {"threshold": "0"}])
def test_ways_of_matching_that_do_not_exist_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        score_of(hand_tree(), np.ones((2, 4), int), FLAT, **options)


# -- one image, against masks ---------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(case=cases(), budget=st.none() | st.integers(1, 12), threshold=st.sampled_from([0, 0.3, 1]))
def test_scores_are_those_of_the_formulas(case, budget, threshold):
    tree, truth, classes = case
    nodes = brute_force.nodes_within(tree, budget)
    same_score(
        score_of(tree, truth, classes, nodes=np.array(nodes), threshold=threshold),
        brute_force.score(tree, truth, classes, nodes=nodes, threshold=threshold),
    )


@settings(max_examples=60, deadline=None)
@given(case=cases(max_leaves=4), threshold=st.sampled_from([0, 0.4]))
def test_one_to_one_matching_is_the_best_of_all_assignments(case, threshold):
    tree, truth, classes = case
    score = score_of(tree, truth, classes, match="hungarian", threshold=threshold)
    if score is None:
        return
    used = score.node[score.node >= 0].tolist()
    assert len(used) == len(set(used))
    match = dict(zip(score.classes.tolist(), score.node.tolist(), strict=True))
    same_score(score, brute_force.score(tree, truth, classes, match=match, threshold=threshold))
    if threshold == 0:
        nodes = brute_force.nodes_within(tree, None)
        found = brute_force.overlaps(tree, truth, classes, nodes)
        assert score.iou.sum() == pytest.approx(brute_force.best_assignment_sum(found))


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_what_must_hold_between_scores(case):
    tree, truth, classes = case
    score = score_of(tree, truth, classes)
    if score is None:
        return
    one_to_one = score_of(tree, truth, classes, match="hungarian")
    assert 0 <= score.nh <= score.nm <= 1
    assert (score.iou > 0).all()  # the nodes below the root hold every pixel
    assert (one_to_one.iou <= score.iou).all()
    few = [
        score_of(tree, truth, classes, nodes=budget_nodes(tree.parents, tree.height, b))
        for b in (3, 6)
        if budget_nodes(tree.parents, tree.height, b)[0] != tree.root
    ]
    values = [s.nm for s in few] + [score.nm]
    assert values == sorted(values)  # more nodes never fit worse


@settings(max_examples=40, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_pixels_and_the_numbers_of_mask_values_mean_nothing(case, seed):
    tree, truth, classes = case
    order = np.random.default_rng(seed).permutation(truth.size)
    shuffled = truth.reshape(-1)[order].reshape(truth.shape) * 3 + 5
    labels = tree.labels.reshape(-1)[order].reshape(truth.shape)
    renamed = ClassTree(
        classes.names,
        classes.parents,
        {3 * i + 5: c for i, c in classes.class_of_id.items()},
        frozenset(3 * i + 5 for i in classes.ignored),
        classes.background,
    )
    ours = score_of(tree, truth, classes)
    table = contingency(labels, shuffled, tree.n_leaves)
    theirs = score_tree(tree.parents, table, renamed)
    assert (ours is None) == (theirs is None)
    if ours is not None and theirs is not None:
        assert ours.node.tolist() == theirs.node.tolist()
        assert (ours.nm, ours.nh) == (theirs.nm, theirs.nh)


# -- a data set -----------------------------------------------------------------------------------

Case = tuple[RegionTree, np.ndarray]


def metric_of(classes: ClassTree, images: dict[str, Case], **options) -> TreeMetric:
    metric = TreeMetric(classes, **options)
    for image, (tree, truth) in images.items():
        table = contingency(tree.labels, truth, tree.n_leaves)
        metric.update(image, tree.parents, tree.height, table)
    return metric


@st.composite
def data_sets(draw: st.DrawFn) -> tuple[ClassTree, dict[str, Case]]:
    classes = draw(class_trees())
    images = {}
    for i in range(draw(st.integers(1, 6))):
        tree = draw(trees(max_leaves=8, max_side=4))
        images[f"image {i}"] = tree, draw(masks(tree.shape, classes))
    return classes, images


@settings(max_examples=60, deadline=None)
@given(case=data_sets(), threshold=st.sampled_from([0.0, 0.4]))
def test_scores_of_a_data_set_are_those_of_the_formulas(case, threshold):
    classes, images = case
    metric = metric_of(classes, images, threshold=threshold, budgets=(2, 5))
    everything = [
        brute_force.score(tree, truth, classes, threshold=threshold)
        for tree, truth in images.values()
    ]
    scored = [s for s in everything if s is not None]
    assert len(metric) == len(images)
    if not scored:
        with pytest.raises(DataError, match="without any class"):
            metric.compute()
        return
    ours, theirs = metric.compute(), brute_force.data_set(scored, classes, threshold)
    assert ours.images == len(scored)
    assert ours.without_foreground == len(images) - len(scored)
    pairs = {"nm": ours.nm_covering, "nh": ours.nh_covering}
    pairs |= {k: getattr(ours, k) for k in ("miou", "pacc", "macc", "fiou", "nodes", "leaves")}
    for name, value in pairs.items():
        assert value == pytest.approx(theirs[name], abs=1e-12), name
    assert list(ours.iou) == list(ours.frequency) == list(classes.names)
    assert list(ours.iou.values()) == pytest.approx(list(theirs["iou"].values()))
    assert list(ours.frequency.values()) == pytest.approx(list(theirs["frequency"].values()))
    for point in ours.curve:
        within = [
            brute_force.score(
                tree,
                truth,
                classes,
                threshold=threshold,
                nodes=brute_force.nodes_within(tree, point.budget),
            )
            for tree, truth in images.values()
        ]
        expected = brute_force.data_set([s for s in within if s], classes, threshold)
        for name in ("nm", "nh", "nodes", "leaves"):
            assert getattr(point, name) == pytest.approx(expected[name], abs=1e-12), name


@settings(max_examples=40, deadline=None)
@given(case=data_sets(), data=st.data())
def test_however_images_are_shared_out_the_scores_are_the_same_to_the_bit(case, data):
    classes, images = case
    whole = metric_of(classes, images)
    order = data.draw(st.permutations(list(images)))
    shard = {image: data.draw(st.integers(0, 2), label="shard") for image in order}
    total = TreeMetric(classes)
    for k in data.draw(st.permutations(range(3))):
        part = metric_of(classes, {i: images[i] for i in order if shard[i] == k})
        if data.draw(st.booleans(), label="by file"):
            total.merge_state(json.loads(json.dumps(part.state())))
        else:
            total.merge(part)
    assert json.dumps(total.state()) == json.dumps(whole.state())
    if any(record is not None for record in whole.state()["images"].values()):
        assert total.compute() == whole.compute()


def test_means_do_not_depend_on_the_order_of_images_even_in_the_last_bit():
    # Plain sums of these IoUs differ between orders; only exact ones cannot.
    rng = np.random.default_rng(5)
    images = {}
    for i in range(40):
        tree = random_tree(rng, 6, (5, 5))
        images[f"{i:02}"] = tree, rng.integers(0, 5, (5, 5))
    forth = metric_of(NESTED, images).compute()
    back = metric_of(NESTED, dict(reversed(images.items()))).compute()
    assert forth == back


@pytest.fixture
def images() -> dict[str, Case]:
    tree = hand_tree()
    return {
        "a": (tree, np.array([[0, 0, 1, 1], [0, 0, 0, 1]])),
        "b": (tree, np.array([[1, 1, 1, 1], [1, 1, 255, 0]])),
        "empty": (tree, np.zeros((2, 4), int)),
    }


def test_a_data_set_by_hand(images):
    """a: see test_iou_by_hand, background 4/5 (tp 4, fn 1), person 3/4 (tp 3, fp 1).

    b, with g ignored, holds 6 of person and 1 of background (h). Person: leaf 0 has 4/6. Node 5 =
    {e f h}: 2/7. Background: leaf 3, now only h: 1.
    """
    scores = metric_of(FLAT, images, budgets=(2,)).compute()
    assert (scores.images, scores.without_foreground) == (2, 1)
    assert scores.nm_covering == pytest.approx(((4 / 5 + 3 / 4) / 2 + (1 + 4 / 6) / 2) / 2)
    assert scores.iou == {"background": 5 / 6, "person": 7 / 10}
    assert scores.frequency == {"background": 6 / 15, "person": 9 / 15}
    assert scores.miou == pytest.approx((5 / 6 + 7 / 10) / 2)
    assert scores.pacc == 12 / 15
    assert scores.macc == pytest.approx((5 / 6 + 7 / 9) / 2)
    assert scores.fiou == pytest.approx(6 / 15 * 5 / 6 + 9 / 15 * 7 / 10)
    # Two nodes: leaf 0 and node 5. In b, background is now 1 of the 3 valid pixels of node 5.
    (point,) = scores.curve
    assert (point.budget, point.nodes, point.leaves) == (2, 2, 2)
    assert point.nm == pytest.approx(((4 / 5 + 3 / 4) / 2 + (1 / 3 + 4 / 6) / 2) / 2)


def test_the_threshold_of_a_data_set_applies_to_its_own_iou(images):
    scores = metric_of(FLAT, images, threshold=0.72).compute()
    assert scores.iou == {"background": 5 / 6, "person": 0.0}
    assert scores.pacc == 12 / 15  # pixels are counted all the same
    assert scores.nm_covering == pytest.approx(((4 / 5 + 3 / 4) / 2 + (1 + 0) / 2) / 2)


def test_classes_that_no_image_shows_are_zero_and_in_no_mean(images):
    scores = metric_of(NESTED, {"a": images["a"]}).compute()
    assert scores.iou["car"] == scores.frequency["car"] == 0
    assert scores.miou == pytest.approx((4 / 5 + 3 / 4) / 2)


def test_an_image_is_scored_once(images):
    metric, other = metric_of(FLAT, images), metric_of(FLAT, {"a": images["a"]})
    before = metric.state()
    with pytest.raises(DataError, match="'a' was scored before"):
        metric.update("a", *[getattr(images["a"][0], k) for k in ("parents", "height")],
                      contingency(images["a"][0].labels, images["a"][1], 4))  # fmt: skip
    with pytest.raises(DataError, match="'a' is in both"):
        metric.merge(other)
    with pytest.raises(DataError, match="'a' is in both"):
        metric.merge_state(other.state())
    assert metric.state() == before
    assert "a" in metric
    assert "c" not in metric


def test_an_image_that_does_not_fit_is_named():
    tree = hand_tree()
    metric, other = TreeMetric(FLAT), np.full((2, 4), 77)
    with pytest.raises(DataError, match=r"image 'a': .*77"):
        metric.update("a", tree.parents, tree.height, contingency(tree.labels, other, 4))
    with pytest.raises(DataError, match=r"image 'a': .*4 leaves"):
        metric.update("a", tree.parents, tree.height, contingency(other * 0, other * 0, 1))
    with pytest.raises(DataError, match="as text"):
        metric.update(5, tree.parents, tree.height, contingency(tree.labels, other * 0, 4))
    assert len(metric) == 0


def test_no_image_no_score(images):
    metric = metric_of(FLAT, images)
    metric.reset()
    assert len(metric) == 0
    with pytest.raises(DataError, match="no image"):
        metric.compute()


@pytest.mark.parametrize(
    "options",
    [
        {"match": "best"},
        {"threshold": -0.1},
        {"threshold": float("nan")},
        {"budgets": (0,)},
        {"budgets": (5, 5)},
        {"budgets": (1.5,)},
    ],
)
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        TreeMetric(FLAT, **options)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("match", TreeMetric(FLAT, match="hungarian")),
        ("threshold", TreeMetric(FLAT, threshold=0.5)),
        ("budgets", TreeMetric(FLAT, budgets=(5,))),
        ("classes", TreeMetric(NESTED)),
        ("classes", TreeMetric(dataclasses.replace(FLAT, class_of_id={0: 0, 2: 1}))),
        ("classes", TreeMetric(dataclasses.replace(FLAT, background=None))),
    ],
)
def test_metrics_of_other_settings_or_classes_do_not_mix(key, other):
    metric = TreeMetric(FLAT)
    with pytest.raises(DataError, match=f"other {key}"):
        metric.merge(other)
    with pytest.raises(DataError, match=f"other {key}"):
        metric.merge_state(other.state())
    if key == "classes":
        with pytest.raises(DataError, match="other classes"):
            TreeMetric.from_state(FLAT, other.state())


def test_a_state_brings_its_settings_back(images):
    metric = metric_of(FLAT, images, match="hungarian", threshold=0.1, budgets=(3, 4))
    back = TreeMetric.from_state(FLAT, json.loads(json.dumps(metric.state())))
    assert back.settings == metric.settings
    assert back.compute() == metric.compute()


def changed(state: dict, path: str, value: object) -> dict:
    """A copy of a state with one entry replaced, or taken out where the value is ...."""
    state = copy.deepcopy(state)
    *way, last = path.split(".")
    at = state
    for step in way:
        at = at[step]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return state


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metric", "CoveringMetric"),
        ("images", ...),
        ("extra", 1),
        ("settings.match", "best"),
        ("settings.budgets", [2, 1]),
        ("settings.threshold", float("nan")),
        ("images.a", 7),
        ("images.a.tp", [4, -1]),
        ("images.a.tp", [4, 3.5]),
        ("images.a.tp", [4]),
        ("images.a.tp", [4, 2**60]),
        ("images.a.tp", [4, 0]),
        ("images.a.classes", [1, 0]),
        ("images.a.classes", [0, 2]),
        ("images.a.whole.nm", 1.1),
        ("images.a.whole.nm", float("inf")),
        ("images.a.whole.nodes", "6"),
        ("images.a.budgets", []),
        ("images.a", {1, 2}),
    ],
)
def test_a_damaged_state_is_refused(path, value, images):
    state = changed(metric_of(FLAT, images, budgets=(2,)).state(), path, value)
    with pytest.raises(DataError, match="state"):
        TreeMetric.from_state(FLAT, state)


# -- real ground truth ----------------------------------------------------------------------------


def golden_tree(path: Path) -> RegionTree:
    """A published tree, its nodes renumbered: leaves first, every parent after its children."""
    with np.load(path, allow_pickle=False) as archive:
        parents, patches = archive["parents"].astype(int), archive["node_of_patch"].astype(int)
    depth = [0] * len(parents)
    for node in range(len(parents)):
        at = node
        while parents[at] >= 0:
            at, depth[node] = parents[at], depth[node] + 1
    inner = set(parents.tolist()) - {-1}
    order = sorted(range(len(parents)), key=lambda node: (node in inner, -depth[node], node))
    new = np.argsort(order)
    root = len(parents) - 1
    linked = np.array([root if parents[old] < 0 else new[parents[old]] for old in order])
    height = np.array([max(depth) - depth[old] if old in inner else 0 for old in order])
    return RegionTree(labels=new[patches], parents=linked, height=height)


def test_the_published_trees_have_their_known_score(golden, data):
    """75.8: their mean NMCovering on the patch grid, classes of VOC 2012, background among them."""
    names = tuple(f"class {c}" for c in range(21))
    classes = ClassTree(names, [-1] * 21, {c: c for c in range(21)}, frozenset({255}), 0)
    metric = TreeMetric(classes)
    for path in golden:
        tree = golden_tree(path)
        with Image.open(data / "voc2012" / "annotations" / f"{path.stem}.png") as mask:
            truth = np.asarray(mask.resize(tree.shape[::-1], Image.Resampling.NEAREST))
        table = contingency(tree.labels, truth, tree.n_leaves)
        metric.update(path.stem, tree.parents, tree.height, table)
    scores = metric.compute()
    assert 100 * scores.nm_covering == pytest.approx(75.8, abs=0.05)
    assert scores.nh_covering == scores.nm_covering  # without a hierarchy of classes


def test_stripes_in_a_balanced_tree_and_in_a_chain():
    """What docs/notebooks/reading-the-numbers.ipynb says of its curve."""
    columns = np.arange(64)[None]
    row, n, balanced = list(range(64)), 64, [126] * 127
    while len(row) > 1:
        for k in range(0, len(row), 2):
            balanced[row[k]] = balanced[row[k + 1]] = n + k // 2
        row = list(range(n, n + len(row) // 2))
        n += len(row)
    chain = [64, *range(64, 127), *range(65, 127), 126]
    classes = ClassTree(("a", "b", "c", "d"), [-1] * 4, {1: 0, 2: 1, 3: 2, 4: 3})
    for parents, found in ((balanced, [6, 1.0]), (chain, [126, None])):
        height = np.zeros(127)
        for node, parent in enumerate(parents[:-1]):
            height[parent] = max(height[parent], height[node] + 1)
        tree = RegionTree(labels=columns, parents=parents, height=height / height.max())
        table = contingency(tree.labels, columns // 16 + 1, 64)
        metric = TreeMetric(classes, budgets=(found[0],))
        metric.update("a", tree.parents, tree.height, table)
        (point,) = metric.compute().curve
        if found[1] is None:
            score = score_tree(tree.parents, table, classes)
            assert [round(float(iou), 2) == 1 for iou in score.iou] == [True, False, False, False]
        else:
            assert (point.nodes, point.nm) == (6, 1.0)
