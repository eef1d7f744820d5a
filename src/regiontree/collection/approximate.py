"""Candidates for the most similar rows, from a graph of neighbours of the library usearch.

Reference: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using
hierarchical navigable small world graphs, 2018.

Why usearch and not faiss: docs/decisions/94-search.md.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import MissingExtraError

__all__ = ["CANDIDATES", "Approximate", "is_installed"]

CANDIDATES = 200
"""Rows that are compared exactly, if no more than half as many are wanted."""
_LINKS = 16  # neighbours of a row in the graph
_WHILE_ADDING = 64  # candidates among which they are chosen
_BLOCK = 65_536  # rows at a time

Float16 = NDArray[np.float16]


def is_installed() -> bool:
    """Whether usearch is there."""
    return find_spec("usearch") is not None


class Approximate:
    """A graph over unit rows, in which like rows are neighbours."""

    def __init__(self, index: Any) -> None:
        self._index = index

    @classmethod
    def build(cls, rows: Float16) -> Approximate:
        """The graph over rows (n, p).

        One thread builds it, so the same rows give the same graph.

        Raises
        ------
        MissingExtraError
            usearch is not installed.
        """
        index = _new(rows.shape[1])
        for start in range(0, len(rows), _BLOCK):
            block = np.ascontiguousarray(rows[start : start + _BLOCK])
            index.add(np.arange(start, start + len(block)), block, threads=1)
        return cls(index)

    @classmethod
    def read(cls, path: Path, shape: tuple[int, int]) -> Approximate | None:
        """The graph in a file over rows of a shape, mapped into memory; None if it is damaged.

        Raises
        ------
        MissingExtraError
            usearch is not installed.
        """
        index = _new(shape[1])
        try:
            # usearch 2.26 closes file descriptor 0 if it cannot open the file.
            path.open("rb").close()
            index.view(str(path))
        except (OSError, RuntimeError, ValueError):
            return None
        return cls(index) if (len(index), index.ndim) == shape else None

    def write(self, path: Path) -> None:
        """Write the graph into a file, which is replaced."""
        self._index.save(str(path))

    def candidates(self, example: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Places of about `count` rows that should be most like an example (p,), ascending."""
        self._index.expansion_search = count
        found = self._index.search(example.astype(np.float16), count, threads=1)
        return np.sort(np.asarray(found.keys).astype(np.int64))


def _new(length: int) -> Any:
    """An empty graph over rows of p numbers."""
    try:
        from usearch.index import Index
    except ImportError:
        raise MissingExtraError(
            "approximate search needs usearch: pip install 'regiontree[search]', or search exactly"
        ) from None
    return Index(
        ndim=length,
        metric="ip",
        dtype="f16",
        connectivity=_LINKS,
        expansion_add=_WHILE_ADDING,
        enable_key_lookups=False,
    )
