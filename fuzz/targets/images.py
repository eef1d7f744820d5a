"""Photographs in every family of formats, through ``load_image`` and ``image_size``."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image, features

from fuzz.containers import change_png, change_tiff
from fuzz.target import Box, Target
from regiontree.images import image_size, load_image
from regiontree.images.profile import inks_to_srgb, to_srgb

__all__ = ["TARGETS", "photo", "tiff"]

_KINDS = ("u1", "u2", "u4", "u8", "i1", "i2", "i4", "f2", "f4", "f8", "?", "c8")
MOST = 40_000
"""Pixels that a picture of a case may have."""


def photo(rows: int = 9, columns: int = 12) -> np.ndarray:
    """A small colour photograph, (rows, columns, 3) uint8."""
    y, x = np.mgrid[:rows, :columns]
    return np.stack([y * 20, x * 20, (x + y) * 10], -1).astype(np.uint8)


def _pillow(
    form: str, array: np.ndarray | None = None, mode: str | None = None, **how: Any
) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(photo() if array is None else array)
    (image.convert(mode) if mode else image).save(file, form, **how)
    return file.getvalue()


def tiff(array: np.ndarray, **how: Any) -> bytes:
    """An array as a TIFF, written by tifffile."""
    import tifffile

    file = io.BytesIO()
    tifffile.imwrite(file, array, **how)
    return file.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _common_seeds() -> list[bytes]:
    wide = photo()
    found = [
        _pillow("JPEG", exif=_exif(6)), _pillow("JPEG", mode="CMYK"), _pillow("JPEG", mode="L"),
        _pillow("BMP"), _pillow("GIF"), _pillow("PPM"), _pillow("PPM", mode="L"), _pillow("TGA"),
        _pillow("PPM", mode="1"), _pillow("WEBP", lossless=True), _pillow("WEBP"),
        _pillow("GIF", mode="L"),
    ]  # fmt: skip
    file = io.BytesIO()
    Image.fromarray(wide).save(
        file, "GIF", save_all=True, append_images=[Image.fromarray(wide[::-1])]
    )
    found.append(file.getvalue())
    if features.check("jpg_2000"):
        found.append(_pillow("JPEG2000"))
    if features.check("avif"):
        found.append(_pillow("AVIF"))
    return found


def _png_seeds() -> list[bytes]:
    from PIL import PngImagePlugin

    grey = photo()[..., 0]
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "words", zip=True)
    return [
        _pillow("PNG"), _pillow("PNG", grey), _pillow("PNG", grey.astype(np.uint16) * 257),
        _pillow("PNG", mode="P"), _pillow("PNG", mode="RGBA"), _pillow("PNG", mode="LA"),
        _pillow("PNG", mode="1"), _pillow("PNG", exif=_exif(3), pnginfo=text),
        _pillow("PNG", mode="P", transparency=3), _sixteen(),
    ]  # fmt: skip


def _sixteen() -> bytes:
    """A PNG with 16 bits a channel, which Pillow does not write."""
    import struct

    rows = photo().astype(">u2") * 16
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    found = b"\x89PNG\r\n\x1a\n"
    head = struct.pack(">IIBBBBB", 12, 9, 16, 2, 0, 0, 0)
    for kind, body in (b"IHDR", head), (b"IDAT", zlib.compress(raw)), (b"IEND", b""):
        found += struct.pack(">I", len(body)) + kind + body
        found += struct.pack(">I", zlib.crc32(kind + body))
    return found


def _tiff_seeds() -> list[bytes]:
    wide = photo()
    grey, deep = wide[..., 0], wide.astype(np.uint16) * 257
    rgb: dict[str, Any] = {"photometric": "rgb"}
    many = np.moveaxis(np.concatenate([wide] * 2, -1), -1, 0)
    return [
        tiff(wide, **rgb), tiff(deep, **rgb), tiff(grey), tiff(deep[..., 0]),
        tiff(np.moveaxis(deep, -1, 0), planarconfig="separate", **rgb),
        tiff(grey.astype(np.float32)), tiff(grey.astype(np.float64)),
        tiff(wide.astype(np.float32) / 255, **rgb), tiff(wide, compression="zlib", **rgb),
        tiff(wide, compression="lzw", predictor=True, **rgb), tiff(many, planarconfig="separate"),
        tiff(np.stack([wide] * 3), **rgb), tiff(wide, tile=(16, 16), **rgb),
        tiff(grey.astype(np.int32)), tiff(wide, byteorder=">", **rgb),
        tiff(wide, bigtiff=True, **rgb),
        _pillow("TIFF", mode="P"), _pillow("TIFF", mode="1", compression="group4"),
        tiff(grey.astype(np.float32), extratags=[(42113, "s", 0, "-9999", True)]),
    ]  # fmt: skip


def _deep_seeds() -> list[bytes]:
    """Formats that imagecodecs decodes, and deep kinds of those that Pillow decodes."""
    import imagecodecs

    wide = photo(16, 16)
    deep = wide.astype(np.uint16) * 16
    light = wide.astype(np.float32) / 255
    return [
        imagecodecs.jpegxl_encode(wide), imagecodecs.jpegxl_encode(deep),
        imagecodecs.jpegxl_encode(light), imagecodecs.qoi_encode(wide),
        imagecodecs.rgbe_encode(light), imagecodecs.jpeg2k_encode(deep),
        imagecodecs.jpeg2k_encode(wide, codecformat="j2k"),
        imagecodecs.jpeg8_encode(deep, bitspersample=12), imagecodecs.jpegls_encode(deep),
        imagecodecs.ljpeg_encode(deep[..., 0]),
        b"PF 16 16 -1.0\n" + light.tobytes(), b"Pf\n16 16\n1.0\n" + light[..., 0].tobytes(),
        b"P6 16 16 65535\n" + deep.astype(">u2").tobytes(),
        b"P2 # words\n2 2\n4095\n0 1 2 4095\n",
    ]  # fmt: skip


def _profile(box: Box, data: bytes) -> None:
    """Colours of an RGB, a grey and a CMYK picture by a foreign profile."""
    del box
    rgb = photo()
    for colours in rgb, np.repeat(rgb[..., :1], 3, -1):
        found, said = to_srgb(colours, data)
        assert found.shape == rgb.shape
        assert found.dtype == np.uint8
        json.dumps(said)
    found, said = inks_to_srgb(Image.fromarray(rgb).convert("CMYK"), data)
    assert found.shape == rgb.shape
    assert said is None or said.isprintable(), "control characters of a profile's name"


def _profile_seeds() -> list[bytes]:
    from PIL import ImageCms

    return [ImageCms.ImageCmsProfile(ImageCms.createProfile(name)).tobytes()
            for name in ("sRGB", "LAB", "XYZ")]  # fmt: skip


def _heif_seeds() -> list[bytes]:
    import pillow_heif

    file = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photo(16, 16))).save(file, quality=30)
    return [file.getvalue()]


def _dicom_seeds() -> list[bytes]:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    def made(array: np.ndarray, photometric: str, **more: Any) -> bytes:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
        meta.MediaStorageSOPInstanceUID = "1.2.3"
        found = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        colour = photometric == "RGB"
        found.Rows, found.Columns = array.shape[-3:-1] if colour else array.shape[-2:]
        found.SamplesPerPixel = 3 if colour else 1
        found.PhotometricInterpretation = photometric
        found.BitsAllocated = found.BitsStored = array.itemsize * 8
        found.HighBit, found.PixelRepresentation = found.BitsStored - 1, 0
        if colour:
            found.PlanarConfiguration = 0
        for name, value in more.items():
            setattr(found, name, value)
        found.PixelData = array.tobytes()
        file = io.BytesIO()
        found.save_as(file, enforce_file_format=True)
        return file.getvalue()

    grey = photo()[..., 0]
    return [
        made(grey.astype(np.uint16) * 16, "MONOCHROME2", WindowCenter="1000", WindowWidth="2000"),
        made(grey, "MONOCHROME1"), made(photo(), "RGB"),
        made(np.stack([grey] * 2).astype(np.uint16), "MONOCHROME2", NumberOfFrames="2",
             RescaleSlope="2", RescaleIntercept="-1024"),
    ]  # fmt: skip


def _reader(suffix: str, *, sized: bool = True) -> Callable[[Box, bytes], None]:
    def run(box: Box, data: bytes) -> None:
        path = box.write(f"case{suffix}", data)
        image = load_image(path, max_pixels=MOST)
        rgb = image.rgb
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3
        assert 0 < rgb.shape[0] * rgb.shape[1] <= MOST
        assert image.size == rgb.shape[:2], "without cover, pixels are those of the whole image"
        stored = image_size(path, max_pixels=MOST)
        if sized:
            same = sorted(stored) == sorted(image.size)
            assert same, "the header gives another size than the pixels"
        assert image.valid is None or image.valid.shape == rgb.shape[:2]
        json.dumps(dict(image.facts), allow_nan=False)
        covered = load_image(path, max_pixels=MOST, cover=4)
        assert covered.size == image.size
        grey = (rgb == rgb[..., :1]).all()
        bands = (1,) if grey or len(data) % 2 else (3, 2, 1)
        chosen = load_image(path, max_pixels=MOST, bands=bands, page=0)
        if chosen.facts.get("pages", 1) > 1:
            chosen = load_image(path, max_pixels=MOST, bands=bands, page=1)
        assert chosen.rgb.dtype == np.uint8
        assert 0 < chosen.rgb.shape[0] * chosen.rgb.shape[1] <= MOST
        json.dumps(dict(chosen.facts), allow_nan=False)

    return run


def _arrays() -> st.SearchStrategy[bytes]:
    """TIFF files of any type, number of channels, layout and byte order."""

    @st.composite
    def build(draw: st.DrawFn) -> bytes:
        kind = np.dtype(draw(st.sampled_from(_KINDS)))
        bands = draw(st.sampled_from([1, 1, 3, 4, 2, 5]))
        shape: tuple[int, ...] = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
        how: dict[str, Any] = {"byteorder": draw(st.sampled_from("<>"))}
        if bands > 1:
            separate = draw(st.booleans())
            how["planarconfig"] = "separate" if separate else "contig"
            how["photometric"] = "rgb" if bands in (3, 4) else "minisblack"
            shape = (bands, *shape) if separate else (*shape, bands)
        count = int(np.prod(shape)) * kind.itemsize
        raw = draw(st.binary(min_size=min(count, 96), max_size=min(count, 96)))
        body = (raw * (count // len(raw) + 1))[:count]
        array = np.frombuffer(body, "u1" if kind == "?" else kind)
        array = (array > 99 if kind == "?" else array).reshape(shape)
        if draw(st.booleans()):
            how["compression"] = "zlib"
        return tiff(array, **how)

    return build()


TARGETS = (
    Target("images.common", _reader(".img"), _common_seeds, share=2),
    Target("images.png", _reader(".png"), _png_seeds, (change_png,) * 3, loud=True),
    Target("images.tiff", _reader(".tif"), _tiff_seeds, (change_tiff,) * 3, _arrays, share=2),
    Target("images.heif", _reader(".heic", sized=False), _heif_seeds),
    Target("images.deep", _reader(".img"), _deep_seeds),
    Target("images.profile", _profile, _profile_seeds, share=0.3),
    Target("images.dicom", _reader(".dcm"), _dicom_seeds),
)
