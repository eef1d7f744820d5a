"""The boundary F-measure of BSDS500: matchings held to all matchings, sums worked out by hand."""

from __future__ import annotations

import copy
import json
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import label
from trees import hand_tree, random_tree, trees

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import ContourMetric, match_borders
from regiontree.metrics.boundary import region_borders
from regiontree.metrics.contours import thin_borders
from regiontree.tree import RegionTree

HEIGHTS = (1.0, 0.5, 0.25, 0.1, 0.0)


@st.composite
def pictures(draw: st.DrawFn, side: int, share: float) -> np.ndarray:
    shape = draw(st.integers(1, side)), draw(st.integers(1, side))
    return np.random.default_rng(draw(st.integers(0, 2**32 - 1))).random(shape) < share


# -- thinning -------------------------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(border=st.sampled_from([0.2, 0.5, 0.8, 1.0]).flatmap(lambda p: pictures(20, p)))
def test_thinning_is_that_of_scikit_image(border):
    morphology = pytest.importorskip("skimage.morphology")
    assert np.array_equal(thin_borders(border), morphology.thin(border))


@settings(max_examples=100, deadline=None)
@given(tree=trees(max_side=12))
def test_thinning_removes_pixels_and_divides_nothing(tree):
    border = region_borders(tree.labels)
    thin = thin_borders(border)
    assert not (thin & ~border).any()
    eight = np.ones((3, 3))
    assert label(thin, eight)[1] == label(border, eight)[1]
    assert np.array_equal(thin_borders(thin), thin)


def test_a_line_of_one_pixel_stays_and_a_thick_one_becomes_thin():
    line = np.zeros((9, 9), bool)
    line[4] = True
    assert np.array_equal(thin_borders(line), line)
    thick = np.zeros((9, 20), bool)
    thick[3:6] = True
    assert thin_borders(thick)[:, 3:-3].sum(axis=0).tolist() == [1] * 14


# -- matching -------------------------------------------------------------------------------------


def best_matching(a: np.ndarray, b: np.ndarray, distance: float) -> tuple[int, float]:
    """Most pairs, and the smallest sum of distances with so many: every matching is tried."""
    ours, theirs = np.argwhere(a), np.argwhere(b)
    apart = np.hypot(*(ours[:, None] - theirs[None]).transpose(2, 0, 1))

    @cache
    def best(i: int, taken: int) -> tuple[int, float]:
        if i == len(ours):
            return 0, 0.0
        found = best(i + 1, taken)
        for j in range(len(theirs)):
            if apart[i, j] <= distance and not taken >> j & 1:
                pairs, total = best(i + 1, taken | 1 << j)
                found = min(found, (pairs - 1, total + apart[i, j]))
        return found

    pairs, total = best(0, 0)
    return -pairs, total


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), distance=st.sampled_from([0, 1, 1.5, 2, 3, 4.4]))
def test_matchings_are_the_best_of_all(seed, distance):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 6, 2))
    a, b = (rng.random(shape) < rng.choice([0.15, 0.3]) for _ in range(2))
    ours, theirs = match_borders(a, b, distance)
    assert not (ours & ~a).any()
    assert not (theirs & ~b).any()
    pairs, total = best_matching(a, b, distance)
    assert ours.sum() == theirs.sum() == pairs
    # The pixels that were chosen can be paired with the smallest sum there is.
    again, cost = best_matching(ours, theirs, distance)
    assert again == pairs
    assert cost == pytest.approx(total)


def test_more_pairs_come_before_near_ones():
    # The middle pixels are 1 apart. Two pairs need both of them, each with an outer one.
    a, b = np.array([[1, 0, 0, 1, 0, 0]], bool), np.array([[0, 0, 1, 0, 0, 1]], bool)
    assert [int(side.sum()) for side in match_borders(a, b, 2)] == [2, 2]
    assert [int(side.sum()) for side in match_borders(a, b, 1)] == [1, 1]
    assert [int(side.sum()) for side in match_borders(a, np.zeros_like(a), 9)] == [0, 0]


def test_borders_of_two_sizes_are_refused():
    with pytest.raises(DataError, match=r"\(2, 2\).*\(2, 3\)"):
        match_borders(np.ones((2, 2), bool), np.ones((2, 3), bool), 1)


# -- figures --------------------------------------------------------------------------------------


def columns(*widths: int, rows: int = 8) -> np.ndarray:
    """Regions side by side of such widths."""
    return np.repeat(np.arange(len(widths)), widths)[None].repeat(rows, axis=0)


def chain(*heights: float) -> tuple[np.ndarray, np.ndarray]:
    """Parents and heights of a tree that joins leaves 0 and 1, then 2, then 3, and so on."""
    n = len(heights) + 1
    inner = np.arange(n, 2 * n - 1)
    parents = np.concatenate([[n], inner, inner[1:], inner[-1:]])
    return parents, np.concatenate([np.zeros(n), heights])


def test_two_people_by_hand():
    """Columns of 4 pixels; a person divides after the first column, another nowhere near a border.

    An upright border of 8 rows is 8 pixels. The tolerance is 1 pixel. At height .5 the cut divides
    at 12 only; at 0 at 4 and at 12. Person A divides at 4 and B at 5 and at 20.
    """
    labels = columns(4, 8, 12)
    parents, height = chain(0.5, 1.0)
    people = [columns(4, 20), columns(5, 15, 4)]
    metric = ContourMetric(scales=(1.0, 0.5, 0.0), tolerance=1 / np.hypot(*labels.shape))
    metric.update("a", parents, height, labels, people)
    scores = metric.compute()
    whole, coarse, fine = scores.curve
    assert [point.regions for point in scores.curve] == [1, 2, 3]
    assert (whole.precision, whole.recall, whole.f) == (0, 0, 0)
    assert (coarse.precision, coarse.recall, coarse.f) == (0, 0, 0)
    # The border at 4 matches A's and B's: 8 of its 16 pixels count once, 16 of the people's 24.
    assert (fine.precision, fine.recall) == (8 / 16, 16 / 24)
    assert fine.f == pytest.approx(4 / 7)
    assert (scores.ods, scores.ods_scale, scores.ois) == (fine.f, 0.0, fine.f)
    assert (scores.images, scores.nodes, scores.leaves) == (1, 4, 3)
    # Precision rises from 0 at a recall of 0 to 1/2 at 2/3: .75 times the recall, to .66.
    assert scores.ap == pytest.approx(0.75 * sum(range(67)) / 100 / 100)


@pytest.mark.parametrize(("away", "f"), [(4, 1), (5, 0)])
def test_the_published_tolerance_is_four_pixels_at_the_size_of_bsds500(away, f):
    parents, height = chain(1.0)
    metric = ContourMetric(scales=(0.5,))
    labels = columns(200, 281, rows=321)
    metric.update("a", parents, height, labels, [columns(200 + away, 281 - away, rows=321)])
    assert metric.compute().ods == f


def two_images(metric: ContourMetric) -> None:
    """Image a is right when coarse, b when fine; b has twice the rows, so twice the pixels."""
    parents, height = chain(0.5, 1.0)
    metric.update("a", parents, height, columns(4, 8, 12), [columns(12, 12)])
    metric.update("b", parents, height, columns(4, 8, 12, rows=16), [columns(4, 8, 12, rows=16)])


def test_counts_are_summed_over_images():
    metric = ContourMetric(scales=(0.5, 0.0), tolerance=0.02)
    two_images(metric)
    scores = metric.compute()
    coarse, fine = scores.curve
    # Coarse: 8 and 16 pixels, all right, of 8 and 32. Fine: 16 and 32 pixels, 8 and 32 right.
    assert (coarse.precision, coarse.recall) == (1, 24 / 40)
    assert (fine.precision, fine.recall) == (40 / 48, 1)
    assert (scores.ods, scores.ods_scale) == (fine.f, 0.0)
    assert scores.ois == 1
    # From 1 at a recall of .6 to 5/6 at 1; nothing below .6.
    assert scores.ap == pytest.approx(np.linspace(1, 40 / 48, 41).sum() / 100)


def test_a_scale_is_also_a_number_of_regions():
    labels, (parents, height) = columns(4, 8, 12), chain(0.5, 1.0)
    metric = ContourMetric(scale="regions", scales=(1, 2, 3))
    metric.update("a", parents, height, labels, [columns(12, 12)])
    assert [point.f for point in metric.compute().curve] == pytest.approx([0, 1, 2 / 3])


@settings(max_examples=40, deadline=None)
@given(tree=trees(max_side=8), seed=st.integers(0, 2**32 - 1), people=st.integers(1, 3))
def test_counts_are_those_of_the_trees_cuts(tree, seed, people):
    rng = np.random.default_rng(seed)
    truths = [rng.integers(0, 3, tree.shape) for _ in range(people)]
    metric = ContourMetric(scales=HEIGHTS, tolerance=0.15)
    metric.update("a", tree.parents, tree.height, tree.labels, truths)
    record = metric.state()["images"]["a"]
    distance = 0.15 * np.hypot(*tree.shape)
    drawn = [thin_borders(region_borders(truth)) for truth in truths]
    assert record["truth"] == sum(int(border.sum()) for border in drawn)
    for s, height in enumerate(HEIGHTS):
        cut = tree.cut(height=height)
        border = thin_borders(region_borders(cut))
        pairs = [match_borders(border, other, distance) for other in drawn]
        assert record["regions"][s] == len(np.unique(cut))
        assert record["cut"][s] == border.sum()
        assert record["cut_matched"][s] == np.any([ours for ours, _ in pairs], axis=0).sum()
        assert record["truth_matched"][s] == sum(theirs.sum() for _, theirs in pairs)


# -- merging and states ---------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(data=st.data(), some=st.lists(trees(), min_size=1, max_size=4))
def test_however_images_are_shared_out_the_scores_are_the_same_to_the_bit(data, some):
    whole, shards = ContourMetric(), [ContourMetric() for _ in range(2)]
    for k, tree in enumerate(some):
        truth = np.random.default_rng(k).integers(0, 3, tree.shape)
        given = (str(k), tree.parents, tree.height, tree.labels, [truth])
        whole.update(*given)
        shards[data.draw(st.integers(0, 1))].update(*given)
    total = ContourMetric()
    for shard in reversed(shards):
        total.merge_state(json.loads(json.dumps(shard.state())))
    assert total.compute() == whole.compute()
    assert ContourMetric.from_state(json.loads(json.dumps(total.state()))).state() == whole.state()
    assert 0 <= whole.compute().ods <= 1
    assert 0 <= whole.compute().ap <= 1


@pytest.mark.parametrize(
    ("key", "value"),
    [("cut", [1]), ("cut", [-1, 2]), ("cut_matched", [9, 9]), ("truth_matched", [0, 99]),
     ("regions", [0, 1]), ("truth", None), ("more", 1)],
)  # fmt: skip
def test_a_damaged_state_is_refused(key, value):
    tree = random_tree(np.random.default_rng(0), 5, (4, 4))
    metric = ContourMetric(scales=(0.5, 0.0))
    metric.update("a", tree.parents, tree.height, tree.labels, [tree.labels])
    state = copy.deepcopy(metric.state())
    state["images"]["a"][key] = value
    with pytest.raises(DataError, match="state"):
        ContourMetric.from_state(state)


def test_metrics_of_other_settings_do_not_mix():
    with pytest.raises(DataError, match="other tolerance"):
        ContourMetric().merge(ContourMetric(tolerance=0.01))
    with pytest.raises(DataError, match="other scale"):
        ContourMetric().merge(ContourMetric(scale="regions"))


@pytest.mark.parametrize(
    "options",
    [{"scale": "depth"}, {"scales": ()}, {"scales": (0, 1)}, {"tolerance": -0.1},
     {"tolerance": 2}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        ContourMetric(**options)


def test_the_metric_needs_an_image_an_annotator_leaves_and_one_size():
    tree, metric = hand_tree(), ContourMetric()
    with pytest.raises(DataError, match="no image"):
        metric.compute()
    with pytest.raises(DataError, match="'a' has no annotator"):
        metric.update("a", tree.parents, tree.height, tree.labels, [])
    with pytest.raises(DataError, match=r"labels must be leaves.* got 0 to 9"):
        metric.update("a", tree.parents, tree.height, np.array([[0, 9]]), [np.array([[1, 2]])])
    with pytest.raises(DataError, match=r"one shape.*\(2, 3\), \(2, 4\)"):
        metric.update("a", tree.parents, tree.height, tree.labels, [np.zeros((2, 3), int)])


def test_images_without_any_border_score_nothing():
    tree = RegionTree(labels=[[0, 0]], parents=[0], height=[0])
    metric = ContourMetric()
    metric.update("a", tree.parents, tree.height, tree.labels, [np.zeros((1, 2), int)])
    scores = metric.compute()
    assert (scores.ods, scores.ois, scores.ap) == (0, 0, 0)


def test_people_match_each_other_more_than_a_grid(data):
    """One person's segmentation as a tree: F is 1 against that person, and high against all."""
    from PIL import Image

    folder = data / "bsds500" / "annotations_multi"
    stem = sorted(folder.glob("*_a0.png"))[0].stem[:-3]
    people = []
    for path in sorted(folder.glob(f"{stem}_a*.png")):
        with Image.open(path) as mask:
            people.append(np.asarray(mask).astype(np.int32))

    def f(segmentation: np.ndarray, truths: list[np.ndarray]) -> float:
        labels = np.unique(segmentation, return_inverse=True)[1].reshape(segmentation.shape)
        count = int(labels.max()) + 1
        metric = ContourMetric(scales=(0.5,))
        metric.update(
            "a", np.full(count + 1, count), np.array([0.0] * count + [1.0]), labels, truths
        )
        return metric.compute().ods

    y, x = np.indices(people[0].shape)
    assert f(people[0], people[:1]) == 1
    assert f(people[0], people[1:]) > 0.6 > f(y // 20 * 100 + x // 20, people[1:])
