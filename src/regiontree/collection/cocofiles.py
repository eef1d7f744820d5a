"""A collection in COCO's formats: instances, panoptic, and a folder that FiftyOne imports.

Ids do not depend on which photographs can be read, and stay when photographs join:

- the id of an image is its place in the collection, from 1;
- the id of an annotation is the image's id times ten million, plus the node of the tree;
- the id of a category is the number of its class, from 1. Names are sorted, so a new name changes
  the numbers of those behind it.

``supercategory`` is the nearest name above, or the name itself. ``named`` says whether people gave
the name. An annotation has the ``node`` of the photograph's tree, and as ``score`` how like its
category it is. The ``photo`` of an image is its id in the collection.

FiftyOne imports the folder by ``fiftyone.types.COCODetectionDataset``: photographs in ``data``, and
annotations in ``labels.json``. Its field ``segmentations`` has masks and labels, with ``score`` as
the confidence. ``include_id=True`` also gives the ids of images.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from regiontree.collection.exporting import Job
from regiontree.collection.maskfiles import require_replaceable, write_classes
from regiontree.collection.outputs import file_stems
from regiontree.collection.photograph import ClassedPhotograph
from regiontree.collection.pictures import picture_of
from regiontree.export.coco import map_shapes, photo_name, write_data_set
from regiontree.export.panoptic import write_pictures
from regiontree.forest.pictures import Picture
from regiontree.forest.storedtrees import key_of_id
from regiontree.system.files import atomic_folder, atomic_write

__all__ = ["write_coco", "write_fiftyone", "write_panoptic"]

_NODES = 10_000_000  # more than a tree has
_LABELS, _DATA = "labels.json", "data"  # as FiftyOne calls them

Record = dict[str, Any]


def write_coco(job: Job, path: Path) -> None:
    """Write one JSON of all regions that have a class.

    Raises
    ------
    ExportError
        No photograph can be written.
    MissingExtraError
        pycocotools is not installed.
    """
    images: list[Record] = []

    def annotations() -> Iterator[Record]:
        for photo, own in job.each(_with_annotations):
            images.append(_image(photo, _name(photo)))
            yield from own

    with atomic_write(path) as file:
        write_data_set(file, job.classes.records(), annotations(), images)


def write_fiftyone(job: Job, path: Path) -> None:
    """Write a folder of photographs and their annotations.

    Raises
    ------
    ExportError
        No photograph can be written, or the folder holds something else.
    MissingExtraError
        pycocotools is not installed.
    """
    require_replaceable(path, {_LABELS, _DATA})
    collection, link = job.collection, job.options["link"]
    address = collection.forest.address
    stems = file_stems(list(collection.ids))
    images: list[Record] = []

    def work(photo: ClassedPhotograph) -> tuple[ClassedPhotograph, list[Record], Picture]:
        return *_with_annotations(photo), picture_of(photo.row, photo.tree, address, job.images)

    def annotations() -> Iterator[Record]:
        for photo, own, picture in job.each(work):
            name = stems[photo.id] + picture.suffix
            picture.write(folder / _DATA / name, link=link)
            images.append(_image(photo, name))
            yield from own

    with atomic_folder(path) as folder:
        with (folder / _LABELS).open("wb") as file:
            write_data_set(file, job.classes.records(), annotations(), images)
        write_classes(job, folder)


def write_panoptic(job: Job, path: Path) -> None:
    """Write one JSON, and a folder of PNGs beside it.

    A pixel without a class has no segment. The id of a segment is its node plus one, as for trees.

    Raises
    ------
    ExportError
        No photograph can be written, or the folder beside the JSON holds something else.
    """
    stems = file_stems(list(job.collection.ids))
    categories = [{**one, "isthing": 1} for one in job.classes.records()]

    def work(photo: ClassedPhotograph) -> tuple[Record, NDArray[np.uint8]]:
        places = find_objects(photo.regions + 1)
        segments = [
            {
                "id": node + 1,
                "category_id": label + 1,
                "area": int(photo.tree.area[node]),
                "bbox": [x.start, y.start, x.stop - x.start, y.stop - y.start],
                "iscrowd": 0,
                "score": score,
            }
            for node, label, score, (y, x) in zip(*_columns(photo), places, strict=True)
        ]
        number = np.append(photo.nodes + 1, 0)
        colours = (number[:, None] >> [0, 8, 16]).astype(np.uint8)
        annotation = {
            "image_id": photo.number,
            "file_name": f"{stems[photo.id]}.png",
            "segments_info": segments,
        }
        data = {"images": [_image(photo, _name(photo))], "annotations": [annotation]}
        return data, colours[photo.regions]

    write_pictures(job.each(work), path, categories)


def _with_annotations(photo: ClassedPhotograph) -> tuple[ClassedPhotograph, list[Record]]:
    """A photograph and its annotations."""
    shapes = map_shapes(photo.regions, len(photo.nodes))
    return photo, [
        {
            "id": photo.number * _NODES + node,
            "image_id": photo.number,
            "category_id": label + 1,
            **shape,
            "area": int(photo.tree.area[node]),
            "node": node,
            "score": score,
        }
        for node, label, score, shape in zip(*_columns(photo), shapes, strict=True)
    ]


def _columns(photo: ClassedPhotograph) -> tuple[list[int], list[int], list[float]]:
    """Node, class and rounded score of each region."""
    scores = [round(score, 4) for score in photo.scores.tolist()]
    return photo.nodes.tolist(), photo.classes.tolist(), scores


def _image(photo: ClassedPhotograph, name: str) -> Record:
    rows, columns = photo.tree.shape
    return {
        "id": photo.number,
        "file_name": name,
        "width": columns,
        "height": rows,
        "photo": photo.id,
    }


def _name(photo: ClassedPhotograph) -> str:
    """The photograph's file, by the folders of its id."""
    return photo_name(photo.tree, key_of_id(photo.id))
