"""The work of ``regiontree export``: write many trees in one format.

A tree that cannot be written is reported, and the others are written.

Some formats have a file for each tree. ``a/b.npz`` of folder ``a`` becomes ``OUT/b.SUFFIX``, or,
without OUT, a file beside the tree. If there is only one tree, OUT may be the file itself.

Other formats have one document for all trees. It is the file OUT, or ``OUT/FORMAT.json`` if OUT is
a folder. Without OUT it is ``FORMAT.json`` in the folder given, or in the folder that holds all
trees given.
"""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib import import_module
from itertools import chain
from operator import methodcaller
from pathlib import Path
from typing import Any, Literal

import numpy as np

from regiontree.errors import (
    ExportError,
    MissingExtraError,
    RegionTreeError,
    TreeFileError,
    nearest_name,
)
from regiontree.export import FORMATS, Format
from regiontree.export.coco import chosen_nodes
from regiontree.forest.sources import Places, Source, find_trees, open_source
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.tree import RegionTree

__all__ = ["run"]


Small = Callable[[RegionTree], RegionTree]  # what is exported of a tree

# Tells whether an option makes sense, before any tree is read.
_PIXEL = RegionTree(
    labels=np.zeros((1, 1), int), parents=np.zeros(1, int), height=np.zeros(1, np.float32)
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a tree."""

    tree: str
    status: Literal["done", "skipped", "failed"]
    output: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A tree to write: its file, and its name among all trees, without suffix."""

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
    overwrite: bool = False,
    as_json: bool = False,
) -> int:
    """Write trees in another format, behind a progress bar on standard error; the exit code.

    Parameters
    ----------
    trees
        Tree files, folders of them, patterns.
    to
        One of :data:`regiontree.export.FORMATS`.
    out
        File or folder to write; see the module's text for what it means when.
    condense
        Write each tree condensed to so many nodes: see :meth:`RegionTree.condense`. Node numbers
        are then those of the condensed tree.
    overwrite
        Replace what is there. Otherwise a tree whose file is there is skipped, and a document for
        all trees that is there is an error.
    as_json
        Print what became of each tree to standard output.

    The others are the formats' own options; `granularities` and `transform` may be text with
    commas.

    Returns
    -------
    int
        0 all done, 1 some trees failed, 2 none could be written, 130 interrupted.

    Raises
    ------
    ExportError
        Before anything is written: an unknown format, an option that it does not use or whose value
        makes no sense, an output in the way.
    MissingExtraError
        The format needs a package that is not installed.
    """
    form = _format(to)
    options = _options(
        form,
        images=Places.of(images) if images else None,
        n_regions=n_regions,
        height=height,
        depth=depth,
        granularities=_numbers("granularities", granularities, int),
        all_nodes=all_nodes or None,
        salient=salient,
        transform=_numbers("transform", transform, float),
        crs=crs,
        url_prefix=url_prefix,
    )
    if condense is not None:
        _PIXEL.condense(condense)
    small: Small = (lambda tree: tree) if condense is None else methodcaller("condense", condense)
    jobs, outcomes = _plan(trees)
    targets = _targets(form, jobs, trees, out)
    if form.make and targets and targets[0].exists() and not overwrite:
        raise ExportError(f"{targets[0]}: exists; choose another name or pass --overwrite")
    planned, interrupted = len(jobs) + len(outcomes), False
    with interruptible() as check, progress_bar(form.name, len(jobs), show=len(jobs) > 1) as bar:
        for outcome in outcomes:
            bar.say(f"failed: {outcome.error}")

        def advance(outcome: Outcome) -> None:
            outcomes.append(outcome)
            said = f"failed: {outcome.error}" if outcome.status == "failed" else None
            bar.reach(bar.reached + 1, said)
            check()

        try:
            if form.make is None:
                for job, target in zip(jobs, targets, strict=True):
                    advance(_write_one(form, job.file, target, small, options, overwrite, bar.say))
            elif jobs:
                _write_all(form, jobs, targets[0], small, options, advance)
        except KeyboardInterrupt:
            interrupted = True
            if form.make is not None:  # the document is not there
                outcomes = [outcome for outcome in outcomes if outcome.status == "failed"]
    count = Counter(outcome.status for outcome in outcomes)
    counts = {status: count[status] for status in ("done", "skipped", "failed")}
    print(_summary(form, counts, targets, out), file=sys.stderr)
    if interrupted:
        rest = "nothing was written" if form.make else "run the same command again to do the rest"
        print(f"interrupted: {rest}", file=sys.stderr)
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
        line += "; kept what was there, --overwrite writes it again"
    return line


# -- what was asked for ---------------------------------------------------------------------------


def _format(name: str) -> Format:
    if name in FORMATS:
        return FORMATS[name]
    hint = nearest_name(name, FORMATS, cutoff=0.0)
    raise ExportError(f"no format {name!r}{hint} There are {', '.join(FORMATS)}")


def _options(form: Format, **given: Any) -> dict[str, Any]:
    """The options that were given, all of which the format uses."""
    options = {key: value for key, value in given.items() if value is not None}
    for key in [key for key in options if key not in form.options]:
        users = ", ".join(other.name for other in FORMATS.values() if key in other.options)
        raise ExportError(f"{form.name} ({form.what}) does not use {key}; formats that do: {users}")
    choice = ("n_regions", "height", "depth", "salient", "all_nodes")
    chosen_nodes(_PIXEL, **{key: options[key] for key in choice if key in options})
    for count in options.get("granularities", ()):
        chosen_nodes(_PIXEL, n_regions=count)
    return options


def _numbers(
    name: str, value: str | Sequence[Any] | None, kind: type[int] | type[float]
) -> tuple[Any, ...] | None:
    """Numbers, given as such or as text with commas."""
    if not isinstance(value, str):
        return value if value is None else tuple(value)
    try:
        return tuple(kind(part) for part in value.split(","))
    except ValueError:
        raise ExportError(f"{name} must be numbers with commas, got {value!r}") from None


def _plan(trees: Sequence[str | Path]) -> tuple[list[Job], list[Outcome]]:
    """One job a tree, no two of one name, and what was given but names no tree.

    ``a/b.npz`` of folder ``a`` is ``b``. If two trees would meet, all have the path below the
    folder that holds them all.
    """
    if not trees:
        raise ExportError("no trees: name at least one (.npz), a folder of them or a pattern")
    found: dict[str, tuple[Path, Path]] = {}
    missing = []
    for given in trees:
        try:
            files = find_trees([given])
        except TreeFileError as error:
            missing.append(Outcome(str(given), "failed", error=str(error)))
            continue
        for file in files:
            below = file.relative_to(given) if Path(given).is_dir() else Path(file.name)
            found.setdefault(os.path.abspath(file), (file, below))
    names = {key: below for key, (_, below) in found.items()}
    if len({os.path.normcase(name.with_suffix("")) for name in names.values()}) < len(names):
        names = {key: Path(key).relative_to(_common_folder(found)) for key in found}
    jobs = [Job(found[key][0], name.with_suffix("")) for key, name in names.items()]
    taken: dict[str, Path] = {}
    for job in jobs:
        other = taken.setdefault(os.path.normcase(job.name), job.file)
        if other != job.file:
            raise ExportError(f"{other} and {job.file} are one name to write; rename one of them")
    return jobs, missing


def _targets(
    form: Format, jobs: Sequence[Job], trees: Sequence[str | Path], out: Path | None
) -> list[Path]:
    """The file of each tree; or, of a document for all, that one."""
    if not jobs:
        return []
    is_file = out is not None and not out.is_dir() and out.name.lower().endswith(form.suffixes)
    if out is not None and out.is_file() and not is_file:
        raise ExportError(f"{out}: is a file; {form.name} writes {' or '.join(form.suffixes)}")
    if is_file and form.make is None and len(jobs) > 1:
        raise ExportError(
            f"{out}: {form.name} writes a file a tree, and these are {len(jobs)}; name a folder"
        )
    if out is not None and is_file:
        targets = [out]
    elif form.make is not None:
        given = Path(trees[0])
        beside = given if len(trees) == 1 and given.is_dir() else None
        folder = out or beside or _common_folder(job.file for job in jobs)
        targets = [folder / f"{form.name}{form.suffixes[0]}"]
    else:
        stems = [out / job.name if out else job.file.with_suffix("") for job in jobs]
        targets = [stem.with_name(stem.name + form.suffixes[0]) for stem in stems]
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
            f"trees on different drives: export each drive's alone ({error})"
        ) from None


# -- writing --------------------------------------------------------------------------------------


def _write_one(
    form: Format,
    file: Path,
    target: Path,
    small: Small,
    options: dict[str, Any],
    overwrite: bool,
    say: Callable[[str], None],
) -> Outcome:
    """A tree into a file of its own."""
    if target.exists() and not overwrite:
        return Outcome(str(file), "skipped", str(target))

    def work() -> None:
        if "images" in form.options:
            source = open_source(file, images=options.get("images", ()))
            tree, used = source.tree, _on_the_map(source, options, say)
        else:
            tree, used = RegionTree.load(file), options
        _function(form.write)(small(tree), target, **used)

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
    """All trees into one document, one tree in memory at a time; no document of no tree."""
    assert form.make is not None
    make = _function(form.make)

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
            _function(form.write)(chain([first], made), target)
        except OSError as error:
            raise ExportError(f"{target}: cannot be written ({error})") from error


def _function(name: str) -> Callable[..., Any]:
    module, function = name.split(".")
    found: Callable[..., Any] = getattr(import_module(f"regiontree.export.{module}"), function)
    return found


def _attempt(file: Path, work: Callable[[], Any]) -> tuple[Any, str | None]:
    """What `work` returns, or what is wrong with the tree; a missing package is not its fault."""
    try:
        return work(), None
    except MissingExtraError:
        raise
    except (RegionTreeError, OSError, MemoryError) as error:
        said = str(error) if isinstance(error, RegionTreeError) else repr(error)
        return None, said if str(file) in said else f"{file}: {said}"


def _on_the_map(
    source: Source, options: dict[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """The options, with the transform of the photograph if that is a GeoTIFF and none is given."""
    used = {key: value for key, value in options.items() if key != "images"}
    if "transform" in used or Path(source.name).suffix.lower() not in (".tif", ".tiff"):
        return used
    if source.notice:
        say(f"{source.path}: {source.notice}")
    found = None if source.photo is None else _function("geojson.georeference")(source.photo)
    if found is None:
        return used
    transform, crs = found
    return {"transform": transform, "crs": crs, **used}
