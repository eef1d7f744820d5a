"""The command ``export``: write many trees in one format.

A tree that cannot be written is reported, and the others are written.

Some formats have a file for each tree. The tree ``a/b.npz`` of folder ``a`` is written to
``OUT/b.SUFFIX``. Without OUT, its file lies beside the tree. If there is only one tree, OUT may be
the file itself.

Other formats have one document for all trees. It is written to the file OUT, or to
``OUT/FORMAT.json`` if OUT is a folder. Without OUT it is written to ``FORMAT.json`` in the folder
that the user gave, or in the folder that contains all trees. For a few formats it is a folder, OUT.

The trees of a store are read one after the other. The row ``a/b.jpg`` is written to
``OUT/a/b.jpg.SUFFIX``.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, Literal

from regiontree.errors import ExportError, MissingExtraError
from regiontree.export import FORMATS, Format, checked_options, find_format, with_assignments
from regiontree.export.coco import PIXEL, chosen_nodes
from regiontree.export.options import CutOptions, StackOptions
from regiontree.export.placement import Placement
from regiontree.export.plan import Job, Targets, plan_of
from regiontree.forest.pictures import picture_of_source
from regiontree.forest.saved import SavedTree
from regiontree.forest.sources import Places, open_source, require_images
from regiontree.system.faults import attempt, fault_text
from regiontree.system.paths import reason, require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import one_line, say
from regiontree.tree import RegionTree

__all__ = ["run"]


Small = Callable[[RegionTree], RegionTree]  # makes the tree that is written
_MANY = 100  # most failures on the terminal


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one tree: whether its file was written, and the error if not."""

    tree: str
    status: Literal["done", "skipped", "failed"]
    output: str | None = None
    error: str | None = None


@dataclass(slots=True)
class _Outcomes:
    """What became of the trees: counted, and listed if the user wants the list.

    The list of a large store would need more memory than its trees.
    """

    is_listed: bool
    count: Counter[str] = field(default_factory=Counter)
    listed: list[Outcome] = field(default_factory=list)
    n_said: int = 0

    def add(self, outcome: Outcome) -> str | None:
        """Enter an outcome; what to say of it, if anything."""
        self.count[outcome.status] += 1
        if self.is_listed:
            self.listed.append(outcome)
        if outcome.status != "failed":
            return None
        self.n_said += 1
        return f"failed: {outcome.error}" if self.n_said <= _MANY else None

    def drop_written(self) -> None:
        """Forget the trees of a document that was not written."""
        self.count = Counter({"failed": self.count["failed"]})
        self.listed = [outcome for outcome in self.listed if outcome.status == "failed"]


def run(
    trees: Sequence[str | Path],
    to: str,
    out: Path | None = None,
    *,
    images: Sequence[str | Path] = (),
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    granularities: str | Sequence[int] | None = None,
    all_nodes: bool = False,
    salient: int | None = None,
    pieces: bool = False,
    min_area: int | None = None,
    condense: int | None = None,
    min_stability: float | None = None,
    transform: str | Sequence[float] | None = None,
    crs: str | None = None,
    url_prefix: str | None = None,
    link: bool = False,
    assignments: Sequence[str] = (),
    overwrite: bool = False,
    as_json: bool = False,
) -> int:
    """Write trees in another format, with a progress bar, and return the exit code.

    Parameters
    ----------
    trees
        Tree files, folders of tree files, glob patterns, stores, or rows of stores
        (``STORE::ID``).
    to
        One of :data:`regiontree.export.FORMATS`.
    out
        File or folder to write; see the text of this module.
    pieces, min_area
        Whether each tree is first divided into connected pieces: see :meth:`RegionTree.pieces`.
    condense
        Then condense each tree to at most this number of nodes before it is written.
    min_stability
        Only nodes of at least this stability are kept in doing so: see
        :meth:`RegionTree.condense`. Node numbers are those of the tree that is written.
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
        "contrast": contrast,
        "granularities": granularities,
        "all_nodes": all_nodes or None,
        "salient": salient,
        "transform": transform,
        "crs": crs,
        "url_prefix": url_prefix,
        "link": link or None,
    }
    options = _options(form, flags, assignments, images)
    require_images(images)
    places = Places.of(images) if images else ()
    small = _small(pieces, min_area, condense, min_stability)
    small(PIXEL)
    plan = plan_of(trees)
    if plan.listing.left_out:
        say(plan.listing.left_out)
    targets = Targets(form, plan, trees, out)
    if form.make and targets.one and _is_taken(targets.one) and not overwrite:
        remove_leftovers(targets.one.parent)  # of a run that was killed as it ended
        raise ExportError(f"{targets.one}: exists; choose another name or pass --overwrite")
    placement = Placement(options, keeps_projection=form.keeps_projection)
    if targets.one and (form.make or targets.one == out):
        require_writable(targets.one.parent, ExportError, file=targets.one)
    elif len(plan) and out is not None:
        require_writable(out, ExportError)
    if form.make and targets.one:
        remove_leftovers(targets.one.parent)
    writer = _Writer(form, targets, places, placement, small, options, overwrite)
    outcomes = _Outcomes(as_json)
    planned, interrupted = len(plan) + len(plan.listing.problems), False
    with interruptible() as check, progress_bar(form.name, len(plan), show=len(plan) > 1) as bar:
        for given, problem in plan.listing.problems.items():
            if said := outcomes.add(Outcome(given, "failed", error=problem)):
                bar.say(one_line(said))

        def advance(outcome: Outcome) -> None:
            bar.reach(bar.reached + 1, outcomes.add(outcome))
            check()

        try:
            if form.make is None:
                for job in plan:
                    advance(writer.write(job))
            elif targets.one:
                _write_all(form, plan, targets.one, places, small, options, advance)
        except KeyboardInterrupt:
            interrupted = True
            if form.make is not None:
                outcomes.drop_written()
    counts = {status: outcomes.count[status] for status in ("done", "skipped", "failed")}
    if outcomes.n_said > _MANY:
        say(f"{outcomes.n_said - _MANY:,} more failed; --json lists all")
    say(_summary(form, counts, targets.one, out))
    for line in placement.lines():
        say(line)
    if interrupted:
        rest = "nothing was written" if form.make else "run the same command again to do the rest"
        say(f"interrupted: {rest}")
    if as_json:
        files = [asdict(outcome) for outcome in outcomes.listed]
        report = {"format": form.name, "planned": planned, **counts, "interrupted": interrupted}
        print(json.dumps({**report, "files": files}, indent=1))
    if interrupted:
        return 130
    if not counts["done"] and not counts["skipped"]:
        return 2
    return 1 if counts["failed"] else 0


def _is_taken(target: Path) -> bool:
    """Whether something would be replaced. A folder without anything in it does not count."""
    return os.path.lexists(target) and not (target.is_dir() and not any(target.iterdir()))


def _summary(form: Format, counts: dict[str, int], one: Path | None, out: Path | None) -> str:
    line = ", ".join(f"{number} {status}" for status, number in counts.items())
    if counts["done"] and one is not None:
        line += f"; wrote {one}"
    elif counts["done"]:
        line += f"; *{form.suffixes[0]} {f'in {out}' if out else 'beside the trees'}"
    if counts["skipped"]:
        line += "; existing files were kept; --overwrite replaces them"
    return line


def _small(
    pieces: bool, min_area: int | None, condense: int | None, min_stability: float | None
) -> Small:
    """What makes the tree that is written from the tree that was read."""
    least = min_stability or 0.0

    def small(tree: RegionTree) -> RegionTree:
        tree = tree.pieces(min_area) if pieces else tree
        return tree if condense is None else tree.condense(condense, min_stability=least)

    return small


# -- options and files ----------------------------------------------------------------------------


def _options(
    form: Format,
    flags: Mapping[str, Any],
    assignments: Sequence[str],
    images: Sequence[str | Path],
) -> dict[str, Any]:
    """The options of the format, from flags and ``--option``. An unused option is an error."""
    given = {key: value for key, value in flags.items() if value is not None}
    # The default of these comes from the photograph, so "none" is another value.
    given = with_assignments(given, assignments, form.keys, literal=("transform", "crs"))
    if images and not form.finds_photo:
        users = ", ".join(name for name in FORMATS if find_format(name).finds_photo)
        raise ExportError(
            f"{form.name} ({form.what}) does not use images; formats that do: {users}"
        )
    options = checked_options(form, given)
    if form.options is not None and issubclass(form.options, CutOptions):
        choice = ("n_regions", "height", "depth", "contrast", "salient", "all_nodes")
        chosen_nodes(PIXEL, **{key: options[key] for key in choice if key in options})
    if form.options is not None and issubclass(form.options, StackOptions):
        for count in options.get("granularities", ()):
            chosen_nodes(PIXEL, n_regions=count)
    return options


# -- writing --------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Writer:
    """Writes trees, each to its own file."""

    form: Format
    targets: Targets
    places: Places | tuple[()]
    placement: Placement
    small: Small
    options: dict[str, Any]
    overwrite: bool
    tidied: set[Path] = field(default_factory=set)

    def write(self, job: Job) -> Outcome:
        """Write a tree to its file."""
        name, target = str(job.tree), self.targets.of(job)
        if target.parent not in self.tidied:  # of what a killed run left there
            remove_leftovers(target.parent)
            self.tidied.add(target.parent)
        if os.path.lexists(target) and not self.overwrite:
            return Outcome(name, "skipped", str(target))
        _, error = _attempt(name, partial(self._work, job.tree, target))
        if error:
            return Outcome(name, "failed", error=error)
        return Outcome(name, "done", str(target))

    def _work(self, saved: SavedTree, target: Path) -> None:
        source = open_source(saved, images=self.places) if self.form.finds_photo else None
        tree = saved.load() if source is None else source.tree
        used = self.options if source is None else self.placement.options_of(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        self.form.writer(self.small(tree), target, **used)
        if source is not None:
            self.placement.wrote(source, used)


def _write_all(
    form: Format,
    jobs: Iterable[Job],
    target: Path,
    places: Places | tuple[()],
    small: Small,
    options: dict[str, Any],
    advance: Callable[[Outcome], None],
) -> None:
    """Write all trees to one document, with one tree in memory at a time.

    If every tree fails, no document is written.
    """
    make = form.maker
    assert make is not None
    has_photo = form.finds_photo and options.get("photographs", True)

    def document(job: Job) -> Any:
        if not has_photo:
            return make(small(job.tree.load()), job.name, **options)
        source = open_source(job.tree, images=places)
        picture = picture_of_source(source)
        return make(small(source.tree), job.name, picture=picture, **options)

    def documents() -> Iterator[Any]:
        for job in jobs:
            name = str(job.tree)
            found, error = _attempt(name, partial(document, job))
            if error:
                advance(Outcome(name, "failed", error=error))
            else:
                yield found
                advance(Outcome(name, "done", str(target)))

    made = documents()
    first = next(made, None)
    if first is not None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            form.writer(chain([first], made), target)
        except OSError as error:
            raise ExportError(f"{target}: cannot be written ({reason(error)})") from error


def _attempt(name: str, work: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result of `work`, or the error of the tree. A missing package is raised."""
    result = attempt(work, stop=(MissingExtraError,))
    if isinstance(result, Exception):
        return None, fault_text(result, name)
    return result, None
