"""Patch grid to pixels: refinements side by side behind one protocol (:mod:`.base`).

To add one: a frozen dataclass with what the protocol asks for in a file of its own, and a line in
:data:`REFINEMENTS`, or in another package's entry points. Its fields are its settings.
"""

from __future__ import annotations

from regiontree.refine.base import PatchLeaves, Refinement
from regiontree.refine.guided import Guided
from regiontree.refine.leafcrf import LeafCrf
from regiontree.system.registry import Registry

__all__ = ["REFINEMENTS", "Guided", "LeafCrf", "PatchLeaves", "Refinement"]

REFINEMENTS: Registry[type[Refinement]] = Registry(
    "refine",
    {
        "guided": "regiontree.refine.guided:Guided",
        "crf": "regiontree.refine.leafcrf:LeafCrf",
    },
    group="regiontree.refinements",
)
"""Every refinement by its name in the settings."""
