"""What threads cost on a busy machine.

Question: how long does features -> tree take with other processes at work, as the package does it
(small algebra on one thread), without that, and with the short OpenMP spin that the command line
sets?

Method: a fresh process for each way builds the same tree a few times; first alone, then beside as
many busy processes as there are processors. Medians of the builds after the first.

    python benchmarks/threads.py [--repeats 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext

from _common import arguments, print_heading, print_results

WAYS = {
    "one_thread for small algebra (the package)": {},
    "... and GOMP_SPINCOUNT=1000 (the command line)": {"GOMP_SPINCOUNT": "1000"},
    "all threads everywhere": {"PLAIN": "1"},
}


def child(repeats: int) -> None:
    """Build and print the median milliseconds."""
    import numpy as np
    import torch

    import regiontree.hierarchy.recursive as recursive
    import regiontree.spectral.kmeans as kmeans
    from regiontree import RegionParser

    if os.environ.get("PLAIN"):
        kmeans.one_thread = recursive.one_thread = nullcontext  # type: ignore[attr-defined]
    # Smooth random features: the cost does not depend on what the picture shows.
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 384, 8, 8, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, size=(60, 60), mode="bicubic")[0]
    features = np.asarray((smooth + 0.3 * torch.randn(384, 60, 60, generator=rng)).permute(1, 2, 0))
    parser = RegionParser(backbone="precomputed", device="cpu")
    parser.build(features)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        parser.build(features)
        times.append(time.perf_counter() - start)
    print(1e3 * statistics.median(times))


def measured(ways: dict[str, str], repeats: int) -> float:
    command = [sys.executable, __file__, "--child", "--repeats", str(repeats)]
    done = subprocess.run(
        command, env={**os.environ, **ways}, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.child:
        child(given.repeats)
        return
    print_heading("threads.py")
    alone = {name: measured(way, given.repeats) for name, way in WAYS.items()}
    busy = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        beside = {name: measured(way, given.repeats) for name, way in WAYS.items()}
    finally:
        for process in busy:
            process.kill()
    rows = [[name, alone[name], beside[name], beside[name] / alone[name]] for name in WAYS]
    print_results("threads", rows, given.csv)


if __name__ == "__main__":
    main()
