"""COCO panoptic segmentation: a PNG of segment numbers for each photograph, one JSON for all.

The format is that of cocodataset.org/#format-data. The number of a pixel's segment is R + 256 G +
65536 B of its colour. ``segments_info`` of the JSON lists the segments, which are the regions of a
cut. Number 0 means no segment. So a segment has the number of its node plus one, and a region that
is in two cuts has the same number in both.

Pixels without data belong to no segment. Every segment has the one category "region". It is a
thing, because an image has many.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import find_objects

from regiontree.errors import ExportError
from regiontree.export.coco import CATEGORY, INFO, photo_name, write_data_set
from regiontree.images import image_suffixes
from regiontree.system.files import atomic_folder, atomic_write
from regiontree.tree import RegionTree
from regiontree.tree.nodata import no_data_nodes

__all__ = ["to_panoptic", "write_panoptic", "write_pictures"]

_THING = {**CATEGORY, "isthing": 1}


def to_panoptic(
    tree: RegionTree,
    name: str | None = None,
    *,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """A panoptic data set of one photograph, and its picture of segments.

    Parameters
    ----------
    name
        Name of the tree and its PNG. See :func:`regiontree.export.coco.photo_name`.
    n_regions, height, depth, contrast
        See :meth:`RegionTree.cut`; without one, the natural cut.

    Returns
    -------
    dict
        ``info``, ``licenses``, and one entry each of ``images``, ``categories`` and
        ``annotations``. A segment has ``id``, ``category_id``, ``area``, ``bbox`` (x, y, width,
        height in pixels) and ``iscrowd``.
    (H, W, 3) uint8
        The number of each pixel's segment, lowest byte first.

    Raises
    ------
    TreeError
        A cut with two criteria or a wrong value.

    Examples
    --------
    >>> tree = RegionTree(labels=[[0, 0, 1], [2, 2, 2]], parents=[3, 3, 4, 4, 4],
    ...                   height=[0, 0, 0, .5, 1])
    >>> data, picture = to_panoptic(tree, n_regions=2)
    >>> picture[:, :, 0]
    array([[4, 4, 4],
           [3, 3, 3]], dtype=uint8)
    >>> data["annotations"][0]["segments_info"][0]
    {'id': 3, 'category_id': 1, 'area': 3, 'bbox': [0, 1, 3, 1], 'iscrowd': 0}
    """
    nodes = tree.cut_nodes(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
    regions = tree.cut(n_regions=n_regions, height=height, depth=depth, contrast=contrast)
    there = ~no_data_nodes(tree.stop)[nodes]
    segments = [
        {
            "id": node + 1,
            "category_id": CATEGORY["id"],
            "area": int(tree.area[node]),
            "bbox": [x.start, y.start, x.stop - x.start, y.stop - y.start],
            "iscrowd": 0,
        }
        for node, (y, x), known in zip(
            nodes.tolist(), find_objects(regions + 1), there.tolist(), strict=True
        )
        if known
    ]
    colours = (np.where(there, nodes + 1, 0)[:, None] >> [0, 8, 16]).astype(np.uint8)
    rows, columns = tree.shape
    photo = photo_name(tree, name)
    # The end of a name such as scan.v2 is no suffix.
    known = Path(photo).suffix.lower() in image_suffixes()
    mask = f"{name or (Path(photo).with_suffix('') if known else photo)}.png"
    return {
        "info": INFO,
        "licenses": [],
        "images": [{"id": 1, "file_name": photo, "width": columns, "height": rows}],
        "categories": [_THING],
        "annotations": [{"image_id": 1, "file_name": mask, "segments_info": segments}],
    }, colours[regions]


def write_panoptic(
    parts: Iterable[tuple[dict[str, Any], NDArray[np.uint8]]], path: str | Path
) -> Path:
    """Write many photographs, each from :func:`to_panoptic`, as one data set; return the path.

    The pictures are in a folder beside the JSON, with the JSON's name without its suffix. An older
    data set of that name is replaced. Images are numbered in their order. One part is in memory at
    a time.

    Raises
    ------
    ExportError
        The folder holds other files, or `path` has no suffix.
    """

    def numbered() -> Iterator[tuple[dict[str, Any], NDArray[np.uint8]]]:
        for number, (data, picture) in enumerate(parts, 1):
            (image,), (annotation,) = data["images"], data["annotations"]
            yield (
                {
                    "images": [{**image, "id": number}],
                    "annotations": [{**annotation, "image_id": number}],
                },
                picture,
            )

    return write_pictures(numbered(), path, [_THING])


def write_pictures(
    parts: Iterable[tuple[dict[str, Any], NDArray[np.uint8]]],
    path: str | Path,
    categories: list[dict[str, Any]],
) -> Path:
    """Write a data set as :func:`write_panoptic` does, with categories and numbers of the caller.

    Parameters
    ----------
    parts
        For each photograph ``images`` and ``annotations``, with one entry each, and its picture.
    path
        The JSON.
    categories
        ``categories`` of the data set.

    Raises
    ------
    ExportError
        As :func:`write_panoptic`.
    """
    path = Path(path)
    folder = path.with_suffix("")
    if folder == path:
        raise ExportError(
            f"{path}: give it a suffix, such as .json: the folder of pictures has the same name "
            "without suffix"
        )
    _check_replaceable(folder, path)
    images: list[dict[str, Any]] = []

    def annotations() -> Iterator[dict[str, Any]]:
        for data, picture in parts:
            (annotation,) = data["annotations"]
            images.append(data["images"][0])
            place = pictures / annotation["file_name"]
            place.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(place)
            yield annotation

    with atomic_write(path) as file, atomic_folder(folder) as pictures:
        write_data_set(file, categories, annotations(), images)
    return path


def _check_replaceable(folder: Path, path: Path) -> None:
    """Raise an ExportError if a folder holds files that the JSON beside it does not list.

    Otherwise the folder of the photographs could be replaced by mistake.
    """
    try:
        listed = {one["file_name"] for one in json.loads(path.read_bytes())["annotations"]}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        listed = set()
    for file in folder.rglob("*"):
        if file.is_file() and file.relative_to(folder).as_posix() not in listed:
            raise ExportError(
                f"{folder}: would be replaced, but holds {file.name}, which is no picture of "
                f"{path.name}; choose another name"
            )
