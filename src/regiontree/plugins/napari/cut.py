"""The label array of a cut: one look-up a pixel, and of a stack first the plane that is shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError
from regiontree.plugins.napari.stack import TreeStack
from regiontree.tree import RegionTree
from regiontree.tree.cuts import node_of_leaf

__all__ = ["StackCut", "leaf_values"]

Int32 = NDArray[np.int32]


def leaf_values(tree: RegionTree, start: int, criterion: Mapping[str, float]) -> Int32:
    """The value of the region that holds each leaf, (L,) int32.

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
    return (nodes[index] + (start + 1)).astype(np.int32)


class StackCut:
    """A cut of all trees of a stack, as labels.

    :meth:`choose` changes the cut and fills one plane. The others are stale until
    :meth:`fill` or :meth:`fill_all` comes to them.

    Parameters
    ----------
    stack
    values
        (..., H, W) int32 to write into. None: a new array.

    Attributes
    ----------
    values : (..., H, W) int32
        The value of each pixel's region.
    criterion : mapping
        Of the cut.

    Raises
    ------
    TreeError
        `values` has another shape or type.
    """

    def __init__(self, stack: TreeStack, values: Int32 | None = None) -> None:
        if values is None:
            values = np.zeros(stack.shape, np.int32)
        if values.shape != stack.shape or values.dtype != np.int32:
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
        # Labels of a tree are in range, and with mode "raise" NumPy would fill a copy first.
        np.take(table, tree.labels, out=self._planes[plane], mode="clip")
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
