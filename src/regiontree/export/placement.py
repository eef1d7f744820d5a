"""Which coordinates the regions of a tree get: degrees, another projection, or pixels.

:class:`Placement` adds the transform and the crs of a tree's photograph to the options of a format.
It never chooses pixels where the photograph may know better: for a GeoTIFF that is not found, the
tree fails. It counts what it chose, for one line at the end of a run.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from regiontree.errors import ExportError, MissingExtraError
from regiontree.export.georeference import MAP_SUFFIXES, georeference
from regiontree.forest.finding import Photograph, read_photograph
from regiontree.forest.saved import SavedTree
from regiontree.forest.sources import Source
from regiontree.references.reference import Reference

__all__ = ["Placement"]

_DEGREES = "longitude and latitude"
_OWN = "the coordinates of the transform"
_KEPT = "the projection of the photograph"
_PIXELS = "pixels"


class Placement:
    """The places of many trees.

    Parameters
    ----------
    options
        The options that the user gave. With a transform, photographs are not read. A transform
        "none" asks for pixels. A crs "none" asks for coordinates as the transform gives them.
    keeps_projection
        Whether the format keeps the photograph's own projection.
    """

    def __init__(self, options: Mapping[str, Any], *, keeps_projection: bool = False) -> None:
        self._converted = _KEPT if keeps_projection else _DEGREES
        self._given = {
            key: value
            for key, value in options.items()
            if not (key in ("transform", "crs") and _is_none(value))
        }
        self._pixels = _is_none(options.get("transform"))
        self._own = _is_none(options.get("crs"))
        self._chosen: Counter[str] = Counter()
        self._unknown: list[SavedTree] = []  # trees on a map of an unknown projection
        self._missing: list[SavedTree] = []  # trees whose photograph was not found or has changed
        self._note: list[SavedTree] | None = None  # the list that the tree at hand belongs to

    def options_of(self, source: Source) -> dict[str, Any]:
        """The options of a tree, with `transform` and `crs` if it lies on a map.

        Raises
        ------
        ExportError
            The photograph is needed and was not found, or rasterio is needed and not installed.
            Or as :func:`~regiontree.export.georeference.georeference`.
        ImageError
            As :func:`~regiontree.export.georeference.georeference`.
        """
        given = dict(self._given)
        self._note = None
        if not self._pixels and "transform" not in given:
            given = {**self._place_of(source), **given}
        return given

    def wrote(self, source: Source, options: Mapping[str, Any]) -> None:
        """Count a tree that was written with the options that :meth:`options_of` gave last."""
        kind = _PIXELS
        if "transform" in options:
            kind = _OWN if options.get("crs") is None else self._converted
        self._chosen[kind] += 1
        if self._note is not None:
            self._note.append(source.saved)

    def _place_of(self, source: Source) -> dict[str, Any]:
        image = source.tree.meta.get("image")
        image = image if isinstance(image, dict) else {}
        changed = source.notice is not None and image.get("sha256") is not None
        name = source.name.lower()
        if not image.get("name") or name.endswith((".npy", ".npz", ".safetensors")):
            return {}  # the tree was not made from a photograph
        if source.photo is None or changed:
            if Path(name).suffix in MAP_SUFFIXES:
                raise ExportError(
                    f"{source.saved}: {source.notice} It may lie on a map, so it is needed: give "
                    "--images FOLDER, or --transform none for the pixels of the photograph"
                )
            self._note = self._missing
            return {}
        page = image.get("page", 0)
        try:
            with _file_of(source.photo) as photo:
                found = georeference(
                    photo,
                    size=source.tree.shape,
                    page=page if type(page) is int else 0,
                    degrees=not self._own,
                )
        except MissingExtraError as error:
            lies = source.photo if isinstance(source.photo, Path) else source.name
            raise ExportError(f"{lies}: lies on a map; {error}") from error
        if found is None:
            return {}
        transform, crs = found
        if self._own:
            crs = None
        elif crs is None and "crs" not in self._given:
            self._note = self._unknown
        return {"transform": transform, "crs": crs}

    def lines(self) -> list[str]:
        """What the user should know of the coordinates chosen, a sentence a line."""
        if not self._chosen:
            return []
        if len(self._chosen) == 1:
            said = [f"coordinates: {next(iter(self._chosen))}"]
        else:
            said = [
                "coordinates: "
                + ", ".join(
                    f"{kind} ({count} {'tree' if count == 1 else 'trees'})"
                    for kind, count in self._chosen.items()
                )
            ]
        if self._unknown:
            said.append(
                f"{_trees(self._unknown)}: the photograph says no coordinate system, so the "
                "coordinates are those of its own, unknown projection; name it with --crs"
            )
        if self._missing:
            said.append(
                f"{_trees(self._missing)}: the photograph was not found or has changed, so a world "
                "file beside it was not looked for; --images FOLDER says where it is"
            )
        return said


@contextmanager
def _file_of(photo: Photograph) -> Iterator[Path]:
    """A file of this machine with the photograph: its own, or one that is removed afterwards."""
    if isinstance(photo, Path):
        yield photo
        return
    read = read_photograph(photo) if isinstance(photo, Reference) else photo
    with tempfile.TemporaryDirectory(prefix="regiontree-") as folder:
        file = Path(folder, f"photograph{Path(read.name or '').suffix}")
        file.write_bytes(read.data)
        yield file


def _trees(trees: list[SavedTree]) -> str:
    more = len(trees) - 1
    return f"{trees[0]} and {more} more" if more else str(trees[0])


def _is_none(value: Any) -> bool:
    return isinstance(value, str) and value.lower() == "none"
