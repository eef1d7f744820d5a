"""Find the files that the arguments of a command name: files, folders and patterns."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["FEATURE_SUFFIXES", "SUMMARY_NAME", "find_files", "is_url", "why_missing"]

SUMMARY_NAME = "summary.json"
"""Name of the file beside the results of a batch that lists each result and its source."""

FEATURE_SUFFIXES = frozenset({".npy", ".npz", ".safetensors"})
"""Endings of files that may hold features."""
# A Path writes http:// as http:/. The drives of Windows have one letter.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def is_url(path: str | Path) -> bool:
    """Whether a path looks like a URL: ``https://example.org/photo.jpg``."""
    return _URL.match(str(path)) is not None


def why_missing(path: str | Path) -> str:
    """What is wrong with a path that leads to no file, and what to do.

    >>> why_missing("photo.jpg")
    'no such file; check the path'
    >>> why_missing(Path("https://example.org/photo.jpg"))
    'is a URL, not a path; download the file and give its path'
    """
    if is_url(path):
        return "is a URL, not a path; download the file and give its path"
    return "no such file; check the path"


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
        pattern without a match, and a folder without a matching file are returned unchanged, so
        that reading them fails with a clear message. Hidden files in a folder are left out.
    """
    results = None if out is None else Path(os.path.abspath(out))
    found: dict[Path, Path] = {}
    for given in [paths] if isinstance(paths, str | os.PathLike) else paths:
        text = os.fsdecode(given)
        path = Path(text)
        if path.is_dir():
            inside = _inside(path, suffixes, results)
            for file in inside:
                found.setdefault(file, path)
            if not inside:
                found.setdefault(path, path.parent)
        elif not path.exists() and glob.has_magic(text):
            matches = [Path(match) for match in sorted(glob.glob(text, recursive=True))]
            for file in [match for match in matches if match.is_file()] or [path]:
                found.setdefault(file, file.parent)
        else:
            found.setdefault(path, path.parent)
    unique: dict[str, tuple[Path, Path]] = {}
    for file, root in found.items():
        unique.setdefault(os.path.abspath(file), (file, root))
    return list(unique.values())


def _inside(folder: Path, suffixes: frozenset[str], results: Path | None) -> list[Path]:
    """Files below a folder with one of the suffixes, except hidden files and those in `results`."""
    here = Path(os.path.abspath(folder))
    skipped = results if results is not None and here in results.parents else None
    return [
        file
        for file in sorted(folder.rglob("*"))
        if file.suffix.lower() in suffixes
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and not (skipped is not None and skipped in Path(os.path.abspath(file)).parents)
    ]
