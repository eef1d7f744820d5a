"""How long does discover read trees, with and without worker processes?

Question
    What do workers gain where trees are gathered and assigned?
Method
    A few photographs of coco_panoptic are parsed once. Their trees are copied to --trees files, and
    `regiontree.collection.discover` makes collections of them, with each number of workers in turn.
    The time of learning is left out, as one process learns in any case.
Printed
    Seconds of the two other stages, and their ratio to those without workers.

    python benchmarks/discover_workers.py
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from pathlib import Path

import torch
from _common import (
    arguments,
    first_photographs,
    print_closing,
    print_heading,
    print_results,
    ratio,
)

from regiontree import RegionParser
from regiontree.collection import discover, discovery
from regiontree.engines.pieces import WorkPlan


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--trees", type=int, default=1000)
    options.add_argument("--photos", type=int, default=4, help="photographs that are parsed  [4]")
    options.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    options.add_argument("--repeats", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    times: dict[int, list[float]] = {number: [] for number in given.workers}
    learned: list[float] = []
    plain = discovery.learn

    def timed(*arguments: object) -> None:
        start = time.perf_counter()
        plain(*arguments)  # type: ignore[arg-type]
        learned.append(time.perf_counter() - start)

    discovery.learn = timed  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as scratch:
        trees = Path(scratch, "trees")
        trees.mkdir()
        parser = RegionParser(device="cpu")
        made = [parser.parse(path).save(Path(scratch, f"{path.stem}.npz"))
                for path in first_photographs(given.photos)]  # fmt: skip
        for number in range(given.trees):
            shutil.copyfile(made[number % len(made)], trees / f"{number:06d}.npz")
        for _ in range(given.repeats):
            for number in given.workers:
                out = Path(scratch, "out")
                start = time.perf_counter()
                discover(trees, out, plan=WorkPlan(workers=number))
                times[number].append(time.perf_counter() - start - learned.pop())
                shutil.rmtree(out)
    first = given.workers[0]
    rows = [
        [given.trees, number, statistics.median(times[number]), ratio(times[number], times[first])]
        for number in given.workers
    ]
    print_results("discover-workers", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
