"""Rows to test stores with, and a folder whose writer can be killed at any point."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np
from trees import random_tree

from regiontree import RegionTree
from regiontree.forest.row import Row
from regiontree.forest.storage import LocalFolder

SETTINGS = {"parts": 400, "tree": "ward", "seed": 0}


def tree_row(key: str, seed: int = 0, *, dim: int | None = 8, shape=(9, 13)) -> Row:
    """A row with a tree that follows from the id and the seed."""
    rng = np.random.default_rng([seed, *hashlib.sha256(key.encode()).digest()[:4]])
    tree = random_tree(rng, int(rng.integers(1, 12)), shape, dim=dim)
    meta = {"image": {"name": key.rpartition("/")[2], "size": list(shape)}, "settings": SETTINGS}
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    return Row(
        key,
        f"/photos/{key}",
        RegionTree(*arrays, meta=meta, descriptor=tree.descriptor, stability=tree.stability),
        sha256=hashlib.sha256(key.encode()).hexdigest(),
    )


def failed_row(key: str, error: str = "is no photograph") -> Row:
    """A row without a tree."""
    return Row(key, f"/photos/{key}", error=error)


def rows_equal(a: Row, b: Row) -> bool:
    """Whether two rows are the same, trees included."""
    names = ("id", "reference", "error", "notice", "sha256")
    return all(getattr(a, n) == getattr(b, n) for n in names) and a.tree == b.tree


class Killed(BaseException):
    """As a kill: nothing catches it."""


class MortalFolder(LocalFolder):
    """A folder whose process is killed at change number `dies_at`, before or after it."""

    def __init__(self, path: Path, dies_at: int = 1 << 30, *, after: bool = False) -> None:
        super().__init__(path)
        self.changes, self.dies_at, self.after = 0, dies_at, after

    def _change(self) -> None:
        self.changes += 1
        if self.changes == self.dies_at:
            raise Killed

    @contextmanager
    def writing(self, name: str) -> Iterator[IO[bytes]]:
        if not self.after:
            self._change()
        with super().writing(name) as file:
            yield file
        if self.after:
            self._change()

    def remove(self, name: str) -> None:
        if not self.after:
            self._change()
        super().remove(name)
        if self.after:
            self._change()
