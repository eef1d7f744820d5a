"""What does a frame cost in the file of a clip's tree?

Question
    How many bytes does the label map of a frame take, and how long does one frame take to write and
    to read? Which level of compression is worth its time, and are 16 bits a label worth having? Is
    one frame of 100,000 found without delay?
Method
    Photographs at 480 x 854 pixels are parsed with the default preset, and their trees are cut into
    at most 400 leaves. Each label map is packed by itself at levels of zlib, as 16 and as 32 bits,
    in turn. Then a clip of the maps is written and one frame of it read by ClipTree, and a clip of
    many frames of 2 x 3 pixels is opened and one frame read, beside opening the zip file for it.
Printed
    Kilobytes of a frame, and milliseconds: medians over photographs, of turns.
"""

from __future__ import annotations

import io
import statistics
import tempfile
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from _common import (
    arguments,
    interleave,
    photographs,
    print_closing,
    print_heading,
    print_results,
    seconds,
)
from PIL import Image

from regiontree import RegionParser
from regiontree.tree import ClipTree, write_clip_file

_SIZE, _LEAVES = (480, 854), 400
_LEVELS = (1, 4, 6, 9)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=int, default=5, help="photographs (default 5)")
    parser.add_argument("--frames", type=int, default=100_000, help="of the long clip")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    options = parser.parse_args()
    print_heading(__file__)
    maps = _maps(options.images)
    print_results("clip-file-levels", _levels(maps, options.repeats), options.csv, "levels")
    with tempfile.TemporaryDirectory() as folder:
        rows = [_row(Path(folder, "film"), "480 x 854, 400 leaves", maps, options.repeats)]
        small = np.array([[0, 0, 1], [1, 1, 0]], np.int32)
        many = [small] * options.frames
        rows.append(_row(Path(folder, "long"), "2 x 3, 2 leaves", many, options.repeats))
    print_results("clip-file", rows, options.csv)
    print_closing()


def _maps(limit: int) -> list[np.ndarray]:
    """A label map of each photograph."""
    parser, found = RegionParser(), []
    for photo in photographs(limit):
        image = Image.open(photo.source) if isinstance(photo.source, Path) else photo.source
        tree = parser.parse(image.convert("RGB").resize(_SIZE[::-1]))
        found.append(tree.prune(n_regions=_LEAVES).labels)
    return found


def _levels(maps: list[np.ndarray], repeats: int) -> list[list[object]]:
    ways: dict[tuple[int, int, str], Callable[[], object]] = {}
    sizes = {}
    for kind in (np.uint16, np.int32):
        raw = [labels.astype(kind).tobytes() for labels in maps]
        for level in _LEVELS:
            packed = [zlib.compress(data, level) for data in raw]
            key = np.dtype(kind).itemsize * 8, level
            sizes[key] = statistics.median(map(len, packed)) / 1000
            ways[*key, "pack"] = partial(_each, partial(zlib.compress, level=level), raw)
            ways[*key, "unpack"] = partial(_each, zlib.decompress, packed)
    times = interleave(ways, repeats)
    each = {way: 1000 * statistics.median(took) / len(maps) for way, took in times.items()}
    return [[*key, size, each[*key, "pack"], each[*key, "unpack"]] for key, size in sizes.items()]


def _each(work: Callable[[bytes], bytes], whole: list[bytes]) -> None:
    for data in whole:
        work(data)


def _row(path: Path, name: str, maps: list[np.ndarray], repeats: int) -> list[object]:
    """Times of the file of a clip whose frames are these maps."""
    n_leaves = 1 + max(int(labels.max()) for labels in maps[:100])
    arrays = {
        "parents": np.full(n_leaves + 1, n_leaves, np.int32),
        "height": np.append(np.zeros(n_leaves), 1).astype(np.float32),
        "ncut": np.zeros(n_leaves + 1, np.float32),
        "stop": np.append(np.ones(n_leaves), 0).astype(np.uint8),
    }
    wrote = seconds(lambda: write_clip_file(path, arrays, {}, maps))
    path = path.with_name(path.name + ".clip.npz")
    middle = len(maps) // 2

    def by_zip() -> None:
        with zipfile.ZipFile(path) as archive:
            np.load(io.BytesIO(archive.read(f"labels/{middle:06d}.npy")))

    tree = ClipTree.load(path)
    ways = {
        "load": lambda: ClipTree.load(path),
        "frame": lambda: tree.frame_labels(middle),
        "by_zip": by_zip,
    }
    found = {w: 1000 * statistics.median(t) for w, t in interleave(ways, repeats).items()}
    return [
        name, len(maps), path.stat().st_size / len(maps), 1000 * wrote / len(maps), found["load"],
        found["frame"], found["by_zip"],
    ]  # fmt: skip


if __name__ == "__main__":
    main()
