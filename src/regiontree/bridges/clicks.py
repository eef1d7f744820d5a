"""From clicks and boxes on a photograph to a node of its tree.

The first click gives the smallest salient node that holds it. Each further click climbs:

- A click inside the current node takes the next larger salient node around it.
- A click outside takes the smallest salient node that holds all clicks so far.
- A negative click ("not this") goes down to the largest node that holds the first click and no
  negative one.

A salient node that is hardly larger than the one below is no step: a person would see no change. A
box takes the node whose bounding box overlaps it best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import DataError
from regiontree.system.lazy import lazy
from regiontree.tree import RegionTree
from regiontree.tree.kernel import accumulate_max
from regiontree.tree.nodata import not_regions
from regiontree.tree.stop import StopReason

__all__ = ["Box", "Click", "Clickable", "fraction"]

_SALIENT = 200  # nodes that a click may take
_GROWTH = 1.2  # by which a step's area must grow


class Click(NamedTuple):
    """A point on a photograph.

    Attributes
    ----------
    y, x : float
        Its place as a share of the height and of the width, 0 to 1.
    inside : bool
        Whether the region holds it; a negative click says that it does not.
    """

    y: float
    x: float
    inside: bool = True


class Box(NamedTuple):
    """A box on a photograph: its edges as shares of the height and of the width, 0 to 1."""

    top: float
    left: float
    bottom: float
    right: float


def fraction(name: str, value: object) -> float:
    """A place in percent as a share from 0 to 1. Places outside the photograph are moved to its
    edge.

    Raises
    ------
    DataError
        It is not a finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise DataError(f"{name} must be a number in percent, got {value!r}")
    return min(max(value / 100, 0.0), 1.0)


@dataclass(frozen=True, eq=False)
class Clickable:
    """A tree that answers clicks. What all clicks need is computed once.

    Parameters
    ----------
    tree
    salient
        How many nodes a click may take: the most salient ones. Negative clicks and boxes may take
        any node.

    Examples
    --------
    >>> tree = RegionTree([[0, 1, 2, 2]], [3, 3, 4, 4, 4], [0, 0, 0, 0.5, 1])
    >>> clickable = Clickable(tree)
    >>> clickable.node([Click(0, 0.1)])
    0
    >>> clickable.node([Click(0, 0.1), Click(0, 0.1)])
    3
    >>> clickable.node([Click(0, 0.1), Click(0, 0.3)])
    3
    >>> clickable.node([Click(0, 0.1), Click(0, 0.1), Click(0, 0.3, inside=False)])
    0
    >>> clickable.node([], Box(0, 0.5, 1, 1))
    2
    """

    tree: RegionTree
    salient: int = _SALIENT

    def node(self, clicks: Sequence[Click], box: Box | None = None) -> int | None:
        """The node of clicks in their order, and of a box.

        Returns
        -------
        int or None
            None if no positive click and no box is given, or if the first click is on pixels
            without data. The whole photograph only if nothing smaller fits.

        Raises
        ------
        DataError
            A box without an area.
        """
        paths = [self._path(click) for click in clicks if click.inside]
        paths = paths[:1] + [path for path in paths[1:] if path]
        barred = {node for click in clicks if not click.inside for node in self._path(click)}
        if box is not None:
            return self._best(box, paths, barred)
        if not paths or not paths[0]:
            return None
        found = self._climbed(paths)
        if found in barred:
            free = [node for node in paths[0] if node not in barred]
            found = free[-1] if free else paths[0][0]
        return found

    def _climbed(self, paths: list[list[int]]) -> int:
        """The node that positive clicks reach; the paths of their pixels, the first not empty."""
        steps = self._steps(paths[0])
        found, common = steps[0], set(paths[0])
        for path in paths[1:]:
            common &= set(path)
            if found in path:
                larger = [node for node in steps if self.tree.area[node] > self.tree.area[found]]
                found = larger[0] if larger else found
            else:
                shared = [node for node in steps if node in common]
                below = [node for node in paths[0] if node in common]
                found = (shared or below or [self._whole])[0]
        return found

    def _path(self, click: Click) -> list[int]:
        """The regions that hold a click, the smallest first; none for pixels without data."""
        height, width = self.tree.shape
        y, x = min(int(click.y * height), height - 1), min(int(click.x * width), width - 1)
        path = self.tree.at(y, x)
        if self.tree.stop[path[0]] == StopReason.NO_DATA:
            return []
        return [node for node in path if not self._absent[node]] or path[:1]

    def _steps(self, path: list[int]) -> list[int]:
        """The nodes of a path that clicks stop at, the smallest first."""
        steps: list[int] = []
        for node in [node for node in path if self._salient[node]] or path:
            if not steps or self.tree.area[node] >= _GROWTH * self.tree.area[steps[-1]]:
                steps.append(node)
        return steps

    def _best(self, box: Box, paths: list[list[int]], barred: set[int]) -> int | None:
        """The node whose bounding box overlaps a box best; of equals the largest node."""
        height, width = self.tree.shape
        top, bottom = sorted((box.top * height, box.bottom * height))
        left, right = sorted((box.left * width, box.right * width))
        if not (bottom > top and right > left):
            raise DataError("the box has no area; draw a larger one")
        allowed = ~self._absent
        for path in paths:
            allowed &= np.isin(np.arange(len(allowed)), path)
        allowed[list(barred)] = False
        candidates = np.flatnonzero(allowed)
        if not len(candidates):
            return self._whole if not (paths or barred) else None
        own = self._extents[candidates]
        high = np.minimum(bottom, own[:, 2]) - np.maximum(top, own[:, 0])
        wide = np.minimum(right, own[:, 3]) - np.maximum(left, own[:, 1])
        both = np.maximum(high, 0) * np.maximum(wide, 0)
        areas = (own[:, 2] - own[:, 0]) * (own[:, 3] - own[:, 1])
        overlap = both / (areas + (bottom - top) * (right - left) - both)
        if not overlap.max() > 0:
            return None
        return int(candidates[np.lexsort((self.tree.area[candidates], overlap))[-1]])

    @lazy
    def _absent(self) -> NDArray[np.bool_]:
        """Nodes that are no regions: the root, and what is made by pixels without data."""
        absent = not_regions(self.tree.parents, self.tree.stop).copy()
        absent[self.tree.root] = True
        return absent

    @lazy
    def _whole(self) -> int:
        """The node of everything that is there: the root, or its child beside what is not there."""
        found = not_regions(self.tree.parents, self.tree.stop)
        scene = np.flatnonzero(found & (self.tree.stop != StopReason.NO_DATA))
        return int(scene[0]) if len(scene) else self.tree.root

    @lazy
    def _salient(self) -> NDArray[np.bool_]:
        salient = np.zeros(self.tree.n_nodes, dtype=bool)
        salient[self.tree.salient(self.salient)] = True
        return salient

    @lazy
    def _extents(self) -> NDArray[np.int64]:
        """The bounding box of each node, (N, 4): top, left, bottom and right, ends excluded."""
        from scipy.ndimage import find_objects  # here, as loading SciPy takes long

        tree = self.tree
        low = np.iinfo(np.int64).min
        ends = np.full((4, tree.n_nodes), low)
        for leaf, (rows, columns) in enumerate(find_objects(tree.labels + 1)):
            ends[:, leaf] = -rows.start, -columns.start, rows.stop, columns.stop
        top, left, bottom, right = (accumulate_max(tree.parents, end) for end in ends)
        return np.stack([-top, -left, bottom, right], axis=1)
