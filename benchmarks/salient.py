"""Do the k most salient nodes of a tree cover the ground truth better than the k nodes of a cut?

Reads the trees that ``results.py --preset default`` left in ``--output``, at most 12 images of each
data set, and scores only k nodes of each tree on the patch grid: those of the cut, highest
divisions first; :meth:`RegionTree.salient`; and a ranking by plain differences of heights.

    python benchmarks/salient.py --output results/default
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from _common import (
    SUBSETS,
    arguments,
    data_folder,
    print_heading,
    print_table,
)

from regiontree import RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.experiments.scoring import fit
from regiontree.metrics import budget_nodes, contingency, score_tree

BUDGETS = (10, 24, 50)


def rankings(tree: RegionTree, k: int) -> dict[str, np.ndarray]:
    """The k nodes of each way."""
    difference = (tree.height[tree.parents] - tree.height)[:-1]
    return {
        "cut": budget_nodes(tree.parents, tree.height, k),
        "salient": np.sort(tree.salient(k)),
        "by plain differences": np.sort(np.argsort(-difference, kind="stable")[:k]),
    }


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--output", type=Path, default=Path("results/default"))
    options.add_argument("--images", type=int, default=12, help="of each data set")
    given = options.parse_args()
    root = data_folder()
    scores: dict[str, list[np.ndarray]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        data = open_dataset(spec, None, root)
        files = {path.stem: path for path in (given.output / spec.stem).rglob("trees/*.npz")}
        if data.labels is None or not files:
            continue
        classes = data.labels.classes()
        for sample in data.samples[: given.images]:
            if sample.id not in files:
                continue
            tree = RegionTree.load(files[sample.id])
            labels, truth = fit(tree, data.truth(sample), "grid")
            table = contingency(labels, truth, tree.n_leaves)
            found = [
                score_tree(tree.parents, table, classes, nodes=nodes)
                for k in BUDGETS
                for nodes in rankings(tree, k).values()
            ]
            if all(score is not None for score in found):
                pairs = [(score.nm, score.nh) for score in found if score is not None]
                scores.setdefault(spec.stem, []).append(np.array(pairs))
    if not scores:
        sys.exit(f"no trees in {given.output}: run results.py --preset default first")
    mean = 100 * np.mean([np.mean(images, axis=0) for images in scores.values()], axis=0)
    mean = mean.reshape(len(BUDGETS), -1, 2)
    print_heading("salient.py")
    print(f"{sum(map(len, scores.values()))} images of {len(scores)} data sets; NM / NH (T)\n")
    names = ("cut", "salient", "by plain differences")
    print_table(
        ["k nodes", *map(str, BUDGETS)],
        [
            [name, *(f"{mean[b, w, 0]:.1f} / {mean[b, w, 1]:.1f}" for b in range(len(BUDGETS)))]
            for w, name in enumerate(names)
        ],
    )


if __name__ == "__main__":
    main()
