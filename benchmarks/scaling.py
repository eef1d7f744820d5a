"""Do time and memory of the tree grow with the number of patches, or with its square?

Question
    features -> tree from 30 x 30 to 240 x 240 patches (a photograph of 3360 x 3360 pixels with
    patches of 14): how do time and peak memory grow?
Method
    Features of embedded, made large in one of two ways (--features):

    - mosaic, the default, is real throughout: up to 4 x 4 different photographs at 60 x 60 patches
      each (a shorter list is gone through again), of which each size takes the top-left square;
      30 x 30 is a quarter of one photograph. The larger, the more different things it holds, so
      k-means needs more iterations: this growth is counted too.
    - enlarged is one photograph's 60 x 60 grid brought to each size (bicubic), plus noise of seed 0
      and a tenth of the features' standard deviation: the same content at every size.

    Each size runs in a fresh process: one tree of 16 x 16 patches to
    load everything, then peak memory of the first tree above features and libraries, then the
    median time of --repeats trees, in turn with trees of 60 x 60 (A B A B): the ratio of the two is
    what exponents are fitted to, so that they do not see the machine's speed drift between sizes.
    Trees live on the patch grid; carrying one to 3360 x 3360 pixels is not included.
Printed
    Time and memory, whole and for each patch; the exponent p of n^p fitted to the logarithms, over
    all sizes and over those from 60 x 60 on (below, fixed costs rule); memory of one n x n float32
    table, which is never made. Writes docs/benchmarks/scaling.svg.
Targets
    240 x 240 under 15 s and 1.5 GB; exponents at most 1.1.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    REPOSITORY,
    PeakMemory,
    arguments,
    features_of,
    interleave,
    is_child,
    load_features,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
    run_child,
    save_features,
)
from numpy.typing import NDArray
from torch import Tensor

from regiontree import RegionParser

FloatArray = NDArray[np.float64]

SIDES = (30, 60, 90, 120, 180, 240)
TILE = 60
TARGET_SECONDS, TARGET_GB, TARGET_EXPONENT = 15.0, 1.5, 1.1


def main() -> None:
    if is_child({"size": measure}):
        return
    parser = arguments(__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="patches a side")
    parser.add_argument("--repeats", type=int, default=5, help="timed trees a size (default 5)")
    parser.add_argument("--features", default="mosaic", choices=("mosaic", "enlarged"))
    parser.add_argument("--preset", default="default", choices=("default", "published"))
    parser.add_argument("--no-plot", action="store_true", help="leave the figure as it is")
    options = parser.parse_args()
    print_heading(__file__)
    sides = sorted(options.sides)
    tiles = -(-max(sides) // TILE) if options.features == "mosaic" else 1
    grids = features_of(photographs(tiles**2, repeat=True), TILE * 14)
    print(f"Features: {options.features}\n")
    mosaic = _mosaic(grids, tiles)

    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for side in sides:
            path = Path(folder) / "features.npy"
            grid = mosaic if options.features == "mosaic" else _enlarged(grids[0], side)
            save_features(path, grid[:side, :side].contiguous())
            save_features(Path(folder) / "small.npy", grids[0])
            found.append(
                run_child(
                    __file__,
                    "size",
                    path=str(path),
                    small_path=str(Path(folder) / "small.npy"),
                    repeats=options.repeats,
                    preset=options.preset,
                )
            )

    n = np.array([side**2 for side in sides], dtype=float)
    taken = np.array([f["seconds"] for f in found])
    memory = np.array([f["bytes"] for f in found], dtype=float)
    relative = np.array([f["ratio"] for f in found])  # to 60 x 60, side by side: free of drift
    print("Time of 60 x 60 patches = 1:\n")
    print_results(
        "scaling",
        [
            (options.preset, side, int(count), t, 1e6 * t / count, f["ratio"], m / MB,
             m / 1e3 / count, 4 * count**2 / MB, f["leaves"])
            for side, count, t, m, f in zip(sides, n, taken, memory, found, strict=True)
        ],
        options.csv,
    )  # fmt: skip
    large = n >= TILE**2
    exponents = {
        "time": exponent(n[large], relative[large]),
        "memory": exponent(n[large], memory[large]),
    }
    print("Exponent p of n^p:\n")
    print_results(
        "scaling-exponents",
        [
            (options.preset, "time", exponent(n, relative), exponents["time"]),
            (options.preset, "memory", exponent(n, memory), exponents["memory"]),
        ],
        options.csv,
        "exponents",
    )
    if not options.no_plot:
        path = REPOSITORY / "docs" / "benchmarks" / "scaling.svg"
        _plot(path, n, taken, memory, exponents)
        print(f"Wrote {path.relative_to(REPOSITORY)}\n")
    largest = f"{sides[-1]} x {sides[-1]}"
    print_target(
        f"{largest} under {TARGET_SECONDS:.0f} s ({taken[-1]:.1f} s)",
        met=bool(taken[-1] < TARGET_SECONDS),
    )
    print_target(
        f"{largest} under {TARGET_GB} GB ({memory[-1] / 1e9:.2f} GB)",
        met=bool(memory[-1] < TARGET_GB * 1e9),
    )
    for what, p in exponents.items():
        if np.isnan(p):
            continue  # a single size
        met = p <= TARGET_EXPONENT
        print_target(f"{what} grows at most as n^{TARGET_EXPONENT} (n^{p:.2f})", met=met)
    print_closing()


def measure(path: str, small_path: str, repeats: int, preset: str) -> dict[str, Any]:
    """Median seconds, peak bytes, leaves, and time as a multiple of 60 x 60's, in this process."""
    parser = RegionParser(preset=preset, device="cpu")
    features = load_features(path)
    _ = parser.backbone.digest  # a tree's meta names its backbone: load it before measuring
    small = load_features(small_path)
    parser.build(features[:16, :16].contiguous())
    with PeakMemory() as memory:
        tree = parser.build(features)
    times = interleave(
        {"this": lambda: parser.build(features), "small": lambda: parser.build(small)}, repeats
    )
    return {
        "seconds": statistics.median(times["this"]),
        "ratio": ratio(times["this"], times["small"]),
        "bytes": memory.extra,
        "leaves": tree.n_leaves,
    }


def _mosaic(tiles: list[Tensor], side: int) -> Tensor:
    """(60 side, 60 side, d) from side x side grids."""
    rows = [torch.cat(tiles[i * side : (i + 1) * side], dim=1) for i in range(side)]
    return torch.cat(rows, dim=0)


def _enlarged(grid: Tensor, side: int) -> Tensor:
    """One grid (h, w, d) at side x side, with noise."""
    channels = grid.permute(2, 0, 1)[None]
    large = torch.nn.functional.interpolate(channels, size=(side, side), mode="bicubic")
    large = large[0].permute(1, 2, 0).contiguous()
    noise = torch.randn(large.shape, generator=torch.Generator().manual_seed(0))
    return large + 0.1 * grid.std() * noise


def exponent(n: FloatArray, cost: FloatArray) -> float:
    """Slope of a line through the logarithms; NaN from a single size."""
    return float(np.polyfit(np.log(n), np.log(cost), 1)[0]) if len(n) > 1 else float("nan")


def _plot(
    path: Path, n: FloatArray, taken: FloatArray, memory: FloatArray, powers: dict[str, float]
) -> None:
    """Time and memory against patches, log-log, with what linear growth would be."""
    import matplotlib as mpl

    mpl.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    ink, quiet, blue, orange = "#1f2933", "#9aa5b1", "#2166ac", "#d9782d"
    style: dict[Any, Any] = {
        "svg.hashsalt": "regiontree",  # the same figures give the same file
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial", "sans-serif"],
        "font.size": 10,
        "text.color": ink,
        "axes.edgecolor": quiet,
        "axes.labelcolor": ink,
        "xtick.color": ink,
        "ytick.color": ink,
    }
    table = 4 * n**2 / MB
    with plt.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9), layout="constrained")
        for axes, values, power, colour, unit, what in (
            (left, taken, powers["time"], blue, "seconds", "Time"),
            (right, memory / MB, powers["memory"], orange, "MB above the features", "Peak memory"),
        ):
            axes.set(xscale="log", yscale="log", xlabel="patches", ylabel=unit)
            measured = f"features to tree, n$^{{{power:.2f}}}$"
            axes.plot(
                n, values, "o-", color=colour, lw=2, ms=6, mec="white", zorder=3, label=measured
            )
            # Through the 60 x 60 point: what growth in proportion to n looks like.
            anchor = int(np.argmin(np.abs(n - TILE**2)))
            linear = values[anchor] * n / n[anchor]
            axes.plot(n, linear, "--", color=quiet, lw=1.3, zorder=2, label="in proportion to n")
            axes.set_title(what, loc="left", fontweight="bold", fontsize=11)
            axes.set_xticks(n, [f"{round(v**0.5)}²" for v in n])
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.grid(True, which="major", color="#e4e7eb", lw=0.8, zorder=0)
            axes.spines[["top", "right"]].set_visible(False)
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        right.plot(n, table, ":", color=ink, lw=1.5, zorder=2, label="one n x n table, never made")
        right.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        for axes in (left, right):
            axes.legend(loc="upper left", frameon=False, fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor="white", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
