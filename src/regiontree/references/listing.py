"""Which photographs the sources of a command name, one after the other.

A listing is read while it is used. Its memory does not grow with the number of photographs, except
by some 16 bytes for each, by which a photograph that is listed twice is known.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from regiontree.references.addresses import clean
from regiontree.references.findings import Findings
from regiontree.references.items import Item, Options
from regiontree.references.reference import Reference
from regiontree.references.seen import Seen
from regiontree.references.sources import items_of, roots_of

__all__ = ["Listing", "list_references"]

_BLOCK = 1024  # references that are compared with the earlier ones in one step


class Listing:
    """The photographs that some sources name: an iterable of references.

    Each iteration reads the sources anew, in the same order. The attributes tell what was met so
    far by the iteration that began last; at its end, they tell all.

    Attributes
    ----------
    found : Findings
        What was met: see :class:`~regiontree.references.findings.Findings`.
    """

    def __init__(self, sources: Sequence[str], options: Options) -> None:
        self.found = Findings()
        self._sources = sources
        self._options = options

    def __iter__(self) -> Iterator[Reference]:
        self.found = found = Findings()
        roots = roots_of(self._sources, self._options.suffixes)
        items = (
            item
            for source in self._sources
            for item in items_of(source, roots, self._options, found)
        )
        yield from _once(items, found)

    @property
    def count(self) -> int:
        """Number of references."""
        return self.found.count

    @property
    def twice(self) -> int:
        """How many more there would be if each photograph were not listed once."""
        return self.found.twice

    @property
    def twice_named(self) -> list[str]:
        """Ids of the first of those that came twice."""
        return self.found.twice_named

    @property
    def left_out(self) -> dict[str, int]:
        """Files of other kinds in folders and archives: how many of each suffix."""
        return dict(self.found.left_out)

    @property
    def left_out_text(self) -> str | None:
        """A sentence on what was left out; None if nothing was."""
        return self.found.left_out_text

    @property
    def problems(self) -> dict[str, str]:
        """What could not be listed: the address, and why. The first 1,000."""
        return self.found.problems

    @property
    def problem_count(self) -> int:
        """How many problems there are, those that are not kept included."""
        return self.found.problem_count


def list_references(
    sources: str | Path | Sequence[str | Path],
    suffixes: frozenset[str],
    *,
    column: str | None = None,
    id_column: str | None = None,
    out: str | Path | None = None,
) -> Listing:
    """The photographs that sources name.

    Parameters
    ----------
    sources
        Photographs, folders (searched to any depth) and glob patterns; lists of addresses
        (``.txt``, ``.lst``), tables of them (``.parquet``, ``.jsonl``, ``.ndjson``) and archives
        (``.tar``). Each is a path or a URL. In a folder, only photographs are looked for.
    suffixes
        Lower-case suffixes with the dot. Only files with one of them are taken from folders and
        archives.
    column
        The column of a table that holds addresses. None: the first that has a usual name.
    id_column
        The column of a table that holds ids. None: the address is the id.
    out
        The output folder, if any. The search of a folder around it leaves out its files.

    Returns
    -------
    Listing
        Nothing is read before it is iterated over. A source that cannot be listed is one of its
        problems, and the others go on.
    """
    given = [sources] if isinstance(sources, str | os.PathLike) else sources
    options = Options(suffixes, column, id_column, None if out is None else clean(out))
    return Listing([clean(source) for source in given], options)


def _once(items: Iterator[Item], found: Findings) -> Iterator[Reference]:
    """The references of `items` whose photograph did not come before, each with an id of its own.

    A photograph whose id belongs to another one gets its address as id, unless the user chose ids.
    """
    ids, places = Seen(), Seen()
    while block := list(islice(items, _BLOCK)):
        placed = [item for item in block if item.place is not None]
        new_places = iter(places.add([item.place or "" for item in placed]).tolist())
        fresh = []
        for item in block:
            if item.place is None or next(new_places):
                fresh.append(item)
            else:
                found.add_twice(item.id)
        for item, new in zip(fresh, ids.add([item.id for item in fresh]).tolist(), strict=True):
            if not new and item.place is not None:
                item = item.named(item.place)
                new = bool(ids.add([item.id])[0])
            if new:
                found.count += 1
                yield item.reference
            else:
                found.add_twice(item.id)
