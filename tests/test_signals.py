"""A signal stops the work, even if its exception was lost on the way."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from regiontree.system.signals import interruptible, same_signal_stack


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_raises_and_again_at_the_next_check(number: int) -> None:
    before = signal.getsignal(number)
    with interruptible() as check:
        check()  # nothing yet
        with contextlib.suppress(KeyboardInterrupt):  # as a callback from C code would lose it
            signal.raise_signal(number)  # to this thread, whatever others a library has
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


def test_in_another_thread_no_handler_is_touched() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    seen = []

    def work() -> None:
        with interruptible() as check:
            check()
            seen.append([signal.getsignal(number) for number in numbers])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None], ids=["ignored", "own"])
def test_a_signal_that_the_program_handles_itself_keeps_its_handler(number, handler) -> None:
    before = signal.signal(number, handler)
    try:
        with interruptible() as check:
            os.kill(os.getpid(), number)
            check()
            assert signal.getsignal(number) is handler
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_a_handler_from_c_code_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Python shows it as None and cannot restore it."""
    changed = []
    monkeypatch.setattr(signal, "getsignal", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *given: changed.append(given))
    with interruptible():
        pass
    assert changed == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems have no such stack")
def test_the_stack_of_signals_is_that_from_before() -> None:
    change = ctypes.CDLL(None).sigaltstack
    memory = ctypes.create_string_buffer(1 << 17)
    found = (ctypes.c_size_t * 3)()
    change(None, found)
    before = list(found)
    with same_signal_stack():
        own = (ctypes.c_size_t * 3)(ctypes.addressof(memory), 0, len(memory))
        assert change(own, None) == 0
        change(None, found)
        assert found[0] == ctypes.addressof(memory)
    change(None, found)
    assert list(found) == before
