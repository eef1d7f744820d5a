"""What a listing passes on: references with what tells two photographs apart."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from regiontree.references.addresses import (
    address_of,
    as_text,
    last_name,
    local_path,
    scheme_of,
)
from regiontree.references.reference import Reference

__all__ = ["Item", "Options", "item_at", "item_of_path", "place_of"]


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
        """The id of the reference."""
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


def item_at(id: str, address: str) -> Item:
    """The photograph at an address, which is a URL or an absolute path. Nothing is looked at."""
    if scheme_of(address):
        address = as_text(address)
        return Item(Reference(as_text(id), address, as_text(last_name(address))), address)
    return item_of_path(id, local_path(address), place_of(address))


def item_of_path(id: str, path: str, place: str) -> Item:
    """The photograph at an absolute path of this machine."""
    name = os.path.basename(path)
    return Item(Reference(as_text(id), address_of(path), as_text(name)), as_text(place))


def place_of(address: str) -> str:
    """One name for a file: a URL, or a path whose folder has its real name."""
    if scheme_of(address):
        return address
    folder, name = os.path.split(local_path(address))
    return os.path.normcase(os.path.join(_real_folder(folder), name))


@lru_cache(maxsize=1024)
def _real_folder(folder: str) -> str:
    try:
        return os.path.realpath(folder)
    except (OSError, ValueError):  # reading a file in it will say what is wrong with its name
        return os.path.abspath(folder)
