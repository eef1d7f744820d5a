"""Values that stand for no data: which pixels have them, and what GDAL's files beside an image say.

A GeoTIFF names its no-data value itself. For other formats, and for files that it may not change,
GDAL writes the value into ``NAME.aux.xml`` (its "persistent auxiliary metadata"), and a mask into
``NAME.msk``. As in GDAL, a value there overrules the file's own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["has_beside", "mask_beside", "nodata_beside", "nodata_fact", "nodata_value", "with_data"]

_MOST_XML = 1 << 24  # an attribute table or a histogram makes such a file large
# Bounded, so that a hostile file is searched in linear time.
_PAM = re.compile(
    r'<PAMRasterBand\s{1,9}band="(\d{1,9})"|<NoDataValue\b[^<>]{0,99}>([^<]{0,99})</NoDataValue>'
)
# Programs write such values with six digits.
_HUGE, _TINY = 1e30, 1e-30


def nodata_value(text: str) -> float | None:
    """The number in a text, such as ``-9999`` or ``nan``; None if there is none."""
    try:
        return float(text.strip(" \0\t\r\n"))
    except ValueError:
        return None


def nodata_beside(path: Path | None) -> dict[int, float]:
    """The no-data values in the file ``.aux.xml`` beside an image, by band from 1."""
    if path is None:
        return {}
    try:
        with path.with_name(f"{path.name}.aux.xml").open("rb") as file:
            text = file.read(_MOST_XML).decode("utf-8", "replace")
    except (OSError, ValueError):
        return {}
    values: dict[int, float] = {}
    band = 0
    for number, said in _PAM.findall(text):
        value = nodata_value(said)
        if number:
            band = int(number)
        elif band and value is not None:
            values[band] = value
    return values


def mask_beside(path: Path | None) -> Path | None:
    """The mask file ``.msk`` beside an image, if there is one."""
    beside = None if path is None else path.with_name(f"{path.name}.msk")
    try:
        return beside if beside is not None and beside.is_file() else None
    except (OSError, ValueError):
        return None


def has_beside(path: Path | None) -> bool:
    """Whether a file beside an image says that pixels of it are not there."""
    return mask_beside(path) is not None or bool(nodata_beside(path))


def with_data(samples: NDArray[Any], values: Sequence[float | None]) -> NDArray[np.bool_]:
    """Which pixels hold data, (h, w).

    0 and the values of unsigned types are colours, too, so all bands must have them. A value like
    -9999 is none, so one band is enough.

    Parameters
    ----------
    samples
        (h, w, n).
    values
        What stands for no data in each of the n bands; None if nothing does.

    Examples
    --------
    >>> with_data(np.array([[[0, 0], [0, 7]]], np.uint8), [0.0, 0.0])
    array([[False,  True]])
    """
    gone = [
        _equal(samples[:, :, band], value) for band, value in enumerate(values) if value is not None
    ]
    if not gone:
        return np.ones(samples.shape[:2], np.bool_)
    is_colour = samples.dtype.kind == "u" or all(value in (0, None) for value in values)
    combined = np.logical_and if is_colour else np.logical_or
    there: NDArray[np.bool_] = ~combined.reduce(gone)
    return there


def nodata_fact(values: Sequence[float | None]) -> Any:
    """What ``meta["image"]["nodata"]`` records: the value, or one for each band that is shown."""
    said = [v if v is None or math.isfinite(v) else str(v) for v in values]
    return said[0] if len(set(said)) == 1 else said


def _equal(samples: NDArray[Any], value: float) -> NDArray[np.bool_]:
    found: NDArray[np.bool_]
    if math.isnan(value):
        found = (
            np.isnan(samples) if samples.dtype.kind == "f" else np.zeros(samples.shape, np.bool_)
        )
    elif samples.dtype.kind != "f" or math.isinf(value):
        found = samples == value
    else:
        # The lowest float64 is declared for float32 files, too. It means the lowest float32.
        most = float(np.finfo(samples.dtype).max)
        stored = samples.dtype.type(min(max(value, -most), most))
        rough = abs(value) > _HUGE or 0 < abs(value) < _TINY
        # float32 holds seven digits.
        rtol = 1e-5 if rough else 1e-12 if samples.dtype.itemsize > 4 else 3e-7
        found = np.isclose(samples, stored, rtol=rtol, atol=0.0)
    return found
