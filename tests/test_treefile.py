"""Tree files: what goes in comes out, writing is all or nothing, and reading trusts nothing."""

from __future__ import annotations

import contextlib
import io
import json
import os
import pickle
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import random_tree, trees

from regiontree import RegionTree
from regiontree.errors import TreeError, TreeFileError
from regiontree.system.files import atomic_write
from regiontree.tree import file as treefile
from regiontree.tree.file import FORMAT_VERSION, read_meta

ARRAYS = ["labels", "parents", "area", "level", "height", "ncut", "stop", "embedding",
          "descriptor", "stability"]  # fmt: skip


@pytest.fixture
def tree() -> RegionTree:
    return random_tree(np.random.default_rng(0), 5, (3, 4), dim=2)


@pytest.fixture
def file(tree, tmp_path) -> Path:
    return tree.save(tmp_path / "tree.npz")


# -- files as a forger sees them ------------------------------------------------------------------


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def header(shape: tuple[int, ...] | str, dtype: str = "<i4", order: str = "False") -> bytes:
    """A .npy header that may claim anything, written out as text."""
    text = f"{{'descr': '{dtype}', 'fortran_order': {order}, 'shape': {shape}, }}"
    text = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode("latin1")


def members(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def forge(path: Path, compression: int = zipfile.ZIP_DEFLATED, **changed: bytes | None) -> None:
    """Write the file again, its checksums right, with some members changed or left out."""
    contents = {**members(path), **{f"{name}.npy": data for name, data in changed.items()}}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            if data is not None:
                archive.writestr(name, data)


def with_meta(**changed: object) -> bytes:
    meta = {"format": "regiontree", "format_version": FORMAT_VERSION, **changed}
    return npy(np.array(json.dumps({k: v for k, v in meta.items() if v is not None})))


# -- there and back -------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(tree=trees())
def test_a_tree_read_back_is_the_tree_written(tree, tmp_path_factory):
    path = tree.save(tmp_path_factory.mktemp("tree") / "tree.npz")
    back = RegionTree.load(path)
    assert back == tree
    for name in ARRAYS:
        ours, theirs = getattr(tree, name), getattr(back, name)
        assert (ours is None) == (theirs is None)
        assert ours is None or ours.dtype == theirs.dtype
    assert read_meta(path) == tree.meta


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"name": "Größe 写真 🌲 \x00\ud800"},
        {"ключ": [1, 2.5, None, True, "x"], "nested": {"a": {"b": []}}},
        {"size": (840, 840), 1: "one"},  # JSON has lists and text keys only: so has meta
    ],
)
def test_meta_comes_back_as_it_was(meta, tmp_path):
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta=meta)
    assert RegionTree.load(tree.save(tmp_path / "tree.npz")).meta == tree.meta
    assert len(tree.meta) == len(meta)


def test_equal_trees_give_equal_bytes_under_any_name_at_any_time(tree, tmp_path, monkeypatch):
    first = tree.save(tmp_path / "first.npz").read_bytes()
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    assert tree.save(tmp_path / "other name.npz").read_bytes() == first
    again = RegionTree.load(tmp_path / "first.npz")
    assert again.save(tmp_path / "first.npz").read_bytes() == first


def test_the_order_in_which_meta_was_filled_leaves_no_trace(tmp_path):
    one, other = (
        RegionTree(labels=[[0]], parents=[0], height=[0.0], meta=meta)
        for meta in ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"d": 3, "c": 2}, "a": 1})
    )
    assert one == other
    assert one.save(tmp_path / "1").read_bytes() == other.save(tmp_path / "2").read_bytes()


def test_plain_numpy_reads_every_array(tree, file):
    with np.load(file, allow_pickle=False) as archive:
        assert sorted(archive) == sorted([*ARRAYS, "meta"])
        for name in ARRAYS:
            assert np.array_equal(archive[name], getattr(tree, name))
            assert archive[name].dtype == getattr(tree, name).dtype
        meta = json.loads(archive["meta"].item())
    assert meta == {"format": "regiontree", "format_version": 4, **tree.meta}


def test_a_missing_suffix_is_added_and_a_missing_folder_made(tree, tmp_path):
    assert tree.save(tmp_path / "a" / "b" / "photo.jpg") == tmp_path / "a/b/photo.jpg.npz"
    assert tree.save(str(tmp_path / "UPPER.NPZ")) == tmp_path / "UPPER.NPZ"
    assert RegionTree.load(str(tmp_path / "a/b/photo.jpg.npz")) == tree


@pytest.mark.parametrize("name", ["森" * 80, "é" * 120, "a" * 250])
def test_a_name_as_long_as_the_file_system_takes_is_no_longer_while_writing(tree, tmp_path, name):
    path = tmp_path / f"{name}.npz"
    assert len(path.name.encode()) <= 255
    assert tree.save(path).is_file()


@pytest.mark.parametrize("key", ["format", "format_version"])
def test_meta_may_not_pass_for_the_formats_own(key, tmp_path):
    tree = RegionTree(labels=[[0]], parents=[0], height=[0.0], meta={key: 7})
    with refused(TreeError, "meta", f"'{key}'", "rename"):
        tree.save(tmp_path / "tree.npz")
    assert not list(tmp_path.iterdir())


# -- all or nothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("after", [0, 3])
def test_an_interrupted_write_leaves_the_old_file_alone(tree, file, monkeypatch, stop, after):
    old, real, written = file.read_bytes(), np.lib.format.write_array, []

    def fails_midway(*args, **options):
        if len(written) == after:
            raise stop
        written.append(real(*args, **options))

    monkeypatch.setattr(np.lib.format, "write_array", fails_midway)
    with pytest.raises(type(stop)):
        tree.prune(n_regions=2).save(file)
    assert len(written) == after
    assert file.read_bytes() == old
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.name != "posix", reason="an open file cannot be replaced elsewhere")
def test_who_is_reading_the_old_file_reads_it_to_the_end(tree, file):
    old = file.read_bytes()
    with file.open("rb") as reader:
        tree.prune(n_regions=2).save(file)
        assert reader.read() == old
    assert file.read_bytes() != old


def test_a_file_has_its_name_only_when_complete(tmp_path):
    path = tmp_path / "late.bin"
    with atomic_write(path) as stream:
        stream.write(b"half")
        stream.flush()
        assert not path.exists()
    assert path.read_bytes() == b"half"


@pytest.mark.skipif(os.name != "posix", reason="permission bits")
def test_a_file_gets_the_permissions_any_new_file_would(file):
    (file.parent / "any").touch()
    assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE((file.parent / "any").stat().st_mode)


# -- trusting nothing -----------------------------------------------------------------------------


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path):
    with refused(TreeFileError, "gone.npz", "no such file", "check the path"):
        RegionTree.load(tmp_path / "gone.npz")
    with refused(TreeFileError, str(tmp_path), "folder", "file in it"):
        RegionTree.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a region tree"),
        (b"hello, I am a tree" * 50, "not a region tree"),
        (npy(np.zeros((3, 4), np.int32)), "not a region tree"),
        (b"PK\x05\x06" + bytes(18), "not a region tree.*'meta'"),
        (b"PK\x03\x04" + bytes(100), "not a region tree"),
    ],
    ids=["empty", "text", "npy", "empty zip", "broken zip"],
)
def test_a_file_that_is_no_tree(content, message, tmp_path):
    path = tmp_path / "no tree.npz"
    path.write_bytes(content)
    for read in (RegionTree.load, read_meta):
        with pytest.raises(TreeFileError, match=message) as caught:
            read(path)
        assert str(path) in str(caught.value)


def test_someone_elses_archive(tmp_path):
    path = tmp_path / "weights.npz"
    np.savez(path, weights=np.zeros(3))
    with refused(TreeFileError, "not a region tree", "'weights.npy'"):
        RegionTree.load(path)


@pytest.mark.parametrize("name", [*ARRAYS[:-3], "meta"])
def test_a_missing_array_is_named(file, name):
    forge(file, **{name: None})
    with refused(TreeFileError, "not a region tree", f"'{name}'"):
        RegionTree.load(file)


@pytest.mark.parametrize("name", ["embedding", "descriptor", "stability"])
def test_a_tree_without_an_optional_array_is_whole(tree, file, name):
    forge(file, **{name: None})
    back = RegionTree.load(file)
    assert getattr(back, name) is None
    assert np.array_equal(back.labels, tree.labels)


def test_an_array_twice_is_refused(file):
    # zipfile itself reads the last of the two; another program may read the first.
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("labels.npy", npy(np.zeros((3, 4), np.int32)))
    with refused(TreeFileError, str(file), "twice"):
        RegionTree.load(file)


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        (name, wrong)
        for name in ARRAYS
        for wrong in ("wider type", "byte order", "one more axis", "Fortran order")
        if (name, wrong) != ("stop", "byte order")  # its bytes have none
    ],
)
def test_only_the_documented_type_and_layout_is_read(file, name, wrong):
    array = np.load(io.BytesIO(members(file)[f"{name}.npy"]))
    if wrong == "wider type":
        forged = npy(array.astype(f"{array.dtype.kind}{2 * array.dtype.itemsize % 12}"))
    elif wrong == "byte order":
        forged = npy(array.astype(array.dtype.newbyteorder(">")))
    elif wrong == "one more axis":
        forged = npy(array[None])
    else:
        forged = header(array.shape, array.dtype.str, "True") + array.tobytes()
    forge(file, **{name: forged})
    with pytest.raises(TreeFileError, match=f"array '{name}' is .*; [12]-D .* expected"):
        RegionTree.load(file)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("labels", lambda a: a + 1, "labels.* 1 to 5.* 0 to 4"),
        ("labels", lambda a: a[:0], r"labels has shape \(0, 4\)"),
        ("labels", lambda a: a[:2], "labels|area"),
        ("parents", lambda a: a[::-1], r"parents\[.\] is 5.*root"),
        ("parents", lambda a: a[:0], "parents is empty"),
        ("height", lambda a: a[:-1], r"height.* \d .* \d nodes"),
        ("height", lambda a: -a - 1, r"height\[0\] is -"),
        ("height", lambda a: a * np.float32(np.nan), "height.* finite"),
        ("ncut", lambda a: a + 2, r"ncut\[0\] is 2"),
        ("stop", lambda a: a + 10, r"stop\[0\] is"),
        ("embedding", lambda a: a[1:], r"embedding.* \d .* \d nodes"),
        ("descriptor", lambda a: a[1:], r"descriptor.* \d .* \d leaves"),
        ("stability", lambda a: a[1:], r"stability.* \d .* \d nodes"),
        ("stability", lambda a: a + np.float16(1), r"stability\[.\] is 1.*: a stability lies in"),
        ("area", lambda a: a + 1, "area.*labels and parents"),
        ("area", lambda a: a[:-1], "area.*labels and parents"),
        ("level", lambda a: a + 1, "level.*labels and parents"),
        ("level", lambda a: a[:0], "level.*labels and parents"),
    ],
)
def test_arrays_that_contradict_each_other(file, name, change, message):
    array = np.load(io.BytesIO(members(file)[f"{name}.npy"]))
    forge(file, **{name: npy(np.ascontiguousarray(change(array)))})
    with pytest.raises(TreeFileError, match=message) as caught:
        RegionTree.load(file)
    assert str(caught.value).startswith(f"{file}: ")


@pytest.mark.parametrize(
    "forged",
    [
        header((10**7, 10**7)),  # 400 TB
        header((10**30, 10**30)),
        header((2**32, 2**32)),  # 0 bytes to whoever counts in 64 bits
        header((3, 5)) + bytes(48),
        header((3, 3)) + bytes(48),
        header((-3, -4)) + bytes(48),
        header((-1, 4)) + bytes(48),
        header((0, 10**30)),
        header("(3, 4", "<i4") + bytes(48),
        header("(" * 90) + bytes(48),
        header("-" * 60 + "1") + bytes(48),
        header((3, 4), "<i4'; import os; '") + bytes(48),
        header((3, 4), "V0") + bytes(48),
        header("(3.0, 4.0)") + bytes(48),
        header((3, 4))[:40],
        b"",
        b"not an array",
        b"\x93NUMPY\x07\x00" + header((3, 4))[8:] + bytes(48),
    ],
)
def test_headers_that_lie_are_refused_before_anything_is_allocated(file, forged):
    forge(file, labels=forged)
    tracemalloc.start()
    try:
        with pytest.raises(TreeFileError, match="labels"):
            RegionTree.load(file)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


class Trap:
    """Pickled, an instruction to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("name", ["labels", "embedding", "meta"])
@pytest.mark.parametrize("as_array", [True, False])
def test_a_pickle_inside_is_never_run(file, tmp_path, name, as_array):
    sprung = tmp_path / "sprung"
    trap = Trap(sprung)
    forged = npy(np.array([[trap]]), pickled=True) if as_array else pickle.dumps(trap)
    np.load(io.BytesIO(forged), allow_pickle=True)  # it works on who trusts it
    sprung.rmdir()
    forge(file, **{name: forged})
    with pytest.raises(TreeFileError, match=name):
        RegionTree.load(file)
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("meta", "message"),
    [
        (with_meta(format="other"), "meta.*format 'regiontree'"),
        (with_meta(format=None), "meta.*format 'regiontree'"),
        (with_meta(format_version=5), "version 5.* 4; .*upgrade"),
        (with_meta(format_version=0), "format version 0"),
        (with_meta(format_version=None), "format version None"),
        (with_meta(format_version="1"), "format version '1'"),
        (with_meta(format_version=True), "format version True"),
        (with_meta(x=float("nan")), "meta is not JSON .*NaN"),
        (npy(np.array("[1, 2]")), "meta.* format"),
        (npy(np.array("{")), "meta is not JSON"),
        (npy(np.array("")), "meta"),
        (npy(np.array("[" * 100_000)), "meta is not JSON"),
        (npy(np.array('{"a":' * 100_000)), "meta is not JSON"),
        (npy(np.array("9" * 10_000)), "meta is not JSON"),
        (npy(np.array(b"{}")), "array 'meta' is .S2 .*; 0-D str expected"),
        (npy(np.array(["{}"])), "0-D str expected"),
        (header("()", "<U0"), "array 'meta' cannot be"),
        (header("()", "<U2") + b"\xff" * 8, "meta is not text"),
        (header("()", ">U2") + bytes(8), "0-D str expected"),
    ],
)  # fmt: skip
def test_meta_that_cannot_be_right(file, meta, message):
    forge(file, meta=meta)
    for read in (RegionTree.load, read_meta):
        with pytest.raises(TreeFileError, match=message):
            read(file)


def test_a_number_in_meta_that_no_file_could_hold(file):
    text = json.dumps({"format": "regiontree", "format_version": FORMAT_VERSION, "x": 1})
    forge(file, meta=npy(np.array(text.replace('"x": 1', '"x": 1e999'))))
    with refused(TreeFileError, "meta", "JSON"):
        RegionTree.load(file)


def test_a_member_larger_than_its_header_says_is_not_inflated(file):
    # 64 MB of zeros in 64 kB: the header promises 48 bytes.
    forge(file, labels=header((3, 4)) + bytes(64 << 20))
    assert file.stat().st_size < 200_000
    tracemalloc.start()
    try:
        with refused(TreeFileError, "'labels'", "header"):
            RegionTree.load(file)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_member_that_inflates_beyond_its_directory_entry_is_not_followed(file):
    # The same bomb, its size in the zip directory forged to what the header promises.
    forge(file, labels=header((3, 4)) + bytes(64 << 20))
    size = len(header((3, 4)))
    raw = file.read_bytes().replace(
        struct.pack("<I", size + (64 << 20)), struct.pack("<I", size + 48)
    )
    file.write_bytes(raw)
    tracemalloc.start()
    try:
        with refused(TreeFileError, str(file), "damaged", "CRC-32"):
            RegionTree.load(file)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_member_shorter_than_both_its_header_and_directory_entry_say(file):
    content = header((3, 4)) + bytes(40)
    forge(file, labels=content)
    raw = file.read_bytes().replace(
        struct.pack("<I", len(content)), struct.pack("<I", len(content) + 8)
    )
    file.write_bytes(raw)
    with refused(TreeFileError, "'labels'", "cut short"):
        RegionTree.load(file)


def test_meta_larger_than_any_program_would_write(file):
    limit = 16 * 2**20
    forge(file, meta=header((), "<U5000000"))
    for read in (RegionTree.load, read_meta):
        with refused(TreeFileError, "meta", "20000000 bytes", f"at most {limit}"):
            read(file)
    forge(file, meta=header((), f"<U{limit // 4}"))  # as large as allowed, and cut short
    with refused(TreeFileError, "meta", "header"):
        read_meta(file)


def test_arrays_larger_together_than_a_tree_may_be(file, monkeypatch):
    monkeypatch.setattr(treefile, "MAX_BYTES", 1000)
    with pytest.raises(TreeFileError, match=r"arrays of 0\.0 GB are more than the 0\.0 GB"):
        RegionTree.load(file)


def test_a_file_cut_short_anywhere_is_refused(file):
    whole = file.read_bytes()
    for length in {*range(0, len(whole), 37), *range(len(whole) - 25, len(whole))}:
        file.write_bytes(whole[:length])
        with pytest.raises(TreeFileError, match=r"tree\.npz: "):
            RegionTree.load(file)


def test_a_byte_changed_anywhere_is_noticed_or_harmless(tree, file):
    """Harmless: in the dates and attributes of the zip directory, which nobody reads."""
    whole = file.read_bytes()
    refused = 0
    for position in range(0, len(whole), 3):
        changed = bytearray(whole)
        changed[position] ^= 1 << position % 8
        file.write_bytes(changed)
        try:
            assert RegionTree.load(file) == tree
        except TreeFileError:
            refused += 1
    assert refused > len(whole) / 6


@pytest.fixture(scope="module")
def lasting(tmp_path_factory) -> tuple[RegionTree, Path, bytes]:
    tree = random_tree(np.random.default_rng(0), 5, (3, 4), dim=2)
    file = tree.save(tmp_path_factory.mktemp("lasting") / "tree.npz")
    return tree, file, file.read_bytes()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=2, max_size=12),
    st.sampled_from([zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2]),
)
def test_bytes_changed_in_any_compression_are_noticed_or_harmless(lasting, changes, compression):
    tree, file, original = lasting
    file.write_bytes(original)
    forge(file, compression)
    changed = bytearray(file.read_bytes())
    for position, value in changes:
        changed[position % len(changed)] = value
    file.write_bytes(changed)
    with contextlib.suppress(TreeFileError):
        assert RegionTree.load(file) == tree


@pytest.mark.filterwarnings("ignore")  # of the parser, about odd text in forged headers
@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([*ARRAYS, "meta"]),
    st.lists(
        st.tuples(st.integers(0, 127), st.sampled_from(b"(-){}[]'\",:LTF0<>\0\xff#\n\\x9")),
        min_size=1,
        max_size=4,
    ),
)
def test_a_forged_header_gives_a_valid_tree_or_a_tree_file_error(lasting, name, changes):
    """With the checksums right nothing can be noticed, but nothing else may be raised either."""
    _, file, original = lasting
    file.write_bytes(original)
    data = bytearray(members(file)[f"{name}.npy"])
    for position, value in changes:
        data[position] = value
    forge(file, zipfile.ZIP_STORED, **{name: bytes(data)})
    with contextlib.suppress(TreeFileError):
        tree = RegionTree.load(file)
        assert tree.shape[0] * tree.shape[1] == tree.area[tree.root]
