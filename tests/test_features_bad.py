"""Features from elsewhere: what is refused, what the refusal names, and what odd ones become."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import zipfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from regiontree import RegionParser, RegionTree, StopReason
from regiontree.backbones.precomputed import check_features, read_features
from regiontree.errors import FeatureError, RegionTreeError, SettingsError
from regiontree.hierarchy import RecursivePartition


@pytest.fixture(scope="module", params=["recursive", "ward"])
def parser(request) -> RegionParser:
    """Without smoothing, which would mix patches that a test means to be of one kind."""
    return RegionParser(backbone="precomputed", device="cpu", tree=request.param, smoothing=0)


def grid(rows: int = 4, columns: int = 5, dim: int = 6, seed: int = 0) -> np.ndarray:
    """Features (rows, columns, dim) of a left and a right half that differ, with some noise."""
    rng = np.random.default_rng(seed)
    features = 0.1 * rng.normal(size=(rows, columns, dim))
    features[:, : columns // 2, 0] += 1
    features[:, columns // 2 :, 1] += 1
    return features.astype(np.float32)


def spoiled(value: float, *where: int) -> np.ndarray:
    features = grid()
    features[where] = value
    return features


def leaf_regions(tree: RegionTree) -> set[frozenset[int]]:
    flat = tree.labels.reshape(-1)
    return {frozenset(np.flatnonzero(flat == k).tolist()) for k in range(tree.n_leaves)}


def npy(array: np.ndarray, *, pickled: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=pickled)
    return stream.getvalue()


def claiming(shape: tuple[int, ...]) -> bytes:
    """The header of a float32 array of that shape, and nothing after it."""
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


def archive_of(content: bytes, name: str = "features.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(name, content)
    return stream.getvalue()


# -- arrays that are no features ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "facts"),
    [
        (spoiled(np.nan, 1, 2, 3), ["1 of 20", "NaN"]),
        (spoiled(np.inf, 0, slice(None), 0), ["5 of 20", "infinity"]),
        (spoiled(-np.inf, 0, 0), ["1 of 20", "infinity"]),
        (spoiled(0.0, 2, 1), ["zero", "1 of 20", "remove"]),
        (np.zeros((2, 2, 3)), ["zero", "4 of 4"]),
        (np.zeros(6), ["(h, w, d)", "(6,)"]),
        (grid()[0], ["(h, w, d)", "(5, 6)"]),
        (grid()[None], ["(h, w, d)", "(1, 4, 5, 6)"]),
        (np.ones((2, 2, 3), int), ["float", "int64"]),
        (np.ones((2, 2, 3), bool), ["float", "bool"]),
        (np.ones((2, 2, 3), complex), ["float", "complex128"]),
        (np.full((2, 2, 3), None), ["float", "object"]),
        (np.zeros((0, 5, 6)), ["empty", "(0, 5, 6)"]),
        (np.zeros((4, 0, 6)), ["empty", "(4, 0, 6)"]),
        (np.zeros((4, 5, 0)), ["empty", "(4, 5, 0)"]),
    ],
)
def test_arrays_that_are_no_features(parser, features, facts):
    with refused(FeatureError, *facts):
        parser.build(features)


@pytest.mark.parametrize(
    ("features", "facts"),
    [
        (torch.full((2, 2, 3), torch.nan), ["finite", "4 of 4"]),
        (torch.tensor(spoiled(np.inf, 1, 1, 0)), ["finite", "1 of 20"]),
        (torch.tensor(spoiled(0, 1, 1)), ["zero", "1 of 20"]),
        (torch.ones(2, 2), ["(h, w, d)", "(2, 2)"]),
        (torch.ones(0, 2, 3), ["(h, w, d)", "(0, 2, 3)"]),
        (torch.ones(2, 2, 3, dtype=torch.int32), ["float", "int32"]),
    ],
)
def test_tensors_that_are_no_features(parser, features, facts):
    with refused(FeatureError, *facts):
        parser.build(features)


@pytest.mark.parametrize("image_size", [(3, 5), (4, 4), (1, 1), (0, 0)])
def test_an_image_with_fewer_pixels_than_patches(parser, image_size):
    with refused(FeatureError, str(image_size), "(4, 5)"):
        parser.build(grid(), image_size=image_size)


@pytest.mark.parametrize("image_size", [(9.5, 9), (9, 9, 3), "99", 9, (None, 9)])
def test_an_image_size_that_is_no_pair_of_whole_numbers(parser, image_size):
    with refused(FeatureError, "image_size", "(H, W)", repr(image_size)):
        parser.build(grid(), image_size=image_size)


# -- odd features with an answer ------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (3, 4)])
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_equal_features_are_one_uniform_region(parser, size, scale):
    features = np.full((*size, 6), scale, np.float32)
    tree = parser.build(features, image_size=(9, 8))
    assert (tree.n_nodes, tree.shape) == (1, (9, 8))
    assert tree.stop.tolist() == [StopReason.UNIFORM]


def test_features_of_one_direction_are_equal_whatever_their_lengths(parser):
    lengths = np.linspace(1, 100, 20, dtype=np.float32).reshape(4, 5, 1)
    tree = parser.build(lengths * np.array([1, 2, 3], np.float32))
    assert tree.stop.tolist() == [StopReason.UNIFORM]


def test_rounding_alone_divides_nothing(parser):
    features = np.ones((6, 6, 8)) + 1e-8 * np.random.default_rng(0).normal(size=(6, 6, 8))
    assert parser.build(features).n_nodes == 1


@pytest.mark.parametrize("dim", [1, 2, 384])
@pytest.mark.parametrize("size", [(1, 2), (1, 3), (2, 2)])
def test_fewer_patches_than_dimensions_or_hardly_any(parser, size, dim):
    features = np.random.default_rng(dim).normal(size=(*size, dim)).astype(np.float32)
    tree = parser.build(features)
    assert tree.shape == size
    assert 1 <= tree.n_leaves <= size[0] * size[1]
    assert tree.embedding is None or tree.embedding.shape == (tree.n_nodes, dim)


@pytest.mark.parametrize("side", [12, 20])  # fewer patches than parts aimed at, and more
def test_three_distinct_features_make_at_most_three_leaves(parser, side):
    area = np.arange(side * side).reshape(side, side) * 3 // (side * side)
    vectors = np.random.default_rng(1).normal(size=(3, 8)).astype(np.float32)
    tree = parser.build(vectors[area])
    assert 1 <= tree.n_leaves <= 3
    for k in range(3):  # equal patches are never parted
        assert len(np.unique(tree.labels[area == k])) == 1


def test_three_distinct_features_on_a_small_grid_are_the_three_leaves(parser):
    area = np.arange(144).reshape(12, 12) // 48
    tree = parser.build(np.eye(3, 8, dtype=np.float32)[area])
    assert leaf_regions(tree) == {
        frozenset(np.flatnonzero(area.reshape(-1) == k).tolist()) for k in range(3)
    }


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f * np.float32(1e37),
        lambda f: f * np.float32(1e-30),
        lambda f: f.astype(np.float64),
        lambda f: f.astype(np.longdouble),
        lambda f: f.astype(">f4"),
        lambda f: np.asfortranarray(f),
        lambda f: f[::-1, ::-1].copy()[::-1, ::-1],  # negative strides
        lambda f: np.repeat(f, 2, axis=2)[:, :, ::2],  # steps of two
        lambda f: torch.from_numpy(f),
    ],
    ids=["huge", "tiny", "float64", "longdouble", "big-endian", "fortran", "reversed", "strided",
         "tensor"],
)  # fmt: skip
def test_scale_precision_and_layout_do_not_change_the_tree(parser, change):
    features = grid()
    tree, other = parser.build(features), parser.build(change(features))
    assert tree.n_leaves > 1
    assert np.array_equal(other.labels, tree.labels)
    assert np.array_equal(other.parents, tree.parents)
    assert np.allclose(other.height, tree.height, atol=1e-5)


def test_float16_at_the_end_of_its_range(parser):
    # Squared in float16 every one of these is infinite.
    features = (grid() * 5e4).astype(np.float16)
    assert 5e4 < np.abs(features).max() < np.inf
    tree = parser.build(features)
    assert np.isfinite(tree.embedding).all()
    assert np.array_equal(tree.labels, parser.build(features.astype(np.float32) / 5e4).labels)


def test_arrays_are_left_as_they_were(parser):
    features = grid()
    features.setflags(write=False)
    before = features.copy()
    parser.build(features)
    assert np.array_equal(features, before)


# -- feature files --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["photo.npy", "photo.npz"])
def test_a_file_of_either_kind_gives_the_tree_of_its_array(parser, tmp_path, name):
    features, path = grid(), tmp_path / name
    if name.endswith("z"):
        np.savez(path, features=features)
    else:
        np.save(path, features)
    tree = parser.parse(path)
    assert np.array_equal(tree.labels, parser.build(features).labels)
    assert tree.meta["image"]["name"] == name
    assert tree.meta["image"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert np.array_equal(parser.features(str(path)).numpy(), features)


@pytest.mark.parametrize("name", ["a.npz", "a.dat"])
def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(npy(grid()))
    assert np.array_equal(read_features(path)[0], grid())
    path.write_bytes(archive_of(npy(grid())))
    assert np.array_equal(read_features(path)[0], grid())


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"", ["empty"]),
        (b"1.0, 2.0\n", ["b'1.0, 2'", "numpy.save"]),
        (npy(grid())[:300], []),
        (npy(grid())[:20], []),
        (archive_of(npy(grid()))[:300], []),
        (archive_of(npy(grid()), "feats.npy"), ["'features'", "feats", "savez"]),
        (b"PK\x05\x06" + bytes(18), ["'features'"]),
        (archive_of(b"not an array"), ["array"]),
        (archive_of(npy(grid())[:300]), []),
        (npy(grid()[0]), ["(h, w, d)", "(5, 6)"]),
        (npy(np.ones((2, 2, 3), np.uint8)), ["float", "uint8"]),
        (npy(spoiled(np.nan, 0, 0)), ["1 of 20", "NaN"]),
        (claiming((10**5, 10**5, 10**3)), []),
        (claiming((10**7, 10**7, 10**7)), []),
        (claiming((-1, 5, 6)) + bytes(480), []),
        (archive_of(claiming((10**5, 10**5, 10**3))), []),
    ],
)
def test_files_that_hold_no_features(parser, tmp_path, content, facts):
    path = tmp_path / "photo.npy"
    path.write_bytes(content)
    for read in (parser.parse, parser.features):
        with refused(FeatureError, str(path), *facts):
            read(path)


class Trap:
    """Pickled, an instruction to make a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("wrap", [lambda data: data, archive_of], ids=["npy", "npz"])
@pytest.mark.parametrize("as_array", [True, False])
def test_a_pickle_is_never_run(parser, tmp_path, wrap, as_array):
    sprung, path = tmp_path / "sprung", tmp_path / "photo.npy"
    trap = Trap(sprung)
    content = npy(np.array([[[trap]]]), pickled=True) if as_array else pickle.dumps(trap)
    np.load(io.BytesIO(content), allow_pickle=True)  # it works on who trusts it
    sprung.rmdir()
    path.write_bytes(wrap(content))
    with refused(FeatureError, str(path)):
        parser.parse(path)
    assert not sprung.exists()


def test_paths_that_lead_nowhere(parser, tmp_path):
    with refused(FeatureError, "gone.npy"):
        parser.parse(tmp_path / "gone.npy")
    with refused(FeatureError, "folder", "feature file"):
        parser.parse(tmp_path)
    with refused(FeatureError, "path", "build()"):
        parser.parse(grid())


@pytest.mark.filterwarnings("ignore")  # of the parser, about odd text in damaged headers
@settings(max_examples=150, deadline=None)
@given(
    st.booleans(),
    st.lists(
        st.tuples(st.integers(0, 300), st.sampled_from(b"(-){}[]'\",:LTF0<>\0\xff#\n\\x9")),
        min_size=1,
        max_size=5,
    ),
)
def test_a_damaged_file_is_a_feature_error_or_still_features(tmp_path_factory, zipped, changes):
    data = bytearray(archive_of(npy(grid())) if zipped else npy(grid()))
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(data)
    with contextlib.suppress(FeatureError):
        features, _ = read_features(path)
        assert features.ndim == 3
        assert np.isfinite(features).all()


def test_checking_copies_nothing_that_torch_takes():
    features = grid()
    assert check_features(features, "features") is features


# -- a folder of features beside the photographs --------------------------------------------------


@pytest.fixture
def photo(tmp_path) -> Path:
    path = tmp_path / "photos" / "cat.jpg"
    path.parent.mkdir()
    Image.new("RGB", (50, 40), "teal").save(path)
    return path


@pytest.mark.parametrize("name", ["cat.npy", "cat.npz"])
def test_features_are_found_by_the_photographs_name(photo, tmp_path, name):
    (tmp_path / name).write_bytes(npy(grid()))
    tree = RegionParser(backbone=f"precomputed:{tmp_path}").parse(photo)
    assert tree.shape == (40, 50)
    assert tree.meta["image"]["grid"] == [4, 5]
    assert tree.meta["image"]["name"] == "cat.jpg"
    assert tree.meta["image"]["features_sha256"] == hashlib.sha256(npy(grid())).hexdigest()


def test_features_that_are_not_in_the_folder(photo, tmp_path):
    (tmp_path / "dog.npy").write_bytes(npy(grid()))
    with refused(FeatureError, "cat.npy", ".npz", ".safetensors", "cat.jpg"):
        RegionParser(backbone=f"precomputed:{tmp_path}").parse(photo)
    with refused(FeatureError, "nowhere", "folder"):
        RegionParser(backbone=f"precomputed:{tmp_path}/nowhere").parse(photo)


def test_features_finer_than_the_photograph(photo, tmp_path):
    np.save(tmp_path / "cat.npy", np.ones((41, 50, 3), np.float32))
    with refused(FeatureError, "(40, 50)", "(41, 50)"):
        RegionParser(backbone=f"precomputed:{tmp_path}").parse(photo)


def test_a_photograph_without_a_path_has_no_name_to_look_for(tmp_path):
    with refused(FeatureError, "path"):
        RegionParser(backbone=f"precomputed:{tmp_path}").parse(np.zeros((9, 9, 3), np.uint8))


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "near"),
    [
        ("part", "parts"),
        ("max_ncuts", "max_ncut"),
        ("level", "levels"),
        ("maxways", "max_ways"),
        ("Seed", "seed"),
        ("overcluster", "overclustering"),
    ],
)
def test_an_unknown_setting_is_told_its_neighbour(wrong, near):
    with refused(SettingsError, wrong, f"did you mean '{near}'"):
        RegionParser(backbone="precomputed", **{wrong: 1})


def test_a_setting_like_no_other():
    with refused(SettingsError, "zzz") as caught:
        RegionParser(backbone="precomputed", zzz=1)
    assert "did you mean" not in str(caught.value)
    with refused(SettingsError, "preset", "slow", "default", "accurate", "fast", "published"):
        RegionParser(backbone="precomputed", preset="slow")


def test_a_setting_that_only_another_tree_reads_is_refused():
    with refused(SettingsError, "levels", "recursive", "ward"):
        RegionParser(backbone="precomputed", levels=4)
    with refused(SettingsError, "power", "ward", "recursive"):
        RegionParser(backbone="precomputed", preset="published", power=0.5)
    both = RegionParser(backbone="precomputed", tree="recursive", levels=4)
    assert RegionParser(**both.settings.as_dict()).settings == both.settings


RECURSIVE_ONLY = {f.name for f in fields(RecursivePartition)}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("size", 0, "65536"),
        ("size", "large", "long side"),
        ("affinity", "gauss", "minmax, exp"),
        ("distance", "l1", "cosine, euclidean"),
        ("sigma", 0, "["),
        ("sigma", -1.0, "["),
        ("sigma", float("nan"), "["),
        ("threshold", 1.0, "[0, 1)"),
        ("threshold", -0.1, "[0, 1)"),
        ("threshold", float("nan"), "[0, 1)"),
        ("overclustering", "slice", "contiguous, simultaneous, features, none"),
        ("parts", 0, "[1, 4096]"),
        ("parts", 4097, "[1, 4096]"),
        ("parts", 20.0, "[1, 4096]"),
        ("restarts", 0, "[1, 1000"),
        ("restarts", 1.5, "[1, 1000"),
        ("tolerance", -0.1, "[0, 1]"),
        ("tolerance", float("nan"), "[0, 1]"),
        ("solver", "arpack", "auto, reference"),
        ("tree", "binary", "recursive"),
        ("levels", 0, "[1, 1000"),
        ("levels", 2.5, "[1, 1000"),
        ("max_ways", 1, "[2, 1000"),
        ("min_parts", 0, "[1, 1000"),
        ("max_ncut", 0.0, "[1e-09, 1]"),
        ("max_ncut", 1.01, "[1e-09, 1]"),
        ("max_ncut", float("nan"), "[1e-09, 1]"),
        ("max_perturbation", 0.0, "["),
        ("max_perturbation", float("nan"), "["),
        ("heuristic", "elbow", "maxgap, fiedler"),
        ("seed", -1, "[0, 9223372036854775808)"),
        ("seed", 2**63, "[0, 9223372036854775808)"),
        ("seed", 1.0, "[0, 9223372036854775808)"),
    ],
)
def test_a_setting_out_of_range_is_named_with_its_range_and_value(name, value, allowed):
    of_recursion = {"tree": "recursive"} if name in RECURSIVE_ONLY else {}
    if name in ("restarts", "tolerance", "solver"):
        of_recursion = {"overclustering": "simultaneous"}
    with refused(SettingsError, name, repr(value), allowed) as caught:
        RegionParser(backbone="precomputed", **{**of_recursion, name: value})
    assert isinstance(caught.value, RegionTreeError)
