"""A store in the programs that people have: DuckDB, Polars, pandas and Hugging Face datasets."""

from __future__ import annotations

import json
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from stores import SETTINGS, failed_row, tree_row

pytest.importorskip("pyarrow")

from regiontree import RegionTree
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.store import open_store


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    bare = RegionTree([[0, 1], [1, 1]], [2, 2, 2], [0, 0, 0.5])
    return [
        *(tree_row(f"a/{i}.jpg", shape=(6 + i, 9)) for i in range(5)),
        Row("without embedding", "x", bare),
        failed_row("bad"),
    ]


@pytest.fixture(scope="module")
def files(tmp_path_factory, rows) -> str:
    """The files of a store, as its page names them."""
    folder = tmp_path_factory.mktemp("stores") / "STORE"
    store = open_store(folder, SETTINGS)
    for start in range(0, len(rows), 2):
        store.add(table_of(rows[start : start + 2]))
    store.compact(final=True)
    return f"{folder}/*.parquet"


def check(rows: list[Row], found: dict[str, dict]) -> None:
    """Every number of every row, as another program reads it."""
    assert found.keys() == {row.id for row in rows}
    for row in rows:
        other = found[row.id]
        assert other["reference"] == row.reference
        if row.tree is None:
            assert other["error"] == row.error
            continue
        tree = row.tree
        assert (other["height"], other["width"]) == tree.shape
        assert np.array_equal(np.asarray(Image.open(BytesIO(other["labels"]))), tree.labels)
        lists = {
            "parents": tree.parents,
            "heights": tree.height,
            "ncut": tree.ncut,
            "stop": tree.stop,
            "areas": tree.area,
        }
        for name, array in lists.items():
            assert np.array_equal(np.asarray(other[name]), array), name
        if tree.embedding is not None:
            numbers = np.asarray(other["embeddings"]).reshape(-1, int(other["embedding_dim"]))
            assert np.array_equal(numbers, tree.embedding)
        meta = json.loads(other["meta"])
        if "settings" in tree.meta:
            meta["settings"] = json.loads(other["settings"])
        assert meta == tree.meta


def test_duckdb(files, rows):
    duckdb = pytest.importorskip("duckdb")
    query = duckdb.sql(f"SELECT * FROM '{files}'")
    found = [dict(zip(query.columns, row, strict=True)) for row in query.fetchall()]
    check(rows, {row["id"]: row for row in found})
    counted = duckdb.sql(f"SELECT count(*), sum(len(parents)) FROM '{files}' WHERE error IS NULL")
    assert counted.fetchall() == [(6, sum(row.tree.n_nodes for row in rows if row.tree))]


def test_polars(files, rows):
    polars = pytest.importorskip("polars")
    check(rows, {row["id"]: row for row in polars.read_parquet(files).to_dicts()})
    lazy = polars.scan_parquet(files).filter(polars.col("height") > 8).select("id").collect()
    assert sorted(lazy["id"].to_list()) == ["a/3.jpg", "a/4.jpg"]


def test_pandas(files, rows):
    pandas = pytest.importorskip("pandas")
    from glob import glob

    frame = pandas.concat(map(pandas.read_parquet, glob(files)))
    check(rows, {row["id"]: row for row in frame.to_dict("records")})


@pytest.mark.parametrize("streaming", [False, True])
def test_datasets(files, rows, tmp_path, streaming):
    datasets = pytest.importorskip("datasets")
    data = datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=str(tmp_path), streaming=streaming
    )
    check(rows, {row["id"]: row for row in data})
    if not streaming:
        trees = data.filter(lambda row: row["labels"] is not None)
        shown = trees.cast_column("labels", datasets.Image())
        sizes = {row["id"]: row["labels"].size[::-1] for row in shown}
        assert sizes == {row.id: row.tree.shape for row in rows if row.tree}


def test_encodings_that_every_reader_knows(files):
    """Spark's vectorised reader knows these, but for example not BYTE_STREAM_SPLIT."""
    from glob import glob

    import pyarrow.parquet as pq

    known = {"PLAIN", "RLE", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}
    for file in glob(files):
        footer = pq.ParquetFile(file).metadata
        for group in range(footer.num_row_groups):
            for column in range(footer.num_columns):
                chunk = footer.row_group(group).column(column)
                assert set(chunk.encodings) <= known, chunk.path_in_schema
                assert chunk.compression in ("ZSTD", "UNCOMPRESSED")
