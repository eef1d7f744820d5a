"""Region trees in the formats of other programs: one format a file, all of them in FORMATS.

To add one: a file with a function that writes a tree, and a line in :data:`FORMATS`, or in another
package's entry points. The command line, ``tree.export`` and the checks of options follow from that
line. A format of one document for all trees has two functions: one makes the document of a tree,
the other writes many of these as one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from regiontree.errors import ExportError, SettingsError, nearest_name
from regiontree.export.options import (
    CocoOptions,
    CutOptions,
    GeoJsonOptions,
    LabelStudioOptions,
    StackOptions,
)
from regiontree.system.registry import Registry, load_address
from regiontree.system.stages import Key, build_record, keys_of, values_of

if TYPE_CHECKING:
    from regiontree.tree import RegionTree

__all__ = ["FORMATS", "Format", "checked_options", "export_tree", "find_format"]

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A format to write.

    Attributes
    ----------
    name
        After ``--to``.
    what
        What it is, in a few words.
    write
        The function of (tree, path, **options) that writes a tree. For a format of one document for
        all trees: of (documents, path). Or its address ``"module:function"``.
    suffixes
        Endings of its files' names, the default first.
    options
        A frozen dataclass of its options, each declared by
        :func:`regiontree.system.stages.setting`; None if it has none. The function gets each as a
        keyword argument of the same name, but for options that are None.
    make
        The function of (tree, name, **options) that makes the document of a tree, or its address.
        None if every tree has a file of its own.
    finds_photo
        Whether the command looks for the tree's photograph, to read where it lies on the map.
    """

    name: str
    what: str
    write: Function | str
    suffixes: tuple[str, ...]
    options: type | None = None
    make: Function | str | None = None
    finds_photo: bool = False

    @property
    def keys(self) -> dict[str, Key]:
        """What is known of each option, by its name."""
        return {} if self.options is None else keys_of(self.options)

    @property
    def writer(self) -> Function:
        """The function `write`, imported if it was not yet."""
        return _function(self.write)

    @property
    def maker(self) -> Function | None:
        """The function `make`, imported if it was not yet; None if there is none."""
        return None if self.make is None else _function(self.make)


_HERE = "regiontree.export"
FORMATS: Registry[Format] = Registry(
    "export format",
    {
        known.name: known
        for known in (
            Format("coco", "COCO instances: one JSON, all nodes with their parents",
                   f"{_HERE}.coco:write_coco", (".json",), CocoOptions,
                   make=f"{_HERE}.coco:to_coco"),
            Format("panoptic", "COCO panoptic: one JSON and a folder of PNGs, a cut",
                   f"{_HERE}.panoptic:write_panoptic", (".json",), CutOptions,
                   make=f"{_HERE}.panoptic:to_panoptic"),
            Format("labels-png", "a cut as a 16-bit PNG of region numbers",
                   f"{_HERE}.labelmap:write_label_image", (".labels.png", ".png"), CutOptions),
            Format("labels-tiff", "a cut as a 16-bit TIFF of region numbers",
                   f"{_HERE}.labelmap:write_label_image", (".labels.tif", ".tif", ".tiff"),
                   CutOptions),
            Format("stack", "cuts from coarse to fine as a TIFF stack, for ImageJ and napari",
                   f"{_HERE}.labelmap:write_label_stack", (".stack.tif", ".tif", ".tiff"),
                   StackOptions),
            Format("ome-tiff", "cuts from coarse to fine as channels of an OME-TIFF",
                   f"{_HERE}.labelmap:write_label_stack", (".ome.tif", ".ome.tiff"),
                   StackOptions),
            Format("geojson", "polygons of a cut or of all nodes, in pixels or on the map",
                   f"{_HERE}.geojson:write_geojson", (".geojson", ".json"), GeoJsonOptions,
                   finds_photo=True),
            Format("label-studio", "Label Studio: one JSON of tasks with regions as brush masks",
                   f"{_HERE}.labelstudio:write_label_studio", (".json",), LabelStudioOptions,
                   make=f"{_HERE}.labelstudio:to_label_studio"),
            Format("newick", "the tree alone, as phylogenetics reads it",
                   f"{_HERE}.newick:write_newick", (".nwk", ".newick", ".tree")),
            Format("graphml",
                   "the tree as a graph with attributes, for Gephi, Cytoscape and igraph",
                   f"{_HERE}.graph:write_graphml", (".graphml",)),
            Format("higra", "the tree as Higra saves it",
                   f"{_HERE}.higra:write_higra", (".higra", ".tree")),
            Format("masks", "a folder with a 1-bit PNG of every node, and tree.json",
                   f"{_HERE}.masks:write_masks", (".masks",)),
            Format("tree", "a tree file as it was read, for --condense",
                   f"{_HERE}.treefile:write_tree", (".npz",)),
        )
    },
    group="regiontree.exports",
    error=ExportError,
)  # fmt: skip
"""Every format by its name after ``--to``; other packages add theirs as ``regiontree.exports``."""


def find_format(name: str) -> Format:
    """The format of that name.

    Raises
    ------
    ExportError
        There is none, and the message names the nearest; or another package's entry is no format.
    """
    if name not in FORMATS:
        hint = nearest_name(name, FORMATS, cutoff=0.0)
        raise ExportError(f"no format {name!r}{hint} There are {', '.join(FORMATS)}")
    form = FORMATS.get(name)
    if not isinstance(form, Format):
        raise ExportError(
            f"export format {name!r} must be a regiontree.export.Format, got {form!r}; repair the "
            "package that adds it"
        )
    return replace(form, name=name)


def checked_options(form: Format, given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of a format, checked: those given, and the defaults of the others.

    Options that are None are left out: the function that writes knows its own default.

    Raises
    ------
    ExportError
        The format has no such option, or a value is wrong.
    """
    for key in given:
        if key not in form.keys:
            raise ExportError(_unknown(form, key))
    if form.options is None:
        return {}
    try:
        record = build_record(form.options, form.name, given)
    except SettingsError as error:
        raise ExportError(str(error)) from error
    return {key: value for key, value in values_of(record).items() if value is not None}


def _unknown(form: Format, key: str) -> str:
    """What to say of an option that a format does not have."""
    users = [name for name in FORMATS if key in find_format(name).keys]
    if users:
        said = f"{form.name} ({form.what}) does not use {key}; formats that do: {', '.join(users)}"
    else:
        said = f"{form.name} has no option {key!r}{nearest_name(key, form.keys) or '.'}"
        listed = [f"{name} ({known.range_text})" for name, known in form.keys.items()]
        said += f" It has {', '.join(listed)}" if listed else " It has none"
    return said


def export_tree(tree: RegionTree, to: str, path: str | Path, **options: Any) -> Path:
    """Write a tree in any format, another package's too; gives the path.

    Parameters
    ----------
    to
        A name in :data:`FORMATS`.
    path
        The file to write, or for formats of a folder the folder.
    **options
        Options of the format; an unknown one is an error.

    Raises
    ------
    ExportError
        There is no such format or option, or a value is wrong.
    """
    form = find_format(to)
    used = checked_options(form, options)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    if form.maker is None:
        form.writer(tree, path, **used)
    else:
        form.writer([form.maker(tree, None, **used)], path)
    return Path(path)


def _function(found: Function | str) -> Function:
    return cast(Function, load_address(found)) if isinstance(found, str) else found
