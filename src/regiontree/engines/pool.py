"""The engine ``local``: this process, and worker processes of this machine."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import astuple
from functools import partial
from itertools import chain, islice
from typing import Any

from regiontree.engines.division import pays, that_fit, usual_workers, why_here, worker_memory
from regiontree.engines.engine import Batch, EngineOptions, Status, done
from regiontree.engines.link import Message, error_of, told
from regiontree.engines.parsers import network_facts, parser_options
from regiontree.engines.photographs import features_for, open_parser
from regiontree.engines.worker import Caller
from regiontree.engines.workers import Lost, Workers, WorkersError
from regiontree.errors import BackboneError, StoreError
from regiontree.forest.store import open_store
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt
from regiontree.system.resources import cores, free_memory

__all__ = ["Pool", "open_batches"]

_TARGET = "regiontree.engines.pool:open_batches"
_AHEAD = 2048  # batches that are looked at to learn how much work there is
_SOON = 20.0  # seconds after which workers pay if there is work for them
_Statuses = Generator[list[Status], None, Iterator[Batch]]


class Pool:
    """Batches, done in this process or by workers: see :class:`~regiontree.engines.engine.Engine`.

    This process begins. If it would need more than some 20 seconds for the rest, workers take over.

    Parameters
    ----------
    options
        ``workers`` is the number of processes, 0 to 1024. 0: this process does all.
    """

    is_first = True
    ahead = 64

    def __init__(self, options: EngineOptions) -> None:
        self.parser = options.parser
        self.store = options.store
        self.notice = options.notice
        self.workers = options.workers

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """All batches."""
        return iter(batches)

    def statuses(self, batches: Iterable[Batch]) -> Iterator[list[Status]]:
        """See :meth:`regiontree.engines.engine.Engine.statuses`."""
        coming = iter(batches)
        if self.workers and (said := why_here(self.parser)):
            self.notice(f"no workers: {said}")
            self.workers = 0
        if self.workers is None:
            coming = yield from self._begun_here(coming)
        if self.workers:
            coming = yield from self._by_workers(coming, self.workers)
        for batch in coming:
            yield done(batch, self.parser, self.store)

    def total(self, counts: Sequence[int]) -> list[int]:
        """The counts themselves."""
        return list(counts)

    def close(self) -> None:
        """Do nothing: workers end with their work."""

    def _begun_here(self, coming: Iterator[Batch]) -> _Statuses:
        """Do batches in this process until workers would pay; the batches that are left."""
        usual = usual_workers(self.parser)
        ahead = list(islice(coming, _AHEAD)) if usual else []
        left, seconds = sum(map(len, ahead)), []
        rest = chain(ahead, coming)
        for batch in rest:
            found = done(batch, self.parser, self.store)
            yield found
            left -= len(batch)
            seconds += [one.seconds for one in found]
            is_long = sum(seconds) > _SOON and left > len(batch)
            if usual and (pays(seconds, left) or is_long):
                self.workers = usual
                break
        return rest

    def _by_workers(self, coming: Iterator[Batch], number: int) -> _Statuses:
        """Let workers do batches; those that are left if no worker can be started."""
        first = list(islice(coming, _AHEAD))
        coming = chain(first, coming)
        if not first:
            return coming
        network = self.parser.backbone if self.parser.needs_this_process else None
        options = {
            **parser_options(self.parser),
            "store": self.store.address,
            "network": None if network is None else network_facts(network),
        }
        answer = None if network is None else partial(features_for, network)
        paths = [one.path for batch in first for one in batch if one.path is not None]

        def limit(facts: Message) -> int:
            return that_fit(worker_memory(self.parser, paths, facts, network), free_memory())

        given: dict[int, Batch] = {}

        def references() -> Iterator[tuple[int, Any]]:
            for at, batch in enumerate(coming):
                given[at] = batch
                yield at, [list(astuple(one)) for one in batch]

        number = min(number, len(first))
        workers = Workers(_TARGET, options, number, cores(), limit, answer)
        try:
            with closing(workers):
                for at, row in workers.rows(references()):
                    given.pop(at)
                    yield _statuses_of(row)
        except WorkersError as error:
            self.notice(f"no workers: {error}; one process goes on")
        for _, row in workers.late:
            yield _statuses_of(row)
        finished = {at for at, _ in workers.late}
        left = [batch for at, batch in sorted(given.items()) if at not in finished]
        return chain(left, coming)


def _statuses_of(row: Any) -> list[Status]:
    """The statuses that a worker tells; none of a batch that was lost."""
    if isinstance(row, Lost):
        return []
    if "stop" in row:
        raise error_of(row["stop"])
    return [Status(*one) for one in row["statuses"]]


def open_batches(
    options: Message, caller: Caller
) -> tuple[Callable[[list[list[Any]]], Message], Message]:
    """What a worker does with a batch, and facts about its network.

    Raises
    ------
    BackboneError
        The network cannot be loaded.
    """
    parser, facts = open_parser(options, caller)
    store = open_store(options["store"], create=False)

    def work(batch: list[list[Any]]) -> Message:
        references = [Reference(*one) for one in batch]
        found = attempt(partial(done, references, parser, store))
        if isinstance(found, BackboneError | StoreError):  # so will the next batch
            return {"stop": told(found)}
        if isinstance(found, Exception):
            raise found
        return {"statuses": [list(astuple(one)) for one in found]}

    return work, facts
