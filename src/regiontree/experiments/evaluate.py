"""Score trees that exist already, made here or by any program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regiontree.datasets.dataset import Dataset, Sample
from regiontree.errors import DataError, RegionTreeError, TreeFileError
from regiontree.experiments.report import Report
from regiontree.experiments.scoring import Scoring
from regiontree.system.files import sha256_of
from regiontree.tree.foreign import TREE_SUFFIXES, read_any_tree

__all__ = ["evaluate"]


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
