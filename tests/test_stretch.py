"""8-bit sRGB from deep samples: one photograph looks the same at every depth."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import EXAMPLE, refused
from PIL import Image

from regiontree.errors import ImageError
from regiontree.images import Decoded, load_image
from regiontree.images.stretch import rendered

PHOTO = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((90, 70)))
GREY = np.asarray(Image.fromarray(PHOTO).convert("L"))


def off(rgb: np.ndarray, truth: np.ndarray = PHOTO) -> int:
    """The largest difference of two pictures, in levels of 255."""
    return int(np.abs(rgb.astype(int) - truth).max())


@pytest.mark.parametrize(
    ("deep", "high"),
    [
        (PHOTO.astype(np.uint16) * 257, 65535),
        (PHOTO.astype(np.uint16) * 256, 65535),
        (PHOTO.astype(np.uint16) * 64, 16383),
        (PHOTO.astype(np.uint16) * 16, 4095),
        (PHOTO.astype(">u2") * 16, 4095),
        (PHOTO.astype(np.int16) * 16, 4095),
        (PHOTO.astype(np.int32) * 4, 1023),
        (PHOTO.astype(np.uint64), 255),
        (PHOTO.astype(np.float32), 255),
        ((PHOTO / 255).astype(np.float16), 1),
        ((PHOTO / 255).astype(np.float32), 1),
        (PHOTO / 255, 1),
        (PHOTO / 254.99999, 1),
    ],
)
def test_a_photograph_looks_the_same_at_every_depth(deep, high):
    image = load_image(deep)
    assert off(image.rgb) <= 1
    assert image.facts == {"stretch": {"low": 0, "high": high}}
    assert image.valid is None


@pytest.mark.parametrize("factor", [3, 10, 40, 100])
@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_colour_of_no_usual_depth_is_stretched_to_the_whole_range(factor, dtype):
    image = load_image((PHOTO.astype(np.float64) * factor).astype(dtype))
    assert off(image.rgb) <= 4
    high = image.facts["stretch"]["high"]
    assert 0.97 * 255 * factor < high <= 255 * factor


def test_dark_deep_colour_is_not_black():
    # Reflectance of land: hundreds of 65,535.
    scene = 200 + PHOTO.astype(np.uint16) * 2
    image = load_image(scene)
    assert off(image.rgb) <= 4
    assert image.facts["stretch"]["low"] == pytest.approx(200, abs=4)
    # The same as floats, of which only a fifth of the range is used.
    assert off(load_image(PHOTO / 255 * 0.2).rgb) <= 4


def test_the_channels_share_one_stretch():
    scene = np.zeros((20, 20, 3), np.uint16)
    scene[:10, :, 0], scene[10:, :, 1] = 3000, 300
    rgb = load_image(scene).rgb
    assert rgb[0, 0].tolist() == [255, 0, 0]
    assert rgb[19, 0, 1] == pytest.approx(25.5, abs=1)


def test_hot_pixels_do_not_darken_colour():
    scene = PHOTO.astype(np.uint16) * 16
    scene[5, 5] = 65535
    assert off(load_image(scene).rgb[6:], PHOTO[6:]) <= 1
    light = PHOTO / 255
    light[5, 5] = 80.0  # a lamp
    assert off(load_image(light).rgb[6:], PHOTO[6:]) <= 1


def test_what_is_not_there_counts_for_nothing():
    for gone in (np.nan, np.inf, -np.inf):
        scene = PHOTO * 10.0
        scene[:20, :, 1] = gone
        image = load_image(scene)
        assert not image.valid[:20].any()
        assert image.valid[20:].all()
        assert off(image.rgb[20:], PHOTO[20:]) <= 4
    metres = np.where(np.arange(90) < 30, np.finfo(np.float32).max, GREY * 5.0).astype(np.float32)
    assert np.array_equal(load_image(metres).valid, metres < 1e38)
    metres = np.ma.masked_equal(np.where(np.arange(90) < 30, -9999, GREY * 5.0), -9999)
    image = load_image(metres)
    assert (image.valid == ~np.ma.getmaskarray(metres)).all()
    assert len(np.unique(image.rgb)) > 200


def test_a_mask_of_channels_hides_the_pixel_and_of_nothing_nothing():
    array = np.ma.MaskedArray(PHOTO, np.zeros(PHOTO.shape, bool))
    assert load_image(array).valid is None
    array[3, 4, 1] = np.ma.masked
    image = load_image(array)
    assert np.argwhere(~image.valid).tolist() == [[3, 4]]
    assert np.array_equal(image.rgb, PHOTO)


def test_a_scene_without_data_is_not_an_error():
    image = load_image(np.ma.masked_all((4, 5), np.float32))
    assert image.valid is not None
    assert not image.valid.any()
    assert "stretch" not in image.facts


@pytest.mark.parametrize("scale", [1, 16, 257])
def test_deep_opacity_has_the_depth_of_the_colours(scale):
    rgba = np.dstack([PHOTO, np.full(GREY.shape, 255, np.uint8)]).astype(np.uint16)
    rgba[:10, :, 3] = 0
    rgba[10:20, :, 3] = 128
    image = load_image(rgba * scale)
    assert not image.valid[:10].any()
    assert image.valid[10:].all()
    half = np.round(PHOTO * (128 / 255) + 255 * (127 / 255))
    assert off(image.rgb[10:20], half[10:20]) <= 2
    assert off(image.rgb[20:], PHOTO[20:]) <= 1


def test_bands_of_an_array():
    many = np.zeros((70, 90, 7), np.uint16)
    many[:, :, [3, 2, 1]] = PHOTO.astype(np.uint16) * 16
    image = load_image(many, bands=(4, 3, 2))
    assert off(image.rgb) <= 1
    assert image.facts["choice"] == {"bands": [4, 3, 2]}
    with refused(ImageError, "the image array", "bands 1 to 7", "got bands 8"):
        load_image(many, bands=8)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, ">u2", np.int32, np.float32])
def test_a_large_image_is_made_block_by_block(monkeypatch, dtype):
    scene = (PHOTO.astype(np.float64) * 40).astype(dtype)
    whole = load_image(np.ma.masked_equal(scene, scene[9, 9, 0]))
    monkeypatch.setattr("regiontree.images.stretch._BLOCK", 1000)
    parts = load_image(np.ma.masked_equal(scene, scene[9, 9, 0]))
    assert np.array_equal(parts.rgb, whole.rgb)
    assert np.array_equal(parts.valid, whole.valid)


def test_limits_of_the_file_hold_and_inverted_grey_is_turned():
    values = np.array([[0.0, 50.0, 100.0, 200.0]])
    shown = rendered(Decoded(values, (1, 4), limits=(50.0, 150.0)), "a slice")
    assert shown.rgb[0, :, 0].tolist() == [0, 0, 128, 255]
    shown = rendered(Decoded(values, (1, 4), limits=(0.0, 200.0), inverted=True), "a slice")
    assert shown.rgb[0, :, 0].tolist() == [255, 191, 127, 0]
    assert shown.facts["stretch"] == {"low": 200, "high": 0}


def test_samples_that_are_no_colours_are_refused():
    with refused(ImageError, "radar", "complex64", "magnitude"):
        rendered(Decoded(np.zeros((2, 2), np.complex64), (2, 2)), "radar")


@pytest.mark.parametrize(
    ("dtype", "high", "enough"),
    [(np.uint16, 65535, 0.5), (np.uint16, 16383, 0.8), (np.uint16, 4095, 0.8),
     (np.uint16, 1023, 0.8), (np.float32, 1.0, 0.5), (np.float32, 255.0, 0.5)],
)  # fmt: skip
def test_colour_is_shown_at_its_range_if_it_fills_enough_of_it(dtype, high, enough):
    shares = PHOTO.astype(np.float64) / PHOTO.max()
    for share, shown in ((enough + 0.08, True), (enough - 0.08, False)):
        image = load_image((shares * high * share).astype(dtype))
        assert (image.facts["stretch"]["high"] == pytest.approx(high)) == shown


@pytest.mark.parametrize(
    ("dtype", "offset"),
    [(np.uint32, 4_000_000_000), (np.int32, 2_000_000_000), (np.int64, 1 << 40)],
)
@pytest.mark.parametrize("truth", [PHOTO, GREY])
def test_small_differences_of_large_numbers_are_seen(dtype, offset, truth):
    image = load_image(truth.astype(dtype) + dtype(offset))
    shown = image.rgb if truth.ndim == 3 else image.rgb[:, :, 0]
    assert off(shown, truth) <= 8


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_values_near_the_largest_float_are_shown(kind):
    largest = np.finfo(kind).max
    ramp = np.linspace(-0.9, 0.9, 256, dtype=kind).reshape(16, 16) * largest
    found = rendered(Decoded(ramp, (16, 16)), "f.tif").rgb[:, :, 0].ravel().astype(int)
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[128], found[-1]) == (0, 128, 255)
    outlier = np.linspace(0, 0.5, 10000, dtype=kind).reshape(100, 100)
    outlier[0, 0] = 0.9 * largest
    shown = rendered(Decoded(outlier, (100, 100)), "f.tif").rgb
    assert shown[0, 0, 0] == 255
    assert shown[50, 0, 0] in (127, 128)


def test_a_few_pixels_of_a_large_image_are_all_measured():
    # Every ninth pixel of the image would miss the values of the small part that is there.
    deep = np.zeros((6000, 6000), np.uint16)
    deep[:3, :3] = np.arange(9).reshape(3, 3) * 100
    there = np.zeros(deep.shape, bool)
    there[:3, :3] = True
    image = load_image(deep, valid=there)
    assert image.facts["stretch"]["high"] >= 799
    assert image.rgb[:3, :3, 0].max() == 255
