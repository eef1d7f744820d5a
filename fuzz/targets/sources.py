"""Lists and tables of addresses, and archives of photographs."""

from __future__ import annotations

import io
import json
import tarfile

import pyarrow as pa
from pyarrow import parquet

from fuzz.target import Box, Target
from regiontree.errors import SourceError
from regiontree.references import list_references, read_bytes

__all__ = ["TARGETS"]

_SUFFIXES = frozenset({".jpg"})


def _list(box: Box, data: bytes, ending: str, id_column: str | None = None) -> None:
    """List a source. What is wrong with it is one of its problems, raised here to be judged."""
    path = box.write(f"case{ending}", data)
    listing = list_references(path, _SUFFIXES, id_column=id_column)
    ids = set()
    for reference in listing:
        (reference.id + reference.address + reference.name).encode()
        assert reference.id not in ids
        ids.add(reference.id)
        if reference.offset is not None and reference.path is None and len(ids) < 20:
            assert len(read_bytes(reference)) == reference.length
    assert listing.count == len(ids)
    for address, why in listing.problems.items():
        raise SourceError(f"{address}: {why}")


def _tar(format: int) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=format) as archive:
        for name in ("1.jpg", "b/" * 70 + "2.jpg", "3.txt"):
            entry = tarfile.TarInfo(name)
            entry.size = 700
            archive.addfile(entry, io.BytesIO(b"x" * 700))
    return held.getvalue()


def _parquet() -> bytes:
    held = io.BytesIO()
    rows = [f"photos/{i}.jpg" for i in range(30)]
    parquet.write_table(pa.table({"url": rows, "id": list(range(30))}), held)
    return held.getvalue()


def _lines() -> list[bytes]:
    rows = [{"url": "photos/1.jpg", "id": 1}, {"id": "b", "url": "https://example.org/%20.jpg?x"}]
    return ["\n".join(map(json.dumps, rows)).encode()]


TARGETS = (
    Target(
        "sources.tar",
        lambda box, data: _list(box, data, ".tar"),
        lambda: [_tar(tarfile.PAX_FORMAT), _tar(tarfile.GNU_FORMAT), _tar(tarfile.USTAR_FORMAT)],
    ),
    Target("sources.list", lambda box, data: _list(box, data, ".txt"),
           lambda: [b"photos/1.jpg\r\n\r\ns3://bucket/2.jpg\n/folder/3.jpg\n"]),
    Target("sources.json", lambda box, data: _list(box, data, ".jsonl", "id"), _lines),
    Target("sources.parquet", lambda box, data: _list(box, data, ".parquet"),
           lambda: [_parquet()]),
)  # fmt: skip
