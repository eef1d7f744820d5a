"""Which bands and which page of an image file are shown, and how a tree records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from regiontree.errors import SettingsError, whole_number

__all__ = ["Bands", "Choice", "notice_of"]

Bands = str | int | Sequence[int]
"""Bands as a user gives them: ``4``, ``(4, 3, 2)`` or ``"4,3,2"``, counted from 1."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose to see of a file.

    Attributes
    ----------
    bands : tuple of int or None
        The one or three bands, counted from 1 as in GDAL. None: the reader chooses.
    page : int or None
        The page or frame, counted from 0 as in tifffile and ImageMagick. None: the first.
    """

    bands: tuple[int, ...] | None = None
    page: int | None = None

    @classmethod
    def of(cls, bands: Bands | None = None, page: int | None = None) -> Choice:
        """The choice that a user's values mean.

        Raises
        ------
        SettingsError
            `bands` is not one or three whole numbers from 1 on, or `page` is not one from 0 on.

        Examples
        --------
        >>> Choice.of("4,3,2", 0)
        Choice(bands=(4, 3, 2), page=0)
        """
        return cls(None if bands is None else _bands(bands), None if page is None else _page(page))

    @classmethod
    def of_meta(cls, meta: Mapping[str, Any]) -> Choice:
        """The choice that a tree was made with. Meta may hold anything; nonsense is no choice."""
        image = meta.get("image")
        said = image.get("choice") if isinstance(image, Mapping) else None
        if not isinstance(said, Mapping):
            return cls()
        try:
            return cls.of(said.get("bands"), said.get("page"))
        except SettingsError:
            return cls()

    def as_dict(self) -> dict[str, Any]:
        """The values that were chosen, as JSON values; empty if nothing was."""
        chosen: dict[str, Any] = {}
        if self.bands is not None:
            chosen["bands"] = list(self.bands)
        if self.page is not None:
            chosen["page"] = self.page
        return chosen


def notice_of(facts: Mapping[str, Any]) -> str | None:
    """A sentence on what was left out of a file that nobody chose from; None if nothing was.

    Parameters
    ----------
    facts
        ``meta["image"]`` of a tree.

    Examples
    --------
    >>> notice_of({"bands": [1, 2, 3], "bands_in_file": 12})
    'shows bands 1,2,3 of 12 (--bands chooses others)'
    """
    chosen, said = facts.get("choice", {}), []
    if "bands" in facts and "bands" not in chosen:
        bands = ",".join(map(str, facts["bands"]))
        word = "band" if len(facts["bands"]) == 1 else "bands"
        said.append(f"shows {word} {bands} of {facts['bands_in_file']} (--bands chooses others)")
    if "page" in facts and "page" not in chosen:
        said.append(
            f"shows page {facts['page']}, the first of {facts['pages']} (--page chooses another)"
        )
    if "reduced_from" in facts:
        height, width = facts["reduced_from"]
        said.append(f"shows a reduced copy of {width} x {height} pixels (see --max-pixels)")
    return "; ".join(said) or None


def _bands(given: Bands) -> tuple[int, ...]:
    try:
        if isinstance(given, str):
            bands = tuple(int(band) for band in given.split(","))
        else:
            several: Any = given if np.ndim(given) else (given,)
            bands = tuple(whole_number(band) for band in several)
    except (TypeError, ValueError):
        bands = ()
    if len(bands) not in (1, 3) or min(bands) < 1:
        raise SettingsError(
            f"bands must be one or three whole numbers from 1 on, like 4 or 4,3,2, got {given!r}"
        )
    return bands


def _page(given: int) -> int:
    try:
        page = whole_number(given)
    except TypeError:
        page = -1
    if page < 0:
        raise SettingsError(
            f"page must be a whole number from 0 on; 0 is the first page, got {given!r}"
        )
    return page
