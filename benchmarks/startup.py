"""How long until something happens: help, import, and the backbone from the cache?

Question
    What does a user wait for before any work is done?
Method
    Each step is a fresh Python process, all steps in turn (A B A B), after one untimed turn that
    fills the disk cache and the weights' cache. "Own time" of the backbone is the call alone, after
    torch is imported, measured inside the process.
Printed
    Wall seconds of each step, and less the interpreter's own start.
Targets
    ``regiontree --help`` under 0.5 s; loading the backbone under 2 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from functools import partial

from _common import (
    arguments,
    interleave,
    print_closing,
    print_heading,
    print_results,
    print_target,
)

LOAD = """
import time
import torch
from regiontree.backbones import load_backbone
start = time.perf_counter()
load_backbone("embedded", torch.device("cpu"), torch.{dtype})
print(time.perf_counter() - start)
"""
INTERPRETER = "Python alone"
HELP = "regiontree --help"
STEPS = {
    INTERPRETER: ["-c", "pass"],
    "import regiontree": ["-c", "import regiontree"],
    HELP: ["-m", "regiontree", "--help"],
    "import torch": ["-c", "import torch"],
    "import regiontree.parser": ["-c", "import regiontree.parser"],
    "load the backbone, float32": ["-c", LOAD.format(dtype="float32")],
    "load the backbone, bfloat16": ["-c", LOAD.format(dtype="bfloat16")],
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed turns (default 7)")
    options = parser.parse_args()
    print_heading(__file__)

    own: dict[str, list[float]] = {}
    failed: dict[str, str] = {}

    def run(name: str) -> None:
        done = subprocess.run(
            [sys.executable, *STEPS[name]], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            failed[name] = (done.stderr or done.stdout).strip().splitlines()[-1]
        elif name.startswith("load"):
            own.setdefault(name, []).append(float(done.stdout.split()[-1]))

    times = interleave({name: partial(run, name) for name in STEPS}, options.repeats)
    floor = statistics.median(times[INTERPRETER])
    rows = []
    for name, taken in times.items():
        wall = statistics.median(taken)
        if name in failed:
            rows.append((name, None, None, None))
            continue
        inside = statistics.median(own[name][1:]) if name in own else None
        rows.append((name, wall, wall - floor, inside))
    print_results("startup", rows, options.csv)
    for name, message in failed.items():
        print(f"{name} failed: {message}\n")

    wall = statistics.median(times[HELP])
    print_target(f"{HELP} under 0.5 s ({wall:.2f} s)", met=wall < 0.5 and HELP not in failed)
    for name in own:
        call, wall = statistics.median(own[name][1:]), statistics.median(times[name])
        print_target(f"{name} under 2 s (call {call:.2f} s)", met=call < 2)
        print_target(f"{name} under 2 s (whole process {wall:.2f} s)", met=wall < 2)
    print_closing()


if __name__ == "__main__":
    main()
