"""Locks that a fork leaves free, and settings of other libraries that threads change together."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from weakref import WeakSet

__all__ = ["Lock", "Together"]


class Lock:
    """A lock for ``with``, free in a process that was forked while another thread held it.

    A copy, or one from a pickle, is a lock of its own.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        _every.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.release()

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


class Together:
    """A change to the whole process, shared by the threads that need it at the same time.

    The first block to start makes the change, and the last to end takes it back. If each block
    restored what it had found, one that started later would restore the change of another for good.

    Parameters
    ----------
    change
        Makes the change and returns the function that takes it back.
    """

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._lock = Lock()
        self._inside = 0
        self._take_back: Callable[[], None] | None = None

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """The change, for the block."""
        with self._lock:
            if not self._inside:
                self._take_back = self._change()
            self._inside += 1
        try:
            yield
        finally:
            with self._lock:
                self._inside -= 1
                if not self._inside and self._take_back is not None:
                    self._take_back()
                    self._take_back = None


_every: WeakSet[Lock] = WeakSet()


def _free() -> None:
    for lock in _every:
        lock._lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_free)
