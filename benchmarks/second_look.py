"""Does a second, closer look at a part of the photograph find more things?

Question
    A patch of the network is large beside a small thing. If the network sees one window of half
    the photograph's height and width again, at twice the size, how many more things are among the
    masks of the tree? And which part of this does a window have that was chosen without knowing
    the things?
Method
    The first photographs of coco_panoptic, default settings with 1000 parts. A window is one of
    nine, in rows of three, that overlap by half. The network sees it at the default's size, so a
    window costs as much as the whole photograph. Its features are moved by the difference of the
    means, so that the window as a whole is like the same place of the whole photograph. They fade
    in over three patches at its borders. The grid is twice as fine everywhere. Outside the window,
    each four patches are copies of the smoothed patch of the first look.
    The window is the one with the largest sum of squared gradients of the features; or, as an
    oracle, the one that holds most things of less than 96 x 96 pixels. *All windows* are averaged
    where they overlap. *Mirrored* is `views=2`, which costs as much as one window.
Printed
    AR of nodes and pieces as `recall.py` prints it, in percent: things by size, and all segments.

    python benchmarks/second_look.py
    python benchmarks/second_look.py --photos 8
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from _common import SUBSETS, arguments, data_folder, print_closing, print_heading, print_results
from recall import LIMITS
from torch import Tensor
from torch.nn.functional import interpolate, normalize

from regiontree import RegionParser
from regiontree.datasets.catalog import open_dataset
from regiontree.images.colours import patch_colours
from regiontree.metrics import RecallMetric, SegmentMap, ranked_masks
from regiontree.metrics.segmentmap import KINDS, kinds_of
from regiontree.spectral.smooth import smooth_features

WAYS = (
    "once",
    "once, on the finer grid",
    "mirrored",
    "one window, by gradients",
    "one window, by the truth",
    "all windows",
)
FADE = 3  # fine patches at a window's border
SMALL = 96**2  # pixels
Cells = tuple[slice, slice]
"""Rows and columns of patches."""


@dataclass(frozen=True, slots=True)
class Look:
    """A window, (slices of rows, of columns) of the coarse grid, and its features (2h, 2w, d)."""

    cells: Cells
    features: Tensor

    @property
    def fine(self) -> Cells:
        """The window on the grid that is twice as fine."""
        rows, columns = (slice(2 * one.start, 2 * one.stop) for one in self.cells)
        return rows, columns

    def pixels(self, grid: Sequence[int], size: Sequence[int]) -> Cells:
        """The window in a photograph of this size."""
        rows, columns = (
            slice(round(one.start * long / cells), round(one.stop * long / cells))
            for one, cells, long in zip(self.cells, grid, size, strict=True)
        )
        return rows, columns


def windows(grid: tuple[int, int]) -> list[Cells]:
    """Nine windows of half the grid's sides."""
    tall, wide = (-(-cells // 2) for cells in grid)
    return [
        (slice(top, top + tall), slice(left, left + wide))
        for top in (0, (grid[0] - tall) // 2, grid[0] - tall)
        for left in (0, (grid[1] - wide) // 2, grid[1] - wide)
    ]


def resized(features: Tensor, grid: Sequence[int]) -> Tensor:
    """Features (h, w, d) on another grid, bilinear."""
    planes = features.permute(2, 0, 1)[None]
    return interpolate(planes, size=tuple(grid), mode="bilinear")[0].permute(1, 2, 0)


def steepness(features: Tensor) -> Tensor:
    """Square of the summed distances of each patch to its four neighbours, (h, w)."""
    found = torch.zeros(features.shape[:2])
    for a, b in ((features[1:], features[:-1]), (features[:, 1:], features[:, :-1])):
        apart = 1 - (a * b).sum(dim=-1)
        tall, wide = apart.shape
        found[-tall:, -wide:] += apart
        found[:tall, :wide] += apart
    return found**2


def small_things(look: Look, grid: Sequence[int], maps: Sequence[SegmentMap]) -> int:
    """How many small things lie in the window by nine tenths."""
    count = 0
    for one in maps:
        seen = one.labels[look.pixels(grid, one.labels.shape)]
        inside, area = (np.bincount(at[at >= 0], minlength=len(one)) for at in (seen, one.labels))
        is_small = (area > 0) & (area < SMALL) & (np.array(one.kinds) == "things")
        count += int((is_small & (inside >= 0.9 * area)).sum())
    return count


def joined(parser: RegionParser, first: Tensor, looks: Iterable[Look], rgb: np.ndarray) -> Tensor:
    """Smoothed features on the finer grid; those of `looks` take the place of the first look's."""
    smooth = parser.settings.smooth

    def smoothed(features: Tensor, steps: int) -> Tensor:
        colours = torch.from_numpy(patch_colours(rgb, features.shape[:2])).permute(1, 2, 0)
        return smooth_features(
            normalize(features, dim=2), steps=steps, colours=colours, contrast=smooth.contrast
        )

    coarse = smoothed(first, smooth.steps).repeat_interleave(2, 0).repeat_interleave(2, 1)
    between = resized(first, coarse.shape[:2])
    total, weight = torch.zeros_like(between), torch.zeros((*between.shape[:2], 1))
    for look in looks:
        at = look.fine
        moved = look.features + (between[at] - look.features).mean(dim=(0, 1))
        rows, columns = (
            fading(own, cells) for own, cells in zip(at, between.shape[:2], strict=True)
        )
        own = (rows[:, None] * columns)[..., None]
        total[at] += own * moved
        weight[at] += own
    share = weight.clamp(max=1.0)
    mixed = share * total / weight.clamp(min=1e-9) + (1 - share) * between
    # As far as on the coarse grid: the spread of smoothing grows with the root of the steps.
    return torch.where(weight > 0, smoothed(mixed, 2 * smooth.steps), coarse)


def fading(window: slice, cells: int) -> Tensor:
    """Weights along a side of a window: 0 at its ends to 1, but 1 at the ends of the grid."""
    place = torch.arange(window.stop - window.start)
    start = place if window.start > 0 else torch.full_like(place, FADE)
    end = place.flip(0) if window.stop < cells else torch.full_like(place, FADE)
    return torch.minimum(start, end).clamp(max=FADE) / FADE


def measure(photos: int) -> dict[tuple[str, str], RecallMetric]:
    """Average recall of each way, of things and of all segments."""
    dataset = open_dataset(SUBSETS / "coco_panoptic.yaml", root=data_folder())
    usual = RegionParser(device="cpu", parts=1000)
    mirrored = RegionParser(device="cpu", parts=1000, views=2)
    as_it_is = RegionParser(device="cpu", parts=1000, smooth={"steps": 0})
    metrics = {(way, kind): RecallMetric(LIMITS) for way in WAYS for kind in ("things", "all")}
    for sample in dataset.samples[:photos]:
        maps, rgb = dataset.segments(sample), usual.pixels(sample.image)
        plain = usual.extract(sample.image)
        first = normalize(plain.patches.float(), dim=2)
        grid = (first.shape[0], first.shape[1])
        own = np.asarray(usual.sight.load(sample.image).rgb)
        looks = []
        for cells in windows(grid):
            empty = Look(cells, first)
            seen = usual.features(own[empty.pixels(grid, own.shape[:2])]).float()
            fine = [2 * (one.stop - one.start) for one in cells]
            looks.append(Look(cells, normalize(resized(seen, fine), dim=2)))
        steep = steepness(first)
        chosen: dict[str, list[Look]] = {
            "once, on the finer grid": [],
            "one window, by gradients": [max(looks, key=lambda at: float(steep[at.cells].sum()))],
            "one window, by the truth": [max(looks, key=lambda at: small_things(at, grid, maps))],
            "all windows": looks,
        }
        trees = {
            "once": usual.build(plain, rgb=rgb),
            "mirrored": mirrored.build(mirrored.extract(sample.image), rgb=rgb),
        }
        for way, looked in chosen.items():
            found = joined(usual, first, looked, rgb)
            size = plain.image_size
            trees[way] = as_it_is.build(found, rgb=rgb, image_size=size, overlap=2.0)
        kinds = kinds_of(maps)
        for way in WAYS:
            score, masks = ranked_masks(trees[way], maps)
            for kind in ("things", "all"):
                wanted = np.isin(kinds, KINDS if kind == "all" else [kind])
                metrics[way, kind].update(sample.id, score, masks.only(wanted))
    return metrics


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=60, help="photographs  [60]")
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    looks = dict(zip(WAYS, (1, 1, 2, 2, 2, 10), strict=True))
    rows: list[Sequence[object]] = []
    for (way, kind), metric in measure(given.photos).items():
        scores = metric.compute()
        figures = [scores.recall[size, 1000] for size in ("all", "small", "medium", "large")]
        rows.append(
            [way, looks[way], kind, scores.images, scores.segments,
             *(None if one is None else 100 * one for one in figures)]
        )  # fmt: skip
    print_results("second-look", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
