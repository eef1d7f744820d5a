"""The fuzzer: inputs that once were faults pass now, and each sort of fault is seen as one."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from conftest import ROOT

from regiontree.errors import DataError

FOUND = sorted((ROOT / "fuzz" / "found").glob("*/*.bin"))


@pytest.fixture(scope="module")
def fuzz():
    for needed in ("onnx", "onnxruntime", "starlette", "rasterio"):
        pytest.importorskip(needed)
    sys.path.insert(0, str(ROOT))
    try:
        yield lambda name: importlib.import_module(f"fuzz.{name}")
    finally:
        sys.path.remove(str(ROOT))


@pytest.fixture
def judge(fuzz, tmp_path, monkeypatch, capfd):
    # Judge sets these for its whole process, which is here the tests' own.
    for name in ("TMPDIR", "REGIONTREE_CACHE"):
        monkeypatch.setenv(name, os.environ.get(name, str(tmp_path)))
    return fuzz("case").Judge(tmp_path, seconds=20.0)


def test_every_target_takes_a_valid_input(fuzz, judge):
    for name, target in fuzz("targets").all_targets().items():
        if name in ("images.heif", "images.dicom"):
            continue
        box = fuzz("target").Box(judge.place)
        target.run(box, _valid(name, target))
        judge._clean()


def _valid(name, target):
    """A seed that the reader accepts. Of the command line's values, many are refused on purpose."""
    seeds = target.seeds()
    return {"words.set": b"parts.count=200", "words.option": b"coco\nn_regions=3",
            "words.network": b"owner/model"}.get(name, seeds[0])  # fmt: skip


@pytest.mark.parametrize("file", FOUND, ids=lambda file: f"{file.parent.name}-{file.stem}")
def test_what_was_found_is_mended(fuzz, judge, file: Path):
    target = fuzz("targets").all_targets()[file.parent.name]
    for seed in target.seeds()[:1]:  # what it imports late must not look like this case's doing
        judge.verdict(target, seed)
    fault = judge.verdict(target, file.read_bytes())
    assert fault is None, fault


def _raise(error):
    raise error


def _leave(box, data):
    (box.folder / "stray").write_bytes(data)


FAULTS = {
    "exception": lambda box, data: [][1],
    "result": lambda box, data: _raise(AssertionError("not so")),
    "warning": lambda box, data: warnings.warn("look", stacklevel=1),
    "left behind": _leave,
    "memory": lambda box, data: _raise(MemoryError()),
    "message": lambda box, data: _raise(DataError("it is wrong")),
    "hang": lambda box, data: time.sleep(9),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_fault_of_each_sort_is_seen(fuzz, tmp_path, monkeypatch, kind):
    for name in ("TMPDIR", "REGIONTREE_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    judge = fuzz("case").Judge(tmp_path, seconds=0.2)
    target = fuzz("target").Target("trees.x", FAULTS[kind], lambda: [b""])
    assert judge.verdict(target, b"x").kind == kind


@pytest.mark.parametrize("message", [
    "case: 'str' object has no attribute 'x'", "case: \x1b[31m", "case: <class 'int'>",
    "case" * 900,
])  # fmt: skip
def test_a_message_with_noise_is_a_fault(fuzz, judge, message):
    target = fuzz("target").Target("trees.x", lambda box, data: _raise(DataError(message)), list)
    assert judge.verdict(target, b"").kind == "message"


def test_a_clear_refusal_passes(fuzz, judge):
    refuse = DataError("case.npz: holds no labels; write it again")
    target = fuzz("target").Target("trees.x", lambda box, data: _raise(refuse), list)
    assert judge.verdict(target, b"") is None


def test_an_input_is_made_small(fuzz):
    minimised = fuzz("minimise").minimised
    assert minimised(b"abcXdefYghi", lambda data: b"X" in data and b"Y" in data) == b"XY"


def test_changes_depend_on_the_seed_only(fuzz):
    import random

    for name, target in fuzz("targets").all_targets().items():
        data = target.seeds()[0]
        change = fuzz("worker")._changes(target)
        made = [[change(random.Random(k), data) for k in range(8)] for _ in range(2)]
        assert made[0] == made[1], name
        assert any(one != data for one in made[0]), name


def test_the_command_runs_cases_and_finds_nothing_in_a_sound_reader(fuzz, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "fuzz", "words.size", "--cases", "900", "--unguided",
         "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 faults" in done.stdout
