"""What a forest needs of the place where its rows lie: a store, or a folder of tree files."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.row import Row

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Place", "Rows", "true_where"]

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

    @abstractmethod
    def pinned(self) -> Rows:
        """The same rows in files that keep their numbers."""

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
    def may_fail(self, file: int) -> bool:
        """Whether a file may have rows without a tree."""

    @abstractmethod
    def ids(self, file: int) -> Iterator[tuple[int, list[str], Bools]]:
        """Rows of a file, some at a time: the first's number, their ids, which have no tree."""

    @abstractmethod
    def rows(self, file: int, mask: Bools) -> Iterator[tuple[Row, bool]]:
        """The rows of a file where a mask is true, and whether each is damaged.

        The error of a damaged row says how. What else its files hold goes on.
        """

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


def true_where(column: pa.ChunkedArray) -> Bools:
    """What a condition of pyarrow says of each row, as a mask; null is False.

    Raises
    ------
    StoreError
        It says neither true nor false.
    """
    if not pyarrow().types.is_boolean(column.type):
        raise StoreError(f"a filter must be true or false for each row, not {column.type}")
    mask: Bools = column.fill_null(False).to_numpy().astype(bool)
    return mask
