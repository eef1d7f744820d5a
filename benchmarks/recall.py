"""How many things of photographs are among the masks of their trees?

Question
    How large is the average recall (AR) of a tree's nodes, and of the connected pieces of nodes?
    How large could it be, if each segment had the best union of leaves?
Method
    All photographs of the data sets whose description says which segments there are
    (`benchmarks/subsets`); a photograph without segments is named and left out. Masks are all
    nodes; or all nodes and all pieces of at least half a patch that are no node, as in
    `regiontree evaluate --metric recall`. They are ranked by persistence times the square of the
    stability. A piece has the rank of the lowest node that it is a piece of. AR is that of COCO:
    see `regiontree.metrics.recall`.
    One way has 1000 parts: nearly every patch of the network is a leaf then.
    *Leaves* and *pieces of leaves* are oracles. They know each segment and give the union of all
    leaves, or of all pieces of leaves, that lie in it by more than half.
Printed
    AR of things, of stuff, of parts and of all, in percent, with the ends of the 95 % interval at
    1000 masks, for each data set.

    python benchmarks/recall.py
    python benchmarks/recall.py --sets coco_panoptic --photos 8 --trees ward consensus
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from _common import (
    SUBSETS,
    arguments,
    data_folder,
    print_closing,
    print_heading,
    print_results,
)
from numpy.typing import NDArray

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.errors import DataError
from regiontree.metrics import RecallMetric, SegmentMap, Segments, ranked_masks
from regiontree.metrics.segmentmap import KINDS, kinds_of, leaf_overlaps

LIMITS = (10, 100, 1000)
EVERY = (*KINDS, "all")
MASKS = ("nodes", "nodes and pieces", "oracle: leaves", "oracle: pieces of leaves")

WAYS: dict[str, dict[str, Any]] = {
    "ward": {"tree": "ward"},
    "consensus": {"tree": "consensus"},
    "ward, 1000 parts": {"tree": "ward", "parts": 1000},
}
Floats = NDArray[np.float64]
Maps = tuple[SegmentMap, ...]
Metrics = dict[tuple[str, str, str], RecallMetric]
"""By tree, masks and kind of segment."""


def sets_with_segments() -> dict[str, Dataset]:
    """The data sets whose descriptions say which segments there are, by name."""
    found = {
        file.stem: open_dataset(file, root=data_folder()) for file in sorted(SUBSETS.iterdir())
    }
    return {name: one for name, one in found.items() if one.spec.instances and len(one)}


def masks_of(tree: RegionTree, maps: Maps) -> Iterator[tuple[Floats, Segments]]:
    """Scores and overlaps of each of MASKS."""
    yield ranked_masks(tree, maps, pieces=False)
    every = ranked_masks(tree, maps)
    yield every
    pieces = tree.node_pieces()
    for labels, count in ((tree.labels, tree.n_leaves), (pieces.labels, int(pieces.parents.min()))):
        both, pixels = best_unions(labels, count, maps)
        truth = every[1]
        yield np.zeros(len(pixels)), Segments(both, pixels, truth.segments, truth.crowd)


def best_unions(
    labels: NDArray[np.int32], leaves: int, maps: Maps
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each segment the union of leaves that lie in it by more than half: overlaps, pixels."""
    tables = [leaf_overlaps(labels, leaves, one) for one in maps]
    area = tables[0].sum(axis=1)
    overlaps = np.concatenate([table[:, :-1] for table in tables], axis=1)
    chosen = (2 * overlaps > area[:, None]).astype(np.int64)
    return chosen.T @ overlaps, chosen.T @ area


def measure(dataset: Dataset, photos: int, parsers: dict[str, RegionParser]) -> Metrics:
    """Average recall of the first photographs of a data set."""
    metrics = {
        (name, masks, kind): RecallMetric(LIMITS)
        for name in parsers for masks in MASKS for kind in EVERY
    }  # fmt: skip
    for sample in dataset.samples[:photos]:
        try:
            maps = dataset.segments(sample)
        except DataError as error:
            print(f"left out: {error}\n")
            continue
        kinds = kinds_of(maps)
        usual = next(iter(parsers.values()))
        features, rgb = usual.extract(sample.image), usual.pixels(sample.image)
        for name, parser in parsers.items():
            tree = parser.build(features, rgb=rgb)
            for masks, (score, found) in zip(MASKS, masks_of(tree, maps), strict=True):
                for kind in EVERY:
                    chosen = np.isin(kinds, KINDS if kind == "all" else [kind])
                    metrics[name, masks, kind].update(sample.id, score, found.only(chosen))
    return metrics


def rows_of(data_set: str, metrics: Metrics) -> Iterator[Sequence[object]]:
    """The rows of the kinds of segments that the data set has."""
    for (name, masks, kind), metric in metrics.items():
        scores = metric.compute()
        if not scores.segments:
            continue
        ends = scores.interval["all", 1000]
        figures = [
            scores.recall[key]
            for key in (("all", 10), ("all", 100), ("all", 1000), ("small", 1000),
                        ("medium", 1000), ("large", 1000))
        ]  # fmt: skip
        yield [
            data_set, name, masks, kind, scores.images, scores.segments,
            *(None if one is None else 100 * one for one in (*figures, *(ends or (None, None)))),
        ]  # fmt: skip


def main() -> None:
    options = arguments(__doc__)
    sets = sets_with_segments()
    options.add_argument("--sets", nargs="+", choices=list(sets), default=list(sets),
                         help="data sets  [all with segments]")  # fmt: skip
    options.add_argument("--photos", type=int, default=1000, help="photographs of each  [all]")
    options.add_argument("--preset", choices=("default", "accurate", "fast"), default="default")
    options.add_argument("--trees", nargs="+", choices=list(WAYS), default=list(WAYS))
    given = options.parse_args()
    if not given.sets:
        raise SystemExit("no photographs: neither $REGIONTREE_DATA nor ../shared/data has them")
    torch.set_num_threads(1)
    print_heading(__file__)
    parsers = {name: RegionParser(preset=given.preset, device="cpu", **WAYS[name])
               for name in given.trees}  # fmt: skip
    rows: list[Sequence[object]] = []
    for name in given.sets:
        print(f"{name}: {sets[name].segments_text}\n")
        rows += rows_of(name, measure(sets[name], given.photos, parsers))
    print_results("recall", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
