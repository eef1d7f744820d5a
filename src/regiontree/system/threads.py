"""Small linear algebra on one thread.

A step of a fraction of a millisecond loses more by handing work to other threads than it gains. On
a busy machine the loss is many times larger. With other processes running, the recursion took 12 ms
on one thread and 50 to 1,200 ms on two. On an idle machine, one thread is as fast or faster
(benchmarks/threads.py). Large matrix products keep all threads.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import torch
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread"]

_lock = threading.Lock()
_inside = 0
_restore: list[Any] = []


@lru_cache(maxsize=1)
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # searches all loaded libraries, so it is made once


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch and NumPy on one thread within the block.

    The number of threads is a setting of the whole process, so concurrent blocks share it. The
    first block to start sets it to one. The last block to end restores it.
    """
    global _inside
    with _lock:
        _inside += 1
        if _inside == 1:
            _restore[:] = [torch.get_num_threads(), _controller().limit(limits=1)]
            torch.set_num_threads(1)
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0:
                _restore[1].restore_original_limits()
                torch.set_num_threads(_restore[0])
