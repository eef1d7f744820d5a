"""Categories against classes: by hand, and on random data against slow loops over pixels."""

from __future__ import annotations

from dataclasses import asdict
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import CategoryMetric, CategoryScores, ClassTree, prototype_table
from regiontree.metrics.matching import (
    category_counts,
    match_categories,
    name_categories,
    names_curve,
)
from regiontree.metrics.panoptic import PanopticCounts

NONE = np.zeros(2, np.int64)
SKY_SEA = ClassTree(("sky", "sea"), [-1, -1], {1: 0, 2: 1}, frozenset({0}))


def nested_cuts(rng: np.random.Generator, k: int) -> dict[int, np.ndarray]:
    """Random nested cuts of k prototypes into 1 to k categories."""
    cut = np.zeros(k, np.int64)
    cuts = {1: cut}
    for n in range(2, k + 1):
        large = [c for c in range(n - 1) if (cut == c).sum() > 1]
        members = np.flatnonzero(cut == rng.choice(large))
        cut = cut.copy()
        cut[rng.permutation(members)[: rng.integers(1, len(members))]] = n - 1
        cut = rng.permutation(n)[cut]  # the numbers of categories mean nothing
        cuts[n] = cut
    return cuts


# -- by hand --------------------------------------------------------------------------------------


def test_matching_by_hand():
    # Together 5 + 6 + 1 pixels are right. Each category alone would rather have class 1.
    counts = np.array([[5, 6, 0], [0, 6, 1], [0, 2, 1]])
    found = match_categories(counts, np.array([1, 0, 0]))
    assert found.category.tolist() == [0, 1, 2]
    assert found.accuracy == 12 / 22
    assert found.iou.tolist() == [5 / 12, 6 / 15, 1 / 4]
    assert found.miou == pytest.approx((5 / 12 + 6 / 15 + 1 / 4) / 3)


def test_a_class_without_a_category_has_iou_0_and_an_absent_class_none():
    found = match_categories(np.array([[4, 2, 0]]), np.array([0, 2, 0]))
    assert found.category.tolist() == [0, -1, -1]
    np.testing.assert_array_equal(found.iou, [4 / 6, 0, np.nan])
    assert found.miou == pytest.approx(2 / 6)


def test_a_pair_without_a_common_pixel_is_no_match():
    found = match_categories(np.array([[4, 0], [3, 0]]), np.array([0, 5]))
    assert found.category.tolist() == [0, -1]
    assert found.accuracy == 4 / 12


def test_names_by_hand():
    # Two categories are named 0 and one is named 1. The class 1 has 4 + 3 + 2 + 1 pixels.
    counts = np.array([[5, 4, 0], [0, 3, 1], [3, 2, 0], [0, 0, 0]])
    found = name_categories(counts, np.array([0, 1, 0]))
    assert found.name.tolist() == [0, 1, 0, -1]
    assert found.right == 11 / 19
    assert found.iou.tolist() == [8 / 14, 3 / 11, 0]


def test_the_curve_by_hand_ends_flat_after_as_many_names_as_prototypes():
    counts = np.array([[4, 0], [1, 2], [0, 2]])
    cuts = {1: np.zeros(3, int), 2: np.array([0, 0, 1]), 3: np.arange(3)}
    found = names_curve(counts, np.array([1, 0]), cuts.__getitem__, 5)
    assert found.tolist() == [0.5, 0.7, 0.8, 0.8, 0.8]


def test_panoptic_quality_by_hand():
    counts = PanopticCounts([np.array([0, 0]), np.array([0, 1])], 2)
    # Photograph 1: category 0 has 6 pixels of class 0 and 2 of class 1; 3 of class 1 are left.
    counts.update(np.array([[6, 2], [0, 3]]), NONE, NONE)
    # Photograph 2: category 0 has 2 of 5 pixels of class 0, category 1 has the others.
    counts.update(np.array([[2, 0], [3, 0]]), NONE, NONE)
    # IoU 6 / 8; in photograph 2, a false positive and a false negative of class 0.
    # IoU 3 / 5; in photograph 2, a false positive of class 1.
    found = counts.quality(2, np.array([0, 1]))
    assert found.tolist() == pytest.approx([(6 / 8) / 2, (3 / 5) / 1.5])
    # One category for everything: class 0 has 6 of 11 pixels, then all 5. Class 1 has none.
    assert counts.quality(1, np.array([0, -1])).tolist() == pytest.approx([(6 / 11 + 1) / 2, 0])


def test_a_segment_that_is_mostly_ignored_is_no_false_positive():
    counts = PanopticCounts([np.zeros(1, int)], 2)
    one_pixel = np.array([[0, 1]])
    counts.update(np.array([[5, 0]]), NONE, np.array([0]))
    counts.update(one_pixel, NONE, np.array([2]))
    assert counts.quality(1, np.array([0, -1]))[0] == 1
    counts.update(one_pixel, NONE, np.array([1]))  # half of it is not most of it
    assert counts.quality(1, np.array([0, -1]))[0] == 1 / 1.5


def test_an_iou_of_one_half_is_no_true_positive():
    counts = PanopticCounts([np.zeros(1, int)], 2)
    counts.update(np.array([[1, 0]]), np.array([1, 0]), np.array([0]))
    assert counts.quality(1, np.array([0, -1]))[0] == 0


def test_pixels_without_a_prototype_are_wrong_and_ignored_ones_left_out():
    metric = CategoryMetric(SKY_SEA, 2, {1: [0, 0], 2: [0, 1]}.__getitem__, names=(1, 2, 50))
    truth = np.array([[1, 1, 1, 2, 2, 0, 0]])
    metric.update(prototype_table(np.array([[0, 0, -1, 1, -1, 1, -1]]), truth, 2))
    found = metric.compute()
    assert (found.pixels, found.without_prototype) == (5, 2 / 5)
    assert found.accuracy == 3 / 5
    assert found.iou == {"sky": 2 / 3, "sea": 1 / 2}
    assert found.quality == {"sky": 2 / 3, "sea": 0}
    assert found.names == {1: 2 / 5, 2: 3 / 5, 50: 3 / 5}
    assert found.area == pytest.approx((2 / 5 + 99 * 3 / 5) / 100)
    assert (found.classes, found.categories, found.images) == (2, 2, 1)


def test_matching_is_of_the_data_set_and_not_of_a_photograph():
    """The two photographs use category 0 for different classes. Only one of them can be right."""
    metric = CategoryMetric(SKY_SEA, 2, {1: [0, 0], 2: [0, 1]}.__getitem__)
    for value in (1, 2):
        metric.update(prototype_table(np.zeros((1, 4), int), np.full((1, 4), value), 2))
    found = metric.compute()
    assert found.accuracy == 0.5
    assert sorted(found.iou.values()) == [0, 0.5]


def test_fewer_prototypes_than_classes_are_all_matched():
    three = ClassTree(("a", "b", "c"), [-1, -1, -1], {1: 0, 2: 1, 3: 2})
    metric = CategoryMetric(three, 2, {1: [0, 0], 2: [0, 1]}.__getitem__)
    metric.update(prototype_table(np.array([[0, 0, 1, 1]]), np.array([[1, 1, 2, 3]]), 2))
    found = metric.compute()
    assert (found.classes, found.categories) == (3, 2)
    assert found.category["a"] == 0
    assert sorted([found.category["b"] is None, found.category["c"] is None]) == [False, True]
    assert found.accuracy == 3 / 4


# -- bad input ------------------------------------------------------------------------------------


def test_nested_classes_are_refused():
    classes = ClassTree(("dog", "dog--head"), [-1, 0], {1: 0, 2: 1})
    with pytest.raises(DataError, match="'dog--head' lies in another class"):
        CategoryMetric(classes, 2, {1: [0, 0], 2: [0, 1]}.__getitem__)


@pytest.mark.parametrize(
    ("cuts", "said"),
    [
        ({1: [0, 0]}, r"division\(1\) must give each of the 3 prototypes .* of shape \(2,\)"),
        ({1: [0.0, 0, 0]}, "got float64"),
        ({1: [0, 1, 0]}, "from 0 to 0; got 0 to 1"),
        ({1: [0, 0, 0], 2: [0, 0, 1], 3: [0, 1, 0]}, r"division\(3\) has a category that lies in"),
    ],
)
def test_a_wrong_cut_is_named(cuts, said):
    three = ClassTree(("a", "b", "c"), [-1, -1, -1], {1: 0, 2: 1, 3: 2})
    with pytest.raises(DataError, match=said):
        CategoryMetric(three, 3, cuts.__getitem__)


def test_wrong_tables_are_named():
    metric = CategoryMetric(SKY_SEA, 2, {1: [0, 0], 2: [0, 1]}.__getitem__)
    with pytest.raises(DataError, match="no pixel of the ground truth has a class"):
        metric.compute()
    with pytest.raises(DataError, match="the table has 4 rows, but 2 prototypes"):
        metric.update(prototype_table(np.array([[0]]), np.array([[1]]), 3))
    with pytest.raises(DataError, match="mask holds 9"):
        metric.update(prototype_table(np.array([[0]]), np.array([[9]]), 2))
    with pytest.raises(DataError, match="prototypes are -1 to 1, got 2 to 2"):
        prototype_table(np.array([[2]]), np.array([[1]]), 2)
    with pytest.raises(DataError, match="both must be"):
        prototype_table(np.array([[1]]), np.array([[1, 1]]), 2)
    with pytest.raises(SettingsError, match="names"):
        CategoryMetric(SKY_SEA, 2, {1: [0, 0], 2: [0, 1]}.__getitem__, names=(0,))
    with pytest.raises(SettingsError, match="most"):
        CategoryMetric(SKY_SEA, 2, {1: [0, 0], 2: [0, 1]}.__getitem__, most=99)


# -- against slow loops ---------------------------------------------------------------------------


def slow_iou(photographs, category_of: dict[int, int], c: int) -> float:
    """IoU of class c with the pixels whose category is named c; -1 is no category."""
    inter = union = 0
    for categories, truth in photographs:
        for m, t in zip(categories, truth, strict=True):
            if t >= 0:
                predicted = m >= 0 and category_of.get(m) == c
                inter += predicted and t == c
                union += predicted or t == c
    return inter / union


def slow_right(photographs, category_of: dict[int, int]) -> float:
    pairs = [(m, t) for one in photographs for m, t in zip(*one, strict=True) if t >= 0]
    return sum(m >= 0 and category_of.get(m) == t for m, t in pairs) / len(pairs)


def slow_names(photographs, n: int) -> dict[int, int]:
    names = {}
    for m in range(n):
        own = [t for one in photographs for k, t in zip(*one, strict=True) if k == m and t >= 0]
        if own:
            names[m] = max(sorted(set(own)), key=own.count)
    return names


def slow_quality(photographs, m: int | None, c: int) -> float:
    hits, false, misses, total = 0, 0, 0, 0.0
    for categories, truth in photographs:
        truth, categories = np.array(truth), np.array(categories)
        segment = (categories == m) & (truth >= 0) if m is not None else np.zeros(len(truth), bool)
        region = truth == c
        union = (segment | region).sum()
        iou = (segment & region).sum() / union if union else 0.0
        if iou > 0.5:
            hits, total = hits + 1, total + iou
            continue
        misses += region.any()
        ignored = ((categories == m) & (truth < 0)).sum()
        false += segment.any() and ignored <= segment.sum()
    return total / (hits + false / 2 + misses / 2)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_scores_are_those_of_slow_loops(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, c = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    cuts = nested_cuts(rng, k)
    # Class j is the mask value 10 + j, and 0 is ignored.
    classes = ClassTree(tuple("abcd"[:c]), [-1] * c, {10 + j: j for j in range(c)}, frozenset({0}))
    metric = CategoryMetric(classes, k, cuts.__getitem__, names=(1, 2, 3, 9))
    maps = []
    for _ in range(int(rng.integers(1, 4))):
        n_pixels = int(rng.integers(1, 12))
        truth = rng.integers(-1, c, n_pixels)
        truth[rng.random(n_pixels) < 0.3] = rng.integers(-1, c)
        prototypes = rng.integers(-1, k, n_pixels)
        alike = rng.random(n_pixels) < 0.6  # so that some segments are matched
        prototypes[alike] = truth[alike] % k
        maps.append((prototypes, truth))
        values = np.where(truth < 0, 0, truth + 10)[None]
        metric.update(prototype_table(prototypes[None], values, k))
    present = sorted({int(t) for _, truth in maps for t in truth} - {-1})
    if not present:
        with pytest.raises(DataError):
            metric.compute()
        return
    found = metric.compute()

    def cut(n: int) -> list[tuple[list[int], list[int]]]:
        return [
            ([-1 if p < 0 else int(cuts[n][p]) for p in protos.tolist()], truth.tolist())
            for protos, truth in maps
        ]

    for asked in (1, 2, 3, 9):
        n = min(asked, k)
        names = slow_names(cut(n), n)
        ious = {name: slow_iou(cut(n), names, j) if j in present else None
                for j, name in enumerate(classes.names)}  # fmt: skip
        assert found.names[asked] == found.curve[asked - 1] == slow_right(cut(n), names)
        assert found.names_iou[asked] == ious
        assert found.names_miou[asked] == pytest.approx(np.mean([ious["abcd"[j]] for j in present]))
    n = min(len(present), k)
    best = max(
        slow_right(cut(n), dict(zip(order, present, strict=False)))
        for order in permutations([*range(n), *range(-9, -9 + len(present) - n)], len(present))
    )
    assert found.accuracy == pytest.approx(best)
    given_to = {m: j for j, name in enumerate(classes.names)
                if (m := found.category[name]) is not None}  # fmt: skip
    assert found.accuracy == slow_right(cut(n), given_to)
    for j, name in enumerate(classes.names):
        if j in present:
            assert found.iou[name] == pytest.approx(slow_iou(cut(n), given_to, j))
            quality = slow_quality(cut(n), found.category[name], j)
            assert found.quality[name] == pytest.approx(quality)
        else:
            assert found.iou[name] is found.quality[name] is None
    assert found.miou == pytest.approx(np.mean([v for v in found.iou.values() if v is not None]))
    assert found.pq == pytest.approx(np.mean([v for v in found.quality.values() if v is not None]))


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_more_names_never_make_fewer_pixels_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    k, c = int(rng.integers(1, 40)), int(rng.integers(1, 6))
    counts = rng.integers(0, 9, (k, c)) * (rng.random((k, c)) < 0.4)
    counts[0, 0] += 1
    cuts = nested_cuts(rng, k)
    curve = names_curve(counts, rng.integers(0, 9, c), cuts.__getitem__, 60)
    assert curve.shape == (60,)
    assert (np.diff(curve) >= 0).all()
    one_to_one = match_categories(category_counts(counts, cuts[min(c, k)], min(c, k)), np.zeros(c))
    named = name_categories(category_counts(counts, cuts[min(c, k)], min(c, k)), np.zeros(c))
    assert one_to_one.accuracy <= named.right


def test_cuts_that_are_not_nested_can_lower_the_curve() -> None:
    """So the test above holds because of the nesting, and the metric refuses such cuts."""
    counts = np.array([[4, 0], [4, 0], [0, 4], [0, 4]])
    cuts = {1: np.zeros(4, int), 2: np.array([0, 0, 1, 1]), 3: np.array([0, 1, 0, 1])}
    curve = names_curve(counts, NONE, cuts.__getitem__, 3)
    assert curve.tolist() == [0.5, 1.0, 0.5]
    three = ClassTree(("a", "b", "c"), [-1, -1, -1], {1: 0, 2: 1, 3: 2})
    with pytest.raises(DataError, match="lies in several"):
        CategoryMetric(three, 4, cuts.__getitem__)


def n_bytes(metric: CategoryMetric) -> int:
    parts = [*vars(metric).values(), *vars(metric._panoptic).values()]
    return sum(part.nbytes for part in parts if isinstance(part, np.ndarray))


def test_the_order_of_photographs_does_not_matter_and_state_does_not_grow() -> None:
    rng = np.random.default_rng(5)
    cuts = nested_cuts(rng, 6)
    tables = [
        prototype_table(rng.integers(-1, 6, (8, 8)), rng.integers(0, 3, (8, 8)), 6)
        for _ in range(20)
    ]
    scores: list[CategoryScores] = []
    for order in (tables, tables[::-1]):
        metric = CategoryMetric(SKY_SEA, 6, cuts.__getitem__)
        before = n_bytes(metric)
        for table in order:
            metric.update(table)
        assert n_bytes(metric) == before > 0
        scores.append(metric.compute())
    first, second = map(asdict, scores)
    assert first["accuracy"] > 0
    for key in ("quality", "pq"):  # sums of fractions, rounded in another order
        assert first.pop(key) == pytest.approx(second.pop(key))
    assert first == second
