"""Newick: the tree alone, as phylogenetics and clustering programs read it.

In ``(n2:1,(n0:0.4,n1:0.4)n3:0.6)n4;`` the children of a node stand in brackets before its name,
the largest first. The length of a branch is the parent's height minus the node's. So the distance
of a node from the root gives its height. In trees of this package all leaves have height 0, so all
leaves are at one distance from the root: the tree is ultrametric, a dendrogram of the regions.

Node i is named ``ni``. Many readers would take bare numbers for the support values of branches. A
letter and digits need no quotes in any reader. The pixels are not in the file:
:mod:`regiontree.export.labelmap` writes the leaf of each pixel.

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> to_newick(tree)
'(n2:1,(n0:0.4,n1:0.4)n3:0.6)n4;'

Reference: J. Felsenstein et al., the Newick tree format, 1986,
https://phylipweb.github.io/phylip/newicktree.html
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree

__all__ = ["to_newick", "write_newick"]


def to_newick(tree: RegionTree) -> str:
    """The tree in one line, without a line end.

    Branch lengths have nine significant digits, and no exponent, because not all readers know
    exponents. The tree may have any depth.
    """
    # By way of the shortest text of each 32-bit number, 1 - 0.7 gives 0.3, not 0.30000001.
    height = [float(str(value)) for value in tree.height]

    def name(node: int) -> str:
        if node == tree.root:
            return f"n{node}"
        length = height[int(tree.parents[node])] - height[node]
        return f"n{node}:{np.format_float_positional(length, 9, fractional=False, trim='-')}"

    text: list[str] = []
    stack: list[int | str] = [";", tree.root]  # nodes to write, and what to write between them
    while stack:
        item = stack.pop()
        children = [] if isinstance(item, str) else tree.children(item)
        if isinstance(item, str) or not children:
            text.append(item if isinstance(item, str) else name(item))
            continue
        stack.append(f"){name(item)}")
        for position, child in enumerate(reversed(children)):
            stack += [",", child] if position else [child]
        text.append("(")
    return "".join(text)


def write_newick(tree: RegionTree, path: str | Path) -> Path:
    """Write :func:`to_newick` and a line end as ASCII text; return the path."""
    path = Path(path)
    with atomic_write(path) as file:
        file.write(f"{to_newick(tree)}\n".encode("ascii"))
    return path
