"""Shards made of parts: step by step, in bounded memory, safe to be killed at any point.

A step takes parts until they fill a shard. Rows with a tree go to one shard. Rows without one go to
a shard of their own, so that a later success replaces a small file. A row whose id has a better row
elsewhere is left out: see :meth:`regiontree.forest.index.Index.find`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.forest.index import Index, StoredFile
from regiontree.forest.layout import (
    DAMAGED,
    PARTS,
    Journal,
    Naming,
    living_files,
    read_journal,
    remove_journal,
    write_journal,
)
from regiontree.forest.parquet import DamagedError, TableFile, TableWriter
from regiontree.forest.storage import Folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SHARD_BYTES", "compact"]

SHARD_BYTES = 256 << 20
"""Size of a shard: a step takes parts until they have so many bytes."""

_KINDS = ("trees", "failures")

Bools = NDArray[np.bool_]


def compact(
    folder: Folder,
    settings: Mapping[str, Any] | None,
    *,
    final: bool,
    shard_bytes: int = SHARD_BYTES,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Make shards of the parts of a store, and return their names.

    Parameters
    ----------
    folder, settings
        The store's folder, and the settings that its record names.
    final
        Whether no part is to be left, and small shards are put together.
    shard_bytes
        As :data:`SHARD_BYTES`.
    check
        Called before what others see is changed. It may raise an exception, which ends the work.
    """
    finish(folder)
    index = Index(folder, living_files(folder))
    for name in index.problems:
        if name.startswith(f"{PARTS}/"):
            _put_aside(folder, name)
    index.keep()
    made: list[str] = []
    while True:
        index = Index(folder, living_files(folder))
        inputs = _chosen(index, final, shard_bytes)
        if not inputs:
            index.keep()
            return [name for name in made if any(file.name == name for file in index.files)]
        made += _step(folder, index, inputs, settings, check)


def finish(folder: Folder) -> None:
    """Finish a step that was killed, or undo what it had begun."""
    journal = read_journal(folder)
    for name in journal.replaced if journal.is_done else journal.new:
        folder.remove(name)
    remove_journal(folder)


def _chosen(index: Index, final: bool, shard_bytes: int) -> list[StoredFile]:
    """The files of the next step; none if nothing is to be done."""
    is_part = {file.name: file.name.startswith(f"{PARTS}/") for file in index.files}
    failures = [file for file in index.files if file.failed == file.rows and not is_part[file.name]]
    chosen: list[StoredFile] = []
    size = 0
    for file in index.files:
        is_small = final and file.bytes < shard_bytes // 2 and file not in failures
        if is_part[file.name] or is_small:
            chosen.append(file)
            size += file.bytes
        if size >= shard_bytes:
            return chosen + failures
    if final and (any(is_part[file.name] for file in chosen) or len(chosen) > 1):
        return chosen + failures
    return failures if final and len(failures) > 1 else []


@dataclass(frozen=True, slots=True)
class _Input:
    """A file of a step: which of its rows go to the shard of each kind."""

    name: str
    kept: dict[str, Bools]


def _step(
    folder: Folder,
    index: Index,
    chosen: list[StoredFile],
    settings: Mapping[str, Any] | None,
    check: Callable[[], None],
) -> list[str]:
    """Make the shards of one step, and return their names."""
    namings = {kind: Naming(settings) for kind in _KINDS}
    number = {file.name: i for i, file in enumerate(index.files)}
    inputs = []
    try:
        for stored in chosen:
            rows = _read(folder, stored.name, ["id", "sha256", "error"])
            best = index.find(rows.column("id"))
            is_best = (best.file == number[stored.name]) & (best.row == np.arange(len(rows)))
            failed = rows.column("error").is_valid().to_numpy()
            kept = {"trees": is_best & ~failed, "failures": is_best & failed}
            inputs.append(_Input(stored.name, kept))
            for kind in _KINDS:
                namings[kind].add(rows.filter(kept[kind]))
        names = {kind: naming.shard for kind, naming in namings.items() if naming.rows}
        new = {kind: name for kind, name in names.items() if name not in number}
        replaced = [file.name for file in chosen if file.name not in names.values()]
        check()
        write_journal(folder, Journal(list(new.values()), replaced))
        for kind, name in new.items():
            with folder.writing(name) as file, TableWriter(file) as writer:
                for one in inputs:
                    for table in _kept_rows(folder, one, kind):
                        writer.write(table)
    except _UnreadableError as error:
        finish(folder)
        if not _put_aside(folder, error.file):
            raise
        return []
    check()
    done = Journal(list(new.values()), replaced, is_done=True)
    write_journal(folder, done)
    for name in replaced:
        folder.remove(name)
    if read_journal(folder) == done:
        remove_journal(folder)
    return done.new


class _UnreadableError(StoreError):
    """A file of a step has damaged rows."""

    def __init__(self, file: str, error: StoreError) -> None:
        super().__init__(str(error))
        self.file = file


def _put_aside(folder: Folder, name: str) -> bool:
    """Move a file away if it is damaged, as a second look says. Whether it is."""
    try:
        with closing(TableFile(folder, name)) as file:
            for _ in file.groups():
                pass
    except DamagedError:
        folder.move(name, f"{DAMAGED}/{name.rpartition('/')[2]}")
        return True
    except StoreError:  # it belongs to another program, for example
        return False
    return False


def _read(folder: Folder, name: str, columns: list[str]) -> pa.Table:
    """Some columns of a file of a step."""
    try:
        with closing(TableFile(folder, name)) as file:
            return file.columns(columns)
    except StoreError as error:
        raise _UnreadableError(name, error) from error


def _kept_rows(folder: Folder, one: _Input, kind: str) -> Iterator[pa.Table]:
    """The rows of a file that go to the shard of a kind, a group at a time."""
    mask = one.kept[kind]
    if not mask.any():
        return
    try:
        with closing(TableFile(folder, one.name)) as file:
            for start, table in file.groups():
                yield table.filter(mask[start : start + len(table)])
    except StoreError as error:
        raise _UnreadableError(one.name, error) from error
