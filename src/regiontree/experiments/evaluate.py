"""Score trees that exist already, made here or by any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from regiontree.tree.foreign import TREE_SUFFIXES, holds_tree, may_be_tree, read_any_tree

__all__ = ["evaluate"]


Match = Path | TreeFileError | None


@dataclass(frozen=True, slots=True)
class _Tree:
    """A file that may hold a tree, and its path below the folder it was found in.

    Attributes
    ----------
    file : Path
    key : str
        The path without the suffix, like the id of a sample: ``city/scan.v2`` for
        ``trees/city/scan.v2.npz``.
    """

    file: Path
    key: str

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]


def _find_trees(paths: Sequence[Path]) -> tuple[list[_Tree], list[str]]:
    """The files below the paths whose suffix is a tree's, each once, and what cannot be looked at.

    Hidden files are left out.
    """
    found: dict[str, _Tree] = {}
    problems: list[str] = []
    for path in map(Path, paths):
        if problem := path_problem(path, "file or folder of trees"):
            problems.append(f"{path}: {problem}")
            continue
        is_folder = os.path.isdir(path)
        files, unlisted = files_below(path) if is_folder else ([path], [])
        problems += [f"{place}: {path_problem(place)}" for place in unlisted]
        for file in files:
            if file.suffix.lower() not in TREE_SUFFIXES:
                continue
            if problem := path_problem(file):
                problems.append(f"{file}: {problem}")
                continue
            below = file.relative_to(path if is_folder else path.parent)
            key = below.as_posix().removesuffix(file.suffix)
            found.setdefault(os.path.abspath(file), _Tree(file, key))
    if not found:
        said = f"no tree files ({', '.join(TREE_SUFFIXES)}) in {paths[0]}"
        raise DataError("\n  ".join([*problems, said] if problems else [said]))
    return list(found.values()), problems


def _matches(found: Sequence[_Tree], samples: Sequence[Sample]) -> dict[str, Match]:
    """The tree of each sample, by the sample's id: a file, an error, or None if it has none.

    The tree of ``city/scan`` is ``city/scan.npz``, or ``city/scan.jpg.npz`` of a photograph
    ``scan.jpg``, in a folder of trees. Where there is none, it is a file whose path ends so: at any
    depth, or in ``city`` if that is the folder that was given. Where no path ends with the whole
    id, the last part of the id decides, if it names one file for one sample. A file that one of
    these rules gave to a sample is not used by the next. Pictures beside trees are no trees.
    """
    named: dict[str, list[_Tree]] = {}
    pictures: dict[str, _Tree] = {}
    for tree in found:
        if may_be_tree(tree.file):
            named.setdefault(tree.name, []).append(tree)
        else:
            pictures.setdefault(tree.name, tree)
    matches: dict[str, Match] = {}
    taken: set[Path] = set()
    # The longest ids come first, so that x does not fit the file of a/x.
    pending = sorted(samples, key=lambda sample: -sample.id.count("/"))
    for fits in (_is_exact, _is_end, _is_name):
        users: dict[Path, list[str]] = {}
        # By the end of a path, the longer id has the file; by equal names, nobody does.
        used = taken if fits is _is_end else set(taken)
        for sample in pending:
            ids = (sample.id, sample.id + sample.image.suffix)
            last = dict.fromkeys(one.rpartition("/")[2] for one in ids)
            names = dict.fromkeys((*last, sample.image.stem, sample.image.name))
            same = [tree for name in names for tree in named.get(name, ()) if fits(tree, ids)]
            match = _only(sample, [tree for tree in same if tree.file not in used])
            if match is not None:
                matches[sample.id] = match
            if isinstance(match, Path):
                taken.add(match)
                users.setdefault(match, []).append(sample.id)
        for file, ids_of in users.items():
            if len(ids_of) > 1:
                said = f"{file}: its name fits several images: {', '.join(ids_of[:3])}"
                error = TreeFileError(f"{said}; lay out the trees like the images")
                matches |= dict.fromkeys(ids_of, error)
        pending = [sample for sample in pending if sample.id not in matches]
    for sample in pending:
        beside = pictures.get(sample.id.rpartition("/")[2])
        matches[sample.id] = None
        if beside is not None:
            matches[sample.id] = TreeFileError(
                f"{beside.file}: is no tree of {sample.id}: it has no {beside.name}.json beside it "
                "with the parents"
            )
    return matches


def _is_exact(tree: _Tree, ids: Sequence[str]) -> bool:
    return tree.key in ids


def _is_end(tree: _Tree, ids: Sequence[str]) -> bool:
    place = os.path.abspath(tree.file).removesuffix(tree.file.suffix).replace(os.sep, "/")
    return any(place.endswith(f"/{one}") for one in ids)


def _is_name(tree: _Tree, ids: Sequence[str]) -> bool:
    return True


def _only(sample: Sample, trees: Sequence[_Tree]) -> Match:
    """The one file, None if there is none, or the error that there are several."""
    files = [tree.file for tree in trees]
    if len(files) > 1:  # a feature file, or a photograph with a JSON file of another kind
        files = [file for file in files if holds_tree(file)] or files
    if len(files) > 1:
        said = ", ".join(map(str, sorted(files)[:3]))
        return TreeFileError(f"{sample.id}: several trees of that name: {said}; keep one of them")
    return files[0] if files else None


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
    found, problems = _find_trees(trees)
    matches = _matches(found, dataset.samples)
    records: list[Mapping[str, Any]] = []
    failed = list(problems)
    absent: list[str] = []
    models: set[str] = set()
    for sample in dataset.samples:
        scored = attempt(partial(_scored, sample, matches, dataset, scoring))
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
    sample: Sample, matches: Mapping[str, Match], dataset: Dataset, scoring: Scoring
) -> tuple[Mapping[str, Any], str] | None:
    """The record of a sample and the model of its tree; None if the sample has no tree."""
    path = matches[sample.id]
    if isinstance(path, TreeFileError):
        raise path
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
