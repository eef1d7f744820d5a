"""How do trees compare with people on BSDS500, by all three of its measures?

Question
    How good are the regions, the borders, and the objects of a tree, beside the published figures
    of gPb-OWT-UCM?
Method
    The photographs of bsds500 in $REGIONTREE_DATA, at most ``--images`` of them, with all their
    annotators. The network sees each once, and each builder makes a tree with borders at the size
    of the photograph. All photographs are cut at one height; then at one contrast, which is the
    height times the contrast of the photograph; then into one number of regions. Scales are those
    of CoveringMetric: 41 heights, which serve as contrasts, too, and 21 numbers.
    The row "one person" checks the measures: each person's drawing is the cut, and the other people
    are its annotators.
Printed
    In percent: covering (CoveringMetric), boundary F (ContourMetric), F for objects and parts
    (ObjectsMetric), all three as `regiontree evaluate --metric bsds` finds them; strict: an object
    needs .95 instead of .9. ODS: one scale for all photographs; OIS: the best scale of each; best:
    the best node for each human region; AP: average precision. The scale of each ODS. Seconds of a
    processor that scoring takes for a photograph. Published rows are of the 200 test photographs,
    from Arbelaez et al., PAMI 2011, and the authors' results of Pont-Tuset and Marques, PAMI 2016.

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
from regiontree.metrics import (
    BsdsMetric,
    ContourMetric,
    CoveringMetric,
    ObjectsMetric,
    contingency,
)
from regiontree.metrics.reportedbsds import CutBy

STRICT = 0.95
MANY = 1_000_000  # regions
SCALES: tuple[CutBy, ...] = ("height", "contrast", "regions")
PUBLISHED: list[list[object]] = [
    ["published", 200, "gPb-OWT-UCM", "height", 59, 65, 74, None, 72.6, 76.0, 72.7, None,
     34.8, 38.5, None, None, None, None],
    ["published", 200, "one person", "", 72, None, None, None, 80.3, None, None, None,
     55.6, None, None, None, None, None],
]  # fmt: skip


class Measures:
    """The metrics at scales of one kind.

    Attributes
    ----------
    published : BsdsMetric
        The three measures by the published rules.
    strict : ObjectsMetric
        Objects and parts with a stricter threshold.
    seconds : float
        Time of the processor spent so far.
    """

    def __init__(self, cut: CutBy) -> None:
        self.published = BsdsMetric(cut)
        self.strict = ObjectsMetric(
            scale="regions" if cut == "regions" else "height", object_share=STRICT
        )
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
        self.published.update(image, tree, labels, truths, tables)
        self.strict.update(image, tree.parents, self.published.height(tree), tables)
        self.seconds += time.process_time() - start

    def row(self) -> list[object]:
        """The figures of a row, from covering on."""
        found, strict = self.published.compute(), self.strict.compute()
        covering, borders, objects = found.covering, found.borders, found.objects
        return [
            100 * covering.ods, 100 * covering.ois, 100 * covering.best, covering.ods_scale,
            100 * borders.ods, 100 * borders.ois, 100 * borders.ap, borders.ods_scale,
            100 * objects.ods, 100 * objects.ois, objects.ods_scale,
            100 * strict.ods, 100 * strict.ois, self.seconds / covering.images,
        ]  # fmt: skip


class People:
    """Each person's drawing as a cut, which the others judge."""

    def __init__(self) -> None:
        self.covering, self.contours = CoveringMetric(scales=(MANY,)), ContourMetric(scales=(0.5,))
        self.objects = ObjectsMetric(scales=(0.5,))
        self.strict = ObjectsMetric(scales=(0.5,), object_share=STRICT)

    def update(self, image: str, truths: Sequence[NDArray[np.int32]]) -> None:
        """Score the people of one photograph."""
        for at, own in enumerate(truths):
            others = [truth for k, truth in enumerate(truths) if k != at]
            labels = np.unique(own, return_inverse=True)[1].reshape(own.shape)
            count = int(labels.max()) + 1
            tables = [contingency(labels, other, count) for other in others]
            # A tree of one division, at height 1, into the regions that were drawn.
            tree = np.full(count + 1, count), np.append(np.zeros(count), 1.0)
            for metric in (self.covering, self.objects, self.strict):
                metric.update(f"{image} {at}", *tree, tables)
            self.contours.update(f"{image} {at}", *tree, labels, others)

    def row(self) -> list[object]:
        """The figures of a row, from covering on."""
        return [
            100 * self.covering.compute().ods, None, None, None,
            100 * self.contours.compute().ods, None, None, None,
            100 * self.objects.compute().ods, None, None,
            100 * self.strict.compute().ods, None, None,
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
    parsers = {name: RegionParser(preset=given.preset, device="cpu", tree=name, stability=0)
               for name in given.trees}  # fmt: skip
    found = {(name, scale): Measures(scale) for name in given.trees for scale in SCALES}
    people = People()
    parser = next(iter(parsers.values()))
    for sample in samples:
        image = parser.sight.load(sample.image)
        features, rgb = parser.extract(image), parser.pixels(sample.image, decoded=image)
        truths = dataset.truths(sample)
        people.update(sample.id, truths)
        for name, one in parsers.items():
            tree = one.build(features, rgb=rgb)
            labels = nearest(tree.labels, truths[0].shape)
            for scale in SCALES:
                found[name, scale].update(sample.id, tree, labels, truths)
    rows = [[given.preset, len(samples), name, scale, *measures.row()]
            for (name, scale), measures in found.items()]  # fmt: skip
    rows.append([given.preset, len(samples), "one person", "", *people.row()])
    print_results("borders", [*rows, *PUBLISHED], given.csv)
    print_closing()


if __name__ == "__main__":
    main()
