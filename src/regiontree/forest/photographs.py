"""Where the photograph of a row lies, by the row's id and reference.

A reference is a path, a URL, or the path or URL of an archive. The id then ends in the archive's
name and the name of the member: ``photos-0001.tar/dog.jpg``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from regiontree.errors import RegionTreeError
from regiontree.references.reference import Reference
from regiontree.system.paths import is_url

__all__ = ["places_of"]

_ARCHIVE = ".tar"


def places_of(id: str, address: str, name: str, store: str) -> Iterator[Path | Reference]:
    """Where the photograph of a row may lie, the likeliest first. The files need not exist.

    Parameters
    ----------
    id, address
        The row's id and reference. A relative path counts from the working directory and from the
        folder around the store.
    name
        File name of the photograph, as the tree records it. A path of another name is not used.
    store
        The store's path or URL.
    """
    if name in ("", ".."):
        return
    if is_url(address):
        if _is_archive(address):
            yield from _members(address, id, name)
        else:
            reference = Reference(id, address, name)
            yield reference if reference.path is None else reference.path
        return
    starts = [""] if os.path.isabs(address) or is_url(store) else ["", os.path.dirname(store)]
    for start in starts:
        path = os.path.abspath(os.path.join(start, address))
        if _is_archive(path):
            if os.path.isfile(path):
                yield from _members(path, id, name)
        elif os.path.basename(path) == name:
            yield Path(path)


def _is_archive(address: str) -> bool:
    return address.lower().endswith(_ARCHIVE)


def _members(address: str, id: str, name: str) -> Iterator[Reference]:
    """The member of an archive that an id names, if there is one."""
    try:
        members = _members_of(address, _changed(address))
    except RegionTreeError:  # the archive cannot be read
        return
    member = id[id.lower().rfind(f"{_ARCHIVE}/") + len(_ARCHIVE) + 1 :]
    found = members.get(member)
    if found is not None and found.name == name:
        yield found


@lru_cache(maxsize=16)
def _members_of(address: str, changed: float) -> Mapping[str, Reference]:
    """The members of an archive by their names in it. `changed` is when the file was changed."""
    from regiontree.images import image_suffixes
    from regiontree.references.listing import list_references

    listed = list_references([address], frozenset(image_suffixes()))
    return {
        one.id[one.id.lower().rfind(f"{_ARCHIVE}/") + len(_ARCHIVE) + 1 :]: one for one in listed
    }


def _changed(address: str) -> float:
    try:
        return os.path.getmtime(address)
    except (OSError, ValueError):  # a URL
        return 0.0
