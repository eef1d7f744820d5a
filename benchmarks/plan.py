"""Does ``regiontree plan`` foretell how long ``regiontree segment`` takes?

Question
    How near is the time that plan computes from a few photographs to that of the run?
Method
    --photos photographs of the data sets in turn, or of --folder, are copied under names of their
    own into a temporary folder, again and again until there are enough. For each preset: plan and
    then segment run as processes of their own, in each of --turns. The time of segment is that of
    the whole command, from its start to its end. Nothing is shared by the two but the folder.
Printed
    Time of plan itself, foretold and actual time of segment, and their ratio. A target.

    python benchmarks/plan.py --photos 2000 --presets fast --csv benchmarks/results/plan.csv
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import (
    arguments,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
)

NEAR = 0.2  # share of the actual time by which the foretold one may differ


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photos", type=int, default=300, help="photographs (default 300)")
    parser.add_argument("--folder", type=Path, help="take the photographs from here")
    parser.add_argument("--presets", nargs="+", default=["fast"])
    parser.add_argument("--formats", nargs="+", default=["npz"], choices=("npz", "parquet"))
    parser.add_argument("--measured", type=int, default=16, help="photographs that plan measures")
    parser.add_argument("--turns", type=int, default=1)
    options = parser.parse_args()
    print_heading(__file__)
    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = _copied(_sources(options.folder, options.photos), Path(place) / "photos")
        for turn in range(options.turns):
            for preset in options.presets:
                for form in options.formats:
                    out = Path(place) / f"trees-{turn}-{preset}-{form}"
                    rows.append(_compared(folder, out, preset, form, options.measured))
                    shutil.rmtree(out)
    print_results("plan", rows, options.csv)
    for row in rows:
        off = abs(row[-1] - 1)
        print_target(f"{row[0]}, {row[1]}: within {NEAR:.0%}", met=off <= NEAR)
    print_closing()


def _sources(folder: Path | None, number: int) -> list[Path]:
    """Files of photographs, repeated to make `number`."""
    if folder is None:
        found = [one.source for one in photographs(number, repeat=True)]
        return [source for source in found if isinstance(source, Path)]
    suffixes = (".jpg", ".jpeg", ".png")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)
    files = [path for path in files if "images" in path.parts] or files  # not masks beside them
    if not files:
        raise SystemExit(f"{folder}: holds no photographs")
    print(f"Photographs: {min(number, len(files))} of {len(files)} from {folder.name}/\n")
    return [files[i % len(files)] for i in range(number)]


def _copied(sources: list[Path], folder: Path) -> Path:
    folder.mkdir()
    for i, source in enumerate(sources):
        shutil.copy(source, folder / f"{i:05}{source.suffix}")
    return folder


def _compared(folder: Path, out: Path, preset: str, form: str, measured: int) -> list[Any]:
    """A row of the table."""
    settings = ["--preset", preset, "--format", form, "--device", "cpu"]
    planning, _, said = _run("plan", folder, *settings, "--photos", measured, "--json")
    plan = json.loads(said)
    actual, at_work, said = _run("segment", folder, "-o", out, *settings, "--json")
    done = json.loads(said)["done"]
    if done != plan["photographs"]:
        raise SystemExit(f"{done} of {plan['photographs']} photographs became trees")
    facts, here = plan["measured"], plan["machines"][0]
    return [
        preset, form, done, facts["photographs"], here["cores"], 100 * facts["other_programs"],
        facts["factor"], planning, here["seconds"], actual,
        100 * at_work / (actual * here["cores"]), here["seconds"] / actual,
    ]  # fmt: skip


def _run(*arguments: object) -> tuple[float, float, str]:
    """Seconds of a command, those of the processor in all its processes, and what it prints."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "regiontree", *map(str, arguments)],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    at_work = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, at_work, done.stdout


if __name__ == "__main__":
    main()
