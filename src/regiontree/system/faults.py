"""Where the work on one input ends: an error of any kind becomes a sentence on that input.

The work on a photograph calls readers, networks and metrics of other packages, which may raise
anything. One photograph must not end a batch. So this is the one place that catches every
exception. An interruption is not caught.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from regiontree.errors import RegionTreeError
from regiontree.system.paths import reason

__all__ = ["attempt", "fault_text"]

_T = TypeVar("_T")
# torch raises a plain RuntimeError on some devices, so only its message tells.
_OUT_OF_MEMORY = ("can't allocate memory", "out of memory")


def attempt(work: Callable[[], _T], *, stop: tuple[type[Exception], ...] = ()) -> _T | Exception:
    """The result of `work`, or the exception that it raised.

    Parameters
    ----------
    work
        The work on one input. It returns no exception itself.
    stop
        Exceptions that concern all inputs. They are raised.
    """
    try:
        return work()
    except stop:
        raise
    except Exception as error:  # noqa: BLE001 - code of other packages may raise anything
        _release(error)
        return error


def fault_text(error: BaseException, source: str | Path) -> str:
    """A sentence that begins with the input, unless it names the input anyway.

    An error that this package does not raise on purpose is told with its type, and with the place
    in the code where it was raised.

    Examples
    --------
    >>> fault_text(KeyError("gain"), "photo.raw")
    "photo.raw: KeyError('gain')"
    >>> fault_text(OSError(28, "No space left on device"), "photo.jpg")
    'photo.jpg: No space left on device'
    """
    if isinstance(error, RegionTreeError):
        said = str(error)
        return said if str(source) in said else f"{source}: {said}"
    if isinstance(error, OSError) and error.strerror:
        named = isinstance(error.filename, str | bytes) and str(error.filename) != str(source)
        at = f"{error.filename}: " if named else ""
        kind = "" if type(error) is OSError else f"{type(error).__name__}: "
        return f"{source}: {kind}{at}{reason(error)}"
    if isinstance(error, MemoryError) or any(said in str(error) for said in _OUT_OF_MEMORY):
        return f"{source}: memory ran out ({_first_line(error)}); use a smaller copy or size"
    return f"{source}: {error!r}{_place(error)}"


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _release(error: BaseException) -> None:
    """Free the arrays of the calls that an error ended. Its traceback would keep them in memory."""
    seen: BaseException | None = error
    while seen is not None:
        traceback.clear_frames(seen.__traceback__)
        seen = seen.__cause__ or seen.__context__


def _place(error: BaseException) -> str:
    """Where an error was raised: file, line and function."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return ""
    last = frames[-1]
    return f" (in {Path(last.filename).name}, line {last.lineno}, {last.name})"
