"""The package's own tree file, for trees made from other trees, such as condensed trees."""

from __future__ import annotations

from pathlib import Path

from regiontree.tree import RegionTree

__all__ = ["write_tree"]


def write_tree(tree: RegionTree, path: str | Path) -> Path:
    """Write the tree with :meth:`RegionTree.save`; return the path."""
    return tree.save(path)
