"""From trees to a collection: gather regions, find categories, give every node its prototype.

1. *Gather.* Regions of every tree are written with their descriptors, some photographs a file.
2. *Learn.* Regions stream by: for their mean and covariance, then for the prototypes. A builder of
   :mod:`regiontree.hierarchy` makes the tree of categories.
3. *Assign.* Every node of every photograph gets the nearest prototype.

What is written is not made again, so an interrupted command goes on where it was. The categories
depend only on the trees, their order and the settings. Photographs that are added later are
assigned to the categories that there are.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.collection.files import CollectionFiles, Part
from regiontree.collection.projection import Moments, Projection
from regiontree.collection.prototypes import (
    Prototypes,
    Weighted,
    find_prototypes,
    nearest_prototypes,
)
from regiontree.collection.regions import (
    regions_of,
    shares_of,
    viewed_nodes,
    viewed_regions,
)
from regiontree.collection.settings import CollectionSettings
from regiontree.errors import CollectionError
from regiontree.forest.forest import Forest
from regiontree.forest.row import Row
from regiontree.system.stages import values_of
from regiontree.tree import RegionTree
from regiontree.tree.cuts import shown_range
from regiontree.tree.kernel import division_order
from regiontree.tree.nodata import no_data_nodes

__all__ = [
    "Discovery",
    "discover",
    "facts_of",
    "learn",
    "load_model",
    "require_alike",
    "settings_of",
]

_AT_ONCE = 256  # photographs of a part
_MODEL = {"mean", "axes", "start", "centres", "weight", "count"}

Advance = Callable[[str, int, str | None], None]
"""Called with the stage, the photographs that it has done, and what is wrong with the last one."""
Bools = NDArray[np.bool_]
_Described = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""A photograph and its arrays in a part."""


@dataclass(slots=True)
class Discovery:
    """What a call of :func:`discover` did.

    Attributes
    ----------
    photographs : int
        Photographs of the collection now.
    new : int
        Those that this call added.
    regions, prototypes : int
        Regions and prototypes of the collection.
    failed : dict of str to str
        Ids of trees that could not be used, and why.
    waiting : int
        Trees of the source that are not in the collection, because it is finished and `add` is
        False.
    """

    photographs: int = 0
    new: int = 0
    regions: int = 0
    prototypes: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    waiting: int = 0


def discover(
    source: str | Path | Forest,
    out: str | Path,
    settings: CollectionSettings | None = None,
    *,
    add: bool = False,
    advance: Advance = lambda stage, done, said: None,
) -> Discovery:
    """Make the collection of some trees, go on with it, or add photographs to it.

    Parameters
    ----------
    source
        A store, a folder of ``.npz`` trees, or a forest.
    out
        Folder of the collection.
    settings
        None: those of the collection that stands there, else the defaults.
    add
        Whether photographs join a collection that is finished. Its categories stay as they are.
        Only one process adds photographs at a time; others wait.
    advance
        Called after each photograph. It may raise an exception, which ends the work.

    Raises
    ------
    CollectionError
        The collection has other settings, the trees were not made alike, no tree can be used, or
        the folder cannot be written.
    StoreError
        The source is no store and no folder of trees.
    """
    forest = source if isinstance(source, Forest) else Forest(source)
    files = CollectionFiles(out)
    with files.alone():
        return _discovered(forest, files, settings, add, advance)


def _discovered(
    forest: Forest,
    files: CollectionFiles,
    settings: CollectionSettings | None,
    add: bool,
    advance: Advance,
) -> Discovery:
    result = Discovery()
    settings = _begun(files, forest, settings)
    if not files.has_model:
        _gather(forest, files, settings, result, advance)
        learn(files, settings)
    elif add:
        _gather(forest, files, settings, result, advance)
    known = files.ids("regions")
    if not add:
        result.waiting = sum(key not in known for key in forest)
    model = load_model(files)
    _assign(forest, files, settings, model, known, result, advance)
    result.photographs = len(files.ids("photographs"))
    result.regions = sum(int(part.start[-1]) for part in files.read_parts("regions", set()))
    result.prototypes = len(model[1].weight)
    return result


def _begun(
    files: CollectionFiles, forest: Forest, settings: CollectionSettings | None
) -> CollectionSettings:
    """The settings of the collection, which is begun if it does not exist."""
    if not files.exists:
        settings = settings or CollectionSettings()
        here = Path(forest.address)
        source = str(here.resolve()) if here.exists() else forest.address
        software = f"regiontree {__version__}"
        files.write_about({"software": software, "source": source, "settings": values_of(settings)})
        return settings
    recorded = settings_of(files.read_about())
    if settings is not None and settings != recorded:
        old, new = values_of(recorded), values_of(settings)
        name = next(name for name in new if new[name] != old[name])
        raise CollectionError(
            f"{files.folder}: was made with {name}={old[name]}, now {name}={new[name]}; choose "
            "another folder, or leave the setting out"
        )
    return recorded


def settings_of(about: Mapping[str, Any]) -> CollectionSettings:
    """The settings that a collection records.

    Raises
    ------
    CollectionError
        They are not those of this program.
    """
    given = about.get("settings")
    usual = CollectionSettings()
    if not isinstance(given, dict) or given.keys() != values_of(usual).keys():
        raise CollectionError("the settings of the collection are not those of this program")
    own = {one.name for one in fields(usual)} - {"tree"}
    tree = {name: value for name, value in given.items() if name not in own}
    return replace(usual, tree=replace(usual.tree, **tree), **{name: given[name] for name in own})


# -- gather ---------------------------------------------------------------------------------------


def facts_of(tree: RegionTree, kind: str, blocks: list[int]) -> dict[str, Any]:
    """What trees must have in common so that their descriptors can be compared."""
    backbone = tree.meta.get("backbone") or {}
    settings = tree.meta.get("settings") or {}
    shown = {"name": backbone.get("name"), "sha256": backbone.get("sha256"), "blocks": blocks}
    if kind != "token":
        for fact, names in _EMBEDDED.items():
            shown[fact] = json.dumps({name: settings.get(name) for name in names})
    return shown


def _gather(
    forest: Forest,
    files: CollectionFiles,
    settings: CollectionSettings,
    result: Discovery,
    advance: Advance,
) -> None:
    known = files.ids("regions")
    about = files.read_about()
    waiting: list[_Described] = []
    within = np.zeros(())  # of the photographs that wait
    for done, (row, said) in enumerate(_trees(forest, known), start=1):
        if said is None and row.tree is not None:
            try:
                regions = regions_of(row.tree, settings.regions, settings.descriptor)
                facts = facts_of(row.tree, settings.descriptor, regions.blocks)
                if about.get("trees") is None:
                    about["trees"] = {**facts, "first": row.id}
                    files.write_about(about)
                require_alike(about["trees"], facts)
                with np.errstate(over="ignore"):
                    values = regions.values.astype(np.float16)
                arrays: dict[str, NDArray[Any]] = {
                    "nodes": regions.nodes,
                    "share": regions.share,
                    "values": values,
                }
                waiting.append((_photograph(row), arrays))
                within = within + regions.within
                result.new += 1
            except CollectionError as error:
                said = str(error)
        if said is not None:
            result.failed[row.id] = said
        if len(waiting) == _AT_ONCE:
            _write(files, "regions", waiting, within=within.astype(np.float32))
            within = np.zeros(())
        advance("regions", done, said)
    _write(files, "regions", waiting, within=within.astype(np.float32))
    if not files.parts("regions"):
        said = next(iter(result.failed.values()), "it holds no trees")
        raise CollectionError(f"{forest.address}: no tree can be used: {said}")


def _trees(forest: Forest, known: set[str]) -> Iterator[tuple[Row, str | None]]:
    """Rows with a tree whose ids are not known, each with what is wrong with it."""

    def wanted(ids: list[str], failed: Bools) -> Bools:
        new: Bools = np.array([key not in known for key in ids], bool)
        return ~failed & new

    for row, is_damaged in forest.rows_and_damage(wanted):
        yield row, row.error if is_damaged else None


def _write(
    files: CollectionFiles, kind: str, waiting: list[_Described], **whole: NDArray[Any]
) -> None:
    """Write a part, if there is something to write, and forget what it holds.

    `whole` are arrays of the part as a whole.
    """
    if waiting:
        part = Part.joined([one for one, _ in waiting], [own for _, own in waiting])
        files.add_part(kind, replace(part, whole=whole))
        waiting.clear()


def _photograph(row: Row) -> dict[str, Any]:
    assert row.tree is not None
    size = list(row.tree.shape)
    return {"id": row.id, "reference": row.reference, "sha256": row.sha256, "size": size}


def require_alike(known: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Refuse a tree whose facts are not those of the collection's first tree.

    Raises
    ------
    CollectionError
        They differ.
    """
    for name, value in facts.items():
        if known.get(name) != value:
            raise CollectionError(
                f"its tree was made with another {_WORDS[name]} than that of {known['first']!r} "
                f"({value} instead of {known.get(name)}); make all trees alike"
            )


_WORDS = {
    "name": "network",
    "sha256": "state of the network",
    "blocks": "length of descriptors",
    "features": "kind of features",
    "smooth": "smoothing",
}
# Settings that decide what the numbers of an embedding mean.
_EMBEDDED = {"features": ("facet", "layers"), "smooth": ("smoothing", "contrast")}


# -- learn ----------------------------------------------------------------------------------------


def learn(files: CollectionFiles, settings: CollectionSettings) -> None:
    """Find projection, prototypes and the tree of categories of the regions, and write them."""
    blocks = files.read_about()["trees"]["blocks"]
    moments, n_regions, within = Moments([*blocks, *blocks]), 0, np.zeros(())
    for part in files.read_parts("regions", {"values", "share"}, {"within"}):
        moments.add(viewed_regions(part), part.arrays["share"])
        n_regions += int(part.start[-1])
        within = within + part.whole["within"].astype(np.float64)
    noise = matrices_of(within, blocks)
    projection = moments.projection(settings.dimensions, settings.whitening, [*noise, *noise])

    def regions() -> Iterator[Weighted]:
        for part in files.read_parts("regions", {"values", "share"}):
            yield projection(viewed_regions(part)), part.arrays["share"]

    prototypes = find_prototypes(
        regions,
        n_regions,
        settings.prototypes,
        sample=settings.sample,
        passes=settings.passes,
        seed=settings.seed,
    )
    categories_of(prototypes, settings).save(files.categories)
    files.write_model({**asdict(projection), **asdict(prototypes)})


def matrices_of(flat: NDArray[np.float64], blocks: Sequence[int]) -> list[NDArray[np.float64]]:
    """Square matrices that stand one after the other, as in a part's ``within``."""
    places = np.cumsum([length**2 for length in blocks])[:-1]
    own = np.split(flat, places)
    return [one.reshape(length, length) for one, length in zip(own, blocks, strict=True)]


def categories_of(prototypes: Prototypes, settings: CollectionSettings) -> RegionTree:
    """The tree of categories: a region tree whose K pixels are the prototypes."""
    hierarchy = settings.tree.build(prototypes.graph(), seed=settings.seed)
    return RegionTree(
        labels=hierarchy.leaf_of_part[None].astype(np.int32),
        parents=hierarchy.parents,
        height=hierarchy.height,
        ncut=hierarchy.ncut,
        stop=hierarchy.stop,
        meta={"natural_height": settings.tree.natural_height},
    )


def load_model(files: CollectionFiles) -> tuple[Projection, Prototypes]:
    """Projection and prototypes of a collection.

    Raises
    ------
    CollectionError
        The collection is not finished, or the file is damaged.
    """
    found = files.read_model(_MODEL)
    if found.keys() != _MODEL:
        raise CollectionError(f"{files.folder}: its model is damaged")
    own = {name: np.array(array) for name, array in found.items()}  # that torch may write to
    return Projection(own["mean"], own["axes"], own["start"]), Prototypes(
        own["centres"], own["weight"], own["count"]
    )


# -- assign ---------------------------------------------------------------------------------------


def _assign(
    forest: Forest,
    files: CollectionFiles,
    settings: CollectionSettings,
    model: tuple[Projection, Prototypes],
    gathered: set[str],
    result: Discovery,
    advance: Advance,
) -> None:
    done = files.ids("photographs")
    missing = gathered - done
    if not missing:
        return
    waiting: list[_Described] = []
    count = 0
    for row, _ in _trees(forest, done):
        if row.id not in missing or row.tree is None:
            continue
        try:
            arrays = _assigned(row.tree, *model, settings)
            waiting.append((_photograph(row), arrays))
        except CollectionError as error:
            result.failed[row.id] = str(error)
        if len(waiting) == _AT_ONCE:
            _write(files, "photographs", waiting)
        count += 1
        advance("categories", count, None)
    _write(files, "photographs", waiting)


def _assigned(
    tree: RegionTree, projection: Projection, prototypes: Prototypes, settings: CollectionSettings
) -> dict[str, NDArray[Any]]:
    """What the collection knows of every node of a tree; its prototype is -1 without data."""
    rows = projection(viewed_nodes(tree, settings.regions, settings.descriptor))
    nearest, likeness = nearest_prototypes(rows, prototypes.centres)
    nearest[no_data_nodes(tree.stop)] = -1
    first, last = shown_range(tree.parents, division_order(tree.parents, tree.height))
    most = np.iinfo(np.uint16).max
    return {
        "prototype": nearest,
        "likeness": likeness.astype(np.float16),
        "share": shares_of(tree).astype(np.float32),
        "first": np.minimum(first, most).astype(np.uint16),
        "last": np.minimum(last, most).astype(np.uint16),
    }
