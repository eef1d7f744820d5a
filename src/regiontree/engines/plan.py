"""How long a run over a collection will take, foretold from a few of its photographs."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from regiontree.engines.collection import settings_record
from regiontree.engines.division import FEW, pays, why_here
from regiontree.engines.machines import STEPS, Assumed, Forecast, Machine, Needs, forecast
from regiontree.engines.survey import Survey, survey
from regiontree.engines.timing import (
    CrewTimes,
    network_seconds,
    operations,
    time_crew,
    time_shards,
)
from regiontree.errors import SettingsError
from regiontree.forest.store import open_store
from regiontree.parser import RegionParser
from regiontree.references.reference import Reference
from regiontree.system.resources import cores

__all__ = ["HERE", "Plan", "make_plan"]

HERE = "this machine"
"""Name of the machine that measured."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What was measured, and what follows from it for each machine.

    Attributes
    ----------
    survey : Survey
    alone, together : CrewTimes
        What one worker and what all workers of this machine took for the sample.
    needs : Needs
        What the collection needs.
    assumed : Assumed
        What was not measured.
    forecasts : list of Forecast
        The first is that of this machine.
    is_store : bool
        Whether the trees go into a store.
    """

    survey: Survey
    alone: CrewTimes
    together: CrewTimes
    needs: Needs
    assumed: Assumed
    forecasts: list[Forecast] = field(default_factory=list)
    is_store: bool = False

    @property
    def factor(self) -> float:
        """What one of all busy cores does, as a share of what one core alone does."""
        return self.alone.whole / self.together.whole if self.together.whole else 1.0

    @property
    def failures(self) -> dict[str, str]:
        """Why photographs of the sample have no tree, by their ids."""
        pairs = zip(self.survey.sample, self.together.times, strict=True)
        return {one.id: times.error for one, times in pairs if times.error is not None}

    @property
    def spread(self) -> float | None:
        """Standard error of the mean time of a photograph, as a share of it; None for one."""
        whole = [times.whole for times in self.together.times]
        if len(whole) < 2 or not sum(whole):
            return None
        return float(statistics.stdev(whole) / len(whole) ** 0.5 / statistics.fmean(whole))

    @property
    def interference(self) -> float:
        """Share of the measured time in which other programs had the cores. It does not count."""
        times = self.together.times
        waited = sum(one.waited for one in times)
        return waited / max(1e-9, waited + sum(one.whole for one in times))

    def as_dict(self) -> dict[str, Any]:
        """The plan as ``--json`` prints it."""
        found, needs = self.survey, self.needs
        return {
            "photographs": found.count,
            "bytes": None if found.bytes is None else round(found.bytes),
            "bytes_are_exact": found.is_exact,
            "measured": {
                "photographs": len(found.sample),
                "failed": self.failures,
                "workers": self.together.workers,
                "seconds_alone": {step: self.alone.mean(step) for step in STEPS},
                "seconds_together": {step: self.together.mean(step) for step in STEPS},
                "factor": self.factor,
                "standard_error": self.spread,
                "other_programs": self.interference,
                "start_seconds": needs.start,
                "shard_seconds": needs.shards,
                "gigaoperations": needs.operations / 1e9,
                "tree_bytes": needs.stored,
                "worker_bytes": needs.memory,
            },
            "assumed": asdict(self.assumed),
            "machines": [_record(one) for one in self.forecasts],
        }


def _record(one: Forecast) -> dict[str, Any]:
    machine = asdict(one.machine)
    rest = {name: value for name, value in asdict(one).items() if name != "machine"}
    return {**machine, "hours": one.seconds / 3600, **rest}


def make_plan(
    parser: RegionParser,
    references: Iterable[Reference],
    *,
    machines: Sequence[Machine] = (),
    assumed: Assumed | None = None,
    photos: int = 16,
    workers: int | None = None,
    is_store: bool = False,
    on_survey: Callable[[Survey], None] = lambda found: None,
    on_photograph: Callable[[], None] = lambda: None,
) -> Plan:
    """Foretell what a run over a collection needs, on this machine and on others.

    Parameters
    ----------
    parser
        Its settings count. If its device is a GPU, the network is also measured there.
    references
        The collection.
    machines
        Others than this one.
    assumed
        What is not measured.
    photos
        How many photographs are measured.
    workers
        Number of worker processes of this machine. None: one for each core.
    is_store
        Whether the trees go into a store.
    on_survey
        Called once the collection is listed.
    on_photograph
        Called after each photograph of the sample: twice for each of them.

    Raises
    ------
    SettingsError
        There is no photograph, none of the sample can be read, or the settings cannot be handed to
        another process. Or a machine has a GPU, and the operations of the network cannot be
        counted.
    BackboneError
        The network cannot be loaded.
    """
    assumed = assumed or Assumed()
    if said := why_here(parser):
        raise SettingsError(f"the time of workers cannot be measured: {said}")
    found = survey(references, photos)
    if not found.sample:
        raise SettingsError("no photographs to plan for; name at least one file or folder")
    on_survey(found)
    number = cores() if workers is None else max(1, workers)
    with tempfile.TemporaryDirectory(prefix="regiontree-") as folder:
        out = Path(folder) / "trees"
        out.mkdir()
        if is_store:
            open_store(out, settings_record(parser))

        def timed(number: int) -> CrewTimes:
            return time_crew(
                parser, found.sample, number, out, is_store=is_store, on_photograph=on_photograph
            )

        alone = timed(1)
        _require_some(alone, found.sample)
        seen = [one.seen for one in alone.times if one.seen is not None]
        counted = _operations(parser, seen, machines)
        together = timed(number) if number > 1 else alone
        shards, stored = time_shards(out) if is_store else (0.0, _mean(together, "stored"))
    needs = Needs(
        photographs=found.count,
        seconds={step: together.mean(step) for step in STEPS},
        # The command does a few photographs itself. Workers start if the rest takes long.
        start=min(alone.start, together.start) + (FEW - 1) * alone.whole + together.start,
        operations=counted,
        shards=shards,
        read=found.bytes / found.count if found.bytes else _mean(together, "read"),
        stored=stored,
        memory=max(one.memory for one in together.times),
    )
    plan = Plan(found, alone, together, needs, assumed, [], is_store)
    plan.forecasts.append(_here(plan, parser, seen))
    plan.forecasts.extend(forecast(machine, needs, assumed) for machine in machines)
    return plan


def _mean(crew: CrewTimes, name: str) -> float:
    return statistics.fmean(getattr(one, name) for one in crew.times)


def _require_some(crew: CrewTimes, sample: Sequence[Reference]) -> None:
    """Check that a photograph of the sample has a tree."""
    errors = [one.error for one in crew.times if one.error is not None]
    if len(errors) == len(sample):
        what = "the photograph" if len(sample) == 1 else f"any of {len(sample)} photographs"
        raise SettingsError(f"no tree can be made of {what}, for example: {errors[0]}")


def _operations(
    parser: RegionParser, seen: Sequence[tuple[int, ...]], machines: Sequence[Machine]
) -> int:
    """Operations of the network for a photograph; 0 if no machine needs them."""
    with_gpu = [one for one in machines if one.gpu is not None]
    if not with_gpu or not seen:
        return 0
    counted = operations(parser, seen)
    if not counted:
        raise SettingsError(
            f"{with_gpu[0].name}: torch counts no operations of this network, so its time on a GPU "
            "is not known; leave out machines with GPUs"
        )
    return round(counted)


def _here(plan: Plan, parser: RegionParser, seen: Sequence[tuple[int, ...]]) -> Forecast:
    """The forecast of this machine."""
    needs, workers = plan.needs, plan.together.workers
    if parser.device.type != "cpu" and seen:
        each = network_seconds(parser, seen)
        machine = Machine(HERE, 1, workers, parser.device.type, 1, each)
    elif pays([plan.alone.whole] * FEW, needs.photographs - FEW):
        machine = Machine(HERE, 1, workers)
    else:  # so little work that no worker is started
        few = replace(
            needs,
            seconds={step: plan.alone.mean(step) for step in STEPS},
            start=min(plan.alone.start, plan.together.start),
        )
        return forecast(Machine(HERE, 1, 1), few, plan.assumed)
    return forecast(machine, needs, plan.assumed)
