"""What ``regiontree segment`` shows on the terminal, and its exit codes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from regiontree.engines.batch import Outcome, Summary, largest, plan, segment, suffixes_for
from regiontree.engines.masking import with_masks
from regiontree.parser import RegionParser
from regiontree.system.inputs import search
from regiontree.system.paths import require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.temporary import remove_leftovers
from regiontree.system.terminal import say

__all__ = ["EXIT_FAILED", "EXIT_INTERRUPTED", "EXIT_NOTHING", "run"]

EXIT_FAILED = 1
"""Some inputs failed, and the rest is done."""
EXIT_NOTHING = 2
"""Nothing could be done."""
EXIT_INTERRUPTED = 130
"""The user stopped the command."""


def run(
    parser: RegionParser,
    paths: Sequence[str | Path],
    out: Path,
    *,
    overwrite: bool,
    pictures: bool,
    as_json: bool,
    mask: Path | None = None,
    workers: int | None = None,
) -> int:
    """Parse photographs behind a progress bar on standard error; the exit code.

    `mask` is a mask of the only photograph, or a folder of masks. The other arguments are those of
    :func:`regiontree.engines.batch.segment`.

    Raises
    ------
    RegionTreeError
        Nothing can be done: there is no input, say, or the network cannot be loaded.
    """
    suffixes = suffixes_for(parser)
    found = search(paths, suffixes, out)
    jobs = plan(paths, out, suffixes, pictures=pictures, found=found)
    if mask is not None:
        jobs = with_masks(jobs, mask, paths, suffixes, out)
    require_writable(out)
    remove_leftovers(out)
    if found.left_out_text:
        say(found.left_out_text)
    if said := largest(parser, (job.source for job in jobs)):
        say(said)
    work = partial(
        segment, parser, jobs, out, overwrite=overwrite, pictures=pictures, found=found,
        workers=workers,
    )  # fmt: skip
    summary = _behind_a_bar(work, len(jobs))
    _report(summary, out)
    if as_json:
        print(json.dumps(summary.as_dict(), indent=1))
    if summary.interrupted:
        return EXIT_INTERRUPTED
    failed = summary.count("failed")
    if failed and failed == len(summary.outcomes):
        return EXIT_NOTHING
    return EXIT_FAILED if failed or summary.problem else 0


def _behind_a_bar(work: Callable[..., Summary], planned: int) -> Summary:
    done, start = 0, time.perf_counter()
    with interruptible() as check, progress_bar("parsing", planned) as bar:

        def advance(outcome: Outcome) -> None:
            nonlocal done
            done += outcome.seconds is not None
            rate = f"{done / (time.perf_counter() - start):.2f} images/s" if done else "- images/s"
            said = f"failed: {outcome.error}" if outcome.status == "failed" else None
            if outcome.notice is not None:
                said = f"{outcome.source}: {outcome.notice}"
            bar.reach(bar.reached + 1, said, rate=rate)
            check()

        return work(on_outcome=advance, on_notice=bar.say)


def _report(summary: Summary, out: Path) -> None:
    """The batch in one or two lines on standard error."""
    counts = [f"{summary.count(status)} {status}" for status in ("done", "skipped", "failed")]
    left = summary.planned - len(summary.outcomes)
    if left:
        counts.append(f"{left} not started")
    line = f"{', '.join(counts)} in {summary.seconds:.1f} s"
    if summary.images_per_second:
        line += f" ({summary.images_per_second:.2f} images/s)"
    say(f"{line}; trees and summary.json in {out}" if summary.problem is None else line)
    if summary.problem:
        say(f"failed: {summary.problem}")
    if summary.interrupted:
        say("interrupted: run the same command again to do the rest")
