"""A tree's own file again: for what was made of a tree, a condensed one say."""

from __future__ import annotations

from pathlib import Path

from regiontree.tree import RegionTree

__all__ = ["write_tree"]


def write_tree(tree: RegionTree, path: str | Path) -> Path:
    """Write :meth:`RegionTree.save`; gives the path."""
    return tree.save(path)
