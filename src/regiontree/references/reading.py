"""The bytes of a photograph, wherever they lie."""

from __future__ import annotations

from regiontree.errors import SourceError
from regiontree.references.addresses import local_path
from regiontree.references.reference import Reference
from regiontree.system.paths import path_problem, reason

__all__ = ["read_bytes"]


def read_bytes(reference: Reference) -> bytes:
    """All bytes of a photograph.

    Raises
    ------
    SourceError
        They cannot be read; the message names the address and says why.
    """
    path = local_path(reference.address)
    problem = path_problem(path, "file")
    if problem is not None:
        raise SourceError(f"{reference.address}: {problem}")
    try:
        with open(path, "rb") as file:
            if reference.offset is None:
                return file.read()
            file.seek(reference.offset)
            data = file.read(reference.length)
    except OSError as error:
        raise SourceError(f"{reference.address}: cannot be read ({reason(error)})") from error
    if reference.length is not None and len(data) < reference.length:
        raise SourceError(
            f"{reference.address}: is cut short: {reference.name} needs {reference.length:,} bytes "
            f"from byte {reference.offset:,}, and there are {len(data):,}; copy the file again"
        )
    return data
