"""The commands ``run``, ``evaluate`` and ``datasets``: what they print, and their exit codes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, cast

from regiontree.datasets.catalog import CATALOGUE, check_dataset, entry, open_dataset
from regiontree.engines.crew import open_crew
from regiontree.errors import SettingsError
from regiontree.experiments import evaluate as evaluation
from regiontree.experiments import run as running
from regiontree.experiments.categories import evaluate_categories, parse_names
from regiontree.experiments.plan import Plan
from regiontree.experiments.scoring import Scoring
from regiontree.experiments.stages import Outcome
from regiontree.experiments.summary import Summary
from regiontree.system.faults import fault_text
from regiontree.system.paths import require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.terminal import one_line, say

__all__ = ["categories", "datasets", "evaluate", "run"]

_MANY = 20  # the terminal shows at most this many failures; summary.md lists all


def run(plan: Plan, *, device: str, compile: bool, overwrite: bool, as_json: bool) -> int:
    """Run an experiment, with a progress bar on standard error, and return the exit code."""
    crew = open_crew(device)
    try:
        count = len(plan.dataset.samples)
        with interruptible() as check, progress_bar("images", count, show=not crew.rank) as bar:

            def start(plan: Plan, size: int | None) -> None:
                for line in plan.text(size).split("\n"):
                    bar.say(line)

            def advance(ticket: int, outcome: Outcome) -> None:
                # Tickets count the images of all processes. So a ticket is the progress of the run.
                bar.reach(ticket + 1, f"failed: {outcome.error}" if outcome.error else None)
                check()

            result = running.run(
                plan, crew, device=device, compile=compile, overwrite=overwrite, on_start=start,
                on_outcome=advance,
            )  # fmt: skip
    except KeyboardInterrupt:
        if not crew.rank:
            say("interrupted: run the same command again to do the rest")
        return 130
    finally:
        crew.close()
    if crew.rank:
        return 0
    say(f"{result.done} images done, {result.kept} kept, {len(result.failed)} problems")
    _tell(result.failed)
    if result.report is not None:
        _show(result.report, as_json)
        for path in result.files:
            say(f"wrote {path}")
    if not result.done and not result.kept:
        return 2
    return 1 if result.failed else 0


def evaluate(
    trees: Sequence[str | Path],
    dataset: str,
    split: str | None,
    root: Path | None,
    *,
    protocols: tuple[str, ...],
    match: str,
    threshold: float,
    budgets: str,
    metrics: Sequence[str] | None,
    out: Path | None,
    as_json: bool,
) -> int:
    """Score trees, print the tables and return the exit code."""
    try:
        steps = tuple(sorted({int(step) for step in budgets.split(",") if step.strip()}))
    except ValueError:
        raise SettingsError(
            f"budgets must be whole numbers separated by commas, got {budgets!r}"
        ) from None
    if out is not None:
        require_writable(out)
    data = open_dataset(dataset, split, root)
    names = None if metrics is None else tuple(dict.fromkeys(metrics))
    scoring = Scoring(data.labels, protocols, cast(Any, match), threshold, steps, names)
    told: set[str | None] = set()
    with progress_bar("images", len(data.samples)) as bar:

        def advance(said: str | None) -> None:
            told.add(said)
            bar.reach(bar.reached + 1, said)

        report = evaluation.evaluate(trees, data, scoring, on_image=advance)
    return _end(report, told, out, as_json)


def categories(
    collection: Path,
    dataset: str,
    split: str | None,
    root: Path | None,
    *,
    depths: Sequence[int],
    names: str,
    out: Path | None,
    as_json: bool,
) -> int:
    """Score the categories of a collection, print the tables and return the exit code."""
    steps = parse_names(names)
    if out is not None:
        require_writable(out)
    data = open_dataset(dataset, split, root)
    from regiontree.collection import Collection as Categories

    loaded = Categories.load(collection)
    told: set[str | None] = set()
    with progress_bar("images", len(data.samples)) as bar:

        def advance(said: str | None) -> None:
            told.add(said)
            bar.reach(bar.reached + 1, said)

        report = evaluate_categories(
            loaded, data, name=str(collection), depths=depths, names=steps, on_image=advance
        )
    return _end(report, told, out, as_json)


def datasets(name: str | None, split: str | None, root: Path | None, *, check: bool) -> int:
    """Print the catalogue, one data set, or what a data set lacks, and return the exit code."""
    if name is None:
        if check:
            raise SettingsError("--check needs the name of a data set")
        width = max(map(len, CATALOGUE))
        for known in CATALOGUE:
            print(f"{known:<{width}}  {entry(known).title} ({', '.join(entry(known).splits)})")
        return 0
    if not check and name not in CATALOGUE and os.path.isfile(name):
        raise SettingsError(
            f"{name}: is a data set's own file; add --check to see which of its files are missing"
        )
    if not check:
        found = entry(name)
        print(f"{found.title}\n{found.home}\nlicence: {found.licence}\n")
        for file in found.download:
            size = f" ({file.size})" if file.size else ""
            source = f"\n    {file.url}" if file.url else ""
            print(f"get {file.what}{size}{source}\n    to {(root or found.root) / file.to}")
        print(f"\n{root or found.root}/\n{found.layout}")
        return 0
    missing = check_dataset(name, split, root)
    for said in missing:
        print(f"missing: {one_line(said)}")
    if not missing:
        print(f"{name}: complete")
    return 1 if missing else 0


# -- pieces ---------------------------------------------------------------------------------------


def _end(report: Summary, told: Collection[str | None], out: Path | None, as_json: bool) -> int:
    """Print what was not told yet and the tables, write the files, and return the exit code."""
    _tell([said for said in report.failed if said not in told])
    _show(report, as_json)
    if out is not None:
        try:
            for path in report.save(out):
                say(f"wrote {path}")
        except OSError as error:  # the scores are printed, so this is one failure among others
            say(f"failed: {fault_text(error, out)}")
            return 1
    return 1 if report.failed else 0


def _tell(failed: Sequence[str]) -> None:
    for said in failed[:_MANY]:
        say(f"  {one_line(said)}")
    if len(failed) > _MANY:
        say(f"  and {len(failed) - _MANY} more; summary.md lists all")


def _show(report: Summary, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.as_dict(), indent=1))
    else:
        report.print(sys.stdout)
