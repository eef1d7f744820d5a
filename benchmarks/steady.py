"""How steady is a tree if the photograph changes in a way that no viewer would notice?

Question
    How far do cuts of a tree agree with those of the same photograph recompressed, cropped, scaled,
    mirrored or darkened, if the network sees the photograph once, twice or four times?
Method
    The first photographs of coco_panoptic, each parsed as it is and changed in five ways:
    recompressed as JPEG of quality 75; without 3 pixels on each side; scaled to 94 %; mirrored;
    15 % darker. The cut of the changed photograph is brought back to the pixels of the plain one,
    and only pixels that both have are compared. All numbers of views run in turn on each
    photograph.
Printed
    Mean adjusted Rand index of the cuts at 8 and at 24 regions, by change; the median time of a
    tree, refined, as wall time and as processor time.

    python benchmarks/steady.py
    python benchmarks/steady.py --preset default --views 1 2
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from itertools import product

import numpy as np
import torch
from _agreement import adjusted_rand_index
from _common import arguments, first_photographs, print_closing, print_heading, print_results
from numpy.typing import NDArray
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.images import load_image

CROP = 3  # pixels on each side
SCALE = 0.94
DARKER = 0.85
REGIONS = (8, 24)

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int32]


def recompressed(rgb: Pixels) -> Pixels:
    held = io.BytesIO()
    Image.fromarray(rgb).save(held, "JPEG", quality=75)
    return np.asarray(Image.open(held))


def cropped(rgb: Pixels) -> Pixels:
    return rgb[CROP:-CROP, CROP:-CROP]


def scaled(rgb: Pixels) -> Pixels:
    height, width = (round(SCALE * side) for side in rgb.shape[:2])
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS))


def darker(rgb: Pixels) -> Pixels:
    return np.round(DARKER * rgb.astype(np.float32)).astype(np.uint8)


def mirrored(rgb: Pixels) -> Pixels:
    return rgb[:, ::-1]


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "jpeg_75": recompressed, "cropped": cropped, "scaled": scaled, "mirrored": mirrored,
    "darker": darker,
}  # fmt: skip


def aligned(plain: Labels, other: Labels, change: str) -> tuple[Labels, Labels]:
    """Labels of a photograph and of the changed one, on the pixels that both have."""
    if change == "mirrored":
        other = other[:, ::-1]
    elif change == "cropped":
        plain = plain[CROP:-CROP, CROP:-CROP]
    elif change == "scaled":
        rows, columns = (
            ((np.arange(side) + 0.5) * given / side).astype(int)
            for side, given in zip(plain.shape, other.shape, strict=True)
        )
        other = other[np.ix_(rows, columns)]
    return plain, other


def agreement(plain: Labels, other: Labels, change: str) -> float:
    """Adjusted Rand index of two cuts on the pixels that both have."""
    return adjusted_rand_index(*aligned(plain, other, change))


class Way:
    """A preset with a number of views, and what was found with it."""

    def __init__(self, preset: str, views: int) -> None:
        self.preset, self.views = preset, views
        self.parser = RegionParser(preset=preset, views=views, device="cpu")
        self.wall: list[float] = []
        self.processor: list[float] = []
        self.found: dict[tuple[int, str], list[float]] = {}

    def tree(self, rgb: Pixels) -> RegionTree:
        wall, processor = time.perf_counter(), time.process_time()
        tree = self.parser.parse(np.ascontiguousarray(rgb))
        self.processor.append(time.process_time() - processor)
        self.wall.append(time.perf_counter() - wall)
        return tree

    def see(self, rgb: Pixels) -> None:
        """Compare the photograph's cuts with those of the changed photograph."""
        plain = self.tree(rgb)
        for change, changed in CHANGES.items():
            other = self.tree(changed(rgb))
            for count in REGIONS:
                cuts = (tree.cut(n_regions=count) for tree in (plain, other))
                self.found.setdefault((count, change), []).append(agreement(*cuts, change))

    def rows(self) -> list[list[object]]:
        """A row of the table `steady` for each number of regions."""
        photographs = len(self.found[REGIONS[0], "darker"])
        times = statistics.median(self.wall), statistics.median(self.processor)
        rows: list[list[object]] = []
        for count in REGIONS:
            means = [statistics.mean(self.found[count, change]) for change in CHANGES]
            rows.append([self.preset, self.views, photographs, count, *means,
                         statistics.mean(means), *times])  # fmt: skip
        return rows


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=8, help="photographs  [8]")
    options.add_argument("--views", type=int, nargs="+", choices=(1, 2, 4), default=[1, 2, 4])
    options.add_argument(
        "--preset", nargs="+", choices=("default", "accurate"), default=["default", "accurate"]
    )
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    ways = [Way(preset, views) for preset, views in product(given.preset, given.views)]
    for path in first_photographs(given.photos):
        rgb = load_image(path).rgb
        for way in ways:
            way.see(rgb)
    print_results("steady", [row for way in ways for row in way.rows()], given.csv)
    print_closing()


if __name__ == "__main__":
    main()
