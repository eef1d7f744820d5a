"""Any photograph in: what is read, how it is turned and scaled, what is refused."""

from __future__ import annotations

import contextlib
import hashlib
import io
import re
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from conftest import refused
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from regiontree.errors import ImageError, SettingsError
from regiontree.images import grid_of, load_image, nearest, parse_size, to_pixels

ORIENTATION = 0x0112

# What each EXIF orientation asks of the stored pixels, as plain array moves.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def picture(height: int, width: int) -> np.ndarray:
    """Four quarters of different colours, a gradient over all: no turn or flip leaves it alone."""
    quarters = np.array([[[200, 40, 40], [40, 200, 40]], [[40, 40, 200], [200, 200, 40]]])
    rows, columns = np.arange(height) * 2 // height, np.arange(width) * 2 // width
    slope = np.linspace(0, 50, height)[:, None, None] + np.linspace(0, 5, width)[None, :, None]
    return (quarters[rows[:, None], columns] + slope).astype(np.uint8)


def written(folder: Path, image: Image.Image, name: str, **options) -> Path:
    path = folder / name
    image.save(path, **options)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    return exif


def png(width: int, height: int, *, bits: int = 1, data: bytes = b"") -> bytes:
    """A grey PNG that claims any size, written by hand."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)

    shape = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", shape)
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )


# -- what is refused ------------------------------------------------------------------------------


def test_a_missing_file(tmp_path):
    with refused(ImageError, "gone.jpg", "no such file", "check the path"):
        load_image(tmp_path / "gone.jpg")


def test_a_folder(tmp_path):
    with refused(ImageError, str(tmp_path), "folder"):
        load_image(tmp_path)


def test_a_path_through_a_file(tmp_path):
    (tmp_path / "file").touch()
    with refused(ImageError, "photo.jpg", "not a directory"):
        load_image(tmp_path / "file" / "photo.jpg")


def test_a_path_with_a_nul():
    with refused(ImageError, "photo", "null byte"):
        load_image("photo\0.jpg")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.png").touch()
    with refused(ImageError, "empty.png", "empty", "copy or download"):
        load_image(tmp_path / "empty.png")


def test_a_text_file_named_like_an_image(tmp_path):
    (tmp_path / "notes.png").write_text("Dear diary")
    with refused(ImageError, "notes.png", "not an image", "b'Dear dia'"):
        load_image(tmp_path / "notes.png")


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "webp", "tif", "bmp", "jp2", "avif"])
def test_a_file_cut_short(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    path = written(tmp_path, Image.fromarray(noise), f"photo.{suffix}")
    load_image(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ImageError, match=rf"photo\.{suffix}: is (damaged or cut short|not an im)"):
        load_image(path)


def test_an_open_image_whose_file_is_cut_short(tmp_path):
    path = written(tmp_path, Image.fromarray(picture(60, 80)), "photo.jpg")
    path.write_bytes(path.read_bytes()[:-30])
    with (
        Image.open(path) as lazy,
        refused(ImageError, "the image", "damaged or cut short"),
    ):
        load_image(lazy)


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "PPM"]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=10),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_is_an_image_error_or_does_not_show(tmp_path_factory, format, changes):
    stream = io.BytesIO()
    Image.fromarray(picture(9, 14)).save(stream, format=format, exif=turned(6))
    data = bytearray(stream.getvalue())
    for position, value in changes:
        data[position % len(data)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    with contextlib.suppress(ImageError):
        image = load_image(path, max_pixels=1_000_000, cover=(3, 3))
        assert image.rgb.dtype == np.uint8
        assert image.rgb.shape[0] * image.rgb.shape[1] <= 1_000_000


def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path, monkeypatch):
    # A whole and valid image: 200 megapixels of black in 25 kB.
    bomb = tmp_path / "bomb.png"
    bomb.write_bytes(png(20_000, 10_000, data=bytes(10_000 * (1 + 20_000 // 8))))
    assert bomb.stat().st_size < 50_000
    decoded = []
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: decoded.append(self))
    with refused(
        ImageError,
        "bomb.png",
        "20000 x 10000",
        "200 megapixels",
        "limit of 150",
        "max_pixels",
        "--max-pixels",
    ):
        load_image(bomb)
    assert not decoded


def test_a_bomb_that_pillow_refuses_by_itself(tmp_path):
    (tmp_path / "bomb.png").write_bytes(png(2**31 - 1, 2**31 - 1))
    with refused(ImageError, "bomb.png", "2147483647 x 2147483647", "limit of 150"):
        load_image(tmp_path / "bomb.png")


def test_the_limit_is_the_callers_and_pillows_own_is_left_alone(tmp_path, monkeypatch):
    path = written(tmp_path, Image.fromarray(picture(20, 30)), "photo.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)  # the photograph is beyond it
    assert load_image(path, max_pixels=600).size == (20, 30)
    array = picture(20, 30)
    for source in (path, Image.fromarray(array), array):
        with refused(ImageError, "30 x 20", "0.0006 megapixels", "0.000599"):
            load_image(source, max_pixels=599)
    assert Image.MAX_IMAGE_PIXELS == 7


def test_pillows_warnings_are_the_programs_to_filter(tmp_path):
    """A PNG that claims an animation of no frames: Pillow warns, and the pixels are fine."""
    path = written(tmp_path, Image.fromarray(picture(20, 30)), "photo.png")
    chunk = b"acTL" + bytes(8)
    chunk = (8).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
    data = path.read_bytes()
    path.write_bytes(data[:33] + chunk + data[33:])  # after the signature and the header
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert load_image(path).size == (20, 30)
    assert [str(one.message) for one in seen if "APNG" in str(one.message)]
    with warnings.catch_warnings(), refused(ImageError, "photo.png", "APNG", "errors"):
        warnings.simplefilter("error")
        load_image(path)


def test_an_image_too_large_for_the_memory(tmp_path, monkeypatch):
    def load(self):
        raise MemoryError

    path = written(tmp_path, Image.fromarray(picture(20, 30)), "photo.png")
    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    with refused(ImageError, "photo.png", "memory"):
        load_image(path)


def test_something_that_is_no_image():
    with refused(ImageError, "path", "open file", "Pillow image", "array", "got object"):
        load_image(object())


# -- the right way up -----------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_photograph_is_turned_as_its_camera_says(tmp_path, orientation):
    stored = Image.fromarray(picture(48, 80))
    plain = load_image(written(tmp_path, stored, "plain.jpg"))
    image = load_image(written(tmp_path, stored, "turned.jpg", exif=turned(orientation)))
    assert np.array_equal(image.rgb, UPRIGHT[orientation](plain.rgb))
    assert image.size == image.rgb.shape[:2]
    assert image.size == ((80, 48) if orientation >= 5 else (48, 80))


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_turned_photograph_is_reduced_along_its_own_sides(tmp_path, orientation):
    path = tmp_path / "photo.jpg"
    upright = picture(640, 320)
    # Storing is undoing: of the eight moves only 6 and 8 are not their own inverse.
    stored = UPRIGHT[{6: 8, 8: 6}.get(orientation, orientation)](upright)
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=turned(orientation), quality=95)
    image = load_image(path, cover=(160, 80))
    # A quarter covers exactly. Asked for with the sides swapped, only a half would.
    assert image.rgb.shape == (160, 80, 3)
    assert image.size == (640, 320)
    expected = upright.reshape(160, 4, 80, 4, 3).mean(axis=(1, 3))
    assert np.abs(image.rgb - expected).mean() < 3


def test_a_long_side_is_covered_on_the_long_side_only(tmp_path):
    path = tmp_path / "wide.jpg"
    Image.fromarray(np.zeros((600, 1600, 3), np.uint8)).save(path)
    image = load_image(path, cover=400)
    assert (image.rgb.shape, image.size) == ((150, 400, 3), (600, 1600))
    assert load_image(path, cover=401).rgb.shape == (300, 800, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "JPEG2000"])
@pytest.mark.parametrize("cover", [None, (4, 4)])
def test_the_size_is_that_of_the_upright_image_in_every_format(tmp_path, format, cover):
    path = written(
        tmp_path, Image.fromarray(picture(24, 80)), "photo", format=format, exif=turned(6)
    )
    image = load_image(path, cover=cover)
    if format == "JPEG2000":  # holds no EXIF
        assert image.size == (24, 80)
    else:
        assert image.size == (80, 24)
    # Proportions of the pixels, at whatever scale they were decoded.
    assert image.rgb.shape[0] * image.size[1] == image.rgb.shape[1] * image.size[0]


def test_metadata_too_damaged_to_be_rewritten_does_not_cost_the_photograph(tmp_path):
    # The width as text: ImageOps.exif_transpose turns the image, then fails to write this back.
    entries = struct.pack("<HHI4s", 0x0100, 2, 4, b"wide") + struct.pack("<HHII", 0x0112, 3, 1, 6)
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    path = written(tmp_path, Image.fromarray(picture(24, 80)), "photo.jpg", exif=exif)
    assert load_image(path).rgb.shape == (80, 24, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0MM\0*\0"]
)
def test_unreadable_metadata_leaves_the_photograph_as_stored(tmp_path, suffix, exif):
    path = written(tmp_path, Image.fromarray(picture(24, 80)), f"photo.{suffix}", exif=exif)
    for cover in (None, (6, 20)):
        assert load_image(path, cover=cover).size == (24, 80)


# -- reduced decoding -----------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    size=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    cover=st.tuples(st.integers(1, 160), st.integers(1, 160)),
    orientation=st.sampled_from(list(UPRIGHT)),
)
def test_a_reduced_photograph_still_covers_what_was_asked_for(
    tmp_path_factory, size, cover, orientation
):
    path = tmp_path_factory.getbasetemp() / "photo.jpg"
    height, width = size if orientation < 5 else size[::-1]
    Image.fromarray(picture(height, width)).save(path, exif=turned(orientation))
    image = load_image(path, cover=cover)
    assert image.size == size
    for got, full, wanted in zip(image.rgb.shape, size, cover, strict=False):
        assert min(full, wanted) <= got <= full


def test_only_a_reduced_jpeg_is_smaller_than_the_image(tmp_path):
    photo = Image.fromarray(picture(400, 600))
    jpeg, lossless = (written(tmp_path, photo, f"photo.{suffix}") for suffix in ("jpg", "png"))
    assert load_image(jpeg, cover=(100, 100)).rgb.shape == (100, 150, 3)
    assert load_image(lossless, cover=(100, 100)).rgb.shape == (400, 600, 3)
    assert load_image(jpeg).rgb.shape == (400, 600, 3)


# -- kinds of pixels ------------------------------------------------------------------------------


def test_colours_of_print(tmp_path):
    inks = {(0, 0, 0, 0): (255, 255, 255), (255, 255, 0, 0): (0, 0, 255), (0, 0, 0, 255): (0, 0, 0)}
    for ink, rgb in inks.items():
        page = Image.new("CMYK", (16, 16), ink)
        image = load_image(written(tmp_path, page, "page.jpg", quality=95))
        assert np.abs(image.rgb.astype(int) - rgb).max() <= 3


def test_transparent_is_white_and_half_transparent_half_white(tmp_path):
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 0], rgba[0, :, 3] = 200, (255, 128, 0)
    expected = [[200, 0, 0], [227, 127, 127], [255, 255, 255]]
    image = Image.fromarray(rgba)
    for source in (written(tmp_path, image, "logo.png"), image, rgba):
        assert np.abs(load_image(source).rgb[0].astype(int) - expected).max() <= 1


def test_a_palette_with_a_transparent_colour(tmp_path):
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    image.putdata([0, 1, 2])
    for suffix in ("png", "gif"):
        path = written(tmp_path, image, f"icon.{suffix}", transparency=1)
        assert load_image(path).rgb[0].tolist() == [[10, 20, 30], [255, 255, 255], [0, 0, 200]]
    # A PNG palette can also hold an opacity for each colour.
    path = written(tmp_path, image, "soft.png", transparency=bytes([0, 255, 128]))
    expected = [[255, 255, 255], [200, 0, 0], [127, 127, 227]]
    assert np.abs(load_image(path).rgb[0].astype(int) - expected).max() <= 1


def test_grey_with_opacity(tmp_path):
    image = Image.new("LA", (2, 1))
    image.putdata([(0, 255), (0, 127)])
    image = load_image(written(tmp_path, image, "shade.png"))
    assert image.rgb.tolist() == [[[0, 0, 0], [128, 128, 128]]]


@pytest.mark.parametrize(
    "mode", ["L", "RGB", "P", "HSV", "YCbCr", "LAB", "RGBX", "RGBa", "La", "PA"]
)
def test_every_mode_of_pillow_becomes_rgb(mode):
    image = load_image(Image.new(mode, (3, 2)))
    assert (image.rgb.shape, image.rgb.dtype) == ((2, 3, 3), np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TGA", "TIFF", "PPM", "GIF", "WEBP", "JPEG2000"])
def test_ordinary_formats_without_loss_are_the_photograph(kind, tmp_path):
    array = picture(24, 30) // 64 * 64  # few colours, for a palette
    lossless = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(array)
    image = image.quantize(64, dither=Image.Dither.NONE) if kind == "GIF" else image
    image.save(tmp_path / "photo.bin", format=kind, **lossless)
    assert np.array_equal(load_image(tmp_path / "photo.bin").rgb, np.asarray(image.convert("RGB")))


def test_black_and_white(tmp_path):
    bits = np.array([[True, False], [False, False]])
    expected = (bits * 255)[:, :, None].repeat(3, axis=2)
    image = Image.fromarray(bits)
    for suffix in ("png", "tif", "pbm"):
        path = written(tmp_path, image, f"scan.{suffix}")
        assert np.array_equal(load_image(path).rgb, expected)
    assert np.array_equal(load_image(bits).rgb, expected)


def test_the_first_frame_of_an_animation(tmp_path):
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    for suffix in ("gif", "webp", "tif", "png"):
        options = {"lossless": True} if suffix == "webp" else {}
        path = written(
            tmp_path, red, f"film.{suffix}", save_all=True, append_images=[blue], **options
        )
        with Image.open(path) as film:
            assert film.n_frames == 2
        assert (load_image(path).rgb == [255, 0, 0]).all()


def test_twelve_bits_in_a_file_of_sixteen_are_not_black(tmp_path):
    # Plain division by 256 would end at 15 of 255.
    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    sources = [written(tmp_path, Image.fromarray(ramp), f"scan.{s}") for s in ("png", "tif")]
    for source in (*sources, Image.fromarray(ramp), ramp, ramp.astype(">u2")):
        rgb = load_image(source).rgb
        grey = rgb[:, :, 0].reshape(-1).astype(int)
        assert (rgb == rgb[:, :, :1]).all()
        assert (grey[0], grey[-1]) == (0, 255)
        assert (np.diff(grey) >= 0).all()
        assert len(np.unique(grey)) == 256


def test_one_hot_pixel_does_not_darken_a_scan():
    ramp = np.linspace(0, 1000, 10_000).reshape(100, 100)
    ramp[50, 50] = 1e300
    rgb = load_image(ramp).rgb
    assert rgb[0, 0, 0] == 0
    assert rgb[50, 50, 0] == rgb[99, 99, 0] == 255
    assert 120 < rgb[50, 0, 0] < 135


def test_heights_with_gaps(tmp_path):
    # An elevation model: metres as floats, no measurement where the lake is.
    metres = np.linspace(-20.0, 3000.0, 100 * 100).reshape(100, 100).astype(np.float32)
    metres[:10, :10], metres[0, 99] = np.nan, np.inf
    rgb = load_image(written(tmp_path, Image.fromarray(metres), "relief.tif")).rgb
    assert (rgb[:10, :10] == 0).all()
    assert (rgb[0, 99] == 0).all()
    assert rgb[99, 99, 0] == 255
    assert np.ptp(rgb[20:, :, 0]) > 200


@pytest.mark.parametrize("value", [-5.0, 0.0, 7.5, 1e300])
def test_a_flat_scan_is_mid_grey(value):
    assert (load_image(np.full((3, 4), value)).rgb == 127).all()


def test_a_scan_of_two_values_keeps_both():
    # So rare that it lies beyond both percentiles.
    array = np.zeros((100, 100), np.float32)
    array[0, 0] = 5
    rgb = load_image(array).rgb
    assert (rgb[0, 0, 0], rgb[99, 99, 0]) == (255, 0)


@pytest.mark.parametrize("fill", [np.nan, np.inf])
def test_a_scan_of_nothing(tmp_path, fill):
    nothing = np.full((4, 4), fill, np.float32)
    path = written(tmp_path, Image.fromarray(nothing), "void.tif")
    for source in (nothing, path):
        with refused(ImageError, "the image", "finite"):
            load_image(source)


# -- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "pixel"),
    [
        (np.full((2, 3), 9, np.uint8), (9, 9, 9)),
        (np.full((2, 3, 1), 9, np.uint8), (9, 9, 9)),
        (np.full((2, 3, 3), (1, 2, 3), np.uint8), (1, 2, 3)),
        (np.full((2, 3, 4), (1, 2, 3, 255), np.uint8), (1, 2, 3)),
        (np.full((2, 3, 4), (1, 2, 3, 0), np.uint8), (255, 255, 255)),
        (np.full((2, 3, 3), True), (255, 255, 255)),
        (np.full((2, 3, 3), (0x1234, 0, 0xFFFF), np.uint16), (0x12, 0, 0xFF)),
        (np.full((2, 3, 3), (0x1234, 0, 0xFFFF), ">u2"), (0x12, 0, 0xFF)),
        (np.full((2, 3, 3), (0.0, 0.5, 1.0), np.float16), (0, 128, 255)),
        (np.full((2, 3, 3), (0.0, 0.5, 1.0), np.float32), (0, 128, 255)),
        (np.full((2, 3, 3), (0.0, 0.5, 1.0), np.float64), (0, 128, 255)),
        (np.full((2, 3, 4), (0.0, 0.5, 1.0, 1.0), np.float32), (0, 128, 255)),
        (np.full((2, 3, 3), (0.0, 0.5, 1.0000001), np.float64), (0, 128, 255)),
        (np.full((2, 3, 3), (0.0, 128.0, 255.0), np.float32), (0, 128, 255)),
        (np.full((2, 3, 3), (0, 128, 255), np.int64), (0, 128, 255)),
        (np.zeros((2, 3, 3), int), (0, 0, 0)),
        (np.full((2, 3, 3), -50.0), (127, 127, 127)),
    ],
)
def test_arrays_of_every_kind(array, pixel):
    image = load_image(array)
    assert image.size == (2, 3)
    assert (image.rgb.dtype, image.name) == (np.uint8, None)
    assert (image.rgb == pixel).all()


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.uint16, np.int32, np.int64, np.float32])
def test_grey_arrays_of_other_types_are_stretched(dtype):
    rgb = load_image(np.arange(100).reshape(10, 10).astype(dtype)).rgb
    assert (rgb[0, 0, 0], rgb[9, 9, 0]) == (0, 255)


def test_views_are_read_as_they_look():
    colour = picture(6, 8)
    for view in (colour[::-1], colour[:, ::2], colour.swapaxes(0, 1), colour[..., ::-1]):
        assert np.array_equal(load_image(view).rgb, view)
        assert np.abs(load_image(view / 255.0).rgb.astype(int) - view).max() <= 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(5), r"\(H, W\) or \(H, W, 1, 3 or 4\), got shape \(5,\)"),
        (np.zeros((2, 3, 2), np.uint8), r"got shape \(2, 3, 2\)"),
        (np.zeros((3, 20, 30), np.uint8), r"got shape \(3, 20, 30\)"),
        (np.zeros((1, 2, 3, 3), np.uint8), r"got shape \(1, 2, 3, 3\)"),
        (np.zeros((0, 5), np.uint8), r"has no pixels.*5 x 0"),
        (np.zeros((5, 0, 3), np.uint8), r"has no pixels.*0 x 5"),
        (np.zeros((2, 3), complex), "hold numbers, got complex128"),
        (np.full((2, 3), "a"), "hold numbers, got <U1"),
        (np.full((2, 3), None), "hold numbers, got object"),
        (np.full((2, 3, 3), np.nan), "no finite value.*NaN or infinity"),
        (np.full((2, 3, 3), np.inf), "no finite value.*NaN or infinity"),
    ],
)
def test_arrays_that_are_no_image(array, message):
    with pytest.raises(ImageError, match=message):
        load_image(array)


# -- what is known of an image --------------------------------------------------------------------


def test_a_file_is_known_by_its_bytes_and_an_array_by_its_pixels(tmp_path):
    array = picture(6, 4)
    path = written(tmp_path, Image.fromarray(array), "photo.png")
    image = load_image(path)
    assert (image.name, image.digest) == (
        "photo.png",
        hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    assert load_image(str(path)).digest == image.digest
    assert load_image(array).digest == load_image(Image.fromarray(array)).digest
    assert load_image(array.reshape(4, 6, 3)).digest != load_image(array).digest
    other = array.copy()
    other[0, 0, 0] ^= 1
    assert load_image(other).digest != load_image(array).digest


def test_uniform_means_one_colour():
    array = np.full((3, 4, 3), (1, 2, 3), np.uint8)
    assert load_image(array).is_uniform
    array[2, 3, 2] = 4
    assert not load_image(array).is_uniform


# -- sizes and grids ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (840, 840),
        ("840", 840),
        (np.int64(840), 840),
        ("840x1680", (840, 1680)),
        ("840X1680", (840, 1680)),
        ((840, 1680), (840, 1680)),
        ([840, 1680], (840, 1680)),
        (1, 1),
        (65_536, 65_536),
    ],
)
def test_a_size_is_a_long_side_or_height_by_width(text, size):
    assert parse_size(text) == size


@given(st.integers(1, 65_536), st.integers(1, 65_536))
def test_a_size_written_out_is_read_back(height, width):
    assert parse_size(f"{height}x{width}") == parse_size((height, width)) == (height, width)
    assert parse_size(str(height)) == parse_size(height) == height


@pytest.mark.parametrize(
    "text", ["", "big", "840x", "x840", "840x840x3", "840.5", 840.5, (1, 2, 3), (840.0, 840),
             (840,), None, float("inf"), float("nan"), "9" * 5000, {"height": 840}]
)  # fmt: skip
def test_what_is_no_size_is_shown_one(text):
    with refused(SettingsError, "840", "HEIGHTxWIDTH", "840x1680"):
        parse_size(text)


@pytest.mark.parametrize("text", [0, -840, "0x840", (840, 65_537), 10**30, "65537"])
def test_a_size_out_of_range(text):
    with refused(SettingsError, "size", "between 1 and 65536", "got"):
        parse_size(text)


sides = st.integers(1, 5000)


@given(
    image_size=st.tuples(sides, sides),
    size=st.integers(1, 3000),
    patch=st.sampled_from([8, 14, 16]),
)
def test_a_long_side_keeps_the_proportions_to_half_a_patch(image_size, size, patch):
    grid = grid_of(image_size, size, patch)
    for patches, pixels in zip(grid, image_size, strict=True):
        assert 1 <= patches <= pixels
        exact = pixels * size / max(image_size) / patch
        assert abs(patches - np.clip(exact, 1, pixels)) <= 0.5 + 1e-9


@given(
    image_size=st.tuples(sides, sides),
    grid=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    patch=st.sampled_from([8, 14, 16]),
)
def test_an_exact_size_is_that_many_patches_or_one_a_pixel(image_size, grid, patch):
    size = (grid[0] * patch, grid[1] * patch)
    assert grid_of(image_size, size, patch) == (
        min(grid[0], image_size[0]),
        min(grid[1], image_size[1]),
    )


@given(
    size=st.tuples(st.integers(1, 3000), st.integers(1, 3000)), patch=st.sampled_from([8, 14, 16])
)
def test_an_exact_size_between_patches_is_told_the_nearest_that_works(size, patch):
    assume(size[0] % patch or size[1] % patch)
    with pytest.raises(
        SettingsError, match=f"not a multiple of the backbone's patch of {patch}"
    ) as e:
        grid_of((4000, 4000), size, patch)
    assert f"size {size[0]}x{size[1]} is not" in str(e.value)
    near = re.search(r"; use (\d+x\d+)$", str(e.value))
    assert near is not None
    suggested = parse_size(near[1])
    grid_of((4000, 4000), suggested, patch)
    for ours, theirs in zip(size, suggested, strict=True):
        assert abs(ours - theirs) <= patch / 2 or theirs == patch


@pytest.mark.parametrize(
    ("image_size", "size", "grid"),
    [
        ((1, 1), 840, (1, 1)),
        ((1, 1), (840, 840), (1, 1)),
        ((5, 2000), 840, (1, 60)),
        ((2000, 5), 840, (60, 1)),
        ((5, 2000), (840, 840), (5, 60)),
        ((480, 640), 840, (45, 60)),
        ((480, 640), 1, (1, 1)),
    ],
)
def test_grids_of_extreme_images(image_size, size, grid):
    assert grid_of(image_size, size, 14) == grid


@pytest.mark.parametrize("shape", [(1, 1), (5, 2000), (2000, 5)])
def test_extreme_images_are_loaded_and_fitted_like_any_other(tmp_path, shape):
    path = written(tmp_path, Image.fromarray(picture(*shape)), "strip.jpg")
    image = load_image(path, cover=(840, 840))
    assert image.size == shape
    grid = grid_of(image.size, 840, 14)
    assert to_pixels(image.rgb, grid, 14).shape == (3, grid[0] * 14, grid[1] * 14)


def test_pixels_are_fitted_in_place_and_scaled_to_one():
    rgb = np.zeros((10, 20, 3), np.uint8)
    rgb[:, 10:, 0] = 255  # the right half is red
    pixels = to_pixels(rgb, (2, 6), 14).numpy()
    assert pixels.shape == (3, 28, 84)
    assert pixels.dtype == np.float32
    assert (pixels[0, :, :36] == 0).all()
    assert (pixels[0, :, 48:] == 1).all()
    assert (pixels[1:] == 0).all()


@given(st.data())
def test_every_cell_of_a_grid_keeps_a_pixel_and_its_order(data):
    rows, columns = (data.draw(st.integers(1, 40)) for _ in range(2))
    height, width = data.draw(st.integers(rows, 90)), data.draw(st.integers(columns, 90))
    cells = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    pixels = nearest(cells, (height, width))
    assert pixels.shape == (height, width)
    assert np.array_equal(np.unique(pixels), cells.reshape(-1))
    # The cell over a pixel's centre is less than a cell away from it.
    y, x = np.divmod(pixels, columns)
    for cell, pixel, n_cells, n_pixels in (
        (y[:, 0], np.arange(height), rows, height),
        (x[0], np.arange(width), columns, width),
    ):
        centre = (pixel + 0.5) * n_cells / n_pixels
        assert ((cell - 1e-9 <= centre) & (centre <= cell + 1 + 1e-9)).all()
