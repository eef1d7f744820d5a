"""The bytes of a photograph, wherever they lie."""

from __future__ import annotations

import os

from regiontree.errors import SourceError
from regiontree.references.addresses import local_path, scheme_of
from regiontree.references.faults import said
from regiontree.references.reference import Reference
from regiontree.references.remote import MOST_BYTES, read_part
from regiontree.system.paths import path_problem, reason

__all__ = ["read_bytes"]


def read_bytes(reference: Reference) -> bytes:
    """All bytes of a photograph.

    Faults of the network that pass are tried again three times, with pauses of half a second, one
    and two seconds.

    Raises
    ------
    SourceError
        They cannot be read. The message names the address and says why: it is not there, it needs
        rights, the server did not answer in time, the archive is cut short.
    MissingExtraError
        A package is missing that such addresses need.
    """
    address = reference.address
    if scheme_of(address):
        most = MOST_BYTES if reference.length is None else reference.length
        data = read_part(address, reference.offset, most)
    else:
        data = _read_local(reference)
    if reference.length is not None and len(data) != reference.length:
        why = (
            f"is cut short or was changed: {reference.name} has {len(data):,} of its "
            f"{reference.length:,} bytes from byte {reference.offset or 0:,}; copy the file again"
        )
        raise SourceError(said(address, why))
    return data


def _read_local(reference: Reference) -> bytes:
    path = local_path(reference.address)
    problem = path_problem(path, "file")
    if problem is None and os.path.isdir(path):
        problem = "is a folder, not a file"
    if problem is not None:
        raise SourceError(said(reference.address, problem))
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if reference.offset is None:
                if size > MOST_BYTES:
                    why = f"has more than {MOST_BYTES:,} bytes; make a smaller copy"
                    raise SourceError(said(reference.address, why))
                return file.read()
            file.seek(reference.offset)
            return file.read(reference.length)
    except OSError as error:
        why = f"cannot be read ({reason(error)})"
        raise SourceError(said(reference.address, why)) from error
