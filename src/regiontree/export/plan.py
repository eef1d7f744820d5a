"""What the command ``export`` writes, and where: the trees of its arguments and their files.

The trees of a store are not listed in memory. Their names are those of their rows, so each is known
without the others.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from regiontree.errors import ExportError
from regiontree.export import Format
from regiontree.forest.listing import Listing, list_trees
from regiontree.forest.saved import SavedTree, TreeFile
from regiontree.forest.storedtrees import StoredTrees
from regiontree.system.paths import fitted_name

__all__ = ["Job", "Plan", "Targets", "plan_of"]


@dataclass(frozen=True, slots=True)
class Job:
    """A tree to write, and its name among all trees: a path with slashes, without suffix."""

    tree: SavedTree
    name: str


@dataclass(frozen=True, slots=True)
class Plan:
    """The trees to write.

    Attributes
    ----------
    files : list of Job
        The trees in files.
    stores : list of (str, StoredTrees)
        The trees in stores, with the beginning of their names.
    listing : Listing
        What the arguments name, also what is no tree.
    """

    files: list[Job]
    stores: list[tuple[str, StoredTrees]]
    listing: Listing

    def __len__(self) -> int:
        return len(self.files) + sum(len(rows) for _, rows in self.stores)

    def __iter__(self) -> Iterator[Job]:
        yield from self.files
        for start, rows in self.stores:
            for row in rows:
                yield Job(row, start + row.key)


def plan_of(trees: Sequence[str | Path]) -> Plan:
    """The trees that arguments name.

    The tree ``a/b.npz`` of folder ``a`` has the name ``b``. Trees that would have the same name are
    named with the folder, ``a/b``, and if need be by their paths below the folder that contains all
    trees. The names of the other trees stay the same. A row of a store has the name of its id, with
    the name of the store before it if that is not the only argument.

    Raises
    ------
    ExportError
        There are no arguments, or two trees would be written to the same file.
    """
    if not trees:
        raise ExportError("no trees: name at least one (.npz), a folder of them or a pattern")
    listing = list_trees(trees)
    starts = [f"{rows.name}/" for rows in listing.stores]
    if len(starts) == 1 and not listing.files:
        starts = [""]
    if again := [start for start, count in Counter(starts).items() if count > 1]:
        raise ExportError(
            f"two stores have the name {again[0][:-1]}, so their trees would be written to the "
            "same files; export them one after the other"
        )
    return Plan(_jobs(listing.files), list(zip(starts, listing.stores, strict=True)), listing)


def _jobs(files: Sequence[TreeFile]) -> list[Job]:
    """The files with names that differ."""
    found = {os.path.abspath(file.path): file for file in files}
    names = {key: Path(file.key + file.path.suffix) for key, file in found.items()}
    for with_folder in (True, False):
        count = Counter(os.path.normcase(name.with_suffix("")) for name in names.values())
        for key, name in names.items():
            if count[os.path.normcase(name.with_suffix(""))] > 1:
                path = Path(key)
                folder = path.parents[len(name.parts)] if with_folder else _common_folder(found)
                names[key] = path.relative_to(folder)
    jobs = [Job(found[key], name.with_suffix("").as_posix()) for key, name in names.items()]
    taken: dict[str, SavedTree] = {}
    for job in jobs:
        other = taken.setdefault(os.path.normcase(job.name), job.tree)
        if other is not job.tree:
            raise ExportError(
                f"{other} and {job.tree} would be written to the same file; rename one of them"
            )
    return jobs


class Targets:
    """The files to write: one for each tree, or one document for all.

    Parameters
    ----------
    form
        The format.
    plan
        The trees.
    trees
        The arguments that name them.
    out
        File or folder to write, or None.

    Attributes
    ----------
    one : Path or None
        The only file that is written: the document, or that of the only tree.

    Raises
    ------
    ExportError
        `out` fits neither the format nor the number of trees; it is needed and is None; or one of
        the trees would be overwritten.
    """

    def __init__(
        self, form: Format, plan: Plan, trees: Sequence[str | Path], out: Path | None
    ) -> None:
        self._out, self._suffix = out, form.suffixes[0]
        self.one: Path | None = None
        if not len(plan):
            return
        is_file = (
            out is not None
            and not form.is_folder
            and not os.path.isdir(out)
            and out.name.lower().endswith(form.suffixes)
        )
        if out is None and plan.stores:
            raise ExportError(
                f"{plan.stores[0][1]}: nothing else is written into a store; name an output with -o"
            )
        if out is not None and os.path.isfile(out) and not is_file:
            what = "a folder" if form.is_folder else " or ".join(form.suffixes)
            raise ExportError(f"{out}: is a file; {form.name} writes {what}")
        if is_file and form.make is None and len(plan) > 1:
            raise ExportError(
                f"{out}: {form.name} writes a file for each of the {len(plan):,} trees; "
                "name a folder"
            )
        if out is not None and (is_file or form.is_folder):
            self.one = out
        elif form.make is not None:
            given = Path(trees[0])
            beside = given if len(trees) == 1 and os.path.isdir(given) else None
            folder = out or beside or _common_folder(str(job.tree) for job in plan.files)
            self.one = folder / f"{form.name}{self._suffix}"
        elif len(plan) == 1:
            self.one = self.of(next(iter(plan)))
        inputs = {os.path.abspath(str(job.tree)) for job in plan.files}
        for target in [self.one] if self.one else map(self.of, plan.files):
            if os.path.abspath(target) in inputs:
                raise ExportError(f"{target}: is one of the trees to export; choose another name")

    def of(self, job: Job) -> Path:
        """The file of a tree."""
        if self.one is not None:
            return self.one
        path = job.tree.path
        if self._out is not None:
            stem = self._out / job.name
        else:  # a store needs an output, so this is a file
            stem = Path(job.name) if path is None else path.with_suffix("")
        return stem.with_name(fitted_name(stem.name, self._suffix))


def _common_folder(files: Iterable[str | Path]) -> Path:
    folders = [os.path.dirname(os.path.abspath(file)) for file in files]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise ExportError(
            f"the trees are on different drives; export those of each drive separately ({error})"
        ) from None
