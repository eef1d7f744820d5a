"""What an experiment asks of the processes that share it: tickets, counts, reports.

Work is handed out one ticket at a time from a common counter, so a process that got hard images
takes fewer of them and nobody waits long at the end. Results lie in files; only counts and
failures travel between processes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from regiontree.engines.local import Alone
from regiontree.engines.torchrun import Torchrun, is_under_torchrun

__all__ = ["Crew", "open_crew"]


class Crew(Protocol):
    """The processes of one run, as one of them sees them.

    Attributes
    ----------
    rank : int
        This process, 0 to size - 1; 0 speaks for all.
    size : int
        Number of processes.
    device : str or None
        Device given to this process; None leaves the choice to the user.
    """

    rank: int
    size: int
    device: str | None

    def tickets(self, count: int) -> Iterator[int]:
        """Numbers below `count`; every number goes to exactly one process."""
        ...

    def total(self, counts: Sequence[int]) -> list[int]:
        """Sums over all processes, after all of them asked."""
        ...

    def gather(self, text: str) -> list[str]:
        """Every process's text in order of rank, at rank 0; nothing elsewhere."""
        ...

    def close(self) -> None:
        """Leave the group."""
        ...


def open_crew(device: str = "auto") -> Crew:
    """The crew that this process was started in; alone if in none."""
    return Torchrun(device) if is_under_torchrun() else Alone()
