"""The columns of a store: one row a photograph, in types that every Parquet reader knows.

============== ================= =======================================================
column         type              meaning
============== ================= =======================================================
id             string            name of the photograph in its collection
reference      string            its address
sha256         string            digest of its bytes; null if they could not be read
height, width  int32             size of the label map in pixels
error          string            why the photograph has no tree; null if it has one
notice         string            what the tree shows of a file with more bands or pages
labels         binary            leaf of each pixel: a PNG (:mod:`regiontree.forest.labelmap`)
parents        list of int32     parent of each node
heights        list of float32   height of each node
ncut           list of float32   normalised cut of each node
stop           list of uint8     why each leaf was not divided
areas          list of int64     pixels of each node
embeddings     list of float32   embedding of node 0, then of node 1, and so on; or null
embedding_dim  int32             numbers in the embedding of one node; or null
descriptors    list of float32   descriptor of leaf 0, then of leaf 1, and so on; or null
descriptor_dim int32             numbers in the descriptor of one leaf; or null
stability      list of float32   stability of each node; or null
meta           string            meta of the tree without its settings, as JSON
settings       string            settings of the tree, as JSON; or null
============== ================= =======================================================

All of a photograph without a tree is null but `id`, `reference`, `error`, and maybe `sha256` and
`notice`. Embeddings, descriptors and stabilities are the float16 numbers of the tree as float32,
since some readers have no float16. Version 1 has no descriptors. Versions 1 and 2 have no
stability.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from regiontree.errors import StoreError, TreeError
from regiontree.forest.arrow import pyarrow
from regiontree.forest.labelmap import label_map, png_of
from regiontree.forest.row import Row
from regiontree.system.damage import plain_reason
from regiontree.tree import RegionTree

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ARRAYS",
    "READ_VERSIONS",
    "SCHEMA_VERSION",
    "SHORT",
    "STRUCTURE",
    "require_schema",
    "row_of",
    "schema",
    "structure_of",
    "table_of",
    "texts_of_meta",
    "with_all_columns",
]

SCHEMA_VERSION = 3
"""Version of the columns and of the store's files that are written."""
READ_VERSIONS = (1, 2, SCHEMA_VERSION)
"""Versions that are read. Others are refused."""
ARRAYS = ("labels", "parents", "heights", "ncut", "stop", "areas", "embeddings", "descriptors",
          "stability")  # fmt: skip
"""The columns that hold arrays."""
STRUCTURE = ("id", "parents", "heights", "ncut", "stop", "meta", "settings")
"""The columns that describe a tree without its pixels."""
SHORT = ("id", "reference", "sha256", "height", "width", "error", "notice", "embedding_dim",
         "descriptor_dim", "meta", "settings")  # fmt: skip
"""The other columns."""
_OPTIONAL = ("embeddings", "descriptors", "stability")  # null where a tree lacks them
_VERSION_KEY = b"regiontree.schema_version"


@lru_cache(maxsize=len(READ_VERSIONS))
def schema(version: int = SCHEMA_VERSION) -> pa.Schema:
    """The columns of a store as a pyarrow schema, with the version in its metadata."""
    pa = pyarrow()
    text, whole, real = pa.string(), pa.int32(), pa.float32()
    columns = {
        "id": text,
        "reference": text,
        "sha256": text,
        "height": whole,
        "width": whole,
        "error": text,
        "notice": text,
        "labels": pa.binary(),
        "parents": pa.list_(whole),
        "heights": pa.list_(real),
        "ncut": pa.list_(real),
        "stop": pa.list_(pa.uint8()),
        "areas": pa.list_(pa.int64()),
        "embeddings": pa.list_(real),
        "embedding_dim": whole,
        **({"descriptors": pa.list_(real), "descriptor_dim": whole} if version > 1 else {}),
        **({"stability": pa.list_(real)} if version > 2 else {}),
        "meta": text,
        "settings": text,
    }
    fields = [
        pa.field(name, kind, nullable=name not in ("id", "reference"))
        for name, kind in columns.items()
    ]
    return pa.schema(fields, metadata={_VERSION_KEY: str(version).encode()})


def require_schema(
    found: pa.Schema, what: str, versions: Sequence[int] = (SCHEMA_VERSION,)
) -> None:
    """Check that a table or file has the columns of a store, in one of these versions.

    Raises
    ------
    StoreError
        It has other columns, or those of another version. The message begins with `what`.
    """
    said = (found.metadata or {}).get(_VERSION_KEY)
    if said is None:
        raise StoreError(f"{what}: is not of a store of trees")
    same = [version for version in versions if said == str(version).encode()]
    if not same:
        known = " and ".join(map(str, versions))
        raise StoreError(
            f"{what}: has schema version {said.decode(errors='replace')[:20]!r}, this program "
            f"reads version {known}; read it with the regiontree that wrote it"
        )
    if not found.equals(schema(same[0])):
        raise StoreError(f"{what}: does not have the columns of a store of trees")


def with_all_columns(table: pa.Table, names: Sequence[str] | None) -> pa.Table:
    """A table of an earlier version with all columns of this version, or with those of `names`.

    The columns that the earlier version lacks are null.
    """
    pa = pyarrow()
    fields = [schema().field(name) for name in (schema().names if names is None else names)]
    there = set(table.column_names)
    columns = [
        table.column(field.name) if field.name in there else pa.nulls(len(table), field.type)
        for field in fields
    ]
    return pa.table(columns, schema=pa.schema(fields, metadata=schema().metadata))


# -- rows to a table ------------------------------------------------------------------------------


def table_of(rows: Sequence[Row]) -> pa.Table:
    """Rows as a table with the columns of a store.

    Raises
    ------
    StoreError
        A row has both a tree and an error, or neither; or a text is none, such as the name of a
        file that is not UTF-8.
    """
    pa = pyarrow()
    for row in rows:
        if (row.tree is None) == (row.error is None):
            has = "neither a tree nor" if row.tree is None else "both a tree and"
            raise StoreError(f"row {row.id[:200]!r} has {has} an error")
        for text in (row.id, row.reference, row.error, row.notice, row.sha256):
            if text is not None and not _is_text(text):
                raise StoreError(f"row {row.id[:200]!r}: {text[:200]!r} is no text of Unicode")
    trees = [row.tree for row in rows]
    texts = [(None, None) if tree is None else texts_of_meta(tree.meta) for tree in trees]
    embeddings = [None if tree is None else tree.embedding for tree in trees]
    descriptors = [None if tree is None else tree.descriptor for tree in trees]
    columns = {
        "id": [row.id for row in rows],
        "reference": [row.reference for row in rows],
        "sha256": [row.sha256 for row in rows],
        "height": [None if tree is None else tree.shape[0] for tree in trees],
        "width": [None if tree is None else tree.shape[1] for tree in trees],
        "error": [row.error for row in rows],
        "notice": [row.notice for row in rows],
        "labels": [None if tree is None else png_of(tree.labels) for tree in trees],
        "parents": _lists(trees, lambda tree: tree.parents, np.int32),
        "heights": _lists(trees, lambda tree: tree.height, np.float32),
        "ncut": _lists(trees, lambda tree: tree.ncut, np.float32),
        "stop": _lists(trees, lambda tree: tree.stop, np.uint8),
        "areas": _lists(trees, lambda tree: tree.area, np.int64),
        "embeddings": _lists(trees, lambda tree: tree.embedding, np.float32),
        "embedding_dim": [None if one is None else one.shape[1] for one in embeddings],
        "descriptors": _lists(trees, lambda tree: tree.descriptor, np.float32),
        "descriptor_dim": [None if one is None else one.shape[1] for one in descriptors],
        "stability": _lists(trees, lambda tree: tree.stability, np.float32),
        "meta": [meta for meta, _ in texts],
        "settings": [settings for _, settings in texts],
    }
    arrays = [
        column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, field.type)
        for column, field in zip(columns.values(), schema(), strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=schema())


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def texts_of_meta(meta: Mapping[str, Any]) -> tuple[str, str | None]:
    """The meta of a tree as JSON without its settings, and the settings as JSON."""
    meta = dict(meta)
    settings = _json_of(meta.pop("settings")) if "settings" in meta else None
    return _json_of(meta), settings


def _json_of(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False)


def _lists(
    trees: Sequence[RegionTree | None],
    array_of: Callable[[RegionTree], NDArray[Any] | None],
    dtype: type[np.generic],
) -> pa.Array:
    """One array of each tree as a column of lists, null where a tree or its array is missing."""
    pa = pyarrow()
    arrays = [None if tree is None else array_of(tree) for tree in trees]
    flat = [np.zeros(0, dtype) if one is None else one.reshape(-1) for one in arrays]
    offsets = np.zeros(len(flat) + 1, np.int64)
    np.cumsum([len(one) for one in flat], out=offsets[1:])
    values = np.concatenate([*flat, np.zeros(0, dtype)]).astype(dtype, copy=False)
    kind = pa.from_numpy_dtype(dtype)
    missing = pa.array([one is None for one in arrays], pa.bool_())
    if offsets[-1] < 1 << 31:
        small = pa.array(offsets.astype(np.int32))
        return pa.ListArray.from_arrays(small, pa.array(values), pa.list_(kind), mask=missing)
    half = len(trees) // 2  # one array of Arrow holds 2**31 numbers at most
    if half == 0:
        raise StoreError(f"a tree with an array of {offsets[-1]} numbers does not fit into a row")
    halves = (_lists(part, array_of, dtype) for part in (trees[:half], trees[half:]))
    chunks = [chunk for part in halves for chunk in getattr(part, "chunks", [part])]
    return pa.chunked_array(chunks)


# -- a table to rows ------------------------------------------------------------------------------


def row_of(table: pa.Table | pa.RecordBatch, i: int) -> Row:
    """Row `i` of a table with the columns of a store. Its tree equals the one that was stored.

    Raises
    ------
    StoreError
        What the row holds is no tree. The message names the row's id.
    """
    short = {name: table.column(name)[i].as_py() for name in SHORT}
    tree = None
    if short["error"] is None:
        try:
            tree = _tree_of(short, {name: table.column(name)[i] for name in ARRAYS})
        except (StoreError, TreeError, ValueError, RecursionError) as error:
            own_words = isinstance(error, StoreError | TreeError)
            said = str(error) if own_words else plain_reason(error)
            raise StoreError(f"row {short['id'][:200]!r}: {said}") from error
    own = ("id", "reference", "error", "notice", "sha256")
    return Row(tree=tree, **{name: short[name] for name in own})


def structure_of(table: pa.Table, i: int) -> RegionTree:
    """The tree of row `i` without its pixels: see :meth:`RegionTree.load_structure`.

    Parameters
    ----------
    table
        Has at least the columns of :data:`STRUCTURE`.
    i
        The row.

    Raises
    ------
    StoreError
        The row has no tree, or what it holds is none.
    """
    names = ("parents", "heights", "ncut", "stop")
    arrays = [_array_of(table.column(name)[i]) for name in names]
    parents, heights, ncut, stop = arrays
    if parents is None or heights is None or ncut is None or stop is None:
        raise StoreError("has no tree")
    try:
        meta = _meta_of(*(table.column(name)[i].as_py() for name in ("meta", "settings")))
        leaves = np.arange(np.count_nonzero(stop), dtype=np.int32)
        return RegionTree(
            labels=leaves[None],
            parents=parents,
            height=heights,
            ncut=ncut,
            stop=stop,
            meta=meta,
        )
    except (TreeError, ValueError, RecursionError) as error:
        said = str(error) if isinstance(error, TreeError) else plain_reason(error)
        raise StoreError(said) from error


def _meta_of(meta: str, settings: str | None) -> dict[str, Any]:
    """The meta of a tree from the texts of its row."""
    found = _object_of("meta", meta)
    if settings is not None:
        found["settings"] = _object_of("settings", settings)
    return found


def _tree_of(short: dict[str, Any], scalars: dict[str, Any]) -> RegionTree:
    """The tree of a row, with the checks that only the row's own columns allow."""
    needed = {name: short[name] for name in ("height", "width", "meta")}
    needed |= {name: scalars[name].as_buffer() if name == "labels" else _array_of(scalars[name])
               for name in ARRAYS if name not in _OPTIONAL}  # fmt: skip
    if missing := [name for name, value in needed.items() if value is None]:
        raise StoreError(f"has no error and no {missing[0]}")
    meta = _meta_of(needed["meta"], short["settings"])
    tree = RegionTree(
        labels=label_map(needed["labels"], needed["height"], needed["width"]),
        parents=needed["parents"],
        height=needed["heights"],
        ncut=needed["ncut"],
        stop=needed["stop"],
        embedding=_half_rows("embeddings", scalars, short["embedding_dim"]),
        meta=meta,
        descriptor=_half_rows("descriptors", scalars, short["descriptor_dim"]),
        stability=_halves("stability", scalars),
    )
    if not np.array_equal(tree.area, needed["areas"]):
        raise StoreError("its areas are not those of its label map")
    return tree


def _array_of(scalar: Any) -> NDArray[Any] | None:
    """The numbers of a list in a row; None if it is null."""
    if not scalar.is_valid:
        return None
    values = scalar.values
    if values.null_count:
        raise StoreError("one of its lists has an empty entry")
    # to_numpy would import pandas, if it is installed: a second or two.
    dtype, buffer = np.dtype(values.type.to_pandas_dtype()), values.buffers()[1]
    if buffer is None:
        return np.zeros(0, dtype)
    return np.frombuffer(buffer, dtype, len(values), values.offset * dtype.itemsize)


def _half_rows(
    name: str, scalars: Mapping[str, Any], dim: int | None
) -> NDArray[np.float16] | None:
    """The embeddings or descriptors of a row, (n, dim) float16; None if they are null."""
    half = _halves(name, scalars)
    if half is None:
        return None
    if dim is None or dim < 1 or len(half) % dim:
        raise StoreError(f"its {name} are {len(half)} numbers, not rows of {dim}")
    return half.reshape(-1, dim)


def _halves(name: str, scalars: Mapping[str, Any]) -> NDArray[np.float16] | None:
    """The numbers of a list of a row as float16; None if they are null."""
    numbers = _array_of(scalars[name])
    if numbers is None:
        return None
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is found next
        half = numbers.astype(np.float16)
    if not np.array_equal(half, numbers):
        raise StoreError(f"its {name} are not numbers of half precision")
    return half


def _object_of(name: str, text: str) -> dict[str, Any]:
    value = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(value, dict):
        raise StoreError(f"its {name} is not a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
