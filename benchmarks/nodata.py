"""What should a network see where a photograph has no data, and what do gaps cost the rest?

Each photograph gets gaps of two kinds, of about 30 % of its area:

- border: the corners outside a turned rectangle, as around a satellite scene;
- holes: blobs in random places.

The colours in the gaps are those of one way:

- spread: colours around the gap, spread over it by pull-push, as the parser does it;
- nearest: the colour of the nearest pixel that is there;
- mean: the mean colour of the pixels that are there;
- grey: 127 for all.

Two ways more frame them. "whole photograph" is the tree of the photograph without gaps. "black, no
mask" is the photograph with black gaps, whose mask the parser is not given.

Scores are NMCovering and NHCovering of the class tree within 24 nodes, on the pixels outside the
gaps only. The leaf of the gap and the node beside it do not count among the 24. Figures are means
over images, then over data sets.

    python benchmarks/nodata.py
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

import numpy as np
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
from scipy.ndimage import distance_transform_edt, gaussian_filter

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.images import load_image, valid
from regiontree.metrics import budget_nodes, contingency, region_counts
from regiontree.metrics.score import score_regions
from regiontree.tree.nodata import not_regions

BUDGET = 24
SHARE = 0.3  # of the photograph that is not there
DATA_SETS = ("coco_panoptic", "camvid", "pascal_part", "aerial_samples")

Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]


# -- gaps -----------------------------------------------------------------------------------------


def border(shape: tuple[int, int], rng: np.random.Generator) -> Bools:
    """The inside of a rectangle turned by 10 to 25 degrees."""
    y, x = (np.arange(side) / side - 0.5 for side in shape)
    turn = np.deg2rad(rng.uniform(10, 25)) * rng.choice((-1, 1))
    across = np.cos(turn) * x + np.sin(turn) * y[:, None]
    down = np.cos(turn) * y[:, None] - np.sin(turn) * x
    out = np.maximum(abs(across), abs(down))
    inside: Bools = out <= np.quantile(out, 1 - SHARE)
    return inside


def holes(shape: tuple[int, int], rng: np.random.Generator) -> Bools:
    """All but the highest places of a smooth noise."""
    noise = gaussian_filter(rng.normal(size=shape), max(shape) / 25)
    low: Bools = noise <= np.quantile(noise, 1 - SHARE)
    return low


# -- colours --------------------------------------------------------------------------------------


def nearest(colours: Floats, there: Bools) -> Floats:
    at = distance_transform_edt(~there, return_distances=False, return_indices=True)
    found: Floats = colours[tuple(at)]
    return found


def mean(colours: Floats, there: Bools) -> Floats:
    return np.where(there[:, :, None], colours, colours[there].mean(axis=0))


def grey(colours: Floats, there: Bools) -> Floats:
    return np.where(there[:, :, None], colours, np.float32(127))


COLOURS: dict[str, Callable[[Floats, Bools], Floats]] = {
    "spread": valid._spread, "nearest": nearest, "mean": mean, "grey": grey,
}  # fmt: skip


# -- scores ---------------------------------------------------------------------------------------


def scores_of(
    tree: RegionTree, mask: NDArray[np.int32], seen: Bools, dataset: Dataset
) -> tuple[float, float] | None:
    """NM and NH on the pixels that are there; None without a labelled pixel."""
    assert dataset.labels is not None
    classes = dataset.labels.classes()
    table = contingency(tree.labels[seen][None], mask[seen][None], tree.n_leaves)
    counts = region_counts(tree.parents, table, classes)
    more = int(not_regions(tree.parents, tree.stop).sum())
    nodes = budget_nodes(tree.parents, tree.height, BUDGET + more)
    found = score_regions(tree.parents, *counts, classes, nodes=nodes)
    return None if found is None else (found.nm, found.nh)


def scored(
    dataset: Dataset, limit: int, parser: RegionParser
) -> dict[tuple[str, str], list[tuple[float, float]]]:
    """The scores of each gap and each way, image by image."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    spread = valid._spread
    for sample in chosen_samples(dataset, limit):
        rgb = load_image(sample.image).rgb
        mask = dataset.truths(sample)[-1]
        whole = parser.parse(rgb)
        for gap in (border, holes):
            rng = np.random.default_rng(zlib.crc32(sample.id.encode()))
            there = gap(mask.shape, rng)
            trees = {"whole photograph": whole}
            for name, colours in COLOURS.items():
                valid._spread = colours
                trees[name] = parser.parse(rgb, valid=there)
            valid._spread = spread
            black = np.where(there[:, :, None], rgb, np.uint8(0))
            trees["black, no mask"] = parser.parse(black)
            for name, tree in trees.items():
                scores = scores_of(tree, mask, there, dataset)
                if scores is not None:
                    found.setdefault((gap.__name__, name), []).append(scores)
    return found


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=6, help="of each data set, at most  [6]")
    options.add_argument("--preset", default="fast", help="of the trees  [fast]")
    given = options.parse_args()
    print_heading(__file__)
    parser = RegionParser(preset=given.preset)
    sets = []
    for name in DATA_SETS:
        dataset = open_dataset(SUBSETS / f"{name}.yaml", root=data_folder())
        sets.append(scored(dataset, given.images, parser))
    rows = []
    for gap, colours in sets[0]:
        images = [np.array(found[gap, colours]) for found in sets if (gap, colours) in found]
        means = np.mean([scores.mean(axis=0) for scores in images], axis=0)
        rows.append((gap, colours, sum(map(len, images)), 100 * means[0], 100 * means[1]))
    print_results("nodata", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
