"""The folder that weights are kept in from one start to the next."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_cache_path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    r"""The environment variable ``REGIONTREE_CACHE``, else the user's cache folder of the system.

    The latter is ``~/.cache/regiontree`` on Linux (or below ``XDG_CACHE_HOME``),
    ``~/Library/Caches/regiontree`` on macOS and ``%LOCALAPPDATA%\regiontree`` on Windows.
    A user may delete it: what lay in it is made or downloaded again.
    """
    chosen = os.environ.get("REGIONTREE_CACHE")
    return Path(chosen) if chosen else user_cache_path("regiontree", appauthor=False, opinion=False)
