"""How many things of photographs are among the masks of their trees?

Question
    How large is the average recall (AR) of a tree's nodes, and of the connected pieces of nodes?
    How large could it be, if each segment had the best union of leaves?
Method
    All photographs of coco_panoptic, whose segments tell the things of a kind apart. Masks are all
    nodes; or all nodes and all pieces of at least half a patch that are no node. They are ranked by
    persistence, the parent's height less the node's own. A piece has the persistence of the lowest
    node that it is a piece of. AR is that of COCO: see `regiontree.metrics.recall`.
    *Leaves* and *pieces of leaves* are oracles. They know each segment and give the union of all
    leaves, or of all pieces of leaves, that lie in it by more than half.
Printed
    AR of things, of stuff and of all, in percent, with the ends of the 95 % interval at 1000 masks.

    python benchmarks/recall.py
    python benchmarks/recall.py --photos 8 --trees ward consensus
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from _common import (
    arguments,
    data_folder,
    first_photographs,
    print_closing,
    print_heading,
    print_results,
)
from numpy.typing import NDArray
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.hierarchy import BUILDERS
from regiontree.images import nearest
from regiontree.metrics import RecallMetric, Segments
from regiontree.tree.kernel import accumulate_sum
from regiontree.tree.piecetree import smallest_piece

LIMITS = (10, 100, 1000)
KINDS = ("things", "stuff", "all")
MASKS = ("nodes", "nodes and pieces", "oracle: leaves", "oracle: pieces of leaves")

Labels = NDArray[np.int32]
Truth = tuple[Labels, NDArray[np.bool_]]
"""The segment of each pixel, -1 for none; and which segments are things."""


def things() -> set[int]:
    """Ids of classes that are things."""
    table = (data_folder() / "coco_panoptic" / "labels.txt").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in table.splitlines())
    return {int(row[0]) for row in rows if row[3] == "thing"}


def truth_of(photograph: Path, thing_ids: set[int]) -> Truth:
    folder = data_folder() / "coco_panoptic"
    name = f"{photograph.stem}.png"
    classes = np.asarray(Image.open(folder / "annotations" / name)).astype(np.int64)
    coded = np.asarray(Image.open(folder / "annotations_panoptic" / name)).astype(np.int64)
    if coded.ndim == 3:
        coded = coded[..., :3] @ np.array([1, 256, 65536])
    ids, first, segment = np.unique(
        np.where(classes > 0, coded, -1), return_index=True, return_inverse=True
    )
    segment = segment.reshape(classes.shape)
    if ids[0] == -1:
        segment, first = segment - 1, first[1:]
    kinds = classes.ravel()[first]
    return segment.astype(np.int32), np.isin(kinds, list(thing_ids))


def shared(labels: Labels, leaves: int, truth: Labels, segments: int) -> NDArray[np.int64]:
    """Pixels that each leaf shares with each segment and, in the last column, with none."""
    column = np.where(truth < 0, segments, truth).astype(np.int64)
    flat = labels.astype(np.int64) * (segments + 1) + column
    counts = np.bincount(flat.ravel(), minlength=leaves * (segments + 1))
    return counts.reshape(leaves, segments + 1)


def of_tree(
    labels: Labels, parents: NDArray[np.int32], truth: Labels, segments: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels that nodes share with segments, (N, G), and of nodes, (N,)."""
    leaves = 1 if len(parents) == 1 else int(parents.min())
    table = np.zeros((len(parents), segments + 1), np.int64)
    table[:leaves] = shared(nearest(labels, truth.shape), leaves, truth, segments)
    whole = accumulate_sum(parents, table)
    return whole[:, :-1], whole.sum(axis=1)


def persistence(tree: RegionTree) -> NDArray[np.float64]:
    return (tree.height[tree.parents] - tree.height).astype(float)


def best_unions(table: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For each segment the union of leaves that lie in it by more than half: overlaps, pixels."""
    area = table.sum(axis=1)
    chosen = (2 * table[:, :-1] > area[:, None]).astype(np.int64)
    return chosen.T @ table[:, :-1], chosen.T @ area


def masks_of(
    tree: RegionTree, truth: Labels, segments: int
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
    """Scores, overlaps and pixels of each of MASKS."""
    score = persistence(tree)
    both, pixels = of_tree(tree.labels, tree.parents, truth, segments)
    yield score, both, pixels
    pieces = tree.node_pieces()
    piece_both, piece_pixels = of_tree(pieces.labels, pieces.parents, truth, segments)
    new = ~pieces.is_node & (pieces.area >= smallest_piece(tree.shape, tree.meta))
    yield (
        np.concatenate([score, score[pieces.node[new]]]),
        np.concatenate([both, piece_both[new]]),
        np.concatenate([pixels, piece_pixels[new]]),
    )
    for labels, count in ((tree.labels, tree.n_leaves), (pieces.labels, int(pieces.parents.min()))):
        own = best_unions(shared(nearest(labels, truth.shape), count, truth, segments))
        yield np.zeros(segments), *own


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=1000, help="photographs  [all]")
    options.add_argument("--preset", choices=("default", "accurate", "fast"), default="default")
    options.add_argument("--trees", nargs="+", choices=BUILDERS.names(),
                         default=["ward", "consensus"])  # fmt: skip
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    parsers = {name: RegionParser(preset=given.preset, device="cpu", tree=name)
               for name in given.trees}  # fmt: skip
    metrics = {
        (name, masks, kind): RecallMetric(LIMITS)
        for name in given.trees for masks in MASKS for kind in KINDS
    }  # fmt: skip
    thing_ids = things()
    for path in first_photographs(given.photos):
        truth, is_thing = truth_of(path, thing_ids)
        area = np.bincount(truth[truth >= 0], minlength=len(is_thing))
        usual = next(iter(parsers.values()))
        features, rgb = usual.extract(path), usual.pixels(path)
        for name, parser in parsers.items():
            tree = parser.build(features, rgb=rgb)
            for masks, (score, both, pixels) in zip(
                MASKS, masks_of(tree, truth, len(is_thing)), strict=True
            ):
                for kind, chosen in zip(
                    KINDS, (is_thing, ~is_thing, np.ones(len(is_thing), bool)), strict=True
                ):
                    found = Segments(both[:, chosen], pixels, area[chosen],
                                     np.zeros(int(chosen.sum()), bool))  # fmt: skip
                    metrics[name, masks, kind].update(path.stem, score, found)
    rows: list[list[object]] = []
    for (name, masks, kind), metric in metrics.items():
        scores = metric.compute()
        ends = scores.interval["all", 1000]
        figures = [
            scores.recall[key]
            for key in (("all", 10), ("all", 100), ("all", 1000), ("small", 1000),
                        ("medium", 1000), ("large", 1000))
        ]  # fmt: skip
        rows.append([
            name, masks, kind, scores.images, scores.segments,
            *(None if one is None else 100 * one for one in (*figures, *(ends or (None, None)))),
        ])  # fmt: skip
    print_results("recall", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
