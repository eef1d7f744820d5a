"""What a collection holds, and a few photographs that stand for all, found in one pass."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b

from regiontree.references.reference import Reference
from regiontree.system.faults import attempt

__all__ = ["Survey", "size_of", "survey"]

_LOOKED_AT = 1024  # photographs whose sizes are asked for


@dataclass(frozen=True, slots=True)
class Survey:
    """What a collection holds.

    Attributes
    ----------
    count : int
        Number of photographs.
    bytes : float or None
        Bytes of all of them. None if their sizes cannot be told without reading them.
    is_exact : bool
        Whether `bytes` is a sum. If not, it follows from the mean of 1,024 photographs.
    sample : tuple of Reference
        Photographs that stand for all, from the smallest file to the largest.
    seconds : float
        Time that the listing took.
    """

    count: int
    bytes: float | None
    is_exact: bool
    sample: tuple[Reference, ...]
    seconds: float


def survey(references: Iterable[Reference], photos: int) -> Survey:
    """A collection in numbers, and a sample of it.

    The sample depends on the ids and sizes of the photographs, and not on their order. Of each id a
    digest is made, and the 1,024 smallest digests are kept. That is a random choice in one pass and
    in bounded memory. The kept photographs are sorted by size, and the sample is taken from them in
    equal steps, so that small and large files have their shares.

    Parameters
    ----------
    references
        The collection.
    photos
        Size of the sample, at least 1. It is smaller if the collection is.
    """
    start = time.perf_counter()
    most = max(photos, _LOOKED_AT)
    kept: list[tuple[int, int, Reference]] = []  # the largest digest first
    count = 0
    for reference in references:
        entry = (-_digest(reference.id), count, reference)
        count += 1
        if len(kept) < most:
            heapq.heappush(kept, entry)
        else:
            heapq.heappushpop(kept, entry)
    seconds = time.perf_counter() - start
    sized = [(size_of(one), digest, one) for digest, _, one in kept]
    sizes = [size for size, _, _ in sized if size is not None]
    whole = sum(sizes) / len(sizes) * count if sizes else None
    is_exact = len(sizes) == count
    ordered = sorted(sized, key=lambda one: (one[0] or 0, one[1]))
    number = min(photos, len(ordered))
    places = [(2 * i + 1) * len(ordered) // (2 * number) for i in range(number)]
    sample = tuple(ordered[place][2] for place in places)
    return Survey(count, whole, is_exact, sample, seconds)


def size_of(reference: Reference) -> int | None:
    """Bytes of a photograph; None if that cannot be told without reading it."""
    if reference.length is not None:
        return reference.length
    if reference.path is None:
        return None
    size = attempt(partial(os.path.getsize, reference.path))
    return None if isinstance(size, Exception) else size


def _digest(name: str) -> int:
    data = name.encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(data, digest_size=8).digest())
