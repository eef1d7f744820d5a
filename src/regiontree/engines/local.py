"""A crew with one process, which does all the work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["Alone"]


class Alone:
    """A crew with one process: see :class:`regiontree.engines.crew.Crew`."""

    rank = 0
    size = 1
    device: str | None = None

    def tickets(self, count: int) -> Iterator[int]:
        """All numbers below `count`."""
        return iter(range(count))

    def total(self, counts: Sequence[int]) -> list[int]:
        """The counts themselves."""
        return list(counts)

    def gather(self, text: str) -> list[str]:
        """A list with `text` alone."""
        return [text]

    def close(self) -> None:
        """Do nothing."""
