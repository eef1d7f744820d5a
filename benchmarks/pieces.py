"""How many nodes lie in several places, and what does dividing them cost?

Parses the first photographs of coco_panoptic with the default preset. The first table has a row for
each photograph. A node lies in several places if it has at least two connected pieces of half a
patch or more. Times are the median of five turns:

- ``node_pieces``: :meth:`RegionTree.node_pieces`, the pieces of all nodes;
- ``pieces``: :meth:`RegionTree.pieces`, the tree of pieces;
- ``one_by_one``: the pieces of all nodes by one labelling of SciPy for each node, once.

The second table scores the tree and the tree of pieces: NMCovering and NHCovering (T) of the class
tree, at full size, within a number of nodes.

    python benchmarks/pieces.py
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator

import numpy as np
from _common import (
    SUBSETS,
    arguments,
    data_folder,
    interleave,
    print_closing,
    print_heading,
    print_results,
    seconds,
)
from numpy.typing import NDArray
from scipy.ndimage import label

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.experiments.scoring import fit
from regiontree.metrics import budget_nodes, contingency, score_tree
from regiontree.tree.kernel import accumulate_sum
from regiontree.tree.pieces import NodePieces

BUDGETS = (10, 24, 50, 100, None)


def pieces_of_each(tree: RegionTree, pieces: NodePieces, min_area: int) -> NDArray[np.int64]:
    """Number of pieces of each node that are no specks, (N,)."""
    large = np.flatnonzero(pieces.area[:-1] >= min_area)
    born = np.bincount(pieces.node[large], minlength=tree.n_nodes)
    joined = np.bincount(pieces.node[pieces.parents[large]], minlength=tree.n_nodes)
    counts = accumulate_sum(tree.parents, born - joined)
    counts[pieces.node[-1] :] += 1  # the whole image
    return counts


def one_by_one(tree: RegionTree) -> None:
    for mask in tree.masks():
        label(mask)


def trees_of(tree: RegionTree) -> Iterator[tuple[str, RegionTree]]:
    yield "tree", tree
    yield "tree of pieces", tree.pieces()


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=20)
    given = options.parse_args()
    data = open_dataset(SUBSETS / "coco_panoptic.yaml", None, data_folder())
    assert data.labels is not None
    classes = data.labels.classes()
    parser = RegionParser()
    rows, scores = [], {}
    print_heading("pieces.py")
    for sample in data.samples[: given.images]:
        tree = parser.parse(sample.image)
        pieces, divided = tree.node_pieces(), tree.pieces()
        min_area = divided.meta["pieces"]["min_area"]
        several = pieces_of_each(tree, pieces, min_area) > 1
        times = interleave({"node_pieces": tree.node_pieces, "pieces": tree.pieces}, 5)
        rows.append([
            sample.id, tree.n_nodes, int(several.sum()), int(several[: tree.n_leaves].sum()),
            int((~pieces.is_node & (pieces.area >= min_area)).sum()), divided.n_nodes,
            len(tree.cut_nodes()), len(divided.cut_nodes()),
            *(1000 * statistics.median(times[way]) for way in times),
            1000 * seconds(lambda tree=tree: one_by_one(tree)),
        ])  # fmt: skip
        truth = data.truth(sample)
        for name, one in trees_of(tree):
            labels, fitted = fit(one, truth, "pixel")
            table = contingency(labels, fitted, one.n_leaves)
            found = []
            for budget in BUDGETS:
                nodes = budget and budget_nodes(one.parents, one.height, budget)
                score = score_tree(one.parents, table, classes, nodes=nodes)
                found += [np.nan] * 2 if score is None else [score.nm, score.nh]
            scores.setdefault(name, []).append(found)
    columns = list(zip(*rows, strict=True))[1:]
    rows.append(["mean", *(float(np.mean(column)) for column in columns)])
    print_results("pieces", rows, given.csv)
    print_results(
        "pieces-scores",
        [[name, len(found), *(100 * np.nanmean(found, axis=0))] for name, found in scores.items()],
        given.csv,
        "scores",
    )
    print_closing()


if __name__ == "__main__":
    main()
