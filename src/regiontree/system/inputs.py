"""Find the files that the arguments of a command name: files, folders and patterns."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from regiontree.system.paths import files_below

__all__ = ["SUMMARY_NAME", "find_files"]

SUMMARY_NAME = "summary.json"
"""Name of the file beside the results of a batch that lists each result and its source."""


def find_files(
    paths: Sequence[str | Path], suffixes: frozenset[str], out: Path | None = None
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
    results = None if out is None else Path(os.path.abspath(out))
    found: dict[Path, Path] = {}
    for given in paths:
        text = str(given)
        path = Path(text)
        if os.path.isdir(path):
            inside = _inside(path, suffixes, results)
            for file in inside:
                found.setdefault(file, path)
            if not inside:
                found.setdefault(path, path.parent)
        elif not os.path.lexists(path) and glob.has_magic(text):
            matches = [Path(match) for match in _matches(text)]
            for file in [match for match in matches if not os.path.isdir(match)] or [path]:
                found.setdefault(file, file.parent)
        else:
            found.setdefault(path, path.parent)
    unique: dict[str, tuple[Path, Path]] = {}
    for file, root in found.items():
        unique.setdefault(os.path.abspath(file), (file, root))
    return list(unique.values())


def _matches(pattern: str) -> list[str]:
    """The paths that match a pattern, sorted."""
    try:
        return sorted(glob.glob(pattern, recursive=True))
    except ValueError:  # the pattern contains a NUL character
        return []


def _inside(folder: Path, suffixes: frozenset[str], results: Path | None) -> list[Path]:
    """Files below a folder with one of the suffixes, except hidden files and those in `results`.

    Folders that cannot be listed are among them.
    """
    here = Path(os.path.abspath(folder))
    skipped = results if results is not None and here in results.parents else None
    files, unlisted = files_below(folder)
    found = [file for file in files if file.suffix.lower() in suffixes]
    return [
        file
        for file in sorted([*found, *(place for place in unlisted if place != folder)])
        if not (skipped is not None and skipped in Path(os.path.abspath(file)).parents)
    ]
