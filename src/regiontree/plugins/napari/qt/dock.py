"""The dock: parse an image, choose a granularity, walk through the tree.

The dock acts on one layer of regions, the *shown* one: the active layer if it is one, else the one
before. It follows the viewer: another plane shows another tree.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any, cast

import numpy as np
from qtpy.QtCore import QItemSelectionModel, Qt, QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QPushButton,
    QSlider,
    QTreeView,
    QVBoxLayout,
    QWidget,
)

from regiontree.errors import RegionTreeError
from regiontree.plugins.napari.cut import StackCut
from regiontree.plugins.napari.files import SUFFIXES, get_photograph_reader, get_tree_reader
from regiontree.plugins.napari.granularity import STEPS, Granularity
from regiontree.plugins.napari.parsing import STEPS as PARSE_STEPS
from regiontree.plugins.napari.parsing import Failure, Parsers, Progress, parse_planes
from regiontree.plugins.napari.planes import Treatment, planes_of
from regiontree.plugins.napari.program import require_napari
from regiontree.plugins.napari.qt.layers import (
    SelectedRegion,
    chosen_images,
    data_of,
    file_of,
    place_of,
    regions_layer,
    stack_of,
)
from regiontree.plugins.napari.qt.model import TreeModel
from regiontree.plugins.napari.qt.work import start
from regiontree.plugins.napari.rows import TreeRows
from regiontree.plugins.napari.selection import Selection
from regiontree.plugins.napari.stack import TreeStack
from regiontree.settings.presets import PRESETS

__all__ = ["RegionTreeDock"]

_TREATMENTS: dict[str, Treatment] = {
    "a tree for each plane": "every plane",
    "only the plane shown": "this plane",
    "one picture of channels": "channels",
}
_BY_REGIONS, _BY_HEIGHT = "Regions", "Height"
_CLIMB = "Alt-Up"


class RegionTreeDock(QWidget):
    """The widget of the plugin; napari makes it from the menu and passes its viewer.

    Parameters
    ----------
    napari_viewer : napari.Viewer

    Raises
    ------
    MissingExtraError
        napari is too old.
    """

    def __init__(self, napari_viewer: Any) -> None:
        require_napari()
        super().__init__()
        self.viewer = napari_viewer
        self.cut: StackCut | None = None
        self.selection: Selection | None = None
        self._layer: Any = None
        self._range = Granularity(1, 0.0)
        self._plane = 0
        self._parsers = Parsers()
        self._worker: Any = None
        self._gone: list[bool] = []  # not empty when Qt has deleted the widget
        self._region = SelectedRegion(napari_viewer)
        self._idle = QTimer(self)
        self._idle.setInterval(0)
        self._idle.timeout.connect(self._fill_next)
        self._build()
        self._connect()
        self._follow()

    # -- the parts of the widget ------------------------------------------------------------------

    def _build(self) -> None:
        layout = QVBoxLayout(self)
        layout.addWidget(self._image_box())
        layout.addWidget(self._granularity_box())
        layout.addWidget(self._tree_box(), stretch=1)

    def _image_box(self) -> QGroupBox:
        box = QGroupBox("Image")
        form = QFormLayout(box)
        self.image_label = QLabel("open an image, or a tree (.npz)")
        self.image_label.setWordWrap(True)
        self.preset = QComboBox()
        self.preset.addItems(list(PRESETS))
        self.preset.setToolTip("Settings of regiontree; 'fast' shows the network a smaller picture")
        self.treatment = QComboBox()
        self.treatment.addItems(list(_TREATMENTS))
        self.treatment_label = QLabel("Stack")
        self.open_button = QPushButton("Open…")
        self.open_button.setToolTip("Open a tree (.npz) or an image")
        self.parse_button = QPushButton("Parse")
        self.parse_button.setToolTip("Make the region tree of the selected image layer")
        self.cancel_button = QPushButton("Cancel")
        self.bar = QProgressBar()
        self.status = QLabel()
        self.status.setWordWrap(True)
        form.addRow("Layer", self.image_label)
        form.addRow("Preset", self.preset)
        form.addRow(self.treatment_label, self.treatment)
        form.addRow(_row(self.open_button, self.parse_button, self.cancel_button))
        form.addRow(self.bar)
        form.addRow(self.status)
        self._show_working(False)
        return box

    def _granularity_box(self) -> QGroupBox:
        self.granularity_box = box = QGroupBox("Granularity")
        layout = QVBoxLayout(box)
        self.criterion = QComboBox()
        self.criterion.addItems([_BY_REGIONS, _BY_HEIGHT])
        self.number = QDoubleSpinBox()
        self.number.setKeyboardTracking(False)
        self.natural_button = QPushButton("Natural")
        self.natural_button.setToolTip("The cut that the tree proposes")
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, STEPS)
        self.slider.setToolTip("Coarse on the left, fine on the right")
        self.count_label = QLabel()
        layout.addWidget(_row(self.criterion, self.number, self.natural_button))
        layout.addWidget(self.slider)
        layout.addWidget(self.count_label)
        return box

    def _tree_box(self) -> QGroupBox:
        self.tree_box = box = QGroupBox("Tree")
        layout = QVBoxLayout(box)
        self.model = TreeModel(self)
        self.view = _View()
        self.view.setModel(self.model)
        self.view.setUniformRowHeights(True)
        self.view.setIndentation(12)
        self.view.setMinimumHeight(160)
        header = self.view.header()
        header.setStretchLastSection(False)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        for column in range(1, self.model.columnCount()):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        self.parent_button = QPushButton("Parent")
        self.parent_button.setToolTip(f"Select the parent ({_CLIMB}; Left in the tree)")
        self.nothing_button = QPushButton("Select none")
        self.save_button = QPushButton("Save tree…")
        layout.addWidget(self.view)
        layout.addWidget(_row(self.parent_button, self.nothing_button, self.save_button))
        return box

    def _connect(self) -> None:
        self.open_button.clicked.connect(lambda: self.open())
        self.parse_button.clicked.connect(lambda: self.parse())
        self.cancel_button.clicked.connect(self.cancel)
        self.slider.valueChanged.connect(self._slid)
        self.criterion.currentTextChanged.connect(lambda: self._show_cut())
        self.number.valueChanged.connect(self._typed)
        self.natural_button.clicked.connect(lambda: self.choose_cut())
        self.view.selectionModel().currentChanged.connect(self._row_chosen)
        self.view.climbed.connect(self.climb)
        self.parent_button.clicked.connect(self.climb)
        self.nothing_button.clicked.connect(lambda: self._select(None))
        self.save_button.clicked.connect(lambda: self.save())
        layers = self.viewer.layers
        layers.selection.events.changed.connect(self._follow)
        layers.events.inserted.connect(self._follow)
        layers.events.removed.connect(self._follow)
        self.viewer.dims.events.current_step.connect(self._moved)
        self.viewer.dims.events.order.connect(self._moved)
        self.viewer.dims.events.ndisplay.connect(self._moved)
        self.viewer.mouse_drag_callbacks.append(self._pressed)
        self.viewer.bind_key(_CLIMB, lambda viewer: self.climb(), overwrite=True)
        self.destroyed.connect(self._disconnector())

    def _disconnector(self) -> Any:
        """What takes the dock's hands off a viewer that lives on, and ends its work."""
        viewer, pressed, followed, moved = self.viewer, self._pressed, self._follow, self._moved

        def disconnect() -> None:
            self._gone.append(True)
            if self._worker is not None:
                self._worker.quit()
            layers, dims = viewer.layers, viewer.dims
            for emitter in (layers.selection.events.changed, layers.events.inserted,
                            layers.events.removed):  # fmt: skip
                emitter.disconnect(followed)
            for emitter in (dims.events.current_step, dims.events.order, dims.events.ndisplay):
                emitter.disconnect(moved)
            if pressed in viewer.mouse_drag_callbacks:
                viewer.mouse_drag_callbacks.remove(pressed)
            viewer.bind_key(_CLIMB, None, overwrite=True)

        return disconnect

    # -- parsing ----------------------------------------------------------------------------------

    def parse(self) -> None:
        """Parse the selected image layers in a thread. Faults become one line of napari's."""
        if self._worker is not None:
            return
        images = chosen_images(self.viewer)
        if not images:
            self._complain("there is no image to parse: open one, and select its layer")
            return
        layer = images[0]
        treatment = _TREATMENTS[self.treatment.currentText()]
        step = self._step_of(layer)
        try:
            if len(images) > 1 and any(image.rgb for image in images):
                images = [layer := images[-1]]
            planes = planes_of(
                layer.name,
                [data_of(image) for image in images],
                rgb=layer.rgb,
                treatment=treatment,
                step=step,
            )
            place = place_of(layer, planes, step)
        except RegionTreeError as error:
            self._complain(str(error))
            return
        preset, lean = self.preset.currentText(), planes.count > 1
        file = file_of(layer) if len(images) == 1 and layer.ndim == 2 else None
        work = parse_planes(lambda: self._parsers.get(preset, lean=lean), planes, file)
        self.bar.setRange(0, PARSE_STEPS * planes.count)
        self._show_working(True)
        added_axes = len(planes.at)
        self._worker = start(
            work,
            planes.count,
            progressed=self._progressed,
            finished=lambda found: self._parsed(found, layer.name, place, added_axes),
        )

    def cancel(self) -> None:
        """Ask the work to end. It ends after the present step."""
        if self._worker is not None:
            self.status.setText("stopping after this step …")
            self._worker.quit()

    def _progressed(self, progress: Progress) -> None:
        if self._gone:
            return
        self.bar.setValue(progress.done)
        if self._worker is not None and not self._worker.abort_requested:
            self.status.setText(progress.text)

    def _parsed(
        self, found: TreeStack | Failure | None, name: str, place: dict[str, Any], axes: int
    ) -> None:
        self._worker = None
        if self._gone:
            return
        self._show_working(False)
        if isinstance(found, Failure):
            self._complain(found.message)
        elif found is None:
            self.status.setText("cancelled")
        else:
            if axes:  # one plane of a stack, at its place among the others
                found = TreeStack(found.trees, (1,) * axes)
            cut = StackCut(found)
            cut.fill_all()
            regions_layer(self.viewer, found, cut.values, f"{name} regions", place)
            self.status.setText("")

    def _show_working(self, working: bool) -> None:
        self.parse_button.setEnabled(not working)
        self.cancel_button.setVisible(working)
        self.bar.setVisible(working)
        if working:
            self.bar.setValue(0)

    def _complain(self, message: str) -> None:
        from napari.utils.notifications import show_error

        line = " ".join(message.split())
        self.status.setText(line)
        show_error(line)

    # -- following the viewer ---------------------------------------------------------------------

    def _follow(self, event: Any = None) -> None:
        """Show the image that would be parsed, and the regions of the active layer."""
        self._show_image()
        layer = self._layer if self._layer in self.viewer.layers else None
        active = self.viewer.layers.selection.active
        if active is not None and stack_of(active) is not None:
            layer = active
        elif layer is None:
            layer = next((x for x in reversed(self.viewer.layers) if stack_of(x)), None)
        if layer != self._layer:  # napari may give plugins another proxy of the same layer
            self._show_layer(layer)

    def _show_image(self) -> None:
        images = chosen_images(self.viewer)
        many = len(images) > 1 and not any(image.rgb for image in images)
        names = [image.name for image in (images[:3] if many else images[-1:])]
        self.image_label.setText(" + ".join(names) if names else "open an image, or a tree (.npz)")
        has_planes = bool(images) and images[-1].ndim > 2
        self.treatment.setVisible(has_planes)
        self.treatment_label.setVisible(has_planes)

    def _show_layer(self, layer: Any) -> None:
        """Act on another layer of regions, or on none."""
        self._idle.stop()
        self._region.hide()
        self._layer = layer
        stack = None if layer is None else stack_of(layer)
        self.granularity_box.setEnabled(stack is not None)
        self.tree_box.setEnabled(stack is not None)
        if stack is None:
            self.cut = self.selection = None
            self.model.show(None)
            self.count_label.setText("")
            return
        values = layer.data
        if not (isinstance(values, np.ndarray) and values.dtype == stack.dtype):
            values = np.zeros(stack.shape, stack.dtype)
            layer.data = values
        self.cut = StackCut(stack, values)
        self.cut.criterion = layer.metadata.get("regiontree cut", {})
        self.selection = Selection(stack, self._selected)
        self._range = Granularity.of(stack)
        self._plane = -1
        self._moved()
        self.cut.fill_all()
        self._show_cut()

    def _step_of(self, layer: Any) -> tuple[int, ...]:
        """The position of the viewer on the axes of a layer before (H, W)."""
        dims = self.viewer.dims
        point = np.asarray(dims.point)[-layer.ndim :] if layer.ndim <= dims.ndim else None
        if point is None:
            return (0,) * (int(layer.ndim) - 2)
        at: list[float] = np.asarray(layer.world_to_data(point), float)[:-2].tolist()
        return tuple(int(x) for x in np.round(at))

    def _moved(self, event: Any = None) -> None:
        """Show the tree of the plane that the viewer shows."""
        if self.cut is None or self._layer not in self.viewer.layers:
            return
        plane = self.cut.stack.plane_at(self._step_of(self._layer))
        if (
            self.viewer.dims.ndisplay == 3
            or self.viewer.dims.order[-2:] != tuple(range(self.viewer.dims.ndim))[-2:]
        ):
            self._fill_rest()  # more planes than one are seen
        if plane == self._plane:
            return
        self._plane = plane
        if self.cut.fill(plane):
            self._layer.refresh()
        stack = self.cut.stack
        colours = self._layer.colormap

        def colour(node: int) -> Any:
            return colours.map(stack.dtype.type(stack.value(plane, node)))[:3]

        self.model.show(TreeRows(stack.trees[plane]), colour)
        self.view.expand(self.model.index_of(stack.trees[plane].root))
        titled = f"Tree of plane {plane}" if len(stack.trees) > 1 else "Tree"
        self.tree_box.setTitle(titled)
        selection = cast(Selection, self.selection)
        if selection.place is not None and selection.place[0] != plane:
            selection.choose(None)
        self._show_count()

    # -- granularity ------------------------------------------------------------------------------

    def choose_cut(self, **criterion: float) -> None:
        """Cut all trees: ``n_regions=8`` or ``height=0.3``; nothing is the natural cut.

        Raises
        ------
        TreeError
            As :meth:`regiontree.tree.RegionTree.cut_nodes`.
        """
        self._cut(criterion)
        self._fill_rest()
        self._show_cut()

    def _cut(self, criterion: dict[str, float]) -> None:
        """Cut the plane that is shown now, and the others when there is time."""
        if self.cut is None:
            return
        self.cut.choose(criterion, self._plane)
        self._layer.metadata["regiontree cut"] = dict(criterion)
        self._layer.refresh(extent=False)
        self._show_count()
        if not self.cut.is_whole:
            self._idle.start()

    def _slid(self, position: int) -> None:
        by_regions = self.criterion.currentText() == _BY_REGIONS
        if by_regions:
            self._cut({"n_regions": self._range.regions_at(position)})
        else:
            self._cut({"height": self._range.height_at(position)})
        self._show_cut(slider=False)

    def _typed(self, value: float) -> None:
        if self.criterion.currentText() == _BY_REGIONS:
            self._cut({"n_regions": int(value)})
        else:
            self._cut({"height": value})
        self._show_cut()

    def _show_cut(self, *, slider: bool = True) -> None:
        """Put slider and number where the cut is, without a new cut."""
        if self.cut is None:
            return
        by_regions = self.criterion.currentText() == _BY_REGIONS
        given = self.cut.criterion
        if by_regions:
            value: float = given.get("n_regions", self.cut.n_regions(self._plane))
            position = self._range.position_of_regions(int(value))
        else:
            value = given["height"] if "height" in given else self._height_of_cut()
            position = self._range.position_of_height(value)
        for control in (self.slider, self.number):
            control.blockSignals(True)
        self.number.setDecimals(0 if by_regions else 4)
        self.number.setSingleStep(1 if by_regions else 0.01)
        self.number.setRange(*((1, self._range.most) if by_regions else (0, self._range.highest)))
        self.number.setValue(value)
        if slider:
            self.slider.setValue(position)
        for control in (self.slider, self.number):
            control.blockSignals(False)
        self._show_count()

    def _height_of_cut(self) -> float:
        """The height of the cut that is shown: that of its highest region, or the natural one."""
        cut = cast(StackCut, self.cut)
        tree = cut.stack.trees[self._plane]
        if not cut.criterion:
            return float(tree.meta.get("natural_height", 0.0))
        return float(tree.height[tree.cut_nodes(**cut.criterion)].max())  # type: ignore[arg-type]

    def _show_count(self) -> None:
        if self.cut is None or self._plane < 0:
            return
        count = self.cut.n_regions(self._plane)
        of = self.cut.stack.trees[self._plane].n_leaves
        plane = f" in plane {self._plane}" if len(self.cut.stack.trees) > 1 else ""
        natural = "" if self.cut.criterion else ", the natural cut"
        self.count_label.setText(f"{count:,} of at most {of:,} regions{plane}{natural}")

    def _fill_next(self) -> None:
        if self.cut is None or not self.cut.fill_next():
            self._idle.stop()
            if self._layer is not None and self._layer in self.viewer.layers:
                self._layer.refresh(extent=False)

    def _fill_rest(self) -> None:
        """Cut every plane now."""
        self._idle.stop()
        if self.cut is not None and not self.cut.is_whole:
            self.cut.fill_all()
            self._layer.refresh(extent=False)

    # -- selection --------------------------------------------------------------------------------

    def select(self, node: int | None) -> None:
        """Select a node of the plane that is shown, or nothing."""
        self._select(None if node is None else (self._plane, node))

    def climb(self) -> None:
        """Select the parent of what is selected."""
        if self.selection is not None:
            self.selection.climb()

    def _select(self, place: tuple[int, int] | None) -> None:
        if self.selection is not None:
            self.selection.choose(place)

    def _row_chosen(self, current: Any, previous: Any = None) -> None:
        node = self.model.node(current)
        if node is not None:
            self._select((self._plane, node))

    def _selected(self, place: tuple[int, int] | None) -> None:
        """Show what is selected in the table and in the picture."""
        chosen = self.view.selectionModel()
        if place is None:
            self._region.hide()
            chosen.clear()
            return
        plane, node = place
        cut = cast(StackCut, self.cut)
        tree = cut.stack.trees[plane]
        index = self.model.index_of(node)
        if plane == self._plane and self.model.node(chosen.currentIndex()) != node:
            flags = QItemSelectionModel.SelectionFlag
            chosen.setCurrentIndex(index, flags.ClearAndSelect | flags.Rows)
            self.view.scrollTo(index)
        self._region.show(self._layer, plane, _leaves_of(tree, node), tree.labels)

    def _pressed(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Select the region under a click, if no tool of the active layer wants the click."""
        active = viewer.layers.selection.active
        if self.cut is None or (active is not None and active.mode not in ("pan_zoom", "move")):
            return
        yield
        while event.type == "mouse_move":  # a drag moves the picture
            return
        value = self._layer.get_value(
            event.position,
            view_direction=event.view_direction,
            dims_displayed=event.dims_displayed,
            world=True,
        )
        if self.selection is not None:
            self.selection.choose_value(None if value is None else int(value))

    # -- files -----------------------------------------------------------------------------------

    def open(self, path: str | Path | None = None) -> None:
        """Open a tree or an image; without a path, a dialog asks.

        napari has a reader of ``.npz``, too, and asks which one is meant. Here it is ours.
        """
        if path is None:
            path, _ = QFileDialog.getOpenFileName(self, "Open a tree or an image")
        if not path:
            return
        path = str(path)
        for reader_of in (get_tree_reader, get_photograph_reader):
            if Path(path).suffix.lower() in SUFFIXES[reader_of] and reader_of(path) is not None:
                break
        else:
            self.viewer.open(path, plugin="napari")
            return
        try:
            self.viewer.open(path, plugin="regiontree")
        except (OSError, RegionTreeError) as error:
            self._complain(str(error))

    def save(self, path: str | Path | None = None) -> None:
        """Write the tree, or the trees of a stack, to ``.npz``; without a path, a dialog asks."""
        if self.cut is None:
            return
        if path is None:
            name = f"{self._layer.name.removesuffix(' regions')}.npz"
            path, _ = QFileDialog.getSaveFileName(self, "Save tree", name, "Region tree (*.npz)")
        if path:
            try:
                written = self.cut.stack.save(path)
            except (OSError, RegionTreeError) as error:
                self._complain(f"{path}: cannot be written ({error})")
                return
            more = f" and {len(written) - 1} more" if len(written) > 1 else ""
            self.status.setText(f"saved {written[0].name}{more}")


class _View(QTreeView):
    """A tree view whose Left and Alt+Up go to the parent at once."""

    from qtpy.QtCore import Signal as _Signal

    climbed = _Signal()

    def keyPressEvent(self, event: Any) -> None:  # noqa: N802  named by Qt
        """Climb, or do what a tree view does."""
        key, alt = event.key(), event.modifiers() & Qt.KeyboardModifier.AltModifier
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Backspace) or (key == Qt.Key.Key_Up and alt):
            self.climbed.emit()
        else:
            super().keyPressEvent(event)


def _row(*widgets: QWidget) -> QWidget:
    """Widgets side by side."""
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        layout.addWidget(widget)
    return row


def _leaves_of(tree: Any, node: int) -> Any:
    """Which leaves a node holds, (L,) bool."""
    from regiontree.tree.kernel import preorder

    return preorder(tree.parents).holds(node, np.arange(tree.n_leaves))
