"""Worker processes that share a list of work: they are started, fed, replaced and stopped here.

Each worker is a fresh Python process that runs :mod:`regiontree.engines.worker`. It is not a fork,
because the threads of torch do not survive one, and its start does not run the program's main
script again. The processes send each other references and rows, and know nothing of photographs.

A worker that ends before its work is done is replaced. What it worked on is done once more, with no
other work beside it, since memory may have run out. If the worker ends again, the work is lost and
the rest goes on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any

from numpy.typing import NDArray

from regiontree.engines.link import (
    Message,
    SharedArray,
    error_of,
    read_message,
    told,
    write_message,
)
from regiontree.errors import RegionTreeError
from regiontree.system.faults import attempt

__all__ = ["CAN_START", "Lost", "Reference", "Workers", "WorkersError"]

CAN_START = bool(sys.executable) and not getattr(sys, "frozen", False)
"""Whether this process knows how to start Python."""
Reference = tuple[int, Any]
"""The number of a piece of work, and what the worker gets. None: there is nothing to do for it."""
_START = (
    "import sys; number = int(sys.argv[1]); path = sys.argv[2 : 2 + number]; "
    "del sys.argv[1 : 2 + number]; sys.path[:] = path; "
    "from regiontree.engines.worker import main; main()"
)
_PATIENCE = 3.0  # seconds that workers have to tidy up
_TICK = 0.5  # Windows delivers Ctrl-C only between two waits
_FAILED_STARTS = 2


class WorkersError(RegionTreeError):
    """No worker can be started, or none stays alive."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Why a piece of work has no row."""

    reason: str


@dataclass(slots=True, eq=False)
class _Worker:
    """A process, seen from the one that started it.

    Attributes
    ----------
    state : {"starting", "here", "opening", "ready"}
    work : Reference or None
        What it is working on.
    """

    process: subprocess.Popen[bytes]
    memory: SharedArray | None
    state: str = "starting"
    work: Reference | None = None

    def say(self, message: Message) -> None:
        assert self.process.stdin is not None
        # A worker that has ended says so by the end of its messages.
        with suppress(OSError):
            write_message(self.process.stdin, message)

    def close(self) -> None:
        """Ask the process to end."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()


@dataclass(slots=True)
class Workers:
    """Processes that do work.

    Attributes
    ----------
    target : str
        Address ``module:function`` of what a worker calls once it runs. It is given `options` and
        the :class:`~regiontree.engines.worker.Caller`. It returns the work, a function from a
        reference to a row, and facts as a mapping.
    options : mapping
        JSON values.
    size : int
        Number of processes, at least 1.
    cores : int
        Number of cores. Each worker gets an equal share of them as threads, at least one.
    limit : callable
        Called with the facts of the first worker that is ready, among them its ``memory`` in bytes;
        the largest number of workers.
    answer : callable or None
        Answers what a worker asks: an array for an array. It runs in the calling thread. None:
        workers do not ask.
    late : list
        After `close`: the numbers and rows of work that was finished but not yet handed out.
    """

    target: str
    options: Message
    size: int
    cores: int
    limit: Callable[[Message], int] = lambda facts: sys.maxsize
    answer: Callable[[NDArray[Any]], NDArray[Any]] | None = None
    late: list[tuple[int, Any]] = field(default_factory=list)
    _workers: list[_Worker] = field(default_factory=list)
    _events: SimpleQueue[tuple[_Worker, Message | None]] = field(default_factory=SimpleQueue)
    _again: deque[Reference] = field(default_factory=deque)
    _alone: Reference | None = None
    _failed_starts: int = 0
    _is_sized: bool = False

    @property
    def threads(self) -> int:
        """Number of threads of each worker."""
        return max(1, self.cores // self.size)

    def rows(self, work: Iterable[Reference]) -> Iterator[tuple[int, Any]]:
        """The number and the row of each piece of work, in the order in which they are finished.

        A row is a :class:`Lost` if there is none, and None where there was nothing to do.

        Parameters
        ----------
        work
            It is gone through as workers become free.

        Raises
        ------
        WorkersError
            No worker can be started. Work that was taken and has no row is in :meth:`taken`.
        RegionTreeError
            What the target raised when a worker opened it.
        """
        for _ in range(self.size):
            self._start()
        coming = iter(work)
        is_over = False
        while True:
            while not is_over and (free := self._free()):
                found = next(coming, None)
                if found is None:
                    is_over = True
                elif found[1] is None:
                    yield found
                else:
                    self._give(free, found)
            self._give_alone()
            if is_over and not self.taken():
                return
            with suppress(Empty):
                yield from self._after(*self._events.get(timeout=_TICK))

    def taken(self) -> list[Reference]:
        """The work that was taken and has no row yet."""
        return [one.work for one in self._workers if one.work is not None] + list(self._again)

    def close(self) -> None:
        """End all workers and wait for them. No process is left, even if this is interrupted."""
        try:
            for worker in self._workers:
                worker.close()
            end = time.monotonic() + _PATIENCE
            for worker in self._workers:
                with suppress(subprocess.TimeoutExpired):
                    worker.process.wait(max(0.0, end - time.monotonic()))
        finally:
            for worker in self._workers:
                worker.process.kill()
                worker.process.wait()
                self._let_go(worker)
            self._collect()

    # -- starting and stopping --------------------------------------------------------------------

    def _start(self) -> None:
        memory = SharedArray() if self.answer else None
        paths = [str(path) for path in sys.path]
        command = [sys.executable, *(f"-W{option}" for option in sys.warnoptions), "-c", _START,
                   str(len(paths)), *paths]  # fmt: skip
        threads = str(self.threads)
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        try:
            process = subprocess.Popen(
                command + ([] if memory is None else [str(memory.descriptor)]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={"GOMP_SPINCOUNT": "1000", **os.environ, **dict.fromkeys(names, threads)},
                pass_fds=() if memory is None else (memory.descriptor,),
            )
        except OSError as error:
            if memory is not None:
                memory.close()
            raise WorkersError(f"a process cannot be started ({error.strerror})") from error
        worker = _Worker(process, memory)
        self._workers.append(worker)
        worker.say({"import": self.target})
        threading.Thread(
            target=self._listen, args=(worker,), daemon=True, name="regiontree-worker"
        ).start()

    def _listen(self, worker: _Worker) -> None:
        assert worker.process.stdout is not None
        with worker.process.stdout as stream:
            while (message := read_message(stream)) is not None:
                self._events.put((worker, message))
        self._events.put((worker, None))

    def _let_go(self, worker: _Worker) -> None:
        worker.close()
        if worker.memory is not None:
            worker.memory.close()
            worker.memory = None

    def _collect(self) -> None:
        """Keep the rows that came while the workers ended."""
        ended = 0
        while ended < len(self._workers):
            try:
                _, message = self._events.get(timeout=_TICK)
            except Empty:  # a process that a library started holds the pipe
                return
            ended += message is None
            if message is not None and "row" in message:
                number, row = message["row"]
                self.late.append((number, row))

    # -- giving out work --------------------------------------------------------------------------

    def _free(self) -> _Worker | None:
        """A worker without work; None while some work has to be done with no other beside it."""
        if self._again or self._alone:
            return None
        ready = (one for one in self._workers if one.state == "ready" and one.work is None)
        return next(ready, None)

    def _give(self, worker: _Worker, work: Reference) -> None:
        worker.work = work
        worker.say({"do": list(work)})

    def _give_alone(self) -> None:
        if self._alone or not self._again or any(one.work for one in self._workers):
            return
        for worker in self._workers:
            if worker.state == "ready":
                self._alone = self._again.popleft()
                self._give(worker, self._alone)
                return

    # -- what workers say -------------------------------------------------------------------------

    def _after(self, worker: _Worker, message: Message | None) -> Iterator[tuple[int, Any]]:
        """The rows that a message brings."""
        if message is None:
            yield from self._ended(worker)
        elif worker.state == "leaving":
            return
        elif "here" in message:
            worker.state = "here"
            self._open_more()
        elif "ready" in message:
            worker.state = "ready"
            self._failed_starts = 0
            self._resize(message["ready"])
            self._open_more()
        elif "closed" in message:
            raise error_of(message["closed"])
        elif "ask" in message:
            self._reply(worker, message["ask"])
        else:
            is_lost = "lost" in message
            number, row = message["lost" if is_lost else "row"]
            if self._alone is worker.work:
                self._alone = None
            worker.work = None
            yield number, Lost(row) if is_lost else row

    def _open_more(self) -> None:
        """Let workers load what they need: first one, and the others once it is ready.

        So an error, such as weights that are not there, comes once.
        """
        if not self._is_sized and any(one.state == "opening" for one in self._workers):
            return
        for worker in self._workers:
            if worker.state == "here":
                worker.state = "opening"
                worker.say({"threads": self.threads})
                worker.say({"open": self.options})
                if not self._is_sized:
                    return

    def _resize(self, facts: Message) -> None:
        if self._is_sized:
            return
        self._is_sized = True
        self.size = max(1, min(self.size, self.limit(facts)))
        spare = [one for one in self._workers if one.state != "ready"]
        for worker in spare[: max(0, len(self._workers) - self.size)]:
            worker.close()
            worker.state = "leaving"
        for worker in self._workers:
            if worker.state == "ready":
                worker.say({"threads": self.threads})

    def _reply(self, worker: _Worker, said: Message) -> None:
        assert worker.memory is not None
        assert self.answer is not None
        found = attempt(partial(self.answer, worker.memory.get(said)))
        if isinstance(found, Exception):
            worker.say(told(found))
        else:
            worker.say({"answer": worker.memory.put(found)})

    def _ended(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        code = worker.process.wait()
        self._workers.remove(worker)
        self._let_go(worker)
        if worker.state == "leaving":
            return
        if worker.state != "ready":
            self._failed_starts += 1
        work = worker.work
        if work is not None and work is self._alone:
            self._alone = None
            said = _how_it_ended(code)
            yield work[0], Lost(f"the process that worked on it ended twice ({said})")
        elif work is not None:
            self._again.append(work)
        if self._failed_starts < _FAILED_STARTS:
            if len(self._workers) < self.size:
                self._start()
                self._open_more()
        elif not self._workers:
            raise WorkersError(f"no worker process stays alive ({_how_it_ended(code)})")


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    more = "; memory may have run out" if name == "SIGKILL" else ""
    return f"killed by {name}{more}"
