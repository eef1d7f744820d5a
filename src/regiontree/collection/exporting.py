"""Photographs of a collection with their names, in the formats of other programs.

Every pixel has the name of its region's category, as people gave it in ``collection.csv``: see
:meth:`Collection.named_map`. With `n_categories`, it has the category of that cut instead: its name
if there is one, and else ``category NODE``. The number of a class is the same in every format: 1
for the first. 0 is no name.

One photograph is in memory at a time. A photograph whose tree, or whose own file if it is needed,
is gone or damaged is left out and told. A data set gets its name when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from regiontree.collection.classes import Classes, cut_classes, named_classes
from regiontree.collection.exported import Exported
from regiontree.collection.exportoptions import (
    ClassOptions,
    FiftyOneOptions,
    HuggingFaceOptions,
    LabelStudioOptions,
    RegionOptions,
    TrainingOptions,
)
from regiontree.collection.photograph import ClassedPhotograph, classed_photograph
from regiontree.errors import ExportError, MissingExtraError, nearest_name
from regiontree.export import built_options
from regiontree.forest.finding import Places
from regiontree.system.faults import attempt, fault_text
from regiontree.system.paths import reason, require_writable
from regiontree.system.registry import load_address
from regiontree.system.stages import keys_of

if TYPE_CHECKING:
    from regiontree.collection.collection import Collection

__all__ = ["FORMATS", "CollectionFormat", "Job", "checked_options", "export_collection"]

T = TypeVar("T")
Advance = Callable[[str, str | None], None]
"""Called with the id of each photograph, and why it was left out or None."""


@dataclass(frozen=True, slots=True)
class CollectionFormat:
    """A format for a collection.

    Attributes
    ----------
    name : str
        As given to ``--to``.
    what : str
        Description in a few words.
    write : str
        Address of the function that writes, called with (job, path).
    suffix : str
        Ending of the file. Empty: the format is a folder.
    options : type
        A frozen dataclass of its options.
    beside : str
        Ending of a second file beside the first. Empty: there is none.
    """

    name: str
    what: str
    write: str
    suffix: str
    options: type = ClassOptions
    beside: str = ""

    @property
    def has_photographs(self) -> bool:
        """Whether photographs are in it: copied, linked, or in its files."""
        return not {"link", "photographs"}.isdisjoint(keys_of(self.options))


_HERE = "regiontree.collection"
FORMATS = {
    known.name: known
    for known in (
        CollectionFormat("coco", "COCO instances: one JSON of all named regions",
                         f"{_HERE}.cocofiles:write_coco", ".json", RegionOptions),
        CollectionFormat("panoptic", "COCO panoptic: one JSON and a folder of PNGs",
                         f"{_HERE}.cocofiles:write_panoptic", ".json", RegionOptions),
        CollectionFormat("labels-png", "a folder of PNGs of class numbers, and the classes",
                         f"{_HERE}.maskfiles:write_labels", ""),
        CollectionFormat("training", "a folder of images, masks and classes, by split",
                         f"{_HERE}.maskfiles:write_training", "", TrainingOptions),
        CollectionFormat("label-studio", "Label Studio: one JSON of tasks with predictions",
                         f"{_HERE}.tasks:write_tasks", ".json", LabelStudioOptions,
                         beside=".xml"),
        CollectionFormat("huggingface", "Hugging Face datasets: Parquet files and a card",
                         f"{_HERE}.hubfiles:write_huggingface", "", HuggingFaceOptions),
        CollectionFormat("fiftyone", "a folder that FiftyOne imports as COCODetectionDataset",
                         f"{_HERE}.cocofiles:write_fiftyone", "", FiftyOneOptions),
    )
}  # fmt: skip
"""Every format by its name."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a format gets to write.

    Attributes
    ----------
    collection : Collection
    classes : Classes
    options : dict
        Those of the format.
    images : Places
        Where photographs may lie.
    result : Exported
    advance : callable
    """

    collection: Collection
    classes: Classes
    options: Mapping[str, Any]
    images: Places
    result: Exported
    advance: Advance

    def each(self, make: Callable[[ClassedPhotograph], T]) -> Iterator[T]:
        """What `make` gives for each photograph. One that fails is entered and left out.

        Raises
        ------
        ExportError
            All failed.
        """
        joined = bool(self.options.get("joined", False))
        for number, one in enumerate(self.collection.assignments(), 1):

            def work(number: int, one: Any) -> T:
                photo = classed_photograph(
                    self.collection, number, one, self.classes, joined=joined
                )
                return make(photo)

            made = attempt(partial(work, number, one), stop=(MissingExtraError,))
            if isinstance(made, Exception):
                said = fault_text(made, one.id)
                self.result.failed[one.id] = said
                self.advance(one.id, said)
                continue
            yield made
            self.result.photographs += 1
            self.advance(one.id, None)
        if not self.result.photographs:
            first = next(iter(self.result.failed.values()), "the collection has no photographs")
            raise ExportError(f"no photograph can be written: {first}")


def export_collection(
    collection: Collection,
    to: str,
    out: str | Path,
    *,
    images: Sequence[str | Path] = (),
    overwrite: bool = False,
    advance: Advance = lambda photo, said: None,
    **options: Any,
) -> Exported:
    """Write the photographs of a collection with their names.

    Parameters
    ----------
    collection
    to
        A name in :data:`FORMATS`.
    out
        The file or the folder to write.
    images
        For a format with photographs in it: files, or folders to search first.
    overwrite
        Whether an earlier data set of the same format is replaced.
    advance
        Called after each photograph. It may raise an exception, which ends the work. Nothing is
        written then.
    **options
        Options of the format: see :mod:`regiontree.collection.exportoptions`.

    Raises
    ------
    ExportError
        There is no such format or option, a value is wrong, no category has a name, something else
        is in the way, or no photograph can be written.
    CollectionError
        The collection or its table of names is damaged.
    StoreError
        The trees are no longer where they were.
    MissingExtraError
        The format needs a package that is not installed.

    Examples
    --------
    >>> collection.export("training", "data", link=True)          # doctest: +SKIP
    >>> collection.export("coco", "named.json", n_categories=27)  # doctest: +SKIP
    """
    form, path = _format(to), Path(out)
    used = checked_options(form, options)
    n_categories = used.get("n_categories")
    if n_categories is not None:
        classes = cut_classes(collection.tree, collection.names, n_categories)
    else:
        classes = named_classes(collection.names)
        if not classes.names:
            raise ExportError(
                f"{collection.folder}: no category has a name; write names into collection.csv, or "
                "write the cut into N categories with --categories N"
            )
    if images and not form.has_photographs:
        users = ", ".join(name for name, one in FORMATS.items() if one.has_photographs)
        raise ExportError(f"{to} ({form.what}) does not use images; formats that do: {users}")
    for one in [path, path.with_suffix(form.beside)] if form.beside else [path]:
        is_empty = one.is_dir() and not any(one.iterdir())
        if one.exists() and not is_empty and not overwrite:
            raise ExportError(f"{one}: exists; choose another name or pass --overwrite")
    if form.suffix and (path.suffix.lower() != form.suffix or path.is_dir()):
        raise ExportError(f"{path}: {to} writes a file; name one that ends in {form.suffix}")
    if not form.suffix and path.is_file():
        raise ExportError(f"{path}: is a file; {to} writes a folder")
    require_writable(path.parent, ExportError, file=path)
    _ = collection.forest  # that trees which are gone are told before anything is written
    write = cast(Callable[[Job, Path], None], load_address(form.write))
    result = Exported(path, classes.names)
    try:
        write(Job(collection, classes, used, Places.of(images), result, advance), path)
    except OSError as error:
        raise ExportError(f"{path}: cannot be written ({reason(error)})") from error
    return result


def checked_options(form: CollectionFormat, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a format after a check, without those that are None.

    Raises
    ------
    ExportError
        The format has no such option, or a value is wrong.
    """
    keys = keys_of(form.options)
    for name in given:
        if name not in keys:
            raise ExportError(
                f"{form.name} of a collection has no option {name!r}{nearest_name(name, keys)} It "
                f"has {', '.join(keys)}"
            )
    return built_options(form.options, form.name, given)


def _format(name: str) -> CollectionFormat:
    if name not in FORMATS:
        hint = nearest_name(name, FORMATS, cutoff=0.0)
        raise ExportError(
            f"a collection has no format {name!r}{hint} There are {', '.join(FORMATS)}"
        )
    return FORMATS[name]
