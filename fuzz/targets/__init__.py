"""Every target, by name. A new target goes into the file of its kind, and its file into MODULES."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module

from fuzz.target import Target

__all__ = ["KINDS", "MODULES", "all_targets", "cases_of"]

MODULES = ("trees", "features", "settings", "labels", "masks", "published", "images", "networks",
           "server", "places", "words", "records", "sources", "clips")  # fmt: skip
"""The files of targets, one a kind."""
KINDS = MODULES


def all_targets(kinds: Iterable[str] = MODULES) -> dict[str, Target]:
    """The targets of some kinds, by name. This imports their readers."""
    found = {}
    for module in kinds:
        for target in import_module(f"fuzz.targets.{module}").TARGETS:
            assert target.kind == module, target.name
            found[target.name] = target
    return found


def cases_of(target: Target, targets: dict[str, Target], cases: int) -> int:
    """How many of the `cases` of its kind a target gets."""
    whole = sum(other.share for other in targets.values() if other.kind == target.kind)
    return -int(-cases * target.share // whole)
