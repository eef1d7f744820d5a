"""Gaps in the landscape of the watershed: pixels that are not there, and where springs then are.

A pixel that is not there is a wall. So water reaches it last, and no leaf grows through it. A patch
that is not there has no spring. If another patch's centre is not there, its spring moves to the
nearest pixel that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from regiontree.refine.blocks import Window
from regiontree.refine.regions import patch_centres

__all__ = ["Gaps"]


@dataclass(frozen=True, slots=True)
class Gaps:
    """The pixels and patches that are not there, and the springs of the patches that are.

    Attributes
    ----------
    valid : (H, W) bool
    there : (h, w) bool
    y, x : (h, w) int64
        Row and column of each patch's spring.
    """

    valid: NDArray[np.bool_]
    there: NDArray[np.bool_]
    y: NDArray[np.int64]
    x: NDArray[np.int64]

    @classmethod
    def of(cls, there: NDArray[np.bool_], valid: NDArray[np.bool_]) -> Gaps:
        """The gaps of a photograph, from its patches (h, w) bool and its pixels (H, W) bool."""
        rows, columns = patch_centres((there.shape[0], there.shape[1]), valid.shape)
        y, x = (np.array(side) for side in np.broadcast_arrays(rows[:, None], columns))
        if valid.any():
            near = distance_transform_edt(~valid, return_distances=False, return_indices=True)
            y, x = near[0][y, x].astype(np.int64), near[1][y, x].astype(np.int64)
        return cls(valid, there, y, x)

    def springs(self, window: Window) -> NDArray[np.int64]:
        """The spring of each cell of a window, (h, w) int64, a flat index; -1 where none is."""
        rows, columns = window.pixels
        y, x = self.y[window.cells] - rows.start, self.x[window.cells] - columns.start
        tall, wide = rows.stop - rows.start, columns.stop - columns.start
        inside = self.there[window.cells] & (y >= 0) & (y < tall) & (x >= 0) & (x < wide)
        return np.where(inside, y * wide + x, -1)
