"""The ultrametric contour map: the whole tree as one picture of borders and their heights.

A border between two neighbouring pixels has the height at which the tree joins them: that of the
lowest node that holds both. The cut at height t shows the borders above t, and no others. So a
threshold of the map gives any cut, and closed borders at every threshold.

The map has the doubled grid of the benchmark BSDS500 (``ucm2``): (2H + 1, 2W + 1). Pixel (y, x) of
the photograph is the cell (2y + 1, 2x + 1), which is 0. Between two pixels lies their border. A
corner of four pixels has the largest of the four borders that meet there. The frame repeats the
cells next to it. At the size of the image, each pixel has the value of its lower right corner, as
in that benchmark; there the borders of neighbouring cells may touch.

To get the pieces of a cut, label the connected cells that are at most t, and take the cells of the
pixels:

>>> import numpy as np
>>> from scipy.ndimage import label
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .5, 1]))
>>> contours = ultrametric_contour_map(tree)
>>> contours
array([[0. , 0. , 0. , 0. , 0.5, 0. , 0. ],
       [0. , 0. , 0. , 0. , 0.5, 0. , 0. ],
       [1. , 1. , 1. , 1. , 1. , 1. , 1. ],
       [0. , 0. , 0. , 0. , 0. , 0. , 0. ],
       [0. , 0. , 0. , 0. , 0. , 0. , 0. ]], dtype=float32)
>>> label(contours <= .5)[0][1::2, 1::2]
array([[1, 1, 1],
       [2, 2, 2]], dtype=int32)

Reference: Arbelaez, Maire, Fowlkes and Malik, "Contour Detection and Hierarchical Image
Segmentation", PAMI 2011.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.errors import ExportError
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.paths import heavy_paths

__all__ = ["ultrametric_contour_map", "write_contour_map"]

Size = Literal["double", "image"]
Float32 = NDArray[np.float32]

_SUFFIXES = (".npy", ".png")
_MOST = 65_535  # of 16 bits


def ultrametric_contour_map(tree: RegionTree, *, size: Size = "double") -> Float32:
    """The heights of all borders, (2H + 1, 2W + 1) float32, or (H, W) at the size of the image.

    Parameters
    ----------
    size
        "double": borders lie between pixels. "image": borders lie on pixels, so a map has the shape
        of the photograph.

    Raises
    ------
    ExportError
        Another size.
    """
    if size not in ("double", "image"):
        raise ExportError(f"size must be double or image, got {size!r}")
    labels, paths = tree.labels, heavy_paths(tree.parents)

    def between(a: NDArray[np.int32], b: NDArray[np.int32]) -> Float32:
        heights = np.zeros(a.shape, dtype=np.float32)
        apart = a != b
        heights[apart] = tree.height[paths.lowest_common_ancestor(a[apart], b[apart])]
        return heights

    h, w = labels.shape
    found = np.zeros((2 * h + 1, 2 * w + 1), dtype=np.float32)
    found[1:-1:2, 2:-1:2] = between(labels[:, :-1], labels[:, 1:])
    found[2:-1:2, 1:-1:2] = between(labels[:-1], labels[1:])
    found[0], found[-1] = found[1], found[-2]
    found[:, 0], found[:, -1] = found[:, 1], found[:, -2]
    corners = found[2:-1:2, 2:-1:2]
    for sides in (found[1:-2:2, 2:-1:2], found[3::2, 2:-1:2], found[2:-1:2, 1:-2:2],
                  found[2:-1:2, 3::2]):  # fmt: skip
        np.maximum(corners, sides, out=corners)
    return found if size == "double" else found[2::2, 2::2].copy()


def write_contour_map(tree: RegionTree, path: str | Path, *, size: Size = "double") -> Path:
    """Write :func:`ultrametric_contour_map` as ``.npy`` or grey 16-bit ``.png``; return the path.

    ``.npy`` has the heights as they are. In ``.png`` the value 65,535 is a height of 1, and a
    border above 0 is never 0. Different heights may get one value.

    Raises
    ------
    ExportError
        Another suffix or size, or a PNG of a tree with borders above 1.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ExportError(
            f"{path}: a contour map is written as {' or '.join(_SUFFIXES)}, by suffix; rename it"
        )
    contours, encoded = ultrametric_contour_map(tree, size=size), io.BytesIO()
    if path.suffix.lower() == ".npy":
        np.save(encoded, contours)
    elif contours.max() > 1:
        raise ExportError(
            f"{path}: a PNG holds heights up to 1, and this tree has a border of height "
            f"{contours.max():g}; write .npy"
        )
    else:
        grey = np.rint(contours * np.float64(_MOST)).astype(np.uint16)
        grey[(contours > 0) & (grey == 0)] = 1
        Image.fromarray(grey).save(encoded, format="PNG")
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())
    return path
