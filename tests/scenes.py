"""A made-up photograph, and work done on one thread and on two, and without compiled loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

__all__ = ["on_one_and_two_threads", "patchwork", "without_numba"]


def patchwork(
    rng: np.random.Generator, height: int, width: int, n: int, noise: float
) -> tuple[np.ndarray, np.ndarray]:
    """The area of each pixel, of the nearest of `n` points, and areas in noisy colours, uint8."""
    y, x = np.mgrid[0:height, 0:width]
    centres = rng.uniform((0, 0), (height, width), (n, 2))
    area = np.argmin([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=0)
    image = rng.uniform(0, 255, (n, 3))[area] + rng.normal(0, noise, (height, width, 3))
    return area, np.clip(image, 0, 255).astype(np.uint8)


def on_one_and_two_threads(work: Callable[[], Any]) -> list[Any]:
    """What `work` gives on one thread of torch's and on two."""
    before = torch.get_num_threads()
    found = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(work())
    finally:
        torch.set_num_threads(before)
    return found


def without_numba(work: Callable[[], Any]) -> Any:
    """What `work` gives if no loop is compiled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("regiontree.system.jit._why_not", "a test wants it so")
        return work()
