"""What does it cost to list a million photographs, in time and memory?

Question
    Does a listing stream: does its memory stay the same, less the eight or sixteen bytes by which a
    photograph that comes twice is known, however many photographs there are?
Method
    Made-up sources in a temporary folder: a folder of empty files in folders of 1,000; a list, JSON
    lines and Parquet of addresses of the web of 60 characters; tar shards of 10,000 members of
    1,000 bytes. Each is listed to its end in a fresh process, --turns times, all sources in turn.
    Nothing is fetched. "all paths held" is how `segment` lists a folder for trees of one file each.
    Parquet is listed again with ten times as many rows.
Printed
    Seconds, and those of the processor, the least of the turns; microseconds of the processor for
    each photograph; the most memory above what the process held before it listed.
Targets
    A million addresses of Parquet in 20 s of a processor; ten times as many in at most 400 MB.
"""

from __future__ import annotations

import json
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from _common import (
    MB,
    PeakMemory,
    arguments,
    is_child,
    print_closing,
    print_heading,
    print_results,
    print_target,
    run_child,
)
from pyarrow import parquet

from regiontree.references.listing import list_references
from regiontree.system.inputs import search

SUFFIXES = frozenset({".jpg"})
_BLOCK = 100_000


def measure(way: str, source: str) -> dict[str, float]:
    """List a source to its end."""
    import numpy  # noqa: F401  so that the time of importing it does not count

    with PeakMemory() as memory:
        start, processor = time.perf_counter(), time.process_time()
        if way == "folder, all paths held":
            count = len(search(source, SUFFIXES).files)
        else:
            count = sum(1 for _ in list_references(source, SUFFIXES))
        seconds, processor = time.perf_counter() - start, time.process_time() - processor
    return {"count": count, "seconds": seconds, "cpu": processor, "memory": memory.extra}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--count", type=int, default=10**6, help="photographs (default 1,000,000)")
    parser.add_argument("--turns", type=int, default=3, help="timed turns (default 3)")
    options = parser.parse_args()
    print_heading(__file__)
    with tempfile.TemporaryDirectory() as folder:
        sources = _make(Path(folder), options.count)
        runs: dict[str, list[dict[str, Any]]] = {way: [] for way in sources}
        for _ in range(options.turns):
            for way, source in sources.items():
                runs[way].append(run_child(__file__, "measure", way=way, source=source))
    rows = []
    for way, measured in runs.items():
        count = measured[0]["count"]
        seconds = min(run["seconds"] for run in measured)
        memory = max(run["memory"] for run in measured)
        cpu = min(run["cpu"] for run in measured)
        rows.append((way, count, seconds, cpu, cpu / count * 1e6, memory / MB))
    print_results("listing", rows, options.csv)
    by_way = {row[0]: row for row in rows}
    cpu = by_way["Parquet"][3] * 10**6 / options.count
    print_target(f"a million addresses of Parquet in 20 s ({cpu:.1f} s)", met=cpu < 20)
    memory = by_way["Parquet, ten times as many"][5]
    print_target(f"ten times as many in at most 400 MB ({memory:.0f} MB)", met=memory < 400)
    print_closing()


def _make(folder: Path, count: int) -> dict[str, str]:
    """Write the sources; the name of each way and its source."""
    photos = folder / "photos"
    for start in range(0, count, 1000):
        place = photos / f"{start // 1000:06}"
        place.mkdir(parents=True)
        for i in range(start, min(start + 1000, count)):
            (place / f"{i:09}.jpg").touch()
    with open(folder / "list.txt", "w") as lines, open(folder / "rows.jsonl", "w") as rows:
        for block in _addresses(count):
            lines.writelines(f"{address}\n" for address in block)
            rows.writelines(json.dumps({"url": address}) + "\n" for address in block)
    for name, number in (("one.parquet", count), ("ten.parquet", 10 * count)):
        with parquet.ParquetWriter(folder / name, pa.schema([("url", pa.string())])) as writer:
            for block in _addresses(number):
                writer.write_table(pa.table({"url": block}))
    (folder / "shards").mkdir()
    for start in range(0, count, 10_000):
        _make_shard(folder / "shards" / f"{start // 10_000:06}.tar", min(10_000, count - start))
    return {
        "folder": str(photos),
        "folder, all paths held": str(photos),
        "list": str(folder / "list.txt"),
        "JSON lines": str(folder / "rows.jsonl"),
        "Parquet": str(folder / "one.parquet"),
        "Parquet, ten times as many": str(folder / "ten.parquet"),
        "tar shards": str(folder / "shards" / "*.tar"),
    }


def _addresses(count: int) -> Iterator[list[str]]:
    for start in range(0, count, _BLOCK):
        numbers = range(start, min(start + _BLOCK, count))
        yield [f"https://images.example.org/photographs/{i // 1000:08}/{i:08}.jpg" for i in numbers]


def _make_shard(path: Path, count: int) -> None:
    data = b"x" * 1000 + b"\0" * 24
    with open(path, "wb") as file:
        for i in range(count):
            entry = tarfile.TarInfo(f"{i:08}.jpg")
            entry.size = 1000
            file.write(entry.tobuf(tarfile.USTAR_FORMAT) + data)
        file.write(b"\0" * 1024)


if __name__ == "__main__":
    if not is_child({"measure": measure}):
        main()
