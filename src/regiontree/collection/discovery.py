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

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.collection.files import CollectionFiles, Part
from regiontree.collection.model import load_model, settings_of
from regiontree.collection.projection import Moments
from regiontree.collection.prototypes import Prototypes, Weighted, find_prototypes
from regiontree.collection.regions import viewed_regions
from regiontree.collection.settings import CollectionSettings
from regiontree.collection.treework import (
    TreeWork,
    assign_work,
    first_facts,
    gather_work,
    parts_joined,
)
from regiontree.engines.pieces import WorkPlan
from regiontree.errors import CollectionError
from regiontree.forest.forest import Forest
from regiontree.system.stages import values_of
from regiontree.tree import RegionTree

__all__ = ["Discovery", "discover", "learn"]

_STAGES = {"regions": "regions", "photographs": "categories"}  # of the parts of each kind

Advance = Callable[[str, int, str | None], None]
"""Called with the stage, the photographs that it has done, and what is wrong with the last one."""


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
    plan: WorkPlan | None = None,
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
    plan
        Who does the work: this process, worker processes, or a Ray cluster. None: this process, and
        workers if there is much to do. The files do not depend on it.
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
        return _discovered(forest, files, settings, add, plan or WorkPlan(), advance)


def _discovered(
    forest: Forest,
    files: CollectionFiles,
    settings: CollectionSettings | None,
    add: bool,
    plan: WorkPlan,
    advance: Advance,
) -> Discovery:
    result = Discovery()
    settings = _begun(files, forest, settings)
    ids = list(forest)
    if not files.has_model:
        _gather(forest, files, settings, ids, plan, result, advance)
        learn(files, settings)
    elif add:
        # Only the new photographs have places, so that they do not make many small files.
        before = files.ids("photographs")
        ids = [key for key in ids if key not in before]
        _gather(forest, files, settings, ids, plan, result, advance)
    known = files.ids("regions")
    if not add:
        result.waiting = sum(key not in known for key in ids)
    _assign(forest, files, ids, known, plan, result, advance)
    result.photographs = len(files.ids("photographs"))
    result.regions = sum(int(part.start[-1]) for part in files.read_parts("regions", set()))
    result.prototypes = len(load_model(files)[1].weight)
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


# -- gather ---------------------------------------------------------------------------------------


def _gather(
    forest: Forest,
    files: CollectionFiles,
    settings: CollectionSettings,
    ids: Sequence[str],
    plan: WorkPlan,
    result: Discovery,
    advance: Advance,
) -> None:
    known = files.ids("regions")
    about = files.read_about()
    if about.get("trees") is None:
        about["trees"] = first_facts(forest, ids, settings)
        if about["trees"] is not None:
            files.write_about(about)
    # Without a tree that can be used, the work still says what is wrong with each.
    work = gather_work(forest, about["settings"], about["trees"] or {})
    for key, said in _written(work, files, "regions", ids, known, plan, advance):
        if said is None:
            result.new += 1
        else:
            result.failed[key] = said
    if not files.parts("regions"):
        said = next(iter(result.failed.values()), "it holds no trees")
        raise CollectionError(f"{forest.address}: no tree can be used: {said}")


def _assign(
    forest: Forest,
    files: CollectionFiles,
    ids: Sequence[str],
    gathered: set[str],
    plan: WorkPlan,
    result: Discovery,
    advance: Advance,
) -> None:
    done = files.ids("photographs")
    if not gathered - done:
        return
    skipped = {key for key in ids if key in done or key not in gathered}
    work = assign_work(forest, files, files.read_about()["settings"])
    for key, said in _written(work, files, "photographs", ids, skipped, plan, advance):
        if said is not None:
            result.failed[key] = said


def _written(
    work: TreeWork,
    files: CollectionFiles,
    kind: str,
    ids: Sequence[str],
    skipped: Collection[str],
    plan: WorkPlan,
    advance: Advance,
) -> Iterator[tuple[str, str | None]]:
    """Write the parts that work gives; each tree, and what is wrong with it."""
    waiting: list[Part] = []
    count = 0
    with closing(work.done(ids, skipped, plan, files)) as pieces:
        for said, part, is_end in pieces:
            for key, wrong in said:
                yield key, wrong
                count += 1
                advance(_STAGES[kind], count, wrong)
            if part is not None:
                waiting.append(part)
            if is_end:
                _write(files, kind, waiting)
    _write(files, kind, waiting)


def _write(files: CollectionFiles, kind: str, waiting: list[Part]) -> None:
    """Write a part, if there is something to write, and forget what it holds."""
    if waiting:
        part = parts_joined(waiting)
        whole = {name: array.astype(np.float32) for name, array in part.whole.items()}
        files.add_part(kind, replace(part, whole=whole))
        waiting.clear()


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
