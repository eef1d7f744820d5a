"""From pixels to patch features: one protocol, one registry of names, one file per source."""

from regiontree.backbones.base import Backbone, pick_device, pick_dtype
from regiontree.backbones.registry import BACKBONES, load_backbone

__all__ = ["BACKBONES", "Backbone", "load_backbone", "pick_device", "pick_dtype"]
