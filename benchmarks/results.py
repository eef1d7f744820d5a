"""Scores on every small data set of real images, by preset, and on the golden trees.

Each data set runs through ``regiontree run``'s own path (features, trees and scores are kept in
``--output`` and not made again), so the table costs minutes the first time and seconds afterwards.
Seconds are the median of what each image took when it was last done, on whatever machine that was:
for timings to quote, use an empty ``--output`` on a machine with nothing else to do.

The golden trees are what the published code made of features that are stored beside them: ours are
built from the same features.

    python benchmarks/results.py          # all; --only voc2012 for one; --preset default, accurate
    python benchmarks/results.py --preset default --output results/int8 --set \
        backbone.runtime=openvino backbone.dtype=int8
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from _common import (
    REPOSITORY,
    SUBSETS,
    arguments,
    data_folder,
    print_closing,
    print_heading,
    print_results,
)
from rich.console import Console
from rich.progress import track

from regiontree import RegionParser, RegionTree
from regiontree.datasets.catalog import open_dataset
from regiontree.engines.crew import Alone
from regiontree.errors import RegionTreeError
from regiontree.experiments.config import load_experiment
from regiontree.experiments.plan import prepare
from regiontree.experiments.report import Report
from regiontree.experiments.run import run
from regiontree.experiments.scoring import Scoring, View
from regiontree.metrics import CoveringScores, Scores
from regiontree.metrics.report import COVERINGS
from regiontree.settings import PRESETS

CONFIGS = REPOSITORY / "configs"
BUDGET = 24  # nodes at which trees of different size are compared
NAMES = {"grid": "patch grid", "pixel": "full size"}
MEAN = "mean of data sets"


def reports(
    names: list[str], preset: str, data: Path, output: Path, changes: dict[str, str]
) -> Iterator[tuple[str, Report]]:
    """Run the data sets one after the other; one that cannot run is told of and left out."""
    for name in names:
        try:
            plan = prepare(
                load_experiment(
                    CONFIGS / f"{preset}.yaml",
                    dataset=str(SUBSETS / f"{name}.yaml"),
                    root=data,
                    output=output,
                    changes=changes,
                )
            )
            result = run(plan, Alone())
        except RegionTreeError as error:
            print(f"{name}: {error}", file=sys.stderr)
            continue
        for said in result.failed:
            print(f"{name}: {said}", file=sys.stderr)
        if result.report is not None:
            yield name, result.report


def row(preset: str, name: str, report: Report, protocol: str) -> list[object]:
    """A row of the table `results`."""
    labels = report.scoring.labels
    assert labels is not None
    level = report.scores[View(protocol, labels.max_depth)]
    tree = report.scores[View(protocol, None)]
    assert isinstance(level, Scores)
    assert isinstance(tree, Scores)
    few = next(point for point in tree.curve if point.budget == BUDGET)
    finest = level.nm_covering, tree.nm_covering, tree.nh_covering
    semantic = level.miou, level.pacc, level.macc, level.fiou
    return [
        preset, NAMES[protocol], name, level.images, level.nodes, level.leaves,
        *(100 * value for value in (*finest, *semantic)),
        few.nodes, 100 * few.nm, 100 * few.nh, sum(report.seconds.values()),
    ]  # fmt: skip


def mean_row(rows: list[list[object]]) -> list[object]:
    """The mean over data sets, of every column but the number of images."""
    values = np.mean([[float(str(value)) for value in row[4:]] for row in rows], axis=0)
    return [*rows[0][:2], MEAN, None, *values.tolist()]


def golden(data: Path) -> list[list[object]]:
    """Rows of the published code's trees and of ours on the same features."""
    files = sorted((data.parent / "reference" / "golden").glob("*.npz"))
    if not files:
        return []
    dataset = open_dataset(SUBSETS / "voc2012.yaml", None, data)
    samples = {sample.id.rsplit("/", 1)[-1]: sample for sample in dataset.samples}
    scoring = Scoring(dataset.labels, ("grid", "pixel"), budgets=())
    ways = {"the published code's trees": None, "ours, max_perturbation 50": 50.0,
            "ours, max_perturbation 80 (as the configs say)": 80.0}  # fmt: skip
    rows: list[list[object]] = []
    for name, bound in ways.items():
        records = []
        for file in files:
            with np.load(file, allow_pickle=False) as stored:
                if bound is None:
                    tree = RegionTree.from_parents(stored["node_of_patch"], stored["parents"])
                else:
                    parser = RegionParser(
                        preset="published", backbone="precomputed", max_perturbation=bound
                    )
                    tree = parser.build(stored["features"])
            records.append(scoring.record(file.stem, tree, dataset.truths(samples[file.stem])))
        scores = scoring.merge(records)
        grid, pixel = (scores[View(protocol, 1)][COVERINGS] for protocol in ("grid", "pixel"))
        assert isinstance(grid, Scores)
        assert isinstance(pixel, Scores)
        shares = grid.nm_covering, pixel.nm_covering, grid.miou, grid.pacc
        rows.append([name, grid.nodes, grid.leaves, *(100 * value for value in shares)])
    return rows


def main() -> None:
    known = sorted(path.stem for path in SUBSETS.glob("*.yaml"))
    options = arguments(__doc__)
    options.add_argument("--only", nargs="+", choices=known, default=known, metavar="NAME")
    options.add_argument("--preset", choices=list(PRESETS), default="published")
    options.add_argument("--output", type=Path, default=Path("results"))
    options.add_argument("--data", type=Path, default=None, help="$REGIONTREE_DATA if left out")
    options.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="settings")
    given = options.parse_args()
    data = given.data or data_folder()
    if not data.is_dir():
        sys.exit(f"no real images in {data}: pass --data or set REGIONTREE_DATA")
    print_heading("results.py")
    changes = dict(part.split("=", 1) for part in given.set)
    runs = reports(given.only, given.preset, data, given.output / given.preset, changes)
    found = list(track(runs, "data sets", len(given.only), console=Console(stderr=True)))
    classes = [(name, report) for name, report in found if report.scoring.labels is not None]
    rows: list[list[object]] = []
    for protocol in ("grid", "pixel") if classes else ():
        of_sets = [row(given.preset, name, report, protocol) for name, report in classes]
        rows += [*of_sets, mean_row(of_sets)]
    if rows:
        print_results("results", rows, given.csv)
    people = [(name, report.scores[View("pixel", 0)], sum(report.seconds.values()))
              for name, report in found if report.scoring.labels is None]  # fmt: skip
    covering = [
        [given.preset, name, s.images, s.nodes, s.leaves, s.ods, s.ois, s.best, seconds]
        for name, s, seconds in people
        if isinstance(s, CoveringScores)
    ]
    if covering:
        print_results("results-covering", covering, given.csv, "covering")
    published = given.preset == "published"
    if published and "voc2012" in given.only and (stored := golden(data)):
        print("Trees of the published code, and ours on the same features:\n")
        print_results("results-golden", stored, given.csv, "golden")
    print_closing()


if __name__ == "__main__":
    main()
