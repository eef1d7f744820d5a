"""The region tree: its arrays, their checks, its file, and trees of other programs."""

from regiontree.tree.region_tree import RegionTree
from regiontree.tree.stop import StopReason

__all__ = ["RegionTree", "StopReason"]
