"""One process that works alone: the simplest crew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["Alone"]


class Alone:
    """One process."""

    rank = 0
    size = 1
    device: str | None = None

    def tickets(self, count: int) -> Iterator[int]:
        """Every number below `count`."""
        return iter(range(count))

    def total(self, counts: Sequence[int]) -> list[int]:
        """The counts themselves."""
        return list(counts)

    def gather(self, text: str) -> list[str]:
        """The text itself, in a list."""
        return [text]

    def close(self) -> None:
        """Nothing is open."""
