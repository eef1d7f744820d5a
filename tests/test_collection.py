"""Collections: batches of references become rows, whoever does the work."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import blocks, refused
from crowd import (
    SETTINGS,
    Listed,
    add_photos,
    expected_rows,
    make_parser,
    path_of_python,
    ran,
    references,
    row_facts,
    rows_of,
    tree_facts,
)
from PIL import Image
from test_crew import process as crew_member
from test_references_remote import s3, s3_server  # noqa: F401
from test_workers import wait_for
from torch.distributed import HashStore
from typer.testing import CliRunner, Result

from regiontree import Forest, RegionParser, RegionTree
from regiontree.cli import app
from regiontree.engines import pool
from regiontree.engines.alike import Alike
from regiontree.engines.batch import plan, segment
from regiontree.engines.collection import segment_collection, settings_record
from regiontree.engines.engine import LARGEST, EngineOptions, Status, cut
from regiontree.engines.engine import done as written_batch
from regiontree.engines.pool import Pool
from regiontree.engines.process import decoded, features, process, trees
from regiontree.errors import RegionTreeError, StoreError
from regiontree.forest.store import open_store
from regiontree.images import IMAGE_SUFFIXES
from regiontree.references.reference import Reference


@pytest.fixture
def parser(site: Path) -> RegionParser:
    return make_parser()


# -- a batch --------------------------------------------------------------------------------------


def test_a_row_holds_the_tree_that_segment_writes(parser, tmp_path):
    photos = add_photos(tmp_path / "in", 5, broken=(3,))
    summary = segment(parser, plan(photos, tmp_path / "out", IMAGE_SUFFIXES), tmp_path / "out")
    rows = process(references(photos), parser)
    assert [row.id for row in rows] == [f"{i:03}.png" for i in range(5)]
    for row, outcome in zip(rows, summary.outcomes, strict=True):
        assert row.reference == outcome.source
        assert row.error == outcome.error
        assert row.sha256 == sha256(Path(row.reference).read_bytes()).hexdigest()
        if row.tree is None:
            assert row.id == "003.png"
        else:
            assert tree_facts(row.tree) == tree_facts(RegionTree.load(outcome.output))


@pytest.mark.parametrize("refine", ["none", "guided", {"long_side": 1200}])
def test_borders_need_no_second_look_at_the_file(site, tmp_path, refine):
    rng = np.random.default_rng(0)
    small = Image.fromarray(rng.integers(0, 255, (7, 10, 3), np.uint8))
    photo = tmp_path / "a.jpg"  # large enough to be decoded at a reduced scale for the network
    small.resize((2000, 1400), Image.Resampling.NEAREST).save(photo)
    parser = make_parser(refine=refine)
    staged = decoded(Reference("a", str(photo), "a.jpg"), parser)
    assert (refine in ("none", "guided")) == parser.sight.is_one_decoding
    expected = parser.parse(photo)
    photo.unlink()
    (row,) = trees(features([staged], parser), parser)
    assert tree_facts(row.tree) == tree_facts(expected)


class Counted:
    """A model of the user's own, which writes down how many photographs it sees at a time."""

    name, digest, patch, dim = "own", "1", 8, 3
    dtype, device = torch.float32, torch.device("cpu")

    def __init__(self, seen):
        self.seen = seen

    def features(self, pixels):
        self.seen.append(len(pixels))
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def test_the_network_sees_each_photograph_alone(parser, tmp_path):
    photos = references(add_photos(tmp_path / "in", 3))
    seen = []
    own = RegionParser(backbone=Counted(seen), parts=6, size=64)
    together = trees(features([decoded(one, own) for one in photos], own), own)
    assert seen == [1, 1, 1]
    assert list(map(row_facts, together)) == list(map(row_facts, process(photos, own)))


def test_what_waits_for_the_network_holds_no_second_copy_of_the_photograph(parser, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    staged = decoded(photo, parser)
    assert staged.image.rgb.shape == (1, 1, 3)
    (after,) = features([staged], parser)
    assert (after.pixels, after.image) == (None, None)


def test_errors_go_through_all_stages(parser, tmp_path):
    photos = references(add_photos(tmp_path / "in", 2, broken=(0,)))
    missing = Reference("gone", str(tmp_path / "gone.png"), "gone.png")
    rows = process([*photos, missing], parser)
    assert [row.error is None for row in rows] == [False, True, False]
    assert "000.png" in rows[0].error
    assert rows[0].sha256 is not None
    assert str(tmp_path / "gone.png") in rows[2].error
    assert rows[2].sha256 is None


def test_a_network_that_fails_on_one_photograph_fails_it_alone(tmp_path):
    class Picky:
        name, digest, patch, dim = "picky", "1", 8, 3
        dtype, device = torch.float32, torch.device("cpu")

        def features(self, pixels):
            if (pixels[:, 0] == 1).all():
                raise ValueError("too red")
            return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1

    photos = references(add_photos(tmp_path / "in", 3, red=(1,)))
    rows = process(photos, RegionParser(backbone=Picky(), parts=6, size=64))
    assert [row.error is None for row in rows] == [True, False, True]
    assert "too red" in rows[1].error


def test_a_network_that_cannot_be_loaded_ends_the_work(site, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    with refused(RegionTreeError, "weights"):
        process([photo], make_parser("missing"))


def test_one_colour_needs_no_network(parser, tmp_path):
    Image.new("RGB", (64, 40), (9, 9, 9)).save(tmp_path / "a.png")
    staged = decoded(Reference("a", str(tmp_path / "a.png"), "a.png"), parser)
    assert staged.pixels is None
    assert staged.features is not None
    (row,) = process([staged.reference], parser)
    assert row.tree.n_nodes == 1


def test_features_are_a_photograph_too(tmp_path):
    np.save(tmp_path / "a.npy", blocks(12, 12, 8))
    parser = RegionParser(backbone="precomputed", parts=16, device="cpu")
    (row,) = process([Reference("a", str(tmp_path / "a.npy"), "a.npy")], parser)
    assert tree_facts(row.tree) == tree_facts(parser.parse(tmp_path / "a.npy"))
    assert row.sha256 == sha256((tmp_path / "a.npy").read_bytes()).hexdigest()


def test_a_photograph_that_lost_its_features_is_an_error(parser, tmp_path):
    (photo,) = references(add_photos(tmp_path / "in", 1))
    staged = replace(decoded(photo, parser), pixels=None)
    (row,) = trees([staged], parser)
    assert row.tree is None
    assert "features" in row.error


# -- batches --------------------------------------------------------------------------------------


def names(number: int) -> list[Reference]:
    return [Reference(f"{i:06}", f"{i}.png", f"{i}.png") for i in range(number)]


@pytest.mark.parametrize("number", [0, 1, 5, 70, 1000])
def test_batches_are_cut_by_the_order_alone(number):
    batches = list(cut(names(number)))
    assert [one for batch in batches for one in batch] == names(number)
    assert batches[:-1] == list(cut(names(number + 7)))[: len(batches[:-1])]
    sizes = list(map(len, batches))
    assert max(sizes, default=0) <= LARGEST
    assert all(size == 1 or size * 32 <= sum(sizes[:at]) for at, size in enumerate(sizes))


def test_references_are_read_as_they_are_needed():
    def endless() -> Iterator[Reference]:
        number = 0
        while True:
            yield from names(1)
            number += 1

    assert len(list(islice(cut(endless()), 1000))) == 1000


def test_processes_that_were_started_alike_share_batches(parser):
    tickets = HashStore()
    batches = list(cut(names(200)))
    alike = [Alike(EngineOptions(parser, None, more={"crew": crew_member(tickets)})) for _ in "ab"]
    first, second = (one.share(batches) for one in alike)
    taken = [next(first), next(second), next(second), *first, *second]
    assert sorted(taken, key=batches.index) == batches


# -- a collection ---------------------------------------------------------------------------------


def test_every_photograph_has_one_row(crowd, parser, tmp_path):
    photos, expected = crowd
    summary, store = ran(photos, tmp_path / "store", parser)
    assert (summary.done, summary.skipped, summary.failed) == (38, 0, 2)
    assert (summary.listed, summary.interrupted) == (40, False)
    assert set(summary.failures) == {"007.png", "021.png"}
    assert rows_of(store) == expected
    assert list((tmp_path / "store").glob("shard-*.parquet"))
    assert not list((tmp_path / "store" / "_parts").glob("*"))


@pytest.mark.parametrize("workers", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))])
def test_rows_do_not_depend_on_the_number_of_workers(crowd, parser, tmp_path, workers):
    photos, expected = crowd
    summary, store = ran(photos, tmp_path / "store", parser, workers=workers)
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected


def test_a_second_run_does_the_rest_and_tries_failed_ones_again(crowd, parser, tmp_path):
    photos, expected = crowd
    copied = tmp_path / "in"
    shutil.copytree(photos, copied)
    for file in sorted(copied.iterdir())[10:]:
        file.rename(tmp_path / file.name)
    first, _ = ran(copied, tmp_path / "store", parser)
    assert (first.done, first.skipped, first.failed) == (9, 0, 1)
    for file in sorted(tmp_path.glob("*.png")):
        file.rename(copied / file.name)
    second, store = ran(copied, tmp_path / "store", parser)
    assert (second.done, second.skipped, second.failed) == (29, 9, 2)
    Image.new("RGB", (64, 40), (9, 9, 9)).save(copied / "007.png")
    third, _ = ran(copied, tmp_path / "store", parser)
    assert (third.done, third.skipped, third.failed) == (1, 38, 1)
    assert [row[0] for row in rows_of(store)] == [row[0] for row in expected]
    assert [row[0] for row in rows_of(store) if row[3] is not None] == ["021.png"]


def test_an_id_of_another_photograph_is_not_taken_for_done(crowd, parser, tmp_path):
    photos = add_photos(tmp_path / "a", 6)
    ran(photos, tmp_path / "s", parser)
    others = add_photos(tmp_path / "b", 6, red=(2,))  # only this one has other bytes
    (others / "004.png").unlink()
    (others / "004.png").symlink_to(tmp_path / "nowhere.png")
    summary, store = ran(others, tmp_path / "s", parser)
    assert (summary.done, summary.skipped, summary.failed) == (0, 4, 2)
    assert list(summary.failures) == ["002.png", "004.png"]
    assert str(photos / "002.png") in summary.failures["002.png"]
    assert "has other bytes" in summary.failures["002.png"]
    assert "cannot be read" in summary.failures["004.png"]
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_finished_photograph_is_not_read_again(crowd, parser, tmp_path):
    photos = add_photos(tmp_path / "a", 4)
    expected = expected_rows(photos, parser)
    ran(photos, tmp_path / "s", parser)
    (photos / "001.png").write_bytes(b"changed")
    summary, store = ran(photos, tmp_path / "s", parser)
    assert (summary.done, summary.skipped, summary.failed) == (0, 4, 0)
    assert rows_of(store) == expected


def test_a_collection_that_has_moved_is_done(crowd, parser, tmp_path):
    photos = add_photos(tmp_path / "a", 6)
    ran(photos, tmp_path / "s", parser)
    summary, _ = ran(photos.rename(tmp_path / "b"), tmp_path / "s", parser)
    assert (summary.done, summary.skipped, summary.failed) == (0, 6, 0)


def test_an_interruption_keeps_what_is_written(crowd, parser, tmp_path):
    photos, expected = crowd
    store = open_store(tmp_path / "store", settings_record(parser))
    seen = []

    def stop(status: Status) -> None:
        seen.append(status.id)
        if len(seen) == 5:
            raise KeyboardInterrupt

    engine = Pool(EngineOptions(parser, store, 0))
    summary = segment_collection(Listed(references(photos)), store, engine, on_status=stop)
    assert summary.interrupted
    assert summary.done == 5
    assert len(rows_of(store)) == 5
    again, store = ran(photos, tmp_path / "store", parser)
    assert (again.done, again.skipped) == (33, 5)
    assert rows_of(store) == expected


@pytest.mark.slow
def test_a_photograph_that_kills_its_process_fails_alone(crowd, site, tmp_path):
    photos, _ = crowd
    parser = make_parser("dies")
    summary, store = ran(photos, tmp_path / "store", parser, workers=2)
    assert (summary.done, summary.failed) == (37, 3)
    assert "ended twice" in summary.failures["033.png"]
    assert len(rows_of(store)) == 40


@pytest.mark.slow
def test_a_worker_that_dies_once_loses_nothing(crowd, site, tmp_path):
    photos, _ = crowd
    parser = make_parser(f"dies once@{tmp_path / 'died'}")
    summary, store = ran(photos, tmp_path / "store", parser, workers=2)
    assert (tmp_path / "died").exists()
    assert (summary.done, summary.failed) == (38, 2)
    assert rows_of(store) == expected_rows(photos, parser)


def test_a_part_that_is_written_twice_is_one_file(crowd, parser, tmp_path):
    photos, _ = crowd
    store = open_store(tmp_path / "store", settings_record(parser))
    for _ in range(2):
        statuses = written_batch(references(photos)[:9], parser, store)
    assert [status.error is None for status in statuses] == [True] * 7 + [False, True]
    assert len(list((tmp_path / "store" / "_parts").iterdir())) == 1


def test_errors_are_listed_by_the_forest(crowd, parser, tmp_path):
    photos, expected = crowd
    _, store = ran(photos, tmp_path / "store", parser)
    assert Forest(store.address).errors() == {
        row[0]: row[3] for row in expected if row[3] is not None
    }


def test_what_cannot_be_listed_is_told(crowd, parser, tmp_path):
    photos, _ = crowd
    summary, _ = ran(photos, tmp_path / "store", parser, problems={"s3://b/": "no rights"})
    assert summary.failed == 3
    assert summary.failures["s3://b/"] == "s3://b/: no rights"


def test_two_runs_do_not_write_to_one_store(crowd, parser, tmp_path):
    photos, _ = crowd
    store = open_store(tmp_path / "store", settings_record(parser))
    with store.writing("segment"), refused(StoreError, "segment"):
        ran(photos, tmp_path / "store", parser)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_store_that_cannot_be_written_ends_the_run(crowd, site, tmp_path, workers):
    photos, _ = crowd
    parts = tmp_path / "store" / "_parts"
    with refused(StoreError, "_parts"):
        ran(photos, tmp_path / "store", make_parser(f"blocks@{parts}"), workers=workers)


def test_a_long_collection_gets_workers_after_a_while(crowd, parser, tmp_path, monkeypatch):
    photos, expected = crowd
    monkeypatch.setattr(pool, "usual_workers", lambda parser: 2)
    monkeypatch.setattr(pool, "pays", lambda seconds, left: len(seconds) == 3)
    said: list[str] = []
    store = open_store(tmp_path / "store", settings_record(parser))
    engine = Pool(EngineOptions(parser, store, None, notice=said.append))
    segment_collection(Listed(references(photos)), store, engine)
    assert engine.workers == 2
    assert rows_of(store) == expected


def test_a_model_of_the_users_own_stays_here_and_workers_ask_it(crowd, parser, tmp_path):
    photos, _ = crowd
    seen = []
    own = RegionParser(backbone=Counted(seen), parts=6, size=64)
    summary, _ = ran(photos, tmp_path / "store", own, workers=2)
    assert summary.done == 38
    assert seen == [1] * 38


# -- the command line -----------------------------------------------------------------------------


def given(*arguments: object, accident: str = "none") -> list[str]:
    """The arguments of ``regiontree segment`` with the network ``tiny``."""
    return ["segment", *map(str, arguments), "--backbone", f"tiny:{accident}", *SETTINGS]


def called(*arguments: object, accident: str = "none") -> Result:
    """The command in this process."""
    return CliRunner().invoke(app, given(*arguments, accident=accident), catch_exceptions=False)


def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": path_of_python(site)}


def test_a_folder_becomes_a_store(crowd, site, tmp_path):
    photos, expected = crowd
    (photos / "notes.md").touch()
    done = called(photos, "-o", tmp_path / "s", "--format", "parquet", "--json")
    (photos / "notes.md").unlink()
    assert done.exit_code == 1, done.stderr
    said = json.loads(done.stdout)
    assert (said["planned"], said["done"], said["failed"]) == (40, 38, 2)
    assert (said["engine"], said["left_out"]) == ("local", {".md": 1})
    assert "failed: " + expected[7][3] in done.stderr
    assert rows_of(open_store(tmp_path / "s", create=False)) == expected
    again = called(photos, "-o", tmp_path / "s", "--json")  # it is a store
    assert json.loads(again.stdout)["skipped"] == 38


def test_a_store_is_told_and_a_folder_of_files_stays_one(crowd, site, tmp_path):
    photos, _ = crowd
    one = photos / "000.png"
    plain = called(one, "-o", tmp_path / "trees")
    assert plain.exit_code == 0, plain.stderr
    assert [file.name for file in (tmp_path / "trees").glob("*.npz")] == ["000.npz"]
    stored = called(one, "-o", tmp_path / "store", "--format", "parquet")
    assert "store" in stored.stderr
    mixed = called(one, "-o", tmp_path / "trees", "--format", "parquet")
    assert mixed.exit_code == 2
    assert "convert" in mixed.stderr


def test_a_store_without_embeddings_holds_all_else(crowd, site, tmp_path):
    photos, expected = crowd
    small = called(photos, "-o", tmp_path / "s", "--format", "parquet", "--no-embeddings")
    assert small.exit_code == 1, small.stderr  # two are broken
    store = open_store(tmp_path / "s", create=False)
    assert store.record["settings"]["embeddings"] is False
    forest = Forest(tmp_path / "s")
    for found, whole in zip(rows_of(store), expected, strict=True):
        assert (found[:2], found[3:]) == (whole[:2], whole[3:])
        if whole[2] is not None:
            assert found[2][:5] == whole[2][:5]
            assert whole[2][5] is not None
            assert forest[found[0]].embedding is None
    columns = forest.table(["embeddings", "embedding_dim"])
    assert [column.null_count for column in columns.columns] == [40, 40]
    assert rows_of(store) == expected_rows(photos, make_parser(embeddings=False))


@pytest.mark.parametrize("first", ["--no-embeddings", "--embeddings"])
def test_a_store_never_holds_trees_with_embeddings_and_trees_without(crowd, site, tmp_path, first):
    photos, _ = crowd
    other = {"--embeddings": "--no-embeddings", "--no-embeddings": "--embeddings"}[first]
    called(photos / "000.png", "-o", tmp_path / "s", "--format", "parquet", first)
    before = {file.name: file.read_bytes() for file in (tmp_path / "s").glob("*.parquet")}
    refused = called(photos, "-o", tmp_path / "s", other)
    assert refused.exit_code == 2
    was = first == "--embeddings"
    assert f"other settings (embeddings {was} -> {not was})" in refused.stderr
    assert {file.name: file.read_bytes() for file in (tmp_path / "s").glob("*.parquet")} == before
    again = called(photos / "000.png", "-o", tmp_path / "s", first, "--json")
    assert json.loads(again.stdout)["skipped"] == 1


@pytest.mark.parametrize(
    "kind", ["list.txt", "table.jsonl", "table.parquet", "shard.tar", "file://"]
)
def test_inputs_that_need_a_store_get_one(crowd, tmp_path, kind):
    photos, expected = crowd
    files = [photos / f"{i:03}.png" for i in range(3)]
    source, ids = tmp_path / kind, [f"photo {i}" for i in range(3)]
    options = []
    if kind == "list.txt":
        source.write_text("".join(f"{file}\n" for file in files))
    elif kind == "shard.tar":
        with tarfile.open(source, "w") as tar:
            for file in files:
                tar.add(file, file.name)
    elif kind == "file://":
        source = files[0].as_uri()
        files = files[:1]
    else:
        rows = [{"key": key, "url": str(file)} for key, file in zip(ids, files, strict=True)]
        if kind.endswith("jsonl"):
            source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        else:
            pq.write_table(pa.Table.from_pylist(rows), source)
        options = ["--column", "url", "--id-column", "key"]
    done = called(source, "-o", tmp_path / "s", *options)
    assert done.exit_code == 0, done.stderr
    assert f"{source} is" in done.stderr
    found = rows_of(open_store(tmp_path / "s", create=False))
    assert [row[5] for row in found] == [row[5] for row in expected[: len(files)]]
    assert [row[2][:6] for row in found] == [row[2][:6] for row in expected[: len(files)]]
    if options:
        assert [row[0] for row in found] == ids


def test_an_object_store_gives_photographs_and_takes_trees(crowd, s3, site):  # noqa: F811
    photos, expected = crowd
    for i in range(9):
        name = f"{i:03}.png"
        s3.put_object(Bucket="photos", Key=f"in/{name}", Body=(photos / name).read_bytes())
    for _ in range(2):
        done = called("s3://photos/in", "-o", "s3://photos/trees", "--workers", 1, "--json")
        assert done.exit_code == 1, done.stderr  # one is broken
    said = json.loads(done.stdout)
    assert (said["done"], said["skipped"], said["failed"]) == (0, 8, 1)
    found = rows_of(open_store("s3://photos/trees", create=False))
    assert [row[0] for row in found] == [row[0] for row in expected[:9]]
    assert [row[5] for row in found] == [row[5] for row in expected[:9]]
    assert [row[2] and row[2][:6] for row in found] == [
        row[2] and row[2][:6] for row in expected[:9]
    ]


def test_a_store_has_one_record_of_settings(crowd, site, tmp_path):
    photos, _ = crowd
    arguments = (photos / "000.png", "-o", tmp_path / "s", "--format", "parquet")
    assert called(*arguments).exit_code == 0
    other = called(*arguments, "--seed", 7)
    assert other.exit_code == 2
    assert "seed 1234 -> 7" in other.stderr


def test_a_network_that_is_not_there_leaves_no_store(crowd, site, tmp_path):
    photos, _ = crowd
    done = called(photos, "-o", tmp_path / "s", "--format", "parquet", accident="missing")
    assert done.exit_code == 2
    assert "weights" in done.stderr
    assert not list((tmp_path / "s").glob("*.json"))


@pytest.mark.parametrize(
    ("arguments", "facts"),
    [
        (("--format", "png"), ["png", "parquet"]),
        (("--engine", "spark"), ["spark", "torchrun"]),
        (("--engine", "ray", "--format", "npz"), ["npz", "ray"]),
        (("--ray-address", "a:1"), ["--ray-address", "--engine ray"]),
        (("--column", "url"), ["--column", "table"]),
        (("--format", "parquet", "--pictures"), ["--pictures", "store"]),
        (("--format", "parquet", "--overwrite"), ["--overwrite", "store"]),
        (("--format", "parquet", "--mask", "m.png"), ["--mask", "store"]),
        (("--engine", "torchrun"), ["torchrun --nproc_per_node"]),
    ],
)
def test_contradictions_are_refused(crowd, tmp_path, arguments, facts):
    photos, _ = crowd
    done = called(photos, "-o", tmp_path / "s", *arguments)
    assert done.exit_code == 2
    assert all(fact in done.stderr for fact in facts), done.stderr
    assert not (tmp_path / "s").exists()


def test_nothing_to_do_is_said(site, tmp_path):
    (tmp_path / "in").mkdir()
    done = called(tmp_path / "in", "-o", tmp_path / "s", "--format", "parquet")
    assert done.exit_code == 2
    assert not (tmp_path / "s").exists()


def test_a_killed_run_is_finished_by_the_same_command(crowd, site, tmp_path):
    photos, expected = crowd
    arguments = given(photos, "-o", tmp_path / "s", "--format", "parquet")
    program = [sys.executable, "-m", "regiontree", *arguments]
    process = subprocess.Popen(program, env=environment(site), stderr=subprocess.DEVNULL)
    wait_for(lambda: len(list(tmp_path.glob("s/_parts/*.parquet"))) > 5)
    process.kill()
    process.wait()
    (tmp_path / "s/_parts/.half").write_bytes(b"PAR1 a part that was being written")
    done = called(photos, "-o", tmp_path / "s", "--json")
    said = json.loads(done.stdout)
    assert 5 < said["skipped"] < 38
    assert said["done"] + said["skipped"] == 38
    assert rows_of(open_store(tmp_path / "s", create=False)) == expected


@pytest.mark.distributed
def test_processes_of_torchrun_share_a_collection(crowd, site, tmp_path):
    photos, expected = crowd
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes", "1",
                "--nproc_per_node", "2", "-m", "regiontree"]  # fmt: skip
    program = [*launcher, *given(
        photos, "-o", tmp_path / "s", "--engine", "torchrun", "--json", accident="slow@0.05"
    )]  # fmt: skip
    done = subprocess.run(program, capture_output=True, text=True, env=environment(site))
    said = json.loads(done.stdout)
    assert (said["planned"], said["done"], said["failed"]) == (40, 38, 2), done.stderr
    found = rows_of(open_store(tmp_path / "s", create=False))
    assert [row[0] for row in found] == [row[0] for row in expected]
    for one, other in zip(found, expected, strict=True):
        assert one[3:] == other[3:]
        assert one[2] is None or one[2][:6] == other[2][:6]  # the arrays
