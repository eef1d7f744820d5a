"""How much faster are trees than in another checkout of the project?

Questions
    1. What share of the other checkout's time does everything after the network take, and how much
    memory beside the features, without and with refinement?
    2. With --segment N: how many photographs a minute does ``regiontree segment`` do in each, on a
    folder of N, with all cores, the start of the command included?
Method
    One process for each checkout, on one thread. Both get the same features and pixels of a
    photograph of 840 x 840 pixels and build its tree in turn (A B A B), after one untimed turn.
    The features come from this checkout: one view of 518 x 518 pixels (`default`) and four
    (`accurate`). Both checkouts get the number of views and of smoothing steps by name, and else
    use what they do by themselves. Memory is the most above what the process held before the
    tree, in the untimed turns of all photographs.
    ``segment`` runs in turn, --turns times. --presets names the preset in the other checkout and
    the one here.
Printed
    Milliseconds of the processor, medians over photographs of the median turn, and the ratio: the
    median over photographs of the median of turns; megabytes.

    git worktree add ../earlier a1d0933
    python benchmarks/checkouts.py --other ../earlier
    python benchmarks/checkouts.py --other ../earlier --segment 64 --presets fast=default
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from _common import (
    REPOSITORY,
    PeakMemory,
    arguments,
    photographs,
    print_closing,
    print_heading,
    print_results,
)
from PIL import Image

from regiontree import RegionParser
from regiontree.images import load_image

SIDE = 840  # pixels at which borders are drawn
SETTINGS = {"default": {"views": 1, "smoothing": 2}, "accurate": {"views": 4, "smoothing": 4}}
WAYS = {"tree": "none", "tree and borders": "guided"}


def serve() -> None:
    """Build what each line of standard input asks for, and answer in one line."""
    torch.set_num_threads(1)
    seed = int(sys.argv[2])
    parsers = {
        (preset, way): RegionParser(refine=refine, device="cpu", seed=seed, **settings)  # type: ignore[arg-type]
        for preset, settings in SETTINGS.items()
        for way, refine in WAYS.items()
    }
    for line in sys.stdin:
        preset, way, path, weigh, save = json.loads(line)
        with np.load(path) as stored:
            features, rgb = torch.from_numpy(stored["features"]), stored["rgb"]
            size = stored["size"] if "size" in stored else rgb.shape[:2]
        given = {"rgb": rgb, "image_size": tuple(map(int, size))}
        parser = parsers[preset, way]
        if weigh:
            with PeakMemory() as memory:
                parser.build(features, **given)
            print(json.dumps(memory.extra), flush=True)
            continue
        start = time.process_time()
        tree = parser.build(features, **given)
        taken = time.process_time() - start
        if save:
            tree.save(save)
        print(json.dumps(taken), flush=True)


class Checkout:
    """A process that runs the package of one checkout."""

    def __init__(self, folder: Path, seed: int = 1234) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve", str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"},
        )

    def ask(
        self, preset: str, way: str, path: Path, *, weigh: bool = False, save: Path | None = None
    ) -> float:
        """Seconds that the tree of the arrays in a file took, or bytes; it is saved on request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        asked = json.dumps([preset, way, str(path), weigh, None if save is None else str(save)])
        print(asked, file=self._process.stdin, flush=True)
        return float(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--other", type=Path, required=True, help="folder of the other checkout")
    parser.add_argument("--photos", type=int, default=8, help="photographs  [8]")
    parser.add_argument("--repeats", type=int, default=5, help="turns  [5]")
    parser.add_argument("--segment", type=int, metavar="N", help="question 2, of N photographs")
    parser.add_argument("--presets", nargs="+", default=["fast=default"], metavar="OTHER=HERE")
    parser.add_argument("--turns", type=int, default=2, help="of question 2  [2]")
    options = parser.parse_args()
    print_heading(__file__)
    if options.segment:
        rates = [
            [*pair, options.segment, *_rates(options, *pair)]
            for pair in (tuple(names.split("=")) for names in options.presets)
        ]
        print_results("checkouts-segment", rates, options.csv)
        return print_closing()
    photos = photographs(options.photos)
    rows: list[list[object]] = []
    both = Checkout(options.other.resolve()), Checkout(REPOSITORY)
    with tempfile.TemporaryDirectory() as folder:
        for preset in SETTINGS:
            network = RegionParser(preset=preset, size=(518, 518), device="cpu")
            files = []
            for number, photo in enumerate(photos):
                path = Path(folder, f"{preset}-{number}.npz")
                rgb = Image.fromarray(load_image(photo.source).rgb).resize((SIDE, SIDE))
                features = network.features(photo.source).numpy()
                np.savez(path, features=features, rgb=np.asarray(rgb))
                files.append(path)
            for way in WAYS:
                rows.append([preset, way, *_compared(both, preset, way, files, options.repeats)])
    for checkout in both:
        checkout.close()
    print_results("checkouts", rows, options.csv)
    return print_closing()


def _rates(options: argparse.Namespace, other: str, here: str) -> list[float]:
    """Photographs a minute in each checkout, medians over turns, and the median ratio."""
    rates: list[list[float]] = [[], []]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "photographs")
        folder.mkdir()
        for number, photo in enumerate(photographs(options.segment)):
            assert isinstance(photo.source, Path)
            (folder / f"{number:04}{photo.source.suffix}").symlink_to(photo.source.resolve())
        for turn in range(options.turns):
            for of, (checkout, preset) in enumerate(
                ((options.other.resolve(), other), (REPOSITORY, here))
            ):
                command = [sys.executable, "-m", "regiontree", "segment", str(folder), "-o",
                           str(Path(scratch, f"{turn}-{of}")), "--preset", preset]  # fmt: skip
                start = time.perf_counter()
                subprocess.run(
                    command, check=True, stderr=subprocess.DEVNULL, cwd=scratch,
                    env={**os.environ, "PYTHONPATH": str(checkout / "src")},
                )  # fmt: skip
                taken = time.perf_counter() - start
                rates[of].append(60 * options.segment / taken)
    ratio = statistics.median(b / a for a, b in zip(*rates, strict=True))
    return [*map(statistics.median, rates), ratio]


def _compared(
    both: tuple[Checkout, Checkout], preset: str, way: str, files: list[Path], repeats: int
) -> list[float]:
    """The figures of a row: milliseconds before and after, the ratio, megabytes."""
    weights: list[list[float]] = [[], []]
    times: list[list[list[float]]] = [[], []]
    for path in files:
        for of, checkout in enumerate(both):
            checkout.ask(preset, way, path)
            weights[of].append(checkout.ask(preset, way, path, weigh=True))
            times[of].append([])
        for _ in range(repeats):
            for of, checkout in enumerate(both):
                times[of][-1].append(checkout.ask(preset, way, path))
    ratios = [
        statistics.median(a / b for a, b in zip(after, before, strict=True))
        for before, after in zip(*times, strict=True)
    ]
    medians = [1e3 * statistics.median(map(statistics.median, of)) for of in times]
    return [*medians, statistics.median(ratios), max(ratios), *(max(of) / 1e6 for of in weights)]


if __name__ == "__main__":
    serve() if "--serve" in sys.argv else main()
