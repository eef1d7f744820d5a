"""Seconds of each step of a photograph: in one worker alone, and in all workers at once.

Cores share the bandwidth of memory, caches and their clock. So a core does less if the others are
busy, and how much less is measured: the same photographs are done by one worker of one thread, and
by as many workers as a run has. Photographs count from the time when each worker has done one, and
all workers are busy until the last of them is done.

Time in which a worker was ready, but other programs had the core, does not count. So figures can be
taken on a machine that is not quiet (only Linux tells this time).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, astuple, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from regiontree.backbones.operations import count_operations
from regiontree.engines.division import that_fit, worker_memory
from regiontree.engines.link import Message
from regiontree.engines.machines import STEPS
from regiontree.engines.parsers import parser_options
from regiontree.engines.photographs import features_for, open_parser
from regiontree.engines.process import decoded, features, trees
from regiontree.engines.survey import size_of
from regiontree.engines.worker import Caller
from regiontree.engines.workers import Lost, Workers
from regiontree.forest.layout import PARTS, RECORD
from regiontree.forest.row import Row
from regiontree.forest.store import open_store
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt
from regiontree.system.resources import cores, free_memory, most_memory, waited_for_core

__all__ = [
    "CrewTimes",
    "Seen",
    "Times",
    "network_seconds",
    "open_timed",
    "operations",
    "time_crew",
    "time_shards",
]

_TARGET = "regiontree.engines.timing:open_timed"
_LATE = 120.0  # seconds after the first worker in which the others come
Seen = tuple[int, ...]
"""Shape of what the network sees of a photograph: (3, h * patch, w * patch)."""


@dataclass(frozen=True, slots=True)
class Times:
    """What one photograph took.

    Attributes
    ----------
    seconds : mapping
        For each of :data:`~regiontree.engines.machines.STEPS`.
    waited : float
        Seconds that do not count, since other programs had the core.
    seen : tuple of int or None
        What the network saw. None if no network was needed.
    read, stored : int
        Bytes of the photograph, and of its tree.
    memory : int
        Most bytes that the process held.
    error : str or None
        Why there is no tree.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))
    waited: float = 0.0
    seen: Seen | None = None
    read: int = 0
    stored: int = 0
    memory: int = 0
    error: str | None = None

    @property
    def whole(self) -> float:
        """Seconds of all steps."""
        return sum(self.seconds.values())


@dataclass(frozen=True, slots=True)
class CrewTimes:
    """What some workers at once took.

    Attributes
    ----------
    workers : int
        How many there were.
    start : float
        Seconds until each of them had done a photograph.
    times : list of Times
        Of each photograph of the sample, in its order.
    """

    workers: int
    start: float
    times: list[Times]

    def mean(self, step: str) -> float:
        """Mean seconds of a step. A photograph that fails takes no time in later steps."""
        return sum(one.seconds[step] for one in self.times) / len(self.times)

    @property
    def whole(self) -> float:
        """Mean seconds of a photograph."""
        return sum(map(self.mean, STEPS))


def time_crew(
    parser: RegionParser,
    sample: Sequence[Reference],
    workers: int,
    out: Path,
    *,
    is_store: bool = False,
    on_photograph: Callable[[], None] = lambda: None,
) -> CrewTimes:
    """What some workers at once take for a sample.

    Parameters
    ----------
    parser
        Its settings count. Networks run on the CPU.
    sample
        At least one photograph.
    workers
        How many workers there are, unless memory suffices only for fewer. One worker has one
        thread. Several share the cores.
    out
        Folder or store for trees.
    is_store
        Whether `out` is a store.
    on_photograph
        Called after each photograph of the sample.

    Raises
    ------
    WorkersError
        No worker can be started.
    BackboneError
        The network cannot be loaded.
    """
    options = {
        **parser_options(parser), "network": None, "out": str(out), "is_store": is_store
    }  # fmt: skip
    paths = [path for one in sample if (path := one.path) is not None]

    def limit(facts: Message) -> int:
        return that_fit(worker_memory(parser, paths, facts), free_memory())

    crew = Workers(_TARGET, options, workers, cores() if workers > 1 else 1, limit)
    started: set[int] = set()
    found: dict[int, Times] = {}
    first: list[int] = []  # the number of the first piece of work that counts
    begin = time.perf_counter()
    start, end = 0.0, float("inf")

    def work() -> Iterator[tuple[int, Any]]:
        number = 0
        # Until each worker has done one, or those that are missing will not come.
        while len(started) < crew.size and time.perf_counter() < end:
            yield number, [number, *astuple(sample[number % len(sample)])]
            number += 1
        first.append(number)
        for one in sample:
            yield number, [number, *astuple(one)]
            number += 1
        while len(found) < len(sample):  # so that no worker is idle before the end
            yield number, [number, *astuple(sample[number % len(sample)])]
            number += 1

    with closing(crew):
        for number, row in crew.rows(work()):
            times = Times(error=row.reason) if isinstance(row, Lost) else _times_of(row["times"])
            at = number - first[0] if first else -1
            if 0 <= at < len(sample):
                found[at] = times
                on_photograph()
            who = -number - 1 if isinstance(row, Lost) else row["pid"]
            if not first and who not in started:
                started.add(who)
                taken = time.perf_counter() - begin
                end = min(end, begin + taken + max(_LATE, 3 * taken))
                start = max(start, taken - (0.0 if isinstance(row, Lost) else row["waited"]))
            if len(found) == len(sample):
                break
    return CrewTimes(len(started), start, [found[at] for at in range(len(sample))])


def _times_of(values: Message) -> Times:
    seen = values["seen"]
    return Times(**{**values, "seen": None if seen is None else tuple(seen)})


# -- in a worker ----------------------------------------------------------------------------------


def open_timed(options: Message, caller: Caller) -> tuple[Callable[[list[Any]], Message], Message]:
    """What a worker does with a photograph, and facts about its network.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    parser, facts = open_parser(options, caller)
    store = open_store(options["out"], create=False) if options["is_store"] else None

    def write(row: Row, number: int) -> int:
        if store is not None:
            from regiontree.forest.schema import table_of

            store.add(table_of([replace(row, id=f"{os.getpid()}-{number}")]))
        elif row.tree is not None:
            file = row.tree.save(Path(options["out"]) / f"{os.getpid()}-{number}.npz")
            stored = file.stat().st_size
            file.unlink()
            return stored
        return 0

    def work(given: list[Any]) -> Message:
        number, *values = given
        times = _timed(Reference(*values), parser, lambda row: write(row, number))
        return {"pid": os.getpid(), "waited": waited_for_core(), "times": asdict(times)}

    return work, facts


class _Clock:
    """Seconds since the last lap, without those in which the process waited for a core."""

    def __init__(self) -> None:
        self.waited = 0.0
        self._at, self._queue = _now()

    def lap(self) -> float:
        at, queue = _now()
        waited = min(queue - self._queue, at - self._at)
        taken = at - self._at - waited
        self.waited += waited
        self._at, self._queue = at, queue
        return taken


def _now() -> tuple[float, float]:
    """The time, and the seconds that the process has waited for a core until this very moment."""
    while True:
        before, at, after = waited_for_core(), time.perf_counter(), waited_for_core()
        if before == after:
            return at, after


def _timed(reference: Reference, parser: RegionParser, write: Callable[[Row], int]) -> Times:
    """What a photograph takes, step by step."""
    clock = _Clock()
    one = decoded(reference, parser)
    decoding = clock.lap()
    seen = None if one.pixels is None else tuple(one.pixels.shape)
    (one,) = features([one], parser)
    network = 0.0 if seen is None else clock.lap()  # else it would be the time of looking
    unrefined = None
    if parser.settings.refine is not None and one.features is not None:
        plain = parser.copied()
        plain.settings = replace(parser.settings, refine=None)
        attempt(partial(plain.build, one.features, rgb=one.rgb))
        unrefined = clock.lap()
    (row,) = trees([one], parser)
    tree = clock.lap()
    unrefined = tree if unrefined is None else min(tree, unrefined)
    stored = attempt(partial(write, row))
    writing = clock.lap()
    error = str(stored) if isinstance(stored, Exception) else row.error
    taken = (decoding, network, unrefined, tree - unrefined, writing)
    return Times(
        dict(zip(STEPS, taken, strict=True)),
        clock.waited,
        seen,
        _bytes_of(reference),
        0 if isinstance(stored, Exception) else stored,
        most_memory() or 0,
        error,
    )


def _bytes_of(reference: Reference) -> int:
    size = size_of(reference)
    if size is None and reference.path is None:
        from regiontree.references import remote

        asked = attempt(partial(remote.size_of, reference.address))
        size = None if isinstance(asked, Exception) else asked
    return size or 0


# -- in this process ------------------------------------------------------------------------------


def time_shards(store: Path) -> tuple[float, float]:
    """Seconds to put a row of a store into a shard, and its bytes there.

    What a compaction takes for one row is subtracted, so that the rest is in proportion to rows.

    Parameters
    ----------
    store
        A store whose parts have one row each. Its shards are made.
    """
    parts = sorted((store / PARTS).glob("*.parquet"))
    with tempfile.TemporaryDirectory() as folder:
        small = [Path(folder) / name for name in ("first", "second")]
        for other in small:
            (other / PARTS).mkdir(parents=True)
            for file in (store / RECORD, parts[0]):
                shutil.copy(file, other / file.relative_to(store))
        _compaction(small[0])  # the first loads what it needs
        one, every = _compaction(small[1]), _compaction(store)
    stored = sum(file.stat().st_size for file in store.glob("shard-*.parquet"))
    return max(0.0, every - one) / max(1, len(parts) - 1), stored / len(parts)


def _compaction(store: Path) -> float:
    clock = _Clock()
    open_store(store, create=False).compact(final=True)
    return clock.lap()


def operations(parser: RegionParser, seen: Sequence[Seen]) -> float:
    """Mean floating-point operations of the network for pictures; 0 if torch does not run it."""
    network = parser.backbone
    counts = {
        shape: count_operations(network, _blank(shape, parser).to(network.device))
        for shape in set(seen)
    }
    return sum(counts[shape] for shape in seen) / max(1, len(seen))


def network_seconds(parser: RegionParser, seen: Sequence[Seen]) -> float:
    """Mean seconds of the network for pictures, on the parser's device, copies included."""
    network = parser.backbone
    taken: dict[Seen, float] = {}
    for shape in set(seen):
        pixels = _blank(shape, parser)[None].numpy()
        features_for(network, pixels)  # the first of a shape takes longer
        start = time.perf_counter()
        features_for(network, pixels)
        taken[shape] = time.perf_counter() - start
    return sum(taken[shape] for shape in seen) / max(1, len(seen))


def _blank(shape: Seen, parser: RegionParser) -> torch.Tensor:
    dtype = torch.float32 if parser.settings.view.tiles is None else torch.uint8
    return torch.zeros(shape, dtype=dtype)
