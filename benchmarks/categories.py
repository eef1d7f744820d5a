"""Categories of a collection beside k-means: one-to-one matching, and pixels right after k names.

Question
    Do regions of trees give better categories than patches, with the same features?
Method
    Eight sets of photographs with classes. The network runs once over each photograph; its last
    tokens and the features of trees are kept in --output, so that a second run takes minutes. From
    them: a collection with its defaults, k-means of patches (PCA start), the same of whitened
    tokens, k-means of SLIC segments, and nearest neighbours with k labelled regions of the trees.
    One table of pixels, categories x classes, over all photographs of a set, measured as
    regiontree.metrics.categories says.
Printed
    For each set and way: accuracy and mIoU with as many categories as classes, one to one; pixels
    right after 20, 50 and 100 names.

    python benchmarks/categories.py --output results/categories
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from _common import (
    REPOSITORY,
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

from regiontree import Collection, RegionParser
from regiontree.collection import CollectionSettings, discover
from regiontree.collection.baselines import (
    Regions,
    cluster_counts,
    fit_clusters,
    labelled_counts,
    patch_regions,
    slic_regions,
)
from regiontree.collection.command import settings_from
from regiontree.collection.regions import regions_of
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.images import load_image
from regiontree.metrics import CategoryMetric, prototype_table
from regiontree.metrics.matching import match_categories, name_categories
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree

SETS = {"coco_panoptic": 2, "camvid": 2, "clothing_coparsing": 2, "msrc_v2": 1, "idd_lite": 1,
        "drone_chips": 1, "wbc_cellavision": 1, "cwfid": 1}  # fmt: skip
"""Sets of photographs, each with the depth of its label tree whose classes count."""
NAMES = (20, 50, 100)
COLLECTIONS = REPOSITORY / "benchmarks" / "collections"
Int64 = NDArray[np.int64]
Row = list[object]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--output", type=Path, default=Path("results/categories"))
    parser.add_argument("--only", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--preset", default="default")
    parser.add_argument(
        "--set", nargs="+", default=[], help="settings of the collection, KEY=VALUE"
    )
    parser.add_argument("--ours", action="store_true", help="only the collection, no baselines")
    chosen = parser.parse_args()
    print_heading(__doc__)
    settings = settings_from(chosen.set)
    rows: list[Row] = []
    for name in chosen.only:
        rows += rows_of(name, chosen.output, chosen.preset, settings, only_ours=chosen.ours)
    ways = list(dict.fromkeys(str(row[1]) for row in rows))
    for way in ways:
        own = np.array([row[4:] for row in rows if row[1] == way], float)
        rows.append(["mean of sets", way, None, None, *own.mean(axis=0)])
    print_results("categories", rows, chosen.csv)
    print_closing()


def rows_of(
    name: str, output: Path, preset: str, settings: CollectionSettings, *, only_ours: bool
) -> Iterator[Row]:
    spec = next(
        path for folder in (SUBSETS, COLLECTIONS) if (path := folder / f"{name}.yaml").is_file()
    )
    shared = data_folder().parent / "collections"
    root = data_folder() if spec.parent == SUBSETS else shared
    os.environ.setdefault("REGIONTREE_COLLECTIONS", str(shared))
    dataset = open_dataset(spec, None, root)
    kept = output / preset / name
    prepare(dataset, kept, preset)
    assert dataset.labels is not None
    classes = dataset.labels.classes(SETS[name])

    def truth(sample: Sample) -> NDArray[np.int32]:
        ids = dataset.truth(sample)
        values, place = np.unique(ids, return_inverse=True)
        return classes.of(values)[place.reshape(ids.shape)]

    def tokens(sample: Sample) -> NDArray[np.float32]:
        with np.load(kept / "tokens" / f"{sample.id}.npz", allow_pickle=False) as file:
            found: NDArray[np.float32] = file["tokens"].astype(np.float32)
        return found

    ours = kept / ("collection-" + hashlib.sha256(repr(settings).encode()).hexdigest()[:12])
    discover(kept / "trees", ours, settings)
    collection = Collection.load(ours)
    metric = CategoryMetric(classes, collection.n_prototypes, collection.division, names=NAMES)
    for sample in dataset.samples:
        shown = collection.prototype_map(sample.id)
        metric.update(prototype_table(shown, dataset.truth(sample), collection.n_prototypes))
    found = metric.compute()
    images, present = len(dataset.samples), found.categories
    right = [found.names[k] for k in NAMES]
    shares = (found.accuracy, found.miou, *right, found.area)
    yield [name, "collection", images, present, *(100 * value for value in shares)]
    if only_ours:
        return

    count = len(classes)
    patches = [patch_regions(tokens(one), truth(one), count) for one in dataset.samples]
    yield from clustered(name, "k-means of patches", patches, present, whiten=False)
    yield from clustered(name, "k-means of patches, whitened", patches, present, whiten=True)
    del patches
    segments = [
        slic_regions(tokens(one), load_image(one.image).rgb, truth(one), count)
        for one in dataset.samples
    ]
    yield from clustered(name, "k-means of SLIC segments, whitened", segments, present, whiten=True)
    regions = [tree_regions(kept, one, truth(one), count, settings) for one in dataset.samples]
    row: Row = [name, "k labelled regions, nearest neighbour", images, present, None, None]
    for k in NAMES:
        counts, named = labelled_counts(regions, k, whiten=True)
        row.append(100 * float(counts[np.arange(len(named)), named].sum()) / float(counts.sum()))
    yield [*row, None]


def clustered(
    name: str, way: str, photographs: Sequence[Regions], present: int, *, whiten: bool
) -> Iterator[Row]:
    """The row of a k-means; each number of clusters is one of its own."""

    def counts(k: int) -> Int64:
        return cluster_counts(photographs, fit_clusters(photographs, k, whiten=whiten))

    none = np.zeros(photographs[0].counts.shape[1], np.int64)
    matched = match_categories(counts(present), none)
    right = [name_categories(counts(k), none).right for k in NAMES]
    shares = (matched.accuracy, matched.miou, *right)
    yield [name, way, len(photographs), present, *(100 * value for value in shares), None]


def tree_regions(
    kept: Path,
    sample: Sample,
    truth: NDArray[np.int32],
    n_classes: int,
    settings: CollectionSettings,
) -> Regions:
    """The regions of a tree's cut with their last tokens, as :class:`Regions` of the baselines."""
    tree = RegionTree.load(kept / "trees" / f"{sample.id}.npz")
    found = regions_of(tree, settings.regions, "token")
    place = np.full(tree.n_nodes, -1)
    place[found.nodes] = np.arange(len(found.nodes))
    labels = place[tree.cut_nodes(n_regions=settings.regions)][tree.cut(n_regions=settings.regions)]
    known = truth >= 0
    counts = np.zeros((len(found.nodes), n_classes), np.int64)
    np.add.at(counts, (labels[known], truth[known]), 1)
    return Regions(found.values, counts)


def prepare(dataset: Dataset, kept: Path, preset: str) -> None:
    """Trees and tokens of all photographs; those that are there are not made again."""
    missing = [one for one in dataset.samples if not (kept / "tokens" / f"{one.id}.npz").is_file()]
    if not missing:
        return
    parser = RegionParser(preset=preset)
    for sample in track(missing, dataset.name, console=Console(file=sys.stderr)):
        features = parser.extract(sample.image)
        assert features.descriptors is not None
        parser.build(features, rgb=parser.pixels(sample.image)).save(
            kept / "trees" / f"{sample.id}.npz"
        )
        with atomic_write(kept / "tokens" / f"{sample.id}.npz") as file:
            np.savez(file, tokens=features.descriptors.half().numpy())


if __name__ == "__main__":
    main()
