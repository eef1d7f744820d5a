"""The inputs of the commands ``view`` and ``gallery``: photographs, trees and stores of trees.

Photographs are parsed. A photograph whose tree is among the inputs is not parsed again.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, overload

from regiontree.display.pictures import picture_path
from regiontree.errors import BackboneError, SettingsError, ViewError
from regiontree.forest.listing import Joined, split_stores
from regiontree.forest.saved import SavedTree
from regiontree.forest.sources import TREE_SUFFIX, Outline, Places, open_outline, require_images
from regiontree.images import image_suffixes
from regiontree.system.faults import attempt, fault_text
from regiontree.system.inputs import search
from regiontree.system.paths import input_problem
from regiontree.system.progress import progress_bar
from regiontree.system.terminal import one_line, say
from regiontree.viewer.gallery import MANIFEST

__all__ = ["Inputs"]

_DRAWN = re.compile(r"(.+)\.(hierarchy|cuts|cut-\d{3,})\.png")  # what segment --pictures writes


@dataclass(slots=True)
class Inputs:
    """The photographs and trees that the paths of a command name.

    Attributes
    ----------
    files : list of Path
        In order: all trees, readable or not, and the photographs that have no tree.
    trees : dict of Path to Outline
        The tree of each file. A photograph has none before it is parsed.
    places : Places
        Where photographs lie.
    rows : sequence of SavedTree
        The trees of the stores among the paths. They are opened when they are shown.
    failed : list of str
        A sentence for each input that cannot be used.
    """

    files: list[Path]
    places: Places
    rows: Sequence[SavedTree] = ()
    trees: dict[Path, Outline] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    @classmethod
    def read(
        cls,
        paths: Sequence[str | Path],
        images: Sequence[str | Path],
        check: Callable[[], None],
        out: Path | None = None,
    ) -> Inputs:
        """The inputs, with every tree file opened.

        Parameters
        ----------
        paths, images
            As in `view`.
        check
            Called after each tree; it raises KeyboardInterrupt if the user wants to stop.
        out
            Folder of the gallery. None if the command is `view`.

        Raises
        ------
        RegionTreeError
            No input can be used.
        """
        require_images(images)
        others, stores = split_stores(paths)
        searched = search(others, image_suffixes() | {TREE_SUFFIX}, out)
        found = [file for file, _ in searched.files]
        if not found and not stores:
            raise SettingsError("no input: name at least one photograph, tree (.npz) or folder")
        if out is not None and (own := [file for file in found if _below(file, out)]):
            raise ViewError(
                f"{own[0]}: lies in the gallery itself; name the photographs or trees instead"
            )
        problems = {file: _problem(file) for file in found}
        files = [file for file in found if problems[file] is None]
        trees = {file for file in files if file.suffix.lower() == TREE_SUFFIX}
        photos = [file for file in files if file not in trees and not _drawn(file, trees)]
        inputs = cls([], Places.of([*images, *photos]), Joined(stores))
        if searched.left_out_text:
            say(searched.left_out_text)
        inputs.failed += [f"{file}: {said}" for file, said in problems.items() if said]
        for store in stores:
            inputs.failed += store.problems.values()
            inputs.failed += [said] if (said := store.errors_text()) else []
        with progress_bar("reading", len(trees)) as bar:
            for tree in (file for file in files if file in trees):
                inputs._open(tree, tree)
                bar.reach(bar.reached + 1)
                check()
        whole = {
            os.path.abspath(tree.photo)
            for tree in inputs.trees.values()
            if isinstance(tree.photo, Path) and not tree.notice
        }
        unparsed = {photo for photo in photos if os.path.abspath(photo) not in whole}
        inputs.files = [file for file in files if file in trees or file in unparsed]
        inputs._require(inputs.rows or inputs.trees or unparsed)
        return inputs

    @property
    def unparsed(self) -> list[Path]:
        """The photographs without a tree."""
        return [
            file
            for file in self.files
            if file not in self.trees and file.suffix.lower() != TREE_SUFFIX
        ]

    def parse(
        self,
        outputs: Mapping[Path, Path],
        folder: Path,
        options: Mapping[str, Any],
        check: Callable[[], None],
        *,
        overwrite: bool = False,
    ) -> None:
        """Make the trees of photographs. Trees that are up to date are kept.

        Parameters
        ----------
        outputs
            File for the tree of each photograph.
        folder
            Folder for the summary of the batch.
        options
            Arguments of :class:`regiontree.RegionParser`.
        check
            Called after each photograph; it raises KeyboardInterrupt if the user wants to stop.
        overwrite
            Whether to make trees that are up to date again.

        Raises
        ------
        KeyboardInterrupt
            The user stopped the batch.
        BackboneError
            The network cannot be loaded, and there is no tree to show without it.
        """
        if not outputs:
            return
        from regiontree.engines.batch import Job, Outcome, segment
        from regiontree.parser import RegionParser

        jobs = [Job(photo, tree, is_users=False) for photo, tree in outputs.items()]
        try:
            parser = RegionParser(**options)
            with progress_bar("parsing", len(jobs)) as bar:

                def advance(outcome: Outcome) -> None:
                    bar.reach(bar.reached + 1)
                    check()

                summary = segment(
                    parser, jobs, folder, overwrite=overwrite, workers=0, on_outcome=advance
                )
        except BackboneError as error:
            if not self.trees and not self.rows:
                raise
            self.failed.append(f"{len(jobs)} photographs were not parsed: {error}")
            return
        if summary.interrupted:
            raise KeyboardInterrupt
        for job, outcome in zip(jobs, summary.outcomes, strict=True):
            if outcome.error is not None:
                self.failed.append(outcome.error)
            else:
                self._open(outputs[job.source], job.source)

    def outlines(self) -> dict[Path, Outline]:
        """The trees of files and photographs, in the order of the inputs.

        Raises
        ------
        ViewError
            There is no tree, and no row of a store.
        """
        self._require(self.rows or self.trees)
        return {file: self.trees[file] for file in self.files if file in self.trees}

    def names(self) -> Iterator[str]:
        """The names of the images that are shown, in their order: of rows, their ids."""
        yield from (outline.name for outline in self.outlines().values())
        yield from (row.key for row in self.rows)

    @property
    def row_outlines(self) -> Sequence[Outline]:
        """The rows, each opened when it is asked for."""
        return _RowOutlines(self.rows, self.places)

    def open_rows(self, names: Sequence[str], check: Callable[[], None]) -> dict[str, Outline]:
        """The outlines of the rows that have a tree, by the names that they get.

        `check` is called after each row. The rows are read in their order, one after the other.
        """
        outlines = {}
        with progress_bar("rows", len(names), show=bool(names)) as bar:
            for name, row in zip(names, self.rows, strict=True):
                if row.error is None:
                    found = attempt(partial(open_outline, row, images=self.places))
                    if isinstance(found, Exception):
                        self.failed.append(fault_text(found, str(row)))
                    else:
                        outlines[name] = found
                bar.reach(bar.reached + 1)
                check()
        return outlines

    def tell(self) -> None:
        """Print what failed."""
        if self.failed:
            say(f"{len(self.failed)} failed:")
        for said in self.failed:
            say(f"  {one_line(said)}")

    def _require(self, some: object) -> None:
        if not some and len(self.failed) == 1:
            raise ViewError(self.failed[0])
        if not some:
            self.tell()
            raise ViewError("nothing to show")

    def _open(self, tree: Path, file: Path) -> None:
        found = attempt(partial(open_outline, tree, images=self.places))
        if isinstance(found, Exception):
            self.failed.append(fault_text(found, tree))
        else:
            self.trees[file] = found


class _RowOutlines(Sequence[Outline]):
    """The outlines of rows, made when they are asked for.

    A row without a tree has an outline that says why. Photographs are not compared with their
    digests: that is done when a page is shown.
    """

    def __init__(self, rows: Sequence[SavedTree], places: Places) -> None:
        self._rows, self._places = rows, places

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, i: int) -> Outline: ...
    @overload
    def __getitem__(self, i: slice) -> list[Outline]: ...
    def __getitem__(self, i: int | slice) -> Outline | list[Outline]:
        if isinstance(i, slice):
            return [self._outline(row) for row in self._rows[i]]
        return self._outline(self._rows[i])

    def _outline(self, row: SavedTree) -> Outline:
        if row.error is not None:
            return Outline(row, row.name, error=row.without_folders(row.error))
        found = attempt(partial(open_outline, row, images=self._places, verify=False))
        if isinstance(found, Exception):
            return Outline(row, row.name, error=row.without_folders(fault_text(found, str(row))))
        return found


def _problem(file: Path) -> str | None:
    """Why an input is neither a photograph nor a tree; None if it may be one."""
    return input_problem(file) or (
        "holds no photographs and no trees" if os.path.isdir(file) else None
    )


def _drawn(file: Path, trees: set[Path]) -> bool:
    """Whether regiontree drew the picture: beside its tree, or as a thumbnail of a gallery."""
    drawn = _DRAWN.fullmatch(file.name)
    if drawn and file.with_name(drawn[1] + TREE_SUFFIX) in trees:
        return True
    if drawn and "~" in drawn[1]:  # the name may be one that was cut
        return any(picture_path(tree.with_suffix(""), drawn[2]) == file for tree in trees)
    return file.parent.name == "thumbs" and os.path.isfile(file.parent.parent / MANIFEST)


def _below(file: Path, folder: Path) -> bool:
    return Path(os.path.abspath(folder)) in Path(os.path.abspath(file)).parents
