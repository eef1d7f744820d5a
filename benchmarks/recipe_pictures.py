"""Draw the pictures of the pages in docs/recipes.

Question
    What comes out of each recipe?
Method
    The drawn images that the tests of the recipes have (`tests/drawn.py`), parsed with default
    settings. Regions are those that the recipe keeps.
Printed
    The pictures, docs/images/recipe-NAME.png.

    python benchmarks/recipe_pictures.py
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from _common import REPOSITORY, arguments, print_closing, print_heading
from matplotlib import pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt

from regiontree import Collection, RegionParser, RegionTree
from regiontree.collection import discover

sys.path.insert(0, str(REPOSITORY / "tests"))
from drawn import FIELD, cars, cells, fields

OUT = REPOSITORY / "docs" / "images"
COLOURS = {"body": "#e15759", "window": "#4e79a7", "wheel": "#59a14f", "sky": "#76b7b2",
           "road": "#bab0ac"}  # fmt: skip
PLACES = {"body": (115, 130), "window": (75, 105), "wheel": (120, 60), "sky": (10, 140),
          "road": (188, 10)}  # fmt: skip
Mask = NDArray[np.bool_]


def main() -> None:
    arguments(__doc__, csv=False).parse_args()
    print_heading(__doc__)
    mpl.use("agg")
    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cvat_and_parts(folder)
        scene(folder)
        stack(folder)
    million()
    print_closing()


def save(figure: plt.Figure, name: str) -> None:
    path = OUT / f"recipe-{name}.png"
    figure.savefig(path, dpi=110, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    with Image.open(path) as image:  # few colours, small file
        image.convert("RGB").quantize(128).save(path, optimize=True)
    print(path.relative_to(REPOSITORY))


def panels(count: int, height: float) -> tuple[plt.Figure, list[plt.Axes]]:
    figure, axes = plt.subplots(1, count, figsize=(2.6 * count, height), layout="constrained")
    for axis in axes:
        axis.set_axis_off()
    return figure, list(axes)


def tint(axis: plt.Axes, mask: Mask, colour: str, name: str = "") -> None:
    rgba = np.zeros((*mask.shape, 4))
    rgba[mask] = mpl.colors.to_rgba(colour, 0.6)
    axis.imshow(rgba)
    axis.contour(mask, [0.5], colors="white", linewidths=0.8)
    if name:
        far = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]  # the innermost pixel
        y, x = np.unravel_index(far.argmax(), mask.shape)
        box = {"boxstyle": "round,pad=0.2", "fc": "black", "alpha": 0.6, "lw": 0}
        axis.text(x, y, name, ha="center", va="center", color="white", fontsize=7, bbox=box)


def cvat_and_parts(folder: Path) -> None:
    cars(folder / "photos", 6)
    parser = RegionParser()
    for photo in sorted((folder / "photos").iterdir()):
        parser.parse(photo).save(folder / "trees" / f"{photo.stem}.npz")
    discover(folder / "trees", folder / "collection")
    collection = Collection.load(folder / "collection")
    for name, point in PLACES.items():
        collection.name_at("car-1", point, name, n_categories=8)
    figure, axes = panels(3, 2.0)
    for axis, photo in zip(axes, ("car-1", "car-2", "car-3"), strict=True):
        axis.imshow(plt.imread(folder / "photos" / f"{photo}.jpg"))
        labels, names = collection.named_map(photo)
        for index, name in enumerate(names):
            if (labels == index).any():
                tint(axis, labels == index, COLOURS[name], name)
    save(figure, "cvat")
    figure, axes = panels(4, 1.9)
    tree = RegionTree.load(folder / "trees" / "car-2.npz")
    names = collection.node_names("car-2")
    picture = plt.imread(folder / "photos" / "car-2.jpg")
    axes[0].imshow(picture)
    axes[0].set_title("photograph")
    for axis, part in zip(axes[1:], ("body", "window", "wheel"), strict=True):
        axis.imshow(picture)
        for node in tree.salient(24):
            if names[node] == part:
                tint(axis, tree.mask(node), COLOURS[part])
        axis.set_title(part)
    save(figure, "parts")


def scene(folder: Path) -> None:
    fields(folder / "scene.tif")
    tree = RegionParser().parse(folder / "scene.tif")
    figure, axes = panels(2, 2.7)
    with Image.open(folder / "scene.tif") as image:
        picture = np.asarray(image)
    axes[0].imshow(picture)
    axes[1].imshow(picture)
    for number, node in enumerate(tree.cut_nodes(n_regions=8)):
        mask = tree.mask(int(node))
        tint(axes[1], mask, mpl.colors.to_hex(plt.cm.tab10(number)),
             f"{mask.sum() * FIELD**2 / 10_000:.1f} ha")  # fmt: skip
    save(figure, "fields")


def stack(folder: Path) -> None:
    import tifffile

    cells(folder / "stack.ome.tif")
    planes = tifffile.imread(folder / "stack.ome.tif")
    figure, axes = panels(len(planes), 2.7)
    for plane, axis in enumerate(axes):
        tree = RegionParser(page=plane).parse(folder / "stack.ome.tif").pieces()
        axis.imshow(planes[plane])
        axis.set_title(f"plane {plane}")
        kept: list[Mask] = []
        for node in sorted(tree.salient(24), key=lambda node: -tree.area[node]):
            mask = tree.mask(node)
            dark = planes[plane][mask].mean() < planes[plane].mean()
            fits = 1500 <= tree.area[node] <= 8000
            if fits and dark and not any((mask & one).any() for one in kept):
                kept.append(mask)
        for mask in kept:
            tint(axis, mask, "#59a14f", str(int(mask.sum())))
    save(figure, "cells")


def million() -> None:
    figure, axis = plt.subplots(figsize=(7.8, 1.3), layout="constrained")
    axis.set_axis_off()
    axis.set_xlim(-1, 100)
    axis.set_ylim(0, 10)
    steps = ("s3://photos/in\n1,000,000 JPEG", "plan\nhours, money", "segment\n--engine ray",
             "s3://photos/trees\nParquet", "discover\ncategories", "names\nby people")  # fmt: skip
    for i, text in enumerate(steps):
        x = i * 17
        place = FancyBboxPatch((x, 2), 13, 6, boxstyle="round,pad=0.4", fc="#e0f2f1", ec="#00796b")
        axis.add_patch(place)
        axis.text(x + 6.5, 5, text, ha="center", va="center", fontsize=7.5)
        if i:
            axis.add_patch(FancyArrowPatch((x - 3.4, 5), (x - 0.4, 5), arrowstyle="->",
                                           mutation_scale=9, color="#00796b"))  # fmt: skip
    save(figure, "million")


if __name__ == "__main__":
    main()
