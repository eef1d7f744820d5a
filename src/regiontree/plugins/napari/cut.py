"""The label array of a cut: one look-up a pixel, and of a stack first the plane that is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError
from regiontree.plugins.napari.stack import TreeStack
from regiontree.system.jit import jit
from regiontree.tree import RegionTree
from regiontree.tree.cuts import node_of_leaf

__all__ = ["StackCut", "leaf_values", "look_up"]

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
_BLOCK = 1 << 16


def leaf_values(tree: RegionTree, start: int, criterion: Mapping[str, float]) -> Int64:
    """The value of the region that holds each leaf, (L,) int64.

    Parameters
    ----------
    tree
    start
        Node i has the value ``start + i + 1``.
    criterion
        As the arguments of :meth:`~regiontree.tree.RegionTree.cut_nodes`; empty for the natural
        cut.

    Examples
    --------
    >>> tree = RegionTree([[0, 0, 1], [2, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, .4, 1])
    >>> leaf_values(tree, 0, {"n_regions": 2}).tolist()
    [4, 4, 3]
    """
    nodes = tree.cut_nodes(**criterion)  # type: ignore[arg-type]
    index = node_of_leaf(tree.parents, nodes, tree.n_leaves)
    values: Int64 = nodes[index] + (start + 1)
    return values


def look_up(table: NDArray[Any], leaves: Int32, found: NDArray[Any]) -> None:
    """Write the entry of each pixel's leaf into `found`, (H, W) of the table's type.

    Parameters
    ----------
    table
        (L,): what is wanted of each leaf.
    leaves
        (H, W): the leaf of each pixel. Both are contiguous, as is `found`.

    Examples
    --------
    >>> found = np.empty((1, 3), np.int32)
    >>> look_up(np.array([7, 8], np.int32), np.array([[1, 0, 1]], np.int32), found)
    >>> found
    array([[8, 7, 8]], dtype=int32)
    """
    _fill(table, leaves.reshape(-1), found.reshape(-1))


def _fill_by_blocks(table: NDArray[Any], leaves: Int32, found: NDArray[Any]) -> None:
    # NumPy copies indices as int64. A copy of a block stays in the processor's cache.
    for start in range(0, len(leaves), _BLOCK):
        block = slice(start, start + _BLOCK)
        # Labels of a tree are in range, and with mode "raise" NumPy would fill a copy first.
        np.take(table, leaves[block], out=found[block], mode="clip")


@jit(instead=_fill_by_blocks)
def _fill(table: NDArray[Any], leaves: Int32, found: NDArray[Any]) -> None:
    for i in range(len(leaves)):
        found[i] = table[leaves[i]]


class StackCut:
    """A cut of all trees of a stack, as labels.

    :meth:`choose` changes the cut and fills one plane. The others are stale until
    :meth:`fill` or :meth:`fill_all` comes to them.

    Parameters
    ----------
    stack
    values
        (..., H, W) of :attr:`TreeStack.dtype` to write into. None: a new array.

    Attributes
    ----------
    values : (..., H, W) uint16 or int32
        The value of each pixel's region.
    criterion : mapping
        Of the cut.

    Raises
    ------
    TreeError
        `values` has another shape or type.
    """

    def __init__(self, stack: TreeStack, values: NDArray[Any] | None = None) -> None:
        if values is None:
            values = np.zeros(stack.shape, stack.dtype)
        if values.shape != stack.shape or values.dtype != stack.dtype:
            raise TreeError(
                f"labels of {values.dtype} {values.shape} do not fit trees of {stack.shape}"
            )
        self.stack = stack
        self.values = values
        self.criterion: Mapping[str, float] = {}
        self._planes = values.reshape(-1, *stack.shape[-2:])
        self._stale: set[int] = set(range(len(stack.trees)))

    @property
    def is_whole(self) -> bool:
        """Whether every plane shows the cut."""
        return not self._stale

    def choose(self, criterion: Mapping[str, float], plane: int = 0) -> None:
        """Change the cut and fill one plane.

        Raises
        ------
        TreeError
            As :meth:`~regiontree.tree.RegionTree.cut_nodes`.
        """
        self.stack.trees[plane].cut_nodes(**criterion)  # type: ignore[arg-type]  # before any change
        self.criterion = dict(criterion)
        self._stale = set(range(len(self.stack.trees)))
        self.fill(plane)

    def fill(self, plane: int) -> bool:
        """Fill a plane if it is stale; whether it was."""
        if plane not in self._stale:
            return False
        tree = self.stack.trees[plane]
        table = leaf_values(tree, int(self.stack.start[plane]), self.criterion)
        look_up(table.astype(self.values.dtype), tree.labels, self._planes[plane])
        self._stale.discard(plane)
        return True

    def fill_next(self) -> bool:
        """Fill the first stale plane; whether there was one."""
        return bool(self._stale) and self.fill(min(self._stale))

    def fill_all(self) -> None:
        """Fill every stale plane."""
        while self.fill_next():
            pass

    def n_regions(self, plane: int) -> int:
        """Number of regions of the cut in a plane."""
        return len(self.stack.trees[plane].cut_nodes(**self.criterion))  # type: ignore[arg-type]
