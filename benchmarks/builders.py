"""How good are the trees of two builders, if both get the same features?

All photographs of the samples in $REGIONTREE_DATA, at most ``--images`` of each. The network sees
each once, and each builder makes a tree with borders at the size of the ground truth. The measures
are those of :mod:`refine`: NMCovering and NHCovering with 24 nodes and with all, BSDS500 covering,
and boundary F at 2 and 5 pixels. Means are over images, then over data sets.

    python benchmarks/builders.py
    python benchmarks/builders.py --images 8 --trees ward consensus
"""

from __future__ import annotations

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
from refine import VOID, Scores, classes_of, means, scores_of

from regiontree import RegionParser
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.hierarchy import BUILDERS
from regiontree.images import nearest
from regiontree.metrics.boundary import true_borders


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=1000, help="of each data set  [all]")
    options.add_argument("--preset", choices=("default", "accurate", "fast"), default="default")
    options.add_argument("--trees", nargs="+", choices=BUILDERS.names(),
                         default=["ward", "consensus"])  # fmt: skip
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    parsers = {name: RegionParser(preset=given.preset, device="cpu", tree=name, stability=0)
               for name in given.trees}  # fmt: skip
    found: dict[str, list[Scores]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        dataset = open_dataset(spec, None, data_folder())
        found[spec.stem] = [_scored(parsers, dataset, sample)
                            for sample in chosen_samples(dataset, given.images)]  # fmt: skip
        print(f"{spec.stem}: {len(found[spec.stem])}", flush=True)
    rows: list[list[object]] = []
    for name in [*found, None]:
        among = found if name is None else {name: found[name]}
        count = sum(map(len, among.values()))
        for way in given.trees:
            row = means(among, way)
            assert row is not None
            rows.append([given.preset, name or "mean", count, way, *(100 * row)])
    print_results("builders", rows, given.csv)
    print_closing()


def _scored(parsers: dict[str, RegionParser], dataset: Dataset, sample: Sample) -> Scores:
    """Scores of an image, for each builder."""
    parser = next(iter(parsers.values()))
    image = parser.sight.load(sample.image)
    features, rgb = parser.extract(image), parser.pixels(sample.image, decoded=image)
    masks = dataset.truths(sample)
    truth = true_borders(classes_of(masks[-1], dataset), margin=VOID)
    scores: Scores = {}
    for name, one in parsers.items():
        tree = one.build(features, rgb=rgb)
        scores[name] = scores_of(nearest(tree.labels, masks[0].shape), tree, dataset, masks, truth)
    return scores


if __name__ == "__main__":
    main()
