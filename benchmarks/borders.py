"""How do trees compare with people on BSDS500, by all three of its measures?

Question
    How good are the regions, the borders, and the objects of a tree, beside the published figures
    of gPb-OWT-UCM?
Method
    The photographs of bsds500 in $REGIONTREE_DATA, at most ``--images`` of them, with all their
    annotators. The network sees each once, and each builder makes a tree with borders at the size
    of the photograph. All photographs are cut at one height, and then once more into one number of
    regions. Scales are those of CoveringMetric: 41 heights, 21 numbers.
Printed
    In percent: covering (CoveringMetric), boundary F (ContourMetric), F for objects and parts
    (ObjectsMetric). ODS: one scale for all photographs; OIS: the best scale of each; best: the best
    node for each human region; AP: average precision. The scale of each ODS. Seconds of a processor
    that scoring takes for a photograph. The published row is of the 200 test photographs, from
    Arbelaez et al., PAMI 2011, and Pont-Tuset and Marques, CVPR 2013.

    python benchmarks/borders.py
    python benchmarks/borders.py --images 4 --trees ward
"""

from __future__ import annotations

import time
from collections.abc import Sequence

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

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.hierarchy import BUILDERS
from regiontree.images import nearest
from regiontree.metrics import ContourMetric, CoveringMetric, ObjectsMetric, contingency
from regiontree.metrics.bsds import Scale

SCALES: tuple[Scale, ...] = ("height", "regions")
PUBLISHED: list[object] = [
    "published", 200, "gPb-OWT-UCM", "height", 59, 65, 74, None, 72.6, 76.0, 73, None, 34.8, 38.5,
    None, None,
]  # fmt: skip


class Measures:
    """The three metrics at scales of one kind.

    Attributes
    ----------
    seconds : float
        Time of the processor spent so far.
    """

    def __init__(self, scale: Scale) -> None:
        self.covering = CoveringMetric(scale=scale)
        self.contours = ContourMetric(scale=scale)
        self.objects = ObjectsMetric(scale=scale)
        self.seconds = 0.0

    def update(
        self,
        image: str,
        tree: RegionTree,
        labels: NDArray[np.int32],
        truths: Sequence[NDArray[np.int32]],
    ) -> None:
        """Score one photograph."""
        start = time.process_time()
        tables = [contingency(labels, truth, tree.n_leaves) for truth in truths]
        self.covering.update(image, tree.parents, tree.height, tables)
        self.objects.update(image, tree.parents, tree.height, tables)
        self.contours.update(image, tree.parents, tree.height, labels, truths)
        self.seconds += time.process_time() - start

    def row(self) -> list[object]:
        """The figures of a row, from covering on."""
        covering, contours = self.covering.compute(), self.contours.compute()
        objects = self.objects.compute()
        return [
            100 * covering.ods, 100 * covering.ois, 100 * covering.best, covering.ods_scale,
            100 * contours.ods, 100 * contours.ois, 100 * contours.ap, contours.ods_scale,
            100 * objects.ods, 100 * objects.ois, objects.ods_scale,
            self.seconds / covering.images,
        ]  # fmt: skip


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=1000, help="photographs  [all]")
    options.add_argument("--preset", choices=("default", "accurate", "fast"), default="default")
    options.add_argument("--trees", nargs="+", choices=BUILDERS.names(),
                         default=["ward", "consensus"])  # fmt: skip
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    dataset = open_dataset(SUBSETS / "bsds500.yaml", None, data_folder())
    samples = chosen_samples(dataset, given.images)
    parsers = {name: RegionParser(preset=given.preset, device="cpu", tree=name)
               for name in given.trees}  # fmt: skip
    found = {(name, scale): Measures(scale) for name in given.trees for scale in SCALES}
    parser = next(iter(parsers.values()))
    for sample in samples:
        image = parser.sight.load(sample.image)
        features, rgb = parser.extract(image), parser.pixels(sample.image, decoded=image)
        truths = dataset.truths(sample)
        for name, one in parsers.items():
            tree = one.build(features, rgb=rgb)
            labels = nearest(tree.labels, truths[0].shape)
            for scale in SCALES:
                found[name, scale].update(sample.id, tree, labels, truths)
    rows = [[given.preset, len(samples), name, scale, *measures.row()]
            for (name, scale), measures in found.items()]  # fmt: skip
    print_results("borders", [*rows, PUBLISHED], given.csv)
    print_closing()


if __name__ == "__main__":
    main()
