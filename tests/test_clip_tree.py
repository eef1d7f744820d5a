"""ClipTree against RegionTree of the same pixels, frame by frame, and its file."""

from __future__ import annotations

import gc
import io
import pickle
import weakref
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import regiontree
from regiontree.cli import app
from regiontree.engines.names import name_trees
from regiontree.errors import StoreError, TreeError, TreeFileError
from regiontree.forest.forest import Forest
from regiontree.forest.listing import list_trees
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


def test_one_frame_is_unpacked_and_no_other(tmp_path, monkeypatch):
    tree = random_clip(11)
    read = ClipTree.load(tree.save(tmp_path / "drawn"))
    unpacked = []
    whole = zlib.decompressobj

    def counted(*args):
        unpacked.append(args)
        return whole(*args)

    monkeypatch.setattr(zlib, "decompressobj", counted)
    assert np.array_equal(read.frame_labels(2), tree.frame_labels(2))
    assert len(unpacked) == 1
    smaller = read.prune(n_regions=3)  # it needs no frame: areas follow from the leaves
    assert len(unpacked) == 1
    assert np.array_equal(smaller.cut_frame(1), tree.cut_frame(1, n_regions=3))
    assert len(unpacked) == 2
    expected = tree.prune(n_regions=3)
    assert smaller == expected
    assert np.array_equal(smaller.area, expected.area)
    assert [smaller.span(i) for i in range(5)] == [expected.span(i) for i in range(5)]


def test_a_file_that_was_written_anew_is_noticed(tmp_path):
    path = random_clip(12).save(tmp_path / "drawn")
    tree = ClipTree.load(path)
    random_clip(13).save(path)
    with pytest.raises(TreeFileError, match=r"frame 1 .* has changed since its tree was read"):
        tree.frame_labels(1)
    path.unlink()
    with pytest.raises(TreeFileError, match="no such file"):
        tree.frame_labels(1)


def test_every_changed_byte_is_noticed_or_harmless(tmp_path):
    tree = random_clip(14, sizes=((2, 3), (3, 2)), n_leaves=3)
    path = tree.save(tmp_path / "drawn")
    data = path.read_bytes()
    refused = 0
    for place in range(0, len(data), 5):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            equal = ClipTree.load(path) == tree
        except TreeFileError as error:
            equal = True
            refused += str(error).startswith(f"{path}: ")
        assert equal, f"byte {place} changed the tree"
    assert refused > len(data) / 10


def test_a_frame_may_not_claim_more_than_its_size(tmp_path):
    path = random_clip(15).save(tmp_path / "drawn")
    changed(path, labels__000003=np.zeros((600, 700), np.uint16))
    with pytest.raises(TreeFileError, match="frame 3 is not as long as its 6 x 7 pixels"):
        ClipTree.load(path)
    sizes = np.array([[6, 7]] * 3 + [[2**31 - 1, 2**31 - 1]], np.int32)
    with pytest.raises(TreeFileError, match="frame 3 of 2147483647 x 2147483647 pixels is larger"):
        ClipTree.load(changed(path, frames=sizes))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"labels__000009": np.zeros((6, 7), np.uint16)}, r"holds 'labels/000009.npy'"),
        ({"stranger": np.zeros(3)}, r"holds 'stranger.npy'"),
        ({"embedding": None, "embeddinG": np.zeros((17, 4), np.float16)}, "holds 'embeddinG.npy'"),
        ({"frames": np.array([[6, 7]] * 3 + [[7, 6]], np.int32)}, r"frame 3 has \(6, 7\) pixels"),
        ({"span": np.array([[2, 1]] * 9, np.int32)}, "leaf 0 ends before it begins"),
        ({"meta": np.array('{"format": "regiontree clip", "format_version": 9}')}, "upgrade"),
        ({"stop": np.zeros(17, np.uint8)}, "stop"),
        ({"height": np.zeros(4, np.float32)}, "height"),
        ({"parents": np.array([object()] * 17)}, "parents"),
    ],
)
def test_hostile_members_are_refused(tmp_path, members, said):
    path = changed(random_clip(16).save(tmp_path / "drawn"), **members)
    with pytest.raises(TreeFileError, match=said):
        ClipTree.load(path).frame_labels(3)


def test_labels_have_16_bits_while_they_fit(tmp_path):
    for n_leaves, kind in ((65_536, "<u2"), (65_537, "<i4")):
        parents = np.full(n_leaves + 1, n_leaves)
        height = np.append(np.zeros(n_leaves), 1)
        frames = [np.arange(n_leaves)[None], np.full((1, 2), n_leaves - 1)]
        path = ClipTree(frames, parents, height).save(tmp_path / str(n_leaves))
        read = ClipTree.load(path)
        assert read.frame_labels(1).tolist() == [[n_leaves - 1] * 2]
        with np.load(path) as plain:
            assert plain["labels/000000"].dtype == kind


def test_writing_takes_one_frame_at_a_time(tmp_path):
    tree = random_clip(17)
    arrays = {name: getattr(tree, name) for name in ("parents", "height", "ncut", "stop")}
    alive: list[weakref.ref] = []

    def frames():
        for t in range(4):
            gc.collect()
            assert sum(ref() is not None for ref in alive) <= 1
            frame = tree.frame_labels(t).copy()
            alive.append(weakref.ref(frame))
            yield frame
            del frame

    path = write_clip_file(tmp_path / "drawn", arrays, {}, frames())
    assert np.array_equal(ClipTree.load(path).labels, tree.labels)
    assert len(alive) == 4


def test_too_many_pixels_at_once_are_refused(monkeypatch):
    tree = random_clip(18)
    monkeypatch.setattr("regiontree.tree.clip_tree._MOST", 100)
    for wrong in (lambda: tree.labels, lambda: tree.cut(), lambda: tree.mask(3)):
        with pytest.raises(TreeError, match="one by one, by frame_labels"):
            wrong()
    with pytest.raises(TreeError, match="frame by frame"):
        tree.frame_areas()
    assert tree.cut_frame(1).shape == (6, 7)


# -- among trees of photographs -------------------------------------------------------------------


def test_searches_for_trees_leave_clips_out_and_say_so(tmp_path):
    photo = stacked(random_clip(19)).save(tmp_path / "photo")
    random_clip(19).save(tmp_path / "walk")
    listing = list_trees([tmp_path])
    assert [tree.path for tree in listing.files] == [photo]
    assert listing.left_out == "left out: 1 .clip.npz"
    assert list(Forest(tmp_path)) == ["photo"]


def test_a_folder_of_clips_alone_holds_no_trees_of_photographs(tmp_path):
    random_clip(20).save(tmp_path / "walk")
    assert not list_trees([tmp_path]).files
    with pytest.raises(StoreError, match="holds no trees"):
        Forest(tmp_path)


@pytest.mark.parametrize(
    "command",
    [
        ["export", "--to", "coco", "--out", "x.json"],
        ["gallery", "--out", "pages"],
        ["view", "--no-browser"],
        ["discover", "--out", "found"],
    ],
)
def test_commands_say_in_one_line_that_a_file_is_of_a_clip(tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    random_clip(21).save("walk")
    result = CliRunner().invoke(app, [command[0], "walk.clip.npz", *command[1:]])
    assert result.exit_code != 0
    said = [line for line in result.output.splitlines() if "walk.clip.npz" in line]
    discovered = "is a file, not a folder of trees"  # of one tree nothing can be discovered
    expected = "is the tree of a clip; read it with regiontree.ClipTree.load"
    assert len(said) == 1
    assert said[0].endswith(discovered if command[0] == "discover" else expected)


def test_the_tree_of_a_photograph_never_is_called_as_that_of_a_clip(tmp_path):
    photos = [(tmp_path / name, tmp_path) for name in ("a.clip.jpg", "b.jpg")]
    for number, (photo, _) in enumerate(photos):
        photo.write_bytes(bytes([number]))
    names = name_trees(photos, tmp_path / "out")
    assert [name.name for name in names] == ["a.clip.jpg.npz", "b.npz"]
