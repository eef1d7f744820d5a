"""Sharing work among processes: one file for each way of starting them."""

from __future__ import annotations

from regiontree.distributed.base import Alone, Crew

__all__ = ["Alone", "Crew", "open_crew"]


def open_crew(device: str = "auto") -> Crew:
    """The crew that this process was started in; alone if in none."""
    from regiontree.distributed.torchrun import Torchrun, is_under_torchrun

    return Torchrun(device) if is_under_torchrun() else Alone()
