"""A worker: a process that does one piece of work after another for the process that started it.

The worker imports a function by its address and calls it once with options. The function returns
the work, which takes a reference and returns a row, both JSON values. See
:mod:`regiontree.engines.workers` for the other end.

The worker ends as soon as the pipe to the other process closes, even if that process was killed. It
interrupts what it does, so that no temporary file stays. If that takes too long, it ends anyway.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any

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
from regiontree.system.registry import load_address
from regiontree.system.resources import own_memory

__all__ = ["Caller", "Work", "main"]

Work = Callable[[Any], Any]
"""One piece of work: a reference in, a row out."""
_PATIENCE = 2.0  # seconds to tidy up
_ENDED = 130


class Caller:
    """The process that started this one, as the worker sees it."""

    def __init__(self, memory: SharedArray | None) -> None:
        self.memory = memory
        self.tasks: SimpleQueue[Message | None] = SimpleQueue()
        self._answers: SimpleQueue[Message | None] = SimpleQueue()
        self._leaving = False
        # What a reader or a network prints belongs to standard error, and no reader may take
        # messages from standard input.
        self._input = os.fdopen(os.dup(0), "rb")
        self._output = os.fdopen(os.dup(1), "wb")
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        try:
            os.dup2(2, 1)
        except OSError:  # the user closed standard error
            os.dup2(nothing, 1)
            os.dup2(nothing, 2)
        signal.signal(signal.SIGINT, self._interrupt)
        signal.signal(signal.SIGTERM, self._terminate)
        threading.Thread(target=self._listen, daemon=True, name="regiontree-link").start()

    def say(self, message: Message) -> None:
        """Send a message."""
        write_message(self._output, message)

    def ask(self, array: Any) -> Any:
        """What the other process makes of an array: an array in the shared memory.

        Raises
        ------
        RegionTreeError
            The error that the other process met.
        """
        assert self.memory is not None
        self.say({"ask": self.memory.put(array)})
        answer = self._answers.get()
        if answer is None:
            raise KeyboardInterrupt
        if "error" in answer:
            raise error_of(answer)
        return self.memory.get(answer["answer"])

    def _listen(self) -> None:
        while (message := read_message(self._input)) is not None:
            is_answer = "answer" in message or "error" in message
            (self._answers if is_answer else self.tasks).put(message)
        self._leaving = True
        self.tasks.put(None)
        self._answers.put(None)
        _interrupt_main_thread()
        time.sleep(_PATIENCE)
        os._exit(_ENDED)  # a library does not come back

    def _interrupt(self, *_: Any) -> None:
        # Ctrl-C on a terminal reaches the workers, too. The process that started them decides.
        if self._leaving:
            raise KeyboardInterrupt

    def _terminate(self, *_: Any) -> None:
        raise KeyboardInterrupt


def main() -> None:
    """Work until there is no more work. The process then ends without more ado."""
    if not sys.warnoptions:
        warnings.filterwarnings("ignore", module="PIL")  # about metadata, not about pixels
    code = _ENDED
    try:
        caller = Caller(SharedArray(int(sys.argv[1])) if len(sys.argv) > 1 else None)
        _serve(caller)
        code = 0
    except (KeyboardInterrupt, BrokenPipeError):
        pass
    except BaseException:  # noqa: BLE001 - shown before the process ends
        sys.excepthook(*sys.exc_info())
        code = 1
    finally:
        # Libraries have nothing to write at the end, and some take long to leave.
        os._exit(code)


def _serve(caller: Caller) -> None:
    work: Work | None = None
    target: Callable[..., Any] | None = None
    while (message := caller.tasks.get()) is not None:
        if "import" in message:
            loaded: Any = load_address(message["import"])
            target = loaded
            caller.say({"here": os.getpid()})
        elif "open" in message:
            assert target is not None
            opened = attempt(partial(target, message["open"], caller))
            if isinstance(opened, Exception):
                caller.say({"closed": told(opened)})
                return
            work, facts = opened
            caller.say({"ready": {**facts, "memory": own_memory()}})
        elif "threads" in message:
            _use_threads(message["threads"])
        else:
            assert work is not None
            number, reference = message["do"]
            row = attempt(partial(work, reference))
            if isinstance(row, Exception):
                known = isinstance(row, RegionTreeError)
                caller.say({"lost": [number, str(row) if known else told(row)["said"]]})
            else:
                caller.say({"row": [number, row]})


def _interrupt_main_thread() -> None:
    main = threading.main_thread().ident
    if main is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(main, signal.SIGINT)  # also ends a call of the system that waits
    else:
        _thread.interrupt_main()


def _use_threads(number: int) -> None:
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(number)
