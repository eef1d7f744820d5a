"""Time and memory of the categories of millions of regions.

Question
    Do prototypes and categories of many regions need more memory than those of few?
Method
    Regions are made up: --regions descriptors of --dim numbers around 3,000 centres, written as
    `regiontree discover` writes those of trees, 32 a photograph. Then the second stage of discover
    runs in a process of its own: moments, prototypes from a sample, passes over all regions, the
    tree of categories. Memory is that process's highest resident size.
Printed
    For each number of regions: seconds, highest memory, bytes of the regions on disk.

    python benchmarks/discover.py --regions 100000 1000000 10000000
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import MB, arguments, print_closing, print_heading, print_results

from regiontree.collection.discovery import learn
from regiontree.collection.files import CollectionFiles, Part
from regiontree.collection.settings import CollectionSettings
from regiontree.system.stages import values_of

CENTRES = 3000
EACH = 32  # regions of a photograph
AT_ONCE = 4096  # photographs of a part


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--regions", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--learn", type=Path, help="only learn from the regions in this folder")
    chosen = parser.parse_args()
    if chosen.learn is not None:
        start = time.perf_counter()
        learn(CollectionFiles(chosen.learn), CollectionSettings(descriptor="token"))
        seconds = time.perf_counter() - start
        print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
        return
    print_heading(__doc__)
    rows = []
    for count in chosen.regions:
        with tempfile.TemporaryDirectory() as folder:
            files = CollectionFiles(folder)
            write(files, count, chosen.dim)
            size = sum(path.stat().st_size for path in files.parts("regions"))
            done = subprocess.run(
                [sys.executable, __file__, "--learn", folder],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            seconds, memory = map(float, done.stdout.split()[-2:])
            rows.append([count, chosen.dim, seconds, memory / MB, size / MB])
    print_results("discover", rows, chosen.csv)
    print_closing()


def write(files: CollectionFiles, count: int, dim: int) -> None:
    """Made-up regions, in the files that discover writes."""
    about = {"trees": {"blocks": [dim]}, "settings": values_of(CollectionSettings())}
    files.write_about(about)
    centres = np.random.default_rng(0).normal(size=(CENTRES, dim)).astype(np.float32)
    for first in range(0, count, EACH * AT_ONCE):
        n = min(EACH * AT_ONCE, count - first) // EACH
        rng = np.random.default_rng(1 + first)
        values = centres[rng.integers(0, CENTRES, n * EACH)]
        values += rng.normal(0, 0.5, values.shape).astype(np.float32)
        share = rng.random(n * EACH).astype(np.float32) + 0.1
        photographs = [{"id": str(first + i)} for i in range(n)]
        arrays = {"values": values.astype(np.float16), "share": share}
        within = {"within": n * 0.1 * np.eye(dim, dtype=np.float32).ravel()}
        files.add_part("regions", Part(photographs, np.arange(n + 1) * EACH, arrays, within))


if __name__ == "__main__":
    main()
