"""How long until the viewer page shows its picture, and how long does a frame of it take?

Question
    Does the page open at once, and does the slider move without a stutter?
Method
    Trees of 150 and 400 leaves (Voronoi cells under Ward's tree of their centres) over the first
    photograph at 1024 x 1024 and 1600 x 1600, written as pages and opened from disk in headless
    Chromium at 1440 x 900. Load: from the start of navigation to the page's own mark `drawn`, set
    when picture and tree are first drawn; every time in a fresh context. Frame: the script's time
    for one redraw of both, and the interval between animation frames while every frame shows
    another cut, at every granularity in turn, after one untimed turn. The browser draws without a
    graphics card.
Printed
    Page size; load; frame and interval, median and 95th percentile.
Targets
    A frame of 1024 x 1024 pixels and 400 leaves under 16 ms (95th percentile); a tree of 299 nodes
    loads in under 0.3 s.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _common import (
    REPOSITORY,
    arguments,
    photographs,
    print_closing,
    print_heading,
    print_results,
    print_target,
)
from PIL import Image
from scipy.cluster.hierarchy import linkage
from scipy.spatial import cKDTree

from regiontree import RegionTree
from regiontree.forest.saved import TreeFile
from regiontree.forest.sources import Source
from regiontree.images import load_image
from regiontree.viewer.page import page_html

CASES = [(150, 1024), (400, 1024), (400, 1600)]  # leaves, side
LOADED = "performance.getEntriesByName('drawn')[0].startTime"
FRAMES = """() => {
  const times = [];
  for (let turn = 0; turn < 2; turn++) {
    for (const m of viewer.tree.steps) {
      viewer.state.setCut(m);
      const start = performance.now();
      viewer.drawFrame(start);
      if (turn) times.push(performance.now() - start);
    }
  }
  return times;
}"""
INTERVALS = """() => new Promise((done) => {
  const times = [], { steps } = viewer.tree;
  let last;
  const frame = (now) => {
    if (last !== undefined) times.push(now - last);
    last = now;
    if (times.length === 150) return done(times);
    viewer.state.setCut(steps[(times.length + 1) % steps.length]);
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
})"""


def tree_of(leaves: int, side: int) -> RegionTree:
    """Voronoi cells of random centres, merged as Ward merges the centres."""
    rng = np.random.default_rng(0)
    centres = rng.uniform(0, side, (leaves, 2))
    pixels = np.stack(np.mgrid[:side, :side], axis=2).reshape(-1, 2)
    labels = cKDTree(centres).query(pixels)[1].reshape(side, side)
    merges = linkage(centres, "ward")
    parents = np.full(2 * leaves - 1, 2 * leaves - 2)
    for i, pair in enumerate(merges[:, :2].astype(int)):
        parents[pair] = leaves + i
    height = np.concatenate([np.zeros(leaves), merges[:, 2] / merges[-1, 2]])
    embedding = rng.normal(size=(2 * leaves - 1, 384)).astype(np.float16)
    return RegionTree(labels, parents, height, embedding=embedding)


def measure(browser: Any, file: Path, repeats: int) -> tuple[list[float], list[float], list[float]]:
    """Milliseconds: loads, frames, intervals."""
    loads: list[float] = []
    for _ in range(repeats):
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        page = context.new_page()
        page.goto(file.as_uri())
        page.wait_for_selector("html[data-ready]")
        loads.append(page.evaluate(LOADED))
        if len(loads) == repeats:
            frames, intervals = page.evaluate(FRAMES), page.evaluate(INTERVALS)
        context.close()
    return loads, frames, intervals


def spread(values: list[float]) -> list[float]:
    """Median and 95th percentile."""
    return [statistics.median(values), float(np.percentile(values, 95))]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="loads of each page (default 9)")
    options = parser.parse_args()
    print_heading(__file__)
    sys.path.append(str(REPOSITORY / "tests"))
    from browser import OPTIONS, chromium
    from playwright.sync_api import sync_playwright

    picture = Image.fromarray(load_image(photographs(1)[0].source).rgb)
    rows, found = [], {}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=OPTIONS)
        for leaves, side in CASES:
            photo, file = Path(folder) / "photo.png", Path(folder) / "page.html"
            picture.resize((side, side), Image.Resampling.LANCZOS).save(photo)
            tree = tree_of(leaves, side)
            saved = tree.save(Path(folder) / "tree.npz")
            file.write_text(page_html(Source(tree, TreeFile(saved), photo)), encoding="utf-8")
            times = measure(browser, file, options.repeats)
            found[leaves, side] = times
            spreads = [value for taken in times for value in spread(taken)]
            rows.append((side, 2 * leaves - 1, file.stat().st_size / 1e6, *spreads))
        print(f"{browser.browser_type.name} {browser.version}; medians and 95th percentiles\n")
        browser.close()
    print_results("viewer", rows, options.csv)
    load = statistics.median(found[150, 1024][0])
    frame = float(np.percentile(found[400, 1024][1], 95))
    print_target(f"299 nodes at 1024 x 1024 load in under 300 ms ({load:.0f} ms)", met=load < 300)
    print_target(
        f"a frame of 1024 x 1024 and 400 leaves under 16 ms ({frame:.1f} ms)", met=frame < 16
    )
    print_closing()


if __name__ == "__main__":
    main()
