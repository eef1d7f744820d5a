"""What do descriptors cost the network, and how much larger do they make a tree file?

Question
    Descriptors need the last block of the network to its end, and a row of numbers for each leaf.
    How much time and how many bytes is that?
Method
    The embedded network on one thread sees each photograph without and with descriptors, in turn
    (A B A B ...), after one untimed turn. Seconds are those of the processor: on a busy machine
    they are steadier than wall time, and on an idle one they are the same. The figures are
    medians over photographs of medians over turns. The ratio is the median over all turns. Then
    each photograph is parsed in both ways, and the trees are saved. All arrays but the
    descriptors have to be the same.
Printed
    A row for each preset.

    python benchmarks/descriptors.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from _common import (
    arguments,
    photographs,
    print_closing,
    print_heading,
    print_results,
    ratio,
)

from regiontree import RegionParser
from regiontree.images import load_image
from regiontree.tree.file import ARRAYS

WAYS = ("none", "token")
KB = 1e3


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--photographs", type=int, default=12)
    options.add_argument("--repeats", type=int, default=5)
    options.add_argument("--presets", nargs="+", default=["default", "fast"])
    given = options.parse_args()
    torch.set_num_threads(1)
    print_heading("descriptors.py")
    photos = [photo.source for photo in photographs(given.photographs)]
    rows = []
    for preset in given.presets:
        parsers = {way: RegionParser(preset=preset, descriptor=way, device="cpu") for way in WAYS}
        times = [network_times(parsers, photo, given.repeats) for photo in photos]
        seconds = {
            way: statistics.median(statistics.median(one[way]) for one in times) for way in WAYS
        }
        turns = {way: [second for one in times for second in one[way]] for way in WAYS}
        sizes = [file_sizes(parsers, photo) for photo in photos]
        kilobytes = {way: statistics.median(one[way] for one in sizes) / KB for way in WAYS}
        rows.append([
            preset, len(photos), seconds["none"], seconds["token"],
            ratio(turns["token"], turns["none"]), kilobytes["none"], kilobytes["token"],
            statistics.median(one["token"] / one["none"] for one in sizes),
        ])  # fmt: skip
    print("Without and with descriptors:\n")
    print_results("descriptors", rows, given.csv)
    print_closing()


def network_times(
    parsers: dict[str, RegionParser], photo: object, repeats: int
) -> dict[str, list[float]]:
    """Seconds of the processor for the network, of each way in turn."""
    image = load_image(photo)
    pixels = {
        way: parser.sight.network_input(image, parser.backbone.patch)[None]
        for way, parser in parsers.items()
    }
    calls = {way: partial(parser.backbone.features, pixels[way]) for way, parser in parsers.items()}
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {way: [] for way in parsers}
    for _ in range(repeats):
        for way, call in calls.items():
            times[way].append(busy(call))
    return times


def busy(call: Callable[[], object]) -> float:
    """Seconds of the processor that one call takes."""
    start = time.process_time()
    call()
    return time.process_time() - start


def file_sizes(parsers: dict[str, RegionParser], photo: object) -> dict[str, int]:
    """Bytes of the tree file of each way."""
    trees = {way: parser.parse(photo) for way, parser in parsers.items()}
    one, other = trees.values()
    for name in ARRAYS:
        if name != "descriptor" and not np.array_equal(getattr(one, name), getattr(other, name)):
            raise SystemExit(f"{photo}: {name} differs with descriptors")
    with tempfile.TemporaryDirectory() as folder:
        return {way: tree.save(Path(folder) / way).stat().st_size for way, tree in trees.items()}


if __name__ == "__main__":
    main()
