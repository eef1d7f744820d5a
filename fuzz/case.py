"""The verdict on one case: passed, or a fault and where it lies."""

from __future__ import annotations

import faulthandler
import os
import re
import resource
import shutil
import signal
import sys
import traceback
import unicodedata
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.target import Box, Target
from regiontree.errors import RegionTreeError

__all__ = ["Fault", "Judge"]

SECONDS = 10.0  # a case takes milliseconds, on a slow machine too
MEMORY = 256 << 20  # bytes that one case may add to the largest memory so far
ADDRESSES = 4 << 30  # bytes of addresses beyond what the imports take
LONGEST_MESSAGE = 3000  # characters, beside what it may quote of the input

# What a sentence for a user does not hold: Python's own words about its own objects.
_NOISE = re.compile(
    r"""<[\w.]+\ object\ at | \ at\ 0x[0-9a-f]{6,} | Traceback | <class\ | NoneType
    | '\w+'\ object | object\ is\ not | has\ no\ attribute | unexpected\ keyword
    | not\ supported\ between | unhashable | not\ subscriptable | not\ iterable
    | argument\ must\ be | must\ be\ (str|int|real)\b | positional\ argument
    | cannot\ unpack | values\ to\ unpack | referenced\ before | maximum\ recursion
    | errors\.pydantic | \w+Error\( | broadcast\ together | truth\ value\ of | invalid\ literal
    | codec\ can't | out\ of\ range\ for | list\ index | invalid\ index\ to | int\ too\ large
    | safe_open | allow_pickle | literal_eval""",
    re.VERBOSE,
)
_LIBRARIES = re.compile(r"[/\\](PIL|torch|rasterio|pydicom)[/\\]")
_SOURCE = f"{os.sep}regiontree{os.sep}"


class HangError(BaseException):
    """A case took too long. No handler of a reader may take it for damage of a file."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a case.

    Attributes
    ----------
    kind : str
        ``exception``, ``message``, ``result``, ``hang``, ``memory``, ``warning``, ``printed`` or
        ``left behind``.
    where : str
        The innermost function of regiontree, as ``file.py:function``, or the target's check.
    detail : str
        What was seen.
    """

    kind: str
    where: str
    detail: str

    @property
    def signature(self) -> str:
        """Equal for faults that have one cause, as far as can be told."""
        first = self.detail.partition(":")[0] if self.kind in ("exception", "message") else ""
        return f"{self.kind}|{self.where}|{first}"


class Judge:
    """Runs cases in this process, under limits.

    Parameters
    ----------
    folder
        An empty folder, best in memory. Cases write their files below it.
    seconds
        The longest time that a case may take.
    """

    def __init__(self, folder: Path, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self.place, self.temporary = folder / "files", folder / "tmp"
        for made in (self.place, self.temporary):
            made.mkdir(exist_ok=True)
        os.environ["TMPDIR"] = str(self.temporary)
        os.environ["REGIONTREE_CACHE"] = str(folder / "cache")
        signal.signal(signal.SIGALRM, _hang)

    def limit_memory(self) -> None:
        """Limit this process for good. Call it when everything is imported."""
        try:
            pages = int(Path("/proc/self/statm").read_text().split()[0])
        except OSError:
            return  # no Linux: the largest memory is compared all the same
        limit = pages * os.sysconf("SC_PAGE_SIZE") + ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))

    def verdict(self, target: Target, data: bytes) -> Fault | None:
        """None if the case passes."""
        box = Box(self.place)
        before, printed = _largest_memory(), _printed()
        fault: Fault | None = None
        # Code in C does not stop for an alarm: then the whole process ends, with a traceback.
        faulthandler.dump_traceback_later(4 * self.seconds, exit=True, file=sys.__stderr__)
        try:
            with warnings.catch_warnings(record=True) as warned:
                warnings.simplefilter("always")
                signal.setitimer(signal.ITIMER_REAL, self.seconds)
                try:
                    target.run(box, data)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
        except HangError as error:
            fault = Fault("hang", _where(error), f"longer than {self.seconds:g} s")
        except RegionTreeError as error:
            fault = _unclear(target, error, len(data))
        except AssertionError as error:
            fault = Fault("result", _check(error), str(error)[:300])
        except (Exception, SystemExit) as error:  # noqa: BLE001 that is what this is about
            kind = "memory" if isinstance(error, MemoryError) else "exception"
            fault = Fault(kind, _where(error), f"{type(error).__name__}: {str(error)[:300]}")
        finally:
            faulthandler.cancel_dump_traceback_later()
        fault = fault or self._side_effects(box, warned, printed, before, loud=target.loud)
        self._clean()
        return fault

    def _side_effects(
        self, box: Box, warned: Any, printed: int, before: int, *, loud: bool
    ) -> Fault | None:
        if _printed() != printed and not loud:
            return Fault("printed", "", "text on standard output or standard error")
        # These libraries tell a program about its file. A library must not silence them.
        if own := [one for one in warned if not _LIBRARIES.search(one.filename)]:
            one = own[0]
            return Fault("warning", _short(one.filename), f"{one.category.__name__}: {one.message}")
        for folder in (self.place, self.temporary):
            if left := set(os.listdir(folder)) - box.written:
                return Fault("left behind", "", min(left))
        added = _largest_memory() - before
        if added > MEMORY:
            return Fault("memory", "", f"{added >> 20} MB")
        return None

    def _clean(self) -> None:
        for folder in (self.place, self.temporary):
            for inside in os.scandir(folder):
                shutil.rmtree(inside) if inside.is_dir() else os.unlink(inside)


def _unclear(target: Target, error: RegionTreeError, given: int) -> Fault | None:
    """The fault of an error message; None if the message is clear."""
    said = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError):
            return Fault("memory", _where(error), f"refused only when memory ran out: {said[:200]}")
        cause = cause.__cause__ or cause.__context__
    problem = None
    if not any(name in said for name in target.names):
        problem = "names neither file nor argument"
    elif noise := _NOISE.search(said):
        problem = f"noise {noise[0].strip()!r}"
    elif len(said) > LONGEST_MESSAGE + 4 * given:
        problem = "too long"
    elif odd := next(
        (c for c in said if unicodedata.category(c) in ("Cc", "Cs") and c != "\n"), ""
    ):
        problem = f"control character {odd!r}"
    return problem and Fault("message", _where(error), f"{problem}: {said[:300]!r}")


def _where(error: BaseException) -> str:
    """The innermost function of the package in a traceback, else the innermost of all."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if _SOURCE in f.filename and f"fuzz{os.sep}" not in f.filename]
    if not own:
        own = list(frames)
    return f"{_short(own[-1].filename)}:{own[-1].name}" if own else "?"


def _check(error: AssertionError) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{_short(last.filename)}:{last.name}: {last.line}"


def _short(filename: str) -> str:
    for mark in (f"{os.sep}src{_SOURCE}", f"{os.sep}site-packages{os.sep}"):
        if mark in filename:
            return filename.rpartition(mark)[2]
    return os.path.basename(filename)


def _hang(*_: Any) -> None:
    raise HangError


def _largest_memory() -> int:
    found = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return found if sys.platform == "darwin" else found << 10


def _printed() -> int:
    """Bytes written so far to standard output and standard error, where these are files."""
    sys.stdout.flush()
    sys.stderr.flush()
    return os.fstat(1).st_size + os.fstat(2).st_size
