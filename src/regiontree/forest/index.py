"""Where the row of each id lies: sorted numbers of ids, kept beside the shards.

An index is made from the ids of a store's files and lies in ``_index/``. ``NAME.json`` names the
files that it covers. ``NAME.npy`` has three numbers of 64 bits for each row, sorted by the first:

- half of the id's hash;
- the rest of the hash, and the file's number;
- 24 bits of the hash of the photograph's address, the row's number, and a mark for rows without a
  tree.

On this machine it is mapped into memory, so opening costs the same for any number of rows.

Files that the index does not cover are read when the store is opened. When they are many, a new
index is written. So an index is never wrong, only incomplete.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError
from regiontree.forest.idhash import hash_ids, id_array
from regiontree.forest.parquet import TableFile
from regiontree.forest.schema import READ_VERSIONS, SCHEMA_VERSION
from regiontree.forest.storage import Folder, LocalFolder
from regiontree.system.lazy import lazy

__all__ = ["INDEX", "Found", "Index", "StoredFile", "address_hashes"]

INDEX = "_index"
"""Folder of a store's index."""
_FEW, _FEW_FILES = 20_000, 100  # rows outside the index that are read again at each opening
_AT_ONCE = 1 << 20  # ids that are looked up together
_THREADS = 8  # that read files, which an object store sends slowly

UInt64 = NDArray[np.uint64]
Int64 = NDArray[np.int64]
_LOW = np.uint64(0xFFFFFFFF)
_32 = np.uint64(32)
_1 = np.uint64(1)
_40 = np.uint64(40)  # above the row's number and its mark lies the hash of the address
_ROW = np.uint64((1 << 40) - 1)


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a store.

    Attributes
    ----------
    name : str
        Its name in the store's folder.
    bytes, rows, failed : int
        Its size, its number of rows, and how many of them have no tree.
    first : str
        Id of its first row.
    """

    name: str
    bytes: int
    rows: int
    failed: int
    first: str


@dataclass(frozen=True, slots=True)
class Found:
    """Where ids stand, one entry an id.

    Attributes
    ----------
    file : (n,) int64
        Number of the file in :attr:`Index.files`, or -1 if the id stands nowhere.
    row : (n,) int64
        Number of the row in that file.
    failed : (n,) bool
        Whether the row has no tree.
    address : (n,) uint64
        What :func:`address_hashes` gives for the row's address.
    """

    file: Int64
    row: Int64
    failed: NDArray[np.bool_]
    address: UInt64

    @property
    def has_tree(self) -> NDArray[np.bool_]:
        """Which ids have a tree, (n,) bool."""
        return (self.file >= 0) & ~self.failed

    def elsewhere(self, addresses: Sequence[str]) -> NDArray[np.bool_]:
        """Which ids have a tree of a photograph that lay at another address, (n,) bool."""
        is_other: NDArray[np.bool_] = self.address != address_hashes(addresses)
        return self.has_tree & is_other


@dataclass(frozen=True, slots=True)
class _Block:
    """Sorted numbers of some files, and the number of each file in the index, -1 if it is gone."""

    numbers: UInt64  # (3, n)
    files: Int64
    is_single: bool  # no id stands in it twice

    @classmethod
    def sorted(cls, numbers: UInt64, files: Int64) -> _Block:
        order = np.lexsort((numbers[1] >> _32, numbers[0]))
        numbers = numbers[:, order]
        return cls(numbers, files, not _repeats(numbers).any())


class Index:
    """Where each id of a store stands.

    Parameters
    ----------
    folder
        The store's folder.
    names
        Its files, with their sizes.

    Attributes
    ----------
    files : list of StoredFile
        The files that can be read, in the order of their first ids.
    problems : dict of str to str
        Why other files cannot be read.
    """

    def __init__(self, folder: Folder, names: Mapping[str, int]) -> None:
        self.problems: dict[str, str] = {}
        self._folder = folder
        kept = _kept_index(folder, names)
        covered: list[StoredFile] = [] if kept is None else kept[0]
        living = {file.name for file in covered if names.get(file.name) == file.bytes}
        fresh, parts = self._read(
            {name: size for name, size in names.items() if name not in living}
        )
        self.files: list[StoredFile] = sorted(
            [file for file in covered if file.name in living] + fresh,
            key=lambda file: (file.first, file.name),
        )
        number = {file.name: i for i, file in enumerate(self.files)}
        self._rank = _ranks(self.files)
        self._blocks: list[_Block] = []
        if kept is not None and living:
            places = [number[f.name] if f.name in living else -1 for f in covered]
            self._blocks.append(_Block(kept[1], np.array(places, np.int64), kept[2]))
        if fresh:
            places = [number[file.name] for file in fresh]
            numbers = np.concatenate(parts, axis=1)
            self._blocks.append(_Block.sorted(numbers, np.array(places, np.int64)))
        outside = sum(file.rows for file in fresh)
        self._is_whole = not fresh and len(living) == len(covered)
        many = max(_FEW, sum(file.rows for file in self.files) // 8)
        if outside > many or len(fresh) > _FEW_FILES:
            self.keep()

    def _read(self, names: Mapping[str, int]) -> tuple[list[StoredFile], list[UInt64]]:
        """The files of these names that can be read, and the numbers of their ids."""
        files: list[StoredFile] = []
        numbers = []
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(partial(_read_ids, self._folder), sorted(names.items()))
            for name, read in zip(sorted(names), found, strict=True):
                if isinstance(read, StoreError):
                    self.problems[name] = str(read)
                elif read is not None:
                    file, own = read
                    own[1] |= np.uint64(len(files))
                    numbers.append(own)
                    files.append(file)
        return files, numbers

    # -- looking up -------------------------------------------------------------------------------

    def find(self, ids: Sequence[str] | Any) -> Found:
        """Where ids stand. Of several rows of an id, one with a tree is preferred.

        Parameters
        ----------
        ids
            Ids, as a list or as an array of Arrow.
        """
        array = id_array(ids)
        starts = range(0, max(len(array), 1), _AT_ONCE)
        parts = [self._find(hash_ids(array[i : i + _AT_ONCE])) for i in starts]
        return Found(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _find(self, hashes: UInt64) -> tuple[Int64, Int64, NDArray[np.bool_], UInt64]:
        """The columns of :class:`Found` for some hashes."""
        order = np.argsort(hashes[:, 0], kind="stable")
        wanted = hashes[order]
        n = len(wanted)
        score = np.full(n, np.iinfo(np.int64).max)
        file, row = np.full(n, -1, np.int64), np.full(n, -1, np.int64)
        address = np.zeros(n, np.uint64)
        for block in self._blocks:
            _search(block, self._rank, wanted, (score, file, row, address))
        back = np.empty(n, np.int64)
        back[order] = np.arange(n)
        failed = (score >= len(self.files)) & (file >= 0)
        return file[back], row[back], failed[back], address[back]

    # -- all rows ---------------------------------------------------------------------------------

    @lazy
    def repeated(self) -> dict[int, tuple[Int64, NDArray[np.bool_]]]:
        """Rows whose id has a better row, too: file -> rows, ascending, and which have no tree."""
        if all(block.is_single for block in self._blocks) and not self._share_ids():
            return {}
        numbers = np.concatenate([_living(block) for block in self._blocks], axis=1)
        place = (numbers[1] & _LOW).astype(np.int64)
        failed = (numbers[2] & _1).astype(bool)
        score = self._rank[place] + failed * len(self.files)
        order = np.lexsort((score, numbers[1] >> _32, numbers[0]))
        again = order[_repeats(numbers[:, order])]
        rows = _rows(numbers[2])
        again = again[np.lexsort((rows[again], place[again]))]
        found: dict[int, tuple[Int64, NDArray[np.bool_]]] = {}
        for file in np.unique(place[again]).tolist():
            own = again[place[again] == file]
            found[file] = rows[own], failed[own]
        return found

    def _share_ids(self) -> bool:
        """Whether an id may stand in several blocks, by the first halves of the hashes."""
        hashes = sorted((block.numbers[0] for block in self._blocks), key=len)
        for i, few in enumerate(hashes):
            for many in hashes[i + 1 :]:
                at = np.minimum(np.searchsorted(many, few), len(many) - 1)
                if (many[at] == few).any():
                    return True
        return False

    @property
    def count(self) -> tuple[int, int]:
        """How many ids have a tree, and how many have none."""
        rows = sum(file.rows for file in self.files)
        failed = sum(file.failed for file in self.files)
        again = sum(len(rows) for rows, _ in self.repeated.values())
        again_failed = sum(int(mask.sum()) for _, mask in self.repeated.values())
        return rows - failed - (again - again_failed), failed - again_failed

    # -- keeping ----------------------------------------------------------------------------------

    def keep(self) -> None:
        """Write the index beside the files that it covers, and remove earlier ones.

        A folder that cannot be written to keeps none.
        """
        if self._is_whole or not self.files:
            return
        numbers = np.concatenate([_living(block) for block in self._blocks], axis=1)
        block = _Block.sorted(numbers, np.arange(len(self.files), dtype=np.int64))
        record = {
            "schema_version": SCHEMA_VERSION,
            "files": [asdict(file) for file in self.files],
            "is_single": block.is_single,
        }
        text = json.dumps(record)
        name = f"{INDEX}/{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        data = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            data, {"descr": "<u8", "fortran_order": False, "shape": block.numbers.shape}
        )
        try:
            before = self._folder.files(INDEX)
            with self._folder.writing(f"{name}.npy") as file:
                file.write(data.getvalue())
                for row in block.numbers:
                    file.write(row.astype("<u8").data)
            self._folder.write(f"{name}.json", text.encode())
            for old in before.keys() - {f"{name}.npy", f"{name}.json"}:
                self._folder.remove(old)
        except StoreError:
            return
        self._blocks, self._is_whole = [block], True


def _read_ids(
    folder: Folder, named: tuple[str, int]
) -> tuple[StoredFile, UInt64] | StoreError | None:
    """A file and the numbers of its ids, without the file's number; or why it cannot be read.

    None: it has no rows.
    """
    name, size = named
    try:
        with closing(TableFile(folder, name)) as file:
            table = file.columns(["id", "error", "reference"])
    except StoreError as error:
        return error
    if not len(table):
        return None
    failed = table.column("error").is_valid().to_numpy()
    hashes = hash_ids(table.column("id"))
    numbers = np.empty((3, len(hashes)), np.uint64)
    numbers[0] = hashes[:, 0]
    numbers[1] = hashes[:, 1] & ~_LOW
    numbers[2] = (np.arange(len(hashes), dtype=np.uint64) << _1) | failed.astype(np.uint64)
    numbers[2] |= address_hashes(table.column("reference")) << _40
    first = table.column("id")[0].as_py()
    return StoredFile(name, size, len(table), int(failed.sum()), first), numbers


def _living(block: _Block) -> UInt64:
    """The numbers of a block in files that are there, with the files' numbers in the index."""
    place = block.files.take((block.numbers[1] & _LOW).astype(np.int64), mode="clip")
    is_there = place >= 0
    numbers = block.numbers[:, is_there]
    numbers[1] = (numbers[1] & ~_LOW) | place[is_there].astype(np.uint64)
    return numbers


def _repeats(numbers: UInt64) -> NDArray[np.bool_]:
    """Which sorted numbers are of the id of the one before."""
    same = np.zeros(numbers.shape[1], bool)
    hashes, rest = numbers[0], numbers[1] >> _32
    same[1:] = (hashes[1:] == hashes[:-1]) & (rest[1:] == rest[:-1])
    return same


def _ranks(files: Sequence[StoredFile]) -> Int64:
    """The order in which files are preferred: shards before parts, then by name."""
    order = sorted(range(len(files)), key=lambda i: ("/" in files[i].name, files[i].name))
    rank = np.empty(len(files), np.int64)
    rank[order] = np.arange(len(files))
    return rank


def address_hashes(addresses: Sequence[str] | Any) -> UInt64:
    """24 bits of the hash of each address, (n,) uint64: unequal ones are of different addresses."""
    hashes: UInt64 = hash_ids(addresses)[:, 0] >> _40
    return hashes


def _rows(numbers: UInt64) -> Int64:
    """The row that each third number names."""
    return ((numbers & _ROW) >> _1).astype(np.int64)


def _search(
    block: _Block, rank: Int64, wanted: UInt64, best: tuple[Int64, Int64, Int64, UInt64]
) -> None:
    """Enter what a block knows of sorted hashes, (n, 2), where it is better than `best`."""
    score, file, row, address = best
    numbers, places = block.numbers, block.files
    at = np.searchsorted(numbers[0], wanted[:, 0])
    active = np.arange(len(wanted))
    while True:
        active = active[at[active] < numbers.shape[1]]
        active = active[numbers[0][at[active]] == wanted[active, 0]]
        if not active.size:
            return
        entry = at[active]
        place = places.take((numbers[1][entry] & _LOW).astype(np.int64), mode="clip")
        is_own = (numbers[1][entry] >> _32 == wanted[active, 1] >> _32) & (place >= 0)
        own, entry, place = active[is_own], entry[is_own], place[is_own]
        new = rank[place] + (numbers[2][entry] & _1).astype(np.int64) * len(rank)
        better = new < score[own]
        own = own[better]
        score[own], file[own] = new[better], place[better]
        row[own] = _rows(numbers[2][entry[better]])
        address[own] = numbers[2][entry[better]] >> _40
        at[active] += 1


def _kept_index(
    folder: Folder, names: Mapping[str, int]
) -> tuple[list[StoredFile], UInt64, bool] | None:
    """The index in a store's folder that covers most of its rows, if there is one."""
    try:
        records = [name for name in folder.files(INDEX) if name.endswith(".json")]
        read = [(name, folder.read(name)) for name in sorted(records)]
    except StoreError:
        return None
    best: tuple[list[StoredFile], UInt64, bool] | None = None
    most = 0
    for name, data in read:
        try:
            record = json.loads(data or b"")
            files = [StoredFile(**file) for file in record["files"]]
            rows = sum(file.rows for file in files if names.get(file.name) == file.bytes)
            if record["schema_version"] not in READ_VERSIONS or rows <= most:
                continue
            numbers = _mapped(folder, name.removesuffix(".json") + ".npy")
            if numbers.shape == (3, sum(file.rows for file in files)):
                best, most = (files, numbers, bool(record["is_single"])), rows
        except (StoreError, ValueError, LookupError, TypeError, OSError, EOFError):
            continue  # it is made anew
    return best


def _mapped(folder: Folder, name: str) -> UInt64:
    if isinstance(folder, LocalFolder):
        numbers = np.load(folder.path / name, mmap_mode="r", allow_pickle=False)
    else:
        numbers = np.load(io.BytesIO(folder.read(name) or b""), allow_pickle=False)
    if numbers.dtype != np.uint64 or numbers.ndim != 2:
        raise ValueError("not an index")
    return numbers  # type: ignore[no-any-return]
