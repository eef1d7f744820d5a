"""The k nodes that stand for a whole tree: from hundreds, those most worth showing or keeping.

A region stands out if it holds together over a long stretch of heights: it parts from its siblings
high up and is itself divided only far below. That is its persistence,

    p_n = height[parent of n]^2 - height[n]^2

(squares of Ward's heights are costs of merging), taken here as how likely it is that somebody who
looks at the image has this region in mind. A set S of nodes serves that wish as far as its best
node overlaps it, so S is worth what is covered on average:

    f(S) = sum over n of  p_n  max over s in S of  IoU(n, s)

Ranking by p alone takes the same thing several times over, a region and all but a sliver of it; f
pays for such a twin only what it adds. In a tree the IoU of two nodes needs no pixels: it is the
quotient of their areas if one lies within the other, and otherwise 0.

f is monotone and submodular, so taking again and again the node that adds most comes to at least
1 - 1/e of the best set's worth (Nemhauser, Wolsey and Fisher, Mathematical Programming 1978), and
what a node adds never grows, so most nodes need not be asked again (Minoux 1978). The first k nodes
are the answer for k, whatever was asked for.

It is the problem of facility location, with regions for customers. Measured in docs/trees.md.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.kernel import preorder
from regiontree.tree.paths import heavy_paths, sum_of_ancestors

__all__ = ["salient_nodes"]

_DIGITS = 9  # of what a node adds: sums that are equal but for rounding are equal

Numbers = NDArray[np.float64]


def salient_nodes(
    parents: NDArray[np.integer], area: NDArray[np.integer], height: NDArray[np.floating], k: int
) -> list[int]:
    """The `k` most salient nodes, the first first.

    Parameters
    ----------
    parents, area, height
        (N,) as in :class:`~regiontree.tree.RegionTree`.
    k
        At least 0; a smaller tree gives all its nodes but the root, which never comes.

    Examples
    --------
    A thing of 9 pixels (node 5) is one of 8 (4) and a sliver (2), and that is two of 4 (0, 1); the
    rest of the image is 7 (3). The 8 hold together longer than each of the 4, but the 9 have said
    most of that:

    >>> parents = np.array([4, 4, 5, 6, 5, 6, 6])
    >>> area = np.array([4, 4, 1, 7, 8, 9, 16])
    >>> height = np.array([0, 0, 0, 0, .5, .8, 1])
    >>> np.round(height[parents] ** 2 - height ** 2, 2).tolist()
    [0.25, 0.25, 0.64, 1.0, 0.39, 0.36, 0.0]
    >>> salient_nodes(parents, area, height, 6)
    [5, 3, 2, 0, 1, 4]
    """
    n = len(parents)
    walk, paths = preorder(parents), heavy_paths(parents)
    order, place = walk.order, walk.place
    size = walk.size[order]
    square = height.astype(np.float64) ** 2
    wanted = (square[parents] - square)[order]
    wanted /= max(float(wanted.max()), 1e-300)
    extent = area.astype(np.float64)[order]
    covered = np.zeros(n)  # best IoU of each node with those taken

    def overlaps(at: int) -> tuple[slice, NDArray[np.int64], Numbers, Numbers]:
        within, path = slice(at, at + int(size[at])), place[paths.ancestors(int(order[at]))]
        return within, path, extent[within] / extent[at], extent[at] / extent[path]

    def gain(at: int) -> float:
        within, path, inside, outside = overlaps(at)
        added = wanted[within] @ np.maximum(inside - covered[within], 0.0)
        added += wanted[path] @ np.maximum(outside - covered[path], 0.0)
        return round(float(added), _DIGITS)

    # What each node would add as the first: its share of every node below, and the share that it is
    # of every node above. Both sums are made for all nodes at once.
    running = np.concatenate([[0.0], np.cumsum(wanted * extent)])
    beyond = sum_of_ancestors(parents, (wanted / extent)[place])[order]
    first = (running[np.arange(n) + size] - running[:n]) / extent + extent * beyond
    # Of equals the larger comes first, then the lower number. Place 0 is the root.
    keys = zip((-first.round(_DIGITS)).tolist(), (-extent).tolist(), order.tolist(), strict=True)
    waiting = list(keys)[1:]
    heapq.heapify(waiting)
    taken: list[int] = []
    while waiting and len(taken) < k:
        _, larger, node = waiting[0]
        at = int(place[node])
        now = (-gain(at), larger, node)
        heapq.heappop(waiting)
        if waiting and now > waiting[0]:
            heapq.heappush(waiting, now)
            continue
        taken.append(node)
        within, path, inside, outside = overlaps(at)
        covered[within] = np.maximum(covered[within], inside)
        covered[path] = np.maximum(covered[path], outside)
    return taken
