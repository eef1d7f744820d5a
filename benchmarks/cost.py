"""What do a million photographs cost?

Question
    How many hours of processor cores, how much room and how much money do trees of a million
    photographs take, on CPU cores alone and with a GPU for the network?
Method
    measure: --photos photographs of the data sets in turn, one after the other, torch on one
    thread. Of each preset: seconds of the processor for decoding, network, tree, borders and
    writing, and megabytes of the tree's file. A tree with borders less one without gives the
    borders. Means over photographs after one that is not counted. Operations of the network are
    counted while it runs (:func:`regiontree.backbones.operations.count_operations`).
    compute, the default: reads what measure wrote, and computes the rest:

        core hours = 1e6 x (decoding + network + tree + borders + writing) / 3600

    On a GPU the network takes operations / (peak x use) seconds, while cores of the same machine do
    everything else. The GPU waits for them, if there are too few:

        GPU hours = 1e6 x max(network on the GPU, everything else / cores a GPU) / 3600

    No GPU was measured. The peaks are those of the makers' data sheets, for dense half precision.
    The share of the peak that is used is assumed (--use), and so are prices.
Printed
    Parts of one photograph; hours, days and money of a million on each kind of machine.

    python benchmarks/cost.py measure --csv benchmarks/results/cost-parts.csv
    python benchmarks/cost.py --core-price 0.04 --gpu-price L4=0.70 H100=3
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from _common import REPOSITORY, arguments, photographs, print_closing, print_heading, print_results
from _schema import read_results

from regiontree import RegionParser
from regiontree.backbones.operations import count_operations
from regiontree.engines.machines import (
    GPU_USE,
    STEPS,
    Assumed,
    Machine,
    Needs,
    forecast,
    numbers_by_name,
)

PARTS = REPOSITORY / "benchmarks" / "results" / "cost-parts.csv"
PRESETS = ("default", "accurate")
MILLION = 1_000_000


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="?", default="compute", choices=("compute", "measure"))
    parser.add_argument("--photos", type=int, default=8, help="photographs to measure (default 8)")
    parser.add_argument("--parts", type=Path, default=PARTS, help="what measure wrote")
    parser.add_argument("--cores", type=int, default=64, help="cores of a CPU machine (default 64)")
    parser.add_argument("--gpu-cores", type=int, default=8, help="cores beside a GPU (default 8)")
    parser.add_argument(
        "--use", type=float, default=GPU_USE, help=f"share of a GPU's peak (default {GPU_USE})"
    )
    parser.add_argument("--core-price", type=float, default=0.05, help="of a core hour")
    parser.add_argument(
        "--gpu-price",
        nargs="*",
        default=["T4=0.4", "L4=0.8", "A100=2", "H100=4"],
        metavar="NAME=PRICE",
        help="of an hour of a GPU alone; its cores cost --core-price each",
    )
    options = parser.parse_args()
    print_heading(__file__)
    if options.what == "measure":
        rows = [_measured(preset, options.photos) for preset in PRESETS]
        print_results("cost-parts", rows, options.csv)
    else:
        prices = numbers_by_name("--gpu-price", options.gpu_price)
        rows = []
        for part in read_results(options.parts).rows:
            rows += _computed(part, options, prices)
        print_results("cost", rows, options.csv)
    print_closing()


# -- measured -------------------------------------------------------------------------------------


def _measured(preset: str, count: int) -> list[Any]:
    """The row of a preset: see the table ``cost-parts``."""
    parser = RegionParser(preset=preset, device="cpu", compile=False)
    plain = RegionParser(preset=preset, device="cpu", refine="none")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    found: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for photo in photographs(count + 1, repeat=True):
            found.append(_of_photograph(parser, plain, photo.source, Path(folder) / "tree.npz"))
    torch.set_num_threads(threads)
    mean = {name: statistics.fmean(one[name] for one in found[1:]) for name in found[0]}
    whole = sum(mean[step] for step in STEPS)
    start = [preset, str(parser.backbone.dtype).removeprefix("torch."), count]
    return [
        *start, mean["pixels"] / 1e6, mean["operations"] / 1e9, *(mean[step] for step in STEPS),
        whole, mean["bytes"] / 1e6,
    ]  # fmt: skip


def _of_photograph(
    parser: RegionParser, plain: RegionParser, source: Any, file: Path
) -> dict[str, float]:
    """Seconds of the processor for each step, operations of the network, pixels, bytes written."""
    decoding, image = _cpu_seconds(lambda: parser.sight.load(source))
    network, features = _cpu_seconds(lambda: parser.extract(image))
    more, rgb = _cpu_seconds(lambda: parser.pixels(source, decoded=image))
    unrefined, _ = _cpu_seconds(lambda: plain.build(features, rgb=rgb))
    refined, tree = _cpu_seconds(lambda: parser.build(features, rgb=rgb))
    writing, _ = _cpu_seconds(lambda: tree.save(file))
    pixels = parser.sight.network_input(image, parser.backbone.patch)
    return {
        "decoding": decoding + more,
        "network": network,
        "tree": unrefined,
        "borders": max(0.0, refined - unrefined),
        "writing": writing,
        "bytes": file.stat().st_size,
        "pixels": image.size[0] * image.size[1],
        "operations": count_operations(parser.backbone, pixels),
    }


def _cpu_seconds(way: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = way()
    return time.process_time() - start, result


# -- computed -------------------------------------------------------------------------------------


def _computed(part: dict[str, str], options: Any, prices: dict[str, float]) -> list[list[Any]]:
    """Rows of a preset: CPU cores alone, then each GPU."""
    needs = Needs(
        MILLION,
        {step: float(part[f"{step}_seconds"]) for step in STEPS},
        operations=round(1e9 * float(part["network_gigaoperations"])),
        stored=1e6 * float(part["tree_megabytes"]),
    )
    assumed = Assumed(use=options.use, core_price=options.core_price, gpu_prices=prices)
    machines = [Machine(f"{options.cores} cores", 1, options.cores)]
    for name in prices:
        text = f"{name} and {options.gpu_cores} cores"
        machines.append(Machine(text, 1, options.gpu_cores, name, 1))
    rows: list[list[Any]] = []
    for machine in machines:
        found = forecast(machine, needs, assumed)
        how = "from one core" if machine.gpu is None else "estimated"
        gpu_hours = None if machine.gpu is None else found.gpu_hours
        rows.append(
            [part["preset"], machine.name, how, found.core_hours, gpu_hours,
             found.seconds / 86400, found.price, found.stored / 1e12]
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
