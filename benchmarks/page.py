"""Is the page of a collection smooth with thousands of photographs?

Question
    How long until the page of a large collection shows something, does its slider follow the hand,
    and how much memory does its server need?
Method
    --photographs made-up photographs of 640 x 480 pixels, each with a tree of 64 leaves whose
    descriptors lie around 2,000 centres. ``regiontree discover`` makes their collection and
    ``regiontree view`` shows it to Chromium, both as processes of their own. The slider of
    categories goes from 1 to 300 and back, one step a frame; a frame of 60 a second has 16.7 ms.
    Memory is the server's resident size at the end.
Printed
    Seconds of each action, as a user sees them: until the rows are there, until all pictures in
    sight are there (first, and when the page is opened again), until another number of regions is
    shown, until all regions of the largest category begin, until the map, until a photograph, until
    regions like one. Milliseconds between frames while the slider moves.

    python benchmarks/page.py --photographs 10000
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _common import MB, REPOSITORY, arguments, print_closing, print_heading, print_results
from PIL import Image

from regiontree.tree import RegionTree

CENTRES, DIM, SIDE = 2000, 64, 8
LEAVES = SIDE * SIDE
DISTINCT = 200  # pictures; the others are links to them
SLIDE = """async () => {
  const slider = document.querySelector("#categories-slider");
  const times = [];
  const at = (count) => Math.log(count) / Math.log(Number(slider.dataset.most));
  for (let i = 0; i < 240; i++) {
    const count = Math.round(Math.exp(Math.log(300) * (1 - Math.abs(i / 120 - 1))));
    const begin = performance.now();
    slider.value = String(at(count));
    slider.dispatchEvent(new Event("input"));
    await new Promise(requestAnimationFrame);
    await new Promise(requestAnimationFrame);
    times.push((performance.now() - begin) / 2);
  }
  times.sort((a, b) => a - b);
  return [times[120], times[228]];
}"""
FEWER = """() => {
  const text = document.querySelector(".row .facts").textContent;
  window.before ??= text;
  return text !== window.before && document.querySelector("#regions").textContent === "31";
}"""
VIEWS = {"map": "canvas.plane", "photograph=7": ".legend li", "like=7,3": ".tiles .tile"}
MANY_TILES = "document.querySelectorAll('.tiles .tile').length > 100"
IN_SIGHT = """() => [...document.images].filter((i) => {
  const box = i.getBoundingClientRect();
  return box.top < innerHeight && box.bottom > 0;
}).every((i) => i.complete && i.naturalWidth) && document.images.length > 8"""


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--photographs", type=int, nargs="+", default=[1000])
    chosen = parser.parse_args()
    print_heading(__doc__)
    rows = []
    for count in chosen.photographs:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            make(folder / "trees", count)
            began = time.perf_counter()
            run("discover", folder / "trees", "-o", folder / "collection",
                "--set", "descriptor=token")  # fmt: skip
            discovered = time.perf_counter() - began
            rows.append([count, discovered, *seen(folder / "collection")])
    print_results("page", rows, chosen.csv)
    print_closing()


def make(folder: Path, count: int) -> None:
    """Photographs and trees, side by side."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CENTRES, DIM)).astype(np.float32)
    colors = rng.integers(0, 255, (CENTRES, 3), np.uint8)
    cells = np.arange(LEAVES).reshape(SIDE, SIDE)
    labels = np.kron(cells, np.ones((480 // SIDE, 640 // SIDE), np.int32)).astype(np.int32)
    parents, height = binary(LEAVES)
    for number in range(count):
        name = f"{number:06d}.jpg"
        kinds = rng.integers(0, CENTRES, LEAVES)
        values = centres[kinds] + rng.normal(0, 0.4, (LEAVES, DIM))
        if number < DISTINCT:
            noise = rng.integers(0, 60, (480, 640, 1))
            rgb = np.clip(colors[kinds][labels].astype(int) + noise - 30, 0, 255)
            Image.fromarray(rgb.astype(np.uint8)).save(folder / name, quality=85)
        else:
            os.link(folder / f"{number % DISTINCT:06d}.jpg", folder / name)
        RegionTree(
            labels=labels, parents=parents, height=height,
            descriptor=values.astype(np.float16),
            meta={"backbone": {"name": "made-up", "sha256": "0" * 64},
                  "image": {"size": [480, 640], "name": name}},
        ).save(folder / f"{number:06d}.npz")  # fmt: skip


def binary(leaves: int) -> tuple[list[int], list[float]]:
    """Parents and heights of a tree in which each node has two children."""
    parents: list[int] = []
    first, level = 0, leaves
    while level > 1:
        parents += [first + level + i // 2 for i in range(level)]
        first, level = first + level, level // 2
    root = len(parents)
    return [*parents, root], [0.0] * leaves + [i / (root + 1) for i in range(leaves, root + 1)]


def run(*words: object) -> None:
    command = [sys.executable, "-m", "regiontree", *map(str, words)]
    subprocess.run(command, check=True, capture_output=True, env=environment())


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}


@contextlib.contextmanager
def viewed(folder: Path) -> Iterator[tuple[str, float, int]]:
    """The address of the page, seconds until it was told, and the process."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "regiontree", "view", str(folder), "--no-browser"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip(), time.perf_counter() - began, process.pid
    finally:
        process.terminate()
        process.wait()


def seen(folder: Path) -> list[object]:
    """What a user sees of a collection, in seconds; milliseconds of frames; memory."""
    from playwright.sync_api import sync_playwright

    found: list[object] = []
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as api:
        browser = api.chromium.launch(
            executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(600_000)

        def took(do: Callable[[], Any], until: str) -> float:
            began = time.perf_counter()
            do()
            while not page.evaluate(until):
                time.sleep(0.01)
            return time.perf_counter() - began

        with viewed(folder) as (url, start, pid):
            rows = took(lambda: page.goto(url), "document.querySelectorAll('.tile').length > 8")
            found += [start + rows, took(lambda: None, IN_SIGHT)]
            found.append(took(lambda: page.reload(), IN_SIGHT))
            found.append(took(lambda: page.keyboard.press(","), FEWER))
            page.wait_for_load_state("networkidle")
            median, worst = page.evaluate(SLIDE)
            page.wait_for_load_state("networkidle")
            found.append(took(lambda: page.click(".all >> nth=0"), MANY_TILES))
            for view, shown in VIEWS.items():
                there = f"Boolean(document.querySelector({shown!r}))"
                found.append(took(partial(page.goto, f"{url}#{view}"), there))
            status = Path(f"/proc/{pid}/status").read_text()
            memory = re.search(r"VmRSS:\s+(\d+) kB", status)
            assert memory is not None
            page.goto("about:blank")
        browser.close()
    return [*found, median, worst, int(memory[1]) * 1024 / MB]


if __name__ == "__main__":
    main()
