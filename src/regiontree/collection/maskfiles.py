"""A collection as masks: PNGs of class numbers, alone or beside the photographs for a trainer.

A mask has one channel of 8 bits, or of 16 bits if there are more than 255 classes. 0 is no name,
and k is the k-th line of ``classes.txt``. ``classes.json`` says more: supercategories, and whether
people gave the name.

``labels-png`` writes the masks below the folder, by the ids of the photographs. ``training`` writes

    images/SPLIT/photo.jpg
    masks/SPLIT/photo.png

A photograph that is in no split lies in ``images`` itself. See
:mod:`regiontree.collection.outputs` for what is a split.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from regiontree.collection.exporting import Job
from regiontree.collection.outputs import file_stems, folder_splits, read_splits, split_stems
from regiontree.collection.photograph import ClassedPhotograph
from regiontree.collection.pictures import picture_of
from regiontree.errors import ExportError
from regiontree.forest.pictures import Picture
from regiontree.system.files import atomic_folder

__all__ = ["require_replaceable", "write_classes", "write_labels", "write_training"]

_FORMAT = "regiontree-classes"
_TEXT, _JSON = "classes.txt", "classes.json"
_IMAGES, _MASKS = "images", "masks"

Mask = NDArray[np.unsignedinteger[Any]]


def write_labels(job: Job, path: Path) -> None:
    """Write a mask for each photograph.

    Raises
    ------
    ExportError
        No photograph can be written, there are more than 65,535 classes, or the folder holds
        something else.
    """
    require_replaceable(path, None)
    stems = file_stems(list(job.collection.ids))
    kind = _kind(job)

    def work(photo: ClassedPhotograph) -> tuple[str, Mask]:
        return photo.id, _mask(photo, kind)

    with atomic_folder(path) as folder:
        for key, mask in job.each(work):
            _save(mask, folder / f"{stems[key]}.png")
        write_classes(job, folder)


def write_training(job: Job, path: Path) -> None:
    """Write photographs and masks, by split.

    Raises
    ------
    ExportError
        As :func:`write_labels`.
    CollectionError
        The table of splits is damaged.
    """
    require_replaceable(path, {_IMAGES, _MASKS})
    collection, link, kind = job.collection, job.options["link"], _kind(job)
    address = collection.forest.address
    splits = folder_splits(collection.references)
    if (table := job.options.get("split")) is not None:
        splits |= read_splits(Path(table), collection.id_of)
    stems = split_stems(splits)

    def work(photo: ClassedPhotograph) -> tuple[str, Mask, Picture]:
        return photo.id, _mask(photo, kind), picture_of(photo.row, photo.tree, address, job.images)

    with atomic_folder(path) as folder:
        for key, mask, picture in job.each(work):
            stem = stems[key]
            picture.write(folder / _IMAGES / (stem + picture.suffix), link=link)
            _save(mask, folder / _MASKS / f"{stem}.png")
        write_classes(job, folder)


def write_classes(job: Job, folder: Path) -> None:
    """Write ``classes.txt`` and ``classes.json``. A name with a line break has a space there."""
    lines = [" ".join(name.split("\n")) for name in job.classes.names]
    (folder / _TEXT).write_text("".join(f"{line}\n" for line in lines), "utf-8", newline="\n")
    about = {"format": _FORMAT, "classes": job.classes.records()}
    (folder / _JSON).write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", "utf-8")


def require_replaceable(path: Path, names: set[str] | None) -> None:
    """Check that a folder, if there is one, was written here before.

    Parameters
    ----------
    path
        The folder.
    names
        What it may hold beside the classes. None: any PNG and any folder of PNGs.

    Raises
    ------
    ExportError
        It holds something else, which would be lost.
    """
    if not path.is_dir() or not any(path.iterdir()):
        return
    try:
        known = json.loads((path / _JSON).read_bytes())["format"] == _FORMAT
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        known = False
    if names is None:
        files = [one for one in path.rglob("*") if not one.is_dir() and one.suffix != ".png"]
    else:
        files = [one for one in path.iterdir() if one.name not in names]
    other = [one.name for one in files if one not in (path / _TEXT, path / _JSON)]
    if other or not known:
        what = f"holds {other[0]}, which is not of this format" if other else f"has no {_JSON}"
        raise ExportError(f"{path}: would be replaced, but {what}; choose another name")


def _kind(job: Job) -> type[np.uint8] | type[np.uint16]:
    """The numbers of the masks."""
    count = len(job.classes.names)
    if count > np.iinfo(np.uint16).max:
        raise ExportError(f"masks of 16 bits hold 65,535 classes, not {count:,}; cut coarser")
    return np.uint8 if count <= np.iinfo(np.uint8).max else np.uint16


def _mask(photo: ClassedPhotograph, kind: type[np.uint8] | type[np.uint16]) -> Mask:
    found: Mask = (photo.class_map() + 1).astype(kind)
    return found


def _save(mask: Mask, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask).save(path, format="PNG")
