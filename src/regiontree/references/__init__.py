"""Which photographs there are: lists of references, from folders to object stores."""

from regiontree.references.listing import Listing, list_references
from regiontree.references.reading import read_bytes
from regiontree.references.reference import Reference

__all__ = ["Listing", "Reference", "list_references", "read_bytes"]
