"""Cutting at the antimeridian, judged by shapely: valid, in range, and neighbours still fit.

Regions of random trees are placed across the antimeridian and round the poles. Shapely shares no
code with the cutting.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from conftest import refused
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import children_of, random_tree, trees

from regiontree import RegionTree
from regiontree.errors import ExportError
from regiontree.export.antimeridian import cut_polygon
from regiontree.export.geojson import to_geojson

shapely = pytest.importorskip("shapely", reason="shapely is not installed")
pytest.importorskip("rasterio", reason="the extra 'geo' is not installed")
import rasterio.warp  # noqa: E402
from shapely.geometry import shape  # noqa: E402

R = math.pi * 6_378_137
NSIDC = (100_000, 0, -500_000, 0, -100_000, 400_000)  # the pole is a corner of pixels
# Transforms of images of 11 x 9 pixels, and their crs.
PLACES = {
    "degrees from 120 to 230": ((10, 0, 120, 0, -10, 45), "EPSG:4326"),
    "180 on the side of a pixel": ((10, 0, 130, 0, -10, 45), "EPSG:4326"),
    "180 in the middle of a pixel": ((10, 0, 125, 0, -10, 45), "EPSG:4326"),
    "beyond 180 only": ((1, 0, 200, 0, -1, 45), "EPSG:4326"),
    "up to 180": ((1, 0, 169, 0, -1, 45), "EPSG:4326"),
    "from -190": ((10, 0, -190, 0, -10, 45), "EPSG:4326"),
    "turned": ((10, 3, 130, 3, -10, 30), "EPSG:4326"),
    "the world": ((360 / 11, 0, -180, 0, -20, 90), "EPSG:4326"),
    "another datum": ((10, 0, 125, 0, -10, 45), "EPSG:4269"),
    "UTM 1": ((100_000, 0, -400_000, 0, -100_000, 1_600_000), "EPSG:32601"),
    "UTM 60": ((1000, 0, 660_000, 0, -1000, 6_600_000), "EPSG:32660"),
    "UTM 60 south": ((1000, 0, 830_000, 0, -1000, 8_000_000), "EPSG:32760"),
    "UTM 60, mirrored": ((-100_000, 0, 1_300_000, 0, -100_000, 1_600_000), "EPSG:32660"),
    "UTM 60, south up": ((100_000, 0, 200_000, 0, 100_000, 600_000), "EPSG:32660"),
    "north pole in a pixel": ((100_000, 0, -433_333, 0, -100_000, 381_111), "EPSG:3413"),
    "north pole on a corner": (NSIDC, "EPSG:3413"),
    "north pole on a side": ((100_000, 0, -550_000, 0, -100_000, 400_000), "EPSG:3413"),
    "south pole in a pixel": ((100_000, 0, -533_000, 0, -100_000, 437_777), "EPSG:3031"),
    "south pole on a corner": (NSIDC, "EPSG:3031"),
    "south pole on the frame": ((100_000, 0, -500_000, 0, -100_000, 900_000), "EPSG:3031"),
    "the world from 0": ((360 / 11, 0, 0, 0, -20, 90), "EPSG:4326"),
    "the world from -0.5": ((360 / 11, 0, -0.5, 0, -20, 90), "EPSG:4326"),
    "the world from 0.1, mirrored": ((-360 / 11, 0, 360.1, 0, -20, 90), "EPSG:4326"),
    "Mercator round 150": ((2 * R / 11, 0, -R, 0, -2 * R / 9, R), "EPSG:3832"),
    "Mercator": ((2 * R / 11, 0, -R, 0, -2 * R / 9, R), "EPSG:3857"),
}


def placed(tree: RegionTree, place: str) -> dict[int, Any]:
    transform, crs = PLACES[place]
    features = to_geojson(tree, all_nodes=True, transform=transform, crs=crs)["features"]
    return {feature["id"]: shape(feature["geometry"]) for feature in features}


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_regions_are_valid_in_range_and_cover_without_gaps(place, seed):
    tree = random_tree(np.random.default_rng(seed), 12, (9, 11))
    found = placed(tree, place)
    for node, geometry in found.items():
        assert geometry.is_valid, shapely.is_valid_reason(geometry)
        west, south, east, north = geometry.bounds
        assert -180 <= west < east <= 180
        assert -90 <= south < north <= 90
        for polygon in getattr(geometry, "geoms", [geometry]):
            assert polygon.exterior.is_ccw
            assert not any(hole.is_ccw for hole in polygon.interiors)
        below = [found[child] for child in children_of(tree, node)]
        if below:
            assert sum(part.area for part in below) == pytest.approx(geometry.area, rel=1e-12)
            union = shapely.unary_union(below)
            assert union.symmetric_difference(geometry).area <= 1e-12 * geometry.area


@pytest.mark.parametrize("place", PLACES)
def test_each_region_is_on_the_globe_where_its_pixels_are(place):
    """A point in each pixel, converted by GDAL, lies in the pixel's region and in no other."""
    tree = random_tree(np.random.default_rng(3), 12, (9, 11))
    found = placed(tree, place)
    (a, b, c, d, e, f), crs = PLACES[place]
    rows, columns = np.mgrid[:9, :11] + np.array([0.47, 0.41])[:, None, None]
    east, north = a * columns + b * rows + c, d * columns + e * rows + f
    lon, lat = rasterio.warp.transform(crs, "EPSG:4326", east.ravel(), north.ravel())
    for label, x, y in zip(tree.labels.ravel(), lon, lat, strict=True):
        point = shapely.Point((x + 180) % 360 - 180, y)
        assert [leaf for leaf in range(tree.n_leaves) if found[leaf].contains(point)] == [label]


@settings(max_examples=12, deadline=None)
@given(tree=trees(), west=st.sampled_from([171, 173.5, 176, -185]))
def test_cutting_changes_no_area(tree, west):
    """Against shapely's own intersection with the two halves of the map."""
    transform = (1, 0, west, 0, -1, 40)
    flat = to_geojson(tree, all_nodes=True, transform=transform)["features"]
    cut = to_geojson(tree, all_nodes=True, transform=transform, crs="EPSG:4326")["features"]
    for before, after in zip(flat, cut, strict=True):
        whole, found = shape(before["geometry"]), shape(after["geometry"])
        halves = [
            shapely.affinity.translate(
                whole.intersection(shapely.box(360 * k - 180, -90, 360 * k + 180, 90)), -360 * k
            )
            for k in (-1, 0, 1)
        ]
        assert found.is_valid
        assert shapely.unary_union(halves).symmetric_difference(found).area < 1e-9


def test_long_borders_follow_their_projection():
    """The frame of a polar image: no point of a polygon's side is off by a quarter of a pixel."""
    tree = RegionTree(np.zeros((500, 500), int), np.array([0]), np.array([0.0]))
    transform = (4000, 0, 300_000, 0, -4000, 2_300_000)
    (feature,) = to_geojson(tree, transform=transform, crs="EPSG:3413", all_nodes=True)["features"]
    ring = np.array(feature["geometry"]["coordinates"][0])
    assert 5 < len(ring) < 200
    steps = np.linspace(0, 1, 7)[:, None, None]
    along = ((1 - steps) * ring[:-1] + steps * ring[1:]).reshape(-1, 2)
    x, y = np.array(rasterio.warp.transform("EPSG:4326", "EPSG:3413", *along.T))
    column, row = (x - 300_000) / 4000, (2_300_000 - y) / 4000
    off = np.minimum(
        np.minimum(abs(column), abs(column - 500)), np.minimum(abs(row), abs(row - 500))
    )
    assert off.max() < 0.3


def test_a_region_on_both_sides_of_an_image_of_the_world_is_one():
    tree = RegionTree(np.array([[0, 1, 2, 0]]), np.full(4, 3), np.array([0, 0, 0, 1.0]))
    features = to_geojson(tree, depth=1, transform=(90, 0, 0, 0, -90, 45), crs="EPSG:4326")
    joined = shape(features["features"][0]["geometry"])
    assert joined.geom_type == "Polygon"
    assert joined.equals(shapely.box(-90, -45, 90, 45))


@pytest.mark.parametrize("west", [-180, 0])
def test_a_grid_whose_last_column_is_the_first_again(west):
    """And whose outer rows have their centres on the poles, as grids of GMT have."""
    tree = random_tree(np.random.default_rng(1), 12, (19, 37))
    place = (10, 0, west - 5, 0, -10, 95)
    features = to_geojson(tree, all_nodes=True, transform=place, crs="EPSG:4326")["features"]
    found = [shape(feature["geometry"]) for feature in features]
    assert all(geometry.is_valid for geometry in found)
    assert sum(geometry.area for geometry in found[: tree.n_leaves]) == pytest.approx(360 * 180)
    assert found[tree.root].equals(shapely.box(-180, -90, 180, 90))
    with refused(ExportError, "spans 407 degrees", "--crs none"):
        to_geojson(tree, transform=(11, 0, 0, 0, -9, 85), crs="EPSG:4326")


def test_two_pixels_that_touch_at_a_pole():
    """Their region comes to the pole twice, and the tracing of borders crosses over there."""
    labels = np.zeros((6, 6), int)
    labels[2, 2] = labels[3, 3] = 1
    tree = RegionTree(labels, np.full(3, 2), np.array([0, 0, 1.0]))
    for crs in ("EPSG:3413", "EPSG:3031"):
        place = (100_000, 0, -300_000, 0, -100_000, 300_000)
        features = to_geojson(tree, depth=1, transform=place, crs=crs)["features"]
        outside, inside = (shape(feature["geometry"]) for feature in features)
        assert outside.is_valid
        assert inside.is_valid
        assert outside.intersection(inside).area == 0
        width = inside.intersection(shapely.box(-180, 89.99, 180, 90)).area / 0.01
        width += inside.intersection(shapely.box(-180, -90, 180, -89.99)).area / 0.01
        assert width == pytest.approx(180, abs=1)


# -- the cut alone --------------------------------------------------------------------------------


def test_a_polygon_that_does_not_cross_is_returned_as_it_is():
    ring = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0)]
    assert cut_polygon([ring], around=True) == [[ring]]
    assert cut_polygon([ring], around=False) == [[ring]]


def test_a_ring_round_a_pole_gets_the_pole():
    """RFC 7946 has no polygon round a pole, so its boundary goes to the pole and back."""
    ring = [(-135, 80), (-45, 80), (45, 80), (135, 80)]
    ((outer,),) = cut_polygon([ring], around=True)
    assert {(180, 80), (180, 90), (-180, 90), (-180, 80), *ring} == set(outer)
    south = [(lon, -lat) for lon, lat in reversed(ring)]
    ((outer,),) = cut_polygon([south], around=True)
    assert {(180, -80), (180, -90), (-180, -90), (-180, -80), *south} == set(outer)


def test_a_hole_round_a_pole_is_left_out():
    outer = [(-135, 60), (-45, 60), (45, 60), (135, 60)]
    hole = [(135, 80), (45, 80), (-45, 80), (-135, 80)]
    polygons = cut_polygon([outer, hole], around=True)
    band = shapely.MultiPolygon([(rings[0], rings[1:]) for rings in polygons])
    assert band.is_valid
    assert band.area == 360 * 20
    assert band.bounds == (-180, 60, 180, 80)


def test_neighbours_cross_at_the_same_point():
    rng = np.random.default_rng(0)
    for _ in range(200):
        a, b = (179 + rng.random(), rng.random()), (-179 - rng.random(), rng.random())
        above = cut_polygon([[a, b, (-178, 3), (178, 3)]], around=True)
        below = cut_polygon([[b, a, (178, -3), (-178, -3)]], around=True)
        met = [{p[1] for (ring,) in parts for p in ring if abs(p[0]) == 180}
               for parts in (above, below)]  # fmt: skip
        assert len(met[0] & met[1]) == 1


def test_holes_on_the_line_and_touching_corners():
    """A hole touches the outer ring in the west and another hole on the antimeridian."""
    outer = [(170, 0), (170, -10), (190, -10), (190, 10), (170, 10)]
    west = [(170, 0), (175, 5), (180, 0), (175, -5)]
    east = [(180, 0), (185, 5), (187, 0), (185, -5)]
    polygons = cut_polygon([outer, west, east], around=False)
    parts = [shapely.Polygon(rings[0], rings[1:]) for rings in polygons]
    assert all(part.is_valid for part in parts)
    assert sum(part.area for part in parts) == 400 - 50 - 35
    assert len(parts) == 3  # above and below the western hole, and the east
