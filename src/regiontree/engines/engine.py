"""What an engine is: it hands batches of references out and takes statuses in.

An engine knows no trees. The work on a batch is :mod:`regiontree.engines.process`, the same in each
of them. Who does the work also writes the rows to the store, as one part for each batch, and tells
only what became of each photograph.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from regiontree.engines.process import process
from regiontree.errors import SettingsError
from regiontree.forest.row import Row
from regiontree.forest.store import Store
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.registry import Registry

__all__ = [
    "ENGINES",
    "LARGEST",
    "Batch",
    "Engine",
    "EngineOptions",
    "Status",
    "cut",
    "done",
    "written",
]

Batch = Sequence[Reference]
"""Photographs that one process does one after another. Their rows become one part of the store."""
LARGEST = 16
"""Most photographs of a batch."""
_SHARE = 32  # a batch is at most this part of what came before it


@dataclass(frozen=True, slots=True)
class Status:
    """What became of one photograph, once its row is in the store.

    Attributes
    ----------
    id : str
        That of its reference.
    error : str or None
        Why it failed.
    notice : str or None
        What the tree shows of a file with more bands or pages than a photograph.
    seconds : float
        Time that it took.
    """

    id: str
    error: str | None = None
    notice: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What an engine is told when it is made.

    Attributes
    ----------
    parser : RegionParser
        Makes the trees.
    store : Store
        Takes the rows.
    workers : int or None
        Number of worker processes of this machine. None: as many as are worth their start.
    more : mapping
        Options of one engine alone, by name.
    notice : callable
        Called with sentences on how the work is divided.
    """

    parser: RegionParser
    store: Store
    workers: int | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    notice: Callable[[str], None] = lambda said: None


class Engine(Protocol):
    """Whoever does batches. It is made by a call with :class:`EngineOptions`.

    Attributes
    ----------
    is_first : bool
        Whether this process reports and compacts the store. False in all but one process of several
        that were started alike.
    ahead : int
        How many batches are taken from :meth:`share` at a time.
    """

    is_first: bool
    ahead: int

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches that are this process's to do, as it is ready for them.

        Several processes that were started alike are given the same batches, and each batch goes to
        one of them.
        """
        ...

    def statuses(self, batches: Iterable[Batch]) -> Iterator[list[Status]]:
        """Do batches; the statuses of photographs whose rows are in the store, in any order.

        Parameters
        ----------
        batches
            They are taken as they can be done, so they need not all exist at the start. A
            photograph without a status was lost with the process that worked on it.

        Raises
        ------
        RegionTreeError
            No photograph can be done: the network cannot be loaded, say, or the store not written.
        """
        ...

    def total(self, counts: Sequence[int]) -> list[int]:
        """The sum of each count over all processes that were started alike. It waits for them."""
        ...

    def close(self) -> None:
        """Let go of processes and of what they hold."""
        ...


ENGINES: Registry[Callable[[EngineOptions], Engine]] = Registry(
    "engine",
    {
        "local": "regiontree.engines.pool:Pool",
        "torchrun": "regiontree.engines.alike:Alike",
        "ray": "regiontree.engines.ray:RayEngine",
    },
    group="regiontree.engines",
    error=SettingsError,
)
"""Engines by name."""


def cut(references: Iterable[Reference]) -> Iterator[list[Reference]]:
    """References in batches. How they are cut follows from their order alone.

    The first batches have one photograph. Later ones are larger, up to :data:`LARGEST`, but at most
    one 32nd of what came before. So few photographs are spread over many processes, and no process
    is long at work when all others have finished.

    >>> one = Reference("a", "a.png", "a.png")
    >>> sizes = [len(batch) for batch in cut([one] * 600)]
    >>> sizes[:3], sizes[64:67], sizes[-2:], sum(sizes)
    ([1, 1, 1], [2, 2, 2], [16, 6], 600)
    """
    batch: list[Reference] = []
    count = 0
    for reference in references:
        batch.append(reference)
        if len(batch) >= min(LARGEST, max(1, count // _SHARE)):
            count += len(batch)
            yield batch
            batch = []
    if batch:
        yield batch


def done(batch: Batch, parser: RegionParser, store: Store) -> list[Status]:
    """Do a batch in this process and write its rows; the statuses, in its order.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    StoreError
        The rows cannot be written.
    """
    rows: list[Row] = []
    seconds: list[float] = []
    for reference in batch:
        start = time.perf_counter()
        rows += process([reference], parser)
        seconds.append(time.perf_counter() - start)
    return written(rows, store, seconds)


def written(rows: Sequence[Row], store: Store, seconds: Sequence[float]) -> list[Status]:
    """Write rows as one part of a store; their statuses, in their order.

    Raises
    ------
    StoreError
        They cannot be written.
    """
    from regiontree.forest.schema import table_of

    if rows:
        store.add(table_of(rows))
    return [
        Status(row.id, row.error, row.notice, round(taken, 3))
        for row, taken in zip(rows, seconds, strict=True)
    ]
