"""Commands that take trees take a store: the same results as from a folder of the same trees."""

from __future__ import annotations

import gc
import json
import re
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sources import serving, tar_of
from storerows import DAMAGED, rows_of, store_of_rows, tree_for, trees_in_files
from test_experiments import make_data, run_config
from test_sources import photograph
from typer.testing import CliRunner

pytest.importorskip("pyarrow", reason="the extra 'store' is not installed")

from regiontree import RegionTree
from regiontree.cli import app
from regiontree.errors import ExportError, StoreError, TreeFileError
from regiontree.export import FORMATS, find_format
from regiontree.export.command import run as export
from regiontree.forest import schema
from regiontree.forest.listing import Joined, list_trees, only_tree, split_stores
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.sources import open_found, open_outline, open_source
from regiontree.forest.store import open_store
from regiontree.forest.storedtrees import StoredTrees, key_of_id, store_of
from regiontree.references import reading
from regiontree.references.listing import list_references
from regiontree.references.reference import Reference

IDS = ["a.png", "sub/b.png", "sub/deep/c ü.png", "d.png", "e.png"]
FAILED = "d.png"
NEEDS = {"coco": "pycocotools", "fiftyone": "pycocotools", "panoptic": "pycocotools",
         "graphml": "networkx", "higra": "higra", "stack": "tifffile",
         "ome-tiff": "tifffile"}  # fmt: skip


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    return rows_of(tmp_path / "photos", IDS, failed=[FAILED])


@pytest.fixture
def store(tmp_path: Path, rows: list[Row]) -> Path:
    """A store of five rows, one of them without a tree."""
    store_of_rows(tmp_path / "STORE", rows)
    return tmp_path / "STORE"


def stored(store: Path, id: str | None = None) -> StoredTrees:
    found = store_of(store, id)
    assert found is not None
    return found


def command(*words: object) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


# -- one list of trees ----------------------------------------------------------------------------


@given(st.lists(st.lists(st.integers(), max_size=4), max_size=5), st.data())
def test_joined_sequences_are_their_concatenation(parts, data):
    joined, whole = Joined(parts), [item for part in parts for item in part]
    assert (list(joined), len(joined)) == (whole, len(whole))
    for i in range(-len(whole), len(whole)):
        assert joined[i] == whole[i]
    places = st.none() | st.integers(-30, 30)
    chosen = slice(
        data.draw(places), data.draw(places), data.draw(st.sampled_from([None, 1, 2, -1]))
    )
    assert joined[chosen] == whole[chosen]
    with pytest.raises(IndexError):
        joined[len(whole)]


def test_the_rows_of_a_store_are_a_sequence(store, rows):
    trees = stored(store)
    by_id = {row.id: row for row in rows}
    ids = [tree.id for tree in trees]
    assert sorted(ids) == sorted(IDS)
    assert [tree.id for tree in trees[:]] == ids == [trees[i].id for i in range(len(trees))]
    assert [tree.id for tree in trees[1:-1]] == ids[1:-1]
    assert trees[-1].id == ids[-1]
    for tree in trees:
        row = by_id[tree.id]
        assert (tree.reference, tree.error) == (row.reference, row.error)
        if row.tree is not None:
            assert tree.load() == row.tree
    with pytest.raises(IndexError):
        trees[len(IDS)]


def test_a_row_is_read_like_its_file(store, rows, tmp_path):
    for tree in stored(store):
        row = next(row for row in rows if row.id == tree.id)
        if row.tree is None:
            with pytest.raises(
                TreeFileError, match=rf"STORE::d\.png: has no tree: .*{re.escape(DAMAGED)}"
            ):
                tree.load()
            with pytest.raises(TreeFileError, match="has no tree"):
                tree.load_structure()
            continue
        file = row.tree.save(tmp_path / "one.npz")
        plain, structure = RegionTree.load_structure(file), tree.load_structure()
        for name in ("labels", "parents", "height", "ncut", "stop"):
            assert np.array_equal(getattr(structure, name), getattr(plain, name))
        assert structure.meta == plain.meta
        assert tree.data() == file.read_bytes()
        outline, of_file = open_outline(tree), open_outline(file, images=[tmp_path / "photos"])
        assert replace(outline, saved=of_file.saved, photo=None) == replace(
            of_file, photo=None, notice=None, lack=None
        )


def test_of_an_error_and_a_later_tree_the_tree_is_listed(store, tmp_path):
    photo = tmp_path / "photos" / FAILED
    row = Row(FAILED, str(photo), tree_for(photo))
    open_store(store).add(table_of([row]))
    trees = stored(store)
    assert sorted(tree.id for tree in trees) == sorted(IDS)
    assert [tree.error for tree in trees] == [None] * len(IDS)
    assert [trees[i].id for i in range(len(trees))] == [tree.id for tree in trees]
    assert stored(store, FAILED)[0].load() == row.tree
    assert trees.errors_text() is None


def test_a_row_is_found_after_a_compaction(store, rows):
    trees = list(stored(store))
    open_store(store).compact(final=True)
    for tree in trees:
        if tree.error is None:
            assert tree.load() == next(row.tree for row in rows if row.id == tree.id)


def test_a_digest_tells_rows_apart(store, rows, tmp_path):
    again = store_of_rows(tmp_path / "AGAIN", rows, parts=1)
    changed = replace(rows[0], tree=tree_for(tmp_path / "photos" / "a.png", seed=9))
    other = store_of_rows(tmp_path / "OTHER", [changed, *rows[1:]], parts=1)
    first, same, new = (
        {tree.id: tree.digest() for tree in stored(place)}
        for place in (store, again.address, other.address)
    )
    assert first == same
    assert {id for id in first if first[id] != new[id]} == {"a.png"}
    assert len(set(first.values())) == len(IDS)


@settings(deadline=None)
@given(st.lists(st.text(max_size=300) | st.text("./a:~", max_size=8), unique=True, max_size=20))
def test_ids_become_different_paths_below_a_folder(ids):
    ids = [id for id in ids if not any("\ud800" <= c <= "\udfff" for c in id)]
    keys = [key_of_id(id) for id in ids]
    assert len(set(keys)) == len(ids)
    for key in keys:
        assert not set('<>:"\\|?*\0\n') & set(key)
        for part in key.split("/"):
            assert part not in ("", ".", "..")
            assert len(part.encode()) < 240


@pytest.mark.parametrize("id", ["a.png", "sub/deep/photo.jpg", "写真/été 1.jpg"])
def test_a_plain_id_is_its_path(id):
    assert key_of_id(id) == id


def test_odd_ids_are_exported(tmp_path):
    odd = ["../up.png", "s3://bucket/a/b.png", "/etc/passwd", "x" * 2000, "a\nb", "con//d"]
    tree = rows_of(tmp_path / "photos", ["a.png"])[0].tree
    store_of_rows(tmp_path / "STORE", [Row(id, "nowhere", tree) for id in odd])
    assert export([tmp_path / "STORE"], "newick", tmp_path / "out" / "in") == 0
    files = [file for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert len(files) == len(odd)
    assert all(file.is_relative_to(tmp_path / "out" / "in") for file in files)


def test_arguments_are_told_apart(store, rows, tmp_path):
    files = trees_in_files(rows, tmp_path / "trees")
    others, stores = split_stores([files, store, f"{store}::a.png", f"{store}/", "*.npz"])
    assert others == [files, "*.npz"]
    assert [str(one) for one in stores][:2] == [str(store), f"{store}::a.png"]
    listing = list_trees([store, files])
    assert len(listing.trees) == len(listing.files) + len(IDS) == 2 * len(IDS) - 1
    assert listing.trees[0].path == files / "a.npz"
    with pytest.raises(StoreError, match=r"STORE: has no row 'x\.png'"):
        list_trees([f"{store}::x.png"])


def test_nothing_heavy_is_imported_for_files(store, rows, tmp_path):
    import subprocess
    import sys

    files = trees_in_files(rows, tmp_path / "trees")
    code = (
        "import sys; from regiontree.forest.listing import list_trees; "
        f"assert len(list_trees([{str(files)!r}]).trees) == 4; "
        "assert not {'pyarrow', 'fsspec', 'torch'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# -- photographs ----------------------------------------------------------------------------------


def test_a_photograph_is_found_by_the_reference(store, tmp_path):
    row = only_tree(f"{store}::sub/b.png")
    source = open_source(row)
    assert (source.photo, source.notice, source.lack) == (
        tmp_path / "photos/sub/b.png", None, None,
    )  # fmt: skip
    assert open_outline(row).photo == open_found(open_outline(row)).photo == source.photo


def test_a_photograph_elsewhere_is_found_by_the_id(store, tmp_path):
    (tmp_path / "photos").rename(tmp_path / "moved")
    row = only_tree(store, "sub/b.png")
    lost = open_source(row)
    assert (lost.photo, lost.notice) == (None, "The photograph b.png was not found.")
    assert str(lost.lack).startswith(f"{store}::sub/b.png: The photograph b.png was not found.")
    assert open_source(row, images=[tmp_path / "moved"]).photo == tmp_path / "moved/sub/b.png"


def test_a_relative_reference_counts_from_here_and_from_the_store(tmp_path, monkeypatch, rows):
    relative = [replace(row, reference=f"photos/{row.id}") for row in rows]
    store_of_rows(tmp_path / "STORE", relative)
    for folder in (tmp_path, tmp_path / "photos"):
        monkeypatch.chdir(folder)
        assert (
            open_source(only_tree(tmp_path / "STORE", "a.png")).photo == tmp_path / "photos/a.png"
        )


def test_a_changed_photograph_is_told(store, tmp_path):
    photograph(tmp_path / "photos/a.png", seed=77)
    source = open_source(only_tree(store, "a.png"))
    assert "has changed since" in str(source.notice)
    quick = open_outline(only_tree(store, "a.png"), verify=False)
    assert (quick.photo, quick.notice) == (source.photo, None)


def test_a_reference_leads_to_no_file_of_another_name(tmp_path, rows):
    secret = photograph(tmp_path / "secret.png")
    bad = replace(rows[0], reference=str(secret))
    store_of_rows(tmp_path / "STORE", [bad])
    assert open_source(only_tree(tmp_path / "STORE", "a.png")).photo is None


def archive(tmp_path: Path, rows: list[Row]) -> Path:
    """A store whose photographs are members of a tar archive, and no longer files."""
    whole = [row for row in rows if row.tree is not None]
    members = {row.id: Path(row.reference).read_bytes() for row in whole}
    (tmp_path / "all.tar").write_bytes(tar_of(members))
    found = {one.id: one for one in list_references(tmp_path / "all.tar", frozenset({".png"}))}
    assert set(found) == {f"all.tar/{row.id}" for row in whole}
    in_archive = [
        replace(row, id=f"all.tar/{row.id}", reference=found[f"all.tar/{row.id}"].address)
        for row in whole
    ]
    store_of_rows(tmp_path / "PACKED", in_archive)
    (tmp_path / "photos").rename(tmp_path / "elsewhere")
    return tmp_path / "PACKED"


def test_a_photograph_in_an_archive_is_read_when_it_is_needed(tmp_path, rows, monkeypatch):
    packed = archive(tmp_path, rows)
    row = only_tree(packed, "all.tar/sub/b.png")
    original = (tmp_path / "elsewhere/sub/b.png").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(reading, "read_bytes", lambda reference: pytest.fail("it is read"))
        outline = open_outline(row)
    assert isinstance(outline.photo, Reference)
    for source in (open_source(row), open_found(outline)):
        assert source.notice is None
        assert source.photo.data == original
        with Image.open(tmp_path / "elsewhere/sub/b.png") as image:
            assert np.array_equal(source.picture(), np.asarray(image))
    (tmp_path / "all.tar").unlink()
    lost = open_source(row)
    assert (lost.photo, lost.notice) == (None, "The photograph b.png was not found.")


def test_a_photograph_at_an_address_is_read_when_it_is_needed(tmp_path, rows, monkeypatch):
    monkeypatch.setattr("regiontree.references.faults.time.sleep", lambda seconds: None)
    pytest.importorskip("fsspec")
    pytest.importorskip("aiohttp")

    is_gone = False

    def answer(request: Any) -> None:
        data = (tmp_path / "photos" / unquote(request.path[1:])).read_bytes()
        request.send(404) if is_gone else request.send(206, data)

    with serving(answer) as url:
        there = [replace(row, reference=f"{url}/{row.id}") for row in rows[:2]]
        store_of_rows(tmp_path / "FAR", there)
        row = only_tree(tmp_path / "FAR", "sub/b.png")
        outline = open_outline(row)
        assert isinstance(outline.photo, Reference)
        source = open_found(outline)
        assert (source.notice, source.photo.name) == (None, "b.png")
        assert source.picture().shape == (20, 31, 3)
        photograph(tmp_path / "photos/sub/b.png", seed=99)
        assert "has changed since" in str(open_source(row).notice)
        is_gone = True
        gone = open_source(row)
    assert gone.photo is None
    assert str(gone.notice).startswith("The photograph b.png cannot be read (")
    assert url not in str(gone.notice)


# -- export ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_writes_the_trees_of_a_store(name, store, rows, tmp_path, capsys):
    pytest.importorskip(NEEDS.get(name, "numpy"))
    out = tmp_path / "out"
    assert export([store], name, out) == 1
    said = capsys.readouterr().err
    assert "4 done, 0 skipped, 1 failed" in said
    assert f"failed: {store}::d.png: has no tree: " in said
    form = find_format(name)
    if form.is_folder:
        assert (out / {"fiftyone": "labels.json", "huggingface": "README.md"}[name]).is_file()
        return
    if form.make is not None:
        assert (out / f"{name}.json").is_file()
        return
    for row in rows:
        if row.tree is not None:
            written = out / f"{row.id}{form.suffixes[0]}"
            assert written.exists()
            if name != "geojson":  # which has the name of its file's photograph
                alone = tmp_path / "alone" / f"{row.id}{form.suffixes[0]}"
                alone.parent.mkdir(parents=True, exist_ok=True)
                row.tree.export(name, alone)
                assert contents(written) == contents(alone)
    assert export([store], name, out) == 1
    assert "0 done, 4 skipped, 1 failed" in capsys.readouterr().err


def contents(path: Path) -> dict[str, bytes]:
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return {file.name: file.read_bytes() for file in files if file.is_file()}


def test_a_document_names_the_photographs_by_their_ids(store, tmp_path):
    pytest.importorskip("pycocotools")
    assert export([store], "coco", tmp_path / "set.json") == 1
    images = json.loads((tmp_path / "set.json").read_bytes())["images"]
    assert sorted(image["file_name"] for image in images) == sorted(set(IDS) - {FAILED})


def test_one_row_and_several_stores(store, rows, tmp_path):
    assert export([f"{store}::sub/b.png"], "newick", tmp_path / "one.nwk") == 0
    row = next(row for row in rows if row.id == "sub/b.png")
    row.tree.export("newick", tmp_path / "alone.nwk")
    assert (tmp_path / "one.nwk").read_bytes() == (tmp_path / "alone.nwk").read_bytes()
    store_of_rows(tmp_path / "MORE", rows[:1])
    files = trees_in_files(rows[:1], tmp_path / "trees")
    assert export([store, tmp_path / "MORE", files], "newick", tmp_path / "out") == 1
    written = {
        file.relative_to(tmp_path / "out").as_posix() for file in (tmp_path / "out").rglob("*.nwk")
    }
    assert written == {"a.nwk", "MORE/a.png.nwk", "STORE/a.png.nwk", "STORE/e.png.nwk",
                       "STORE/sub/b.png.nwk", "STORE/sub/deep/c ü.png.nwk"}  # fmt: skip
    store_of_rows(tmp_path / "x" / "STORE", rows[:1])
    with pytest.raises(ExportError, match="two stores have the name STORE"):
        export([store, tmp_path / "x" / "STORE"], "newick", tmp_path / "two")


@pytest.mark.parametrize("to", ["newick", "label-studio"])
def test_nothing_is_written_into_a_store(to, store):
    before = sorted(store.rglob("*"))
    with pytest.raises(ExportError, match=r"STORE: .* name an output with -o"):
        export([store], to)
    assert sorted(store.rglob("*")) == before


def test_the_list_of_an_export_names_rows(store, tmp_path, capsys):
    export([store], "newick", tmp_path / "out", as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert (report["planned"], report["done"], report["failed"]) == (5, 4, 1)
    assert sorted(file["tree"] for file in report["files"]) == sorted(
        f"{store}::{id}" for id in IDS
    )


def test_many_failures_are_counted(tmp_path, capsys):
    rows = [Row(f"{i:03}.png", "nowhere", error="is empty") for i in range(130)]
    rows += rows_of(tmp_path / "photos", ["a.png"])
    store_of_rows(tmp_path / "STORE", rows)
    assert export([tmp_path / "STORE"], "newick", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert said.count("failed: ") == 100
    assert "30 more failed; --json lists all" in said
    assert "1 done, 0 skipped, 130 failed" in said


@pytest.mark.parametrize("to", ["newick", "label-studio"])
def test_one_tree_is_in_memory_at_a_time(to, tmp_path, monkeypatch):
    rows = rows_of(tmp_path / "photos", [f"{i}.png" for i in range(12)])
    store_of_rows(tmp_path / "STORE", rows)
    alive: list[weakref.ref[RegionTree]] = []
    most, real = 0, schema.row_of

    def watched(table: Any, i: int) -> Row:
        nonlocal most
        gc.collect()
        row = real(table, i)
        assert row.tree is not None
        alive.append(weakref.ref(row.tree))
        most = max(most, sum(tree() is not None for tree in alive))
        return row

    monkeypatch.setattr(schema, "row_of", watched)
    assert export([tmp_path / "STORE"], to, tmp_path / "out") == 0
    assert 1 <= most <= 2


def test_a_damaged_file_is_named_and_the_rest_is_done(store, tmp_path, capsys):
    (shard,) = store.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-100])
    assert export([store], "newick", tmp_path / "out") in (1, 2)
    said = capsys.readouterr().err
    assert f"failed: {shard}" in said
    assert len(list((tmp_path / "out").rglob("*.nwk"))) == 1  # of the part that is whole


# -- show -----------------------------------------------------------------------------------------


def test_a_row_is_shown_like_a_file(store, rows, tmp_path):
    row = next(row for row in rows if row.id == "sub/b.png")
    plain = command("show", row.tree.save(tmp_path / "one.npz"))
    assert plain.exit_code == 0
    for words in ([f"{store}::sub/b.png"], [store, "--id", "sub/b.png"]):
        shown = command("show", *words, "--regions", 3)
        assert shown.exit_code == 0, shown.stderr
        assert shown.stdout == command("show", tmp_path / "one.npz", "--regions", 3).stdout
    figure = command("show", f"{store}::sub/b.png", "--figure", tmp_path / "one.png")
    assert figure.exit_code == 0, figure.stderr
    with Image.open(tmp_path / "one.png") as picture:
        assert picture.width > 300


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["STORE"], r"STORE: is a store of 5 rows; name one with --id, or as STORE::ID, for exam"),
        (["STORE", "--id", "x"], r"STORE: has no row 'x'"),
        (["STORE::x"], r"STORE: has no row 'x'"),
        (["STORE::d.png"], r"STORE::d\.png: has no tree: .*cut short"),
        (["photos", "--id", "a.png"], r"photos: is no store, so it has no row 'a\.png'"),
        (["NONE::a.png"], r"NONE::a\.png: no such file"),
    ],
)
def test_what_cannot_be_shown_is_said(words, said, store, monkeypatch):
    monkeypatch.chdir(store.parent)
    done = command("show", *words)
    assert done.exit_code == 2
    assert re.search(said, done.stderr)
    assert done.stdout == ""


# -- evaluate -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A data set's description, and the folder of its trees."""
    folder = tmp_path_factory.mktemp("scored")
    config = make_data(folder, 4)
    plan, _ = run_config(config, refine="none")
    description = folder / "set.yaml"
    description.write_text(yaml.safe_dump(yaml.safe_load(config.read_text())["dataset"]))
    return description, plan.experiment.trees_dir


def evaluate(dataset: Path, *words: object) -> tuple[dict[str, Any], str, int]:
    done = command("evaluate", *words, "--dataset", dataset, "--json")
    return (json.loads(done.stdout) if done.stdout else {}), done.stderr, done.exit_code


@pytest.mark.parametrize("id_of", ["{}.png", "{}", "val/{}.png", "s3://bucket/x/{}.png"])
def test_a_store_is_scored_like_a_folder(id_of, scored, tmp_path):
    dataset, trees = scored
    rows = [
        Row(id_of.format(file.stem), f"photos/{file.stem}.png", RegionTree.load(file))
        for file in sorted(trees.rglob("*.npz"))
    ]
    rows.append(Row("another.png", "another.png", rows[0].tree))
    store_of_rows(tmp_path / "STORE", rows)
    expected, _, _ = evaluate(dataset, trees)
    found, said, code = evaluate(dataset, tmp_path / "STORE")
    assert (code, found["tables"]) == (0, expected["tables"]), said


def test_what_a_store_lacks_is_told_and_the_rest_is_scored(scored, tmp_path):
    dataset, trees = scored
    files = sorted(trees.rglob("*.npz"))
    rows = [Row(f"{file.stem}.png", "x", RegionTree.load(file)) for file in files[:2]]
    rows.append(Row(f"{files[2].stem}.png", "x", error="x: is empty (0 bytes)"))
    store_of_rows(tmp_path / "STORE", rows)
    found, said, code = evaluate(dataset, tmp_path / "STORE")
    assert code == 1
    assert f"STORE::{files[2].stem}.png: has no tree: x: is empty (0 bytes)" in said
    assert f"1 images have no tree: {files[3].stem}" in said
    assert found["tables"]
