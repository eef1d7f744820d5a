"""What ``regiontree discover`` shows on the terminal, and its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from regiontree.collection.collection import Collection
from regiontree.collection.discovery import Discovery, discover
from regiontree.collection.files import CollectionFiles
from regiontree.collection.settings import CollectionSettings
from regiontree.engines import command as engine
from regiontree.engines.pieces import WorkPlan
from regiontree.errors import SettingsError, nearest_name
from regiontree.forest.store import is_store
from regiontree.parser import RegionParser
from regiontree.references.addresses import scheme_of
from regiontree.system.paths import files_below, suffix_of
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.stages import build_record, keys_of, value_of_text
from regiontree.system.terminal import one_line, say

__all__ = ["run", "settings_from"]

_SHOWN = 100  # categories that the table of names begins with
_TREES = "trees"


def run(
    source: str,
    out: str,
    changes: Sequence[str],
    *,
    add: bool,
    as_json: bool,
    parser: Callable[[], RegionParser],
    plan: WorkPlan | None = None,
) -> int:
    """Make, continue or extend a collection behind a progress bar; the exit code.

    Parameters
    ----------
    source
        A store, a folder of trees, or a folder of photographs. Trees of photographs are made first,
        in the folder ``trees`` of the collection.
    out
        Folder of the collection.
    changes
        Settings as texts ``key=value``. None: those of the collection that stands there.
    add
        Whether photographs join a finished collection.
    as_json
        Whether a summary is printed to standard output as JSON.
    parser
        Makes the parser of photographs, if they are needed.
    plan
        Who does the work. None: this machine.

    Returns
    -------
    int
        0 all trees are in the collection, 1 some could not be used, 2 none could, 130 interrupted.

    Raises
    ------
    RegionTreeError
        Nothing can be done.
    """
    settings = settings_from(changes) if changes else None
    plan = plan or WorkPlan()
    code = 0
    if _holds_photographs(source):
        if plan.engine != "local":
            raise SettingsError(
                f"{source}: holds photographs, and --engine {plan.engine} is for trees; make trees "
                f"first, with regiontree segment --engine {plan.engine} --format store"
            )
        trees = Path(out) / _TREES
        code = engine.run(
            parser(), [source], trees, overwrite=False, pictures=False, as_json=False,
            workers=plan.workers,
        )  # fmt: skip
        if code not in (0, engine.EXIT_FAILED):
            return code
        source = str(trees)
    found: Discovery | None = None
    with interruptible() as check, progress_bar("discover", None) as bar:

        def advance(stage: str, done: int, said: str | None) -> None:
            bar.reach(done, None if said is None else one_line(f"left out: {said}"), rate=stage)
            check()

        with suppress(KeyboardInterrupt):
            shown = replace(plan, notice=bar.say)
            found = discover(source, out, settings, add=add, plan=shown, advance=advance)
    if found is None:
        say("interrupted: run the same command again to do the rest")
        return engine.EXIT_INTERRUPTED
    _offer_names(out)
    counts = {
        "photograph": found.photographs, "region": found.regions, "prototype": found.prototypes,
    }  # fmt: skip
    parts = [f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in counts.items()]
    say(f"{', '.join(parts)}; wrote {out}; look at it with regiontree view {out}")
    if found.waiting:
        say(
            "1 tree is not in the collection; add it with --add"
            if found.waiting == 1
            else f"{found.waiting:,} trees are not in the collection; add them with --add"
        )
    if as_json:
        print(json.dumps({**asdict(found), "out": str(out)}, indent=1))
    return engine.EXIT_FAILED if found.failed or code else 0


def settings_from(changes: Sequence[str]) -> CollectionSettings:
    """The settings with changes ``key=value``.

    Raises
    ------
    SettingsError
        A change has another form, names no setting, or gives a wrong value.
    """
    keys = keys_of(CollectionSettings())
    values: dict[str, Any] = {}
    for change in changes:
        name, equals, text = change.partition("=")
        if not equals:
            raise SettingsError(f"--set must be KEY=VALUE, got {change!r}")
        if name not in keys:
            raise SettingsError(
                f"a collection has no setting {name!r}{nearest_name(name, keys)}; it has "
                f"{', '.join(keys)}"
            )
        values[name] = value_of_text(keys[name], text)
    return build_record(CollectionSettings, "collection", values)


def _holds_photographs(source: str) -> bool:
    """Whether a source is a folder without trees, so that it should hold photographs."""
    if scheme_of(source) or is_store(source) or not Path(source).is_dir():
        return False
    return not any(suffix_of(file) == ".npz" for file in files_below(Path(source))[0])


def _offer_names(out: str) -> None:
    """Write the table of names of the coarsest categories, unless there is one."""
    files = CollectionFiles(out)
    if not files.names.exists():
        collection = Collection.load(out)
        shown = set(collection.tree.cut_nodes(n_regions=_SHOWN).tolist())
        above = {up for node in shown for up in collection.tree.ancestors(node)}
        collection.names.save(files.names, shown | above)
