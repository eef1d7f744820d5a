"""The commands that are tortured: what lies there before, and what is run."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from test_discover import made_up
from test_experiments import LABELS

__all__ = ["COMMANDS", "Command", "download", "serving"]

GRID, PATCH = 6, 4


@dataclass(frozen=True, slots=True)
class Command:
    """A command.

    Attributes
    ----------
    prepare : callable
        Makes its inputs in an empty folder.
    argv : list of str, or a function with its arguments
        See :meth:`machine.Machine.run`.
    finished : tuple of str
        Patterns of files that no later run may touch once they are there.
    document : str or None
        The one file that the command writes, if it refuses to run where this file is.
    kills : int or None
        Number of accidents, if the command takes too long for all of them.
    is_cache : bool
        Whether it only keeps a copy, so that a full disk is no error.
    in_work : int
        Finished files that may be made again after a kill: those that a manifest does not name yet.
    """

    prepare: Callable[[Path], None]
    argv: list[str] | dict[str, Any]
    finished: tuple[str, ...]
    document: str | None = None
    kills: int | None = None
    is_cache: bool = False
    in_work: int = 0


def _photographs(folder: Path, count: int = 2) -> None:
    """Small photographs with features beside them, of a cat and a dog."""
    rng = np.random.default_rng(0)
    kinds = np.linalg.qr(rng.normal(size=(16, 3)))[0].T
    for name in ("images", "masks", "features"):
        (folder / name).mkdir()
    for i in range(count):
        truth = np.zeros((GRID, GRID), np.uint8)
        truth[1:5, 1:3], truth[1:5, 3 : 5 + i % 2] = 1, 2
        features = kinds[truth] + 0.05 * rng.normal(size=(GRID, GRID, 16))
        np.save(folder / f"features/p{i}.npy", features.astype(np.float32))
        mask = truth.repeat(PATCH, 0).repeat(PATCH, 1)
        rgb = np.stack([mask * 80, 255 - mask * 60, rng.integers(0, 255, mask.shape)], -1)
        Image.fromarray(rgb.astype(np.uint8)).save(folder / f"images/p{i}.png")
        Image.fromarray(mask).save(folder / f"masks/p{i}.png")


def _experiment(folder: Path) -> None:
    _photographs(folder)
    (folder / "labels.txt").write_text(LABELS)
    (folder / "pets.yaml").write_text(yaml.safe_dump({
        "dataset": {"name": "pets", "images": "images", "masks": "masks", "labels": "labels.txt"},
        "root": ".", "output": "out", "budgets": [2, 4],
        "settings": {"backbone": "precomputed:features", "parts": 8},
    }))  # fmt: skip


def _trees(folder: Path) -> None:
    """Trees made without regiontree's batch work, each beside its photograph."""
    from regiontree.parser import RegionParser
    from regiontree.system.files import sha256_of

    _photographs(folder)
    parser = RegionParser(backbone="precomputed", parts=8, refine="none")
    for photo in sorted((folder / "images").glob("*.png")):
        features = np.load(folder / f"features/{photo.stem}.npy")
        source = {"name": photo.name, "sha256": sha256_of(photo)}
        side = GRID * PATCH
        tree = parser.build(features, image_size=(side, side), source=source)
        tree.save(photo.with_suffix(".npz"))


def _described_trees(folder: Path) -> None:
    """Trees with descriptors, in a folder of their own."""
    (folder / "trees").mkdir()
    for seed in range(5):
        made_up(seed).save(folder / f"trees/{seed}.npz")


def _names(folder: Path) -> None:
    """Names that people gave, with a column of their own."""
    lines = ["category,name,parent,note", "5,plant,6,mine", "4,,6,"]
    (folder / "collection.csv").write_text("\n".join([*lines, ""]))


DOWNLOAD = os.urandom(1 << 20)


class _SlowServer(BaseHTTPRequestHandler):
    """Sends the file in small pieces, from the byte on that is asked for."""

    def do_GET(self) -> None:
        given = self.headers.get("Range")
        start = 0 if given is None else int(given.removeprefix("bytes=").rstrip("-"))
        self.send_response(200 if given is None else 206)
        if given is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(DOWNLOAD) - 1}/{len(DOWNLOAD)}")
        self.send_header("Content-Length", str(len(DOWNLOAD) - start))
        self.send_header("ETag", '"one"')
        self.end_headers()
        with suppress(OSError):  # the other side was killed
            for at in range(start, len(DOWNLOAD), 1 << 15):
                self.wfile.write(DOWNLOAD[at : at + (1 << 15)])
                time.sleep(0.002)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    """The port of a server on this machine that has the file of the download."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _SlowServer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def download(port: int) -> Command:
    """A download from that server."""
    return Command(
        lambda folder: None,
        {
            "function": "regiontree.backbones.address:fetch_file",
            "arguments": {
                "url": f"http://127.0.0.1:{port}/weights.bin", "target": "cache/weights.bin",
                "sha256": hashlib.sha256(DOWNLOAD).hexdigest(), "progress": False,
                "plain_http": True,
            },
            "paths": ["target"],
        },
        ("cache/weights.bin",),
    )  # fmt: skip


SEGMENT = ["segment", "images", "-o", "out", "--backbone", "precomputed:features", "--set",
           "parts.count=3", "--set", "seed=1", "--pictures"]  # fmt: skip

COMMANDS = {
    "segment": Command(_photographs, SEGMENT, ("out/*.npz", "out/*.png"), kills=12),
    "run": Command(_experiment, ["run", "pets.yaml"], ("out/**/*.npz",), kills=12),
    "gallery": Command(_trees, ["gallery", "images", "-o", "site"], ("site/pages/*",), in_work=1),
    "export masks": Command(
        _trees, ["export", "images", "--to", "masks", "-o", "out"], ("out/**/*.png",)
    ),
    "export coco": Command(
        _trees,
        ["export", "images", "--to", "coco", "-o", "out"],
        ("out/coco.json",),
        "out/coco.json",
    ),
    "export geojson": Command(
        _trees, ["export", "images", "--to", "geojson", "-o", "out"], ("out/*.geojson",)
    ),
    "discover": Command(
        _described_trees,
        [
            "discover",
            "trees",
            "-o",
            "collection",
            "--set",
            "regions=4",
            "--set",
            "dimensions=4",
            "--set",
            "descriptor=token",
        ],
        ("collection/regions/*", "collection/photographs/*", "collection/model.npz"),
        kills=12,
    ),
    "name": Command(_names, {"function": "nursery:name_categories", "arguments": {}}, ()),
    "weights": Command(
        lambda folder: None,
        {"function": "nursery:load_weights", "arguments": {}},
        ("cache/*.safetensors",),
        kills=5,
        is_cache=True,
    ),
}
"""By name, as tests show it. The download comes with its server."""
