"""Do trees gain if the positions of patches are taken out of their features?

Question
    A patch's feature says where the patch lies, besides what it shows. Are trees better, or
    steadier under cropping and mirroring, if the directions that say where are projected off?
Method
    The network sees an image without content of the photograph's own size: one grey, black, the
    photograph's mean colour, or noise (the mean over four images). Its features differ only by
    position. Their leading singular directions, of features at unit length, with their mean taken
    off (centred) or not, are projected off the photograph's features before smoothing. INSID3 does
    so for matches between photographs (Cuttano et al., CVPR 2026). The default preset builds the
    trees, borders included. The four facets come from one pass of the embedded network. It is the
    only family with real weights here: figures of tiny random networks would mean nothing.

    Scores: at most --images of each data set. Steadiness: the first --photos photographs of
    coco_panoptic without 3 pixels on each side, and mirrored, as in ``steady.py``.
Printed
    For each facet and way: the share of the photographs' spread (squared distances to the mean
    feature) that is projected off; NM and NH at 24 nodes, and the covering of BSDS500, means over
    images, then over data sets; the gain in NM with its 95 % interval, by bootstrap over images;
    the data set that loses most, of those with four images or more; the mean adjusted Rand index
    of the cuts into 8 and 24 regions, and how much the mean of these four rises (steadier), with
    its interval over photographs.

    python benchmarks/positions.py
    python benchmarks/positions.py --facets value --images 24 --photos 40 --ranks 1 8 32
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from _common import (
    SUBSETS,
    arguments,
    chosen_samples,
    data_folder,
    first_photographs,
    print_closing,
    print_heading,
    print_results,
)
from numpy.typing import NDArray
from steady import CHANGES, REGIONS, Pixels, agreement
from torch import Tensor
from torch.nn.functional import normalize

from regiontree import RegionParser, RegionTree
from regiontree.backbones.embedded import EmbeddedBackbone
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset, Sample
from regiontree.images import LoadedImage, load_image, nearest
from regiontree.metrics import CoveringMetric, budget_nodes, contingency, region_counts
from regiontree.metrics.score import score_regions

FACETS = ("value", "key", "query", "token")
EMPTY = ("grey", "black", "mean colour", "noise")
LEVEL = {"grey": 0.5, "black": 0.0}
NOISE_IMAGES = 4
BUDGET = 24
MOVED = ("cropped", "mirrored")
DRAWS = 2000  # of the bootstrap
FEW = 4  # a mean over fewer images of a data set is not called its loss

Facets = dict[str, Tensor]  # (h, w, 384) of each facet


@dataclass(frozen=True, slots=True)
class Way:
    """What is taken off a facet: the `rank` leading directions of an image without content.

    Attributes
    ----------
    facet : str
    empty : str
        One of :data:`EMPTY`, or "none": features as they are.
    centred : bool
        Whether the mean of the features of that image is taken off before the decomposition.
    rank : int
    """

    facet: str
    empty: str = "none"
    centred: bool = True
    rank: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What the network saw: features of each facet, pixels for borders, (H, W), mean colour."""

    facets: Facets
    rgb: Pixels | None
    size: tuple[int, int]
    colour: Tensor

    @property
    def grid(self) -> tuple[int, int]:
        rows, columns, _ = self.facets["token"].shape
        return rows, columns


class Eye:
    """The default's network, whose last block gives all four facets in one pass."""

    def __init__(self) -> None:
        self.parser = RegionParser(device="cpu", backbone={"facet": "token"})
        network = self.parser.backbone
        assert isinstance(network, EmbeddedBackbone)
        self.network = network
        self.projected = torch.empty(0)
        network.model.blocks[-1].qkv.register_forward_hook(self._keep)
        self.kept: dict[tuple[str, tuple[int, int]], Facets] = {}

    def _keep(self, _module: object, _given: object, projected: Tensor) -> None:
        self.projected = projected

    def facets(self, pixels: Tensor) -> Facets:
        """Features of pixels (3, H, W)."""
        token = self.network.features(pixels[None])[0]
        h, w, d = token.shape
        query, key, value = self.projected[0, 1:].reshape(h, w, 3, d).float().unbind(2)
        return {"token": token, "query": query, "key": key, "value": value}

    def see(self, image: LoadedImage, rgb: Pixels | None) -> Seen:
        pixels = self.parser.sight.network_input(image, self.network.patch)
        return Seen(self.facets(pixels), rgb, image.size, pixels.mean(dim=(1, 2)))

    def empty(self, kind: str, seen: Seen) -> Facets:
        """Unit features of an image without content, of the size at which `seen` was seen."""
        if kind == "mean colour":
            return self._unit(self._even(seen.colour, seen.grid))
        if (kind, seen.grid) not in self.kept:
            self.kept[kind, seen.grid] = (
                self._noise(seen.grid)
                if kind == "noise"
                else self._unit(self._even(torch.full((3,), LEVEL[kind]), seen.grid))
            )
        return self.kept[kind, seen.grid]

    def _even(self, colour: Tensor, grid: tuple[int, int]) -> Tensor:
        height, width = (side * self.network.patch for side in grid)
        return colour[:, None, None].expand(3, height, width).contiguous()

    def _noise(self, grid: tuple[int, int]) -> Facets:
        draw = torch.Generator().manual_seed(0)
        shape = (3, *(side * self.network.patch for side in grid))
        seen = [self._unit(torch.rand(shape, generator=draw)) for _ in range(NOISE_IMAGES)]
        return {name: torch.stack([one[name] for one in seen]).mean(dim=0) for name in seen[0]}

    def _unit(self, pixels: Tensor) -> Facets:
        return {name: normalize(rows, dim=-1) for name, rows in self.facets(pixels).items()}


class Ways:
    """All ways, each with the directions that it takes off."""

    def __init__(self, eye: Eye, ways: list[Way]) -> None:
        self.eye, self.ways = eye, ways
        self.parser = RegionParser(device="cpu")
        self.removed: dict[Way, list[float]] = {way: [] for way in ways}

    def trees(self, seen: Seen) -> Iterator[tuple[Way, RegionTree]]:
        empty = {kind: self.eye.empty(kind, seen) for kind in {way.empty for way in self.ways}
                 if kind != "none"}  # fmt: skip
        for way in self.ways:
            features = seen.facets[way.facet]
            if way.empty != "none":
                base = directions(empty[way.empty][way.facet], way.centred)[:, : way.rank]
                rows = normalize(features, dim=-1)
                features = projected_off(rows, base)
                self.removed[way].append(spread_lost(rows, features))
            yield way, self.parser.build(features, rgb=seen.rgb, image_size=seen.size)


def directions(features: Tensor, centred: bool) -> Tensor:
    """Right singular vectors of features (h, w, d), (d, d), one a column, the leading first."""
    rows = features.flatten(0, 1).double()
    if centred:
        rows = rows - rows.mean(dim=0)
    return torch.linalg.eigh(rows.T @ rows).eigenvectors.flip(1)


def projected_off(features: Tensor, base: Tensor) -> Tensor:
    """Features (h, w, d) without what lies in the span of `base` (d, r), orthonormal columns."""
    base = base.to(features.dtype)
    return features - (features @ base) @ base.T


def spread_lost(before: Tensor, after: Tensor) -> float:
    """Share of the variance of features over patches that a projection took off."""
    was, left = (float(rows.flatten(0, 1).var(dim=0).sum()) for rows in (before, after))
    return 1 - left / was


# -- scores ---------------------------------------------------------------------------------------


def score(tree: RegionTree, dataset: Dataset, masks: list[NDArray[np.int32]]) -> list[float]:
    """NM and NH at 24 nodes, or twice the covering of a data set without classes."""
    labels = nearest(tree.labels, masks[0].shape)
    tables = [contingency(labels, mask, tree.n_leaves) for mask in masks]
    if dataset.labels is None:
        metric = CoveringMetric()
        metric.update("image", tree.parents, tree.height, tables)
        return [metric.compute().ois] * 2
    classes = dataset.labels.classes()
    counts = region_counts(tree.parents, tables[0], classes)
    found = score_regions(tree.parents, *counts, classes,
                          nodes=budget_nodes(tree.parents, tree.height, BUDGET))  # fmt: skip
    return [np.nan] * 2 if found is None else [found.nm, found.nh]


Scores = dict[str, dict[Way, list[list[float]]]]  # of each data set


def scored(ways: Ways, limit: int) -> Scores:
    found: Scores = {}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        dataset = open_dataset(spec, None, data_folder())
        own = found[spec.stem] = {way: [] for way in ways.ways}
        samples = chosen_samples(dataset, limit)
        for sample in samples:
            masks = dataset.truths(sample)
            for way, tree in ways.trees(seen_sample(ways.eye, sample)):
                own[way].append(score(tree, dataset, masks))
        print(f"{spec.stem}: {len(samples)}", flush=True)
    return found


def seen_sample(eye: Eye, sample: Sample) -> Seen:
    image = eye.parser.sight.load(sample.image)
    return eye.see(image, eye.parser.pixels(sample.image, decoded=image))


Agreements = dict[tuple[Way, str, int], list[float]]


def steadiness(ways: Ways, photos: int) -> Agreements:
    """Agreement of cuts of each photograph with those of the changed one, by change and size."""
    found: Agreements = {}
    for path in first_photographs(photos):
        rgb = load_image(path).rgb
        plain = dict(ways.trees(seen_pixels(ways.eye, rgb)))
        for change in MOVED:
            for way, tree in ways.trees(seen_pixels(ways.eye, CHANGES[change](rgb))):
                for count in REGIONS:
                    cuts = (one.cut(n_regions=count) for one in (plain[way], tree))
                    found.setdefault((way, change, count), []).append(agreement(*cuts, change))
    return found


def seen_pixels(eye: Eye, rgb: Pixels) -> Seen:
    photo = np.ascontiguousarray(rgb)
    return eye.see(eye.parser.sight.load(photo), eye.parser.pixels(photo))


# -- printed and written --------------------------------------------------------------------------


def table(ways: Ways, scores: Scores, agreements: Agreements) -> list[list[object]]:
    """A row of the table `positions` for each way."""
    by_class = {name: own for name, own in scores.items() if name != "bsds500"}
    rows: list[list[object]] = []
    for way in ways.ways:
        own = {name: _complete(of, ways.ways)[:, ways.ways.index(way)]
               for name, of in by_class.items()}  # fmt: skip
        as_it_is = ways.ways.index(Way(way.facet))
        gains = {name: own[name][:, 0] - _complete(of, ways.ways)[:, as_it_is, 0]
                 for name, of in by_class.items()}  # fmt: skip
        nm, nh = (100 * np.mean([of[:, i].mean() for of in own.values()]) for i in (0, 1))
        change: list[object] = [None] * 5
        if way.empty != "none":
            mean = 100 * np.mean([of.mean() for of in gains.values()])
            ends = [100 * end for end in _interval(gains.values())]
            change = [mean, *ends, *_worst(gains)]
        removed = 100 * np.mean(ways.removed[way]) if ways.removed[way] else 0.0
        rows.append([
            way.facet, way.empty, "" if way.empty == "none" else "yes" if way.centred else "no",
            way.rank, sum(map(len, own.values())), removed, nm, nh, *change,
            100 * np.mean(scores["bsds500"][way], axis=0)[0] if "bsds500" in scores else None,
            len(agreements[way, MOVED[0], REGIONS[0]]),
            *_cuts(agreements, way).mean(axis=1),
            *(_steadier(agreements, way) if way.empty != "none" else [None] * 3),
        ])  # fmt: skip
    return rows


def _complete(own: Mapping[Way, list[list[float]]], ways: list[Way]) -> NDArray[np.float64]:
    """(images, ways, 2) scores of the images that have scores."""
    rows = np.array([own[way] for way in ways]).swapaxes(0, 1)
    return rows[~np.isnan(rows).any(axis=(1, 2))]


def _cuts(agreements: Agreements, way: Way) -> NDArray[np.float64]:
    """(4, photographs) agreements of a way: both changes at both numbers of regions."""
    return np.array([agreements[way, moved, count] for moved in MOVED for count in REGIONS])


def _steadier(agreements: Agreements, way: Way) -> list[float]:
    """The gain in the mean agreement over features as they are, and the ends of its interval."""
    ours, theirs = (_cuts(agreements, one).mean(axis=0) for one in (way, Way(way.facet)))
    return [float((ours - theirs).mean()), *_interval([ours - theirs])]


def _interval(gains: Iterable[NDArray[np.float64]]) -> list[float]:
    """Ends of the 95 % interval of the mean over sets of gains, each gain drawn within its set."""
    rng = np.random.default_rng(1234)
    drawn = [own[rng.integers(len(own), size=(DRAWS, len(own)))].mean(axis=1) for own in gains]
    low, high = np.percentile(np.mean(drawn, axis=0), (2.5, 97.5))
    return [float(low), float(high)]


def _worst(gains: Mapping[str, NDArray[np.float64]]) -> tuple[str | None, float | None]:
    """The data set of at least FEW images with the lowest mean gain, and that gain in percent."""
    means = {name: 100 * float(own.mean()) for name, own in gains.items() if len(own) >= FEW}
    if not means:
        return None, None
    name = min(means, key=lambda one: means[one])
    return name, means[name]


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--images", type=int, default=6, help="of each data set  [6]")
    options.add_argument("--photos", type=int, default=16, help="photographs to change  [16]")
    options.add_argument("--facets", nargs="+", choices=FACETS, default=list(FACETS))
    options.add_argument("--empty", nargs="+", choices=EMPTY, default=["grey"])
    options.add_argument("--ranks", type=int, nargs="+", default=[2, 8, 32])
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    ways = [
        way
        for facet in given.facets
        for way in [Way(facet), *(Way(facet, empty, centred, rank) for empty in given.empty
                                  for centred in (True, False) for rank in given.ranks)]
    ]  # fmt: skip
    every = Ways(Eye(), ways)
    scores = scored(every, given.images)
    agreements = steadiness(every, given.photos)
    print_results("positions", table(every, scores, agreements), given.csv)
    print_closing()


if __name__ == "__main__":
    main()
