"""The stages of an experiment, for one image after the other: features, tree, scores.

Each stage writes one file for each image. The file appears whole or not at all. It records what it
was made from: the sha256 of the photograph and of the network, the settings, and the file of the
stage before. A stage keeps a file whose record is what the stage would record now. It makes every
other file again. So a run can be stopped at any moment, and the same command continues it. Files
that were made with other settings are never used.

A process finishes all stages of an image before it starts the tree of the next image, so no stage
waits for another. With a GPU, the next photographs are decoded in the meantime.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from regiontree._version import __version__
from regiontree.backbones.featurefile import load_features, read_features_meta, save_features
from regiontree.backbones.featurefolder import find_features, shared_features
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.engines.crew import Crew
from regiontree.engines.feeding import Fed, feed
from regiontree.errors import DataError, FeatureError, RegionTreeError, TreeFileError
from regiontree.experiments.config import Experiment
from regiontree.experiments.scoring import Scoring
from regiontree.forest.origin import path_between
from regiontree.parser import RegionParser
from regiontree.settings import UNRECORDED
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import atomic_write, sha256_of
from regiontree.tree import RegionTree
from regiontree.tree.file import read_meta

__all__ = ["Outcome", "Pipeline", "feature_settings", "read_records", "work"]

# Settings that change features. The other settings change only the tree that is built from them.
_FEATURE_SETTINGS = (
    "size", "dtype", "kernel", "stride", "views", "tiles", "layers", "facet",
    "positions", "descriptor", "backbone.runtime",
)  # fmt: skip
_LOG = "log.jsonl"
_RECORD_FORMAT = "regiontree-scores 1"


@dataclass(slots=True)
class Outcome:
    """The result of one image: seconds of the stages that ran now, and the error if one failed."""

    image: str
    seconds: dict[str, float] = field(default_factory=dict)
    error: str | None = None


def feature_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that feature files are compared by."""
    return {name: settings[name] for name in _FEATURE_SETTINGS if name in settings}


class Pipeline:
    """The scheduled stages of an experiment, which can run on any image of its data set.

    Parameters
    ----------
    experiment, dataset
        What to do, and with which images.
    scoring
        How trees are scored. None if the data set has no ground truth.
    device
        Of the network and the spectra.
    compile
        Compile the network first.
    overwrite
        Make every file again, finished ones too.
    """

    def __init__(
        self,
        experiment: Experiment,
        dataset: Dataset,
        scoring: Scoring | None,
        *,
        device: str = "auto",
        compile: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.experiment = experiment
        self.dataset = dataset
        self.scoring = scoring
        self.overwrite = overwrite
        self.parser = RegionParser(settings=experiment.settings, device=device, compile=compile)
        stages = {*experiment.stages}
        if "postprocess_crf" in stages:  # the refinement is a part of making the tree
            stages.add("semantic_ncuts")
        self.stages: dict[str, Callable[[Sample, Fed], bool]] = {
            name: stage
            for name, stage in {
                "extract_features": self._extract,
                "semantic_ncuts": self._tree,
                "create_stats": self._score,
            }.items()
            if name in stages
        }

    # -- where things are -------------------------------------------------------------------------

    def features_path(self, sample: Sample) -> Path:
        """Where the features of an image are kept."""
        return self.experiment.features_dir / f"{sample.id}.safetensors"

    def tree_path(self, sample: Sample) -> Path:
        """Where the tree of an image is kept."""
        return self.experiment.trees_dir / f"{sample.id}.npz"

    def strip_path(self, sample: Sample) -> Path:
        """Where the pictures of an image are drawn."""
        return self.experiment.pictures_dir / f"{sample.id}.png"

    def record_path(self, sample: Sample) -> Path:
        """Where the scores of an image are kept."""
        return self.experiment.stats_dir / "images" / f"{sample.id}.json"

    # -- one image --------------------------------------------------------------------------------

    def run(self, sample: Sample, fed: Fed | None = None) -> Outcome:
        """The outcome of all scheduled stages of one image. Errors are recorded, not raised.

        `fed` is what the network made of the photograph, if it saw the photograph among others. It
        is empty if the photograph was not :meth:`wanted`. None: the network sees it now.
        """
        if fed is None:
            fed = next(feed(self.parser, [self.wanted(sample)]))
        outcome = Outcome(sample.id)
        for name, stage in self.stages.items():
            start = time.perf_counter()
            fresh = attempt(partial(stage, sample, fed))
            if isinstance(fresh, Exception):
                outcome.error = _in_stage(sample, name, fresh)
                return outcome
            if fresh:
                waited = fed.seconds if name == "extract_features" else 0.0
                outcome.seconds[name] = round(waited + time.perf_counter() - start, 4)
        if outcome.seconds:
            logged = attempt(partial(self._log, outcome))
            if isinstance(logged, Exception):
                outcome.error = _in_stage(sample, _LOG, logged)
        return outcome

    def wanted(self, sample: Sample) -> Path | None:
        """The photograph, if the network must see it: no file has the features scheduled."""
        path = self.features_path(sample)
        if "extract_features" not in self.stages:
            return None
        if not self.overwrite and os.path.isfile(path):
            try:
                found = read_features_meta(path)
                if (
                    not self._differences(found, sample)
                    and found["backbone"] == self.parser.describe()
                ):
                    return None
            except (RegionTreeError, OSError, ValueError):
                pass  # damaged features are made again; reading tells of a missing photograph
        return sample.image

    def _extract(self, sample: Sample, fed: Fed) -> bool:
        if fed.features is None:
            return False
        if isinstance(fed.features, Exception):
            raise fed.features
        if sample.image in self._shared:
            raise FeatureError(self._shared[sample.image])
        settings = feature_settings(self.experiment.settings.as_dict())
        save_features(
            self.features_path(sample), fed.features, {**settings, "backbone": self._asked}
        )
        return True

    @cached_property
    def _shared(self) -> dict[Path, str]:
        """The photographs that share a feature file of ``precomputed:FOLDER``: the error of each.

        All photographs of the data set count, not only those that this process works on.
        """
        folder = self.experiment.settings.backbone.folder
        images = [sample.image for sample in self.dataset.samples]
        return {} if folder is None else shared_features(folder, images)

    def _differences(self, found: dict[str, Any], sample: Sample) -> list[str]:
        """In what the features differ from those of this photograph and these settings."""
        wanted = feature_settings(self.experiment.settings.as_dict())
        there = {**UNRECORDED, **found["settings"]}
        differences = [
            f"{name} {there.get(name)} instead of {wanted.get(name)}"
            for name in _FEATURE_SETTINGS
            if there.get(name) != wanted.get(name)
        ]
        if found["source"].get("sha256") != sha256_of(sample.image):
            differences.append("another photograph")
        folder = self.experiment.settings.backbone.folder
        if folder is not None:
            now = sha256_of(find_features(folder, sample.image))
            if found["source"].get("features_sha256") != now:
                differences.append("another feature file")
        # Older files have only the network's own name, and after a blank how the network ran.
        before = there.get("backbone", str(found["backbone"].get("name")).partition(" ")[0])
        if before != self._asked:
            differences.append(f"backbone {before} instead of {self._asked}")
        return differences

    @property
    def _asked(self) -> str:
        """The name of the backbone as the user wrote it, without the folder of feature files."""
        asked = self.experiment.settings.backbone
        return "precomputed" if asked.is_precomputed else asked.name

    def _tree(self, sample: Sample, fed: Fed) -> bool:
        source, path = self.features_path(sample), self.tree_path(sample)
        if not os.path.isfile(source):
            raise FeatureError(f"{source}: no features; schedule extract_features before this")
        digest = sha256_of(source)
        settings = self.experiment.settings.as_dict()
        done = False
        if not self.overwrite and os.path.isfile(path):
            try:
                meta = read_meta(path)
                done = (
                    meta.get("image", {}).get("features_sha256") == digest
                    and meta.get("settings") == settings
                )
            except TreeFileError:
                done = False  # damaged: made again
        if not done:
            if changed := self._differences(read_features_meta(source), sample):
                raise FeatureError(
                    f"{source}: features of {', '.join(changed)}; schedule extract_features too"
                )
            kept = load_features(source)
            source_facts = {**kept.source, "features_sha256": digest}
            if (place := path_between(path, sample.image)) is not None:
                source_facts["path"] = place
            kept = replace(kept, source=source_facts)
            rgb = self.parser.pixels(sample.image, decoded=fed.image)
            self.parser.build(kept, rgb=rgb).save(path)
        strip = self.strip_path(sample)
        if self.experiment.save_strips and not (done and os.path.isfile(strip)):
            self._strip(sample, strip)
            return True
        return not done

    def _strip(self, sample: Sample, path: Path) -> None:
        """Photograph, hierarchy, leaves and annotation in a row."""
        from regiontree.display.pictures import hierarchy_picture

        truth = self.dataset.truths(sample)[0] if sample.masks else None
        tree = RegionTree.load(self.tree_path(sample))
        picture = hierarchy_picture(tree, sample.image, truth=truth, width=480)
        with atomic_write(path) as file:
            picture.save(file, format="PNG")

    def _score(self, sample: Sample, fed: Fed) -> bool:
        if self.scoring is None:
            raise DataError("this split has no ground truth; leave create_stats out")
        tree_path, path = self.tree_path(sample), self.record_path(sample)
        if not os.path.isfile(tree_path):
            raise TreeFileError(f"{tree_path}: no tree; schedule semantic_ncuts before this")
        if read_meta(tree_path).get("settings") != self.experiment.settings.as_dict():
            raise TreeFileError(
                f"{tree_path}: was made with other settings; schedule semantic_ncuts too"
            )
        digest = self._scoring_digest(sample)
        if (
            not self.overwrite
            and os.path.isfile(path)
            and _read_record(path).get("digest") == digest
        ):
            return False
        tree = RegionTree.load(tree_path)
        segments = self.dataset.segments(sample) if self.scoring.needs_segments else ()
        states = self.scoring.record(sample.id, tree, self.dataset.truths(sample), segments)
        record = {"format": _RECORD_FORMAT, "image": sample.id, "digest": digest, "tables": states}
        with atomic_write(path) as file:
            file.write(json.dumps(record).encode())
        return True

    def _scoring_digest(self, sample: Sample) -> str:
        """The sha256 of everything that the record of an image depends on."""
        assert self.scoring is not None
        beside = self.dataset.segment_files(sample) if self.scoring.needs_segments else ()
        parts = [
            __version__,
            sha256_of(self.tree_path(sample)),
            *(sha256_of(mask) for mask in sample.masks),
            *(sha256_of(file) for file in beside if file.is_file()),
            self._scoring_text,
        ]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()

    @cached_property
    def _scoring_text(self) -> str:
        """The labels, the metrics and the format of masks as text, the same for all images."""
        assert self.scoring is not None
        spec = self.dataset.spec
        segments = "" if spec.segments is None else sha256_of(self.dataset.root / spec.segments)
        return f"{self.scoring.text}\n{spec.model_dump_json()}\n{segments}"

    def _log(self, outcome: Outcome) -> None:
        """Append one line to the log. Several processes can append such short lines at once."""
        path = self.experiment.stats_dir / _LOG
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"image": outcome.image, "seconds": outcome.seconds}) + "\n")

    def logged_seconds(self) -> dict[str, float]:
        """The median seconds for one image, by stage, over all images that were ever done here."""
        latest: dict[str, dict[str, float]] = {}
        path = self.experiment.stats_dir / _LOG
        if not path.is_file():
            return {}
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
                latest.setdefault(entry["image"], {}).update(entry["seconds"])
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue  # a line that was cut off when the machine stopped
        return {
            stage: float(np.median([times[stage] for times in latest.values() if stage in times]))
            for stage in self.stages
            if any(stage in times for times in latest.values())
        }


def work(
    pipeline: Pipeline,
    crew: Crew,
    on_outcome: Callable[[int, Outcome], None] = lambda ticket, outcome: None,
) -> Iterator[Outcome]:
    """The outcomes of the images whose tickets this process draws.

    `on_outcome` is called with each ticket and its outcome.
    """
    samples = pipeline.dataset.samples
    taken: deque[int] = deque()

    def photos() -> Iterator[Path | None]:
        for ticket in crew.tickets(len(samples)):
            taken.append(ticket)
            yield pipeline.wanted(samples[ticket])

    # Making a tree takes longer than a batch can save. And a process that makes trees should not
    # draw many tickets in advance, because another process could do those images.
    batch = None if pipeline.stages.keys() == {"extract_features"} else 1
    with closing(feed(pipeline.parser, photos(), batch=batch)) as feeding:
        for fed in feeding:
            ticket = taken.popleft()
            outcome = pipeline.run(samples[ticket], fed)
            on_outcome(ticket, outcome)
            yield outcome


def read_records(pipeline: Pipeline, failed: Collection[str]) -> list[dict[str, Any]]:
    """The records of all images but the failed ones, after a run that scored them."""
    return [
        _read_record(pipeline.record_path(sample))["tables"]
        for sample in pipeline.dataset.samples
        if sample.id not in failed
    ]


def _in_stage(sample: Sample, stage: str, error: Exception) -> str:
    """The error of one stage of an image, in one sentence."""
    if isinstance(error, RegionTreeError):
        return f"{sample.id}: {stage}: {error}"
    return fault_text(error, f"{sample.id}: {stage}")


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    right = isinstance(record, dict) and record.get("format") == _RECORD_FORMAT
    return record if right else {}
