"""What one visitor of the app sees: pictures of one tree, regions under clicks, files to keep.

Nothing here knows Gradio, so all of it is tested without.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.display.pictures import (
    fitted_size,
    hierarchy_colors,
    hierarchy_picture,
    nodes_of_leaves,
    overlay,
)
from regiontree.errors import ImageError
from regiontree.images import MAX_PIXELS, load_image, nearest
from regiontree.parser import RegionParser
from regiontree.tree import RegionTree
from regiontree.tree.stop import StopReason

__all__ = ["DOWNLOADS", "MAX_SIDE", "MOST_REGIONS", "Visit", "first_regions", "parsed"]

Rgb = NDArray[np.uint8]

MAX_SIDE = 1280
"""Long side of a visitor's tree in pixels. A larger photograph is made smaller first."""
MOST_REGIONS = 200
"""Largest number of regions on the slider."""
DOWNLOADS = ("tree (.npz)", "masks (.zip)", "COCO (.json)", "labels (.png)")
"""What a visitor can take home."""
_LIFT = 0.45  # how much of its own colour the photograph keeps outside the chosen region


@dataclass(frozen=True, slots=True)
class Visit:
    """One photograph and its tree, as long as a visitor looks at them.

    Attributes
    ----------
    name : str
        Name of the photograph, without its ending.
    photo : (H, W, 3) uint8
        At the size of the tree.
    tree : RegionTree
    """

    name: str
    photo: Rgb
    tree: RegionTree

    @property
    def most(self) -> int:
        """The last number of the slider."""
        return max(1, min(MOST_REGIONS, self.tree.n_leaves))

    def cut(self, regions: int) -> Image.Image:
        """The cut into a number of regions, in colours over the photograph."""
        tree = self.tree
        nodes = nodes_of_leaves(tree, tree.cut_nodes(n_regions=regions))[tree.labels]
        return overlay(hierarchy_colors(tree)[nodes], nodes, self.photo)

    def chosen(self, node: int) -> Image.Image:
        """The photograph with one region in its own colours, and everything else dim."""
        inside = self.tree.mask(node)
        grey = self.photo.mean(axis=2, keepdims=True)
        dim = (1 - _LIFT) * grey * 0.55 + _LIFT * self.photo * 0.55
        picture = np.where(inside[:, :, None], self.photo, dim).astype(np.uint8)
        picture[_edge(inside)] = (255, 255, 255)
        return Image.fromarray(picture)

    def drawn_tree(self) -> Image.Image:
        """The tree beside its regions: the root at the left, and its children to the right."""
        return hierarchy_picture(self.tree, n_regions=60, width=420)

    def chain(self, x: int, y: int, regions: int) -> list[int]:
        """Regions that hold pixel (column x, row y), from that of a cut up to the whole.

        Parameters
        ----------
        x, y
            A pixel outside the picture counts as the nearest one inside.
        regions
            The cut that the visitor sees. Finer regions are not offered.
        """
        h, w = self.tree.shape
        x, y = min(max(int(x), 0), w - 1), min(max(int(y), 0), h - 1)
        above = self.tree.at(y, x)
        shown = set(self.tree.cut_nodes(n_regions=regions).tolist())
        first = next(i for i, node in enumerate(above) if node in shown)
        return above[first:]

    def words(self, node: int) -> str:
        """One region in words: its share of the picture, and what is below it."""
        tree = self.tree
        share = 100 * tree.area[node] / tree.area[-1]
        if node == tree.root:
            return "the whole photograph"
        if tree.stop[node] == StopReason.NO_DATA:
            return f"no data, {share:.1f} %"
        below = tree.n_below(node)
        parts = f"{below} regions below" if below else "not divided further"
        return f"{share:.1f} % of the photograph, {parts}"

    def save(self, what: str, regions: int, folder: Path) -> Path:
        """Write what a visitor takes home into a folder; the file.

        Parameters
        ----------
        what
            One of :data:`DOWNLOADS`.
        regions
            Masks, labels and COCO are of the cut into so many regions.
        folder
            It exists.
        """
        stem = folder / self.name
        if what == DOWNLOADS[0]:
            return self.tree.save(stem.with_name(f"{self.name}.npz"))
        if what == DOWNLOADS[1]:
            path = stem.with_name(f"{self.name}.masks.zip")
            nodes = self.tree.cut_nodes(n_regions=regions)
            with zipfile.ZipFile(path, "w") as archive:
                for node in nodes.tolist():
                    mask = Image.fromarray(self.tree.mask(node))
                    with archive.open(f"region-{node:04d}.png", "w") as file:
                        mask.save(file, "PNG")
            return path
        if what == DOWNLOADS[2]:
            path = stem.with_name(f"{self.name}.coco.json")
            return self.tree.export("coco", path, n_regions=regions)
        path = stem.with_name(f"{self.name}.labels.png")
        Image.fromarray(self.tree.to_label_image(n_regions=regions)).save(path)
        return path


def parsed(parser: RegionParser, path: str | Path, max_side: int = MAX_SIDE) -> Visit:
    """A visitor's photograph with its tree.

    The photograph is turned upright, and made smaller if its long side is above `max_side` pixels.

    Raises
    ------
    RegionTreeError
        The file is no photograph, is damaged, or has too many pixels.
    """
    path = Path(path)
    image = load_image(path, max_pixels=min(parser.sight.max_pixels, MAX_PIXELS))
    rgb, (height, width) = image.rgb, image.size
    size = fitted_size((height, width), max_side) if max(height, width) > max_side else None
    if size is not None or rgb.shape[:2] != (height, width):
        to = size or (height, width)
        rgb = np.asarray(Image.fromarray(rgb).resize(to[::-1], Image.Resampling.LANCZOS))
    valid = None if image.valid is None else nearest(image.valid, (rgb.shape[0], rgb.shape[1]))
    if valid is not None and not valid.any():
        raise ImageError(f"{path.name}: all of it is transparent, so there is nothing to see")
    return Visit(path.stem[:60] or "photograph", rgb, parser.parse(rgb, valid))


def first_regions(visit: Visit) -> int:
    """The number of regions that the slider begins with: those of the natural cut, at most 40."""
    return max(1, min(len(visit.tree.cut_nodes()), 40, visit.most))


def _edge(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels of a mask that touch what is outside, two pixels wide."""
    edge = np.zeros(inside.shape, bool)
    for axis in (0, 1):
        first = inside[:-1] if axis == 0 else inside[:, :-1]
        second = inside[1:] if axis == 0 else inside[:, 1:]
        differs = first != second
        if axis == 0:
            edge[:-1] |= differs
            edge[1:] |= differs
        else:
            edge[:, :-1] |= differs
            edge[:, 1:] |= differs
    return edge
