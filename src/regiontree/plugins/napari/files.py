"""Files as layers, and layers as tree files: the readers and the writer of the plugin.

Readers give what napari calls layer data: tuples of an array, the arguments of the layer, and the
name of its kind.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from regiontree.errors import ImageError, TreeError
from regiontree.forest.finding import find_photograph
from regiontree.forest.saved import TreeFile
from regiontree.images import load_image
from regiontree.images.load import load_again
from regiontree.plugins.napari.cut import StackCut
from regiontree.plugins.napari.planes import MAX_PIXELS
from regiontree.plugins.napari.program import require_napari
from regiontree.plugins.napari.stack import TreeStack
from regiontree.tree import RegionTree

__all__ = [
    "KEY",
    "SUFFIXES",
    "get_photograph_reader",
    "get_tree_reader",
    "labels_arguments",
    "read_photograph",
    "read_trees",
    "write_tree",
]

KEY = "regiontree"
"""Key of the :class:`TreeStack` in the metadata of a layer."""
LayerData = tuple[Any, dict[str, Any], str]
Paths = str | Sequence[str]


def get_tree_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """:func:`read_trees` if all files are archives with the parents of a tree, else None."""
    return read_trees if all(map(_may_be_tree, _paths(path))) else None


def read_trees(path: Paths) -> list[LayerData]:
    """The photograph of a tree, if it is found, and the natural cut as labels.

    Several files of one size become one stack, without photographs.

    Raises
    ------
    TreeFileError
        A file is damaged or was written by a later version.
    TreeError
        Several trees differ in size.
    MissingExtraError
        napari is too old.
    """
    paths = [Path(one) for one in _paths(path)]
    stack = TreeStack(tuple(map(RegionTree.load, paths)), (len(paths),) if len(paths) > 1 else ())
    name = paths[0].stem
    photographs = _photograph(paths[0], stack.trees[0]) if len(paths) == 1 else []
    cut = StackCut(stack)
    cut.fill_all()
    return [*photographs, (cut.values, labels_arguments(stack, f"{name} regions"), "labels")]


def labels_arguments(stack: TreeStack, name: str) -> dict[str, Any]:
    """The arguments of a Labels layer that shows a stack.

    Raises
    ------
    MissingExtraError
        napari is missing or too old.
    """
    require_napari()
    from napari.utils.colormaps import CyclicLabelColormap

    from regiontree.plugins.napari.colours import stack_colours

    return {
        "name": name,
        "metadata": {KEY: stack},
        "colormap": CyclicLabelColormap(colors=stack_colours(stack), background_value=0),
        "opacity": 0.5,
    }


def write_tree(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write the trees of a Labels layer; see :meth:`TreeStack.save`.

    Raises
    ------
    TreeError
        The layer shows no tree.
    """
    stack = attributes.get("metadata", {}).get(KEY)
    if not isinstance(stack, TreeStack):
        raise TreeError(
            f"layer {attributes.get('name', '')!r} shows no tree of regiontree; save it as .tif, "
            "or parse an image first"
        )
    return [os.fspath(written) for written in stack.save(path)]


def get_photograph_reader(path: Paths) -> Callable[[Paths], list[LayerData]] | None:
    """:func:`read_photograph` for one file, else None."""
    return read_photograph if len(_paths(path)) == 1 else None


def read_photograph(path: Paths) -> list[LayerData]:
    """A file of a kind that napari does not read well, as an image of all its frames.

    Raises
    ------
    ImageError
        The file cannot be read, frames differ in size, or there are too many pixels.
    """
    (file,) = _paths(path)
    first = load_image(file)
    count = int(first.facts.get("pages", 1))
    if count * first.size[0] * first.size[1] > MAX_PIXELS:
        raise ImageError(
            f"{file}: {count} frames of {first.size[0]} x {first.size[1]} pixels do not fit in "
            "memory; parse single pages with regiontree segment --page"
        )
    frames = [first.rgb, *(load_image(file, page=page).rgb for page in range(1, count))]
    if any(frame.shape != frames[0].shape for frame in frames):
        raise ImageError(
            f"{file}: its frames differ in size; parse one with regiontree segment --page"
        )
    pixels = frames[0] if count == 1 else np.stack(frames)
    return [(pixels, {"name": Path(file).stem, "rgb": True}, "image")]


SUFFIXES: Mapping[Any, tuple[str, ...]] = {
    get_tree_reader: (".npz",),
    get_photograph_reader: (".dcm", ".dicom", ".heic", ".heif", ".jxl", ".qoi"),
}
"""Endings of the files of each reader, as in the manifest."""


def _photograph(path: Path, tree: RegionTree) -> list[LayerData]:
    """The photograph of a tree as layer data; empty if it is not found or has changed its size."""
    found, notice = find_photograph(TreeFile(path), tree.meta, [path.parent])
    if found is None or notice is not None:
        return []
    try:
        image = load_again(found, tree.meta, shape=tree.shape)  # type: ignore[arg-type]
    except ImageError:
        return []
    if image.rgb.shape[:2] != tree.shape:
        return []
    return [(image.rgb, {"name": Path(image.name or path.stem).stem, "rgb": True}, "image")]


def _paths(path: Paths) -> list[str]:
    return (
        [os.fspath(path)] if isinstance(path, str | os.PathLike) else [os.fspath(p) for p in path]
    )


def _may_be_tree(path: str) -> bool:
    """Whether a file has the members of a tree. A damaged tree passes: its reader says more."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {"parents.npy", "labels.npy", "meta.npy"} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False
