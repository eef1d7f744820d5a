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
from threadpoolctl import ThreadpoolController

__all__ = ["one_thread", "threads_after_fork"]

_TORCH = {"win32": "torch_cpu.dll", "darwin": "libtorch_cpu.dylib"}  # else libtorch_cpu.so

_worked_in: int | None = None  # the process whose threads torch uses


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread within the block, in the calling thread only.

    Other threads keep their numbers, and so does the process. After the block the calling thread
    has its own number again. On a machine whose torch can be limited only as a whole, all threads
    are used.
    """
    openmp, mkl = _limits()
    torch.get_num_threads()  # before its first work, a thread would overwrite what is set here
    numbers = [library.get_num_threads() for library in openmp]
    for library in openmp:
        library.set_num_threads(1)
    own = [set_own(1) for set_own in mkl]
    try:
        yield
    finally:
        for set_own, number in zip(mkl, own, strict=True):
            set_own(number)
        for library, number in zip(openmp, numbers, strict=True):
            library.set_num_threads(number)


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
def _limits() -> tuple[tuple[Any, ...], tuple[Callable[[int], int], ...]]:
    """What sets the calling thread's numbers: OpenMP libraries, and functions of MKL.

    OpenMP keeps one number for each thread (OpenMP 5.2, section 2.4). MKL keeps one, too, which
    ``torch.set_num_threads`` sets and which then counts more than OpenMP's. MKL's functions take
    the new number and return the old one; 0 means that the thread has no number of its own.
    """
    loaded = ThreadpoolController().lib_controllers  # searches all loaded libraries: made once
    openmp = tuple(library for library in loaded if library.user_api == "openmp")
    libraries = [library.dynlib for library in loaded if library.internal_api == "mkl"]
    with suppress(OSError):  # torch was built in another way
        name = _TORCH.get(sys.platform, "libtorch_cpu.so")
        libraries.append(ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / name)))
    functions = (getattr(library, "MKL_Set_Num_Threads_Local", None) for library in libraries)
    return openmp, tuple(function for function in functions if function is not None)
