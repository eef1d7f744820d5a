"""Options of the export formats: one frozen record a format, or a family of formats.

An option that is None is left to the function that writes the format, which documents its own
default. So every default is written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from regiontree.errors import SettingsError
from regiontree.system.stages import check_settings, setting

__all__ = [
    "CocoOptions",
    "CutOptions",
    "GeoJsonOptions",
    "LabelStudioOptions",
    "NodeOptions",
    "StackOptions",
]


def _numbers(name: str, kind: type[int] | type[float]) -> Callable[[Any], tuple[Any, ...]]:
    """A parser of several numbers: a sequence of them, or text with commas."""

    def parse(value: Any) -> tuple[Any, ...]:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return tuple(value)
        try:
            return tuple(kind(part) for part in str(value).split(","))
        except ValueError:
            raise SettingsError(f"{name} must be numbers with commas, got {value!r}") from None

    return parse


@dataclass(frozen=True, slots=True)
class CutOptions:
    """Which cut of the tree is written; without any of these, the natural cut."""

    n_regions: int | None = setting(
        None, "The cut into at most so many regions.", form="a whole number", none="not said"
    )
    height: float | None = setting(
        None, "The cut at that height.", form="a number of at least 0", none="not said"
    )
    depth: int | None = setting(
        None, "The cut at that depth.", form="a whole number", none="not said"
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class NodeOptions(CutOptions):
    """A cut, or every node above it too."""

    all_nodes: bool = setting(False, "Every node, not only a cut.", form="true or false")


@dataclass(frozen=True, slots=True)
class CocoOptions(NodeOptions):
    """Which nodes become COCO instances."""

    salient: int | None = setting(
        None, "Only so many of the most salient nodes.", form="a whole number", none="not said"
    )


@dataclass(frozen=True, slots=True)
class StackOptions:
    """Which cuts a stack holds."""

    granularities: tuple[int, ...] | None = setting(
        None,
        "Numbers of regions of the cuts, from coarse to fine.",
        form="numbers with commas",
        parse=_numbers("granularities", int),
        none="2,4,8,16,32,64",
    )

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True, slots=True)
class GeoJsonOptions(NodeOptions):
    """Where polygons lie on the map."""

    transform: tuple[float, ...] | None = setting(
        None,
        "Affine transform from pixels to the map.",
        form="a,b,c,d,e,f",
        parse=_numbers("transform", float),
        none="the GeoTIFF's own, else pixels",
    )
    crs: Any = setting(
        None, "Coordinate system of the transform.", form="like EPSG:32633", none="not said"
    )


@dataclass(frozen=True, slots=True)
class LabelStudioOptions(NodeOptions):
    """What the tasks of Label Studio say of their photographs."""

    url_prefix: str | None = setting(
        None, "What the addresses of images start with.", form="text", none="Label Studio's own"
    )
