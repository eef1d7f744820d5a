"""Are scenes in windows as good as photographs at once, do windows show, and what memory is used?

Question
    `regiontree scene` never has a scene in memory. What does that change of the tree? Do regions
    end where windows end? How does memory grow with the scene?
Method
    memory: scenes of --sides pixels a side, of the aerial samples, turned and mirrored at random,
    of which the share --fill holds data and the rest is no data. Each is done in a fresh process,
    whose peak resident memory is read (VmHWM). The network is a small linear one of 384 channels
    (:class:`tiles.Linear`), with 2000 parts and windows of 2048 pixels. GDAL keeps 64 MB.
    agreement: for groups of --patches patches, since a scene of 65,536 patches or fewer has groups
    of one, and larger scenes have larger ones, up to 280 at 60,000 pixels a side. The tree of a
    photograph in windows is compared with the tree of one window, and with
    `--tiles own`, whose context is the whole photograph. NM is the covering of the cuts of one
    tree into --regions regions by the nodes of the other (each region has its best IoU with any
    node, weighted by area), and back. *changed* is the share of pixels in another region, regions
    matched one to one.
    seams: how often a border between regions runs within a patch of a window's end, as a multiple
    of how often it runs anywhere; and the same at these places in the tree of one window.

    python benchmarks/scenes.py memory
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from _common import (
    arguments,
    data_folder,
    is_child,
    print_closing,
    print_heading,
    print_results,
    run_child,
)
from numpy.typing import NDArray
from PIL import Image
from tiles import Linear, changed

from regiontree import RegionParser, RegionTree
from regiontree.images import load_image
from regiontree.scenes import groups, parse_scene
from regiontree.scenes.grid import SceneGrid
from regiontree.tree.kernel import accumulate_sum

TILE = 1024
Labels = NDArray[np.int32]


def write_scene(path: Path, side: int, fill: float) -> None:
    """A scene of the aerial samples, of which a share holds data."""
    folder = data_folder() / "aerial_samples" / "images"
    pictures = [load_image(file).rgb for file in sorted(folder.iterdir())]
    rng = np.random.default_rng(0)
    with rasterio.open(
        path, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", nodata=0,
        tiled=True, blockxsize=512, blockysize=512, compress="deflate", zlevel=1,
        crs="EPSG:32632", transform=rasterio.Affine(0.3, 0, 500_000, 0, -0.3, 5_400_000),
        sparse_ok=True, bigtiff="if_safer",
    ) as file:  # fmt: skip
        for top in range(0, side, TILE):
            for left in range(0, side, TILE):
                if rng.random() >= fill:
                    continue
                picture = np.rot90(pictures[rng.integers(len(pictures))], rng.integers(4))
                picture = picture[:, ::-1] if rng.random() < 0.5 else picture
                tall, wide = min(TILE, side - top), min(TILE, side - left)
                block = np.maximum(picture[:tall, :wide], 1)  # 0 is no data
                window = ((top, top + tall), (left, left + wide))
                file.write(np.moveaxis(block, 2, 0), window=window)


class Steps:
    """How many windows a scene had at most."""

    windows = 0

    def __call__(self, what: str, done: int, total: int) -> None:
        self.windows = max(self.windows, total)


def memory_of(path: str, out: str) -> dict[str, Any]:
    parser = RegionParser(backbone=Linear(), parts=2000)
    start = time.perf_counter()
    steps = Steps()
    scene = parse_scene(path, out, parser=parser, on_step=steps)
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    peak = next(line for line in status if line.startswith("VmHWM"))
    return {
        "seconds": time.perf_counter() - start,
        "windows": steps.windows,
        "leaves": scene.tree.n_leaves,
        "bytes": 1024 * int(peak.split()[1]),
        "written": sum(file.stat().st_size for file in scene.folder.iterdir()),
    }


def memory(sides: list[int], fills: list[float], csv: Path | None) -> None:
    rows = []
    for side, fill in zip(sides, fills, strict=True):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scene.tif")
            write_scene(path, side, fill)
            found = run_child(__file__, "memory", path=str(path), out=str(Path(folder, "out")))
        rows.append([
            f"{side} x {side}", 100 * fill, found["windows"], found["leaves"], found["seconds"],
            found["bytes"] / 1e6, found["written"] / 1e6,
        ])  # fmt: skip
        print_results("scenes", rows, csv)


# -- agreement ------------------------------------------------------------------------------------


def covering(cut: Labels, tree: RegionTree) -> float:
    """Mean best IoU of the regions of a cut with the nodes of a tree, weighted by area."""
    n = int(cut.max()) + 1
    leaves = np.bincount(
        tree.labels.ravel().astype(np.int64) * n + cut.ravel(), minlength=tree.n_leaves * n
    )
    table = np.zeros((tree.n_nodes, n), np.int64)
    table[: tree.n_leaves] = leaves.reshape(tree.n_leaves, n)
    shared = accumulate_sum(tree.parents, table)
    size = shared[-1]
    best = (shared / (tree.area[:, None] + size - shared)).max(axis=0)
    return float((best * size).sum() / size.sum())


def seam_ratio(cut: Labels, rows: list[int], columns: list[int], patch: int) -> float:
    """How often a border runs within a patch of some rows and columns, beside anywhere."""
    across = (cut[:, 1:] != cut[:, :-1]).mean(axis=0)
    down = (cut[1:] != cut[:-1]).mean(axis=1)
    reach = np.arange(-patch, patch)
    there = [
        values[(np.array(ends)[:, None] + reach).ravel()]
        for values, ends in ((across, columns), (down, rows))
    ]
    return float(np.concatenate(there).mean() / np.concatenate([across, down]).mean())


def ends_of(shape: tuple[int, int], window: int, patch: int) -> tuple[list[int], list[int]]:
    grid = SceneGrid(shape, patch, window)
    rows = {grid.pixels(found.cells)[0].start for found in grid.windows()}
    columns = {grid.pixels(found.cells)[1].start for found in grid.windows()}
    return sorted(rows - {0}), sorted(columns - {0})


def agreement(
    photos: list[Path], window: int, cuts: list[int], sizes: list[int], csv: Path | None
) -> None:
    rows, seams = [], []
    for photo in photos:
        rgb = load_image(photo).rgb
        parser = RegionParser(parts=400)
        own = RegionParser(parts=400, tiles="own").parse(rgb)
        steps = Steps()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "scene.tif")
            Image.fromarray(rgb).save(path, compression="tiff_deflate")

            def tree(
                side: int,
                patches: int,
                path: Path = path,
                steps: Steps = steps,
                parser: RegionParser = parser,
            ) -> RegionTree:
                groups.LEAST_PATCHES = patches
                out = path.with_name(f"{side}-{patches}")
                return parse_scene(
                    path, out, parser=parser, window=side, picture_pixels=10**9, on_step=steps
                ).tree

            whole = tree(65_536, 1)
            here = {patches: tree(window, patches) for patches in sizes}
        size = f"{rgb.shape[1]} x {rgb.shape[0]}"
        ends = ends_of(whole.shape, window, parser.backbone.patch)
        for patches, found in here.items():
            for name, other in (("one window", whole), ("--tiles own", own)):
                for count in cuts:
                    one, two = found.cut(n_regions=count), other.cut(n_regions=count)
                    rows.append([
                        photo.name, size, steps.windows, patches, name, count,
                        100 * covering(one, other), 100 * covering(two, found),
                        100 * changed(one, two),
                    ])  # fmt: skip
            for count in cuts:
                ratios = [
                    seam_ratio(each.cut(n_regions=count), *ends, parser.backbone.patch)
                    for each in (found, whole)
                ]
                seams.append([photo.name, patches, count, *ratios])
    print_results("scenes-agreement", rows, csv)
    print_results("scenes-seams", seams, csv, "seams")


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("what", choices=("memory", "agreement"))
    options.add_argument("--sides", type=int, nargs="+", default=[4000, 12_000, 40_000])
    options.add_argument("--fill", type=float, nargs="+", default=[1.0, 0.5, 0.05])
    options.add_argument("--photos", type=Path, nargs="+", help="for agreement: image files")
    options.add_argument("--window", type=int, default=1024)
    options.add_argument("--patches", type=int, nargs="+", default=[1, 4, 16], help="of a group")
    options.add_argument("--regions", type=int, nargs="+", default=[24, 100])
    given = options.parse_args()
    print_heading("scenes.py")
    if given.what == "memory":
        memory(given.sides, given.fill, given.csv)
    else:
        agreement(given.photos, given.window, given.regions, given.patches, given.csv)
    print_closing()


if __name__ == "__main__":
    if not is_child({"memory": memory_of}):
        main()
