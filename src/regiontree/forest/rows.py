"""What a forest needs of the place where its rows lie: a store, or a folder of tree files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.forest.row import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Place", "Rows"]

Place = tuple[int, int]
"""Number of a file, and of a row in it."""
Bools = NDArray[np.bool_]


class Rows(ABC):
    """Rows in numbered files.

    Attributes
    ----------
    address : str
        Where they lie.
    """

    address: str

    @property
    @abstractmethod
    def lengths(self) -> list[int]:
        """Number of rows of each file."""

    @property
    @abstractmethod
    def count(self) -> tuple[int, int]:
        """How many ids have a tree, and how many have none."""

    @property
    @abstractmethod
    def problems(self) -> dict[str, str]:
        """Files that cannot be read: name -> why."""

    @abstractmethod
    def find(self, key: str) -> tuple[Place, bool] | None:
        """Where an id stands, and whether it has no tree; None if it stands nowhere."""

    @abstractmethod
    def row(self, key: str) -> Row | None:
        """The row of an id; None if it stands nowhere."""

    @abstractmethod
    def shown(self, file: int) -> Bools:
        """Which rows of a file are shown. Of several rows of an id, one is."""

    @abstractmethod
    def ids(self, file: int) -> Iterator[tuple[int, list[str], Bools]]:
        """Rows of a file, some at a time: the first's number, their ids, which have no tree."""

    @abstractmethod
    def rows(self, file: int, mask: Bools) -> Iterator[Row]:
        """The rows of a file where a mask is true."""

    @abstractmethod
    def tables(self, file: int, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        """Rows of a file, some at a time: the first's number, and some columns of them."""

    @abstractmethod
    def holds(self, file: int, condition: Any) -> Bools:
        """For which rows of a file an expression of pyarrow is true."""

    @abstractmethod
    def records(
        self, file: int, columns: Sequence[str]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """The same as mappings, without pyarrow."""
