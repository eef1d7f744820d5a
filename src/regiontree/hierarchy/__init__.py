"""Parts to tree: builders side by side behind one protocol (:mod:`regiontree.hierarchy.base`).

To add one: a frozen dataclass with ``name``, ``natural_height`` and ``build`` in a file of its own,
and a line in :data:`BUILDERS`, or in another package's entry points. Its other fields are its
settings: they are known at once as ``tree.FIELD`` in Python, in configs and on the command line.
"""

from __future__ import annotations

from regiontree.hierarchy.base import Hierarchy, PartGraph, StopReason, TreeBuilder
from regiontree.hierarchy.consensus import Consensus
from regiontree.hierarchy.diffusion import DiffusionWard
from regiontree.hierarchy.recursive import RecursivePartition
from regiontree.hierarchy.ward import SpectralWard
from regiontree.system.registry import Registry

__all__ = [
    "BUILDERS",
    "Consensus",
    "DiffusionWard",
    "Hierarchy",
    "PartGraph",
    "RecursivePartition",
    "SpectralWard",
    "StopReason",
    "TreeBuilder",
]

BUILDERS: Registry[type[TreeBuilder]] = Registry(
    "tree",
    {
        "consensus": "regiontree.hierarchy.consensus:Consensus",
        "diffusion": "regiontree.hierarchy.diffusion:DiffusionWard",
        "recursive": "regiontree.hierarchy.recursive:RecursivePartition",
        "ward": "regiontree.hierarchy.ward:SpectralWard",
    },
    group="regiontree.builders",
)
"""Every tree builder by its name in the settings."""
