"""Files written whole or not at all, whatever the moment at which the writing is stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from regiontree.system import files, temporary
from regiontree.system.files import atomic_folder, atomic_write


def stopped_at(step: int, work: Callable[[], None]) -> bool:
    """Whether `work` was interrupted, before the line of the two modules that is this step."""
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename not in (files.__file__, temporary.__file__):
            return None
        if event == "line":
            left -= 1
            if left < 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_an_interruption_at_any_line_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "tree.npz"

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"new")

    step = 0
    while True:
        path.write_bytes(b"old")
        stopped = stopped_at(step, write)
        assert list(tmp_path.iterdir()) == [path], f"stopped before line {step} of the writing"
        assert path.read_bytes() in (b"old", b"new")
        if not stopped:
            break
        step += 1
    assert path.read_bytes() == b"new"
    assert step > 5  # it was stopped at several lines


# -- what killed processes leave ------------------------------------------------------------------

KILLED = """
import os, signal, sys
from pathlib import Path
from regiontree.system.files import atomic_folder, atomic_write
kind, target = sys.argv[1], Path(sys.argv[2])
with (atomic_write if kind == "file" else atomic_folder)(target) as made:
    if kind == "file":
        made.write(b"half of it")
    else:
        (made / "half.png").write_bytes(b"half of it")
        if kind == "replaced":  # between the two renames
            target.rename(made.parent / "old")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def forgetful() -> Iterator[None]:
    """A process that has not yet written anywhere."""
    temporary._remove_once.cache_clear()
    yield
    temporary._remove_once.cache_clear()


def killed(kind: str, target: Path) -> Path:
    """What a process leaves that is killed while it writes."""
    ended = subprocess.run([sys.executable, "-c", KILLED, kind, str(target)], check=False)
    assert ended.returncode == -9
    (left,) = (p for p in target.parent.iterdir() if p.name.startswith("."))
    return left


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
@pytest.mark.parametrize("kind", ["file", "folder", "replaced"])
def test_what_a_killed_process_leaves_is_removed_by_the_next(
    tmp_path: Path, forgetful: None, kind: str
) -> None:
    target = tmp_path / "made"
    if kind == "replaced":
        target.mkdir()
        (target / "finished.png").write_bytes(b"x")
    left = killed(kind, target)
    with atomic_write(tmp_path / "other"):
        pass
    assert left.exists(), "it changed a moment ago: its writer may run on another machine"
    os.utime(left, (0, 0))
    temporary._remove_once.cache_clear()
    with atomic_write(tmp_path / "other"):
        pass
    assert not left.exists()
    # A folder that was finished before has its name again.
    assert [p.name for p in target.glob("*")] == (["finished.png"] if kind == "replaced" else [])


@pytest.mark.parametrize("write", [atomic_write, atomic_folder])
def test_what_a_running_process_writes_is_left_alone(
    tmp_path: Path, forgetful: None, write: Any
) -> None:
    with write(tmp_path / "made"):
        (mine,) = tmp_path.iterdir()
        os.utime(mine, (0, 0))
        temporary._remove_once.cache_clear()
        with atomic_write(tmp_path / "other"):
            pass
        assert mine.exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "other"]


def test_hidden_files_of_others_are_left_alone(tmp_path: Path, forgetful: None) -> None:
    names = [".notes.txt", ".a.tmp", ".a.0123456789abcdef.tmp2", "a.0123456789abcdef.tmp"]
    for name in names:
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (0, 0))
    with atomic_write(tmp_path / "other"):
        pass
    assert all((tmp_path / name).exists() for name in names)
