"""TIFF files of every kind: each is read as the photograph that it was made from."""

from __future__ import annotations

import contextlib
import io
import logging
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import tifffile
from conftest import EXAMPLE, refused
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images import image_size, load_image

PHOTO = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((90, 70)))
GREY = np.asarray(Image.fromarray(PHOTO).convert("L"))
DEEP = PHOTO.astype(np.uint16) * 16
PLANES = np.ascontiguousarray(DEEP.transpose(2, 0, 1))
RGB = {"photometric": "rgb"}


def off(rgb: np.ndarray, truth: np.ndarray = PHOTO) -> int:
    truth = truth if truth.ndim == 3 else truth[:, :, None]
    return int(np.abs(rgb.astype(int) - truth).max())


@pytest.fixture
def tif(tmp_path):
    def write(array: np.ndarray, **options) -> Path:
        path = tmp_path / "f.tif"
        tifffile.imwrite(path, array, **options)
        return path

    return write


def with_tag(text: str) -> dict:
    return {"extratags": [(42113, 2, 0, text, True)]}  # GDAL_NODATA


# -- layouts and depths ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "options"),
    [
        (DEEP, {}),
        (PLANES, {"planarconfig": "separate"}),
        (PLANES, {"planarconfig": "separate", "compression": "zlib", "tile": (16, 32)}),
        (PLANES.astype(">u2"), {"planarconfig": "separate", "byteorder": ">", "rowsperstrip": 7}),
        (DEEP, {"bigtiff": True, "tile": (32, 16)}),
        (PHOTO.astype(np.uint16) * 257, {"compression": "lzw", "predictor": True}),
        ((PHOTO / 255).astype(np.float16), {}),
        ((PHOTO / 255).astype(np.float32), {"compression": "zlib", "predictor": True}),
        (PHOTO / 255, {"tile": (16, 16)}),
        ((PHOTO / 255).transpose(2, 0, 1), {"planarconfig": "separate"}),
        (DEEP.astype(np.int32), {}),
    ],
)
def test_deep_colour_is_the_photograph_however_it_is_stored(tif, array, options):
    image = load_image(tif(array, **RGB, **options))
    assert off(image.rgb) <= 1
    assert image.facts["stretch"]["low"] == 0
    assert (image.size, image.valid) == ((70, 90), None)


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "lzma", "packbits", "webp", "png",
                                         "jpegxl", "jpeg2000", "lerc"])  # fmt: skip
@pytest.mark.parametrize("deep", [False, True])
def test_every_compression(tif, compression, deep):
    if deep and compression in ("webp", "packbits"):
        pytest.skip("holds no 16 bits, or is the same as without")
    path = tif(DEEP if deep else PHOTO, compression=compression, tile=(32, 32), **RGB)
    assert off(load_image(path).rgb) <= deep


@pytest.mark.parametrize("depth", [np.float32, np.float64, np.int16, np.uint32])
def test_deep_grey_is_stretched(tif, depth):
    image = load_image(tif(GREY.astype(depth) * 7, photometric="minisblack"))
    assert off(image.rgb, GREY) <= 2


def test_white_may_be_zero_and_samples_may_have_one_bit(tif):
    for array in (255 - GREY, 65535 - GREY.astype(np.uint16) * 16):
        assert off(load_image(tif(array, photometric="miniswhite")).rgb, GREY) <= 2
    bits = GREY > 100
    assert off(load_image(tif(bits, photometric="minisblack")).rgb, bits * 255) == 0
    assert off(load_image(tif(bits, photometric="miniswhite")).rgb, ~bits * 255) == 0


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "LAB"])
def test_eight_bits_are_what_pillow_makes_of_them(tmp_path, mode):
    path = tmp_path / "f.tif"
    stored = Image.fromarray(PHOTO)
    stored = Image.merge("LAB", stored.split()) if mode == "LAB" else stored.convert(mode)
    for options in ({}, {"compression": "tiff_lzw"}, {"compression": "jpeg"}):
        if options.get("compression") == "jpeg" and mode not in ("L", "RGB"):
            continue
        stored.save(path, **options)
        with Image.open(path) as image:
            expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(load_image(path).rgb, expected)
        assert load_image(path).facts == {}


def test_a_file_that_is_only_named_tif(tmp_path):
    path = tmp_path / "f.tif"
    Image.fromarray(PHOTO).save(path, format="PNG")
    assert np.array_equal(load_image(path).rgb, PHOTO)


# -- what is not there ----------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["-9999", "-9999.0", "-9.999e3", "-9999\0"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_declared_no_data_is_left_out(tif, said, dtype):
    metres = (GREY * 5.0).astype(dtype)
    metres[:, :30] = -9999
    image = load_image(tif(metres, photometric="minisblack", **with_tag(said)))
    assert not image.valid[:, :30].any()
    assert image.valid[:, 30:].all()
    assert off(image.rgb[:, 30:], GREY[:, 30:]) <= 8
    assert image.facts["nodata"] == -9999


def test_no_data_of_few_digits_of_nan_and_of_a_whole_number_type(tif):
    metres = (GREY * 5.0).astype(np.float32)
    metres[:, :30] = np.finfo(np.float32).min
    for said in ("-3.40282e+38", "-3.4028234663852886e+38"):
        image = load_image(tif(metres, photometric="minisblack", **with_tag(said)))
        assert np.array_equal(image.valid, metres >= 0)
    metres[:, :30] = np.nan
    assert (
        not load_image(tif(metres, photometric="minisblack", **with_tag("nan"))).valid[:, 0].any()
    )
    counts = GREY.astype(np.uint16) + 1
    image = load_image(tif(counts, photometric="minisblack", **with_tag("-9999")))
    assert image.valid is None


def test_no_data_that_is_a_colour_means_all_bands(tif):
    scene = np.maximum(PHOTO, 1)
    scene[:, :30] = 0
    scene[40, 50] = (0, 9, 9)  # a dark pixel, not a hole
    image = load_image(tif(scene, **RGB, **with_tag("0")))
    assert np.array_equal(image.valid, (scene > 0).any(axis=2))
    image = load_image(tif(scene.astype(np.uint16) * 16, **RGB, **with_tag("0")))
    assert np.array_equal(image.valid, (scene > 0).any(axis=2))
    # One band is enough for -9999, which is no colour.
    deep = scene.astype(np.float32)
    deep[40, 50, 0] = -9999
    image = load_image(tif(deep, **RGB, **with_tag("-9999")))
    assert np.argwhere(~image.valid).tolist() == [[40, 50]]


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
@pytest.mark.parametrize("deep", [False, True])
def test_opacity_says_where_there_is_data(tif, kind, deep):
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[:, :30] = 0
    stored = np.dstack([PHOTO, alpha])
    if kind == "assocalpha":
        stored[:, :30] = 0
    stored = stored.astype(np.uint16) * 257 if deep else stored
    image = load_image(tif(stored, extrasamples=[kind], **RGB))
    assert np.array_equal(image.valid, alpha > 0)
    assert off(image.rgb[:, 30:], PHOTO[:, 30:]) <= deep


def test_a_fourth_band_is_not_opacity_unless_it_says_so(tif):
    image = load_image(tif(np.dstack([PHOTO, GREY]), extrasamples=["unspecified"], **RGB))
    assert off(image.rgb) == 0
    assert image.valid is None
    assert (image.facts["bands"], image.facts["bands_in_file"]) == ([1, 2, 3], 4)


def test_masks_in_the_file_and_beside_it(tmp_path):
    mask = np.full(GREY.shape, 255, np.uint8)
    mask[:, :30] = 0
    path = tmp_path / "f.tif"
    with tifffile.TiffWriter(path) as tif:
        tif.write(DEEP, **RGB)
        tif.write(mask > 0, photometric=4, subfiletype=4)
    image = load_image(path)
    assert np.array_equal(image.valid, mask > 0)
    assert "pages" not in image.facts
    tifffile.imwrite(path, DEEP, **RGB)
    tifffile.imwrite(f"{path}.msk", mask, photometric="minisblack")
    assert np.array_equal(load_image(path).valid, mask > 0)


def test_a_sparse_tile_holds_the_no_data_value(tif):
    rasterio = pytest.importorskip("rasterio")
    path = tif(np.zeros((4, 4), np.uint8))
    profile = {"driver": "GTiff", "width": 64, "height": 32, "count": 1, "dtype": "float32",
               "nodata": -1, "tiled": True, "blockxsize": 32, "blockysize": 32,
               "SPARSE_OK": True}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(path, "w", **profile) as file:
            values = np.arange(1024, dtype=np.float32).reshape(32, 32)
            file.write(values, 1, window=rasterio.windows.Window(32, 0, 32, 32))
    image = load_image(path)
    assert not image.valid[:, :32].any()
    assert image.valid[:, 32:].all()
    assert image.rgb[:, 32:].max() == 255


# -- bands and pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("planar", [False, True])
def test_bands_are_chosen_from_one_on(tif, planar):
    many = np.random.default_rng(0).integers(0, 4000, (7, 70, 90)).astype(np.uint16)
    many[[3, 2, 1]] = PLANES
    stored = many if planar else many.transpose(1, 2, 0)
    path = tif(stored, planarconfig="separate" if planar else "contig", photometric="minisblack")
    for bands in ((4, 3, 2), "4,3,2", [4, 3, 2], np.array([4, 3, 2])):
        image = load_image(path, bands=bands)
        assert off(image.rgb) <= 1
        assert image.facts["choice"] == {"bands": [4, 3, 2]}
    grey = load_image(path, bands=np.int64(4)).rgb
    assert off(grey, PHOTO[:, :, 0]) <= 2
    usual = load_image(path)
    assert (usual.facts["bands"], usual.facts["bands_in_file"]) == ([1, 2, 3], 7)
    with refused(ImageError, "f.tif", "bands 1 to 7", "got bands 8"):
        load_image(path, bands=8)


def test_a_band_may_be_chosen_twice_and_from_a_photograph(tif):
    path = tif(PHOTO, **RGB)
    assert off(load_image(path, bands=(3, 3, 1)).rgb, PHOTO[:, :, [2, 2, 0]]) == 0


def test_of_two_bands_the_first_is_shown_and_said(tif):
    image = load_image(tif(PLANES[:2], planarconfig="separate", photometric="minisblack"))
    assert off(image.rgb, PHOTO[:, :, 0]) <= 2
    assert (image.facts["bands"], image.facts["bands_in_file"]) == ([1], 2)


def test_bands_that_gdal_names_red_green_and_blue(tif):
    roles = ["Blue", "Green", "Red", "Undefined"]
    said = "".join(
        f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{role}</Item>'
        for i, role in enumerate(roles)
    )
    stored = np.concatenate([PLANES[::-1], PLANES[:1]])
    tag = (42112, 2, 0, f"<GDALMetadata>{said}</GDALMetadata>", True)
    path = tif(stored, planarconfig="separate", photometric="minisblack", extratags=[tag])
    image = load_image(path)
    assert off(image.rgb) <= 1
    assert image.facts["bands"] == [3, 2, 1]


def test_what_gdal_says_of_bands_overrules_the_tags(tif):
    # GDAL writes four bands of 8 bits as RGB with opacity before it is told what they are.
    said = "".join(
        f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{role}</Item>'
        for i, role in enumerate(["Blue", "Green", "Red", "Undefined"])
    )
    tag = (42112, 2, 0, f"<GDALMetadata>{said}</GDALMetadata>", True)
    stored = np.dstack([PHOTO[:, :, ::-1], np.zeros_like(GREY)])
    image = load_image(tif(stored, extrasamples=["unassalpha"], extratags=[tag], **RGB))
    assert off(image.rgb) == 0
    assert image.valid is None
    assert image.facts["bands"] == [3, 2, 1]


def test_pages_are_counted_from_nought(tif):
    path = tif(np.stack([PHOTO, 255 - PHOTO]), **RGB)
    first, second = load_image(path), load_image(path, page=1)
    assert off(first.rgb) == off(second.rgb, 255 - PHOTO) == 0
    assert first.facts == {"page": 0, "pages": 2}
    assert second.facts == {"page": 1, "pages": 2, "choice": {"page": 1}}
    with refused(ImageError, "f.tif", "pages 0 to 1", "got page 2"):
        load_image(path, page=2)


@pytest.mark.parametrize("kind", ["ome", "imagej"])
def test_channels_of_a_microscope_are_bands_and_its_slices_pages(tif, kind):
    stack = np.stack([PHOTO // 2, PHOTO]).transpose(0, 3, 1, 2)
    path = tif(stack, photometric="minisblack", metadata={"axes": "ZCYX"}, **{kind: True})
    image = load_image(path, page=1)
    assert off(image.rgb) == 0
    assert image.facts["pages"] == 2
    assert off(load_image(path, page=1, bands=2).rgb, PHOTO[:, :, 1]) == 0


def test_signed_bytes(tif):
    stored = (GREY.astype(int) - 128).astype(np.int8)
    assert off(load_image(tif(stored, photometric="minisblack")).rgb, GREY) <= 2


# -- reduced copies -------------------------------------------------------------------------------


def pyramid(path: Path, levels: list[np.ndarray]) -> Path:
    with tifffile.TiffWriter(path) as tif:
        for i, level in enumerate(levels):
            tif.write(level, subfiletype=int(i > 0), tile=(64, 64), **RGB)
    return path


def test_a_slide_above_the_limit_is_read_from_its_largest_copy_below(tmp_path):
    levels = [np.full((side, 2 * side, 3), 40 * (i + 1), np.uint8) for i, side in
              enumerate((256, 128, 64))]  # fmt: skip
    path = pyramid(tmp_path / "f.tif", levels)
    image = load_image(path, max_pixels=128 * 256)
    assert (image.size, image.facts["reduced_from"]) == ((128, 256), [256, 512])
    assert (image.rgb == 80).all()
    assert (load_image(path).rgb == 40).all()
    assert "pages" not in load_image(path).facts
    with refused(ImageError, "f.tif", "512 x 256", "above the limit"):
        load_image(path, max_pixels=100)


def test_a_large_slide_is_read_from_the_smallest_copy_that_covers(tmp_path, monkeypatch):
    monkeypatch.setattr("regiontree.images.tiff._MANY_PIXELS", 1000)
    levels = [np.full((side, 2 * side, 3), 40 * (i + 1), np.uint8) for i, side in
              enumerate((256, 128, 64))]  # fmt: skip
    path = pyramid(tmp_path / "f.tif", levels)
    for cover, colour in ((None, 40), (512, 40), (257, 40), (256, 80), (128, 120), ((60, 60), 120)):
        image = load_image(path, cover=cover)
        assert (image.rgb == colour).all()
        assert image.size == (256, 512)


# -- what is refused ------------------------------------------------------------------------------


def test_kinds_that_are_no_photographs_are_named(tif, tmp_path):
    with refused(ImageError, "f.tif", "complex64", "magnitude"):
        load_image(tif(GREY.astype(np.complex64), photometric="minisblack"))
    with refused(ImageError, "f.tif", "camera's raw file", "develop"):
        load_image(tif(DEEP[:, :, 0], photometric="cfa",
                       extratags=[(33422, 1, 4, bytes([0, 1, 1, 2]), True)]))  # fmt: skip
    path = tif(PHOTO, **RGB)
    with refused(ImageError, "f.NEF", "camera's raw file"):
        load_image(path.rename(tmp_path / "f.NEF"))


def test_too_many_pixels_are_refused_before_they_are_decoded(tif, monkeypatch):
    path = tif(DEEP, **RGB)
    monkeypatch.setattr("regiontree.images.tiff.read_bands", pytest.fail)
    with refused(ImageError, "f.tif", "90 x 70", "above the limit", "max_pixels"):
        load_image(path, max_pixels=6299)


@pytest.mark.parametrize("options", [{}, {"tile": (16, 16)}, {"compression": "zlib"},
                                     {"planarconfig": "separate"}])  # fmt: skip
def test_a_file_cut_short_is_an_error(tif, options):
    array = PLANES if "planarconfig" in options else DEEP
    path = tif(array, **RGB, **options)
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.99):
        path.write_bytes(whole[: int(len(whole) * share)])
        with refused(ImageError, "f.tif", "damaged or cut short"):
            load_image(path)


def hostile(tags: list[tuple[int, int, int, int]], *, following: int = 0) -> bytes:
    """A TIFF of one directory at byte 8: tag, type, count and value."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following)


SQUARE = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1),
          (273, 4, 1, 8), (277, 3, 1, 1), (278, 4, 1, 8), (279, 4, 1, 64)]  # fmt: skip


@pytest.mark.parametrize(
    "data",
    [
        hostile([]),
        hostile(SQUARE, following=8) + bytes(80),  # a directory that follows itself
        hostile([(254, 4, 1, 4), *SQUARE]),
        hostile([(256, 4, 1, 2**32 - 1), (257, 4, 1, 2**32 - 1), *SQUARE[2:]]),
        hostile([*SQUARE[:6], (277, 3, 1, 65535), *SQUARE[7:]]),
        hostile([*SQUARE[:7], (278, 4, 1, 2**32 - 1), SQUARE[8]]),
        hostile([*SQUARE[:5], (273, 4, 2**31, 8), *SQUARE[6:]]),
        hostile([*SQUARE[:4], *SQUARE[5:6], (322, 4, 1, 2**31), (323, 4, 1, 2**31),
                 (324, 4, 1, 8), (325, 4, 1, 64)]),
        hostile([*SQUARE, (330, 4, 1, 8)]),  # a directory below itself
        b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(1000),
    ],
)  # fmt: skip
def test_hostile_headers_end_soon_and_clearly(tmp_path, data):
    path = tmp_path / "f.tif"
    path.write_bytes(data)
    with contextlib.suppress(ImageError):
        assert load_image(path, max_pixels=10**6).rgb.shape == (8, 8, 3)


def test_of_a_tag_that_comes_twice_the_first_counts(tmp_path):
    path = tmp_path / "f.tif"
    path.write_bytes(hostile([*SQUARE[:2], (256, 4, 1, 5), *SQUARE[2:]]))
    found = load_image(path)
    assert found.size == found.rgb.shape[:2] == (8, 8)


def test_millions_of_bands_are_refused_at_once(tmp_path):
    path = tmp_path / "f.tif"
    path.write_bytes(hostile([*SQUARE[:6], (277, 4, 1, 2**27), *SQUARE[7:]]))
    with refused(ImageError, "f.tif", "damaged", "134217728 bands"):
        load_image(path, max_pixels=10**6)


def test_a_small_tile_cannot_hold_a_large_picture(tmp_path):
    stream = io.BytesIO()
    Image.new("L", (16000, 16000)).save(stream, format="JPEG")
    bomb = stream.getvalue()
    tags = [*SQUARE[:3], (259, 3, 1, 7), SQUARE[4], (273, 4, 1, 200), *SQUARE[6:8],
            (279, 4, 1, len(bomb))]  # fmt: skip
    path = tmp_path / "f.tif"
    path.write_bytes(hostile(tags).ljust(200, b"\0") + bomb)
    with refused(ImageError, "f.tif", "damaged", "16000 x 16000"):
        load_image(path)


def test_nothing_is_printed_about_odd_files(tif, capfd, caplog):
    metres = GREY.astype(np.float32)
    path = tif(metres, photometric="minisblack", **with_tag("3.4028234663852886e+38"))
    logging.getLogger("tifffile").propagate = False
    try:
        load_image(path)
    finally:
        logging.getLogger("tifffile").propagate = True
    assert capfd.readouterr() == ("", "")


def test_the_size_without_the_pixels(tif):
    assert image_size(tif(DEEP, **RGB)) == (70, 90)
