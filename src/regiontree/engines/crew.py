"""How the processes of one experiment share its work.

The images of an experiment have numbers, called tickets. Each process takes the next ticket from a
common counter. So a process with slow images takes fewer of them, and no process waits long at the
end. The processes write their results to files. They send each other only counts and messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from regiontree.engines.local import Alone
from regiontree.engines.torchrun import Torchrun, is_under_torchrun

__all__ = ["Crew", "open_crew"]


class Crew(Protocol):
    """All processes of one run, seen from one of them.

    Attributes
    ----------
    rank : int
        Number of this process, 0 to size - 1. Process 0 writes the reports.
    size : int
        Number of processes.
    device : str or None
        Device of this process, such as ``cuda:1``. None: the user's choice holds.
    """

    rank: int
    size: int
    device: str | None

    def tickets(self, count: int) -> Iterator[int]:
        """The tickets of this process. Each number below `count` goes to exactly one process."""
        ...

    def total(self, counts: Sequence[int]) -> list[int]:
        """The sum of each count over all processes. It waits until all processes have called it."""
        ...

    def gather(self, text: str) -> list[str]:
        """At rank 0, the texts of all processes in order of rank; an empty list elsewhere."""
        ...

    def close(self) -> None:
        """Leave the group of processes."""
        ...


def open_crew(device: str = "auto") -> Crew:
    """The crew of this process: of torchrun if torchrun started the process, else one process.

    Parameters
    ----------
    device
        The user's choice of device.

    Raises
    ------
    SettingsError
        The device does not fit this machine: see :class:`~regiontree.engines.torchrun.Torchrun`.
    """
    return Torchrun(device) if is_under_torchrun() else Alone()
