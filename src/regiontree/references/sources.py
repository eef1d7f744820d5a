"""What one source names: a file, a folder, a pattern, here or elsewhere."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from regiontree.errors import SourceError
from regiontree.references.addresses import address_of, local_path, scheme_of, suffix_of
from regiontree.references.containers import Kind, kind_of, within
from regiontree.references.faults import why_of
from regiontree.references.findings import Findings
from regiontree.references.folders import walk
from regiontree.references.items import Item, Options, item_at, item_of_path
from regiontree.references.remote import files_in, glob_regex, size_of
from regiontree.system.inputs import kinds_text, real_name
from regiontree.system.paths import input_problem

__all__ = ["Roots", "items_of", "roots_of"]


@dataclass(frozen=True, slots=True)
class Roots:
    """The folders that ids start from.

    Attributes
    ----------
    local : str or None
        Absolute path of the folder that holds all sources of this machine; None if there is none.
    remote : str or None
        URL of the folder that holds all sources. None if there is none; then URLs are ids.
    """

    local: str | None = None
    remote: str | None = None


def roots_of(sources: Sequence[str], suffixes: frozenset[str]) -> Roots:
    """Where the ids of photographs start: at the folder that holds all sources.

    Lists, tables and single photographs by URL do not count: their addresses are ids.
    """
    rooted = [source for source in sources if kind_of(source) in (None, *_ARCHIVES)]
    here = [_folder_of(local_path(source)) for source in rooted if not scheme_of(source)]
    there = [_remote_folder(source, suffixes) for source in rooted if scheme_of(source)]
    folders = [folder for folder in there if folder is not None]
    if here:
        try:
            return Roots(local=os.path.commonpath(here))
        except ValueError:  # on different drives
            return Roots()
    return Roots(remote=_common(folders))


_ARCHIVES = (Kind.ARCHIVE, Kind.COMPRESSED)


def _common(folders: Sequence[str]) -> str | None:
    """The URL of the folder that holds all folders; None if they are in different places."""
    if not folders:
        return None
    common = folders[0].split("/")
    for folder in folders[1:]:
        names = zip(common, folder.split("/"), strict=False)
        common = [name for name, _ in takewhile(lambda pair: pair[0] == pair[1], names)]
    return "/".join(common) if len(common) >= 3 else None  # at least scheme://host


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
    """Each photograph of a source. Problems are told to `found`.

    Raises
    ------
    MissingExtraError
        A package is missing that such sources need. No other error is raised.
    """
    if not scheme_of(source):
        yield from _local(local_path(source), roots, options, found)
        return
    try:
        yield from _remote(source, roots, options, found)
    except SourceError as error:
        found.add_problem(source, why_of(error, source))


# -- on this machine ------------------------------------------------------------------------------


def _local(path: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    if os.path.isdir(path):
        yield from _of_folder(path, roots, options, found)
    elif _is_pattern(path):
        yield from _of_pattern(path, roots, options, found)
    elif problem := input_problem(path):
        found.add_problem(path, problem)
    else:
        yield from _of_file(path, kind_of(path), roots, options, found)


def _of_folder(path: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    folder = os.path.abspath(path)
    start = _below(folder, roots)
    start = "" if start == "." else f"{start}/"
    before = found.problem_count, found.left_out.copy()
    is_empty = True
    for file in walk(folder, options.suffixes, found, options.out):
        is_empty = False
        yield item_of_path(start + file.below, file.path, file.real)
    if is_empty and found.problem_count == before[0]:
        _say_empty(path, before[1], found)


def _say_empty(source: str, left_out: dict[str, int], found: Findings) -> None:
    """Name a folder without photographs. `left_out` is what was left out before it."""
    others = found.left_out - type(found.left_out)(left_out)
    holds = f"; it holds {kinds_text(others)}" if others else ""
    lists = sorted(suffix for suffix in others if kind_of(f"a{suffix}") is not None)
    pattern = f"{source.rstrip('/')}/*{lists[0]}" if lists else ""
    hint = f"; to read these, give {pattern!r}" if lists else ""
    found.add_problem(source, f"has no photograph in it{holds}{hint}")


def _of_pattern(path: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    try:
        matches = sorted(glob.glob(path, recursive=True))
    except ValueError:  # the pattern contains a NUL character
        matches = []
    files = [match for match in matches if not os.path.isdir(match)]
    if not files:
        found.add_problem(path, "no file matches this pattern")
    for file in files:
        yield from _of_file(file, _matched_kind(path, file), roots, options, found)


def _matched_kind(pattern: str, file: str) -> Kind | None:
    """The kind of a file that a pattern matches. Lists count only if the pattern is of lists.

    So a text beside the photographs that ``photos/*`` matches is not taken for a list.
    """
    return kind_of(file) if suffix_of(pattern) == suffix_of(file) else None


def _of_file(
    path: str, kind: Kind | None, roots: Roots, options: Options, found: Findings
) -> Iterator[Item]:
    path = os.path.abspath(path)
    id = _below(path, roots)
    if kind is None:
        yield item_of_path(id, path, real_name(path))
    else:
        yield from within(kind, id, address_of(path), options, found)


def _below(path: str, roots: Roots) -> str:
    """The path below the folder of all sources, with ``/`` between names."""
    below = path if roots.local is None else os.path.relpath(path, roots.local)
    return below.replace(os.sep, "/")


# -- elsewhere ------------------------------------------------------------------------------------


def _remote(source: str, roots: Roots, options: Options, found: Findings) -> Iterator[Item]:
    folder = _remote_folder(source, options.suffixes)
    if folder is None:
        yield item_at(source, source)
        return
    kind = kind_of(source)
    if _is_remote_pattern(source):
        pattern = source[len(folder) + 1 :]
        matches = glob_regex(pattern).fullmatch
        is_empty = True
        for below in files_in(folder):
            if matches(below):
                is_empty = False
                address = f"{folder}/{below}"
                matched = _matched_kind(pattern, below)
                yield from _of_remote(matched, address, roots, options, found)
        if is_empty:
            found.add_problem(source, "no file matches this pattern")
    elif kind is not None and not source.endswith("/"):
        yield from _of_remote(kind, source, roots, options, found)
    else:
        yield from _of_remote_folder(source, folder, roots, options, found)


def _remote_folder(source: str, suffixes: frozenset[str]) -> str | None:
    """URL of the folder that a source names, lies in or starts from, without ``/`` at its end.

    None: the source is a single photograph.
    """
    if _is_remote_pattern(source):
        start = re.split(r"[*\[]" if scheme_of(source).startswith("http") else r"[*?\[]", source)[0]
        return start.rpartition("/")[0]
    if source.endswith("/"):
        return source.rstrip("/")
    if kind_of(source) is not None:
        return source.rpartition("/")[0]
    is_file = scheme_of(source).startswith("http") or suffix_of(source) in suffixes
    return None if is_file else source


def _is_remote_pattern(source: str) -> bool:
    """Whether a URL is a pattern. ``?`` begins the query of an address of the web."""
    path = source.partition("?")[0] if scheme_of(source).startswith("http") else source
    return glob.has_magic(path)


def _of_remote(
    kind: Kind | None, address: str, roots: Roots, options: Options, found: Findings
) -> Iterator[Item]:
    id = address if roots.remote is None else address[len(roots.remote) + 1 :]
    if kind is None:
        yield item_at(id, address)
    else:
        yield from within(kind, id, address, options, found)


def _of_remote_folder(
    source: str, folder: str, roots: Roots, options: Options, found: Findings
) -> Iterator[Item]:
    before = found.left_out.copy()
    is_empty = True
    for below in files_in(folder):
        suffix = suffix_of(below)
        if suffix in options.suffixes:
            is_empty = False
            yield from _of_remote(None, f"{folder}/{below}", roots, options, found)
        else:
            found.left_out[suffix] += 1
    if not is_empty:
        return
    try:
        size_of(source)  # a photograph without a usual suffix?
    except SourceError:
        _say_empty(source, before, found)
    else:
        yield item_at(source, source)
