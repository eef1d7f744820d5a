"""How many photographs a minute become trees, by the number of worker processes.

Question 1: does a network on a GPU wait for trees? A stand-in for it answers in 5 ms and needs no
core. First the trees are stand-ins, too: each takes 80 ms and no core, as if there were a core for
each worker. Then the trees are real, and share the cores of this machine.

Question 2: what do workers gain on this machine's CPU, with the embedded network in each of them?

Method: photographs are counted from the time when each worker has done one, so that the start of
the processes does not count. The network's share is the time that it was at work. The cores' share
is the time that they were at work for any program on this machine (Linux).

    python benchmarks/many.py [--photos 32] [--workers 1 2 4 8 16]
    python benchmarks/many.py --presets default accurate --workers 0 1 2
"""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import arguments, photographs, print_closing, print_heading, print_results
from _stand_in import DIM, GRID, Clock

from regiontree import RegionParser
from regiontree.engines.batch import Outcome, plan, segment
from regiontree.engines.workers import Workers
from regiontree.images import image_suffixes
from regiontree.system.resources import cores

NETWORK, TREE = 0.005, 0.08  # seconds of the stand-ins
EACH = 16  # real photographs for each worker: those in work at the start count for little
FULL = 0.9  # a network or cores that are busier than this are the limit


class Network(Clock):
    """A network that needs no core. Its features are the colours of patches, in many numbers."""

    name, digest, patch, dim = "stand-in", "1", 14, DIM
    device, dtype = torch.device("cpu"), torch.float32

    def __init__(self) -> None:
        super().__init__(NETWORK)
        self.mixed = torch.randn(3, DIM, generator=torch.Generator().manual_seed(0))

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        self.wait()
        colours = torch.nn.functional.avg_pool2d(pixels, 14).permute(0, 2, 3, 1)
        return torch.cos(4 * colours @ self.mixed)


class Count:
    """Times of rows, from the row on that each worker has done one."""

    def __init__(self, workers: int, clock: Clock | None = None) -> None:
        self.first, self.clock = max(1, workers), clock
        self.times: list[tuple[float, float]] = []

    def row(self) -> None:
        self.times.append((time.perf_counter(), self.clock.busy if self.clock else 0.0))

    @property
    def rate(self) -> float:
        """Rows a minute."""
        (start, _), (end, _) = self.times[self.first - 1], self.times[-1]
        return 60 * (len(self.times) - self.first) / (end - start)

    @property
    def busy(self) -> float:
        """Share of the time that the network was at work."""
        (start, before), (end, after) = self.times[self.first - 1], self.times[-1]
        return (after - before) / (end - start)


def stand_in_trees(workers: int, photos: int) -> list[object]:
    """A row of the table: everything but the handing over is a stand-in."""
    clock = Clock(NETWORK)
    features = np.zeros((1, GRID, GRID, DIM), np.float32)

    def answer(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        clock.wait()
        return features

    count, seen = Count(workers, clock), Cores()
    target = "_stand_in:open_trees"
    with closing(Workers(target, {"seconds": TREE}, workers, cores(), answer=answer)) as crew:
        for _ in crew.rows((i, i) for i in range(photos * workers)):
            count.row()
    share = seen.busy
    said = limit(count.busy, share)
    return ["stand-in", workers, count.rate, 100 * count.busy, 100 * share, said]


def real_trees(workers: int, photos: list[Path]) -> list[object]:
    """A row of the table: the network alone is a stand-in."""
    network = Network()
    parser = RegionParser(backbone=network)
    rate, busy, share = batch(parser, workers, photos, network)
    return ["real", workers, rate, 100 * busy, 100 * share, limit(busy, share)]


def batch(
    parser: RegionParser, workers: int, photos: list[Path], clock: Clock | None = None
) -> tuple[float, float, float]:
    """Photographs a minute, the network's share, and the cores'."""
    count, seen = Count(workers, clock), Cores()

    def on_outcome(outcome: Outcome) -> None:
        assert outcome.status == "done", outcome.error
        count.row()

    with tempfile.TemporaryDirectory() as out:
        jobs = plan(photos, out, image_suffixes())
        segment(parser, jobs, out, workers=workers, on_outcome=on_outcome, on_notice=print)
    return count.rate, count.busy, seen.busy


class Cores:
    """How busy the cores of this machine are, by all programs on it."""

    def __init__(self) -> None:
        self.idle, self.every = self.times()

    @staticmethod
    def times() -> tuple[int, int]:
        line = Path("/proc/stat").read_text().splitlines()[0]
        numbers = [int(number) for number in line.split()[1:9]]
        return numbers[3] + numbers[4], sum(numbers)

    @property
    def busy(self) -> float:
        """Share of the time since the start."""
        idle, every = self.times()
        return 1 - (idle - self.idle) / max(1, every - self.every)


def limit(busy: float, share: float) -> str:
    """What keeps the rate from growing."""
    return "network" if busy > FULL else "cores" if share > FULL else "workers"


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photos", type=int, default=32)
    options.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    options.add_argument("--presets", nargs="+", default=[], help="question 2, with these presets")
    given = options.parse_args()
    print_heading("many.py")
    most = given.photos if given.presets else max(given.photos, EACH * max(given.workers))
    found = [one.source for one in photographs(most)]
    photos = [source for source in found if isinstance(source, Path)]
    if given.presets:
        rows: list[list[object]] = []
        for preset in given.presets:
            rates = [
                batch(RegionParser(preset=preset, device="cpu"), workers, photos)[0]
                for workers in given.workers
            ]
            rows += [
                [preset, workers, rate, rate / rates[0]]
                for workers, rate in zip(given.workers, rates, strict=True)
            ]
        print_results("many-presets", rows, given.csv)
    else:
        rows = [stand_in_trees(workers, given.photos) for workers in given.workers]
        for workers in given.workers:
            enough = EACH * workers
            if enough <= len(photos):
                rows.append(real_trees(workers, photos[: max(enough, given.photos)]))
        print_results("many", rows, given.csv)
    print_closing()


if __name__ == "__main__":
    main()
