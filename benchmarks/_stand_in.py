"""Stand-ins for :mod:`many`: a network and a tree that take time, and no core.

Worker processes import this file, so it imports little.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

SIDE = 518  # pixels, as the presets give them to a network
GRID, DIM = 37, 384  # patches a side, and numbers of each


def open_trees(options: dict[str, float], caller: Any) -> tuple[Callable[[Any], float], dict]:
    """Work that asks for features, and then waits as long as a tree would take."""
    pixels = np.zeros((1, 3, SIDE, SIDE), np.float32)

    def work(_: object) -> float:
        features = caller.ask(pixels)
        time.sleep(options["seconds"])
        return float(features[0, 0, 0, 0])

    return work, {}


class Clock:
    """How long a network was at work."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.busy = 0.0

    def wait(self) -> None:
        """Take the time of one photograph."""
        start = time.perf_counter()
        time.sleep(self.seconds)
        self.busy += time.perf_counter() - start
