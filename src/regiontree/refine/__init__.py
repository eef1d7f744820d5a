"""Patch grid to pixels: refinements side by side behind one protocol (:mod:`.base`).

To add one: a frozen dataclass with what the protocol asks for in a file of its own, a line in
:data:`REFINEMENTS`, and its settings, if it has any, in :class:`regiontree.settings.Settings`.
"""

from __future__ import annotations

from collections.abc import Callable

from regiontree.refine.base import PatchLeaves, Refinement
from regiontree.refine.guided import Guided
from regiontree.refine.leafcrf import LeafCrf

__all__ = ["REFINEMENTS", "Guided", "LeafCrf", "PatchLeaves", "Refinement"]

REFINEMENTS: dict[str, Callable[..., Refinement]] = {"guided": Guided, "crf": LeafCrf}
"""Every refinement by its name in the settings."""
