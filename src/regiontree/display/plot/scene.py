"""A tree at the size it is drawn: labels, photograph and colours of one figure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.display.pictures import drawn_size, hierarchy_colors, nodes_of_leaves, photo_pixels
from regiontree.images import nearest
from regiontree.tree import RegionTree

__all__ = ["Nodes", "Pixels", "Scene", "top_height"]

Pixels = NDArray[np.uint8]
"""Pixels or colours, uint8."""
Nodes = NDArray[np.int32]
"""A node for each pixel, (h, w) int32."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A tree at the size it is drawn.

    Attributes
    ----------
    tree
    leaves : (h, w) int32
        Leaf of each pixel of the drawing.
    photo : (h, w, 3) uint8 or None
    faded : (h, w, 1) uint8
        The photograph in light grey; without one, even grey.
    colors : (N, 3) uint8
        Colour of each node.
    """

    tree: RegionTree
    leaves: Nodes
    photo: Pixels | None
    faded: Pixels
    colors: Pixels

    @classmethod
    def of(cls, tree: RegionTree, image: Any, longest: int) -> Scene:
        # No finer than the image, but labels of patches are enlarged.
        """A tree and its photograph, drawn with at most `longest` pixels on the longer side."""
        size = drawn_size(tree.shape, min(longest, max(*tree.shape, 640)))
        photo = None if image is None else photo_pixels(image, size, tree)
        grey = (
            Image.new("L", size[::-1], 128)
            if photo is None
            else Image.fromarray(photo).convert("L")
        )
        faded = (190 + 0.18 * np.asarray(grey, np.float32)).astype(np.uint8)[:, :, None]
        return cls(tree, nearest(tree.labels, size), photo, faded, hierarchy_colors(tree))

    @property
    def aspect(self) -> float:
        """Width over height."""
        height, width = self.leaves.shape
        return float(width / height)

    def inches(self, area: float) -> tuple[float, float]:
        """Width and height of a panel of that area."""
        return (area * self.aspect) ** 0.5, (area / self.aspect) ** 0.5

    def color(self, node: int) -> tuple[float, ...]:
        """Red, green and blue of a node, 0 to 1."""
        return tuple((self.colors[node] / 255.0).tolist())

    def mask(self, node: int) -> NDArray[np.bool_]:
        """Pixels of a node, (h, w) bool. Even the smallest node has one."""
        inside = nodes_of_leaves(self.tree, np.array([node])) == node
        mask: NDArray[np.bool_] = inside[self.leaves]
        if not mask.any():
            at = np.unravel_index(np.argmax(inside[self.tree.labels]), self.tree.shape)
            y, x = (int(at[k]) * mask.shape[k] // self.tree.shape[k] for k in (0, 1))
            mask[y, x] = True
        return mask


def top_height(tree: RegionTree) -> float:
    """Height of the root, or 1 if that is 0."""
    return float(tree.height[tree.root]) or 1.0
