"""Whether napari is there, and new enough."""

from __future__ import annotations

import re
from importlib import metadata

from regiontree.errors import MissingExtraError

__all__ = ["OLDEST", "require_napari"]

OLDEST = (0, 6)
"""The oldest version of napari that the plugin works with."""
_HOW = "pip install 'regiontree[napari]' 'napari[pyqt6]'"


def require_napari() -> None:
    """Check that napari is installed, and not older than :data:`OLDEST`.

    Raises
    ------
    MissingExtraError
        It is not.
    """
    try:
        found = metadata.version("napari")
    except metadata.PackageNotFoundError:
        raise MissingExtraError(f"the plugin needs napari: {_HOW}") from None
    numbers = tuple(int(n) for n in re.findall(r"\d+", found)[:2])
    if numbers < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        raise MissingExtraError(
            f"napari {found} is too old: regiontree needs {oldest} or later; {_HOW} --upgrade"
        )
