"""The engine ``ray``: stages on a Ray cluster, by Ray Data.

references, a block for each batch
  -> decoded     tasks on a core each
  -> features    a pool of actors, which hold the network; a GPU each where there are any
  -> trees       tasks on a core each, which also write the part of the batch
  -> statuses    back here

Ray Data streams: a stage waits when the next one cannot keep up, so memory is bounded. It also does
a task again whose process or machine died. A batch that kills its process again and again is
dropped: it has no status, and :mod:`regiontree.engines.collection` does its photographs alone.

An actor reserves no core, because tasks could wait for ever for cores that actors hold
(ray-project/ray#44687). Between stages a photograph is a pickle in a column of bytes. It never
leaves the object stores of this run.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, replace
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from regiontree.engines.engine import Batch, EngineOptions, Status, written
from regiontree.engines.link import Message, error_of, told
from regiontree.engines.parsers import Absent, network_facts, parser_of, parser_options
from regiontree.engines.process import Staged, decoded, features, trees
from regiontree.errors import MissingExtraError, RegionTreeError, SettingsError
from regiontree.forest.store import Store
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.faults import attempt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RayEngine"]

_WAVE = 16_384  # batches that one run of Ray Data does
_RETRIES = 3  # how often a task is done again whose process or machine died
_ASK_AGAIN = 600.0  # seconds


class RayEngine:
    """Batches, done by Ray Data: see :class:`~regiontree.engines.engine.Engine`.

    Parameters
    ----------
    options
        ``more["address"]`` is the address of a cluster. None: that of the environment variable
        RAY_ADDRESS; without one, a cluster on this machine is started, with ``workers`` cores, and
        ended in the end. A program that has connected to Ray itself stays connected.

    Raises
    ------
    MissingExtraError
        Ray Data is not installed.
    SettingsError
        There is no cluster at the address, or ``workers`` was given for one that exists.
    RegionTreeError
        The network cannot be loaded.
    """

    is_first = True
    ahead = 64

    def __init__(self, options: EngineOptions) -> None:
        self.parser = options.parser
        self.store = options.store
        self._ray = _library()
        self._is_ours = not self._ray.is_initialized()
        if self._is_ours:
            _connect(self._ray, options.more.get("address"), options.workers)
        try:
            self._plan = self._planned(options)
        except BaseException:
            self.close()
            raise

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """All batches."""
        return iter(batches)

    def statuses(self, batches: Iterable[Batch]) -> Iterator[list[Status]]:
        """See :meth:`regiontree.engines.engine.Engine.statuses`."""
        coming = iter(batches)
        while wave := list(islice(coming, _WAVE)):
            yield from self._wave(wave)

    def total(self, counts: Sequence[int]) -> list[int]:
        """The counts themselves."""
        return list(counts)

    def close(self) -> None:
        """Leave the cluster."""
        if self._is_ours:
            self._ray.shutdown()

    def _planned(self, options: EngineOptions) -> _Plan:
        """What each stage is told. The network is loaded once, so its error comes once."""
        parser = options.parser
        resources = self._ray.cluster_resources()
        gpus = int(resources.get("GPU", 0))
        if parser.device.type != "cuda" and parser.needs_this_process is False:
            gpus = gpus if options.more.get("device", "cpu") == "auto" else 0
        plan = _Plan(
            parser_options(parser), parser.own_model, self.store, gpus,
            max(1, gpus or int(resources.get("CPU", 1))),
        )  # fmt: skip
        return plan

    def _wave(self, wave: Sequence[Batch]) -> Iterator[list[Status]]:
        raise NotImplementedError
