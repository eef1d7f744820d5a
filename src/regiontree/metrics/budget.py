"""Which nodes of a tree are shown when only so many may be.

The more nodes a tree has, the better the best of them fits any region, so scores of trees are
compared at an equal number of nodes. A budget is spent from the top: the root is divided, then
always the highest node that is shown, until the next division would show too many.
"""

from __future__ import annotations

import heapq

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import check_number

__all__ = ["budget_nodes"]


def budget_nodes(
    parents: NDArray[np.integer], height: NDArray[np.floating], budget: int | None
) -> NDArray[np.int64]:
    """Nodes shown within a budget, ascending; the root is not counted.

    Parameters
    ----------
    parents : (N,) integers
        As in :class:`~regiontree.tree.RegionTree`.
    height : (N,) floats
        Of two nodes as high, the one of lower index is divided first.
    budget
        Most nodes to show, >= 1; None shows all nodes but the root.

    Returns
    -------
    (T,) int64
        Only the root, N - 1, where nothing else can be shown: it has no child, or its own division
        does not fit.

    Examples
    --------
    Node 6 is divided into 0 and 5, node 5 into 3 and 4, and 4 into 1 and 2:

    >>> parents = np.array([6, 4, 4, 5, 5, 6, 6])
    >>> height = np.array([0, 0, 0, 0, .25, .5, 1])
    >>> [budget_nodes(parents, height, b).tolist() for b in (1, 3, 4, None)]
    [[6], [0, 5], [0, 3, 4, 5], [0, 1, 2, 3, 4, 5]]
    """
    n = len(parents)
    if budget is None:
        return np.arange(max(n - 1, 1))
    check_number("budget", budget, 1, 2**63, whole=True)
    children: list[list[int]] = [[] for _ in range(n)]
    for node, parent in enumerate(parents[:-1].tolist()):
        children[parent].append(node)
    heights = height.tolist()
    highest = [(-heights[n - 1], n - 1)]
    shown: list[int] = []
    while highest:
        _, node = heapq.heappop(highest)
        if not children[node]:
            continue
        if len(shown) + len(children[node]) > budget:
            break
        shown += children[node]
        for child in children[node]:
            heapq.heappush(highest, (-heights[child], child))
    return np.array(sorted(shown) or [n - 1], dtype=np.int64)
