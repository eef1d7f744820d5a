"""Parts to tree: builders side by side behind one protocol (:mod:`regiontree.hierarchy.base`).

To add one: a class with ``name`` and ``build`` in a file of its own, and a line in
:data:`BUILDERS`. Nothing else needs to change.
"""

from __future__ import annotations

from regiontree.hierarchy.base import Hierarchy, PartGraph, StopReason, TreeBuilder
from regiontree.hierarchy.recursive import RecursivePartition

__all__ = ["BUILDERS", "Hierarchy", "PartGraph", "RecursivePartition", "StopReason", "TreeBuilder"]

BUILDERS: dict[str, type[RecursivePartition]] = {"recursive": RecursivePartition}
