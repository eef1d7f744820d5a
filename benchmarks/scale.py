"""Do time, memory and the start of a run stay the same, however many photographs it has?

Question
    Hundreds of thousands of small photographs in tar archives become trees in a store. Does the
    rate stay, does memory stay bounded, and how long does the same command take once all is done?
Method
    --photos photographs of 64 x 40 pixels are made, --shard in an archive. ``regiontree segment``
    runs as a process of its own with two workers. The network is a stand-in, the mean colour of
    each 8 x 8 pixels, and trees have six parts, so nearly all the time is the run's own: listing,
    reading, decoding, handing over, writing, making shards of parts. Memory is that of all
    processes of the command, each shared page counted once (PSS), and the highest of some samples.
    Rows are counted in the store.
Printed
    For each engine: time and rate of the whole run; the rate and the memory in each quarter of it;
    and the time of the same command again, with nothing left to do.

    python benchmarks/scale.py --photos 200000 --engines local ray
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from _common import MB, REPOSITORY, arguments, print_closing, print_heading, print_results
from PIL import Image

from regiontree import Forest

NETWORK = """
import torch


class Colours:
    name, digest, patch, dim, dtype = "colours", "1", 8, 3, torch.float32
    device = torch.device("cpu")

    def features(self, pixels):
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def load(argument, device, dtype, spec):
    return Colours()
"""
SETTINGS = ("--backbone", "colours:", "--parts", "6", "--size", "64", "--device", "cpu",
            "--refine", "none", "--set", "smooth.steps=0")  # fmt: skip
PARTS = 4  # of a run, whose rates are compared


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=20_000, help="[20000]")
    parser.add_argument("--shard", type=int, default=2000, help="photographs in an archive  [2000]")
    parser.add_argument("--engines", nargs="+", default=["local", "ray"], metavar="NAME")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    print_heading(__file__)
    runs: list[list[object]] = []
    courses: list[list[object]] = []
    with tempfile.TemporaryDirectory() as scratch:
        site = _network(Path(scratch, "site"))
        start = time.perf_counter()
        _archives(Path(scratch, "photographs"), options.photos, options.shard)
        print(f"Made {options.photos} photographs in {time.perf_counter() - start:.0f} s\n")
        for engine in options.engines:
            store = Path(scratch, engine)
            photographs = str(Path(scratch, "photographs", "*.tar"))
            command = [
                *(sys.executable, "-m", "regiontree", "segment", photographs, "-o", str(store)),
                *("--engine", engine, "--workers", str(options.workers), *SETTINGS),
            ]
            course = list(_course(command, site, store, options.photos))
            seconds = course[-1][0]
            assert course[-1][1] == options.photos, f"{engine}: rows are missing"
            again = list(_course(command, site, store, 0))[-1]
            size = sum(file.stat().st_size for file in store.glob("shard-*.parquet"))
            runs.append([engine, options.photos, seconds, 60 * options.photos / seconds,
                         max(memory for _, _, memory in course) / MB, again[0], again[2] / MB,
                         size / options.photos])  # fmt: skip
            courses += [[engine, *row] for row in _quarters(course)]
    print_results("scale", runs, options.csv)
    print_results("scale-course", courses, options.csv, "course")
    print_closing()


def _network(folder: Path) -> Path:
    """A package that brings the stand-in network."""
    about = folder / "colours-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "colours_network.py").write_text(NETWORK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: colours\nVersion: 1.0\n")
    points = "[regiontree.backbones]\ncolours = colours_network:load\n"
    (about / "entry_points.txt").write_text(points)
    return folder


def _archives(folder: Path, photos: int, each: int) -> None:
    """Tar archives of photographs of coloured blocks."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for first in range(0, photos, each):
        with tarfile.open(folder / f"{first // each:05}.tar", "w") as archive:
            for number in range(first, min(first + each, photos)):
                small = rng.integers(0, 255, (5, 8, 3), np.uint8)
                photo = Image.fromarray(small).resize((64, 40), Image.Resampling.NEAREST)
                held = BytesIO()
                photo.save(held, "PNG", compress_level=1)
                entry = tarfile.TarInfo(f"{number:08}.png")
                entry.size = held.tell()
                held.seek(0)
                archive.addfile(entry, held)


def _course(
    command: Sequence[str], site: Path, store: Path, photos: int
) -> Iterator[tuple[float, int, int]]:
    """Seconds, rows in the store, and bytes of memory, at some times of a run and at its end."""
    folders = [str(site), str(REPOSITORY / "src")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
        most, counted = 0, start
        while process.poll() is None:
            time.sleep(0.5)
            most = max(most, _memory(process.pid))
            if photos and time.perf_counter() - counted > 15 and (store / "_store.json").exists():
                yield time.perf_counter() - start, len(Forest(store)), most
                most, counted = 0, time.perf_counter()
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            sys.exit(said.read().decode(errors="replace")[-4000:])
    yield seconds, len(Forest(store)), most


def _memory(root: int) -> int:
    """Bytes of a process and its children, each page divided among those that share it."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            parents[int(entry.name)] = int(fields[1])
    family = {root}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for number in family:
        try:
            lines = Path(f"/proc/{number}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def _quarters(course: list[tuple[float, int, int]]) -> Iterator[list[object]]:
    """Of each part of a run: its number, rows a minute, and the most memory."""
    whole = course[-1][1]
    before = (0.0, 0)
    for part in range(1, PARTS + 1):
        inside = [one for one in course if before[1] < one[1] <= whole * part / PARTS]
        if not inside:
            continue
        seconds, rows, _ = inside[-1]
        rate = 60 * (rows - before[1]) / (seconds - before[0])
        yield [part, rows, rate, max(one[2] for one in inside) / MB]
        before = seconds, rows


if __name__ == "__main__":
    main()
