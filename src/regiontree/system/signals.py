"""Stop long work cleanly on Ctrl-C, and on SIGTERM, which batch systems and torchrun send."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]

_USUAL = (signal.SIG_DFL, signal.default_int_handler)


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if SIGINT or SIGTERM has come during the block.

    Within the block, both signals also raise KeyboardInterrupt at once, in the main thread. But
    Python loses an exception in a callback from C code and in a finaliser. So the block should call
    the function between two pieces of work: it raises the exception again. When the block ends, the
    earlier signal handlers are restored.

    A signal that the program handles or ignores itself (``nohup`` ignores it) keeps its handler. In
    a thread other than the main one all signals do, because Python allows no change there.
    """
    received = False

    def interrupt(*_: Any) -> None:
        nonlocal received
        received = True
        raise KeyboardInterrupt

    def check() -> None:
        if received:
            raise KeyboardInterrupt

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        every = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        before = {number: handler for number, handler in every.items() if handler in _USUAL}
    try:
        for number in before:
            signal.signal(number, interrupt)
        yield check
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
