"""Make the trees of a collection: from references to a store, by any engine.

A photograph is finished if the store holds a tree under its id. It is not read again, so one that
has changed keeps its tree. Only if its address is another one than before, its bytes are compared.
A run does the others, also those that have failed before. So the same command, given again, does
the rest, with the same engine or another one. Every photograph has one row in the end, however
often processes were killed meanwhile:

- Rows are written batch by batch, each as one file that is there whole or not at all.
- A batch whose process died is done again, one photograph at a time. If that one dies, too, it gets
  a row with an error.
- If a batch was written twice, the store keeps one row of each id.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, Protocol

import numpy as np

from regiontree.engines.engine import Batch, Engine, Status, cut, written
from regiontree.engines.process import digest_of
from regiontree.forest.row import Row
from regiontree.forest.store import Store, open_store
from regiontree.forest.stored import StoredRows
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt

__all__ = ["CollectionSummary", "Listing", "segment_collection", "settings_record"]

_COUNTED = 100_000  # references that are listed before the work begins, to know their number
_NAMED = 1000  # failed photographs that the summary names
_COMPACT = 1024  # batches after which parts become shards
_LOST = "the process that worked on it ended twice; memory may have run out"


class Listing(Protocol):
    """A stream of references, with what was left out of it."""

    @property
    def problems(self) -> dict[str, str]:
        """Why addresses cannot be listed: the first thousand."""
        ...

    @property
    def problem_count(self) -> int:
        """How many addresses cannot be listed."""
        ...

    def __iter__(self) -> Iterator[Reference]: ...


@dataclass(slots=True)
class CollectionSummary:
    """The results of a run.

    Attributes
    ----------
    store : str
        Address of the store.
    engine : str
        Name of the engine.
    done, skipped, failed : int
        Numbers of photographs: with a tree made now, with one made before, and without one.
    listed : int or None
        Number of references; None until all are listed, if there are many.
    failures : dict of str to str
        Why photographs failed, by their ids: the first thousand. The store holds all.
    seconds : float
        Time that the run took.
    interrupted : bool
        Whether the user stopped it.
    """

    store: str
    engine: str
    done: int = 0
    skipped: int = 0
    failed: int = 0
    listed: int | None = None
    failures: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    interrupted: bool = False

    @property
    def images_per_second(self) -> float:
        """Photographs done in a second; 0 if none is done."""
        return self.done / self.seconds if self.done and self.seconds > 0 else 0.0

    def fail(self, name: str, error: str) -> None:
        """Count a photograph that failed."""
        self.failed += 1
        if len(self.failures) < _NAMED:
            self.failures[name] = error

    def as_dict(self) -> dict[str, Any]:
        """The summary as ``--json`` prints it."""
        return {
            "planned": self.listed,
            "done": self.done,
            "skipped": self.skipped,
            "failed": self.failed,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(self.images_per_second, 4),
            "store": self.store,
            "engine": self.engine,
            "failures": dict(self.failures),
        }


def segment_collection(
    listing: Listing,
    store: Store,
    engine: Engine,
    *,
    name: str = "local",
    on_status: Callable[[Status], None] = lambda status: None,
    on_skipped: Callable[[int], None] = lambda number: None,
    on_listed: Callable[[int], None] = lambda number: None,
) -> CollectionSummary:
    """The summary of a run, which has put a row of each reference into a store.

    If the user interrupts the run, the rows that were written stay, and the next run does the rest.

    Parameters
    ----------
    listing
        The references. They are read as they are needed.
    store
        Takes the rows.
    engine
        Does the work.
    name
        Name of the engine, for the summary.
    on_status
        Called with the status of each photograph.
    on_skipped
        Called with a number of photographs that were finished before.
    on_listed
        Called with the number of references, once it is known.

    Raises
    ------
    StoreError
        Another command writes to the store, or the store cannot be written.
    BackboneError
        The network cannot be loaded.
    """
    summary = CollectionSummary(store.address, name)
    run = _Run(summary, store, engine, on_status, on_skipped, on_listed)
    start = time.perf_counter()
    try:
        with store.writing("segment") if engine.is_first else nullcontext():
            try:
                run.go(listing)
            except KeyboardInterrupt:
                summary.interrupted = True
            finally:
                summary.seconds = time.perf_counter() - start
    finally:
        engine.close()
    return summary


class _Run:
    """One run: what is given out and has no status yet."""

    def __init__(
        self,
        summary: CollectionSummary,
        store: Store,
        engine: Engine,
        on_status: Callable[[Status], None],
        on_skipped: Callable[[int], None],
        on_listed: Callable[[int], None],
    ) -> None:
        self.summary = summary
        self.store = store
        self.engine = engine
        self.on_status, self.on_skipped, self.on_listed = on_status, on_skipped, on_listed
        self.given: dict[str, Reference] = {}
        self.parts = 0

    def go(self, listing: Listing) -> None:
        """Do all that is listed."""
        self.engine.total([0])  # the first process has opened the store
        before = open_store(self.store.address, create=False)  # its index stays as it is now
        self._take(self._unfinished(self._listed(listing), before))
        if self.given:
            self._take([one] for one in list(self.given.values()))
        if self.given:
            lost = [Row(one.id, one.address, error=f"{one.id}: {_LOST}")
                    for one in self.given.values()]  # fmt: skip
            self._count(written(lost, self.store, [0.0] * len(lost)))
        if self.engine.is_first:  # which of all processes meets the same problems
            for name, error in listing.problems.items():
                self.summary.fail(name, f"{name}: {error}")
            self.summary.failed += listing.problem_count - len(listing.problems)
        self._add_up()
        if self.engine.is_first:
            self.store.compact(final=True)

    def _listed(self, listing: Listing) -> Iterator[Reference]:
        """The references, and their number once it is known."""
        coming = iter(listing)
        first = list(islice(coming, _COUNTED))
        number = len(first)
        if number < _COUNTED:
            self._know(number)
        yield from first
        del first
        for reference in coming:
            number += 1
            yield reference
        self._know(number)

    def _know(self, number: int) -> None:
        if self.summary.listed is None:
            self.summary.listed = number
            self.on_listed(number)

    def _unfinished(self, references: Iterable[Reference], before: Store) -> Iterator[Batch]:
        """Batches without what the store holds already."""
        shared = self.engine.share(cut(references))
        while several := list(islice(shared, self.engine.ahead)):
            every = [one for batch in several for one in batch]
            found = before.index.find([one.id for one in every])
            known = iter(found.has_tree)
            elsewhere = found.elsewhere([one.address for one in every])
            others = self._others([every[i] for i in np.flatnonzero(elsewhere)], before)
            for batch in several:
                left = [one for one in batch if not next(known)]
                skipped = len(batch) - len(left) - sum(one.id in others for one in batch)
                if skipped:
                    self.summary.skipped += skipped
                    self.on_skipped(skipped)
                if left:
                    self.given.update((one.id, one) for one in left)
                    yield left

    def _others(self, moved: Iterable[Reference], before: Store) -> set[str]:
        """The ids whose tree in the store is that of another photograph. They fail.

        A photograph that has moved has the same bytes at its new address.
        """
        others = set()
        rows = StoredRows(before)
        for one in moved:
            address, digest = rows.origin(one.id)
            found = attempt(partial(digest_of, one))
            if not isinstance(found, Exception) and found == digest:
                continue
            what = "cannot be read" if isinstance(found, Exception) else "has other bytes"
            error = (
                f"{one.address}: {what}, and the store has a tree of {address} under the same id "
                f"{one.id!r}; list both together, name a column of ids, or choose another store"
            )
            self.summary.fail(one.id, error)
            self.on_status(Status(one.id, error))
            others.add(one.id)
        return others

    def _take(self, batches: Iterable[Batch]) -> None:
        """Let the engine do batches."""
        with closing(self.engine.statuses(batches)) as coming:  # type: ignore[type-var]
            for statuses in coming:
                self._count(statuses)

    def _count(self, statuses: Iterable[Status]) -> None:
        for status in statuses:
            if self.given.pop(status.id, None) is None:  # a batch that was done twice
                continue
            if status.error is None:
                self.summary.done += 1
            else:
                self.summary.fail(status.id, status.error)
            self.on_status(status)
        self.parts += 1
        if self.engine.is_first and self.parts % _COMPACT == 0:
            self.store.compact()

    def _add_up(self) -> None:
        """Count what other processes of the engine did."""
        one = self.summary
        one.done, one.skipped, one.failed = self.engine.total([one.done, one.skipped, one.failed])


def settings_record(parser: Any) -> dict[str, Any]:
    """What a store records of the settings of its trees: JSON values."""
    return {**parser.settings.as_dict(), **parser.sight.choice.as_dict()}
