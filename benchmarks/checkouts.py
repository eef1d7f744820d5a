"""How much faster are trees than in another checkout of the project?

Question
    What share of the other checkout's time does everything after the network take, and how much
    memory beside the features, without and with refinement?
Method
    One process for each checkout, on one thread. Both get the same features and pixels of a
    photograph of 840 x 840 pixels and build its tree in turn (A B A B), after one untimed turn.
    The features come from this checkout: one view of 518 x 518 pixels (`default`) and four
    (`accurate`). Both checkouts get the number of views and of smoothing steps by name, and else
    use what they do by themselves. Memory is the most above what the process held before the
    tree, in the untimed turns of all photographs.
Printed
    Milliseconds of the processor, medians over photographs of the median turn, and the ratio: the
    median over photographs of the median of turns; megabytes.

    git worktree add ../earlier a1d0933
    python benchmarks/checkouts.py --other ../earlier
"""

from __future__ import annotations

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
    parsers = {
        (preset, way): RegionParser(refine=refine, device="cpu", **settings)  # type: ignore[arg-type]
        for preset, settings in SETTINGS.items()
        for way, refine in WAYS.items()
    }
    for line in sys.stdin:
        preset, way, path, weigh = json.loads(line)
        with np.load(path) as stored:
            features, rgb = torch.from_numpy(stored["features"]), stored["rgb"]
        given = {"rgb": rgb, "image_size": rgb.shape[:2]}
        parser = parsers[preset, way]
        if weigh:
            with PeakMemory() as memory:
                parser.build(features, **given)
            print(json.dumps(memory.extra), flush=True)
            continue
        start = time.process_time()
        parser.build(features, **given)
        print(json.dumps(time.process_time() - start), flush=True)


class Checkout:
    """A process that runs the package of one checkout."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(folder / "src"), "OMP_NUM_THREADS": "1"},
        )

    def ask(self, preset: str, way: str, path: Path, *, weigh: bool = False) -> float:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([preset, way, str(path), weigh]), file=self._process.stdin, flush=True)
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
    options = parser.parse_args()
    print_heading(__file__)
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
    print_closing()


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
