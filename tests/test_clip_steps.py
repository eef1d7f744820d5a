"""The steps from a clip's frames to its tubes, each against brute force or a drawn case."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from regiontree.clips.linking import TubeTable, continued
from regiontree.clips.steady import SteadyLabels
from regiontree.clips.window import WindowTubes
from regiontree.spectral.contiguous import contiguous_groups, linked_groups
from regiontree.spectral.smoothtime import smooth_in_time
from regiontree.spectral.tubes import pairs_in_time, tubes

# -- neighbours and tubes -------------------------------------------------------------------------


def brute_pairs(there):
    """All pairs of patches within one step in time and space, as sets of places."""
    places = list(zip(*np.nonzero(there), strict=True))
    number = {place: i for i, place in enumerate(places)}
    return {
        (number[a], number[b])
        for a, b in itertools.combinations(places, 2)
        if max(abs(int(x) - int(y)) for x, y in zip(a, b, strict=True)) <= 1
    }


@pytest.mark.parametrize("grid", [(1, 3, 4), (2, 1, 1), (3, 2, 3), (4, 3, 1)])
def test_neighbours_in_time_are_those_of_brute_force(grid):
    found = pairs_in_time(grid)
    assert {tuple(sorted(pair)) for pair in found.tolist()} == brute_pairs(np.ones(grid, bool))
    assert len(found) == len({tuple(pair) for pair in found.tolist()})


def test_patches_without_data_have_no_neighbours():
    there = np.random.default_rng(0).random((3, 4, 5)) < 0.9
    there[0] = True  # one piece, so that no chain is added
    found = {tuple(sorted(pair)) for pair in pairs_in_time(there.shape, there).tolist()}
    wanted = brute_pairs(there)
    assert wanted <= found
    # What is more are the chains that join pieces within a frame.
    assert all(number < there.sum() for pair in found for number in pair)


def test_a_clip_of_one_frame_has_the_parts_of_a_photograph():
    rows = np.random.default_rng(1).normal(size=(48, 16)).astype(np.float32)
    found = tubes(rows, (1, 6, 8), 7)
    assert np.array_equal(found, contiguous_groups(rows, (6, 8), 7))


@pytest.mark.parametrize("left", [(0, 3, 6), (0, None, 0)], ids=["fast", "back"])
def test_what_jumps_or_comes_back_is_a_new_tube(left):
    clip = np.zeros((3, 4, 9, 3), np.float32)
    clip[..., 0] = 1
    thing = np.zeros((3, 4, 9), bool)
    for t, column in enumerate(left):
        if column is not None:
            thing[t, 1:3, column : column + 2] = True
    clip[thing] = (0, 1, 0)
    seen = [t for t in range(3) if thing[t].any()]
    found = tubes(clip.reshape(-1, 3), (3, 4, 9), 1 + len(seen)).reshape(3, 4, 9)
    own = [set(found[t][thing[t]].tolist()) for t in seen]
    assert all(len(numbers) == 1 for numbers in own)
    assert len(set.union(*own)) == len(seen)


def test_a_tube_follows_what_moves_by_a_patch_a_frame():
    clip = np.zeros((5, 4, 9, 3), np.float32)
    clip[..., 0] = 1
    for t in range(5):
        clip[t, 1:3, t : t + 2] = (0, 1, 0)
    found = tubes(clip.reshape(-1, 3), (5, 4, 9), 2).reshape(5, 4, 9)
    thing = found[0, 1, 0]
    for t in range(5):
        wanted = np.zeros((4, 9), bool)
        wanted[1:3, t : t + 2] = True
        assert np.array_equal(found[t] == thing, wanted)


def brute_linkage(rows, pairs, count, sizes):
    """Ward's linkage of weighted points with every cost computed anew: sets of points."""
    groups = [{i} for i in range(len(rows))]
    touching = {frozenset(pair) for pair in pairs.tolist()}

    def cost(a, b):
        n, m = (sizes[list(group)].sum() for group in (a, b))
        means = [np.average(rows[list(g)], axis=0, weights=sizes[list(g)]) for g in (a, b)]
        return n * m / (n + m) * ((means[0] - means[1]) ** 2).sum()

    while len(groups) > count:
        options = [
            (cost(a, b), i, j)
            for (i, a), (j, b) in itertools.combinations(enumerate(groups), 2)
            if any(frozenset((x, y)) in touching for x in a for y in b)
        ]
        _, i, j = min(options)
        groups[i] |= groups.pop(j)
    return {frozenset(group) for group in groups}


def test_weighted_linkage_is_that_of_brute_force():
    rng = np.random.default_rng(2)
    for _ in range(5):
        rows = rng.normal(size=(12, 5)).astype(np.float32)
        sizes = rng.integers(1, 50, 12)
        pairs = np.array([(i, i + 1) for i in range(11)] + [(i, i + 4) for i in range(8)])
        found = linked_groups(rows, pairs, 4, sizes)
        groups = {frozenset(np.flatnonzero(found == g).tolist()) for g in range(4)}
        assert groups == brute_linkage(rows.astype(float), pairs, 4, sizes)


# -- smoothing in time ----------------------------------------------------------------------------


def test_smoothing_in_time_is_the_formula():
    rng = np.random.default_rng(3)
    unit = rng.normal(size=(4, 6, 8))
    unit /= np.linalg.norm(unit, axis=2, keepdims=True)
    colours = rng.random((4, 6, 3)) * 40
    given = [torch.from_numpy(frame).float() for frame in unit]
    found = smooth_in_time(
        given, steps=1, colours=[torch.from_numpy(c).float() for c in colours], contrast=20.0
    )
    for t, i in itertools.product(range(4), range(6)):
        total = unit[t, i].copy()
        for s in (t - 1, t + 1):
            if 0 <= s < 4:
                apart = np.linalg.norm(colours[t, i] - colours[s, i]) / 20
                total += np.exp((unit[t, i] @ unit[s, i] - 1) / 0.2 - apart) * unit[s, i]
        assert np.allclose(found[t][i].numpy(), total / np.linalg.norm(total), atol=1e-5)
    assert all(
        torch.equal(a, torch.from_numpy(b).float()) for a, b in zip(given, unit, strict=True)
    )


def test_what_has_no_data_smooths_nothing():
    clip = [torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), torch.tensor([[0.6, 0.8]])]
    there = [torch.tensor([True]), torch.tensor([False]), torch.tensor([True])]
    found = smooth_in_time(clip, steps=3, there=there)
    assert torch.allclose(found[0], clip[0])
    assert torch.allclose(found[2], clip[2])


# -- windows into a clip --------------------------------------------------------------------------


def window(part, own, head, tail, features):
    """The tubes of a window whose patches are in `part` (T, n), with one feature for each tube."""
    part = np.asarray(part, np.int64)
    counted = part[own].reshape(-1)
    k = int(part.max()) + 1
    count = np.bincount(counted, minlength=k)
    pairs = [(a, b) for frame in part for a, b in itertools.pairwise(frame) if a != b]
    return WindowTubes(
        part=(),
        count=count,
        sums=np.asarray(features, float)[:k] * count[:, None],
        pairs=np.array(sorted({tuple(sorted(pair)) for pair in pairs}), np.int64).reshape(-1, 2),
        head=part[:head].reshape(-1),
        tail=part[len(part) - tail :].reshape(-1),
    )


def test_tubes_that_overlap_by_more_than_half_go_on():
    before = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, -1])
    after = np.array([3, 3, 3, 0, 0, 0, 1, 1, 2, 2])
    # 0 and 3: 3 of 4. 1 and 0: 2 of 4, which is not more than half. 2 and 2: 1 of 2.
    found = continued(before, after)
    for tube in range(4):
        mine, count = after == tube, (before >= 0)
        best = [
            ((before == b) & mine).sum() / ((before == b) | (mine & count)).sum() for b in range(3)
        ]
        assert found[tube] == (int(np.argmax(best)) if max(best) > 0.5 else -1)


def test_the_table_counts_a_tube_that_goes_on_once():
    first = window([[0, 0, 1], [0, 0, 1], [0, 0, 1]], slice(0, 2), 0, 2, np.eye(2))
    second = window([[1, 1, 0], [1, 1, 0], [1, 1, 2]], slice(1, 3), 2, 0, [[0, 1], [1, 0], [1, 1]])
    table = TubeTable()
    assert table.add(first).tolist() == [0, 1]
    assert table.add(second).tolist() == [1, 0, 2]
    table.count_pixels(np.array([0, 1, 2]), np.array([50, 30, 20]))
    graph, part = table.graph()
    assert graph.count.tolist() == [8, 3, 1]
    assert graph.sums.tolist() == [[8, 0], [0, 3], [1, 1]]
    assert part.tolist() == [0, 1, 2]


def test_nothing_goes_on_across_a_cut():
    one = window([[0, 0, 1]], slice(0, 1), 0, 0, np.eye(2))
    table = TubeTable()
    table.add(one)
    table.part()
    assert table.add(one).tolist() == [2, 3]


def test_a_tube_without_a_pixel_is_no_part():
    table = TubeTable()
    table.add(window([[0, 1, 2]], slice(0, 1), 0, 0, np.eye(3)))
    table.count_pixels(np.array([0, 1, 2]), np.array([5, 0, 7]))
    graph, part = table.graph()
    assert graph.count.tolist() == [1, 1]
    assert part.tolist() == [0, -1, 1]


def test_too_many_tubes_merge_and_keep_their_sums():
    rng = np.random.default_rng(4)
    table, total, numbers = TubeTable(limit=10), np.zeros(3), []
    for _ in range(6):
        features = rng.normal(size=(8, 3))
        own = window([np.arange(8)], slice(0, 1), 0, 0, features)
        table.part()
        numbers.append(table.add(own))
        table.count_pixels(numbers[-1], np.full(8, 4))
        total += features.sum(axis=0)
    graph, part = table.graph()
    assert len(graph.count) <= 10
    assert graph.count.sum() == 48
    assert np.allclose(graph.sums.sum(axis=0), total)
    assert len({tuple(own.tolist()) for own in numbers}) == 6
    assert (np.bincount(part, minlength=len(graph.count)) == graph.count).all()


# -- borders that do not boil ---------------------------------------------------------------------


def test_still_pixels_keep_their_label_and_changed_ones_do_not():
    rng = np.random.default_rng(5)
    picture = rng.integers(0, 255, (40, 60, 3), dtype=np.uint8)
    steady = SteadyLabels(4.0)
    first = steady.step(rng.integers(0, 9, (40, 60)).astype(np.int32), picture)
    changed = picture.copy()
    changed[:, 30:] = 255 - changed[:, 30:]
    drawn = rng.integers(0, 9, (40, 60)).astype(np.int32)
    found = steady.step(drawn, changed)
    assert np.array_equal(found[:, :27], first[:, :27])
    assert np.array_equal(found[:, 33:], drawn[:, 33:])


def test_a_slow_fade_does_not_carry_a_label_for_ever():
    steady = SteadyLabels(4.0)
    kept = []
    for step in range(12):
        picture = np.full((8, 8, 3), 3 * step, np.uint8)  # each step is below the threshold
        kept.append(int(steady.step(np.full((8, 8), step, np.int32), picture)[0, 0]))
    assert kept == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9, 9, 9]


def test_with_no_threshold_every_frame_is_drawn_anew():
    steady, picture = SteadyLabels(0.0), np.zeros((5, 5, 3), np.uint8)
    for label in range(3):
        assert (steady.step(np.full((5, 5), label, np.int32), picture) == label).all()


def test_labels_go_on_under_the_numbers_of_the_next_window():
    steady, picture = SteadyLabels(4.0), np.zeros((4, 6, 3), np.uint8)
    steady.step(np.repeat([[0, 1, 2]], 4, 0).repeat(2, 1).astype(np.int32), picture)
    steady.renumber(np.array([7, -1, 5]))
    found = steady.step(np.full((4, 6), 9, np.int32), picture)
    assert found[0].tolist() == [7, 7, 9, 9, 5, 5]
