"""What does a collection need, from a thousand photographs to a billion?

Reads what other benchmarks measured: seconds of a core for a photograph (``cost.py measure``),
kilobytes of a row (``store.py``), bytes of the index for a row (``store.py``) and the processor's
time for listing (``listing.py``). It multiplies them by the number of photographs. The bytes of a
photograph are the mean over ``--photos`` of the data sets.

    python benchmarks/sizes.py --csv benchmarks/results/sizes.csv
"""

from __future__ import annotations

import statistics
from pathlib import Path

from _common import REPOSITORY, arguments, photographs, print_closing, print_heading, print_results
from _schema import read_results

RESULTS = REPOSITORY / "benchmarks" / "results"
SIZES = (1_000, 100_000, 10_000_000, 1_000_000_000)
CORES = 64  # of a machine
SHARD = 256  # megabytes


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=354)
    parser.add_argument("--preset", default="default")
    options = parser.parse_args()
    print_heading(__file__)
    photo = statistics.fmean(
        one.source.stat().st_size
        for one in photographs(options.photos)
        if isinstance(one.source, Path)
    )
    seconds = figure("cost-parts", "all_seconds", preset=options.preset)
    row, bare = (
        1e3 * figure("store-size", "row_kilobytes", trees=trees)
        for trees in ("with embeddings", "without")
    )
    index = 1e6 * figure("store-rows", "index_megabytes", rows="10000000", shards="10") / 1e7
    listing = figure("listing", "cpu_time_per_photograph_microseconds", source="Parquet") / 1e6
    rows = []
    for count in SIZES:
        hours = count * seconds / 3600
        rows.append(
            [count, hours, hours / CORES / 24, count * photo / 1e9, count * row / 1e9,
             count * bare / 1e9, count * row / 1e6 / SHARD, count * index / 1e9,
             count * listing / 60]
        )  # fmt: skip
    print(f"A photograph of {photo / 1e3:.0f} KB takes {seconds:.2f} s of a core.\n")
    print_results("sizes", rows, options.csv)
    print_closing()


def figure(table: str, column: str, **where: str) -> float:
    """The figure of the first row of a table whose columns have these values."""
    rows = read_results(RESULTS / f"{table}.csv").rows
    row = next(row for row in rows if all(row[name] == value for name, value in where.items()))
    return float(row[column])


if __name__ == "__main__":
    main()
