"""Pieces of work whose results are wanted in order: done here, by worker processes, or on Ray.

A piece is a JSON value. Work on it gives a message and arrays. The work is named by an address
``module:function``: the function is called once in each process, with options, and returns the work
itself. So a process needs nothing but texts to begin, and nothing is unpickled here. A worker of
this machine leaves arrays in a file of a scratch folder. A task on Ray returns them.

Pieces are finished in any order, and handed on in theirs.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regiontree.engines.division import that_fit
from regiontree.engines.link import Message
from regiontree.engines.worker import Caller
from regiontree.engines.workers import CAN_START, Lost, Workers, WorkersError
from regiontree.errors import RegionTreeError, SettingsError, nearest_name
from regiontree.system.npyfile import read_npz
from regiontree.system.registry import load_address
from regiontree.system.resources import cores, free_memory

__all__ = ["PIECE_ENGINES", "Done", "Work", "WorkPlan", "open_work", "results"]

Arrays = dict[str, NDArray[Any]]
Done = tuple[Message, Arrays]
"""What the work on a piece says, and its arrays."""
Work = Callable[[Any], Done]
"""Work on a piece."""
Results = Generator["Done | Lost", None, None]

PIECE_ENGINES = ("local", "ray")
"""Engines that can do pieces."""
_TARGET = "regiontree.engines.pieces:open_work"
_PAYS = 20.0  # seconds of work that is left at which workers are worth their start
_ROOM = 256 << 20  # bytes that a worker takes for a piece beside what it holds at its start
_AHEAD = 4  # pieces of each core that a Ray cluster holds at a time
_RETRIES = 3  # how often a task is done again whose process or machine died


@dataclass(frozen=True, slots=True)
class WorkPlan:
    """How pieces are done.

    Attributes
    ----------
    engine : {"local", "ray"}
    workers : int or None
        Worker processes of this machine, or cores of a Ray cluster that is started here. None: as
        many as are worth their start. 0: this process does all. Fewer processes are started if
        memory does not hold them.
    ray_address : str or None
        Address of a cluster.
    notice : callable
        Called with sentences on how the work is divided.

    Raises
    ------
    SettingsError
        There is no such engine, or an option is not its own.
    """

    engine: str = "local"
    workers: int | None = None
    ray_address: str | None = None
    notice: Callable[[str], None] = field(default=lambda said: None, compare=False)

    def __post_init__(self) -> None:
        if self.engine not in PIECE_ENGINES:
            raise SettingsError(
                f"unknown engine {self.engine!r}{nearest_name(self.engine, PIECE_ENGINES) or '.'} "
                f"This work can be done by: {', '.join(PIECE_ENGINES)}"
            )
        if self.ray_address is not None and self.engine != "ray":
            raise SettingsError("--ray-address is for --engine ray; leave one of them out")
        if self.workers is not None and not 0 <= self.workers <= 1024:
            raise SettingsError(f"workers must be 0 to 1024, got {self.workers}")


def results(
    target: str,
    options: Message,
    pieces: Sequence[Any],
    plan: WorkPlan,
    *,
    here: Work,
    scratch: Path,
) -> Results:
    """What is made of each piece, in the order of the pieces.

    Parameters
    ----------
    target
        Address of the function that opens the work. It is given `options`.
    options
        JSON values.
    pieces
    plan
    here
        The work, opened in this process.
    scratch
        A folder of this machine for files of arrays. The caller removes it.

    Yields
    ------
    The result, or a :class:`~regiontree.engines.workers.Lost` with the reason if the work raised an
    error, or if the process that did it died twice.
    """
    if plan.engine == "ray":
        yield from _on_ray(target, options, pieces, plan)
        return
    left: Sequence[Any] = pieces
    workers = plan.workers
    if workers is None:
        usual = cores() if CAN_START else 0
        times: list[float] = []
        for at, piece in enumerate(pieces):
            left = pieces[at:]
            if usual > 1 and times and min(times) * len(left) > _PAYS:
                workers = usual
                break
            start = time.perf_counter()
            yield _attempt(here, piece)
            times.append(time.perf_counter() - start)
        else:
            return
    if workers and left:
        done = 0
        try:
            for found in _by_workers(target, options, left, min(workers, len(left)), scratch):
                yield found
                done += 1
            return
        except WorkersError as error:
            plan.notice(f"no workers: {error}; one process goes on")
            left = left[done:]
    for piece in left:
        yield _attempt(here, piece)


def _attempt(work: Work, piece: Any) -> Done | Lost:
    try:
        return work(piece)
    except RegionTreeError as error:
        return Lost(str(error))


def _by_workers(
    target: str, options: Message, pieces: Sequence[Any], size: int, scratch: Path
) -> Results:
    given = {"target": target, "options": options, "scratch": str(scratch)}

    def limit(facts: Message) -> int:
        return that_fit(facts["memory"] + _ROOM, free_memory())

    workers = Workers(_TARGET, given, size, cores(), limit)
    waiting: dict[int, Any] = {}
    following = 0
    with closing(workers):
        for at, row in workers.rows(enumerate(pieces)):
            waiting[at] = row
            while following in waiting:
                yield _read(waiting.pop(following))
                following += 1


def _read(row: Any) -> Done | Lost:
    if isinstance(row, Lost):
        return row
    path = Path(row["file"])
    arrays = read_npz(path, set(row["names"]))
    path.unlink()
    return row["said"], arrays


def open_work(options: Message, caller: Caller) -> tuple[Callable[[Any], Message], Message]:
    """What a worker does with a piece: it leaves the arrays in a file and says where."""
    work = _opened(options["target"], json.dumps(options["options"]))
    scratch = Path(options["scratch"])
    count = 0

    def do(piece: Any) -> Message:
        nonlocal count
        said, arrays = work(piece)
        count += 1
        path = scratch / f"{os.getpid()}-{count}.npz"
        np.savez(path, allow_pickle=False, **arrays)
        return {"said": said, "file": str(path), "names": sorted(arrays)}

    return do, {}


@lru_cache(maxsize=2)
def _opened(target: str, options: str) -> Work:
    opener: Any = load_address(target)
    work: Work = opener(json.loads(options))
    return work


# -- on Ray ---------------------------------------------------------------------------------------


def _on_ray(target: str, options: Message, pieces: Iterable[Any], plan: WorkPlan) -> Results:
    from regiontree.engines.raycluster import Connection, plain_error

    connection = Connection(plan.ray_address, plan.workers)
    ray = connection.ray
    try:
        work = ray.remote(num_cpus=1, max_retries=_RETRIES)(_piece_on_ray)
        held = ray.put(json.dumps(options))
        most = _AHEAD * max(1, int(ray.cluster_resources().get("CPU", 1)))
        waiting: deque[Any] = deque()

        def first() -> Done | Lost:
            try:
                found: Done = ray.get(waiting.popleft())
            except ray.exceptions.RayError as error:
                return Lost(str(plain_error(error)))
            return found

        for piece in pieces:
            waiting.append(work.remote(target, held, os.getcwd(), piece))
            if len(waiting) >= most:
                yield first()
        while waiting:
            yield first()
    finally:
        connection.close()


def _piece_on_ray(target: str, options: str, folder: str, piece: Any) -> Done:
    """A piece in a process of the cluster."""
    import torch

    with suppress(OSError):
        os.chdir(folder)  # paths lead from there
    torch.set_num_threads(1)
    return _opened(target, options)(piece)
