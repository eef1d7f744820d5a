"""Stop long work cleanly on Ctrl-C, and on SIGTERM, which batch systems and torchrun send."""

from __future__ import annotations

import ctypes
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["interruptible", "same_signal_stack"]

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


class _Stack(ctypes.Structure):
    """``stack_t`` of Linux: sigaltstack(2)."""

    _fields_ = [
        ("start", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    ]


_NO_STACK = 2  # SS_DISABLE


@contextmanager
def same_signal_stack() -> Iterator[None]:
    """After the block, signals use the same stack as before it. This matters on Linux alone.

    A thread can have a stack for its signal handlers. Python's handlers run there. A library that
    sets one and frees it later, in another thread, leaves a pointer to memory that is gone. Then
    the next Ctrl-C ends the process with a segmentation fault.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    change = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    known = change(None, ctypes.byref(before)) == 0
    try:
        yield
    finally:
        if known and change(ctypes.byref(before), None) != 0:
            change(ctypes.byref(_Stack(flags=_NO_STACK)), None)
