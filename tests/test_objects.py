"""F for objects and parts: figures worked out by hand, and loops over masks."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import hand_tree, random_tree, trees

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import ObjectsMetric, contingency, object_scores
from regiontree.tree import RegionTree

HEIGHTS = (1.0, 0.5, 0.25, 0.1, 0.0)


# -- the definition, with masks -------------------------------------------------------------------


def candidates(masks: list[np.ndarray]) -> list[bool]:
    """Whether fewer than 99 % of the pixels are in regions before this one, by size."""
    order = sorted(range(len(masks)), key=lambda i: (-masks[i].sum(), i))
    whole = masks[0].size
    found = [False] * len(masks)
    for at, i in enumerate(order):
        found[i] = bool(100 * sum(int(masks[j].sum()) for j in order[:at]) < 99 * whole)
    return found


def worth(kinds: list[set[str]], shares: list[float], counted: list[bool]) -> float:
    total = 0.0
    for kind, share, counts in zip(kinds, shares, counted, strict=True):
        total += 1 if "object" in kind else 0.1 if "part" in kind else share if counts else 0
    return total


def by_masks(
    regions: list[np.ndarray], people: list[np.ndarray], objects: float, parts: float
) -> tuple[float, float]:
    ours = candidates(regions)
    kinds: list[set[str]] = [set() for _ in regions]
    shares = [0.0 for _ in regions]
    recalled, counted = 0.0, 0
    for person in people:
        truths = [person == value for value in np.unique(person)]
        theirs = candidates(truths)
        drawn: list[set[str]] = [set() for _ in truths]
        divided = [0.0 for _ in truths]
        for i, region in enumerate(regions):
            for j, truth in enumerate(truths):
                both = (region & truth).sum()
                p, r = both / region.sum(), both / truth.sum()
                if p >= objects and r < objects:
                    divided[j] += r
                if r >= objects and p < objects:
                    shares[i] += p / len(people)
                if not (ours[i] and theirs[j]):
                    continue
                if p >= objects and r >= objects:
                    kinds[i].add("object")
                    drawn[j].add("object")
                elif p >= objects and r >= parts:
                    kinds[i].add("part")
                elif r >= objects and p >= parts:
                    drawn[j].add("part")
        recalled += worth(drawn, divided, theirs)
        counted += sum(theirs)
    return worth(kinds, shares, ours) / sum(ours), recalled / counted


@st.composite
def segmentations(draw: st.DrawFn) -> tuple[np.ndarray, list[np.ndarray]]:
    """A partition, and people who drew nearly the same, coarser or finer."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = tuple(rng.integers(1, 15, 2))
    labels = rng.integers(0, draw(st.integers(1, 8)), shape)
    people = []
    for _ in range(draw(st.integers(1, 3))):
        coarser = rng.integers(0, 4, 8)[labels] * 10
        finer = labels * 10 + rng.integers(0, 2, shape) * (labels % 2)
        person = (labels, coarser, finer)[rng.integers(3)].copy()
        person[rng.random(shape) < draw(st.sampled_from([0, 0.02, 0.1]))] = 99
        people.append(person)
    return labels, people


@settings(max_examples=200, deadline=None)
@given(
    case=segmentations(),
    objects=st.sampled_from([0.6, 0.8, 0.95, 1.0]),
    parts=st.sampled_from([0.0, 0.25, 0.5]),
)
def test_scores_are_those_of_masks(case, objects, parts):
    labels, people = case
    values = np.unique(labels)
    index = np.searchsorted(values, labels)
    overlaps = [contingency(index, person, len(values)).counts for person in people]
    found = object_scores(overlaps, object_share=objects, part_share=parts)
    expected = by_masks([labels == value for value in values], people, objects, parts)
    assert found == pytest.approx(expected, abs=1e-12)


# -- by hand --------------------------------------------------------------------------------------


def test_equal_partitions_are_all_objects():
    assert object_scores([np.diag([30, 40, 50])] * 2) == (1, 1)


def test_a_region_that_is_two_regions_of_the_truth():
    """The reverse of an object in parts: both regions of the truth are parts or too small.

    80 and 20 of 100 pixels: the first is a part of the region, .25 <= .8; the second is not. The
    region is divided wholly: .8 + .2.
    """
    precision, recall = object_scores([np.array([[80, 20]])])
    assert (precision, recall) == (1, pytest.approx(0.1 / 2))


def test_an_object_may_differ_by_a_tenth():
    # 90 of 100 pixels each way are an object; 89 of 100 are neither an object nor inside the other.
    ninety = [np.array([[90, 10], [10, 90]])]
    assert object_scores(ninety) == (1, 1)
    assert object_scores([np.array([[89, 11], [11, 89]])]) == (0, 0)
    assert object_scores(ninety, object_share=0.95) == (0, 0)


def test_small_regions_are_no_candidates():
    # 99 % are in the first two regions, so the third, of 10 pixels, does not count.
    table = np.diag([600, 390, 10])
    assert object_scores([table]) == (1, 1)
    precision, recall = object_scores([table[:, :2] + np.array([[0, 0], [0, 0], [0, 10]])])
    assert (precision, recall) == (1, 1)
    # With 11 of them the larger regions fill 98.9 %: it counts, and is no part of 400 pixels.
    precision, recall = object_scores([np.array([[600, 0], [0, 389], [0, 11]])])
    assert (precision, recall) == (pytest.approx(2 / 3), 1)


def test_one_annotator_is_enough_for_an_object():
    """A has both regions, B only the whole image.

    Precision: both are objects of A. Recall: two objects of A. B's region is divided: .5 + .5. So
    3 of 3.
    """
    assert object_scores([np.diag([50, 50]), np.array([[50], [50]])]) == (1, 1)
    # B alone: both regions are parts, .1 each.
    assert object_scores([np.array([[50], [50]])]) == (pytest.approx(0.1), 1)


def test_divided_shares_are_means_over_annotators():
    """Two regions of 100 pixels. A divided the first into 80 and 20, B drew something else.

    Precision: the first is divided by A, .8 + .2, and not by B: 1/2. The second is an object of A.
    Recall: of A a part, a region that is too small for a part, and an object; of B two misses.
    """
    a, b = np.array([[80, 20, 0], [0, 0, 100]]), np.array([[50, 50], [50, 50]])
    precision, recall = object_scores([a, b])
    assert precision == pytest.approx((1 / 2 + 1) / 2)
    assert recall == pytest.approx((0.1 + 0 + 1 + 0 + 0) / 5)


# -- a data set -----------------------------------------------------------------------------------


def two_images(**options) -> ObjectsMetric:
    """Image a is one region and b two; the tree divides one height above and one below."""
    tree = RegionTree(labels=[[0, 0, 1, 1]], parents=[2, 2, 2], height=[0, 0, 0.5])
    metric = ObjectsMetric(scales=(1.0, 0.0), **options)
    for image, truth in {"a": [[4, 4, 4, 4]], "b": [[4, 4, 5, 5]]}.items():
        table = contingency(tree.labels, np.array(truth), 2)
        metric.update(image, tree.parents, tree.height, [table])
    return metric


def test_precision_and_recall_are_means_over_images():
    scores = two_images().compute()
    coarse, fine = scores.curve
    # Coarse: a is an object. b is divided wholly, and its two regions are parts of the whole.
    assert (coarse.precision, coarse.recall) == (1, pytest.approx((1 + 0.1) / 2))
    # Fine: a is in two parts, and divided wholly. b is right.
    assert (fine.precision, fine.recall) == (pytest.approx((0.1 + 1) / 2), 1)
    f = 2 * 0.55 / 1.55
    assert (coarse.f, fine.f) == (pytest.approx(f), pytest.approx(f))
    assert (scores.ods, scores.ois) == (pytest.approx(f), 1)
    assert [point.regions for point in scores.curve] == [1, 2]
    assert (scores.images, scores.nodes, scores.leaves) == (2, 2, 2)


@settings(max_examples=60, deadline=None)
@given(tree=trees(), seed=st.integers(0, 2**32 - 1), people=st.integers(1, 3))
def test_scores_are_those_of_the_trees_cuts(tree, seed, people):
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(0, 3, tree.shape) for _ in range(people)]
    tables = [contingency(tree.labels, person, tree.n_leaves) for person in drawn]
    metric = ObjectsMetric(scales=HEIGHTS)
    metric.update("a", tree.parents, tree.height, tables)
    scores = metric.compute()
    for point in scores.curve:
        cut = tree.cut(height=point.scale)
        masks = [cut == k for k in np.unique(cut)]
        expected = by_masks(masks, drawn, 0.9, 0.25)
        assert (point.precision, point.recall) == pytest.approx(expected, abs=1e-12)
    assert scores.ods == scores.ois == max(point.f for point in scores.curve)


@settings(max_examples=25, deadline=None)
@given(data=st.data(), some=st.lists(trees(), min_size=1, max_size=4))
def test_however_images_are_shared_out_the_scores_are_the_same_to_the_bit(data, some):
    whole, shards = ObjectsMetric(), [ObjectsMetric() for _ in range(2)]
    for k, tree in enumerate(some):
        truth = np.random.default_rng(k).integers(0, 3, tree.shape)
        table = contingency(tree.labels, truth, tree.n_leaves)
        for metric in (whole, shards[data.draw(st.integers(0, 1))]):
            metric.update(str(k), tree.parents, tree.height, [table])
    total = ObjectsMetric()
    for shard in reversed(shards):
        total.merge_state(json.loads(json.dumps(shard.state())))
    assert total.compute() == whole.compute()
    assert ObjectsMetric.from_state(json.loads(json.dumps(total.state()))).state() == whole.state()


@pytest.mark.parametrize(
    ("key", "value"),
    [("precision", [0.5]), ("recall", [0.5, 1.5]), ("regions", [0, 1]), ("leaves", None),
     ("more", 1)],
)  # fmt: skip
def test_a_damaged_state_is_refused(key, value):
    state = copy.deepcopy(two_images().state())
    state["images"]["a"][key] = value
    with pytest.raises(DataError, match="state"):
        ObjectsMetric.from_state(state)


def test_metrics_of_other_settings_do_not_mix():
    with pytest.raises(DataError, match="other part_weight"):
        ObjectsMetric().merge(ObjectsMetric(part_weight=0.5))
    with pytest.raises(DataError, match="other scale"):
        ObjectsMetric().merge(ObjectsMetric(scale="regions"))


@pytest.mark.parametrize(
    "options",
    [{"scale": "depth"}, {"scales": (0, 1)}, {"object_share": 0.5}, {"object_share": 1.1},
     {"part_share": 0.91}, {"part_weight": -1}],
)  # fmt: skip
def test_settings_out_of_range_are_refused(options):
    with pytest.raises(SettingsError, match=next(iter(options))):
        ObjectsMetric(**options)


def test_an_image_needs_people_who_saw_the_same_image():
    tree, metric = hand_tree(), ObjectsMetric()
    with pytest.raises(DataError, match="'a' has no annotator"):
        metric.update("a", tree.parents, tree.height, [])
    tables = [
        contingency(np.zeros(shape, int), np.zeros(shape, int), 4) for shape in [(2, 2), (3, 2)]
    ]
    with pytest.raises(DataError, match="not of the same pixels"):
        metric.update("a", tree.parents, tree.height, tables)
    other = random_tree(np.random.default_rng(0), 3, (2, 4))
    with pytest.raises(DataError, match=r"image 'a': .*3 rows"):
        metric.update("a", tree.parents, tree.height, [contingency(other.labels, other.labels, 3)])
    with pytest.raises(DataError, match="no image"):
        metric.compute()
