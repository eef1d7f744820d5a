"""Positions of the granularity slider as numbers of regions or as heights, and back.

Both go from coarse on the left to fine on the right. Few regions need more of the slider than
many: the step from 2 to 4 regions is as long as that from 2,000 to 4,000. Heights of most nodes are
small, so the right half of the slider covers the lowest eighth of the heights.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log

from regiontree.plugins.napari.stack import TreeStack

__all__ = ["STEPS", "Granularity"]

STEPS = 1000
"""The last position of the slider; the first is 0."""
_POWER = 3.0


@dataclass(frozen=True)
class Granularity:
    """The range of cuts of a stack.

    Attributes
    ----------
    most : int
        Number of regions of the finest cut of any plane.
    highest : float
        Largest height.

    Examples
    --------
    >>> range_ = Granularity(most=1024, highest=1.0)
    >>> [range_.regions_at(p) for p in (0, 500, 1000)], range_.position_of_regions(32)
    ([1, 32, 1024], 500)
    >>> [range_.height_at(p) for p in (0, 500, 1000)], range_.position_of_height(0.125)
    ([1.0, 0.125, 0.0], 500)
    """

    most: int
    highest: float

    @classmethod
    def of(cls, stack: TreeStack) -> Granularity:
        """The range of a stack."""
        trees = stack.trees
        return cls(max(t.n_leaves for t in trees), max(float(t.height[-1]) for t in trees))

    def regions_at(self, position: int) -> int:
        """Number of regions at a position, 1 to `most`."""
        return round(float(self.most ** (position / STEPS)))

    def position_of_regions(self, count: int) -> int:
        """The position of a number of regions."""
        count = min(max(count, 1), self.most)
        return round(STEPS * log(count) / log(self.most)) if self.most > 1 else 0

    def height_at(self, position: int) -> float:
        """The height at a position, `highest` to 0."""
        return self.highest * float((1.0 - position / STEPS) ** _POWER)

    def position_of_height(self, height: float) -> int:
        """The position of a height."""
        if self.highest <= 0:
            return STEPS
        share = min(max(height / self.highest, 0.0), 1.0)
        return round(STEPS * (1.0 - float(share ** (1.0 / _POWER))))
