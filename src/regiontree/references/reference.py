"""A reference: where the bytes of one photograph lie, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from regiontree.references.addresses import local_path, scheme_of

__all__ = ["Reference"]


@dataclass(frozen=True, slots=True)
class Reference:
    """One photograph of a collection.

    Attributes
    ----------
    id : str
        Its name in the collection, the same in every listing and on every machine: the path below
        the folder that was listed, the address, or what a table's column of ids says.
    address : str
        The path or URL of the file that holds it.
    name : str
        File name, for messages and for the suffix. It has no folder.
    offset, length : int or None
        Where its bytes lie in the file, if the file is an archive of many. None: it is the file.
    """

    id: str
    address: str
    name: str
    offset: int | None = None
    length: int | None = None

    @property
    def path(self) -> Path | None:
        """The photograph's own file on this machine; None if it has none."""
        if self.offset is not None or scheme_of(self.address):
            return None
        return Path(local_path(self.address))
