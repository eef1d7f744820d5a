"""The interface of a refinement: the leaf of each patch goes in, the leaf of each pixel comes out.

A refinement moves the borders of a tree's leaves from the patch grid to the photograph's edges. It
decides only which leaf each pixel belongs to. The tree does not change, so each parent is still
exactly the union of its children. No leaf may lose its last pixel.
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
    """A tree's leaves on the patch grid, with the features of the patches.

    Attributes
    ----------
    leaf : (h, w) int32
        Leaf of each patch, 0 to L - 1.
    parents : (N,) int32
    height : (N,) float32
        As in :class:`~regiontree.tree.RegionTree`.
    features : (h, w, d) float32
        The unit-length patch features that the tree was built on.
    embedding : (L, d) float32
        Mean feature of each leaf, of unit length.
    overlap : float
        Number of grid patches along a side of one of the network's patches. It is 2 where several
        views make the grid twice as fine. Each feature still describes an area as large as the
        network's patch.
    there : (h, w) bool or None
        Which patches have data. The others have the leaf and the feature of the nearest one that
        has. None: all of them.
    valid : (H, W) bool or None
        Which pixels of the result have data. What a refinement gives the others has no effect, and
        they must not influence it. None: all of them.
    """

    leaf: NDArray[np.int32]
    parents: NDArray[np.int32]
    height: NDArray[np.float32]
    features: Tensor
    embedding: Tensor
    overlap: float = 1.0
    there: NDArray[np.bool_] | None = None
    valid: NDArray[np.bool_] | None = None


class Refinement(Borders, Protocol):
    """A refinement: a frozen dataclass whose fields are the settings."""

    @property
    def name(self) -> str:
        """The name by which the user chooses this refinement."""

    def refine(
        self, leaves: PatchLeaves, rgb: NDArray[np.uint8], size: tuple[int, int]
    ) -> NDArray[np.int32]:
        """The leaf of each pixel, (H, W) int32; every leaf of `leaves` has at least one pixel.

        Parameters
        ----------
        leaves
            The tree's leaves on the patch grid.
        rgb
            (H', W', 3) uint8, the photograph, with at least as many pixels a side as patches. Its
            pixels without data have the colours around them.
        size
            (H, W) of the result, in pixels.
        """
