"""Region trees of photographs and of clips: their arrays, checks and files, and foreign trees."""

from regiontree.tree.clip_tree import ClipTree
from regiontree.tree.clipfile import is_clip_file, read_clip_meta, write_clip_file
from regiontree.tree.region_tree import RegionTree
from regiontree.tree.stop import StopReason

__all__ = [
    "ClipTree",
    "RegionTree",
    "StopReason",
    "is_clip_file",
    "read_clip_meta",
    "write_clip_file",
]
