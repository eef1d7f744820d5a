"""Work on pieces for tests of :mod:`regiontree.engines.pieces`, opened by its address."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np

from regiontree.collection import treework
from regiontree.engines.pieces import Done, Work
from regiontree.errors import CollectionError

TARGET = "piecework:open_squares"


def open_squares(options: dict[str, Any]) -> Work:
    marks = Path(options["marks"])

    def work(piece: Any) -> Done:
        if piece == "error":
            raise CollectionError("this piece is wrong")
        if piece == "kill" or (piece == "kill once" and not _seen(marks / "killed")):
            os.kill(os.getpid(), signal.SIGKILL)
        number = piece if isinstance(piece, int) else 100
        time.sleep(0.02 * (number % 3))  # pieces are not finished in their order
        with (marks / "processes").open("a") as file:
            file.write(f"{os.getpid()}\n")
        return {"square": number**2}, {"range": np.arange(number)}

    return work


def open_deadly_gather(options: dict[str, Any]) -> Work:
    """The work of a collection; a tree of the id ``deadly`` ends its process."""
    work = treework.open_gather(options)

    def deadly(ids: list[str]) -> Done:
        if "deadly" in ids:
            os.kill(os.getpid(), signal.SIGKILL)
        return work(ids)

    return deadly


def _seen(mark: Path) -> bool:
    """Whether a mark was there before; it is there now."""
    there = mark.exists()
    mark.touch()
    return there
