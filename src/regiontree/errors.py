"""The errors that regiontree raises on purpose, all subclasses of :class:`RegionTreeError`.

Each message names the argument or the file, the value found, and what to do.
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
    """Base class of all errors that regiontree raises on purpose."""


class SettingsError(RegionTreeError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


class UnusedSettingError(SettingsError):
    """A setting was changed that has no effect with the other settings."""


class ConfigError(SettingsError):
    """A configuration file is wrong or damaged; the message names the key."""


class DataError(RegionTreeError, ValueError):
    """A data set, a ground-truth mask or a label tree is missing, damaged or does not fit."""


class ExportError(RegionTreeError, ValueError):
    """A tree cannot be written in the chosen format with the given options."""


class ViewError(RegionTreeError):
    """A page of the viewer cannot be made or served."""


class ImageError(RegionTreeError):
    """An image is missing, damaged, too large or of a kind that cannot be read."""


class FeatureError(RegionTreeError, ValueError):
    """Patch features, or points for k-means, have a wrong shape, dtype or value."""


class BackboneError(RegionTreeError):
    """A backbone is unknown, its weights are missing or changed, or its device is missing."""


class MissingExtraError(BackboneError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class SolverError(RegionTreeError):
    """An eigenproblem has no usable solution, so no tree is made."""


class TreeError(RegionTreeError, ValueError):
    """The arrays of a tree contradict each other, or a method of a tree got a wrong argument."""


class TreeFileError(TreeError):
    """A tree file is damaged, is not a tree file, or was written by a later version."""


def check_number(
    name: str, value: object, low: float, high: float, *, whole: bool = False, below: bool = False
) -> None:
    """Raise a SettingsError unless `value` is a number in a range.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    value
        The value to check. True and False do not count as numbers.
    low, high
        The range is [low, high], or [low, high) if `below` is true.
    whole
        Whether the value must be an int.
    below
        Whether the value must be below `high`.

    Raises
    ------
    SettingsError
        `value` is not such a number.
    """
    kind = int if whole else (int, float)
    is_number = isinstance(value, kind) and not isinstance(value, bool)
    if not (is_number and low <= value and (value < high if below else value <= high)):  # type: ignore[operator]
        what = "whole number" if whole else "number"
        ends = [f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high)]
        interval = f"[{ends[0]}, {ends[1]}{')' if below else ']'}"
        raise SettingsError(f"{name} must be a {what} in {interval}, got {value!r}")


def nearest_name(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a message that suggests the most similar name, or an empty text.

    Parameters
    ----------
    name
        The unknown name.
    known
        The names to choose from.
    cutoff
        Least similarity, in [0, 1], of a name that is suggested: see
        :func:`difflib.get_close_matches`.

    Examples
    --------
    >>> nearest_name("part", ["parts", "refine"]), nearest_name("colour", ["parts", "refine"])
    ("; did you mean 'parts'?", '')
    """
    # A list or mapping is no name, and with YAML's aliases its text can be endless.
    text = str(name) if isinstance(name, str | int | float) else ""
    near = get_close_matches(text[:100], list(known), n=1, cutoff=cutoff)
    return f"; did you mean {near[0]!r}?" if near else ""
