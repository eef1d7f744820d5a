"""Stores: rows come back as they were, work written twice is one file, and damage is named."""

from __future__ import annotations

import errno
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from hypothesis import given
from hypothesis import strategies as st
from stores import SETTINGS, Killed, MortalFolder, failed_row, rows_equal, tree_row
from trees import hand_tree, trees

pa = pytest.importorskip("pyarrow")

import pyarrow.compute as pc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from regiontree import Forest, RegionTree  # noqa: E402
from regiontree.errors import StoreError  # noqa: E402
from regiontree.forest import idhash, index  # noqa: E402
from regiontree.forest.compact import compact  # noqa: E402
from regiontree.forest.labelmap import label_map, png_of  # noqa: E402
from regiontree.forest.layout import living_files  # noqa: E402
from regiontree.forest.row import Row  # noqa: E402
from regiontree.forest.schema import row_of, schema, table_of  # noqa: E402
from regiontree.forest.store import Store, is_store, open_store  # noqa: E402


def keys(n: int) -> list[str]:
    return [f"folder {i % 3}/photo {i:03}.jpg" for i in range(n)]


def filled(address, n: int = 20, *, part: int = 4):
    """A store with so many trees in parts of a few."""
    store = open_store(address, SETTINGS)
    rows = [tree_row(key) for key in keys(n)]
    for start in range(0, n, part):
        store.add(table_of(rows[start : start + part]))
    return store, rows


# -- rows -----------------------------------------------------------------------------------------


@given(trees(), st.text(max_size=30), st.none() | st.text(max_size=30))
def test_a_row_comes_back_as_it_was(tree, text, notice):
    rows = [
        Row(f"id {text}", text, tree, notice=notice, sha256="0" * 64),
        Row("failed", text, error=text),
    ]
    table = table_of(rows)
    assert table.schema.equals(schema(), check_metadata=True)
    assert all(rows_equal(row_of(table, i), row) for i, row in enumerate(rows))


def test_meta_settings_and_half_precision_come_back():
    numbers = np.array([[0.1, -65504, 6e-8], [np.inf, -0.0, 1 / 3]], np.float16)
    numbers[1, 0] = 3
    tree = RegionTree([[0, 0]], [0], [1.5], embedding=numbers[:1], meta={"settings": {"a": [None]}})
    bare = RegionTree([[0, 1]], [2, 2, 2], [0, 0, 0.1])
    described = RegionTree([[0]], [0], [0], descriptor=numbers[:1])
    steady = RegionTree([[0]], [0], [0], stability=numbers[1, 2:])
    for given_tree in (tree, bare, described, steady):
        back = row_of(table_of([Row("a", "b", given_tree)]), 0).tree
        assert back == given_tree
        assert back.embedding is None or back.embedding.tobytes() == tree.embedding.tobytes()


@pytest.mark.parametrize(("leaves", "mode"), [(256, "L"), (257, "I;16"), (65_537, "RGBA")])
def test_label_maps_are_png_images_of_leaf_numbers(leaves, mode):
    from io import BytesIO

    from PIL import Image

    labels = np.random.default_rng(0).permutation(leaves + 43).reshape(-1, 1) % leaves
    labels = np.hstack([labels, labels]).astype(np.int32)
    data = png_of(labels)
    image = Image.open(BytesIO(data))
    assert image.mode == mode
    shown = np.asarray(image).astype(np.int64)
    if mode == "RGBA":
        shown = shown @ (256 ** np.arange(4))
    assert np.array_equal(shown, labels)
    assert np.array_equal(label_map(data, *labels.shape), labels)


def test_a_row_has_a_tree_or_an_error():
    with pytest.raises(StoreError, match="neither a tree nor an error"):
        table_of([Row("a", "b")])
    with pytest.raises(StoreError, match="both a tree and an error"):
        table_of([Row("a", "b", hand_tree(), error="x")])


def test_names_that_are_no_text(tmp_path):
    with pytest.raises(StoreError, match="is no text of Unicode"):
        table_of([tree_row("a"), replace(tree_row("b"), reference="/photos/\udcff.jpg")])
    store = open_store(tmp_path / "s")
    store.add(table_of([tree_row("a")]))
    assert "\udcff" not in Forest(store)


# -- what a row from elsewhere may hold -----------------------------------------------------------


def changed(table, **columns):
    for name, value in columns.items():
        i = table.schema.get_field_index(name)
        table = table.set_column(
            i, table.schema.field(i), pa.array([value], schema().field(i).type)
        )
    return table


WHITE = png_of(np.zeros((2, 4), np.int32))


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"labels": b"\x89PNG"}, "cut short"),
        ({"labels": WHITE[:40]}, "label map is damaged"),
        ({"labels": b"GIF89a" + bytes(60)}, "no PNG image"),
        ({"labels": WHITE[:16] + b"\x7f\xff\xff\xff" * 2 + WHITE[24:]}, "its row says 2 x 4"),
        ({"height": 1 << 20, "width": 1 << 20}, "its row says"),
        ({"labels": None}, "no labels"),
        ({"meta": None}, "no meta"),
        ({"meta": "[]"}, "meta is not a JSON object"),
        ({"meta": '{"a": NaN}'}, "NaN is not a JSON value"),
        ({"settings": "{"}, "a"),
        ({"parents": [6, 4, 4, 5, 5, 6]}, "labels|parents"),
        ({"areas": [1] * 7}, "areas"),
        ({"embeddings": [0.5] * 13, "embedding_dim": 2}, "13 numbers, not rows of 2"),
        ({"embeddings": [0.1] * 14, "embedding_dim": 2}, "half precision"),
        ({"embeddings": [0.5] * 14, "embedding_dim": None}, "not rows of None"),
        ({"descriptors": [0.5] * 7, "descriptor_dim": 2}, "descriptors are 7 .* not rows of 2"),
        ({"descriptors": [0.1] * 8, "descriptor_dim": 2}, "descriptors .* half precision"),
        ({"descriptors": [0.5] * 8, "descriptor_dim": None}, "not rows of None"),
        ({"descriptors": [0.5] * 6, "descriptor_dim": 2}, "descriptor has 3 rows for 4 leaves"),
        ({"stability": [0.5] * 6}, "stability has 6 entries for 7 nodes"),
        ({"stability": [0.1] * 7}, "stability .* half precision"),
        ({"stability": [-0.5] * 7}, r"stability\[0\] is -0.5"),
        ({"heights": [None] + [0.0] * 6}, "empty entry"),
        ({"stop": None}, "no stop"),
    ],
)
def test_a_damaged_row_is_named(columns, said):
    table = changed(table_of([Row("the id", "b", hand_tree())]), **columns)
    with pytest.raises(StoreError, match=said) as caught:
        row_of(table, 0)
    assert "row 'the id'" in str(caught.value)


# -- the store ------------------------------------------------------------------------------------


def test_a_store_holds_what_was_added(tmp_path):
    store, rows = filled(tmp_path / "s")
    assert is_store(tmp_path / "s")
    assert not is_store(tmp_path)
    store.add(table_of([failed_row("bad")]))
    forest = Forest(tmp_path / "s")
    assert len(forest) == 20
    assert sorted(forest) == sorted(row.id for row in rows)
    assert all(rows_equal(forest.row(row.id), row) for row in rows)
    assert forest.errors() == {"bad": "is no photograph"}
    assert "bad" not in forest
    assert rows[3].id in forest
    assert 3 not in forest
    with pytest.raises(KeyError, match="bad' has no tree: is no photograph"):
        forest["bad"]
    with pytest.raises(KeyError, match="other' does not stand in"):
        forest["other"]


@pytest.mark.parametrize("at_once", [1, 2, 1 << 20])
def test_known_ids(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(index, "_AT_ONCE", at_once)
    store, rows = filled(tmp_path / "s")
    store.add(table_of([failed_row("bad")]))
    asked = ["none", rows[7].id, "bad", rows[0].id, rows[7].id]
    assert store.known(asked).tolist() == [False, True, False, True, True]
    assert store.known(asked, errors=True).tolist() == [False, True, True, True, True]
    assert store.known(pa.chunked_array([asked[:2], asked[2:]])).tolist() == [0, 1, 0, 1, 1]
    assert store.known([]).tolist() == []
    store.compact(final=True)
    assert store.known(asked, errors=True).tolist() == [False, True, True, True, True]


def test_ids_may_be_long_and_hold_anything(tmp_path):
    store = open_store(tmp_path / "s")
    odd = ["", "a/../b", "x" * 2000, "ü/\n\0'\"", "s3://bucket/key?a=b", "🌲" * 500]
    store.add(table_of([tree_row(key) for key in odd]))
    store.compact(final=True)
    forest = Forest(store)
    assert sorted(forest) == sorted(odd)
    assert all(forest[key] == tree_row(key).tree for key in odd)


def test_the_same_work_is_the_same_file(tmp_path):
    tables = [table_of([tree_row(key) for key in keys(3)]), table_of([failed_row(keys(1)[0])])]
    one, two = (open_store(tmp_path / name, SETTINGS) for name in "ab")
    names = [one.add(table) for table in tables]
    assert [two.add(table) for table in tables] == names
    assert one.add(tables[0]) == names[0]
    assert len(set(names)) == 2
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = open_store(tmp_path / "c", {**SETTINGS, "seed": 1})
    assert other.add(tables[0]) != names[0]
    for store in (one, two):
        store.compact(final=True)
    shards = [sorted(p.name for p in (tmp_path / n).glob("*.parquet")) for n in "ab"]
    assert shards[0] == shards[1]


def test_only_tables_of_rows_are_added(tmp_path):
    store = open_store(tmp_path / "s")
    table = table_of([tree_row("a")])
    for bad, said in [
        (pa.table({"id": ["a"]}), "is not of a store"),
        (table.select(["id", "error"]), "does not have the columns"),
        (table.replace_schema_metadata({"regiontree.schema_version": "7"}), "schema version '7'"),
        (table.slice(0, 0), "at least one row"),
    ]:
        with pytest.raises(StoreError, match=said):
            store.add(bad)
    assert living_files(store.folder) == {}


def test_a_store_in_a_worker(tmp_path):
    store, _rows = filled(tmp_path / "s", 4)
    copy = pickle.loads(pickle.dumps(store))
    copy.add(table_of([tree_row("more")]))
    assert Forest(copy)["more"] == tree_row("more").tree


# -- opening --------------------------------------------------------------------------------------


def test_other_settings_are_refused(tmp_path):
    open_store(tmp_path / "s", SETTINGS)
    open_store(tmp_path / "s", SETTINGS)
    open_store(tmp_path / "s")
    with pytest.raises(StoreError, match=r"other settings \(parts 400 -> 100, new None -> 1\)"):
        open_store(tmp_path / "s", {**SETTINGS, "parts": 100, "new": 1})

    def differences(before, now):
        return {} if now["seed"] == 9 else {"seed": (0, 1)}

    open_store(tmp_path / "s", {"seed": 9}, differences=differences)
    with pytest.raises(StoreError, match=r"\(seed 0 -> 1\)"):
        open_store(tmp_path / "s", SETTINGS, differences=differences)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ("[]", "is not of a store"),
        ('{"format": "regiontree store", "schema_version": 99}', "schema version 99, this program"),
        ('{"format": "regiontree store", "schema_version": true}', "schema version True, this"),
        ('{"format": "regiontree store", "schema_version": 1, "settings": 3}', "no JSON object"),
    ],
)
def test_other_stores_are_refused(tmp_path, text, said):
    (tmp_path / "_store.json").write_text(text)
    with pytest.raises(StoreError, match=said):
        open_store(tmp_path)


def older_store(path: Path, rows: list[Row], version: int) -> Path:
    """A store of schema version 1, without descriptors and stability, or 2, without stability."""
    newer = ["stability"] if version == 2 else ["descriptors", "descriptor_dim", "stability"]
    table = table_of(rows).drop_columns(newer)
    path.mkdir()
    table = table.replace_schema_metadata(schema(version).metadata)
    pq.write_table(table, path / "shard-1.parquet")
    record = {"format": "regiontree store", "schema_version": version, "settings": SETTINGS,
              "software": "regiontree 0.1"}  # fmt: skip
    (path / "_store.json").write_text(json.dumps(record))
    return path


def test_a_store_of_the_first_version_is_read_but_not_written_to(tmp_path):
    rows = [tree_row("a"), tree_row("b", dim=None), failed_row("c")]
    store = open_store(older_store(tmp_path / "old", rows, 1))
    forest = Forest(store)
    for row in rows[:2]:
        tree = row.tree
        arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
        assert forest[row.id] == RegionTree(*arrays, meta=tree.meta)
    assert list(forest.errors()) == ["c"]
    table = forest.table(["id", "descriptor_dim", "embedding_dim"])
    assert table.column("descriptor_dim").null_count == 3
    assert sorted(table.column("embedding_dim").to_pylist(), key=str) == [8, None, None]
    assert forest.table(["descriptor_dim"]).num_rows == 3
    assert forest.table(["descriptors", "heights"]).column("descriptors").null_count == 3
    assert set(forest.filter(pc.field("descriptor_dim").is_null())) == {"a", "b"}
    before = sorted(p.name for p in (tmp_path / "old").rglob("*"))
    for write in (
        lambda: store.add(table_of(rows)),
        lambda: store.compact(final=True),
        lambda: store.writing("segment").__enter__(),
    ):
        with refused(StoreError, str(tmp_path / "old"), "version 1", "choose another store"):
            write()
    assert sorted(p.name for p in (tmp_path / "old").rglob("*")) == before


def test_a_store_of_the_second_version_has_no_stability(tmp_path):
    rows = [tree_row("a"), failed_row("c")]
    store = open_store(older_store(tmp_path / "old", rows, 2))
    tree = rows[0].tree
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    assert tree.stability is not None
    assert Forest(store)["a"] == RegionTree(*arrays, meta=tree.meta, descriptor=tree.descriptor)
    assert Forest(store).table(["stability"]).column("stability").null_count == 2
    with refused(StoreError, "version 2", "choose another store"):
        store.add(table_of(rows))


def test_a_folder_of_trees_becomes_no_store(tmp_path):
    hand_tree().save(tmp_path / "a.npz")
    with pytest.raises(StoreError, match=r"holds trees as files \(a.npz\)"):
        open_store(tmp_path)


def test_a_store_must_be_there(tmp_path):
    with pytest.raises(StoreError, match="is no store of trees"):
        open_store(tmp_path, create=False)
    with pytest.raises(StoreError, match="holds no trees"):
        Forest(tmp_path)
    with pytest.raises(StoreError, match="no such"):
        Forest(tmp_path / "none")
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be"):
        open_store(tmp_path / "file" / "s", SETTINGS)


def test_without_pyarrow_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from regiontree.forest.store import open_store\n"
        f"open_store({str(tmp_path / 's')!r})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "MissingExtraError" in done.stderr
    assert "pip install 'regiontree[store]'" in done.stderr


# -- compaction -----------------------------------------------------------------------------------


def contents(store) -> dict[str, Row]:
    """All rows of a store, each id once."""
    store.refresh()
    rows = list(Forest(store).rows())
    assert len({row.id for row in rows}) == len(rows)
    assert Forest(store).n_rows == len(rows)
    return {row.id: row for row in rows}


def same(one: dict[str, Row], other: dict[str, Row]) -> bool:
    return one.keys() == other.keys() and all(rows_equal(one[k], other[k]) for k in one)


def test_compaction_keeps_every_row(tmp_path):
    store, _rows = filled(tmp_path / "s")
    store.add(table_of([failed_row("bad")]))
    before = contents(store)
    assert store.compact() == []  # the parts do not fill a shard
    names = store.compact(final=True)
    assert len(names) == 2  # trees, and rows without one
    assert sorted(names) == sorted(p.name for p in (tmp_path / "s").glob("*.parquet"))
    assert not list((tmp_path / "s" / "_parts").glob("*.parquet"))
    assert same(contents(store), before)
    assert store.compact(final=True) == []


def test_rows_of_trees_lie_in_the_order_of_their_ids(tmp_path):
    store = open_store(tmp_path / "s")
    for key in np.random.default_rng(0).permutation(keys(12)).tolist():
        store.add(table_of([tree_row(key)]))
    store.compact(final=True)
    assert list(Forest(store)) == sorted(keys(12))


def test_shards_have_about_the_size_that_is_asked(tmp_path):
    store, _rows = filled(tmp_path / "s", 90, part=3)
    before = contents(store)
    size = max(living_files(store.folder).values())
    shards = compact(store.folder, SETTINGS, final=False, shard_bytes=4 * size)
    assert len(shards) >= 4
    assert same(contents(store), before)
    compact(store.folder, SETTINGS, final=True, shard_bytes=4 * size)
    store.add(table_of([tree_row("a later one")]))
    compact(store.folder, SETTINGS, final=True, shard_bytes=4 * size)
    assert len(contents(store)) == 91
    small = [s for s in living_files(store.folder).values() if s < 2 * size]
    assert len(small) <= 1


def test_an_id_in_two_parts_comes_once(tmp_path):
    store = open_store(tmp_path / "s", SETTINGS)
    store.add(table_of([tree_row(key) for key in "abc"]))
    store.add(table_of([tree_row(key) for key in "cde"]))
    store.add(table_of([tree_row("e"), tree_row("f"), tree_row("f")]))
    assert sorted(contents(store)) == list("abcdef")
    assert len(Forest(store)) == 6
    store.compact(final=True)
    assert sorted(contents(store)) == list("abcdef")
    store.add(table_of([tree_row("a"), tree_row("g")]))
    assert len(Forest(store)) == 7
    store.compact(final=True)
    (shard,) = (tmp_path / "s").glob("*.parquet")
    assert sorted(pq.read_table(shard)["id"].to_pylist()) == list("abcdefg")


def test_a_success_replaces_an_error_and_not_the_other_way(tmp_path):
    store = open_store(tmp_path / "s", SETTINGS)
    store.add(table_of([failed_row("a"), failed_row("b"), tree_row("c")]))
    store.compact(final=True)
    assert Forest(store).errors().keys() == {"a", "b"}
    store.add(table_of([tree_row("a"), failed_row("c", "out of memory")]))
    for _ in range(2):
        forest = Forest(store)
        assert sorted(forest) == ["a", "c"]
        assert forest.errors().keys() == {"b"}
        assert store.known(["a", "b", "c"]).tolist() == [True, False, True]
        store.compact(final=True)
    tables = [pq.read_table(path) for path in (tmp_path / "s").glob("*.parquet")]
    assert sorted(key for table in tables for key in table["id"].to_pylist()) == ["a", "b", "c"]


@pytest.mark.parametrize("after", [False, True])
def test_compaction_may_be_killed_at_any_point(tmp_path, after):
    def prepared(path):
        store, _ = filled(path, 12, part=2)
        store.compact(final=True)
        store.add(table_of([failed_row("bad"), tree_row("x")]))
        store.add(table_of([tree_row("y"), tree_row("x")]))
        return store

    whole = contents(prepared(tmp_path / "whole"))
    dies_at = 0
    while True:
        dies_at += 1
        store = prepared(tmp_path / f"s{dies_at}")
        folder = MortalFolder(store.folder.path, dies_at, after=after)
        try:
            compact(folder, SETTINGS, final=True)
        except Killed:
            assert same(contents(store), whole), dies_at
            assert store.known(list(whole), errors=True).all()
            store.compact(final=True)
        else:
            break
        assert same(contents(store), whole), dies_at
        tables = [pq.read_table(p)["id"].to_pylist() for p in store.folder.path.glob("*.parquet")]
        assert sorted(chain.from_iterable(tables)) == sorted(whole), dies_at
    assert dies_at > 8


def test_a_reader_survives_a_compaction(tmp_path):
    store, rows = filled(tmp_path / "s")
    forest = Forest(tmp_path / "s")
    assert forest[rows[0].id] == rows[0].tree
    store.compact(final=True)
    assert all(forest[row.id] == row.tree for row in rows)


# -- damage ---------------------------------------------------------------------------------------


def test_damaged_and_foreign_files_are_named_and_the_rest_is_read(tmp_path):
    store, rows = filled(tmp_path / "s", 8)
    parts = sorted((tmp_path / "s" / "_parts").iterdir())
    data = parts[0].read_bytes()
    (tmp_path / "s" / "_parts" / "cut.parquet").write_bytes(data[: len(data) // 2])
    parts[0].unlink()
    pq.write_table(pa.table({"a": [1]}), tmp_path / "s" / "foreign.parquet")
    (tmp_path / "s" / "text.parquet").write_text("hello")
    forest = Forest(store)
    assert len(forest) == 4
    said = forest.problems
    assert len(said) == 3
    assert "is not of a store" in said["foreign.parquet"]
    assert "damaged" in said["text.parquet"]
    assert "damaged" in said["_parts/cut.parquet"]
    assert store.known([row.id for row in rows]).sum() == 4
    store.compact(final=True)
    assert len(Forest(store)) == 4
    assert Forest(store).problems.keys() == {"foreign.parquet", "text.parquet"}
    assert [path.name for path in (tmp_path / "s" / "_damaged").iterdir()] == ["cut.parquet"]


def damage_pages(path) -> None:
    """Overwrite the numbers of a Parquet file, but not its end."""
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    for start in range(100, middle, 50):
        data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)


def test_a_part_whose_rows_are_damaged_is_put_aside(tmp_path):
    store, rows = filled(tmp_path / "s", 8)
    part = sorted((tmp_path / "s" / "_parts").iterdir())[0]
    damage_pages(part)
    store.compact(final=True)
    assert len(contents(store)) == 4
    assert [path.name for path in (tmp_path / "s" / "_damaged").iterdir()] == [part.name]
    assert store.known([row.id for row in rows]).sum() == 4


def test_damaged_rows_of_a_shard_are_named_one_by_one(tmp_path):
    store, _rows = filled(tmp_path / "s", 8)
    store.compact(final=True)
    (shard,) = (tmp_path / "s").glob("*.parquet")
    table = pq.read_table(shard)
    labels = table["labels"].to_pylist()
    labels[2] = b"no PNG"
    i = table.schema.get_field_index("labels")
    pq.write_table(table.set_column(i, table.schema.field(i), [labels]), shard)
    forest = Forest(tmp_path / "s")
    found = {row.id: row for row in forest.rows()}
    bad = table["id"][2].as_py()
    assert len(found) == 8
    assert found[bad].tree is None
    assert "label map" in found[bad].error
    with pytest.raises(StoreError, match="label map"):
        forest[bad]


@pytest.mark.parametrize("seed", range(6))
def test_damage_anywhere_is_a_store_error_or_none(tmp_path, seed):
    store, _ = filled(tmp_path / "s", 6)
    store.compact(final=True)
    (shard,) = (tmp_path / "s").glob("*.parquet")
    whole = shard.read_bytes()
    rng = np.random.default_rng(seed)
    named = 0
    for _ in range(40):
        data = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            start = int(rng.integers(0, len(data)))
            length = int(rng.integers(1, 20))
            data[start : start + length] = rng.bytes(len(data[start : start + length]))
        shard.write_bytes(data[: int(rng.integers(0, len(data)))] if seed == 0 else data)
        shutil.rmtree(tmp_path / "s" / "_index", ignore_errors=True)
        forest = Forest(tmp_path / "s")
        try:
            rows = list(forest.rows())
            forest.errors()
            forest.table()
        except StoreError as error:
            rows = []
            assert "damaged" in str(error)  # noqa: PT017
        named += len(rows) < 6 or any(row.error for row in rows)
    assert named > 10


def test_a_journal_removes_no_other_file(tmp_path):
    store, _ = filled(tmp_path / "s", 4)
    (tmp_path / "precious.parquet").write_text("mine")
    for name in (
        "../precious.parquet",
        str(tmp_path / "precious.parquet"),
        "a/b.parquet",
        "_store.json",
    ):
        journal = {"new": [], "replaced": [name], "is_done": True}
        (tmp_path / "s" / "_journal.json").write_text(json.dumps(journal))
        with pytest.raises(StoreError, match="damaged"):
            store.compact(final=True)
    assert (tmp_path / "precious.parquet").exists()


# -- the index ------------------------------------------------------------------------------------


def test_an_index_is_kept_and_made_anew(tmp_path, monkeypatch):
    store, rows = filled(tmp_path / "s")
    store.compact(final=True)
    kept = sorted((tmp_path / "s" / "_index").iterdir())
    assert [path.suffix for path in kept] == [".json", ".npy"]
    read = []
    original = index.TableFile
    monkeypatch.setattr(index, "TableFile", lambda *a: (read.append(a[1]), original(*a))[1])
    forest = Forest(tmp_path / "s")
    assert forest[rows[5].id] == rows[5].tree
    assert read == []  # no shard is read to look up an id but the one that has it
    store.add(table_of([tree_row("new")]))
    assert Forest(store)["new"] == tree_row("new").tree
    assert [name.startswith("_parts/") for name in read] == [True]
    for damaged in (b"", kept[1].read_bytes()[:200], b"x" * 400):
        kept[1].write_bytes(damaged)
        assert len(Forest(tmp_path / "s")) == 21
    kept[0].write_text("{}")
    assert len(Forest(tmp_path / "s")) == 21


def test_an_index_is_kept_when_many_rows_are_outside(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "_FEW", 3)
    store, rows = filled(tmp_path / "s")
    assert store.known([rows[0].id]).all()
    assert list((tmp_path / "s" / "_index").glob("*.npy"))
    assert all(Forest(tmp_path / "s")[row.id] == row.tree for row in rows)


def test_an_index_of_other_files_gives_no_wrong_tree(tmp_path):
    store, rows = filled(tmp_path / "s")
    store.compact(final=True)
    (npy,) = (tmp_path / "s" / "_index").glob("*.npy")
    numbers = np.load(npy)
    numbers[2] = numbers[2][::-1]
    np.save(npy, numbers)
    with pytest.raises(StoreError, match="remove its folder _index"):
        Forest(tmp_path / "s")[rows[0].id]


@given(st.lists(st.text(max_size=40), min_size=1), st.integers(0, 5), st.integers(0, 5))
def test_both_ways_to_hash_agree(texts, start, end):
    array = pa.array(texts, pa.large_string())
    _, bounds, data = array.buffers()
    offsets = np.frombuffer(bounds, np.int64)[: len(texts) + 1]
    octets = np.frombuffer(data if data is not None and data.size else b"\0", np.uint8)
    hashes = idhash.hash_ids(texts)
    assert np.array_equal(idhash._hashed(octets, offsets), hashes)
    assert np.array_equal(idhash._hashed_slower(octets, offsets), hashes)
    assert len(np.unique(hashes, axis=0)) == len(set(texts))
    part = slice(min(start, len(texts)), max(start, len(texts) - end))
    assert np.array_equal(idhash.hash_ids(array[part]), hashes[part])


HASHES = [
    "9ca066f1a4ab2eea0ff2e69699c4857e",
    "ead89c735e11644e0e27b9b8672341d5",
    "c929ab0c17618506fdd60ce99cf2c463",
]


def test_hashes_are_the_same_on_every_machine():
    hashes = idhash.hash_ids(["", "photo.jpg", "a" * 17]).tolist()
    assert [f"{a:016x}{b:016x}" for a, b in hashes] == HASHES


def test_equal_first_halves_of_hashes_are_told_apart(tmp_path, monkeypatch):
    original = idhash.hash_ids

    def weak(ids):
        hashes = original(ids).copy()
        hashes[:, 0] %= np.uint64(3)
        return hashes

    monkeypatch.setattr(index, "hash_ids", weak)
    store, rows = filled(tmp_path / "s")
    store.add(table_of([tree_row(rows[0].id), failed_row("bad")]))
    assert same(contents(store), {**{r.id: r for r in rows}, "bad": failed_row("bad")})
    store.compact(final=True)
    assert same(contents(store), {**{r.id: r for r in rows}, "bad": failed_row("bad")})
    assert not store.known(["x", "y", "z"], errors=True).any()


# -- two writers ----------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_writes(tmp_path):
    store, other = (open_store(tmp_path / "s") for _ in range(2))
    with store.writing("segment"):
        with pytest.raises(StoreError, match=r"'regiontree segment' \(process \d+ on .*, since 20"):
            other.writing("convert").__enter__()
        other.add(table_of([tree_row("a")]))  # workers need no sign
        other.compact(final=True)
    with other.writing("convert"):
        pass


def test_a_killed_writer_keeps_nobody_out(tmp_path):
    code = (
        "import os, time\n"
        "from regiontree.forest.store import open_store\n"
        f"with open_store({str(tmp_path / 's')!r}).writing('segment'):\n"
        "    print('writing', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        store = open_store(tmp_path / "s")
        with pytest.raises(StoreError, match=f"process {process.pid} "):
            store.writing("convert").__enter__()
        process.kill()
    with store.writing("convert"):
        pass


def test_a_sign_of_another_machine_becomes_stale(tmp_path):
    store = open_store(tmp_path / "s")
    sign = {"doing": "segment", "machine": "elsewhere", "process": 1, "since": "then", "token": "x"}
    path = tmp_path / "s" / "_writing.json"
    path.write_text(json.dumps({**sign, "renewed": time.time() - 60}))
    with pytest.raises(StoreError, match="process 1 on elsewhere, since then"):
        store.writing("convert").__enter__()
    for text in (json.dumps({**sign, "renewed": time.time() - 180}), "", "{", "[]"):
        path.write_text(text)
        with store.writing("convert"):
            pass
        assert not path.exists()


def test_one_compaction_at_a_time(tmp_path):
    store, _ = filled(tmp_path / "s")
    sign = {"doing": "compacting", "machine": "x", "process": 1, "since": "y", "token": "z"}
    (tmp_path / "s" / "_compacting.json").write_text(json.dumps({**sign, "renewed": time.time()}))
    with pytest.raises(StoreError, match="compacting"):
        store.compact(final=True)


def test_a_compaction_that_was_taken_for_dead_changes_nothing(tmp_path):
    """It finds another command's sign before it changes what others see."""
    store, rows = filled(tmp_path / "s")
    path = tmp_path / "s" / "_compacting.json"

    class Slow(MortalFolder):
        def writing(self, name):
            if name.startswith("shard-"):
                path.write_text(json.dumps({**json.loads(path.read_text()), "token": "another"}))
            return super().writing(name)

    slow = Store(Slow(tmp_path / "s"), store.record)
    with pytest.raises(StoreError, match="another command has begun to write"):
        slow.compact(final=True)
    assert path.exists()  # it is the other's
    path.unlink()
    assert len(contents(store)) == len(rows)
    store.compact(final=True)
    assert len(contents(store)) == len(rows)


def test_a_full_disk_is_said_and_leaves_no_part(tmp_path, monkeypatch):
    store, _ = filled(tmp_path / "s", 4)
    before = living_files(store.folder)

    def full(self, table):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("regiontree.forest.store.TableWriter.write", full)
    with pytest.raises(StoreError, match=r"part-\w+.parquet: cannot be written \(No space left"):
        store.add(table_of([tree_row("b")]))
    assert living_files(store.folder) == before
    assert [p for p in (tmp_path / "s" / "_parts").iterdir() if p.suffix == ".tmp"] == []


# -- the forest -----------------------------------------------------------------------------------


def test_filters_and_tables(tmp_path):
    store, rows = filled(tmp_path / "s", 12)
    store.add(table_of([failed_row("bad"), replace(tree_row("wide", shape=(3, 40)), notice="n")]))
    store.compact(final=True)
    forest = Forest(store)
    wide = forest.filter(pc.field("width") > 20)
    assert list(wide) == ["wide"]
    assert "wide" in wide
    assert rows[0].id not in wide
    with pytest.raises(KeyError):
        wide[rows[0].id]
    assert list(forest.filter(lambda row: row["notice"], ["notice"])) == ["wide"]
    assert len(forest.filter(pc.field("error").is_null())) == 13
    rest = forest.filter(lambda row: row["width"] == 13)
    assert (len(rest), rest.n_rows, rest.errors()) == (12, 12, {})
    assert len(rest.filter(lambda row: row["id"].startswith("folder 1"))) == 4
    assert [row.id for row in wide.rows()] == ["wide"]
    assert wide.table(["id", "width"]).to_pylist() == [{"id": "wide", "width": 40}]
    assert len(forest.table()) == 14
    assert "labels" not in forest.table().column_names
    assert [record["id"] for record in wide.records()] == ["wide"]
    with pytest.raises(StoreError, match="no column 'widht'; did you mean 'width'"):
        forest.table(["widht"])
    with pytest.raises(StoreError, match="true or false"):
        forest.filter(pc.field("width"))


def test_an_empty_store_is_an_empty_forest(tmp_path):
    forest = Forest(open_store(tmp_path / "s"))
    assert (len(forest), list(forest), list(forest.rows()), forest.errors()) == (0, [], [], {})
    assert len(forest.table()) == 0
    assert "a" not in forest
