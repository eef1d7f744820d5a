"""What a target is: a reader, valid inputs for it, and ways to spoil them."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy

__all__ = ["Box", "Mutator", "Target", "kind_of"]

Mutator = Callable[[random.Random, bytes], bytes]
"""A change to an input. All its choices come from the random generator."""


@dataclass
class Box:
    """The folder of one case. Files that the target did not write itself may not remain in it."""

    folder: Path
    written: set[str] = field(default_factory=set)

    def write(self, name: str, data: bytes) -> Path:
        """Write a file of this case."""
        self.written.add(name)
        path = self.folder / name
        path.write_bytes(data)
        return path


@dataclass(frozen=True)
class Target:
    """A reader of foreign bytes.

    Attributes
    ----------
    name
        ``KIND.READER``. The cases of a kind are shared among its targets.
    run
        Hands the bytes of a case to the reader and checks the result with ``assert``. It may raise
        a RegionTreeError: the input is then refused.
    seeds
        Makes valid inputs.
    mutators
        Changes that keep the form of an input, such as the parts of a zip file. The plain changes
        of bytes are always tried, too.
    strategy
        Makes a hypothesis strategy of well-formed inputs with arbitrary content, if there is one.
    names
        Texts of which an error message must hold at least one, such as the file's name.
    loud
        Whether a library in C may print: libtiff and libpng do, and nothing stops them.
    share
        Weight of this target among those of its kind.
    """

    name: str
    run: Callable[[Box, bytes], None]
    seeds: Callable[[], list[bytes]]
    mutators: tuple[Mutator, ...] = ()
    strategy: Callable[[], SearchStrategy[bytes]] | None = None
    names: tuple[str, ...] = ("case",)
    loud: bool = False
    share: float = 1.0

    @property
    def kind(self) -> str:
        """As :func:`kind_of` its name."""
        return kind_of(self.name)


def kind_of(name: str) -> str:
    """The kind of a target, the part of its name before the dot."""
    return name.partition(".")[0]
