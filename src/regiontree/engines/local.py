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
        return iter(range(count))

    def total(self, counts: Sequence[int]) -> list[int]:
        return list(counts)

    def gather(self, text: str) -> list[str]:
        return [text]

    def close(self) -> None:
        pass
