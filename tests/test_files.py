"""Files written whole or not at all, whatever the moment at which the writing is stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from regiontree.system import files
from regiontree.system.files import atomic_write


def stopped_at(step: int, work: Callable[[], None]) -> bool:
    """Whether `work` was interrupted: before the line of ``files.py`` that it runs as this step."""
    left = step

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal left
        if frame.f_code.co_filename != files.__file__:
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
