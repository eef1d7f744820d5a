"""The command ``name``: suggestions for the names of a collection's categories."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from regiontree.backbones.base import pick_device
from regiontree.backbones.textimage import TextImageModel
from regiontree.collection.collection import Collection
from regiontree.collection.suggestions import Suggested, read_labels, suggest
from regiontree.collection.suggestiontable import SUGGESTIONS, write_suggestions
from regiontree.forest.sources import require_images
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.terminal import say

__all__ = ["run"]


def run(
    folder: str,
    labels: Path,
    backbone: Path,
    *,
    n_categories: int,
    crops: int,
    prompt: str,
    images: Sequence[str | Path],
    device: str,
    as_json: bool,
) -> int:
    """Write suggestions behind a progress bar; the exit code.

    The arguments are those of :func:`regiontree.collection.suggestions.suggest`.

    Returns
    -------
    int
        0 done, 1 some photographs could not be read, 130 interrupted.

    Raises
    ------
    RegionTreeError
        Nothing can be suggested.
    """
    require_images(images)
    known, collection = read_labels(labels), Collection.load(folder)
    model = TextImageModel(backbone, pick_device(device))
    found: Suggested | None = None
    with interruptible() as check, progress_bar("name", None) as bar:

        def advance(photo: str, said: str | None) -> None:
            bar.reach(bar.reached + 1, None if said is None else f"left out: {said}")
            check()

        with suppress(KeyboardInterrupt):
            found = suggest(
                collection, known, model, n_categories=n_categories, crops=crops, prompt=prompt,
                images=images, advance=advance,
            )  # fmt: skip
    if found is None:
        say("interrupted: nothing was written")
        return 130
    path = collection.folder / SUGGESTIONS
    write_suggestions(found.suggestions, path)
    say(f"{len(found.suggestions):,} suggestions, {len(found.failed):,} left out; wrote {path}")
    if as_json:
        print(json.dumps({**asdict(found), "out": str(path)}, indent=1))
    return 1 if found.failed else 0
