"""Where the photograph of a tree lies, as the tree and the summary beside it record it.

A tree of a batch records the path from its own folder to its photograph. So the record holds
wherever the command is started, and after both were moved together. It never holds an absolute
path: if only the root of the file system is above both, the path is left out, and only the summary
has it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from regiontree.forest.summary import photographs_of
from regiontree.system.inputs import real_name

__all__ = [
    "is_place",
    "path_below",
    "path_between",
    "recorded_name",
    "recorded_places",
    "without_path",
]


def recorded_name(meta: Mapping[str, Any]) -> str:
    """The name of the photograph in a tree's meta, or an empty text. Meta may hold anything."""
    image = meta.get("image")
    name = image.get("name") if isinstance(image, dict) else None
    return name if isinstance(name, str) else ""


def path_between(tree: Path, photo: Path) -> str | None:
    """The path from a tree's folder to its photograph, with ``/``.

    None if the two have no folder above them but the root, or lie on different drives.
    """
    folder = os.path.realpath(tree.parent)
    place = os.path.join(os.path.realpath(photo.parent), photo.name)
    try:
        shared = os.path.commonpath([folder, place])
    except ValueError:
        return None
    if os.path.dirname(shared) == shared:
        return None
    return Path(os.path.relpath(place, folder)).as_posix()


def recorded_places(tree: Path, meta: Mapping[str, Any]) -> Iterator[Path]:
    """The paths that a photograph has by the records, the likeliest first.

    The files need not exist. Each path ends in the name that the tree records, so a record cannot
    lead to a file of another name.
    """
    name = Path(recorded_name(meta)).name
    if name in ("", ".."):
        return
    path = _path(meta)
    if path is not None and path.rpartition("/")[2] == name:
        yield Path(os.path.abspath(os.path.join(os.path.realpath(tree.parent), path)))
    for source in photographs_of(tree):
        if source.name == name:
            yield source


def without_path(meta: Mapping[str, Any]) -> dict[str, Any]:
    """Meta of a tree that is given away: it names the photograph, but no folder."""
    image = meta.get("image")
    if not isinstance(image, dict):
        return dict(meta)
    return {**meta, "image": {key: value for key, value in image.items() if key != "path"}}


def path_below(meta: Mapping[str, Any]) -> str:
    """The recorded path without the steps upwards: ``sub/photo.jpg`` of ``../sub/photo.jpg``."""
    parts = [part for part in (_path(meta) or "").split("/") if part not in ("", ".", "..")]
    return "/".join(parts)


def is_place(tree: Path, meta: Mapping[str, Any], photo: str) -> bool | None:
    """Whether the records say that a tree was made from a photograph.

    Parameters
    ----------
    tree, meta
        The tree's file and its meta.
    photo
        The photograph, by its :func:`~regiontree.system.inputs.real_name`.

    Returns
    -------
    bool or None
        None if the records name no photograph that exists.
    """
    is_other = False
    for place in recorded_places(tree, meta):
        if real_name(place) == photo:
            return True
        is_other = is_other or os.path.isfile(place)
    return False if is_other else None


def _path(meta: Mapping[str, Any]) -> str | None:
    image = meta.get("image")
    path = image.get("path") if isinstance(image, dict) else None
    relative = isinstance(path, str) and path and not os.path.isabs(path) and "\0" not in path
    return path if relative else None
