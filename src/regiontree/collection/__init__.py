"""What photographs share: regions of many trees, grouped into categories by what they show.

trees -> regions, each with a descriptor                 (collection.regions)
      -> descriptors centred, whitened, at unit length   (collection.projection)
      -> prototypes: small groups of like regions        (collection.prototypes)
      -> a tree of categories over the prototypes        (hierarchy, as for one photograph)
      -> the prototype of every node of every photograph (collection.discovery)
      -> the regions most like an example                (collection.search)

So a photograph and a collection are treated alike: patches become parts and a tree, regions become
prototypes and a tree. The category of a region at any granularity is then a look-up.
"""

from __future__ import annotations

from regiontree.collection.collection import Category, Collection, Example, Region
from regiontree.collection.discovery import Discovery, discover
from regiontree.collection.settings import CollectionSettings

__all__ = [
    "Category",
    "Collection",
    "CollectionSettings",
    "Discovery",
    "Example",
    "Region",
    "discover",
]
