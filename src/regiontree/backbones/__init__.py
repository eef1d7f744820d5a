"""From pixels to patch features: one protocol, one registry of names, one file per source."""

from regiontree.backbones.base import Backbone, FeatureSpec, pick_device, pick_dtype
from regiontree.backbones.registry import load_backbone

__all__ = ["Backbone", "FeatureSpec", "load_backbone", "pick_device", "pick_dtype"]
