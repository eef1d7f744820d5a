"""Pieces of work in order, and collections that do not depend on who read their trees."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from piecework import TARGET, open_squares
from test_discover import SETTINGS, made_up, save_all
from typer.testing import CliRunner

from regiontree import Collection
from regiontree.cli import app
from regiontree.collection import discover, treework
from regiontree.engines import pieces as work_pieces
from regiontree.engines.pieces import WorkPlan, results
from regiontree.engines.workers import Lost, WorkersError
from regiontree.errors import SettingsError
from regiontree.forest.convert import convert

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


# -- pieces in order -------------------------------------------------------------------------------


def made(folder: Path, pieces: list[Any], plan: WorkPlan) -> list[Any]:
    """Squares, or reasons of what was lost; arrays are checked."""
    options = {"marks": str(folder)}
    scratch = folder / "scratch"
    scratch.mkdir()
    found: list[Any] = []
    for one in results(TARGET, options, pieces, plan, here=open_squares(options), scratch=scratch):
        if isinstance(one, Lost):
            found.append(one.reason)
        else:
            said, arrays = one
            assert len(arrays["range"]) ** 2 == said["square"]
            found.append(said["square"])
    assert list(scratch.iterdir()) == []
    return found


def processes(folder: Path) -> set[int]:
    return {int(line) for line in (folder / "processes").read_text().split()}


@pytest.mark.parametrize("workers", [None, 0, 1, 3])
def test_results_come_in_the_order_of_the_pieces(tmp_path: Path, workers: int | None) -> None:
    numbers = list(range(12))
    assert made(tmp_path, numbers, WorkPlan(workers=workers)) == [n * n for n in numbers]
    is_here = processes(tmp_path) == {os.getpid()}
    assert is_here == (not workers)  # few pieces are not worth a worker
    assert len(processes(tmp_path)) <= max(1, workers or 0)


def test_much_work_is_handed_to_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_pieces, "_PAYS", 0.01)
    monkeypatch.setattr(work_pieces, "cores", lambda: 2)
    numbers = list(range(1, 13))
    assert made(tmp_path, numbers, WorkPlan()) == [n * n for n in numbers]
    assert os.getpid() in processes(tmp_path)
    assert len(processes(tmp_path)) > 1


@POSIX
@pytest.mark.parametrize("workers", [1, 2])
def test_a_piece_that_kills_its_worker_twice_is_lost(tmp_path: Path, workers: int) -> None:
    pieces = [1, "kill once", 2, "kill", 3, "error", 4]
    found = made(tmp_path, pieces, WorkPlan(workers=workers))
    assert found[:3] == [1, 10000, 4]
    assert "SIGKILL" in found[3]
    assert found[4:] == [9, "this piece is wrong", 16]


def test_an_error_of_a_piece_is_its_own_here_too(tmp_path: Path) -> None:
    assert made(tmp_path, [1, "error", 2], WorkPlan(workers=0)) == [1, "this piece is wrong", 4]


def test_without_workers_this_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise WorkersError("a process cannot be started (none left)")

    monkeypatch.setattr("regiontree.engines.workers.Workers._start", refuse)
    said: list[str] = []
    assert made(tmp_path, [1, 2, 3], WorkPlan(workers=2, notice=said.append)) == [1, 4, 9]
    assert said == ["no workers: a process cannot be started (none left); one process goes on"]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"engine": "torchrun"}, "local, ray"),
        ({"engine": "rya"}, "did you mean 'ray'"),
        ({"ray_address": "auto"}, "--engine ray"),
        ({"workers": -1}, "0 to 1024"),
    ],
)
def test_what_no_engine_does_is_refused(plan: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        WorkPlan(**plan)


# -- collections -----------------------------------------------------------------------------------


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(treework, "PIECE", 3)
    monkeypatch.setattr(treework, "PART", 2)


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """Trees, two of which cannot be used: one is damaged, one is of another network."""
    folder = tmp_path / "trees"
    folder.mkdir()
    save_all(folder, range(22))
    (folder / "004.npz").write_bytes(b"damaged")
    made_up(9, network="other").save(folder / "009.npz")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    found = {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    # Besides the parts, only what belongs to a collection: no scratch is left.
    assert all(name.startswith(("regions", "photographs", "model", "categories", "collection"))
               for name in found)  # fmt: skip
    return {name: held for name, held in found.items() if name.endswith((".npz", ".json"))}


@pytest.mark.usefixtures("small_pieces")
def test_files_do_not_depend_on_who_read_the_trees(trees: Path, tmp_path: Path) -> None:
    alone = discover(trees, tmp_path / "0", SETTINGS, plan=WorkPlan(workers=0))
    expected = contents(tmp_path / "0")
    assert set(alone.failed) == {"004", "009"}
    assert len([name for name in expected if name.startswith("regions")]) == 4
    for workers in (1, 2, 3):
        out = tmp_path / str(workers)
        found = discover(trees, out, SETTINGS, plan=WorkPlan(workers=workers))
        assert found == alone
        assert contents(out) == expected


@pytest.mark.usefixtures("small_pieces")
def test_files_of_a_store_do_not_depend_on_it_either(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "trees"
    folder.mkdir()
    convert(save_all(folder, range(14)), tmp_path / "store")
    for workers in (0, 2):
        plan = WorkPlan(workers=workers)
        discover(tmp_path / "store", tmp_path / str(workers), SETTINGS, plan=plan)
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("stop", [("regions", 8), ("categories", 14)])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupted_command_makes_the_same_files(
    trees: Path, tmp_path: Path, stop: tuple[str, int], workers: int
) -> None:
    discover(trees, tmp_path / "whole", SETTINGS, plan=WorkPlan(workers=0))

    def advance(stage: str, done: int, said: str | None) -> None:
        if (stage, done) == stop:
            raise KeyboardInterrupt

    plan = WorkPlan(workers=workers)
    with pytest.raises(KeyboardInterrupt):
        discover(trees, tmp_path / "out", SETTINGS, plan=plan, advance=advance)
    kind = "regions" if stop[0] == "regions" else "photographs"
    assert 0 < len(list((tmp_path / "out" / kind).iterdir())) < 4
    contents(tmp_path / "out")
    discover(trees, tmp_path / "out", plan=plan)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.usefixtures("small_pieces")
def test_workers_add_photographs_too(trees: Path, tmp_path: Path) -> None:
    for workers in (0, 2):
        discover(trees, tmp_path / str(workers), SETTINGS)
    save_all(trees, range(30, 39))
    added = [
        discover(trees, tmp_path / str(workers), add=True, plan=WorkPlan(workers=workers))
        for workers in (0, 2)
    ]
    assert added[0] == added[1]
    assert added[0].new == 9
    assert contents(tmp_path / "0") == contents(tmp_path / "2")


@POSIX
def test_a_tree_that_kills_its_worker_is_told_and_the_rest_goes_on(
    trees: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made_up(40).save(trees / "deadly.npz")
    plain = treework.gather_work

    def deadly(*given: Any) -> treework.TreeWork:
        work = plain(*given)
        return treework.TreeWork("piecework:open_deadly_gather", work.options, work.here)

    monkeypatch.setattr("regiontree.collection.discovery.gather_work", deadly)
    found = discover(trees, tmp_path / "out", SETTINGS, plan=WorkPlan(workers=2))
    assert set(found.failed) == {"004", "009", "deadly"}
    assert "SIGKILL" in found.failed["deadly"]
    assert (found.photographs, len(Collection.load(tmp_path / "out"))) == (20, 20)


@POSIX
def test_a_killed_command_leaves_no_process(trees: Path, tmp_path: Path) -> None:
    save_all(trees, range(100, 400))
    command = [sys.executable, "-m", "regiontree", "discover", str(trees), "-o",
               str(tmp_path / "out"), "--workers", "2", "--set", "descriptor=token"]  # fmt: skip
    running = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        limit = time.monotonic() + 60
        while not (workers := _children(running.pid)) and time.monotonic() < limit:
            time.sleep(0.05)
        assert workers
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130
    finally:
        running.kill()
        running.wait()
    limit = time.monotonic() + 20
    while any(map(_runs, workers)) and time.monotonic() < limit:
        time.sleep(0.05)
    assert not any(map(_runs, workers))
    contents(tmp_path / "out")


def _children(process: int) -> list[int]:
    try:
        text = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return []
    return [int(child) for child in text.split()]


def _runs(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_the_command_takes_workers_and_refuses_engines(trees: Path, tmp_path: Path) -> None:
    runner = CliRunner()
    given = ["discover", str(trees), "-o", str(tmp_path / "out"), "--set", "descriptor=token"]
    found = runner.invoke(app, [*given, "--workers", "1"])
    assert found.exit_code == 1, found.output  # two trees cannot be used
    assert len(Collection.load(tmp_path / "out")) == 20
    refused = runner.invoke(app, [*given, "--engine", "torchrun"])
    assert refused.exit_code == 2
    assert "local, ray" in refused.output
    (tmp_path / "photos").mkdir()
    photos = runner.invoke(
        app, ["discover", str(tmp_path / "photos"), "-o", str(tmp_path / "x"), "--engine", "ray"]
    )
    assert photos.exit_code == 2
    assert "regiontree segment --engine ray" in " ".join(photos.output.split())


@pytest.mark.cluster
@pytest.mark.usefixtures("small_pieces")
def test_a_ray_cluster_makes_the_same_files(trees: Path, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    alone = discover(trees, tmp_path / "0", SETTINGS, plan=WorkPlan(workers=0))
    found = discover(trees, tmp_path / "ray", SETTINGS, plan=WorkPlan("ray", 2))
    assert found == alone
    assert contents(tmp_path / "ray") == contents(tmp_path / "0")
    assert np.array_equal(
        Collection.load(tmp_path / "ray").label_map("003", 4),
        Collection.load(tmp_path / "0").label_map("003", 4),
    )
