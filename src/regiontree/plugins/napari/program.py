"""Whether napari is there, and new enough."""

from __future__ import annotations

from regiontree.system.extras import check_optional

__all__ = ["require_napari"]


def require_napari() -> None:
    """Check that napari is installed, and not older than the extra ``napari`` asks for.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    check_optional("napari", "napari", "the plugin needs")
