"""The methods of ``RegionTree`` whose functions are in packages above the tree.

The tree imports no exporters and no figures. ``regiontree/__init__.py`` registers the address of
each function here, before any other module of the package can be imported. ``tree.to_coco()`` then
looks up its function by name. So the tree imports nothing from above, and type checkers still see a
method with its own signature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from regiontree.errors import TreeError
from regiontree.system.registry import Registry

__all__ = ["TREE_DOORS"]

TREE_DOORS: Registry[Callable[..., Any]] = Registry("method of a tree", {}, error=TreeError)
"""The methods of a tree that packages above the tree provide."""
