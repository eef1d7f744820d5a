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

if TYPE_CHECKING:
    from regiontree.errors import RegionTreeError
    from regiontree.parser import RegionParser, parse
    from regiontree.settings import Settings
    from regiontree.stop import StopReason
    from regiontree.tree import RegionTree

__all__ = [
    "RegionParser",
    "RegionTree",
    "RegionTreeError",
    "Settings",
    "StopReason",
    "__version__",
    "parse",
]

_HOME = {
    "RegionParser": "regiontree.parser",
    "RegionTree": "regiontree.tree",
    "RegionTreeError": "regiontree.errors",
    "Settings": "regiontree.settings",
    "StopReason": "regiontree.stop",
    "parse": "regiontree.parser",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'regiontree' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
