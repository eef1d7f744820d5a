"""The command ``convert``: a folder of tree files to a store, or a store to a folder of tree files.

Every tree stays the same, and so does every other column of a row: a folder that comes from a store
keeps them in :data:`~regiontree.forest.treefolder.ROWS`. What stands in the output already is not
converted again, so an interrupted command goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError, TreeError, TreeFileError
from regiontree.forest.forest import Forest
from regiontree.forest.layout import WRITING
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.sign import signed
from regiontree.forest.sources import TREE_SUFFIX
from regiontree.forest.storage import LocalFolder
from regiontree.forest.store import is_store, open_store
from regiontree.forest.treefolder import ROWS, recorded_rows
from regiontree.references.addresses import clean, local_path, scheme_of
from regiontree.system.paths import MAX_NAME_BYTES, reason, require_writable
from regiontree.system.progress import progress_bar
from regiontree.system.signals import interruptible
from regiontree.system.terminal import one_line, say
from regiontree.tree import RegionTree
from regiontree.tree.file import ARRAYS, write_tree_file

__all__ = ["Conversion", "convert", "run", "tree_name"]

_PART_BYTES = 32 << 20  # of a table in memory that becomes one part
_ROW_BYTES = 4096  # of the short columns and lists, about
_PARTS_AT_ONCE = 32  # parts between two compactions
_LONGEST_LINE = 1 << 20
_HASHED = "ids"  # folder of trees whose ids are no file names
_UNFIT = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]|(^|/)(\.|/|$)|[ .](/|$)')


@dataclass(slots=True)
class Conversion:
    """What a conversion did.

    Attributes
    ----------
    done, skipped : int
        Rows that were converted, and rows that stood in the output already.
    failed : dict of str to str
        Ids of the rows that are damaged or could not be written, and why.
    problems : dict of str to str
        Files of the input that cannot be read, and why.
    """

    done: int = 0
    skipped: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


Bools = NDArray[np.bool_]
Advance = Callable[[str | None], None]
"""Called after each row, with what is wrong with it, if anything."""


def convert(
    source: str | Path, out: str | Path, advance: Advance = lambda said: None
) -> Conversion:
    """Convert a folder of trees to a store, or a store to a folder of trees.

    Parameters
    ----------
    source
        A store or a folder of ``.npz`` trees.
    out
        What to make: a folder, or for a store also the address of one. It may hold a part already.
    advance
        Called after each row. It may raise an exception, which ends the conversion.

    Raises
    ------
    StoreError
        The input is neither, the output is of the wrong kind or holds other rows, or cannot be
        written.
    """
    result = Conversion()
    _convert(Forest(source), out, result, advance)
    return result


def _convert(forest: Forest, out: str | Path, result: Conversion, advance: Advance) -> None:
    if is_store(forest.address):
        _to_folder(forest, Path(_folder_for_trees(out)), result, advance)
    else:
        _to_store(forest, out, result, advance)
    result.problems = dict(forest.problems)


def run(source: str, out: str, *, as_json: bool = False) -> int:
    """Convert with a progress bar, and return the exit code.

    Returns
    -------
    int
        0 all done, 1 some rows failed, 2 none could be converted, 130 interrupted.
    """
    forest = Forest(source)
    planned, interrupted = forest.n_rows, False
    result = Conversion()
    with interruptible() as check, progress_bar("convert", planned, show=planned > 1) as bar:

        def advance(said: str | None) -> None:
            bar.reach(bar.reached + 1, None if said is None else one_line(f"failed: {said}"))
            check()

        try:
            _convert(forest, out, result, advance)
        except KeyboardInterrupt:
            interrupted = True
    for name, problem in result.problems.items():
        say(one_line(f"left out: {name}: {problem}"))
    counts = {"done": result.done, "skipped": result.skipped, "failed": len(result.failed)}
    if interrupted:
        say("interrupted: run the same command again to do the rest")
    else:
        say(f"{', '.join(f'{count:,} {what}' for what, count in counts.items())}; wrote {out}")
    if as_json:
        report = {"planned": planned, "interrupted": interrupted, **asdict(result)}
        print(json.dumps({**report, "out": str(out)}, indent=1))
    if interrupted:
        return 130
    if not result.done and not result.skipped:
        return 2
    return 1 if result.failed or result.problems else 0


# -- to a store -----------------------------------------------------------------------------------


def _to_store(forest: Forest, out: str | Path, result: Conversion, advance: Advance) -> None:
    store = open_store(out, _common_settings(forest))
    before = store.index

    def wanted(ids: list[str], failed: Bools) -> Bools:
        found = before.find(ids)
        known = found.has_tree | (found.failed & failed)
        for _ in range(int(known.sum())):
            result.skipped += 1
            advance(None)
        return ~known

    with store.writing("convert"):
        waiting: list[Row] = []
        size = parts = 0
        for row, is_damaged in forest.rows_and_damage(wanted):
            if is_damaged:
                result.failed[row.id] = str(row.error)
                advance(row.error)
                continue
            waiting.append(row)
            size += _ROW_BYTES + (0 if row.tree is None else _bytes_of(row.tree))
            if size >= _PART_BYTES:
                store.add(table_of(waiting))
                waiting, size, parts = [], 0, parts + 1
                if parts % _PARTS_AT_ONCE == 0:
                    store.compact()
            result.done += 1
            advance(None)
        if waiting:
            store.add(table_of(waiting))
        store.compact(final=True)


def _bytes_of(tree: RegionTree) -> int:
    halves = [one for one in (tree.embedding, tree.descriptor) if one is not None]
    return tree.labels.nbytes // 16 + sum(2 * one.nbytes for one in halves)


def _common_settings(forest: Forest) -> dict[str, Any] | None:
    """The settings of all trees of a forest; None if they differ or there are none."""
    found: set[str | None] = set()
    for record in forest.records(["settings", "error"]):
        if record["error"] is None:
            found.add(record["settings"])
        if len(found) > 1:
            return None
    text = found.pop() if found else None
    return None if text is None else dict(json.loads(text))


# -- to a folder ----------------------------------------------------------------------------------


def _folder_for_trees(out: str | Path) -> str:
    if scheme_of(clean(out)):
        raise StoreError(f"{out}: trees are written to a folder of this machine; give a path")
    if is_store(out):
        raise StoreError(f"{out}: is a store, and so is the input; choose another output folder")
    return local_path(clean(out))


def tree_name(key: str) -> str:
    """The file of an id's tree below its folder.

    An id that is no path of this folder on every system gets a name by its digest.

    >>> tree_name("holiday/dog.jpg"), tree_name("../dog.jpg")
    ('holiday/dog.jpg.npz', 'ids/85b8aedf42d180c5bc7022591b8f94a5.npz')
    """
    parts = key.split("/")
    fits = all(len(os.fsencode(part + TREE_SUFFIX)) <= MAX_NAME_BYTES for part in parts)
    if key and fits and len(key) <= 1000 and parts[0] != _HASHED and not _UNFIT.search(key):
        return key + TREE_SUFFIX
    return hashed_name(key)


def hashed_name(key: str) -> str:
    """The file of a tree whose id is no file name."""
    return f"{_HASHED}/{hashlib.sha256(key.encode()).hexdigest()[:32]}{TREE_SUFFIX}"


def _to_folder(forest: Forest, out: Path, result: Conversion, advance: Advance) -> None:
    require_writable(out, StoreError)
    out.mkdir(parents=True, exist_ok=True)
    with signed(LocalFolder(out), WRITING, "convert"), _lines(out) as lines:
        known = recorded_rows(out)
        owners = {row["file"]: key for key, row in known.items() if row["file"] is not None}

        def wanted(ids: list[str], failed: Bools) -> Bools:
            mask = np.array([not _is_there(out, known.get(key)) for key in ids], bool)
            for _ in range(int((~mask).sum())):
                result.skipped += 1
                advance(None)
            return mask

        for row, is_damaged in forest.rows_and_damage(wanted):
            said = row.error if is_damaged else None
            try:
                if said is None:
                    file = None if row.tree is None else _written(row.id, row.tree, out, owners)
                    fields = ("id", "reference", "error", "notice", "sha256")
                    line = {name: getattr(row, name) for name in fields} | {"file": file}
                    is_new = line != known.get(row.id)
                    if is_new:
                        lines.write(json.dumps(line).encode() + b"\n")
                        lines.flush()
                    result.done += is_new
                    result.skipped += not is_new
            except (OSError, TreeError) as error:
                said = str(error)
            if said is not None:
                result.failed[row.id] = said
            advance(said)


def _is_there(out: Path, row: dict[str, Any] | None) -> bool:
    """Whether the tree of a row has been written."""
    return row is not None and row["file"] is not None and os.path.isfile(out / row["file"])


@contextmanager
def _lines(out: Path) -> Iterator[IO[bytes]]:
    """The file of rows, to add lines to; a last line that is cut short is removed."""
    try:
        with (out / ROWS).open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - _LONGEST_LINE)
            file.seek(start)
            tail = file.read()
            file.truncate(start + tail.rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            yield file
    except OSError as error:
        raise StoreError(f"{out / ROWS}: cannot be written ({reason(error)})") from error


def _written(key: str, tree: RegionTree, out: Path, owners: dict[str, str]) -> str:
    """Write the tree of an id, and return its file below the folder.

    Raises
    ------
    TreeFileError
        A file that is no such tree has its name.
    """
    name = tree_name(key)
    if _taken(out / name) or owners.get(name, key) != key:
        name = hashed_name(key)
    path = out / name
    arrays = {array: getattr(tree, array) for array in ARRAYS}
    try:
        write_tree_file(path, arrays, tree.meta, replace=False)
    except FileExistsError:
        if RegionTree.load(path) != tree:
            raise TreeFileError(
                f"{path}: exists and is another tree; choose another folder"
            ) from None
    owners[name] = key
    return name


def _taken(path: Path) -> bool:
    """Whether a folder has the name of a file, or a file that of one of its folders."""
    return os.path.isdir(path) or any(os.path.isfile(folder) for folder in path.parents)
