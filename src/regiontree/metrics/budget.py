"""Node budgets: which nodes of a tree count when their number is limited.

The more nodes a tree has, the better its best node fits any region. So scores of trees are compared
at an equal number of nodes. A budget is spent from the root down. In each step the highest node
that is not yet divided is divided, and its children are shown. The budget ends before the first
division that would show too many nodes.
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
        Largest number of nodes to show, >= 1; None shows all nodes but the root.

    Returns
    -------
    (T,) int64
        Only the root, N - 1, if the root has no child or its division does not fit.

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
    budget = check_number("budget", budget, 1, 2**63, whole=True)
    order = division_order(parents, height)
    shown = np.cumsum(np.bincount(parents[:-1], minlength=n)[order])  # after each division
    divided = np.zeros(n, dtype=bool)
    divided[order[: np.searchsorted(shown, budget, side="right")]] = True
    nodes = np.flatnonzero(divided[parents[:-1]])
    return nodes if len(nodes) else np.array([n - 1])
