"""The engine ``torchrun``: processes that were started alike and share batches by tickets.

Each process lists the same references and cuts them into the same batches. A batch has a number,
its ticket: see :mod:`regiontree.engines.crew`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence

from regiontree.engines.crew import Crew
from regiontree.engines.engine import Batch, EngineOptions, Status, done

__all__ = ["Alike"]


class Alike:
    """One of several processes: see :class:`~regiontree.engines.engine.Engine`.

    Parameters
    ----------
    options
        ``more["crew"]`` is the crew of the process.
    """

    ahead = 1

    def __init__(self, options: EngineOptions) -> None:
        self.crew: Crew = options.more["crew"]
        self.is_first = self.crew.rank == 0
        self.parser = options.parser
        self.store = options.store

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """The batches whose tickets this process takes, one at a time."""
        tickets = self.crew.tickets(sys.maxsize)
        due = next(tickets)
        for number, batch in enumerate(batches):
            if number == due:
                yield batch
                due = next(tickets)

    def statuses(self, batches: Iterable[Batch]) -> Iterator[list[Status]]:
        """See :meth:`regiontree.engines.engine.Engine.statuses`."""
        for batch in batches:
            yield done(batch, self.parser, self.store)

    def total(self, counts: Sequence[int]) -> list[int]:
        """Sums over all processes."""
        return self.crew.total(counts)

    def close(self) -> None:
        """Leave the group of processes."""
        self.crew.close()
