"""Score a collection's categories against the ground truth of a data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import DataError, RegionTreeError, SettingsError, check_numbers
from regiontree.experiments.matches import (
    absent_text,
    match_samples,
    nothing_scored,
    require_samples,
)
from regiontree.experiments.summary import Summary, Table
from regiontree.metrics import CategoryMetric, CategoryScores, Contingency, prototype_table
from regiontree.metrics.matching import AREA_NAMES
from regiontree.system.faults import attempt, fault_text

__all__ = [
    "DEFAULT_NAMES",
    "Categorised",
    "CategoryReport",
    "evaluate_categories",
    "parse_names",
    "photographs_of",
]

DEFAULT_NAMES = (10, 20, 50, 100)
"""Numbers of names that the tables show."""


class Categorised(Protocol):
    """Photographs whose pixels have prototypes, and nested categories of the prototypes."""

    @property
    def ids(self) -> Sequence[str]:
        """The photographs."""

    @property
    def n_prototypes(self) -> int:
        """The number of prototypes, K."""

    def prototype_map(self, id: str) -> NDArray[np.int32]:
        """The prototype of each pixel of a photograph, (H, W): 0 to K - 1, or -1 for none."""

    def division(self, n: int) -> NDArray[np.int32]:
        """The category of each prototype, (K,), in the cut into `n` categories, for n from 1 to K.

        ``division(n + 1)`` divides one category of ``division(n)``.
        """


@dataclass(frozen=True)
class CategoryReport(Summary):
    """The scores of one collection on one data set.

    Attributes
    ----------
    dataset, collection : str
    split : str or None
    labels : str
        Name of the label tree.
    prototypes : int
        Number of prototypes.
    results : mapping of int to CategoryScores
        The scores at each depth of the label tree, the finest first.
    without_truth : int
        Photographs of the collection that the data set has no ground truth for.
    absent : int
        Images of the data set that the collection lacks.
    failed : sequence of str
        One sentence for each image that has no scores, and one for all absent images.
    """

    dataset: str
    split: str | None
    collection: str
    labels: str
    prototypes: int
    results: Mapping[int, CategoryScores]
    without_truth: int
    absent: int
    failed: Sequence[str]

    def headline(self) -> str:
        """One line that says what was measured."""
        scores = next(iter(self.results.values()))
        parts = [
            f"{self.dataset}{f' {self.split}' if self.split else ''}, {self.collection}",
            f"{self.prototypes} prototypes",
            f"{scores.images} images",
        ]
        if self.without_truth:
            parts.append(f"{self.without_truth} photographs of the collection have no ground truth")
        if self.absent:
            parts.append(f"{self.absent} images are not in the collection")
        if scores.without_prototype:
            parts.append(f"{_percent(scores.without_prototype)} % of the pixels have no prototype")
        return "; ".join(parts)

    def tables(self) -> list[Table]:
        """One-to-one matching, and names by majority, with a row for each depth."""
        matched = [
            (
                f"depth {depth}",
                [
                    str(one.classes),
                    str(one.categories),
                    *map(_percent, (one.accuracy, one.miou, one.pq)),
                ],
            )
            for depth, one in self.results.items()
        ]
        first = next(iter(self.results.values()))
        named = []
        for depth, one in self.results.items():
            right = [*one.names.values(), one.area]
            named.append((f"depth {depth}, right", [_percent(value) for value in right]))
            miou = [_percent(value) for value in one.names_miou.values()]
            named.append((f"depth {depth}, mIoU", [*miou, "-"]))
        heads = [f"{k} names" if k > 1 else "1 name" for k in first.names]
        return [
            Table(
                "One category for each class, matched over the data set",
                ["classes", "categories", "accuracy", "mIoU", "PQ"],
                matched,
            ),
            Table(
                "So many categories, each named by its majority",
                [*heads, f"mean 1-{AREA_NAMES}"],
                named,
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values, per class too. Scores are fractions from 0 to 1."""
        return {
            "software": f"regiontree {__version__}",
            "dataset": self.dataset,
            "split": self.split,
            "collection": self.collection,
            "prototypes": self.prototypes,
            "labels": self.labels,
            "without_truth": self.without_truth,
            "absent": self.absent,
            "failed": list(self.failed),
            "depths": {str(depth): _as_json(one) for depth, one in self.results.items()},
        }


def evaluate_categories(
    collection: Categorised,
    dataset: Dataset,
    *,
    name: str,
    depths: Sequence[int] = (),
    names: Sequence[int] = DEFAULT_NAMES,
    on_image: Callable[[str | None], None] = lambda error: None,
) -> CategoryReport:
    """The scores of a collection (:mod:`regiontree.metrics.categories`).

    Every image of the data set that the collection has is counted. An image that cannot be, for
    example because its mask has another size, is named in the report, and the others are counted.

    Parameters
    ----------
    collection : Categorised
    dataset : Dataset
        Data set with classes and one mask for each image.
    name
        What to call the collection.
    depths
        Depths of the label tree, from 1 to its ``max_depth``; empty: all of them.
    names
        Numbers of names. If one is above :data:`~regiontree.metrics.matching.AREA_NAMES`, the curve
        goes as far.
    on_image
        Called after each image, with its error or None.

    Raises
    ------
    DataError
        The data set has no images or no classes, no image could be counted, or a cut of the
        collection is wrong.
    SettingsError
        A depth or a number of names is out of range.
    """
    require_samples(dataset)
    if dataset.labels is None:
        raise DataError(
            f"{dataset.name}: its masks only tell regions apart; categories are compared with "
            "classes, so use a data set with labels"
        )
    finest = dataset.labels.max_depth
    wanted = check_numbers("depth", depths, 1, finest, whole=True) if len(depths) else ()
    names = check_numbers("names", names, 1, 2**24, whole=True)
    metrics = {
        depth: CategoryMetric(
            dataset.labels.classes(depth),
            collection.n_prototypes,
            collection.division,
            names=names,
            most=max(AREA_NAMES, *names),
        )
        for depth in sorted(set(wanted or range(1, finest + 1)), reverse=True)
    }
    matches, loose = photographs_of(collection.ids, dataset.samples)
    failed: list[str] = []
    absent: list[str] = []
    counted = 0
    for sample in dataset.samples:
        error = None
        if (match := matches[sample.id]) is None:
            absent.append(sample.id)
        elif isinstance(match, RegionTreeError):
            error = fault_text(match, sample.id)
        else:
            table = attempt(partial(_table, collection, match, dataset, sample))
            done = table if isinstance(table, Exception) else attempt(partial(_add, metrics, table))
            counted += done is None
            error = None if done is None else fault_text(done, sample.id)
        if error is not None:
            failed.append(error)
        on_image(error)
    if absent:
        failed.append(absent_text(absent, "are not in the collection"))
    if not counted:
        raise nothing_scored(failed)
    return CategoryReport(
        dataset.name,
        dataset.split,
        name,
        dataset.labels.name,
        collection.n_prototypes,
        {depth: metric.compute() for depth, metric in metrics.items()},
        loose,
        len(absent),
        (*failed, *dataset.problems),
    )


def _table(collection: Categorised, id: str, dataset: Dataset, sample: Sample) -> Contingency:
    """Pixels of each prototype with each value of the mask."""
    truth = dataset.truth(sample)
    prototypes = np.asarray(collection.prototype_map(id))
    if prototypes.shape != truth.shape:
        found = " x ".join(map(str, prototypes.shape))
        raise DataError(
            f"{sample.id}: the mask is {truth.shape[0]} x {truth.shape[1]} pixels, the photograph "
            f"of the collection {found}: they do not belong together"
        )
    return prototype_table(prototypes, truth, collection.n_prototypes)


def _add(metrics: Mapping[int, CategoryMetric], table: Contingency) -> None:
    """Add one image to every metric. All know the same mask values, so all or none refuse it."""
    for metric in metrics.values():
        metric.update(table)


def photographs_of(
    ids: Sequence[str], samples: Sequence[Sample]
) -> tuple[dict[str, str | RegionTreeError | None], int]:
    """The photograph of each sample, by the sample's id, and how many have no sample.

    The rules are those of :func:`regiontree.experiments.matches.match_samples`, with ids as keys
    and as places. None: the sample has no photograph. An error: there are several.
    """
    named: dict[str, list[_Photograph]] = {}
    for one in ids:
        named.setdefault(one.rpartition("/")[2], []).append(_Photograph(one))
    found = match_samples(samples, named, _names_of, _only, _shared)
    matches: dict[str, str | RegionTreeError | None] = {}
    for sample in samples:
        match = found.get(sample.id)
        matches[sample.id] = match.key if isinstance(match, _Photograph) else match
    used = {match for match in matches.values() if isinstance(match, str)}
    return matches, len(set(ids) - used)


@dataclass(frozen=True, slots=True)
class _Photograph:
    """A photograph of a collection, by its id."""

    key: str

    @property
    def places(self) -> tuple[str, ...]:
        return (self.key,)

    @property
    def owner(self) -> str:
        return self.key


def _names_of(sample: Sample) -> tuple[str, ...]:
    last = sample.id.rpartition("/")[2]
    return tuple(dict.fromkeys((last, last + sample.image.suffix)))


def _only(sample: Sample, free: list[_Photograph]) -> _Photograph | DataError | None:
    if len(free) > 1:
        said = ", ".join(one.key for one in free[:3])
        return DataError(
            f"{sample.id}: several photographs of that name: {said}; keep one of them in the "
            "collection"
        )
    return free[0] if free else None


def _shared(one: _Photograph, ids: list[str]) -> DataError:
    said = f"{one.key}: its name fits several images: {', '.join(ids[:3])}"
    return DataError(f"{said}; name the photographs like the images")


def parse_names(text: str) -> tuple[int, ...]:
    """The numbers of names in a text such as ``10,20,50``, ascending.

    Raises
    ------
    SettingsError
        The text is no list of whole numbers.
    """
    try:
        return tuple(sorted({int(one) for one in text.split(",") if one.strip()}))
    except ValueError:
        raise SettingsError(
            f"names must be whole numbers separated by commas, got {text!r}"
        ) from None


def _as_json(scores: CategoryScores) -> dict[str, Any]:
    """The scores with text as keys, as JSON has it."""
    plain = asdict(scores)
    for key in ("names", "names_miou", "names_iou"):
        plain[key] = {str(k): value for k, value in plain[key].items()}
    return plain


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"
