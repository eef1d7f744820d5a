"""One label of a ground truth: its path of names, its mask value and its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from regiontree.errors import DataError

__all__ = ["Kind", "Label", "Names", "first_clash", "prefixes"]

Names = tuple[str, ...]  # names of the groups of a label, the coarsest first, and its own name last
"""Names of a label's groups, from the coarsest, and its own."""


class Kind(IntEnum):
    """How the pixels of a label count in the scores. The numbers are those of published files."""

    FOREGROUND = 0
    BACKGROUND = 1
    IGNORE = 2


@dataclass(frozen=True, slots=True)
class Label:
    """One value of a mask.

    Attributes
    ----------
    path : tuple of str
        Names of the label's groups, the coarsest first, and its own name last. Each name is
        printable and has no blanks around it.
    id : int
        The mask value, in the range of int32.
    kind : Kind
        Foreground, background or ignored.

    Raises
    ------
    DataError
        The path, the id or the kind is not valid.
    """

    path: Names
    id: int
    kind: Kind = Kind.FOREGROUND

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", tuple(self.path))
        if not self.path:
            raise DataError(f"id {self.id} has no name; give its path at least one name")
        for name in self.path:
            if not name or name != name.strip() or not name.isprintable():
                raise DataError(f"name {name!r} must be printable and have no blanks around it")
        if not -(2**31) <= self.id < 2**31:
            raise DataError(f"{self.name!r} has id {self.id}, which does not fit in an int32 mask")
        if self.kind not in list(Kind):
            kinds = ", ".join(f"{kind.value} ({kind.name.lower()})" for kind in Kind)
            raise DataError(f"{self.name!r} has kind {self.kind}; the kinds are {kinds}")
        object.__setattr__(self, "kind", Kind(self.kind))

    @property
    def name(self) -> str:
        """The path joined by ``--``, such as ``animal--dog``."""
        return "--".join(self.path)


def prefixes(path: Names) -> list[Names]:
    """The paths of a label's groups, the coarsest first, and then the label's own path."""
    return [path[:length] for length in range(1, len(path) + 1)]


def first_clash(labels: Sequence[Label]) -> tuple[int, str] | None:
    """The index of the first label that contradicts an earlier one, and a sentence that says how.

    Two labels contradict each other if they share an id, or if both are foreground and share a
    path. Two groups or labels whose names would be the same in tables contradict each other, too:
    ``a--b`` and ``b`` in ``a``, or a foreground group called ``background`` beside background
    labels. None: no label contradicts another.
    """
    ids: dict[int, Label] = {}
    paths: dict[Names, Label] = {}
    nodes: dict[str, Names] = {}
    if any(label.kind == Kind.BACKGROUND for label in labels):
        nodes["background"] = ()
    for k, label in enumerate(labels):
        if label.id in ids:
            earlier = ids[label.id].name
            return k, f"id {label.id} of {label.name!r} is already the id of {earlier!r}"
        ids[label.id] = label
        if label.kind == Kind.FOREGROUND:
            if label.path in paths:
                return k, f"{label.name!r} has both id {paths[label.path].id} and id {label.id}"
            paths[label.path] = label
            for node in prefixes(label.path):
                name = "--".join(node)
                if nodes.setdefault(name, node) != node:
                    return k, f"{name!r} is the name of two classes; rename one of them"
    return None
