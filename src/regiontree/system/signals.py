"""Stopping long work cleanly: Ctrl-C, and SIGTERM as batch systems and torchrun send it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """SIGINT and SIGTERM raise KeyboardInterrupt within the block, in the main thread.

    Python loses the exception in a callback from C code and in a finaliser. So the block receives a
    function to call between two pieces of work. The function raises the exception again if a signal
    has come.
    """
    received = False

    def interrupt(*_: Any) -> None:
        nonlocal received
        received = True
        raise KeyboardInterrupt

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    before = {
        number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
