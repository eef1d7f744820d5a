"""Scenes of any size: one region tree of a raster that does not fit in memory."""

from regiontree.scenes.scene import Scene, parse_scene

__all__ = ["Scene", "parse_scene"]
