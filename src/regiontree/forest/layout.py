"""The files of a store: their names, and which of them hold its rows at this moment.

A compaction writes shards and then removes the files whose rows they hold. It keeps a journal of
both. A reader leaves out new shards until the journal says that all of them are complete, and from
then on the files that they replace. So a reader sees each row once, also after the compaction was
killed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from regiontree.errors import StoreError
from regiontree.forest.storage import Folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "COMPACTING",
    "DAMAGED",
    "PARTS",
    "RECORD",
    "WRITING",
    "Journal",
    "Naming",
    "living_files",
    "read_journal",
    "remove_journal",
    "write_journal",
]

RECORD = "_store.json"
"""File that makes a folder a store, and says how its trees were made."""
PARTS = "_parts"
"""Folder of the pieces that no shard holds yet."""
DAMAGED = "_damaged"
"""Folder of files that a compaction could not read."""
WRITING = "_writing.json"
"""Sign of the command that writes to a store."""
COMPACTING = "_compacting.json"
"""Sign of the process that makes shards of parts."""
_JOURNAL = "_journal.json"
_SUFFIX = ".parquet"
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Journal:
    """One step of a compaction.

    Attributes
    ----------
    new, replaced : list of str
        The shards that it makes, and the files whose rows they hold.
    is_done : bool
        Whether all new shards are complete.
    """

    new: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    is_done: bool = False


class Naming:
    """The name of a part or shard, from the rows that it holds and the settings of their trees.

    Equal rows in equal order give equal names, whoever writes them.
    """

    def __init__(self, settings: Mapping[str, Any] | None) -> None:
        self._digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        self.rows = 0

    def add(self, rows: pa.Table) -> Naming:
        """Add rows. They are known by id, digest of the photograph, and whether they have a tree.

        Returns itself.
        """
        failed = rows.column("error").is_valid().to_pylist()
        columns = (rows.column(name).to_pylist() for name in ("id", "sha256"))
        for row in zip(*columns, failed, strict=True):
            self._digest.update(json.dumps(row).encode())
        self.rows += len(rows)
        return self

    @property
    def part(self) -> str:
        """The name of a part."""
        return f"{PARTS}/part-{self._digest.hexdigest()[:16]}{_SUFFIX}"

    @property
    def shard(self) -> str:
        """The name of a shard."""
        return f"shard-{self._digest.hexdigest()[:16]}{_SUFFIX}"


def living_files(folder: Folder) -> dict[str, int]:
    """The files that hold the rows of a store, with their sizes.

    Raises
    ------
    StoreError
        The store cannot be listed.
    """
    for _ in range(_TRIES):
        before = read_journal(folder)
        # A compaction moves rows from parts to shards. So parts are listed first: between the two
        # a row may be seen twice, which the index notices, but never not at all.
        files = {**_tables(folder, PARTS), **_tables(folder, "")}
        if read_journal(folder) == before:
            for name in before.replaced if before.is_done else before.new:
                files.pop(name, None)
            return files
    raise StoreError(f"{folder.address}: cannot be listed, since it changes all the time")


def _tables(folder: Folder, below: str) -> dict[str, int]:
    return {name: size for name, size in folder.files(below).items() if name.endswith(_SUFFIX)}


def read_journal(folder: Folder) -> Journal:
    """The journal of the compaction that is under way or was killed; an empty one if none is."""
    data = folder.read(_JOURNAL)
    if data is None:
        return Journal()
    try:
        journal = Journal(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise StoreError(f"{folder.named(_JOURNAL)}: damaged") from error
    if not (_are_names(journal.new) and _are_names(journal.replaced)):
        raise StoreError(f"{folder.named(_JOURNAL)}: damaged")
    return journal


def _are_names(names: Sequence[Any]) -> bool:
    """Whether all are names of a store's tables; so no journal removes another file."""
    return isinstance(names, list) and all(
        isinstance(name, str)
        and name.endswith(_SUFFIX)
        and "/" not in name.removeprefix(f"{PARTS}/")
        and "\\" not in name
        for name in names
    )


def write_journal(folder: Folder, journal: Journal) -> None:
    """Write the journal of a step."""
    folder.write(_JOURNAL, json.dumps(asdict(journal)).encode())


def remove_journal(folder: Folder) -> None:
    """Remove the journal, after the files that were replaced."""
    folder.remove(_JOURNAL)
