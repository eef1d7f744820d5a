"""How a batch is divided among processes: how many there are, and how much memory each needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from heapq import nlargest
from pathlib import Path
from typing import Any

from regiontree.backbones.base import Backbone
from regiontree.backbones.descriptors import descriptor_dim
from regiontree.backbones.registry import FAMILIES
from regiontree.backbones.tiles import TILE, memory_needed
from regiontree.engines.link import CAN_SHARE
from regiontree.engines.torchrun import is_under_torchrun
from regiontree.engines.workers import CAN_START
from regiontree.hierarchy import BUILDERS
from regiontree.images import grid_of, image_size
from regiontree.images.readers import READERS
from regiontree.parser import RegionParser
from regiontree.refine import REFINEMENTS
from regiontree.settings import OVERSEGMENTATIONS, Settings
from regiontree.spectral.graph import MAX_PARTS
from regiontree.system.faults import attempt
from regiontree.system.resources import cores

__all__ = [
    "FEW",
    "START",
    "lack_elsewhere",
    "pays",
    "photograph_memory",
    "that_fit",
    "usual_workers",
    "why_here",
    "worker_memory",
]

FEW = 2
"""So many photographs are done without workers."""
START = 400_000_000
"""Bytes of memory that a worker takes before it loads a network: Python, torch and numba."""
_PAYS = 20.0  # seconds of work that are left; a worker takes some 3 to start
_LOOKED_AT = 32  # photographs whose headers are read
_PER_TOKEN = 120  # bytes that a network holds for each token and each number of its width
_LATER = 100_000_000  # bytes of what a process imports when it builds its first tree


def usual_workers(parser: RegionParser) -> int:
    """How many workers a batch has if the user does not say; 0 if this process does all.

    With a GPU there is one for each core, since the network leaves the cores free. On a CPU it is
    the same, with one thread each: two networks on a core each are faster than one on two. A
    network of the user's own, or a compiled one, stays in this process. On a CPU it would compete
    with the workers.
    """
    is_ours = parser.device.type != "cpu" or not parser.needs_this_process
    if not is_ours or why_here(parser) or is_under_torchrun():
        return 0
    number = cores()
    return number if number > 1 else 0


def why_here(parser: RegionParser) -> str | None:
    """Why no other process can do what `parser` does; None if one can."""
    if not CAN_START:
        return "this program does not know how to start Python"
    if parser.needs_this_process and not CAN_SHARE:
        return "on Windows the network cannot serve other processes"
    return lack_elsewhere(parser)


def lack_elsewhere(parser: RegionParser) -> str | None:
    """What other processes lack of a parser, besides its network; None if they lack nothing."""
    parts = (BUILDERS, FAMILIES, OVERSEGMENTATIONS, READERS, REFINEMENTS)
    for registry in parts:
        if registry.is_changed:
            return f"the program registered a {registry.what} itself, which other processes lack"
    again = attempt(lambda: Settings.make(**parser.settings.as_dict()))
    if again != parser.settings:
        return "the settings hold an object that other processes lack"
    return None


def pays(seconds: Iterable[float], left: int) -> bool:
    """Whether the photographs that are left take so long that workers are worth their start.

    Parameters
    ----------
    seconds
        Times of the photographs so far.
    left
        How many are left.
    """
    times = list(seconds)
    return len(times) >= FEW and left > FEW and min(times) * left > _PAYS


def worker_memory(
    parser: RegionParser,
    photos: Iterable[Path],
    facts: Mapping[str, Any],
    network: Backbone | None = None,
) -> int:
    """Bytes that each worker needs, told by the facts of the first that is ready.

    Parameters
    ----------
    parser
        Its settings count.
    photos
        The inputs of the batch.
    facts
        ``memory`` of the worker in bytes, and ``patch``, ``dim`` and ``descriptor_dim`` of its
        network.
    network
        The network, if it stays in this process. None: each worker has its own, or features come
        from files.
    """
    patch, dim, of_descriptor = (facts.get(key, 0) for key in ("patch", "dim", "descriptor_dim"))
    if network is not None:
        patch, dim, of_descriptor = network.patch, network.dim, descriptor_dim(network)
    held: int = facts["memory"] or START
    return held + photograph_memory(
        parser, photos, patch, dim, of_descriptor, with_network=network is None
    )


def that_fit(needed: int, free: int | None) -> int:
    """How many workers fit into memory, at least 1.

    Parameters
    ----------
    needed
        Bytes of each.
    free
        Bytes that are free; None if the system does not say.
    """
    return sys.maxsize if free is None else max(1, free // needed)


def photograph_memory(
    parser: RegionParser,
    photos: Iterable[Path],
    patch: int,
    dim: int,
    descriptor_dim: int = 0,
    *,
    with_network: bool,
) -> int:
    """Bytes that one worker needs for the largest photograph, above those of its network.

    The headers of the largest files are read. An estimate for feature files follows from their
    size.

    Parameters
    ----------
    parser
        Its settings count.
    photos
        The inputs of the batch.
    patch, dim, descriptor_dim
        Of the network; 0 if features come from files.
    with_network
        Whether the network runs in the worker.
    """
    sizes = [(size, photo) for photo in photos if (size := _bytes_of(photo)) is not None]
    largest = nlargest(_LOOKED_AT, sizes, key=lambda found: found[0])
    if not patch:
        return max((16 * size for size, _ in largest), default=0)
    return max(
        (
            _needed(parser, photo, patch, (dim, descriptor_dim), with_network)
            for _, photo in largest
        ),
        default=0,
    )


def _bytes_of(photo: Path) -> int | None:
    found = attempt(partial(os.path.getsize, photo))
    return None if isinstance(found, Exception) else found


def _needed(
    parser: RegionParser, photo: Path, patch: int, dims: tuple[int, int], with_network: bool
) -> int:
    size = attempt(partial(image_size, photo, parser.sight.max_pixels))
    if isinstance(size, Exception):  # it is told when this photograph is processed
        return 0
    grid = attempt(partial(grid_of, size, parser.sight.seen_size(size), patch))
    if isinstance(grid, Exception):
        return 0
    parts = getattr(parser.settings.parts, "count", MAX_PARTS)
    dim, of_descriptor = dims
    needed = memory_needed(size, grid, dim, parts, of_descriptor)
    needed -= memory_needed((0, 0), (0, 0), 0, 0)
    if with_network:
        tokens = grid[0] * grid[1] / parser.settings.overlap**2
        if parser.settings.view.tiles is not None:
            tokens = min(tokens, (TILE / patch) ** 2)
        needed += int(_PER_TOKEN * tokens * (dim - of_descriptor or dim))
    return _LATER + needed
