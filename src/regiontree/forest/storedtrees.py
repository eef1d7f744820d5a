"""The trees in the rows of a store, as commands see them: each a saved tree.

A :class:`StoredTree` knows its place in the store, and reads its row when it is asked for. A reader
of Parquet decodes a group of rows for one of them, and the last groups are kept. So rows that are
asked for in their order are read once, and few are in memory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from regiontree.errors import StoreError, TreeFileError
from regiontree.forest.layout import RECORD
from regiontree.forest.origin import recorded_name
from regiontree.forest.parquet import GoneError
from regiontree.forest.photographs import places_of
from regiontree.references.reference import Reference
from regiontree.system.paths import cut_name, is_url
from regiontree.tree import RegionTree

if TYPE_CHECKING:
    import pyarrow as pa

    from regiontree.forest.stored import StoredRows

__all__ = ["StoredTree", "StoredTrees", "key_of_id", "store_of"]

_SEPARATOR = "::"  # between a store and the id of a row
_SHORT = ("id", "reference", "error")
_SOME = 3  # errors that a sentence names
_MARK = 12  # hexadecimal digits that keep the names of files apart
_LONGEST = 200  # bytes of a part of a path, so that a suffix fits behind


@dataclass(frozen=True, slots=True)
class StoredTree:
    """The tree in a row of a store.

    Attributes
    ----------
    trees : StoredTrees
        The trees of the store.
    place : tuple of (str, int)
        Name of a file of the store, and number of the row in it.
    id, reference : str
        As in :class:`~regiontree.forest.row.Row`.
    error : str or None
        Why the row has no tree.
    """

    trees: StoredTrees
    place: tuple[str, int]
    id: str
    reference: str
    error: str | None = None

    def __str__(self) -> str:
        return f"{self.trees.address}{_SEPARATOR}{self.id}"

    @property
    def key(self) -> str:
        """The id as a path of a file: see :func:`key_of_id`."""
        return key_of_id(self.id)

    @property
    def name(self) -> str:
        """The last part of the id."""
        return self.id.rstrip("/").rpartition("/")[2] or self.id

    @property
    def path(self) -> Path | None:
        """None: a file of a store holds many trees."""
        return None

    def load(self) -> RegionTree:
        """The tree of the row.

        Raises
        ------
        TreeFileError
            The row has no tree, or what is stored is damaged.
        """
        from regiontree.forest.schema import row_of

        self._require_tree()
        try:
            table, i = self.trees.group_of(self)
            row = row_of(table, i)
        except StoreError as error:
            raise TreeFileError(f"{self}: {error}") from error
        if row.tree is None:
            raise TreeFileError(f"{self}: has no tree: {row.error}")
        return row.tree

    def load_structure(self) -> RegionTree:
        """The tree without its pixels: see :meth:`RegionTree.load_structure`.

        Raises
        ------
        TreeFileError
            As :meth:`load`. Damage to the pixels goes unnoticed.
        """
        from regiontree.forest.schema import STRUCTURE, structure_of

        self._require_tree()
        try:
            table, i = self.trees.group_of(self, STRUCTURE)
            return structure_of(table, i)
        except StoreError as error:
            raise TreeFileError(f"{self}: {error}") from error

    def _require_tree(self) -> None:
        if self.error is not None:
            raise TreeFileError(f"{self}: has no tree: {self.error}")

    def data(self) -> bytes:
        """The bytes that :meth:`RegionTree.save` writes for the tree."""
        tree = self.load()
        with tempfile.TemporaryDirectory(prefix="regiontree-") as folder:
            return tree.save(Path(folder, "tree.npz")).read_bytes()

    def digest(self) -> str:
        """The sha256 of what the row's columns hold."""
        table, i = self.trees.group_of(self)
        state = hashlib.sha256()
        for name in table.column_names:
            held = _bytes_of(table.column(name)[i])
            state.update(f"{name} {len(held)} ".encode())
            state.update(held)
        return state.hexdigest()

    def stamp(self) -> Hashable | None:
        """The id: a row with a tree is not changed."""
        return self.id

    def without_folders(self, text: str) -> str:
        """The text without the folders of the store and of the photograph."""
        text = text.replace(str(self), self.name)
        text = text.replace(self.reference, self.name) if self.reference else text
        return text.replace(f"{self.trees.address}/", "").replace(
            self.trees.address, self.trees.name
        )

    def places(self, meta: Mapping[str, Any]) -> Iterator[Path | Reference]:
        """Where the row's reference leads: see :func:`places_of`."""
        name = Path(recorded_name(meta)).name
        return places_of(self.id, self.reference, name, self.trees.address)

    def below(self, meta: Mapping[str, Any]) -> str:
        """The id without the steps upwards."""
        return "/".join(part for part in self.id.split("/") if part not in ("", ".", ".."))


def _bytes_of(scalar: Any) -> bytes:
    """What an entry of a column holds: bytes, a text, a number or a list of numbers."""
    values = getattr(scalar, "values", None)
    if values is None:  # no list, or none in this row
        held = scalar.as_py()
        return held if isinstance(held, bytes) else repr(held).encode("utf-8", "surrogatepass")
    buffer, width = values.buffers()[1], values.type.bit_width // 8
    if buffer is None:
        return b""
    numbers: bytes = buffer.slice(values.offset * width, len(values) * width).to_pybytes()
    return numbers


class StoredTrees(Sequence[StoredTree]):
    """The trees of a store, in the order of its files, or the tree of one row.

    Parameters
    ----------
    rows
        The store, open.
    id
        The id of the one row. None: all rows.

    Raises
    ------
    StoreError
        There is no row of that id.
    """

    def __init__(self, rows: StoredRows, id: str | None = None) -> None:
        self._rows = rows
        self.address = rows.address
        self.is_one_row = id is not None
        self._one = None if id is None else self._found(id)
        if self._one is None:
            self._look()

    def _look(self) -> None:
        """Look at which files the store has, and which of their rows are shown."""
        rows = self._rows
        self._names = [file.name for file in rows.store.index.files]
        self._shown = [rows.shown(file) for file in range(len(self._names))]
        self._stops = list(accumulate(int(mask.sum()) for mask in self._shown))

    def __str__(self) -> str:
        return self.address if self._one is None else str(self._one)

    @property
    def name(self) -> str:
        """The last part of the store's address."""
        return self.address.rstrip("/\\").replace("\\", "/").rpartition("/")[2] or "store"

    @property
    def problems(self) -> dict[str, str]:
        """Files of the store that cannot be read, and why. Their rows are missing."""
        return {} if self.is_one_row else dict(self._rows.problems)

    def __len__(self) -> int:
        if self._one is not None:
            return 1
        return self._stops[-1] if self._stops else 0

    def __iter__(self) -> Iterator[StoredTree]:
        """The rows, a group of them at a time."""
        if self._one is not None:
            yield self._one
            return
        yield from self._in_files(range(len(self._names)))

    def _in_files(self, files: Iterable[int]) -> Iterator[StoredTree]:
        """The rows of some files."""
        for file in files:
            name, mask, start = self._names[file], self._shown[file], 0
            while start < len(mask):
                start, stop = self._rows.bounds(name, start)
                yield from self._of_group(name, start, np.flatnonzero(mask[start:stop]).tolist())
                start = stop

    @overload
    def __getitem__(self, i: int) -> StoredTree: ...
    @overload
    def __getitem__(self, i: slice) -> list[StoredTree]: ...
    def __getitem__(self, i: int | slice) -> StoredTree | list[StoredTree]:
        if isinstance(i, slice):
            return [self[place] for place in range(*i.indices(len(self)))]
        place = range(len(self))[i]  # an IndexError beyond the end
        if self._one is not None:
            return self._one
        try:
            return self._numbered(place)
        except GoneError:  # another process has put the rows into other files
            self._rows.store.refresh()
            self._look()
            return self._numbered(place)

    def _numbered(self, place: int) -> StoredTree:
        file = int(np.searchsorted(self._stops, place, side="right"))
        mask = self._shown[file]
        before = self._stops[file - 1] if file else 0
        number, is_whole = place - before, self._stops[file] - before == len(mask)
        row = number if is_whole else int(np.flatnonzero(mask)[number])
        return self._at(self._names[file], row)

    def _at(self, name: str, row: int) -> StoredTree:
        """The tree in a row of a file."""
        start, _ = self._rows.bounds(name, row)
        return next(self._of_group(name, start, [row - start]))

    def _of_group(self, name: str, start: int, rows: Sequence[int]) -> Iterator[StoredTree]:
        """Some rows of the group that begins with row `start` of a file."""
        try:
            table, _ = self._rows.group(name, start, _SHORT)
        except GoneError:
            raise
        except StoreError as error:  # damage to a group leaves the others
            for i in rows:
                yield StoredTree(self, (name, start + i), f"{name}#{start + i}", "", str(error))
            return
        ids, references, errors = (table.column(column) for column in _SHORT)
        for i in rows:
            texts = (ids[i].as_py(), references[i].as_py(), errors[i].as_py())
            yield StoredTree(self, (name, start + i), *texts)

    def group_of(
        self, tree: StoredTree, columns: tuple[str, ...] | None = None
    ) -> tuple[pa.Table, int]:
        """The group of rows that holds a tree, and the number of its row in it.

        Raises
        ------
        StoreError
            The file is damaged, or the row is gone.
        """
        try:
            table, i = self._rows.group(*tree.place, columns)
            if table.column("id")[i].as_py() == tree.id:
                return table, i
        except GoneError:  # another process has put the row into another file
            pass
        try:
            return self._rows.group(*self._found(tree.id).place, columns)
        except GoneError:
            self._rows.store.refresh()
            return self._rows.group(*self._found(tree.id).place, columns)

    def _found(self, id: str) -> StoredTree:
        """The row of an id."""
        index = self._rows.store.index  # another thread may refresh the store's
        found = index.find([id])
        if found.file[0] < 0:
            raise StoreError(f"{self.address}: has no row {id!r}")
        return self._at(index.files[found.file[0]].name, int(found.row[0]))

    def errors_text(self) -> str | None:
        """A sentence on the rows without a tree, which names the first; None if all have one."""
        count = self._rows.count[1] if self._one is None else int(self._one.error is not None)
        if not count:
            return None
        rows: Iterable[StoredTree] = [self._one] if self._one is not None else self._with_failures()
        failed = (tree for tree in rows if tree.error is not None)
        some = "; ".join(f"{tree.id} ({tree.error})" for tree in islice(failed, _SOME))
        more = f"; and {count - _SOME:,} more" if count > _SOME else ""
        which = "1 row has" if count == 1 else f"{count:,} rows have"
        return f"{self.address}: {which} no tree: {some}{more}"

    def _with_failures(self) -> Iterator[StoredTree]:
        """The rows of the files that have a row without a tree."""
        failed = {file.name for file in self._rows.store.index.files if file.failed}
        yield from self._in_files(i for i, name in enumerate(self._names) if name in failed)


def store_of(given: str | Path, id: str | None = None) -> StoredTrees | None:
    """The trees of the store that an argument names; None if it names no store.

    Parameters
    ----------
    given
        A path or URL, ``STORE`` or ``STORE::ID``.
    id
        The id of a row, instead of that in `given`.

    Raises
    ------
    StoreError
        The store cannot be read, or has no such row.
    """
    text = os.fspath(given)
    address, _, key = text.partition(_SEPARATOR)
    for place, row in ((text, None), (address, key)):
        if _may_be_store(place):
            from regiontree.forest.store import is_store, open_store
            from regiontree.forest.stored import StoredRows

            if is_store(place):
                return StoredTrees(StoredRows(open_store(place, create=False)), id or row)
    return None


def _may_be_store(place: str) -> bool:
    """Whether to look for a store at a place. Most arguments are not even looked at."""
    if is_url(place):
        return True
    try:
        return os.path.isfile(os.path.join(place, RECORD))
    except ValueError:  # the path contains a NUL character
        return False


def key_of_id(id: str) -> str:
    """An id as the path of a file below a folder, on every system.

    An id that is no such path, or has a part that is too long for a file name, gets a part of its
    sha256. So different ids have different paths.

    >>> key_of_id("sub/photo.jpg"), key_of_id("../photo.jpg")
    ('sub/photo.jpg', 'photo.jpg~8537125de6c7')
    """
    parts = [_plain(part) for part in id.split("/") if part not in ("", ".", "..")]
    parts = [cut_name(part, _LONGEST) for part in parts] or ["row"]
    path = "/".join(parts)
    if path == id:
        return path
    return f"{path}~{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()[:_MARK]}"


def _plain(part: str) -> str:
    """A part of a path with an underscore for each character that some file system refuses."""
    plain = "".join("_" if c in '<>:"\\|?*' or ord(c) < 32 else c for c in part)
    return plain.rstrip(" .") or "_"
