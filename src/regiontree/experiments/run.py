"""An experiment from config to tables, and the scoring of trees that exist already.

:func:`prepare` opens the data and says what would be done; :func:`run` does it, alone or among the
processes of a crew, and reports at rank 0. :func:`evaluate` scores trees from any folder.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from regiontree.datasets.catalog import CATALOGUE, open_dataset
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.datasets.published import published_dataset
from regiontree.datasets.spec import DatasetSpec
from regiontree.engines.batch import largest
from regiontree.engines.crew import Crew
from regiontree.errors import (
    BackboneError,
    ConfigError,
    DataError,
    MissingExtraError,
    RegionTreeError,
    TreeFileError,
)
from regiontree.experiments.config import Experiment
from regiontree.experiments.report import Report
from regiontree.experiments.scoring import Scoring
from regiontree.experiments.stages import Outcome, Pipeline, read_records, work
from regiontree.images.superpixels import check_installed
from regiontree.system.files import atomic_write, sha256_of
from regiontree.system.reading import validated
from regiontree.tree.foreign import TREE_SUFFIXES, read_any_tree

__all__ = ["Plan", "Result", "evaluate", "prepare", "run"]

_TREE_BYTES = 150_000  # of a typical photograph's tree; features are computed exactly


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    experiment, dataset
    scoring : None where no ground truth is scored
    remarks : settings honoured in another way than written
    missing : why it cannot run here and now; empty if it can
    """

    experiment: Experiment
    dataset: Dataset
    scoring: Scoring | None
    remarks: tuple[str, ...]
    missing: tuple[str, ...]

    def text(self, bytes_per_image: int | None = None) -> str:
        """The plan for a reader."""
        experiment, data = self.experiment, self.dataset
        split = f" {data.split}" if data.split else ""
        places = {
            "extract_features": experiment.features_dir,
            "semantic_ncuts": experiment.trees_dir,
            "postprocess_crf": experiment.trees_dir,
            "create_stats": experiment.stats_dir,
        }
        lines = [
            f"config    {experiment.config} "
            f"({'published' if experiment.published else 'own'} format)",
            f"data      {data.name}{split}: {len(data.samples)} images",
            f"labels    {self._labels()}",
            f"model     {experiment.model}",
        ]
        lines += [
            f"stage     {stage} -> {places[stage]}"
            for stage in experiment.stages
            if stage in places
        ]
        if bytes_per_image is not None:
            lines.append(f"disk      {self._disk(bytes_per_image)}")
        lines += [f"note      {remark}" for remark in self.remarks]
        lines += [f"missing   {said}" for said in self.missing]
        if not data.samples and data.name in CATALOGUE:
            lines.append(
                f"hint      regiontree datasets {data.name} says what to get, and from where"
            )
        return "\n".join(lines)

    def _labels(self) -> str:
        if self.dataset.labels is not None:
            return self.dataset.labels.name
        return "none: regions without classes" if self.dataset.spec.labels is None else "unreadable"

    def _disk(self, per_image: int) -> str:
        count = len(self.dataset.samples)
        total = per_image * count
        place = self.experiment.output.absolute()
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        warning = " - NOT ENOUGH" if total > free else ""
        return (
            f"up to {_size(total)} for {count} images ({_size(per_image)} each), "
            f"{_size(free)} free{warning}"
        )


def prepare(experiment: Experiment) -> Plan:
    """Open an experiment's data and see what is missing.

    Raises
    ------
    ConfigError
        The data set is unknown or contradicts itself; missing files are no error here.
    """
    remarks: list[str] = list(experiment.remarks)
    if experiment.datasets_config is not None:
        # Paths in it start where that code ran: here, or beside or above the file itself.
        beside = experiment.datasets_config.parent
        search = [experiment.root] if experiment.root else [Path(), beside.parent, beside]
        dataset, found = published_dataset(
            experiment.datasets_config, experiment.dataset, experiment.split or "", search=search
        )
        remarks += found
    else:
        data: Any = experiment.data if experiment.data is not None else experiment.dataset
        if isinstance(data, Mapping):
            data = validated(DatasetSpec, data, f"{experiment.config}: dataset")
        dataset = open_dataset(data, experiment.split, experiment.root)
    missing = [*experiment.unsupported]
    if not dataset.samples:
        missing += dataset.problems or ["the data set has no images"]
    else:
        remarks += dataset.problems
    remarks += _downloads(experiment.settings.backbone.name, missing)
    if experiment.settings.needs_pixels:
        try:
            check_installed(experiment.settings.parts.name)
        except MissingExtraError as error:
            missing.append(str(error))
    scoring = None
    if "create_stats" in experiment.stages:
        if dataset.spec.masks is None:
            missing.append("this split has no ground truth; leave create_stats out")
        else:
            scoring = Scoring(
                dataset.labels,
                experiment.protocols,
                experiment.match,
                experiment.threshold,
                experiment.budgets,
            )
    return Plan(experiment, dataset, scoring, tuple(remarks), tuple(missing))


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


def _downloads(backbone: str, missing: list[str]) -> list[str]:
    """What of the network is to be fetched, as a remark; a name that is none is missing."""
    if backbone == "embedded" or backbone.partition(":")[0] in ("precomputed", "onnx"):
        return []
    from regiontree.backbones.weights import is_here

    try:
        if is_here(backbone):
            return []
    except BackboneError as error:
        missing.append(str(error))
        return []
    return [
        f"the weights of {backbone} are not on this machine and will be downloaded; --model "
        "embedded runs without a network"
    ]


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


# -- trees that exist already ---------------------------------------------------------------------


@dataclass(slots=True)
class _Found:
    """Tree files below some folders, by what their samples may be called."""

    by_id: dict[str, Path] = field(default_factory=dict)
    by_stem: dict[str, list[Path]] = field(default_factory=dict)

    def of(self, sample: Sample) -> Path | None:
        """The tree of a sample, by its id, else by the last part of it; None if it has none.

        Raises
        ------
        TreeFileError
            There are several.
        """
        if sample.id in self.by_id:
            return self.by_id[sample.id]
        names = {sample.id.rsplit("/", 1)[-1], sample.image.stem}
        found = sorted({path for name in names for path in self.by_stem.get(name, ())})
        if len(found) > 1:
            raise TreeFileError(f"{sample.id}: several trees of that name: {found[0]}, {found[1]}")
        return found[0] if found else None


def _find_trees(paths: Sequence[Path]) -> _Found:
    found = _Found()
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder of trees")
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.suffix.lower() in TREE_SUFFIXES and file.is_file():
                below = file.relative_to(path if path.is_dir() else path.parent)
                found.by_id.setdefault(str(below.with_suffix("").as_posix()), file)
                found.by_stem.setdefault(file.name.split(".")[0], []).append(file)
    if not found.by_id:
        raise DataError(f"no tree files ({', '.join(TREE_SUFFIXES)}) in {paths[0]}")
    return found


def evaluate(
    trees: Sequence[Path],
    dataset: Dataset,
    scoring: Scoring,
    *,
    on_image: Callable[[str | None], None] = lambda error: None,
) -> Report:
    """Scores of trees made earlier, or by anybody (:mod:`regiontree.tree.foreign`).

    Every image of the data set that has a tree is scored; images without one are told of together,
    other failures one by one.

    Raises
    ------
    DataError
        Not a single image could be scored.
    """
    if not dataset.samples:
        said = dataset.problems or ("it has no images",)
        raise DataError(f"{dataset.name} cannot be scored:\n" + "\n".join(f"  {s}" for s in said))
    found = _find_trees(trees)
    records: list[Mapping[str, Any]] = []
    failed: list[str] = []
    absent: list[str] = []
    models: set[str] = set()
    for sample in dataset.samples:
        error = None
        try:
            path = found.of(sample)
            if path is None:
                absent.append(sample.id)
                on_image(None)
                continue
            tree = read_any_tree(path)
            _check_photograph(path, tree.meta.get("image", {}), sample)
            records.append(scoring.record(sample.id, tree, dataset.truths(sample)))
            models.add(str(tree.meta.get("backbone", {}).get("name", "trees")))
        except (RegionTreeError, OSError, MemoryError) as said:
            error = str(said) if sample.id in str(said) else f"{sample.id}: {said}"
            failed.append(error)
        on_image(error)
    if absent:
        some = ", ".join(absent[:3])
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        failed.append(f"{len(absent)} images have no tree: {some}{more}")
    if not records:
        raise DataError("nothing could be scored:\n" + "\n".join(f"  {s}" for s in failed[:20]))
    return Report(
        dataset.name,
        dataset.split,
        " + ".join(sorted(models)),
        scoring,
        scoring.merge(records),
        {},
        (*failed, *dataset.problems),
    )


def _check_photograph(path: Path, recorded: Mapping[str, Any], sample: Sample) -> None:
    """A tree that was made from features alone records their file, and is as large as its grid."""
    of_photograph = "sha256" in recorded and recorded.get("size") != recorded.get("grid")
    if of_photograph and recorded["sha256"] != sha256_of(sample.image):
        raise DataError(f"{path}: is a tree of another photograph than {sample.image}")


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
