"""What one source names: a file, a folder, a pattern."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from regiontree.references.addresses import address_of, as_text, last_name, local_path, scheme_of
from regiontree.references.findings import Findings
from regiontree.references.folders import walk
from regiontree.references.reference import Reference
from regiontree.system.inputs import kinds_text, real_name
from regiontree.system.paths import input_problem

__all__ = ["Item", "Options", "items_of", "roots_of"]


class Item(NamedTuple):
    """A reference, and what tells its photograph from every other.

    Attributes
    ----------
    reference : Reference
        The reference.
    place : str or None
        One name for the photograph, however it is listed. None: the user's ids decide.
    """

    reference: Reference
    place: str | None

    @property
    def id(self) -> str:
        return self.reference.id

    def named(self, id: str) -> Item:
        """The same photograph under another id."""
        return Item(replace(self.reference, id=id), self.place)


@dataclass(frozen=True, slots=True)
class Options:
    """How sources are read: see :func:`~regiontree.references.listing.list_references`."""

    suffixes: frozenset[str]
    column: str | None = None
    id_column: str | None = None
    out: str | None = None


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders that ids start from.

    Attributes
    ----------
    local : str or None
        Absolute path of the folder that holds all sources of this machine; None if there is none.
    """

    local: str | None


def roots_of(sources: Sequence[str]) -> Roots:
    """Where the ids of photographs start: at the folder that holds all sources."""
    folders = [_folder_of(local_path(source)) for source in sources if not scheme_of(source)]
    try:
        return Roots(os.path.commonpath(folders) if folders else None)
    except ValueError:  # on different drives
        return Roots(None)


def _folder_of(path: str) -> str:
    """The folder that a path names, or that its file lies in, or that its pattern starts from."""
    if os.path.isdir(path):
        return os.path.abspath(path)
    if _is_pattern(path):
        while glob.has_magic(path):
            path = os.path.dirname(path)
        return os.path.abspath(path)
    return os.path.dirname(os.path.abspath(path))


def _is_pattern(path: str) -> bool:
    return glob.has_magic(path) and not os.path.lexists(path)


def items_of(source: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    """Each photograph of a source. Problems are told to `found`; no source raises an error."""
    path = local_path(source)
    if os.path.isdir(path):
        yield from _of_folder(path, roots, options, found)
    elif _is_pattern(path):
        yield from _of_pattern(path, roots, options, found)
    elif problem := input_problem(path):
        found.add_problem(source, problem)
    else:
        yield _of_file(path, roots)


def _of_folder(path: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    folder = os.path.abspath(path)
    start = _below(folder, roots)
    start = "" if start == "." else f"{start}/"
    problems, kinds, any_file = found.problem_count, found.left_out.copy(), False
    for file in walk(folder, options.suffixes, found, options.out):
        any_file = True
        name = file.below.rpartition("/")[2]
        place = as_text(file.real)
        yield Item(_reference(f"{start}{file.below}", file.path, name), place)
    if not any_file and found.problem_count == problems:
        others = found.left_out - kinds
        beside = f"; it holds {kinds_text(others)}" if others else ""
        found.add_problem(path, f"has no photograph in it{beside}")


def _of_pattern(path: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    try:
        matches = sorted(glob.glob(path, recursive=True))
    except ValueError:  # the pattern contains a NUL character
        matches = []
    files = [match for match in matches if not os.path.isdir(match)]
    if not files:
        found.add_problem(path, "no file matches this pattern")
    for file in files:
        yield _of_file(file, roots)


def _of_file(path: str, roots: Roots) -> Item:
    path = os.path.abspath(path)
    reference = _reference(_below(path, roots), path, last_name(path))
    return Item(reference, as_text(real_name(path)))


def _below(path: str, roots: Roots) -> str:
    """The path below the folder of all sources, with ``/`` between names."""
    if roots.local is None:
        return path.replace(os.sep, "/")
    return os.path.relpath(path, roots.local).replace(os.sep, "/")


def _reference(id: str, path: str, name: str) -> Reference:
    return Reference(as_text(id), address_of(path), as_text(name))
