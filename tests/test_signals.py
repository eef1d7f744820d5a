"""A signal stops the work, even if its exception was lost on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from regiontree.system.signals import interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_again_at_the_next_check(number: int) -> None:
    before = signal.getsignal(number)
    with interruptible() as check:
        check()  # nothing yet
        with contextlib.suppress(KeyboardInterrupt):  # as a callback from C code would lose it
            os.kill(os.getpid(), number)
            pytest.fail("the signal raised nothing")
        with pytest.raises(KeyboardInterrupt):
            check()
    assert signal.getsignal(number) is before


def test_an_interruption_while_the_command_is_loaded_leaves_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    ended = subprocess.run(
        [sys.executable, "-m", "regiontree", "--version"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
