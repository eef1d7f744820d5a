"""Work for worker processes in tests: small, and with every accident on order."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from regiontree.engines.worker import Caller
from regiontree.errors import BackboneError


def open_labour(options: dict[str, Any], caller: Caller) -> tuple[Callable[[Any], Any], dict]:
    if "opened" in options:
        with Path(options["opened"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if options.get("refuse"):
        raise BackboneError("there are no weights")
    if options.get("die"):
        os.kill(os.getpid(), signal.SIGKILL)

    def work(reference: list[Any]) -> Any:
        what, value = reference
        if what == "double":
            return 2 * value
        if what == "sleep":
            time.sleep(value)
        if what == "who":
            return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}
        if what == "print":
            os.write(1, b"to standard output\n")
            return [sys.stdin.read(), os.read(0, 1).decode()]
        if what == "ask":
            return float(caller.ask(np.full((value, 2), 0.5, np.float32)).sum())
        if what == "raise":
            raise ValueError("a broken file")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "die once" and not Path(value).exists():
            Path(value).touch()
            os.kill(os.getpid(), signal.SIGSEGV)
        if what == "write":  # as a tree is written: to a temporary file that has to go
            temporary = Path(value)
            try:
                temporary.touch()
                time.sleep(60)
            finally:
                temporary.unlink()
        return value

    return work, {}
