"""Mask files as ids: what each format of ground truth stores, read exactly or not at all.

=================== ==============================================================================
``index``           grey or palette image of 1 to 32 bits: the stored values are the ids
``red``             the red channel of an RGB image (KITTI-STEP's panoptic maps)
``panoptic``        RGB image of segment numbers R + 256 G + 65536 B (COCO); a JSON gives each
                    segment's category, which is the id; 0 is void
``colours``         RGB image with one colour for each id (ISPRS Potsdam and Vaihingen)
``bsds``            BSDS500's ``.mat``, or images ``ID_a0``, ``ID_a1``, ...: one mask for each
                    annotator, whose values only tell regions apart
``pascal_part_mat`` Pascal-Part's ``.mat``: objects and their parts, by name
=================== ==============================================================================

A JPEG is never a mask: its compression makes up values.
"""

from __future__ import annotations

import json
import struct
import zlib
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
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from regiontree.datasets.labels import Kind, Label, LabelTree
from regiontree.errors import DataError

__all__ = ["Ids", "read_bsds", "read_categories", "read_colours", "read_index", "read_panoptic",
           "read_pascal_part", "read_red", "read_segments"]  # fmt: skip

Ids = NDArray[np.int32]
"""A mask: (H, W) int32, an id for each pixel."""

# What Pillow's and SciPy's readers raise on damaged files.
_DAMAGE = (OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, ArithmeticError,
           AttributeError, NotImplementedError, MatReadError, struct.error, zlib.error,
           Image.DecompressionBombError)  # fmt: skip
_INDEX_MODES = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L", "I;16N")


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside becomes a DataError that names the file."""
    try:
        yield
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the data set's folders") from None
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image, so no mask; replace the file") from None
    except _DAMAGE as error:
        what = str(error) or type(error).__name__
        raise DataError(f"{path}: damaged or cut short ({what}); fetch the file again") from None


@contextmanager
def _image(path: Path) -> Iterator[Image.Image]:
    with _reading(path), Image.open(path) as image:
        if image.format == "JPEG":
            raise DataError(
                f"{path}: a JPEG cannot be a mask, its compression changes ids; save it as PNG"
            )
        yield image


def read_index(path: Path, divide: int | None = None) -> Ids:
    """The stored values, whatever the palette; of class * divide + instance only the class.

    Raises
    ------
    DataError
        Missing, damaged, a JPEG, or with colour channels.
    """
    with _image(path) as image:
        if image.mode not in _INDEX_MODES:
            raise DataError(
                f"{path}: ids are stored as a grey or palette image, this one is {image.mode}; "
                "name the mask format (colours, panoptic, red) or convert it"
            )
        # Pillow stretches grey PNGs of 2 and 4 bits to 0..255; undo it.
        packed = image.tile[0].args if isinstance(image, PngImageFile) else None
        ids = np.asarray(image).astype(np.int32) // {"L;2": 85, "L;4": 17}.get(str(packed), 1)
    return ids if divide is None else np.where(ids >= divide, ids // divide, ids)


def _rgb(path: Path) -> Ids:
    """(H, W, 3) int32; alpha is left out, a palette is applied."""
    with _image(path) as image:
        if image.mode not in ("RGB", "RGBA", "P"):
            raise DataError(
                f"{path}: an RGB image is expected, this one is {image.mode}; "
                "masks that store plain ids have the format index"
            )
        return np.asarray(image.convert("RGB")).astype(np.int32)


def read_red(path: Path) -> Ids:
    """The red channel of an RGB image."""
    return _rgb(path)[..., 0]


def read_colours(path: Path, colours: Mapping[tuple[int, int, int], int]) -> Ids:
    """Id of each pixel's colour.

    Raises
    ------
    DataError
        As :func:`read_index`, or naming a colour that is not in `colours`.
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
    """Category of each pixel's segment, 0 where there is none; see :func:`read_segments`.

    Raises
    ------
    DataError
        As :func:`read_index`, or the JSON does not know the mask or one of its segments.
    """
    if path.stem not in segments:
        raise DataError(f"{path}: the segments' JSON has no annotation of this mask")
    rgb = _rgb(path)
    number = rgb[..., 0] + (rgb[..., 1] << 8) + (rgb[..., 2] << 16)
    ids, known = _recoded(number, {0: 0, **segments[path.stem]})
    if not known.all():
        raise DataError(
            f"{path}: segment {number[~known][0]} is not in the segments' JSON; "
            "masks and JSON must come from the same download"
        )
    return ids


@lru_cache(maxsize=4)
def read_segments(path: Path) -> Mapping[str, Mapping[int, int]]:
    """Category of each segment of each mask, from a panoptic JSON: stem -> segment -> category."""
    with _reading(path):
        annotations = json.loads(path.read_bytes())["annotations"]
        return {
            Path(one["file_name"]).stem: {
                int(segment["id"]): int(segment["category_id"]) for segment in one["segments_info"]
            }
            for one in annotations
        }


def read_categories(path: Path) -> LabelTree:
    """Label tree of a panoptic JSON: thing or stuff, supercategory, category; 0 is ignored.

    Raises
    ------
    DataError
        Missing, damaged or without categories.
    """
    with _reading(path):
        labels = [Label(("void",), 0, Kind.IGNORE)]
        for one in json.loads(path.read_bytes())["categories"]:
            whole = "thing" if one["isthing"] else "stuff"
            names = (whole, one["supercategory"], one["name"])
            labels.append(Label(tuple(name for name, _ in groupby(names)), one["id"]))
        return LabelTree(path.stem, tuple(labels))


def _recoded(values: Ids, code: Mapping[int, int]) -> tuple[Ids, NDArray[np.bool_]]:
    """`values` through `code`, and where `code` knows them."""
    keys = np.array(sorted(code), dtype=np.int32)
    meant = np.array([code[key] for key in keys.tolist()], dtype=np.int32)
    at = np.searchsorted(keys, values).clip(max=len(keys) - 1)
    return meant[at], keys[at] == values


def read_bsds(path: Path) -> list[Ids]:
    """Segmentation of each annotator in a BSDS500 file, ``groundTruth{k}.Segmentation``.

    Raises
    ------
    DataError
        Missing, damaged or not such a file.
    """
    with _reading(path):
        cells = loadmat(path).get("groundTruth")
        if cells is None:
            raise DataError(f"{path}: has no 'groundTruth'; a BSDS500 file is expected")
        found = [cell["Segmentation"][0, 0].astype(np.int32) for cell in cells.reshape(-1)]
    if not found or any(one.ndim != 2 or one.shape != found[0].shape for one in found):
        shapes = ", ".join(str(one.shape) for one in found) or "none"
        raise DataError(f"{path}: annotators' masks must have one size, found {shapes}")
    return found


def read_pascal_part(path: Path, labels: LabelTree) -> Ids:
    """Ids of a Pascal-Part file, ``anno.objects(k).parts(j)``: by the names in the label tree.

    Objects are painted first, then parts in their order, later ones over earlier ones. An object
    whose class has no parts in the tree has the id of its class. Pixels of other objects that are
    in no part get the tree's ignored id: they are not background, and no leaf of the tree is
    "the rest of a horse". The published label tree keeps such an id (389) for them.

    Raises
    ------
    DataError
        Missing, damaged, not such a file, or with a class or part that the label tree lacks.
    """
    id_of = {(label.path[0], label.path[-1]): label.id for label in labels.labels}
    classes = {label.path[0] for label in labels.labels}
    rest = next((label.id for label in labels.labels if label.kind == Kind.IGNORE), None)
    ground = next((label.id for label in labels.labels if label.kind == Kind.BACKGROUND), None)
    if rest is None or ground is None:
        raise DataError(f"{path}: Pascal-Part needs a label tree with background and ignored ids")
    with _reading(path):
        anno = loadmat(path, squeeze_me=True, struct_as_record=False).get("anno")
        if anno is None:
            raise DataError(f"{path}: has no 'anno'; a Pascal-Part file is expected")
        objects: list[Any] = list(np.atleast_1d(anno.objects))
        if not objects:
            raise DataError(f"{path}: holds no object")
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
