"""What the benchmarks share: photographs, interleaved timing, peak memory, fresh processes, tables.

**Time.** A machine's speed drifts, so no benchmark compares a figure of one run with one of
another. :func:`interleave` runs the ways A, B, ... in turn (A B A B ...) after one untimed turn,
and :func:`ratio` is the median over turns of A / B within the turn.

**Memory.** Measured as resident memory, which counts torch's and LAPACK's buffers as well as
NumPy's: the most that a fresh process ever held (:func:`run_child`, :class:`PeakMemory`) less what
it held before the step, features and imported libraries included. The most is VmHWM of
/proc/self/status where there is one (it can be set back before the step, and does not inherit the
parent's size as ``ru_maxrss`` does), else ``resource.getrusage``.

**Tables.** :func:`print_results` prints a table and, with ``--csv FILE``, writes it as CSV. Its
columns are those of :mod:`_schema`, which ``tables.py`` reads to make the docs' tables.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
import hashlib
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _provenance import processor, provenance, versions
from _schema import schema, write_results
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from regiontree import RegionParser
from regiontree.datasets.dataset import Dataset, Sample

REPOSITORY = Path(__file__).resolve().parent.parent
SUBSETS = REPOSITORY / "benchmarks" / "subsets"  # a description of each data set
MB = 1e6


Times = dict[str, list[float]]
Task = Callable[..., dict[str, Any]]


# -- photographs ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Photo:
    """Attributes: name to print; source, what RegionParser reads."""

    name: str
    source: Path | Image.Image


def photographs(limit: int, *, repeat: bool = False) -> list[Photo]:
    """At most `limit` photographs, one of each data set in turn; says where they come from.

    From ``*/images/`` in $REGIONTREE_DATA or, if that is not set, in ../shared/data beside the
    repository; else from examples/; else four synthetic images. With `repeat` a shorter list is
    gone through again until there are `limit`.
    """
    photos, origin = _from_data_sets()
    if not photos:
        examples = REPOSITORY / "examples"
        found = sorted(path for path in examples.glob("*") if path.suffix in (".jpg", ".png"))
        photos, origin = [Photo(path.stem, path) for path in found], "examples/"
    if not photos:
        photos = [Photo(f"synthetic {i}", _synthetic(i)) for i in range(4)]
        origin = "SYNTHETIC images (no data folder, no examples): these figures say little"
    some = photos[:limit]
    if repeat:
        some = [photos[i % len(photos)] for i in range(limit)]
    again = f", in turn to make {len(some)}" if len(some) > len(photos) else ""
    print(f"Photographs: {min(limit, len(photos))} of {len(photos)} from {origin}{again}\n")
    return some


def data_folder() -> Path:
    """Where the data sets lie: $REGIONTREE_DATA, or ../shared/data beside the repository."""
    return Path(os.environ.get("REGIONTREE_DATA") or REPOSITORY.parent / "shared" / "data")


def _from_data_sets() -> tuple[list[Photo], str]:
    folder = data_folder()
    suffixes = (".jpg", ".jpeg", ".png")
    sets = [
        [Photo(f"{images.parent.name}/{path.stem}", path) for path in sorted(images.iterdir())
         if path.suffix.lower() in suffixes]
        for images in sorted(folder.glob("*/images"))
    ]  # fmt: skip
    longest = max(map(len, sets), default=0)
    in_turn = [photos[i] for i in range(longest) for photos in sets if i < len(photos)]
    name = "$REGIONTREE_DATA" if os.environ.get("REGIONTREE_DATA") else "../shared/data"
    return in_turn, f"{name} ({len(sets)} data sets in turn)"


def first_photographs(limit: int) -> list[Path]:
    """The first photographs of coco_panoptic by name, for scripts about a few trees."""
    found = sorted((data_folder() / "coco_panoptic" / "images").glob("*.jpg"))[:limit]
    if not found:
        raise SystemExit("no photographs: neither $REGIONTREE_DATA nor ../shared/data has them")
    return found


def _synthetic(seed: int) -> Image.Image:
    """Soft-edged coloured regions with texture, 480 x 640."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:480, 0:640]
    centres = rng.uniform((0, 0), (480, 640), (9, 2))
    distance = np.stack([np.hypot(y - cy, x - cx) for cy, cx in centres], axis=2)
    weight = np.exp(-(distance - distance.min(axis=2, keepdims=True)) / 6.0)
    weight /= weight.sum(axis=2, keepdims=True)
    image = weight @ rng.uniform(0, 255, (9, 3)) + rng.normal(0, 12, (480, 640, 1))
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def chosen_samples(dataset: Dataset, limit: int) -> list[Sample]:
    """At most `limit` samples in the order of the hash of their ids."""
    by_hash = sorted(dataset.samples, key=lambda s: hashlib.sha256(s.id.encode()).hexdigest())
    return by_hash[:limit]


def features_of(photos: Iterable[Photo], size: int, *, dtype: str = "float32") -> list[Tensor]:
    """Tokens of the embedded backbone on size x size pixels, (h, w, 384) float32 each."""
    parser = _parser(size, dtype)
    return [parser.features(photo.source) for photo in photos]


@lru_cache(maxsize=2)
def _parser(size: int, dtype: str) -> RegionParser:
    return RegionParser(size=(size, size), views=1, facet="token", dtype=dtype, device="cpu")


# -- time -----------------------------------------------------------------------------------------


def interleave(ways: Mapping[str, Callable[[], object]], repeats: int) -> Times:
    """Seconds of each way, `repeats` times, all ways in turn after one untimed turn."""
    for way in ways.values():
        way()
    times: Times = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            times[name].append(seconds(way))
    return times


def seconds(way: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    way()
    return time.perf_counter() - start


def ratio(a: Sequence[float], b: Sequence[float]) -> float:
    """Median over turns of a / b."""
    return statistics.median(x / y for x, y in zip(a, b, strict=True))


# -- memory and fresh processes -------------------------------------------------------------------


class PeakMemory:
    """``with PeakMemory() as memory: ...`` then ``memory.extra``: bytes above `base` at the most.

    `base` is what the process held on entry, or `above` if given.
    """

    def __init__(self, above: int | None = None) -> None:
        self.above = above

    def __enter__(self) -> PeakMemory:
        self.base = resident() if self.above is None else self.above
        forget_most()
        return self

    def __exit__(self, *_: object) -> None:
        self.extra = max(0, most_resident() - self.base)


def forget_most() -> None:
    """Count the most from here on; elsewhere than on Linux it stays that of the whole process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def resident() -> int:
    """Bytes of resident memory now, after handing unused memory back to the system."""
    gc.collect()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
        if trim is not None:
            trim(0)
    return _status("VmRSS") or most_resident()


def most_resident() -> int:
    """The most bytes of resident memory since the process began, or since :func:`forget_most`."""
    most = _status("VmHWM")
    if most is None:
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        most = kilobytes if sys.platform == "darwin" else kilobytes * 1024
    return most


def _status(key: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{key}:")), None)


def run_child(
    script: str, task: str, environment: Mapping[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    """What `task` of `script` returns when called with `arguments` in a fresh process.

    `environment` has the variables in which that process differs from this one.
    """
    command = [sys.executable, script, "--task", task, json.dumps(arguments)]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        raise SystemExit(f"{Path(script).name}: task {task} ended with {done.returncode}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def is_child(tasks: Mapping[str, Task]) -> bool:
    """Run the task that :func:`run_child` asked this process for, if it did."""
    if len(sys.argv) != 4 or sys.argv[1] != "--task":
        return False
    print(json.dumps(tasks[sys.argv[2]](**json.loads(sys.argv[3]))))
    return True


def save_features(path: Path, features: Tensor) -> None:
    np.save(path, features.numpy())


def load_features(path: str) -> Tensor:
    array: NDArray[np.float32] = np.load(path)
    return torch.from_numpy(array)


# -- what is printed and written ------------------------------------------------------------------


def arguments(doc: str | None, *, csv: bool = True) -> argparse.ArgumentParser:
    """A parser of options that shows the script's own text as help, with --csv unless told not."""
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if csv:
        parser.add_argument(
            "--csv",
            type=Path,
            metavar="FILE",
            help="write the tables there, too: the first to FILE, e.g. benchmarks/results/NAME.csv,"
            " further ones to NAME-PART.csv beside it",
        )
    return parser


def print_heading(script: str) -> None:
    """What was run, and on what: no figure means anything without it."""
    print(f"## {Path(script).stem}\n")
    print(f"{_machine()}; load {_load()} at the start\n")


def print_closing() -> None:
    """The load at the end: above the number of threads, others were using the machine."""
    print(f"\nLoad at the end: {_load()}")


def _machine() -> str:
    return f"{versions()}, {processor()}"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"


def print_results(
    table: str, rows: Iterable[Sequence[object]], csv: Path | None, part: str = ""
) -> None:
    """Print a table as Markdown and, if `csv` is given, write it there.

    Parameters
    ----------
    table
        Its name in :data:`_schema.SCHEMAS`.
    rows
        One value for each column of the schema; None or NaN where there is none.
    csv
        What the option --csv gave.
    part
        Not empty: the file is NAME-PART.csv beside `csv`.
    """
    kept = [list(row) for row in rows]
    columns = schema(table)
    cells = [
        [column.cell(value) for column, value in zip(columns, row, strict=True)] for row in kept
    ]
    shown = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    print_table([columns[i].title for i in shown], [[row[i] for i in shown] for row in cells])
    if csv is not None:
        path = csv.with_name(f"{csv.stem}-{part}.csv") if part else csv
        write_results(path, table, kept, {"command": _command(), **provenance()})
        print(f"Wrote {path}\n")


def _command() -> str:
    """The command that runs this script again, without --csv, with paths from the repository on."""
    words = [word.replace(f"{REPOSITORY}/", "") for word in sys.argv]
    if "--csv" in words:
        at = words.index("--csv")
        del words[at : at + 2]
    return " ".join(["python", f"benchmarks/{Path(words[0]).name}", *words[1:]])


def print_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table; every column but the first is right-aligned."""
    cells = [list(header), *([str(cell) for cell in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        "| " + " | ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ) + " |"
        for row in cells
    ]  # fmt: skip
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, "| " + " | ".join(rule) + " |")
    print("\n".join(lines), end="\n\n")


def print_target(text: str, *, met: bool) -> None:
    print(f"- Target: {text}: {'met' if met else 'MISSED'}")


def ms(values: Sequence[float] | float) -> str:
    """Median in milliseconds."""
    value = values if isinstance(values, float) else statistics.median(values)
    return f"{1e3 * value:.1f}"
