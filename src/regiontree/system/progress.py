"""A progress bar on standard error, with messages above it.

If standard error is not a terminal, only the messages are printed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

from regiontree.system.terminal import one_line, printable

__all__ = ["Bar", "progress_bar"]


@dataclass(slots=True)
class Bar:
    """A bar that shows a count out of a total, with a rate beside it."""

    progress: Progress
    task: TaskID
    reached: int = 0

    def say(self, text: str) -> None:
        """Print a message above the bar."""
        text = printable(text)
        self.progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def expect(self, total: int) -> None:
        """Set the total."""
        self.progress.update(self.task, total=total)

    def reach(self, count: int, said: str | None = None, *, rate: str = "") -> None:
        """Move the bar to `count`, and print the message `said` above it if there is one."""
        self.reached = count
        self.progress.update(self.task, completed=count, rate=rate)
        if said:
            self.say(one_line(said))


@contextmanager
def progress_bar(what: str, total: int | None, *, show: bool = True) -> Iterator[Bar]:
    """A bar for the block, from 0 to `total`, with `what` beside it. None: not known yet.

    Its messages are printed even if `show` is false.
    """
    drawn = random.getstate()
    import_module("rich.console")  # draws a number from the program's own generator
    random.setstate(drawn)
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        disable=not (show and console.is_terminal),
        redirect_stdout=False,  # sys.stdout and sys.stderr belong to the program
        redirect_stderr=False,
    )
    with progress:
        yield Bar(progress, progress.add_task(what, total=total, rate=""))
