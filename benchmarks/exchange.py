"""Does counting in cells exchange the patches that a Gaussian kernel would, and how fast is it?

Reads the features that ``results.py --preset PRESET`` left in ``--output``, at most ``--images`` of
each data set in the order of the hash of their ids. The patches of one tree change sides in these
ways (:mod:`regiontree.refine.coarse`):

- cells: as it is used, with seven grids. more cells: with eleven.
- without numba: the slower functions that run where no loop can be compiled.
- lattice: features resized to every pixel, and the CRF of :mod:`regiontree.refine.crf` on a
  permutohedral lattice in single precision.
- exact: the CRF with the Gaussian of every pair of pixels. It takes half a minute a photograph, so
  only the first ``--exact`` photographs of each data set are done.

``unlike_lattice`` and ``unlike_exact`` are the share of patches whose region is another one than in
that way; ``moved`` is the share that the way moves at all. Times are of the processor on one
thread, the ways in turn, medians over photographs of the least of three.

    python benchmarks/exchange.py --preset default
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import numpy as np
import refine
import torch
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
from PIL import Image

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import load_features
from regiontree.datasets.catalog import open_dataset
from regiontree.refine import PatchLeaves, binning, coarse
from regiontree.refine.crf import CrfSettings, crf
from regiontree.refine.leafcrf import energies_of
from regiontree.settings import PRESETS
from regiontree.system.jit import jit

Labels = NDArray[np.int32]
Picture = NDArray[np.uint8]
Way = Callable[[PatchLeaves, Labels, Picture], Labels]


def cells(leaves: PatchLeaves, region: Labels, rgb: Picture) -> Labels:
    return coarse._agreed(leaves, region, rgb, 1.0)


def more_cells(leaves: PatchLeaves, region: Labels, rgb: Picture) -> Labels:
    with patch.object(binning, "_GRIDS", 11):
        return cells(leaves, region, rgb)


def without_numba(leaves: PatchLeaves, region: Labels, rgb: Picture) -> Labels:
    with patch("regiontree.system.jit._why_not", "a benchmark wants it so"):
        return cells(leaves, region, rgb)


def lattice(leaves: PatchLeaves, region: Labels, rgb: Picture) -> Labels:
    energies, picture, edge_xy = small(leaves, region, rgb)
    settings = CrfSettings(
        smooth_weight=0, edge_xy=edge_xy, steps=3, precision="single", memory_limit=1e15
    )
    return coarse.most_in_patches(crf(energies, picture, settings), region)


def exact(leaves: PatchLeaves, region: Labels, rgb: Picture) -> Labels:
    energies, picture, edge_xy = small(leaves, region, rgb)
    unary = energies.permute(1, 2, 0).reshape(-1, len(energies)).numpy()
    height, width = picture.shape[:2]
    colours = picture.reshape(-1, 3).astype(np.int64)
    sums = np.zeros((len(unary), 1))
    add_pairs(colours, width, edge_xy, np.ones((len(unary), 1)), sums)
    root = 1 / np.sqrt(sums)
    logits = -unary
    for _ in range(3):
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        message = np.zeros(shares.shape)
        add_pairs(colours, width, edge_xy, root * shares / shares.sum(1, keepdims=True), message)
        logits = -unary + 4 * root * message
    found = logits.argmax(axis=1).reshape(height, width).astype(np.int32)
    return coarse.most_in_patches(found, region)


def small(leaves: PatchLeaves, region: Labels, rgb: Picture) -> tuple[torch.Tensor, Picture, float]:
    """Energies of regions at the pixels of the small picture, the picture, the kernel's width."""
    shape = 3 * region.shape[0], 3 * region.shape[1]
    picture = np.array(Image.fromarray(rgb).resize(shape[::-1], Image.Resampling.BOX))
    means = coarse._means(leaves.features, region, leaves.there)
    energies = energies_of(leaves.features, means, shape, 0.1)
    own = torch.from_numpy(region.repeat(3, 0).repeat(3, 1)).long()
    energies.scatter_add_(0, own[None], torch.full((1, *shape), -1.0))
    return energies, picture, 67 * math.sqrt(picture.size / rgb.size)


@jit()
def add_pairs(
    colours: NDArray[np.int64],
    width: int,
    edge_xy: float,
    values: NDArray[np.float64],
    sums: NDArray[np.float64],
) -> None:
    """Add the values of all pixels times the Gaussian, as far as 4.5 standard deviations."""
    for i in range(len(colours)):
        for j in range(i, len(colours)):
            down = (j // width - i // width) / edge_xy
            if down > 4.5:
                break
            square = 0
            for channel in range(3):
                square += (colours[i, channel] - colours[j, channel]) ** 2
            if square > 183:
                continue
            across = (j % width - i % width) / edge_xy
            exponent = square / 9 + down * down + across * across
            if exponent > 20.25:
                continue
            weight = math.exp(-exponent / 2)
            for k in range(values.shape[1]):
                sums[i, k] += weight * values[j, k]
                if j > i:
                    sums[j, k] += weight * values[i, k]


WAYS: dict[str, Way] = {
    "cells": cells,
    "more cells": more_cells,
    "without numba": without_numba,
    "lattice": lattice,
    "exact": exact,
}


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--output", type=Path, default=None, help="results/PRESET if left out")
    options.add_argument("--preset", choices=list(PRESETS), default="default")
    options.add_argument("--images", type=int, default=3, help="of each data set")
    options.add_argument("--exact", type=int, default=0, help="those of them for the exact way")
    given = options.parse_args()
    torch.set_num_threads(1)
    output = given.output or Path("results", given.preset)
    print_heading("exchange.py")
    parser = RegionParser(preset=given.preset, backbone="precomputed:-", refine="guided")
    figures: dict[str, list[list[float]]] = {way: [] for way in WAYS}
    for spec in sorted(SUBSETS.glob("*.yaml")):
        folder = output / spec.stem / "embedded" / "features"
        dataset = open_dataset(spec, None, data_folder()) if folder.is_dir() else None
        samples = [] if dataset is None else chosen_samples(dataset, given.images)
        files = [(sample, folder / f"{sample.id}.safetensors") for sample in samples]
        for i, (sample, file) in enumerate(pair for pair in files if pair[1].exists()):
            ways = dict(WAYS) if i < given.exact else dict(list(WAYS.items())[:-1])
            stored, view = load_features(file), parser.pixels(sample.image)
            leaves = refine.built(stored.patches, parser, view, stored.overlap)[1]
            for way, row in compared(coarse.halved(leaves, view.shape[:2]), view, ways).items():
                figures[way].append(row)
    if not figures["cells"]:
        sys.exit(f"no features in {output}: run results.py --preset {given.preset} first")
    rows: list[list[object]] = []
    for way, every in figures.items():
        if every:
            table = np.array(every)
            known = ~np.isnan(table[:, 3])
            unlike = table[known, 3].mean() if known.any() else None
            rows.append([given.preset, way, len(every), 1000 * np.median(table[:, 0]),
                         *(100 * table[:, 1:3].mean(axis=0)),
                         None if unlike is None else 100 * unlike])  # fmt: skip
    print_results("exchange", rows, given.csv)
    print_closing()


def compared(leaves: PatchLeaves, rgb: Picture, ways: dict[str, Way]) -> dict[str, list[float]]:
    """Of each way: seconds, and the shares of patches moved, unlike the lattice's, unlike exact."""
    tree = RegionTree(labels=leaves.leaf, parents=leaves.parents, height=leaves.height)
    region = tree.cut(n_regions=12)
    times: dict[str, list[float]] = {way: [] for way in ways}
    found = {}
    for _ in range(3):
        for name, way in ways.items():
            if name == "exact" and times[name]:
                continue
            start = time.thread_time()
            found[name] = way(leaves, region, rgb)
            times[name].append(time.thread_time() - start)
    return {
        name: [
            min(times[name]),
            float((labels != region).mean()),
            float((labels != found["lattice"]).mean()),
            float((labels != found["exact"]).mean()) if "exact" in found else math.nan,
        ]
        for name, labels in found.items()
    }


if __name__ == "__main__":
    main()
