"""Score trees that exist already, made here or by any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import DataError, RegionTreeError, TreeFileError
from regiontree.experiments.matches import (
    absent_text,
    match_samples,
    nothing_scored,
    require_samples,
)
from regiontree.experiments.report import Report
from regiontree.experiments.scoring import Scoring
from regiontree.forest.listing import split_stores
from regiontree.forest.saved import SavedTree, TreeFile
from regiontree.system.faults import attempt, fault_text
from regiontree.system.files import sha256_of
from regiontree.system.paths import files_below, path_problem
from regiontree.tree import RegionTree
from regiontree.tree.foreign import TREE_SUFFIXES, holds_tree, may_be_tree, read_any_tree

__all__ = ["evaluate"]


@dataclass(frozen=True, slots=True)
class _Tree:
    """A file or row that may hold a tree, and its path below the folder it was found in.

    Attributes
    ----------
    saved : SavedTree
    key : str
        The path without the suffix, like the id of a sample: ``city/scan.v2`` for
        ``trees/city/scan.v2.npz``. Of a row its id.
    places : tuple of str
        Where it lies, with slashes: the absolute path without the suffix, or the id of a row and
        where its photograph lies.
    """

    saved: SavedTree
    key: str
    places: tuple[str, ...]

    @classmethod
    def of_file(cls, file: Path, folder: Path) -> _Tree:
        """A file below a folder."""
        key = file.relative_to(folder).as_posix().removesuffix(file.suffix)
        place = os.path.abspath(file).removesuffix(file.suffix).replace(os.sep, "/")
        return cls(TreeFile(file, folder), key, (place,))

    def __str__(self) -> str:
        return str(self.saved)

    @property
    def name(self) -> str:
        """The last part of the key."""
        return self.key.rpartition("/")[2]

    @property
    def owner(self) -> SavedTree:
        """The file or row, which lies in one place however it was found."""
        return self.saved

    @property
    def may_be_tree(self) -> bool:
        """Whether it is a row, an archive, or a label map with its JSON file."""
        return self.saved.path is None or may_be_tree(self.saved.path)

    @property
    def holds_tree(self) -> bool:
        """Whether it has the parents of a tree, as far as it can be told without the labels."""
        return self.saved.path is None or holds_tree(self.saved.path)

    def read(self) -> RegionTree:
        """The tree."""
        path = self.saved.path
        return self.saved.load() if path is None else read_any_tree(path)


Match = _Tree | RegionTreeError | None


def _find_trees(
    paths: Sequence[str | Path], names: Collection[str] | None = None
) -> tuple[list[_Tree], list[str]]:
    """The files below the paths whose suffix is a tree's, each once, and what cannot be looked at.

    Hidden files are left out. Of a store, the rows are found whose ids end in one of the `names`
    (None: all), so that few of its ids are in memory.
    """
    found: dict[str, _Tree] = {}
    problems: list[str] = []
    others, stores = split_stores(paths)
    for store in stores:
        problems += store.problems.values()
        for row in store:
            if names is None or row.name in names:
                found[str(row)] = _Tree(row, row.id, (f"/{row.id}", f"/{row.reference}"))
    for path in map(Path, others):
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
            tree = _Tree.of_file(file, path if is_folder else path.parent)
            found.setdefault(os.path.abspath(file), tree)
    if not found and not stores:
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
        if tree.may_be_tree:
            named.setdefault(tree.name, []).append(tree)
        else:
            pictures.setdefault(tree.name, tree)
    found_of = match_samples(samples, named, _names_of_sample, _only, _shared)
    matches: dict[str, Match] = {}
    for sample in samples:
        if sample.id in found_of:
            matches[sample.id] = found_of[sample.id]
            continue
        beside = pictures.get(sample.id.rpartition("/")[2])
        matches[sample.id] = None
        if beside is not None:
            matches[sample.id] = TreeFileError(
                f"{beside.saved}: is no tree of {sample.id}: it has no {beside.name}.json beside "
                "it with the parents"
            )
    return matches


def _shared(tree: _Tree, ids: list[str]) -> TreeFileError:
    said = f"{tree.saved}: its name fits several images: {', '.join(ids[:3])}"
    return TreeFileError(f"{said}; lay out the trees like the images")


def _only(sample: Sample, trees: Sequence[_Tree]) -> Match:
    """The one tree, None if there is none, or the error that there are several."""
    left = list(trees)
    if len(left) > 1:  # a feature file, or a photograph with a JSON file of another kind
        left = [tree for tree in left if tree.holds_tree] or left
    if len(left) > 1:
        said = ", ".join(sorted(str(tree.saved) for tree in left)[:3])
        return TreeFileError(f"{sample.id}: several trees of that name: {said}; keep one of them")
    return left[0] if left else None


def _names_of_sample(sample: Sample) -> dict[str, None]:
    """The names that the tree of a sample can have: see :func:`_matches`."""
    last = sample.id.rpartition("/")[2]
    return dict.fromkeys((last, last + sample.image.suffix, sample.image.stem, sample.image.name))


def evaluate(
    trees: Sequence[str | Path],
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
    ConfigError
        A metric needs segments, but the data set does not say where they are.
    """
    require_samples(dataset)
    if scoring.needs_segments:
        dataset.require_segments()
    names = {name for sample in dataset.samples for name in _names_of_sample(sample)}
    found, problems = _find_trees(trees, names)
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
        failed.append(absent_text(absent, "have no tree"))
    if not records:
        raise nothing_scored(failed)
    return Report(
        dataset.name,
        dataset.split,
        " + ".join(sorted(models)),
        scoring,
        scoring.merge(records),
        {},
        (*failed, *dataset.problems),
        dataset.segments_text if scoring.needs_segments else "",
    )


def _scored(
    sample: Sample, matches: Mapping[str, Match], dataset: Dataset, scoring: Scoring
) -> tuple[Mapping[str, Any], str] | None:
    """The record of a sample and the model of its tree; None if the sample has no tree."""
    match = matches[sample.id]
    if isinstance(match, RegionTreeError):
        raise match
    if match is None:
        return None
    tree = match.read()
    _check_photograph(match.saved, tree.meta.get("image", {}), sample)
    segments = dataset.segments(sample) if scoring.needs_segments else ()
    record = scoring.record(sample.id, tree, dataset.truths(sample), segments)
    return record, str(tree.meta.get("backbone", {}).get("name", "trees"))


def _check_photograph(saved: SavedTree, recorded: Mapping[str, Any], sample: Sample) -> None:
    """Raise a DataError if a tree records another photograph than that of the sample."""
    # A tree of features alone has the size of its grid, and its sha256 is that of the features.
    of_photograph = "sha256" in recorded and recorded.get("size") != recorded.get("grid")
    if of_photograph and recorded["sha256"] != sha256_of(sample.image):
        raise DataError(f"{saved}: is a tree of another photograph than {sample.image}")
