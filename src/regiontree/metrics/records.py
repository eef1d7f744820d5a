"""Records of a metric over a data set: one small record for each image, under the image's id.

A metric is updated one image at a time, on any number of machines. The machines' metrics are then
merged. A merged metric holds the same records, whichever machine made them, and takes every mean in
the order of the ids. So the scores do not depend on how images were shared out, to the last bit.

Records are plain JSON. A state that is read from a file is checked like any other input.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from regiontree.errors import DataError

__all__ = [
    "Count",
    "Fraction",
    "ImageMetric",
    "Record",
    "State",
    "check_lengths",
    "mean",
    "read_state",
]

Count = Annotated[int, Field(ge=0, lt=2**48)]  # sums over 32,000 images of 2**48 pixels fit int64
"""A number of pixels or nodes."""
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
"""A score from 0 to 1."""


class Record(BaseModel):
    """Base of records: immutable, with exact types, finite numbers and no unknown keys."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False
    )


class State(Record):
    """Base of a state: which metric, its settings, and a record (or null) for each image."""

    metric: str
    settings: Record
    images: dict[str, Any]


R = TypeVar("R", bound=Record | None)
S = TypeVar("S", bound=State)


class ImageMetric(Generic[R]):
    """A metric over images; subclasses add ``update``, ``compute`` and ``from_state``.

    Two metrics can be merged if their ``settings`` are equal.
    """

    _form: ClassVar[type[State]]

    def __init__(self, settings: Record) -> None:
        self.settings = settings
        self._records: dict[str, R] = {}

    def __len__(self) -> int:
        return len(self._records)

    def __contains__(self, image: object) -> bool:
        return image in self._records

    def merge(self, other: Self) -> None:
        """Take over the images of another metric.

        Raises
        ------
        DataError
            `other` has other settings, or an image that this metric has, too. Nothing is taken over
            then.
        """
        self._take(other.settings, other._records)

    def merge_state(self, state: Mapping[str, Any]) -> None:
        """Take over the images of a :meth:`state` of another metric.

        Raises
        ------
        DataError
            The state is damaged; or as :meth:`merge`.
        """
        read = read_state(self._form, state)
        self._take(read.settings, read.images)

    def reset(self) -> None:
        """Forget all images."""
        self._records.clear()

    def state(self) -> dict[str, Any]:
        """Everything the metric knows, as JSON values; equal metrics have equal states."""
        return {
            "metric": type(self).__name__,
            "settings": self.settings.model_dump(mode="json"),
            "images": {
                image: None if record is None else record.model_dump(mode="json")
                for image, record in sorted(self._records.items())
            },
        }

    def _add(self, image: str, record: R) -> None:
        if not isinstance(image, str):
            raise DataError(f"image must be an id, as text, got {image!r}")
        if image in self._records:
            raise DataError(f"image {image!r} was scored before; score each image once")
        self._records[image] = record

    def _in_order(self) -> list[R]:
        return [self._records[image] for image in sorted(self._records)]

    def _take(self, settings: Record, records: Mapping[str, R]) -> None:
        own, other = self.settings.model_dump(), settings.model_dump()
        for key in own:
            if own[key] != other.get(key):
                raise DataError(
                    f"made with other {key}: {own[key]} here, {other.get(key)} there; "
                    "only metrics of equal settings can be merged"
                )
        if both := self._records.keys() & records.keys():
            raise DataError(f"image {min(both)!r} is in both metrics; score each image once")
        for image, record in records.items():
            self._check_record(image, record)
        self._records.update(records)

    def _check_record(self, image: str, record: R) -> None:
        """Raise a DataError if a record of the right form does not fit the settings."""
        raise NotImplementedError


def read_state(form: type[S], state: Mapping[str, Any]) -> S:
    """A state as a record of its form; a DataError if it does not have this form."""
    try:
        return form.model_validate_json(json.dumps(state))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "state"
        found = repr(first["input"])
        raise DataError(
            f"not a state of this metric: {where}: {first['msg']}, got {found[:80]}"
        ) from error
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"not a state of this metric: it is not JSON: {error}") from error


def check_lengths(image: str, record: Record, names: Iterable[str], wanted: int, of: str) -> None:
    """Check that tuples of a record have one value for each of `wanted` scales, or what `of` says.

    Raises
    ------
    DataError
        A tuple has another length.
    """
    for name in names:
        if (found := len(getattr(record, name))) != wanted:
            raise DataError(f"state of image {image!r}: {found} values of {name} for {wanted} {of}")


def mean(values: Iterable[float]) -> float:
    """Mean whose sum is rounded only once, so that the order of values does not matter."""
    values = list(values)
    return math.fsum(values) / len(values)
