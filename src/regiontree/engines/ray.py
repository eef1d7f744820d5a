"""The engine ``ray``: stages on a Ray cluster, by Ray Data.

references, a block for each batch
  -> statuses    tasks on a core each, which do all the work and write the part of the batch

If the cluster has GPUs for the network, there are three stages:

references
  -> decoded     tasks on a core each
  -> features    a pool of actors, which hold the network, one for each GPU
  -> statuses    tasks on a core each, which build the trees and write the part of the batch

Ray Data streams: a stage waits when the next one cannot keep up, so memory is bounded. It also does
a task again whose process or machine died. A batch that kills its process again and again is
dropped. Then it has no status, and :mod:`regiontree.engines.collection` does its photographs alone.

An actor reserves no core. Otherwise actors could hold all cores, and tasks would wait for ever
(https://github.com/ray-project/ray/issues/44687).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any

from regiontree.engines.division import lack_elsewhere
from regiontree.engines.engine import Batch, EngineOptions, Status
from regiontree.engines.link import error_of
from regiontree.engines.parsers import parser_options
from regiontree.engines.raycluster import Connection, plain_error, quiet
from regiontree.engines.raystages import (
    Network,
    Plan,
    decode,
    facts_of,
    finish,
    references_table,
    sees_store,
    whole,
)
from regiontree.errors import SettingsError
from regiontree.forest.store import open_store
from regiontree.system.paths import is_url

__all__ = ["RayEngine"]

_FIRST = 1024  # batches that the first run of Ray Data does, so that work begins soon
_WAVE = 16_384  # batches that one run of Ray Data does at most
_RETRIES = 3  # how often a task is done again whose process or machine died
_DAY = 86_400.0  # seconds that a run may be without any progress


class RayEngine:
    """Batches, done by Ray Data: see :class:`~regiontree.engines.engine.Engine`.

    Parameters
    ----------
    options
        ``more["address"]`` is the address of the cluster, and ``more["device"]`` where the network
        runs there: auto (on GPUs if the cluster has any), cpu or cuda. ``workers`` is the number of
        cores of a cluster that is started here: see
        :class:`~regiontree.engines.raycluster.Connection`.

    Raises
    ------
    MissingExtraError
        Ray Data is not installed.
    SettingsError
        There is no such cluster, it lacks a part of the program or a GPU, or a machine of it does
        not see the store.
    RegionTreeError
        The network cannot be loaded.
    """

    is_first = True
    ahead = 64

    def __init__(self, options: EngineOptions) -> None:
        parser = options.parser
        if said := lack_elsewhere(parser):
            raise SettingsError(f"the engine ray cannot be used: {said}")
        self.connection = Connection(options.more.get("address"), options.workers)
        self.ray = self.connection.ray
        try:
            device = _device(str(options.more.get("device", "auto")), options, self._has("GPU"))
            is_network = not parser.settings.is_precomputed
            self.gpus = self._has("GPU") if device == "cuda" and is_network else 0
            self.own = None if parser.own_model is None else self.ray.put(parser.own_model)
            store = options.store
            if not is_url(store.address):  # paths lead from another folder there
                store = open_store(os.path.abspath(store.address), create=False)
            plan = Plan(json.dumps(parser_options(parser)), os.getcwd(), store, device=device,
                        compile=parser.compile)  # fmt: skip
            self._require_store(plan)
            self.plan = self._with_facts(plan) if is_network else plan
        except BaseException:
            self.connection.close()
            raise
        kind = f"{self.gpus} GPUs" if self.gpus else "no GPU"
        options.notice(f"Ray cluster: {self._nodes()} machines, {self._has('CPU')} cores, {kind}")

    def share(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """All batches."""
        return iter(batches)

    def statuses(self, batches: Iterable[Batch]) -> Iterator[list[Status]]:
        """See :meth:`regiontree.engines.engine.Engine.statuses`."""
        coming, size = iter(batches), _FIRST
        while wave := list(islice(coming, min(size, _WAVE))):
            size *= 2
            try:
                yield from self._wave(wave)
            except self.ray.exceptions.RayError as error:
                raise plain_error(error) from error

    def total(self, counts: Sequence[int]) -> list[int]:
        """The counts themselves."""
        return list(counts)

    def close(self) -> None:
        """Leave the cluster."""
        self.connection.close()

    def _has(self, resource: str) -> int:
        return int(self.ray.cluster_resources().get(resource, 0))

    def _nodes(self) -> int:
        return sum(bool(node["Alive"]) for node in self.ray.nodes())

    # -- before the first photograph --------------------------------------------------------------

    def _require_store(self, plan: Plan) -> None:
        """Check that every machine can write to the store."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self.ray.remote(num_cpus=0)(sees_store)
        asked = {
            node["NodeManagerHostname"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(plan)
            for node in self.ray.nodes()
            if node["Alive"]
        }
        for machine, answer in asked.items():
            try:
                problem = self.ray.get(answer)
            except self.ray.exceptions.RayError as error:
                raise plain_error(error) from error
            if problem:
                raise SettingsError(
                    f"{machine}: {problem}; all machines of the cluster must see the store, on a "
                    "shared disk or in an object store"
                )

    def _with_facts(self, plan: Plan) -> Plan:
        """The plan with facts about the network. It is loaded once, so its error comes once."""
        load = self.ray.remote(num_cpus=0, num_gpus=1 if self.gpus else 0)(facts_of)
        try:
            facts = self.ray.get(load.remote(plan, self.own))
        except self.ray.exceptions.RayError as error:
            raise plain_error(error) from error
        if "error" in facts:
            raise error_of(facts["error"])
        return replace(plan, facts=json.dumps(facts))

    # -- the stages -------------------------------------------------------------------------------

    def _wave(self, wave: Sequence[Batch]) -> Iterator[list[Status]]:
        """Do batches by one run of Ray Data."""
        by_block = {"batch_size": None, "batch_format": "pyarrow", "prefetch_batches": 0}
        with quiet(self.ray) as context:
            context.max_errored_blocks = -1  # what has no status is done again
            context.execution_no_progress_timeout_s = _DAY
            context.max_consecutive_actor_init_deaths = _RETRIES  # a machine may die meanwhile
            stages = self._stages(list(map(references_table, wave)))
            coming: Any = iter(stages.iter_batches(**by_block))
            with closing(coming) as blocks:  # else Ray Data would end some time after Ray
                for block in blocks:
                    yield _statuses_of(block.to_pylist())

    def _stages(self, blocks: list[Any]) -> Any:
        """What Ray Data runs."""
        from ray.data import ActorPoolStrategy

        on_core = {"batch_size": None, "batch_format": "pyarrow", "num_cpus": 1,
                   "max_retries": _RETRIES}  # fmt: skip
        told = {"plan": self.plan}
        stages = self.ray.data.from_arrow(blocks)
        if not self.gpus:
            return stages.map_batches(whole, fn_kwargs={**told, "own": self.own}, **on_core)
        stages = stages.map_batches(decode, fn_kwargs=told, **on_core)
        stages = stages.map_batches(
            Network,
            fn_constructor_args=(self.plan, self.own),
            compute=ActorPoolStrategy(min_size=1, max_size=self.gpus),
            num_cpus=0,
            num_gpus=1,
            max_restarts=-1,
            max_task_retries=_RETRIES,
            batch_size=1,  # Ray Data asks for a number; a task still has a whole block
            batch_format="pyarrow",
        )
        return stages.map_batches(finish, fn_kwargs=told, **on_core)


def _statuses_of(rows: list[dict[str, Any]]) -> list[Status]:
    """The statuses that a block of the last stage tells."""
    for row in rows:
        if (stop := row.pop("stop")) is not None:
            raise error_of(json.loads(stop))
    return [Status(**row) for row in rows]


def _device(asked: str, options: EngineOptions, gpus: int) -> str:
    """Where the network runs on the cluster: cpu or cuda."""
    if options.parser.own_model is not None:
        return options.parser.device.type
    if asked not in ("auto", "cpu", "cuda"):
        raise SettingsError(f"device {asked!r} with the engine ray; use auto, cpu or cuda")
    if asked == "cuda" and not gpus:
        raise SettingsError("device 'cuda': the Ray cluster has no GPU; use --device cpu or auto")
    return "cuda" if gpus and asked != "cpu" else "cpu"
