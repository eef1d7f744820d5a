"""Parameters as scientists pass them: NumPy's and torch's numbers, lists, paths of any kind."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import blocks, refused

from regiontree import RegionParser, RegionTree, Settings
from regiontree.engines.feeding import extract_many
from regiontree.errors import (
    BackboneError,
    SettingsError,
    TreeError,
    check_number,
    check_numbers,
    plain_tuple,
    plain_value,
    whole_number,
)
from regiontree.images import parse_size
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
