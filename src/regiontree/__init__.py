"""regiontree: a photograph as a tree of its semantic regions.

>>> import regiontree
>>> tree = regiontree.parse("photo.jpg")        # doctest: +SKIP
>>> tree.cut(n_regions=8)                       # (H, W) labels  # doctest: +SKIP

Names load on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from regiontree._version import __version__
from regiontree.system.doors import TREE_DOORS

if TYPE_CHECKING:
    from regiontree.clips import ClipParser, parse_clip
    from regiontree.collection.collection import Collection
    from regiontree.collection.fiftyone import to_fiftyone
    from regiontree.errors import RegionTreeError
    from regiontree.forest.forest import Forest
    from regiontree.mask_generator import AutomaticMaskGenerator, MaskGenerationPipeline
    from regiontree.parser import RegionParser, parse
    from regiontree.settings import Settings
    from regiontree.tree import ClipTree, RegionTree, StopReason

__all__ = [
    "AutomaticMaskGenerator",
    "ClipParser",
    "ClipTree",
    "Collection",
    "Forest",
    "MaskGenerationPipeline",
    "RegionParser",
    "RegionTree",
    "RegionTreeError",
    "Settings",
    "StopReason",
    "__version__",
    "parse",
    "parse_clip",
    "to_fiftyone",
]

_HOME = {
    "AutomaticMaskGenerator": "regiontree.mask_generator",
    "ClipParser": "regiontree.clips",
    "ClipTree": "regiontree.tree",
    "Collection": "regiontree.collection.collection",
    "Forest": "regiontree.forest.forest",
    "MaskGenerationPipeline": "regiontree.mask_generator",
    "RegionParser": "regiontree.parser",
    "RegionTree": "regiontree.tree",
    "RegionTreeError": "regiontree.errors",
    "Settings": "regiontree.settings",
    "StopReason": "regiontree.tree",
    "parse": "regiontree.parser",
    "parse_clip": "regiontree.clips",
    "to_fiftyone": "regiontree.collection.fiftyone",
}

# Methods of a tree that rooms above it provide: see regiontree.system.doors.
for _method, _address in {
    "show": "regiontree.display.plot:overview",
    "_repr_html_": "regiontree.display.notebook:tree_html",
    "export": "regiontree.export:export_tree",
    "to_coco": "regiontree.export.coco:to_coco",
    "to_panoptic": "regiontree.export.panoptic:to_panoptic",
    "to_label_studio": "regiontree.export.labelstudio:to_label_studio",
    "to_label_image": "regiontree.export.labelmap:to_label_image",
    "to_label_stack": "regiontree.export.labelmap:to_label_stack",
    "to_ucm": "regiontree.export.contourmap:ultrametric_contour_map",
    "to_geojson": "regiontree.export.geojson:to_geojson",
    "to_newick": "regiontree.export.newick:to_newick",
    "to_networkx": "regiontree.export.graph:to_networkx",
    "to_higra": "regiontree.export.higra:to_higra",
    "to_masks": "regiontree.export.masks:write_masks",
    "to_sam": "regiontree.export.sam:to_sam",
    "to_mask_generation": "regiontree.export.maskgeneration:to_mask_generation",
    "to_supervision": "regiontree.export.supervision:to_supervision",
}.items():
    TREE_DOORS.register(_method, _address)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'regiontree' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
