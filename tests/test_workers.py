"""Worker processes: what they say, how they die, and that trees do not depend on their number."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT, blocks, refused
from PIL import Image
from test_process import changed, settings_of_the_process

from regiontree import RegionParser, RegionTree
from regiontree.engines import division, sharing
from regiontree.engines.batch import Summary, plan, segment, suffixes_for
from regiontree.engines.feeding import Fed
from regiontree.engines.finished import Job
from regiontree.engines.link import SharedArray, error_of, read_message, told, write_message
from regiontree.engines.photographs import Photographs, as_job, as_reference
from regiontree.engines.workers import Lost, Workers, WorkersError
from regiontree.errors import BackboneError, ImageError, RegionTreeError, SettingsError
from regiontree.hierarchy import BUILDERS
from regiontree.system import resources

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
TARGET = "labour:open_labour"


# -- messages -------------------------------------------------------------------------------------


def test_a_message_is_one_line_of_plain_text() -> None:
    stream = io.BytesIO()
    write_message(stream, {"name": "a\nb\udcff é"})
    assert stream.getvalue().isascii()
    assert stream.getvalue().count(b"\n") == 1
    stream.seek(0)
    assert read_message(stream) == {"name": "a\nb\udcff é"}
    assert read_message(stream) is None
    assert read_message(io.BytesIO(b'{"cut off": ')) is None


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (BackboneError("no weights"), BackboneError, "no weights"),
        (ImageError("a.jpg: is empty"), ImageError, "a.jpg: is empty"),
        (OSError(28, "No space left on device"), RegionTreeError, "No space left on device"),
        (KeyError("gain"), RegionTreeError, "KeyError('gain')"),
    ],
)
def test_an_error_keeps_its_kind_and_its_words(error, kind, said) -> None:
    again = error_of(json.loads(json.dumps(told(error))))
    assert type(again) is kind
    assert str(again).startswith(said)


def test_an_array_goes_through_shared_memory() -> None:
    one = SharedArray()
    other = SharedArray(os.dup(one.descriptor))
    for shape in ((2, 3), (40, 50, 60), (), (0, 4), (5,)):
        array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        assert np.array_equal(other.get(one.put(array)), array)
        assert np.array_equal(one.get(other.put(-array)), -array)
    kept = other.get(one.put(np.arange(6)))
    one.close()
    other.close()
    assert kept.tolist() == [0, 1, 2, 3, 4, 5]


# -- workers that do small work -------------------------------------------------------------------


def done(
    work: list[Any], size: int = 2, options: dict[str, Any] | None = None, **more: Any
) -> list[tuple[int, Any]]:
    with closing(Workers(TARGET, options or {}, size, 2, **more)) as workers:
        return sorted(workers.rows(enumerate(work)), key=lambda row: row[0])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(fact: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_every_piece_of_work_has_a_row(size) -> None:
    found = done([["double", i] for i in range(5)] + [None], size)
    assert found == [(i, 2 * i) for i in range(5)] + [(5, None)]


def test_workers_share_the_cores() -> None:
    found = done([["who", 0]] * 6, 2)
    assert {row["threads"] for _, row in found} == {"1"}
    assert os.getpid() not in {row["pid"] for _, row in found}
    assert Workers(TARGET, {}, 2, 8).threads == 4
    assert Workers(TARGET, {}, 3, 8).threads == 2
    assert Workers(TARGET, {}, 9, 8).threads == 1


def test_what_a_reader_prints_or_reads_is_no_message(capfd) -> None:
    assert done([["print", 0], ["double", 1]], 1) == [(0, ["", ""]), (1, 2)]
    assert "to standard output" in capfd.readouterr().err


def test_an_error_of_one_piece_of_work_is_its_own() -> None:
    found = dict(done([["double", 1], ["raise", 0], ["double", 2]]))
    assert (found[0], found[2]) == (2, 4)
    assert isinstance(found[1], Lost)
    assert "ValueError('a broken file')" in found[1].reason


def test_workers_ask_for_arrays() -> None:
    asked = []

    def answer(array: np.ndarray) -> np.ndarray:
        asked.append(array.shape)
        if len(array) == 3:
            raise BackboneError("three is too many")
        return np.repeat(array, 100, axis=0)

    found = done([["ask", i] for i in (1, 2, 3, 4)], answer=answer)
    assert [row for _, row in found if not isinstance(row, Lost)] == [100, 200, 400]
    assert found[2] == (2, Lost("three is too many"))
    assert sorted(asked) == [(1, 2), (2, 2), (3, 2), (4, 2)]


def test_an_error_at_the_start_comes_once(tmp_path) -> None:
    opened = tmp_path / "opened"
    with refused(BackboneError, "there are no weights"):
        done([["double", 1]] * 9, 4, {"refuse": True, "opened": str(opened)})
    assert len(opened.read_text().split()) == 1


def test_only_so_many_workers_load_as_memory_allows(tmp_path) -> None:
    opened, facts = tmp_path / "opened", []

    def limit(said: dict[str, Any]) -> int:
        facts.append(said)
        return 2

    found = done([["sleep", 0.2]] * 15, 4, {"opened": str(opened)}, limit=limit)
    assert len(found) == 15
    assert len(opened.read_text().split()) <= 2
    assert len(facts) == 1
    assert facts[0]["memory"] is None or facts[0]["memory"] > 1_000_000


@POSIX
def test_work_that_kills_its_worker_is_tried_again_and_then_lost(tmp_path) -> None:
    work = [["double", 1], ["die", 0], ["die once", str(tmp_path / "once")], ["double", 3]]
    found = dict(done(work))
    assert (found[0], found[3]) == (2, 6)
    assert found[2] == str(tmp_path / "once")
    assert found[1] == Lost(
        "the process that worked on it ended twice (killed by SIGKILL; memory may have run out)"
    )


@POSIX
def test_the_second_try_has_no_work_beside_it(tmp_path) -> None:
    once = tmp_path / "once"
    events: list[str] = []

    class Watched(Workers):
        def _give(self, worker, work):
            events.append(f"{work[1][0]} beside {sum(w.work is not None for w in self._workers)}")
            super()._give(worker, work)

    with closing(Watched(TARGET, {}, 2, 2)) as workers:
        work = [["die once", str(once)]] + [["sleep", 0.2]] * 6
        rows = dict(workers.rows(enumerate(work)))
    assert len(rows) == 7
    tries = [said for said in events if said.startswith("die once")]
    assert len(tries) == 2
    assert tries[1] == "die once beside 0"


@POSIX
def test_workers_that_die_at_their_start_end_the_attempt() -> None:
    with refused(WorkersError, "no worker process stays alive", "SIGKILL"):
        done([["double", 1]] * 3, 2, {"die": True})


def test_a_program_that_is_not_there_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    with refused(WorkersError, "a process cannot be started"):
        done([["double", 1]])


@POSIX
def test_closing_is_quick_leaves_no_file_and_keeps_finished_rows(tmp_path) -> None:
    temporary = tmp_path / "x.tmp"
    workers = Workers(TARGET, {}, 3, 2)
    rows = workers.rows(enumerate([["write", str(temporary)], ["sleep", 60], ["double", 1]]))
    assert next(rows) == (2, 2)
    wait_for(temporary.exists)
    pids = [one.process.pid for one in workers._workers]
    start = time.monotonic()
    rows.close()
    workers.close()
    assert time.monotonic() - start < 10
    assert not temporary.exists()
    assert not any(map(is_alive, pids))


def test_rows_that_came_too_late_are_kept() -> None:
    workers = Workers(TARGET, {}, 2, 2)
    rows = workers.rows(enumerate([["sleep", 0.5], ["double", 1]]))
    assert next(rows) == (1, 2)
    wait_for(lambda: not workers._events.empty())
    rows.close()
    workers.close()
    assert workers.late == [(0, 0.5)]


def test_nothing_is_left_open() -> None:
    folder = Path("/proc/self/fd")
    if not folder.exists():
        pytest.skip("no /proc")
    done([["double", 1]])
    before = sorted(os.listdir(folder))
    done([["double", 1], ["ask", 1]], answer=lambda array: array)
    assert sorted(os.listdir(folder)) == before


PARENT = f"""
import sys
sys.path[:0] = [{str(ROOT / "tests")!r}, {str(ROOT / "src")!r}]
from regiontree.engines.workers import Workers
if __name__ != "__main__":
    raise SystemExit("the program ran again")
workers = Workers({TARGET!r}, {{}}, 3, 2)
rows = workers.rows(enumerate([["who", 0], ["write", sys.argv[1]], ["sleep", 60], ["who", 0]]))
for _ in range(2):
    print(next(rows)[1]["pid"], *[one.process.pid for one in workers._workers], flush=True)
next(rows)
"""


@POSIX
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_the_process_that_started_them(tmp_path, how) -> None:
    """Neither handles SIGTERM here, so both end this program at once."""
    temporary, script = tmp_path / "x.tmp", tmp_path / "program.py"
    script.write_text(PARENT)
    process = subprocess.Popen(
        [sys.executable, str(script), str(temporary)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline(), process.stdout.readline()]
    pids = {int(pid) for pid in " ".join(said).split()}
    wait_for(temporary.exists)
    process.send_signal(how)
    process.wait(10)
    process.stdout.close()
    wait_for(lambda: not any(map(is_alive, pids)), 10)
    assert not temporary.exists()


# -- batches of photographs -----------------------------------------------------------------------

PLUGIN = """
import os
import signal
import time
from pathlib import Path

import torch


class Colours:
    name, digest, patch, dim, dtype = "colours", "1", 8, 3, torch.float32
    device = torch.device("cpu")

    def __init__(self, accident):
        self.accident = accident

    def features(self, pixels):
        red = bool((pixels[:, 0] == 1).all())
        if red and self.accident == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.accident == "waits":
            time.sleep(0.3)
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def load(argument, device, dtype, spec):
    if argument == "missing":
        raise FileNotFoundError(2, "No such file or directory", "weights")
    return Colours(argument)
"""


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with photographs in ``in``, and a package that brings a network in ``site``."""
    about = tmp_path / "site" / "tiny-1.0.dist-info"
    about.mkdir(parents=True)
    (tmp_path / "site" / "tiny.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[regiontree.backbones]\ntiny = tiny:load\n")
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(7):
        Image.fromarray(rng.integers(0, 255, (40, 64, 3), np.uint8)).save(tmp_path / f"in/{i}.png")
    (tmp_path / "in/2.png").write_bytes(b"\x89PNG cut short")
    return tmp_path


def command(place: Path, out: str, *more: object) -> list[str]:
    backbone = [] if "--backbone" in more else ["--backbone", "tiny"]
    return [sys.executable, "-m", "regiontree", "segment", str(place / "in"), "-o",
            str(place / out), *backbone, "--size", "64", "--views", "1", "--parts", "8", "--device",
            "cpu", "--json", *map(str, more)]  # fmt: skip


def environment(place: Path) -> dict[str, str]:
    paths = [str(place / "site"), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def run(place: Path, out: str, *more: object) -> tuple[int, dict[str, Any], str]:
    ended = subprocess.run(
        command(place, out, *more), env=environment(place), capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    said = json.loads(ended.stdout) if ended.stdout.startswith("{") else {}
    return ended.returncode, said, ended.stderr


def trees(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.glob("*.npz"))}


def timeless(summary: dict[str, Any]) -> dict[str, Any]:
    files = [{**file, "seconds": None, "output": None} for file in summary["files"]]
    return {**summary, "files": files, "seconds": 0, "images_per_second": 0, "folder": ""}


@pytest.mark.slow
def test_trees_and_summaries_do_not_depend_on_the_number_of_workers(place) -> None:
    (place / "in/copy").mkdir()
    (place / "in/copy/0.png").write_bytes((place / "in/0.png").read_bytes())
    code, first, _ = run(place, "out0", "--workers", 0)
    assert (code, first["done"], first["failed"]) == (1, 7, 1)
    for workers in (1, 2, 3):
        out = f"out{workers}"
        code, again, said = run(place, out, "--workers", workers)
        assert code == 1
        assert f"{workers} worker" in said
        assert timeless(again) == timeless(first)
        assert timeless(json.loads((place / out / "summary.json").read_text())) == timeless(first)
        assert trees(place / out) == trees(place / "out0")
        assert trees(place / out / "copy") == trees(place / "out0/copy")
    code, again, said = run(place, "out2", "--workers", 2)
    assert (again["skipped"], again["failed"]) == (7, 1)
    assert "worker" not in said  # there is nothing left that pays for their start


@pytest.mark.slow
@POSIX
def test_a_photograph_that_kills_its_process_fails_alone(place) -> None:
    red = np.full((40, 64, 3), (255, 0, 0), np.uint8)
    red[0, 0, 1] = 200  # a photograph of one colour would not meet the network
    Image.fromarray(red).save(place / "in/3.png")
    code, said, _ = run(place, "out", "--workers", 2, "--backbone", "tiny:dies")
    assert code == 1
    assert [file["status"] for file in said["files"]] == [
        "done", "done", "failed", "failed", "done", "done", "done",
    ]  # fmt: skip
    assert "3.png: the process that worked on it ended twice (killed by SIGKILL" in str(
        said["files"][3]["error"]
    )


@pytest.mark.slow
def test_a_network_that_cannot_be_loaded_ends_the_command_once(place) -> None:
    code, _, said = run(place, "out", "--workers", 3, "--backbone", "tiny:missing")
    assert code == 2
    assert said.count("cannot be loaded") == 1
    assert "Traceback" not in said
    assert not list((place / "out").glob("*.npz"))


@pytest.mark.slow
@POSIX
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("whom", ["the command", "all"])
def test_a_stopped_command_keeps_finished_trees_and_leaves_no_process(place, how, whom) -> None:
    """A terminal sends Ctrl-C to the command and to its workers."""
    for i in range(7, 20):
        (place / f"in/{i}.png").write_bytes((place / "in/1.png").read_bytes())
    process = subprocess.Popen(
        command(place, "out", "--workers", 2, "--backbone", "tiny:waits"), env=environment(place),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    out = place / "out"
    wait_for(lambda: len(trees(out)) >= 3, 60)
    pids = group_of(process.pid)
    assert len(pids) == 3
    start = time.monotonic()
    if whom == "all":
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    said, errors = process.communicate(timeout=60)
    assert time.monotonic() - start < 15
    wait_for(lambda: not any(map(is_alive, pids)), 10)
    left = len(trees(out))
    assert 3 <= left < 19
    if how != signal.SIGKILL:
        assert process.returncode == 130
        # Python itself prints a traceback if the signal comes while it drops a weak reference.
        assert "Traceback" not in errors.partition("Exception ignored in")[0]
        assert not list(out.glob(".*.tmp"))
        summary = json.loads(said)
        assert summary["interrupted"] is True
        assert summary["done"] == left
    _, again, _ = run(place, "out", "--workers", 0, "--backbone", "tiny:waits")
    assert (again["skipped"], again["done"], again["failed"]) == (left, 19 - left, 1)


def group_of(leader: int) -> set[int]:
    """The processes of a process group."""
    found = subprocess.run(
        ["ps", "-A", "-o", "pid=,pgid="], capture_output=True, text=True, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in found.stdout.splitlines()]
    return {pid for pid, group in pairs if group == leader}


class Colours:
    """The user's own model: no other process has its class."""

    name, digest, patch, dim = "mine", "1", 8, 3
    device, dtype = torch.device("cpu"), torch.float32

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def parser_of(features: bool = True, **more: Any) -> RegionParser:
    backbone = "precomputed" if features else Colours()
    more = more if features else {"size": 64, "views": 1, **more}
    return RegionParser(backbone=backbone, parts=8, device="cpu", **more)


def batch(
    folder: Path, out: str, parser: RegionParser | None = None, **more: Any
) -> tuple[Summary, list[str]]:
    parser = parser or parser_of()
    said: list[str] = []
    jobs = plan([folder / "in"], folder / out, suffixes_for(parser))
    return segment(parser, jobs, folder / out, on_notice=said.append, **more), said


@pytest.fixture
def grids(tmp_path) -> Path:
    """A folder with feature files in ``in``, one of them damaged."""
    (tmp_path / "in").mkdir()
    for i in range(6):
        np.save(tmp_path / f"in/{i}.npy", blocks(12, 12, 8, seed=i))
    (tmp_path / "in/1.npy").write_bytes(b"\x93NUMPY cut short")
    return tmp_path


@pytest.fixture
def no_workers(monkeypatch) -> None:
    monkeypatch.setattr(sharing.Workers, "_start", lambda *_: pytest.fail("a worker was started"))


@pytest.mark.slow
def test_workers_share_feature_files_and_change_nothing_here(grids) -> None:
    batch(grids, "out", workers=0)
    before = settings_of_the_process()
    summary, said = batch(grids, "out2", workers=2)
    assert changed(before, settings_of_the_process()) == {}
    assert [outcome.status for outcome in summary.outcomes] == ["done", "failed"] + ["done"] * 4
    assert trees(grids / "out2") == trees(grids / "out")
    assert len(said) == 1


@pytest.mark.slow
def test_the_users_own_model_stays_here_and_workers_do_the_rest(place) -> None:
    here, _ = batch(place, "out", parser_of(False), workers=0)
    summary, said = batch(place, "out2", parser_of(False), workers=2)
    assert said[0].startswith("2 workers")
    assert trees(place / "out2") == trees(place / "out")
    assert [o.error for o in summary.outcomes] == [o.error for o in here.outcomes]

    class Broken(Colours):
        def features(self, pixels: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError("no light")

    parsers = [RegionParser(backbone=Broken(), size=64, views=1, parts=8) for _ in range(2)]
    here, _ = batch(place, "out3", parsers[0], workers=0)
    summary, _ = batch(place, "out4", parsers[1], workers=2)
    assert "ZeroDivisionError" in str(here.outcomes[0].error)
    assert [o.error for o in summary.outcomes] == [o.error for o in here.outcomes]


@pytest.mark.slow
def test_workers_take_over_when_the_rest_takes_long(grids, monkeypatch) -> None:
    batch(grids, "out", workers=0)
    monkeypatch.setattr(division, "_PAYS", 0.0)
    monkeypatch.setattr(division, "cores", lambda: 2)
    summary, said = batch(grids, "out2")
    assert [Path(o.source).name for o in summary.outcomes] == [f"{i}.npy" for i in range(6)]
    assert trees(grids / "out2") == trees(grids / "out")
    assert said[0].startswith("2 workers")


@pytest.mark.usefixtures("no_workers")
def test_few_or_fast_photographs_need_no_workers(grids) -> None:
    assert batch(grids, "out")[0].count("done") == 5
    assert batch(grids, "out", workers=3)[0].count("skipped") == 5
    for i in (0, 4):
        (grids / f"out/{i}.npz").unlink()
    (grids / "in/1.npy").unlink()
    summary, said = batch(grids, "out", workers=3)
    assert (summary.count("done"), summary.count("skipped"), said) == (2, 3, [])


@pytest.mark.usefixtures("no_workers")
def test_a_part_that_only_this_program_has_is_told(grids, monkeypatch) -> None:
    monkeypatch.setattr(BUILDERS, "_registered", {"ward"})
    assert division.usual_workers(parser_of()) == 0
    summary, said = batch(grids, "out", workers=3)
    assert summary.count("done") == 5
    assert said == ["no workers: the program registered a tree itself, which other processes lack"]


def test_a_batch_goes_on_here_if_no_worker_starts(grids, monkeypatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/python")
    summary, said = batch(grids, "out", workers=2)
    assert [o.status for o in summary.outcomes] == ["done", "failed"] + ["done"] * 4
    assert said[-1].startswith("no workers: a process cannot be started")


@pytest.mark.slow
def test_as_many_workers_as_memory_allows(grids, monkeypatch) -> None:
    monkeypatch.setattr(sharing, "free_memory", lambda: 3 * division.START)
    summary, said = batch(grids, "out", workers=5)
    assert summary.count("done") == 5
    assert said[0] == "3 workers instead of 5: each needs up to 0.4 GB, and 1.2 GB are free"
    assert "instead of" in said[1] or said[1].startswith("3 workers")


def test_a_wrong_number_of_workers_is_refused(grids) -> None:
    for wrong in (-1, 1.5, 10_000, "two"):
        with refused(SettingsError, "workers"):
            batch(grids, "out", workers=wrong)


def test_how_many_workers_there_are_usually(monkeypatch) -> None:
    monkeypatch.setattr(division, "cores", lambda: 6)
    assert division.usual_workers(parser_of()) == 6
    assert division.usual_workers(RegionParser(device="cpu")) == 6
    assert division.usual_workers(RegionParser(device="cpu", compile=True)) == 0
    assert division.usual_workers(parser_of(False)) == 0
    on_gpu = parser_of(False).copied(device=torch.device("cuda"))
    assert division.usual_workers(on_gpu) == (6 if sys.platform != "win32" else 0)
    monkeypatch.setattr(division, "is_under_torchrun", lambda: True)
    assert division.usual_workers(parser_of()) == 0
    monkeypatch.undo()
    monkeypatch.setattr(division, "cores", lambda: 1)
    assert division.usual_workers(parser_of()) == 0


def test_what_stays_in_this_process() -> None:
    assert parser_of(False).needs_this_process
    assert RegionParser(device="cpu", compile=True).needs_this_process
    assert RegionParser().copied(device=torch.device("cuda")).needs_this_process
    assert not RegionParser(device="cpu").needs_this_process
    assert not parser_of().copied(device=torch.device("cuda")).needs_this_process  # no network


def test_beside_a_gpu_trees_are_built_on_the_cpu(place) -> None:
    parser, photo = parser_of(False), place / "in/0.png"
    fed = Fed(photo, None, features=parser.extract(photo))
    on_gpu = parser.copied(device=torch.device("cuda"))
    done = Photographs(on_gpu, place).done(Job(photo, place / "tree.npz"), fed)
    assert done.status == "done"
    assert RegionTree.load(place / "tree.npz") == RegionTree.load(
        Path(str(Photographs(parser, place).done(Job(photo, place / "own.npz"), fed).output))
    )


@pytest.mark.parametrize(
    ("seconds", "left", "pay"),
    [([3.0, 3.0], 7, True), ([9.0, 1.0], 20, False), ([9.0], 99, False), ([30.0, 30.0], 2, False)],
)
def test_workers_pay_if_the_rest_takes_long(seconds, left, pay) -> None:
    assert division.pays(seconds, left) is pay


def test_a_job_is_the_same_in_a_worker() -> None:
    odd = Path("a\nb\udcff é.jpg")
    for job in (
        Job(odd, Path("out") / "a.npz", root=Path("."), mask=Path("m.png")),
        Job(odd, Path("x.npz"), is_users=False),
    ):
        assert as_job(json.loads(json.dumps(as_reference(job)))) == job


def test_a_larger_photograph_needs_more_memory(tmp_path) -> None:
    parser, needed = RegionParser(preset="fast", device="cpu"), []
    for side in (100, 1000, 3000):
        Image.new("RGB", (side, side)).save(tmp_path / f"{side}.png")
        needed.append(
            division.photograph_memory(parser, tmp_path.iterdir(), 14, 384, with_network=True)
        )
    assert needed == sorted(needed)
    assert needed[2] > needed[1] > needed[0] > 0
    (tmp_path / "broken.png").write_bytes(b"no photograph" * 10_000)
    photos = [*tmp_path.iterdir(), tmp_path / "gone.png"]
    assert division.photograph_memory(parser, photos, 14, 384, with_network=True) == needed[2]
    less = division.photograph_memory(parser, photos, 14, 384, with_network=False)
    assert 0 < less < needed[2]


# -- cores and memory of this process -------------------------------------------------------------


def system(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "350000 100000\n"}, 3),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
          "sys/fs/cgroup/a/cpu.max": "200000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/outside\n", "sys/fs/cgroup/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "4:cpu,cpuacct:/c\n",
          "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_quota_us": "400000\n",
          "sys/fs/cgroup/cpu,cpuacct/c/cpu.cfs_period_us": "100000\n"}, 4),
        ({"proc/self/cgroup": "4:cpu:/c\n", "sys/fs/cgroup/cpu/c/cpu.cfs_quota_us": "-1\n",
          "sys/fs/cgroup/cpu/c/cpu.cfs_period_us": "100000\n"}, 8),
    ],
)  # fmt: skip
def test_cores_are_those_of_the_control_group(files, expected, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert resources.cores(system(tmp_path, files)) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity")
def test_cores_are_those_of_the_affinity() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert resources.cores() == 1
    finally:
        os.sched_setaffinity(0, before)
    assert resources.cores() <= len(before)


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 5_000_000 * 1024),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "max\n",
          "sys/fs/cgroup/a/memory.current": "9\n"}, 5_000_000 * 1024),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "3000\n",
          "sys/fs/cgroup/a/memory.current": "2500\n",
          "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 700\n"}, 1200),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/memory.max": "3000\n",
          "sys/fs/cgroup/a/memory.current": "3500\n"}, 0),
        ({"proc/self/cgroup": "9:memory:/x\n",
          "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000\n",
          "sys/fs/cgroup/memory/memory.usage_in_bytes": "4000\n"}, 5000),
    ],
)  # fmt: skip
def test_free_memory_is_that_of_the_control_group(files, expected, tmp_path) -> None:
    known = {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:    5000000 kB\n"}
    assert resources.free_memory(system(tmp_path, {**known, **files})) == expected


def test_this_process_is_in_memory() -> None:
    held = resources.own_memory()
    assert held is None or held > 10_000_000
    assert (resources.free_memory() or 1) > 0
