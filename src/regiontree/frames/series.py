"""The slices of a DICOM series: which files of a folder they are, and their order.

Slices are sorted by their place along the normal of their plane (DICOM PS3.3 C.7.6.2). Where files
name no place, they are sorted by InstanceNumber, and else by their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from regiontree.errors import ImageError
from regiontree.images.dicom import DicomReader
from regiontree.images.load import decoding

__all__ = ["dicom_files", "sorted_series"]

_PARALLEL = 1e-3  # largest difference of directions of slices that are parallel
_EVEN = 0.01  # share of the usual distance that distances of slices differ by
_NAMED = 3  # series that a message names
_TAGS = [
    "SeriesInstanceUID", "SeriesDescription", "SeriesNumber", "InstanceNumber", "Modality",
    "ImagePositionPatient", "ImageOrientationPatient", "NumberOfFrames", "Rows", "Columns",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Slice:
    path: Path
    series: str
    title: str
    number: int | None
    place: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    frames: int
    modality: str


def dicom_files(files: Sequence[Path]) -> list[Path]:
    """Those files that are DICOM: by their content, or by the endings of their names."""
    found = []
    for path in files:
        with path.open("rb") as file:
            is_marked = file.read(132)[128:] == b"DICM"
        if is_marked or path.suffix.lower() in DicomReader.suffixes:
            found.append(path)
    return found


def sorted_series(files: Sequence[Path], folder: Path) -> tuple[list[Path], dict[str, Any]]:
    """The files of a series in the order of its slices, and what is known of them.

    Parameters
    ----------
    files
        DICOM files in the natural order of their names.
    folder
        For messages.

    Raises
    ------
    ImageError
        The files are of several series, or their slices are not parallel, or one holds several
        frames.
    """
    slices = [_slice(path) for path in files]
    _check_one_series(slices, folder)
    several = next((one for one in slices if one.frames > 1), None)
    if several is not None and len(slices) > 1:
        raise ImageError(
            f"{several.path}: holds {several.frames} frames, among {len(slices)} files of a "
            "series; give it alone"
        )
    facts: dict[str, Any] = {"kind": "dicom series", "modality": slices[0].modality}
    places = _along_normal(slices, folder)
    if places is not None:
        order = sorted(range(len(slices)), key=lambda i: (places[i], slices[i].number or 0, i))
        facts |= {"sorted_by": "position", **_spacing(sorted(places))}
    elif all(one.number is not None for one in slices):
        order = sorted(range(len(slices)), key=lambda i: (slices[i].number, i))
        facts["sorted_by"] = "InstanceNumber"
    else:
        order = list(range(len(slices)))
        facts["sorted_by"] = "name"
        facts["notes"] = ["its files name neither places nor numbers; their names give the order"]
    return [slices[i].path for i in order], facts


def _slice(path: Path) -> _Slice:
    import pydicom

    with decoding(str(path)):
        data = pydicom.dcmread(path, stop_before_pixels=True, force=True, specific_tags=_TAGS)
        number = data.get("InstanceNumber")
        return _Slice(
            path,
            str(data.get("SeriesInstanceUID") or ""),
            str(data.get("SeriesDescription") or data.get("SeriesNumber") or "without a name"),
            None if number is None else int(number),
            _numbers(data.get("ImagePositionPatient"), 3),
            _numbers(data.get("ImageOrientationPatient"), 6),
            int(data.get("NumberOfFrames") or 1),
            str(data.get("Modality") or "unknown"),
        )


def _numbers(value: Any, count: int) -> tuple[float, ...] | None:
    if value is None or len(value) != count:
        return None
    return tuple(float(number) for number in value)


def _check_one_series(slices: list[_Slice], folder: Path) -> None:
    counts = Counter(one.series for one in slices)
    if len(counts) < 2:
        return
    titles = {one.series: one.title for one in reversed(slices)}
    named = [f"{titles[uid]!r} ({count} files)" for uid, count in counts.most_common(_NAMED)]
    more = f" and {len(counts) - _NAMED} more" if len(counts) > _NAMED else ""
    other = next(one for one in slices if one.series != slices[0].series)
    raise ImageError(
        f"{folder}: holds {len(counts)} DICOM series: {', '.join(named)}{more}; put each into a "
        f"folder of its own ({other.path.name} is the first file of another series)"
    )


def _along_normal(slices: list[_Slice], folder: Path) -> list[float] | None:
    """The place of each slice along the normal, in mm; None if the files do not say."""
    first = slices[0]
    if first.directions is None or any(one.place is None for one in slices):
        return None
    directions = np.array(first.directions)
    for one in slices:
        if (
            one.directions is None
            or np.abs(np.array(one.directions) - directions).max() > _PARALLEL
        ):
            raise ImageError(
                f"{folder}: its slices are not parallel ({one.path.name} differs from "
                f"{first.path.name}); put those of one direction into a folder of their own"
            )
    normal = np.cross(directions[:3], directions[3:])
    return [float(normal @ np.array(one.place)) for one in slices]


def _spacing(places: list[float]) -> dict[str, Any]:
    """The distance between slices, and what is uneven in it."""
    steps = np.diff(places)
    if not len(steps):
        return {}
    usual = float(np.median(steps))
    facts: dict[str, Any] = {"spacing_mm": round(usual, 4)}
    notes = []
    if (steps < 1e-6).any():
        notes.append("several slices lie at one place; InstanceNumber gives their order")
    elif np.abs(steps - usual).max() > _EVEN * abs(usual):
        notes.append("the distances between its slices differ")
    return facts | ({"notes": notes} if notes else {})
