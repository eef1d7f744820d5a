"""Find the files that the arguments of a command name: files, folders and patterns.

A folder is searched to any depth. Links to folders are followed, each real folder once. So a link
that leads back to where it came from does no harm. A file that can be reached by two names is found
once.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from regiontree.system.paths import path_problem, reason, suffix_of

__all__ = [
    "FEATURE_SUFFIXES",
    "SUMMARY_NAME",
    "Found",
    "find_files",
    "kinds_text",
    "real_name",
    "search",
]

SUMMARY_NAME = "summary.json"
"""Name of the file beside the results of a batch that lists each result and its source."""
_KINDS = 8  # most kinds of files that a sentence names


@dataclass(slots=True)
class Found:
    """What the arguments of a command name.

    Attributes
    ----------
    files : list of (file, root)
        Each file once, with the folder it was found from: see :func:`find_files`.
    problems : dict of Path to str
        Why a folder among `files` cannot be searched.
    left_out : Counter of str
        How many files of each kind the folders hold beside the files that were looked for: by
        suffix, in lower case. Hidden files do not count.
    twice : int
        Number of links that lead to a file which is among `files` under another name.
    """

    files: list[tuple[Path, Path]] = field(default_factory=list)
    problems: dict[Path, str] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    twice: int = 0

    @property
    def left_out_text(self) -> str | None:
        """A sentence on what was left out; None if nothing was."""
        said = [kinds_text(self.left_out)] if self.left_out else []
        if self.twice:
            links = "1 link" if self.twice == 1 else f"{self.twice:,} links"
            said.append(f"{links} to files that are there already")
        return f"left out: {'; '.join(said)}" if said else None


def kinds_text(kinds: Mapping[str, int]) -> str:
    """Numbers of files by suffix in words, the most frequent first.

    >>> kinds_text({".xmp": 3, ".txt": 1200, "": 1})
    '1,200 .txt, 3 .xmp, 1 without suffix'
    """
    sorted_kinds = sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0]))
    said = [f"{number:,} {suffix or 'without suffix'}" for suffix, number in sorted_kinds[:_KINDS]]
    if rest := sorted_kinds[_KINDS:]:
        said.append(f"{sum(number for _, number in rest):,} of {len(rest)} other kinds")
    return ", ".join(said)


FEATURE_SUFFIXES = frozenset({".npy", ".npz", ".safetensors"})
"""Endings of files that may hold features."""


def find_files(
    paths: str | Path | Sequence[str | Path], suffixes: frozenset[str], out: Path | None = None
) -> list[tuple[Path, Path]]:
    """Each file that the paths name, once, with the folder it was found from.

    Parameters
    ----------
    paths
        Files, folders (searched to any depth) and glob patterns.
    suffixes
        Lower-case suffixes with the dot. Only files with one of them are taken from a folder.
    out
        The output folder, if any. The search of a folder around it leaves out its files.

    Returns
    -------
    list of (file, root)
        In the order of `paths`, and sorted within a folder or pattern. The result of a file has the
        same path in the output folder as the file has below `root`. A path that does not exist, a
        pattern without a match, a folder without a matching file, and a folder that cannot be
        listed are returned unchanged, so that :func:`~regiontree.system.paths.path_problem` or
        reading says what is wrong. Hidden files in a folder are left out. No path raises an error.
    """
    return search(paths, suffixes, out).files


def search(
    paths: str | Path | Sequence[str | Path], suffixes: frozenset[str], out: Path | None = None
) -> Found:
    """What the paths name, and what their folders hold besides; see :func:`find_files`."""
    found = Found()
    given_files: dict[Path, Path] = {}
    for given in [paths] if isinstance(paths, str | os.PathLike) else paths:
        text = os.fsdecode(given)
        path = Path(text)
        if os.path.isdir(path):
            inside = _Inside(path, suffixes, out)
            found.problems |= inside.problems
            found.left_out += inside.left_out
            found.twice += inside.twice
            for file in inside.files or [path]:
                given_files.setdefault(file, path if inside.files else path.parent)
        elif not os.path.lexists(path) and glob.has_magic(text):
            matches = [Path(match) for match in _matches(text)]
            for file in [match for match in matches if not os.path.isdir(match)] or [path]:
                given_files.setdefault(file, file.parent)
        else:
            given_files.setdefault(path, path.parent)
    folders: dict[str, str] = {}
    unique: dict[str, tuple[Path, Path]] = {}
    for file, root in given_files.items():
        unique.setdefault(real_name(file, folders), (file, root))
    found.files = list(unique.values())
    return found


def _matches(pattern: str) -> list[str]:
    """The paths that match a pattern, sorted."""
    try:
        return sorted(glob.glob(pattern, recursive=True))
    except ValueError:  # the pattern contains a NUL character
        return []


def real_name(file: str | Path, folders: dict[str, str] | None = None) -> str:
    """One name for a file, however it is reached: absolute, without links, in the system's case.

    `folders` remembers the real names of folders from one call to the next.
    """
    text = os.path.abspath(file)
    try:
        if os.path.islink(text):
            return os.path.normcase(os.path.realpath(text))
        folder, name = os.path.split(text)
        known = {} if folders is None else folders
        if folder not in known:
            known[folder] = os.path.realpath(folder)
    except (OSError, ValueError):  # reading the file will say what is wrong with its name
        return os.path.normcase(text)
    return os.path.normcase(os.path.join(known[folder], name))


class _Inside:
    """The search of a folder: its files with one of the suffixes, and what else it holds.

    Files in the folder `out` and hidden files are left out. `files` are sorted.
    """

    def __init__(self, folder: Path, suffixes: frozenset[str], out: Path | None) -> None:
        self.problems: dict[Path, str] = {}
        self.left_out: Counter[str] = Counter()
        self.twice = 0
        self._suffixes = suffixes
        self._files: list[Path] = []
        self._names: set[str] = set()  # real names of the files
        self._file_links: list[Path] = []
        self._folder_links: list[Path] = []
        root = os.path.realpath(folder)
        self._seen = {root}
        results = None if out is None else os.path.realpath(out)
        if results is not None and results != root:
            self._seen.add(results)
        self._walk(folder, root)
        while self._folder_links:  # real folders come first, so that their own names are used
            links, self._folder_links = sorted(self._folder_links), []
            for link in links:
                real = os.path.realpath(link)
                leads_back = os.path.join(root, "").startswith(os.path.join(real, ""))
                if real not in self._seen and not leads_back:
                    self._seen.add(real)
                    self._walk(link, real)
        for link in sorted(self._file_links):
            real = real_name(link)
            self.twice += real in self._names
            if real not in self._names:
                self._names.add(real)
                self._files.append(link)
        self.files = sorted([*self._files, *self.problems])

    def _walk(self, folder: Path, real: str) -> None:
        pending = [(folder, real)]
        while pending:
            place, real = pending.pop()
            try:
                with os.scandir(place) as entries:
                    for entry in entries:
                        if entry.name.startswith("."):
                            continue
                        path, whole = place / entry.name, os.path.join(real, entry.name)
                        if entry.is_symlink() and os.path.isdir(path):
                            self._folder_links.append(path)
                        elif not entry.is_dir(follow_symlinks=False):
                            self._take(path, entry, whole)
                        elif whole not in self._seen:
                            self._seen.add(whole)
                            pending.append((path, whole))
            except OSError as error:
                self.problems[place] = f"is a folder that cannot be listed ({reason(error)})"

    def _take(self, path: Path, entry: os.DirEntry[str], real: str) -> None:
        suffix = suffix_of(path)
        is_link = entry.is_symlink()  # one that leads nowhere is taken, so that it fails by name
        is_file = is_link or entry.is_file(follow_symlinks=False)
        if suffix in self._suffixes and not is_file:  # a named pipe, for example
            self.problems[path] = path_problem(path) or "is not a file"
        elif suffix not in self._suffixes:
            self.left_out[suffix] += entry.name != SUMMARY_NAME
        elif is_link:
            self._file_links.append(path)
        else:
            self._files.append(path)
            self._names.add(os.path.normcase(real))
