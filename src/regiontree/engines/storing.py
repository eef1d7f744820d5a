"""What ``regiontree segment`` does if the trees go into a store: choices, progress, exit codes."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from regiontree.engines.batch import suffixes_for
from regiontree.engines.collection import (
    CollectionSummary,
    segment_collection,
    settings_record,
)
from regiontree.engines.command import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_NOTHING
from regiontree.engines.engine import ENGINES, Engine, EngineOptions, Status
from regiontree.engines.torchrun import is_under_torchrun
from regiontree.errors import SettingsError
from regiontree.forest.layout import RECORD, living_files
from regiontree.forest.sources import TREE_SUFFIX
from regiontree.forest.store import Store, is_store, open_store
from regiontree.parser import RegionParser
from regiontree.references.listing import Listing, list_references
from regiontree.references.reference import Reference
from regiontree.settings import record_differences
from regiontree.system.paths import is_url
from regiontree.system.progress import Bar, progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say

__all__ = ["FORMATS", "Choices", "run", "why_a_store"]

FORMATS = ("npz", "parquet")
"""What ``--format`` may be: a file for each tree, or a store of all."""
_TABLES = (".jsonl", ".lst", ".ndjson", ".parquet", ".tar", ".txt")
_TOLD = 20  # failures that are printed; all are in the store


@dataclass(frozen=True, slots=True)
class Choices:
    """What the user chose of a run, beside the settings of the trees.

    Attributes
    ----------
    engine, format : str or None
        None: ``local``, and the format that fits.
    device : str
    ray_address, column, id_column : str or None
    workers : int or None
    """

    engine: str | None = None
    format: str | None = None
    device: str = "auto"
    ray_address: str | None = None
    column: str | None = None
    id_column: str | None = None
    workers: int | None = None


def why_a_store(paths: Sequence[str], out: str, chosen: Choices) -> str | None:
    """Why the trees go into a store; None if each goes into a file of its own.

    Raises
    ------
    SettingsError
        The choices contradict each other.
    """
    if chosen.format not in (None, *FORMATS):
        raise SettingsError(f"unknown format {chosen.format!r}; use npz or parquet")
    if chosen.engine is not None and chosen.engine not in ENGINES:
        ENGINES.get(chosen.engine)  # says which there are
    if chosen.ray_address is not None and chosen.engine != "ray":
        raise SettingsError("--ray-address is for --engine ray")
    why = _needs_store(paths, out, chosen)
    if why is not None and chosen.format == "npz":
        raise SettingsError(f"--format npz: {why}; leave --format out")
    if why is None and chosen.format == "parquet":
        why = "--format parquet"
    if why is None and (chosen.column or chosen.id_column):
        raise SettingsError("--column and --id-column are for tables of addresses")
    return why


def _needs_store(paths: Sequence[str], out: str, chosen: Choices) -> str | None:
    if is_url(out):
        return f"{out} is an address"
    if is_store(out):
        return f"{out} is a store"
    if chosen.engine not in (None, "local"):
        return f"the engine {chosen.engine} writes a store"
    for path in paths:
        if is_url(path):
            return f"{path} is an address"
        if Path(path).suffix.lower() in _TABLES and not os.path.isdir(path):
            return f"{path} is a list, a table or an archive"
    return None


def run(
    parser_on: Callable[[str], RegionParser],
    paths: Sequence[str],
    out: str,
    chosen: Choices,
    *,
    why: str,
    as_json: bool,
    refused: Sequence[str] = (),
) -> int:
    """Make the trees of a collection behind a progress bar on standard error; the exit code.

    Parameters
    ----------
    parser_on
        Makes the parser on a device.
    paths
        The sources.
    out
        The store: a folder or an address.
    chosen
        What the user chose.
    why
        What :func:`why_a_store` says.
    as_json
        Whether the summary is printed to standard output.
    refused
        Options that were given and do not work with a store.

    Raises
    ------
    RegionTreeError
        Nothing can be done.
    """
    if refused:
        raise SettingsError(
            f"{', '.join(refused)}: not with a store of trees ({why}); a folder of .npz files can"
        )
    _require_no_files(out)
    with _crew(chosen) as crew:
        device = chosen.device if crew is None else crew.device or chosen.device
        parser = parser_on("cpu" if chosen.engine == "ray" else device)
        listing = list_references(
            paths, suffixes_for(parser), column=chosen.column, id_column=chosen.id_column, out=out
        )
        begun = _Begun(listing)
        is_first = crew is None or crew.rank == 0
        if is_first:
            say(f"writes a store of trees: {why}")
        summary = _into_store(parser, begun, out, chosen, crew, tell=say if is_first else _nothing)
    if not is_first:
        return 0
    _report(summary, listing)
    if as_json:
        more = {"left_out": dict(sorted(listing.left_out.items())), "twice": listing.twice}
        print(json.dumps({**summary.as_dict(), **more}, indent=1))
    if summary.interrupted:
        return EXIT_INTERRUPTED
    if summary.failed and not summary.done + summary.skipped:
        return EXIT_NOTHING
    return EXIT_FAILED if summary.failed else 0


def _nothing(said: str) -> None:
    pass


@contextmanager
def _crew(chosen: Choices) -> Iterator[Any]:
    """The crew of torchrun; None for other engines."""
    if chosen.engine != "torchrun":
        yield None
        return
    if not is_under_torchrun():
        raise SettingsError(
            "the engine torchrun needs processes that torchrun starts: torchrun --nproc_per_node 4 "
            "-m regiontree segment ... --engine torchrun"
        )
    if chosen.workers is not None:
        raise SettingsError("--workers: torchrun says how many processes there are; leave it out")
    from regiontree.engines.crew import open_crew

    crew = open_crew(chosen.device)
    try:
        yield crew
    finally:
        crew.close()


def _require_no_files(out: str) -> None:
    """Check that a store does not come into a folder of tree files."""
    if is_url(out) or is_store(out):
        return
    if os.path.isfile(out):
        raise SettingsError(f"output folder {out} is a file; choose another name")
    if os.path.isdir(out) and any(name.endswith(TREE_SUFFIX) for name in os.listdir(out)):
        raise SettingsError(
            f"{out} holds trees in files; choose another folder for the store, or convert them "
            f"first: regiontree convert {out} -o STORE"
        )


class _Begun:
    """A listing whose first reference was looked at.

    Raises
    ------
    SettingsError
        The sources hold no photograph.
    """

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self._coming = iter(listing)
        first = next(self._coming, None)
        if first is None:
            said = [f"{address}: {why}" for address, why in listing.problems.items()]
            raise SettingsError("; ".join(said[:5]) or "no input; name at least one photograph")
        self._first = first

    @property
    def problems(self) -> dict[str, str]:
        return self.listing.problems

    @property
    def problem_count(self) -> int:
        return self.listing.problem_count

    def __iter__(self) -> Iterator[Reference]:
        return chain([self._first], self._coming)


def _into_store(
    parser: RegionParser,
    listing: _Begun,
    out: str,
    chosen: Choices,
    crew: Any,
    *,
    tell: Callable[[str], None],
) -> CollectionSummary:
    name = chosen.engine or "local"
    is_new = not is_store(out)
    store = open_store(out, settings_record(parser), differences=record_differences)
    more = {"device": chosen.device, "address": chosen.ray_address, "crew": crew}
    is_first = crew is None or crew.rank == 0
    progress = _Progress(tell)
    try:
        with interruptible() as check, progress_bar("parsing", None, show=is_first) as bar:
            progress.bar = bar

            def advance(status: Status) -> None:
                progress.advance(status)
                check()

            options = EngineOptions(parser, store, chosen.workers, more, progress.say)
            with redirect_stdout(sys.stderr):  # Ray prints there what its machines say
                try:
                    engine: Engine = ENGINES.get(name)(options)
                except KeyboardInterrupt:
                    return CollectionSummary(store.address, name, interrupted=True)
                return segment_collection(
                    listing,
                    store,
                    engine,
                    name=name,
                    on_status=advance,
                    on_skipped=progress.skip,
                    on_listed=bar.expect,
                )
    finally:
        if is_new and is_first:
            _discard_if_empty(store)


def _discard_if_empty(store: Store) -> None:
    """Leave no store behind that has settings and no rows: the next try may have other settings."""
    if not living_files(store.folder):
        store.folder.remove(RECORD)


class _Progress:
    """What the bar shows."""

    bar: Bar

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.start = time.perf_counter()
        self.done = self.failed = 0
        self.is_quiet = tell is _nothing

    def say(self, said: str) -> None:
        if not self.is_quiet:
            self.bar.say(said)

    def advance(self, status: Status) -> None:
        said = None
        if status.error is not None:
            self.failed += 1
            said = f"failed: {status.error}" if self.failed <= _TOLD else None
            if self.failed == _TOLD:
                said = f"{said}\nmore failures are only counted; the store holds them all"
        else:
            self.done += 1
            if status.notice is not None:
                said = f"{status.id}: {status.notice}"
        rate = f"{self.done / (time.perf_counter() - self.start):.2f} images/s"
        self.bar.reach(self.bar.reached + 1, None if self.is_quiet else said, rate=rate)

    def skip(self, number: int) -> None:
        self.bar.reach(self.bar.reached + number)


def _report(summary: CollectionSummary, listing: Listing) -> None:
    """The run in one or two lines on standard error."""
    if listing.left_out_text:
        say(listing.left_out_text)
    counts = [f"{getattr(summary, name):,} {name}" for name in ("done", "skipped", "failed")]
    line = f"{', '.join(counts)} in {summary.seconds:.1f} s"
    if summary.images_per_second:
        line += f" ({summary.images_per_second:.2f} images/s)"
    say(f"{line}; trees in the store {summary.store}")
    if summary.interrupted:
        say("interrupted: run the same command again to do the rest")
