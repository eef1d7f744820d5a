"""Run a planned experiment, alone or among the processes of a crew, and report at rank 0."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from regiontree.engines.batch import largest
from regiontree.engines.crew import Crew
from regiontree.errors import ConfigError
from regiontree.experiments.experiment import Experiment
from regiontree.experiments.plan import Plan
from regiontree.experiments.report import Report
from regiontree.experiments.stages import Outcome, Pipeline, read_records, work
from regiontree.system.faults import fault_text
from regiontree.system.files import atomic_write
from regiontree.system.paths import require_writable
from regiontree.system.temporary import remove_leftovers

__all__ = ["Result", "run"]

_TREE_BYTES = 150_000  # a typical photograph's tree; the size of features is exact


@dataclass(frozen=True, slots=True)
class Result:
    """What a run did; only rank 0 knows all of it.

    Attributes
    ----------
    report : Report or None
        None if nothing was scored.
    done, kept : int
        Numbers of images over all processes.
    failed : tuple of str
        One sentence for each image that failed and for each problem of the data set.
    files : tuple of Path
        The result files.
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
    """The result of a planned run, whose images are shared among the crew.

    Finished work is kept.

    Raises
    ------
    ConfigError
        Something is missing; ``plan.missing`` says what.
    BackboneError
        The network cannot be loaded, so no image can be done.
    """
    if plan.missing:
        raise ConfigError("cannot run:\n" + "\n".join(f"  {said}" for said in plan.missing))
    experiment, dataset = plan.experiment, plan.dataset
    for folder in _folders(experiment):
        require_writable(folder, ConfigError)
        remove_leftovers(folder)
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
        dataset.segments_text if plan.scoring.needs_segments else "",
    )
    files: list[Path] = []
    try:
        files += report.save(experiment.stats_dir)
        for depth, text in report.published().items() if experiment.published else ():
            path = (
                experiment.hierarchical_results_file
                if depth is None
                else experiment.results_file(depth)
            )
            with atomic_write(path) as file:
                file.write(text.encode())
            files.append(path)
    except OSError as error:  # a full disk, say: the trees and the scores of images are kept
        told = (*told, fault_text(error, experiment.stats_dir))
    return Result(report, done, kept, told, tuple(files))


def _folders(experiment: Experiment) -> set[Path]:
    """The folders that the scheduled stages write to."""
    of_stage = {
        "extract_features": experiment.features_dir,
        "semantic_ncuts": experiment.trees_dir,
        "postprocess_crf": experiment.trees_dir,
        "create_stats": experiment.stats_dir,
    }
    return {of_stage[stage] for stage in experiment.stages if stage in of_stage}


def _bytes_per_image(pipeline: Pipeline) -> int | None:
    """The most bytes that the stages write for one image; None if nobody can know."""
    experiment = pipeline.experiment
    total = _TREE_BYTES if "semantic_ncuts" in pipeline.stages else 0
    if "extract_features" in pipeline.stages:
        if pipeline.parser.settings.is_precomputed:
            return None
        network, size = pipeline.parser.backbone, experiment.settings.view.size
        height, width = (size, size) if isinstance(size, int) else size
        total += -(-height // network.patch) * -(-width // network.patch) * network.dim * 2
    return total
