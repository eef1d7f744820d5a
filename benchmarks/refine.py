"""What does moving leaves from patch grid to the edges of the photograph gain, and at what cost?

Reads the trees that ``results.py --preset default`` left in ``--output``, at most ``--images`` of
each data set in the order of the hash of their ids. Only the leaf of pixels differs between the
ways; the tree is the same.

- patch grid: each pixel takes the leaf of the patch that it lies in.
- bilinear: of the leaves of the four patches around it, the one that bilinear weights favour.
- coarse edges, fine edges: the watershed of :mod:`regiontree.refine.guided` on one of its two edge
  images only. guided: on both, as it is used; once more without the removal of specks, and with
  deeper bowls around the middles of patches.
- within reach: knows the truth. Each pixel takes its own patch's leaf if the class that most of
  this leaf's pixels are of is the pixel's, else the first leaf in the 3 x 3 patches around it of
  which that is so. What is above this would need another tree.

Scores are of the full size of the photograph, means over images, then over data sets:

- NM, NH: NMCovering and NHCovering of the class tree with 24 nodes; NM all: with all nodes.
- F2, F5: boundary F at a distance of 2 and 5 pixels, of the cut into as many regions as the ground
  truth has classes (2 at least); best F2, best F5: of the best of the cuts into 3, 6, 10, 16, 30
  and 60 regions, image by image. A border is the pixels that differ from the next one right or
  below; precision is the share of the cut's that lie near one of the truth's, recall the reverse.
  Ignored pixels take the nearest class, as most of them are margins around objects, and borders
  more than 6 pixels inside them are left out on both sides.
- covering: BSDS500, each image at its own best scale; its boundary F is against the finest
  annotator.

Times are of an 840 x 840 photograph with --threads threads, the ways in turn; memory is the most a
fresh process held above what it held before.

    python benchmarks/refine.py --output results/default
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    REPOSITORY,
    PeakMemory,
    arguments,
    interleave,
    is_child,
    ms,
    photographs,
    print_closing,
    print_heading,
    print_table,
    run_child,
)
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from study import chosen_samples

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.images import load_image, nearest
from regiontree.metrics import CoveringMetric, budget_nodes, contingency, region_counts
from regiontree.metrics.score import score_regions
from regiontree.refine.guided import Guided, refine_leaves

SUBSETS = REPOSITORY / "benchmarks" / "subsets"
BUDGET = 24
CUTS = (3, 6, 10, 16, 30, 60)
DISTANCES = (2, 5)
VOID = 6
MEASURES = ("NM", "NH", "NM all", "covering", "F2", "F5", "best F2", "best F5")

Labels = NDArray[np.int32]
Way = Callable[[Labels, RegionTree, NDArray[np.uint8], tuple[int, int]], Labels]


# -- the ways -------------------------------------------------------------------------------------


def patch_grid(leaf: Labels, tree: RegionTree, rgb: Any, size: tuple[int, int]) -> Labels:
    return nearest(leaf, size)


def bilinear(leaf: Labels, tree: RegionTree, rgb: Any, size: tuple[int, int]) -> Labels:
    weights: list[NDArray[np.float64]] = []
    around: list[Labels] = []
    (top, down), (left, right) = (
        np.divmod((np.arange(new) + 0.5) * old / new - 0.5, 1)
        for new, old in zip(size, leaf.shape, strict=True)
    )
    for row, column in np.ndindex(2, 2):
        y = np.clip(top + row, 0, leaf.shape[0] - 1).astype(np.intp)
        x = np.clip(left + column, 0, leaf.shape[1] - 1).astype(np.intp)
        around.append(leaf[y[:, None], x])
        weights.append(np.outer(down if row else 1 - down, right if column else 1 - right))
    votes = [
        np.sum([w * (other == own) for w, other in zip(weights, around, strict=True)], axis=0)
        for own in around
    ]
    return np.choose(np.argmax(votes, axis=0), around)


def guided(
    leaf: Labels, tree: RegionTree, rgb: NDArray[np.uint8], size: tuple[int, int], **changes: float
) -> Labels:
    return refine_leaves(leaf, tree.parents, rgb, size, settings=Guided(**changes))


WAYS: dict[str, Way] = {
    "patch grid": patch_grid,
    "bilinear": bilinear,
    "coarse edges": partial(guided, detail=0),
    "fine edges": partial(guided, coarse=Guided().fine, detail=0),
    "guided, deeper bowls": partial(guided, bowl=1),
    "guided, specks kept": partial(guided, specks=0),
    "guided": guided,
}


def within_reach(leaf: Labels, classes: Labels) -> Labels:
    """The bound: `classes` (H, W) are true, -1 where ignored."""
    labels = nearest(leaf, classes.shape)
    of_leaf = contingency(labels, classes, int(leaf.max()) + 1)
    known = of_leaf.ids >= 0
    main = of_leaf.ids[known][of_leaf.counts[:, known].argmax(axis=1)]
    around = np.pad(leaf, 1, mode="edge")
    wrong = main[labels] != classes
    for row, column in np.ndindex(3, 3):
        near = nearest(around[row:, column:][: leaf.shape[0], : leaf.shape[1]], classes.shape)
        better = wrong & (main[near] == classes)
        labels[better] = near[better]
        wrong &= ~better
    return labels


# -- the scores -----------------------------------------------------------------------------------


class Truth:
    """Ground truth of an image: what its borders are, and how far each pixel is from them."""

    def __init__(self, mask: Labels, dataset: Dataset) -> None:
        self.classes = mask
        if dataset.labels is not None:
            finest = dataset.labels.classes(dataset.labels.max_depth)
            ids, at = np.unique(mask, return_inverse=True)
            self.classes = finest.of(ids)[at].reshape(mask.shape)
        void = self.classes < 0
        filled, self.counted = self.classes, np.ones(mask.shape, bool)
        if void.any():
            inside, found = distance_transform_edt(void, return_indices=True)
            filled, self.counted = self.classes[tuple(found)], inside <= VOID
        self.regions = max(2, len(np.unique(filled)))
        self.border = _border(filled) & self.counted
        self.distance = distance_transform_edt(~self.border)

    def f(self, regions: Labels) -> list[float]:
        """Boundary F of a partition at each of :data:`DISTANCES`."""
        border = _border(regions) & self.counted
        if not border.any() or not self.border.any():
            return [float(border.any() == self.border.any())] * len(DISTANCES)
        distance = distance_transform_edt(~border)
        scores = []
        for most in DISTANCES:
            precision = float((self.distance[border] <= most).mean())
            recall = float((distance[self.border] <= most).mean())
            scores.append(2 * precision * recall / max(precision + recall, 1e-12))
        return scores


def _border(labels: NDArray[Any]) -> NDArray[np.bool_]:
    border = np.zeros(labels.shape, bool)
    border[:, :-1] = labels[:, 1:] != labels[:, :-1]
    border[:-1] |= labels[1:] != labels[:-1]
    return border


def scores_of(
    labels: Labels, tree: RegionTree, dataset: Dataset, masks: list[Labels], truth: Truth
) -> list[float]:
    """One figure for each of :data:`MEASURES`, NaN where it is none of the data set's."""
    nm = nh = nm_all = covering = np.nan
    tables = [contingency(labels, mask, tree.n_leaves) for mask in masks]
    if dataset.labels is None:
        metric = CoveringMetric()
        metric.update("image", tree.parents, tree.height, tables)
        covering = metric.compute().ois
    else:
        classes = dataset.labels.classes()
        counts = region_counts(tree.parents, tables[0], classes)
        few = budget_nodes(tree.parents, tree.height, BUDGET)
        some = score_regions(tree.parents, *counts, classes, nodes=few)
        every = score_regions(tree.parents, *counts, classes)
        if some is not None and every is not None:
            nm, nh, nm_all = some.nm, some.nh, every.nm
    refined = RegionTree(labels=labels, parents=tree.parents, height=tree.height)
    asked = truth.f(refined.cut(n_regions=truth.regions))
    best = np.max([truth.f(refined.cut(n_regions=k)) for k in CUTS], axis=0)
    return [nm, nh, nm_all, covering, *asked, *best.tolist()]


def scored(dataset: Dataset, files: dict[str, Path], limit: int) -> dict[str, NDArray[np.float64]]:
    """Mean of each measure over the images of a data set, for each way."""
    parser = RegionParser(backbone="precomputed:-")
    rows: dict[str, list[list[float]]] = {}
    for sample in chosen_samples(dataset, limit):
        if sample.id not in files:
            continue
        tree = RegionTree.load(files[sample.id])
        height, width = tree.meta["image"]["grid"]
        leaf = nearest(tree.labels, (height, width))
        rgb, masks = parser.pixels(sample.image), dataset.truths(sample)
        truth = Truth(masks[-1], dataset)
        made = {name: way(leaf, tree, rgb, masks[0].shape) for name, way in WAYS.items()}
        if dataset.labels is not None:
            made["within reach"] = within_reach(leaf, truth.classes)
        for name, labels in made.items():
            found = scores_of(labels, tree, dataset, masks, truth)
            rows.setdefault(name, []).append(found)
    return {name: _mean(found) for name, found in rows.items()}


def _mean(rows: list[Any]) -> NDArray[np.float64]:
    """Mean of each column without its NaNs; NaN if it has nothing else."""
    table = np.array(rows)
    there = ~np.isnan(table)
    total: NDArray[np.float64] = np.where(there, table, 0).sum(axis=0)
    return np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan)


# -- the cost -------------------------------------------------------------------------------------


def photograph() -> tuple[Labels, RegionTree, NDArray[np.uint8], tuple[int, int]]:
    """A photograph at 840 x 840 with a tree of 400 leaves, each 3 x 3 patches."""
    rgb = np.asarray(load_image(photographs(1)[0].source).rgb)
    rgb = np.stack([nearest(channel.astype(np.int32), (840, 840)) for channel in np.moveaxis(
        rgb, 2, 0)], axis=2).astype(np.uint8)  # fmt: skip
    leaf = np.arange(400, dtype=np.int32).reshape(20, 20).repeat(3, axis=0).repeat(3, axis=1)
    parents = np.full(401, 400, np.int32)
    tree = RegionTree(
        labels=leaf, parents=parents, height=np.append(np.zeros(400), 1).astype(np.float32)
    )
    return leaf, tree, rgb, (840, 840)


def memory(name: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    given = photograph()
    with PeakMemory() as used:
        WAYS[name](*given)
    return {"extra": used.extra}


def percent(values: NDArray[np.float64]) -> list[str]:
    return ["" if np.isnan(value) else f"{100 * value:.1f}" for value in values]


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--output", type=Path, default=Path("results/default"))
    options.add_argument("--images", type=int, default=5, help="of each data set")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    print_heading("refine.py")
    root = Path(os.environ.get("REGIONTREE_DATA", REPOSITORY.parent / "shared" / "data"))
    found = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        dataset = open_dataset(spec, None, root)
        files = {path.stem: path for path in (given.output / spec.stem).rglob("trees/*.npz")}
        if scores := scored(dataset, files, given.images):
            found[spec.stem] = scores
    if not found:
        sys.exit(f"no trees in {given.output}: run results.py --preset default first")

    print("### Means over data sets\n")
    ways = list(WAYS) if list(found) == ["bsds500"] else [*WAYS, "within reach"]
    rows = [
        [way, *percent(_mean([scores[way] for scores in found.values() if way in scores]))]
        for way in ways
    ]
    print_table(["way", *MEASURES], rows)
    print("### Data sets: patch grid / guided / within reach\n")
    shown = [name for name in ("patch grid", "guided", "within reach") if name in ways]
    rows = []
    for name, scores in found.items():
        columns = zip(*(percent(scores[way]) for way in shown if way in scores), strict=True)
        rows.append([name, *(" / ".join(filter(None, column)) for column in columns)])
    print_table(["data set", *MEASURES], rows)

    print("### Cost of an 840 x 840 photograph\n")
    image = photograph()
    times = interleave({name: partial(way, *image) for name, way in WAYS.items()}, 5)
    rows = []
    for name, taken in times.items():
        extra = run_child(__file__, "memory", name=name, threads=given.threads)["extra"]
        rows.append([name, ms(taken), f"{extra / MB:.0f}"])
    print_table(["way", "ms", "MB"], rows)
    print_closing()


if __name__ == "__main__":
    if not is_child({"memory": memory}):
        main()
