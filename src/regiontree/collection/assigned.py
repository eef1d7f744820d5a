"""What the files of a collection say of photographs: the prototypes of nodes, and the regions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.collection.files import CollectionFiles

__all__ = ["AllRegions", "Assigned", "all_regions", "assignments"]

Int32 = NDArray[np.int32]
_ARRAYS = ("prototype", "likeness")


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """The prototypes of a photograph's nodes.

    Attributes
    ----------
    id, reference : str
        Id of the photograph, and its path or URL.
    prototype : (N,) int32
        Of each node; -1 for no data.
    likeness : (N,) float16
        Cosine to the centre of its prototype.
    """

    id: str
    reference: str
    prototype: Int32
    likeness: NDArray[np.float16]


@dataclass(frozen=True, slots=True, eq=False)
class AllRegions:
    """Columns of all regions, one entry a region.

    Attributes
    ----------
    photo : (R,) int32
        Number of the photograph.
    nodes : (R,) int32
        Node in its tree.
    share : (R,) float32
        Share of the photograph's pixels.
    prototype : (R,) int32
    likeness : (R,) float32
        Cosine to the centre of its prototype.
    """

    photo: Int32
    nodes: Int32
    share: NDArray[np.float32]
    prototype: Int32
    likeness: NDArray[np.float32]


def assignments(files: CollectionFiles) -> Iterator[Assigned]:
    """What the nodes of each photograph were assigned, one at a time.

    Raises
    ------
    CollectionError
        A file is damaged.
    """
    for part in files.read_parts("photographs", set(_ARRAYS)):
        for i, one in enumerate(part.photographs):
            rows = slice(part.start[i], part.start[i + 1])
            own = (part.arrays[name][rows] for name in _ARRAYS)
            yield Assigned(one["id"], one["reference"], *own)


def all_regions(files: CollectionFiles, numbers: Mapping[str, int]) -> AllRegions:
    """All regions of the photographs that have their categories.

    Parameters
    ----------
    files
    numbers
        The number of each photograph, by its id.

    Raises
    ------
    CollectionError
        A file is damaged.
    """
    own = {one.id: (one.prototype, one.likeness) for one in assignments(files)}
    found: dict[str, list[Any]] = {name: [] for name in AllRegions.__dataclass_fields__}
    for part in files.read_parts("regions", {"nodes", "share"}):
        for i, one in enumerate(part.photographs):
            if one["id"] not in numbers:
                continue
            rows = slice(part.start[i], part.start[i + 1])
            nodes, (prototype, likeness) = part.arrays["nodes"][rows], own[one["id"]]
            found["photo"].append(np.full(len(nodes), numbers[one["id"]], np.int32))
            found["nodes"].append(nodes)
            found["share"].append(part.arrays["share"][rows])
            found["prototype"].append(prototype[nodes])
            found["likeness"].append(likeness[nodes].astype(np.float32))
    return AllRegions(**{name: np.concatenate(arrays) for name, arrays in found.items()})
