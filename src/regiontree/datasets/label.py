"""One label of a ground truth: its names, its mask value and what it counts as."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from regiontree.errors import DataError

__all__ = ["Kind", "Label", "Names", "first_clash", "prefixes"]

Names = tuple[str, ...]
"""Names of a label's groups, from the coarsest, and its own."""


class Kind(IntEnum):
    """What a mask value counts as; the numbers are those of the published files."""

    FOREGROUND = 0
    BACKGROUND = 1
    IGNORE = 2


@dataclass(frozen=True, slots=True)
class Label:
    """One value of a mask.

    Attributes
    ----------
    path : tuple of str
        Names from the coarsest ancestor to its own; printable, without blanks around them.
    id : int
        The mask value, within int32.
    kind : Kind
    """

    path: Names
    id: int
    kind: Kind = Kind.FOREGROUND

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(self.path))
        if not self.path:
            raise DataError(f"id {self.id} has no name")
        for name in self.path:
            if not name or name != name.strip() or not name.isprintable():
                raise DataError(f"name {name!r} must be printable, without blanks around it")
        if not -(2**31) <= self.id < 2**31:
            raise DataError(f"{self.name!r} has id {self.id}, which no int32 mask can hold")
        if self.kind not in list(Kind):
            kinds = ", ".join(f"{kind.value} ({kind.name.lower()})" for kind in Kind)
            raise DataError(f"{self.name!r} has kind {self.kind}; kinds are {kinds}")
        object.__setattr__(self, "kind", Kind(self.kind))

    @property
    def name(self) -> str:
        """The whole path in one: ``animal--dog``."""
        return "--".join(self.path)


def prefixes(path: Names) -> list[Names]:
    """Paths of a label's groups from the coarsest, and its own."""
    return [path[:length] for length in range(1, len(path) + 1)]


def first_clash(labels: Sequence[Label]) -> tuple[int, str] | None:
    """The first label that contradicts one before it, and how."""
    ids: dict[int, Label] = {}
    paths: dict[Names, Label] = {}
    for k, label in enumerate(labels):
        if label.id in ids:
            return k, f"id {label.id} of {label.name!r} is already that of {ids[label.id].name!r}"
        ids[label.id] = label
        if label.kind == Kind.FOREGROUND:
            if label.path in paths:
                return k, f"{label.name!r} has both id {paths[label.path].id} and id {label.id}"
            paths[label.path] = label
    return None
