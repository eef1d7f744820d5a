"""Values that stand for no data, as programs write them, in the file and in files beside it."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from conftest import EXAMPLE, refused
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images import load_image
from regiontree.images.maskfiles import read_mask

GREY = np.asarray(Image.open(EXAMPLE).convert("L").resize((90, 70))).clip(1, 254)
HEIGHTS = GREY.astype(np.float32) * 4 - 200
THERE = np.indices(GREY.shape)[1] > 20
LARGEST = float(np.finfo(np.float32).max)


def with_gap(array: np.ndarray, value: float) -> np.ndarray:
    return np.where(THERE, array, np.asarray(value).astype(array.dtype)).astype(array.dtype)


def geotiff(path: Path, array: np.ndarray, nodata: str) -> Path:
    tifffile.imwrite(path, array, extratags=[(42113, 2, 0, nodata, True)])
    return path


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("-9999", -9999),
        (" -9999 \n", -9999),
        ("-9.999e+03", -9999),
        ("nan", np.nan),
        ("-3.4028234663852886e+38", -LARGEST),
        ("-3.40282e+38", -LARGEST),
        ("3.40282E+38", LARGEST),
        ("-1.7976931348623157e+308", -LARGEST),  # of float64, declared for float32
        ("-inf", -np.inf),
        ("1.17549e-38", float(np.finfo(np.float32).tiny)),
        ("1e20", 1e20),
    ],
)
def test_values_as_programs_write_them(tmp_path, text, stored):
    image = load_image(geotiff(tmp_path / "f.tif", with_gap(HEIGHTS, stored), text))
    assert image.valid is not None
    assert np.array_equal(image.valid, THERE)
    assert np.unique(image.rgb[THERE]).size > 100


def beside(path: Path, *values: str) -> Path:
    bands = "".join(
        f'<PAMRasterBand band="{i}"><Description>d</Description>'
        f'<NoDataValue le_hex_equiv="0">{value}</NoDataValue></PAMRasterBand>'
        for i, value in enumerate(values, start=1)
    )
    path.with_name(f"{path.name}.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
    return path


@pytest.mark.parametrize("name", ["f.tif", "f.png", "f.bmp", "f.jp2"])
def test_a_value_beside_the_file_counts(tmp_path, name):
    path = tmp_path / name
    options = {"irreversible": False} if name == "f.jp2" else {}
    Image.fromarray(with_gap(GREY, 0)).save(path, **options)
    assert load_image(path).valid is None
    image = load_image(beside(path, "0"))
    assert np.array_equal(image.valid, THERE)
    assert image.facts["nodata"] == 0
    assert load_image(path.read_bytes()).valid is None  # nothing lies beside bytes


def test_a_value_beside_the_file_overrules_its_own_and_bands_differ(tmp_path):
    planes = np.stack([with_gap(HEIGHTS + 500, v) for v in (-1, -2, -3, -4)])
    path = tmp_path / "f.tif"
    tifffile.imwrite(
        path, planes, planarconfig="separate", photometric="minisblack",
        extratags=[(42113, 2, 0, "-9999", True)],
    )  # fmt: skip
    beside(path, "-1", "-2", "-3", "-4")
    image = load_image(path, bands=(4, 2, 1))
    assert np.array_equal(image.valid, THERE)
    assert image.facts["nodata"] == [-4, -2, -1]


def test_a_mask_beside_a_file_of_any_format(tmp_path):
    path = tmp_path / "f.jpg"
    Image.fromarray(GREY).save(path)
    tifffile.imwrite(f"{path}.msk", THERE.astype(np.uint8) * 255)
    image = load_image(path, cover=20)
    assert np.array_equal(image.valid, THERE)


@pytest.mark.parametrize("name", ["f.png", "f.tif"])
def test_a_mask_of_another_size_beside_a_file_is_refused(tmp_path, name):
    path = tmp_path / name
    Image.fromarray(GREY).save(path)
    tifffile.imwrite(f"{path}.msk", THERE[1:].astype(np.uint8) * 255)
    with refused(ImageError, f"{name}.msk", "90 x 69", "90 x 70"):
        load_image(path)


def test_hostile_files_beside_an_image_are_no_matter(tmp_path):
    path = tmp_path / "f.png"
    Image.fromarray(GREY).save(path)
    for content in (b"", b"\xff\xfe<PAM", b'<PAMRasterBand band="1">' * 100_000):
        path.with_name("f.png.aux.xml").write_bytes(content)
        assert load_image(path).valid is None


# -- masks of users -------------------------------------------------------------------------------


def test_masks_are_read_as_photographs_are(tmp_path):
    kinds = {
        "a.tif": {"compression": "lerc"},
        "b.tif": {"tile": (16, 16), "compression": "zlib"},
        "c.tif": {"bigtiff": True},
    }
    for name, options in kinds.items():
        for dtype in (np.uint8, np.uint16, np.float32):
            tifffile.imwrite(tmp_path / name, THERE.astype(dtype), **options)
            assert np.array_equal(read_mask(tmp_path / name, 10**6), THERE), (name, dtype)
    deep = imagecodecs.png_encode(np.dstack([THERE] * 3).astype(np.uint16))  # 1 of 65,535
    (tmp_path / "d.png").write_bytes(deep)
    assert np.array_equal(read_mask(tmp_path / "d.png", 10**6), THERE)


def test_a_mask_that_shows_0_as_white_is_refused(tmp_path):
    path = tmp_path / "mask.tif"
    tifffile.imwrite(path, THERE, photometric="miniswhite")
    with refused(ImageError, "mask.tif", "0 as white", "PNG"):
        load_image(GREY, valid=path)


def test_nothing_lies_beside_bytes_or_an_open_file(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(np.full((6, 8, 3), 90, np.uint8)).save(path)
    Image.fromarray(np.eye(6, 8, dtype=np.uint8) * 255).save(
        tmp_path / "photo.png.msk", format="TIFF"
    )
    assert load_image(path).valid.sum() == 6
    assert load_image(path.read_bytes()).valid is None
    with path.open("rb") as file:
        assert load_image(file).valid is None
