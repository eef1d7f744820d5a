"""Read mask files as arrays of ids.

There are six formats of ground truth:

=================== ==============================================================================
``index``           grey or palette image of 1 to 32 bits; the stored values are the ids
``red``             RGB image whose red channel holds the ids (panoptic maps of KITTI-STEP)
``panoptic``        RGB image of segment numbers R + 256 G + 65536 B (COCO). A JSON file gives the
                    category of each segment, which is the id. 0 is void
``colours``         RGB image with one colour for each id (ISPRS Potsdam and Vaihingen)
``bsds``            ``.mat`` file of BSDS500, or images ``ID_a0``, ``ID_a1``, and so on. There is
                    one mask for each annotator. Its values tell regions apart and have no names
``pascal_part_mat`` ``.mat`` file of Pascal-Part, with the names of objects and parts
=================== ==============================================================================

A JPEG is refused as a mask, because its compression changes values.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile
from scipy.io.matlab import MatReadError

from regiontree.datasets.labels import Kind, Label, LabelTree
from regiontree.datasets.matfile import load_mat
from regiontree.errors import DataError
from regiontree.images.pillow import DAMAGE
from regiontree.system.damage import plain_reason
from regiontree.system.paths import path_problem
from regiontree.system.reading import shown

__all__ = ["Ids", "read_bsds", "read_categories", "read_colours", "read_crowds", "read_index",
           "read_numbers", "read_panoptic", "read_pascal_part", "read_red",
           "read_segments"]  # fmt: skip

Ids = NDArray[np.int32]
"""A mask: (H, W) int32, an id for each pixel."""

_DAMAGE = (*DAMAGE, MatReadError)
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn errors from reading `path` into a DataError that names the file."""
    if problem := path_problem(path, "file"):
        raise DataError(f"{path}: {problem}; check the data set's folders")
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the data set's folders") from None
    except (Image.DecompressionBombError, MemoryError) as error:
        raise DataError(f"{path}: is too large to read ({plain_reason(error)})") from None
    except RecursionError:
        raise DataError(f"{path}: is nested too deeply; no mask needs that") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image, so not a mask; replace the file") from None
    except _DAMAGE as error:
        raise DataError(
            f"{path}: is damaged or cut short ({plain_reason(error)}); download the file again"
        ) from None


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    """The opened image of a mask. A JPEG or a damaged file is a DataError."""
    with _reading(path), Image.open(path) as image:
        if image.format == "JPEG":
            raise DataError(
                f"{path}: a JPEG cannot be a mask, since its compression changes ids; make the "
                "mask again as PNG"
            )
        yield image


def read_index(path: Path, divide: int | None = None) -> Ids:
    """The stored values of a grey or palette image, (H, W) int32.

    Parameters
    ----------
    path : Path
        The mask file.
    divide : int, optional
        Values of at least `divide` are class * divide + instance, and only the class is returned.

    Raises
    ------
    DataError
        The file is missing, damaged or a JPEG, or it has colour channels.
    """
    with _image(path) as image:
        if image.mode not in _INDEX_MODES:
            raise DataError(
                f"{path}: format index needs a grey or palette image, but this image is "
                f"{image.mode}; set the right format (colours, panoptic or red) or convert the file"
            )
        # Pillow scales the values of grey PNGs with 2 or 4 bits to 0..255. This is undone here.
        packed = image.tile[0].args if isinstance(image, PngImageFile) else None
        ids = np.asarray(image).astype(np.int32) // {"L;2": 85, "L;4": 17}.get(str(packed), 1)
    return ids if divide is None else np.where(ids >= divide, ids // divide, ids)


def _rgb(path: Path) -> Ids:
    """The colours of an RGB image, (H, W, 3) int32. Alpha is dropped, and a palette is applied."""
    with _image(path) as image:
        if image.mode not in ("RGB", "RGBA", "P"):
            raise DataError(
                f"{path}: must be an RGB image, but this image is {image.mode}; if it stores plain "
                "ids, set the format index"
            )
        return np.asarray(image.convert("RGB")).astype(np.int32)


def read_red(path: Path) -> Ids:
    """The red channel of an RGB image, (H, W) int32.

    Raises
    ------
    DataError
        The file is missing, damaged, a JPEG or not an RGB image.
    """
    return _rgb(path)[..., 0]


def read_colours(path: Path, colours: Mapping[tuple[int, int, int], int]) -> Ids:
    """The id of each pixel's colour, (H, W) int32.

    Parameters
    ----------
    path : Path
        The mask file.
    colours : mapping
        The id of each colour (red, green, blue), each channel in 0 to 255.

    Raises
    ------
    DataError
        The file is missing, damaged, a JPEG or not an RGB image, or it has a colour that is not in
        `colours`. The message names the colour.
    """
    rgb = _rgb(path)
    code = {r << 16 | g << 8 | b: i for (r, g, b), i in colours.items()}
    ids, known = _recoded(rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2], code)
    if not known.all():
        y, x = np.argwhere(~known)[0]
        raise DataError(
            f"{path}: colour {bytes(rgb[y, x].astype(np.uint8)).hex()} at row {y}, column {x} "
            f"({int((~known).sum())} pixels in all) is not in 'colours'; add it there"
        )
    return ids


def read_panoptic(path: Path, segments: Mapping[str, Mapping[int, int]]) -> Ids:
    """The category of each pixel's segment, (H, W) int32, and 0 where there is no segment.

    Parameters
    ----------
    path : Path
        The mask file.
    segments : mapping
        The result of :func:`read_segments`.

    Raises
    ------
    DataError
        The file is missing, damaged, a JPEG or not an RGB image, or `segments` lacks the mask or
        one of its segments.
    """
    if path.stem not in segments:
        raise DataError(
            f"{path}: the JSON of segments has no annotation for this mask; use the mask and the "
            "JSON from the same download"
        )
    number = _coded(path)
    ids, known = _recoded(number, {0: 0, **segments[path.stem]})
    if not known.all():
        raise DataError(
            f"{path}: segment {number[~known][0]} is not in the JSON of segments; use the mask and "
            "the JSON from the same download"
        )
    return ids


def _coded(path: Path) -> Ids:
    """R + 256 G + 65536 B of each pixel of an RGB image, (H, W) int32."""
    rgb = _rgb(path)
    coded: Ids = rgb[..., 0] + (rgb[..., 1] << 8) + (rgb[..., 2] << 16)
    return coded


def read_numbers(path: Path) -> Ids:
    """The number of each pixel, (H, W) int32.

    It is the stored value of a grey or palette image, or R + 256 G + 65536 B of an RGB image.

    Raises
    ------
    DataError
        The file is missing, damaged or a JPEG.
    """
    with _image(path) as image:
        coded = image.mode in ("RGB", "RGBA")
    return _coded(path) if coded else read_index(path)


@lru_cache(maxsize=4)
def read_segments(path: Path) -> Mapping[str, Mapping[int, int]]:
    """The category of each segment of each mask in a panoptic JSON file.

    The keys are the stem of the mask's file name and then the number of the segment.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    with _reading(path):
        annotations = json.loads(path.read_bytes())["annotations"]
        return {
            Path(one["file_name"]).stem: {
                _whole(segment["id"], 0, 1 << 24): _whole(
                    segment["category_id"], -(1 << 31), 1 << 31
                )
                for segment in one["segments_info"]
            }
            for one in annotations
        }


@lru_cache(maxsize=4)
def read_crowds(path: Path) -> Mapping[str, frozenset[int]]:
    """The numbers of the crowds of each mask in a panoptic JSON file.

    The keys are the stem of the mask's file name.

    Raises
    ------
    DataError
        The file is missing or damaged.
    """
    with _reading(path):
        annotations = json.loads(path.read_bytes())["annotations"]
        return {
            Path(one["file_name"]).stem: frozenset(
                _whole(segment["id"], 0, 1 << 24)
                for segment in one["segments_info"]
                if segment.get("iscrowd", 0)
            )
            for one in annotations
        }


def _whole(value: Any, low: int, below: int) -> int:
    """A whole number of a file, at least `low` and less than `below`."""
    number = int(value)
    if not low <= number < below:
        raise ValueError(f"a number must be from {low} to {below - 1}, found {shown(value)}")
    return number


def read_categories(path: Path) -> LabelTree:
    """The label tree of a panoptic JSON file: thing or stuff, supercategory, category.

    Id 0 is ignored.

    Raises
    ------
    DataError
        The file is missing or damaged, or has no categories.
    """
    with _reading(path):
        labels = [Label(("void",), 0, Kind.IGNORE)]
        for one in json.loads(path.read_bytes())["categories"]:
            whole = "thing" if one["isthing"] else "stuff"
            names = (whole, one["supercategory"], one["name"])
            try:
                labels.append(Label(tuple(name for name, _ in groupby(names)), one["id"]))
            except DataError as error:
                raise DataError(f"{path}: {error}") from error
        return LabelTree(path.stem, tuple(labels))


def _recoded(values: Ids, code: Mapping[int, int]) -> tuple[Ids, NDArray[np.bool_]]:
    """The ids that `code` gives for `values`, and whether `code` has each value."""
    keys = np.array(sorted(code), dtype=np.int32)
    ids = np.array([code[key] for key in keys.tolist()], dtype=np.int32)
    at = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    return ids[at], keys[at] == values


def read_bsds(path: Path) -> list[Ids]:
    """The segmentation of each annotator in a BSDS500 file, (H, W) int32 each.

    The file holds them as ``groundTruth{k}.Segmentation``.

    Raises
    ------
    DataError
        The file is missing, damaged or not a BSDS500 file, or its masks differ in size.
    """
    with _reading(path):
        cells = load_mat(path).get("groundTruth")
        if cells is None:
            raise DataError(f"{path}: has no 'groundTruth'; use a .mat file of BSDS500")
        found = [cell["Segmentation"][0, 0].astype(np.int32) for cell in cells.reshape(-1)]
    if not found or any(one.ndim != 2 or one.shape != found[0].shape for one in found):
        shapes = ", ".join(str(one.shape) for one in found) or "none"
        raise DataError(
            f"{path}: the masks of all annotators must have the same size, found {shapes}; "
            "download the file again"
        )
    return found


def read_pascal_part(path: Path, labels: LabelTree) -> Ids:
    """The ids of a Pascal-Part file, (H, W) int32.

    The file names the class of each object ``anno.objects(k)`` and of each of its parts
    ``anno.objects(k).parts(j)``. The label tree gives the ids of these names.

    First all objects are painted, and then all parts, in their order. A later one covers an earlier
    one. If a class has no parts in the label tree, its objects get the id of the class. Otherwise,
    pixels of an object that are in no part get the ignored id of the label tree. They are not
    background, and the label tree has no label for the rest of an object. The published label tree
    has the id 389 for these pixels.

    Parameters
    ----------
    path : Path
        The ``.mat`` file.
    labels : LabelTree
        A label tree with at least one background id and one ignored id.

    Raises
    ------
    DataError
        The file is missing, damaged or not a Pascal-Part file, or the label tree lacks a class, a
        part, or a background or ignored id.
    """
    id_of = {(label.path[0], label.path[-1]): label.id for label in labels.labels}
    classes = {label.path[0] for label in labels.labels}
    rest = next((label.id for label in labels.labels if label.kind == Kind.IGNORE), None)
    ground = next((label.id for label in labels.labels if label.kind == Kind.BACKGROUND), None)
    if rest is None or ground is None:
        raise DataError(
            f"{path}: Pascal-Part needs a label tree with a background id and an ignored id; add "
            f"them to {labels.name!r}"
        )
    with _reading(path):
        anno = load_mat(path, squeeze_me=True, struct_as_record=False).get("anno")
        if anno is None:
            raise DataError(f"{path}: has no 'anno'; use a .mat file of Pascal-Part")
        objects: list[Any] = list(np.atleast_1d(anno.objects))
        if not objects:
            raise DataError(f"{path}: has no object; download the file again")
        ids = np.full(np.shape(objects[0].mask), ground, dtype=np.int32)
        for thing in objects:
            kind = str(vars(thing)["class"])
            if kind not in classes:
                raise DataError(f"{path}: class {kind!r} is not in the label tree; add it there")
            ids[thing.mask.astype(bool)] = id_of.get((kind, kind), rest)
        for thing in objects:
            for part in np.atleast_1d(thing.parts):
                name = str(vars(thing)["class"]), str(part.part_name)
                if name not in id_of:
                    raise DataError(
                        f"{path}: part {' of '.join(reversed(name))!r} is not in the label tree; "
                        "add it there"
                    )
                ids[part.mask.astype(bool)] = id_of[name]
    return ids
