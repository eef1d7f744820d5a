"""The trees of a folder of ``.npz`` files for :class:`regiontree.forest.forest.Forest`.

The id of a tree is its path below the folder, without ``.npz``. Trees of clips (``.clip.npz``) are
left out. A folder that was made from a store
has :data:`ROWS` as well: the rows that cannot be told from the trees. It is a text of JSON lines,
and of several lines of one id the last holds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError, TreeFileError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.origin import recorded_name, recorded_places
from regiontree.forest.row import Row
from regiontree.forest.rows import Place, Rows, true_where
from regiontree.forest.schema import SHORT, schema, table_of, texts_of_meta
from regiontree.forest.sources import TREE_SUFFIX, tree_problem
from regiontree.references.addresses import as_text
from regiontree.system.lazy import lazy
from regiontree.system.paths import files_below, suffix_of
from regiontree.tree import RegionTree
from regiontree.tree.file import read_meta, read_shapes

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ROWS", "FolderRows", "recorded_rows"]

ROWS = "rows.jsonl"
"""File beside the trees that came from a store: id, file and the other short columns."""
_FIELDS = ("reference", "error", "notice", "sha256")
_AT_ONCE = 16  # trees of a table

Bools = NDArray[np.bool_]


class FolderRows(Rows):
    """The trees of a folder. All of them are one file here, sorted by their names.

    Raises
    ------
    StoreError
        The folder does not exist, cannot be listed, or holds no trees.
    """

    def __init__(self, folder: Path) -> None:
        self.address = str(folder)
        if not os.path.isdir(folder):
            problem = tree_problem(folder) or f"{folder}: is a file, not a folder of trees"
            raise StoreError(problem)
        files, unlisted = files_below(folder)
        self._problems = {str(path): "cannot be listed" for path in unlisted}
        recorded = recorded_rows(folder)
        of_file = {row["file"]: row for row in recorded.values() if row["file"] is not None}
        self._files: list[Path | None] = []
        self._rows: list[dict[str, Any]] = []
        for file in files:
            if suffix_of(file) == TREE_SUFFIX:
                name = as_text(file.relative_to(folder).as_posix())
                self._files.append(file)
                self._rows.append(of_file.get(name, {"id": name[: -len(TREE_SUFFIX)]}))
        for row in recorded.values():
            if row["file"] is None:
                self._files.append(None)
                self._rows.append(row)
        if not self._files:
            raise StoreError(tree_problem(folder) or f"{folder}: holds no trees")

    def pinned(self) -> FolderRows:
        return self

    @property
    def lengths(self) -> list[int]:
        return [len(self._files)]

    @property
    def count(self) -> tuple[int, int]:
        trees = sum(file is not None for file in self._files)
        return trees, len(self._files) - trees

    @property
    def problems(self) -> dict[str, str]:
        return self._problems

    @lazy
    def _number(self) -> dict[str, int]:
        return {row["id"]: i for i, row in enumerate(self._rows)}

    def find(self, key: str) -> tuple[Place, bool] | None:
        i = self._number.get(key)
        return None if i is None else ((0, i), self._files[i] is None)

    def row(self, key: str) -> Row | None:
        i = self._number.get(key)
        return None if i is None else self._row_at(i)

    def _row_at(self, i: int) -> Row:
        file, recorded = self._files[i], self._rows[i]
        fields: dict[str, Any] = {name: recorded.get(name) for name in _FIELDS}
        if file is None:
            return Row(recorded["id"], **fields)
        tree = RegionTree.load(file)
        fields |= {} if "reference" in recorded else _told(file, tree.meta)
        return Row(recorded["id"], tree=tree, **fields)

    def shown(self, file: int) -> Bools:
        return np.ones(len(self._files), bool)

    def may_fail(self, file: int) -> bool:
        return True  # a damaged file is found when it is read

    # -- streams ----------------------------------------------------------------------------------

    def ids(self, file: int) -> Iterator[tuple[int, list[str], Bools]]:
        failed = np.array([file is None for file in self._files])
        yield 0, [row["id"] for row in self._rows], failed

    def rows(self, file: int, mask: Bools) -> Iterator[tuple[Row, bool]]:
        for i in np.flatnonzero(mask).tolist():
            yield self._read_row(i)

    def _read_row(self, i: int) -> tuple[Row, bool]:
        """A row, and whether it is damaged."""
        try:
            return self._row_at(i), False
        except TreeFileError as error:
            reference = self._rows[i].get("reference") or str(self._files[i])
            return Row(self._rows[i]["id"], reference, error=str(error)), True

    def records(
        self, file: int, columns: Sequence[str]
    ) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        if not set(columns) <= set(SHORT):
            for start, table in self.tables(file, columns):
                yield start, table.to_pylist()
            return
        for i in range(len(self._files)):
            record = self._record_at(i)
            yield i, [{name: record[name] for name in columns}]

    def _record_at(self, i: int) -> dict[str, Any]:
        """The short columns of a row, without reading its arrays."""
        file, recorded = self._files[i], self._rows[i]
        record = dict.fromkeys(SHORT) | {"id": recorded["id"]}
        record |= {name: recorded.get(name) for name in _FIELDS}
        if file is None:
            return record
        try:
            meta, shapes = read_meta(file), read_shapes(file)
        except TreeFileError as error:
            return record | {"reference": record["reference"] or str(file), "error": str(error)}
        record |= {} if "reference" in recorded else _told(file, meta)
        record["height"], record["width"] = shapes["labels"]
        for name in ("embedding", "descriptor"):
            if name in shapes:
                record[f"{name}_dim"] = shapes[name][1]
        record["meta"], record["settings"] = texts_of_meta(meta)
        return record

    def tables(self, file: int, columns: Sequence[str]) -> Iterator[tuple[int, pa.Table]]:
        pa = pyarrow()
        fields = pa.schema([schema().field(name) for name in columns])
        is_short = set(columns) <= set(SHORT)
        for start in range(0, len(self._files), _AT_ONCE):
            numbers = range(start, min(start + _AT_ONCE, len(self._files)))
            if is_short:
                yield start, pa.Table.from_pylist([self._record_at(i) for i in numbers], fields)
            else:
                yield start, table_of([self._read_row(i)[0] for i in numbers]).select(list(columns))

    def holds(self, file: int, condition: Any) -> Bools:
        names = SHORT
        try:
            _holding(schema().empty_table().select(names), condition)
        except pyarrow().ArrowInvalid:  # the condition is about arrays
            names = schema().names
        masks = [_holding(table, condition) for _, table in self.tables(file, names)]
        return np.concatenate(masks)


def _holding(table: pa.Table, condition: Any) -> Bools:
    """For which rows of a table an expression of pyarrow is true."""
    found = pyarrow("pyarrow.dataset").dataset(table).to_table(columns={"holds": condition})
    return true_where(found.column("holds"))


def _told(file: Path, meta: Mapping[str, Any]) -> dict[str, str | None]:
    """The reference and the digest of a tree's photograph, as the tree and its folder tell them."""
    image = meta.get("image")
    digest = image.get("sha256") if isinstance(image, dict) else None
    places = [str(place) for place in recorded_places(file, meta)]
    existing = next((place for place in places if os.path.isfile(place)), None)
    reference = existing or (places[0] if places else recorded_name(meta))
    return {"reference": reference, "sha256": digest if isinstance(digest, str) else None}


def recorded_rows(folder: Path) -> dict[str, dict[str, Any]]:
    """What :data:`ROWS` says: id -> row, with ``file`` None for one without a tree.

    A last line that is cut short does not count.

    Raises
    ------
    StoreError
        The file cannot be read, or another line is damaged.
    """
    path = folder / ROWS
    rows: dict[str, dict[str, Any]] = {}
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n"):
                    row = _row_of_line(line, f"{path}, line {number}")
                    rows[row["id"]] = row
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from error
    return rows


def _row_of_line(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        texts = [row["id"], row["reference"]]
        maybe = [row[name] for name in ("file", "error", "notice", "sha256")]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise StoreError(f"{where}: is no row of a forest") from error
    if not all(isinstance(text, str) for text in texts) or not all(
        isinstance(text, str | None) for text in maybe
    ):
        raise StoreError(f"{where}: is no row of a forest")
    return {name: row[name] for name in ("id", "file", *_FIELDS)}
