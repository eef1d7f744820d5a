"""Walk a folder of this machine in a fixed order, without holding the names of all its files.

Links to folders are followed, each real folder once, so a link that leads back does no harm. The
order is that of sorted paths: name by name, a folder's content at the place of its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from regiontree.references.findings import Findings
from regiontree.system.inputs import SUMMARY_NAME, real_name
from regiontree.system.paths import path_problem, reason

__all__ = ["LocalFile", "walk"]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file below a folder.

    Attributes
    ----------
    below : str
        Its path below the folder, with ``/`` between the names.
    path : str
        Its path.
    real : str
        One name for the file, however it is reached.
    """

    below: str
    path: str
    real: str


@dataclass(slots=True)
class _Place:
    """A folder in the walk. `names` holds what is left of its content, the last name first."""

    path: str
    below: str
    real: str
    names: list[str]
    folders: set[str]
    links: set[str]


def walk(
    folder: str | Path, suffixes: frozenset[str], findings: Findings, out: str | Path | None = None
) -> Iterator[LocalFile]:
    """Each file below a folder that has one of the suffixes; the memory is that of one folder.

    Parameters
    ----------
    folder
        A folder that exists.
    suffixes
        Lower-case suffixes with the dot.
    findings
        Is told of files of other kinds, links to files that are in the walk under their own names,
        and folders that cannot be listed. Hidden files are left out without a word.
    out
        A folder that is left out, if it is not `folder` itself.
    """
    yield from _Walk(os.fspath(folder), suffixes, findings, out).files()


class _Walk:
    def __init__(
        self, folder: str, suffixes: frozenset[str], findings: Findings, out: str | Path | None
    ) -> None:
        self._suffixes = suffixes
        self._findings = findings
        self._root = os.path.realpath(folder)
        self._tops = [self._root]  # the folder and those that links lead to
        real_out = None if out is None else os.path.realpath(out)
        self._out = None if real_out == self._root else real_out
        first = self._scan(folder, "", self._root)
        self._places = [] if first is None else [first]

    def files(self) -> Iterator[LocalFile]:
        while self._places:
            place = self._places[-1]
            if not place.names:
                self._places.pop()
                continue
            name = place.names.pop()
            path, below = os.path.join(place.path, name), place.below + name
            if name in place.folders:
                self._enter(path, below, os.path.join(place.real, name))
            elif name not in place.links:
                real = os.path.normcase(os.path.join(place.real, name))
                yield LocalFile(below, path, real)
            elif os.path.isdir(path):
                self._follow(path, below)
            elif self._is_listed(real := real_name(path), self._suffixes):
                self._findings.add_twice(below)
            else:
                yield LocalFile(below, path, real)

    def _enter(self, path: str, below: str, real: str) -> None:
        if real == self._out or real in self._tops:
            return
        place = self._scan(path, f"{below}/", real)
        if place is not None:
            self._places.append(place)

    def _follow(self, link: str, below: str) -> None:
        """Go to the folder that a link leads to, unless the walk comes there anyway."""
        real = os.path.realpath(link)
        leads_back = os.path.join(self._root, "").startswith(os.path.join(real, ""))
        if not leads_back and real not in self._tops and not self._is_listed(real):
            self._enter(link, below, real)
            self._tops.append(real)

    def _is_listed(self, real: str, suffixes: frozenset[str] | None = None) -> bool:
        """Whether a real path is in the walk by its own name: below a top, and nowhere hidden."""
        if suffixes is not None and os.path.splitext(real)[1].lower() not in suffixes:
            return False
        if self._out is not None and real.startswith(os.path.join(self._out, "")):
            return False
        for top in self._tops:
            start = os.path.normcase(os.path.join(top, ""))
            if real.startswith(start) and f"{os.sep}." not in os.sep + real[len(start) :]:
                return True
        return False

    def _scan(self, path: str, below: str, real: str) -> _Place | None:
        place = _Place(path, below, real, [], set(), set())
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        self._sort_in(entry, place)
        except OSError as error:
            why = f"is a folder that cannot be listed ({reason(error)})"
            self._findings.add_problem(path, why)
            return None
        place.names.sort(reverse=True)
        return place

    def _sort_in(self, entry: os.DirEntry[str], place: _Place) -> None:
        name = entry.name
        suffix = os.path.splitext(name)[1].lower()
        if entry.is_symlink() and (suffix in self._suffixes or os.path.isdir(entry.path)):
            place.links.add(name)
        elif entry.is_dir(follow_symlinks=False):
            place.folders.add(name)
        elif suffix not in self._suffixes:
            self._findings.left_out[suffix] += name != SUMMARY_NAME
            return
        elif not entry.is_file(follow_symlinks=False):  # a named pipe, for example
            self._findings.add_problem(entry.path, path_problem(entry.path) or "is not a file")
            return
        place.names.append(name)
