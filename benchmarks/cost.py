"""What do a million photographs cost?

Question
    How many hours of processor cores, how much room and how much money do trees of a million
    photographs take, on CPU cores alone and with a GPU for the network?
Method
    measure: --photos photographs of the data sets in turn, one after the other, torch on one
    thread. Of each preset: seconds of the processor for decoding, network, tree, borders and
    writing, and megabytes of the tree's file. A tree with borders less one without gives the
    borders. Means over photographs after one that is not counted. Operations of the network follow
    from its shape (:func:`operations`).
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
from regiontree.images import grid_of

PARTS = REPOSITORY / "benchmarks" / "results" / "cost-parts.csv"
STEPS = ("decoding", "network", "tree", "borders", "writing")
PRESETS = ("default", "accurate")
MILLION = 1_000_000
# Tera-operations a second in dense float16 or bfloat16, from the makers' data sheets.
GPUS = {"T4": 65.0, "L4": 121.0, "A100": 312.0, "H100": 989.0}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("what", nargs="?", default="compute", choices=("compute", "measure"))
    parser.add_argument("--photos", type=int, default=8, help="photographs to measure (default 8)")
    parser.add_argument("--parts", type=Path, default=PARTS, help="what measure wrote")
    parser.add_argument("--cores", type=int, default=64, help="cores of a CPU machine (default 64)")
    parser.add_argument("--gpu-cores", type=int, default=8, help="cores beside a GPU (default 8)")
    parser.add_argument(
        "--use", type=float, default=0.3, help="share of a GPU's peak (default 0.3)"
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
        prices = dict(each.split("=") for each in options.gpu_price)
        rows = []
        for part in read_results(options.parts).rows:
            rows += _computed(part, options, {name: float(p) for name, p in prices.items()})
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
    view = parser.settings.view
    patch = parser.backbone.patch * (2 if view.views == 4 else 1)  # of the network itself
    return {
        "decoding": decoding + more,
        "network": network,
        "tree": unrefined,
        "borders": max(0.0, refined - unrefined),
        "writing": writing,
        "bytes": file.stat().st_size,
        "pixels": image.size[0] * image.size[1],
        "operations": view.views * operations(grid_of(image.size, view.size, patch)),
    }


def _cpu_seconds(way: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = way()
    return time.process_time() - start, result


def operations(grid: tuple[int, int], width: int = 384, depth: int = 12, patch: int = 14) -> float:
    """Floating-point operations of one pass of a vision transformer; an addition counts as one.

    A block multiplies each of its t tokens with 12 width^2 weights, and t^2 pairs of tokens twice
    over the width. The defaults are DINOv2-S.

    >>> round(operations((37, 37)) / 1e9)
    94
    """
    tokens = grid[0] * grid[1] + 1
    block = 2 * 12 * tokens * width**2 + 2 * 2 * tokens**2 * width
    return float(depth * block + 2 * tokens * 3 * patch**2 * width)


# -- computed -------------------------------------------------------------------------------------


def _computed(part: dict[str, str], options: Any, prices: dict[str, float]) -> list[list[Any]]:
    """Rows of a preset: CPU cores alone, then each GPU."""
    seconds = {step: float(part[f"{step}_seconds"]) for step in STEPS}
    whole = sum(seconds.values())
    rest = whole - seconds["network"]
    terabytes = float(part["tree_megabytes"]) * MILLION / 1e6
    hours = MILLION * whole / 3600
    rows = [
        [part["preset"], f"{options.cores} cores", "from one core", hours, None,
         hours / options.cores / 24, hours * options.core_price, terabytes]
    ]  # fmt: skip
    for name, price in prices.items():
        network = float(part["network_gigaoperations"]) / (1e3 * GPUS[name] * options.use)
        waits = rest / options.gpu_cores
        gpu_hours = MILLION * max(network, waits) / 3600
        money = gpu_hours * (price + options.gpu_cores * options.core_price)
        rows.append(
            [part["preset"], f"{name} and {options.gpu_cores} cores", "estimated",
             gpu_hours * options.gpu_cores, gpu_hours, gpu_hours / 24, money, terabytes]
        )  # fmt: skip
    return rows


if __name__ == "__main__":
    main()
