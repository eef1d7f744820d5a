"""Average recall: equal to COCO's own evaluation, and known answers of hand-made overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from coco_judge import by_coco
from hypothesis import given, settings
from hypothesis import strategies as st

from regiontree.errors import DataError, SettingsError
from regiontree.metrics.recall import SIZES, THRESHOLDS, RecallMetric, Segments, taken

SHAPE = (110, 120)
LIMITS = (1, 3, 10)


def overlaps(masks: np.ndarray, segments: np.ndarray, crowd: np.ndarray) -> Segments:
    """From (N, H, W) and (G, H, W) bool."""
    one, two = (some.reshape(len(some), -1).astype(np.int64) for some in (masks, segments))
    return Segments(one @ two.T, one.sum(axis=1), two.sum(axis=1), crowd)


def boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rectangles of all sizes, (count, H, W) bool."""
    found = np.zeros((count, *SHAPE), bool)
    for one in found:
        height, width = rng.integers(3, 105, 2)
        top, left = rng.integers(0, SHAPE[0] - height + 1), rng.integers(0, SHAPE[1] - width + 1)
        one[top : top + height, left : left + width] = True
    return found


def near(rng: np.random.Generator, masks: np.ndarray) -> np.ndarray:
    """The same rectangles, moved by a few pixels."""
    moved = [np.roll(one, rng.integers(-4, 5, 2), (0, 1)) for one in masks]
    return np.array(moved).reshape(-1, *SHAPE)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_average_recall_is_that_of_coco(seed: int) -> None:
    rng = np.random.default_rng(seed)
    metric, images = RecallMetric(LIMITS), []
    for image in range(int(rng.integers(1, 4))):
        segments = boxes(rng, int(rng.integers(1, 7)))
        masks = np.concatenate([near(rng, segments), boxes(rng, 6), segments[:1]])
        crowd = rng.random(len(segments)) < 0.25
        score = np.round(rng.random(len(masks)), 1)  # some are equal
        images.append((score, masks, segments, crowd))
        metric.update(str(image), score, overlaps(masks, segments, crowd))
    expected, scores = by_coco(images, LIMITS), metric.compute()
    for s, size in enumerate(SIZES):
        for i, limit in enumerate(LIMITS):
            own = scores.recall[size, limit]
            assert np.isclose(np.nan if own is None else own, expected[s, i], equal_nan=True)


def some(both: list[list[int]], masks: list[int], segments: list[int], crowd=None) -> Segments:
    is_crowd = np.zeros(len(segments), bool) if crowd is None else np.array(crowd)
    return Segments(*map(np.array, (both, masks, segments)), is_crowd)


def test_a_segment_is_taken_once_and_by_the_first_mask_that_reaches_it():
    # Both masks are the one segment; the first takes it, so the second must take the other.
    found = some([[90, 0], [90, 60]], [100, 160], [100, 100])
    counts, segments = taken(found, SIZES["all"], (1, 2))
    assert segments == 2
    # IoU of the first with its segment: 90 / 110 = .818; of the second with what is left: 60 / 200.
    assert counts[0].tolist() == counts[1].tolist() == [int(t <= 90 / 110) for t in THRESHOLDS]


def test_a_crowd_counts_nowhere_and_takes_many_masks():
    found = some([[50, 0], [50, 0], [0, 80]], [50, 50, 80], [400, 80], [True, False])
    counts, segments = taken(found, SIZES["all"], (2, 3))
    assert segments == 1
    assert counts.tolist() == [[0] * 10, [1] * 10]


def test_segments_of_another_size_count_nowhere():
    found = some([[900, 0], [0, 2000]], [900, 2000], [900, 2000])
    for size, expected in {"small": 1, "medium": 1, "large": 0, "all": 2}.items():
        counts, segments = taken(found, SIZES[size], (10,))
        assert (segments, counts[0].tolist()) == (expected, [expected] * 10)


def test_merged_metrics_are_one_metric_and_states_come_back():
    rng = np.random.default_rng(0)
    whole, halves = RecallMetric(LIMITS), [RecallMetric(LIMITS), RecallMetric(LIMITS)]
    for image in range(6):
        segments = boxes(rng, 4)
        masks = near(rng, segments)
        found = overlaps(masks, segments, np.zeros(4, bool))
        for metric in (whole, halves[image % 2]):
            metric.update(f"{image}", rng.random(4) * 0 + np.arange(4), found)
    halves[0].merge(halves[1])
    assert halves[0].compute() == whole.compute()
    again = RecallMetric.from_state(whole.state())
    assert again.compute() == whole.compute()
    low, high = whole.compute().interval["all", 10]
    assert low <= whole.compute().recall["all", 10] <= high
    assert low < high


def test_what_does_not_fit_is_refused():
    metric = RecallMetric()
    found = some([[5]], [5], [5])
    with pytest.raises(DataError, match=r"image 'a'.*1 scores"):
        metric.update("a", [1.0, 2.0], found)
    with pytest.raises(DataError, match="no image"):
        metric.compute()
    with pytest.raises(SettingsError, match="limits"):
        RecallMetric((0,))
    metric.update("a", [1.0], found)
    with pytest.raises(DataError, match="scored before"):
        metric.update("a", [1.0], found)
    state = metric.state()
    state["images"]["a"]["segments"] = [1]
    with pytest.raises(DataError, match="'a'"):
        RecallMetric.from_state(state)


def test_both_ends_belong_to_a_size():
    edge = some([[32**2]], [32**2], [32**2])
    assert [taken(edge, size, (1,))[1] for size in SIZES.values()] == [1, 1, 1, 0]


def test_a_mask_takes_a_segment_of_another_size_only_if_no_other_reaches():
    found = some([[300, 4000]], [5000], [1024, 4500])  # IoU .05 and .73
    small, _ = taken(found, SIZES["small"], (1,))
    assert small.sum() == 0
    found = some([[1000, 900]], [1500], [1024, 9300])
    small, segments = taken(found, SIZES["small"], (1,))
    assert segments == 1
    assert small[0].tolist() == [int(t <= 1000 / 1524) for t in THRESHOLDS]


def test_intervals_are_percentiles_of_draws_of_images():
    metric = RecallMetric((1,))
    rng = np.random.default_rng(5)
    hits, there = [], []
    for image in range(7):
        count = int(rng.integers(1, 5))
        own = int(rng.integers(0, 2))
        both = np.zeros((1, count), np.int64)
        both[0, 0] = 2000 * own
        metric.update(str(image), [0.0], some(both.tolist(), [2000], [2000] * count))
        hits.append(own)
        there.append(count)
    draws = np.random.default_rng(0).integers(0, 7, (1000, 7))
    found = np.array(hits)[draws].sum(axis=1) / np.array(there)[draws].sum(axis=1)
    scores = metric.compute()
    assert scores.recall["all", 1] == sum(hits) / sum(there)
    assert np.allclose(scores.interval["all", 1], np.percentile(found, [2.5, 97.5]))
