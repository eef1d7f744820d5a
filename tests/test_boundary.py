"""Boundary F: the scores are those of a search over all pairs of border pixels."""

from __future__ import annotations

import copy
import json
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import hand_tree, trees

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import BoundaryMetric, ClassTree, boundary_scores
from regiontree.metrics.boundary import true_borders
from regiontree.tree import RegionTree

Mask = np.ndarray
DISTANCES, CUTS = (0, 1, 2.5), (1, 2, 4)


# -- from the definition --------------------------------------------------------------------------


def border_pixels(labels: Mask) -> set[tuple[int, int]]:
    height, width = labels.shape
    return {
        (y, x)
        for y, x in product(range(height), range(width))
        for dy, dx in ((0, 1), (1, 0))
        if y + dy < height and x + dx < width and labels[y, x] != labels[y + dy, x + dx]
    }


def near(pixel: tuple[int, int], others: set[tuple[int, int]], most: float) -> bool:
    return any(np.hypot(pixel[0] - y, pixel[1] - x) <= most for y, x in others)


def from_definition(regions: Mask, truth: Mask, most: float, margin: float) -> list[float]:
    """Precision, recall, F; `truth` has at most one nearest region for each ignored pixel."""
    known = [at for at in np.ndindex(truth.shape) if truth[at] >= 0]
    filled, counted = truth.copy(), set()
    for at in np.ndindex(truth.shape):
        away, nearest = min((np.hypot(at[0] - y, at[1] - x), (y, x)) for y, x in known)
        filled[at] = truth[nearest]
        if away <= margin:
            counted.add(at)
    cut, true = border_pixels(regions) & counted, border_pixels(filled) & counted
    if not cut or not true:
        return [float(bool(cut) == bool(true))] * 3
    precision = sum(near(pixel, true, most) for pixel in cut) / len(cut)
    recall = sum(near(pixel, cut, most) for pixel in true) / len(true)
    return [precision, recall, 2 * precision * recall / max(precision + recall, 1e-12)]


def masks(shape: tuple[int, int], most: int = 3) -> st.SearchStrategy[Mask]:
    pixels = shape[0] * shape[1]
    values = st.lists(st.integers(0, most), min_size=pixels, max_size=pixels)
    return values.map(lambda v: np.array(v).reshape(shape))


# -- one partition --------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(data=st.data(), height=st.integers(1, 7), width=st.integers(1, 7))
def test_scores_are_those_of_all_pairs_of_border_pixels(data, height, width):
    regions, truth = (data.draw(masks((height, width))) for _ in range(2))
    scores = boundary_scores(regions, truth, distances=DISTANCES)
    assert scores.shape == (3, 3)
    for row, most in zip(scores, DISTANCES, strict=True):
        assert row == pytest.approx(from_definition(regions, truth, most, 6))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), margin=st.sampled_from([0.0, 1.0, 2.0]), band=st.integers(1, 6))
def test_an_ignored_band_takes_the_nearest_region(data, margin, band):
    """A band of columns: the nearest known pixel of an even band is one, and is in the row."""
    regions = data.draw(masks((3, 10)))
    truth = np.zeros((3, 10), dtype=int)
    truth[:, 5:] = 1
    left = 5 - band // 2
    truth[:, left : left + band - band % 2] = -1
    for row, most in zip(
        boundary_scores(regions, true_borders(truth, margin=margin), distances=DISTANCES),
        DISTANCES,
        strict=True,
    ):
        assert row == pytest.approx(from_definition(regions, truth, most, margin))


def test_a_border_in_the_middle_of_a_wide_ignored_area_does_not_count():
    truth = np.full((1, 40), -1)
    truth[0, 0], truth[0, -1] = 1, 2
    borders = true_borders(truth)
    assert borders.regions == 2
    assert not borders.border.any()
    # Neither side has a border that counts: the truth does not say where this one belongs.
    assert boundary_scores((np.arange(40) >= 20)[None].astype(int), borders).tolist() == [[1, 1, 1]]
    assert boundary_scores((np.arange(40) >= 3)[None].astype(int), borders).tolist() == [[0, 0, 0]]


@pytest.mark.parametrize(
    ("regions", "truth", "said"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3), int), r"\(2, 2\).*\(2, 3\)"),
        (np.zeros((2, 2), int), np.full((2, 2), -1), "only ignored"),
        (np.zeros((2, 2), int), np.zeros((2, 2)), "integers"),
    ],
)
def test_what_does_not_fit_is_refused(regions, truth, said):
    with pytest.raises(DataError, match=said):
        boundary_scores(regions, truth)


# -- a data set -----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(data=st.data(), tree=trees(), people=st.integers(1, 3))
def test_the_metric_scores_the_trees_own_cuts(data, tree, people):
    truths = [data.draw(masks(tree.shape, 4)) for _ in range(people)]
    metric = BoundaryMetric(distances=DISTANCES, cuts=CUTS)
    metric.update("a", tree.parents, tree.height, tree.labels, truths)
    scores = metric.compute()
    assert (scores.images, scores.leaves) == (1, tree.n_leaves)
    for point in scores.points:
        asked = [
            from_definition(
                tree.cut(n_regions=max(2, len(np.unique(truth)))), truth, point.distance, 6
            )
            for truth in truths
        ]
        assert [point.precision, point.recall, point.f] == pytest.approx(np.mean(asked, axis=0))
        best = [
            max(from_definition(tree.cut(n_regions=k), truth, point.distance, 6)[2] for k in CUTS)
            for truth in truths
        ]
        assert point.best == pytest.approx(np.mean(best))


def test_classes_are_merged_and_ignored_as_the_label_tree_says():
    """Ids 1 and 2 are one class, 9 is ignored: the only true border is the tree's first one."""
    classes = ClassTree(("left", "right"), [-1, -1], {1: 0, 2: 0, 3: 1}, frozenset({9}))
    tree = RegionTree(labels=[[0, 0, 1, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    metric = BoundaryMetric(classes, distances=(0,), cuts=(2,))
    metric.update("a", tree.parents, tree.height, tree.labels, [np.array([[1, 2, 3, 3]])])
    metric.update("b", tree.parents, tree.height, tree.labels, [np.array([[9, 9, 9, 9]])])
    scores = metric.compute()
    assert (scores.images, scores.without_regions, scores.points[0].f) == (1, 1, 1.0)
    with pytest.raises(DataError, match="does not know"):
        metric.update("c", tree.parents, tree.height, tree.labels, [np.array([[1, 2, 3, 4]])])


def test_leaves_without_pixels_are_allowed():
    tree = hand_tree()
    metric = BoundaryMetric()
    metric.update("a", tree.parents, tree.height, np.array([[0, 3]]), [np.array([[5, 6]])])
    assert metric.compute().points[0].f == 1.0


@settings(max_examples=25, deadline=None)
@given(data=st.data(), some=st.lists(trees(), min_size=1, max_size=4))
def test_however_images_are_shared_out_the_scores_are_the_same_to_the_bit(data, some):
    whole, shards = BoundaryMetric(cuts=CUTS), [BoundaryMetric(cuts=CUTS) for _ in range(2)]
    for k, tree in enumerate(some):
        given = (str(k), tree.parents, tree.height, tree.labels, [data.draw(masks(tree.shape))])
        whole.update(*given)
        shards[data.draw(st.integers(0, 1))].update(*given)
    total = BoundaryMetric(cuts=CUTS)
    for shard in reversed(shards):
        total.merge_state(json.loads(json.dumps(shard.state())))
    assert total.compute() == whole.compute()
    back = BoundaryMetric.from_state(None, json.loads(json.dumps(total.state())))
    assert back.state() == whole.state()


@pytest.mark.parametrize(
    ("key", "value"), [("f", [0.5]), ("best", [0.5, 2.0]), ("nodes", -1), ("more", 1)]
)
def test_a_damaged_state_is_refused(key, value):
    tree, metric = hand_tree(), BoundaryMetric()
    metric.update("a", tree.parents, tree.height, tree.labels, [tree.labels])
    state = copy.deepcopy(metric.state())
    state["images"]["a"][key] = value
    with pytest.raises(DataError, match="state"):
        BoundaryMetric.from_state(None, state)


def test_metrics_of_other_settings_or_classes_do_not_mix():
    classes = ClassTree(("a",), [-1], {0: 0})
    with pytest.raises(DataError, match="other classes"):
        BoundaryMetric().merge(BoundaryMetric(classes))
    with pytest.raises(DataError, match="other distances"):
        BoundaryMetric().merge(BoundaryMetric(distances=(2,)))


@pytest.mark.parametrize(
    "options",
    [{"distances": ()}, {"distances": (2, 2)}, {"distances": (-1,)}, {"cuts": (0,)},
     {"cuts": (3, 2)}, {"margin": -1}, {"cuts": (2.5,)}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        BoundaryMetric(**options)


def test_the_metric_needs_an_image_an_annotator_and_leaves():
    tree, metric = hand_tree(), BoundaryMetric()
    with pytest.raises(DataError, match="no image"):
        metric.compute()
    with pytest.raises(DataError, match="'a' has no annotator"):
        metric.update("a", tree.parents, tree.height, tree.labels, [])
    with pytest.raises(DataError, match=r"labels must be leaves.* got 0 to 9"):
        metric.update("a", tree.parents, tree.height, np.array([[0, 9]]), [np.array([[1, 2]])])
