"""The table of suggested names, ``collection-suggestions.csv``. Nobody's name is changed by it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from regiontree.collection.csvtable import ENCODING, read_table
from regiontree.errors import CollectionError
from regiontree.system.files import atomic_write
from regiontree.system.paths import reason

__all__ = ["SUGGESTIONS", "Suggestion", "read_suggestions", "write_suggestions"]

SUGGESTIONS = "collection-suggestions.csv"
"""Name of the table in the collection's folder."""
_COLUMNS = ("category", "suggestion", "confidence")


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested name.

    Attributes
    ----------
    category : int
        Node of the category in the tree of categories.
    label : str
        The label.
    confidence : float
        0 to 1, among the labels that were given.
    """

    category: int
    label: str
    confidence: float


def read_suggestions(path: Path, n_categories: int) -> list[Suggestion]:
    """The suggestions in a table.

    Raises
    ------
    CollectionError
        It cannot be read or is no such table. The message names the line.
    """
    found: list[Suggestion] = []

    def take(category: str, label: str, confidence: str) -> None:
        number, value = int(category), float(confidence)
        if not (0 <= number < n_categories and 0 <= value <= 1):
            raise ValueError(f"{category} and {confidence} are no category and no confidence")
        found.append(Suggestion(number, label, value))

    read_table(path, _COLUMNS, take)
    return found


def write_suggestions(suggestions: Sequence[Suggestion], path: Path) -> None:
    """Write the table of suggestions: category, suggestion, confidence.

    Raises
    ------
    CollectionError
        It cannot be written.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(_COLUMNS)
    table.writerows((one.category, one.label, f"{one.confidence:.4f}") for one in suggestions)
    try:
        with atomic_write(path) as file:
            file.write(text.getvalue().encode(ENCODING))
    except OSError as error:
        raise CollectionError(f"{path}: cannot be written ({reason(error)})") from error
