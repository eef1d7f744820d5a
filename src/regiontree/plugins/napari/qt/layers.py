"""The layers that the dock reads and makes: images, regions, and the selected region."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.plugins.napari.cut import look_up
from regiontree.plugins.napari.files import KEY, labels_arguments
from regiontree.plugins.napari.planes import Planes
from regiontree.plugins.napari.stack import TreeStack

__all__ = [
    "SelectedRegion",
    "chosen_images",
    "data_of",
    "file_of",
    "is_image",
    "place_of",
    "regions_layer",
    "stack_of",
]

_SELECTED = "selected region"
_MARK = "regiontree selection"  # key in the metadata of the layer of the selected region
_DIMMED = (0.0, 0.0, 0.0, 0.65)  # what is not selected


def is_image(layer: Any) -> bool:
    """Whether a layer is an image."""
    from napari.layers import Image

    return isinstance(layer, Image)


def stack_of(layer: Any) -> TreeStack | None:
    """The trees that a layer shows; None if it is no layer of ours, or was changed in shape."""
    from napari.layers import Labels

    if not isinstance(layer, Labels):
        return None
    stack = layer.metadata.get(KEY)
    fits = isinstance(stack, TreeStack) and tuple(layer.data.shape) == stack.shape
    return stack if fits else None


def chosen_images(viewer: Any) -> list[Any]:
    """The image layers that are selected in the list, from below; else the topmost one."""
    images = [layer for layer in viewer.layers if is_image(layer)]
    chosen = [layer for layer in images if layer in viewer.layers.selection]
    return chosen or images[-1:]


def data_of(layer: Any) -> Any:
    """The pixels of an image layer, the finest if it has several resolutions."""
    return layer.data[0] if layer.multiscale else layer.data


def file_of(layer: Any) -> Path | None:
    """The file that a layer was opened from, if it still is there."""
    path = layer.source.path
    return Path(path) if path and Path(path).is_file() else None


def place_of(layer: Any, planes: Planes, step: Sequence[int]) -> dict[str, Any]:
    """The arguments that put regions of `planes` where their image lies.

    `step` are the positions on all axes of the layer before (H, W). Where regions have fewer axes
    than the layer, they lie at that place of its last axes.
    """
    ndim = len(planes.leading) + 2
    own = len(planes.at) and layer.ndim  # one plane of a stack: keep its axes, of length 1
    ndim = own or ndim
    scale, translate = np.asarray(layer.scale)[-ndim:], np.array(layer.translate)[-ndim:]
    if own:
        translate = translate.copy()
        translate[:-2] += np.asarray(step) * scale[:-2]
    found: dict[str, Any] = {"scale": scale, "translate": translate}
    if ndim == layer.ndim:
        found |= {"rotate": layer.rotate, "shear": layer.shear}
        found["units"] = layer.units
    return found


def regions_layer(viewer: Any, stack: TreeStack, values: Any, name: str, place: Any) -> Any:
    """Add a Labels layer of regions on top, and make it the active one."""
    layer = viewer.add_labels(values, **labels_arguments(stack, name), **place)
    viewer.layers.selection.active = layer
    return layer


class SelectedRegion:
    """A Labels layer that dims everything but the selected region.

    The region has the label 1, so the layer is its mask, too. It has one plane, which moves to the
    plane of the region. Users may hide or delete it; it comes back with the next selection.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._layer: Any = None

    def show(self, below: Any, plane: int, leaves: NDArray[np.bool_], labels: Any) -> None:
        """Show a region.

        Parameters
        ----------
        below
            The layer of regions.
        plane
            Of the region.
        leaves
            (L,) bool: the leaves of the region.
        labels
            (H, W): the leaf of each pixel.
        """
        stack = below.metadata[KEY]
        shape = (*(1 for _ in stack.leading), *labels.shape)
        layer = self._layer if self._layer in self._viewer.layers else None
        if layer is not None and layer.data.shape != shape:
            self._viewer.layers.remove(layer)
            layer = None
        mask = np.empty(shape, np.uint8) if layer is None else layer.data
        look_up(leaves.astype(np.uint8), labels, mask.reshape(labels.shape))
        translate = np.array(below.translate)
        if stack.leading:
            translate[:-2] += np.asarray(stack.step_of(plane)) * np.asarray(below.scale)[:-2]
        if layer is None:
            self._add(below, mask, translate)
        else:
            layer.scale, layer.rotate, layer.shear = below.scale, below.rotate, below.shear
            layer.translate = translate
            layer.refresh()

    def _add(self, below: Any, mask: NDArray[np.uint8], translate: Any) -> None:
        from napari.utils.colormaps import DirectLabelColormap

        colours = {0: _DIMMED, 1: (0, 0, 0, 0), None: (0, 0, 0, 0)}
        layers = self._viewer.layers
        selected = set(layers.selection)
        active = layers.selection.active
        self._layer = self._viewer.add_labels(
            mask,
            name=_SELECTED,
            metadata={_MARK: True},
            colormap=DirectLabelColormap(color_dict=colours, background_value=0),
            opacity=1.0,
            scale=below.scale,
            translate=translate,
            rotate=below.rotate,
            shear=below.shear,
            units=below.units,
        )
        self._layer.editable = False
        layers.move(layers.index(self._layer), layers.index(below) + 1)
        layers.selection = selected
        layers.selection.active = active

    def hide(self) -> None:
        """Show no region."""
        if self._layer in self._viewer.layers:
            self._viewer.layers.remove(self._layer)
        self._layer = None
