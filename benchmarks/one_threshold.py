"""Does one threshold serve all photographs better as a height or as a contrast?

Question
    A height is a share of the root's. A contrast is a height times the contrast of the photograph
    (`regiontree.spectral.contrast`). Which of them finds the right regions of many photographs at
    one value?
Method
    All photographs of the samples in $REGIONTREE_DATA, at most ``--images`` of each. Trees have
    borders. Each tree is cut at 36 heights and 36 contrasts. The finest classes of the ground truth
    are its regions; BSDS500 has several annotators, whose scores are averaged. Ignored pixels do
    not count.
    *Covering*: each region has the IoU of the best region of the cut, weighted by its pixels.
    *Regions' IoU*: the same, but all regions of a photograph weigh alike.
    Means are over photographs, then over data sets. BSDS500 is apart.
Printed
    In percent: the best mean at one value for all data sets, and that value; the mean at one value
    for each data set; the mean at the best value for each photograph.

    python benchmarks/one_threshold.py
    python benchmarks/one_threshold.py --images 8
"""

from __future__ import annotations

import numpy as np
import torch
from _common import (
    SUBSETS,
    arguments,
    chosen_samples,
    data_folder,
    print_closing,
    print_heading,
    print_results,
)
from numpy.typing import NDArray
from refine import classes_of

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.hierarchy import BUILDERS
from regiontree.images import nearest
from regiontree.metrics import contingency
from regiontree.metrics.contingency import node_counts
from regiontree.metrics.scales import cut_members

KINDS = ("height", "contrast")
MEASURES = ("covering", "regions' IoU")
LEVELS = tuple(np.geomspace(1.2, 0.06, 36).tolist())
BSDS = "bsds500"

Curves = dict[tuple[str, str], NDArray[np.float64]]
"""By builder and kind of threshold: both measures of a photograph at all levels, (2, levels)."""


def scored(tree: RegionTree, kind: str, truths: list[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Both measures at all levels, (2, levels)."""
    height = tree.height * np.float32(tree.contrast) if kind == "contrast" else tree.height
    cuts = cut_members(tree.parents, height, "height", LEVELS)
    found = []
    for truth in truths:
        there = truth >= 0
        labels = nearest(tree.labels, truth.shape)
        table = contingency(labels, np.where(there, truth, truth.max() + 1), tree.n_leaves).counts
        both = node_counts(tree.parents, table if there.all() else table[:, :-1])
        size = both.sum(axis=1, keepdims=True)
        iou = both / np.maximum(size + both[-1] - both, 1)
        best = np.array([iou[cut].max(axis=0) for cut in cuts])
        found.append([best @ both[-1] / both[-1].sum(), best.mean(axis=1)])
    mean: NDArray[np.float64] = np.mean(found, axis=0)
    return mean


def curves_of(parsers: dict[str, RegionParser], dataset: Dataset, sample: Sample) -> Curves:
    parser = next(iter(parsers.values()))
    image = parser.sight.load(sample.image)
    features, rgb = parser.extract(image), parser.pixels(sample.image, decoded=image)
    truths = [classes_of(mask, dataset) for mask in dataset.truths(sample)]
    return {
        (name, kind): scored(tree, kind, truths)
        for name, one in parsers.items()
        for tree in [one.build(features, rgb=rgb)]
        for kind in KINDS
    }


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=1000, help="of each data set  [all]")
    options.add_argument("--trees", nargs="+", choices=BUILDERS.names(),
                         default=["ward", "consensus"])  # fmt: skip
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    parsers = {name: RegionParser(device="cpu", tree=name, stability=0) for name in given.trees}
    found: dict[str, list[Curves]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        dataset = open_dataset(spec, None, data_folder())
        found[spec.stem] = [curves_of(parsers, dataset, sample)
                            for sample in chosen_samples(dataset, given.images)]  # fmt: skip
        print(f"{spec.stem}: {len(found[spec.stem])}", flush=True)
    rows: list[list[object]] = []
    for on, sets in (
        (BSDS, [curves for name, curves in found.items() if name == BSDS]),
        ("the other data sets", [curves for name, curves in found.items() if name != BSDS]),
    ):
        for way in ((name, kind) for name in given.trees for kind in KINDS):
            for m, measure in enumerate(MEASURES):
                own = [np.array([curves[way][m] for curves in some]) for some in sets]
                mean = np.mean([curves.mean(axis=0) for curves in own], axis=0)
                rows.append([
                    on, sum(map(len, own)), *way, measure, 100 * mean.max(), LEVELS[mean.argmax()],
                    100 * np.mean([curves.mean(axis=0).max() for curves in own]),
                    100 * np.mean([curves.max(axis=1).mean() for curves in own]),
                ])  # fmt: skip
    print_results("one-threshold", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
