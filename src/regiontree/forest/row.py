"""A row: the tree of one photograph of a collection, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass

from regiontree.tree import RegionTree

__all__ = ["Row"]


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one photograph.

    Attributes
    ----------
    id, reference : str
        As in :class:`~regiontree.references.reference.Reference`: its name in the collection, and
        its address.
    tree : RegionTree or None
        None if the photograph failed.
    error : str or None
        Why it failed.
    notice : str or None
        What the tree shows of a file with more bands or pages than a photograph.
    sha256 : str or None
        Digest of the photograph's bytes. None if they could not be read.
    """

    id: str
    reference: str
    tree: RegionTree | None = None
    error: str | None = None
    notice: str | None = None
    sha256: str | None = None
