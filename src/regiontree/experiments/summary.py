"""What all summaries of scores have: tables for the terminal and Markdown, and JSON files."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from regiontree.system.files import atomic_write

__all__ = ["Summary", "Table", "json_text"]


@dataclass(frozen=True, slots=True)
class Table:
    """A title, the heads of the columns, and rows: a name and one cell for each head."""

    title: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [
            f"**{self.title}**",
            "",
            "| | " + " | ".join(self.heads) + " |",
            "|---|" + "---:|" * len(self.heads),
            *(f"| {name} | " + " | ".join(cells) + " |" for name, cells in self.rows),
        ]
        return "\n".join(lines)


class Summary(ABC):
    """Scores of a data set.

    Attributes
    ----------
    failed : sequence of str
        One sentence for each image that has no scores.
    """

    failed: Sequence[str]

    @abstractmethod
    def headline(self) -> str:
        """One line that says what was measured."""

    @abstractmethod
    def tables(self) -> list[Table]:
        """The tables, the main one first."""

    @abstractmethod
    def as_dict(self) -> dict[str, Any]:
        """Everything as JSON values. Scores are fractions from 0 to 1."""

    def markdown(self) -> str:
        """Headline, tables and failures as Markdown."""
        text = "\n\n".join([self.headline(), *(table.markdown() for table in self.tables())])
        if self.failed:
            text += "\n\nFailed:\n\n" + "\n".join(f"- {said}" for said in self.failed)
        return text + "\n"

    def print(self, file: IO[str]) -> None:
        """The tables on a terminal."""
        from rich.console import Console
        from rich.table import Table as Drawn

        console = Console(file=file, highlight=False)
        console.print(self.headline(), markup=False, soft_wrap=True)
        for table in self.tables():
            drawn = Drawn(title=table.title, title_justify="left", title_style="bold")
            drawn.add_column("")
            for head in table.heads:
                drawn.add_column(head, justify="right")
            for name, cells in table.rows:
                drawn.add_row(name, *cells)
            console.print(drawn)

    def save(self, folder: Path) -> list[Path]:
        """The paths of ``summary.json`` and ``summary.md``, which are written to the folder."""
        written = []
        for name, text in (
            ("summary.json", json_text(self.as_dict())),
            ("summary.md", self.markdown()),
        ):
            with atomic_write(folder / name) as file:
                file.write(text.encode(errors="backslashreplace"))
            written.append(folder / name)
        return written


def json_text(value: Any) -> str:
    """A value as the text of a JSON file, with bytes of file names that are no UTF-8 as escapes."""
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    if any("\ud800" <= one <= "\udfff" for one in text):  # bytes of file names that are no UTF-8
        return json.dumps(value, indent=1, allow_nan=False) + "\n"
    return text
