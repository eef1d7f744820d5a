"""The trees of all planes of a layer, and the values that their regions have in its labels.

A photograph is a stack of one plane. Each node of each plane has a value of its own: 1 and more,
in the order of planes and then of nodes. So a region that stays the same in another cut keeps its
value, and with it its colour.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import TreeError
from regiontree.tree import RegionTree

__all__ = ["MOST_COLOURS", "TreeStack"]

MOST_COLOURS = 65_534
"""Colours that napari can hold beside that of the background; later values have them again."""


@dataclass(frozen=True, eq=False)
class TreeStack:
    """One tree for each plane.

    Attributes
    ----------
    trees : tuple of RegionTree
        All of the same (H, W).
    leading : tuple of int
        Lengths of the axes before (H, W); () for a photograph. Planes are in C order.
    start : (planes + 1,) int64
        The root of plane p has the value ``start[p + 1]``, its node i has ``start[p] + i + 1``
        (derived).

    Raises
    ------
    TreeError
        There are no trees, not as many as planes, or their sizes differ.

    Examples
    --------
    >>> tree = RegionTree([[0, 1, 0], [0, 1, 1]], [2, 2, 2], [0, 0, 1])
    >>> stack = TreeStack((tree, tree), (2,))
    >>> stack.shape, stack.value(1, 0), stack.place(4), stack.place(0)
    ((2, 2, 3), 4, (1, 0), None)
    """

    trees: tuple[RegionTree, ...]
    leading: tuple[int, ...] = ()
    start: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.trees) != prod(self.leading) or not self.trees:
            raise TreeError(f"{len(self.trees)} trees cannot be planes of a stack {self.leading}")
        first = self.trees[0]
        for number, tree in enumerate(self.trees):
            if tree.shape != first.shape:
                raise TreeError(
                    f"trees of a stack must have one size: tree 0 has {first.shape} pixels and "
                    f"tree {number} has {tree.shape}; open them one by one"
                )
        start = np.cumsum([0, *(tree.n_nodes for tree in self.trees)])
        if start[-1] > np.iinfo(np.int32).max:
            raise TreeError(f"{start[-1]} regions are more than labels can hold; open fewer trees")
        object.__setattr__(self, "start", start)

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., H, W) of the labels."""
        return (*self.leading, *self.trees[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the labels: uint16 if it can hold all values, else int32.

        napari draws labels of 16 bits as they are. Of wider ones it makes a copy at each change.
        """
        return np.dtype(np.uint16 if self.start[-1] <= MOST_COLOURS else np.int32)

    def value(self, plane: int, node: int) -> int:
        """The value of a node in the labels."""
        return int(self.start[plane]) + node + 1

    def place(self, value: int) -> tuple[int, int] | None:
        """The plane and the node of a value; None for 0 and for values of no node."""
        if not 0 < value <= self.start[-1]:
            return None
        plane = int(np.searchsorted(self.start, value, side="left")) - 1
        return plane, value - 1 - int(self.start[plane])

    def plane_at(self, step: Sequence[int]) -> int:
        """The plane at a position on the leading axes; positions outside count as the nearest.

        >>> tree = RegionTree([[0]], [0], [0])
        >>> TreeStack((tree,) * 6, (2, 3)).plane_at((1, 2)), TreeStack((tree,)).plane_at(())
        (5, 0)
        """
        if not self.leading:
            return 0
        at = [min(max(int(i), 0), n - 1) for i, n in zip(step, self.leading, strict=True)]
        return int(np.ravel_multi_index(at, self.leading))

    def step_of(self, plane: int) -> tuple[int, ...]:
        """The position of a plane on the leading axes: the inverse of :meth:`plane_at`."""
        return tuple(int(i) for i in np.unravel_index(plane, self.leading)) if self.leading else ()

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the tree to ``.npz``, or the tree of plane 7 of 100 to ``NAME.007.npz``.

        Raises
        ------
        OSError
            A file cannot be written.
        """
        path = Path(path)
        path = path.with_suffix("") if path.suffix.lower() == ".npz" else path
        if len(self.trees) == 1:
            return [self.trees[0].save(path.with_name(f"{path.name}.npz"))]
        digits = max(3, len(str(len(self.trees) - 1)))
        names = [f"{path.name}.{plane:0{digits}}.npz" for plane in range(len(self.trees))]
        return [
            tree.save(path.with_name(name)) for tree, name in zip(self.trees, names, strict=True)
        ]
