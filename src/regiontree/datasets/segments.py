"""Read the segments of an image: its things told apart, its stuff, and the parts of either.

A mask of classes says what each pixel is. Files beside it tell things of the same class apart.
There are three formats, and the panoptic masks of COCO, which need no file beside them:

=========== =====================================================================================
``numbers`` each value is a segment (or R + 256 G + 65536 B of an RGB image). Its class is that of
            most of its pixels
``divided`` values from `divide` on are class * `divide` + instance. A smaller value is a class: a
            class of stuff is one segment, and a class of things is a crowd (Cityscapes)
``painted`` numbers of instances from 0 on, painted over the mask of classes. The class of an
            instance is the class of things that most of its pixels have. What is left of a class
            of stuff is one segment, what is left of a class of things is none (COCO-Stuff)
=========== =====================================================================================

Only classes that the label tree does not ignore, and that are no background, have segments. A part
is what one segment has of one value of the mask of parts. A part that is its whole segment is left
out, and so are parts of crowds.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regiontree.datasets import masks
from regiontree.datasets.labels import Kind, LabelTree
from regiontree.datasets.masks import Ids
from regiontree.datasets.spec import DatasetSpec, Instances, NumberedFiles
from regiontree.errors import ConfigError, DataError
from regiontree.metrics.segmentmap import SegmentMap

__all__ = ["read_segment_maps", "segment_files", "thing_ids"]


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """Segments without their kinds: which each pixel has (-1: none), their classes, crowds."""

    labels: Ids
    classes: NDArray[np.int32]
    crowd: NDArray[np.bool_]


def segment_files(spec: DatasetSpec, root: Path, sample: str) -> tuple[Path, ...]:
    """The files beside the masks that the segments of a sample are read from."""
    instances = spec.instances
    if instances is None:
        return ()
    beside = (instances.masks, instances.parts)
    return tuple(root / files.file(sample) for files in beside if files is not None)


def thing_ids(instances: Instances, labels: LabelTree) -> frozenset[int]:
    """The ids of the classes whose segments are things.

    Raises
    ------
    ConfigError
        The label tree has no class or group of a name, or no class of an id.
    """
    every = {label.id for label in labels.labels if label.kind == Kind.FOREGROUND}
    named: set[int] = set()
    for name in (*instances.things, *instances.stuff):
        ids = {one.id for one in labels.labels if name == one.id or name in one.path}
        if not ids:
            raise ConfigError(
                f"instances: {labels.name!r} has no class or group {name!r}; name one that it has"
            )
        named |= ids
    return frozenset(every & named if instances.things else every - named)


def read_segment_maps(
    spec: DatasetSpec, root: Path, labels: LabelTree, sample: str, mask: Path, classes: Ids
) -> tuple[SegmentMap, ...]:
    """The segments of a sample: one map of things and stuff, and one of parts if there are any.

    Parameters
    ----------
    spec : DatasetSpec
        With ``instances``.
    root : Path
        Folder of the data set's files.
    labels : LabelTree
    sample : str
        Id of the sample.
    mask : Path
        File of the mask of classes.
    classes : (H, W) int32
        The mask of classes.

    Raises
    ------
    DataError
        A file is missing, damaged or of another size than `classes`. The message names the file.
    ConfigError
        As for :func:`thing_ids`.
    """
    assert spec.instances is not None
    things = thing_ids(spec.instances, labels)
    known = {label.id for label in labels.labels if label.kind == Kind.FOREGROUND}
    found = _kept(_read(spec, root, things, known - things, sample, mask, classes), known)
    kinds = tuple("things" if c in things else "stuff" for c in found.classes.tolist())
    whole = SegmentMap(found.labels, kinds, found.crowd)
    if spec.instances.parts is None:
        return (whole,)
    parts = _beside(spec.instances.parts, root, sample, classes)
    return whole, _parts(found, parts, spec.instances.parts.void)


def _read(
    spec: DatasetSpec,
    root: Path,
    things: frozenset[int],
    stuff: set[int],
    sample: str,
    mask: Path,
    classes: Ids,
) -> _Found:
    """All segments, also those of ignored classes."""
    instances = spec.instances
    assert instances is not None
    if instances.masks is None:
        values = masks.read_numbers(mask)
        if spec.divide is not None:
            return _divided(values, spec.divide, (), things)
        assert spec.segments is not None  # DatasetSpec checks this
        crowds = masks.read_crowds(root / spec.segments).get(mask.stem, frozenset())
        return _numbered(values, classes, (0,), crowds)
    values = _beside(instances.masks, root, sample, classes)
    void = instances.masks.void
    if instances.divide is not None:
        return _divided(values, instances.divide, void, things)
    if instances.format == "painted":
        return _painted(values, classes, things, stuff)
    return _numbered(values, classes, void, frozenset())


def _beside(files: NumberedFiles, root: Path, sample: str, classes: Ids) -> Ids:
    """The values of a mask beside that of the classes, which has the same size."""
    path = root / files.file(sample)
    values = masks.read_numbers(path)
    if values.shape != classes.shape:
        sizes = [" x ".join(map(str, one.shape)) for one in (values, classes)]
        raise DataError(
            f"{path}: is {sizes[0]} pixels, but the mask of classes of {sample} is {sizes[1]}; "
            "they do not belong together"
        )
    return values


def _places(values: NDArray[np.integer], void: tuple[int, ...]) -> tuple[Ids, NDArray[np.int64]]:
    """Which of the values but the void ones each pixel has, -1 for none; and these values."""
    ids, place = np.unique(values, return_inverse=True)
    is_kept = ~np.isin(ids, void)
    new = np.where(is_kept, np.cumsum(is_kept) - 1, -1).astype(np.int32)
    return new[place].reshape(values.shape), ids[is_kept].astype(np.int64)


def _numbered(values: Ids, classes: Ids, void: tuple[int, ...], crowds: frozenset[int]) -> _Found:
    labels, numbers = _places(values, void)
    kinds, of = np.unique(classes, return_inverse=True)
    at = labels >= 0
    pairs = labels[at].astype(np.int64) * len(kinds) + of.reshape(classes.shape)[at]
    counts = np.bincount(pairs, minlength=len(numbers) * len(kinds))
    most = counts.reshape(len(numbers), len(kinds)).argmax(axis=1)
    return _Found(labels, kinds[most].astype(np.int32), np.isin(numbers, list(crowds)))


def _divided(values: Ids, divide: int, void: tuple[int, ...], things: frozenset[int]) -> _Found:
    labels, numbers = _places(values, void)
    is_class = numbers < divide
    classes = np.where(is_class, numbers, numbers // divide).astype(np.int32)
    return _Found(labels, classes, is_class & np.isin(classes, list(things)))


def _painted(values: Ids, classes: Ids, things: frozenset[int], stuff: set[int]) -> _Found:
    labels = np.full(values.shape, -1, np.int32)
    found: list[int] = []
    for value in np.unique(values).tolist():
        at = values == value
        own, count = np.unique(classes[at], return_counts=True)
        is_thing = np.isin(own, list(things))
        if value in own and value in stuff:  # what is left of a class of stuff
            kind, segment = value, at & (classes == value)
        elif not is_thing.any() or own.tolist() == [value]:  # what is left of a class of no stuff
            continue
        else:
            kind = int(own[is_thing][count[is_thing].argmax()])
            # Pixels of the class with this very number are left of that class, unless it is ours.
            segment = at if kind == value else at & (classes != value)
        labels[segment] = len(found)
        found.append(kind)
    return _Found(labels, np.array(found, np.int32), np.zeros(len(found), bool))


def _kept(found: _Found, known: set[int]) -> _Found:
    """The segments of known classes."""
    is_known = np.isin(found.classes, list(known))
    new = np.append(np.where(is_known, np.cumsum(is_known) - 1, -1), -1).astype(np.int32)
    return _Found(new[found.labels], found.classes[is_known], found.crowd[is_known])


def _parts(found: _Found, values: Ids, void: tuple[int, ...]) -> SegmentMap:
    """What each segment but the crowds has of each value, unless it is the whole segment."""
    owner = np.append(np.where(found.crowd, -1, np.arange(len(found.crowd))), -1)[found.labels]
    part, numbers = _places(values, void)
    pair = np.where((owner >= 0) & (part >= 0), owner * max(len(numbers), 1) + part, -1)
    ids, count = np.unique(pair, return_counts=True)
    area = np.bincount(owner[owner >= 0], minlength=max(len(found.crowd), 1))
    is_whole = count == area[ids // max(len(numbers), 1)]
    labels, left = _places(pair, (-1, *ids[is_whole].tolist()))
    return SegmentMap(labels, ("parts",) * len(left), np.zeros(len(left), bool))
