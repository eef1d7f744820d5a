"""What do tiles show of large photographs, do they leave seams, and what do they cost?

Question
    The network sees a photograph at 518 pixels (four views: a patch for 7 of them). With tiles
    (:mod:`regiontree.backbones.tiles`) it also sees it at --sizes pixels, a tile of 518 at a time.
    Are the trees better, at equal numbers of nodes? Does it show where tiles end? What do large
    photographs cost?
Method
    detail: at most --images of each data set, those of at least 700 pixels. Trees of --parts from
    the whole alone; the whole's features on the tiles' grid (what is gained by the finer grid and
    photograph only); both at several weights of the whole. The watershed works on the photograph
    at 840 pixels, or at the tiles' size if that is more, up to the photograph's own. Scores at full
    size, means of trees from three seeds, over images, then over data sets: NM and NH at 24 nodes
    and with all of them, F2 of the cut into 24 regions (:mod:`refine`).
    seams: --photos photographs, largest size. How often a border between regions runs where a tile
    ends, as a multiple of how often it runs anywhere (1: no seam), for blended tiles and for plain
    averages; and what share of patches changes region when tiles begin 6 patches further on, beside
    what another seed of k-means changes.
    cost: photographs of --cost pixels, an enlarged one with noise. Seconds and peak memory of each
    step in a fresh process. The network is replaced by a small linear one; what it takes itself is
    the number of tiles times a forward pass, and is printed.

    python benchmarks/tiles.py detail
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    SUBSETS,
    PeakMemory,
    arguments,
    data_folder,
    is_child,
    photographs,
    print_closing,
    print_heading,
    print_results,
    run_child,
    seconds,
)
from numpy.typing import NDArray
from PIL import Image
from refine import _mean, boundary_f, classes_of
from torch import Tensor
from torch.nn import functional

from regiontree import RegionParser, RegionTree
from regiontree.backbones import Backbone, FeatureSpec, load_backbone, pick_dtype, tiles
from regiontree.backbones.tiles import Tiled
from regiontree.backbones.views import Views, grid_overlap
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.images import fitted, grid_of, load_image
from regiontree.metrics import budget_nodes, contingency, region_counts
from regiontree.metrics.boundary import TrueBorders, true_borders
from regiontree.metrics.score import score_regions

LEAST = 700
SEEDS = (1234, 1, 2)
CPU = torch.device("cpu")
Picture = NDArray[np.uint8]


def pixels_of(rgb: Picture, size: int, patch: int) -> Tensor:
    """(1, 3, H, W) uint8, whole patches."""
    rows, columns = grid_of(rgb.shape[:2], size, patch)
    picture = Image.fromarray(rgb).resize(
        (columns * patch, rows * patch), Image.Resampling.BILINEAR
    )
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None]


def network() -> Backbone:
    return load_backbone("embedded", CPU, pick_dtype("auto", CPU), FeatureSpec(descriptor="none"))


# -- detail ---------------------------------------------------------------------------------------


def detail(
    only: list[str],
    limit: int,
    sizes: list[int],
    contexts: list[float],
    parts: list[int],
    csv: Path | None,
) -> None:
    root = data_folder()
    seen = network()
    found: dict[tuple[str, int], dict[str, list[list[float]]]] = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        if only and spec.stem not in only:
            continue
        dataset = open_dataset(spec, None, root)
        if dataset.labels is None:
            continue
        large = [s for s in dataset.samples if max(Image.open(s.image).size) >= LEAST][:limit]
        for sample in large:
            scores = scored(
                seen, load_image(sample.image).rgb, dataset, sample, sizes, contexts, parts
            )
            for way, row in scores.items():
                found.setdefault(way, {}).setdefault(spec.stem, []).append(row)
    means = [
        [*way, *(100 * _mean([_mean(images) for images in sets.values()]))]
        for way, sets in found.items()
    ]
    print_results("tiles-detail", means, csv)
    of_sets = [
        [*way, name, len(images), *(100 * _mean(images))]
        for way, sets in found.items()
        for name, images in sets.items()
    ]
    print_results("tiles-detail-sets", of_sets, csv, "sets")


def scored(
    seen: Backbone,
    rgb: Picture,
    dataset: Dataset,
    sample: Any,
    sizes: list[int],
    contexts: list[float],
    parts: list[int],
) -> dict[tuple[str, int], list[float]]:
    """Scores of a photograph's trees, by way and number of parts."""
    mask = dataset.truth(sample)
    truth = true_borders(classes_of(mask, dataset))
    whole = once(Views(seen, 4))
    view = pixels_of(rgb, 518, whole.patch).float() / 255
    # Views make the whole's grid finer than the patches that the network sees, tiles do not.
    ways: dict[str, tuple[Tensor, int, int]] = {"whole": (whole.features(view)[0], 4, 840)}
    for size in sizes:
        tile = once(seen)
        for context in (1.0, *contexts):
            mixed = Tiled(tile, whole, context=context).features(pixels_of(rgb, size, seen.patch))[
                0
            ]
            name = "whole's" if context == 1 else f"{context:g} whole"
            ways[f"{size}: {name}"] = mixed, 1, max(840, min(size, max(rgb.shape)))
    return {
        (way, count): scores(*given, rgb, mask, truth, dataset, count)
        for way, given in ways.items()
        for count in parts
    }


class once:  # noqa: N801, reads as what it does
    """A backbone that keeps what it made of each view."""

    def __init__(self, backbone: Backbone) -> None:
        self.__dict__ |= {n: getattr(backbone, n) for n in ("name", "digest", "patch", "dim")}
        self.device, self.dtype = backbone.device, backbone.dtype
        self._backbone = backbone
        self._kept: dict[bytes, Tensor] = {}

    def features(self, pixels: Tensor) -> Tensor:
        key = pixels.numpy().tobytes()
        if key not in self._kept:
            self._kept[key] = self._backbone.features(pixels)
        return self._kept[key]


def scores(
    features: Tensor,
    views: int,
    size: int,
    rgb: Picture,
    mask: Any,
    truth: TrueBorders,
    dataset: Dataset,
    parts: int,
) -> list[float]:
    tall, wide = fitted(rgb.shape[:2], size)
    photo = np.asarray(Image.fromarray(rgb).resize((wide, tall), Image.Resampling.BILINEAR))
    rows = []
    for seed in SEEDS:
        parser = RegionParser(backbone="precomputed:-", parts=parts, seed=seed)
        overlap = grid_overlap(views, None)
        tree = parser.build(features, rgb=photo, image_size=mask.shape, overlap=overlap)
        rows.append(score(tree, mask, truth, dataset))
    return _mean(rows).tolist()


def score(tree: RegionTree, mask: Any, truth: TrueBorders, dataset: Dataset) -> list[float]:
    assert dataset.labels is not None
    classes = dataset.labels.classes()
    counts = region_counts(tree.parents, contingency(tree.labels, mask, tree.n_leaves), classes)
    row = []
    for budget in (24, None):
        found = score_regions(
            tree.parents, *counts, classes, nodes=budget_nodes(tree.parents, tree.height, budget)
        )
        row += [np.nan, np.nan] if found is None else [found.nm, found.nh]
    return [*row, boundary_f(tree.cut(n_regions=24), truth)[0]]


# -- seams ----------------------------------------------------------------------------------------


def seams(sizes: list[int], contexts: list[float], photos: int, csv: Path | None) -> None:
    seen = network()
    found: dict[str, list[tuple[float, float, float]]] = {}
    for photo in photographs(photos):
        rgb = load_image(photo.source).rgb
        for way, row in seams_of(rgb, max(sizes), contexts, seen).items():
            found.setdefault(way, []).append(row)
    rows = []
    for way, each in found.items():
        ratio, moved, seeded = np.mean(each, axis=0)
        rows.append([way, ratio, 100 * moved, 100 * seeded])
    print_results("tiles-seams", rows, csv)


def seams_of(
    rgb: Picture, size: int, contexts: list[float], seen: Backbone
) -> dict[str, tuple[float, float, float]]:
    """The three figures of a photograph for each way of joining tiles."""
    tile, whole = once(seen), once(Views(seen, 4))
    pixels = pixels_of(rgb, size, seen.patch)
    begin, bump = tiles.tile_starts, tiles.tile_window
    columns = pixels.shape[3] // seen.patch
    ends = {end - 1 for start in begin(columns, 37) for end in (start, start + 37)}
    inside = sorted(end for end in ends if 0 <= end < columns - 1)

    def cut(context: float, *, shift: int = 0, flat: bool = False, seed: int = 1234) -> Any:
        def moved(cells: int, side: int) -> list[int]:
            starts = begin(cells, side)  # the first and the last stay at the photograph's ends
            return [starts[0], *(start + shift for start in starts[1:-1]), starts[-1]]

        tiles.tile_starts = moved if shift else begin
        tiles.tile_window = np.ones if flat else bump
        features = Tiled(tile, whole, context=context).features(pixels)[0]
        tiles.tile_starts, tiles.tile_window = begin, bump
        parser = RegionParser(backbone="precomputed:-", refine="none", seed=seed)
        return parser.build(features, rgb=rgb).cut(n_regions=24)

    found = {}
    for context in contexts:
        for flat in (False, True):
            here = cut(context, flat=flat)
            border = (here[:, 1:] != here[:, :-1]).mean(axis=0)
            found[f"{context:g} whole, {'averaged' if flat else 'blended'}"] = (
                float(border[inside].mean() / border.mean()),
                changed(here, cut(context, flat=flat, shift=6)),
                changed(here, cut(context, flat=flat, seed=7)),
            )
    return found


def changed(one: Any, other: Any) -> float:
    """Share of patches in another region, regions matched one to one by what they share."""
    from scipy.optimize import linear_sum_assignment

    table = np.zeros((one.max() + 1, other.max() + 1))
    np.add.at(table, (one.ravel(), other.ravel()), 1)
    pairs = linear_sum_assignment(table, maximize=True)
    return float(1 - table[pairs].sum() / one.size)


# -- cost -----------------------------------------------------------------------------------------


class Linear:
    """Random projections of a patch's 4 x 4 mean colours: what costs nothing beside the rest."""

    name, digest, patch, dim, device, dtype = "linear", "", 14, 384, CPU, torch.float32

    def __init__(self) -> None:
        self._mix = torch.randn(48, 384, generator=torch.Generator().manual_seed(0))

    def features(self, pixels: Tensor) -> Tensor:
        count, _, height, width = pixels.shape
        h, w = height // 14, width // 14
        means = functional.adaptive_avg_pool2d(pixels, (4 * h, 4 * w))
        means = means.reshape(count, 3, h, 4, w, 4).permute(0, 2, 4, 1, 3, 5)
        return torch.tanh((means.reshape(count, h, w, 48) - 0.5) @ self._mix)


def cost(width: int, height: int, parts: int) -> dict[str, Any]:
    """Seconds and bytes above the photograph of tiles and tree, and how many tiles."""
    source = photographs(1)[0].source
    rgb = np.array(Image.fromarray(load_image(source).rgb).resize((width, height)))
    noise = np.random.default_rng(0)
    for row in range(0, height, 256):
        rows = rgb[row : row + 256]
        rgb[row : row + 256] = np.clip(rows + noise.normal(0, 6, rows.shape), 0, 255)
    seen = Tiled(Linear(), Linear())
    parser = RegionParser(backbone="precomputed:-", parts=parts)
    kept: dict[str, Any] = {}

    def features() -> None:
        kept["features"] = seen.features(pixels_of(rgb, max(rgb.shape), 14))[0]

    def tree() -> None:
        kept["tree"] = parser.build(kept["features"], rgb=rgb, image_size=rgb.shape[:2])

    found: dict[str, Any] = {}
    base = None
    for name, step in (("tiles", features), ("tree", tree)):
        with PeakMemory(base) as memory:
            found[name] = seconds(step)
        base = memory.base
        found[f"{name} bytes"] = memory.extra
    grid = kept["features"].shape[:2]
    return found | {"patches": grid[0] * grid[1], "count": seen.tiles(grid)}


def print_cost(sizes: list[str], csv: Path | None) -> None:
    view = torch.rand(1, 3, 518, 518)
    seen = network()
    seen.features(view)
    forward = min(seconds(lambda: seen.features(view)) for _ in range(5))
    rows = []
    for size in sizes:
        width, height = map(int, size.split("x"))
        parts = min(2000, max(400, round(400 * (width * height / 1_073_296) ** 0.5)))
        found = run_child(__file__, "cost", width=width, height=height, parts=parts)
        rows.append([
            size, found["patches"], parts, found["count"], found["count"] * forward / 60,
            found["tiles"], found["tiles bytes"] / 1e9, found["tree"], found["tree bytes"] / 1e9,
        ])  # fmt: skip
    print_results("tiles-cost", rows, csv)
    print(f"One tile takes the network {forward:.2f} s here; GB are above the photograph.\n")


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("what", choices=("detail", "seams", "cost"))
    options.add_argument("--only", nargs="+", default=[], help="data sets")
    options.add_argument("--images", type=int, default=6, help="of each data set")
    options.add_argument("--photos", type=int, default=6, help="for seams")
    options.add_argument("--sizes", type=int, nargs="+", default=[1036])
    options.add_argument("--contexts", type=float, nargs="+", default=[0.9, 0.75, 0.5])
    options.add_argument("--parts", type=int, nargs="+", default=[400])
    options.add_argument("--cost", nargs="+", default=["4000x3000", "8000x6000", "12000x12000"])
    given = options.parse_args()
    print_heading("tiles.py")
    start = time.perf_counter()
    ways: dict[str, Callable[[], None]] = {
        "detail": lambda: detail(
            given.only, given.images, given.sizes, given.contexts, given.parts, given.csv
        ),
        "seams": lambda: seams(given.sizes, given.contexts, given.photos, given.csv),
        "cost": lambda: print_cost(given.cost, given.csv),
    }
    ways[given.what]()
    print(f"{time.perf_counter() - start:.0f} s in all")
    print_closing()


if __name__ == "__main__":
    if not is_child({"cost": cost}):
        main()
