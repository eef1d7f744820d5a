"""The command ``export`` for a collection, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from regiontree.collection.collection import Collection
from regiontree.collection.exported import Exported
from regiontree.collection.exporting import FORMATS, export_collection
from regiontree.errors import ExportError
from regiontree.export import with_assignments
from regiontree.forest.sources import require_images
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.stages import keys_of
from regiontree.system.terminal import say

__all__ = ["run"]

_MANY = 100  # most failures on the terminal


def run(
    folder: str,
    to: str,
    out: Path | None,
    flags: Mapping[str, Any],
    *,
    images: Sequence[str | Path] = (),
    assignments: Sequence[str] = (),
    overwrite: bool = False,
    as_json: bool = False,
) -> int:
    """Write a collection with its names behind a progress bar; the exit code.

    Parameters
    ----------
    folder
        Folder of the collection.
    to
        One of :data:`regiontree.collection.exporting.FORMATS`.
    out
        The file or folder to write.
    flags
        Options of the format by their names; None is not set.
    images
        Where photographs may lie.
    assignments
        ``--option``: options of the format, each as ``name=value``.
    overwrite
        Whether to replace an earlier data set of the format.
    as_json
        Whether a summary is printed to standard output as JSON.

    Returns
    -------
    int
        0 all photographs are in it, 1 some were left out, 130 interrupted.

    Raises
    ------
    RegionTreeError
        Nothing can be written.
    """
    if out is None:
        raise ExportError(
            f"{folder}: nothing else is written into a collection; name an output with -o"
        )
    options = {name: value for name, value in flags.items() if value is not None}
    keys = keys_of(FORMATS[to].options) if to in FORMATS else {}
    options = with_assignments(options, assignments, keys)
    require_images(images)
    collection = Collection.load(folder)
    done: Exported | None = None
    failed = 0
    with interruptible() as check, progress_bar(to, len(collection)) as bar:

        def advance(photo: str, said: str | None) -> None:
            nonlocal failed
            failed += said is not None
            shown = None if said is None or failed > _MANY else f"left out: {said}"
            bar.reach(bar.reached + 1, shown)
            check()

        with suppress(KeyboardInterrupt):
            done = export_collection(
                collection, to, out, images=images, overwrite=overwrite, advance=advance, **options
            )
    if done is None:
        say("interrupted: nothing was written")
        return 130
    if failed > _MANY:
        say(f"{failed - _MANY:,} more were left out; --json lists all")
    say(
        f"{done.photographs:,} photographs, {len(done.classes):,} classes, {failed:,} left out; "
        f"wrote {out}"
    )
    if as_json:
        about = {"photographs": done.photographs, "failed": done.failed, "classes": done.classes}
        print(json.dumps({"format": to, "out": str(out), **about}, indent=1))
    return 1 if failed else 0
