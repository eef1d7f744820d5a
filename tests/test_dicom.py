"""DICOM images: windows, inverted grey, padding, colours, frames, compressions."""

from __future__ import annotations

import io
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
from conftest import EXAMPLE, refused
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from regiontree.errors import ImageError
from regiontree.images import image_size, load_image

PHOTO = np.asarray(Image.open(EXAMPLE).convert("RGB").resize((90, 70)))
GREY = np.asarray(Image.fromarray(PHOTO).convert("L"))
TWELVE = GREY.astype(np.uint16) * 16
SCAN = GREY.astype(np.int16) * 8 - 1024


def off(rgb: np.ndarray, truth: np.ndarray = GREY) -> int:
    truth = truth if truth.ndim == 3 else truth[:, :, None]
    return int(np.abs(rgb.astype(int) - truth).max())


@pytest.fixture
def dicom(tmp_path):
    def write(
        array: np.ndarray, kind: str = "MONOCHROME2", *, syntax=uid.ExplicitVRLittleEndian,
        encode=None, bits: int | None = None, frames: int = 0, name: str = "slice.dcm", **elements,
    ) -> Path:  # fmt: skip
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = syntax
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.CTImageStorage
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3.4"
        one = array[0] if frames else array
        data.Modality, (data.Rows, data.Columns) = "CT", one.shape[:2]
        data.SamplesPerPixel = one.shape[2] if one.ndim == 3 else 1
        if one.ndim == 3:
            data.PlanarConfiguration = 0
        if frames:
            data.NumberOfFrames = frames
        data.BitsAllocated = array.dtype.itemsize * 8
        data.BitsStored = bits or data.BitsAllocated
        data.HighBit = data.BitsStored - 1
        data.PixelRepresentation = int(array.dtype.kind == "i")
        data.PhotometricInterpretation = kind
        if encode is None:
            data.PixelData = array.tobytes()
        else:
            data.PixelData = encapsulate([encode(x) for x in (array if frames else [array])])
        for element, value in elements.items():
            setattr(data, element, value)
        data.save_as(tmp_path / name, enforce_file_format=True)
        return tmp_path / name

    return write


def test_eight_bits_are_shown_as_they_are(dicom):
    path = dicom(GREY)
    image = load_image(path)
    assert off(image.rgb) == 0
    assert (image.size, image_size(path), image.facts) == ((70, 90), (70, 90), {})


def test_without_a_window_a_scan_is_stretched_in_its_own_units(dicom):
    image = load_image(dicom(SCAN, RescaleSlope=2, RescaleIntercept=-100))
    assert off(image.rgb) <= 3
    assert image.facts["stretch"]["low"] == pytest.approx(2 * SCAN.min() - 100, abs=40)


def test_the_window_of_the_file_is_used_and_recorded(dicom):
    path = dicom(SCAN, RescaleSlope=1, RescaleIntercept=0, WindowCenter=[0, 40],
                 WindowWidth=[1024, 400])  # fmt: skip
    image = load_image(path)
    # PS3.3 C.11.2.1.2.1: from c - 0.5 - (w - 1) / 2 to c - 0.5 + (w - 1) / 2.
    expected = np.clip((SCAN + 512.0) / 1023, 0, 1) * 255
    assert off(image.rgb, expected) <= 1
    assert image.facts["window"] == {"center": 0, "width": 1024}
    assert image.facts["stretch"] == {"low": -512, "high": 511}


def test_a_window_that_shows_nothing_is_not_used(dicom):
    image = load_image(dicom(SCAN, WindowCenter=30000, WindowWidth=10))
    assert off(image.rgb) <= 3
    assert "window" not in image.facts


def test_inverted_grey_is_turned(dicom):
    assert off(load_image(dicom(255 - GREY, "MONOCHROME1")).rgb) == 0
    image = load_image(dicom(4080 - TWELVE, "MONOCHROME1", bits=12))
    assert off(image.rgb) <= 3
    assert image.facts["stretch"]["low"] > image.facts["stretch"]["high"]
    window = {"WindowCenter": 2040.5, "WindowWidth": 4081}
    assert off(load_image(dicom(4080 - TWELVE, "MONOCHROME1", bits=12, **window)).rgb) <= 1


def test_padding_is_not_there(dicom):
    padded = SCAN.copy()
    padded[:, :20], padded[:, 20:30] = -2000, -1990
    image = load_image(dicom(padded, PixelPaddingValue=-2000))
    assert np.array_equal(image.valid, padded != -2000)
    image = load_image(dicom(padded, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1990))
    assert np.array_equal(image.valid, padded > -1990)
    assert off(image.rgb[:, 30:], GREY[:, 30:]) <= 3


def test_colours(dicom):
    assert off(load_image(dicom(PHOTO, "RGB")).rgb, PHOTO) == 0
    path = dicom(PHOTO, "RGB", PlanarConfiguration=1)
    data = pydicom.dcmread(path)
    data.PixelData = PHOTO.transpose(2, 0, 1).tobytes()
    data.save_as(path)
    assert off(load_image(path).rgb, PHOTO) == 0
    ycc = np.asarray(Image.fromarray(PHOTO).convert("YCbCr"))
    assert off(load_image(dicom(ycc, "YBR_FULL")).rgb, PHOTO) <= 4
    deep = load_image(dicom(PHOTO.astype(np.uint16) * 16, "RGB", bits=12))
    assert off(deep.rgb, PHOTO) <= 1


def test_a_palette(dicom):
    image = Image.fromarray(PHOTO).quantize(256)
    palette = np.array(image.getpalette()).reshape(-1, 3).astype(np.uint16) * 257
    elements: dict = {}
    for i, colour in enumerate(("Red", "Green", "Blue")):
        elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{colour}PaletteColorLookupTableData"] = palette[:, i].tobytes()
    shown = load_image(dicom(np.asarray(image), "PALETTE COLOR", **elements))
    assert off(shown.rgb, np.asarray(image.convert("RGB"))) == 0


@pytest.mark.parametrize("packed", [False, True])
def test_frames_are_pages(dicom, packed):
    options = {}
    if packed:
        options = {"syntax": uid.JPEG2000Lossless, "encode": lossless_j2k}
    path = dicom(np.stack([GREY, 255 - GREY, GREY]), frames=3, **options)
    assert off(load_image(path).rgb) == 0
    assert load_image(path).facts == {"page": 0, "pages": 3}
    assert off(load_image(path, page=1).rgb, 255 - GREY) == 0
    with refused(ImageError, "slice.dcm", "pages 0 to 2", "got page 3"):
        load_image(path, page=3)


def lossless_j2k(frame: np.ndarray) -> bytes:
    return imagecodecs.jpeg2k_encode(frame, codecformat="j2k", reversible=True, level=0)


@pytest.mark.parametrize(
    ("array", "kind", "syntax", "encode", "truth", "most"),
    [
        (TWELVE, "MONOCHROME2", uid.JPEGLosslessSV1,
         lambda x: imagecodecs.ljpeg_encode(x, bitspersample=12), GREY, 3),
        (TWELVE, "MONOCHROME2", uid.JPEGLSLossless, imagecodecs.jpegls_encode, GREY, 3),
        (TWELVE, "MONOCHROME2", uid.JPEG2000Lossless, lossless_j2k, GREY, 3),
        (SCAN, "MONOCHROME2", uid.JPEG2000Lossless, lossless_j2k, GREY, 3),
        (TWELVE, "MONOCHROME2", uid.JPEGExtended12Bit,
         lambda x: imagecodecs.jpeg8_encode(x, level=99, bitspersample=12), GREY, 6),
        (PHOTO, "YBR_RCT", uid.JPEG2000Lossless,
         lambda x: imagecodecs.jpeg2k_encode(x, codecformat="j2k", reversible=True, level=0,
                                             mct=True), PHOTO, 0),
        (PHOTO, "RGB", uid.JPEGBaseline8Bit,
         lambda x: imagecodecs.jpeg8_encode(x, level=98, colorspace="RGB", outcolorspace="RGB"),
         PHOTO, 8),
        (PHOTO, "YBR_FULL_422", uid.JPEGBaseline8Bit,
         lambda x: imagecodecs.jpeg8_encode(x, level=98, subsampling="444"), PHOTO, 16),
    ],
)  # fmt: skip
def test_compressions(dicom, array, kind, syntax, encode, truth, most):
    bits = 12 if array is TWELVE else None
    image = load_image(dicom(array, kind, syntax=syntax, encode=encode, bits=bits))
    assert off(image.rgb, truth) <= most


def test_a_deflated_file(dicom):
    path = dicom(GREY, syntax=uid.DeflatedExplicitVRLittleEndian)
    assert off(load_image(path).rgb) == 0


def test_a_file_is_known_by_its_content_even_behind_the_start_of_a_tiff(dicom, tmp_path):
    path = dicom(GREY, name="IM0001")
    assert off(load_image(path).rgb) == 0
    data = path.read_bytes()
    path.write_bytes(b"II*\0".ljust(128, b"\0") + data[128:])
    assert off(load_image(path).rgb) == 0


def test_a_file_without_its_first_part(dicom, tmp_path):
    data = pydicom.dcmread(dicom(GREY))
    data.file_meta = FileMetaDataset()
    path = tmp_path / "old.dcm"
    pydicom.dcmwrite(path, data, implicit_vr=True, little_endian=True, enforce_file_format=False)
    assert off(load_image(path).rgb) == 0


def test_what_is_no_image_is_said(dicom, tmp_path):
    path = dicom(GREY)
    data = pydicom.dcmread(path)
    del data.PixelData
    data.Modality = "RTSTRUCT"
    data.save_as(path)
    with refused(ImageError, "slice.dcm", "no image", "RTSTRUCT"):
        load_image(path)
    data.DirectoryRecordSequence = []
    data.save_as(path)
    with refused(ImageError, "slice.dcm", "DICOMDIR"):
        load_image(path)
    path.write_bytes(b"no medicine at all, only words" * 9)
    with refused(ImageError, "slice.dcm"):
        load_image(path)


def test_damage_and_size(dicom):
    path = dicom(GREY)
    with refused(ImageError, "slice.dcm", "90 x 70", "above the limit"):
        load_image(path, max_pixels=6299)
    path.write_bytes(path.read_bytes()[:-3000])
    with refused(ImageError, "slice.dcm", "damaged or cut short"):
        load_image(path)


def test_tiles_of_a_slide_are_not_shown_as_the_slide(dicom):
    path = dicom(np.stack([PHOTO] * 4), "RGB", frames=4, TotalPixelMatrixColumns=180,
                 TotalPixelMatrixRows=140)  # fmt: skip
    with refused(ImageError, "slice.dcm", "4 tiles", "--page"):
        load_image(path)
    assert off(load_image(path, page=2).rgb, PHOTO) == 0


def table(last: int, bits: int, values: np.ndarray) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [last + 1, 0, bits]
    item.ModalityLUTType = "US"
    item.LUTData = [int(value) for value in values]
    item["LUTDescriptor"].VR = item["LUTData"].VR = "US"
    return item


def test_tables_of_values_and_of_the_display(dicom):
    falling = table(255, 16, np.arange(255, -1, -1) * 100)
    path = dicom(GREY.astype(np.uint16), ModalityLUTSequence=[falling])
    assert off(load_image(path).rgb, 255 - GREY) <= 10
    curve = np.arange(256) ** 2 // 255
    path = dicom(GREY.astype(np.uint16), VOILUTSequence=[table(255, 8, curve)])
    assert off(load_image(path).rgb, curve.astype(np.uint8)[GREY]) <= 1


def test_fewer_bits_than_eight_reach_white(dicom):
    assert off(load_image(dicom(GREY >> 4, bits=4)).rgb, (GREY >> 4) * 17) <= 1
    mask = (GREY > 120).astype(np.uint8)
    packed = np.packbits(mask.ravel(), bitorder="little").tobytes()
    packed += bytes(len(packed) % 2)
    path = dicom(mask, BitsAllocated=1, BitsStored=1, HighBit=0, PixelData=packed)
    assert off(load_image(path).rgb, mask * 255) == 0


def test_a_jpeg_marked_as_jfif_is_not_rgb_whatever_the_file_says(dicom):
    def encode(array: np.ndarray) -> bytes:
        file = io.BytesIO()
        Image.fromarray(array).save(file, "JPEG", quality=98, subsampling=0)
        return file.getvalue()

    path = dicom(PHOTO, "RGB", syntax=uid.JPEGBaseline8Bit, encode=encode)
    assert off(load_image(path).rgb, PHOTO) <= 20
