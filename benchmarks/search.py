"""Time and memory of the search for regions like an example, exact and approximate.

Question
    How long does a query take, how much memory, and how many of the best does the approximate
    search find? How long does its index take to build?
Method
    Unit rows are made up: --dim numbers around 3,000 centres, in the files of a collection. Queries
    are rows with the same noise. Each search runs in a process of its own, which opens the files as
    `regiontree like` does. Its seconds are the median of --queries queries of one example each,
    after the first. Memory is the most that is not mapped from files, above that of the process
    before the first query. Recall is the share of the exact best 20 that the search finds.

    All times are those of the processor with one thread, so that other programs count little.
Printed
    For each number of rows and each search: milliseconds a query, memory, recall, seconds to build
    the index, and bytes of the files that it reads.

    python benchmarks/search.py [--rows 100000 1000000] [--dim 256] [--queries 50]
"""

from __future__ import annotations

import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    arguments,
    is_child,
    print_closing,
    print_heading,
    print_results,
    run_child,
)
from numpy.typing import NDArray

from regiontree.collection.files import CollectionFiles
from regiontree.collection.search import Vectors, search_exactly

CENTRES = 3000
BLOCK = 65_536
BEST = 20
Rows = NDArray[np.float32]


def made_up(n: int, dim: int, seed: int) -> Iterator[Rows]:
    """Unit rows around centres, some at a time."""
    centres = np.random.default_rng(0).normal(size=(CENTRES, dim)).astype(np.float32)
    for start in range(0, n, BLOCK):
        rng = np.random.default_rng([seed, start])
        count = min(BLOCK, n - start)
        rows = centres[rng.integers(0, CENTRES, count)]
        rows += rng.normal(0, 0.5, rows.shape).astype(np.float32)
        yield rows / np.linalg.norm(rows, axis=1, keepdims=True)


def examples(n: int, dim: int) -> Rows:
    return next(made_up(n, dim, seed=2))


def write(folder: str, rows: int, dim: int) -> dict[str, Any]:
    files = CollectionFiles(folder)
    Vectors.of(files, "rows", (rows, dim), lambda: made_up(rows, dim, seed=1))
    return {}


def opened(folder: str, rows: int, dim: int) -> Vectors:
    vectors = Vectors.of(CollectionFiles(folder), "rows", (rows, dim), lambda: iter(()))
    assert isinstance(vectors.rows, np.memmap)
    return vectors


def build(folder: str, rows: int, dim: int) -> dict[str, Any]:
    vectors = opened(folder, rows, dim)
    start = time.process_time()
    vectors.search(examples(1, dim), [BEST], exact=False)
    return {"seconds": time.process_time() - start}


def ask(folder: str, rows: int, dim: int, queries: int, exact: bool) -> dict[str, Any]:
    vectors = opened(folder, rows, dim)
    asked = examples(queries + 1, dim)
    with Anonymous() as memory:
        vectors.search(asked[:1], [BEST], exact=exact)
        seconds = []
        for example in asked[1:]:
            start = time.process_time()
            vectors.search(example[None], [BEST], exact=exact)
            seconds.append(time.process_time() - start)
    found = vectors.search(asked, [BEST] * len(asked), exact=exact)
    best = found if exact else search_exactly(vectors.rows, asked, [BEST] * len(asked))
    same = [
        np.isin(places, right).mean() for (places, _), (right, _) in zip(found, best, strict=True)
    ]
    return {
        "seconds": statistics.median(seconds),
        "memory": memory.extra,
        "recall": float(np.mean(same)),
    }


class Anonymous:
    """The most memory that is not mapped from files, looked at every 2 ms (Linux)."""

    def __enter__(self) -> Anonymous:
        self._base, self._most, self._ends = self._now(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self.extra = max(0, self._most - self._base)

    def _watch(self) -> None:
        while not self._ends.wait(0.002):
            self._most = max(self._most, self._now())

    @staticmethod
    def _now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


TASKS = {"write": write, "build": build, "ask": ask}


def main() -> None:
    torch.set_num_threads(1)
    if is_child(TASKS):
        return
    options = arguments(__doc__)
    options.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    options.add_argument("--dim", type=int, default=256)
    options.add_argument("--queries", type=int, default=50)
    given = options.parse_args()
    print_heading("search.py")
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    rows: list[list[object]] = []
    for n in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            about = {"folder": folder, "rows": n, "dim": given.dim}
            run_child(__file__, "write", one_thread, **about)
            built = run_child(__file__, "build", one_thread, **about)
            for way, exact in (("exact", True), ("approximate", False)):
                one = run_child(
                    __file__, "ask", one_thread, **about, queries=given.queries, exact=exact
                )
                read = ["vectors.npy"] if exact else ["vectors.npy", "vectors.index"]
                size = sum(Path(folder, name).stat().st_size for name in read)
                rows.append([
                    n, given.dim, way, 1000 * one["seconds"], one["memory"] / MB,
                    100 * one["recall"], None if exact else built["seconds"], size / MB,
                ])  # fmt: skip
                print(rows[-1], flush=True)
    print_results("search", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
