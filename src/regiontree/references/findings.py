"""What a listing meets beside the references that it gives."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from regiontree.references.addresses import as_text, printable
from regiontree.system.inputs import kinds_text

__all__ = ["Findings"]

_NAMED_TWICE = 5  # how many of the references that come twice are named
_NAMED_PROBLEMS = 1000  # how many problems are kept, so that a bad list does not fill the memory


@dataclass(slots=True)
class Findings:
    """What was met so far.

    Attributes
    ----------
    count : int
        Number of references.
    twice : int
        How many more there would be if each photograph were not listed once.
    twice_named : list of str
        Ids of the first of them.
    left_out : Counter of str
        Files of other kinds in folders and archives: how many of each suffix, in lower case.
    problems : dict of str to str
        What could not be listed: the address, and why. The first 1,000.
    problem_count : int
        How many problems there are, those that are not kept included.
    """

    count: int = 0
    twice: int = 0
    twice_named: list[str] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: dict[str, str] = field(default_factory=dict)
    problem_count: int = 0

    def add_twice(self, id: str) -> None:
        """Count a photograph that was listed before."""
        self.twice += 1
        if len(self.twice_named) < _NAMED_TWICE:
            self.twice_named.append(id)

    def add_problem(self, address: str, why: str) -> None:
        """Name what could not be listed."""
        address, why = as_text(address), printable(why)
        if address in self.problems:
            why = f"{self.problems[address]}; {why}"
        else:
            self.problem_count += 1
        if address in self.problems or len(self.problems) < _NAMED_PROBLEMS:
            self.problems[address] = why

    @property
    def left_out_text(self) -> str | None:
        """A sentence on what was left out; None if nothing was.

        >>> found = Findings()
        >>> found.add_twice("a.jpg")
        >>> found.left_out[".txt"] += 3
        >>> found.left_out_text
        'left out: 3 .txt; 1 listed twice: a.jpg'
        """
        said = [kinds_text(self.left_out)] if self.left_out else []
        if self.twice:
            names = ", ".join(_short(name) for name in self.twice_named)
            more = ", ..." if self.twice > len(self.twice_named) else ""
            said.append(f"{self.twice:,} listed twice: {names}{more}")
        return f"left out: {'; '.join(said)}" if said else None


def _short(name: str, most: int = 80) -> str:
    return name if len(name) <= most else f"{name[: most - 3]}..."
