"""What does moving leaves from patch grid to the edges of the photograph gain, and at what cost?

Reads the features that ``results.py --preset PRESET`` left in ``--output``, at most ``--images`` of
each data set in the order of the hash of their ids, and builds their trees anew on the patch grid.
Only the leaf of pixels differs between the ways; the tree is the same.

- patch grid: each pixel takes the leaf of the patch that it lies in (``--refine none``).
- bilinear: of the leaves of the four patches around it, the one that bilinear weights favour.
- coarse edges, fine edges: the watershed of :mod:`regiontree.refine.guided` on one of its two edge
  images only. guided: on both, after patches have moved between large regions, as it is used; once
  more without their moving, with half the blur of the coarse one, with deeper bowls around the
  middles of patches, without the removal of specks, without that of threads, and twice as fine: on
  the photograph at up to twice the size that the network sees, where the photograph has those
  pixels. The two with one edge image move no patches.
- crf: the fully connected CRF of :mod:`regiontree.refine.leafcrf` on the photograph's own size, as
  ``--refine crf`` runs it. It takes seconds an image, so only the first ``--crf-images`` of each
  data set are done, and compared with the other ways on the same images in a table of their own.
- within reach: knows the truth. Each pixel takes its own patch's leaf if the class that most of
  this leaf's pixels are of is the pixel's, else the first leaf in the 3 x 3 patches around it of
  which that is so. What is above this would need another tree. Its means are without BSDS500,
  which has no classes.

Scores are of the full size of the photograph, means over images, then over data sets:

- NM, NH: NMCovering and NHCovering of the class tree with 24 nodes; NM all: with all nodes.
- F2, F5: boundary F at a distance of 2 and 5 pixels, of the cut into as many regions as the ground
  truth has classes (2 at least); best F2, best F5: of the best of the cuts into 3, 6, 10, 16, 30
  and 60 regions, image by image. A border is the pixels that differ from the next one right or
  below; precision is the share of the cut's that lie near one of the truth's, recall the reverse.
  Ignored pixels take the nearest class, as most of them are margins around objects, and borders
  more than 6 pixels inside them are left out on both sides.
- covering: BSDS500, each image at its own best scale; its boundary F is against the finest
  annotator.

Times are of an 840 x 840 photograph and the default's features with --threads threads, the ways in
turn, 5 turns after an untimed one, but for the CRF, which is timed once; memory is the most a fresh
process held above what it held before. Trees have 400 leaves, or as many as the row says.

    python benchmarks/refine.py --preset default
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    SUBSETS,
    PeakMemory,
    arguments,
    chosen_samples,
    data_folder,
    interleave,
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
from torch import Tensor

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import load_features
from regiontree.datasets.catalog import open_dataset
from regiontree.datasets.dataset import Dataset
from regiontree.errors import SettingsError
from regiontree.images import load_image, nearest
from regiontree.metrics import (
    CoveringMetric,
    boundary_scores,
    budget_nodes,
    contingency,
    region_counts,
)
from regiontree.metrics.boundary import TrueBorders, true_borders
from regiontree.metrics.score import score_regions
from regiontree.refine import Guided, LeafCrf, PatchLeaves, Refinement
from regiontree.settings import PRESETS
from regiontree.spectral.affinity import unit_rows

PRESET = "default"
BUDGET = 24
CUTS = (3, 6, 10, 16, 30, 60)
DISTANCES = (2, 5)
VOID = 6
MEASURES = ("NM", "NH", "NM all", "covering", "F2", "F5", "best F2", "best F5")

Labels = NDArray[np.int32]
Picture = NDArray[np.uint8]


# -- the ways -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Given:
    """Attributes: the leaves of patches; size (H, W) wanted; the photograph as the network sees it
    (view), at up to twice that (fine), and at its own size as the CRF takes it (own)."""

    leaves: PatchLeaves
    size: tuple[int, int]
    view: Picture
    fine: Picture
    own: Picture


Way = Callable[[Given], Labels]


def patch_grid(given: Given) -> Labels:
    return nearest(given.leaves.leaf, given.size)


def bilinear(given: Given) -> Labels:
    leaf = given.leaves.leaf
    weights: list[NDArray[np.float64]] = []
    around: list[Labels] = []
    (top, down), (left, right) = (
        np.divmod((np.arange(new) + 0.5) * old / new - 0.5, 1)
        for new, old in zip(given.size, leaf.shape, strict=True)
    )
    for row, column in np.ndindex(2, 2):
        y = np.clip(top + row, 0, leaf.shape[0] - 1).astype(np.intp)
        x = np.clip(left + column, 0, leaf.shape[1] - 1).astype(np.intp)
        around.append(leaf[y[:, None], x])
        weights.append(np.outer(down if row else 1 - down, right if column else 1 - right))
    votes = [
        np.sum([w * (other == own) for w, other in zip(weights, around, strict=True)], axis=0)
        for own in around
    ]
    return np.choose(np.argmax(votes, axis=0), around)


def refined(given: Given, by: Refinement, photograph: str = "view") -> Labels:
    return by.refine(given.leaves, getattr(given, photograph), given.size)


def ways_of(preset: str) -> dict[str, Way]:
    settings = RegionParser(preset=preset, refine="guided").settings
    own = settings.refine
    assert isinstance(own, Guided)
    fine = own.fine / settings.overlap  # by the grid's patch, not by the network's
    return {
        "patch grid": patch_grid,
        "bilinear": bilinear,
        "coarse edges": partial(refined, by=replace(own, detail=0, regions=1)),
        "fine edges": partial(refined, by=replace(own, coarse=fine, detail=0, regions=1)),
        "guided, no patch moved": partial(refined, by=replace(own, regions=1)),
        "guided, narrow blur": partial(refined, by=replace(own, coarse=own.coarse / 2)),
        "guided, deeper bowls": partial(refined, by=replace(own, bowl=1)),
        "guided, specks kept": partial(refined, by=replace(own, specks=0)),
        "guided, threads kept": partial(refined, by=replace(own, threads=0)),
        "guided, twice as fine": partial(refined, by=own, photograph="fine"),
        "guided": partial(refined, by=own),
    }


crf: Way = partial(refined, by=LeafCrf(), photograph="own")


def within_reach(leaf: Labels, classes: Labels) -> Labels:
    """The bound: `classes` (H, W) are true, -1 where ignored."""
    labels = nearest(leaf, classes.shape)
    of_leaf = contingency(labels, classes, int(leaf.max()) + 1)
    known = of_leaf.ids >= 0
    main = of_leaf.ids[known][of_leaf.counts[:, known].argmax(axis=1)]
    around = np.pad(leaf, 1, mode="edge")
    wrong = main[labels] != classes
    for row, column in np.ndindex(3, 3):
        near = nearest(around[row:, column:][: leaf.shape[0], : leaf.shape[1]], classes.shape)
        better = wrong & (main[near] == classes)
        labels[better] = near[better]
        wrong &= ~better
    return labels


# -- the scores -----------------------------------------------------------------------------------


def classes_of(mask: Labels, dataset: Dataset) -> Labels:
    """The finest class of each pixel, -1 where it is ignored; the mask itself without classes."""
    if dataset.labels is None:
        return mask
    finest = dataset.labels.classes(dataset.labels.max_depth)
    ids, at = np.unique(mask, return_inverse=True)
    return finest.of(ids)[at].reshape(mask.shape)


def boundary_f(regions: Labels, truth: TrueBorders) -> list[float]:
    """Boundary F of a partition at each of :data:`DISTANCES`."""
    return boundary_scores(regions, truth, distances=DISTANCES)[:, 2].tolist()


def scores_of(
    labels: Labels, tree: RegionTree, dataset: Dataset, masks: list[Labels], truth: TrueBorders
) -> list[float]:
    """One figure for each of :data:`MEASURES`, NaN where it is none of the data set's."""
    nm = nh = nm_all = covering = np.nan
    tables = [contingency(labels, mask, tree.n_leaves) for mask in masks]
    if dataset.labels is None:
        metric = CoveringMetric()
        metric.update("image", tree.parents, tree.height, tables)
        covering = metric.compute().ois
    else:
        classes = dataset.labels.classes()
        counts = region_counts(tree.parents, tables[0], classes)
        few = budget_nodes(tree.parents, tree.height, BUDGET)
        some = score_regions(tree.parents, *counts, classes, nodes=few)
        every = score_regions(tree.parents, *counts, classes)
        if some is not None and every is not None:
            nm, nh, nm_all = some.nm, some.nh, every.nm
    refined = RegionTree(labels=labels, parents=tree.parents, height=tree.height)
    asked = boundary_f(refined.cut(n_regions=max(2, truth.regions)), truth)
    best = np.max([boundary_f(refined.cut(n_regions=k), truth) for k in CUTS], axis=0)
    return [nm, nh, nm_all, covering, *asked, *best.tolist()]


Scores = dict[str, list[float]]  # of each way


def scored(
    dataset: Dataset, folder: Path, limit: int, crf_limit: int, preset: str
) -> tuple[list[Scores], list[Scores], int]:
    """Scores of a data set's images, those of them larger than the view, and how many of
    `crf_limit` the CRF refused."""
    parser, crf_parser = (
        RegionParser(preset=preset, backbone="precomputed:-", refine=r) for r in ("guided", "crf")
    )
    ways = ways_of(preset)
    every: list[Scores] = []
    larger: list[Scores] = []
    refused = 0
    for sample in chosen_samples(dataset, limit):
        file = folder / f"{sample.id}.safetensors"
        if not file.exists():
            continue
        stored = load_features(file)
        view = parser.pixels(sample.image)
        assert view is not None
        tree, leaves = built(stored.patches, parser, view, stored.overlap)
        masks = dataset.truths(sample)
        size = masks[0].shape
        side = min(max(stored.image_size), 2 * max(view.shape))
        fine = view
        if side > max(view.shape):
            fine = RegionParser(backbone="precomputed:-", size=side).pixels(sample.image)
        given = Given(leaves, size, view, fine, crf_parser.pixels(sample.image))
        classes = classes_of(masks[-1], dataset)
        truth = true_borders(classes, margin=VOID)
        made = {name: way(given) for name, way in ways.items()}
        if dataset.labels is not None:
            made["within reach"] = within_reach(leaves.leaf, classes)
        if len(every) < crf_limit:
            try:
                made["crf"] = crf(given)
            except SettingsError:
                refused += 1
        found = {
            name: scores_of(labels, tree, dataset, masks, truth) for name, labels in made.items()
        }
        every.append(found)
        if fine is not view:
            larger.append(found)
    return every, larger, refused


def built(
    features: Tensor, parser: RegionParser, rgb: NDArray[np.uint8], overlap: float
) -> tuple[RegionTree, PatchLeaves]:
    """The tree of patch features, not refined, and what the parser would give a refinement."""
    tree = parser.build(features, rgb=rgb)
    unit = unit_rows(features.flatten(0, 1)).view(features.shape)
    grid = (features.shape[0], features.shape[1])
    smooth = parser._smoothed(unit.flatten(0, 1), grid, rgb, None, None).view(features.shape)
    embedding = tree.embedding[: tree.n_leaves].astype(np.float32)
    leaves = PatchLeaves(
        tree.labels,
        tree.parents,
        tree.height,
        smooth,
        torch.from_numpy(embedding),
        overlap,
    )
    return tree, leaves


def means(
    found: dict[str, list[Scores]], way: str, among: str | None = None
) -> NDArray[np.float64] | None:
    """Means over images, then over data sets, of a way's scores where there are `among`'s too."""
    sets = [
        [scores[way] for scores in images if way in scores and (among or way) in scores]
        for images in found.values()
    ]
    return _mean([_mean(rows) for rows in sets if rows]) if any(sets) else None


def _mean(rows: list[Any]) -> NDArray[np.float64]:
    """Mean of each column without its NaNs; NaN if it has nothing else."""
    table = np.array(rows)
    there = ~np.isnan(table)
    total: NDArray[np.float64] = np.where(there, table, 0).sum(axis=0)
    return np.where(there.any(axis=0), total / np.maximum(there.sum(axis=0), 1), np.nan)


# -- the cost -------------------------------------------------------------------------------------


def photograph(*parts: int) -> list[Given]:
    """A photograph at 840 x 840, with the leaves of its own tree of so many parts, for each."""
    photo = photographs(1)[0]
    picture = Image.fromarray(load_image(photo.source).rgb)
    view, fine = (np.asarray(picture.resize((side, side))) for side in (840, 1680))
    found = []
    for count in parts:
        parser = RegionParser(preset=PRESET, parts=count)
        stored = parser.extract(view)
        leaves = built(stored.patches, parser, view, stored.overlap)[1]
        found.append(Given(leaves, (840, 840), view, fine, view))
    return found


# Each with the parts of its tree.
COSTS = {name: (way, 400) for name, way in ways_of(PRESET).items()}
COSTS |= {"crf": (crf, 400), "crf, 20 leaves": (crf, 20)}


def memory(name: str, threads: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    way, parts = COSTS[name]
    given = photograph(parts)[0]
    with PeakMemory() as used:
        way(given)
    return {"extra": used.extra}


def print_costs(threads: int, csv: Path | None) -> None:
    sizes = sorted({parts for _, parts in COSTS.values()})
    given = dict(zip(sizes, photograph(*sizes), strict=True))
    ways = {name: partial(way, given[parts]) for name, (way, parts) in COSTS.items()}
    times = interleave({name: way for name, way in ways.items() if "crf" not in name}, 5)
    times |= {name: [seconds(way)] for name, way in ways.items() if name not in times}
    rows = []
    for name, taken in times.items():
        extra = run_child(__file__, "memory", name=name, threads=threads)["extra"]
        spread = statistics.median(taken), min(taken), max(taken)
        rows.append([name.split(",")[0] if "leaves" in name else name, COSTS[name][1], *spread,
                     extra / MB])  # fmt: skip
    print_results("refine-cost", rows, csv, "cost")


# -- what is printed ------------------------------------------------------------------------------


def mean_rows(
    found: dict[str, list[Scores]], ways: Iterable[str], preset: str, among: str | None = None
) -> list[list[object]]:
    """Rows of the table `refine`: means over data sets, with the number of images."""
    rows: list[list[object]] = []
    for way in ways:
        row = means(found, way, among)
        if row is not None:
            count = sum(
                way in scores and (among or way) in scores
                for images in found.values()
                for scores in images
            )
            rows.append([preset, count, way, *(100 * row)])
    return rows


def set_rows(
    found: dict[str, list[Scores]], ways: Iterable[str], preset: str
) -> list[list[object]]:
    """Rows of the table `refine-sets`: each data set in each of the ways."""
    rows: list[list[object]] = []
    for name, images in found.items():
        for way in ways:
            if (row := means({name: images}, way)) is not None:
                rows.append([preset, name, len(images), way, *(100 * row)])
    return rows


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--output", type=Path, default=None, help="results/PRESET if left out")
    options.add_argument("--preset", choices=list(PRESETS), default=PRESET)
    options.add_argument("--images", type=int, default=5, help="of each data set")
    options.add_argument("--crf-images", type=int, default=2, help="those of them for the CRF")
    options.add_argument("--threads", type=int, default=2)
    given = options.parse_args()
    torch.set_num_threads(given.threads)
    output = given.output or Path("results", given.preset)
    print_heading("refine.py")
    root = data_folder()
    found: dict[str, list[Scores]] = {}
    larger: dict[str, list[Scores]] = {}
    refused = 0
    for spec in sorted(SUBSETS.glob("*.yaml")):
        folder = output / spec.stem / "embedded" / "features"
        if not folder.is_dir():
            continue
        dataset = open_dataset(spec, None, root)
        every, large, no = scored(dataset, folder, given.images, given.crf_images, given.preset)
        refused += no
        found |= {spec.stem: every} if every else {}
        larger |= {spec.stem: large} if large else {}
    if not found:
        sys.exit(f"no features in {output}: run results.py --preset {given.preset} first")

    preset, csv = given.preset, given.csv
    print("### Means over data sets\n")
    print_results("refine", mean_rows(found, [*ways_of(preset), "within reach"], preset), csv)
    print("### Data sets\n")
    compared = ("patch grid", "guided", "within reach")
    print_results("refine-sets", set_rows(found, compared, preset), csv, "sets")
    if larger:
        print("### Photographs larger than the network's view\n")
        compared = ("guided", "guided, twice as fine")
        print_results("refine-sets", set_rows(larger, compared, preset), csv, "larger")
    if any("crf" in scores for images in found.values() for scores in images):
        print("### The CRF's images: means over data sets\n")
        rows = mean_rows(found, ("patch grid", "guided", "crf"), preset, among="crf")
        print_results("refine", rows, csv, "crf")
    if refused:
        print(f"Photographs too large for the CRF's limit of memory: {refused}\n")
    print("### Cost of an 840 x 840 photograph\n")
    print_costs(given.threads, csv)
    print_closing()


if __name__ == "__main__":
    if not is_child({"memory": memory}):
        main()
