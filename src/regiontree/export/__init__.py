"""Region trees in the formats of other programs: one file for each format, and FORMATS.

A new format needs a file with a function that writes a tree, and an entry in :data:`FORMATS` or in
the entry points of another package. The command line, ``tree.export`` and the checks of options use
this entry. Some formats have one document for all trees. Such a format has two functions: one makes
the document of a tree, and the other writes the documents of all trees to one file.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from regiontree.errors import ExportError, SettingsError, nearest_name
from regiontree.export.options import (
    CocoOptions,
    ContourMapOptions,
    CutOptions,
    FiftyOneOptions,
    GeoJsonOptions,
    GeoPackageOptions,
    GeoTiffOptions,
    HuggingFaceOptions,
    LabelStudioOptions,
    StackOptions,
)
from regiontree.system.registry import Registry, load_address
from regiontree.system.stages import Key, build_record, keys_of, value_of_text, values_of

if TYPE_CHECKING:
    from regiontree.tree import RegionTree

__all__ = [
    "FORMATS",
    "Format",
    "built_options",
    "checked_options",
    "export_tree",
    "find_format",
    "with_assignments",
]

Function = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Format:
    """A format to write.

    Attributes
    ----------
    name
        Name of the format, as given to ``--to``.
    what
        Description of the format in a few words.
    write
        The function that writes a tree, called with (tree, path, **options). If `make` is given, it
        writes all documents and is called with (documents, path). Or the address of the function,
        ``"module:function"``.
    suffixes
        Endings of file names of this format. The first is the default.
    options
        A frozen dataclass of the options of the format, each declared by
        :func:`regiontree.system.stages.setting`. None if the format has no options. The function
        gets each option that is not None as a keyword argument of the same name.
    make
        The function that makes the document of a tree, called with (tree, name, **options), or its
        address. None if every tree has its own file.
    finds_photo
        Whether the command looks for the photograph of the tree: `write` reads its place on the map
        there, and `make` gets it as the keyword `picture`, a
        :class:`regiontree.forest.pictures.Picture`.
    keeps_projection
        Whether coordinates stay in the photograph's own projection, and are not made longitude and
        latitude.
    is_folder
        Whether what all trees are written to is a folder. Its suffix is empty.
    """

    name: str
    what: str
    write: Function | str
    suffixes: tuple[str, ...]
    options: type | None = None
    make: Function | str | None = None
    finds_photo: bool = False
    keeps_projection: bool = False
    is_folder: bool = False

    @property
    def keys(self) -> dict[str, Key]:
        """The description of each option, by its name."""
        return {} if self.options is None else keys_of(self.options)

    @property
    def writer(self) -> Function:
        """The function `write`. It is imported when it is first used."""
        return _function(self.write)

    @property
    def maker(self) -> Function | None:
        """The function `make`, imported when it is first used. None if the format has none."""
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
            Format("ucm", "ultrametric contour map as a NumPy array: heights of all borders",
                   f"{_HERE}.contourmap:write_contour_map", (".ucm.npy", ".npy"),
                   ContourMapOptions),
            Format("ucm-picture", "ultrametric contour map as a 16-bit PNG, 65,535 at height 1",
                   f"{_HERE}.contourmap:write_contour_map", (".ucm.png", ".png"),
                   ContourMapOptions),
            Format("geojson", "polygons of a cut or of all nodes, in pixels or on the map",
                   f"{_HERE}.geojson:write_geojson", (".geojson", ".json"), GeoJsonOptions,
                   finds_photo=True),
            Format("geopackage", "cuts from coarse to fine as layers of polygons on the map",
                   f"{_HERE}.geopackage:write_geopackage", (".gpkg",), GeoPackageOptions,
                   finds_photo=True, keeps_projection=True),
            Format("geotiff", "a cut as a cloud-optimised GeoTIFF with colours, and a QGIS style",
                   f"{_HERE}.geotiff:write_geotiff", (".regions.tif", ".tif", ".tiff"),
                   GeoTiffOptions, finds_photo=True, keeps_projection=True),
            Format("label-studio", "Label Studio: one JSON of tasks with regions as brush masks",
                   f"{_HERE}.labelstudio:write_label_studio", (".json",), LabelStudioOptions,
                   make=f"{_HERE}.labelstudio:to_label_studio"),
            Format("fiftyone", "a folder that FiftyOne imports as COCODetectionDataset",
                   f"{_HERE}.cocofolder:write_coco_folder", ("",), FiftyOneOptions,
                   make=f"{_HERE}.cocofolder:to_coco_folder", finds_photo=True, is_folder=True),
            Format("huggingface", "Hugging Face datasets: a folder of Parquet files and a card",
                   f"{_HERE}.huggingface:write_huggingface", ("",), HuggingFaceOptions,
                   make=f"{_HERE}.huggingface:to_huggingface", finds_photo=True, is_folder=True),
            Format("newick", "the tree alone, as phylogenetics reads it",
                   f"{_HERE}.newick:write_newick", (".nwk", ".newick", ".tree")),
            Format("graphml",
                   "the tree as a graph with attributes, for Gephi, Cytoscape and igraph",
                   f"{_HERE}.graph:write_graphml", (".graphml",)),
            Format("higra", "the tree as Higra saves it",
                   f"{_HERE}.higra:write_higra", (".higra", ".tree")),
            Format("masks", "a folder with a 1-bit PNG of every node, and tree.json",
                   f"{_HERE}.masks:write_masks", (".masks",)),
            Format("tree", "a tree file as it was read, for --pieces and --condense",
                   f"{_HERE}.treefile:write_tree", (".npz",)),
        )
    },
    group="regiontree.exports",
    error=ExportError,
)  # fmt: skip
"""Every format by its name. Other packages add formats as entry points ``regiontree.exports``."""


def find_format(name: str) -> Format:
    """The format of that name.

    Raises
    ------
    ExportError
        No format has that name (the message suggests the nearest), or the entry of another package
        is not a :class:`Format`.
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
    """The options of a format after a check: the given values, and the defaults of the others.

    Options that are None are left out, because the function that writes has its own default.

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
    return built_options(form.options, form.name, given)


def built_options(kind: type, name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a record of options with given values, without those that are None.

    Parameters
    ----------
    kind
        The class of the record.
    name
        Of the format, for messages.
    given
        Values of its fields.

    Raises
    ------
    ExportError
        A value is wrong.
    """
    try:
        record = build_record(kind, name, given)
    except SettingsError as error:
        raise ExportError(str(error)) from error
    return {key: value for key, value in values_of(record).items() if value is not None}


def with_assignments(
    given: Mapping[str, Any],
    assignments: Sequence[str],
    keys: Mapping[str, Key],
    literal: Container[str] = (),
) -> dict[str, Any]:
    """Options from flags, and those in texts ``name=value``, which may not contradict them.

    Parameters
    ----------
    given
        The options that flags gave.
    assignments
        The texts.
    keys
        The options of the format. An unknown one is taken as it is; to be refused later.
    literal
        Options whose value ``none`` is a word, and not the default.

    Raises
    ------
    ExportError
        A text has another form, or says another value than a flag or text before it.
    """
    options = dict(given)
    for text in assignments:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise ExportError(f"--option must be name=value, got {text!r}")
        read = value_of_text(keys[name], value) if name in keys else value
        if read is None and name in literal:
            read = "none"
        if options.setdefault(name, read) != read:
            raise ExportError(f"--option {text!r} contradicts {options[name]!r}; give one of them")
    return options


def _unknown(form: Format, key: str) -> str:
    """The message about an option that a format does not have."""
    users = [name for name in FORMATS if key in find_format(name).keys]
    if users:
        said = f"{form.name} ({form.what}) does not use {key}; formats that do: {', '.join(users)}"
    else:
        said = f"{form.name} has no option {key!r}{nearest_name(key, form.keys) or '.'}"
        listed = [f"{name} ({known.range_text})" for name, known in form.keys.items()]
        said += f" It has {', '.join(listed)}" if listed else " It has none"
    return said


def export_tree(tree: RegionTree, to: str, path: str | Path, **options: Any) -> Path:
    """Write a tree in any format, also of another package, and return the path.

    Parameters
    ----------
    to
        A name in :data:`FORMATS`.
    path
        The file to write. For a format that writes a folder, the folder.
    **options
        Options of the format.

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
