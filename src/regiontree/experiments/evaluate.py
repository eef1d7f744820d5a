"""Score trees that exist already, made here or by any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import DataError, TreeFileError
from regiontree.experiments.report import Report
from regiontree.experiments.scoring import Scoring
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import sha256_of
from regiontree.system.paths import files_below, path_problem
from regiontree.tree.foreign import TREE_SUFFIXES, read_any_tree

__all__ = ["evaluate"]


@dataclass(slots=True)
class _Found:
    """Tree files below some folders, by the ids and by the file names that samples can have.

    `problems` has a sentence for each path that cannot be looked at.
    """

    by_id: dict[str, Path] = field(default_factory=dict)
    by_stem: dict[str, list[Path]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def of(self, sample: Sample) -> Path | None:
        """The tree of a sample, by its id, else by the last part of its id; None if it has none.

        Raises
        ------
        TreeFileError
            Several trees have the name.
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
        if problem := path_problem(path, "file or folder of trees"):
            found.problems.append(f"{path}: {problem}")
            continue
        is_folder = os.path.isdir(path)
        files, unlisted = files_below(path) if is_folder else ([path], [])
        found.problems += [f"{place}: {path_problem(place)}" for place in unlisted]
        for file in files:
            if file.suffix.lower() in TREE_SUFFIXES:
                if problem := path_problem(file):
                    found.problems.append(f"{file}: {problem}")
                    continue
                below = file.relative_to(path if is_folder else path.parent)
                found.by_id.setdefault(str(below.with_suffix("").as_posix()), file)
                found.by_stem.setdefault(file.name.split(".")[0], []).append(file)
    if not found.by_id:
        said = f"no tree files ({', '.join(TREE_SUFFIXES)}) in {paths[0]}"
        raise DataError("\n  ".join([*found.problems, said] if found.problems else [said]))
    return found


def evaluate(
    trees: Sequence[Path],
    dataset: Dataset,
    scoring: Scoring,
    *,
    on_image: Callable[[str | None], None] = lambda error: None,
) -> Report:
    """The scores of trees that exist already (:mod:`regiontree.tree.foreign`).

    Every image of the data set that has a tree is scored. The report names the images without a
    tree in one sentence, and every other failure in a sentence of its own. `on_image` is called
    after each image, with its error or None.

    Raises
    ------
    DataError
        No image could be scored.
    """
    if not dataset.samples:
        said = dataset.problems or ("it has no images",)
        raise DataError(f"{dataset.name} cannot be scored:\n" + "\n".join(f"  {s}" for s in said))
    found = _find_trees(trees)
    records: list[Mapping[str, Any]] = []
    failed = list(found.problems)
    absent: list[str] = []
    models: set[str] = set()
    for sample in dataset.samples:
        scored = attempt(partial(_scored, sample, found, dataset, scoring))
        error = None
        if isinstance(scored, Exception):
            error = fault_text(scored, sample.id)
            failed.append(error)
        elif scored is None:
            absent.append(sample.id)
        else:
            records.append(scored[0])
            models.add(scored[1])
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


def _scored(
    sample: Sample, found: _Found, dataset: Dataset, scoring: Scoring
) -> tuple[Mapping[str, Any], str] | None:
    """The record of a sample and the model of its tree; None if the sample has no tree."""
    path = found.of(sample)
    if path is None:
        return None
    tree = read_any_tree(path)
    _check_photograph(path, tree.meta.get("image", {}), sample)
    record = scoring.record(sample.id, tree, dataset.truths(sample))
    return record, str(tree.meta.get("backbone", {}).get("name", "trees"))


def _check_photograph(path: Path, recorded: Mapping[str, Any], sample: Sample) -> None:
    """Raise a DataError if a tree records another photograph than that of the sample."""
    # A tree of features alone has the size of its grid, and its sha256 is that of the features.
    of_photograph = "sha256" in recorded and recorded.get("size") != recorded.get("grid")
    if of_photograph and recorded["sha256"] != sha256_of(sample.image):
        raise DataError(f"{path}: is a tree of another photograph than {sample.image}")
