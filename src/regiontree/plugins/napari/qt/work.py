"""Parsing in a thread of napari, with its progress bar, and with an end that can be asked for."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

from regiontree.plugins.napari.parsing import STEPS, Failure, Progress
from regiontree.plugins.napari.stack import TreeStack

__all__ = ["start"]


def start(
    work: Generator[Progress, None, TreeStack | Failure],
    planes: int,
    *,
    progressed: Callable[[Progress], None],
    finished: Callable[[TreeStack | Failure | None], None],
) -> Any:
    """Run the generator in a thread, and return the worker. ``worker.quit()`` ends it.

    Parameters
    ----------
    work
        From :func:`regiontree.plugins.napari.parsing.parse_planes`.
    planes
        Number of planes, for the bar.
    progressed, finished
        Called in the thread of the window. The last call gets None if the work was ended before it
        was done. An exception without a message of ours gets None, too, and napari shows it.
    """
    from napari.qt.threading import create_worker

    def steps() -> Generator[Progress, None, TreeStack | Failure]:
        return (yield from work)

    results: list[TreeStack | Failure] = []
    worker = create_worker(
        steps,
        _start_thread=False,
        _progress={"total": STEPS * planes, "desc": "regiontree"},
    )
    worker.yielded.connect(progressed)
    worker.returned.connect(results.append)
    worker.finished.connect(lambda: finished(results[0] if results else None))
    worker.start()
    return worker
