"""Run a planned experiment, alone or among the processes of a crew, and report at rank 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from regiontree.engines.batch import largest
from regiontree.engines.crew import Crew
from regiontree.errors import ConfigError
from regiontree.experiments.plan import Plan
from regiontree.experiments.report import Report
from regiontree.experiments.stages import Outcome, Pipeline, read_records, work
from regiontree.system.files import atomic_write

__all__ = ["Result", "run"]

_TREE_BYTES = 150_000  # of a typical photograph's tree; features are computed exactly


@dataclass(frozen=True, slots=True)
class Result:
    """What a run came to; complete at rank 0 only.

    Attributes
    ----------
    report : None where nothing was scored
    done, kept, failed : numbers of images over all processes
    files : result files written
    """

    report: Report | None
    done: int
    kept: int
    failed: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def run(
    plan: Plan,
    crew: Crew,
    *,
    device: str = "auto",
    compile: bool = False,
    overwrite: bool = False,
    on_start: Callable[[Plan, int | None], None] = lambda plan, size: None,
    on_outcome: Callable[[int, Outcome], None] = lambda ticket, outcome: None,
) -> Result:
    """Do what is planned, sharing the images with the crew; what is finished is kept.

    Raises
    ------
    ConfigError
        Something is missing: ``plan.missing`` says what.
    BackboneError
        The network cannot be loaded: no image could be done.
    """
    if plan.missing:
        raise ConfigError("cannot run:\n" + "\n".join(f"  {said}" for said in plan.missing))
    experiment, dataset = plan.experiment, plan.dataset
    pipeline = Pipeline(
        experiment,
        dataset,
        plan.scoring,
        device=crew.device or device,
        compile=compile,
        overwrite=overwrite,
    )
    if crew.rank == 0:
        said = largest(pipeline.parser, (sample.image for sample in dataset.samples))
        remarks = (*plan.remarks, said) if said else plan.remarks
        on_start(replace(plan, remarks=remarks), _bytes_per_image(pipeline))
        if experiment.conf_export and experiment.config is not None:
            with atomic_write(experiment.stats_dir / "config.json") as file:
                file.write(experiment.config.read_bytes())
    outcomes = list(work(pipeline, crew, on_outcome))
    errors = {o.image: o.error for o in outcomes if o.error}
    done, kept = crew.total(
        [sum(bool(o.seconds) and not o.error for o in outcomes),
         sum(not o.seconds and not o.error for o in outcomes)]
    )  # fmt: skip
    everyone = [json.loads(text) for text in crew.gather(json.dumps(errors))]
    if crew.rank:
        return Result(None, done, kept)
    failed = dict(sorted((k, v) for errors in everyone for k, v in errors.items()))
    told = (*failed.values(), *dataset.problems)
    if plan.scoring is None or len(failed) == len(dataset.samples):
        return Result(None, done, kept, told)
    report = Report(
        experiment.dataset,
        experiment.split,
        experiment.model,
        plan.scoring,
        plan.scoring.merge(read_records(pipeline, failed.keys())),
        pipeline.logged_seconds(),
        told,
    )
    files = report.save(experiment.stats_dir)
    if experiment.published:
        for depth, text in report.published().items():
            path = (
                experiment.hierarchical_results_file
                if depth is None
                else experiment.results_file(depth)
            )
            with atomic_write(path) as file:
                file.write(text.encode())
            files.append(path)
    return Result(report, done, kept, told, tuple(files))


def _bytes_per_image(pipeline: Pipeline) -> int | None:
    """Disk that the scheduled stages take for an image, at most; None if it cannot be known."""
    experiment = pipeline.experiment
    total = _TREE_BYTES if "semantic_ncuts" in pipeline.stages else 0
    if "extract_features" in pipeline.stages:
        if pipeline.parser.settings.is_precomputed:
            return None
        network, size = pipeline.parser.backbone, experiment.settings.view.size
        height, width = (size, size) if isinstance(size, int) else size
        total += -(-height // network.patch) * -(-width // network.patch) * network.dim * 2
    return total
