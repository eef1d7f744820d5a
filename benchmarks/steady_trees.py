"""Which trees come back if the photograph changes in a way that no viewer would notice?

Question
    How far do cuts of a tree agree with those of the same photograph changed, for each way to build
    trees of the same features? How far could they, if no merge could turn out otherwise?
Method
    The first photographs of coco_panoptic. Seven changes: another seed; the network in bfloat16;
    recompressed as JPEG of quality 75; without 3 pixels on each side; scaled to 94 %; mirrored;
    15 % darker. Cuts are compared as in `steady.py`, at full size and with borders. Features of a
    preset are computed once and serve all its trees.
    *Nearest means* is no tree. The regions of the plain photograph's cut by spectral Ward have mean
    features. Each patch of both photographs, smoothed as usual, takes the nearest of these means.
    No merge can turn out otherwise, so what is lost is the features' own change. Its borders lie
    between patches.
Printed
    Mean adjusted Rand index at 8 and at 24 regions, by change; the median time of the processor for
    a tree from features, with borders.

    python benchmarks/steady_trees.py
    python benchmarks/steady_trees.py --preset default --trees ward consensus
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from _common import arguments, first_photographs, print_closing, print_heading, print_results
from numpy.typing import NDArray
from steady import CHANGES, CROP, REGIONS, Labels, Pixels, agreement

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import Features
from regiontree.images import load_image, nearest
from regiontree.images.colours import patch_colours
from regiontree.spectral.affinity import unit_rows
from regiontree.spectral.smooth import smooth_features

TREES: dict[str, dict[str, Any]] = {
    "ward": {},
    "consensus": {"tree": "consensus"},
    "ward of every patch": {"parts": {"method": "none"}},
    "ward of k-means parts": {"parts": {"method": "features"}},
    "published recursion": {"parts": {"method": "simultaneous"}, "tree": "recursive"},
}
MEANS = "nearest means"
PLAIN, SEED, PRECISION = "plain", "seed", "precision"
ALL = (SEED, PRECISION, *CHANGES)

Seen = tuple[Features, NDArray[np.uint8] | None]
"""Features of a photograph, and its pixels as `RegionParser.build` takes them."""


class Eye:
    """A preset's network, in its own precision and in bfloat16."""

    def __init__(self, preset: str) -> None:
        self.usual = RegionParser(preset=preset, device="cpu")
        self.half = RegionParser(preset=preset, device="cpu", backbone={"dtype": "bfloat16"})

    def all_seen(self, rgb: Pixels) -> dict[str, Seen]:
        """What the network sees of the photograph and of each changed one."""
        plain = seen(self.usual, rgb)
        found = {PLAIN: plain, SEED: plain, PRECISION: seen(self.half, rgb)}
        return found | {name: seen(self.usual, change(rgb)) for name, change in CHANGES.items()}


def seen(parser: RegionParser, rgb: Pixels) -> Seen:
    photo = np.ascontiguousarray(rgb)
    return parser.extract(photo), parser.pixels(photo)


class Way:
    """A preset with a way to build trees, and what was found with it."""

    def __init__(self, preset: str, name: str, changes: Mapping[str, Any]) -> None:
        self.preset, self.name = preset, name
        self.parser = RegionParser(preset=preset, device="cpu", stability=0, **changes)
        self.other = RegionParser(preset=preset, device="cpu", seed=4321, stability=0, **changes)
        self.seconds: list[float] = []
        self.found: dict[tuple[int, str], list[float]] = {}

    def tree(self, what: Seen, *, other: bool = False) -> RegionTree:
        parser = self.other if other else self.parser
        start = time.process_time()
        tree = parser.build(what[0], rgb=what[1])
        self.seconds.append(time.process_time() - start)
        return tree

    def see(self, photographs: Mapping[str, Seen]) -> None:
        plain = self.tree(photographs[PLAIN])
        for change in ALL:
            tree = self.tree(photographs[change], other=change == SEED)
            for count in REGIONS:
                cuts = (one.cut(n_regions=count) for one in (plain, tree))
                self.found.setdefault((count, change), []).append(agreement(*cuts, change))

    def rows(self) -> list[list[object]]:
        """A row of the table `steady-trees` for each number of regions."""
        rows: list[list[object]] = []
        took = 1000 * statistics.median(self.seconds) if self.seconds else None
        for count in REGIONS:
            means = [statistics.mean(self.found[count, change]) for change in ALL]
            photographs = len(self.found[count, SEED])
            rows.append([self.preset, self.name, photographs, count, *means,
                         statistics.mean(means[1:]), took])  # fmt: skip
        return rows


class Means(Way):
    """Nearest means, in place of a tree."""

    def __init__(self, preset: str) -> None:
        super().__init__(preset, MEANS, {})

    def see(self, photographs: Mapping[str, Seen]) -> None:
        plain = self.parser.build(*photographs[PLAIN][:1], rgb=photographs[PLAIN][1])
        rows = {change: self._smoothed(*what) for change, what in photographs.items()}
        for count in REGIONS:
            cut = plain.cut(n_regions=count)
            own, grid = rows[PLAIN]
            regions = nearest(cut, grid).ravel()
            there = np.unique(regions)
            means = np.stack([own[regions == one].mean(axis=0) for one in there])
            labels = {
                change: nearest(
                    _nearest_mean(row, means).reshape(shape), _size(photographs[change])
                )
                for change, (row, shape) in rows.items()
            }
            for change in ALL:
                score = agreement(labels[PLAIN], labels[change], change)
                self.found.setdefault((count, change), []).append(score)

    def _smoothed(self, features: Features, rgb: Pixels | None) -> tuple[NDArray[Any], Any]:
        assert rgb is not None
        h, w, d = features.patches.shape
        unit = unit_rows(features.patches.reshape(h * w, d).float()).reshape(h, w, d)
        colours = torch.from_numpy(patch_colours(rgb, (h, w))).permute(1, 2, 0)
        smooth = self.parser.settings.smooth
        assert smooth.contrast is not None
        rows = smooth_features(unit, steps=smooth.steps, colours=colours, contrast=smooth.contrast)
        return rows.reshape(h * w, d).double().numpy(), (h, w)


def _size(what: Seen) -> tuple[int, int]:
    return what[0].image_size


def _nearest_mean(rows: NDArray[np.float64], means: NDArray[np.float64]) -> Labels:
    apart = (means**2).sum(axis=1) - 2 * rows @ means.T
    return apart.argmin(axis=1).astype(np.int32)


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=24, help="photographs  [24]")
    options.add_argument("--preset", nargs="+", choices=("default", "accurate", "fast"),
                         default=["default"])  # fmt: skip
    options.add_argument("--trees", nargs="+", choices=[*TREES, MEANS], default=[*TREES, MEANS])
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    ways: dict[str, list[Way]] = {
        preset: [
            Means(preset) if name == MEANS else Way(preset, name, TREES[name])
            for name in given.trees
        ]
        for preset in given.preset
    }
    eyes = {preset: Eye(preset) for preset in given.preset}
    for path in first_photographs(given.photos):
        rgb = load_image(path).rgb
        assert min(rgb.shape[:2]) > 2 * CROP
        for preset, eye in eyes.items():
            photographs = eye.all_seen(rgb)
            for way in ways[preset]:
                way.see(photographs)
    rows = [row for some in ways.values() for way in some for row in way.rows()]
    print_results("steady-trees", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
