"""DICOM images by pydicom: slices, films and photographs of medicine.

Grey values are shown in the file's own window (WindowCenter, WindowWidth), or stretched if it names
none. What a file says of its values is kept: the rescaling, the padding around a scan, inverted
grey (MONOCHROME1), palettes and colours. Compressed frames are decoded by imagecodecs. Source:
DICOM PS3.3 C.7.6.3, C.11.1, C.11.2 and PS3.5 annex A.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from regiontree.errors import ImageError
from regiontree.images.channels import picture_of
from regiontree.images.readers import (
    Decoded,
    ImageReader,
    ImageRequest,
    check_page,
    check_pixels,
)
from regiontree.system.damage import plain_reason

# pydicom takes a fifth of a second to import, so only the functions that need it do so.
if TYPE_CHECKING:
    from pydicom import Dataset

__all__ = ["DicomReader", "DicomStack"]

_DEFLATED = "1.2.840.10008.1.2.1.99"
_RUN_LENGTH = "1.2.840.10008.1.2.5"
_MOST_INFLATED = 4 << 30
_DECODERS: dict[str, Callable[..., NDArray[Any]]] = {
    "1.2.840.10008.1.2.4.50": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.51": imagecodecs.jpeg8_decode,
    "1.2.840.10008.1.2.4.57": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.70": imagecodecs.ljpeg_decode,
    "1.2.840.10008.1.2.4.80": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.81": imagecodecs.jpegls_decode,
    "1.2.840.10008.1.2.4.90": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.91": imagecodecs.jpeg2k_decode,
    "1.2.840.10008.1.2.4.110": imagecodecs.jpegxl_decode,
    "1.2.840.10008.1.2.4.111": imagecodecs.jpegxl_decode,
    "1.2.840.10008.1.2.4.112": imagecodecs.jpegxl_decode,
    "1.2.840.10008.1.2.4.201": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.202": imagecodecs.htj2k_decode,
    "1.2.840.10008.1.2.4.203": imagecodecs.htj2k_decode,
}


class DicomReader(ImageReader):
    """DICOM: an :class:`~regiontree.images.readers.ImageReader`."""

    suffixes = frozenset({".dcm", ".dicom", ".ima"})
    start_at = 128
    starts = (b"DICM",)

    def size(self, request: ImageRequest) -> tuple[int, int]:
        with _parsing(request.name):
            data = _dataset(request)
            return int(data.Rows), int(data.Columns)

    def decode(self, request: ImageRequest) -> Decoded:
        with _parsing(request.name):
            return self._decoded(_dataset(request), request)

    @staticmethod
    def _decoded(data: Dataset, request: ImageRequest) -> Decoded:
        check_pixels(request.name, (int(data.Rows), int(data.Columns)), request.max_pixels)
        pages, page = int(data.get("NumberOfFrames") or 1), request.page or 0
        check_page(request.name, page, pages)
        facts: dict[str, Any] = {} if pages == 1 else {"page": page, "pages": pages}
        if request.page is None and int(data.get("TotalPixelMatrixColumns") or 0) > data.Columns:
            raise ImageError(
                f"{request.name}: is a slide of {pages} tiles, which are not put together; convert "
                "it to a tiled TIFF, or choose one tile with page (--page)"
            )
        stored = _frame(data, page, request.name)
        kind = str(data.get("PhotometricInterpretation") or "MONOCHROME2").strip()
        if kind == "PALETTE COLOR":
            from pydicom.pixels.processing import apply_color_lut

            colours = apply_color_lut(stored, data)
            deep = colours.dtype != np.uint8
            samples = (colours >> 8).astype(np.uint8) if deep and colours.max() > 255 else colours
            return picture_of(samples.astype(np.uint8), request, facts=facts)
        profile = data.get("ICCProfile")
        if stored.ndim == 3:
            white = float((1 << int(data.get("BitsStored") or 8)) - 1)
            return picture_of(stored, request, white=white, profile=profile, facts=facts)
        return _grey(stored, data, page, kind, request, facts)


class DicomStack:
    """The frames of a DICOM file, whose elements are parsed once.

    Parameters
    ----------
    request
        Names the file, which is read as a whole.

    Attributes
    ----------
    count : int
        Number of frames.
    size : (int, int)
        (H, W) of each in pixels.
    times : list of float or None
        Seconds since the first frame, by FrameTimeVector, FrameTime or the rate that the file wants
        to be shown at. None: it names none.
    """

    def __init__(self, request: ImageRequest) -> None:
        with _parsing(request.name):
            data = self._data = _dataset(request)
            self.count = max(1, int(data.get("NumberOfFrames") or 1))
            self.size = (int(data.Rows), int(data.Columns))
            self.times = _times(data, self.count)

    def decode(self, request: ImageRequest) -> Decoded:
        """The samples of the frame that a request names as its page."""
        with _parsing(request.name):
            return DicomReader._decoded(self._data, request)


def _times(data: Dataset, count: int) -> list[float] | None:
    steps = data.get("FrameTimeVector")
    if isinstance(steps, Sequence) and not isinstance(steps, str) and len(steps) == count:
        total, times = 0.0, []
        for step in steps:  # milliseconds since the frame before; the first is 0
            total += _first(step, 0.0) or 0.0
            times.append(total / 1000)
        return [time - times[0] for time in times]
    step = _first(data.get("FrameTime"))
    if not step:
        rate = _first(data.get("RecommendedDisplayFrameRate")) or _first(data.get("CineRate"))
        step = 1000 / rate if rate else None
    return None if step is None or step <= 0 else [place * step / 1000 for place in range(count)]


@contextmanager
def _parsing(name: str) -> Iterator[None]:
    """Turn the errors that pydicom alone raises into an ImageError: elements are parsed late."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    try:
        yield
    except (BytesLengthException, InvalidDicomError, NotImplementedError, RecursionError) as error:
        raise ImageError(f"{name}: is damaged or cut short ({plain_reason(error)})") from error


def _dataset(request: ImageRequest) -> Dataset:
    """The file's elements, after a check that they hold an image."""
    import pydicom

    name = request.name
    content = request.file.read()
    if content[128:132] != b"DICM" and PurePath(name).suffix.lower() not in DicomReader.suffixes:
        raise ImageError(f"{name}: is not a DICOM file (it starts with {content[:8]!r})")
    if _DEFLATED.encode() in content[:4096]:
        _check_inflated(content, name)
    data = pydicom.dcmread(io.BytesIO(content), force=True)
    if "DirectoryRecordSequence" in data:
        raise ImageError(f"{name}: is a DICOM directory (DICOMDIR); name the images instead")
    kinds = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
    if not any(kind in data for kind in kinds) or not data.get("Rows") or not data.get("Columns"):
        if len(data) == 0:
            raise ImageError(f"{name}: is damaged or cut short (no DICOM elements)")
        modality = data.get("Modality") or "unknown"
        raise ImageError(f"{name}: holds no image (its modality is {modality})")
    if "TransferSyntaxUID" not in data.file_meta:  # the oldest files do not say
        data.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
    return data


def _check_inflated(content: bytes, name: str) -> None:
    """Raise an ImageError if a deflated file unpacks to more than a few gigabytes."""
    # The length of the file's meta information stands in its first element.
    length = int.from_bytes(content[140:144], "little")
    unpacking = zlib.decompressobj(-zlib.MAX_WBITS)
    rest, total = content[144 + length :], 0
    while rest and not unpacking.eof:
        total += len(unpacking.decompress(rest, 1 << 26))
        rest = unpacking.unconsumed_tail
        if total > _MOST_INFLATED:
            raise ImageError(f"{name}: unpacks to more than {_MOST_INFLATED >> 30} GB")


def _frame(data: Dataset, page: int, name: str) -> NDArray[Any]:
    """The stored values of a frame, (h, w), or its colours in RGB, (h, w, 3)."""
    from pydicom.encaps import get_frame
    from pydicom.pixels.utils import pixel_array

    syntax = data.file_meta.TransferSyntaxUID
    try:
        if not syntax.is_compressed or str(syntax) in (_DEFLATED, _RUN_LENGTH):
            return pixel_array(data, index=page)
        decode = _DECODERS.get(str(syntax))
        if decode is None:
            raise ImageError(
                f"{name}: is compressed as {syntax.name}, which is not read; convert it to "
                "Explicit VR Little Endian, with gdcmconv --raw for example"
            )
        frames = int(data.get("NumberOfFrames") or 1)
        encoded = get_frame(data.PixelData, page, number_of_frames=frames)
        kind = str(data.PhotometricInterpretation)
        options = {}
        if decode is imagecodecs.jpeg8_decode and data.SamplesPerPixel == 3:
            # Some programs say RGB of any JPEG. The marker in the JPEG is right, if there is one.
            marked = encoded[2:4] in (b"\xff\xe0", b"\xff\xee")
            stored = "RGB" if kind == "RGB" and not marked else "YCBCR"
            options = {} if marked else {"colorspace": stored, "outcolorspace": "RGB"}
        samples: NDArray[Any] = decode(encoded, **options)
    except (NotImplementedError, RuntimeError) as error:
        raise ImageError(f"{name}: its pixels cannot be decoded ({plain_reason(error)})") from error
    if samples.shape[:2] != (data.Rows, data.Columns):
        raise ImageError(f"{name}: is damaged (a frame of shape {samples.shape[:2]})")
    if data.get("PixelRepresentation") == 1 and samples.dtype.kind == "u":
        samples = _signed(samples, int(data.BitsStored))
    return samples


def _signed(samples: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values whose highest bit is the sign."""
    wide = samples.astype(np.int32)
    return np.where(wide >= 1 << (bits - 1), wide - (1 << bits), wide)


def _grey(
    stored: NDArray[Any],
    data: Dataset,
    page: int,
    kind: str,
    request: ImageRequest,
    facts: dict[str, Any],
) -> Decoded:
    """Grey values, in the file's window if it has one."""
    valid = _unpadded(stored, data)
    transform = _of_frame(data, page, "PixelValueTransformationSequence")
    slope = _first(transform.get("RescaleSlope"), 1.0) or 1.0
    intercept = _first(transform.get("RescaleIntercept"), 0.0) or 0.0
    values: NDArray[Any] = stored
    if "ModalityLUTSequence" in data:
        from pydicom.pixels.processing import apply_modality_lut

        values, slope, intercept = apply_modality_lut(stored, data), 1.0, 0.0
    if slope != 1.0 or intercept != 0.0:
        values = stored * slope + intercept
    window = _of_frame(data, page, "FrameVOILUTSequence")
    centre, width = _first(window.get("WindowCenter")), _first(window.get("WindowWidth"))
    limits = None
    if centre is not None and width is not None and width >= 1:
        exact = window.get("VOILUTFunction") == "LINEAR_EXACT"
        low = centre - width / 2 if exact else centre - 0.5 - (width - 1) / 2
        high = centre + width / 2 if exact else centre - 0.5 + (width - 1) / 2
        seen = values if valid is None else values[valid]
        if high > low and seen.size and seen.min() < high and seen.max() > low:
            limits = (low, high)
            facts["window"] = {"center": centre, "width": width}
    if limits is None and window.get("VOILUTSequence"):
        values, limits = _by_table(values, window)
    elif limits is None and stored.dtype == np.uint8 and values is stored:
        bits = min(int(data.get("BitsStored") or 8), 8)
        limits = (0.0, float((1 << bits) - 1)) if bits < 8 else None
    inverted = kind == "MONOCHROME1"
    if limits is not None:
        values = values.astype(np.float32)  # 8 bits would be shown as they are
    elif inverted and values.dtype == np.uint8:
        values, inverted = np.uint8(255) - values, False
    found = picture_of(values, request, limits=limits, inverted=inverted, facts=facts)
    return found if valid is None else replace(found, valid=valid)


def _by_table(
    values: NDArray[Any], data: Dataset
) -> tuple[NDArray[Any], tuple[float, float] | None]:
    """The grey values of the first table that the file names for its display, and their range."""
    from pydicom.pixels.processing import apply_voi

    found = apply_voi(values, data)
    bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
    return found, (0.0, float((1 << bits) - 1))


def _unpadded(stored: NDArray[Any], data: Dataset) -> NDArray[np.bool_] | None:
    """Which pixels are not padding around the scan; None if the file names no padding."""
    first = _first(data.get("PixelPaddingValue"))
    if first is None:
        return None
    last = _first(data.get("PixelPaddingRangeLimit"), first)
    assert last is not None
    low, high = min(first, last), max(first, last)
    valid: NDArray[np.bool_] = (stored < low) | (stored > high)
    return valid


def _of_frame(data: Dataset, page: int, sequence: str) -> Dataset:
    """The elements that hold for a frame: its own, those of all frames, or those of the file."""
    for name, place in (
        ("PerFrameFunctionalGroupsSequence", page),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        groups = data.get(name)
        if groups is not None and place < len(groups) and groups[place].get(sequence):
            found: Dataset = groups[place][sequence].value[0]
            return found
    return data


def _first(value: Any, default: float | None = None) -> float | None:
    """The first of one or several numbers."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        value = value[0] if value else None
    try:
        found = float(value)
    except (TypeError, ValueError):
        return default
    return found if np.isfinite(found) else default
