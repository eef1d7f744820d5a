"""Does the stability of a node say whether it comes back if the photograph changes?

Question
    How well does `tree.stability`, which needs no second pass of the network, predict how well the
    nodes of a tree come back in the trees of changed photographs? How well do persistence and area?
    Do more draws say more?
Method
    The first photographs of coco_panoptic, with the changes of `steady_trees.py` but the seed: the
    network in bfloat16, recompressed, cropped, scaled, mirrored, darker. A node comes back as well
    as its best IoU with any node of the changed photograph's tree, in pixels, at full size and with
    borders, on the pixels that both have. The mean over the six changes is what is predicted.
    Persistence is ``height[parent]^2 - height[node]^2``. Nodes of all photographs are taken
    together, without the roots. Each number of draws gives the same tree another stability.
Printed
    For each number of draws, and for inner nodes of more than 1 % of the image, other inner nodes,
    and leaves: the mean IoU; the share of nodes with a mean IoU of .75 and more; Spearman's
    correlation of each predictor with the mean IoU; the area under its ROC curve for the nodes with
    .75 and more. The median time of the processor for a tree from features without stability, and
    what stability adds to it. Persistence, area and that tree do not depend on the draws.

    python benchmarks/stability.py
    python benchmarks/stability.py --trees ward --photos 8 --draws 12
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from _common import arguments, first_photographs, print_closing, print_heading, print_results
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from steady import CROP, aligned
from steady_trees import ALL, PLAIN, SEED, TREES, Eye, Seen

from regiontree import RegionParser, RegionTree
from regiontree.images import load_image
from regiontree.metrics import persistence
from regiontree.tree.kernel import accumulate_sum, is_inner

CHANGED = tuple(change for change in ALL if change != SEED)
BACK = 0.75  # a node with this mean IoU came back
LARGE = 0.01  # of the image

Floats = NDArray[np.float64]


def best_ious(plain: RegionTree, other: RegionTree, change: str) -> Floats:
    """The best IoU of each node of a tree with any node of a changed photograph's tree."""
    one, two = aligned(plain.labels, other.labels, change)
    shared = np.zeros((plain.n_nodes, other.n_nodes), np.int64)
    pairs = one.astype(np.int64) * other.n_leaves + two
    counts = np.bincount(pairs.ravel(), minlength=plain.n_leaves * other.n_leaves)
    shared[: plain.n_leaves, : other.n_leaves] = counts.reshape(plain.n_leaves, -1)
    shared = accumulate_sum(plain.parents, shared)
    shared = accumulate_sum(other.parents, np.ascontiguousarray(shared.T)).T
    union = shared[:, -1:] + shared[-1:] - shared
    best: Floats = (shared / np.maximum(union, 1)).max(axis=1)
    return best


def area_under_curve(values: Floats, is_back: NDArray[np.bool_]) -> float | None:
    """Chance that a node that came back has a higher value than one that did not."""
    ones, zeros = int(is_back.sum()), int((~is_back).sum())
    if not ones or not zeros:
        return None
    above = float(rankdata(values)[is_back].sum()) - ones * (ones + 1) / 2
    return above / (ones * zeros)


class Way:
    """A way to build trees, and the nodes that were found with it."""

    def __init__(self, name: str, draws: Sequence[int]) -> None:
        self.name = name
        self.parsers = {
            count: RegionParser(device="cpu", stability=count, **TREES[name]) for count in draws
        }
        self.bare = RegionParser(device="cpu", stability=0, **TREES[name])
        self.seconds: list[float] = []
        self.added: dict[int, list[float]] = {count: [] for count in draws}
        self.nodes: list[dict[str, Floats]] = []

    def tree(self, parser: RegionParser, what: Seen) -> tuple[RegionTree, float]:
        start = time.process_time()
        tree = parser.build(what[0], rgb=what[1])
        return tree, time.process_time() - start

    def see(self, photographs: Mapping[str, Seen]) -> None:
        plain, without = self.tree(self.bare, photographs[PLAIN])
        self.seconds.append(without)
        back = [
            best_ious(plain, self.tree(self.bare, photographs[change])[0], change)
            for change in CHANGED
        ]
        found = {
            "back": np.mean(back, axis=0),
            "persistence": persistence(plain),
            "area": plain.area / plain.area[-1],
            "is_inner": is_inner(plain.parents).astype(float),
        }
        for draws, parser in self.parsers.items():
            tree, seconds = self.tree(parser, photographs[PLAIN])
            assert tree.stability is not None
            assert np.array_equal(tree.labels, plain.labels)
            self.added[draws].append(seconds - without)
            found[f"stability {draws}"] = tree.stability.astype(float)
        self.nodes.append({name: values[:-1] for name, values in found.items()})

    def rows(self) -> list[list[object]]:
        """A row of the table `stability` for each number of draws and kind of nodes."""
        nodes = {name: np.concatenate([one[name] for one in self.nodes]) for name in self.nodes[0]}
        inner, large = nodes["is_inner"] > 0, nodes["area"] > LARGE
        kinds = {
            "inner, above 1 %": inner & large,
            "inner, up to 1 %": inner & ~large,
            "leaves": ~inner,
        }
        return [
            [
                self.name, len(self.nodes), draws, kind,
                *_figures({name: values[some] for name, values in nodes.items()}, draws),
                1000 * statistics.median(self.seconds), 1000 * statistics.median(self.added[draws]),
            ]
            for draws in self.parsers
            for kind, some in kinds.items()
        ]  # fmt: skip


def _figures(nodes: Mapping[str, Floats], draws: int) -> list[object]:
    """The figures of some nodes: their number, how well they come back, and the predictors."""
    back = nodes["back"]
    values = [nodes[name] for name in (f"stability {draws}", "persistence", "area")]
    return [
        len(back), float(back.mean()), 100 * float((back >= BACK).mean()),
        *(float(spearmanr(one, back).statistic) for one in values),
        *(area_under_curve(one, back >= BACK) for one in values),
    ]  # fmt: skip


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=24, help="photographs  [24]")
    options.add_argument("--trees", nargs="+", choices=list(TREES), default=["ward", "consensus"])
    options.add_argument("--draws", type=int, nargs="+", default=[4, 8, 12, 24, 48],
                         help="numbers of draws  [4 8 12 24 48]")  # fmt: skip
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    ways = [Way(name, given.draws) for name in given.trees]
    eye = Eye("default")
    for path in first_photographs(given.photos):
        rgb = load_image(path).rgb
        assert min(rgb.shape[:2]) > 2 * CROP
        photographs = eye.all_seen(rgb)
        for way in ways:
            way.see(photographs)
    print_results("stability", [row for way in ways for row in way.rows()], given.csv)
    print_closing()


if __name__ == "__main__":
    main()
