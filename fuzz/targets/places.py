"""Where a photograph lies on the Earth: tags of GeoTIFF, and world files."""

from __future__ import annotations

import io
import math
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from fuzz.containers import bundle, bundle_mutator, change_tiff, unbundle
from fuzz.mutate import change_text
from fuzz.target import Box, Target
from fuzz.targets.images import photo, tiff
from fuzz.targets.trees import LABELS, PARENTS
from regiontree.export.geojson import to_geojson
from regiontree.export.georeference import georeference
from regiontree.tree import RegionTree

__all__ = ["TARGETS"]


def _place(box: Box, data: bytes) -> None:
    picture, world = unbundle(data, 2)
    path = box.write("case.tif", picture)
    if world:
        box.write("case.tfw", world)
    _check(georeference(path))


def _check(found: tuple[Any, Any] | None) -> None:
    """A tree's polygons have finite coordinates at that place."""
    if found is None:
        return
    made = to_geojson(RegionTree.from_parents(LABELS, PARENTS), transform=found[0], crs=found[1])
    for feature in made["features"]:
        for x, y in _points(feature["geometry"]["coordinates"]):
            assert math.isfinite(x), "a place that is no number"
            assert math.isfinite(y), "a place that is no number"


def _world(box: Box, data: bytes) -> None:
    """A photograph without tags, with a world file, a projection and GDAL's file beside it."""
    world, projection, aux = unbundle(data, 3)
    path = box.write("case.png", _png())
    for name, content in ("pgw", world), ("prj", projection), ("png.aux.xml", aux):
        if content:
            box.write(f"case.{name}", content)
    _check(georeference(path))


@cache
def _png() -> bytes:
    file = io.BytesIO()
    Image.fromarray(photo(2, 4)).save(file, "PNG")
    return file.getvalue()


_PRJ = (
    b'GEOGCS["WGS 84",DATUM["WGS_1984",SPHEROID["WGS 84",6378137,298.257223563]],'
    b'PRIMEM["Greenwich",0],UNIT["degree",0.0174532925199433]]'
)
_AUX = (
    b"<PAMDataset><SRS>EPSG:32633</SRS><GeoTransform>5e5, 10, 0, 5.4e6, 0, -10</GeoTransform>"
    b"</PAMDataset>"
)
_GCPS = b"<PAMDataset><GCPList Projection='EPSG:4326'>" + b"".join(
    b"<GCP Id='' Pixel='%d' Line='%d' X='%d' Y='%d'/>" % (x, y, 10 + x, 50 - y)
    for x, y in ((0, 0), (4, 0), (0, 2), (4, 2))
) + b"</GCPList></PAMDataset>"  # fmt: skip


def _world_seeds() -> list[bytes]:
    world = b"10\n0\n0\n-10\n500000\n5400000\n"
    return [
        bundle(world, b"", b""), bundle(world, _PRJ, b""), bundle(b"", b"", _AUX),
        bundle(b"", b"", _GCPS),
        bundle(world, b"", b"<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>"),
        bundle(b"0.1\n0.1\n0.1\n-0.1\n179.9\n10\n", _PRJ, b""),
    ]  # fmt: skip


def _points(inside: Any) -> list[tuple[float, float]]:
    if isinstance(inside, tuple):
        return [inside]  # type: ignore[list-item]
    return [point for one in inside for point in _points(one)]


def _seeds() -> list[bytes]:
    keys = (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32633)
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
        (34735, "H", len(keys), keys, True),
    ]
    affine = [
        (34264, "d", 16, (10.0, 0, 0, 5e5, 0, -10.0, 0, 5.4e6, *[0.0] * 7, 1.0), True),
        tags[2],
    ]
    rgb: dict[str, Any] = {"photometric": "rgb"}
    tied = (0.0, 0, 0, 5e5, 5e6, 0, 2, 0, 0, 6e5, 5e6, 0, 0, 2, 0, 5e5, 4e6, 0)
    points = [(33922, "d", 18, tied, True),
              tags[2]]  # fmt: skip
    wide = photo(2, 4)
    turned = [*tags, (274, "H", 1, 3, True)]
    return [
        bundle(tiff(wide, extratags=tags, **rgb), b""),
        bundle(tiff(wide, extratags=affine, **rgb), b""),
        bundle(tiff(wide, extratags=points, **rgb), b""),
        bundle(tiff(wide, extratags=turned, **rgb), b""),
        bundle(tiff(wide, **rgb), b"10\n0\n0\n-10\n500000\n5400000\n"),
        bundle(tiff(np.zeros((2, 4), np.float32)), b""),
    ]


TARGETS = (
    Target("places.world", _world, _world_seeds, (bundle_mutator(*[change_text] * 3),) * 2,
           names=("case", "crs", "transform")),
    Target("places.tiff", _place, _seeds, (bundle_mutator(change_tiff, change_text),) * 2,
           names=("case", "crs", "transform")),
)  # fmt: skip
