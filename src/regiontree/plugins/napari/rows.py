"""A tree as rows of a table: which row is where, and what its columns say."""

from __future__ import annotations

import numpy as np

from regiontree.tree import RegionTree, StopReason
from regiontree.tree.kernel import children

__all__ = ["COLUMNS", "TreeRows", "share_text"]

COLUMNS = ("Region", "Share", "Height", "Stability")
"""Heads of the columns."""


def share_text(share: float) -> str:
    """A share of the image in per cent, with a digit that still says something.

    >>> share_text(1.0), share_text(0.1234), share_text(0.00012), share_text(0.0)
    ('100 %', '12.3 %', '0.012 %', '0 %')
    """
    percent = 100 * share
    if percent in (0, 100):
        return f"{percent:.0f} %"
    return f"{percent:.1f} %" if percent >= 1 else f"{percent:.2g} %"


class TreeRows:
    """The rows of a tree. The children of a node are its rows, the largest first.

    Each question is answered from arrays in the same time whatever the size of the tree, so a view
    asks only for the rows that it shows.

    Examples
    --------
    >>> rows = TreeRows(RegionTree([[0, 0, 1], [2, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, .4, 1]))
    >>> rows.count(4), [rows.child(4, i) for i in range(2)], rows.parent(0), rows.row(1)
    (2, [2, 3], 3, 1)
    >>> [rows.text(3, column) for column in range(4)]
    ['3', '50.0 %', '0.4', '']
    """

    def __init__(self, tree: RegionTree) -> None:
        self.tree = tree
        self._start, self._nodes = children(tree.parents, tree.area)
        self._row = np.zeros(tree.n_nodes, np.int64)
        self._row[self._nodes] = np.arange(len(self._nodes)) - self._start[:-1].repeat(
            np.diff(self._start)
        )
        self._pixels = float(tree.area[-1])

    def count(self, node: int) -> int:
        """Number of children."""
        return int(self._start[node + 1] - self._start[node])

    def child(self, node: int, row: int) -> int:
        """The child of a node in a row."""
        return int(self._nodes[self._start[node] + row])

    def parent(self, node: int) -> int | None:
        """The parent of a node; None for the root."""
        return None if node == self.tree.root else int(self.tree.parents[node])

    def row(self, node: int) -> int:
        """The row of a node among the children of its parent."""
        return int(self._row[node])

    def name(self, node: int) -> str:
        """What to call a node."""
        if node == self.tree.root:
            return "all"
        reason = self.tree.stop[node]
        if reason == StopReason.NO_DATA:
            return "no data"
        return f"{node}, rest" if reason == StopReason.REST else str(node)

    def text(self, node: int, column: int) -> str:
        """What a column says of a node."""
        tree = self.tree
        if column == 0:
            return self.name(node)
        if column == 1:
            return share_text(float(tree.area[node]) / self._pixels)
        if column == 2:
            return f"{float(tree.height[node]):.3g}"
        if tree.stability is None or tree.stop[node] == StopReason.REST:
            return ""
        return f"{float(tree.stability[node]):.2f}"
