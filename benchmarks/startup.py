"""How long until something happens: help, import, the backbone, and a machine's first tree?

Question
    What does a user wait for before any work is done?
Method
    Each step is a fresh Python process, all steps in turn (A B A B), after one untimed turn that
    fills the disk cache and the weights' cache. "Own time" of the backbone is the call alone, after
    torch is imported, measured inside the process.
    The first tree is made in a fresh process with empty folders for caches, of regiontree and of
    numba, and then again in further processes, which find what the first has kept. So the first
    unpacks the weights and compiles the loops. In each process the same tree is made twice; what
    the first of the two takes longer is called compiling or loading loops.
Printed
    Wall seconds of each step, and less the interpreter's own start; the parts of the first tree and
    of later ones, medians over --first turns.
Targets
    ``regiontree --help`` under 0.5 s; loading the backbone under 2 s.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from _common import (
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
)
from PIL import Image

from regiontree.images import load_image

LOAD = """
import time
import torch
from regiontree.backbones import load_backbone
start = time.perf_counter()
load_backbone("embedded", torch.device("cpu"), torch.{dtype})
print(time.perf_counter() - start)
"""
FIRST = """
import sys, tempfile, time
from pathlib import Path
times, start = {}, time.perf_counter()
def done(part):
    global start
    times[part] = time.perf_counter() - start
    start = time.perf_counter()
from regiontree import RegionParser
import regiontree.hierarchy.ward, regiontree.refine.guided
done("imports")
parser = RegionParser(device="cpu")
parser.backbone
done("weights")
image = parser.sight.load(Path(sys.argv[1]))
rgb = parser.pixels(Path(sys.argv[1]), decoded=image)
done("decoding")
features = parser.extract(image)
done("network")
parser.build(features, rgb=rgb)
done("loops")
RegionParser(device="cpu", refine="none").build(features, rgb=rgb)
done("tree")
tree = parser.build(features, rgb=rgb)
done("refined")
with tempfile.TemporaryDirectory() as folder:
    tree.save(Path(folder) / "tree.npz")
done("writing")
times["loops"] -= times["refined"]
times["borders"] = times.pop("refined") - times["tree"]
for part, taken in times.items():
    print(part, taken)
"""
PARTS = {
    "imports": "imports",
    "weights": "weights",
    "loops": "compiling or loading loops",
    "decoding": "decoding",
    "network": "network",
    "tree": "tree",
    "borders": "borders",
    "writing": "writing",
}
INTERPRETER = "Python alone"
HELP = "regiontree --help"
STEPS = {
    INTERPRETER: ["-c", "pass"],
    "import regiontree": ["-c", "import regiontree"],
    HELP: ["-m", "regiontree", "--help"],
    "regiontree show --help": ["-m", "regiontree", "show", "--help"],
    "import torch": ["-c", "import torch"],
    "import regiontree.parser": ["-c", "import regiontree.parser"],
    "load the backbone, float32": ["-c", LOAD.format(dtype="float32")],
    "load the backbone, bfloat16": ["-c", LOAD.format(dtype="bfloat16")],
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed turns (default 7)")
    parser.add_argument(
        "--first", type=int, default=1, help="turns with empty caches (default 1; 0: none)"
    )
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
    if options.first:
        print_results("startup-first", _first_trees(options.first), options.csv, "first")

    wall = statistics.median(times[HELP])
    print_target(f"{HELP} under 0.5 s ({wall:.2f} s)", met=wall < 0.5 and HELP not in failed)
    for name in own:
        call, wall = statistics.median(own[name][1:]), statistics.median(times[name])
        print_target(f"{name} under 2 s (call {call:.2f} s)", met=call < 2)
        print_target(f"{name} under 2 s (whole process {wall:.2f} s)", met=wall < 2)
    print_closing()


def _first_trees(turns: int) -> list[tuple[str, float, float]]:
    """Each part of a tree, and the whole: seconds in a first process and in later ones."""
    first: list[dict[str, float]] = []
    later: list[dict[str, float]] = []
    source = photographs(1)[0].source
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.png"
        load_as_image(source).save(photo)
        for turn in range(turns):
            caches = {
                name: str(Path(folder) / f"{name}-{turn}")
                for name in ("REGIONTREE_CACHE", "NUMBA_CACHE_DIR")
            }
            first.append(_tree_in_a_process(photo, caches))
            later += [_tree_in_a_process(photo, caches) for _ in range(2)]
    rows = [
        (title, *(statistics.median(run[part] for run in runs) for runs in (first, later)))
        for part, title in PARTS.items()
    ]
    return [*rows, ("all", sum(row[1] for row in rows), sum(row[2] for row in rows))]


def _tree_in_a_process(photo: Path, caches: dict[str, str]) -> dict[str, float]:
    """Seconds of each part of a tree, in a fresh process with these folders for caches."""
    done = subprocess.run(
        [sys.executable, "-c", FIRST, str(photo)],
        capture_output=True, text=True, check=True, env=os.environ | caches,
    )  # fmt: skip
    return {part: float(taken) for part, taken in map(str.split, done.stdout.splitlines())}


def load_as_image(source: Path | Image.Image) -> Image.Image:
    """The photograph as Pillow's image."""
    return Image.fromarray(load_image(source).rgb)


if __name__ == "__main__":
    main()
