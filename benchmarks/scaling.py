"""Do time and memory of the tree grow with the number of patches, or with its square?

Question
    features -> tree from 30 x 30 to 240 x 240 patches (a photograph of 3360 x 3360 pixels with
    patches of 14), and with --large up to 1000 x 1000 (14,000 x 14,000 pixels): how do time and
    peak memory grow?
Method
    Features of embedded, made large in one of two ways (--features):

    - mosaic, the default, is real throughout: up to 4 x 4 different photographs at 60 x 60 patches
      each (a shorter list is gone through again), of which each size takes the top-left square;
      30 x 30 is a quarter of one photograph. The larger, the more different things it holds, so
      k-means needs more iterations: this growth is counted too.
      Above 240 x 240 each of the 4 x 4 photographs is enlarged, and has noise, as below.
    - enlarged is one photograph's 60 x 60 grid brought to each size (bicubic), plus noise of seed 0
      and a tenth of the features' standard deviation: the same content at every size.

    Each size runs in a fresh process: one tree of 16 x 16 patches to
    load everything, then peak memory of the first tree above features and libraries, then the
    median time of --repeats trees, in turn with trees of 60 x 60 (A B A B): the ratio of the two is
    what exponents are fitted to, so that they do not see the machine's speed drift between sizes.
    Trees live on the patch grid. Grids of more than 240 x 240 patches are timed once, between two
    trees of 60 x 60.

    With --refine a further process makes the tree with the photographs at 14 pixels a patch, so
    colours guide the smoothing and borders are drawn at that size, in windows. It is timed once.
    Memory is then above features and photographs. With --stages, one more process says where time
    and memory of the largest size go; memory is the most while the stage runs.
Printed
    Time and memory, whole and for each patch; the exponent p of n^p fitted to the logarithms, over
    all sizes and over those from 60 x 60 on (below, fixed costs rule); memory of one n x n float32
    table, which is never made. Writes docs/benchmarks/scaling.svg.
Targets
    240 x 240 under 15 s and 1.5 GB; 1000 x 1000 under 60 s and 3 GB on two cores; exponents at most
    1.1.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import (
    MB,
    REPOSITORY,
    PeakMemory,
    Photo,
    arguments,
    features_of,
    forget_most,
    interleave,
    is_child,
    load_features,
    most_resident,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
    resident,
    run_child,
    save_features,
    seconds,
)
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from tree_cost import REST, STAGES, Stopwatch, wrapped

from regiontree import RegionParser
from regiontree.images import load_image

FloatArray = NDArray[np.float64]

SIDES = (30, 60, 90, 120, 180, 240)
LARGE = (500, 1000)
TILE = 60  # patches a side of one photograph
PATCH = 14  # pixels
REAL = 240  # patches a side up to which 4 x 4 photographs have their own features
# Patches a side -> the most seconds and gigabytes of a tree.
TARGETS = {240: (15.0, 1.5), 1000: (60.0, 3.0)}
TARGET_EXPONENT = 1.1
REFINED_STAGES = STAGES | {
    "colours of patches": [("regiontree.parser", "patch_colours")],
    "patches that change sides": [("regiontree.refine.guided", "moved_patches")],
}


def main() -> None:
    if is_child({"size": measure, "refined": measure_refined, "stages": measure_stages}):
        return
    parser = arguments(__doc__)
    parser.add_argument("--sides", type=int, nargs="+", default=list(SIDES), help="patches a side")
    parser.add_argument("--large", action="store_true", help=f"also sides of {LARGE} patches")
    parser.add_argument("--refine", action="store_true", help="also borders at 14 pixels a patch")
    parser.add_argument("--stages", action="store_true", help="also stages of the largest size")
    parser.add_argument("--repeats", type=int, default=5, help="timed trees a size (default 5)")
    parser.add_argument("--features", default="mosaic", choices=("mosaic", "enlarged"))
    parser.add_argument("--preset", default="default", choices=("default", "published"))
    parser.add_argument("--no-plot", action="store_true", help="leave the figure as it is")
    options = parser.parse_args()
    print_heading(__file__)
    sides = sorted({*options.sides, *(LARGE if options.large else ())})
    tiles = -(-min(max(sides), REAL) // TILE) if options.features == "mosaic" else 1
    photos = photographs(tiles**2, repeat=True)
    grids = features_of(photos, TILE * PATCH)
    print(f"Features: {options.features}\n")

    found: list[dict[str, Any]] = []
    stages: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        small, path, photo = (str(Path(folder) / f"{name}.npy") for name in ("s", "f", "p"))
        save_features(Path(small), grids[0])
        for side in sides:
            across = round(len(photos) ** 0.5)
            real = options.features == "mosaic" and side <= across * TILE
            cells = TILE if real else -(-side // across)
            save_grid(path, grids, side, cells)
            given = {"path": path, "preset": options.preset}
            row = run_child(__file__, "size", small_path=small, repeats=options.repeats, **given)
            if options.refine:
                save_photograph(photo, photos, side, cells)
                row |= run_child(__file__, "refined", photo=photo, **given)
            found.append(row)
            if options.stages and side == sides[-1]:
                for with_photo in (False, True)[: 1 + options.refine]:
                    kept = run_child(
                        __file__, "stages", photo=photo if with_photo else None, **given
                    )
                    start = [options.preset, side, "yes" if with_photo else "no"]
                    stages += [[*start, *stage] for stage in kept["stages"]]
    _report(options, sides, found, stages)


def _report(
    options: Any, sides: list[int], found: list[dict[str, Any]], stages: list[list[Any]]
) -> None:
    """Print tables and targets, and draw the figure."""
    n = np.array([side**2 for side in sides], dtype=float)
    taken = np.array([f["seconds"] for f in found])
    memory = np.array([f["bytes"] for f in found], dtype=float)
    relative = np.array([f["ratio"] for f in found])  # to 60 x 60, side by side: free of drift
    print("Time of 60 x 60 patches = 1:\n")
    print_results(
        "scaling",
        [
            (options.preset, side, int(count), t, 1e6 * t / count, f["ratio"], m / MB,
             m / 1e3 / count, 4 * count**2 / MB, f["leaves"],
             PATCH * side if options.refine else None, f.get("refined_seconds"),
             f["refined_bytes"] / MB if options.refine else None)
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
    if stages:
        print_results("scaling-stages", stages, options.csv, "stages")
    if not options.no_plot:
        path = REPOSITORY / "docs" / "benchmarks" / "scaling.svg"
        _plot(path, n, found, exponents)
        print(f"Wrote {path.relative_to(REPOSITORY)}\n")
    for side, t, m in zip(sides, taken, memory, strict=True):
        if side in TARGETS:
            most, gigabytes = TARGETS[side]
            size = f"{side} x {side}"
            print_target(f"{size} under {most:.0f} s ({t:.1f} s)", met=bool(t < most))
            print_target(
                f"{size} under {gigabytes} GB ({m / 1e9:.2f} GB)", met=bool(m < gigabytes * 1e9)
            )
    for what, p in exponents.items():
        if np.isnan(p):
            continue  # a single size
        met = p <= TARGET_EXPONENT
        print_target(f"{what} grows at most as n^{TARGET_EXPONENT} (n^{p:.2f})", met=met)
    print_closing()


# -- in a process of their own --------------------------------------------------------------------


def measure(path: str, small_path: str, repeats: int, preset: str) -> dict[str, Any]:
    """Median seconds, peak bytes, leaves, and time as a multiple of 60 x 60's, in this process."""
    parser, features = _ready(path, preset)
    small = load_features(small_path)
    few = partial(parser.build, small)
    if len(features) > REAL:  # minutes: once, between two small ones
        kept: list[int] = []
        few()
        before = min(seconds(few) for _ in range(3))
        with PeakMemory() as memory:
            taken = seconds(lambda: kept.append(parser.build(features).n_leaves))
        after = min(seconds(few) for _ in range(3))
        return {
            "seconds": taken,
            "ratio": 2 * taken / (before + after),
            "bytes": memory.extra,
            "leaves": kept[-1],
        }
    with PeakMemory() as memory:
        tree = parser.build(features)
    times = interleave({"this": lambda: parser.build(features), "small": few}, repeats)
    return {
        "seconds": statistics.median(times["this"]),
        "ratio": ratio(times["this"], times["small"]),
        "bytes": memory.extra,
        "leaves": tree.n_leaves,
    }


def measure_refined(path: str, photo: str, preset: str) -> dict[str, Any]:
    """Seconds and peak bytes of a tree with borders drawn on the photograph."""
    parser, features = _ready(path, preset)
    rgb: NDArray[np.uint8] = np.load(photo)
    with PeakMemory() as memory:
        taken = seconds(lambda: parser.build(features, rgb=rgb, image_size=rgb.shape[:2]))
    return {"refined_seconds": taken, "refined_bytes": memory.extra}


def measure_stages(path: str, photo: str | None, preset: str) -> dict[str, Any]:
    """Of each stage: its name, own seconds, share of all in per cent, most MB while it ran."""
    parser, features = _ready(path, preset)
    rgb: NDArray[np.uint8] | None = None if photo is None else np.load(photo)
    gauge = Gauge(resident())
    size = None if rgb is None else rgb.shape[:2]
    with wrapped(gauge, type(parser.settings.tree), REFINED_STAGES):
        gauge.wrap(REST, parser.build)(features, rgb=rgb, image_size=size)
    whole = sum(gauge.taken.values())
    return {
        "stages": [
            [name, taken, 100 * taken / whole, gauge.most[name] / MB]
            for name, taken in gauge.taken.items()
            if name in gauge.most
        ]
    }


class Gauge(Stopwatch):
    """Own time of nested stages, and the most bytes above `base` while each of them ran."""

    def __init__(self, base: int) -> None:
        super().__init__(REFINED_STAGES)
        self.base = base
        self.most: dict[str, int] = {}

    def switch(self) -> None:
        if self._running:
            stage = self._running[-1]
            self.most[stage] = max(self.most.get(stage, 0), most_resident() - self.base)
        forget_most()
        super().switch()


def _ready(path: str, preset: str) -> tuple[RegionParser, Tensor]:
    """A parser that has made a tree, so that everything is loaded, and the features."""
    parser = RegionParser(preset=preset, device="cpu")
    _ = parser.backbone.digest  # a tree's meta names its backbone: load it before measuring
    features = load_features(path)
    rgb = np.random.default_rng(0).integers(0, 255, (16 * PATCH, 16 * PATCH, 3), np.uint8)
    corner = features[:16, :16].contiguous()
    parser.build(corner)
    parser.build(corner, rgb=rgb, image_size=rgb.shape[:2])
    return parser, features


# -- features and photographs ---------------------------------------------------------------------


def save_grid(path: str, grids: list[Tensor], side: int, cells: int) -> None:
    """Write side x side patches of a square of photographs, each of cells x cells patches."""
    across = round(len(grids) ** 0.5)
    shape = (side, side, grids[0].shape[2])
    whole = np.lib.format.open_memmap(path, "w+", np.float32, shape)
    noise = torch.Generator().manual_seed(0)
    for grid, (down, right) in zip(grids, _places(across, cells), strict=True):
        own = grid if cells == TILE else _enlarged(grid, cells, noise)
        place = whole[down, right]
        place[:] = own[: place.shape[0], : place.shape[1]].numpy()
    whole.flush()


def save_photograph(path: str, photos: list[Photo], side: int, cells: int) -> None:
    """Write the photographs that :func:`save_grid` shows, at 14 pixels a patch."""
    across = round(len(photos) ** 0.5)
    whole = np.lib.format.open_memmap(path, "w+", np.uint8, (PATCH * side, PATCH * side, 3))
    noise = np.random.default_rng(0)
    for photo, (down, right) in zip(photos, _places(across, PATCH * cells), strict=True):
        image = Image.fromarray(load_image(photo.source).rgb)
        own = np.array(image.resize((PATCH * cells,) * 2, Image.Resampling.BICUBIC))
        place = whole[down, right]
        own = own[: place.shape[0], : place.shape[1]]
        if cells != TILE:  # an enlarged photograph has no texture of its own
            for rows in np.array_split(own, 16):
                rough = rows + noise.normal(0, 6, rows.shape).astype(np.float32)
                rows[:] = np.clip(rough, 0, 255)
        place[:] = own
    whole.flush()


def _places(across: int, cells: int) -> Iterator[tuple[slice, slice]]:
    """Where each of across x across photographs lies, row by row."""
    for row in range(across):
        for column in range(across):
            yield (
                slice(row * cells, (row + 1) * cells),
                slice(column * cells, (column + 1) * cells),
            )


def _enlarged(grid: Tensor, side: int, noise: torch.Generator) -> Tensor:
    """One grid (h, w, d) at side x side, with noise."""
    channels = grid.permute(2, 0, 1)[None]
    large = torch.nn.functional.interpolate(channels, size=(side, side), mode="bicubic")
    large = large[0].permute(1, 2, 0).contiguous()
    return large.add_(torch.randn(large.shape, generator=noise), alpha=0.1 * float(grid.std()))


def exponent(n: FloatArray, cost: FloatArray) -> float:
    """Slope of a line through the logarithms; NaN from a single size."""
    return float(np.polyfit(np.log(n), np.log(cost), 1)[0]) if len(n) > 1 else float("nan")


def _plot(path: Path, n: FloatArray, found: list[dict[str, Any]], powers: dict[str, float]) -> None:
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
    with plt.rc_context(style):
        figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.9), layout="constrained")
        for axes, key, unit, power, colour, label, what in (
            (left, "seconds", 1.0, powers["time"], blue, "seconds", "Time"),
            (right, "bytes", MB, powers["memory"], orange, "MB above what is given", "Peak memory"),
        ):
            values = np.array([f[key] for f in found]) / unit
            axes.set(xscale="log", yscale="log", xlabel="patches", ylabel=label)
            measured = f"features to tree, n$^{{{power:.2f}}}$"
            marks: dict[str, Any] = {"lw": 2, "ms": 6, "mec": "white", "zorder": 3}
            axes.plot(n, values, "o-", color=colour, label=measured, **marks)
            if f"refined_{key}" in found[0]:
                refined = np.array([f[f"refined_{key}"] for f in found]) / unit
                with_borders = "with borders at 14 pixels a patch"
                axes.plot(n, refined, "s-", color=ink, label=with_borders, **marks)
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
        table = "one n x n table, never made"
        right.plot(n, 4 * n**2 / MB, ":", color=ink, lw=1.5, zorder=2, label=table)
        right.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:,.0f}"))
        for axes in (left, right):
            axes.legend(loc="upper left", frameon=False, fontsize=9)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, facecolor="white", metadata={"Date": None})
        plt.close(figure)


if __name__ == "__main__":
    main()
