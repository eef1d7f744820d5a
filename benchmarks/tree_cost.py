"""How much does the tree cost beside the network that made its features?

Question
    What share of the backbone's work on a photograph does everything after it take (features ->
    RegionTree at the photograph's own size), without and with refinement, and where does it go?
Method
    For each photograph forward and ``RegionParser.build`` in turn (A B A B), square, at the size
    that the preset chooses: the default (one view of 518 x 518, 37 x 37 features), `accurate` (four
    views, 74 x 74 features), and the published one (840 x 840, 60 x 60 features). Stages are
    timed in further builds by wrapping the functions that the real path calls (STAGES below); a
    stage's time is its own, less that of stages inside it. A stage whose function has gone from the
    package is named, and its time counts for its caller.
Printed
    Ratio for each photograph, median and most; milliseconds of each stage, median over photographs.
Target
    Default preset: features to tree, without refinement (which has a limit of its own: refine.py),
    in the median at or below 10 %.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

from _common import (
    Photo,
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
    ratio,
)

from regiontree import RegionParser, RegionTree
from regiontree.images import load_image, to_pixels

# Stage -> where the path looks its function up: module, then attribute (or class and method).
STAGES = {
    "unit rows": [("regiontree.parser", "unit_rows")],
    "max distance": [
        ("regiontree.parser", "all_equal"),
        ("regiontree.spectral.affinity", "max_cosine_distance"),
    ],
    "merging of patches": [("regiontree.spectral.oversegment", "contiguous_groups")],
    "degrees": [("regiontree.spectral.affinity", "LowRankAffinity.degrees")],
    "eigenvectors": [("regiontree.spectral.oversegment", "leading_eigenvectors")],
    "k-means of patches": [("regiontree.spectral.oversegment", "kmeans")],
    "part graph": [("regiontree.parser", "part_graph")],
    "hierarchy": [("BUILDER", "build")],  # of whichever class the settings choose
    "hierarchy's k-means": [("regiontree.hierarchy.recursive", "kmeans")],
    "node embeddings": [("regiontree.parser", "node_embeddings")],
    "smoothing": [("regiontree.parser", "smooth_features")],
    "labels to pixels": [("regiontree.parser", "nearest")],
    "refinement": [("regiontree.refine.guided", "Guided.refine")],
    "RegionTree and its checks": [("regiontree.tree", "RegionTree.__post_init__")],
}
REST = "everything else"
missing: set[str] = set()


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=8, help="photographs (default 8)")
    parser.add_argument("--repeats", type=int, default=5, help="turns a photograph (default 5)")
    options = parser.parse_args()
    print_heading(__file__)
    photos = photographs(options.photos)
    found = {}
    for preset, side in {"default": 518, "accurate": 518, "published": 840}.items():
        region_parser = RegionParser(
            preset=preset, size=(side, side), descriptor="none", device="cpu"
        )
        found[preset] = _measured(preset, region_parser, photos, options.repeats)
    for at, part in enumerate(("", "photos", "stages")):
        table = f"tree-cost-{part}" if part else "tree-cost"
        rows = [row for tables in found.values() for row in tables[at]]
        print_results(table, rows, options.csv, part)
    for name in sorted(missing):
        print(f"Not in the package: {name}; its time counts for its caller.\n")
    share = found["default"][0][0][-2]
    print_target(f"default: at most 10 % in the median ({share:.1f} %)", met=share <= 10)
    print_closing()


def _measured(
    preset: str, parser: RegionParser, photos: list[Photo], repeats: int
) -> tuple[list[Any], list[Any], list[Any]]:
    """Rows of the three tables, of one preset."""
    backbone, square = parser.backbone, parser.settings.view.size
    assert isinstance(square, tuple)
    grid = square[0] // backbone.patch, square[1] // backbone.patch
    unrefined = RegionParser(
        preset=preset, size=square, descriptor="none", device="cpu", refine="none"
    )
    rows: list[tuple[str, float, float, float, float, float, int]] = []
    stages: dict[str, list[float]] = {name: [] for name in (*STAGES, REST)}
    for photo in photos:
        image = load_image(photo.source)
        pixels = to_pixels(image.rgb, grid, backbone.patch)[None]
        features = backbone.features(pixels)[0]
        rgb = parser.pixels(photo.source)
        build = partial(parser.build, features, rgb=rgb, image_size=image.size)
        times = interleave(
            {
                "forward": partial(backbone.features, pixels),
                "plain": partial(unrefined.build, features, rgb=rgb, image_size=image.size),
                "build": build,
            },
            repeats,
        )
        forward, plain, refined = (
            statistics.median(times[name]) for name in ("forward", "plain", "build")
        )
        shares = [ratio(times[name], times["forward"]) for name in ("plain", "build")]
        rows.append((photo.name, forward, plain, shares[0], refined, shares[1], build().n_leaves))
        for name, taken in _by_stage(parser, build, repeats).items():
            stages[name].append(taken)

    start = [preset, str(backbone.dtype)[6:], grid[0] * grid[1]]
    shares = {name: [100 * row[at] for row in rows] for name, at in (("no", 3), ("yes", 5))}
    total = sum(statistics.median(taken) for taken in stages.values())
    return (
        [
            [*start, name, statistics.median(taken), max(taken)]
            for name, taken in shares.items()
        ],
        [
            [preset, name, f, 1e3 * p, 100 * a, 1e3 * r, 100 * b, leaves]
            for name, f, p, a, r, b, leaves in rows
        ],
        [
            [preset, name, 1e3 * statistics.median(taken), 1e3 * max(taken),
             100 * statistics.median(taken) / total]
            for name, taken in stages.items()
        ],
    )  # fmt: skip


class Stopwatch:
    """Own time of nested stages."""

    def __init__(self, stages: Iterable[str] = STAGES) -> None:
        self.taken = dict.fromkeys((*stages, REST), 0.0)
        self._running: list[str] = []
        self._since = 0.0

    def switch(self) -> None:
        """Book the time since the last switch for the stage that is running."""
        now = time.perf_counter()
        if self._running:
            self.taken[self._running[-1]] += now - self._since
        self._since = now

    def wrap(self, stage: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.switch()
            self._running.append(stage)
            try:
                return function(*args, **kwargs)
            finally:
                self.switch()
                self._running.pop()

        return timed


@contextmanager
def wrapped(
    stopwatch: Stopwatch, builder: type, stages: Mapping[str, list[tuple[str, str]]] = STAGES
) -> Iterator[None]:
    """The functions of the stages replaced by timed ones."""
    undo: list[tuple[Any, str, Any]] = []
    for stage, places in stages.items():
        for module, attribute in places:
            owner: Any = builder if module == "BUILDER" else import_module(module)
            *outer, name = attribute.split(".")
            for part in outer:
                owner = getattr(owner, part, None)
            function = getattr(owner, name, None)
            if function is None:
                missing.add(f"{module}.{attribute} (stage '{stage}')")
                continue
            undo.append((owner, name, function))
            setattr(owner, name, stopwatch.wrap(stage, function))
    try:
        yield
    finally:
        for owner, name, function in reversed(undo):
            setattr(owner, name, function)


def _by_stage(
    parser: RegionParser, build: Callable[[], RegionTree], repeats: int
) -> dict[str, float]:
    """Seconds of each stage, median over builds."""
    builder = type(parser.settings.tree)
    runs: list[dict[str, float]] = []
    for _ in range(repeats):
        stopwatch = Stopwatch()
        with wrapped(stopwatch, builder):
            stopwatch.wrap(REST, build)()
        runs.append(stopwatch.taken)
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


if __name__ == "__main__":
    main()
