"""Label images: the regions of a cut as whole numbers, pixel by pixel, and cuts as a stack.

This is the most widely read form of a segmentation: scikit-image, napari, ImageJ, QuPath,
CellProfiler and any PNG reader take it. Regions are numbered from 1, because 0 is background in
nearly all of these tools. A region 0 would be left out of measurements and drawn transparent. Every
pixel belongs to a region of a cut, so no pixel is 0. Numbers are 16-bit unsigned integers, which
all these tools read. Pixels without data are a region, too: that of the node whose ``stop`` says
so. :func:`write_label_image` writes PNG or TIFF.

A stack holds several cuts of one tree from coarse to fine. Every region of a page lies inside one
region of the page before. :func:`write_label_stack` writes a TIFF that ImageJ and napari open with
a slider, or an OME-TIFF whose channels are named by their number of regions. Pages are cut and
written one by one, so memory is needed for one cut only: about 10 bytes a pixel.

>>> import numpy as np
>>> from regiontree import RegionTree
>>> tree = RegionTree(labels=np.array([[0, 0, 1], [2, 2, 2]]),
...                   parents=np.array([3, 3, 4, 4, 4]), height=np.array([0, 0, 0, .4, 1]))
>>> to_label_image(tree, n_regions=2)
array([[2, 2, 2],
       [1, 1, 1]], dtype=uint16)
>>> to_label_stack(tree, granularities=(2, 3, 4)).max(axis=(1, 2))
array([2, 3], dtype=uint16)
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree._version import __version__
from regiontree.display.pictures import GRANULARITIES
from regiontree.errors import ExportError, MissingExtraError, plain_tuple
from regiontree.system.files import atomic_write
from regiontree.tree import RegionTree

__all__ = [
    "MAX_REGIONS",
    "distinct_cuts",
    "to_label_image",
    "to_label_stack",
    "write_label_image",
    "write_label_stack",
]

MAX_REGIONS = 65_535
"""Most regions of a label image: what 16 bits hold beside the background's 0."""
# Deflate needs no other library. ImageJ reads it wrongly together with a predictor.
_PILLOW = {".png": ("PNG", {}), ".tif": ("TIFF", {"compression": "tiff_adobe_deflate"})}
_PILLOW[".tiff"] = _PILLOW[".tif"]
MAX_CLASSIC_TIFF = 2**32 - 2**25  # bytes that 32-bit offsets reach, less room for directories

UInt16 = NDArray[np.uint16]


def to_label_image(
    tree: RegionTree,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
) -> UInt16:
    """The regions of a cut, (H, W) uint16, numbered 1 to k.

    Region j + 1 is node ``tree.cut_nodes(...)[j]``. Criteria are those of :meth:`RegionTree.cut`.
    Without one, this is the natural cut.

    Raises
    ------
    ExportError
        More than 65,535 regions.
    TreeError
        A cut with two criteria or a wrong value.
    """
    count = len(tree.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast))
    if count > MAX_REGIONS:
        raise ExportError(
            f"a label image of 16 bits holds {MAX_REGIONS:,} regions, this cut has {count:,}; cut "
            f"coarser, such as with n_regions={MAX_REGIONS}, or use tree.cut(...), of 32 bits"
        )
    labels = tree.cut(n_regions=n_regions, height=height, depth=depth, contrast=contrast).astype(
        np.uint16
    )
    labels += 1
    return labels


def write_label_image(
    tree: RegionTree,
    path: str | Path,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
) -> Path:
    """Write :func:`to_label_image` as grey 16-bit ``.png``, ``.tif`` or ``.tiff``; return the path.

    Raises
    ------
    ExportError
        Another suffix, or more than 65,535 regions.
    TreeError
        A cut with two criteria or a wrong value.
    """
    path = Path(path)
    if path.suffix.lower() not in _PILLOW:
        raise ExportError(
            f"{path}: a label image is written as {', '.join(_PILLOW)}, by suffix; rename it"
        )
    kind, options = _PILLOW[path.suffix.lower()]
    image = Image.fromarray(
        to_label_image(tree, n_regions=n_regions, height=height, depth=depth, contrast=contrast)
    )
    encoded = io.BytesIO()  # libtiff prints what goes wrong with a file, and hides the reason
    image.save(encoded, format=kind, **options)
    with atomic_write(path) as file:
        file.write(encoded.getbuffer())
    return path


def to_label_stack(tree: RegionTree, *, granularities: Sequence[int] = GRANULARITIES) -> UInt16:
    """Cuts from coarse to fine, (K, H, W) uint16, each numbered as :func:`to_label_image`.

    Parameters
    ----------
    tree
    granularities
        Largest numbers of regions, in any order. Equal cuts are given once, so K may be smaller.
        Page k has ``stack[k].max()`` regions.

    Raises
    ------
    ExportError
        No granularity, or one that gives more than 65,535 regions.
    TreeError
        A granularity that is not a number of at least 1.
    """
    pages = distinct_cuts(tree, granularities)
    stack = np.empty((len(pages), *tree.shape), np.uint16)
    for page, count in zip(stack, pages, strict=True):
        page[:] = to_label_image(tree, n_regions=count)
    return stack


def write_label_stack(
    tree: RegionTree, path: str | Path, *, granularities: Sequence[int] = GRANULARITIES
) -> Path:
    """Write :func:`to_label_stack` as a multi-page TIFF, compressed by deflate; return the path.

    ``.ome.tif`` and ``.ome.tiff`` make an OME-TIFF: axes CYX, a channel for each cut, named like
    "8 regions". ``.tif`` and ``.tiff`` make a TIFF for ImageJ: axes ZYX, with slices labelled the
    same way. Equal trees give equal bytes.

    Raises
    ------
    ExportError
        Another suffix, no granularity, or one that gives more than 65,535 regions.
    MissingExtraError
        tifffile is not installed.
    TreeError
        A granularity that is not a number of at least 1.

    References
    ----------
    OME-TIFF and OME-XML 2016-06, https://docs.openmicroscopy.org/ome-model/
    """
    try:
        import tifffile
    except ImportError as error:
        raise MissingExtraError(
            "label stacks need tifffile: pip install 'regiontree[export]'"
        ) from error
    path = Path(path)
    if path.suffix.lower() not in (".tif", ".tiff"):
        raise ExportError(
            f"{path}: a label stack is written as .tif, .tiff, .ome.tif or .ome.tiff; rename it"
        )
    pages = distinct_cuts(tree, granularities)
    names = ["1 region" if count == 1 else f"{count} regions" for count in pages]
    size = len(pages) * 2 * tree.labels.size
    kind: dict[str, Any]
    metadata: dict[str, Any]
    if path.with_suffix("").suffix.lower() == ".ome":
        kind = {"ome": True, "bigtiff": size > MAX_CLASSIC_TIFF}
        metadata = {"axes": "CYX", "Channel": {"Name": names}, "UUID": str(_identity(tree, pages))}
    else:
        kind = {"imagej": True}
        metadata = {"axes": "ZYX", "Labels": names, "min": 0.0, "max": float(pages[-1])}
    with atomic_write(path) as file:
        named = tifffile.FileHandle(file, name=path.name)  # tifffile needs a name of an open file
        with tifffile.TiffWriter(named, **kind) as writer:
            writer.write(
                (to_label_image(tree, n_regions=count) for count in pages),
                shape=(len(pages), *tree.shape),
                dtype=np.uint16,
                photometric="minisblack",  # rows of 3 or 4 pixels are no colours
                compression="zlib",
                metadata=metadata,
                software=f"regiontree {__version__}",
            )
    return path


def distinct_cuts(tree: RegionTree, granularities: Sequence[int]) -> list[int]:
    """The number of regions of each different cut, ascending.

    Parameters
    ----------
    tree
    granularities
        Largest numbers of regions, in any order.

    Raises
    ------
    ExportError
        No granularity, or something else than a sequence.
    TreeError
        A granularity that is not a number of at least 1.
    """
    granularities = plain_tuple(granularities)
    if not isinstance(granularities, tuple):
        raise ExportError(f"granularities must be numbers of regions, got {granularities!r}")
    if not granularities:
        raise ExportError("granularities is empty: a stack has at least one cut")
    return sorted({len(tree.cut_nodes(n_regions=count)) for count in granularities})


def _identity(tree: RegionTree, pages: Sequence[int]) -> UUID:
    """The UUID of the file that OME asks for. It is made from the content, not at random."""
    state = hashlib.sha1(repr((tree.shape, list(pages))).encode(), usedforsecurity=False)
    for array in (tree.labels, tree.parents, tree.height):
        state.update(array.data)
    return UUID(bytes=state.digest()[:16], version=5)
