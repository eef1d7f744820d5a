"""Borders between regions as lines, each with the node whose division makes it."""

from __future__ import annotations

import numpy as np
from matplotlib.path import Path
from numpy.typing import ArrayLike

from regiontree.display.plot.scene import Nodes
from regiontree.tree import RegionTree
from regiontree.tree.paths import lowest_common_ancestor

__all__ = ["borders_between", "moved"]


def borders_between(tree: RegionTree, shown: Nodes) -> dict[int, Path]:
    """The borders of a map (h, w) of nodes, by the lowest common ancestor of both sides.

    Lines run between pixels. (0, 0) is the corner of the first pixel.
    """
    runs = [np.empty((0, 5), np.int64)]  # node, x, y, x, y
    for turned in (False, True):
        grid = shown.T if turned else shown
        x, y = np.nonzero((grid[:, :-1] != grid[:, 1:]).T)
        node = lowest_common_ancestor(tree.parents, grid[y, x], grid[y, x + 1])
        # A line goes on while the next edge is the next pixel's, in the same column, by one node.
        stops = (np.diff(y) != 1) | (np.diff(x) != 0) | (np.diff(node) != 0)
        first = np.flatnonzero(np.r_[True, stops][: len(x)])
        last = np.flatnonzero(np.r_[stops, True][: len(x)])
        ends = np.stack([x[first] + 1, y[first], x[last] + 1, y[last] + 1], axis=1)
        ends = ends[:, [1, 0, 3, 2]] if turned else ends
        runs.append(np.concatenate([node[first, None], ends], axis=1))
    lines = np.concatenate(runs)
    found = {}
    for node in np.unique(lines[:, 0]):
        points = lines[lines[:, 0] == node, 1:].reshape(-1, 2).astype(float)
        codes = np.tile(np.array([Path.MOVETO, Path.LINETO], np.uint8), len(points) // 2)
        found[int(node)] = Path(points, codes)
    return found


def moved(path: Path, scale: ArrayLike, by: ArrayLike) -> Path:
    """A path scaled, then shifted."""
    return Path(np.asarray(path.vertices) * scale + np.asarray(by), path.codes)
