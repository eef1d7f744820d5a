"""Photographs and their regions as a data set of FiftyOne, in FiftyOne's own database.

A sample is a photograph. Its field ``regions`` has a ``Detection`` for each node: a box, a mask cut
to the box, and the place in the tree:

================ =================================================================================
field            meaning
================ =================================================================================
label            name of its category, or ``region``
confidence       how like its category it is, 0 to 1; null without a category
node, parent     its number in its tree, and that of its parent
parent_id        id of the smallest written Detection around it; null if there is none
level            depth, 0 at the root
height, ncut     as in the tree
parent_height    height of its parent
area             pixels
stop             why it was not divided; ``inner`` if it was
stability        as in the tree, 0 to 1; null if the tree has none
first_cut        the cuts into at most n regions show it from this n on
last_cut         and up to this n; null for a leaf
is_finest        whether no written node lies in it
natural          whether the natural cut shows it
================ =================================================================================

So a cut is a filter of the detections: at height h, those with height <= h < parent_height. See
:func:`cut_view`. A cut that is finer than what was written shows the finest nodes that were.

MongoDB takes documents of 16 MB, and a sample is a document. Small masks lie in it. Masks of many
pixels are PNG files, to which it points.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from regiontree._version import __version__
from regiontree.errors import ExportError, MissingExtraError
from regiontree.export.coco import chosen_nodes, nodes_around
from regiontree.export.graph import node_attributes
from regiontree.forest.pictures import Picture
from regiontree.system.extras import optional
from regiontree.system.faults import attempt, fault_text
from regiontree.system.paths import fitted_name
from regiontree.tree import RegionTree
from regiontree.tree.cuts import cut_criterion, shown_range
from regiontree.tree.kernel import division_order, preorder

__all__ = ["Advance", "Photo", "cut_view", "make_dataset", "require_fiftyone"]

Advance = Callable[[str, str | None], None]
"""Called with the id of each photograph, and why it was left out or None."""

_IN_DATABASE = 1 << 25  # most pixels of the masks of a sample that lie in the database
_DOCUMENT = 16_000_000  # bytes; MongoDB takes 16 MiB
_DETECTION = 300  # bytes at least
_AT_ONCE = 16  # samples in memory
_VIEWS = (2, 4, 8, 16, 32, 64, 128)
_KEY = "regiontree"  # of what the data set says of its origin


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A photograph with its tree.

    Attributes
    ----------
    id : str
    tree : RegionTree
    picture : Picture
    labels : callable or None
        Gives for some nodes the name of each, or None, and how like its category each is.
    """

    id: str
    tree: RegionTree
    picture: Picture
    labels: Callable[[NDArray[np.int64]], tuple[list[str | None], list[float]]] | None = None


@dataclass(slots=True)
class _Work:
    """What is the same for all samples."""

    fo: Any
    label_field: str
    folder: Path
    choice: dict[str, Any]
    failed: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)


def make_dataset(
    photographs: Iterator[tuple[str, Callable[[], Photo]]],
    name: str | None,
    *,
    folder: str | Path | None,
    label_field: str,
    choice: dict[str, Any],
    classes: Sequence[str] = (),
    overwrite: bool = False,
    advance: Advance = lambda photo, said: None,
) -> Any:
    """A data set of FiftyOne. See :func:`regiontree.to_fiftyone`.

    Parameters
    ----------
    photographs
        The id of each photograph, and a function that opens it.
    choice
        The nodes: keyword arguments of :func:`regiontree.export.coco.chosen_nodes`.
    classes
        Names of the categories.
    """
    fo = require_fiftyone()
    if name is not None and fo.dataset_exists(name) and not overwrite:
        raise ExportError(
            f"FiftyOne has a data set {name!r}; choose another name or pass overwrite=True"
        )
    dataset = fo.Dataset()
    place = Path(folder if folder is not None else fo.config.default_dataset_dir)
    place = place.expanduser().absolute()
    work = _Work(fo, label_field, place / f"regiontree-{secrets.token_hex(6)}", choice)
    try:
        _declare(fo, dataset, label_field)
        count = _fill(dataset, photographs, work, advance)
        if not count:
            first = next(iter(work.failed.values()), "there are no trees")
            raise ExportError(f"no photograph can be written: {first}")
        dataset.info = {
            _KEY: {"version": __version__, "folder": str(work.folder)},
            "failed": work.failed,
        }
        if classes:
            dataset.classes = {label_field: list(classes)}
        # Regions would all have the colour of their field.
        colours = fo.ColorScheme(color_by="value" if classes else "instance")
        dataset.app_config.color_scheme = colours
        _save_views(dataset, label_field, choice)
        if name is not None:
            if fo.dataset_exists(name):
                _remove(fo, name, place)
            dataset.name = name
        dataset.persistent = True
    except BaseException:
        dataset.delete()
        shutil.rmtree(work.folder, ignore_errors=True)
        raise
    return dataset


def cut_view(
    samples: Any,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    label_field: str = "regions",
) -> Any:
    """The regions of one cut, as a view of FiftyOne. Cuts are those of :meth:`RegionTree.cut`.

    Parameters
    ----------
    samples
        A data set from :func:`regiontree.to_fiftyone`, or a view of it.
    n_regions, height, depth
        The cut. Without one, the natural cut of each photograph.
    label_field
        The field of the regions.

    Returns
    -------
    fiftyone.DatasetView

    Raises
    ------
    TreeError
        More than one criterion, or a value that is not a number or too low.
    MissingExtraError
        FiftyOne is not installed, or is too old.

    Examples
    --------
    >>> cut_view(dataset, height=0.4)     # doctest: +SKIP
    """
    F = require_fiftyone().ViewField
    given = {"n_regions": n_regions, "height": height, "depth": depth}
    if all(one is None for one in given.values()):
        # A bare field is refused by FiftyOne when it loads a saved view.
        return samples.filter_labels(label_field, F("natural") == True, only_matches=False)  # noqa: E712
    criterion, value = cut_criterion(0.0, **given)
    is_finest = F("is_finest")
    if criterion == "n_regions":
        shown = (F("first_cut") <= value) & ((F("last_cut") >= value) | is_finest)
    elif criterion == "height":
        limit = _decimal(np.float32(min(value, float(np.finfo(np.float32).max))))
        shown = (F("parent_height") > limit) & ((F("height") <= limit) | is_finest)
    else:
        shown = (F("level") == value) | ((F("level") < value) & is_finest)
    return samples.filter_labels(label_field, shown, only_matches=False)


def require_fiftyone() -> Any:
    """FiftyOne, imported.

    Raises
    ------
    MissingExtraError
        It is not installed, or is too old.
    """
    return optional("fiftyone", "fiftyone", "FiftyOne's data sets need")


# -- samples --------------------------------------------------------------------------------------


def _fill(
    dataset: Any,
    photographs: Iterator[tuple[str, Callable[[], Photo]]],
    work: _Work,
    advance: Advance,
) -> int:
    """Add the samples, a few at a time. The result is their number."""
    count, waiting = 0, []
    for key, opened in photographs:
        made = attempt(partial(_sample_of, opened, work), stop=(MissingExtraError,))
        if isinstance(made, Exception):
            said = work.failed[key] = fault_text(made, key)
            advance(key, said)
            continue
        waiting.append(made)
        count += 1
        if len(waiting) == _AT_ONCE:
            dataset.add_samples(waiting, progress=False)
            waiting = []
        advance(key, None)
    if waiting:
        dataset.add_samples(waiting, progress=False)
    return count


def _sample_of(opened: Callable[[], Photo], work: _Work) -> Any:
    """The sample of a photograph. Its files are written if all is well."""
    from bson import encode

    photo = opened()
    tree, fo = photo.tree, work.fo
    nodes = chosen_nodes(tree, **work.choice)
    _require_fits(len(nodes), len(nodes) * _DETECTION)
    masks = _Masks(tree)
    stem = _free(photo.id, work.taken)
    in_files = sum(masks.pixels(node) for node in nodes) > _IN_DATABASE
    folder = work.folder / "masks" / stem
    detections = _detections(photo, nodes, masks, fo, folder if in_files else None)
    copy = None
    if isinstance(photo.picture.source, bytes):
        name = fitted_name(Path(stem).name, photo.picture.suffix)
        copy = work.folder / "data" / Path(stem).with_name(name)
    rows, columns = tree.shape
    sample = fo.Sample(
        filepath=str(copy or photo.picture.source),
        metadata=fo.ImageMetadata(width=columns, height=rows),
        photo=photo.id,
        **{work.label_field: fo.Detections(detections=detections)},
    )
    _require_fits(len(nodes), len(encode(sample.to_mongo_dict())))
    if copy is not None:
        photo.picture.write(copy, link=False)
    if in_files:
        folder.mkdir(parents=True)
        for node in nodes:
            Image.fromarray(masks.of(node).astype(np.uint8) * 255).save(folder / f"{node}.png")
    return sample


def _detections(
    photo: Photo, nodes: list[int], masks: _Masks, fo: Any, folder: Path | None
) -> list[Any]:
    """The detections of some nodes. Their masks are in the folder, if there is one."""
    tree = photo.tree
    rows, columns = tree.shape
    names: list[str | None] = [None] * len(nodes)
    scores = [0.0] * len(nodes)
    if photo.labels is not None:
        names, scores = photo.labels(np.array(nodes, np.int64))
    around = nodes_around(tree, nodes)
    places = _places(tree, nodes, around)
    found: dict[int, Any] = {}
    for node, name, score, place in zip(nodes, names, scores, places, strict=True):
        y, x = masks.boxes[node]
        own = (
            {"mask": masks.of(node)}
            if folder is None
            else {"mask_path": str(folder / f"{node}.png")}
        )
        found[node] = fo.Detection(
            label=name or "region",
            bounding_box=[
                x.start / columns,
                y.start / rows,
                (x.stop - x.start) / columns,
                (y.stop - y.start) / rows,
            ],
            confidence=None if name is None else score,
            **own,
            **place,
        )
    for node, one in found.items():
        one["parent_id"] = str(found[around[node]].id) if around[node] in found else None
    return list(found.values())


def _places(tree: RegionTree, nodes: list[int], around: list[int]) -> Iterator[dict[str, Any]]:
    """What is known of each node."""
    first, last = shown_range(tree.parents, division_order(tree.parents, tree.height))
    inner = {around[node] for node in nodes}
    natural = np.float32(tree.meta.get("natural_height", 0.0))
    for node in nodes:
        known = node_attributes(tree, node)
        known.setdefault("stability", None)
        parent = int(tree.parents[node])
        is_finest = node not in inner
        is_shown = bool(tree.height[parent] > natural >= tree.height[node])
        yield {
            "node": node,
            "parent": parent,
            **known,
            "parent_height": _decimal(tree.height[parent]),
            "first_cut": int(first[node]),
            "last_cut": None if node < tree.n_leaves else int(last[node]),
            "is_finest": is_finest,
            "natural": is_shown or (is_finest and bool(tree.height[parent] > natural)),
        }


class _Masks:
    """Boxes of all nodes, and the masks in them."""

    def __init__(self, tree: RegionTree) -> None:
        self._labels = tree.labels
        self._walk = preorder(tree.parents)
        leaves = find_objects(tree.labels + 1, tree.n_leaves)
        sides = np.empty((tree.n_nodes, 4), np.int64)  # top, left, bottom, right
        sides[:, :2], sides[:, 2:] = np.iinfo(np.int64).max, 0
        sides[: tree.n_leaves] = [(y.start, x.start, y.stop, x.stop) for y, x in leaves]
        for node in range(tree.root):  # children have lower numbers
            up = tree.parents[node]
            sides[up, :2] = np.minimum(sides[up, :2], sides[node, :2])
            sides[up, 2:] = np.maximum(sides[up, 2:], sides[node, 2:])
        self.boxes = [
            (slice(top, bottom), slice(left, right)) for top, left, bottom, right in sides.tolist()
        ]

    def pixels(self, node: int) -> int:
        """Pixels of the box of a node."""
        y, x = self.boxes[node]
        return int((y.stop - y.start) * (x.stop - x.start))

    def of(self, node: int) -> NDArray[np.bool_]:
        """The mask of a node in its box."""
        return self._walk.holds(node, self._labels[self.boxes[node]])


def _require_fits(count: int, size: int) -> None:
    """Check that the database takes a sample of so many regions and bytes.

    Raises
    ------
    ExportError
        It is too large.
    """
    if size > _DOCUMENT:
        raise ExportError(
            f"{count:,} regions make a document of more than 16 MB, which FiftyOne's database does "
            "not take; write fewer, for example with n_regions=1000"
        )


def _free(key: str, taken: set[str]) -> str:
    """A path for the files of a photograph that no other has."""
    parts = [part for part in key.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    path = "/".join(fitted_name(part, "") for part in parts) or "photo"
    found, number = path, 1
    while found.casefold() in taken:
        number += 1
        found = f"{path}~{number}"
    taken.add(found.casefold())
    return found


# -- the data set ---------------------------------------------------------------------------------


def _declare(fo: Any, dataset: Any, label_field: str) -> None:
    """The types of all fields, so that the App lists and filters them."""
    dataset.add_sample_field("photo", fo.StringField)
    dataset.add_sample_field(label_field, fo.EmbeddedDocumentField, embedded_doc_type=fo.Detections)
    kinds = {
        fo.IntField: ("node", "parent", "level", "area", "first_cut", "last_cut"),
        fo.FloatField: ("height", "parent_height", "ncut", "stability"),
        fo.StringField: ("parent_id", "stop"),
        fo.BooleanField: ("is_finest", "natural"),
    }
    for kind, names in kinds.items():
        for name in names:
            dataset.add_sample_field(f"{label_field}.detections.{name}", kind)


def _save_views(dataset: Any, label_field: str, choice: dict[str, Any]) -> None:
    """Views of cuts by numbers of regions, and of the natural cut."""
    if choice.get("salient") is not None:
        return
    most = choice.get("n_regions") or max(_VIEWS)
    dataset.save_view("natural cut", cut_view(dataset, label_field=label_field))
    for count in (one for one in _VIEWS if one <= most):
        view = cut_view(dataset, n_regions=count, label_field=label_field)
        dataset.save_view(f"{count} regions", view)


def _remove(fo: Any, name: str, place: Path) -> None:
    """Delete a data set, and the files that were made for it here."""
    old = fo.load_dataset(name)
    about = (old.info or {}).get(_KEY)
    made = about.get("folder") if isinstance(about, dict) else None
    old.delete()
    if made and Path(made).parent == place and Path(made).name.startswith("regiontree-"):
        shutil.rmtree(made, ignore_errors=True)


def _decimal(height: Any) -> float:
    """The shortest decimal that is the same 32-bit number, as in :func:`node_attributes`."""
    return float(str(np.float32(height)))
