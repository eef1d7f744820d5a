"""A store: the trees of millions of photographs in Parquet files that other programs read.

``STORE/shard-*.parquet`` are the files to read. ``STORE/_parts/`` has small pieces of work, written
by any number of workers without a lock. :meth:`Store.compact` makes shards of them.
``STORE/_store.json`` says which settings made the trees, and the store takes no others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree._version import __version__
from regiontree.errors import StoreError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.compact import compact
from regiontree.forest.index import Index
from regiontree.forest.layout import COMPACTING, RECORD, WRITING, Naming, living_files
from regiontree.forest.parquet import TableWriter
from regiontree.forest.schema import READ_VERSIONS, SCHEMA_VERSION, require_schema
from regiontree.forest.sign import signed
from regiontree.forest.storage import Folder, folder_at

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Store", "is_store", "open_store"]

_FORMAT = "regiontree store"

Differences = Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, tuple[Any, Any]]]
"""Two records of settings to name -> (value before, value now)."""


def is_store(address: str | Path) -> bool:
    """Whether a path or URL is that of a store."""
    return folder_at(address).read(RECORD) is not None


def open_store(
    address: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    backbone: Mapping[str, Any] | None = None,
    create: bool = True,
    differences: Differences | None = None,
) -> Store:
    """The store at a path or URL.

    Parameters
    ----------
    address
        A folder, or the address of one in an object store: ``s3://bucket/trees``.
    settings
        JSON values: the record of the settings that make its trees. A new store keeps them. None: a
        store of any settings.
    backbone
        What a new store records of the network: JSON values.
    create
        Whether a store is made if there is none.
    differences
        The function that compares two records of settings. None: value by value.

    Raises
    ------
    StoreError
        There is no store and none is to be made, it has another schema version or other settings,
        or it cannot be read or made. The message says which.
    MissingExtraError
        A package of the extra ``store`` is not installed.
    """
    pyarrow()
    folder = folder_at(address)
    data = folder.read(RECORD)
    if data is None:
        if not create:
            raise StoreError(f"{address}: is no store of trees: it has no {RECORD}")
        if trees := [name for name in folder.files() if name.endswith(".npz")]:
            raise StoreError(
                f"{address}: holds trees as files ({trees[0]}); choose another folder for the "
                "store, or convert them with 'regiontree convert'"
            )
        record: dict[str, Any] = {
            "format": _FORMAT,
            "schema_version": SCHEMA_VERSION,
            "settings": None if settings is None else dict(settings),
            "software": f"regiontree {__version__}",
            "backbone": None if backbone is None else dict(backbone),
        }
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"
        if folder.create(RECORD, text.encode()):
            return Store(folder, record)
        data = folder.read(RECORD)  # another process has just made it
    record = _checked_record(folder, data or b"")
    if settings is not None and record["settings"] is not None:
        _require_settings(folder, record["settings"], settings, differences)
    return Store(folder, record)


def _checked_record(folder: Folder, data: bytes) -> dict[str, Any]:
    name = folder.named(RECORD)
    try:
        record = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{name}: damaged: it is not JSON") from error
    if not isinstance(record, dict) or record.get("format") != _FORMAT:
        raise StoreError(f"{name}: is not of a store of trees")
    version = record.get("schema_version")
    if type(version) is not int or version not in READ_VERSIONS:
        raise StoreError(
            f"{folder.address}: a store of schema version {version!r}, this program reads "
            f"{' and '.join(map(str, READ_VERSIONS))}; choose another store, or the regiontree "
            f"that made it ({record.get('software')})"
        )
    if not isinstance(record.get("settings"), dict | None):
        raise StoreError(f"{name}: damaged: its settings are no JSON object")
    return record


def _require_settings(
    folder: Folder, before: dict[str, Any], now: Mapping[str, Any], compare: Differences | None
) -> None:
    changed = (compare or _plain_differences)(before, json.loads(json.dumps(dict(now))))
    if changed:
        said = ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())
        raise StoreError(
            f"{folder.address} was made with other settings ({said}); choose another store"
        )


def _plain_differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (before.get(name), now.get(name)) for name in {**now, **before}}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


class Store:
    """A store that is open. :func:`open_store` makes one.

    Attributes
    ----------
    address : str
        Its path or URL.
    record : dict
        What ``_store.json`` says: `schema_version`, `settings`, `software`, `backbone`.
    """

    def __init__(self, folder: Folder, record: Mapping[str, Any]) -> None:
        self.folder = folder
        self.address: str = folder.address
        self.record: dict[str, Any] = dict(record)
        self._index: Index | None = None

    def __repr__(self) -> str:
        return f"Store({self.address!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.address, self.record)  # a worker's copy

    @property
    def index(self) -> Index:
        """Where each id stands. It is read when it is first asked for."""
        if self._index is None:
            self._index = Index(self.folder, living_files(self.folder))
        return self._index

    def refresh(self) -> None:
        """Look again at the files of the store when the next id is looked up."""
        self._index = None

    @property
    def problems(self) -> dict[str, str]:
        """Files of the store that cannot be read: name -> why. Their rows are missing."""
        return self.index.problems

    # -- writing ----------------------------------------------------------------------------------

    def add(self, table: pa.Table) -> str:
        """Write rows as one part, whole or not at all, and return the part's name.

        The name follows from the ids, the digests of the photographs and the settings of the store.
        So the same work written twice is one file. Any number of workers may write at once.

        Raises
        ------
        StoreError
            The table has not the columns of a store, or no rows, or cannot be written; or the
            store is of an earlier version.
        """
        self._require_version()
        require_schema(table.schema, "the table")
        if not len(table):
            raise StoreError("a part needs at least one row")
        name = Naming(self.record["settings"]).add(table).part
        with self.folder.writing(name) as file, TableWriter(file) as writer:
            writer.write(table)
        self._index = None
        return name

    def writing(self, doing: str) -> AbstractContextManager[Callable[[], None]]:
        """A context for a command that writes to the store, so that a second one is refused.

        Parameters
        ----------
        doing
            What the command does, for the message that the second one gets: ``"segment"``.

        Raises
        ------
        StoreError
            The store is of an earlier version, which is only read. Or, when the context is entered:
            another command is writing. The message says which, and since when.
        """
        self._require_version()
        return signed(self.folder, WRITING, doing)

    def compact(self, *, final: bool = False) -> list[str]:
        """Make shards of parts, and return their names.

        It may be killed at any point and run again. A reader sees every id once meanwhile.

        Parameters
        ----------
        final
            Whether no part is to be left. If not, parts that do not fill a shard stay.

        Raises
        ------
        StoreError
            Another process compacts the store, or a file cannot be written; or the store is of an
            earlier version.
        """
        self._require_version()
        with signed(self.folder, COMPACTING, "compacting") as check:
            try:
                return compact(self.folder, self.record["settings"], final=final, check=check)
            finally:
                self._index = None

    def _require_version(self) -> None:
        version = self.record["schema_version"]
        if version != SCHEMA_VERSION:
            raise StoreError(
                f"{self.address}: a store of schema version {version}, which this program reads "
                f"but does not write to; choose another store, or the regiontree that made it "
                f"({self.record.get('software')})"
            )

    # -- looking up -------------------------------------------------------------------------------

    def known(self, ids: Sequence[str] | Any, *, errors: bool = False) -> NDArray[np.bool_]:
        """Which ids have a tree in the store, (n,) bool.

        Parameters
        ----------
        ids
            Ids as a list, or as an array of Arrow.
        errors
            Whether an id that stands in the store with an error counts, too.
        """
        found = self.index.find(ids)
        return found.file >= 0 if errors else found.has_tree


def _reopened(address: str, record: dict[str, Any]) -> Store:
    return Store(folder_at(address), record)
