"""How well does the default find thin things, with and without springs that move?

Question: poles, wires and fences are thinner than a patch. Does a tree have a node for them, and
what do moving springs (refine/springs.py) gain?

Method: things of 4 and 8 pixels are drawn before the landscape of failures.py, 768 x 512 pixels,
dark and light, at several offsets to the patches, one thing in each drawing. Each drawing is parsed
with the default settings, once as it is and once with every spring at the centre of its patch. The
features are the same. A thing's IoU is that of the best node of the tree. Slanted things have soft
edges.

Printed: the median and the least IoU over offsets and tones, for each width and kind of thing, and
for all kinds.

    python benchmarks/poles.py
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import product
from unittest.mock import patch

import numpy as np
import torch
from _common import arguments, print_closing, print_heading, print_results
from failures import TALL, WIDE, landscape
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from regiontree import RegionParser, RegionTree
from regiontree.tree.kernel import accumulate_sum

Line = list[tuple[float, float]]  # x and y of its corners, along its middle

THINGS = ("vertical", "horizontal", "steep", "shallow", "wire", "fence")
WIDTHS = (4, 8)
TONES = {"dark": (70, 60, 55), "light": (235, 230, 220)}
FINE = 4  # pixels drawn for one pixel of the drawing
PATCH = 22  # pixels after which the offsets to the patches repeat, nearly
WAYS = ("centres", "moved")


def lines(thing: str, width: int, shift: int) -> list[Line]:
    """The lines that a thing of a drawing consists of; those of 8 pixels lie elsewhere."""
    second = width == WIDTHS[1]
    middle = shift + width / 2
    if thing == "vertical":
        x = middle + (500 if second else 220)
        return [[(x, 90), (x, 401)]]
    if thing == "horizontal":
        y = middle + (220 if second else 90)
        return [[(120, y), (650, y)]]
    if thing == "steep":
        x = shift + (420 if second else 160)
        return [[(x, 400), (x + 160, 90)]]
    if thing == "shallow":
        y = shift + (150 if second else 60)
        return [[(100 + shift, y), (640 + shift, y + 150)]]
    if thing == "wire":
        y = shift + (170 if second else 50)
        return [[(x, y + 100 - 100 * ((x - 384) / 300) ** 2) for x in range(84, 685, 10)]]
    x = middle + (430 if second else 60)
    bars: list[Line] = [[(x + step, 150), (x + step, 401)] for step in range(0, 241, 60)]
    return [*bars, [(x, 200 + shift), (x + 240, 200 + shift)]]


def covered(some: list[Line], width: int) -> NDArray[np.float64]:
    """How much of each pixel the lines cover, (H, W), 0 to 1."""
    picture = Image.new("L", (FINE * WIDE, FINE * TALL), 0)
    draw = ImageDraw.Draw(picture)
    for line in some:
        for start, end in zip(np.array(line), np.array(line)[1:], strict=False):
            along = (end - start) / np.hypot(*(end - start))
            aside = np.array([-along[1], along[0]]) * width / 2
            corners = (start + aside, end + aside, end - aside, start - aside)
            # Pixels of the drawing are whole, so the last one lies within the line.
            draw.polygon([tuple((FINE * at - 0.5).tolist()) for at in corners], fill=255)
    return np.asarray(picture.resize((WIDE, TALL), Image.Resampling.BOX)) / 255


def drawings(
    thing: str, width: int, shifts: int
) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.bool_]]]:
    """Drawings of a thing, and its pixels, (H, W) bool."""
    for tone in TONES.values():
        for shift in np.linspace(0, PATCH, shifts, endpoint=False).round().astype(int).tolist():
            share = covered(lines(thing, width, shift), width)
            picture = landscape().astype(float)
            picture += share[:, :, None] * (np.array(tone) - picture)
            yield picture.round().astype(np.uint8), share >= 0.5


def best_iou(tree: RegionTree, mask: NDArray[np.bool_]) -> float:
    """The IoU of the node that is most like the mask."""
    inside = np.bincount(tree.labels[mask], minlength=tree.n_nodes)
    both = accumulate_sum(tree.parents, inside)
    return float((both / (tree.area + mask.sum() - both)).max())


def springs_stay() -> AbstractContextManager[object]:
    """A context in which every spring is the centre of its patch."""
    return patch("regiontree.refine.guided.moved_springs", lambda leaf, springs, *others: springs)


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--shifts", type=int, default=3, help="offsets to the patches  [3]")
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    parser = RegionParser(device="cpu")
    found: dict[tuple[str, int, str], list[float]] = {}
    for thing, width in product(THINGS, WIDTHS):
        for picture, mask in drawings(thing, width, given.shifts):
            features = parser.extract(parser.sight.load(picture))
            for way in WAYS:
                with springs_stay() if way == "centres" else nullcontext():
                    tree = parser.build(features, rgb=parser.pixels(picture))
                iou = best_iou(tree, mask)
                for name in (thing, "all"):
                    found.setdefault((name, width, way), []).append(iou)
    rows = [
        [thing, width, way, len(ious), float(np.median(ious)), min(ious)]
        for (thing, width, way), ious in found.items()
    ]
    rows.sort(key=lambda row: (row[0] == "all", row[1]))
    print_results("poles", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
