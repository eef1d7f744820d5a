"""Ground-truth masks: pictures, ``.mat`` files, and the JSON of panoptic data sets."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from scipy.io import savemat

from fuzz.containers import (
    bundle,
    bundle_mutator,
    change_npy,
    change_png,
    change_tiff,
    npy,
    unbundle,
)
from fuzz.mutate import json_mutator
from fuzz.target import Box, Target
from regiontree.datasets import masks
from regiontree.datasets.label import Kind, Label
from regiontree.datasets.labels import LabelTree
from regiontree.errors import RegionTreeError
from regiontree.images.maskfiles import digest_of_mask, mask_for

__all__ = ["TARGETS"]

_IDS = np.array([[0, 1, 2], [255, 1, 0]])
_TREE = LabelTree(
    "parts",
    (Label(("none",), 0, Kind.BACKGROUND), Label(("rest",), 389, Kind.IGNORE),
     Label(("dog", "head"), 1), Label(("dog",), 2), Label(("cat",), 3)),
)  # fmt: skip


def _saved(array: np.ndarray, form: str, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **how)
    return file.getvalue()


def _palette() -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(_IDS.astype(np.uint8)).convert("P")
    image.save(file, "PNG", bits=4)
    return file.getvalue()


def _pictures() -> list[bytes]:
    rgb = np.stack([_IDS] * 3, -1).astype(np.uint8)
    return [
        _saved(_IDS.astype(np.uint8), "PNG"), _saved(_IDS.astype(np.uint16), "PNG"), _palette(),
        _saved(rgb, "PNG"), _saved(_IDS.astype(np.int32), "TIFF"), _saved(rgb, "TIFF"),
        _saved(_IDS.astype(bool), "PNG"), _saved(rgb, "BMP"), _saved(_IDS.astype(np.uint8), "GIF"),
        _saved(_IDS.astype(np.float32), "TIFF"), _saved(rgb, "WEBP", lossless=True),
    ]  # fmt: skip


@contextmanager
def _small() -> Iterator[None]:
    """Pillow's limit, which guards masks, at a size at which a case takes little memory."""
    usual, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, 500_000
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = usual


def _picture(box: Box, data: bytes) -> None:
    path = box.write("case.png", data)
    colours = {(0, 0, 0): 0, (1, 1, 1): 1, (2, 2, 2): 2, (255, 255, 255): 255}
    readers = (masks.read_index, masks.read_red, lambda p: masks.read_colours(p, colours),
               lambda p: masks.read_index(p, 1000))  # fmt: skip
    refused: RegionTreeError | None = None
    found = None
    for read in readers:
        try:
            with _small():
                found = read(path)
            _sound(found)
        except RegionTreeError as error:
            refused = error
    if found is None and refused is not None:
        raise refused


def _sound(ids: Any) -> None:
    assert ids.ndim == 2
    assert ids.dtype == np.int32
    assert ids.size


def _any_picture() -> st.SearchStrategy[bytes]:
    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        kind = draw(st.sampled_from(["u1", "u2", "i4", "f4", "?"]))
        channels = draw(st.sampled_from([0, 0, 3, 4, 2])) if kind == "u1" else 0
        shape = (
            draw(st.integers(1, 4)),
            draw(st.integers(1, 4)),
            *([channels] if channels else []),
        )
        count = int(np.prod(shape)) * np.dtype(kind).itemsize
        raw = draw(st.binary(min_size=count, max_size=count))
        array = np.frombuffer(raw, "u1" if kind == "?" else kind).reshape(shape)
        array = array > 7 if kind == "?" else array
        return _saved(array, "TIFF" if kind in ("f4", "i4") else "PNG")

    return build()


# -- .mat -----------------------------------------------------------------------------------------


def _mat(content: dict[str, Any], *, compressed: bool = False) -> bytes:
    file = io.BytesIO()
    savemat(file, content, do_compression=compressed)
    return file.getvalue()


def _bsds_seeds() -> list[bytes]:
    truth = np.empty((1, 2), object)
    for k in range(2):
        truth[0, k] = {"Segmentation": _IDS.astype(np.uint16), "Boundaries": _IDS > 0}
    return [_mat({"groundTruth": truth}), _mat({"groundTruth": truth}, compressed=True),
            _mat({"groundTruth": np.eye(3)})]  # fmt: skip


def _bsds(box: Box, data: bytes) -> None:
    found = masks.read_bsds(box.write("case.mat", data))
    assert found
    for ids in found:
        _sound(ids)


def _parts_seeds() -> list[bytes]:
    mask = (_IDS > 0).astype(np.uint8)
    part = {"part_name": "head", "mask": mask}
    dog = {"class": "dog", "class_ind": 1, "mask": mask, "parts": part}
    cat = {"class": "cat", "class_ind": 2, "mask": 1 - mask, "parts": np.array([])}
    one = {"anno": {"imname": "2008_1", "objects": dog}}
    two = np.empty(2, object)
    two[:] = [dog, cat]
    return [_mat(one), _mat({"anno": {"imname": "x", "objects": two}})]


def _parts(box: Box, data: bytes) -> None:
    _sound(masks.read_pascal_part(box.write("case.mat", data), _TREE))


# -- panoptic -------------------------------------------------------------------------------------


def _panoptic_seeds() -> list[bytes]:
    listed = [{"file_name": "case.png", "segments_info": [
        {"id": 65793, "category_id": 1}, {"id": 131586, "category_id": 2},
        {"id": 16777215, "category_id": 3}]}]  # fmt: skip
    categories = [{"id": 1, "name": "dog", "supercategory": "animal", "isthing": 1},
                  {"id": 2, "name": "sky", "supercategory": "sky", "isthing": 0}]  # fmt: skip
    text = json.dumps({"annotations": listed, "categories": categories}).encode()
    return [bundle(text, _saved(np.stack([_IDS] * 3, -1).astype(np.uint8), "PNG"))]


def _panoptic(box: Box, data: bytes) -> None:
    text, picture = unbundle(data, 2)
    listed, path = box.write("case.json", text), box.write("case.png", picture)
    masks.read_segments.cache_clear()
    try:
        tree = masks.read_categories(listed)
        assert tree.classes().names
    finally:
        with _small():
            _sound(masks.read_panoptic(path, masks.read_segments(listed)))


def _given(box: Box, data: bytes) -> None:
    """A user's mask of a photograph of 2 x 3 pixels."""
    path = box.write("case.npy" if data[:1] == b"\x93" else "case.png", data)
    found = mask_for(path, _IDS.shape, "photo.png", 40_000)
    assert found is None or (found.shape == _IDS.shape and found.dtype == np.bool_)
    digest_of_mask(path, 40_000)


def _given_seeds() -> list[bytes]:
    grey = _IDS.astype(np.uint8)
    clear = np.stack([grey] * 4, -1)
    return [
        _saved(grey, "PNG"), _saved(_IDS.astype(bool), "PNG"), _palette(), _saved(clear, "PNG"),
        _saved(grey, "GIF"), _saved(_IDS.astype(np.float32), "TIFF"), _saved(grey, "BMP"),
        _saved(clear, "WEBP", lossless=True), npy(_IDS.astype(bool)), npy(_IDS),
        npy(_IDS.astype(np.float64)), npy(grey[..., None]), _saved(grey, "PPM"),
        _saved(clear[..., :3], "JPEG"),
    ]  # fmt: skip


TARGETS = (
    Target(
        "masks.given",
        _given,
        _given_seeds,
        (change_png, change_tiff, change_npy),
        _any_picture,
        loud=True,
    ),
    Target(
        "masks.picture",
        _picture,
        _pictures,
        (change_png, change_tiff),
        _any_picture,
        loud=True,
        share=2,
    ),
    Target("masks.bsds", _bsds, _bsds_seeds),
    Target("masks.parts", _parts, _parts_seeds),
    Target(
        "masks.panoptic", _panoptic, _panoptic_seeds, (bundle_mutator(json_mutator, change_png),)
    ),
)
