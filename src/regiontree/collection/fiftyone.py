"""Trees, or a collection with its names, as a data set of FiftyOne: see :func:`to_fiftyone`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.assigned import Assigned
from regiontree.collection.classes import Classes, cut_classes, named_classes
from regiontree.collection.collection import Collection
from regiontree.collection.files import CollectionFiles
from regiontree.collection.pictures import picture_of
from regiontree.errors import ExportError
from regiontree.export.coco import PIXEL, chosen_nodes
from regiontree.export.fiftyone import Advance, Photo, make_dataset, require_fiftyone
from regiontree.export.plan import Job, plan_of
from regiontree.forest.finding import Places, require_images
from regiontree.forest.pictures import picture_of_source
from regiontree.forest.sources import open_source

__all__ = ["to_fiftyone"]

_REGIONS = 64  # of the finest cut, unless the user says another


def to_fiftyone(
    source: str | Path | Sequence[str | Path] | Collection,
    name: str | None = None,
    *,
    images: Sequence[str | Path] = (),
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    salient: int | None = None,
    n_categories: int | None = None,
    label_field: str = "regions",
    folder: str | Path | None = None,
    overwrite: bool = False,
    advance: Advance = lambda photo, said: None,
) -> Any:
    """A data set of FiftyOne: one sample a photograph, one ``Detection`` a node of its tree.

    The fields of a detection, and how cuts are views, are told in
    :mod:`regiontree.export.fiftyone`. The data set has saved views of the cuts into 2, 4, 8 and so
    on regions, and of the natural cut. It is persistent, and gets its name when it is complete.

    Parameters
    ----------
    source
        Tree files, folders of trees or stores, or one collection: then regions have the names of
        their categories.
    name
        Name of the data set. None: FiftyOne chooses one.
    images
        Where photographs lie: files, or folders to search first.
    n_regions, height, depth, contrast
        The finest cut. Its regions and all nodes above them are written, except the root. Without
        one, the cut into 64 regions.
    salient
        Instead, that many nodes, the most salient first. There are no saved views then.
    n_categories
        Of a collection: the cut into so many categories, instead of names.
    label_field
        The field of the detections.
    folder
        Where files are written: masks of many pixels, and copies of photographs that FiftyOne
        cannot show as they are. None: FiftyOne's folder of data sets.
    overwrite
        Whether a data set of that name is replaced.
    advance
        Called after each photograph with its id, and why it was left out or None. It may raise an
        exception, which ends the work. No data set remains then.

    Returns
    -------
    fiftyone.Dataset
        Its ``info["failed"]`` says which photographs were left out, and why.

    Raises
    ------
    ExportError
        The data set exists, an option is wrong, or no photograph can be written.
    CollectionError, StoreError
        The collection or the store cannot be read.
    TreeError
        A cut with two criteria or a wrong value.
    MissingExtraError
        FiftyOne is not installed, or is too old.

    Examples
    --------
    >>> from regiontree.export.fiftyone import cut_view            # doctest: +SKIP
    >>> dataset = regiontree.to_fiftyone("trees", "holiday")       # doctest: +SKIP
    >>> fiftyone.launch_app(cut_view(dataset, n_regions=8))        # doctest: +SKIP
    """
    require_fiftyone()
    cut: dict[str, Any] = {
        "n_regions": n_regions, "height": height, "depth": depth, "contrast": contrast,
    }  # fmt: skip
    if salient is None and all(one is None for one in cut.values()):
        cut["n_regions"] = _REGIONS
    choice = {**cut, "salient": salient, "all_nodes": salient is None}
    chosen_nodes(PIXEL, **choice)
    require_images(images)
    places = Places.of(images)
    collection = _collection(source)
    classes: Classes | None = None
    if collection is not None:
        classes = named_classes(collection.names)
        if n_categories is not None:
            classes = cut_classes(collection.tree, collection.names, n_categories)
        photographs = _of_collection(collection, classes, places)
    elif n_categories is not None:
        raise ExportError("n_categories is for a collection, a folder that discover made")
    else:
        given = [source] if isinstance(source, str | Path) else source
        assert not isinstance(given, Collection)
        plan = plan_of(given)
        photographs = ((job.name, partial(_photo_of_tree, job, places)) for job in plan)
    return make_dataset(
        photographs,
        name,
        folder=folder,
        label_field=label_field,
        choice=choice,
        classes=[] if classes is None else classes.names,
        overwrite=overwrite,
        advance=advance,
    )


def _collection(source: Any) -> Collection | None:
    """The collection that a source is; None if it is trees."""
    if isinstance(source, Collection):
        return source
    if isinstance(source, str | Path) and CollectionFiles(source).exists:
        return Collection.load(source)
    return None


def _photo_of_tree(job: Job, places: Places) -> Photo:
    source = open_source(job.tree, images=places)
    return Photo(job.name, source.tree, picture_of_source(source))


def _of_collection(
    collection: Collection, classes: Classes, places: Places
) -> Iterator[tuple[str, Callable[[], Photo]]]:
    """The photographs of a collection."""
    address = collection.forest.address

    def photo(one: Assigned) -> Photo:
        row, tree = collection.row_of(one.id, one.prototype)

        def labels(nodes: NDArray[np.int64]) -> tuple[list[str | None], list[float]]:
            numbers = collection.classes_of(one.id, nodes, one.prototype[nodes], classes)
            likeness = np.clip(one.likeness[nodes].astype(np.float64), 0, 1)
            likeness[[(one.id, node) in collection.names.moved for node in nodes.tolist()]] = 1
            names = [classes.names[i] if i >= 0 else None for i in numbers.tolist()]
            return names, [round(score, 4) for score in likeness.tolist()]

        return Photo(one.id, tree, picture_of(row, tree, address, places), labels)

    for one in collection.assignments():
        yield one.id, partial(photo, one)
