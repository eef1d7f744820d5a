"""Do machines of different make give the same tree of the same photograph?

Question
    torch, oneDNN, MKL and OpenBLAS choose kernels by the processor's instructions, and kernels add
    in different orders. How far do features and trees agree between kernels, threads and
    precisions, and what does each cost?
Method
    A fresh process for each row makes the trees of the first photographs of coco_panoptic, with
    kernels forced by environment variables. The first row, float32 with the kernels that the
    libraries choose here, is what the others are compared with. Agreement is the cosine of a
    patch's features, and the adjusted Rand index of the cuts at 8 and 24 regions. "Of features":
    this process makes both trees, of the features that the other processes made.
Printed
    A row for each kernel, and the processor time of its network beside the first row's. Rows do
    not run in turn, so this is a rough figure.
Target
    At 24 regions the trees of float32 agree to 0.97 on average.

    python benchmarks/kernels.py
    python benchmarks/kernels.py --preset default --keep folder     # features stay in folder
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from _agreement import adjusted_rand_index
from _common import (
    arguments,
    first_photographs,
    is_child,
    print_closing,
    print_heading,
    print_results,
    print_target,
    run_child,
)

from regiontree import RegionParser, RegionTree
from regiontree.backbones.featurefile import Features

REGIONS = 24
TARGET = 0.97


@dataclass(frozen=True)
class Kernels:
    """Environment variables that force kernels, threads and precision."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1
    dtype: str = "float32"


KERNELS = [
    Kernels("those of this machine"),
    Kernels("two threads", threads=2),
    Kernels("AVX2", {
        "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2", "MKL_CBWR": "AVX2", "OPENBLAS_CORETYPE": "Haswell",
    }),
    Kernels("SSE4", {
        "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41",
        "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Nehalem",
    }),
    Kernels("bfloat16", dtype="bfloat16"),
]  # fmt: skip


def make(folder: str, photos: list[str], preset: str, dtype: str, threads: int) -> dict[str, Any]:
    """Keep the features and the tree of each photograph; returns the network's processor time."""
    torch.set_num_threads(threads)
    parser = RegionParser(preset=preset, dtype=dtype, device="cpu")
    parser.features(photos[0])  # the first run is slower
    taken = 0.0
    for i, photo in enumerate(photos):
        start = time.process_time()
        features = parser.extract(photo)
        taken += time.process_time() - start
        np.save(Path(folder) / f"features-{i}.npy", features.patches.numpy())
        parser.build(features, rgb=parser.pixels(photo)).save(Path(folder) / f"tree-{i}.npz")
    return {"seconds": taken}


def agreement(first: RegionTree, second: RegionTree, count: int) -> float:
    return adjusted_rand_index(first.cut(n_regions=count), second.cut(n_regions=count))


def cosines(folder: Path, other: Path, count: int) -> np.ndarray:
    """Cosine between both features of each patch of all photographs."""
    found = []
    for i in range(count):
        a, b = (
            torch.from_numpy(np.load(f / f"features-{i}.npy")).double() for f in (folder, other)
        )
        found.append(torch.nn.functional.cosine_similarity(a, b, dim=2).flatten())
    return torch.cat(found).numpy()


class Builder:
    """Makes trees of kept features in this process."""

    def __init__(self, preset: str, photos: list[str]) -> None:
        self.parser = RegionParser(preset=preset, dtype="float32", device="cpu")
        self.plain = [self.parser.extract(photo) for photo in photos]
        self.pixels = [self.parser.pixels(photo) for photo in photos]

    def trees(self, folder: Path) -> list[RegionTree]:
        found = []
        for i, (plain, rgb) in enumerate(zip(self.plain, self.pixels, strict=True)):
            patches = torch.from_numpy(np.load(folder / f"features-{i}.npy"))
            features = Features(
                patches, plain.image_size, plain.source, plain.backbone, plain.overlap, plain.valid
            )
            found.append(self.parser.build(features, rgb=rgb))
        return found


def rows_of(preset: str, photos: list[str], folder: Path) -> list[list[object]]:
    """Rows of the table `kernels`."""
    builder = Builder(preset, photos)
    rows: list[list[object]] = []
    for kernels in KERNELS:
        own = folder / preset / kernels.name.replace(" ", "-")
        own.mkdir(parents=True, exist_ok=True)
        variables = {**kernels.variables, "OMP_NUM_THREADS": str(kernels.threads)}
        done = run_child(
            __file__, "make", variables, folder=str(own), photos=photos, preset=preset,
            dtype=kernels.dtype, threads=kernels.threads,
        )  # fmt: skip
        trees = [RegionTree.load(own / f"tree-{i}.npz") for i in range(len(photos))]
        of_features = builder.trees(own)
        if not rows:
            base, base_trees, base_of_features = own, trees, of_features
            base_seconds = done["seconds"]
        whole, features = (
            [agreement(a, b, REGIONS) for a, b in zip(*pair, strict=True)]
            for pair in ((base_trees, trees), (base_of_features, of_features))
        )
        coarse = [agreement(a, b, 8) for a, b in zip(base_trees, trees, strict=True)]
        cosine = cosines(base, own, len(photos))
        rows.append([
            preset, kernels.name, len(photos), cosine.mean(), cosine.min(), mean(coarse),
            mean(whole), min(whole), mean(features), min(features), done["seconds"] / base_seconds,
        ])  # fmt: skip
    return rows


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=8, help="photographs  [8]")
    options.add_argument(
        "--preset", nargs="+", choices=("default", "accurate"), default=["default", "accurate"]
    )
    options.add_argument("--keep", type=Path, metavar="FOLDER", help="where features stay")
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading(__file__)
    photos = [str(path) for path in first_photographs(given.photos)]
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        rows = [row for preset in given.preset for row in rows_of(preset, photos, folder)]
    print_results("kernels", rows, given.csv)
    single = [row[6] for row in rows if row[1] != "bfloat16"]
    print_target(f"float32 agrees to {TARGET}", met=all(value >= TARGET for value in single))
    print_closing()


if __name__ == "__main__":
    if not is_child({"make": make}):
        main()
