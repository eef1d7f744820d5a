"""What a run would do, and what is missing for it: told before anything runs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from regiontree.datasets.catalog import CATALOGUE, open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.datasets.published import published_dataset
from regiontree.datasets.spec import DatasetSpec
from regiontree.errors import BackboneError, MissingExtraError
from regiontree.experiments.config import Experiment
from regiontree.experiments.scoring import Scoring
from regiontree.images.superpixels import check_installed
from regiontree.system.reading import validated
from regiontree.system.terminal import one_line

__all__ = ["Plan", "prepare"]


@dataclass(frozen=True)
class Plan:
    """What a run would do.

    Attributes
    ----------
    experiment : Experiment
    dataset : Dataset
    scoring : Scoring or None
        None if no ground truth is scored.
    remarks : tuple of str
        Settings that are followed in another way than the config says.
    missing : tuple of str
        Why the experiment cannot run on this machine; empty if it can.
    """

    experiment: Experiment
    dataset: Dataset
    scoring: Scoring | None
    remarks: tuple[str, ...]
    missing: tuple[str, ...]

    def text(self, bytes_per_image: int | None = None) -> str:
        """The plan as text, one line for each fact.

        `bytes_per_image` is what one image takes on disk; None: the text does not say it.
        """
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
        return "\n".join(one_line(line) for line in lines)

    def _labels(self) -> str:
        if self.dataset.labels is not None:
            return self.dataset.labels.name
        return "none: regions without classes" if self.dataset.spec.labels is None else "unreadable"

    def _disk(self, per_image: int) -> str:
        count = len(self.dataset.samples)
        total = per_image * count
        place = self.experiment.output.absolute()
        while not os.path.exists(place):
            place = place.parent
        free = shutil.disk_usage(place).free
        warning = " - NOT ENOUGH" if total > free else ""
        return (
            f"up to {_size(total)} for {count} images ({_size(per_image)} each), "
            f"{_size(free)} free{warning}"
        )


def prepare(experiment: Experiment) -> Plan:
    """The plan of an experiment: its data set is opened, and what is missing is found.

    Raises
    ------
    ConfigError
        The data set is unknown or contradicts itself. Missing files are no error: the plan names
        them.
    """
    remarks: list[str] = list(experiment.remarks)
    if experiment.datasets_config is not None:
        # The published code resolves these paths from the folder in which it runs. Here that is
        # the current folder, the folder of the file, or the folder above that.
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
                experiment.metrics,
            )
            if scoring.needs_segments:
                dataset.require_segments()
    return Plan(experiment, dataset, scoring, tuple(remarks), tuple(missing))


def _downloads(backbone: str, missing: list[str]) -> list[str]:
    """A remark if weights must be downloaded. An unknown name is added to `missing`."""
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


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
