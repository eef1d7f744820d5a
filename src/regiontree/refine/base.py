"""What every refinement takes and gives: leaves of patches in, a leaf for each pixel out.

A refinement moves the borders of a tree's leaves from the patch grid to the photograph's edges. It
decides which leaf a pixel is of and nothing else: the tree stays as it is, so a parent is exactly
the union of its children whatever a refinement does, and no leaf may lose its last pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from regiontree.images.sight import Borders

__all__ = ["PatchLeaves", "Refinement"]


@dataclass(frozen=True, slots=True)
class PatchLeaves:
    """A tree's leaves on the patch grid, and what the patches look like.

    Attributes
    ----------
    leaf : (h, w) int32
        Leaf of each patch, 0 to L - 1.
    parents : (N,) int32
    height : (N,) float32
        As in :class:`~regiontree.tree.RegionTree`.
    features : (h, w, d) float32
        Of unit length, as the tree was built on them.
    embedding : (L, d) float32
        Mean feature of each leaf, of unit length.
    overlap : float
        Patches of the grid in one of the network's, a side: 2 where views make the grid twice as
        fine. Features are as broad as the network's patches.
    """

    leaf: NDArray[np.int32]
    parents: NDArray[np.int32]
    height: NDArray[np.float32]
    features: Tensor
    embedding: Tensor
    overlap: float = 1.0


class Refinement(Borders, Protocol):
    """One way of refining: a frozen dataclass whose fields are its settings."""

    @property
    def name(self) -> str:
        """What the user calls it."""

    def refine(
        self, leaves: PatchLeaves, rgb: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.int32]:
        """The leaf of each pixel, (H, W) int32, every leaf of `leaves` among them.

        Parameters
        ----------
        leaves
        rgb
            (H', W', 3), the photograph, at least as many pixels a side as patches.
        size
            (H, W) of the result.
        """
