"""What an export of a collection wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Exported"]


@dataclass(slots=True)
class Exported:
    """What was written.

    Attributes
    ----------
    path : Path
        The file or the folder.
    classes : list of str
        Names of the classes; the first is number 1.
    photographs : int
        Photographs in it.
    failed : dict of str to str
        Ids of the photographs that were left out, and why.
    """

    path: Path
    classes: list[str]
    photographs: int = 0
    failed: dict[str, str] = field(default_factory=dict)
