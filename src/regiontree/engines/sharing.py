"""The jobs of a batch, done in this process or by workers; results come in their order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from regiontree.backbones.featurefolder import require_folder, shared_features
from regiontree.engines.division import (
    FEW,
    START,
    pays,
    that_fit,
    usual_workers,
    why_here,
    worker_memory,
)
from regiontree.engines.feeding import feed
from regiontree.engines.finished import Job
from regiontree.engines.photographs import (
    Outcome,
    Photographs,
    as_reference,
    features_for,
    options_for,
)
from regiontree.engines.workers import Lost, Workers, WorkersError
from regiontree.images.masks import Masked
from regiontree.system.resources import cores, free_memory

__all__ = ["Batch"]

_TARGET = "regiontree.engines.photographs:open_work"
_Coming = Iterator[tuple[int, Job | None]]
_Rows = Generator[tuple[int, Outcome], None, None]


class Batch:
    """The jobs of one batch.

    Parameters
    ----------
    work
        What is done with each job.
    jobs
        The jobs. Their results come in this order.
    workers
        Number of worker processes; None: see :func:`regiontree.engines.batch.segment`.
    notice
        Called with sentences on how the work is divided.
    """

    def __init__(
        self,
        work: Photographs,
        jobs: Sequence[Job],
        workers: int | None,
        notice: Callable[[str], None],
    ) -> None:
        self.work = work
        self.jobs = jobs
        self.workers = workers
        self.notice = notice
        self._known: dict[int, Outcome] = {}  # results that need no work
        self._waiting: dict[int, Outcome] = {}  # results of jobs after one in work

    def outcomes(self) -> Generator[Outcome, None, None]:
        """The results of the jobs, in their order.

        Raises
        ------
        BackboneError, FeatureError
            See :func:`regiontree.engines.batch.segment`.
        """
        due = 0
        with closing(self._rows()) as rows:
            for number, outcome in rows:
                self._waiting[number] = outcome
                while due in self._waiting:
                    yield self._waiting.pop(due)
                    due += 1

    def rest(self) -> list[Outcome]:
        """After an interruption: results that :meth:`outcomes` has not given, in their order."""
        return [self._waiting[number] for number in sorted(self._waiting)]

    def _rows(self) -> _Rows:
        """The number and the result of each job, as they are finished."""
        coming = self._coming()
        if self.workers is None:
            coming = yield from self._begun_here(coming)
        elif self.workers and (said := why_here(self.work.parser)):
            self.notice(f"no workers: {said}")
            self.workers = 0
        if self.workers:
            first, coming = yield from self._first_of(coming)
            if len(first) > FEW:
                coming = yield from self._by_workers(chain(first, coming), self.workers)
            else:
                coming = chain(first, coming)
        yield from self._here(coming, lambda seconds, left: False)

    def _coming(self) -> _Coming:
        """The number of each job, and the job; None if its result is known without work."""
        folder = self.work.parser.settings.backbone.folder
        shared: dict[Path, str] = {}
        if folder is not None:
            require_folder(folder)
            sources = [job.source for job in self.jobs if job.error is None]
            shared = shared_features(folder, sources)
        for number, job in enumerate(self.jobs):
            if said := shared.get(job.source):
                job = replace(job, output=None, error=said)
            known = self.work.known(job)
            if known is not None:
                self._known[number] = known
            yield number, None if known else job

    def _first_of(self, coming: _Coming) -> Generator[tuple[int, Outcome], None, Any]:
        """So many jobs that have to be done that workers are worth their start; and the rest."""
        found: list[tuple[int, Job]] = []
        for number, job in coming:
            if job is None:
                yield number, self._known.pop(number)
                continue
            found.append((number, job))
            if len(found) > FEW:
                break
        return found, coming

    # -- in this process --------------------------------------------------------------------------

    def _begun_here(self, coming: _Coming) -> Generator[tuple[int, Outcome], None, _Coming]:
        """Do jobs until workers would pay; the jobs that are left."""
        usual = usual_workers(self.work.parser)
        if not usual:
            return coming
        self.workers = usual
        return (yield from self._here(coming, pays))

    def _here(
        self, coming: _Coming, stop: Callable[[list[float], int], bool]
    ) -> Generator[tuple[int, Outcome], None, _Coming]:
        """Do jobs in this process until `stop` says so; the jobs that are left.

        `stop` gets the seconds of the trees so far, and the number of jobs that are left.
        """
        parser = self.work.parser
        started: deque[tuple[int, Job | None]] = deque()
        seconds: list[float] = []

        def photos() -> Iterator[Path | Masked | None]:
            for number, job in coming:
                started.append((number, job))
                yield None if job is None else job.photo

        # Building a tree takes longer than a batch of the network could save.
        with closing(feed(parser, photos(), batch=1)) as feeding:
            for fed in feeding:
                number, job = started.popleft()
                outcome = self._known.pop(number) if job is None else self.work.done(job, fed)
                yield number, outcome
                if outcome.seconds is not None:
                    seconds.append(outcome.seconds)
                if stop(seconds, len(self.jobs) - number - 1):
                    break
        return chain(started, coming)

    # -- by workers -------------------------------------------------------------------------------

    def _by_workers(
        self, coming: _Coming, number: int
    ) -> Generator[tuple[int, Outcome], None, _Coming]:
        """Let workers do jobs; those that are left if no worker can be started."""
        parser = self.work.parser
        network = parser.backbone if parser.needs_this_process else None
        free = free_memory()
        number = min(number, len(self.jobs))
        if free is not None and number > max(1, free // START):
            self._say_less(max(1, free // START), number, START, free)
            number = max(1, free // START)
        jobs = {}

        def references() -> Iterator[tuple[int, Any]]:
            for at, job in coming:
                jobs[at] = job
                yield at, None if job is None else as_reference(job)

        answer = None if network is None else partial(features_for, network)
        limit = partial(self._limit, number, free)
        workers = Workers(_TARGET, options_for(self.work, network), number, cores(), limit, answer)
        try:
            for at, row in workers.rows(references()):
                yield at, self._outcome(jobs.pop(at), at, row)
        except WorkersError as error:
            self.notice(f"no workers: {error}; one process goes on")
        finally:
            workers.close()
            for at, row in workers.late:
                self._waiting[at] = self._outcome(jobs.pop(at), at, row)
        return chain(sorted(jobs.items()), coming)

    def _outcome(self, job: Job | None, number: int, row: Any) -> Outcome:
        if job is None:
            return self._known.pop(number)
        if isinstance(row, Lost):
            output = None if job.output is None else str(job.output)
            return Outcome(str(job.source), "failed", output, error=f"{job.source}: {row.reason}")
        return Outcome(**row)

    def _limit(self, number: int, free: int | None, facts: dict[str, Any]) -> int:
        """How many workers fit into memory, told by the facts of the first that is ready."""
        parser = self.work.parser
        network = parser.backbone if parser.needs_this_process else None
        photos = (job.source for job in self.jobs if job.error is None)
        needed = worker_memory(parser, photos, facts, network)
        fit = that_fit(needed, free)
        if fit < number:
            self._say_less(fit, number, needed, free)
            number = fit
        threads = max(1, cores() // number)
        self.notice(
            f"{number} worker{'s' * (number > 1)}, {threads} thread{'s' * (threads > 1)} each, up "
            f"to {needed / 1e9:.1f} GB each"
        )
        return number

    def _say_less(self, number: int, asked: int, needed: int, free: int | None) -> None:
        assert free is not None
        self.notice(
            f"{number} worker{'s' * (number > 1)} instead of {asked}: each needs up to "
            f"{needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free"
        )
