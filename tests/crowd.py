"""Many small photographs and a small network, for tests of engines."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from regiontree import Forest, RegionParser, RegionTree
from regiontree.engines.collection import CollectionSummary, segment_collection, settings_record
from regiontree.engines.engine import ENGINES, EngineOptions
from regiontree.engines.process import process
from regiontree.forest.row import Row
from regiontree.forest.store import Store, open_store
from regiontree.references.reference import Reference

NETWORK = '''
import os
import signal
import time
from pathlib import Path

import torch


class Colours:
    name, digest, patch, dim, dtype = "colours", "1", 8, 3, torch.float32
    device = torch.device("cpu")

    def __init__(self, accident):
        self.kind, _, self.place = accident.partition("@")

    def features(self, pixels):
        if self.kind == "slow":
            time.sleep(float(self.place))
        if self.kind == "blocks":  # no part can be written any more
            Path(self.place).write_bytes(b"in the way")
        if self.kind == "dies in a part":
            die_writing("part-", self.place)
        if self.kind == "dies once":
            died = Path(self.place)
            if not died.exists():
                died.touch()
                os.kill(os.getpid(), signal.SIGKILL)
        red = bool((pixels[:, 0] == 1).all())
        if red and self.kind == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if red and self.kind == "hungry":
            held = b"1" * int(self.place)
            time.sleep(60)  # until it is killed
        if red and self.kind == "red is slow":
            time.sleep(float(self.place))
        return torch.nn.functional.avg_pool2d(pixels, 8).permute(0, 2, 3, 1) + 0.1


def die_writing(name, died):
    """Kill this process in the middle of the first file of a store with `name` in its own."""
    from regiontree.forest import parquet

    write = parquet._Sink.write

    def written(sink, data):
        number = write(sink, data)
        if name in str(sink._file.name) and sink._file.tell() > 1000 and not os.path.exists(died):
            sink._file.flush()
            Path(died).write_text(sink._file.name)
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    parquet._Sink.write = written


def load(argument, device, dtype, spec):
    if argument == "missing":
        raise FileNotFoundError(2, "No such file or directory", "weights")
    return Colours(argument)
'''
"""A network of mean colours; what stands after its name says which accident happens."""
SETTINGS = ("--parts", "6", "--size", "64", "--device", "cpu", "--set", "smooth.steps=0")


def add_network(folder: Path) -> Path:
    """A package that brings the network ``tiny``; the folder to put on the path of Python."""
    about = folder / "tiny-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "tiny.py").write_text(NETWORK)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[regiontree.backbones]\ntiny = tiny:load\n")
    return folder


def path_of_python(folder: Path) -> str:
    """What PYTHONPATH has to be for processes that use the network of `folder`."""
    return os.pathsep.join([str(folder), *(entry for entry in sys.path if entry)])


def add_photos(
    folder: Path, number: int, *, broken: tuple[int, ...] = (), red: tuple[int, ...] = ()
) -> Path:
    """Photographs ``000.png`` and so on; those in `broken` cannot be decoded."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(number):
        small = rng.integers(0, 255, (5, 8, 3), np.uint8)
        if i in red:
            small[..., 0] = 255
        photo = Image.fromarray(small).resize((64, 40), Image.Resampling.NEAREST)
        photo.save(folder / f"{i:03}.png")
        if i in broken:
            (folder / f"{i:03}.png").write_bytes(b"\x89PNG cut short")
    return folder


def references(folder: Path) -> list[Reference]:
    return [Reference(file.name, str(file), file.name) for file in sorted(folder.iterdir())]


def tree_facts(tree: RegionTree) -> tuple[object, ...]:
    """All that a tree holds, to compare two."""
    arrays = (tree.labels, tree.parents, tree.height, tree.ncut, tree.stop, tree.embedding)
    image = {key: value for key, value in tree.meta["image"].items() if key != "path"}
    facts = tuple(None if a is None else (a.dtype, a.shape, a.tobytes()) for a in arrays)
    return (*facts, {**tree.meta, "image": image})


def row_facts(row: Row) -> tuple[object, ...]:
    """All that a row holds, to compare two."""
    tree = None if row.tree is None else tree_facts(row.tree)
    return (row.id, row.reference, tree, row.error, row.notice, row.sha256)


def make_parser(accident: str = "none", **more: object) -> RegionParser:
    """The parser that the command line makes with :data:`SETTINGS`."""
    given = {"parts": 6, "size": 64, "smooth": {"steps": 0}, **more}
    return RegionParser(backbone=f"tiny:{accident}", device="cpu", **given)


def expected_rows(photos: Path, parser: RegionParser) -> list[tuple[object, ...]]:
    """The rows that one undisturbed process makes of the files of a folder."""
    return list(map(row_facts, process(references(photos), parser)))


class Listed:
    """References, with what was left out of them."""

    def __init__(self, references: list[Reference], problems: dict[str, str] | None = None) -> None:
        self.references, self.problems = references, problems or {}
        self.problem_count = len(self.problems)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.references)


def ran(
    photos: Path,
    place: Path,
    parser: RegionParser,
    *,
    engine: str = "local",
    workers: int | None = 0,
    problems: dict[str, str] | None = None,
    **more: object,
) -> tuple[CollectionSummary, Store]:
    """A run over the files of a folder, into a store."""
    store = open_store(place, settings_record(parser))
    made = ENGINES.get(engine)(EngineOptions(parser, store, workers, more))
    listing = Listed(references(photos), problems)
    return segment_collection(listing, store, made, name=engine), store


def rows_of(store: Store) -> list[tuple[object, ...]]:
    """All that a store holds, in the order of the ids."""
    return sorted((row_facts(row) for row in Forest(store.address).rows()), key=lambda row: row[0])
