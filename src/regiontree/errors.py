"""The errors that regiontree raises on purpose, all subclasses of :class:`RegionTreeError`.

Each message names the argument or the file, the value found, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

__all__ = [
    "BackboneError",
    "CollectionError",
    "ConfigError",
    "DataError",
    "ExportError",
    "FeatureError",
    "ImageError",
    "MissingExtraError",
    "RegionTreeError",
    "SettingsError",
    "SolverError",
    "SourceError",
    "StoreError",
    "TreeError",
    "TreeFileError",
    "UnusedSettingError",
    "ViewError",
    "check_number",
    "check_numbers",
    "nearest_name",
    "plain_tuple",
    "plain_value",
    "whole_number",
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


class SourceError(RegionTreeError):
    """A photograph's address cannot be read, or a list of addresses cannot; says what to do."""


class FeatureError(RegionTreeError, ValueError):
    """Patch features, or points for k-means, have a wrong shape, dtype or value."""


class BackboneError(RegionTreeError):
    """A backbone is unknown, its weights are missing or changed, or its device is missing."""


class MissingExtraError(BackboneError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


class StoreError(RegionTreeError):
    """A store of trees is damaged, has another schema or settings, or is being written to."""


class CollectionError(RegionTreeError):
    """A collection is damaged, lacks what was asked for, or its trees were not made alike."""


class SolverError(RegionTreeError):
    """An eigenproblem has no usable solution, so no tree is made."""


class TreeError(RegionTreeError, ValueError):
    """The arrays of a tree contradict each other, or a method of a tree got a wrong argument."""


class TreeFileError(TreeError):
    """A tree file is damaged, is not a tree file, or was written by a later version."""


def plain_value(value: Any) -> Any:
    """A number or a text of NumPy or torch as one of Python; every other value unchanged.

    Such a number is a scalar, an array without dimensions or a tensor without dimensions. So it is
    checked, compared and recorded as the number that it is.

    Examples
    --------
    >>> import numpy as np
    >>> plain_value(np.int64(100)), plain_value(np.array(0.5)), plain_value(np.bool_(True))
    (100, 0.5, True)

    A number of single or half precision is the shortest decimal that means it:

    >>> plain_value(np.float32(0.1))
    0.1
    """
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        return value
    plain = value.item()
    precision = str(value.dtype).removeprefix("torch.")
    if isinstance(plain, float) and precision in ("float32", "float16"):
        import numpy as np  # not at the top, because every import of the package reads this file

        return float(str(np.dtype(precision).type(plain)))
    return plain


def plain_tuple(values: Any) -> Any:
    """A list, tuple, or array or tensor of one dimension as a tuple of plain values.

    Every other value is what :func:`plain_value` makes of it, so that one call takes both a number
    and several.

    Examples
    --------
    >>> plain_tuple([518, 518]), plain_tuple(518)
    ((518, 518), 518)
    """
    values = plain_value(values)
    shape = getattr(values, "shape", None)  # a class of NumPy's has one that is no tuple
    if isinstance(values, list | tuple) or (isinstance(shape, tuple) and len(shape) == 1):
        return tuple(plain_value(value) for value in values)
    return values


def whole_number(value: Any) -> int:
    """A whole number of Python, NumPy or torch as an int; a TypeError if it is none.

    True and False do not count as numbers, and a float is refused, so that 1.5 does not pass for 1.
    """
    number = plain_value(value)
    if not isinstance(number, int) or isinstance(number, bool):
        raise TypeError(f"{value!r} is not a whole number")
    return number


def check_number(
    name: str, value: object, low: float, high: float, *, whole: bool = False, below: bool = False
) -> Any:
    """The number as an int or a float of Python, after a check that it is in a range.

    Parameters
    ----------
    name
        Name of the setting, for the message.
    value
        The value to check: a number of Python, NumPy or torch (:func:`plain_value`). True and False
        do not count as numbers.
    low, high
        The range is [low, high], or [low, high) if `below` is true.
    whole
        Whether the value must be a whole number. A float never is one, not even 2.0.
    below
        Whether the value must be below `high`.

    Raises
    ------
    SettingsError
        `value` is not such a number.
    """
    number = plain_value(value)
    kind = int if whole else (int, float)
    is_number = isinstance(number, kind) and not isinstance(number, bool)
    if not (is_number and low <= number and (number < high if below else number <= high)):
        what = "whole number" if whole else "number"
        ends = [f"{end:g}" if isinstance(end, float) else str(end) for end in (low, high)]
        interval = f"[{ends[0]}, {ends[1]}{')' if below else ']'}"
        raise SettingsError(f"{name} must be a {what} in {interval}, got {value!r}")
    return number


def check_numbers(
    name: str, values: object, low: float, high: float, *, whole: bool = False, below: bool = False
) -> tuple[Any, ...]:
    """Several numbers as a tuple, each checked by :func:`check_number`.

    Parameters
    ----------
    values
        A list, a tuple, or an array or tensor of one dimension.
    name, low, high, whole, below
        As for :func:`check_number`.

    Raises
    ------
    SettingsError
        `values` are not numbers in the range, or there are none.
    """
    given = plain_tuple(values)
    if given == ():
        raise SettingsError(f"{name} is empty; give at least one number")
    if not isinstance(given, tuple):
        raise SettingsError(f"{name} must be several numbers, like [1, 2], got {values!r}")
    return tuple(check_number(name, one, low, high, whole=whole, below=below) for one in given)


def nearest_name(name: object, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The end of a message that suggests the most similar name, or an empty text.

    Parameters
    ----------
    name
        The unknown name. Small and capital letters are alike.
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
    by_letters = {one.lower(): one for one in known}  # small and capital letters are alike
    near = get_close_matches(text[:100].lower(), list(by_letters), n=1, cutoff=cutoff)
    return f"; did you mean {by_letters[near[0]]!r}?" if near else ""
