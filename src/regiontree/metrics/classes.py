"""Classes of the ground truth: the class of each mask value, and the class around each class.

Metrics know the ground truth only by a :class:`ClassTree`. A label tree
(:mod:`regiontree.datasets.labels`) gives one for each of its depths, without nesting, and one for
all depths together, in which classes contain each other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError
from regiontree.tree.kernel import preorder

__all__ = ["ClassTree"]


@dataclass(frozen=True, eq=False)
class ClassTree:
    """C classes, each after the class that contains it.

    Attributes
    ----------
    names : tuple of str
        One for each class, unique.
    parents : (C,) int32
        The class that contains each class, ``parents[c] < c``; -1 where none does.
    class_of_id : mapping of int to int
        Class of each value that a mask may hold: a finest class, or a class above.
    ignored : frozenset of int
        Mask values that are left out of every count.
    background : int or None
        The class of all kinds of background, if there is one.

    Examples
    --------
    >>> classes = ClassTree(("background", "person", "person--head"), [-1, -1, 1],
    ...                     {0: 0, 5: 1, 6: 2}, frozenset({255}), 0)
    >>> classes.of([0, 6, 255])
    array([ 0,  2, -1], dtype=int32)
    >>> classes.contains.astype(int)    # row: class of a pixel; column: class whose region it is in
    array([[1, 0, 0],
           [0, 1, 0],
           [0, 1, 1]])
    """

    names: tuple[str, ...]
    parents: NDArray[np.int32]
    class_of_id: Mapping[int, int]
    ignored: frozenset[int] = field(default_factory=frozenset)
    background: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        parents = np.array(self.parents, dtype=np.int32)
        parents.setflags(write=False)
        object.__setattr__(self, "parents", parents)
        count = len(self.names)
        if count == 0:
            raise DataError("a class tree needs at least one class")
        if len(set(self.names)) != count:
            twice = next(n for n in self.names if self.names.count(n) > 1)
            raise DataError(f"class {twice!r} appears twice")
        if parents.shape != (count,) or (parents >= np.arange(count)).any() or parents.min() < -1:
            raise DataError("parents must name, for each class, an earlier class or -1")
        if bad := [i for i, c in self.class_of_id.items() if not 0 <= c < count]:
            raise DataError(
                f"mask value {bad[0]} has class {self.class_of_id[bad[0]]}: classes are 0 to "
                f"{count - 1}"
            )
        if both := self.ignored & self.class_of_id.keys():
            raise DataError(f"mask value {min(both)} is both ignored and of a class")
        if self.background is not None and not 0 <= self.background < count:
            raise DataError(f"background is {self.background}: classes are 0 to {count - 1}")

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def contains(self) -> NDArray[np.bool_]:
        """(C, C) bool: [c, a] says that class a is class c or one of its ancestors."""
        # As a tree in Higra's order: the last class first, and one root above all classes.
        count = len(self)
        last_first = np.arange(count)[::-1]
        above = np.where(self.parents < 0, count, count - 1 - self.parents)[last_first]
        walk = preorder(np.append(above, count))
        inside = walk.holds(last_first[None, :], last_first[:, None])
        inside.setflags(write=False)
        return inside

    def of(self, ids: Iterable[int] | NDArray[np.integer]) -> NDArray[np.int32]:
        """Class of each mask value, -1 where it is ignored.

        Raises
        ------
        DataError
            Naming values that the label tree does not know.
        """
        values = np.asarray(list(ids) if not isinstance(ids, np.ndarray) else ids).reshape(-1)
        found = np.full(len(values), -1, dtype=np.int32)
        unknown = []
        for k, value in enumerate(values.tolist()):
            if value in self.class_of_id:
                found[k] = self.class_of_id[value]
            elif value not in self.ignored:
                unknown.append(value)
        if unknown:
            listed = ", ".join(str(v) for v in sorted(set(unknown))[:8])
            more = "" if len(set(unknown)) <= 8 else f" and {len(set(unknown)) - 8} more"
            raise DataError(
                f"mask holds {listed}{more}, which the label tree does not know; add it there, "
                "as a class or as ignored"
            )
        return found
