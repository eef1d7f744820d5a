"""How well do the recipes for parts and for cells work on photographs with ground truth?

Question
    How many pixels of parts of cars are right after N categories were named? And is a white blood
    cell a region of its photograph's tree, or a union of few regions?
Method
    *Parts*: the photographs of `car_parts` with their parts as classes. Trees and a collection are
    made with all defaults. A person who names a category is stood for by the ground truth: the name
    of a category is the part that most of its pixels have. A coarse cut with N categories is named.
    *Cells*: the photographs of `wbc_cellavision`. Each connected piece of a class's union, of at
    least 400 pixels, is a cell: nucleus and cytoplasm together. Touching white cells are one. A
    cell is found if some mask overlaps it by an intersection over union (IoU) of at least one half.
    Masks are all nodes of the tree, the 24 most salient ones, or the 24 most salient of the tree of
    connected pieces. The 24 are found by a person's eye: the best of them counts.
Printed
    For each recipe and way: how many photographs and things there are, and the measure.

    python benchmarks/recipes.py --output results/recipes
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import (
    SUBSETS,
    arguments,
    data_folder,
    print_closing,
    print_heading,
    print_results,
)
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.ndimage import label

from regiontree import Collection, RegionParser, RegionTree
from regiontree.collection import discover
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.masks import read_index
from regiontree.metrics import CategoryMetric, prototype_table

NAMES = (20, 50, 100, 200)
LEAST = 400  # pixels of a cell: smaller pieces are cut off by the edge of a mask
SALIENT = 24
Row = list[object]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/recipes"))
    chosen = parser.parse_args()
    print_heading(__doc__)
    rows = [*parts(chosen.output), *cells(chosen.output)]
    print_results("recipes", rows, chosen.csv)
    print_closing()


def parts(output: Path) -> Iterator[Row]:
    """Pixels that have the right part, and the mean IoU of the parts, after N names."""
    dataset = open_dataset(SUBSETS / "car_parts.yaml", None, data_folder())
    trees = output / "cars" / "trees"
    prepare({one.id: one.image for one in dataset.samples}, trees)
    discover(trees, output / "cars" / "collection")
    collection = Collection.load(output / "cars" / "collection")
    assert dataset.labels is not None
    classes = dataset.labels.classes(dataset.labels.max_depth)
    metric = CategoryMetric(classes, collection.n_prototypes, collection.division, names=NAMES)
    for one in dataset.samples:
        table = prototype_table(
            collection.prototype_map(one.id), dataset.truth(one), collection.n_prototypes
        )
        metric.update(table)
    found = metric.compute()
    for count in NAMES:
        shares = {"right pixels": found.names[count], "mean IoU": found.names_miou[count]}
        for measure, value in shares.items():
            yield ["parts", f"{count} names", found.images, found.classes, measure, 100 * value]


def cells(output: Path) -> Iterator[Row]:
    """The share of cells that some mask finds, and the mean IoU of the best mask."""
    root = data_folder().parent / "collections" / "wbc_cellavision"
    images = {path.stem: path for path in sorted((root / "images").iterdir())}
    trees = output / "cells" / "trees"
    prepare(images, trees)
    best: dict[str, list[float]] = {"all nodes": [], "24 salient": [], "24 salient pieces": []}
    for name in images:
        (mask,) = (root / "annotations").glob(f"{name}.*")
        pieces, count = label(read_index(mask) > 0, np.ones((3, 3)))
        things = [pieces == i for i in range(1, count + 1) if (pieces == i).sum() >= LEAST]
        tree = RegionTree.load(trees / f"{name}.npz")
        apart = tree.pieces()
        for thing in things:
            best["all nodes"].append(best_iou(tree, list(range(tree.n_nodes)), thing))
            best["24 salient"].append(best_iou(tree, list(tree.salient(SALIENT)), thing))
            best["24 salient pieces"].append(best_iou(apart, list(apart.salient(SALIENT)), thing))
    for way, values in best.items():
        found = np.array(values)
        shares = {"found": (found >= 0.5).mean(), "mean IoU": found.mean()}
        for measure, value in shares.items():
            yield ["cells", way, len(images), len(found), measure, 100 * float(value)]


def best_iou(tree: RegionTree, nodes: list[int], thing: NDArray[np.bool_]) -> float:
    """The largest IoU of one of the nodes with a mask (H, W)."""
    inside = np.bincount(tree.labels[thing], minlength=tree.n_leaves).astype(float)
    hits = np.zeros(tree.n_nodes)
    hits[: tree.n_leaves] = inside
    for node in range(tree.root):  # children come before their parents
        hits[tree.parents[node]] += hits[node]
    iou = hits / (tree.area + thing.sum() - hits)
    return float(iou[nodes].max())


def prepare(images: dict[str, Path], trees: Path) -> None:
    """Trees of all photographs; those that are there are not made again."""
    missing = [name for name in images if not (trees / f"{name}.npz").is_file()]
    if not missing:
        return
    parser = RegionParser()
    for name in track(missing, "trees", console=Console(file=sys.stderr)):
        parser.parse(images[name]).save(trees / f"{name}.npz")


if __name__ == "__main__":
    main()
