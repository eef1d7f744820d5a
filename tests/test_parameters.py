"""Parameters as scientists pass them: NumPy's and torch's numbers, lists, paths of any kind."""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blocks, refused
from PIL import Image

from regiontree import RegionParser, RegionTree, Settings
from regiontree.backbones.featurefile import (
    Features,
    load_features,
    read_features_meta,
    save_features,
)
from regiontree.engines.batch import plan, segment, suffixes_for
from regiontree.engines.feeding import extract_many
from regiontree.errors import (
    BackboneError,
    ExportError,
    FeatureError,
    ImageError,
    SettingsError,
    TreeError,
    check_number,
    check_numbers,
    plain_tuple,
    plain_value,
    whole_number,
)
from regiontree.images import LoadedImage, load_image, parse_size
from regiontree.metrics.boundary import BoundaryMetric
from regiontree.metrics.bsds import CoveringMetric
from regiontree.metrics.budget import budget_nodes

WHOLE = [np.int64, np.uint8, np.int32, np.array, torch.tensor, int]
"""What a whole number may come as."""
REAL = [np.float64, np.float32, np.float16, np.array, torch.tensor, float]


class Folder:
    """A path that is neither text nor a Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.fixture(scope="module")
def tree() -> RegionTree:
    labels = np.arange(16).reshape(4, 4).repeat(2, 0).repeat(2, 1) // 2
    parents = [8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 14]
    height = [0] * 8 + [0.2, 0.3, 0.2, 0.3, 0.5, 0.5, 1]
    return RegionTree(labels, np.array(parents), np.array(height, float), meta={"a": 1})


# -- the mechanism --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE)
def test_whole_numbers_of_any_kind_are_ints(kind):
    for number in (
        plain_value(kind(100)),
        whole_number(kind(100)),
        check_number("n", kind(100), 1, 200, whole=True),
    ):
        assert (type(number), number) == (int, 100)


@pytest.mark.parametrize("kind", REAL)
def test_numbers_of_any_kind_are_floats(kind):
    found = check_number("x", kind(0.1), 0.1, 1)  # single precision alone would be above 0.1
    assert type(found) is float
    assert found == 0.1


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.True_,
        np.array(True),
        torch.tensor(True),
        "1",
        None,
        1j,
        np.complex64(1),
        [1],
        np.array([1]),
    ],
)
def test_what_is_no_number_is_refused(value):
    with refused(SettingsError, "count", "number"):
        check_number("count", value, 0, 10)
    with pytest.raises(TypeError):
        whole_number(value)


@pytest.mark.parametrize("value", [np.float32(2), torch.tensor(2.0), 2.0, np.nan])
def test_a_float_is_no_whole_number(value):
    with refused(SettingsError, "count", "whole number"):
        check_number("count", value, 0, 10, whole=True)


@pytest.mark.parametrize(
    "values", [[1, 2], (1, 2), np.array([1, 2]), torch.tensor([1, 2]), [np.int64(1), 2]]
)
def test_several_numbers_are_a_tuple_of_ints(values):
    found = check_numbers("cuts", values, 1, 9, whole=True)
    assert (found, plain_tuple(values)) == ((1, 2), (1, 2))
    assert {type(one) for one in found} == {int}


@pytest.mark.parametrize("values", [(), [], np.array([]), 3, "1,2", None, np.int64(3), [[1], [2]]])
def test_what_is_not_several_numbers_is_refused(values):
    with refused(SettingsError, "cuts"):
        check_numbers("cuts", values, 1, 9)


# -- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ({"parts": np.int64(100)}, {"parts": 100}),
        ({"parts": np.array(100)}, {"parts": 100}),
        ({"parts": torch.tensor(100)}, {"parts": 100}),
        ({"seed": np.uint64(7)}, {"seed": 7}),
        ({"views": np.int8(2)}, {"views": 2}),
        ({"power": np.float32(0.7)}, {"power": 0.7}),
        ({"contrast": np.float16(0.1)}, {"contrast": 0.1}),
        ({"contrast": torch.tensor(30.0)}, {"contrast": 30.0}),
        ({"smoothing": np.int64(0)}, {"smoothing": 0}),
        ({"size": [518, 1036]}, {"size": (518, 1036)}),
        ({"size": np.array([518, 1036])}, {"size": "518x1036"}),
        ({"size": [np.int64(518), np.int64(1036)]}, {"size": (518, 1036)}),
        ({"size": np.int32(700)}, {"size": 700}),
        ({"kernel": [448, 448], "stride": np.array([224, 224])}, {"kernel": 448, "stride": 224}),
        ({"tiles": np.int64(2000)}, {"tiles": 2000}),
        ({"layers": np.array([9, 12])}, {"layers": (9, 12)}),
        ({"layers": [np.int64(9)]}, {"layers": 9}),
        ({"layers": torch.tensor(-1)}, {"layers": -1}),
        (
            {"tree": {"builder": np.str_("recursive"), "levels": np.int64(4)}},
            {"tree": "recursive", "levels": 4},
        ),
        ({"backbone": Path("a/model")}, {"backbone": str(Path("a/model"))}),
        ({"backbone": Folder(Path("a/model"))}, {"backbone": str(Path("a/model"))}),
        ({"backbone": np.str_("own/model")}, {"backbone": "own/model"}),
        ({"dtype": torch.float32}, {"dtype": "float32"}),
        ({"dtype": torch.bfloat16}, {"dtype": "bfloat16"}),
        ({"dtype": np.float16}, {"dtype": "float16"}),
        ({"dtype": np.dtype("float32")}, {"dtype": "float32"}),
    ],
)  # fmt: skip
def test_settings_are_recorded_as_plain_values(given, plain):
    settings, wanted = Settings.make(**given), Settings.make(**plain)
    assert settings == wanted
    assert hash(settings) == hash(wanted)
    text = json.dumps(settings.as_dict())
    assert text == json.dumps(wanted.as_dict())
    assert Settings.make(**json.loads(text)) == wanted


@pytest.mark.parametrize(
    "given",
    [
        {"parts": np.True_},
        {"parts": np.array([100])},
        {"parts": np.float32(100)},
        {"seed": torch.tensor(1.0)},
        {"views": np.array([1, 2])},
        {"views": 4.0},
        {"size": [518, True]},
        {"size": np.array([518, 518, 3])},
        {"size": np.float64(518)},
        {"tiles": True},
        {"layers": [True]},
        {"dtype": torch.float64},
        {"dtype": np.array([1, 2])},
        {"tree": ["ward"]},
        {"tree": {"builder": np.array(["ward", "ward"])}},
    ],
)
def test_wrong_settings_are_named_whatever_their_type(given):
    name = next(iter(given))
    with refused(SettingsError, name):
        Settings.make(**given)


@pytest.mark.parametrize("preset", [["fast"], None, np.array(["fast"]), 3])
def test_a_preset_is_a_name(preset):
    with refused(SettingsError, "preset", "fast"):
        Settings.make(preset)


def test_a_preset_of_numpys_text_and_a_device_of_torch():
    parser = RegionParser(
        preset=np.str_("fast"), backbone="precomputed", device=torch.device("cpu"),
        max_pixels=np.float64(2e8), compile=np.False_,
    )  # fmt: skip
    assert parser.settings == Settings.make("fast", backbone="precomputed")
    assert (parser.device.type, parser.sight.max_pixels, parser.compile) == ("cpu", 2e8, False)


@pytest.mark.parametrize("device", [None, 1.5, ["cpu"], "gpu"])
def test_what_is_no_device(device):
    with refused(BackboneError, "device"):
        RegionParser(backbone="precomputed", device=device)


@pytest.mark.parametrize("limit", [0, True, "many", None, np.nan, -5])
def test_a_limit_of_pixels_is_a_number(limit):
    with refused(SettingsError, "max_pixels"):
        RegionParser(backbone="precomputed", max_pixels=limit)


@pytest.mark.parametrize(
    "size", [[40, 50], (np.int64(40), np.int64(50)), np.array([40, 50]), torch.tensor([40, 50])]
)
def test_exact_sizes(size):
    assert parse_size(size) == (40, 50)
    assert all(type(side) is int for side in parse_size(size))


# -- trees ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", WHOLE)
def test_methods_of_a_tree_take_whole_numbers_of_any_kind(tree, kind):
    assert np.array_equal(tree.cut(n_regions=kind(4)), tree.cut(n_regions=4))
    assert np.array_equal(tree.cut(depth=kind(1)), tree.cut(depth=1))
    assert tree.prune(n_regions=kind(4)) == tree.prune(n_regions=4)
    assert tree.prune(min_area=kind(9)) == tree.prune(min_area=9)
    assert tree.condense(kind(3)) == tree.condense(3)
    assert tree.salient(kind(3)) == tree.salient(3)
    assert np.array_equal(tree.mask(kind(13)), tree.mask(13))
    assert tree.children(kind(14)) == tree.children(14)
    assert tree.at(kind(3), kind(5)) == tree.at(3, 5)
    assert tree.n_below(kind(14)) == 14
    assert tree.to_text(max_depth=kind(1)) == tree.to_text(max_depth=1)
    assert tree.to_coco(n_regions=kind(4)) == tree.to_coco(n_regions=4)
    assert tree.to_coco(salient=kind(4)) == tree.to_coco(salient=4)
    assert tree.to_geojson(depth=kind(1)) == tree.to_geojson(depth=1)
    assert tree.to_label_studio(n_regions=kind(4)) == tree.to_label_studio(n_regions=4)
    assert tree.to_panoptic(n_regions=kind(4))[0] == tree.to_panoptic(n_regions=4)[0]
    assert np.array_equal(tree.to_label_image(n_regions=kind(4)), tree.to_label_image(n_regions=4))


@pytest.mark.parametrize("kind", REAL)
def test_a_cut_takes_a_height_of_any_kind(tree, kind):
    assert np.array_equal(tree.cut(height=kind(0.25)), tree.cut(height=0.25))
    assert tree.prune(height=kind(0.25)) == tree.prune(height=0.25)


@pytest.mark.parametrize("value", [True, np.True_, "4", np.array([4]), 1j, np.complex64(4)])
def test_methods_of_a_tree_refuse_what_is_no_number(tree, value):
    calls = [
        lambda: tree.cut(n_regions=value), lambda: tree.cut(height=value),
        lambda: tree.prune(min_area=value), lambda: tree.condense(value),
        lambda: tree.salient(value), lambda: tree.mask(value), lambda: tree.at(value, 0),
        lambda: tree.to_text(max_depth=value),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TreeError, match=r"number|at least"):
            call()


@pytest.mark.parametrize("many", [[2, 4], np.array([2, 4]), torch.tensor([2, 4])])
def test_granularities(tree, many, tmp_path):
    assert np.array_equal(
        tree.to_label_stack(granularities=many), tree.to_label_stack(granularities=(2, 4))
    )
    tree.export("stack", Folder(tmp_path / "x.tif"), granularities=many)
    assert (tmp_path / "x.tif").stat().st_size > 0


@pytest.mark.parametrize("as_given", [np.asarray, torch.as_tensor, lambda a: a.tolist()])
def test_a_tree_is_made_of_arrays_tensors_or_lists(tree, as_given):
    arrays = [as_given(np.array(a)) for a in (tree.labels, tree.parents, tree.height)]
    assert RegionTree(*arrays, meta={"a": 1}) == tree
    assert RegionTree.from_parents(*arrays, meta={"a": 1}) == tree


def test_a_tensor_that_requires_gradients_is_an_array(tree):
    height = torch.tensor(tree.height, requires_grad=True)
    embedding = torch.ones(15, 3, dtype=torch.bfloat16)
    made = RegionTree(tree.labels, tree.parents, height, embedding=embedding)
    assert np.array_equal(made.height, tree.height)
    assert made.embedding.dtype == np.float16


def test_meta_is_recorded_as_plain_json(tree):
    meta = {
        "n": np.int64(3), "x": np.float32(0.1), "on": np.True_, "path": Path("a"),
        "box": np.array([[1, 2]]), "tensor": torch.tensor([0.5]), "pair": (1, 2),
    }  # fmt: skip
    made = RegionTree(tree.labels, tree.parents, tree.height, meta=meta)
    assert dict(made.meta) == {
        "n": 3, "x": 0.1, "on": True, "path": "a", "box": [[1, 2]], "tensor": [0.5], "pair": [1, 2],
    }  # fmt: skip
    for wrong in (object(), {1}, np.nan, 1j, np.complex64(1)):
        with refused(TreeError, "meta", "JSON"):
            RegionTree(tree.labels, tree.parents, tree.height, meta={"a": wrong})


def test_a_tree_is_saved_to_and_read_from_any_kind_of_path(tree, tmp_path):
    path = Folder(tmp_path / "tree.npz")
    tree.save(path)
    assert RegionTree.load(path) == tree
    assert RegionTree.load(str(path.path)) == tree
    assert RegionTree.load_structure(path).n_nodes == tree.n_nodes


# -- metrics and batches --------------------------------------------------------------------------


def test_metrics_take_numbers_of_any_kind(tree):
    plain = budget_nodes(tree.parents, tree.height, 4)
    for kind in WHOLE:
        assert np.array_equal(budget_nodes(tree.parents, tree.height, kind(4)), plain)
    other = BoundaryMetric(distances=np.array([2.0, 5.0]), cuts=[np.int64(3), 6])
    assert other.settings == BoundaryMetric(distances=(2, 5), cuts=(3, 6)).settings
    assert (
        CoveringMetric(scales=np.array([2, 4])).settings == CoveringMetric(scales=[2, 4]).settings
    )
    for cuts in (np.array([]), 3, (3, 3)):
        with refused(SettingsError, "cuts"):
            BoundaryMetric(cuts=cuts)


def test_a_batch_size_of_any_kind(tmp_path):
    np.save(tmp_path / "a.npy", blocks(4, 4))
    parser = RegionParser(backbone="precomputed", device="cpu")
    for kind in WHOLE:
        (found,) = extract_many(parser, [tmp_path / "a.npy"], batch=kind(4), ahead=kind(1))
        assert found[1].patches.shape == (4, 4, 24)
    with refused(SettingsError, "batch"):
        list(extract_many(parser, [], batch=np.float32(4)))


# -- photographs ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def photo(rgb, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "Möwe.png"
    Image.fromarray(rgb).save(path)
    return path


def same(found: LoadedImage, photo: Path, rgb: np.ndarray, name: str | None) -> None:
    assert np.array_equal(found.rgb, rgb)
    assert found.name == name
    assert found.digest == hashlib.sha256(photo.read_bytes()).hexdigest()


def test_paths_bytes_and_open_files_are_photographs(photo, rgb):
    data = photo.read_bytes()
    for path in (str(photo), photo, Folder(photo)):
        same(load_image(path), photo, rgb, "Möwe.png")
    for encoded in (data, bytearray(data), memoryview(data), io.BytesIO(data)):
        same(load_image(encoded), photo, rgb, None)
    with photo.open("rb") as file:
        same(load_image(file), photo, rgb, "Möwe.png")
        same(load_image(file), photo, rgb, "Möwe.png")  # it was put back to where it was
    with photo.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        same(load_image(mapped), photo, rgb, None)
    with tempfile.TemporaryFile() as file:  # its name is a number
        file.write(data)
        file.seek(0)
        same(load_image(file), photo, rgb, None)


def test_a_file_is_read_from_its_position(photo, rgb):
    stream = io.BytesIO(b"a header" + photo.read_bytes())
    stream.seek(8)
    same(load_image(stream), photo, rgb, None)
    assert stream.tell() == 8
    stream.seek(0, io.SEEK_END)
    with refused(ImageError, "no bytes", "seek(0)"):
        load_image(stream)


def test_a_stream_that_cannot_seek_makes_a_tree(photo):
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.left = photo.read_bytes()

        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            part, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
            buffer[: len(part)] = part
            return len(part)

    parser = RegionParser(backbone=Halves(), size=32, device="cpu")
    tree = parser.parse(io.BufferedReader(Pipe()))
    assert tree == parser.parse(photo.read_bytes())
    assert tree.meta["image"]["sha256"] == hashlib.sha256(photo.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("source", "facts"),
    [
        (lambda path: path.open(encoding="latin-1"), ["Möwe.png", "as text", "'rb'"]),
        (lambda path: io.StringIO("text"), ["as text", "'rb'"]),
        (lambda path: io.BytesIO(), ["has no bytes"]),
        (lambda path: b"", ["empty (0 bytes)"]),
        (lambda path: b"GIF89a", ["bytes of the image"]),
        (lambda path: "https://example.org/a.png", ["is a URL", "download"]),
        (lambda path: Path("s3://bucket/a.png"), ["is a URL", "download"]),
        (lambda path: path.with_name("gone.png"), ["no such file"]),
        (lambda path: np.frombuffer(path.read_bytes(), np.uint8), ["tobytes()"]),
        (lambda path: [path], ["got list"]),
        (lambda path: None, ["got NoneType"]),
    ],
)
def test_what_is_no_photograph_says_what_to_do(photo, source, facts):
    with refused(ImageError, *facts):
        load_image(source(photo))


def test_a_closed_file_is_told(photo):
    with photo.open("rb") as file:
        pass
    with refused(ImageError, "Möwe.png", "closed"):
        load_image(file)


class ArrayLike:
    """An array of another library."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.array, dtype)


@pytest.mark.parametrize(
    "change",
    [
        torch.from_numpy,
        ArrayLike,
        lambda a: torch.from_numpy(a.copy()).permute(2, 0, 1).contiguous().permute(1, 2, 0),
        lambda a: torch.from_numpy(a / 255).requires_grad_(),
        lambda a: a / 255 * 1.0000001,
        lambda a: (a / 255 - 1e-9).astype(np.float32),
    ],
)
def test_arrays_and_tensors_are_photographs(rgb, change):
    assert np.array_equal(load_image(change(rgb)).rgb, rgb)


def test_a_tensor_of_bfloat16_is_a_photograph():
    half = torch.rand(8, 9, 3).bfloat16()
    assert np.array_equal(load_image(half).rgb, load_image(half.float().numpy()).rgb)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_channels_first_are_told_and_not_guessed(dtype, channels, make):
    with refused(ImageError, f"({channels}, 20, 30)", "transpose(1, 2, 0)", "permute(1, 2, 0)"):
        load_image(make(np.ones((channels, 20, 30), dtype)))
    with refused(ImageError, "batch of 1", "images[0]"):
        load_image(make(np.ones((1, channels, 20, 30), dtype)))


# -- features, and the photograph beside them -----------------------------------------------------


class Halves:
    """A network whose features are the colours of patches."""

    name, digest, patch, dim = "halves", "1", np.int64(8), np.int64(3)
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels + 0.1, 8).permute(0, 2, 3, 1)


@pytest.fixture(scope="module")
def parser() -> RegionParser:
    return RegionParser(backbone="precomputed", parts=16, device="cpu")


@pytest.mark.parametrize(
    "change",
    [
        torch.from_numpy,
        lambda a: torch.from_numpy(a).requires_grad_(),
        lambda a: a.tolist(),
        ArrayLike,
    ],
)
def test_features_of_any_kind(parser, change):
    features = blocks(8, 10, 6)
    assert np.array_equal(parser.build(change(features)).labels, parser.build(features).labels)


def test_features_of_bfloat16(parser):
    half = torch.from_numpy(blocks(8, 10, 6)).bfloat16()
    assert np.array_equal(parser.build(half).labels, parser.build(half.float()).labels)


@pytest.mark.parametrize(
    "size", [[40, 50], (np.int64(40), np.int32(50)), np.array([40, 50]), torch.tensor([40, 50])]
)
def test_an_image_size_of_any_kind(parser, size):
    tree = parser.build(blocks(8, 10, 6), image_size=size)
    assert tree.shape == (40, 50)
    assert tree.meta["image"]["size"] == [40, 50]


@pytest.mark.parametrize("size", [(True, 50), (40.0, 50), "40x50", 40, (40, 50, 3), np.array(40)])
def test_an_image_size_is_two_whole_numbers(parser, size):
    with refused(FeatureError, "image_size", "(H, W)"):
        parser.build(blocks(8, 10, 6), image_size=size)


@pytest.mark.parametrize(
    ("features", "image_size", "facts"),
    [
        ((8, 10, 6), (50, 40), ["rows and columns are exchanged", "8 x 10", "50 x 40"]),
        ((28, 37, 6), (640, 480), ["rows and columns are exchanged"]),
        ((37, 28, 6), (480, 640), ["rows and columns are exchanged", "swapaxes"]),
        ((384, 28, 37), (480, 640), ["the features come first", "permute(1, 2, 0)"]),
        ((384, 14, 14), None, ["(d, h, w)", "permute(1, 2, 0)"]),
        ((1, 8, 10, 6), None, ["(h, w, d)", "batch of 1", "features[0]"]),
        ((80, 6), None, ["(h, w, d)", "reshape(h, w, -1)"]),
    ],
)
@pytest.mark.parametrize("make", [np.asarray, torch.tensor])
def test_features_in_another_order_get_a_hint(parser, features, image_size, facts, make):
    with refused(FeatureError, *facts):
        parser.build(make(np.ones(features, np.float32)), image_size=image_size)


def test_a_tall_grid_is_one_if_the_image_says_so(parser):
    assert parser.build(np.ones((384, 14, 14)), image_size=(3840, 140)).shape == (3840, 140)
    exact = RegionParser(backbone="precomputed", size="518x392", device="cpu")
    assert exact.build(np.ones((37, 28, 6)), image_size=(480, 640)).shape == (480, 640)


def test_the_photograph_beside_features_of_any_kind(parser, photo, rgb):
    features = blocks(8, 10, 6)
    wanted = parser.build(features, rgb=rgb, image_size=(40, 50))
    opaque = np.dstack((rgb, np.full((40, 50), 255, np.uint8)))
    for given in (torch.from_numpy(rgb), rgb / 255, ArrayLike(rgb), opaque):
        assert parser.build(features, rgb=given, image_size=(40, 50)) == wanted
    files = [
        photo, str(photo), Folder(photo), photo.read_bytes(), Image.open(photo), load_image(photo)
    ]  # fmt: skip
    trees = [parser.build(features, rgb=given, image_size=(40, 50)) for given in files]
    assert trees[0].meta["smoothed"] == "features and colours"
    assert all(tree == trees[0] for tree in trees)


def test_the_photograph_beside_features_is_read_as_parse_reads_it(photo):
    parser = RegionParser(backbone=Halves(), size=32, device="cpu")
    tree = parser.parse(photo)
    made = parser.build(parser.extract(photo), rgb=photo)
    assert made == tree


@pytest.mark.parametrize(
    ("error", "given", "facts"),
    [
        (ImageError, np.ones((3, 40, 50), np.uint8), ["rgb", "(3, 40, 50)", "transpose(1, 2, 0)"]),
        (ImageError, torch.ones(3, 40, 50), ["rgb", "permute(1, 2, 0)"]),
        (ImageError, np.ones((40, 50, 2)), ["rgb", "(40, 50, 2)", "(H, W"]),
        (ImageError, "gone.png", ["rgb", "gone.png", "no such file"]),
        (ImageError, {"a": 1}, ["rgb", "got dict"]),
        (FeatureError, np.ones((50, 40, 3), np.uint8), ["rgb", "(50, 40, 3)", "40 x 50", "(H, W)"]),
        (FeatureError, np.ones((7, 9, 3), np.uint8), ["rgb", "7 x 9", "8 x 10"]),
        (FeatureError, np.ones((40, 90, 3), np.uint8), ["rgb", "(40, 90, 3)", "proportions"]),
    ],
)
def test_pixels_that_do_not_fit_are_named(parser, error, given, facts):
    with refused(error, *facts):
        parser.build(blocks(8, 10, 6), rgb=given, image_size=(40, 50))


@pytest.mark.parametrize("shape", [(40, 50), (41, 50), (80, 99), (8, 10), (64, 64)])
def test_pixels_of_any_resolution_fit(parser, shape):
    pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert parser.build(blocks(8, 10, 6), rgb=pixels, image_size=(40, 50)).shape == (40, 50)


def test_a_network_of_ones_own_may_count_with_numpy():
    parser = RegionParser(backbone=Halves(), device=torch.device("cpu"))
    assert json.dumps(parser.settings.as_dict())
    assert type(parser.backbone.patch) is int


@pytest.mark.parametrize("name", ["source", "backbone"])
def test_facts_are_mappings(parser, name):
    with refused(FeatureError, name, "mapping", "'x.jpg'"):
        parser.build(blocks(4, 4), **{name: "x.jpg"})
    tree = parser.build(blocks(4, 4), source={"name": Path("x.jpg"), "gain": np.float32(0.1)})
    assert (tree.meta["image"]["name"], tree.meta["image"]["gain"]) == ("x.jpg", 0.1)


@pytest.mark.parametrize("overlap", ["2", 0, True, np.nan, [2]])
def test_an_overlap_is_a_number(parser, overlap):
    with refused(SettingsError, "overlap"):
        parser.build(blocks(4, 4), overlap=overlap)


def test_masked_features_and_labels_are_not_taken_as_they_are(parser, tree):
    features = np.ma.masked_array(blocks(4, 4), mask=blocks(4, 4) > 0)
    with refused(FeatureError, "features", "masked", "filled"):
        parser.build(features)
    with refused(TreeError, "labels", "masked"):
        RegionTree(np.ma.masked_equal(tree.labels, 3), tree.parents, tree.height)


def test_settings_that_are_no_settings():
    with refused(SettingsError, "settings", "got dict", "RegionParser(**changes)"):
        RegionParser(settings={"parts": 100})
    with refused(ExportError, "no format"):
        RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1]).export(["coco"], "x.json")


# -- one path where several may be given ----------------------------------------------------------


def test_one_path_is_not_a_list_of_letters(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, blocks(4, 4))
    parser = RegionParser(backbone="precomputed", device="cpu")
    for given in (str(path), path):
        ((_, found),) = extract_many(parser, given)
        assert found.patches.shape == (4, 4, 24)
        (job,) = plan(given, str(tmp_path / "out"), suffixes_for(parser))
        assert job.error is None
    assert segment(parser, [job], str(tmp_path / "out")).count("done") == 1


def test_a_url_is_told_from_a_missing_file(tmp_path):
    (job,) = plan(["https://example.org/a.jpg"], tmp_path, frozenset({".jpg"}))
    assert "is a URL" in job.error
    with refused(TreeError, "is a URL"):
        RegionTree.load("https://example.org/a.npz")
    with refused(ImageError, "is a URL"):
        RegionParser(backbone="precomputed", device="cpu").parse("https://example.org/a.npy")


def test_feature_files_take_paths_and_settings_of_any_kind(tmp_path):
    path = tmp_path / "a.safetensors"
    made = Features(torch.from_numpy(blocks(4, 4)), (16, 16), {"name": "a"}, {"name": "x"})
    for given in (str(path), Folder(path)):
        save_features(given, made, {"size": np.int64(518)})
        assert load_features(given).image_size == (16, 16)
        assert read_features_meta(given)["settings"] == {"size": 518}
