"""Folders of trees to stores and back: every byte of every tree file, and every column of a row."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from stores import SETTINGS, failed_row, rows_equal, tree_row
from trees import random_tree
from typer.testing import CliRunner

pytest.importorskip("pyarrow")

from regiontree import Forest, RegionTree
from regiontree.cli import app
from regiontree.errors import StoreError
from regiontree.forest import convert as converting
from regiontree.forest.convert import convert, tree_name
from regiontree.forest.schema import table_of
from regiontree.forest.store import open_store


@pytest.fixture
def folder(tmp_path) -> Path:
    """Seven trees in folders, one of them with pixels without data."""
    for i in range(6):
        tree_row(f"{i}.jpg", i, dim=None if i == 3 else 8).tree.save(
            tmp_path / "trees" / f"sub {i % 2}" / f"photo {i}.npz"
        )
    random_tree(np.random.default_rng(0), 9, (30, 20)).save(tmp_path / "trees" / "no meta.npz")
    return tmp_path / "trees"


def tree_bytes(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*.npz")}


def contents(address) -> dict:
    return {row.id: row for row in Forest(address).rows()}


def test_a_folder_comes_back_byte_for_byte(folder, tmp_path):
    result = convert(folder, tmp_path / "STORE")
    assert (result.done, result.skipped, result.failed, result.problems) == (7, 0, {}, {})
    forest = Forest(tmp_path / "STORE")
    assert sorted(forest)[:2] == ["no meta", "sub 0/photo 0"]
    assert forest["sub 0/photo 0"] == RegionTree.load(folder / "sub 0" / "photo 0.npz")
    convert(tmp_path / "STORE", tmp_path / "back")
    assert tree_bytes(tmp_path / "back") == tree_bytes(folder)


ODD = ["a/b.jpg", "a/b", "A/B", "a", "../out", "/abs", "", "x" * 2000, "nul\0", "s3://b/k", "a//b",
       "con:1", ".hidden/a", "ids/mine", "a\\b", "dot./a", "é/ü 🌲.png"]  # fmt: skip


def test_a_store_comes_back_row_for_row(tmp_path):
    store = open_store(tmp_path / "STORE", SETTINGS)
    rows = [tree_row(key) for key in ODD]
    rows += [failed_row("bad", "é\nü"), failed_row("a/b.jpg/c")]
    store.add(table_of(rows))
    store.compact(final=True)
    convert(tmp_path / "STORE", tmp_path / "out" / "trees")
    outside = [p for p in tmp_path.rglob("*.npz") if tmp_path / "out" / "trees" not in p.parents]
    assert outside == []
    assert (tmp_path / "out" / "trees" / "a" / "b.jpg.npz").is_file()
    between = contents(tmp_path / "out" / "trees")
    assert between.keys() == {row.id for row in rows}
    assert all(rows_equal(between[row.id], row) for row in rows)
    convert(tmp_path / "out" / "trees", tmp_path / "again")
    after = contents(tmp_path / "again")
    assert after.keys() == {row.id for row in rows}
    assert all(rows_equal(after[row.id], row) for row in rows)
    assert open_store(tmp_path / "again").record["settings"] == SETTINGS


@pytest.mark.parametrize("key", ODD)
def test_names_of_trees_stay_in_their_folder(key):
    name = tree_name(key)
    assert name.endswith(".npz")
    assert not name.startswith(("/", "."))
    assert ".." not in name.split("/")
    assert all(len(part.encode()) <= 255 for part in name.split("/"))


def test_trees_of_several_settings_make_a_store_of_any(folder, tmp_path):
    convert(folder, tmp_path / "STORE")
    assert open_store(tmp_path / "STORE").record["settings"] is None


def test_it_goes_on_where_it_was(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(converting, "_PART_BYTES", 1)
    monkeypatch.setattr(converting, "_PARTS_AT_ONCE", 2)

    class StopError(Exception):
        pass

    def stopping(after):
        left = [after]

        def advance(said):
            left[0] -= 1
            if not left[0]:
                raise StopError

        return advance

    for source, out in ((folder, tmp_path / "STORE"), (tmp_path / "STORE", tmp_path / "back")):
        with pytest.raises(StopError):
            convert(source, out, stopping(3))
        result = convert(source, out)
        assert (result.done + result.skipped, result.failed) == (7, {})
        assert result.skipped >= 2
        assert convert(source, out).skipped == 7
    assert tree_bytes(tmp_path / "back") == tree_bytes(folder)


def test_a_last_line_that_is_cut_short_is_written_again(folder, tmp_path):
    convert(folder, tmp_path / "STORE")
    convert(tmp_path / "STORE", tmp_path / "back")
    lines = tmp_path / "back" / "rows.jsonl"
    data = lines.read_bytes()
    lines.write_bytes(data[:-20])
    assert len(contents(tmp_path / "back")) == 7
    assert convert(tmp_path / "STORE", tmp_path / "back").done == 1
    assert lines.read_bytes() == data
    lines.write_bytes(b"{}\n" + data)
    with pytest.raises(StoreError, match=r"rows.jsonl, line 1: is no row"):
        Forest(tmp_path / "back")


def test_damaged_trees_are_named_and_the_rest_goes_on(folder, tmp_path):
    (folder / "bad.npz").write_bytes(b"not a tree")
    result = convert(folder, tmp_path / "STORE")
    assert (result.done, list(result.failed)) == (7, ["bad"])
    assert "bad.npz: damaged or not a region tree" in result.failed["bad"]
    assert "bad" not in Forest(tmp_path / "STORE").errors()


def test_no_other_tree_is_replaced(folder, tmp_path):
    convert(folder, tmp_path / "STORE")
    other = random_tree(np.random.default_rng(5), 3, (4, 4)).save(tmp_path / "back" / "no meta.npz")
    before = other.read_bytes()
    result = convert(tmp_path / "STORE", tmp_path / "back")
    assert (result.done, list(result.failed)) == (6, ["no meta"])
    assert "is another tree" in result.failed["no meta"]
    assert other.read_bytes() == before


def test_an_error_that_became_a_tree(tmp_path):
    store = open_store(tmp_path / "STORE")
    store.add(table_of([failed_row("a"), tree_row("b")]))
    convert(tmp_path / "STORE", tmp_path / "back")
    store.add(table_of([tree_row("a")]))
    store.compact(final=True)
    result = convert(tmp_path / "STORE", tmp_path / "back")
    assert (result.done, result.skipped) == (1, 1)
    assert rows_equal(contents(tmp_path / "back")["a"], tree_row("a"))
    other = open_store(tmp_path / "OTHER", SETTINGS)
    other.add(table_of([failed_row("a"), failed_row("c")]))
    result = convert(tmp_path / "back", tmp_path / "OTHER")
    assert (result.done, result.skipped) == (2, 0)
    assert list(Forest(tmp_path / "OTHER").errors()) == ["c"]


def test_folders_are_forests_too(folder):
    forest = Forest(folder)
    assert len(forest) == 7
    assert "sub 1/photo 1" in forest
    assert forest["sub 1/photo 1"] == RegionTree.load(folder / "sub 1" / "photo 1.npz")
    names = ["id", "height", "width", "embedding_dim", "descriptor_dim"]
    table = forest.table(names).to_pylist()
    assert [table[0][name] for name in names] == ["no meta", 30, 20, None, None]
    assert [table[1][name] for name in names[3:]] == [8, 9]
    import pyarrow.compute as pc

    assert list(forest.filter(pc.field("height") == 30)) == ["no meta"]
    assert list(forest.filter(pc.list_value_length(pc.field("parents")) < 3)) == [
        key for key in forest if forest[key].n_nodes < 3
    ]
    assert forest.table(["parents"])["parents"][0].as_py() == forest["no meta"].parents.tolist()
    (folder / "bad.npz").write_bytes(b"not a tree")
    rows = {row.id: row for row in Forest(folder).rows()}
    assert "not a region tree" in rows["bad"].error
    assert len(rows) == 8
    assert "not a region tree" in Forest(folder).errors()["bad"]


def test_a_folder_needs_no_pyarrow(folder):
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from regiontree import Forest\n"
        f"forest = Forest({str(folder)!r})\n"
        "print(len(forest), len(list(forest.rows())), forest.errors(), forest['no meta'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.startswith("7 7 {} RegionTree of 30 x 20"), done.stderr


# -- the command ----------------------------------------------------------------------------------


def called(*arguments) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["convert", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_the_command(folder, tmp_path):
    code, _, said = called(folder, "-o", tmp_path / "STORE")
    assert code == 0
    assert f"7 done, 0 skipped, 0 failed; wrote {tmp_path / 'STORE'}" in said
    (folder / "bad.npz").write_bytes(b"not a tree")
    code, printed, said = called(folder, "-o", tmp_path / "STORE", "--json")
    assert code == 1
    assert "failed: " in said
    report = json.loads(printed)
    assert (report["planned"], report["done"], report["skipped"]) == (8, 0, 7)
    assert list(report["failed"]) == ["bad"]
    assert called(tmp_path / "STORE", "-o", tmp_path / "back")[0] == 0


@pytest.mark.parametrize(
    ("source", "out", "said"),
    [
        ("none", "STORE", "no such"),
        ("STORE", "STORE", "is a store, and so is the input"),
        ("STORE", "s3://bucket/trees", "a folder of this machine"),
        ("empty", "out", "holds no trees"),
    ],
)
def test_the_command_refuses(tmp_path, source, out, said):
    open_store(tmp_path / "STORE").add(table_of([tree_row("a")]))
    (tmp_path / "empty").mkdir()
    target = out if "://" in out else tmp_path / out
    code, _, printed = called(tmp_path / source, "-o", target)
    assert code == 2
    assert said in printed


def test_the_command_when_all_trees_are_damaged(tmp_path):
    (tmp_path / "trees").mkdir()
    (tmp_path / "trees" / "bad.npz").write_bytes(b"not a tree")
    assert called(tmp_path / "trees", "-o", tmp_path / "STORE")[0] == 2


def test_the_command_that_is_interrupted(folder, tmp_path, monkeypatch):
    @contextmanager
    def interruptible():
        def check():
            raise KeyboardInterrupt

        yield check

    with monkeypatch.context() as patch:
        patch.setattr(converting, "interruptible", interruptible)
        code, printed, said = called(folder, "-o", tmp_path / "STORE", "--json")
    assert code == 130
    assert "run the same command again to do the rest" in said
    assert json.loads(printed)["interrupted"]
    assert called(folder, "-o", tmp_path / "STORE")[0] == 0
    assert len(Forest(tmp_path / "STORE")) == 7
