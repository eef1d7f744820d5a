"""The smallest input found that still shows a fault."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["minimised"]


def minimised(data: bytes, fails: Callable[[bytes], bool], seconds: float = 5.0) -> bytes:
    """`data` with parts left out for which `fails` still holds.

    Parts of half the length are tried first, then ever shorter ones.
    """
    end = time.monotonic() + seconds
    length = max(1, len(data) // 2)
    while True:
        at, before = 0, len(data)
        while at < len(data):
            if time.monotonic() > end:
                return data
            shorter = data[:at] + data[at + length :]
            if fails(shorter):
                data = shorter
            else:
                at += length
        if length == 1 and len(data) == before:
            return data
        length = max(1, length // 2)
