"""Clips: the frames of a film, a stack or a set of photographs as one tree of tubes."""

from regiontree.clips.parser import ClipParser, parse_clip
from regiontree.clips.settings import ClipSettings

__all__ = ["ClipParser", "ClipSettings", "parse_clip"]
