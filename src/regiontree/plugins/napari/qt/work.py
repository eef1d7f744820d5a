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
    progressed: Callable[[Progress], object],
    finished: Callable[[TreeStack | Failure | None], object],
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
    from napari.utils import progress

    bar = progress(total=STEPS * planes, desc="regiontree")
    is_moving = False

    def told(reached: Progress) -> None:
        nonlocal is_moving
        progressed(reached)
        # napari's bar lets the window work while it moves, which may bring the next step here. A
        # bar that moves at each step, as that of create_worker does, then fills the stack.
        if not is_moving:
            is_moving = True
            bar.update(reached.done - bar.n)
            is_moving = False

    def ended() -> None:
        bar.close()
        finished(results[0] if results else None)

    def steps() -> Generator[Progress, None, TreeStack | Failure]:
        return (yield from work)

    results: list[TreeStack | Failure] = []
    worker = create_worker(steps, _start_thread=False)
    worker.yielded.connect(told)
    worker.returned.connect(results.append)
    worker.finished.connect(ended)
    worker.start()
    return worker
