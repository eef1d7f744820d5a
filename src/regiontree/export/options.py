"""Options of the export formats: a frozen record for each format or family of formats.

If an option is None, the function that writes the format uses its own default and documents it. So
every default is written down once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from regiontree.errors import SettingsError, plain_tuple
from regiontree.system.stages import check_settings, setting

__all__ = [
    "ChoiceOptions",
    "CocoOptions",
    "ContourMapOptions",
    "CutOptions",
    "FiftyOneOptions",
    "GeoJsonOptions",
    "GeoPackageOptions",
    "GeoTiffOptions",
    "HuggingFaceOptions",
    "LabelStudioOptions",
    "NodeOptions",
    "StackOptions",
    "check_split",
]

_SPLIT = re.compile(r"\w+(\.\w+)*", re.ASCII)


def _numbers(name: str, kind: type[int] | type[float]) -> Callable[[Any], tuple[Any, ...]]:
    """A parser of several numbers, given as a sequence or as text with commas."""

    def parse(value: Any) -> tuple[Any, ...]:
        given = plain_tuple(value)
        if isinstance(given, tuple):
            return given
        try:
            return tuple(kind(part) for part in str(value).split(","))
        except ValueError:
            raise SettingsError(
                f"{name} must be numbers separated by commas, got {value!r}"
            ) from None

    return parse


def _transform(value: Any) -> Any:
    """A transform: six numbers, a function, or "none"."""
    if callable(value) or (isinstance(value, str) and value.strip().lower() == "none"):
        return value
    return _numbers("transform", float)(value)


_TRANSFORM: dict[str, Any] = {
    "default": None,
    "meaning": "Affine transform from pixels to the map. The text none leaves pixels.",
    "form": "a,b,c,d,e,f",
    "parse": _transform,
    "none": "that of the photograph, otherwise pixels",
}
_CRS: dict[str, Any] = {
    "default": None,
    "meaning": "Coordinate system of the transform. "
    "The text none leaves the transform's coordinates.",
    "form": "like EPSG:32633",
    "none": "that of the photograph",
}


@dataclass(frozen=True, slots=True)
class CutOptions:
    """Which cut of the tree is written. If no option is set, the natural cut is written."""

    n_regions: int | None = setting(
        None, "The cut into at most this number of regions.", form="a whole number", none="not set"
    )
    height: float | None = setting(
        None, "The cut at this height.", form="a number of at least 0", none="not set"
    )
    depth: int | None = setting(
        None, "The cut at this depth.", form="a whole number", none="not set"
    )
    contrast: float | None = setting(
        None,
        "The cut at this height times the photograph's contrast.",
        form="a number of at least 0",
        none="not set",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class NodeOptions(CutOptions):
    """Whether a cut or every node is written."""

    all_nodes: bool = setting(False, "Every node, not only a cut.", form="true or false")


@dataclass(frozen=True, slots=True)
class ChoiceOptions(NodeOptions):
    """Whether a cut, every node or salient nodes are written."""

    salient: int | None = setting(
        None,
        "At most this number of the most salient nodes.",
        form="a whole number",
        none="not set",
    )


@dataclass(frozen=True, slots=True)
class CocoOptions(ChoiceOptions):
    """What COCO's instances say of the tree."""

    attributes: bool = setting(
        False,
        "Whether the place in the tree is also said in attributes, as CVAT and Datumaro read it.",
        choices=(True, False),
    )


@dataclass(frozen=True, slots=True)
class FiftyOneOptions(CocoOptions):
    """How photographs get into the folder."""

    link: bool = setting(
        False, "Whether photographs are linked, not copied.", choices=(True, False)
    )


@dataclass(frozen=True, slots=True)
class HuggingFaceOptions(CutOptions):
    """What is in the data set beside the trees."""

    photographs: bool = setting(
        True, "Whether the photographs themselves are in it.", choices=(True, False)
    )
    split: str = setting("train", "Name of the split.", form="letters, digits and _")

    def __post_init__(self) -> None:
        check_settings(self)
        check_split(self.split)


def check_split(split: object) -> None:
    """Check the name of a split, as datasets takes it.

    Raises
    ------
    SettingsError
        It is none.
    """
    if not isinstance(split, str) or not _SPLIT.fullmatch(split):
        raise SettingsError(f"split must be a name of letters, digits and _, got {split!r}")


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Which cuts a stack contains."""

    granularities: tuple[int, ...] | None = setting(
        None,
        "Numbers of regions of the cuts, from coarse to fine.",
        form="numbers separated by commas",
        parse=_numbers("granularities", int),
        none="2,4,8,16,32,64",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class ContourMapOptions:
    """The grid of a contour map."""

    size: str = setting(
        "double", "Borders between pixels, or on pixels.", choices=("double", "image")
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class GeoJsonOptions(NodeOptions):
    """Where the polygons are on the map."""

    transform: Any = setting(**_TRANSFORM)
    crs: Any = setting(**_CRS)


@dataclass(frozen=True, slots=True)
class GeoPackageOptions(StackOptions):
    """The layers of a GeoPackage, and where the polygons are on the map."""

    transform: Any = setting(**_TRANSFORM)
    crs: Any = setting(**_CRS)


@dataclass(frozen=True, slots=True)
class GeoTiffOptions(CutOptions):
    """Where the picture is on the map."""

    transform: Any = setting(**_TRANSFORM)
    crs: Any = setting(**_CRS)


@dataclass(frozen=True, slots=True)
class LabelStudioOptions(NodeOptions):
    """The URLs of photographs in the tasks of Label Studio."""

    url_prefix: str | None = setting(
        None,
        "The text before each image's name in its URL.",
        form="text",
        none="the default of Label Studio",
    )
