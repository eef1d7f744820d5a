"""The k nodes that stand for a whole tree: from hundreds, those most worth showing or keeping.

A region stands out if it stays one region over a long stretch of heights: it parts from its
siblings high up, and is divided only far below. Its persistence measures this,

    p_n = height[parent of n]^2 - height[n]^2

(Ward's heights are square roots of merging costs.) We take p_n as the chance that a person who
looks at the image has region n in mind. A set S of nodes serves this person as well as its best
node overlaps the region. So S is worth

    f(S) = sum over n of  p_n  max over s in S of  IoU(n, s)

Ranking by p alone would list the same thing several times, such as a region and nearly the whole of
it. In f the second of them adds only little. In a tree an IoU needs no pixels: if one of two nodes
lies within the other, their IoU is the quotient of their areas; otherwise it is 0.

f is monotone and submodular. So if the node that adds most is taken again and again, the set is
worth at least 1 - 1/e of the best set (Nemhauser, Wolsey and Fisher, Mathematical Programming
1978). What a node adds never grows, so most nodes need not be looked at again (Minoux 1978). The
first k nodes are the answer for k, whatever number was asked for.

This is the problem of facility location, with regions as customers. Measured in docs/trees.md.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from regiontree.tree.kernel import preorder
from regiontree.tree.paths import heavy_paths, sum_of_ancestors

__all__ = ["persistence", "salient_nodes"]

_DIGITS = 9  # what a node adds is rounded, so that sums that differ by rounding are equal

Numbers = NDArray[np.float64]


def persistence(parents: NDArray[np.integer], height: NDArray[np.floating]) -> Numbers:
    """For how long each node stays one region while the tree is cut ever higher, (N,).

    It is the square of the parent's height less the square of the node's own; 0 for the root.
    """
    square = height.astype(np.float64) ** 2
    found: Numbers = square[parents] - square
    return found


def salient_nodes(
    parents: NDArray[np.integer],
    area: NDArray[np.integer],
    height: NDArray[np.floating],
    k: int,
    ignored: NDArray[np.bool_] | None = None,
    allowed: NDArray[np.bool_] | None = None,
) -> list[int]:
    """The `k` most salient nodes, the most salient first.

    Parameters
    ----------
    parents, area, height
        (N,) as in :class:`~regiontree.tree.RegionTree`.
    k
        At least 0. A tree with fewer nodes gives all but the root. The root is never among them.
    ignored
        (N,) bool: nodes that nobody has in mind and that are never chosen. None: the root alone.
    allowed
        (N,) bool: nodes that may be chosen. Nobody stops having the others in mind. None: all.

    Examples
    --------
    Node 5 has 9 pixels: 8 of node 4, and 1 of node 2. Node 4 has 4 pixels of node 0 and 4 of node
    1. The other 7 pixels of the image are node 3. Node 4 is more persistent than nodes 0 and 1, but
    node 5, which comes first, covers most of it:

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
    wanted = persistence(parents, height)[order]
    if ignored is not None:
        wanted[ignored[order]] = 0.0
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
    if ignored is not None:
        waiting = [key for key in waiting if not ignored[key[2]]]
    if allowed is not None:
        waiting = [key for key in waiting if allowed[key[2]]]
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
