"""What a store costs: label maps and embeddings by codec, look-up by rows, compaction's memory.

Question 1: which codec holds a label map in few bytes, and how long does it take? Trees of real
photographs, each codec in turn for each tree; sizes are means, times medians.

Question 2: which encoding of Parquet holds embeddings in few bytes? The same trees, in groups of
rows as a store has them.

Question 3: how do opening, looking up and listing depend on the number of rows? A generated store
of small rows (the trees repeat, the ids do not), read by a fresh process. Opening ends with the
first tree. Then ids from anywhere are looked up one by one. Then all ids and as many unknown ones
are asked for at once. Shards have a million rows, as if rows were small; and once a thousand, about
as many as real rows fit into one.

Question 4: how much memory does a compaction take? Rows as large as real ones, in parts of 16, each
number of rows in a fresh process: the most resident memory less what it held before.

    python benchmarks/store.py [--photos 40] [--rows 10000 1000000 10000000] [--large 200 800]

All times are those of the processor, so that other programs count little. It needs up to 4 GB in
the folder of temporary files.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
from _common import (
    arguments,
    forget_most,
    is_child,
    most_resident,
    photographs,
    print_closing,
    print_heading,
    print_results,
    resident,
    run_child,
)
from numpy.typing import NDArray

from regiontree import Forest, RegionParser, RegionTree
from regiontree.forest.labelmap import label_map, png_of
from regiontree.forest.parquet import GROUP_BYTES, TableWriter
from regiontree.forest.row import Row
from regiontree.forest.schema import table_of
from regiontree.forest.store import Store, open_store

LARGE_SHARD, SMALL_SHARD = 1_000_000, 1_000  # rows of a shard of the generated stores
LOOK_UPS = 200
Labels = NDArray[np.int32]


def trees_of(limit: int) -> list[RegionTree]:
    """Trees of photographs, by the default settings."""
    parser = RegionParser()
    return [parser.parse(photo.source) for photo in photographs(limit)]


# -- 1: label maps --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Codec:
    """Two functions: a label map to bytes, and bytes of a map of a size to labels."""

    encode: Callable[[Labels], bytes]
    decode: Callable[[bytes, tuple[int, int]], Labels]


def small(labels: Labels) -> NDArray[Any]:
    return labels.astype(np.uint8 if labels.max() < 256 else np.uint16)


def png(**options: int) -> Codec:
    return Codec(
        lambda labels: imagecodecs.png_encode(small(labels), **options),
        lambda data, shape: imagecodecs.png_decode(data).astype(np.int32),
    )


def plain(level: int) -> Codec:
    def decode(data: bytes, shape: tuple[int, int]) -> Labels:
        raw = imagecodecs.zstd_decode(data)
        wide = np.uint8 if len(raw) == shape[0] * shape[1] else np.uint16
        return np.frombuffer(raw, wide).reshape(shape).astype(np.int32)

    return Codec(lambda labels: imagecodecs.zstd_encode(small(labels), level), decode)


def row_differences(level: int) -> Codec:
    """Each row less the one above it, the low bytes first, then the high ones."""

    def encode(labels: Labels) -> bytes:
        rows = labels.astype(np.uint16)
        rows[1:] -= labels[:-1].astype(np.uint16)
        octets = np.ascontiguousarray(rows.view(np.uint8).reshape(-1, 2).T)
        return bytes(imagecodecs.zstd_encode(octets, level))

    def decode(data: bytes, shape: tuple[int, int]) -> Labels:
        octets = np.frombuffer(imagecodecs.zstd_decode(data), np.uint8).reshape(2, -1)
        rows = np.ascontiguousarray(octets.T).view(np.uint16).reshape(shape)
        return np.cumsum(rows, axis=0, dtype=np.uint16).astype(np.int32)

    return Codec(encode, decode)


CODECS = {
    "PNG, no filter (chosen)": Codec(png_of, lambda data, shape: label_map(data, *shape)),
    "PNG, usual filters": png(),
    "PNG, row above, level 9": png(level=9, filter=32),
    "row differences, zstd 3": row_differences(3),
    "row differences, zstd 19": row_differences(19),
    "plain, zstd 3": plain(3),
    "plain, zstd 9": plain(9),
    ".npz (int32, deflate 6)": Codec(
        lambda labels: zlib.compress(labels.tobytes(), 6),
        lambda data, shape: np.frombuffer(zlib.decompress(data), np.int32).reshape(shape),
    ),
}


def codec_rows(trees: list[RegionTree]) -> list[list[object]]:
    sizes: dict[str, list[int]] = {name: [] for name in CODECS}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in CODECS}
    for tree in trees:
        for name, codec in CODECS.items():
            start = time.process_time()
            data = codec.encode(tree.labels)
            between = time.process_time()
            labels = codec.decode(data, tree.shape)
            end = time.process_time()
            assert np.array_equal(labels, tree.labels), name
            sizes[name].append(len(data))
            times[name].append((between - start, end - between))
    return [
        [
            name,
            statistics.mean(sizes[name]) / 1e3,
            *(1e3 * statistics.median(column) for column in zip(*times[name], strict=True)),
        ]
        for name in CODECS
    ]


# -- 2: embeddings --------------------------------------------------------------------------------


def embedding_rows(trees: list[RegionTree]) -> list[list[object]]:
    kept = [tree.embedding for tree in trees if tree.embedding is not None]
    single = pa.array([one.astype(np.float32).reshape(-1) for one in kept], pa.list_(pa.float32()))
    half = pa.array([one.reshape(-1) for one in kept], pa.list_(pa.float16()))
    usual = {"compression": "zstd", "compression_level": 1, "use_dictionary": False}
    ways: dict[str, tuple[pa.Array, dict[str, Any]]] = {
        "float32, dictionary (chosen)": (single, {**usual, "use_dictionary": True}),
        "float32, plain": (single, usual),
        "float32, bytes apart": (single, {**usual, "use_byte_stream_split": True}),
        "float16, plain": (half, usual),
        "float16, bytes apart": (half, {**usual, "use_byte_stream_split": True}),
    }
    group = max(1, GROUP_BYTES // (single.nbytes // len(single)))
    rows: list[list[object]] = []
    for name, (column, options) in ways.items():
        file = io.BytesIO()
        start = time.process_time()
        pq.write_table(pa.table({"a": column}), file, row_group_size=group, **options)
        written = time.process_time() - start
        read = []
        for i in range(len(kept) // group):
            start = time.process_time()
            pq.ParquetFile(file).read_row_group(i, use_threads=False)
            read.append(time.process_time() - start)
        size = len(file.getvalue()) / len(kept) / 1e3
        rows.append([name, size, 1e3 * written / len(kept), 1e3 * statistics.median(read)])
    raw = sum(one.nbytes for one in kept) / len(kept) / 1e3
    deflated = [len(zlib.compress(one.tobytes(), 6)) for one in kept]
    rows.append(["raw float16", raw, None, None])
    rows.append([".npz (float16, deflate 6)", statistics.mean(deflated) / 1e3, None, None])
    return rows


def size_rows(trees: list[RegionTree], folder: Path) -> list[list[object]]:
    """Bytes of a tree in a store, with and without embeddings, beside its file."""
    rows: list[list[object]] = []
    bare = [
        RegionTree(t.labels, t.parents, t.height, t.ncut, t.stop, None, dict(t.meta)) for t in trees
    ]
    for name, kept in (("with embeddings", trees), ("without", bare)):
        store = open_store(folder / name)
        for start in range(0, len(kept), 16):
            store.add(
                table_of(
                    [Row(f"{i}", f"{i}", kept[i]) for i in range(len(kept))[start : start + 16]]
                )
            )
        store.compact(final=True)
        shards = sum(path.stat().st_size for path in (folder / name).glob("*.parquet"))
        files = sum(
            tree.save(folder / f"{name} {i}.npz").stat().st_size for i, tree in enumerate(kept)
        )
        rows.append([name, len(kept), shards / len(kept) / 1e3, files / len(kept) / 1e3])
    return rows


# -- 3: many rows ---------------------------------------------------------------------------------


def generated_ids(start: int, end: int) -> pa.Array:
    numbers = pa.array(np.arange(start, end))
    text = pa.compute.utf8_lpad(numbers.cast(pa.string()), 9, "0")
    return pa.compute.binary_join_element_wise("folder/photograph ", text, ".jpg", "")


def generate(folder: str, rows: int, shard_rows: int) -> dict[str, Any]:
    """A store of so many small trees, which repeat, with ids that do not."""
    store = open_store(folder)
    rng = np.random.default_rng(0)
    base = []
    for i in range(1000):
        labels = np.kron(rng.permutation(4).reshape(2, 2), np.ones((4, 4), int)).astype(np.int32)
        tree = RegionTree(labels, [4, 4, 5, 5, 6, 6, 6], [0, 0, 0, 0, 0.2, 0.3, 1])
        base.append(Row(str(i), f"/photographs/{i}.jpg", tree, sha256=f"{i:064x}"))
    table = table_of(base)
    for start in range(0, rows, shard_rows):
        end = min(start + shard_rows, rows)
        name = f"shard-{start:016x}.parquet"
        with store.folder.writing(name) as file, TableWriter(file) as writer:
            for first in range(start, end, 1000):
                ids = generated_ids(first, min(first + 1000, end))
                part = table.slice(0, len(ids))
                writer.write(part.set_column(0, part.schema.field(0), ids))
    start_time = time.process_time()
    store.index.keep()
    return {"index": time.process_time() - start_time}


def read(folder: str, rows: int) -> dict[str, Any]:
    """Times of a fresh process with a generated store."""
    rng = np.random.default_rng(1)
    wanted = [f"folder/photograph {i:09}.jpg" for i in rng.integers(0, rows, LOOK_UPS).tolist()]
    before = resident()
    start = time.process_time()
    forest = Forest(folder)
    assert forest[wanted[0]].n_nodes == 7
    opened = time.process_time() - start
    times = []
    for key in wanted[1:]:
        start = time.process_time()
        assert forest[key].n_nodes == 7
        times.append(time.process_time() - start)
    memory = resident() - before
    start = time.process_time()
    assert len(forest) == rows
    counted = time.process_time() - start
    asked = pa.concat_arrays([generated_ids(0, rows), generated_ids(rows, 2 * rows)])
    store = open_store(folder)
    start = time.process_time()
    known = store.known(asked)
    listed = time.process_time() - start
    assert known[:rows].all()
    assert not known[rows:].any()
    return {
        "open": opened,
        "look up": statistics.median(times),
        "slowest": float(np.quantile(times, 0.95)),
        "memory": memory,
        "count": counted,
        "known": listed,
    }


def scale_rows(rows: list[int]) -> list[list[object]]:
    """Large shards for each number of rows, then small ones for the largest number."""
    found: list[list[object]] = []
    for n, shard_rows in [*((n, LARGE_SHARD) for n in rows), (max(rows), SMALL_SHARD)]:
        with tempfile.TemporaryDirectory() as folder:
            made = run_child(__file__, "generate", folder=folder, rows=n, shard_rows=shard_rows)
            one = run_child(__file__, "read", folder=folder, rows=n)
            shards = list(Path(folder).glob("*.parquet"))
            size = sum(path.stat().st_size for path in shards) / 1e6
            index = sum(path.stat().st_size for path in Path(folder, "_index").iterdir()) / 1e6
            found.append(
                [n, len(shards), size, index, made["index"], 1e3 * one["open"],
                 1e3 * one["look up"], 1e3 * one["slowest"], one["memory"] / 1e6, one["known"]]
            )  # fmt: skip
            print(found[-1], flush=True)
    return found


# -- 4: compaction --------------------------------------------------------------------------------


def large_parts(folder: str, rows: int) -> dict[str, Any]:
    """A store with parts of 16 rows of real size."""
    store = open_store(folder)
    rng = np.random.default_rng(0)
    n_leaves = 400
    labels = np.arange(480 * 640, dtype=np.int32).reshape(480, 640) * n_leaves // (480 * 640)
    parents = [*np.repeat(np.arange(400, 500), 4), *([500] * 101)]
    for start in range(0, rows, 16):
        part = []
        for i in range(start, min(start + 16, rows)):
            embedding = rng.normal(size=(501, 600)).astype(np.float16)
            tree = RegionTree(labels, parents, [0.0] * 400 + [0.5] * 100 + [1.0],
                              embedding=embedding)  # fmt: skip
            part.append(Row(f"{i:06}", f"{i}", tree, sha256=f"{i:064x}"))
        store.add(table_of(part))
    return {}


def compact(folder: str) -> dict[str, Any]:
    store: Store = open_store(folder)
    store.known(["warm up"])
    before = resident()
    forget_most()
    start = time.process_time()
    store.compact(final=True)
    return {"seconds": time.process_time() - start, "memory": most_resident() - before}


def compaction_rows(rows: list[int]) -> list[list[object]]:
    found: list[list[object]] = []
    for n in rows:
        with tempfile.TemporaryDirectory() as folder:
            run_child(__file__, "large_parts", folder=folder, rows=n)
            parts = list(Path(folder, "_parts").iterdir())
            size = sum(path.stat().st_size for path in parts) / 1e6
            one = run_child(__file__, "compact", folder=folder)
            shards = len(list(Path(folder).glob("*.parquet")))
            found.append([n, len(parts), size, shards, one["seconds"], one["memory"] / 1e6])
            print(found[-1], flush=True)
    return found


TASKS = {"generate": generate, "read": read, "large_parts": large_parts, "compact": compact}


def main() -> None:
    if is_child(TASKS):
        return
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=40)
    options.add_argument("--rows", type=int, nargs="*", default=[10_000, 1_000_000, 10_000_000])
    options.add_argument("--large", type=int, nargs="*", default=[200, 800])
    given = options.parse_args()
    print_heading("store.py")
    if given.photos:
        trees = trees_of(given.photos)
        print_results("store", codec_rows(trees), given.csv)
        print_results("store-embeddings", embedding_rows(trees), given.csv, "embeddings")
        with tempfile.TemporaryDirectory() as folder:
            print_results("store-size", size_rows(trees, Path(folder)), given.csv, "size")
    if given.rows:
        print_results("store-rows", scale_rows(given.rows), given.csv, "rows")
    if given.large:
        print_results("store-compaction", compaction_rows(given.large), given.csv, "compaction")
    print_closing()


if __name__ == "__main__":
    main()
