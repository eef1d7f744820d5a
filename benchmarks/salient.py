"""Which k nodes of a tree cover the ground truth best: a cut's, a condensed tree's, or the salient?

Reads the trees that ``results.py --preset PRESET`` left in ``--output``, at most 12 images of each
data set, and scores only k nodes of each at full size: those of the cut, highest divisions first;
those of :meth:`RegionTree.condense`; those of :meth:`RegionTree.salient`; and a ranking by nothing
but persistence, ``height[parent]^2 - height[node]^2``.

    python benchmarks/salient.py --preset default
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
    print_results,
)

from regiontree import RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.experiments.scoring import fit
from regiontree.metrics import budget_nodes, contingency, persistence, score_tree
from regiontree.settings import PRESETS

BUDGETS = (10, 24, 50)


def choices(tree: RegionTree, k: int) -> dict[str, tuple[RegionTree, np.ndarray | None]]:
    """The tree of each way, and which of its nodes count: None for all."""
    wanted = persistence(tree)[:-1]
    return {
        "cut": (tree, budget_nodes(tree.parents, tree.height, k)),
        "condensed": (tree.condense(k), None),
        "salient": (tree, np.sort(tree.salient(k))),
        "by persistence alone": (tree, np.sort(np.argsort(-wanted, kind="stable")[:k])),
    }


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--preset", choices=list(PRESETS), default="default")
    options.add_argument("--output", type=Path, default=None, help="results/PRESET if left out")
    options.add_argument("--images", type=int, default=12, help="of each data set")
    given = options.parse_args()
    output = given.output or Path("results", given.preset)
    root = data_folder()
    scores: dict[str, list[np.ndarray]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        data = open_dataset(spec, None, root)
        files = {path.stem: path for path in (output / spec.stem).rglob("trees/*.npz")}
        if data.labels is None or not files:
            continue
        classes = data.labels.classes()
        for sample in data.samples[: given.images]:
            if sample.id not in files:
                continue
            tree, mask = RegionTree.load(files[sample.id]), data.truth(sample)
            found = []
            for small, nodes in (way for k in BUDGETS for way in choices(tree, k).values()):
                labels, truth = fit(small, mask, "pixel")
                table = contingency(labels, truth, small.n_leaves)
                found.append(score_tree(small.parents, table, classes, nodes=nodes))
            if all(score is not None for score in found):
                pairs = [(score.nm, score.nh) for score in found if score is not None]
                scores.setdefault(spec.stem, []).append(np.array(pairs))
    if not scores:
        sys.exit(f"no trees in {output}: run results.py --preset {given.preset} first")
    mean = 100 * np.mean([np.mean(images, axis=0) for images in scores.values()], axis=0)
    mean = mean.reshape(len(BUDGETS), -1, 2)
    print_heading("salient.py")
    images = sum(map(len, scores.values()))
    print(f"{images} images of {len(scores)} data sets; NM and NH (T)\n")
    names = ("cut", "condensed", "salient", "by persistence alone")
    print_results(
        "salient",
        [
            [given.preset, name, budget, images, *mean[b, w]]
            for w, name in enumerate(names)
            for b, budget in enumerate(BUDGETS)
        ],
        given.csv,
    )


if __name__ == "__main__":
    main()
