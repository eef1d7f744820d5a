"""Small linear algebra on one thread, and threads after a fork.

A step of a fraction of a millisecond loses more by handing work to other threads than it gains. On
a busy machine the loss is many times larger. With other processes running, the recursion took 12 ms
on one thread and 50 to 1,200 ms on two. On an idle machine, one thread is as fast or faster
(benchmarks/threads.py). Large matrix products keep all threads.

Nothing here changes a setting of the process. ``torch.set_num_threads`` does: it also writes the
number that threads started later begin with. NumPy's OpenBLAS has only one number for the whole
process. So :func:`one_thread` sets the two numbers that belong to the calling thread alone, and
small algebra runs in torch, which obeys them (:mod:`regiontree.spectral.dense`).
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

__all__ = ["one_thread", "threads_after_fork"]

_LIBRARIES = {"win32": ("torch_cpu.dll", "libiomp5md.dll"), "darwin": ("libtorch_cpu.dylib",)}

_worked_in: int | None = None  # the process whose threads torch uses


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread within the block, in the calling thread only.

    Other threads keep their numbers, and so does the process. After the block the calling thread
    has its own number again. On a machine whose torch can be limited only as a whole, all threads
    are used.
    """
    set_openmp, set_mkl = _setters()
    number = torch.get_num_threads()  # and before its first work, a thread would reset what is set
    if set_openmp is not None:
        set_openmp(1)
    of_mkl = None if set_mkl is None else set_mkl(1)
    try:
        yield
    finally:
        if set_mkl is not None:
            set_mkl(of_mkl)
        if set_openmp is not None:
            set_openmp(number)


@contextmanager
def threads_after_fork() -> Iterator[None]:
    """Run torch on one thread within the block, if this process is a fork of one that used torch.

    OpenMP's threads do not survive a fork, and GNU's OpenMP waits for them for ever. A process that
    was forked before any work of ours uses all threads.
    """
    global _worked_in
    if _worked_in is None:
        _worked_in = os.getpid()
    if _worked_in == os.getpid():
        yield
    else:
        with one_thread():
            yield


@lru_cache(maxsize=1)
def _setters() -> tuple[Callable[..., Any] | None, Callable[..., Any] | None]:
    """What sets the calling thread's number in torch's OpenMP and in its MKL; None if it has none.

    OpenMP keeps one number for each thread (OpenMP 5.2, section 2.4), which torch shows as
    ``get_num_threads``. MKL keeps one, too. ``torch.set_num_threads`` sets it, and then it counts
    more than OpenMP's. MKL's function takes the new number and returns the old one; 0 means that
    the thread has no number of its own.
    """
    folder = Path(torch.__file__).parent / "lib"
    libraries = []
    for name in _LIBRARIES.get(sys.platform, ("libtorch_cpu.so",)):
        with suppress(OSError):  # torch was built in another way
            libraries.append(ctypes.CDLL(str(folder / name)))

    def found(name: str) -> Callable[..., Any] | None:
        # A library also gives what the libraries that it uses have, except on Windows.
        every = (getattr(library, name, None) for library in libraries)
        return next((function for function in every if function is not None), None)

    return found("omp_set_num_threads"), found("MKL_Set_Num_Threads_Local")
