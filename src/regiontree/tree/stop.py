"""Why a branch of a tree ends: builders record a reason, and all views of a tree show it."""

from __future__ import annotations

from enum import IntEnum

__all__ = ["StopReason"]


class StopReason(IntEnum):
    """Why a node was not divided further."""

    INNER = 0
    """It was divided."""
    SINGLE_PART = 1
    """It holds no more than ``min_points`` parts."""
    MAX_LEVELS = 2
    """It sits at the deepest level allowed."""
    UNSTABLE = 3
    """Its eigengap is too small: its eigenvectors may be far from those of ideal groups."""
    HIGH_CUT = 4
    """Every division that was tried had a mean normalised cut at or above the limit."""
    NO_DIVISION = 5
    """Its eigenvectors put all parts on one side: nothing to divide along."""
    UNIFORM = 6
    """The image has one colour only, or all its patches are equal."""
    PRUNED = 7
    """It was divided in the tree that this one was pruned from."""
    UNKNOWN = 8
    """The tree's maker did not say."""
    REST = 9
    """In a condensed tree: the part of its parent that the other children do not hold."""

    NO_DATA = 10
    """It is not there: the file declares no data, or the user masked it."""

    @property
    def sentence(self) -> str:
        """The reason in words."""
        return _SENTENCES[self]


_SENTENCES = {
    StopReason.INNER: "divided",
    StopReason.SINGLE_PART: "a single part",
    StopReason.MAX_LEVELS: "deepest level allowed",
    StopReason.UNSTABLE: "eigengap too small to be stable",
    StopReason.HIGH_CUT: "no division below the normalised-cut limit",
    StopReason.NO_DIVISION: "no dividing eigenvector",
    StopReason.UNIFORM: "uniform",
    StopReason.PRUNED: "pruned",
    StopReason.UNKNOWN: "not recorded",
    StopReason.REST: "the rest of its parent",
    StopReason.NO_DATA: "no data",
}
