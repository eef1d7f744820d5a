"""Photographs and their COCO annotations in one folder, as FiftyOne imports it.

FiftyOne calls this layout ``fiftyone.types.COCODetectionDataset``: photographs in ``data``, and
annotations in ``labels.json``. Its detections get every field of an annotation, so each knows its
``node``, its ``parent_id``, its ``level``, ``height`` and ``stability``.

The folder is written without FiftyOne. :func:`regiontree.to_fiftyone` makes a data set in FiftyOne
itself, with views by granularity.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from regiontree.errors import ExportError
from regiontree.export.coco import (
    CATEGORY,
    numbered_annotations,
    photo_name,
    to_coco,
    write_data_set,
)
from regiontree.forest.pictures import Picture
from regiontree.system.files import atomic_folder
from regiontree.tree import RegionTree

__all__ = ["file_name", "to_coco_folder", "write_coco_folder"]

_LABELS, _DATA = "labels.json", "data"  # as FiftyOne calls them

Part = tuple[dict[str, Any], Picture, bool]


def to_coco_folder(
    tree: RegionTree,
    name: str | None = None,
    *,
    picture: Picture | None = None,
    link: bool = False,
    n_regions: int | None = None,
    height: float | None = None,
    depth: int | None = None,
    contrast: float | None = None,
    salient: int | None = None,
    all_nodes: bool = False,
    attributes: bool = False,
) -> Part:
    """The data set of one photograph, the photograph, and whether it is linked.

    Parameters
    ----------
    name
        The tree's name. The photograph is called so in the folder.
    picture
        The photograph.
    link
        Whether it is linked, not copied, if its file can be used as it is.
    n_regions, height, depth, contrast, salient, all_nodes, attributes
        As for :func:`regiontree.export.coco.to_coco`.

    Raises
    ------
    ExportError
        There is no photograph, or as :func:`~regiontree.export.coco.to_coco`.
    MissingExtraError
        pycocotools is not installed.
    """
    if picture is None:
        raise ExportError(
            "a tree alone has no photograph; export its file or its store with 'regiontree export',"
            " or write coco"
        )
    data = to_coco(
        tree, name, n_regions=n_regions, height=height, depth=depth, contrast=contrast,
        salient=salient, all_nodes=all_nodes, attributes=attributes,
    )  # fmt: skip
    wanted = photo_name(tree) if name is None else name
    data["images"][0]["file_name"] = file_name(wanted, picture.suffix)
    return data, picture, link


def write_coco_folder(parts: Iterable[Part], path: str | Path) -> Path:
    """Write many photographs, each from :func:`to_coco_folder`; return the folder.

    A folder of that name that was written so before is replaced. One photograph is in memory at a
    time.

    Raises
    ------
    ExportError
        The folder holds something else.
    """
    path = Path(path)
    _require_replaceable(path)
    images: list[dict[str, Any]] = []
    taken: set[str] = set()
    with atomic_folder(path) as folder:

        def written() -> Iterator[dict[str, Any]]:
            for data, picture, link in parts:
                image = data["images"][0]
                image["file_name"] = _free(image["file_name"], taken)
                picture.write(folder / _DATA / image["file_name"], link=link)
                yield data

        with (folder / _LABELS).open("wb") as file:
            write_data_set(file, [CATEGORY], numbered_annotations(written(), images), images)
    return path


def file_name(name: str, suffix: str) -> str:
    """The name of a photograph's file: its own, with the suffix if it has another.

    Examples
    --------
    >>> file_name("cats/tom", ".png"), file_name("cats/tom.JPG", ".JPG")
    ('cats/tom.png', 'cats/tom.JPG')
    """
    return name if name.lower().endswith(suffix.lower()) else name + suffix


def _free(name: str, taken: set[str]) -> str:
    """A name that no photograph before has, also where capitals are not told apart."""
    path, number = Path(name), 1
    found = name
    while found.casefold() in taken:
        number += 1
        found = path.with_name(f"{path.stem}~{number}{path.suffix}").as_posix()
    taken.add(found.casefold())
    return found


def _require_replaceable(path: Path) -> None:
    if not path.is_dir():
        return
    names = {one.name for one in path.iterdir()}
    if names and (_LABELS not in names or names - {_LABELS, _DATA}):
        other = next(iter(sorted(names - {_LABELS, _DATA})), None)
        said = f"holds {other}, which is not of this format" if other else f"has no {_LABELS}"
        raise ExportError(f"{path}: would be replaced, but {said}; choose another name")
