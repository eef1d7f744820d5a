"""PNG, JPEG, JPEG 2000, PNM, JPEG XL, HEIF and others: deep, with profiles, large texts, damage."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import icc
import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from conftest import EXAMPLE, refused
from PIL import Image, ImageCms, PngImagePlugin

from regiontree.errors import ImageError, SettingsError
from regiontree.images import Choice, image_size, image_suffixes, load_again, load_image
from regiontree.images.choice import notice_of

PHOTO = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((90, 70)))
GREY = np.asarray(Image.fromarray(PHOTO).convert("L"))
TWELVE = PHOTO.astype(np.uint16) * 16
SIXTEEN = PHOTO.astype(np.uint16) * 257
OPACITY = np.full(GREY.shape, 65535, np.uint16)
OPACITY[:, :30] = 0


def off(rgb: np.ndarray, truth: np.ndarray = PHOTO) -> int:
    truth = truth if truth.ndim == 3 else truth[:, :, None]
    return int(np.abs(rgb.astype(int) - truth).max())


def written(folder: Path, data: bytes, name: str = "photo.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def pnm(kind: str, most: object, content: bytes) -> bytes:
    return f"{kind}\n# a comment\n90 70\n{most}\n".encode() + content


def jp2(array: np.ndarray, **options) -> bytes:
    return imagecodecs.jpeg2k_encode(array, reversible=True, level=0, **options)


KINDS = {
    "png": imagecodecs.png_encode(TWELVE),
    "png 16": imagecodecs.png_encode(SIXTEEN),
    "jp2": jp2(TWELVE, codecformat="jp2", bitspersample=12),
    "j2k": jp2(SIXTEEN, codecformat="j2k"),
    "ppm": pnm("P6", 65535, TWELVE.astype(">u2").tobytes()),
    "ppm 4095": pnm("P6", 4095, TWELVE.astype(">u2").tobytes()),
    "ppm text": pnm("P3", 4095, " ".join(map(str, TWELVE.reshape(-1).tolist())).encode()),
    "pfm": pnm("PF", -1.0, (PHOTO[::-1] / 255).astype("<f4").tobytes()).replace(
        b"# a comment\n", b""
    ),
    "jxl": imagecodecs.jpegxl_encode(TWELVE, lossless=True),
    "jxl float": imagecodecs.jpegxl_encode((PHOTO / 255).astype(np.float32), lossless=True),
    "jxl 8": imagecodecs.jpegxl_encode(PHOTO, lossless=True, usecontainer=True),
    "qoi": imagecodecs.qoi_encode(PHOTO),
    "jls": imagecodecs.jpegls_encode(PHOTO),
}


@pytest.mark.parametrize("kind", KINDS)
def test_deep_colour_is_the_photograph_in_every_format(tmp_path, kind):
    path = written(tmp_path, KINDS[kind])
    image = load_image(path)
    assert off(image.rgb) <= 1
    assert image.size == image_size(path) == (70, 90)
    assert image.valid is None
    with refused(ImageError, "photo.bin", "90 x 70", "above the limit"):
        load_image(path, max_pixels=6299)
    path.write_bytes(KINDS[kind][: len(KINDS[kind]) * 2 // 3])
    with refused(ImageError, "photo.bin", "damaged or cut short"):
        load_image(path)


def test_jpeg_of_twelve_bits_and_without_loss(tmp_path):
    deep = imagecodecs.jpeg8_encode(TWELVE, level=98, bitspersample=12)
    image = load_image(written(tmp_path, deep))
    assert np.abs(image.rgb.astype(int) - PHOTO).mean() < 3
    assert image.facts["stretch"] == {"low": 0, "high": 4095}
    grey = imagecodecs.ljpeg_encode(GREY.astype(np.uint16) * 16, bitspersample=12)
    assert off(load_image(written(tmp_path, grey)).rgb, GREY) <= 3
    with refused(ImageError, "cut short"):
        load_image(written(tmp_path, deep[:-200]))


def test_radiance_keeps_the_look_of_linear_light(tmp_path):
    light = ((PHOTO / 255.0) ** 2.2).astype(np.float32)
    image = load_image(written(tmp_path, imagecodecs.rgbe_encode(light), "photo.hdr"))
    assert np.abs(image.rgb.astype(int) - PHOTO).mean() < 2


@pytest.mark.parametrize("encode", [imagecodecs.png_encode, imagecodecs.jpegxl_encode])
def test_deep_opacity(tmp_path, encode):
    for colours in (SIXTEEN, SIXTEEN[:, :, :1]):
        data = encode(np.dstack([colours, OPACITY]), **({"lossless": True} if encode is
                      imagecodecs.jpegxl_encode else {}))  # fmt: skip
        image = load_image(written(tmp_path, data))
        assert np.array_equal(image.valid, OPACITY > 0)
        assert off(image.rgb[:, 30:], PHOTO[:, 30:, : colours.shape[2]]) <= 5


def test_a_png_of_16_bits_is_turned_and_has_a_transparent_colour(tmp_path):
    data = imagecodecs.png_encode(SIXTEEN)
    exif = Image.Exif()
    exif[0x0112] = 6
    chunks = [(b"tRNS", struct.pack(">3H", *SIXTEEN[3, 4].tolist())), (b"eXIf", exif.tobytes()[6:])]
    for kind, content in chunks:
        added = struct.pack(">I", len(content)) + kind + content
        data = data[:33] + added + struct.pack(">I", crc(kind + content)) + data[33:]
    image = load_image(written(tmp_path, data))
    assert image.size == (90, 70)
    assert np.array_equal(image.rgb[image.valid], np.rot90(PHOTO, -1)[image.valid])
    assert not image.valid[4, 70 - 1 - 3]


def crc(content: bytes) -> int:
    import zlib

    return zlib.crc32(content)


def test_a_fourth_band_of_a_jp2_is_not_opacity_unless_it_says_so(tmp_path):
    four = np.dstack([SIXTEEN, OPACITY])
    image = load_image(written(tmp_path, jp2(four, codecformat="jp2")))
    assert off(image.rgb) == 0
    assert (image.valid, image.facts["bands"]) == (None, [1, 2, 3])
    image = load_image(written(tmp_path, jp2((four >> 8).astype(np.uint8), codecformat="jp2")))
    assert (off(image.rgb), image.valid) == (0, None)
    path = tmp_path / "photo.jp2"
    Image.fromarray((four >> 8).astype(np.uint8)).save(path)  # says it
    assert np.array_equal(load_image(path).valid, OPACITY > 0)
    seven = np.dstack([TWELVE, TWELVE, TWELVE[:, :, 0]])
    image = load_image(written(tmp_path, jp2(seven, codecformat="jp2")), bands=(6, 5, 4))
    assert off(image.rgb, PHOTO[:, :, ::-1]) <= 1


def test_frames_of_a_film(tmp_path):
    path = tmp_path / "film.gif"
    red, blue = (Image.new("RGB", (4, 4), colour) for colour in ("red", "blue"))
    red.save(path, save_all=True, append_images=[blue])
    assert (load_image(path, page=1).rgb == [0, 0, 255]).all()
    assert (load_image(path).rgb == [255, 0, 0]).all()
    with refused(ImageError, "film.gif", "pages 0 to 1"):
        load_image(path, page=2)
    with refused(ImageError, "page 0", "got page 1"):
        load_image(PHOTO, page=1)


def test_frames_of_jpeg_xl(tmp_path):
    film = imagecodecs.jpegxl_encode(
        np.stack([PHOTO, 255 - PHOTO]), photometric="rgb", lossless=True
    )
    path = written(tmp_path, film)
    assert off(load_image(path).rgb) == 0
    assert off(load_image(path, page=1).rgb, 255 - PHOTO) == 0
    for data in (film, KINDS["jxl"]):
        with refused(ImageError, "photo.bin", "got page 2"):
            load_image(written(tmp_path, data), page=2)


def test_bands_of_a_photograph(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    assert off(load_image(path, bands=(3, 2, 1)).rgb, PHOTO[:, :, ::-1]) == 0
    assert off(load_image(path, bands=2).rgb, PHOTO[:, :, 1]) == 0
    assert off(load_image(Image.fromarray(PHOTO), bands="2").rgb, PHOTO[:, :, 1]) == 0


# -- HEIF -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["RGB", "RGB;16", "RGBA"])
def test_heif_of_8_and_10_bits_and_with_opacity(tmp_path, mode):
    stored = {"RGB": PHOTO, "RGB;16": SIXTEEN,
              "RGBA": np.dstack([PHOTO, (OPACITY >> 8).astype(np.uint8)])}[mode]  # fmt: skip
    path = tmp_path / "photo.heic"
    pillow_heif.from_bytes(mode, (90, 70), stored.tobytes()).save(path, quality=95)
    image = load_image(path)
    assert np.abs(image.rgb[:, 34:].astype(int) - PHOTO[:, 34:]).mean() < 4
    assert image.facts == ({"stretch": {"low": 0, "high": 65535}} if "16" in mode else {})
    if mode == "RGBA":
        assert (image.valid == (OPACITY > 0)).mean() > 0.97
    with refused(ImageError, "photo.heic", "above the limit"):
        load_image(path, max_pixels=100)


def test_heif_is_turned_once(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "photo.heic"
    pillow_heif.from_pillow(Image.fromarray(PHOTO)).save(path, quality=95, exif=exif.tobytes())
    image = load_image(path)
    assert image.size == (90, 70)
    assert np.abs(image.rgb.astype(int) - np.rot90(PHOTO, -1)).mean() < 4


# -- colour profiles ------------------------------------------------------------------------------

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
P3 = icc.of_colour("Display P3", icc.P3, 2.2)
ADOBE = icc.of_colour("Adobe RGB (1998)", icc.ADOBE, 2.19921875)


def in_srgb(rgb: np.ndarray, primaries: tuple, gamma: float) -> np.ndarray:
    """The colours in sRGB by the formulas: to XYZ under D50 and back with sRGB's own primaries."""
    to_xyz = np.array(primaries).T
    srgb = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061],
                     [0.01392, 0.09708, 0.71410]])  # fmt: skip
    linear = (rgb / 255.0) ** gamma @ to_xyz.T @ np.linalg.inv(srgb).T
    linear = np.clip(linear, 0, 1)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved * 255


@pytest.mark.parametrize(("profile", "primaries", "gamma"),
                         [(P3, icc.P3, 2.2), (ADOBE, icc.ADOBE, 2.19921875)])  # fmt: skip
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_profiles_of_colour_are_applied(tmp_path, profile, primaries, gamma, suffix):
    path = tmp_path / f"photo.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(PHOTO).save(path, icc_profile=profile, **options)
    image = load_image(path)
    assert off(image.rgb, in_srgb(PHOTO, primaries, gamma)) <= 2.5
    assert off(image.rgb) > 20
    assert image.facts["profile"] in ("Display P3", "Adobe RGB (1998)")


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_srgb_and_useless_profiles_leave_every_byte(tmp_path, suffix):
    path = tmp_path / f"photo.{suffix}"
    Image.fromarray(PHOTO).save(path)
    plain = load_image(path).rgb
    renamed = SRGB.replace(b"s\0R\0G\0B", b"t\0R\0G\0B")
    for profile, said in ((SRGB, None), (renamed, None), (b"x" * 200, "not applied"),
                          (P3[:200], "not applied"),
                          (icc.of_grey("a grey", 1.8), "not applied")):  # fmt: skip
        Image.fromarray(PHOTO).save(path, icc_profile=profile)
        image = load_image(path)
        assert np.array_equal(image.rgb, plain)
        assert (said or "") in image.facts.get("profile", "")
        assert ("profile" in image.facts) == (said is not None)


def test_a_profile_of_grey(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(GREY).save(path, icc_profile=icc.of_grey("of print", 1.8))
    light = (GREY / 255) ** 1.8
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055) * 255
    assert off(load_image(path).rgb, expected) <= 2.5


def test_deep_colour_has_its_profile_applied(tmp_path):
    path = written(tmp_path, imagecodecs.png_encode(SIXTEEN))
    data = path.read_bytes()
    import zlib

    content = b"icc\0\0" + zlib.compress(P3)
    chunk = struct.pack(">I", len(content)) + b"iCCP" + content
    path.write_bytes(data[:33] + chunk + struct.pack(">I", crc(b"iCCP" + content)) + data[33:])
    image = load_image(path)
    assert off(image.rgb, in_srgb(PHOTO, icc.P3, 2.2)) <= 2.5
    assert image.facts["profile"] == "Display P3"


def test_large_texts_and_profiles_do_not_damage_a_png(tmp_path):
    path = tmp_path / "photo.png"
    info = PngImagePlugin.PngInfo()
    info.add_text("packed", "x" * 3_000_000, zip=True)
    info.add_itxt("of a language", "y" * 3_000_000, "en", "of a language", zip=True)
    info.add_text("plain", "z" * 3_000_000)
    for i in range(150):
        info.add_text(f"one of many {i}", "x" * 500_000, zip=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    large = struct.pack(">I", len(P3) + 2_000_000) + P3[4:]
    large += np.random.default_rng(0).bytes(2_000_000)
    Image.fromarray(PHOTO).save(path, pnginfo=info, exif=exif)
    assert np.array_equal(load_image(path).rgb, np.rot90(PHOTO, -1))
    Image.fromarray(PHOTO).save(path, pnginfo=info, icc_profile=large)
    image = load_image(path)
    assert image.facts["profile"] == "Display P3"
    assert off(image.rgb, in_srgb(PHOTO, icc.P3, 2.2)) <= 2.5
    assert image_size(path) == (70, 90)


# -- kinds that no reader reads -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "name", "kind"),
    [
        (b"\x76\x2f\x31\x01", "photo.exr", "OpenEXR"),
        (b"II*\0", "photo.CR2", "camera's raw file"),
        (b"II*\0", "photo.dng", "camera's raw file"),
        (b"IIU\0", "photo", "camera's raw file"),
        (b"\0\0\0\x18ftypcrx ", "photo", "camera's raw file"),
        (b"%PDF-1.7", "photo.tif", "PDF"),
        (b"\0\0\0\x18ftypisom", "photo.jpg", "film"),
        (b"<VRTDataset", "photo.vrt", "gdal_translate"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path, start, name, kind):
    path = written(tmp_path, start + bytes(200), name)
    for read in (load_image, image_size):
        with refused(ImageError, name, kind):
            read(path)


WHAT_TO_DO = {"convert", "develop", "draw", "load", "make", "save", "unpack"}


def test_what_is_refused_says_what_to_do_instead():
    from regiontree.images import refused as kinds

    for said in (kinds._RAW, kinds._FILM, *(kind for *_, kind in kinds._KINDS)):
        what, _, instead = said.partition("; ")
        assert what, said
        assert instead.split()[0] in WHAT_TO_DO, said


def test_a_photograph_is_read_whatever_its_name_says(tmp_path):
    for name in ("photo.nef", "photo.dcm", "photo.heic", "photo.jxl", "photo.pfm", "photo"):
        path = tmp_path / name
        Image.fromarray(PHOTO).save(path, format="PNG")
        assert np.array_equal(load_image(path).rgb, PHOTO)


def test_folders_are_searched_for_every_kind():
    assert {".jpg", ".tif", ".dcm", ".heic", ".heif", ".svs", ".jxl", ".pfm"} <= image_suffixes()
    assert not {".nef", ".npy", ".npz", ".json", ".hdr"} & image_suffixes()


# -- choices --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bands", ["", "a", "1,2", (1, 2, 3, 4), 0, (1, 2, -3), 1.5, "1.5", object()]
)
def test_bands_that_cannot_be_meant(bands):
    with refused(SettingsError, "bands", "one or three", "got"):
        load_image(PHOTO, bands=bands)


@pytest.mark.parametrize("page", [-1, 1.5, "1", True, (1,)])
def test_pages_that_cannot_be_meant(page):
    with refused(SettingsError, "page", "from 0 on", "got"):
        load_image(PHOTO, page=page)


def test_a_tree_records_the_choice_and_its_photograph_is_read_again_with_it(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(PHOTO).save(path)
    meta = {"image": dict(load_image(path, bands=(3, 2, 1)).facts)}
    assert Choice.of_meta(meta) == Choice((3, 2, 1))
    again = load_again(path, meta, shape=(70, 90))
    assert off(again.rgb, PHOTO[:, :, ::-1]) == 0
    # Pixels that are colours already stay as they are.
    assert off(load_again(PHOTO, meta, shape=(70, 90)).rgb) == 0


@pytest.mark.parametrize("meta", [{}, {"image": None}, {"image": {"choice": 3}},
                                  {"image": {"choice": {"bands": [0], "page": "x"}}}])  # fmt: skip
def test_meta_without_a_choice(meta):
    assert Choice.of_meta(meta) == Choice()


def test_what_nobody_chose_is_said():
    many = {"bands": [1], "bands_in_file": 2, "page": 0, "pages": 5}
    assert "band 1 of 2" in notice_of(many)
    assert "page 0, the first of 5" in notice_of(many)
    assert notice_of({**many, "choice": {"bands": [1], "page": 0}}) is None
    assert "512 x 256" in notice_of({"reduced_from": [256, 512]})
    assert notice_of({}) is None


def test_an_open_image_of_pillow_is_read_as_deep_as_its_file(tmp_path):
    path = tmp_path / "photo.tif"
    planes = {"photometric": "rgb", "planarconfig": "separate"}
    tifffile.imwrite(path, TWELVE.transpose(2, 0, 1), **planes)
    with Image.open(path) as image:
        assert off(load_image(image).rgb) <= 1
        assert image.size == (90, 70)
        image.load()  # now the low bits are gone
        with refused(ImageError, "cut to 8 bits", "path"):
            load_image(image)
    png = written(tmp_path, imagecodecs.png_encode(TWELVE), "photo.png")
    with Image.open(png) as image:
        assert off(load_image(image).rgb) <= 1
        assert np.asarray(image).max() == 15  # still Pillow's to decode


def test_a_file_like_object_of_an_open_image(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, format="PNG", icc_profile=P3)
    image = load_image(Image.open(stream))
    assert image.facts["profile"] == "Display P3"


@pytest.mark.parametrize("suffix", [".dcm", ".heic", ".tif", ".jxl", ".png", ""])
@pytest.mark.parametrize("kind", ["WEBP", "GIF", "BMP", "AVIF"])
def test_formats_of_pillow_are_known_by_their_content_too(tmp_path, kind, suffix):
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, kind)
    path = written(tmp_path, file.getvalue(), f"photo{suffix}")
    assert np.array_equal(load_image(path).rgb, load_image(file.getvalue()).rgb)


def test_three_bands_that_a_jp2_calls_grey_are_colours(tmp_path):
    # GDAL writes them so if it does not know the colours of the bands.
    data = bytearray(jp2(PHOTO))
    at = data.find(b"colr")
    data[at + 7 : at + 11] = (17).to_bytes(4, "big")
    path = written(tmp_path, bytes(data), "scene.jp2")
    assert off(load_image(path).rgb) == 0
    assert image_size(path) == PHOTO.shape[:2]
    with refused(ImageError, "cut.jp2", "damaged"):
        load_image(written(tmp_path, bytes(data[: len(data) // 2]), "cut.jp2"))
