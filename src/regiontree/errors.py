"""Every error that regiontree raises on purpose, under one base class.

The message names the argument or file, says what was found, and says what to do about it.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "BackboneError",
    "ConfigError",
    "DataError",
    "ExportError",
    "FeatureError",
    "ImageError",
    "MissingExtraError",
    "RegionTreeError",
    "SettingsError",
    "SolverError",
    "TreeError",
    "TreeFileError",
    "UnusedSettingError",
    "ViewError",
    "check_number",
    "nearest_name",
]


class RegionTreeError(Exception):
    """Base class: catch this to catch everything regiontree raises on purpose."""


class SettingsError(RegionTreeError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


class UnusedSettingError(SettingsError):
    """A setting was changed that has no effect with the other settings."""


class ConfigError(SettingsError):
    """An experiment's configuration is not what it must be; the message names the key."""


class DataError(RegionTreeError, ValueError):
    """A data set, a ground truth or a label tree is missing, damaged or does not fit."""


class ExportError(RegionTreeError, ValueError):
    """A tree cannot be written in the format asked for, with the options given."""


class ViewError(RegionTreeError):
    """A page cannot be made or served."""


class ImageError(RegionTreeError):
    """An image cannot be found, decoded or accepted."""


class FeatureError(RegionTreeError, ValueError):
    """Patch features have a wrong shape, type or value."""


class BackboneError(RegionTreeError):
    """A backbone is unknown, its weights are missing or altered, or its device is absent."""


class MissingExtraError(BackboneError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class SolverError(RegionTreeError):
    """An eigenproblem has no usable solution. Never swallowed: no tree is made from it."""


class TreeError(RegionTreeError, ValueError):
    """A tree's arrays contradict each other, or a question to it makes no sense."""


class TreeFileError(TreeError):
    """A file is not a region tree, is damaged, or was written by a later version."""


def check_number(
    name: str, value: object, low: float, high: float, *, whole: bool = False, below: bool = False
) -> None:
    """Raise a SettingsError unless `value` is a number in [low, high], or [low, high) if `below`.

    Truth values are not numbers here; `whole` asks for an int.
    """
    kind = int if whole else (int, float)
    right = isinstance(value, kind) and not isinstance(value, bool)
    if not (right and low <= value and (value < high if below else value <= high)):  # type: ignore[operator]
        what = "whole number" if whole else "number"
        ends = [f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high)]
        interval = f"[{ends[0]}, {ends[1]}{')' if below else ']'}"
        raise SettingsError(f"{name} must be a {what} in {interval}, got {value!r}")


def nearest_name(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The nearest of `known`, to end a sentence with; nothing where none is near.

    `cutoff` is the likeness in [0, 1] that makes a name near: see `difflib.get_close_matches`.

    Examples
    --------
    >>> nearest_name("part", ["parts", "refine"]), nearest_name("colour", ["parts", "refine"])
    ("; did you mean 'parts'?", '')
    """
    near = get_close_matches(str(name), list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""
