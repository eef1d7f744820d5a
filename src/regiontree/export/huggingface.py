"""A data set of Hugging Face: Parquet files with pictures and tables, and a card.

The folder is what ``datasets.load_dataset`` opens and what the Hub shows: ``README.md``, the card,
and ``data/SPLIT-00000-of-00003.parquet``. A row is a photograph. The files say themselves what
their columns are (key ``huggingface`` of the schema), and the card says the same.

========= ================= ===================================================================
column    feature           meaning
========= ================= ===================================================================
id        string            name of the tree
image     Image             the photograph, upright and of the size of the masks
width     int32             of the photograph and of the masks, in pixels
height    int32
mask      Image             a cut: region j of `nodes`, counted from 0, has the value j + 1
nodes     list of int32     the regions of that cut as nodes of the tree, ascending
leaves    Image             the leaf of each pixel, counted from 0
parents   list of int32     parent of each node; the root, which is the last, is its own
heights   list of float32   height of each node
areas     list of int64     pixels of each node
ncut      list of float32   normalised cut of each node
stop      list of labels    why each leaf was not divided
stability list of float32   stability of each node, 0 to 1; or null
sha256    string            digest of the photograph's file; or null
========= ================= ===================================================================

There is no feature for masks, so masks are pictures: grey PNGs of 8 bits, or of 16 bits if there
are more than 256 values. With more than 65,536 values they are RGBA, with the lowest byte in R.
Pixels without data are 0 in `mask`, and are a leaf in `leaves`. The tree is whole in `leaves` and
`parents`, so every other cut can be made from a row.

Rows are written in groups of about 32 MB, and files end at about 256 MB. One group is in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

from regiontree._version import __version__
from regiontree.errors import ExportError
from regiontree.export.coco import photo_name
from regiontree.forest.arrow import pyarrow
from regiontree.forest.labelmap import png_of
from regiontree.forest.pictures import Picture
from regiontree.system.files import atomic_folder
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes
from regiontree.tree.stop import StopReason

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["COLUMNS", "Column", "to_huggingface", "write_huggingface", "write_rows"]

Row = dict[str, Any]

_GROUP_BYTES = 32 << 20
_FILE_BYTES = 256 << 20
_README, _DATA = "README.md", "data"
_TAG = "regiontree"  # in the card, by which a folder is known
_SIZES = [(10**k, f"{a}<n<{b}") for k, a, b in (
    (4, "1K", "10K"), (5, "10K", "100K"), (6, "100K", "1M"), (7, "1M", "10M"), (8, "10M", "100M"),
)]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the data set.

    Attributes
    ----------
    name : str
    kind : str
        ``"image"``, ``"label"``, or the name of a type of Arrow such as ``"int32"``.
    meaning : str
        For the card.
    many : bool
        Whether it holds lists.
    names : tuple of str
        Of a label: the names of the numbers from 0.
    """

    name: str
    kind: str
    meaning: str
    many: bool = False
    names: tuple[str, ...] = ()

    def arrow(self) -> pa.DataType:
        """Its type in the file."""
        pa = pyarrow()
        if self.kind == "image":
            return pa.struct({"bytes": pa.binary(), "path": pa.string()})
        one = pa.int64() if self.kind == "label" else getattr(pa, self.kind)()
        return pa.list_(one) if self.many else one

    def feature(self) -> dict[str, Any]:
        """Its feature, as the schema says it. All versions of datasets know ``Sequence``."""
        if self.kind == "image":
            one: dict[str, Any] = {"_type": "Image"}
        elif self.kind == "label":
            one = {"names": list(self.names), "_type": "ClassLabel"}
        else:
            one = {"dtype": self.kind, "_type": "Value"}
        return {"feature": one, "_type": "Sequence"} if self.many else one

    def card(self) -> dict[str, Any]:
        """Its feature, as the card says it."""
        said: Any = self.kind
        if self.kind == "label":
            said = {"class_label": {"names": {str(i): one for i, one in enumerate(self.names)}}}
        if not self.many:
            return {"name": self.name, "dtype": said}
        return {"name": self.name, "sequence": {"dtype": said} if self.names else said}


COLUMNS = (
    Column("id", "string", "name of the tree"),
    Column("image", "image", "the photograph, upright and of the size of the masks"),
    Column("width", "int32", "width of the photograph and of the masks in pixels"),
    Column("height", "int32", "their height"),
    Column("mask", "image", "a cut; region j of `nodes`, from 0, is j + 1, no data is 0"),
    Column("nodes", "int32", "the regions of `mask` as nodes of the tree", many=True),
    Column("leaves", "image", "the leaf of each pixel, from 0; leaves are the first nodes"),
    Column("parents", "int32", "parent of each node; the root is the last, its own parent",
           many=True),
    Column("heights", "float32", "height of each node; a cut at h shows the nodes up to h whose "
           "parents are higher", many=True),
    Column("areas", "int64", "pixels of each node", many=True),
    Column("ncut", "float32", "normalised cut of each node, 0 to 1", many=True),
    Column("stop", "label", "why each leaf was not divided", many=True,
           names=tuple(one.name.lower() for one in StopReason)),
    Column("stability", "float32", "stability of each node, 0 to 1, if the tree has it", many=True),
    Column("sha256", "string", "digest of the photograph's file"),
)  # fmt: skip
"""The columns of a data set of trees."""


def to_huggingface(
    tree: RegionTree,
    name: str | None = None,
    *,
    picture: Picture | None = None,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    photographs: bool = True,
    split: str = "train",
) -> Row:
    """The row of a photograph.

    Parameters
    ----------
    name
        The tree's name, the `id`. None: the name of its photograph.
    picture
        The photograph.
    n_regions, height, depth, contrast
        The cut of `mask`; see :meth:`RegionTree.cut`. Without one, the natural cut.
    photographs
        Whether there is a column `image`.
    split
        Name of the split: letters, digits and _.

    Returns
    -------
    dict
        The columns of :data:`COLUMNS`. Pictures are the bytes of files. ``split`` comes first.

    Raises
    ------
    ExportError
        There is no photograph.
    TreeError
        A cut with two criteria or a wrong value.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 0, 1], [2, 2, 2]], parents=[3, 3, 4, 4, 4],
    ...                   height=[0, 0, 0, .5, 1])
    >>> row = to_huggingface(tree, n_regions=2, photographs=False)
    >>> row["id"], row["nodes"], row["parents"]
    ('image', [2, 3], [3, 3, 4, 4, 4])
    """
    if photographs and picture is None:
        raise ExportError(
            "a tree alone has no photograph; export its file or its store with 'regiontree export',"
            " or pass photographs=False"
        )
    given: dict[str, Any] = {
        "n_regions": n_regions, "height": height, "depth": depth, "contrast": contrast,
    }  # fmt: skip
    nodes, regions = tree.cut_nodes(**given), tree.cut(**given)
    there = ~no_data_nodes(tree.stop)[nodes]
    value = np.where(there, np.cumsum(there), 0).astype(np.int32)
    rows, columns = tree.shape
    photo = photo_name(tree, name)
    about = tree.meta.get("image")
    row: Row = {
        "split": split,
        "id": photo if name is None else name,
        "width": columns,
        "height": rows,
        "mask": {"bytes": png_of(value[regions]), "path": None},
        "nodes": nodes[there].tolist(),
        "leaves": {"bytes": png_of(tree.labels), "path": None},
        "parents": tree.parents.tolist(),
        "heights": tree.height.tolist(),
        "areas": tree.area.tolist(),
        "ncut": tree.ncut.tolist(),
        "stop": tree.stop.tolist(),
        "stability": None if tree.stability is None else tree.stability.tolist(),
        "sha256": about.get("sha256") if isinstance(about, Mapping) else None,
    }
    if picture is not None and photographs:
        path = str(Path(photo).with_suffix(picture.suffix).name)
        row["image"] = {"bytes": picture.data(), "path": path}
    return row


def write_huggingface(parts: Iterable[Row], path: str | Path) -> Path:
    """Write the rows of many photographs, each from :func:`to_huggingface`; return the folder.

    Raises
    ------
    ExportError
        The folder holds something else.
    MissingExtraError
        pyarrow is not installed.
    """
    path = Path(path)
    parts = iter(parts)
    first = next(parts)
    columns = [one for one in COLUMNS if one.name in first]

    def rows() -> Iterator[Row]:
        yield first
        yield from parts

    write_rows(rows(), path, columns, split=first["split"], text=_TEXT)
    return path


def write_rows(
    rows: Iterable[Row],
    path: Path,
    columns: Sequence[Column],
    *,
    split: str = "train",
    text: str = "",
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Write a data set. A folder of that name, which was written so before, is replaced.

    Parameters
    ----------
    rows
        Values of the columns. Pictures are mappings of ``bytes`` and ``path``.
    path
        The folder. It gets its name when it is complete.
    columns
    split
        Name of the only split.
    text
        What the card says beside the columns.
    files
        Other files, by their names.

    Raises
    ------
    ExportError
        The folder holds something else.
    MissingExtraError
        pyarrow is not installed.
    """
    pyarrow("pyarrow.parquet", "a data set of Hugging Face")
    files = files or {}
    _require_replaceable(path, set(files))
    with atomic_folder(path) as folder:
        (folder / _DATA).mkdir()
        writer = _Files(folder / _DATA, split, columns)
        with writer:
            for row in rows:
                writer.add(row)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        card = _card(writer, columns, path.name, text)
        (folder / _README).write_text(card, "utf-8", newline="\n")


# -- Parquet --------------------------------------------------------------------------------------


class _Files:
    """Writes rows to Parquet files of a limited size. Their names are right at the end."""

    def __init__(self, folder: Path, split: str, columns: Sequence[Column]) -> None:
        pa = pyarrow()
        self.folder, self.split = folder, split
        features = {one.name: one.feature() for one in columns}
        self._schema = pa.schema(
            [pa.field(one.name, one.arrow()) for one in columns],
            metadata={"huggingface": json.dumps({"info": {"features": features}})},
        )
        self._pictures = [f"{one.name}.bytes" for one in columns if one.kind == "image"]
        self._writer: Any = None
        self._paths: list[Path] = []
        self._waiting: list[Any] = []
        self._bytes = self._in_file = 0
        self.n_rows = self.n_bytes = 0

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(one.stat().st_size for one in self._paths)

    def add(self, row: Row) -> None:
        """Add a row."""
        one = pyarrow().Table.from_pylist([row], self._schema)
        self._waiting.append(one)
        self._bytes += one.nbytes
        self.n_rows += 1
        self.n_bytes += one.nbytes
        if self._bytes >= _GROUP_BYTES:
            self._write_group()

    def __enter__(self) -> _Files:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._write_group()
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            self._name()

    def _write_group(self) -> None:
        if not self._waiting:
            return
        if self._writer is not None and self._in_file + self._bytes > _FILE_BYTES:
            self._writer.close()
            self._writer = None
        if self._writer is None:
            self._open()
        self._writer.write_table(pyarrow().concat_tables(self._waiting))
        self._in_file += self._bytes
        self._waiting, self._bytes = [], 0

    def _open(self) -> None:
        path = self.folder / f"{len(self._paths)}.parquet"
        self._paths.append(path)
        self._in_file = 0
        self._writer = pyarrow("pyarrow.parquet").ParquetWriter(
            path,
            self._schema,
            compression="zstd",
            use_dictionary=["stop.list.element", "id"],
            write_statistics=["id", "width", "height"],
            write_page_index=True,
        )

    def _name(self) -> None:
        for number, path in enumerate(self._paths):
            name = f"{self.split}-{number:05}-of-{len(self._paths):05}.parquet"
            self._paths[number] = path.rename(self.folder / name)


# -- the card -------------------------------------------------------------------------------------

_TEXT = """
Each row is a photograph and the tree of its regions, without labels. Leaves do not overlap and
cover the photograph. Every other node is the union of its children.

```python
import numpy as np
from datasets import load_dataset

row = load_dataset("PATH", split="SPLIT")[0]
mask = np.asarray(row["mask"])  # (H, W): region j of row["nodes"] is mask == j + 1
leaf = np.asarray(row["leaves"])  # (H, W): the leaf of each pixel

parents = row["parents"]
node, area = row["nodes"][0], row["areas"][row["nodes"][0]]
above = parents[node]  # the region around this one
```

With [regiontree](https://pypi.org/project/regiontree/), a row is a tree again:
`RegionTree(labels=leaf, parents=parents, height=row["heights"])`.
"""


def _card(writer: _Files, columns: Sequence[Column], name: str, text: str) -> str:
    """The text of ``README.md``."""
    path = f"{_DATA}/{writer.split}-*"
    about = {
        "pretty_name": name,
        "task_categories": ["image-segmentation"],
        "tags": [_TAG, "hierarchical-segmentation"],
        "size_categories": [_size(writer.n_rows)],
        "configs": [
            {"config_name": "default", "data_files": [{"split": writer.split, "path": path}]}
        ],
        "dataset_info": {
            "features": [one.card() for one in columns],
            "splits": [
                {
                    "name": writer.split,
                    "num_bytes": writer.n_bytes,
                    "num_examples": writer.n_rows,
                }
            ],
            "download_size": writer.size,
            "dataset_size": writer.n_bytes,
        },
    }
    head = yaml.safe_dump(about, sort_keys=False, allow_unicode=True)
    lines = [f"| `{one.name}` | {_type_text(one)} | {one.meaning} |" for one in columns]
    table = "\n".join(["| column | type | meaning |", "|---|---|---|", *lines])
    said = text.strip().replace("SPLIT", writer.split)
    title = " ".join(name.split()) or "Regions"
    end = f"Made with regiontree {__version__}."
    return f"---\n{head}---\n\n# {title}\n\n{said}\n\n{table}\n\n{end}\n"


def _type_text(column: Column) -> str:
    one = {"image": "Image", "label": "ClassLabel"}.get(column.kind, column.kind)
    return f"list of {one}" if column.many else one


def _size(count: int) -> str:
    """The Hub's word for a number of rows."""
    if count < 1000:
        return "n<1K"
    return next((said for end, said in _SIZES if count < end), "100M<n<1B")


def _require_replaceable(path: Path, others: set[str]) -> None:
    """Check that a folder, if it holds anything, is a data set that was written here.

    Raises
    ------
    ExportError
        It is another folder, or holds something else, which would be lost.
    """
    if not path.is_dir() or not any(path.iterdir()):
        return
    try:
        head = (path / _README).read_text("utf-8").split("\n---\n")[0].removeprefix("---\n")
        known = _TAG in yaml.safe_load(head)["tags"]
    except (OSError, ValueError, LookupError, TypeError, yaml.YAMLError, RecursionError):
        known = False
    here = [one for one in path.iterdir() if one.name not in {_README, _DATA, *others}]
    data = path / _DATA
    inside = [one for one in data.iterdir() if one.suffix != ".parquet"] if data.is_dir() else []
    if other := here + inside:
        said = f"holds {other[0].name}, which is not of this format"
    elif not known:
        said = f"has no {_README} of regiontree"
    else:
        return
    raise ExportError(f"{path}: would be replaced, but {said}; choose another name")
