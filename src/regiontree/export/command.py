"""The command ``export``: write many trees in one format.

A tree that cannot be written is reported, and the others are written.

Some formats have a file for each tree. The tree ``a/b.npz`` of folder ``a`` is written to
``OUT/b.SUFFIX``. Without OUT, its file lies beside the tree. If there is only one tree, OUT may be
the file itself.

Other formats have one document for all trees. It is written to the file OUT, or to
``OUT/FORMAT.json`` if OUT is a folder. Without OUT it is written to ``FORMAT.json`` in the folder
that the user gave, or in the folder that contains all trees.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import chain
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regiontree.errors import ExportError, MissingExtraError
from regiontree.export import FORMATS, Format, checked_options, find_format
from regiontree.export.coco import chosen_nodes
from regiontree.export.options import CutOptions, StackOptions
from regiontree.export.placement import Placement
from regiontree.forest.sources import (
    TREE_SUFFIX,
    Places,
    open_source,
    require_images,
    tree_problem,
)
from regiontree.system.faults import attempt, fault_text
from regiontree.system.inputs import Found, search
from regiontree.system.paths import fitted_name, reason, require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.stages import value_of_text
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import one_line, say
from regiontree.tree import RegionTree

__all__ = ["run"]


Small = Callable[[RegionTree], RegionTree]  # makes the tree that is written

# A tree of one pixel, on which options are tried before any tree is read.
_PIXEL = RegionTree(
    labels=np.zeros((1, 1), int), parents=np.zeros(1, int), height=np.zeros(1, np.float32)
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one tree: whether its file was written, and the error if not."""

    tree: str
    status: Literal["done", "skipped", "failed"]
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A tree to write: its file, and its name among all trees without suffix."""

    file: Path
    name: Path


def run(
    trees: Sequence[str | Path],
    to: str,
    out: Path | None = None,
    *,
    images: Sequence[str | Path] = (),
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    granularities: str | Sequence[int] | None = None,
    all_nodes: bool = False,
    salient: int | None = None,
    condense: int | None = None,
    transform: str | Sequence[float] | None = None,
    crs: str | None = None,
    url_prefix: str | None = None,
    assignments: Sequence[str] = (),
    overwrite: bool = False,
    as_json: bool = False,
) -> int:
    """Write trees in another format, with a progress bar, and return the exit code.

    Parameters
    ----------
    trees
        Tree files, folders of tree files, or glob patterns.
    to
        One of :data:`regiontree.export.FORMATS`.
    out
        File or folder to write; see the text of this module.
    condense
        Condense each tree to at most this number of nodes before it is written: see
        :meth:`RegionTree.condense`. Node numbers are then those of the condensed tree.
    assignments
        ``--option``: options of the format, each as ``name=value``.
    overwrite
        Whether to replace existing files. If not, a tree whose file exists is skipped, and an
        existing document for all trees is an error.
    as_json
        Whether to print the result of each tree to standard output, as JSON.

    The other parameters are options of the formats. `granularities` and `transform` may be text
    with commas.

    Returns
    -------
    int
        0 all done, 1 some trees failed, 2 none could be written, 130 interrupted.

    Raises
    ------
    ExportError
        The format is unknown, it does not use an option, a value of an option is wrong, or a file
        is in the way. Nothing was written.
    MissingExtraError
        The format needs a package that is not installed.
    """
    form = find_format(to)
    flags = {
        "n_regions": n_regions,
        "height": height,
        "depth": depth,
        "granularities": granularities,
        "all_nodes": all_nodes or None,
        "salient": salient,
        "transform": transform,
        "crs": crs,
        "url_prefix": url_prefix,
    }
    options = _options(form, flags, assignments, images)
    require_images(images)
    places = Places.of(images) if images else ()
    if condense is not None:
        _PIXEL.condense(condense)
    small: Small = (lambda tree: tree) if condense is None else methodcaller("condense", condense)
    jobs, outcomes, left_out = _plan(trees)
    if left_out:
        say(left_out)
    targets = _targets(form, jobs, trees, out)
    if form.make and targets and os.path.lexists(targets[0]) and not overwrite:
        raise ExportError(f"{targets[0]}: exists; choose another name or pass --overwrite")
    placement = Placement(options)
    if targets and (form.make or targets[0] == out):
        require_writable(targets[0].parent, ExportError, file=targets[0])
    elif targets and out is not None:
        require_writable(out, ExportError)
    for folder in {target.parent for target in targets}:
        remove_leftovers(folder)
    planned, interrupted = len(jobs) + len(outcomes), False
    with interruptible() as check, progress_bar(form.name, len(jobs), show=len(jobs) > 1) as bar:
        for outcome in outcomes:
            bar.say(one_line(f"failed: {outcome.error}"))

        def advance(outcome: Outcome) -> None:
            outcomes.append(outcome)
            said = f"failed: {outcome.error}" if outcome.status == "failed" else None
            bar.reach(bar.reached + 1, said)
            check()

        try:
            if form.make is None:
                for job, target in zip(jobs, targets, strict=True):
                    advance(
                        _write_one(
                            form, job.file, target, places, placement, small, options, overwrite
                        )
                    )
            elif jobs:
                _write_all(form, jobs, targets[0], small, options, advance)
        except KeyboardInterrupt:
            interrupted = True
            if form.make is not None:  # the document was not written
                outcomes = [outcome for outcome in outcomes if outcome.status == "failed"]
    count = Counter(outcome.status for outcome in outcomes)
    counts = {status: count[status] for status in ("done", "skipped", "failed")}
    say(_summary(form, counts, targets, out))
    for line in placement.lines():
        say(line)
    if interrupted:
        rest = "nothing was written" if form.make else "run the same command again to do the rest"
        say(f"interrupted: {rest}")
    if as_json:
        files = [asdict(outcome) for outcome in outcomes]
        report = {"format": form.name, "planned": planned, **counts, "interrupted": interrupted}
        print(json.dumps({**report, "files": files}, indent=1))
    if interrupted:
        return 130
    if not counts["done"] and not counts["skipped"]:
        return 2
    return 1 if counts["failed"] else 0


def _summary(
    form: Format, counts: dict[str, int], targets: Sequence[Path], out: Path | None
) -> str:
    line = ", ".join(f"{number} {status}" for status, number in counts.items())
    if counts["done"] and len(targets) == 1:
        line += f"; wrote {targets[0]}"
    elif counts["done"]:
        line += f"; *{form.suffixes[0]} {f'in {out}' if out else 'beside the trees'}"
    if counts["skipped"]:
        line += "; existing files were kept; --overwrite replaces them"
    return line


# -- options and files ----------------------------------------------------------------------------


def _options(
    form: Format,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    images: Sequence[str | Path],
) -> dict[str, Any]:
    """The options of the format, from flags and ``--option``. An unused option is an error."""
    given = {key: value for key, value in flags.items() if value is not None}
    for text in assignments:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ExportError(f"--option must be name=value, got {text!r}")
        key = form.keys.get(name)
        read = value.strip() if key is None else value_of_text(key, value.strip())
        if read is None and name in ("transform", "crs"):
            read = "none"  # which is not the default: that comes from the photograph
        if given.setdefault(name, read) != read:
            raise ExportError(f"--option {text!r} contradicts {given[name]!r}; give one of them")
    if images and not form.finds_photo:
        users = ", ".join(name for name in FORMATS if find_format(name).finds_photo)
        raise ExportError(
            f"{form.name} ({form.what}) does not use images; formats that do: {users}"
        )
    options = checked_options(form, given)
    if form.options is not None and issubclass(form.options, CutOptions):
        choice = ("n_regions", "height", "depth", "salient", "all_nodes")
        chosen_nodes(_PIXEL, **{key: options[key] for key in choice if key in options})
    if form.options is StackOptions:
        for count in options.get("granularities", ()):
            chosen_nodes(_PIXEL, n_regions=count)
    return options


def _plan(trees: Sequence[str | Path]) -> tuple[list[Job], list[Outcome], str | None]:
    """A job for each tree, a failed outcome for each input without one, and what was left out.

    The tree ``a/b.npz`` of folder ``a`` has the name ``b``. Trees that would have the same name are
    named with the folder, ``a/b``, and if need be by their paths below the folder that contains all
    trees. The names of the other trees stay the same.
    """
    if not trees:
        raise ExportError("no trees: name at least one (.npz), a folder of them or a pattern")
    found: dict[str, tuple[Path, Path]] = {}
    missing = []
    whole = Found()
    for given in trees:
        inside = search([given], frozenset({TREE_SUFFIX}))
        whole.left_out += inside.left_out
        whole.twice += inside.twice
        for file, _ in inside.files:
            if problem := tree_problem(file):
                missing.append(Outcome(str(file), "failed", error=problem))
                continue
            below = file.relative_to(given) if os.path.isdir(given) else Path(file.name)
            found.setdefault(os.path.abspath(file), (file, below))
    names = {key: below for key, (_, below) in found.items()}
    for with_folder in (True, False):
        count = Counter(os.path.normcase(name.with_suffix("")) for name in names.values())
        for key, name in names.items():
            if count[os.path.normcase(name.with_suffix(""))] > 1:
                file = Path(key)
                folder = file.parents[len(name.parts)] if with_folder else _common_folder(found)
                names[key] = file.relative_to(folder)
    jobs = [Job(found[key][0], name.with_suffix("")) for key, name in names.items()]
    taken: dict[str, Path] = {}
    for job in jobs:
        other = taken.setdefault(os.path.normcase(job.name), job.file)
        if other != job.file:
            raise ExportError(
                f"{other} and {job.file} would be written to the same file; rename one of them"
            )
    return jobs, missing, whole.left_out_text


def _targets(
    form: Format, jobs: Sequence[Job], trees: Sequence[str | Path], out: Path | None
) -> list[Path]:
    """The file of each tree, or the one file of a document for all trees."""
    if not jobs:
        return []
    is_file = (
        out is not None and not os.path.isdir(out) and out.name.lower().endswith(form.suffixes)
    )
    if out is not None and os.path.isfile(out) and not is_file:
        raise ExportError(f"{out}: is a file; {form.name} writes {' or '.join(form.suffixes)}")
    if is_file and form.make is None and len(jobs) > 1:
        raise ExportError(
            f"{out}: {form.name} writes a file for each of the {len(jobs)} trees; name a folder"
        )
    if out is not None and is_file:
        targets = [out]
    elif form.make is not None:
        given = Path(trees[0])
        beside = given if len(trees) == 1 and os.path.isdir(given) else None
        folder = out or beside or _common_folder(job.file for job in jobs)
        targets = [folder / f"{form.name}{form.suffixes[0]}"]
    else:
        stems = [out / job.name if out else job.file.with_suffix("") for job in jobs]
        targets = [stem.with_name(fitted_name(stem.name, form.suffixes[0])) for stem in stems]
    inputs = {os.path.abspath(job.file) for job in jobs}
    for target in targets:
        if os.path.abspath(target) in inputs:
            raise ExportError(f"{target}: is one of the trees to export; choose another name")
    return targets


def _common_folder(files: Iterable[str | Path]) -> Path:
    folders = [os.path.dirname(os.path.abspath(file)) for file in files]
    try:
        return Path(os.path.commonpath(folders))
    except ValueError as error:
        raise ExportError(
            f"the trees are on different drives; export those of each drive separately ({error})"
        ) from None


# -- writing --------------------------------------------------------------------------------------


def _write_one(
    form: Format,
    file: Path,
    target: Path,
    places: Places | tuple[()],
    placement: Placement,
    small: Small,
    options: dict[str, Any],
    overwrite: bool,
) -> Outcome:
    """Write a tree to its own file."""
    if os.path.lexists(target) and not overwrite:
        return Outcome(str(file), "skipped", str(target))

    def work() -> None:
        source = open_source(file, images=places) if form.finds_photo else None
        tree = RegionTree.load(file) if source is None else source.tree
        used = options if source is None else placement.options_of(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        form.writer(small(tree), target, **used)
        if source is not None:
            placement.wrote(source, used)

    _, error = _attempt(file, work)
    if error:
        return Outcome(str(file), "failed", error=error)
    return Outcome(str(file), "done", str(target))


def _write_all(
    form: Format,
    jobs: Sequence[Job],
    target: Path,
    small: Small,
    options: dict[str, Any],
    advance: Callable[[Outcome], None],
) -> None:
    """Write all trees to one document, with one tree in memory at a time.

    If every tree fails, no document is written.
    """
    make = form.maker
    assert make is not None

    def document(job: Job) -> Any:
        return make(small(RegionTree.load(job.file)), job.name.as_posix(), **options)

    def documents() -> Iterator[Any]:
        for job in jobs:
            found, error = _attempt(job.file, partial(document, job))
            if error:
                advance(Outcome(str(job.file), "failed", error=error))
            else:
                yield found
                advance(Outcome(str(job.file), "done", str(target)))

    made = documents()
    first = next(made, None)
    if first is not None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            form.writer(chain([first], made), target)
        except OSError as error:
            raise ExportError(f"{target}: cannot be written ({reason(error)})") from error


def _attempt(file: Path, work: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result of `work`, or the error of the tree. A missing package is raised."""
    result = attempt(work, stop=(MissingExtraError,))
    if isinstance(result, Exception):
        return None, fault_text(result, file)
    return result, None
