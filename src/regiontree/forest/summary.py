"""``summary.json`` beside the trees of a batch: which photograph each tree was made from.

It holds the outcome of the last run. It also keeps the photographs of trees that earlier runs made,
as long as their files exist. Its paths are absolute, and it names the folder that it was written
to. So it still tells where photographs lie after a run from another working directory, and after
trees and photographs were moved together.

Older summaries have paths relative to a working directory that they do not name. It is then guessed
from the path of the summary itself.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from regiontree.system.files import atomic_write, locked
from regiontree.system.inputs import SUMMARY_NAME

__all__ = ["photographs_of", "write_summary"]

_MAX_BYTES = 1 << 30  # a larger file is no summary


def write_summary(folder: Path, report: Mapping[str, Any]) -> None:
    """Write the report of a run to ``summary.json`` in a folder.

    Photographs of earlier trees are kept under ``earlier``. Several processes can do this at once.

    Parameters
    ----------
    folder
        Folder of the trees.
    report
        JSON values. ``files`` lists the results, each with ``source`` and ``output``, paths from
        the working directory. ``folder`` is the absolute path of `folder`.

    Raises
    ------
    OSError
        The file cannot be written.
    """
    files = [
        {**file, **{key: os.path.abspath(file[key]) for key in ("source", "output") if file[key]}}
        for file in report["files"]
    ]
    now = {os.path.normcase(file["output"]) for file in files if _is_made(file)}
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder):
        path = folder / SUMMARY_NAME
        earlier = [
            {"source": sources[0], "output": tree}
            for tree, sources in _read(path).items()
            if os.path.normcase(tree) not in now and os.path.isfile(tree)
        ]
        whole = {**report, "files": files, **({"earlier": earlier} if earlier else {})}
        with atomic_write(path) as file:
            file.write(json.dumps(whole, indent=1).encode())


def photographs_of(tree: Path) -> Iterator[Path]:
    """Where the photograph of a tree may lie, by the summaries in the folders above the tree."""
    tree = Path(os.path.abspath(tree))
    for folder in tree.parents:
        summary = folder / SUMMARY_NAME
        try:
            modified = os.stat(summary).st_mtime_ns
        except OSError:
            continue
        yield from map(Path, _known(summary, modified, os.getcwd()).get(str(tree), ()))


@lru_cache(maxsize=16)
def _known(summary: Path, modified: int, working_directory: str) -> dict[str, list[str]]:
    return _read(summary)


def _read(summary: Path) -> dict[str, list[str]]:
    """The likely photographs of each tree, as absolute paths; empty if there is no summary."""
    try:
        if os.path.getsize(summary) > _MAX_BYTES:
            return {}
        data = json.loads(summary.read_text(encoding="utf-8"))
        entries = [*data["files"], *data.get("earlier", [])]
        pairs = [(file["output"], file["source"]) for file in entries if _is_made(file)]
        then = data.get("folder")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    now = os.path.abspath(summary.parent)
    found: dict[str, list[str]] = {}
    for output, source in pairs:
        if not isinstance(output, str) or not isinstance(source, str):
            continue
        starts = [os.getcwd()] if then is None else []
        if isinstance(then, str) and os.path.isabs(then):
            tree = _moved(output, then, now)
            sources = [source, _moved(source, then, now)]
        else:
            starts += _working_directories(output, now)
            tree = os.path.abspath(os.path.join(starts[-1] if starts else "", output))
            sources = [os.path.join(start, source) for start in starts]
        if sources:
            absolute = [os.path.abspath(path) for path in sources]
            found.setdefault(tree, []).extend(dict.fromkeys(absolute))
    return found


def _is_made(file: Any) -> bool:
    """Whether the entry of a summary is of a tree that exists since its run."""
    return file["output"] is not None and file.get("status") != "failed"


def _moved(path: str, then: str, now: str) -> str:
    """The path that lies to the folder `now` as `path` lies to the folder `then`."""
    try:
        return os.path.abspath(os.path.join(now, os.path.relpath(path, then)))
    except ValueError:  # another drive
        return path


def _working_directories(output: str, folder: str) -> list[str]:
    """Working directories from which `output` lies in `folder`, the likeliest last.

    >>> _working_directories("out/sub/a.npz", "/home/me/out")
    ['/home/me']
    """
    named, parts = Path(folder), Path(output).parts
    if os.path.isabs(output):
        return []
    return [
        str(Path(*named.parts[:-length]))
        for length in range(1, min(len(parts), len(named.parts)))
        if named.parts[-length:] == parts[:length]
    ]
