"""The trees that the arguments of a command name: in files, in folders, and in stores.

Commands take their trees from here. So they need not know what is a store, and what is not.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Generic, TypeVar, overload

from regiontree.errors import TreeFileError
from regiontree.forest.saved import SavedTree, TreeFile
from regiontree.forest.sources import TREE_SUFFIX, tree_problem
from regiontree.forest.storedtrees import StoredTrees, store_of
from regiontree.system.inputs import Found, search

__all__ = ["Joined", "Listing", "list_trees", "only_tree", "split_stores"]

T = TypeVar("T")


class Joined(Sequence[T], Generic[T]):
    """Sequences one after the other, as one. Nothing is copied.

    >>> joined = Joined([[1, 2], [], range(3, 6)])
    >>> len(joined), joined[2], joined[1:4], list(joined)
    (5, 3, [2, 3, 4], [1, 2, 3, 4, 5])
    """

    def __init__(self, parts: Sequence[Sequence[T]]) -> None:
        self._parts = [part for part in parts if len(part)]
        self._stops = list(accumulate(map(len, self._parts)))

    def __len__(self) -> int:
        return self._stops[-1] if self._stops else 0

    def __iter__(self) -> Iterator[T]:
        for part in self._parts:
            yield from part

    @overload
    def __getitem__(self, i: int) -> T: ...
    @overload
    def __getitem__(self, i: slice) -> list[T]: ...
    def __getitem__(self, i: int | slice) -> T | list[T]:
        if isinstance(i, slice):
            return self._between(i)
        place = range(len(self))[i]  # an IndexError beyond the end
        number = bisect_right(self._stops, place)
        return self._parts[number][place - self._stops[number] + len(self._parts[number])]

    def _between(self, i: slice) -> list[T]:
        start, stop, step = i.indices(len(self))
        if step != 1:
            return [self[place] for place in range(start, stop, step)]
        found: list[T] = []
        for end, part in zip(self._stops, self._parts, strict=True):
            begin = end - len(part)
            if begin < stop and start < end:
                found += part[max(start - begin, 0) : stop - begin]
        return found


@dataclass(frozen=True, slots=True)
class Listing:
    """The trees that arguments name.

    Attributes
    ----------
    files : list of TreeFile
        Trees in files of their own, each file once.
    stores : list of StoredTrees
        The trees of stores. They are not read yet.
    problems : dict of str to str
        Each argument without trees, and a sentence on it.
    left_out : str or None
        A sentence on what the folders hold besides.
    """

    files: list[TreeFile] = field(default_factory=list)
    stores: list[StoredTrees] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    left_out: str | None = None

    @property
    def trees(self) -> Joined[SavedTree]:
        """All trees, those in files first."""
        parts: list[Sequence[SavedTree]] = [self.files, *self.stores]
        return Joined(parts)


def list_trees(given: Sequence[str | Path]) -> Listing:
    """The trees that arguments name.

    Parameters
    ----------
    given
        Tree files, folders of them, glob patterns, stores, and rows of stores (``STORE::ID``).

    Raises
    ------
    StoreError
        A store cannot be read, or has no row of that id.
    """
    others, stores = split_stores(given)
    problems = {name: said for store in stores for name, said in store.problems.items()}
    files: dict[str, TreeFile] = {}
    whole = Found()
    for argument in others:
        inside = search([argument], frozenset({TREE_SUFFIX}))
        whole.left_out += inside.left_out
        whole.twice += inside.twice
        for file, _ in inside.files:
            if problem := tree_problem(file):
                problems[str(file)] = problem
                continue
            folder = Path(argument) if os.path.isdir(argument) else None
            files.setdefault(os.path.abspath(file), TreeFile(file, folder))
    return Listing(list(files.values()), stores, problems, whole.left_out_text)


def only_tree(given: str | Path, id: str | None = None) -> SavedTree:
    """The one tree that an argument names.

    Parameters
    ----------
    given
        A tree file, a row of a store (``STORE::ID``), or a store.
    id
        The id of the row, if `given` is a store.

    Raises
    ------
    TreeFileError
        A store is named without an id, or an id without a store.
    StoreError
        The store cannot be read, or has no row of that id.
    """
    stored = store_of(given, id)
    if stored is None:
        if id is not None:
            raise TreeFileError(f"{given}: is no store, so it has no row {id!r}; leave out --id")
        return TreeFile(Path(given))
    if len(stored) != 1 or not stored.is_one_row:
        some = f", for example {stored}::{stored[0].id}" if len(stored) else ""
        raise TreeFileError(
            f"{stored}: is a store of {len(stored):,} rows; name one with --id, or as STORE::ID"
            f"{some}"
        )
    return stored[0]


def split_stores(
    given: Sequence[str | Path],
) -> tuple[list[str | Path], list[StoredTrees]]:
    """The arguments that name no store, and the trees of those that name one.

    Raises
    ------
    StoreError
        As :func:`list_trees`.
    """
    others: list[str | Path] = []
    stores: list[StoredTrees] = []
    for argument in given:
        stored = store_of(argument)
        if stored is None:
            others.append(argument)
        elif str(stored) not in map(str, stores):
            stores.append(stored)
    return others, stores
