"""Stop long work cleanly on Ctrl-C, and on SIGTERM, which batch systems and torchrun send."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible"]


@contextmanager
def interruptible() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if SIGINT or SIGTERM has come during the block.

    Within the block, both signals also raise KeyboardInterrupt at once, in the main thread. But
    Python loses an exception in a callback from C code and in a finaliser. So the block should call
    the function between two pieces of work: it raises the exception again. The block must run in
    the main thread. When it ends, the earlier signal handlers are restored.
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
