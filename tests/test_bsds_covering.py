"""Segmentation covering: cuts are the tree's own, figures those of pixel-by-pixel masks."""

from __future__ import annotations

import copy
import json
import time

import brute_force
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from trees import hand_tree, random_tree, trees

from regiontree.errors import DataError, SettingsError
from regiontree.metrics import CoveringMetric, contingency
from regiontree.metrics.scales import cut_members
from regiontree.tree import RegionTree

REGIONS, HEIGHTS = (1, 2, 3, 4, 6, 9, 20), (1.0, 0.75, 0.5, 0.25, 0.1, 0.0)
Case = tuple[RegionTree, list[np.ndarray]]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A tree and one to three people's segmentations of its image."""
    tree = draw(trees())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    count = draw(st.integers(1, 3))
    return tree, [rng.integers(0, rng.integers(1, 6), tree.shape) for _ in range(count)]


def metric_of(images: dict[str, Case], **options) -> CoveringMetric:
    metric = CoveringMetric(**options)
    for image, (tree, people) in images.items():
        tables = [contingency(tree.labels, person, tree.n_leaves) for person in people]
        metric.update(image, tree.parents, tree.height, tables)
    return metric


def data_sets() -> st.SearchStrategy[dict[str, Case]]:
    ids = st.sampled_from([f"{i:02}" for i in range(20)])
    return st.dictionaries(ids, cases(), min_size=1, max_size=6)


# -- cuts -----------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(tree=trees())
def test_cuts_are_those_of_the_tree(tree):
    by_regions = cut_members(tree.parents, tree.height, "regions", range(1, 20))
    for n_regions, members in zip(range(1, 20), by_regions, strict=True):
        nodes = tree.cut_nodes(n_regions=n_regions)
        assert np.flatnonzero(members).tolist() == nodes.tolist()
    by_height = cut_members(tree.parents, tree.height, "height", HEIGHTS)
    for height, members in zip(HEIGHTS, by_height, strict=True):
        assert np.flatnonzero(members).tolist() == tree.cut_nodes(height=height).tolist()


def test_a_height_is_compared_as_precisely_as_trees_store_it():
    # The tree's .1 has 32 bits and is above the 64-bit .1; it is not divided all the same.
    tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 0.1])
    members = cut_members(tree.parents, tree.height, "height", (0.1, 0.0999))
    assert members.tolist() == [[False, False, True], [True, True, False]]


# -- figures --------------------------------------------------------------------------------------


def test_two_people_by_hand():
    """The tree of trees.hand_tree; one person saw the left and right half, one everything alike.

    ::

        0 0 1 2      6 = {0, 5}, 5 = {3, 4}, 4 = {1, 2}
        0 0 3 3

    Halves: leaf 0 and node 5 exactly. Cut into 1: 4/8 each; 2: 1; 3 ({0, 3, 4}): the right half has
    2/4, so (1 + 1/2) / 2; 4: the same. Everything alike: 1, then 1/2 of leaf 0 at best.
    """
    people = [np.array([[5, 5, 9, 9], [5, 5, 9, 9]]), np.full((2, 4), 3)]
    scores = metric_of({"a": (hand_tree(), people)}, scales=(1, 2, 3, 4)).compute()
    curve = [point.covering for point in scores.curve]
    assert curve == [(1 / 2 + 1) / 2, (1 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2, (3 / 4 + 1 / 2) / 2]
    assert [point.regions for point in scores.curve] == [1, 2, 3, 4]
    assert (scores.ods, scores.ods_scale, scores.ois) == (3 / 4, 1, 3 / 4)
    assert scores.best == 1  # the root is the region of one, two nodes are those of the other
    assert (scores.images, scores.nodes, scores.leaves) == (1, 6, 4)


def test_images_weigh_the_same_whatever_their_number_of_people():
    whole, halves = np.full((2, 4), 3), np.array([[5, 5, 9, 9], [5, 5, 9, 9]])
    one = metric_of({"a": (hand_tree(), [whole])}, scales=(1,)).compute().ods
    other = metric_of({"a": (hand_tree(), [halves])}, scales=(1,)).compute().ods
    both = {"a": (hand_tree(), [whole]), "b": (hand_tree(), [halves] * 3)}
    assert one != other
    assert metric_of(both, scales=(1,)).compute().ods == (one + other) / 2


def test_regions_weigh_by_their_pixels():
    # 1 of 4 pixels is apart: the whole image covers 3 pixels by 3/4 and 1 by 1/4.
    tree = RegionTree(labels=[[0, 1, 1, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    scores = metric_of({"a": (tree, [np.array([[7, 8, 8, 8]])])}, scales=(1, 2)).compute()
    assert [point.covering for point in scores.curve] == [(3 * 3 / 4 + 1 / 4) / 4, 1]


def test_one_scale_for_all_is_not_each_images_own():
    # Image a is one region and b two: at 1 region a has 1 and b 1/2, at 2 regions the reverse.
    tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=[0, 0, 1])
    images = {"a": (tree, [np.array([[4, 4]])]), "b": (tree, [np.array([[4, 5]])])}
    scores = metric_of(images, scales=(1, 2)).compute()
    assert (scores.ods, scores.ods_scale, scores.ois, scores.best) == (3 / 4, 1, 1, 1)


@settings(max_examples=60, deadline=None)
@given(case=cases(), scale=st.sampled_from(["regions", "height"]))
def test_coverings_are_those_of_masks(case, scale):
    tree, people = case
    scales = REGIONS if scale == "regions" else HEIGHTS
    scores = metric_of({"a": case}, scale=scale, scales=scales).compute()
    for value, point in zip(scales, scores.curve, strict=True):
        cut = tree.cut(n_regions=value) if scale == "regions" else tree.cut(height=value)
        regions = [cut == k for k in np.unique(cut)]
        assert point.regions == len(regions)
        assert point.covering == pytest.approx(brute_force.covering(regions, people), abs=1e-12)
    assert scores.best == pytest.approx(brute_force.covering(list(tree.masks()), people), abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(images=data_sets(), scale=st.sampled_from(["regions", "height"]))
def test_what_must_hold_between_figures(images, scale):
    scores = metric_of(images, scale=scale).compute()
    assert 0 < scores.ods <= scores.ois + 1e-12
    assert scores.ois <= scores.best + 1e-12 <= 1 + 1e-12
    assert scores.ods == max(point.covering for point in scores.curve)
    regions = [point.regions for point in scores.curve]
    assert regions == sorted(regions)


# -- merging and states ---------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(images=data_sets(), data=st.data())
def test_however_images_are_shared_out_the_figures_are_the_same_to_the_bit(images, data):
    whole = metric_of(images)
    shard = {image: data.draw(st.integers(0, 2)) for image in images}
    total = CoveringMetric()
    for k in data.draw(st.permutations(range(3))):
        total.merge(metric_of({i: images[i] for i in reversed(images) if shard[i] == k}))
    assert total.compute() == whole.compute()
    back = CoveringMetric.from_state(json.loads(json.dumps(total.state())))
    assert json.dumps(back.state()) == json.dumps(whole.state())
    assert back.compute() == whole.compute()


@pytest.fixture
def metric() -> CoveringMetric:
    tree = random_tree(np.random.default_rng(0), 5, (4, 4))
    return metric_of({"a": (tree, [np.eye(4, dtype=int)])}, scales=(1, 3))


@pytest.mark.parametrize("other", [{"scales": (1, 2)}, {"scale": "height", "scales": (1, 0.5)}])
def test_metrics_of_other_scales_do_not_mix(metric, other):
    with pytest.raises(DataError, match="other scale"):
        metric.merge(CoveringMetric(**other))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("covering", [0.5]),
        ("covering", [0.5, 1.5]),
        ("regions", [1]),
        ("regions", [0, 1]),
        ("best", None),
        ("more", 1),
    ],
)
def test_a_damaged_state_is_refused(metric, key, value):
    state = copy.deepcopy(metric.state())
    state["images"]["a"][key] = value
    with pytest.raises(DataError, match="state"):
        CoveringMetric.from_state(state)


@pytest.mark.parametrize(
    "options",
    [
        {"scale": "depth"},
        {"scales": ()},
        {"scales": (0, 1)},
        {"scales": (2, 2)},
        {"scales": ("1",)},
        {"scale": "height", "scales": (0.1, 0.2)},
        {"scale": "height", "scales": (0.1, -0.2)},
    ],
)
def test_scales_that_make_no_sense_are_refused(options):
    with pytest.raises(SettingsError, match="scale"):
        CoveringMetric(**options)


def test_an_image_needs_people_who_saw_the_same_image():
    tree, metric = hand_tree(), CoveringMetric()
    with pytest.raises(DataError, match="'a' has no annotator"):
        metric.update("a", tree.parents, tree.height, [])
    tables = [
        contingency(np.zeros(shape, int), np.zeros(shape, int), 4) for shape in [(2, 2), (3, 2)]
    ]
    with pytest.raises(DataError, match="not of the same pixels"):
        metric.update("a", tree.parents, tree.height, tables)
    with pytest.raises(DataError, match=r"image 'a': .*3 rows"):
        metric.update(
            "a",
            tree.parents,
            tree.height,
            [contingency(tree.labels[:, :2] * 0, tree.labels[:, :2], 3)],
        )
    with pytest.raises(DataError, match="no image"):
        metric.compute()


def test_a_large_tree_with_five_people_takes_a_fraction_of_a_second():
    rng = np.random.default_rng(0)
    tree = random_tree(rng, 400, (321, 481))
    tables = [contingency(tree.labels, rng.integers(0, 60, tree.shape), 400) for _ in range(5)]
    metric, start = CoveringMetric(), time.perf_counter()
    metric.update("a", tree.parents, tree.height, tables)
    assert time.perf_counter() - start < 1.0  # 0.02 s where nothing else runs


# -- real segmentations ---------------------------------------------------------------------------


def test_a_persons_own_segmentation_covers_it_best(data):
    """Trees of height 1 made of one person's regions: that person is covered fully, others less."""
    folder = data / "bsds500" / "annotations_multi"
    stem = sorted(folder.glob("*_a0.png"))[0].stem[:-3]
    people = []
    for path in sorted(folder.glob(f"{stem}_a*.png")):
        with Image.open(path) as mask:
            people.append(np.asarray(mask).astype(np.int32))
    assert len(people) > 1
    own = people[-1]
    labels = np.unique(own, return_inverse=True)[1].reshape(own.shape)
    count = int(labels.max()) + 1
    tree = RegionTree(
        labels=labels, parents=np.full(count + 1, count), height=[0.0] * count + [1.0]
    )
    itself = metric_of({stem: (tree, [own])}, scales=(1, count)).compute()
    assert (itself.ods, itself.ods_scale) == (1, count)
    everyone = metric_of({stem: (tree, people)}, scales=(1, count)).compute()
    regions = [labels == k for k in range(count)]
    assert everyone.curve[1].covering == pytest.approx(brute_force.covering(regions, people))
    assert 0.3 < everyone.ods < 1
