"""RegionTree: what it refuses, what always holds, and known answers on one tree drawn by hand."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import (
    children_of,
    hand_tree,
    is_partition,
    path_to_root,
    pixels_of,
    random_tree,
    refines,
    regions_of,
    trees,
)

from regiontree import RegionTree, StopReason
from regiontree.errors import TreeError

quick = settings(max_examples=100, deadline=None)


def a_cut_of(tree: RegionTree) -> st.SearchStrategy[dict[str, float]]:
    """One criterion with a value that matters to this tree, or one just beside it."""
    heights = sorted({0.0, 0.05, *tree.height.tolist(), float(tree.height.max()) + 1.0})
    return st.one_of(
        st.integers(1, tree.n_leaves + 2).map(lambda k: {"n_regions": k}),
        st.sampled_from(heights).map(lambda h: {"height": h}),
        st.integers(0, tree.depth + 1).map(lambda d: {"depth": d}),
    )


# -- what is refused ------------------------------------------------------------------------------

# A root over two leaves: the smallest tree in which every field can be wrong.
SMALL = {"labels": [[0, 0, 1]], "parents": [2, 2, 2], "height": [0.0, 0.0, 1.0]}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"parents": []}, r"parents must be 1-D integers, got shape \(0,\)"),
        ({"parents": np.zeros(0, int)}, "parents is empty: a tree has at least its root"),
        ({"parents": [[2, 2, 2]]}, r"parents must be 1-D integers, got shape \(1, 3\)"),
        ({"parents": [2.0, 2.0, 2.0]}, "parents must be 1-D integers, got .* float64"),
        ({"parents": [2, 2, 2**40]}, "parents holds values that do not fit int32"),
        ({"parents": [2, 1, 2]}, r"parents\[1\] is 1: .* a parent after itself, in \[2, 2\]"),
        ({"parents": [2, 0, 2]}, r"parents\[1\] is 0: .* after itself"),
        ({"parents": [3, 2, 2]}, r"parents\[0\] is 3: .* in \[1, 2\]"),
        ({"parents": [-1, 2, 2]}, r"parents\[0\] is -1"),
        ({"parents": [2, 2, 0]}, r"parents\[2\] is 0: the last node must be the root"),
        (
            {"parents": [1, 3, 3, 3], "height": [0, 0.5, 0, 1]},
            "node 1 has children but comes before a leaf: leaves come first",
        ),
        ({"labels": [0, 0, 1]}, r"labels must be 2-D integers, got shape \(3,\)"),
        ({"labels": [[0.0, 1.0]]}, "labels must be 2-D integers, got .* float64"),
        ({"labels": [[True, False]]}, "labels must be 2-D integers, got .* bool"),
        ({"labels": [[0, 1], [1]]}, "labels is not an array"),
        ({"labels": np.zeros((0, 4), int)}, r"labels has shape \(0, 4\): .* at least one pixel"),
        ({"labels": [[0, 1, 2]]}, "labels hold 0 to 2, but the leaves of this tree are 0 to 1"),
        ({"labels": [[0, 1, -1]]}, "labels hold -1 to 1, but the leaves .* are 0 to 1"),
        ({"labels": [[0, 0, 0]]}, "leaf 1 has no pixel in labels"),
        ({"labels": [[0, 1, 2**33]]}, "labels holds values that do not fit int32"),
        ({"height": [0.0, 1.0]}, "height has 2 entries for 3 nodes"),
        ({"height": ["a", "b", "c"]}, "height must be 1-D numbers"),
        ({"height": [0.0, np.nan, 1.0]}, "height holds values that are not finite"),
        ({"height": [0.0, 0.0, np.inf]}, "height holds values that are not finite"),
        ({"height": [0.0, 0.0, 1e300]}, "height holds values that are not finite as float32"),
        ({"height": [0.0, 2.0, 1.0]}, r"height\[1\] is 2 under a parent of 1: .* never above"),
        ({"height": [0.0, -1.0, 1.0]}, r"height\[1\] is -1 .* at least 0"),
        ({"ncut": [0.0, 0.0]}, "ncut has 2 entries for 3 nodes"),
        ({"ncut": [0.0, 1.5, 0.0]}, r"ncut\[1\] is 1.5: a normalised cut lies in \[0, 1\]"),
        ({"ncut": [0.0, -0.5, 0.0]}, r"ncut\[1\] is -0.5"),
        ({"stop": [1, 1]}, "stop has 2 entries for 3 nodes"),
        ({"stop": [1, 0, 0]}, r"stop\[1\] is 0: inner nodes have 0, leaves a StopReason"),
        ({"stop": [1, 1, 1]}, r"stop\[2\] is 1: inner nodes have 0"),
        ({"stop": [1, 99, 0]}, r"stop\[1\] is 99"),
        ({"stop": [1, -1, 0]}, "stop holds values that do not fit uint8"),
        ({"stop": [1.0, 1.0, 0.0]}, "stop must be 1-D integers"),
        ({"embedding": np.zeros(3)}, r"embedding must be 2-D floats, got shape \(3,\)"),
        ({"embedding": np.zeros((3, 2), int)}, "embedding must be 2-D floats, got .* int64"),
        ({"embedding": np.zeros((2, 5))}, "embedding has 2 rows for 3 nodes"),
        ({"embedding": np.full((3, 2), 1e6)}, "embedding holds .* not finite as float16"),
        ({"meta": {"a": {1, 2}}}, "meta must be a mapping of JSON values: .*set"),
        ({"meta": {"a": float("nan")}}, "meta must be a mapping of JSON values"),
        ({"meta": None}, "meta must be a mapping of JSON values"),
    ],
)
def test_arrays_that_contradict_each_other_are_refused(changed, message):
    RegionTree(**SMALL)  # so the change alone is to blame
    with pytest.raises(TreeError, match=message):
        RegionTree(**{**SMALL, **changed})


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: t.cut(n_regions=2, depth=1), "one of n_regions.*; got n_regions, depth"),
        (lambda t: t.cut(n_regions=0), "n_regions must be a number of at least 1, got 0"),
        (lambda t: t.cut(n_regions="3"), "n_regions must be a number of at least 1, got '3'"),
        (lambda t: t.cut(n_regions=True), "n_regions must be a number .*, got True"),
        (lambda t: t.cut(height=-0.1), "height must be a number of at least 0, got -0.1"),
        (lambda t: t.cut(height=float("nan")), "height must be a number of at least 0, got nan"),
        (lambda t: t.cut(depth=-1), "depth must be a number of at least 0, got -1"),
        (lambda t: t.prune(min_area=0), "min_area must be at least 1 pixel, got 0"),
        (lambda t: t.prune(min_area="2"), "min_area must be at least 1 pixel, got '2'"),
        (lambda t: t.prune(min_area=2, depth=1), "min_area or one criterion of a cut, not both"),
        (lambda t: t.mask(7), "node 7 does not exist: this tree has nodes 0 to 6"),
        (lambda t: t.mask(-1), "node -1 does not exist"),
        (lambda t: t.mask(1.5), "a node must be a whole number, got 1.5"),
        (lambda t: t.children(7), "node 7 does not exist"),
        (lambda t: t.ancestors(7), "node 7 does not exist"),
        (lambda t: t.n_below(7), "node 7 does not exist"),
        (lambda t: t.at(2, 0), r"pixel \(2, 0\) is outside the image of 2 x 4 pixels"),
        (lambda t: t.at(0, 4), r"pixel \(0, 4\) is outside the image of 2 x 4 pixels"),
        (lambda t: t.at(0, -1), r"pixel \(0, -1\) is outside"),
        (lambda t: t.at(0.5, 0), "a pixel's row must be a whole number, got 0.5"),
    ],
)
def test_questions_without_an_answer_say_why(ask, message):
    with pytest.raises(TreeError, match=message):
        ask(hand_tree())


# -- known answers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criterion", "nodes"),
    [
        ({"n_regions": 1}, [6]),
        ({"n_regions": 2}, [0, 5]),
        ({"n_regions": 3}, [0, 3, 4]),
        ({"n_regions": 4}, [0, 1, 2, 3]),
        ({"n_regions": 1000}, [0, 1, 2, 3]),
        ({"height": 1.0}, [6]),
        ({"height": 1e300}, [6]),
        ({"height": 10**400}, [6]),
        ({"height": 0.75}, [0, 5]),
        ({"height": 0.5}, [0, 5]),
        ({"height": 0.49}, [0, 3, 4]),
        ({"height": 0.25}, [0, 3, 4]),
        ({"height": 0.0}, [0, 1, 2, 3]),
        ({"depth": 0}, [6]),
        ({"depth": 1}, [0, 5]),
        ({"depth": 2}, [0, 3, 4]),
        ({"depth": 3}, [0, 1, 2, 3]),
        ({"depth": float("inf")}, [0, 1, 2, 3]),
        ({"n_regions": np.int64(3)}, [0, 3, 4]),
        ({"height": np.float64(0.25)}, [0, 3, 4]),
    ],
)
def test_each_cut_of_the_tree_drawn_by_hand(criterion, nodes):
    assert hand_tree().cut_nodes(**criterion).tolist() == nodes


def test_of_equally_high_and_deep_nodes_the_later_is_divided_first():
    tree = RegionTree(
        labels=[[0, 1, 2, 3]], parents=[4, 4, 5, 5, 6, 6, 6], height=[0, 0, 0, 0, 0.5, 0.5, 1]
    )
    assert tree.cut_nodes(n_regions=3).tolist() == [2, 3, 4]


def test_of_equally_high_nodes_the_shallow_one_is_divided_first():
    # 5 = {0, 1} hangs from the root 8; 6 = {2, 3}, as high, one level further down, from 7.
    tree = RegionTree(
        labels=[[0, 1, 2, 3, 4]],
        parents=[5, 5, 6, 6, 7, 8, 7, 8, 8],
        height=[0, 0, 0, 0, 0, 0.5, 0.5, 0.75, 1],
    )
    assert tree.cut_nodes(n_regions=4).tolist() == [0, 1, 4, 6]


def test_a_height_is_one_threshold_whatever_kind_of_number_it_comes_as():
    # 0.3 has no exact float32; the node stands at its rounding, which float64 tells from 0.3.
    tree = RegionTree(labels=[[0, 1]], parents=[2, 2, 2], height=np.float32([0, 0, 0.3]))
    for same in (0.3, np.float64(0.3), np.float32(0.3), float(np.float32(0.3))):
        assert tree.cut_nodes(height=same).tolist() == [2]


def test_a_cut_numbers_its_regions_in_the_order_of_their_nodes():
    assert hand_tree().cut(n_regions=3).tolist() == [[0, 0, 2, 2], [0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("min_area", "leaves"),
    [
        (1, [0, 1, 2, 3]),
        (2, [0, 3, 4]),  # 1 and 2 have a pixel each
        (3, [0, 5]),  # 3 and 4 have two
        (4, [0, 5]),
        (5, [6]),
        (100, [6]),
    ],
)
def test_min_area_undoes_divisions_with_a_small_child(min_area, leaves):
    tree = hand_tree()
    pruned = tree.prune(min_area=min_area)
    assert regions_of(pruned.labels) == {pixels_of(tree)[i] for i in leaves}


def test_a_pruned_leaf_says_so_and_an_untouched_one_keeps_its_reason():
    pruned = hand_tree().prune(n_regions=3)  # leaves 0, 3 and what was inner node 4
    assert pruned.stop.tolist() == [
        StopReason.HIGH_CUT,
        StopReason.MAX_LEVELS,
        StopReason.PRUNED,
        StopReason.INNER,
        StopReason.INNER,
    ]
    assert pruned.height.tolist() == [0.0, 0.0, 0.0, 0.5, 1.0]
    assert pruned.parents.tolist() == [4, 3, 3, 4, 4]


def test_walks_of_the_tree_drawn_by_hand():
    tree = hand_tree()
    assert tree.at(0, 3) == [2, 4, 5, 6]
    assert tree.ancestors(3) == [5, 6]
    assert tree.ancestors(6) == []
    assert tree.children(6) == [0, 5]
    assert tree.children(0) == []
    assert [tree.n_below(i) for i in range(7)] == [0, 0, 0, 0, 2, 4, 6]
    assert tree.mask(5).tolist() == [[False, False, True, True]] * 2
    assert (tree.shape, tree.n_nodes, len(tree), tree.n_leaves) == ((2, 4), 7, 7, 4)
    assert (tree.root, tree.depth) == (6, 3)


def test_larger_children_come_first_and_lower_numbers_on_ties():
    tree = RegionTree(labels=[[0, 1, 2, 2]], parents=[3, 3, 3, 3], height=[0, 0, 0, 1])
    assert tree.children(3) == [2, 0, 1]


def test_print_shows_one_line_a_node():
    assert str(hand_tree()) == "\n".join(
        [
            "RegionTree of 2 x 4 pixels: 7 nodes, 4 leaves, depth 3",
            "node          area  depth  height  why it ends",
            "6           100.0%      0   1.000",
            "├─ 0         50.0%      1   0.000  no division below the normalised-cut limit",
            "└─ 5         50.0%      1   0.500",
            "   ├─ 3      25.0%      2   0.000  deepest level allowed",
            "   └─ 4      25.0%      2   0.250",
            "      ├─ 1   12.5%      3   0.000  a single part",
            "      └─ 2   12.5%      3   0.000  a single part",
        ]
    )


def test_print_counts_what_lies_below_the_depth_shown():
    assert hand_tree().to_text(max_depth=1).splitlines()[2:] == [
        "6     100.0%      0   1.000",
        "├─ 0   50.0%      1   0.000  no division below the normalised-cut limit",
        "└─ 5   50.0%      1   0.500  … 4 more below",
    ]


def test_print_ends_at_a_cut_when_asked_and_says_what_is_left_out():
    assert hand_tree().to_text(n_regions=3).splitlines()[2:] == [
        "6        100.0%      0   1.000",
        "├─ 0      50.0%      1   0.000  no division below the normalised-cut limit",
        "└─ 5      50.0%      1   0.500",
        "   ├─ 3   25.0%      2   0.000  deepest level allowed",
        "   └─ 4   25.0%      2   0.250  … 2 more below",
    ]


def test_a_cut_without_a_criterion_is_at_the_natural_height_of_the_meta():
    tree = hand_tree()
    assert tree.cut_nodes().tolist() == [0, 1, 2, 3]  # it names none: all leaves
    meta = {**tree.meta, "natural_height": 0.3}
    natural = dataclasses.replace(tree, meta=meta)
    assert natural.cut_nodes().tolist() == natural.cut_nodes(height=0.3).tolist() == [0, 3, 4]
    assert natural.prune().n_leaves == 3
    broken = dataclasses.replace(tree, meta={"natural_height": "low"})
    with pytest.raises(TreeError, match="height must be a number"):
        broken.cut()


def test_salient_nodes_of_a_tree_by_hand():
    # 5 = {3, 4} and 0 are worth the same, and so are then 3 and 4: the lower number comes first
    assert hand_tree().salient(3) == [0, 5, 3]
    assert hand_tree().salient(99) == [0, 5, 3, 4, 1, 2]
    with pytest.raises(TreeError, match="at least 1"):
        hand_tree().salient(0)
    with pytest.raises(TreeError, match="whole number"):
        hand_tree().salient(2.5)


def test_a_condensed_tree_by_hand():
    tree = hand_tree()
    assert tree.condense(3).parents.tolist() == [2, 2, 2]  # 0 and 5: with 3 and its rest four
    four = tree.condense(4)
    assert four.parents.tolist() == [4, 3, 3, 4, 4]
    assert four.labels.tolist() == [[0, 0, 2, 2], [0, 0, 1, 1]]
    assert four.height.tolist() == [0.0, 0.0, 0.0, 0.5, 1.0]
    # 3, and then 4 in the place of what 3 leaves of 5
    reasons = [StopReason.HIGH_CUT, StopReason.MAX_LEVELS, StopReason.PRUNED]
    assert four.stop[:3].tolist() == reasons
    assert tree.condense(1).n_nodes == 1
    assert tree.condense(6) == tree
    with pytest.raises(TreeError, match="condense: n_nodes must be at least 1, got 0"):
        tree.condense(0)


def test_what_the_salient_nodes_leave_of_one_is_a_leaf_of_its_own():
    tree = RegionTree(
        labels=np.array([[0, 0, 0, 1, 2]]),
        parents=np.array([3, 3, 3, 3]),
        height=np.array([0, 0.5, 0.9, 1]),
        embedding=np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.float16),
    )
    assert tree.salient(3) == [0, 1, 2]
    small = tree.condense(2)
    assert small.labels.tolist() == [[0, 0, 0, 1, 1]]
    assert small.parents.tolist() == [2, 2, 2]
    assert small.stop.tolist() == [StopReason.UNKNOWN, StopReason.REST, StopReason.INNER]
    assert np.allclose(small.embedding[1], [0, 0.5**0.5, 0.5**0.5], atol=1e-3)
    assert "the rest of its parent" in str(small)


@quick
@given(trees(), st.integers(1, 30))
def test_a_condensed_tree_has_the_first_salient_nodes_and_what_they_leave(tree, most):
    own_reasons = np.where(tree.stop == StopReason.REST, StopReason.UNKNOWN, tree.stop)
    tree = dataclasses.replace(tree, stop=own_reasons)
    small = tree.condense(most)
    assert small.n_nodes - 1 <= most
    assert refines(regions_of(tree.labels), regions_of(small.labels))
    own = [i for i in range(small.root) if small.stop[i] != StopReason.REST]
    pixels, all_pixels = pixels_of(small), pixels_of(tree)
    first = tree.salient(most)[: len(own)]
    assert sorted(map(sorted, (pixels[i] for i in own))) == sorted(
        sorted(all_pixels[i]) for i in first
    )
    if len(first) < min(most, tree.n_nodes - 1):  # the next one does not fit
        next_one = tree.salient(most)[len(first)]
        assert len(rests_of(tree, [*first, next_one])) + len(first) + 1 > most
    assert len(rests_of(tree, first)) == small.n_nodes - 1 - len(own)
    if tree.embedding is not None:
        assert small.embedding is not None
        assert len(small.embedding) == small.n_nodes


def rests_of(tree: RegionTree, nodes: list[int]) -> list[int]:
    """Of nodes and the root, those which others of them fill in part."""
    pixels = pixels_of(tree)
    found = []
    for node in {*nodes, tree.root}:
        below = [i for i in nodes if i != node and node in path_to_root(tree, i)]
        filled = frozenset().union(*(pixels[i] for i in below))
        if below and filled < pixels[node]:
            found.append(node)
    return found


def test_a_tree_of_one_region_answers_everything():
    tree = RegionTree(labels=np.zeros((2, 3), int), parents=[0], height=[0.0])
    for criterion in ({"n_regions": 1}, {"n_regions": 9}, {"height": 0.0}, {"depth": 0}):
        assert tree.cut_nodes(**criterion).tolist() == [0]
        assert tree.cut(**criterion).tolist() == [[0, 0, 0], [0, 0, 0]]
        assert tree.prune(**criterion) == tree
    assert tree.prune(min_area=1) == tree.prune(min_area=1000) == tree
    assert tree.at(1, 2) == [0]
    assert tree.children(0) == tree.ancestors(0) == []
    assert tree.n_below(0) == tree.depth == tree.root == 0
    assert tree.area.tolist() == [6]
    assert [mask.all() for mask in tree.masks()] == [True]
    assert str(tree).splitlines()[2:] == ["0     100.0%      0   0.000  not recorded"]


def test_what_is_left_out_is_filled_in():
    tree = RegionTree(**SMALL)
    assert tree.stop.tolist() == [StopReason.UNKNOWN, StopReason.UNKNOWN, StopReason.INNER]
    assert tree.ncut.tolist() == [0.0, 0.0, 0.0]
    assert tree.embedding is None
    assert dict(tree.meta) == {}


# -- what always holds ----------------------------------------------------------------------------


@quick
@given(trees())
def test_children_partition_their_parent_and_leaves_the_image(tree):
    pixels = pixels_of(tree)
    everything = frozenset(range(tree.labels.size))
    assert pixels[tree.root] == everything
    assert is_partition(pixels[: tree.n_leaves], everything)
    for node in range(tree.n_nodes):
        children = tree.children(node)
        assert set(children) == children_of(tree, node)
        assert bool(children) == (node >= tree.n_leaves)
        if children:
            assert is_partition([pixels[c] for c in children], pixels[node])


@quick
@given(trees())
def test_area_level_masks_and_walks_match_the_slow_way(tree):
    pixels = pixels_of(tree)
    for node, mask in enumerate(tree.masks()):
        path = path_to_root(tree, node)
        assert frozenset(np.flatnonzero(mask).tolist()) == pixels[node]
        assert np.array_equal(mask, tree.mask(node))
        assert tree.area[node] == len(pixels[node])
        assert tree.level[node] == len(path) - 1
        assert tree.ancestors(node) == path[1:]
        assert tree.n_below(node) == sum(
            node in path_to_root(tree, i)[1:] for i in range(len(tree))
        )
    for pixel in range(tree.labels.size):
        y, x = divmod(pixel, tree.shape[1])
        assert set(tree.at(y, x)) == {i for i, inside in enumerate(pixels) if pixel in inside}
        assert tree.at(y, x)[-1] == tree.root


@quick
@given(st.data())
def test_every_cut_is_a_partition_made_of_whole_nodes(data):
    tree = data.draw(trees())
    criterion = data.draw(a_cut_of(tree))
    pixels, nodes, labels = pixels_of(tree), tree.cut_nodes(**criterion), tree.cut(**criterion)
    assert is_partition([pixels[i] for i in nodes], pixels[tree.root])
    assert np.array_equal(np.unique(labels), np.arange(len(nodes)))
    for region, node in enumerate(nodes):
        assert frozenset(np.flatnonzero(labels == region).tolist()) == pixels[node]


@quick
@given(trees())
def test_finer_cuts_by_the_same_criterion_are_nested_in_coarser_ones(tree):
    sequences = [
        [{"n_regions": k} for k in range(1, tree.n_leaves + 2)],
        [{"height": h} for h in sorted({0.0, *tree.height.tolist()}, reverse=True)],
        [{"depth": d} for d in range(tree.depth + 2)],
    ]
    for sequence in sequences:
        partitions = [regions_of(tree.cut(**criterion)) for criterion in sequence]
        assert partitions[0] == {pixels_of(tree)[tree.root]}
        for coarse, fine in zip(partitions, partitions[1:], strict=False):
            assert refines(fine, coarse)


@quick
@given(st.data())
def test_regions_of_any_two_cuts_are_nested_or_disjoint(data):
    tree = data.draw(trees())
    one, other = (regions_of(tree.cut(**data.draw(a_cut_of(tree)))) for _ in range(2))
    for a in one:
        for b in other:
            assert a <= b or b <= a or not a & b


@quick
@given(trees())
def test_n_regions_divides_the_highest_node_until_the_next_does_not_fit(tree):
    for wanted in range(1, tree.n_leaves + 2):
        # The definition, step by step: of the nodes shown divide the highest, then the
        # shallowest, then the one of highest number.
        shown = {tree.root}
        while inner := [i for i in shown if children_of(tree, i)]:
            node = max(inner, key=lambda i: (tree.height[i], -tree.level[i], i))
            after = shown - {node} | children_of(tree, node)
            if len(after) > wanted:
                break
            shown = after
        assert set(tree.cut_nodes(n_regions=wanted).tolist()) == shown
        assert len(shown) <= wanted


@quick
@given(trees())
def test_the_finest_cut_is_the_leaves(tree):
    assert np.array_equal(tree.cut(n_regions=tree.n_leaves), tree.labels)
    assert np.array_equal(tree.cut(depth=tree.depth), tree.labels)


@quick
@given(st.data())
def test_pruning_at_a_cut_gives_a_valid_tree_with_that_cut_for_leaves(data):
    tree = data.draw(trees())
    criterion = data.draw(a_cut_of(tree))
    pruned = tree.prune(**criterion)
    nodes = tree.cut_nodes(**criterion)
    assert np.array_equal(pruned.labels, tree.cut(**criterion))
    assert pruned.n_leaves == len(nodes)
    # Every node left is a node of the old tree and carries its values on.
    kept = sorted({i for node in nodes for i in path_to_root(tree, int(node))})
    assert set(pixels_of(pruned)) == {pixels_of(tree)[i] for i in kept}
    order = [*nodes.tolist(), *(i for i in kept if i not in set(nodes.tolist()))]
    assert np.array_equal(pruned.ncut, tree.ncut[order])
    assert np.array_equal(pruned.height[len(nodes) :], tree.height[order[len(nodes) :]])
    if tree.embedding is not None:
        assert np.array_equal(pruned.embedding, tree.embedding[order])
    assert pruned.meta == tree.meta
    assert pruned.prune(**criterion) == pruned


@quick
@given(st.data())
def test_a_pruned_tree_keeps_the_coarser_cuts_of_the_whole_one(data):
    tree = data.draw(trees())
    wanted = data.draw(st.integers(1, tree.n_leaves))
    pruned = tree.prune(n_regions=wanted)
    for k in range(1, wanted + 1):
        assert regions_of(pruned.cut(n_regions=k)) == regions_of(tree.cut(n_regions=k))


@quick
@given(trees(), st.integers(1, 50))
def test_pruning_by_area_undoes_exactly_the_divisions_with_a_small_child(tree, min_area):
    def leaves_below(node: int) -> set[int]:
        children = children_of(tree, node)
        if not children or any(tree.area[c] < min_area for c in children):
            return {node}
        return set().union(*(leaves_below(c) for c in children))

    pruned = tree.prune(min_area=min_area)
    assert regions_of(pruned.labels) == {pixels_of(tree)[i] for i in leaves_below(tree.root)}
    assert (pruned.area[:-1] >= min_area).all()


@quick
@given(trees())
def test_print_names_each_node_once_below_its_parent(tree):
    lines = str(tree).splitlines()[2:]
    shown = [int(line.lstrip("│├└─ ").split()[0]) for line in lines]
    assert sorted(shown) == list(range(tree.n_nodes))
    for line, node in zip(lines, shown, strict=True):
        assert len(line) - len(line.lstrip("│├└─ ")) == 3 * tree.level[node]
        assert all(shown.index(i) < shown.index(node) for i in tree.ancestors(node))


# -- a value, once and for all --------------------------------------------------------------------


def test_arrays_are_copies_that_cannot_be_written():
    labels = np.array([[0, 0, 1]], np.int32)
    tree = RegionTree(**{**SMALL, "labels": labels, "embedding": np.ones((3, 2))})
    labels[0, 0] = 1
    assert tree.labels.tolist() == [[0, 0, 1]]
    for field in dataclasses.fields(tree):
        value = getattr(tree, field.name)
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0


def test_attributes_and_meta_cannot_be_replaced():
    given_meta = {"a": {"b": [1]}}
    tree = RegionTree(**SMALL, meta=given_meta)
    given_meta["a"]["b"].append(2)
    assert tree.meta == {"a": {"b": [1]}}
    with pytest.raises(TypeError, match="does not support item assignment"):
        tree.meta["a"] = 1
    for name in ("labels", "area", "meta", "new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(tree, name, None)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": [[0, 1, 1]]},
        {"labels": [[0], [0], [1]]},
        {"parents": [1, 1], "labels": [[0, 0, 0]], "height": [0.0, 1.0]},
        {"height": [0.0, 0.0, 0.5]},
        {"ncut": [0.5, 0.0, 0.0]},
        {"stop": [1, 1, 0]},
        {"embedding": np.ones((3, 2))},
        {"meta": {"a": 1}},
    ],
)
def test_trees_are_equal_when_everything_in_them_is(change):
    assert RegionTree(**SMALL) == RegionTree(**SMALL)
    assert RegionTree(**SMALL) != RegionTree(**{**SMALL, **change})
    assert RegionTree(**SMALL) != "a tree"


def test_embeddings_count_in_equality():
    with_ones, with_zeros = (RegionTree(**SMALL, embedding=np.full((3, 2), v)) for v in (1.0, 0.0))
    assert with_ones != with_zeros
    with pytest.raises(TypeError, match="unhashable"):
        hash(with_ones)


@pytest.mark.parametrize("through", [copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))])
def test_a_tree_passes_between_processes_whole(through):
    tree = random_tree(np.random.default_rng(3), 9, (5, 6), dim=4)
    same = through(tree)
    assert same == tree
    assert not same.labels.flags.writeable


# -- other people's trees -------------------------------------------------------------------------


@settings(max_examples=25, deadline=None)
@given(trees())
def test_higra_reads_parents_as_they_are(tree):
    hg = pytest.importorskip("higra")
    theirs = hg.Tree(tree.parents)
    assert theirs.num_vertices() == tree.n_nodes
    assert theirs.num_leaves() == tree.n_leaves
    assert theirs.root() == tree.root
    for node in range(tree.n_nodes):
        assert set(theirs.children(node)) == set(tree.children(node))
        assert theirs.ancestors(node).tolist()[1:] == tree.ancestors(node)
    leaf_area = np.bincount(tree.labels.reshape(-1)).astype(np.float64)
    assert np.array_equal(hg.attribute_area(theirs, vertex_area=leaf_area), tree.area)
    assert np.array_equal(hg.attribute_depth(theirs), tree.level)
