"""The plugin of napari, as far as it needs no window. bridges/test_napari.py tests it in napari."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import ROOT, refused
from PIL import Image
from trees import hand_tree, random_tree

from regiontree.errors import ImageError, MissingExtraError, SettingsError, TreeError, TreeFileError
from regiontree.plugins.napari import cut as cuts
from regiontree.plugins.napari.colours import oklch_to_srgb, stack_colours
from regiontree.plugins.napari.cut import StackCut, leaf_values, look_up
from regiontree.plugins.napari.files import (
    SUFFIXES,
    get_photograph_reader,
    get_tree_reader,
    labels_arguments,
    read_photograph,
    write_tree,
)
from regiontree.plugins.napari.granularity import STEPS, Granularity
from regiontree.plugins.napari.parsing import Failure, Parsers, Progress, parse_planes, same_pixels
from regiontree.plugins.napari.planes import MAX_PIXELS, planes_of
from regiontree.plugins.napari.program import require_napari
from regiontree.plugins.napari.rows import COLUMNS, TreeRows
from regiontree.plugins.napari.selection import Selection
from regiontree.plugins.napari.stack import MOST_COLOURS, TreeStack
from regiontree.tree import RegionTree


@pytest.fixture
def stack():
    rng = np.random.default_rng(5)
    return TreeStack(tuple(random_tree(rng, n, (9, 7), dim=3) for n in (12, 30, 5)), (3,))


def shown(stack: TreeStack, values: np.ndarray) -> list[dict[int, set[tuple[int, int]]]]:
    """For each plane the nodes whose values are in it, with their pixels."""
    found = []
    for plane, labels in enumerate(values.reshape(-1, *stack.shape[-2:])):
        of = {}
        for at, value in np.ndenumerate(labels):
            place = stack.place(int(value))
            assert place is not None
            assert place[0] == plane
            of.setdefault(place[1], set()).add(at)
        found.append(of)
    return found


# -- stacks and cuts ------------------------------------------------------------------------------


def test_each_region_of_a_stack_has_its_own_value(stack):
    places = [(p, n) for p, tree in enumerate(stack.trees) for n in range(tree.n_nodes)]
    values = [stack.value(*place) for place in places]
    assert values == list(range(1, len(places) + 1))
    assert [stack.place(value) for value in values] == places
    assert stack.place(0) is stack.place(len(places) + 1) is stack.place(-1) is None


def test_planes_of_two_axes_are_in_the_order_of_arrays():
    stack = TreeStack((hand_tree(),) * 6, (2, 3))
    cut = StackCut(stack)
    cut.fill_all()
    for plane in range(6):
        step = stack.step_of(plane)
        assert stack.plane_at(step) == plane
        assert cut.values[step].min() > stack.start[plane]
        assert cut.values[step].max() <= stack.start[plane + 1]
    assert stack.plane_at((7, -3)) == stack.plane_at((1, 0))


def test_trees_of_several_sizes_are_no_stack():
    rng = np.random.default_rng(0)
    trees = (random_tree(rng, 3, (4, 4)), random_tree(rng, 3, (4, 5)))
    with refused(TreeError, "tree 1", "(4, 5)"):
        TreeStack(trees, (2,))
    with refused(TreeError, "2 trees", "(3,)"):
        TreeStack(trees, (3,))


@pytest.mark.parametrize(
    "criterion", [{"n_regions": 1}, {"n_regions": 4}, {"height": 0.5}, {"n_regions": 99}, {}]
)
def test_labels_are_those_of_the_tree_s_own_cut(stack, criterion):
    cut = StackCut(stack)
    cut.choose(criterion)
    cut.fill_all()
    for tree, of in zip(stack.trees, shown(stack, cut.values), strict=True):
        assert sorted(of) == tree.cut_nodes(**criterion).tolist()
        for node, pixels in of.items():
            assert pixels == set(map(tuple, np.argwhere(tree.mask(node)).tolist()))


def test_a_region_that_stays_keeps_its_value_and_its_colour(stack):
    cut, colours = StackCut(stack), stack_colours(stack)
    cut.choose({"n_regions": 4}, 1)
    before = cut.values[1].copy()
    cut.choose({"n_regions": 6}, 1)
    after = cut.values[1]
    kept = set(np.unique(before)) & set(np.unique(after))
    assert kept
    for value in kept:
        np.testing.assert_array_equal(before == value, after == value)
    assert len(np.unique(colours[np.unique(after)], axis=0)) == len(np.unique(after))


def test_a_cut_fills_the_shown_plane_first_and_the_others_later(stack):
    cut = StackCut(stack)
    cut.fill_all()
    before = cut.values.copy()
    cut.choose({"n_regions": 1}, 1)
    assert (cut.values[1] == stack.value(1, stack.trees[1].root)).all()
    np.testing.assert_array_equal(cut.values[[0, 2]], before[[0, 2]])
    assert not cut.is_whole
    assert cut.fill(1) is False
    assert [cut.fill_next(), cut.fill_next(), cut.fill_next()] == [True, True, False]
    assert cut.is_whole
    assert [cut.n_regions(plane) for plane in range(3)] == [1, 1, 1]
    assert all(len(np.unique(plane)) == 1 for plane in cut.values)


def test_a_wrong_cut_changes_nothing(stack):
    cut = StackCut(stack)
    cut.choose({"n_regions": 4})
    before = cut.values.copy()
    with pytest.raises(TreeError):
        cut.choose({"height": -1})
    cut.fill(0)
    assert cut.criterion == {"n_regions": 4}
    np.testing.assert_array_equal(cut.values, before)


def test_the_look_up_is_equal_with_and_without_machine_code(monkeypatch):
    rng = np.random.default_rng(1)
    table, leaves = rng.integers(0, 1 << 30, 50).astype(np.int32), rng.integers(0, 50, (40, 33))
    leaves = leaves.astype(np.int32)
    monkeypatch.setattr(cuts, "_BLOCK", 100)
    compiled, blocks = np.empty((40, 33), np.int32), np.empty((40, 33), np.int32)
    look_up(table, leaves, compiled)
    cuts._fill_by_blocks(table, leaves.reshape(-1), blocks.reshape(-1))
    np.testing.assert_array_equal(compiled, table[leaves])
    np.testing.assert_array_equal(blocks, table[leaves])


def test_few_regions_are_labels_of_16_bits():
    leaves = np.arange(MOST_COLOURS // 2 + 1, dtype=np.int32)  # with the root one more than half

    def flat(n):
        return RegionTree(leaves[None, :n], [n] * (n + 1), [0] * n + [1])

    assert TreeStack((flat(3),)).dtype == np.uint16
    assert TreeStack((flat(len(leaves) - 1), flat(len(leaves) - 1)), (2,)).dtype == np.int32
    assert StackCut(TreeStack((flat(3),))).values.dtype == np.uint16
    with refused(TreeError, "int32"):
        StackCut(TreeStack((flat(3),)), np.zeros((1, 3), np.int32))


def test_leaf_values_start_where_they_are_told():
    assert leaf_values(hand_tree(), 100, {"n_regions": 2}).tolist() == [101, 106, 106, 106]


# -- granularity ----------------------------------------------------------------------------------


def test_the_slider_reaches_every_small_number_of_regions_and_both_ends():
    range_ = Granularity(most=800, highest=1.0)
    counts = [range_.regions_at(position) for position in range(STEPS + 1)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (1, 800)
    assert set(range(1, 100)) <= set(counts)
    for count in range(1, 100):
        assert range_.regions_at(range_.position_of_regions(count)) == count
    heights = [range_.height_at(position) for position in range(STEPS + 1)]
    assert heights == sorted(heights, reverse=True)
    assert (heights[0], heights[-1]) == (1.0, 0.0)
    assert [range_.position_of_height(h) for h in heights] == list(range(STEPS + 1))


def test_the_slider_of_a_tree_of_one_region_has_one_cut():
    range_ = Granularity.of(TreeStack((RegionTree([[0, 0]], [0], [0]),)))
    assert {range_.regions_at(position) for position in range(STEPS + 1)} == {1}
    assert range_.position_of_regions(1) == 0
    assert range_.position_of_height(0.5) == STEPS


# -- colours --------------------------------------------------------------------------------------


def test_colours_are_those_of_oklch():
    """CSS Color 4 gives these OKLCH values for red, lime and blue."""
    lightness, hue = np.array([0.62796, 0.86644, 0.45201]), np.array([29.234, 142.495, 264.052])
    for i, (chroma, rgb) in enumerate([(0.25768, [1, 0, 0]), (0.29483, [0, 1, 0]),
                                       (0.31321, [0, 0, 1])]):  # fmt: skip
        found = oklch_to_srgb(lightness[i : i + 1], chroma, hue[i : i + 1])
        np.testing.assert_allclose(found, [rgb], atol=0.005)


def test_each_node_has_a_colour_and_what_is_not_there_is_grey(stack):
    colours = stack_colours(stack)
    assert colours.shape == (stack.start[-1] + 1, 4)
    assert (colours[0] == 0).all()
    assert (colours[1:, 3] == 1).all()
    tree = RegionTree([[0, 1, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1], stop=[1, 1, 10, 0, 0])
    assert stack_colours(TreeStack((tree,)))[3].tolist() == [0.25, 0.25, 0.25, 1.0]


# -- rows -----------------------------------------------------------------------------------------


def test_rows_are_the_children_of_each_node(stack):
    for tree in stack.trees:
        rows = TreeRows(tree)
        for node in range(tree.n_nodes):
            children = tree.children(node)
            assert [rows.child(node, i) for i in range(rows.count(node))] == children
            for row, child in enumerate(children):
                assert (rows.parent(child), rows.row(child)) == (node, row)
        assert rows.parent(tree.root) is None


def test_rows_say_share_height_and_stability():
    tree = RegionTree(
        [[0, 1, 1, 2], [3, 3, 3, 3]], [4, 4, 5, 5, 5, 5], [0, 0, 0, 0, 0.25, 1],
        stop=[1, 9, 10, 1, 0, 0], stability=[0.5, 0, 1, 0.75, 0.625, 1],
    )  # fmt: skip
    rows = TreeRows(tree)
    texts = [[rows.text(node, column) for column in range(len(COLUMNS))] for node in range(6)]
    assert texts == [
        ["0", "12.5 %", "0", "0.50"],
        ["1, rest", "25.0 %", "0", ""],
        ["no data", "12.5 %", "0", "1.00"],
        ["3", "50.0 %", "0", "0.75"],
        ["4", "37.5 %", "0.25", "0.62"],
        ["all", "100 %", "1", "1.00"],
    ]


# -- selection ------------------------------------------------------------------------------------


def test_two_views_that_select_each_other_come_to_rest(stack):
    told = []

    def tell(place):
        told.append(place)
        assert len(told) < 10
        selection.choose(place)  # as a table does when it is told of a row

    selection = Selection(stack, tell)
    selection.choose((1, 3))
    assert told == [(1, 3)]
    assert selection.choose_value(stack.value(0, 2))
    assert not selection.choose_value(stack.value(0, 2))
    above = [selection.place]
    while selection.climb():
        above.append(selection.place)
    assert above == [(0, n) for n in [2, *stack.trees[0].ancestors(2)]]
    assert selection.choose_value(0)
    assert selection.place is None
    assert not selection.climb()


# -- planes ---------------------------------------------------------------------------------------


def test_planes_of_a_stack_are_read_one_by_one():
    class Lazy:
        shape, read = (3, 2, 5, 6), []

        def __getitem__(self, index):
            self.read.append(index)
            return np.full((5, 6), 10 * index[0] + index[1])

    planes = planes_of("x", [Lazy()], rgb=False)
    assert (planes.leading, planes.size, planes.count) == ((3, 2), (5, 6), 6)
    assert [int(planes.plane(i)[0, 0]) for i in range(6)] == [0, 1, 10, 11, 20, 21]
    assert Lazy.read == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def test_colours_are_the_last_axis():
    data = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    planes = planes_of("x", [data], rgb=True)
    assert (planes.leading, planes.size) == ((2,), (3, 4))
    np.testing.assert_array_equal(planes.plane(1), data[1])
    np.testing.assert_array_equal(planes_of("x", [data[0]], rgb=True).plane(0), data[0])


@pytest.mark.parametrize(("count", "used"), [(1, [0]), (2, [0]), (3, [0, 1, 2]), (5, [0, 1, 2])])
def test_channels_become_one_picture(count, used):
    data = np.random.default_rng(0).random((2, count, 3, 4))
    planes = planes_of("x", [data], rgb=False, treatment="channels")
    assert planes.leading == (2,)
    wanted = data[1, used[0]] if len(used) == 1 else np.moveaxis(data[1, used], 0, -1)
    np.testing.assert_array_equal(planes.plane(1), wanted)
    one = planes_of("x", [data[0]], rgb=False, treatment="channels")
    assert one.leading == ()
    wanted = data[0, used[0]] if len(used) == 1 else np.moveaxis(data[0, used], 0, -1)
    np.testing.assert_array_equal(one.plane(0), wanted)


def test_three_layers_are_the_channels_of_one_picture():
    layers = [np.full((4, 5), i) for i in range(3)]
    np.testing.assert_array_equal(
        planes_of("x", layers, rgb=False).plane(0), np.stack(layers, axis=-1)
    )
    assert planes_of("x", layers[:2], rgb=False).plane(0).shape == (4, 5)
    with refused(ImageError, "(4, 5)", "(4, 6)"):
        planes_of("x", [layers[0], np.zeros((4, 6))], rgb=False)


def test_only_the_plane_that_is_shown():
    data = np.arange(24).reshape(4, 2, 3)
    planes = planes_of("x", [data], rgb=False, treatment="this plane", step=(2,))
    assert (planes.count, planes.at) == (1, (2,))
    np.testing.assert_array_equal(planes.plane(0), data[2])
    assert planes_of("x", [data], rgb=False, treatment="this plane", step=(9,)).at == (3,)


@pytest.mark.parametrize(
    ("shape", "facts"),
    [
        ((0, 5), ("cells", "is empty", "(0, 5)")),
        ((3, 0, 5), ("cells", "is empty")),
        ((7,), ("cells", "1 axis")),
        ((600, 1024, 1024), ("cells", "600 planes", "537 megapixels", "crop")),
    ],
)
def test_what_cannot_be_parsed_is_said_before_anything_is_read(shape, facts):
    assert MAX_PIXELS < 600 * 1024 * 1024
    with refused(ImageError, *facts):
        planes_of("cells", [SimpleNamespace(shape=shape)], rgb=False)


# -- parsing --------------------------------------------------------------------------------------


class StandIn:
    """A parser whose tree of a picture is known: `hand_tree` for each."""

    def __init__(self, fault=None):
        self.seen, self.fault = [], fault
        self.sight = SimpleNamespace(load=self.load)

    def load(self, photo):
        if self.fault is not None and len(self.seen) == 1:
            raise self.fault
        self.seen.append(photo)
        return photo

    def extract(self, image):
        return image

    def pixels(self, photo, *, decoded):
        return decoded

    def build(self, features, *, rgb):
        return hand_tree()


def run(work):
    said = []
    while True:
        try:
            said.append(next(work))
        except StopIteration as end:
            return said, end.value


def test_a_stack_becomes_a_tree_for_each_plane_and_says_how_far_it_is():
    data, parser = np.arange(16).reshape(2, 2, 4), StandIn()
    said, found = run(parse_planes(lambda: parser, planes_of("x", [data], rgb=False)))
    assert isinstance(found, TreeStack)
    assert found.leading == (2,)
    np.testing.assert_array_equal(np.stack(parser.seen), data)
    assert [one.done for one in said] == list(range(6))
    assert said[0] == Progress(0, "x, plane 1 of 2: reading")
    assert said[4] == Progress(4, "x, plane 2 of 2: network")


def test_a_fault_is_one_line_that_names_the_plane():
    planes = planes_of("x", [np.zeros((3, 2, 4))], rgb=False)
    parser = StandIn(ImageError("is\nbad"))
    _, found = run(parse_planes(lambda: parser, planes))
    assert found == Failure("x, plane 2 of 3: is bad")
    parser = StandIn(MemoryError())
    _, found = run(parse_planes(lambda: parser, planes))
    assert isinstance(found, Failure)
    assert "does not fit in memory" in found.message


def test_an_exception_that_is_no_fault_of_the_user_stays_one():
    parser = StandIn(ZeroDivisionError("ours"))
    with pytest.raises(ZeroDivisionError):
        run(parse_planes(lambda: parser, planes_of("x", [np.zeros((2, 2, 4))], rgb=False)))


def test_work_that_is_closed_between_steps_ends():
    parser = StandIn()
    work = parse_planes(lambda: parser, planes_of("x", [np.zeros((9, 2, 4))], rgb=False))
    for _ in range(5):
        next(work)
    work.close()
    assert len(parser.seen) == 2


def test_the_file_of_a_layer_is_parsed_if_it_shows_the_same_picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    planes = planes_of("a", [pixels], rgb=True)
    parser = StandIn()
    run(parse_planes(lambda: parser, planes, tmp_path / "a.png"))
    assert parser.seen == [tmp_path / "a.png"]
    changed = planes_of("a", [255 - pixels], rgb=True)
    parser = StandIn()
    run(parse_planes(lambda: parser, changed, tmp_path / "a.png"))
    np.testing.assert_array_equal(parser.seen[0], 255 - pixels)
    assert not same_pixels(pixels, tmp_path / "missing.png")


def test_deep_samples_keep_the_package_s_own_stretch(embedded_installed):
    deep = (np.linspace(0, 1, 64 * 64).reshape(64, 64) ** 2 * 4000).astype(np.uint16)
    parsers = Parsers()
    work = parse_planes(lambda: parsers.get("fast", lean=True), planes_of("x", [deep], rgb=False))
    _, found = run(work)
    assert isinstance(found, TreeStack), found
    tree = found.trees[0]
    assert tree.shape == (64, 64)
    assert tree.meta["image"]["stretch"]["high"] > 3900
    assert tree.embedding is None
    assert tree.descriptor is None
    assert parsers.get("fast", lean=True) is parsers.get("fast", lean=True)


def test_every_preset_has_a_lean_parser():
    from regiontree.settings.presets import PRESETS

    for preset in PRESETS:
        assert not Parsers().get(preset, lean=True).settings.embeddings
    with pytest.raises(SettingsError):
        Parsers().get("nonsense")


# -- files ----------------------------------------------------------------------------------------


def test_only_trees_among_npz_files_have_our_reader(tmp_path):
    tree = hand_tree().save(tmp_path / "tree.npz")
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    (tmp_path / "text.npz").write_text("no archive")
    assert get_tree_reader(str(tree)) is not None
    assert get_tree_reader([str(tree), str(tree)]) is not None
    assert get_tree_reader(str(tmp_path / "other.npz")) is None
    assert get_tree_reader(str(tmp_path / "text.npz")) is None
    assert get_tree_reader([str(tree), str(tmp_path / "other.npz")]) is None


def test_a_damaged_tree_has_our_reader_which_names_it(tmp_path):
    path = hand_tree().save(tmp_path / "tree.npz")
    data = bytearray(path.read_bytes())
    data[60:64] = b"\0\0\0\0"
    path.write_bytes(data)
    reader = get_tree_reader(str(path))
    assert reader is not None
    with refused(TreeFileError, "tree.npz"):
        reader(str(path))


def test_a_layer_is_written_as_the_file_of_its_tree(tmp_path, stack):
    one = {"metadata": {"regiontree": TreeStack((hand_tree(),))}}
    assert write_tree(str(tmp_path / "a.npz"), None, one) == [str(tmp_path / "a.npz")]
    assert RegionTree.load(tmp_path / "a.npz") == hand_tree()
    written = write_tree(str(tmp_path / "s.npz"), None, {"metadata": {"regiontree": stack}})
    assert [p.rpartition("/")[2] for p in written] == ["s.000.npz", "s.001.npz", "s.002.npz"]
    assert [RegionTree.load(path) for path in written] == list(stack.trees)
    with refused(TreeError, "'cells'", "no tree"):
        write_tree(str(tmp_path / "b.npz"), None, {"name": "cells", "metadata": {}})


def test_a_photograph_is_read_by_the_package_s_own_readers(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    reader = get_photograph_reader(str(tmp_path / "a.png"))
    assert reader is read_photograph
    ((found, arguments, kind),) = reader(str(tmp_path / "a.png"))
    np.testing.assert_array_equal(found, pixels)
    assert (arguments["name"], arguments["rgb"], kind) == ("a", True, "image")
    assert get_photograph_reader(["a.dcm", "b.dcm"]) is None


def test_frames_are_planes(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 6, 8), np.uint8)
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "a.tif", save_all=True, append_images=others)
    ((found, _, _),) = read_photograph(str(tmp_path / "a.tif"))
    np.testing.assert_array_equal(found, np.repeat(frames[..., None], 3, axis=3))


# -- the program and the manifest -----------------------------------------------------------------


def test_missing_and_old_versions_are_named(monkeypatch, declared):
    monkeypatch.setitem(sys.modules, "napari", None)
    with refused(MissingExtraError, "napari", "pip install 'regiontree[napari]'") as caught:
        labels_arguments(TreeStack((hand_tree(),)), "x")
    assert "\n" not in str(caught.value)
    monkeypatch.setitem(sys.modules, "napari", json)  # any module
    monkeypatch.setattr(metadata, "version", lambda name: "0.5.6")
    with refused(MissingExtraError, "napari 0.5.6 is too old", "0.6", "regiontree[napari]"):
        require_napari()
    for version in ("0.6.0", "0.9.2", "1.0", "0.7.0a1.dev3"):
        monkeypatch.setattr(metadata, "version", lambda name, version=version: version)
        require_napari()


def test_the_extra_asks_for_the_version_that_is_checked_and_for_no_binding_of_qt():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["optional-dependencies"]["napari"]
    assert "napari>=0.6" in wanted
    assert not any("pyqt" in one.lower() or "pyside" in one.lower() for one in wanted)


def test_the_manifest_lies_where_the_entry_point_says_and_names_what_exists():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, file = project["entry-points"]["napari.manifest"]["regiontree"].split(":")
    path = ROOT / "src" / module.replace(".", "/") / file
    contributions = yaml.safe_load(path.read_text())["contributions"]
    commands = {one["id"]: one["python_name"] for one in contributions["commands"]}
    for address in commands.values():
        module, name = address.split(":")
        text = (ROOT / "src" / f"{module.replace('.', '/')}.py").read_text()
        assert f"def {name}(" in text or f"class {name}(" in text
    readers = {commands[one["command"]]: one for one in contributions["readers"]}
    for reader, suffixes in SUFFIXES.items():
        own = readers[f"{reader.__module__}:{reader.__name__}"]["filename_patterns"]
        assert own == [f"*{suffix}" for suffix in suffixes]
    used = json.dumps({k: v for k, v in contributions.items() if k != "commands"})
    assert all(f'"{command}"' in used for command in commands)
