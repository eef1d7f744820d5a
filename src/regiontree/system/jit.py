"""Loops over pixels and patches as machine code, compiled by numba when they are first called.

Some steps visit pixels one after the other: a flood, a union of sets, a merge of the nearest pair.
NumPy has no operation for these, and a loop in Python takes a microsecond a step. numba compiles
such a loop at its first call and keeps the machine code on disk, so that the next process only
loads it.

Each loop names a slower function of the same arguments and results. It does the work if numba is
missing or cannot compile. A warning says so once. ``NUMBA_DISABLE_JIT=1`` chooses it, too.

The compiled code releases Python's lock, so threads run side by side. It adds and multiplies in the
order that the loop is written in: no fused operations, no reordered sums. So it gives the same bits
on every processor.
"""

from __future__ import annotations

import os
import types
import warnings
from collections.abc import Callable
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

__all__ = ["Loop", "announce", "jit"]

P = ParamSpec("P")
R = TypeVar("R")

_why_not: str | None = None  # why no loop is compiled in this process
_announce: Callable[[], None] | None = None  # called before the first loop that is not on disk


class _Decorator(Protocol):
    def __call__(self, function: Callable[P, R], /) -> Loop[P, R]: ...


@overload
def jit(*, instead: None = None) -> _Decorator: ...
@overload
def jit(*, instead: Callable[P, R]) -> Callable[[Callable[P, R]], Loop[P, R]]: ...
def jit(*, instead: Callable[..., Any] | None = None) -> Callable[..., Any]:
    """Decorate a function that numba is to compile.

    Parameters
    ----------
    instead
        The slower function. None: the loop itself runs in Python. That suits loops of a few
        thousand steps, and loops that only other loops call.

    Notes
    -----
    The function may call other decorated functions of its own module. It takes and returns NumPy
    arrays and numbers, and it raises nothing. Callers pass arrays of one dtype and layout each, as
    every new combination is compiled anew.

    Examples
    --------
    >>> @jit()
    ... def total(values):
    ...     found = 0
    ...     for value in values:
    ...         found += value
    ...     return found
    >>> import numpy as np
    >>> int(total(np.arange(4)))
    6
    """

    def decorate(function: Callable[..., Any]) -> Loop[..., Any]:
        return Loop(function, function if instead is None else instead)

    return decorate


class Loop(Generic[P, R]):
    """A function and its machine code; made by :func:`jit`.

    Attributes
    ----------
    function : callable
        The loop as it is written, in Python.
    instead : callable
        What runs if the loop cannot be compiled.
    """

    def __init__(self, function: Callable[P, R], instead: Callable[P, R]) -> None:
        self.function, self.instead = function, instead
        self._fast: Callable[P, R] | None = None
        self.__doc__, self.__name__ = function.__doc__, function.__name__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        if _why_not is not None:
            return self.instead(*args, **kwargs)
        for on_disk in (True, False):  # the disk may be full, or its files damaged
            try:
                return self.compiled(on_disk)(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - numba and LLVM raise many kinds
                fault, self._fast = error, None
        _give_up(fault)
        return self.instead(*args, **kwargs)

    def compiled(self, on_disk: bool = True) -> Callable[P, R]:
        """What numba makes of the function. It compiles at the first call with new types."""
        fast = self._fast
        if fast is None:  # two threads at once may both make it: numba compiles one at a time
            fast = self._fast = _compiled(self.function, on_disk)
            if not _is_on_disk(fast):
                _tell()
        return fast


def announce(tell: Callable[[], None] | None) -> None:
    """Call `tell` once in this process, before loops are compiled whose code is not on disk.

    Compiling all loops takes about half a minute. So a program on a terminal should say so.
    """
    global _announce
    _announce = tell


def _tell() -> None:
    tell = _announce
    announce(None)
    if tell is not None:
        tell()


def _is_on_disk(made: Callable[..., Any]) -> bool:
    """Whether numba has kept machine code of the function; True if numba does not say."""
    file = getattr(getattr(made, "_cache", None), "_cache_file", None)
    path = getattr(file, "_index_path", None)
    return path is None or os.path.exists(path)


def _compiled(function: Callable[..., Any], on_disk: bool) -> Callable[..., Any]:
    import numba  # takes a third of a second

    if numba.config.DISABLE_JIT:
        raise RuntimeError("NUMBA_DISABLE_JIT is set")
    # numba knows its own functions only, so those of ours that this one calls are put in their
    # place.
    names = {
        name: value.compiled(on_disk)
        for name in function.__code__.co_names
        if isinstance(value := function.__globals__.get(name), Loop)
    }
    renamed = types.FunctionType(
        function.__code__,
        {**function.__globals__, **names},
        function.__name__,
        function.__defaults__,
    )
    renamed.__qualname__, renamed.__module__ = function.__qualname__, function.__module__
    # Divisions are those of NumPy: they raise nothing, so loops with divisions become vector code.
    made: Callable[..., Any] = numba.njit(nogil=True, cache=on_disk, error_model="numpy")(renamed)
    return made


def _give_up(fault: Exception) -> None:
    """Compile nothing more in this process, and say so once."""
    global _why_not
    if _why_not is not None:
        return
    _why_not = str(fault).strip().partition("\n")[0] or type(fault).__name__
    warnings.warn(
        f"numba cannot compile here, so trees take several times longer ({_why_not}); "
        "pip install numba",
        RuntimeWarning,
        stacklevel=3,
    )
