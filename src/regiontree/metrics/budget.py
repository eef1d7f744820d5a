"""Which nodes of a tree are shown when only so many may be.

The more nodes a tree has, the better the best of them fits any region, so scores of trees are
compared at an equal number of nodes. A budget is spent from the top: the root is divided, then
always the highest node that is shown, until the next division would show too many.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import check_number
from regiontree.tree.kernel import division_order

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
        As in :class:`~regiontree.tree.RegionTree`. Nodes are divided in the order of
        :func:`regiontree.tree.kernel.division_order`, as :meth:`RegionTree.cut
        <regiontree.tree.RegionTree.cut>` divides them.
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
    order = division_order(parents, height)
    shown = np.cumsum(np.bincount(parents[:-1], minlength=n)[order])  # after each division
    divided = np.zeros(n, dtype=bool)
    divided[order[: np.searchsorted(shown, budget, side="right")]] = True
    nodes = np.flatnonzero(divided[parents[:-1]])
    return nodes if len(nodes) else np.array([n - 1])
