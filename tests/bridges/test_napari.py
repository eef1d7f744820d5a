"""The plugin in a real napari, in a real window on a screen without a monitor (Xvfb).

Each test acts as a user does: menus, mouse, keys, files. Screenshots go to $REGIONTREE_SHOTS if
that names a folder; docs/images/napari.png is one of them.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import hand_tree, random_tree

from regiontree.errors import ImageError
from regiontree.tree import RegionTree

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "astronaut.jpg"
MANIFEST = ROOT / "src" / "regiontree" / "plugins" / "napari" / "napari.yaml"
LIBRARIES = ("libEGL.so.1", "libGL.so.1", "libdbus-1.so.3", "libxkbcommon-x11.so.0",
             "libxcb-cursor.so.0", "libxcb-icccm.so.4", "libxcb-image.so.0", "libxcb-keysyms.so.1",
             "libxcb-randr.so.0", "libxcb-render-util.so.0", "libxcb-shape.so.0")  # fmt: skip
SHOTS = os.environ.get("REGIONTREE_SHOTS")


# -- the manifest ---------------------------------------------------------------------------------


def test_npe2_calls_the_manifest_valid():
    said = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", MANIFEST],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert said.returncode == 0, said.stdout + said.stderr
    assert "valid" in said.stdout.lower()


def test_napari_finds_the_plugin_by_its_entry_point():
    from npe2 import PluginManager

    manager = PluginManager()
    manager.discover()
    manifest = manager.get_manifest("regiontree")
    assert manifest.display_name == "regiontree"
    for command in manifest.contributions.commands:
        assert callable(command.python_name and _imported(str(command.python_name)))


def _imported(address: str) -> Any:
    from importlib import import_module

    module, name = address.split(":")
    return getattr(import_module(module), name) if ".qt." not in module else len


# -- the screen and the window --------------------------------------------------------------------


def _lacking() -> list[str]:
    """What a window needs and this machine has not."""
    missing = [] if shutil.which("Xvfb") else ["Xvfb"]
    for library in LIBRARIES:
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.append(library)
    return missing


@pytest.fixture(scope="session")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A display of our own, and settings of napari that are nobody's."""
    if missing := _lacking():
        pytest.skip(f"a window needs {', '.join(missing)}: see the head of .ci/run")
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp",
               "-noreset"]  # fmt: skip
    server = subprocess.Popen(
        command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(write)
    with os.fdopen(read) as line:  # to its end: the digits may come one by one
        number = line.readline().strip()
    assert number, "Xvfb did not start"
    settings = tmp_path_factory.mktemp("napari") / "settings.yaml"
    os.environ.update(
        DISPLAY=f":{number}", QT_QPA_PLATFORM="xcb", NAPARI_CONFIG=str(settings),
        LIBGL_ALWAYS_SOFTWARE="1",
    )  # fmt: skip
    yield
    server.terminate()
    server.wait(10)


@pytest.fixture(scope="module")
def window(screen: None) -> Iterator[tuple[Any, Any]]:
    """The viewer, and the dock as napari's menu makes it."""
    import napari

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1400, 900)
    _, dock = viewer.window.add_plugin_dock_widget("regiontree", "Region tree")
    yield viewer, dock
    viewer.close()


@pytest.fixture
def viewer(window: tuple[Any, Any]) -> Iterator[Any]:
    """The viewer without layers and messages."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    window[0].dims.ndisplay = 2
    yield window[0]
    settle(0.2)  # a layer that is deleted before it was ever drawn makes vispy crash
    window[0].layers.clear()
    settle(0.2)


@pytest.fixture
def dock(window: tuple[Any, Any], viewer: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The dock, with a parser that needs no network; ``dock.parser`` is that parser."""
    window[1].parser = StandIn()
    monkeypatch.setattr(window[1]._parsers, "get", lambda preset, lean=False: window[1].parser)
    return window[1]


class StandIn:
    """A parser whose trees are random ones of the size of the picture."""

    fault: Exception | None = None
    seconds = 0.0

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.sight = SimpleNamespace(load=self.load)

    def load(self, photo: Any) -> Any:
        time.sleep(self.seconds)
        if self.fault is not None:
            raise self.fault
        self.seen.append(photo)
        return photo

    def extract(self, image: Any) -> Any:
        return image

    def pixels(self, photo: Any, *, decoded: Any) -> Any:
        return decoded

    def build(self, features: Any, *, rgb: Any) -> RegionTree:
        shape = features.shape[:2]
        return random_tree(np.random.default_rng(len(self.seen)), 12, shape, dim=2)


def until(done: Callable[[], object], seconds: float = 120.0) -> None:
    """Let the window work until something holds."""
    from qtpy.QtWidgets import QApplication

    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come"
        QApplication.processEvents()
        time.sleep(0.005)


def settle(seconds: float = 0.3) -> None:
    end = time.monotonic() + seconds
    until(lambda: time.monotonic() > end)


def parsed(dock: Any) -> Any:
    """Press the button, wait, and give the layer of regions."""
    dock.parse_button.click()
    until(lambda: dock._worker is None)
    return dock._layer


def shot(viewer: Any, name: str) -> np.ndarray[Any, Any]:
    """What the window looks like, (H, W, 4) uint8."""
    settle(0.5)
    pixels = viewer.screenshot(canvas_only=False, flash=False)
    if SHOTS:
        picture = Image.fromarray(pixels).convert("RGB")
        picture.thumbnail((1200, 900))
        picture.quantize(255, dither=Image.Dither.NONE).save(Path(SHOTS) / name, optimize=True)
    return np.asarray(pixels)


def errors() -> list[str]:
    """The messages of napari that are errors."""
    from napari.utils.notifications import notification_manager

    return [r.message for r in notification_manager.records if r.severity.value == "error"]


def nodes_shown(layer: Any, plane: int = 0) -> np.ndarray[Any, Any]:
    """The node of each pixel's region by the values of a layer, (H, W)."""
    stack = layer.metadata["regiontree"]
    return (
        np.asarray(layer.data).reshape(-1, *layer.data.shape[-2:])[plane] - 1 - (stack.start[plane])
    )


def nodes_of_cut(tree: RegionTree, **criterion: float) -> np.ndarray[Any, Any]:
    return tree.cut_nodes(**criterion)[tree.cut(**criterion)]


# -- parsing --------------------------------------------------------------------------------------


def test_a_photograph_is_parsed_cut_and_walked_through(
    window, viewer, embedded_installed, tmp_path
):
    """With the real network. Two screenshots were looked at: see docs/how-to/napari.md."""
    _, dock = window
    viewer.open(EXAMPLE)
    dock.preset.setCurrentText("fast")
    layer = parsed(dock)
    assert errors() == []
    tree = layer.metadata["regiontree"].trees[0]
    assert tree.meta["image"]["name"] == EXAMPLE.name  # it is the file that was parsed
    np.testing.assert_array_equal(nodes_shown(layer), nodes_of_cut(tree))
    dock.choose_cut(n_regions=12)
    viewer.reset_view()
    plain = shot(viewer, "napari.png")
    node = int(tree.cut_nodes(n_regions=12)[tree.cut(n_regions=12)[256, 256]])
    dock.select(node)
    dimmed = shot(viewer, "napari-selected.png")
    assert plain.shape == dimmed.shape
    height, width = plain.shape[:2]
    middle = (slice(height // 4, 3 * height // 4), slice(width // 3, 2 * width // 3))
    assert dimmed[middle][..., :3].mean() < plain[middle][..., :3].mean() - 10
    dock.save(tmp_path / "astronaut.npz")
    assert RegionTree.load(tmp_path / "astronaut.npz") == tree


def test_grey_rgb_and_stacks_reach_the_parser_as_they_are(dock, viewer):
    rng = np.random.default_rng(0)
    deep = rng.integers(0, 65535, (20, 30)).astype(np.uint16)
    viewer.add_image(deep, name="deep")
    parsed(dock)
    np.testing.assert_array_equal(dock.parser.seen[-1], deep)
    colour = rng.integers(0, 255, (20, 30, 4), np.uint8)
    viewer.add_image(colour, rgb=True, name="colour")
    parsed(dock)
    np.testing.assert_array_equal(dock.parser.seen[-1], colour)
    stack = rng.random((3, 20, 30))
    viewer.add_image(stack, name="stack")
    assert dock.treatment.isVisible()
    dock.parser.seen.clear()
    layer = parsed(dock)
    np.testing.assert_array_equal(np.stack(dock.parser.seen), stack)
    assert layer.data.shape == stack.shape
    assert errors() == []


def test_a_stack_has_a_tree_for_each_plane_and_one_slider(dock, viewer):
    viewer.add_image(np.random.default_rng(0).random((4, 20, 30)), name="z", scale=(3, 2, 2))
    layer = parsed(dock)
    stack = layer.metadata["regiontree"]
    np.testing.assert_array_equal(layer.scale, (3, 2, 2))
    dock.criterion.setCurrentText("Regions")
    dock.slider.setValue(500)
    count = int(dock.number.value())
    until(lambda: dock.cut.is_whole)
    for plane in range(4):
        np.testing.assert_array_equal(
            nodes_shown(layer, plane), nodes_of_cut(stack.trees[plane], n_regions=count)
        )
    for plane in (0, 3, 2):
        viewer.dims.set_current_step(0, plane)
        assert dock.model._rows.tree is stack.trees[plane]
        assert f"plane {plane}" in dock.count_label.text()
        dock.select(3)
        mask = viewer.layers["selected region"]
        assert mask.data.shape == (1, 20, 30)
        np.testing.assert_array_equal(mask.data[0] == 1, stack.trees[plane].mask(3))
        np.testing.assert_array_equal(mask.translate, (3 * plane, 0, 0))
    assert len(viewer.layers) == 3  # one mask for all


def test_a_plane_that_is_not_cut_yet_is_cut_when_it_is_shown(dock, viewer):
    viewer.add_image(np.random.default_rng(0).random((5, 20, 30)), name="z")
    layer = parsed(dock)
    viewer.dims.set_current_step(0, 0)
    dock.slider.setValue(dock.slider.value() // 2 + 1)
    assert not dock.cut.is_whole  # nothing ran since
    viewer.dims.set_current_step(0, 4)
    tree = layer.metadata["regiontree"].trees[4]
    np.testing.assert_array_equal(
        nodes_shown(layer, 4), nodes_of_cut(tree, n_regions=int(dock.number.value()))
    )
    dock.slider.setValue(100)
    viewer.dims.ndisplay = 3
    assert dock.cut.is_whole


def test_the_plane_that_is_shown_alone_and_channels(dock, viewer):
    data = np.random.default_rng(0).random((3, 20, 30))
    viewer.add_image(data, name="z", scale=(2, 1, 1), translate=(5, 0, 0))
    viewer.dims.set_current_step(0, 2)
    dock.treatment.setCurrentText("only the plane shown")
    layer = parsed(dock)
    np.testing.assert_array_equal(dock.parser.seen[-1], data[2])
    assert layer.data.shape == (1, 20, 30)
    np.testing.assert_array_equal(layer.translate, (9, 0, 0))
    viewer.layers.selection.active = viewer.layers["z"]
    dock.treatment.setCurrentText("one picture of channels")
    layer = parsed(dock)
    np.testing.assert_array_equal(dock.parser.seen[-1], np.moveaxis(data, 0, -1))
    assert layer.data.shape == (20, 30)
    dock.treatment.setCurrentText("a tree for each plane")


def test_selected_layers_are_channels_of_one_picture(dock, viewer):
    data = np.random.default_rng(0).random((3, 20, 30))
    layers = viewer.add_image(data, channel_axis=0, name=["r", "g", "b"])
    viewer.layers.selection = set(layers)
    assert dock.image_label.text() == "r + g + b"
    parsed(dock)
    np.testing.assert_array_equal(dock.parser.seen[-1], np.moveaxis(data, 0, -1))


def test_the_work_can_be_stopped_and_begun_again(dock, viewer):
    viewer.add_image(np.zeros((50, 20, 30)), name="long")
    dock.parser.seconds = 0.05
    dock.parse_button.click()
    until(lambda: len(dock.parser.seen) > 2)
    assert dock.cancel_button.isVisible()
    until(lambda: dock.bar.value() > 2)
    assert dock.bar.value() < dock.bar.maximum() == 150
    dock.cancel_button.click()
    until(lambda: dock._worker is None)
    assert dock.status.text() == "cancelled"
    assert len(dock.parser.seen) < 50
    assert len(viewer.layers) == 1
    assert not dock.cancel_button.isVisible()
    dock.parser.seconds = 0.0
    assert parsed(dock).data.shape == (50, 20, 30)
    assert errors() == []


def test_steps_that_come_faster_than_the_window_draws_do_no_harm(dock, viewer):
    """napari's progress bar lets the window work, so 3,000 steps at once could fill the stack."""
    viewer.add_image(np.zeros((1000, 4, 5)), name="fast")
    assert parsed(dock).data.shape == (1000, 4, 5)
    assert errors() == []


def test_a_fault_is_one_line_of_napari_s(dock, viewer):
    dock.parse_button.click()
    assert len(errors()) == 1
    viewer.add_image(np.ones((20, 30)), name="cells")
    dock.parser.fault = ImageError("cannot be\nused")
    dock.parse_button.click()
    until(lambda: dock._worker is None)
    assert errors()[1:] == ["cells: cannot be used"]
    assert dock.status.text() == "cells: cannot be used"
    assert dock.parse_button.isEnabled()


def test_what_the_package_refuses_is_one_line_too(window, viewer, embedded_installed):
    """The real parser, which refuses this before it loads the network."""
    _, dock = window
    viewer.add_image(np.full((20, 30), np.nan), contrast_limits=(0, 1), name="nothing")
    dock.parse_button.click()
    until(lambda: dock._worker is None)
    (said,) = errors()
    assert said.startswith("nothing: ")
    assert "no finite value" in said


def test_a_layer_that_is_deleted_takes_its_tree_with_it(dock, viewer):
    viewer.add_image(np.zeros((20, 30)), name="a")
    first = parsed(dock)
    viewer.layers.selection.active = viewer.layers["a"]
    second = parsed(dock)
    dock.select(3)
    viewer.layers.remove(second)
    assert dock._layer == first
    assert dock.selection.place is None
    viewer.layers.remove(first)
    assert dock.cut is None
    assert dock.model.rowCount() == 0
    assert [layer.name for layer in viewer.layers] == ["a"]
    dock.climb()
    dock.choose_cut(n_regions=3)
    assert not dock.tree_box.isEnabled()


# -- granularity ----------------------------------------------------------------------------------


@pytest.fixture
def regions(dock: Any, viewer: Any, tmp_path: Path) -> Any:
    """A layer of regions of a random tree of 60 leaves, opened from its file."""
    tree = random_tree(np.random.default_rng(3), 60, (40, 50), dim=2)
    viewer.open(tree.save(tmp_path / "random.npz"), plugin="regiontree")
    assert dock._layer == viewer.layers["random regions"]
    return dock._layer


def test_slider_number_and_height_are_cuts_of_the_tree(dock, regions):
    tree = regions.metadata["regiontree"].trees[0]
    dock.criterion.setCurrentText("Regions")
    for position in (0, 300, 600, 1000):
        dock.slider.setValue(position)
        count = int(dock.number.value())
        np.testing.assert_array_equal(nodes_shown(regions), nodes_of_cut(tree, n_regions=count))
    dock.number.setValue(7)
    np.testing.assert_array_equal(nodes_shown(regions), nodes_of_cut(tree, n_regions=7))
    assert dock.count_label.text().startswith(f"{len(tree.cut_nodes(n_regions=7))} of")
    dock.criterion.setCurrentText("Height")
    for position in (0, 400, 1000):
        dock.slider.setValue(position)
        height = dock.cut.criterion["height"]
        np.testing.assert_array_equal(nodes_shown(regions), nodes_of_cut(tree, height=height))
    dock.number.setValue(0.3)
    np.testing.assert_array_equal(nodes_shown(regions), nodes_of_cut(tree, height=0.3))
    dock.natural_button.click()
    np.testing.assert_array_equal(nodes_shown(regions), nodes_of_cut(tree))
    dock.criterion.setCurrentText("Regions")


def test_a_region_that_stays_keeps_its_colour_on_the_screen(dock, regions):
    dock.choose_cut(n_regions=10)
    before, colours = regions.data.copy(), regions.colormap.map(regions.data)
    dock.choose_cut(n_regions=14)
    kept = before == regions.data
    assert kept.any()
    np.testing.assert_array_equal(regions.colormap.map(regions.data)[kept], colours[kept])
    assert not (regions.colormap.map(regions.data)[~kept] == colours[~kept]).all()


def test_the_cut_is_saved_as_labels_by_napari_itself(dock, regions, tmp_path):
    import tifffile

    dock.choose_cut(n_regions=9)
    regions.save(str(tmp_path / "cut.tif"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "cut.tif"), regions.data)


def test_the_tree_is_saved_by_napari_s_own_means(regions, tmp_path):
    (written,) = regions.save(str(tmp_path / "again.npz"), plugin="regiontree")
    assert RegionTree.load(written) == regions.metadata["regiontree"].trees[0]


def test_a_new_cut_replaces_paint_but_not_in_a_duplicate(dock, regions, viewer):
    from napari.layers import Labels

    copy = Labels(regions.data.copy(), name="copy")
    viewer.add_layer(copy)
    for layer in (regions, copy):
        layer.data_setitem((np.array([0, 1]), np.array([0, 0])), 3)
    viewer.layers.selection.active = copy
    assert dock._layer == regions
    dock.choose_cut(n_regions=1)
    tree = regions.metadata["regiontree"].trees[0]
    assert (nodes_shown(regions) == tree.root).all()
    assert copy.data[:2, 0].tolist() == [3, 3]


# -- selection ------------------------------------------------------------------------------------


def test_a_row_shows_its_region_and_a_click_its_row(dock, regions, viewer):
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    tree = regions.metadata["regiontree"].trees[0]
    told = []
    choose = dock.selection._tell
    dock.selection._tell = lambda place: (told.append(place), choose(place))
    dock.choose_cut(n_regions=8)
    active = viewer.layers.selection.active
    node = 5  # a leaf
    dock.view.setCurrentIndex(dock.model.index_of(node))
    assert told == [(0, node)]
    mask = viewer.layers["selected region"]
    np.testing.assert_array_equal(mask.data == 1, tree.mask(node))
    assert viewer.layers.selection.active == active

    viewer.reset_view()
    settle()
    native = viewer.window._qt_viewer.canvas.native
    middle = QPoint(native.width() // 2 + 3, native.height() // 2 + 3)
    QTest.mouseMove(native, middle)
    settle()
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=middle)
    settle()
    y, x = (round(c) for c in viewer.cursor.position[-2:])
    clicked = int(nodes_of_cut(tree, n_regions=8)[y, x])
    assert dock.selection.place == (0, clicked)
    assert dock.model.node(dock.view.currentIndex()) == clicked
    assert dock.view.selectionModel().selectedRows()[0].internalId() == clicked
    np.testing.assert_array_equal(viewer.layers["selected region"].data == 1, tree.mask(clicked))
    assert told == [(0, node), (0, clicked)]

    above = tree.ancestors(clicked)
    QTest.keyClick(dock.view, Qt.Key.Key_Left)
    assert dock.selection.place == (0, above[0])
    QTest.keyClick(dock.view, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    assert dock.selection.place == (0, (above[1:] + above[-1:])[0])
    dock.select(clicked)
    QTest.keyClick(dock.view, Qt.Key.Key_Backspace)
    assert dock.selection.place == (0, above[0])
    dock.select(clicked)
    native.setFocus()
    QTest.keyClick(native, Qt.Key.Key_Up, Qt.KeyboardModifier.AltModifier)
    settle()
    assert dock.selection.place == (0, above[0])
    for _ in above:
        dock.parent_button.click()
    assert dock.selection.place == (0, tree.root)
    dock.nothing_button.click()
    assert "selected region" not in viewer.layers
    assert not dock.view.selectionModel().selectedRows()


def test_a_click_with_a_tool_is_the_tool_s(dock, regions, viewer):
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    viewer.reset_view()
    settle()
    native = viewer.window._qt_viewer.canvas.native
    regions.mode = "pick"
    middle = QPoint(native.width() // 2 + 3, native.height() // 2 + 3)
    QTest.mouseClick(native, Qt.MouseButton.LeftButton, pos=middle)
    settle()
    assert dock.selection.place is None
    regions.mode = "pan_zoom"
    QTest.mousePress(native, Qt.MouseButton.LeftButton, pos=middle)
    for step in range(10):
        QTest.mouseMove(native, middle + QPoint(5 * step, 0))
        settle(0.02)
    QTest.mouseRelease(native, Qt.MouseButton.LeftButton, pos=middle + QPoint(50, 0))
    settle()
    assert dock.selection.place is None  # a drag moves the picture


def test_the_mask_of_the_selection_may_be_deleted(dock, regions, viewer):
    dock.select(70)
    viewer.layers.remove("selected region")
    dock.select(71)
    tree = regions.metadata["regiontree"].trees[0]
    np.testing.assert_array_equal(viewer.layers["selected region"].data == 1, tree.mask(71))


# -- files ----------------------------------------------------------------------------------------


def test_a_tree_opens_with_its_photograph(dock, viewer, tmp_path, embedded_installed):
    import regiontree

    shutil.copy(EXAMPLE, tmp_path / "photo.jpg")
    tree = regiontree.parse(tmp_path / "photo.jpg", preset="fast")
    dock.open(tree.save(tmp_path / "photo.npz"))
    assert [layer.name for layer in viewer.layers] == ["photo", "photo regions"]
    np.testing.assert_array_equal(viewer.layers[0].data, np.asarray(Image.open(EXAMPLE)))
    np.testing.assert_array_equal(nodes_shown(viewer.layers[1]), nodes_of_cut(tree))
    (tmp_path / "photo.jpg").unlink()
    viewer.layers.clear()
    dock.open(tmp_path / "photo.npz")
    assert [layer.name for layer in viewer.layers] == ["photo regions"]


def test_several_trees_open_as_a_stack(dock, viewer, tmp_path):
    rng = np.random.default_rng(0)
    trees = [random_tree(rng, 5, (6, 7)) for _ in range(3)]
    paths = [str(tree.save(tmp_path / f"{i}.npz")) for i, tree in enumerate(trees)]
    viewer.open(paths, stack=True, plugin="regiontree")
    assert viewer.layers[0].data.shape == (3, 6, 7)
    for plane, tree in enumerate(trees):
        np.testing.assert_array_equal(nodes_shown(viewer.layers[0], plane), nodes_of_cut(tree))


def test_a_damaged_tree_is_one_line(dock, viewer, tmp_path):
    path = hand_tree().save(tmp_path / "tree.npz")
    data = bytearray(path.read_bytes())
    data[60:64] = b"\0\0\0\0"
    path.write_bytes(data)
    with pytest.raises(Exception, match=r"tree\.npz") as caught:
        viewer.open(path, plugin="regiontree")
    assert "\n" not in str(caught.value)
    dock.open(path)
    (said,) = errors()
    assert "tree.npz" in said
    assert "\n" not in said
    assert len(viewer.layers) == 0


def test_other_files_are_napari_s(dock, viewer, tmp_path):
    np.savez(tmp_path / "a.npz", a=np.ones((20, 30)))
    dock.open(tmp_path / "a.npz")
    dock.open(EXAMPLE)
    assert [layer.source.reader_plugin for layer in viewer.layers] == ["napari", "napari"]


def test_a_slice_of_a_scanner_opens(dock, viewer):
    from pydicom.data import get_testdata_file

    from regiontree.images import load_image

    path = get_testdata_file("CT_small.dcm")
    dock.open(path)
    (layer,) = viewer.layers
    assert layer.source.reader_plugin == "regiontree"
    np.testing.assert_array_equal(layer.data, load_image(path).rgb)


# -- size, versions, and the end ------------------------------------------------------------------


def big_tree(leaves: int, shape: tuple[int, int]) -> RegionTree:
    """A binary tree over tiles of equal size."""
    across = int(np.ceil(np.sqrt(leaves)))
    rows, columns = (np.arange(n) * across // n for n in shape)
    labels = np.minimum(rows[:, None] * across + columns, leaves - 1)
    parents, alive, n = np.zeros(2 * leaves - 1, int), list(range(leaves)), leaves
    while len(alive) > 1:
        a, b, *alive = alive
        parents[[a, b]] = n
        alive.append(n)
        n += 1
    parents[-1] = n - 1
    heights = np.concatenate([np.zeros(leaves), np.linspace(0.1, 1, leaves - 1)])
    return RegionTree(labels, parents, heights)


def test_fifty_thousand_regions(dock, viewer, tmp_path):
    tree = big_tree(50_000, (900, 1000))
    began = time.perf_counter()
    viewer.open(tree.save(tmp_path / "big.npz"), plugin="regiontree")
    layer = viewer.layers["big regions"]
    assert layer.data.dtype == np.int32
    dock.choose_cut(n_regions=50_000)
    np.testing.assert_array_equal(nodes_shown(layer), tree.labels)
    dock.select(0)
    assert dock.model.node(dock.view.currentIndex()) == 0
    depth, index = 0, dock.view.currentIndex()
    while index.parent().isValid():
        index, depth = index.parent(), depth + 1
    assert depth == tree.level[0]
    assert time.perf_counter() - began < 60  # some seconds; a view of 100,000 items takes minutes


def test_an_old_napari_is_named(screen, viewer, monkeypatch):
    from importlib import metadata

    from regiontree.errors import MissingExtraError
    from regiontree.plugins.napari.qt.dock import RegionTreeDock

    monkeypatch.setattr(metadata, "version", lambda name: "0.5.6")
    with pytest.raises(MissingExtraError, match=r"napari 0\.5\.6 is too old.*0\.6"):
        RegionTreeDock(viewer)


def test_a_dock_that_is_closed_lets_the_viewer_go(viewer):
    """A second dock of the same viewer, deleted while it works."""
    import gc

    from qtpy.QtCore import QCoreApplication, QEvent

    from regiontree.plugins.napari.qt.dock import RegionTreeDock

    dock = RegionTreeDock(viewer)
    parser = StandIn()
    parser.seconds = 0.05
    dock._parsers.get = lambda preset, lean=False: parser
    viewer.add_image(np.zeros((40, 20, 30)), name="z")
    before = len(viewer.mouse_drag_callbacks)
    dock.parse()
    until(lambda: parser.seen)
    dock.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    del dock
    gc.collect()
    settle(0.5)
    assert len(parser.seen) < 40
    assert len(viewer.mouse_drag_callbacks) == before - 1
    viewer.dims.set_current_step(0, 2)
    viewer.add_image(np.zeros((20, 30)), name="later")
    assert errors() == []
