"""ClipTree against RegionTree of the same pixels, frame by frame, and its file."""

from __future__ import annotations

import io
import pickle
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import regiontree
from regiontree.errors import TreeError, TreeFileError
from regiontree.tree import ClipTree, RegionTree, write_clip_file


def random_clip(seed: int, sizes=((6, 7),) * 4, n_leaves: int = 9, **more) -> ClipTree:
    """A clip of random labels over a random binary tree, with every array."""
    rng = np.random.default_rng(seed)
    frames = [rng.integers(0, n_leaves, size).astype(np.int32) for size in sizes]
    places = np.concatenate([frame.reshape(-1) for frame in frames])
    places[rng.permutation(len(places))[:n_leaves]] = np.arange(n_leaves)
    edges = np.cumsum([h * w for h, w in sizes])[:-1]
    frames = [part.reshape(size) for part, size in zip(np.split(places, edges), sizes, strict=True)]
    parents = np.zeros(2 * n_leaves - 1, np.int32)
    free = list(range(n_leaves))
    for node in range(n_leaves, 2 * n_leaves - 1):
        for _ in range(2):
            parents[free.pop(int(rng.integers(len(free))))] = node
        free.append(node)
    parents[-1] = len(parents) - 1
    height = np.concatenate([np.zeros(n_leaves), np.sort(rng.random(n_leaves - 1))])
    arrays = {
        "embedding": rng.normal(size=(len(parents), 4)).astype(np.float16),
        "descriptor": rng.normal(size=(n_leaves, 3)).astype(np.float16),
        "stability": rng.random(len(parents)).astype(np.float16),
        "meta": {"clip": {"name": "drawn"}, "natural_height": 0.3},
    }
    return ClipTree(frames, parents, height, **{**arrays, **more})


def stacked(tree: ClipTree) -> RegionTree:
    """The same tree as one of a photograph: all frames below each other."""
    t, h, w = tree.shape
    return RegionTree(
        tree.labels.reshape(t * h, w), tree.parents, tree.height, meta=dict(tree.meta)
    )


CUTS = [{"n_regions": 4}, {"height": 0.4}, {"depth": 2}, {}]


@given(st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_cuts_masks_and_areas_are_those_of_all_frames_together(seed):
    tree = random_clip(seed)
    whole, (t, h, w) = stacked(tree), tree.shape
    for cut in CUTS:
        expected = whole.cut(**cut).reshape(t, h, w)
        assert np.array_equal(tree.cut(**cut), expected)
        for frame in range(t):
            assert np.array_equal(tree.cut_frame(frame, **cut), expected[frame])
    areas = tree.frame_areas()
    for node in range(tree.n_nodes):
        mask = whole.mask(node).reshape(t, h, w)
        assert np.array_equal(tree.mask(node), mask)
        assert np.array_equal(tree.mask(node, frame=1), mask[1])
        there = np.flatnonzero(mask.any(axis=(1, 2)))
        assert tree.span(node) == (there[0], there[-1])
        assert areas[:, node].tolist() == mask.sum(axis=(1, 2)).tolist()
    assert np.array_equal(tree.area, whole.area)
    assert tree.salient(5) == whole.salient(5)
    assert tree.at(2, 3, 4) == whole.at(2 * h + 3, 4)


@given(st.integers(0, 10**6), st.integers(0, 3))
@settings(max_examples=25, deadline=None)
def test_the_tree_of_a_frame_has_the_clip_regions_of_that_frame(seed, t):
    tree = random_clip(seed, sizes=((2, 3),) * 4)
    frame = tree.frame(t)
    nodes = frame.meta["clip"]["nodes"]
    assert frame.meta["clip"]["name"] == "drawn"
    masks = {tree.mask(node, frame=t).tobytes() for node in range(tree.n_nodes)}
    own = [frame.mask(i).tobytes() for i in range(frame.n_nodes)]
    # Each of its nodes is the named node of the clip; no region of the clip is missing or twice.
    assert own == [tree.mask(node, frame=t).tobytes() for node in nodes]
    assert set(own) == masks - {np.zeros(6, bool).tobytes()}
    assert len(set(own)) == len(own)
    assert np.array_equal(frame.height, tree.height[nodes])
    leaves = [node for node in nodes if node < tree.n_leaves]
    assert np.array_equal(frame.descriptor, tree.descriptor[leaves])
    for height in (0.0, 0.3, 0.7):
        a, b = frame.cut(height=height), tree.cut_frame(t, height=height)
        pairs = {*zip(a.reshape(-1).tolist(), b.reshape(-1).tolist(), strict=True)}
        assert len({x for x, _ in pairs}) == len({y for _, y in pairs}) == len(pairs)


@given(st.integers(0, 10**6), st.integers(1, 8))
@settings(max_examples=20, deadline=None)
def test_smaller_trees_are_those_of_all_frames_together(seed, n):
    tree = random_clip(seed, stability=None, embedding=None, descriptor=None)
    (t, h, w), whole = tree.shape, stacked(tree)
    for own, expected in (
        (tree.condense(n), whole.condense(n)),
        (tree.prune(n_regions=n), whole.prune(n_regions=n)),
    ):
        assert np.array_equal(own.parents, expected.parents)
        assert np.array_equal(own.labels, expected.labels.reshape(t, h, w))
        assert np.array_equal(own.height, expected.height)


def test_photographs_of_different_sizes_have_a_map_each():
    sizes = ((2, 3), (5, 4), (1, 7))
    tree = random_clip(3, sizes=sizes)
    assert tree.sizes == list(sizes)
    with pytest.raises(TreeError, match="different sizes"):
        _ = tree.shape
    assert [own.shape for own in tree.cut(n_regions=3)] == list(sizes)
    assert [own.shape for own in tree.mask(12)] == list(sizes)
    assert tree.frame(1).shape == (5, 4)
    assert repr(tree).startswith("ClipTree of 3 frames of different sizes: 17 nodes")


def test_a_clip_may_have_one_frame():
    tree = random_clip(4, sizes=((5, 6),))
    whole = tree.frame(0)
    assert np.array_equal(whole.parents, tree.parents)
    assert np.array_equal(whole.labels, tree.labels[0])


def test_text_says_in_which_frames_a_node_is():
    tree = ClipTree([[[0, 0]], [[0, 1]], [[1, 1]]], [2, 2, 2], [0, 0, 1])
    assert tree.to_text().splitlines()[2:] == [
        "2     100.0%      0   1.000     0-2",
        "├─ 0   50.0%      1   0.000     0-1  not recorded",
        "└─ 1   50.0%      1   0.000     1-2  not recorded",
    ]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([[0, 1]], "frame 0 must be 2-D"),
        (np.zeros((2, 2), int), r"\(T, H, W\)"),
        ([], "at least one"),
        ([np.array([[0, 1]]), np.array([[0, 3]])], "frame 1 hold 3, which is no leaf"),
        ([np.array([[0, -1]])], "frame 0 hold -1"),
        ([np.zeros((1, 2), int)], "leaf 1 has no pixel"),
        ([np.zeros((0, 2), int)], "frame 0 are empty"),
        ([np.zeros((1, 2))], "integers"),
        (7, "sequence"),
    ],
)
def test_wrong_labels_are_named(labels, said):
    with pytest.raises(TreeError, match=said):
        ClipTree(labels, [2, 2, 2], [0, 0, 1])


def test_wrong_frames_and_nodes_are_named():
    tree = random_clip(0)
    for wrong in (lambda: tree.frame(4), lambda: tree.cut_frame(-1), lambda: tree.at(9, 0, 0)):
        with pytest.raises(TreeError, match="this clip has 0 to 3"):
            wrong()
    with pytest.raises(TreeError, match=r"outside frame 1 of 6 x 7"):
        tree.at(1, 6, 0)
    with pytest.raises(TreeError, match="a frame must be a whole number"):
        tree.frame(1.5)


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [((6, 7),) * 4, ((2, 3), (5, 4), (1, 7))])
def test_a_file_gives_the_same_tree(tmp_path, sizes):
    tree = random_clip(5, sizes=sizes)
    path = tree.save(tmp_path / "drawn")
    assert path.name == "drawn.clip.npz"
    read = ClipTree.load(path)
    assert read == tree
    assert read.meta == tree.meta
    assert [read.span(i) for i in range(17)] == [tree.span(i) for i in range(17)]
    assert tree.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert pickle.loads(pickle.dumps(read)) == tree
    assert regiontree.ClipTree is ClipTree
    with np.load(path) as plain:  # any program that knows NumPy reads it
        assert np.array_equal(plain["labels/000001"], tree.frame_labels(1))


def test_one_frame_is_read_without_the_others(tmp_path):
    path = random_clip(6).save(tmp_path / "drawn")
    names = {}
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    names["labels/000002.npy"] = names["labels/000002.npy"][:-3]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    tree = ClipTree.load(path)
    assert np.array_equal(tree.frame_labels(3), random_clip(6).frame_labels(3))
    with pytest.raises(TreeFileError, match="labels/000002"):
        tree.frame_labels(2)


def changed(path, **members):
    """A file with some members replaced, or left out where None."""
    with zipfile.ZipFile(path) as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    for name, array in members.items():
        member = f"{name.replace('__', '/')}.npy"
        if array is None:
            del names[member]
        else:
            data = io.BytesIO()
            np.lib.format.write_array(data, array)
            names[member] = data.getvalue()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"labels__000001": None}, "frame 1 of 4 is missing"),
        ({"area": np.ones(17, np.int64)}, "area does not follow"),
        ({"span": np.full((9, 2), 7, np.int32)}, "span or area"),
        ({"span": np.zeros((3, 2), np.int32)}, "span or area"),
        ({"parents": np.zeros(17, np.int32)}, "parents"),
        ({"frames": np.zeros((4, 2), np.int32)}, "sizes of frames"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, members, said):
    path = changed(random_clip(7).save(tmp_path / "drawn"), **members)
    with pytest.raises(TreeFileError, match=said):
        ClipTree.load(path)


def test_a_frame_of_another_size_or_with_foreign_labels_is_refused(tmp_path):
    path = random_clip(8).save(tmp_path / "drawn")
    tree = ClipTree.load(changed(path, labels__000000=np.zeros((3, 3), np.uint16)))
    with pytest.raises(TreeFileError, match="frame 0 has"):
        tree.frame_labels(0)
    tree = ClipTree.load(changed(path, labels__000000=np.full((6, 7), 99, np.uint16)))
    with pytest.raises(TreeFileError, match="no leaf"):
        tree.frame_labels(0)


def test_clips_and_photographs_are_told_apart(tmp_path):
    clip = random_clip(9).save(tmp_path / "clip")
    photo = stacked(random_clip(9)).save(tmp_path / "photo")
    with pytest.raises(TreeFileError, match=r"of a clip; read it with regiontree\.ClipTree\.load"):
        RegionTree.load(clip)
    with pytest.raises(TreeFileError, match=r"of a clip; read it with"):
        RegionTree.load_structure(clip)
    with pytest.raises(TreeFileError, match=r"photograph; read it with regiontree\.RegionTree"):
        ClipTree.load(photo)
    with pytest.raises(TreeFileError, match="no such file"):
        ClipTree.load(tmp_path / "nothing.clip.npz")


def test_nothing_is_left_of_a_file_that_could_not_be_finished(tmp_path):
    tree = random_clip(10)
    arrays = {name: getattr(tree, name) for name in ("parents", "height", "ncut", "stop")}
    path = tmp_path / "a.clip.npz"
    path.write_bytes(b"older")
    with pytest.raises(TreeError, match="frame 1 hold 50"):
        write_clip_file(path, arrays, {}, [tree.frame_labels(0), np.full((6, 7), 50)])
    assert [file.name for file in tmp_path.iterdir()] == ["a.clip.npz"]
    assert path.read_bytes() == b"older"
    with pytest.raises(TreeError, match="format"):
        write_clip_file(path, arrays, {"format": 1}, [])
