"""What does it cost to score a tree, and what do full-size masks cost beside it?

Question
    Counting each pixel once and adding up the table: how much time and memory does an image's score
    take, and how much is that of the plain way, a mask for every node and region?
Method
    A synthetic tree of 200 nodes below the root, and a ground truth of 150 classes in 15 groups
    with 5 % of the pixels scattered, at three sizes up to 1024 x 2048. Ours: the contingency
    table and TreeMetric.update, that is the hierarchical score of all nodes and of six budgets; the
    median of several. Masks: tests/brute_force.py, all nodes only, once. Each in a fresh process.
    Covering: five tables and CoveringMetric.update, 400 leaves, five annotators of 60 regions.
Printed
    Milliseconds, peak memory above what was held before, time ratio, whether the scores agree.
Target
    Under 1 s and 300 MB at 1024 x 2048; covering of an image under 0.3 s; equal scores.
"""

from __future__ import annotations

import statistics
import sys
from typing import Any

import numpy as np
from _common import (
    MB,
    REPOSITORY,
    PeakMemory,
    arguments,
    is_child,
    print_closing,
    print_heading,
    print_results,
    print_target,
    run_child,
    seconds,
)
from numpy.typing import NDArray

from regiontree import RegionTree
from regiontree.metrics import ClassTree, CoveringMetric, TreeMetric, contingency

HEIGHTS = 256, 512, 1024  # pixels; twice as wide
N_CLASSES, N_GROUPS = 150, 15


def main() -> None:
    if is_child({"ours": ours, "masks": masks, "covering": covering}):
        return
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="our turns, the median (default 5)")
    parser.add_argument("--skip-masks", action="store_true", help="ours only: seconds")
    options = parser.parse_args()
    print_heading(__file__)

    rows, agree = [], True
    for height in HEIGHTS:
        own = run_child(__file__, "ours", height=height, repeats=options.repeats)
        row: list[object] = [f"{height} x {2 * height}", own["ms"], own["mb"]]
        if not options.skip_masks:
            plain = run_child(__file__, "masks", height=height)
            gap = max(abs(own[score] - plain[score]) for score in ("nm", "nh"))
            agree = agree and gap < 1e-9
            ratio = plain["ms"] / own["ms"]
            row += [plain["ms"], plain["mb"], ratio, gap]
        rows.append(row if len(row) > 3 else [*row, None, None, None, None])
    print_results("metrics", rows, options.csv)
    cover = run_child(__file__, "covering", repeats=options.repeats)
    print("Covering:\n")
    covered = [400, 5, cover["ms"], cover["mb"]]
    print_results("metrics-covering", [covered], options.csv, "covering")
    print_target(
        "under 1 s and 300 MB at 1024 x 2048, 200 nodes and 150 classes",
        met=own["ms"] < 1000 and own["mb"] < 300,
    )
    print_target("covering of an image under 0.3 s", met=cover["ms"] < 300)
    if not options.skip_masks:
        print_target("the scores of masks to 1e-9", met=agree)
    print_closing()


def ours(height: int, repeats: int) -> dict[str, Any]:
    tree, truth, classes = _scene(height)
    metric = TreeMetric(classes)

    def score() -> None:
        metric.reset()
        table = contingency(tree.labels, truth, tree.n_leaves)
        metric.update("image", tree.parents, tree.height, table)

    with PeakMemory() as memory:
        score()
    times = [seconds(score) for _ in range(repeats)]
    scores = metric.compute()
    return {
        "ms": 1e3 * statistics.median(times),
        "mb": memory.extra / MB,
        "nm": scores.nm_covering,
        "nh": scores.nh_covering,
    }


def masks(height: int) -> dict[str, Any]:
    sys.path.insert(0, str(REPOSITORY / "tests"))
    import brute_force

    tree, truth, classes = _scene(height)
    found: dict[str, Any] = {}
    with PeakMemory() as memory:
        time = seconds(lambda: found.update(brute_force.score(tree, truth, classes) or {}))
    return {"ms": 1e3 * time, "mb": memory.extra / MB, "nm": found["nm"], "nh": found["nh"]}


def covering(repeats: int) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    tree = _tree(rng, 400, _mosaic(rng, 400, (321, 481)))
    people = [_mosaic(rng, 60, (321, 481)) for _ in range(5)]
    metric = CoveringMetric()

    def score() -> None:
        metric.reset()
        tables = [contingency(tree.labels, person, tree.n_leaves) for person in people]
        metric.update("image", tree.parents, tree.height, tables)

    with PeakMemory() as memory:
        score()
    times = [seconds(score) for _ in range(repeats)]
    return {"ms": 1e3 * statistics.median(times), "mb": memory.extra / MB}


def _scene(height: int) -> tuple[RegionTree, NDArray[np.uint8], ClassTree]:
    rng = np.random.default_rng(0)
    shape = height, 2 * height
    tree = _tree(rng, 101, _mosaic(rng, 101, shape))  # 101 leaves, 99 inner nodes and the root
    truth = _mosaic(rng, N_CLASSES, shape)
    scattered = rng.random(shape) < 0.05
    truth[scattered] = rng.integers(0, N_CLASSES, int(scattered.sum()))
    names = [f"group {g}" for g in range(N_GROUPS)] + [f"class {c}" for c in range(N_CLASSES)]
    groups = np.arange(N_CLASSES) % N_GROUPS
    parents = np.concatenate([np.full(N_GROUPS, -1), groups])
    class_of_id = {c: N_GROUPS + c for c in range(N_CLASSES)}
    return tree, truth.astype(np.uint8), ClassTree(tuple(names), parents, class_of_id)


def _mosaic(rng: np.random.Generator, count: int, shape: tuple[int, int]) -> NDArray[np.int32]:
    """Rectangles of a grid, numbered at random from 0 to `count` - 1, each number at least once."""
    side = int(np.ceil(np.sqrt(count)))
    numbers = np.concatenate([np.arange(count), rng.integers(0, count, side * side - count)])
    grid = rng.permutation(numbers).reshape(side, side).astype(np.int32)
    rows, columns = (np.arange(length) * side // length for length in shape)
    return grid[rows[:, None], columns]


def _tree(rng: np.random.Generator, n_leaves: int, labels: NDArray[np.int32]) -> RegionTree:
    """A binary tree that joins two random nodes at a time."""
    parents = np.zeros(2 * n_leaves - 1, dtype=np.int32)
    parents[-1] = len(parents) - 1
    orphans = list(range(n_leaves))
    for node in range(n_leaves, len(parents)):
        for _ in range(2):
            parents[orphans.pop(int(rng.integers(len(orphans))))] = node
        orphans.append(node)
    height = np.maximum(0, np.arange(len(parents)) - n_leaves + 1) / n_leaves
    return RegionTree(labels=labels, parents=parents, height=height)


if __name__ == "__main__":
    main()
