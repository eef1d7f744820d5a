"""Every error that regiontree raises on purpose, under one base class.

The message names the argument or file, says what was found, and says what to do about it.
"""

from __future__ import annotations

__all__ = [
    "BackboneError",
    "FeatureError",
    "ImageError",
    "MissingExtraError",
    "RegionTreeError",
    "SettingsError",
    "SolverError",
    "TreeError",
    "TreeFileError",
]


class RegionTreeError(Exception):
    """Base class: catch this to catch everything regiontree raises on purpose."""


class SettingsError(RegionTreeError, ValueError):
    """A setting is unknown, out of range, or contradicts another."""


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
