"""The cores and the memory that this process may use.

A machine may have more of both. A batch system, a container or the user gives a process some of
them: by its affinity to processors, or by a limit of its control group (cgroup, version 1 or 2).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

__all__ = ["cores", "free_memory", "most_memory", "own_memory", "waited_for_core"]

_ROOT = Path("/")
_KINDS = ("cpu", "cpu,cpuacct", "memory")  # folders of version 1


def cores(root: Path = _ROOT) -> int:
    """Number of cores that this process may keep busy, at least 1.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    found = float(len(affinity(0)) if affinity else os.cpu_count() or 1)
    for folder in _groups(root):
        quota, period = _numbers(folder / "cpu.max", 2)
        if quota is None:
            (quota,) = _numbers(folder / "cpu.cfs_quota_us", 1)
            (period,) = _numbers(folder / "cpu.cfs_period_us", 1)
        if quota and period and quota > 0:
            found = min(found, quota / period)
    return max(1, int(found))


def free_memory(root: Path = _ROOT) -> int | None:
    """Bytes of memory that new processes can take; None if the system does not say.

    Memory of files that the system can drop counts as free.

    Parameters
    ----------
    root
        Where ``proc`` and ``sys`` lie.
    """
    found = [free for folder in _groups(root) if (free := _left(folder)) is not None]
    with suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text().splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    if not found and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):  # macOS says only how much there is
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
    return max(0, min(found)) if found else None


def own_memory() -> int | None:
    """Bytes of this process that are in memory; None if the system does not say."""
    if sys.platform == "linux":
        with suppress(OSError, ValueError):
            return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    with suppress(ImportError):
        import resource

        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return None


def most_memory() -> int | None:
    """Most bytes of this process that were in memory at once; None if the system does not say."""
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return own_memory()


def waited_for_core() -> float:
    """Seconds that the main thread of this process was ready to run, and had no core.

    Other programs had the cores, or a limit of a control group. 0 if the system does not say.
    """
    with suppress(OSError, ValueError, IndexError):
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    return 0.0


def _left(folder: Path) -> int | None:
    """Bytes that a control group may still take; None if it has no limit."""
    (limit,) = _numbers(folder / "memory.max", 1)
    (used,) = _numbers(folder / "memory.current", 1)
    droppable = "inactive_file"
    if limit is None:
        (limit,) = _numbers(folder / "memory.limit_in_bytes", 1)
        (used,) = _numbers(folder / "memory.usage_in_bytes", 1)
        droppable = "total_inactive_file"
    if limit is None or used is None:
        return None
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == droppable:
                used -= int(value)
    return limit - used


def _numbers(file: Path, count: int) -> list[int | None]:
    """The first numbers in a file; None for each that is not there, or is ``max``."""
    words: list[str] = []
    with suppress(OSError, ValueError):
        words = file.read_text().split()
    found = [int(word) if word.lstrip("-").isdigit() else None for word in words[:count]]
    return found + [None] * (count - len(found))


def _groups(root: Path) -> Iterator[Path]:
    """The folders of this process's control groups, and of the groups around them.

    In a container the path that the system tells may be one outside it. Then the folders that are
    there hold the limits.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, ValueError):
        return
    top = root / "sys/fs/cgroup"
    for line in lines:
        number, _, rest = line.partition(":")
        kinds, _, path = rest.partition(":")
        names = [""] if number == "0" else [k for k in _KINDS if set(k.split(",")) <= set(
            kinds.split(","))]  # fmt: skip
        for name in names:
            inner = (top / name / path.lstrip("/")).resolve()
            for folder in (inner, *inner.parents):
                if top / name not in (folder, *folder.parents):
                    break
                if folder.is_dir():
                    yield folder
