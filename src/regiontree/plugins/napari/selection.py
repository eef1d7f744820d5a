"""The selected region, and who wants to know when it changes.

The table of regions and the picture both select, and both show what is selected. Telling them of
a selection makes them select again. A selection that is the same as before tells nobody, so this
ends.
"""

from __future__ import annotations

from collections.abc import Callable

from regiontree.plugins.napari.stack import TreeStack

__all__ = ["Selection"]

Place = tuple[int, int]


class Selection:
    """At most one region of a stack.

    Attributes
    ----------
    place : (plane, node) or None
        None: nothing is selected.

    Examples
    --------
    >>> from regiontree.tree import RegionTree
    >>> told = []
    >>> tree = RegionTree([[0, 1]], [2, 2, 2], [0, 0, 1])
    >>> selection = Selection(TreeStack((tree,)), told.append)
    >>> selection.choose((0, 1)), selection.choose((0, 1)), selection.climb(), selection.climb()
    (True, False, True, False)
    >>> told
    [(0, 1), (0, 2)]
    """

    def __init__(self, stack: TreeStack, tell: Callable[[Place | None], None]) -> None:
        self.stack = stack
        self.place: Place | None = None
        self._tell = tell

    def choose(self, place: Place | None) -> bool:
        """Select a region, or None; whether this changed anything."""
        if place == self.place:
            return False
        self.place = place
        self._tell(place)
        return True

    def choose_value(self, value: int | None) -> bool:
        """Select the region that has a value in the labels; nothing if none has."""
        return self.choose(self.stack.place(value) if value else None)

    def climb(self) -> bool:
        """Select the parent; whether there was one."""
        if self.place is None:
            return False
        plane, node = self.place
        return self.choose((plane, int(self.stack.trees[plane].parents[node])))
