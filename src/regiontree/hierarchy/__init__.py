"""Parts to tree: builders side by side behind one protocol (:mod:`regiontree.hierarchy.base`).

To add one: a frozen dataclass with ``name`` and ``build`` in a file of its own, and a line in
:data:`BUILDERS`. Nothing else needs to change, unless it has settings that no other builder has:
those become fields of :class:`regiontree.settings.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable

from regiontree.hierarchy.base import Hierarchy, PartGraph, StopReason, TreeBuilder
from regiontree.hierarchy.recursive import RecursivePartition
from regiontree.hierarchy.ward import SpectralWard

__all__ = [
    "BUILDERS",
    "Hierarchy",
    "PartGraph",
    "RecursivePartition",
    "SpectralWard",
    "StopReason",
    "TreeBuilder",
]

BUILDERS: dict[str, Callable[..., TreeBuilder]] = {
    "recursive": RecursivePartition,
    "ward": SpectralWard,
}
"""Every tree builder by its name in the settings."""
