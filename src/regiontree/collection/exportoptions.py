"""Options of the formats in which a collection is written."""

from __future__ import annotations

from dataclasses import dataclass

from regiontree.export.options import check_split
from regiontree.system.stages import check_settings, setting

__all__ = [
    "ClassOptions",
    "FiftyOneOptions",
    "HuggingFaceOptions",
    "LabelStudioOptions",
    "RegionOptions",
    "TrainingOptions",
]


@dataclass(frozen=True, slots=True)
class ClassOptions:
    """What the classes are."""

    n_categories: int | None = setting(
        None,
        "The cut into at most this number of categories, instead of names.",
        low=1,
        high=float("inf"),
        whole=True,
        none="the names in collection.csv",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class RegionOptions(ClassOptions):
    """What is one region."""

    joined: bool = setting(
        True,
        "Whether regions of one class that make up a node of the photograph's tree become one.",
        choices=(True, False),
    )


@dataclass(frozen=True, slots=True)
class LabelStudioOptions(RegionOptions):
    """Where photographs are for Label Studio."""

    url_prefix: str | None = setting(
        None,
        "The text before each image's name in its URL.",
        form="text",
        none="the default of Label Studio",
    )


@dataclass(frozen=True, slots=True)
class FiftyOneOptions(RegionOptions):
    """How photographs get into the folder."""

    link: bool = setting(
        False, "Whether photographs are linked, not copied.", choices=(True, False)
    )


@dataclass(frozen=True, slots=True)
class HuggingFaceOptions(RegionOptions):
    """What is in the data set beside the masks."""

    photographs: bool = setting(
        True, "Whether the photographs themselves are in it.", choices=(True, False)
    )
    split: str = setting("train", "Name of the split.", form="letters, digits and _")

    def __post_init__(self) -> None:
        check_settings(self)
        check_split(self.split)


@dataclass(frozen=True, slots=True)
class TrainingOptions(ClassOptions):
    """How photographs get into the folder, and which part of it."""

    link: bool = setting(
        False, "Whether photographs are linked, not copied.", choices=(True, False)
    )
    split: str | None = setting(
        None,
        "CSV file with the columns photo and split.",
        form="a path",
        none="folders called train, val or test",
    )
