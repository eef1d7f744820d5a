"""Small pictures of regions: a square of the photograph, in which all but the region is faint."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.collection.collection import Collection
from regiontree.collection.pictures import photograph_pixels
from regiontree.display.pictures import fitted_size, jpeg
from regiontree.errors import RegionTreeError
from regiontree.forest.finding import Places
from regiontree.images import nearest
from regiontree.tree import RegionTree
from regiontree.tree.cuts import node_of_leaf
from regiontree.viewer.kept import KeptPictures

__all__ = ["RegionPictures", "region_picture", "shown_size", "squared"]

Rgb = NDArray[np.uint8]

SIDE = 144  # pixels of a region's picture: half as many again as the page shows
_SMALL = 288  # pixels of the longer side of a photograph's small picture
_LONGEST = 1024  # pixels of the longer side of the photograph that regions are cut out of
_MARGIN = 0.12  # around a region, of the longer side of its box, on each side
_LEAST = 24  # pixels of a square's side: smaller ones would show no surroundings
_FAINT, _PAPER = 0.32, 0.30  # what is not the region: grey times the first, plus the second
_QUALITY = 82  # of JPEG, 1 to 95
_WHOLE = -1  # stands for the photograph itself among the pictures of its regions


class RegionPictures:
    """The pictures of a collection's regions, each made once.

    Parameters
    ----------
    collection
    images
        Where the user says that photographs lie.
    """

    def __init__(self, collection: Collection, images: Places) -> None:
        self.collection, self.images = collection, images
        self.kept = KeptPictures(collection.folder / "pictures.sqlite")
        self.lacks: dict[int, str] = {}
        """Numbers of photographs that cannot be shown, and why."""
        self._reading = threading.Lock()

    def region(self, number: int, node: int, also: Callable[[int], Iterable[int]]) -> bytes:
        """A JPEG of a region, SIDE x SIDE pixels.

        Parameters
        ----------
        number
            Of the photograph.
        node
        also
            Gives other nodes of the photograph that will be wanted. They are made while it is open.

        Raises
        ------
        RegionTreeError
            Its tree is gone or has changed.
        KeyError
            The tree has no such node.
        """
        if (known := self._known(number, node)) is not None:
            return known
        tree, rgb, labels = self._opened(number)
        if not 0 <= node < tree.n_nodes:
            raise KeyError(node)
        wanted = {node, *(one for one in also(number) if 0 <= one < tree.n_nodes)}
        made = {one: jpeg(region_picture(tree, one, rgb, labels), _QUALITY) for one in wanted}
        self._keep(number, made)
        return made[node]

    def small(self, number: int) -> bytes:
        """A small JPEG of a photograph."""
        if (known := self._known(number, _WHOLE)) is not None:
            return known
        _, rgb, _ = self._opened(number)
        picture = Image.fromarray(rgb)
        picture.thumbnail((_SMALL, _SMALL), Image.Resampling.LANCZOS)
        made = jpeg(picture, _QUALITY)
        self._keep(number, {_WHOLE: made})
        return made

    def _known(self, number: int, what: int) -> bytes | None:
        members = self.collection.members
        return self.kept.get(members.ids[number], what, members.stamps[number])

    def _keep(self, number: int, made: dict[int, bytes]) -> None:
        if number not in self.lacks:  # a photograph that is found later gets its pictures
            members = self.collection.members
            self.kept.put(members.ids[number], made, members.stamps[number])

    def _opened(self, number: int) -> tuple[RegionTree, Rgb, NDArray[np.int32]]:
        tree, rgb = self.read(number, _LONGEST)
        if rgb is None:
            rgb = np.full((*shown_size(tree.shape, _LONGEST), 3), 150, np.uint8)
        return tree, rgb, nearest(tree.labels, (rgb.shape[0], rgb.shape[1]))

    def read(self, number: int, longest: int) -> tuple[RegionTree, Rgb | None]:
        """The tree of a photograph, and its pixels (h, w, 3) if they can be read.

        Parameters
        ----------
        number
            Of the photograph.
        longest
            Most pixels on the longer side.

        Raises
        ------
        RegionTreeError
            Its tree is gone or has changed.
        """
        key = self.collection.ids[number]
        with self._reading:  # rows of a store share what is open
            row, tree, _ = self.collection.opened(key)
        try:
            address = self.collection.forest.address
            rgb = photograph_pixels(
                row, tree, address, self.images, shown_size(tree.shape, longest)
            )
        except (RegionTreeError, OSError) as error:
            self.lacks[number] = str(error)
            return tree, None
        self.lacks.pop(number, None)
        return tree, rgb


def region_picture(
    tree: RegionTree, node: int, rgb: Rgb, labels: NDArray[np.integer], side: int = SIDE
) -> Rgb:
    """A square of a photograph around a region, (side, side, 3) uint8.

    Parameters
    ----------
    tree, node
    rgb
        (h, w, 3) the photograph, at any size.
    labels
        (h, w) the leaf of each of its pixels.
    side
        Pixels of the picture.
    """
    inside = (node_of_leaf(tree.parents, np.array([node]), tree.n_leaves) >= 0)[labels]
    top, left, size = squared(inside)
    rows, columns = slice(top, top + size), slice(left, left + size)
    own, shown = inside[rows, columns, None], rgb[rows, columns].astype(np.float32)
    grey = shown @ np.array([0.299, 0.587, 0.114], np.float32)
    faint = _FAINT * grey[..., None] + 255 * _PAPER
    mixed = np.where(own, shown, faint).astype(np.uint8)
    picture = Image.fromarray(mixed).resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def squared(inside: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Top, left and side of the square that shows a region best, within the picture (h, w).

    It holds the region's box with a margin. If the box is longer than the picture is wide or high,
    it lies around the middle of the region's pixels.

    >>> squared(np.pad(np.ones((30, 30), bool), ((10, 60), (40, 30))))
    (6, 36, 37)
    """
    height, width = inside.shape
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):  # too small to be in the picture
        return 0, 0, min(height, width)
    longest = max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1
    size = min(max(round(longest * (1 + 2 * _MARGIN)), _LEAST), height, width)

    def start(places: NDArray[np.int64], count: NDArray[np.int64], most: int) -> int:
        fits = places[-1] - places[0] < size
        half = np.searchsorted(np.cumsum(count), count.sum() / 2)
        middle = (places[0] + places[-1] + 1) / 2 if fits else float(half)
        return int(np.clip(round(middle - size / 2), 0, most - size))

    top = start(rows, inside.sum(axis=1), height)
    return top, start(columns, inside.sum(axis=0), width), int(size)


def shown_size(shape: tuple[int, int], longest: int) -> tuple[int, int]:
    """(height, width) of a photograph with at most `longest` pixels on its longer side."""
    return fitted_size(shape, min(longest, max(shape)))
