"""Files that name or hold many photographs: lists, tables, archives."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum, auto

from regiontree.errors import SourceError
from regiontree.references.addresses import address_of, as_text, beside, last_name
from regiontree.references.archives import COMPRESSED, members_of
from regiontree.references.faults import why_of
from regiontree.references.findings import Findings
from regiontree.references.items import Item, Options, item_at, place_of
from regiontree.references.reference import Reference
from regiontree.references.streams import open_stream
from regiontree.references.tables import BadRows, Entry, json_lines, parquet_rows, text_lines

__all__ = ["Kind", "kind_of", "within"]


class Kind(Enum):
    """Kinds of files that name or hold many photographs."""

    LIST = auto()
    JSON = auto()
    PARQUET = auto()
    ARCHIVE = auto()
    COMPRESSED = auto()  # an archive that must be unpacked first


_KINDS = {
    ".txt": Kind.LIST,
    ".lst": Kind.LIST,
    ".jsonl": Kind.JSON,
    ".ndjson": Kind.JSON,
    ".parquet": Kind.PARQUET,
    ".tar": Kind.ARCHIVE,
}


def kind_of(address: str) -> Kind | None:
    """The kind of a file by its suffix; None if it is a photograph.

    >>> kind_of("s3://bucket/shard-0001.tar"), kind_of("photo.jpg"), kind_of("a.TAR.GZ")
    (<Kind.ARCHIVE: 4>, None, <Kind.COMPRESSED: 5>)
    """
    name = last_name(address).lower()
    if name.endswith(COMPRESSED):
        return Kind.COMPRESSED
    return _KINDS.get(os.path.splitext(name)[1])


def within(kind: Kind, id: str, address: str, options: Options, found: Findings) -> Iterator[Item]:
    """Each photograph that a file names or holds. What is wrong with the file is told to `found`.

    Parameters
    ----------
    kind
        The kind of the file.
    id
        What the ids of an archive's members begin with.
    address
        URL or absolute path of the file.
    options
        The user's choices.
    found
        Is told of problems, and of members of other kinds.
    """
    before, is_empty = found.problem_count, True
    try:
        if kind is Kind.COMPRESSED:
            raise SourceError("is compressed, so its members cannot be read one by one; unpack it")
        if kind is Kind.ARCHIVE:
            items = _of_archive(id, address, options, found)
        else:
            items = _of_table(kind, address, options, found)
        for item in items:
            is_empty = False
            yield item
    except SourceError as error:
        found.add_problem(address, why_of(error, address))
    if is_empty and found.problem_count == before and as_text(address) not in found.problems:
        holds = "holds" if kind is Kind.ARCHIVE else "names"
        found.add_problem(address, f"{holds} no photograph")


def _of_archive(id: str, address: str, options: Options, found: Findings) -> Iterator[Item]:
    place = as_text(place_of(address))
    with open_stream(address) as stream:
        for member in members_of(stream):
            path = as_text(member.name)
            name = path.rpartition("/")[2]
            suffix = os.path.splitext(name)[1].lower()
            if name.startswith("."):
                continue
            if suffix not in options.suffixes:
                found.left_out[suffix] += 1
                continue
            reference = Reference(f"{id}/{path}", address, name, member.offset, member.length)
            yield Item(reference, f"{place}#{member.offset}")


def _of_table(kind: Kind, address: str, options: Options, found: Findings) -> Iterator[Item]:
    bad = BadRows()
    try:
        with open_stream(address, whole=True) as stream:
            if kind is Kind.LIST:
                entries = text_lines(stream, bad)
            elif kind is Kind.JSON:
                entries = json_lines(stream, bad, options.column, options.id_column)
            else:
                entries = parquet_rows(stream, bad, options.column, options.id_column)
            for entry in entries:
                yield from _of_entry(entry, address, options, found)
    finally:
        if bad.text is not None:
            found.add_problem(address, bad.text)


def _of_entry(entry: Entry, table: str, options: Options, found: Findings) -> Iterator[Item]:
    """The photograph of a row, or those of the archive that the row names."""
    address = beside(table, entry.address)
    id = as_text(entry.id or entry.address)
    kind = kind_of(address)
    if kind in (Kind.ARCHIVE, Kind.COMPRESSED):
        yield from within(kind, id, address_of(address), options, found)
        return
    item = item_at(id, address)
    yield item if entry.id is None else Item(replace(item.reference, id=id), None)
